//! Frames in plain memory: for sockets, the slow path and tests.
//!
//! Buffers come in a few sizes and are recycled, so a warm pool does not allocate; what fits none of them gets a
//! buffer of its own that is freed on release.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a boxed buffer's ownership moves into a Frame as a raw pointer and comes back as its token.

use crate::frame::{Frame, FrameParts, HEADROOM};
use crate::pool::{FramePool, PoolOwner};
use base::sync::{ArrayQueue, AtomicUsize, OnceLock, Ordering};
use std::ptr::NonNull;

/// Bytes of the buffers that are recycled, and how many of them are kept: for an ordinary frame (headroom, 1,518
/// bytes with tags, some tailroom), a jumbo frame (9,018 bytes with tags), and a super-packet.
const CLASSES: [(usize, usize); 3] = [(BUFFER_BYTES, 4096), (9728, 512), (66_560, 64)];
/// Bytes of the smallest recycled buffer.
const BUFFER_BYTES: usize = 2048;

#[repr(C, align(64))]
struct Line([u8; 64]);

struct Buffer {
    lines: Box<[Line]>,
}

impl Buffer {
    fn new(bytes: usize) -> Self {
        Self {
            lines: (0..bytes.div_ceil(64)).map(|_| Line([0; 64])).collect(),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.lines.len() * 64)
    }
}

/// The pool of heap frames. Usually the one of [`HeapPool::global`].
#[derive(Debug)]
pub struct HeapPool {
    free: [ArrayQueue<Box<Buffer>>; CLASSES.len()],
    out: AtomicUsize,
}

impl FramePool for HeapPool {
    fn release(&self, tokens: &[u64]) {
        for &token in tokens {
            let raw = token as usize as *mut Buffer;
            // SAFETY: the token is Box::into_raw of a buffer that this pool put into exactly one frame.
            let buffer = unsafe { Box::from_raw(raw) };
            let bytes = buffer.lines.len() * 64;
            if let Some(class) = CLASSES.iter().position(|(size, _)| *size == bytes) {
                drop(self.free[class].push(buffer));
            }
        }
        self.out.fetch_sub(tokens.len(), Ordering::Relaxed);
    }
    fn outstanding(&self) -> usize {
        self.out.load(Ordering::Relaxed)
    }
}

impl HeapPool {
    /// An empty pool.
    #[must_use]
    pub fn create() -> PoolOwner<Self> {
        PoolOwner::new(Self {
            free: CLASSES.map(|(_, keep)| ArrayQueue::new(keep)),
            out: AtomicUsize::new(0),
        })
    }

    /// The process-wide pool.
    #[must_use]
    pub fn global() -> &'static PoolOwner<Self> {
        static POOL: OnceLock<PoolOwner<HeapPool>> = OnceLock::new();
        POOL.get_or_init(Self::create)
    }
}

impl PoolOwner<HeapPool> {
    /// A frame of `len` bytes with [`HEADROOM`] in front. Its data is whatever the buffer held.
    #[must_use]
    pub fn alloc(&self, len: usize) -> Frame {
        self.alloc_with(HEADROOM, len)
    }

    /// A frame of `len` bytes with `headroom` bytes in front of it.
    #[must_use]
    pub fn alloc_with(&self, headroom: usize, len: usize) -> Frame {
        let need = headroom + len;
        let mut buffer = match CLASSES.iter().position(|(size, _)| need <= *size) {
            Some(class) => self.free[class]
                .pop()
                .unwrap_or_else(|| Box::new(Buffer::new(CLASSES[class].0))),
            None => Box::new(Buffer::new(need + 64)),
        };
        let capacity = (buffer.lines.len() * 64) as u32;
        let base = NonNull::from(&mut *buffer.lines).cast::<u8>();
        self.out.fetch_add(1, Ordering::Relaxed);
        let token = Box::into_raw(buffer) as usize as u64;
        // SAFETY: the buffer's only owner is the token now; headroom + len <= capacity; counted in `out`.
        unsafe {
            Frame::from_parts(FrameParts {
                base,
                capacity,
                start: headroom as u32,
                len: len as u32,
                token,
                pool: self.ptr(),
            })
        }
    }

    /// A frame holding a copy of `data`.
    #[must_use]
    pub fn copy_from(&self, data: &[u8]) -> Frame {
        let mut frame = self.alloc(data.len());
        frame.data_mut().copy_from_slice(data);
        frame
    }

    /// A heap copy of a frame: data and metadata.
    #[must_use]
    pub fn duplicate(&self, frame: &Frame) -> Frame {
        let mut copy = self.copy_from(frame.data());
        copy.copy_metadata(frame);
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;

    #[test]
    fn frames_come_home_and_pools_outlive_them() {
        let pool = HeapPool::create();
        let mut batch = Batch::new();
        for i in 0..5u8 {
            batch.push(pool.copy_from(&[i; 100])).unwrap();
        }
        let big = pool.alloc(60_000);
        assert_eq!(pool.outstanding(), 6);
        batch.release_all();
        assert_eq!(pool.outstanding(), 1);
        drop(pool);
        assert_eq!(big.len(), 60_000);
        drop(big);
        drop(HeapPool::create()); // looks through the graveyard
    }

    #[test]
    fn buffers_of_every_size_are_used_again() {
        let pool = HeapPool::create();
        for (size, _) in CLASSES {
            assert_eq!(size % 64, 0);
            let mut frame = pool.alloc(size - HEADROOM);
            frame.data_mut().fill(0xa5);
            let first = frame.token();
            drop(frame);
            let again = pool.alloc(size - HEADROOM);
            assert_eq!((again.token(), again.tailroom()), (first, 0));
        }
        let odd = pool.alloc(100_000);
        assert!(odd.tailroom() >= 64);
        drop(odd);
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn push_pull_and_bounds() {
        let pool = HeapPool::create();
        let mut f = pool.copy_from(&[1, 2, 3]);
        assert!(f.push(HEADROOM) && !f.push(1));
        assert!(f.pull(HEADROOM));
        assert_eq!(f.data(), &[1, 2, 3]);
        assert!(!f.pull(4) && f.set_len(BUFFER_BYTES - HEADROOM) && !f.set_len(BUFFER_BYTES));
    }
}
