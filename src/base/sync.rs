//! The one door for atomics, locks and threads.
//!
//! Other rooms import from here and never from `std::sync` (checked by `tests/tidy.rs`). Readers of
//! shared state see immutable snapshots ([`Slot`]), numbers that only grow ([`Seq`]), or messages
//! ([`ArrayQueue`], [`rtrb`]). Every use of an [`Ordering`] other than `Relaxed` says what it pairs with.

pub use arc_swap::{ArcSwap, ArcSwapOption};
pub use crossbeam_queue::ArrayQueue;
pub use crossbeam_utils::CachePadded;
pub use rtrb;
pub use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering, fence,
};
pub use std::sync::mpsc;
pub use std::sync::{
    Arc, Barrier, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard,
    RwLockWriteGuard, TryLockError, Weak,
};
pub use std::thread::JoinHandle;

/// A published snapshot: one writer stores, many readers load without waiting.
pub type Slot<T> = ArcSwap<T>;

/// Locks a mutex; a panic elsewhere while it was held does not spread.
pub fn lock<T: ?Sized>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Takes a read lock; a panic elsewhere while it was held does not spread.
pub fn read<T: ?Sized>(l: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    l.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Takes a write lock; a panic elsewhere while it was held does not spread.
pub fn write<T: ?Sized>(l: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    l.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts a named thread. Names are at most 15 bytes, as the kernel shows them.
///
/// # Errors
/// The kernel's, when no thread can be made.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}

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
    pub fn wait(&self, seen: u64, timeout: std::time::Duration) -> u64 {
        let guard = lock(&self.lock);
        if self.read() == seen {
            drop(
                self.moved
                    .wait_timeout_while(guard, timeout, |()| self.read() == seen),
            );
        }
        self.read()
    }
}

/// Statistics written by one thread and read by any: plain relaxed counters, never lost, never locked.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
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
