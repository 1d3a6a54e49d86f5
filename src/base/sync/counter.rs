//! [`Counter`]: statistics of one thread that any thread may read.

use super::primitive::{AtomicU64, Ordering};

/// Statistics written by one thread and read by any: plain relaxed counters, never lost, never locked.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), derive(zerocopy::FromZeros))]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    /// A counter at zero.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    /// Adds when only one thread writes this counter: a load and a store, no bus lock.
    #[inline]
    pub fn add_local(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }
    /// Adds when several threads write this counter.
    #[inline]
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    /// Sets the value (only its writer may).
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}
