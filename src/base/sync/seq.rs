//! [`Seq`]: a number that moves on every change, and that can be waited for.

use super::primitive::{AtomicU64, Condvar, Mutex, Ordering, lock, now_ns, wait};
use std::time::Duration;

/// A change sequence: moves on every change, can be waited for.
#[derive(Debug, Default)]
pub struct Seq {
    value: AtomicU64,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Seq {
    /// A sequence that stands at 1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            value: AtomicU64::new(1),
            lock: Mutex::new(()),
            moved: Condvar::new(),
        }
    }
    /// The current value.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.value.load(Ordering::Acquire) // pairs with the Release in change()
    }
    /// Moves on and wakes all waiters.
    pub fn change(&self) {
        let _guard = lock(&self.lock);
        self.value.fetch_add(1, Ordering::Release); // pairs with the Acquire in read()
        self.moved.notify_all();
    }
    /// Waits until the value differs from `seen`, for at most `timeout` of real time; returns the value.
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let bound = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let end = now_ns().saturating_add(bound);
        let mut guard = lock(&self.lock);
        while self.read() == seen {
            let left = end.saturating_sub(now_ns());
            if left == 0 {
                break;
            }
            guard = wait(&self.moved, guard, Duration::from_nanos(left));
        }
        drop(guard);
        self.read()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_time_or_change() {
        let seq = Seq::new();
        assert_eq!(seq.wait(1, Duration::ZERO), 1);
        assert_eq!(seq.wait(1, Duration::from_millis(2)), 1);
        seq.change();
        assert_eq!(seq.wait(1, Duration::from_secs(60)), 2);
    }
}
