//! Queues of fault ports: another port's queues with a [`Pipe`] in front.

use super::Shared;
use super::counts::PipeCounts;
use super::pipe::{Faults, Pipe};
use crate::device::{RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::mailbox::Mailbox;
use base::clock::Clock;
use base::sync::{Arc, Mutex, Weak, lock};
use packet::{BATCH_MAX, Batch};
use std::os::fd::RawFd;

/// A pipe that its queue and the port's `set_config` share.
pub(super) type SharedPipe = Arc<Mutex<Pipe>>;

/// Receives from the device behind, through a pipe.
#[derive(Debug)]
pub(super) struct FaultRx {
    pub(super) inner: Box<dyn RxQueue>,
    pub(super) pipe: SharedPipe,
    pub(super) counts: Arc<PipeCounts>,
    pub(super) clock: Clock,
    /// Frames may have to wait, so readiness of the device's descriptor is not the whole story.
    pub(super) holds: bool,
}

impl RxQueue for FaultRx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        let now = self.clock.now();
        let mut fresh = Batch::new();
        let policed = self.inner.recv(&mut fresh)?.saturating_sub(fresh.len());
        let mut pipe = lock(&self.pipe);
        for frame in fresh.drain(..) {
            pipe.offer(frame, now);
        }
        let n = pipe.advance(now).min(batch.room());
        for frame in (0..n).map_while(|_| pipe.take()) {
            let pushed = batch.push(frame);
            debug_assert!(pushed.is_ok(), "n is at most the room");
        }
        Ok(n + policed)
    }
    fn drain(&mut self) -> u64 {
        let fresh = self.inner.drain();
        lock(&self.pipe).take_all(fresh)
    }
    fn fd(&self) -> Option<RawFd> {
        if self.holds { None } else { self.inner.fd() }
    }
    fn prepare_sleep(&mut self) -> bool {
        lock(&self.pipe).advance(self.clock.now()) == 0 && self.inner.prepare_sleep()
    }
    fn drops(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.get();
        let mut drops = self.inner.drops();
        drops.push(("fault_injected", counts.dropped));
        drops.push(("fault_overflow", counts.overflowed));
        drops
    }
}

/// Sends through a pipe to the device behind. Shared with the port, which lets go of what is due when
/// nothing more is sent.
#[derive(Debug)]
pub(super) struct TxHalf {
    inner: Box<dyn TxQueue>,
    pub(super) pipe: Pipe,
    counts: Arc<PipeCounts>,
    clock: Clock,
}

impl TxHalf {
    pub(super) fn new(
        inner: Box<dyn TxQueue>,
        pipe: Pipe,
        counts: Arc<PipeCounts>,
        clock: Clock,
    ) -> Self {
        Self {
            inner,
            pipe,
            counts,
            clock,
        }
    }

    /// Passes on what is due.
    pub(super) fn release(&mut self) {
        let mut left = self.pipe.advance(self.clock.now());
        while left > 0 {
            let mut batch = Batch::new();
            for frame in (0..left.min(BATCH_MAX)).map_while(|_| self.pipe.take()) {
                let pushed = batch.push(frame);
                debug_assert!(pushed.is_ok(), "at most a batch");
            }
            left -= batch.len();
            let r = self.inner.send(&mut batch);
            let refused = r.full + r.too_big + r.error;
            self.counts.refused.add_shared(u64::from(refused));
        }
    }
}

/// The packet thread's handle. As with a bad wire, every frame given counts as sent.
#[derive(Debug)]
pub(super) struct FaultTx(pub(super) Arc<Mutex<TxHalf>>);

impl TxQueue for FaultTx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let mut half = lock(&self.0);
        let now = half.clock.now();
        let mut report = TxReport::default();
        for frame in batch.drain(..) {
            report.sent += 1;
            report.bytes += frame.len() as u64;
            half.pipe.offer(frame, now);
        }
        half.release();
        report
    }
    fn flush(&mut self) {
        let mut half = lock(&self.0);
        half.release();
        half.inner.flush();
    }
}

/// Where the frames of a `pair` port go: the other port's mailbox, while it is there.
#[derive(Debug)]
pub(super) struct PairTx {
    pub(super) shared: Weak<Shared>,
    pub(super) peer: String,
}

impl PairTx {
    fn peer(&self) -> Option<Arc<Mailbox>> {
        let shared = self.shared.upgrade()?;
        let ends = lock(&shared.ends);
        ends.get(&self.peer)?.upgrade()
    }
}

impl TxQueue for PairTx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let mut report = TxReport::default();
        let Some(peer) = self.peer() else {
            report.error = batch.len() as u32;
            batch.release_all();
            return report;
        };
        for frame in batch.drain(..) {
            let bytes = frame.len() as u64;
            if peer.push(frame) {
                report.sent += 1;
                report.bytes += bytes;
            } else {
                report.full += 1;
            }
        }
        report
    }
}

/// The own mailbox of a `pair` port.
#[derive(Debug)]
pub(super) struct PairRx(pub(super) Arc<Mailbox>);

impl RxQueue for PairRx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        Ok(self.0.pop(batch.room(), |frame| {
            let pushed = batch.push(frame);
            debug_assert!(pushed.is_ok(), "at most the room");
        }))
    }
    fn drain(&mut self) -> u64 {
        self.0.pop(usize::MAX, drop) as u64
    }
    fn fd(&self) -> Option<RawFd> {
        Some(self.0.fd())
    }
    fn prepare_sleep(&mut self) -> bool {
        self.0.len() == 0
    }
}

/// The pipes of open queues, for changes of configuration and for frames that are due.
#[derive(Debug, Default)]
pub(super) struct OpenQueues {
    pub(super) rx: Vec<Weak<Mutex<Pipe>>>,
    pub(super) tx: Vec<Weak<Mutex<TxHalf>>>,
}

impl OpenQueues {
    pub(super) fn set_faults(&mut self, rx: Faults, tx: Faults) {
        for pipe in self.rx.iter().filter_map(Weak::upgrade) {
            lock(&pipe).set_faults(rx);
        }
        for half in self.tx.iter().filter_map(Weak::upgrade) {
            lock(&half).pipe.set_faults(tx);
        }
    }
    pub(super) fn release(&mut self) {
        self.rx.retain(|p| p.strong_count() > 0);
        self.tx.retain(|h| h.strong_count() > 0);
        for half in self.tx.iter().filter_map(Weak::upgrade) {
            lock(&half).release();
        }
    }
}
