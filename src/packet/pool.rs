//! Where frames come from and go back to.
//!
//! Frames point at their pool without counting references, because an atomic increment per packet is
//! paid by everybody. The price is one rule: a pool outlives its frames. [`PoolOwner`] keeps that rule:
//! when it is dropped while frames are still out, the pool moves to a graveyard that is looked through
//! whenever another owner is dropped.

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

/// A pointer to a pool that is valid as long as any frame of that pool exists.
#[derive(Clone, Copy, Debug)]
pub struct PoolPtr(NonNull<dyn FramePool>);

// SAFETY: FramePool is Send + Sync, and the pointer is only used to call its shared methods.
unsafe impl Send for PoolPtr {}
// SAFETY: as above.
unsafe impl Sync for PoolPtr {}

impl PoolPtr {
    /// The pool.
    #[inline]
    #[must_use]
    pub fn get(&self) -> &dyn FramePool {
        // SAFETY: PoolOwner frees a pool only when no frame of it is out (see its Drop).
        unsafe { self.0.as_ref() }
    }
    /// True when both are the same pool.
    #[inline]
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self.0.as_ptr(), other.0.as_ptr())
    }
}

/// Owns a pool; frees it once its last frame has come home.
#[derive(Debug)]
pub struct PoolOwner<P: FramePool + 'static> {
    pool: NonNull<P>,
}

// SAFETY: P is Send + Sync (a FramePool) and the owner gives out shared references only.
unsafe impl<P: FramePool> Send for PoolOwner<P> {}
// SAFETY: as above.
unsafe impl<P: FramePool> Sync for PoolOwner<P> {}

struct Buried(NonNull<dyn FramePool>);
// SAFETY: as for PoolPtr; the graveyard is the only owner of what it holds.
unsafe impl Send for Buried {}

static GRAVEYARD: Mutex<Vec<Buried>> = Mutex::new(Vec::new());

impl<P: FramePool> PoolOwner<P> {
    /// Takes ownership of a pool.
    #[must_use]
    pub fn new(pool: P) -> Self {
        Self {
            pool: NonNull::from(Box::leak(Box::new(pool))),
        }
    }
    /// The pointer to put into frames. The pool must count such frames in `outstanding`.
    #[must_use]
    pub fn ptr(&self) -> PoolPtr {
        PoolPtr(self.pool)
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
        graves.push(Buried(self.pool));
        graves.retain(|grave| {
            // SAFETY: a buried pool is freed only below, after which it leaves the list.
            if unsafe { grave.0.as_ref() }.outstanding() > 0 {
                return true;
            }
            // SAFETY: leaked in new(), no owner and no frame refers to it any more.
            drop(unsafe { Box::from_raw(grave.0.as_ptr()) });
            false
        });
    }
}
