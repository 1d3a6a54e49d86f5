//! [`Doze`]: does a thread sleep, so that it must be woken? Costs a fence and a load while it is awake.
//!
//! The sleeper announces its sleep and then looks once more for work; whoever has work for it makes the work
//! visible first and then asks whether to wake. Each does its store before its load, with a full fence
//! between, so at least one of them sees the other.

use super::primitive::{AtomicBool, Ordering, fence};

/// See the module.
#[derive(Debug, Default)]
pub struct Doze(AtomicBool);

impl Doze {
    /// Somebody awake.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }
    /// Announces sleep. Afterwards look for work once more, then sleep or call [`Doze::awake`].
    #[inline]
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        // Orders the announcement before the look for work; pairs with the fence in must_wake().
        fence(Ordering::SeqCst);
    }
    /// Ends sleep.
    #[inline]
    pub fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
    /// True when the sleeper must be woken, by this caller: nobody else is told so. The work must be visible
    /// already.
    #[inline]
    #[must_use]
    pub fn must_wake(&self) -> bool {
        // Orders the work before the look at the flag; pairs with the fence in announce().
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
