//! Rx and tx queues of dummy ports.

use super::QUEUE_MAX;
use super::device::DummyDevice;
use crate::device::{RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::mailbox::Mailbox;
use base::sync::Arc;
use packet::{Batch, Frame};
use std::os::fd::RawFd;

/// The shared part of an rx queue: the device pushes, the packet thread pops.
#[derive(Debug)]
pub(super) struct RxList {
    pub(super) queue: u32,
    pub(super) frames: Arc<Mailbox>,
}

impl RxList {
    pub(super) fn create(queue: u32) -> std::io::Result<Arc<Self>> {
        let frames = Mailbox::create(QUEUE_MAX)?;
        Ok(Arc::new(Self { queue, frames }))
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
        let max = self.device.rx_burst().min(batch.room());
        let mut bytes = 0;
        let n = self.list.frames.pop(max, |frame| {
            bytes += frame.len() as u64;
            let pushed = batch.push(frame);
            debug_assert!(pushed.is_ok(), "max is at most the room");
        });
        if n > 0 {
            self.device.count_rx(self.list.queue, n as u64, bytes);
        }
        Ok(n)
    }
    fn drain(&mut self) -> u64 {
        self.list.frames.pop(usize::MAX, drop) as u64
    }
    fn fd(&self) -> Option<RawFd> {
        Some(self.list.frames.fd())
    }
    fn prepare_sleep(&mut self) -> bool {
        self.list.frames.len() == 0
    }
    fn drops(&self) -> Vec<(&'static str, u64)> {
        vec![("rx_queue_full", self.list.frames.overflow())]
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
        let report = self.send_copies(batch);
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
