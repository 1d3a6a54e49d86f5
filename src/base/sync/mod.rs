//! The one door for atomics, locks and threads.
//!
//! Other rooms import from here and never from `std::sync` (checked by `tests/tidy.rs`). Readers of
//! shared state see immutable snapshots ([`Slot`]), numbers that only grow ([`Seq`]), or messages
//! ([`ArrayQueue`], [`rtrb`]). Every use of an [`Ordering`] other than `Relaxed` says what it pairs with.
//!
//! Our own structures, each in a file, stand on `primitive`, and `models` runs them under loom:
//! `RUSTFLAGS="--cfg loom" cargo test --target-dir target/loom -p ringway-base --lib models` (part of
//! `scripts/test`). Not modelled: timeouts (time stands still), sequentially consistent accesses other than
//! fences (we use none), and what comes from other crates ([`ArcSwap`], [`ArrayQueue`], [`rtrb`]).

mod chain;
mod counter;
mod doze;
#[cfg(all(test, loom))]
mod models;
mod primitive;
mod reply;
mod seq;

pub use chain::Chain;
pub use counter::Counter;
pub use doze::Doze;
pub use reply::{Asked, Reply, ask};
pub use seq::Seq;

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
