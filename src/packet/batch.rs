//! The unit of work: at most [`BATCH_MAX`] frames that travel together.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: drivers write frames into a batch, and take buffers out of it, without moving them.

use crate::frame::Frame;
use arrayvec::ArrayVec;
use std::mem::MaybeUninit;

/// Frames in a batch. 32 covers the latency of a memory access with work on the other frames and is what
/// rings and the peer use.
pub const BATCH_MAX: usize = 32;

/// At most [`BATCH_MAX`] frames, in order.
#[derive(Debug, Default)]
pub struct Batch(ArrayVec<Frame, BATCH_MAX>);

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self(ArrayVec::new())
    }
    /// Appends a frame; a full batch gives it back.
    ///
    /// # Errors
    /// The frame itself, when the batch is full.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        self.0.try_push(frame).map_err(|e| e.element())
    }
    /// Free places.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.remaining_capacity()
    }
    /// The free places, for a driver that writes frames where they will lie.
    #[inline]
    pub fn spare(&mut self) -> &mut [MaybeUninit<Frame>] {
        let (len, room) = (self.0.len(), self.room());
        // SAFETY: len <= capacity.
        let first = unsafe { self.0.as_mut_ptr().add(len) };
        // SAFETY: `room` places follow that hold no frame, and they are borrowed with the batch.
        unsafe { std::slice::from_raw_parts_mut(first.cast(), room) }
    }
    /// Takes in frames that were written to the first `n` places of [`Batch::spare`].
    ///
    /// # Safety
    /// They were: each is a whole frame, as by [`Frame::from_parts`].
    #[inline]
    pub unsafe fn grow(&mut self, n: usize) {
        debug_assert!(n <= self.room());
        // SAFETY: the caller wrote these frames, into places that exist.
        unsafe { self.0.set_len(self.0.len() + n) }
    }
    /// Empties the batch without releasing anything.
    ///
    /// # Safety
    /// Each frame's buffer has another owner by now, or was released.
    #[inline]
    pub unsafe fn forget_all(&mut self) {
        // SAFETY: no frames are claimed.
        unsafe { self.0.set_len(0) }
    }
    /// Returns all frames to their pools, one call per run of the same pool.
    #[inline]
    pub fn release_all(&mut self) {
        if !self.0.is_empty() {
            self.release_some();
        }
    }
    fn release_some(&mut self) {
        let mut tokens = [0u64; BATCH_MAX];
        let mut n = 0;
        let mut pool = None;
        for frame in self.0.drain(..) {
            let parts = frame.into_parts();
            match pool {
                Some(p) if parts.pool.same(&p) => {}
                _ => {
                    if let Some(p) = pool.replace(parts.pool) {
                        p.get().release(&tokens[..n]);
                    }
                    n = 0;
                }
            }
            tokens[n] = parts.token;
            n += 1;
        }
        if let Some(p) = pool {
            p.get().release(&tokens[..n]);
        }
    }
}

impl std::ops::Deref for Batch {
    type Target = ArrayVec<Frame, BATCH_MAX>;
    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
impl std::ops::DerefMut for Batch {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
