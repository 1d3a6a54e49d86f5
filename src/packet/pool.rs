//! Where frames come from and go back to.
//!
//! Frames point at their pool without counting references, because an atomic increment per packet is
//! paid by everybody. The price is one rule: a pool outlives its frames. [`PoolOwner`] keeps that rule:
//! when it is dropped while frames are still out, the pool moves to a graveyard that is looked through
//! whenever another owner is dropped.
//!
//! The pointer is thin, so that a frame is one cache line: it leads to the pool's [`Handle`], which knows the
//! pool's type.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: frames carry an uncounted pointer to their pool; only this file makes and frees it.

use base::sync::{Mutex, lock};
use std::ptr::NonNull;

/// A source of frame buffers. Implementations are shared: any thread may release into them.
pub trait FramePool: Send + Sync + std::fmt::Debug {
    /// Takes buffers back. `tokens` are what the pool put into the frames.
    fn release(&self, tokens: &[u64]);
    /// Buffers that are in frames now.
    fn outstanding(&self) -> usize;
}

/// What a [`PoolPtr`] points at: made and freed together with the pool.
#[derive(Debug)]
struct Handle(NonNull<dyn FramePool>);

/// A pointer to a pool that is valid as long as any frame of that pool exists.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct PoolPtr(NonNull<Handle>);

// SAFETY: FramePool is Send + Sync, and the pointer is only used to call its shared methods.
unsafe impl Send for PoolPtr {}
// SAFETY: as above.
unsafe impl Sync for PoolPtr {}

impl PoolPtr {
    /// The pool.
    #[inline]
    #[must_use]
    pub fn get(&self) -> &dyn FramePool {
        // SAFETY: PoolOwner frees a pool and its handle only when no frame of it is out (see its Drop).
        let handle = unsafe { self.0.as_ref() };
        // SAFETY: as above.
        unsafe { handle.0.as_ref() }
    }
    /// True when both are the same pool.
    #[inline]
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
    /// For a driver in another language, which puts it into frames and compares it.
    #[inline]
    #[must_use]
    pub fn as_ptr(&self) -> *const std::ffi::c_void {
        self.0.as_ptr().cast()
    }
}

/// Owns a pool; frees it once its last frame has come home.
#[derive(Debug)]
pub struct PoolOwner<P: FramePool + 'static> {
    pool: NonNull<P>,
    handle: PoolPtr,
}

// SAFETY: P is Send + Sync (a FramePool) and the owner gives out shared references only.
unsafe impl<P: FramePool> Send for PoolOwner<P> {}
// SAFETY: as above.
unsafe impl<P: FramePool> Sync for PoolOwner<P> {}

/// Pools without an owner, each held only by this list.
static GRAVEYARD: Mutex<Vec<PoolPtr>> = Mutex::new(Vec::new());

impl<P: FramePool> PoolOwner<P> {
    /// Takes ownership of a pool.
    #[must_use]
    pub fn new(pool: P) -> Self {
        let pool = NonNull::from(Box::leak(Box::new(pool)));
        let handle = NonNull::from(Box::leak(Box::new(Handle(pool))));
        Self {
            pool,
            handle: PoolPtr(handle),
        }
    }
    /// The pointer to put into frames. The pool must count such frames in `outstanding`.
    #[inline]
    #[must_use]
    pub fn ptr(&self) -> PoolPtr {
        self.handle
    }
}

impl<P: FramePool> std::ops::Deref for PoolOwner<P> {
    type Target = P;
    fn deref(&self) -> &P {
        // SAFETY: the box was leaked in new() and is freed only after this owner is gone.
        unsafe { self.pool.as_ref() }
    }
}

impl<P: FramePool> Drop for PoolOwner<P> {
    fn drop(&mut self) {
        let mut graves = lock(&GRAVEYARD);
        graves.push(self.handle);
        graves.retain(|grave| {
            if grave.get().outstanding() > 0 {
                return true;
            }
            // SAFETY: leaked in new(), no owner and no frame refers to it any more, and it leaves the list.
            let handle = unsafe { Box::from_raw(grave.0.as_ptr()) };
            // SAFETY: as its handle.
            drop(unsafe { Box::from_raw(handle.0.as_ptr()) });
            false
        });
    }
}
