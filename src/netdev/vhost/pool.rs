//! Buffers that packets from guests are copied into: those of one rx queue, in one piece of memory.
//!
//! The queue keeps the free ones in a list of its own and gives out those that came home last, which are
//! still in the caches. Others release into a [`Chain`]. A packet too long for a buffer, or for which there
//! is none, gets plain memory of its own.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a buffer is a numbered part of one allocation, and is in at most one frame or list at a time.

use base::sync::{Chain, Counter};
use packet::{Frame, FrameParts, FramePool, HEADROOM, HeapPool, PoolOwner};
use std::ptr::NonNull;

/// Lines of a buffer. Odd, so that the same part of each buffer falls on a different set of the cache.
const LINES: usize = 33;
/// Bytes of a buffer: headroom, a 1,518-byte packet with tags, some tailroom.
const BUFFER_BYTES: usize = 64 * LINES;
/// Buffers of a queue: what two deep tx rings hold, and packets that wait for a flow. The kernel gives
/// memory only for those that were ever used.
pub(super) const BUFFERS: u32 = 4096;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// The memory, and what came home to it.
struct Slab {
    /// Never touched but through frames: `buffers` times [`LINES`].
    memory: NonNull<Line>,
    lines: usize,
    home: Chain,
    /// Buffers given out and not taken back; written by the rx queue alone.
    out: Counter,
}

// SAFETY: the memory belongs to the slab, and parts of it to whoever has the frame.
unsafe impl Send for Slab {}
// SAFETY: as above; the slab's own methods touch no buffer.
unsafe impl Sync for Slab {}

impl std::fmt::Debug for Slab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slab({} buffers)", self.lines / LINES)
    }
}

impl FramePool for Slab {
    fn release(&self, tokens: &[u64]) {
        self.home.push(tokens);
    }
    fn outstanding(&self) -> usize {
        // Exact once the queue is gone, which is when it matters.
        let out = self.out.get().saturating_sub(self.home.len());
        usize::try_from(out).unwrap_or(usize::MAX)
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let memory = std::ptr::slice_from_raw_parts_mut(self.memory.as_ptr(), self.lines);
        // SAFETY: the box that new() let go, of that many lines; no frame is out (PoolOwner's rule).
        drop(unsafe { Box::from_raw(memory) });
    }
}

/// The buffers of one rx queue. See the module.
#[derive(Debug)]
pub(super) struct Buffers {
    slab: PoolOwner<Slab>,
    free: Vec<u32>,
    /// Given out since the slab was told.
    given: u64,
}

impl Buffers {
    /// `n` buffers.
    pub(super) fn new(n: u32) -> Self {
        let lines = LINES * n as usize;
        // Zeros straight from the kernel: no page is touched yet.
        let memory: Box<[Line]> = zeroed(lines);
        let memory = NonNull::from(Box::leak(memory)).cast::<Line>();
        let slab = Slab {
            memory,
            lines,
            home: Chain::new(n),
            out: Counter::new(),
        };
        Self {
            slab: PoolOwner::new(slab),
            free: (0..n).rev().collect(),
            given: 0,
        }
    }

    /// Takes in what came home. For the beginning of a burst.
    #[inline]
    pub(super) fn refresh(&mut self) {
        let free = &mut self.free;
        let came = self.slab.home.take(|n| free.push(n));
        let change = std::mem::take(&mut self.given).wrapping_sub(came);
        if change != 0 {
            self.slab.out.add_local(change);
        }
    }

    /// A frame of `len` bytes with [`HEADROOM`] in front. `write` fills it, and `before` bytes in front of it.
    #[inline]
    pub(super) fn take(
        &mut self,
        before: usize,
        len: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Frame {
        debug_assert!(before <= HEADROOM);
        let n = match self.free.pop() {
            Some(n) if len <= BUFFER_BYTES - HEADROOM => n,
            other => {
                self.free.extend(other);
                return from_heap(before, len, write);
            }
        };
        self.given += 1;
        // SAFETY: n is below the number of buffers.
        let base = unsafe { self.slab.memory.add(LINES * n as usize) }.cast::<u8>();
        // SAFETY: HEADROOM and what follows is inside the buffer.
        let data = unsafe { base.add(HEADROOM - before) };
        // SAFETY: before <= HEADROOM and HEADROOM + len <= BUFFER_BYTES; buffer n was in the free list, so nobody
        // else has it; any bytes are bytes, and new() wrote zeros.
        write(unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), before + len) });
        // SAFETY: the buffer is nobody else's; headroom and data fit; it is counted.
        unsafe {
            Frame::from_parts(FrameParts {
                base,
                capacity: BUFFER_BYTES as u32,
                start: HEADROOM as u32,
                len: len as u32,
                token: u64::from(n),
                pool: self.slab.ptr(),
            })
        }
    }
}

#[cold]
fn from_heap(before: usize, len: usize, write: impl FnOnce(&mut [u8])) -> Frame {
    let mut frame = HeapPool::global().alloc(len);
    let grown = frame.push(before);
    debug_assert!(grown, "headroom is larger");
    write(frame.data_mut());
    let shrunk = frame.pull(before);
    debug_assert!(shrunk);
    frame
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.refresh();
    }
}

fn zeroed(lines: usize) -> Box<[Line]> {
    let memory = Box::<[Line]>::new_zeroed_slice(lines);
    // SAFETY: zeros are lines.
    unsafe { memory.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn buffers_are_disjoint_come_home_and_run_out_into_the_heap() {
        let mut buffers = Buffers::new(4);
        buffers.refresh();
        let mut frames: Vec<_> = (0..6u8).map(|_| buffers.take(0, 1800, |_| {})).collect();
        frames
            .iter_mut()
            .zip(0..)
            .for_each(|(f, i)| f.data_mut().fill(i));
        for (f, i) in frames.iter().zip(0u8..) {
            assert!(f.data().iter().all(|b| *b == i));
        }
        let pool = buffers.slab.ptr();
        let ours = frames.iter().filter(|f| f.pool().same(&pool)).count();
        assert_eq!(ours, 4);
        buffers.refresh();
        assert_eq!(buffers.slab.outstanding(), 4);
        let tokens: BTreeSet<_> = frames[..4].iter().map(Frame::token).collect();
        assert_eq!(tokens.len(), 4);
        drop(frames);
        assert_eq!(buffers.slab.outstanding(), 0);
        buffers.refresh();
        assert_eq!(buffers.free.len(), 4);
        assert!(
            !buffers
                .take(12, 60_000, |b| assert_eq!(b.len(), 60_012))
                .pool()
                .same(&pool)
        );
    }

    #[test]
    fn frames_outlive_their_queue() {
        let mut buffers = Buffers::new(2);
        let mut frame = buffers.take(0, 100, |_| {});
        drop(buffers);
        frame.data_mut().fill(7);
        assert!(frame.data().iter().all(|b| *b == 7));
    }
}
