//! A bounded list of frames between threads, with a descriptor that is readable while it is not empty.
//!
//! The rx side of ports made of memory. Frames beyond the bound are lost and counted. One lock; the
//! length can be read without it, so that polling an empty mailbox costs one load.

use base::sync::{Arc, AtomicUsize, Counter, Mutex, Ordering, lock};
use packet::Frame;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

#[derive(Debug)]
pub(crate) struct Mailbox {
    capacity: usize,
    /// Frames in the list.
    len: AtomicUsize,
    frames: Mutex<VecDeque<Frame>>,
    event: OwnedFd,
    overflow: Counter,
}

impl Mailbox {
    pub(crate) fn create(capacity: usize) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            capacity,
            len: AtomicUsize::new(0),
            frames: Mutex::default(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            overflow: Counter::new(),
        }))
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) // pairs with the Release in push() and pop()
    }
    pub(crate) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
    /// Frames lost because the list was full.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow.get()
    }

    /// Appends a frame; false when it was lost.
    pub(crate) fn push(&self, frame: Frame) -> bool {
        let mut frames = lock(&self.frames);
        if frames.len() >= self.capacity {
            self.overflow.add_shared(1);
            return false;
        }
        frames.push_back(frame);
        self.len.store(frames.len(), Ordering::Release); // pairs with the Acquire in len()
        if frames.len() == 1 {
            // Cannot fail: the counter is at most 1 and the descriptor is ours.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
        true
    }

    /// Takes up to `max` frames out, in order.
    pub(crate) fn pop(&self, max: usize, mut take: impl FnMut(Frame)) -> usize {
        if self.len() == 0 {
            return 0;
        }
        let mut frames = lock(&self.frames);
        let n = frames.len().min(max);
        frames.drain(..n).for_each(&mut take);
        self.len.store(frames.len(), Ordering::Release); // pairs with the Acquire in len()
        if n > 0 && frames.is_empty() {
            // Cannot fail either: it was made readable by push().
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        n
    }
}
