//! Rx and tx queues of dummy ports.
//!
//! An rx queue is a bounded list and an eventfd that is readable while the list is not empty. The list's
//! lock is taken inside the device's lock when packets are queued, and alone when they are taken out.

use super::QUEUE_MAX;
use super::device::DummyDevice;
use crate::device::{RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use base::sync::{Arc, AtomicUsize, Counter, Mutex, Ordering, lock};
use packet::{Batch, Frame};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The shared part of an rx queue: the device pushes, the packet thread pops.
#[derive(Debug)]
pub(super) struct RxList {
    pub(super) queue: u32,
    /// Frames in the list, readable without its lock.
    len: AtomicUsize,
    frames: Mutex<VecDeque<Frame>>,
    event: OwnedFd,
    overflow: Counter,
}

impl RxList {
    pub(super) fn create(queue: u32) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            queue,
            len: AtomicUsize::new(0),
            frames: Mutex::default(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            overflow: Counter::new(),
        }))
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) // pairs with the Release in push() and pop()
    }

    /// Appends a frame; a full list loses it.
    pub(super) fn push(&self, frame: Frame) {
        let mut frames = lock(&self.frames);
        if frames.len() >= QUEUE_MAX {
            self.overflow.add_shared(1);
            return;
        }
        frames.push_back(frame);
        self.len.store(frames.len(), Ordering::Release); // pairs with the Acquire in len()
        if frames.len() == 1 {
            // Cannot fail: the counter is at most 1 and the descriptor is ours.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Takes up to `max` frames out, in order.
    fn pop(&self, max: usize, mut take: impl FnMut(Frame)) -> usize {
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

/// What a packet thread polls.
#[derive(Debug)]
pub(super) struct DummyRx {
    pub(super) device: Arc<DummyDevice>,
    pub(super) list: Arc<RxList>,
}

impl RxQueue for DummyRx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        if self.list.len() == 0 {
            return Ok(0);
        }
        let max = self.device.rx_burst().min(batch.room());
        let mut bytes = 0;
        let n = self.list.pop(max, |frame| {
            bytes += frame.len() as u64;
            let pushed = batch.push(frame);
            debug_assert!(pushed.is_ok(), "max is at most the room");
        });
        self.device.count_rx(self.list.queue, n as u64, bytes);
        Ok(n)
    }
    fn drain(&mut self) -> u64 {
        self.list.pop(usize::MAX, drop) as u64
    }
    fn fd(&self) -> Option<RawFd> {
        Some(self.list.event.as_raw_fd())
    }
    fn prepare_sleep(&mut self) -> bool {
        self.list.len() == 0
    }
    fn drops(&self) -> Vec<(&'static str, u64)> {
        vec![("rx_queue_full", self.list.overflow.get())]
    }
}

impl Drop for DummyRx {
    fn drop(&mut self) {
        self.device.close_rx(&self.list);
    }
}

/// What a packet thread sends through.
#[derive(Debug)]
pub(super) struct DummyTx {
    pub(super) device: Arc<DummyDevice>,
    pub(super) queue: u32,
}

impl TxQueue for DummyTx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let mut report = TxReport::default();
        for frame in batch.iter() {
            self.device.transmit(self.queue, frame.data(), &mut report);
        }
        batch.release_all();
        report
    }
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let mut report = TxReport::default();
        for frame in frames {
            self.device.transmit(self.queue, frame.data(), &mut report);
        }
        report
    }
}
