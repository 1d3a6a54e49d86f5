//! The unit of work: at most [`BATCH_MAX`] frames that travel together.

use crate::frame::Frame;
use arrayvec::ArrayVec;

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
    /// Returns all frames to their pools, one call per run of the same pool.
    pub fn release_all(&mut self) {
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
