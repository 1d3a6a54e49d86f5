//! The only reader of time.
//!
//! A [`Clock`] is a cheap handle, cloned into every thread that needs the time. It is real
//! (CLOCK_MONOTONIC), stopped (`time/stop`) or virtual from birth (simulations). Units: [`Nanos`]
//! since an arbitrary origin; it never goes backwards. Wall-clock time is only for display and comes
//! from [`Clock::wall`].

use crate::sync::{Arc, AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds since the clock's origin. Never negative, never decreasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// A time later than any that will be seen.
    pub const MAX: Self = Self(u64::MAX);

    /// A time `ms` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }
    /// Whole milliseconds since the origin.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }
    /// Time elapsed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
    /// This time plus `ms` milliseconds.
    #[must_use]
    pub const fn plus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
    /// This time plus `d`.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

#[derive(Debug)]
struct Inner {
    /// True while time does not flow by itself.
    stopped: AtomicBool,
    /// Time shown while stopped.
    frozen_ns: AtomicU64,
    /// Added to the real clock while it flows (grows by warps, shrinks never below zero time).
    skew_ns: AtomicI64,
}

/// A handle to one source of time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

impl Clock {
    /// The machine's monotonic clock.
    #[must_use]
    pub fn real() -> Self {
        Self(Arc::new(Inner {
            stopped: AtomicBool::new(false),
            frozen_ns: AtomicU64::new(0),
            skew_ns: AtomicI64::new(0),
        }))
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn simulated(at: Nanos) -> Self {
        let clock = Self::real();
        clock.0.frozen_ns.store(at.0, Ordering::Relaxed);
        clock.0.stopped.store(true, Ordering::Release); // pairs with the Acquire in now()
        clock
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Nanos {
        if self.0.stopped.load(Ordering::Acquire) {
            return Nanos(self.0.frozen_ns.load(Ordering::Relaxed));
        }
        Nanos(monotonic_ns().saturating_add_signed(self.0.skew_ns.load(Ordering::Relaxed)))
    }

    /// Stops time where it is (`time/stop`). A second call changes nothing.
    pub fn stop(&self) {
        if !self.0.stopped.load(Ordering::Acquire) {
            self.0.frozen_ns.store(self.now().0, Ordering::Relaxed);
            self.0.stopped.store(true, Ordering::Release); // pairs with the Acquire in now()
        }
    }

    /// True when time only moves by [`Clock::advance`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Moves time forward by `ms` milliseconds (`time/warp`).
    pub fn advance(&self, ms: u64) {
        let ns = ms.saturating_mul(1_000_000);
        if self.is_stopped() {
            self.0.frozen_ns.fetch_add(ns, Ordering::Relaxed);
        } else {
            self.0
                .skew_ns
                .fetch_add(i64::try_from(ns).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// Wall-clock time since the Unix epoch, for log lines and records only.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one door to wall-clock time")]
    pub fn wall() -> Duration {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// CLOCK_MONOTONIC in nanoseconds, whatever any [`Clock`] says. For waits on the kernel and benches.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one door to monotonic time")]
pub fn monotonic_ns() -> u64 {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let origin = *ORIGIN.get_or_init(std::time::Instant::now);
    // One hour is added so that "now minus an idle time" never underflows early in a process.
    u64::try_from(origin.elapsed().as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_add(3_600_000_000_000)
}

/// Sleeps the calling thread for `d` of real time. Only for back-off against the kernel.
#[expect(clippy::disallowed_methods, reason = "the one door to sleeping")]
pub fn sleep(d: Duration) {
    std::thread::sleep(d);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_moves_only_when_told() {
        let clock = Clock::simulated(Nanos::from_millis(5));
        assert_eq!(clock.now(), Nanos::from_millis(5));
        clock.advance(7);
        assert_eq!(clock.now().millis(), 12);
    }

    #[test]
    fn a_real_clock_keeps_its_order_over_stop_and_warp() {
        let clock = Clock::real();
        let a = clock.now();
        clock.advance(10);
        let b = clock.now();
        assert!(b.0 >= a.0 + 10_000_000);
        clock.stop();
        assert!(clock.now() >= b && clock.now() == clock.now());
    }
}
