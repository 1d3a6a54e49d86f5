//! Rx and tx queues over the rings of one socket.
//!
//! The rings live in a [`Slot`] of the port while no thread has them. Opening a queue takes them out,
//! dropping the queue puts them back, so that a queue can move to another thread without unbinding the
//! socket. A tx queue that several threads share stays in its slot and is used under the slot's lock;
//! with a queue per thread nothing is locked.

use super::gather::PARTS_MAX;
use super::rings::{RxRing, TxRing};
use super::sockopt::statistics;
use crate::device::{RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::linux::Link;
use crate::offload::{complete_checksum, is_unfinished, recognise_partial};
use crate::outgoing::{finish_and_send, fits};
use base::clock::monotonic_ns;
use base::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, lock};
use packet::{Batch, Frame, RxFlags};
use std::os::fd::RawFd;

/// A tx ring from which nothing comes back for so long is stuck, nanoseconds.
const STUCK_NS: u64 = 1_000_000_000;

/// Frames smaller than this are copied rather than sent from where they lie, bytes: that costs less than to keep
/// account of them.
const BORROW_MIN: usize = 512;

/// Where rings wait for a thread.
pub(super) type Slot<T> = Arc<Mutex<Option<T>>>;

/// What the queues of a port tell the port.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// A tx ring is stuck: the port should be set up again.
    pub(super) stuck: AtomicBool,
    /// Packets that the device dropped after the kernel took them from a tx ring.
    pub(super) tx_device_drops: AtomicU64,
    /// Packets of several buffers or impossible length.
    pub(super) rx_malformed: AtomicU64,
}

/// How a port's packets are received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// Packets of local senders come with partial checksums and nothing that says so.
    pub(super) partial: bool,
    /// Who finds nothing runs the device's receive side.
    pub(super) busy_poll: bool,
}

/// The receiving queue.
#[derive(Debug)]
pub(super) struct Rx {
    link: Arc<Link>,
    born: u32,
    told: bool,
    ways: Ways,
    shared: Arc<Shared>,
    slot: Slot<RxRing>,
    /// `Some` until dropped.
    ring: Option<RxRing>,
}

impl Rx {
    /// Takes the rings of a queue; `None` when another thread has them.
    pub(super) fn open(
        link: &Arc<Link>,
        ways: Ways,
        slot: &Slot<RxRing>,
        shared: &Arc<Shared>,
    ) -> Option<Self> {
        let ring = lock(slot).take()?;
        Some(Self {
            born: link.generation(),
            link: Arc::clone(link),
            told: false,
            ways,
            shared: Arc::clone(shared),
            slot: Arc::clone(slot),
            ring: Some(ring),
        })
    }

    fn ring(&mut self) -> &mut RxRing {
        self.ring.as_mut().expect("only drop() takes it")
    }
}

impl RxQueue for Rx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        if self.link.generation() != self.born {
            if self.told {
                return Ok(0);
            }
            self.told = true;
            return Err(NetdevError::Gone {
                dev: self.link.name().to_owned(),
            });
        }
        let before = batch.len();
        let (partial, busy_poll) = (self.ways.partial, self.ways.busy_poll);
        let ring = self.ring();
        ring.refill();
        let mut n = ring.receive(batch);
        if n == 0 && busy_poll {
            ring.busy_poll();
            n = ring.receive(batch);
        }
        if n == 0 {
            ring.wake();
            let malformed = ring.malformed;
            self.shared.rx_malformed.store(malformed, Ordering::Relaxed);
        } else if partial {
            // The headers were prefetched one by one; now they are all on their way.
            batch[before..].iter_mut().for_each(recognise_partial);
        }
        self.link.qos.police_rx(batch, before);
        Ok(n)
    }

    fn fd(&self) -> Option<RawFd> {
        self.ring.as_ref().map(RxRing::fd)
    }

    fn prepare_sleep(&mut self) -> bool {
        let ring = self.ring();
        ring.refill();
        ring.wake();
        !ring.waiting()
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let Some(ring) = &self.ring else {
            return Vec::new();
        };
        let kernel = statistics(ring.fd()).unwrap_or_default();
        vec![
            ("rx_ring_full", kernel.rx_ring_full),
            ("rx_no_frame", kernel.rx_fill_ring_empty_descs),
            ("rx_oversize", kernel.rx_dropped),
            ("rx_malformed", ring.malformed),
        ]
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        *lock(&self.slot) = self.ring.take();
    }
}

/// A tx ring and what its owner must remember.
#[derive(Debug)]
pub(super) struct TxSide {
    ring: TxRing,
    link: Arc<Link>,
    born: u32,
    shared: Arc<Shared>,
    /// Something was put into the ring since the last kick.
    unkicked: bool,
    /// Frames may be sent from where they lie.
    borrows: bool,
    watch: Watch,
}

/// Finds out that a tx ring is stuck: the kernel took frames and gives none back.
#[derive(Debug, Default)]
struct Watch {
    /// Since when no frame was free and none came back, nanoseconds.
    full_since: Option<u64>,
}

impl Watch {
    /// Frames are free, or some came back.
    fn moving(&mut self) {
        self.full_since = None;
    }
    /// None is free and none came back; true when that has lasted too long.
    fn full(&mut self, now: u64) -> bool {
        let since = *self.full_since.get_or_insert(now);
        now.saturating_sub(since) > STUCK_NS
    }
}

impl TxSide {
    pub(super) fn new(ring: TxRing, link: &Arc<Link>, shared: &Arc<Shared>, borrows: bool) -> Self {
        Self {
            ring,
            born: link.generation(),
            link: Arc::clone(link),
            shared: Arc::clone(shared),
            unkicked: false,
            borrows,
            watch: Watch::default(),
        }
    }

    fn send(&mut self, frames: &[Frame]) -> TxReport {
        let mut report = TxReport::default();
        if self.link.generation() != self.born || !self.link.is_up() {
            report.error = frames.len() as u32;
            return report;
        }
        let wanted: usize = frames.iter().map(|f| self.ring.frames_for(f.len())).sum();
        if self.ring.free() < wanted {
            self.make_room(wanted);
        }
        let mtu = self.link.mtu();
        for frame in frames {
            if is_unfinished(frame) {
                report.absorb(finish_and_send(frame, |cut| {
                    let mut inner = TxReport::default();
                    cut.iter().for_each(|f| self.copy(f, mtu, &mut inner));
                    cut.release_all();
                    inner
                }));
            } else {
                self.copy(frame, mtu, &mut report);
            }
        }
        self.ring.submit();
        self.unkicked |= report.sent > 0;
        report
    }

    /// Sends frames that need not come back: large ones from where they lie, when they lie in memory that this
    /// socket shares.
    fn send_owned(&mut self, batch: &mut Batch) -> TxReport {
        if !self.borrows || batch.iter().all(|f| f.len() < BORROW_MIN) {
            let report = self.send(batch.as_slice());
            batch.release_all();
            return report;
        }
        let mtu = self.link.mtu();
        let mut report = TxReport::default();
        let mut copied = Batch::new();
        let ready = self.link.generation() == self.born && self.link.is_up();
        for mut frame in batch.drain(..) {
            let large = ready && frame.len() >= BORROW_MIN && fits(&frame, mtu);
            if large && self.ring.may_borrow(&frame) && finished(&mut frame) {
                report.sent += 1;
                report.bytes += frame.len() as u64;
                self.ring.borrow(frame);
            } else {
                // In order: what was borrowed so far is in front of it.
                report.absorb(self.send(std::slice::from_ref(&frame)));
                drop(copied.push(frame));
            }
        }
        copied.release_all();
        self.ring.submit();
        self.unkicked |= report.sent > 0;
        report
    }

    #[inline]
    fn copy(&mut self, frame: &Frame, mtu: u32, report: &mut TxReport) {
        if frame.len() > self.ring.room() || !fits(frame, mtu) {
            report.too_big += 1;
        } else if self.ring.copy(frame.data()) {
            report.sent += 1;
            report.bytes += frame.len() as u64;
        } else {
            report.full += 1;
        }
    }

    /// Tries to have `wanted` frames free: takes back what was sent, and sends what waits.
    #[cold]
    fn make_room(&mut self, wanted: usize) {
        let mut back = self.ring.reap();
        if self.ring.free() < wanted {
            self.kick();
            back += self.ring.reap();
        }
        // A few may be too few for one packet.
        if back > 0 || self.ring.free() >= wanted.min(PARTS_MAX) {
            self.watch.moving();
            return;
        }
        if self.watch.full(monotonic_ns()) && !self.shared.stuck.swap(true, Ordering::Relaxed) {
            self.link.changed();
        }
    }

    fn kick(&mut self) {
        let kick = self.ring.kick();
        self.unkicked = kick.unfinished;
        if kick.dropped > 0 {
            self.shared
                .tx_device_drops
                .fetch_add(kick.dropped, Ordering::Relaxed);
        }
    }

    /// In copy mode most packets are done with when the kick returns. Their frames are taken back at once, so
    /// that the same few, still in the cache and known to the TLB, are used again and again.
    fn flush(&mut self) {
        if self.unkicked {
            self.kick();
            self.ring.reap();
        }
    }
}

/// Completes a partial checksum in place; false when the frame needs more than that.
fn finished(frame: &mut Frame) -> bool {
    frame.flags & RxFlags::GSO == 0 && complete_checksum(frame).is_ok()
}

/// The sending queue: rings of its own, or shared ones under a lock.
#[derive(Debug)]
pub(super) enum Tx {
    /// The only sender. `Some` until dropped.
    Own(Slot<Box<TxSide>>, Option<Box<TxSide>>),
    /// One of several senders.
    Shared(Slot<Box<TxSide>>),
}

impl Tx {
    /// A sender that shares the rings of `slot`, or has them to itself; `None` when somebody else has.
    pub(super) fn open(slot: &Slot<Box<TxSide>>, alone: bool) -> Option<Self> {
        let mut guard = lock(slot);
        if alone {
            guard
                .take()
                .map(|side| Self::Own(Arc::clone(slot), Some(side)))
        } else {
            guard.is_some().then(|| Self::Shared(Arc::clone(slot)))
        }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut TxSide) -> T) -> Option<T> {
        match self {
            Self::Own(_, side) => side.as_deref_mut().map(f),
            Self::Shared(slot) => lock(slot).as_deref_mut().map(f),
        }
    }
}

impl TxQueue for Tx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let n = batch.len() as u32;
        let report = self.with(|side| side.send_owned(batch));
        batch.release_all();
        report.unwrap_or_else(|| TxReport {
            error: n,
            ..TxReport::default()
        })
    }

    /// Straight into the UMEM: several outputs of a packet cost one copy each and no frame in between.
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let n = frames.len() as u32;
        let lost = TxReport {
            error: n,
            ..TxReport::default()
        };
        self.with(|side| side.send(frames)).unwrap_or(lost)
    }

    fn flush(&mut self) {
        self.with(TxSide::flush);
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Self::Own(slot, side) = self {
            *lock(slot) = side.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_stuck_when_nothing_moved_for_a_second() {
        let mut watch = Watch::default();
        assert!(!watch.full(5) && !watch.full(5 + STUCK_NS));
        assert!(watch.full(6 + STUCK_NS));
        watch.moving(); // one frame came back: the second begins anew
        assert!(!watch.full(7 + STUCK_NS) && !watch.full(7 + 2 * STUCK_NS));
        assert!(watch.full(8 + 2 * STUCK_NS));
    }
}
