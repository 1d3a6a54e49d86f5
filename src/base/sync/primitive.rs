//! The switch file: what our own concurrent structures are made of.
//!
//! Ordinarily the standard library's types; with `--cfg loom`, loom's, which run a test under every order in
//! which threads may meet. Only the files beside this one import from here: the rest of the switch has the
//! standard types from [`super`], also in a loom build (which builds this crate alone).

#[cfg(not(loom))]
mod kind {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread::{Thread, current};
    use std::time::Duration;

    /// Sleeps until woken, or for this long: no wake-up is lost, but a bound costs nothing.
    pub(crate) fn park(bound: Duration) {
        std::thread::park_timeout(bound);
    }
    /// Waits for a condition variable, for at most this long.
    pub(crate) fn wait<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        bound: Duration,
    ) -> MutexGuard<'a, T> {
        let woken = condvar.wait_timeout(guard, bound);
        woken.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
    /// Locks; a panic elsewhere while it was held does not spread.
    pub(crate) fn lock<T: ?Sized>(m: &Mutex<T>) -> MutexGuard<'_, T> {
        m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    /// Real time, nanoseconds.
    pub(crate) fn now_ns() -> u64 {
        crate::clock::monotonic_ns()
    }
}

#[cfg(loom)]
mod kind {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread::{Thread, current};
    use std::time::Duration;

    /// Sleeps until woken. Time stands still in a model: a lost wake-up is a deadlock, which loom reports.
    pub(crate) fn park(_bound: Duration) {
        loom::thread::park();
    }
    /// Waits for a condition variable, without a bound, for the same reason.
    pub(crate) fn wait<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        _bound: Duration,
    ) -> MutexGuard<'a, T> {
        condvar.wait(guard).expect("nothing panics in a model")
    }
    /// Locks.
    pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
        m.lock().expect("nothing panics in a model")
    }
    /// Time stands still.
    pub(crate) fn now_ns() -> u64 {
        0
    }
}

pub(crate) use kind::*;
