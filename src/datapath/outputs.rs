//! [`Outputs`]: the tx side of one packet thread, a queue and a batch for each port.
//!
//! Batches are sent when full and at the end of each received batch, so what waits in them came in on one
//! port and the device's refusals can be booked there. Devices are kicked once per loop.

use crate::ledger::PortLedger;
use crate::limits::PORTS_MAX;
use base::sync::Counter;
use netdev::{TxQueue, TxReport};
use odp::DropReason;
use packet::{BATCH_MAX, Batch, Frame, HeapPool};

/// One port's sender.
#[derive(Debug)]
struct TxPort {
    queue: Box<dyn TxQueue>,
    batch: Batch,
    /// In the list of ports with something in `batch`.
    waiting: bool,
    /// In the list of ports to be kicked.
    unkicked: bool,
}

/// What this thread has sent.
#[derive(Debug, Default)]
pub(crate) struct TxTotals {
    pub(crate) packets: Counter,
    pub(crate) batches: Counter,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    ports: Vec<Option<Box<TxPort>>>,
    waiting: Vec<u32>,
    unkicked: Vec<u32>,
    pub(crate) totals: base::sync::Arc<TxTotals>,
}

impl Outputs {
    /// Adds or replaces a port's queue; gives the old one back.
    pub(crate) fn add(&mut self, port: u32, queue: Box<dyn TxQueue>) -> Option<Box<dyn TxQueue>> {
        let at = port as usize;
        debug_assert!(port < PORTS_MAX);
        if self.ports.len() <= at {
            self.ports.resize_with(at + 1, || None);
        }
        // Room for every port, so that the lists never grow while packets are forwarded.
        self.waiting.reserve(self.ports.len());
        self.unkicked.reserve(self.ports.len());
        let new = TxPort {
            queue,
            batch: Batch::new(),
            waiting: false,
            unkicked: false,
        };
        self.take(port, Some(new))
    }

    /// Removes a port; gives its queue back. Nothing waits in it between two received batches.
    pub(crate) fn remove(&mut self, port: u32) -> Option<Box<dyn TxQueue>> {
        self.take(port, None)
    }

    fn take(&mut self, port: u32, new: Option<TxPort>) -> Option<Box<dyn TxQueue>> {
        let slot = self.ports.get_mut(port as usize)?;
        let old = std::mem::replace(slot, new.map(Box::new))?;
        debug_assert!(old.batch.is_empty());
        self.unkicked.retain(|&p| p != port);
        Some(old.queue)
    }

    #[inline]
    fn port(&mut self, port: u32) -> Option<&mut TxPort> {
        self.ports.get_mut(port as usize)?.as_deref_mut()
    }

    /// Queues one frame.
    #[inline]
    pub(crate) fn push(&mut self, port: u32, frame: Frame, ledger: &PortLedger) {
        let Some(tx) = self
            .ports
            .get_mut(port as usize)
            .and_then(Option::as_deref_mut)
        else {
            ledger.drop_n(DropReason::NoSuchPort, 1);
            return;
        };
        if !tx.waiting {
            tx.waiting = true;
            self.waiting.push(port);
        }
        let pushed = tx.batch.push(frame);
        debug_assert!(pushed.is_ok(), "a full batch is sent at once");
        if tx.batch.room() == 0 {
            self.flush_port(port, ledger);
        }
    }

    /// Sends a whole batch that is in hand.
    #[inline]
    pub(crate) fn send(&mut self, port: u32, frames: &mut Batch, ledger: &PortLedger) {
        if let Some(tx) = self.port(port) {
            if !tx.batch.is_empty() {
                self.flush_port(port, ledger);
            }
            self.transmit(port, frames, ledger);
        } else {
            ledger.drop_n(DropReason::NoSuchPort, frames.len() as u64);
        }
        // A device that broke its promise to empty the batch has its frames back here.
        frames.release_all();
    }

    /// Sends copies of frames that go on elsewhere.
    pub(crate) fn send_copies(&mut self, port: u32, frames: &[Frame], ledger: &PortLedger) {
        ledger.created.add_local(frames.len() as u64);
        if self.port(port).is_none() {
            ledger.drop_n(DropReason::NoSuchPort, frames.len() as u64);
            return;
        }
        self.flush_port(port, ledger);
        let Some(tx) = self.port(port) else { return };
        let report = tx.queue.send_copies(frames);
        self.sent(port, frames.len(), &report, ledger);
    }

    /// Sends copies cut to `max_len` bytes.
    pub(crate) fn send_cut(
        &mut self,
        port: u32,
        frames: &[Frame],
        max_len: u32,
        ledger: &PortLedger,
    ) {
        let mut cut = Batch::new();
        for chunk in frames.chunks(BATCH_MAX) {
            for frame in chunk {
                let mut copy = HeapPool::global().duplicate(frame);
                let shorter = copy.set_len(copy.len().min(max_len as usize));
                debug_assert!(shorter);
                let pushed = cut.push(copy);
                debug_assert!(pushed.is_ok(), "a chunk fits a batch");
            }
            ledger.created.add_local(chunk.len() as u64);
            self.send(port, &mut cut, ledger);
        }
    }

    fn flush_port(&mut self, port: u32, ledger: &PortLedger) {
        let Some(tx) = self.port(port).filter(|tx| !tx.batch.is_empty()) else {
            return;
        };
        let given = tx.batch.len();
        let report = tx.queue.send(&mut tx.batch);
        self.sent(port, given, &report, ledger);
    }

    #[inline]
    fn transmit(&mut self, port: u32, frames: &mut Batch, ledger: &PortLedger) {
        let given = frames.len();
        if let Some(tx) = self.port(port) {
            let report = tx.queue.send(frames);
            self.sent(port, given, &report, ledger);
        }
    }

    /// Books what became of `given` frames.
    #[inline]
    fn sent(&mut self, port: u32, given: usize, r: &TxReport, ledger: &PortLedger) {
        self.totals.packets.add_local(u64::from(r.sent));
        self.totals.batches.add_local(1);
        ledger.forwarded.add_local(u64::from(r.sent));
        let lost = given as u64 - u64::from(r.sent).min(given as u64);
        if lost > 0 {
            book_losses(ledger, lost, r);
        }
        if let Some(tx) = self.port(port)
            && !tx.unkicked
        {
            tx.unkicked = true;
            self.unkicked.push(port);
        }
    }

    /// Sends everything that waits. All of it came in on the port of `ledger`.
    #[inline]
    pub(crate) fn flush(&mut self, ledger: &PortLedger) {
        while let Some(port) = self.waiting.pop() {
            if let Some(tx) = self.port(port) {
                tx.waiting = false;
            }
            self.flush_port(port, ledger);
        }
    }

    /// Releases everything that waits, unsent and unbooked.
    #[cold]
    pub(crate) fn abandon(&mut self) {
        self.waiting.clear();
        for tx in self.ports.iter_mut().flatten() {
            tx.waiting = false;
            tx.batch.release_all();
        }
    }

    /// Kicks the devices that got something since the last time.
    #[inline]
    pub(crate) fn kick(&mut self) {
        while let Some(port) = self.unkicked.pop() {
            if let Some(tx) = self.port(port) {
                tx.unkicked = false;
                tx.queue.flush();
            }
        }
    }
}

/// Books `lost` frames under the device's reasons; what it gives none for, as an error.
#[cold]
fn book_losses(ledger: &PortLedger, lost: u64, r: &TxReport) {
    let full = u64::from(r.full).min(lost);
    let too_big = u64::from(r.too_big).min(lost - full);
    ledger.drop_n(DropReason::TxQueueFull, full);
    ledger.drop_n(DropReason::MtuExceeded, too_big);
    let policed = u64::from(r.policed).min(lost - full - too_big);
    ledger.drop_n(DropReason::EgressPolicing, policed);
    ledger.drop_n(DropReason::TxError, lost - full - too_big - policed);
}
