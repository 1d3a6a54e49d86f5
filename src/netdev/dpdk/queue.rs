//! Rx and tx queues of a started port.
//!
//! A tx queue below the last belongs to one packet thread, which sends without a lock; the last is shared, under
//! a lock, by everybody else: control threads, and packet threads that found none of their own.

use super::attach::{Attached, Shared};
use super::burst::{self, MbufPool, QueueId};
use super::eal::attach_thread;
use super::library::Library;
use super::memory::Share;
use crate::device::{RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::offload::is_unfinished;
use crate::outgoing::{ETH_BYTES, finish_and_send, fits};
use base::sync::{Arc, AtomicBool, Mutex, Ordering, lock};
use packet::{BATCH_MAX, Batch, Frame, PoolOwner};

/// The queues of a port as it was last set up.
#[derive(Debug)]
pub(super) struct Queues {
    rx: Box<[AtomicBool]>,
    tx: Box<[AtomicBool]>,
    last: Mutex<()>,
    /// Kept while queues exist: the device, and the memory it receives into and copies to.
    attached: Arc<Attached>,
    memory: Arc<Share>,
    shared: Arc<Shared>,
}

impl Queues {
    pub(super) fn new(
        n_rxq: u16,
        n_txq: u16,
        attached: Arc<Attached>,
        memory: Arc<Share>,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let free = |n: u16| (0..n).map(|_| AtomicBool::new(false)).collect();
        Arc::new(Self {
            rx: free(n_rxq),
            tx: free(n_txq),
            last: Mutex::new(()),
            attached,
            memory,
            shared: Arc::clone(shared),
        })
    }
    pub(super) fn n_rxq(&self) -> u16 {
        self.rx.len() as u16
    }
    pub(super) fn n_txq(&self) -> u16 {
        self.tx.len() as u16
    }
}

/// Takes a queue that nobody has.
fn take(all: &[AtomicBool], queue: u32) -> Option<u16> {
    let flag = all.get(queue as usize)?;
    // Acquire: what the last owner did comes before (pairs with the Release in the queues' Drop).
    let taken = flag.swap(true, Ordering::Acquire);
    (!taken).then_some(queue as u16)
}

/// The receiving queue.
#[derive(Debug)]
pub(super) struct Rx {
    queues: Arc<Queues>,
    library: Library,
    pool: &'static PoolOwner<MbufPool>,
    id: QueueId,
    malformed: u64,
    told: bool,
}

impl Rx {
    /// `None` when there is no such queue, or another thread has it.
    pub(super) fn open(queues: &Arc<Queues>, queue: u32) -> Option<Self> {
        let library = queues.attached.library();
        Some(Self {
            id: (queues.attached.port, take(&queues.rx, queue)?),
            queues: Arc::clone(queues),
            library,
            pool: MbufPool::get(library),
            malformed: 0,
            told: false,
        })
    }
}

impl RxQueue for Rx {
    #[inline]
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        attach_thread(self.library);
        if self.queues.shared.is_gone() {
            if std::mem::replace(&mut self.told, true) {
                return Ok(0);
            }
            return Err(self.queues.shared.gone());
        }
        let before = batch.len();
        let malformed = &mut self.malformed;
        let n = burst::receive(self.library, self.pool, self.id, batch, malformed);
        self.queues.shared.qos.police_rx(batch, before);
        Ok(n)
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        vec![("rx_malformed", self.malformed)]
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        self.queues.rx[usize::from(self.id.1)].store(false, Ordering::Release); // pairs with take()
    }
}

/// The sending queue.
#[derive(Debug)]
pub(super) struct Tx {
    queues: Arc<Queues>,
    library: Library,
    pool: &'static PoolOwner<MbufPool>,
    id: QueueId,
    /// Nobody else sends through this queue.
    alone: bool,
}

impl Tx {
    /// A sender for packet thread `queue`, or (a number beyond the queues) for one that shares.
    pub(super) fn open(queues: &Arc<Queues>, queue: u32) -> Self {
        let last = queues.n_txq() - 1;
        let own = if queue < u32::from(last) {
            take(&queues.tx, queue)
        } else {
            None
        };
        let library = queues.attached.library();
        Self {
            id: (queues.attached.port, own.unwrap_or(last)),
            queues: Arc::clone(queues),
            library,
            pool: MbufPool::get(library),
            alone: own.is_some(),
        }
    }

    /// Why nothing can be sent now; then the frames count as errors.
    #[inline]
    fn is_closed(&self) -> bool {
        self.queues.shared.is_gone() || !self.queues.shared.is_up()
    }

    /// Sends a batch of finished mbufs of at most `limit` bytes; `None`, and nothing done, when it is not one.
    #[inline]
    fn pass(&self, batch: &mut Batch, limit: u32) -> Option<TxReport> {
        let _guard = (!self.alone).then(|| lock(&self.queues.last));
        burst::send(self.library, self.pool, self.id, limit, batch)
    }

    /// Sends frames that fit and need nothing finished, whosever they are.
    fn send_fitting(&self, batch: &mut Batch) -> TxReport {
        let qos = &self.queues.shared.qos;
        let mut total = TxReport::default();
        if qos.polices_tx() {
            total.policed = qos.police_tx(batch, |_| true);
        }
        let ours = self.pool.ptr();
        let mut run = Batch::new();
        // In order: a run ends where frames of another kind begin.
        for frame in batch.drain(..) {
            let alike =
                (run.last()).is_none_or(|f| f.pool().same(&ours) == frame.pool().same(&ours));
            if !alike {
                total.absorb(self.send_run(&mut run));
            }
            let pushed = run.push(frame);
            debug_assert!(pushed.is_ok(), "no more than were in a batch");
        }
        total.absorb(self.send_run(&mut run));
        total
    }

    /// Sends frames that are all mbufs, or all not.
    fn send_run(&self, run: &mut Batch) -> TxReport {
        self.pass(run, u32::MAX).unwrap_or_else(|| {
            let report = self.pass_copies(run);
            run.release_all();
            report
        })
    }

    /// Sends copies of frames that fit and need nothing finished.
    fn pass_copies(&self, frames: &[Frame]) -> TxReport {
        let _guard = (!self.alone).then(|| lock(&self.queues.last));
        burst::send_copies(self.library, self.id, self.queues.memory.pool, frames)
    }

    /// As [`TxQueue::send`], for batches that are not all alike.
    #[inline(never)]
    fn sort_and_send(&self, batch: &mut Batch) -> TxReport {
        let mtu = self.queues.shared.mtu();
        if batch.iter().all(|f| !is_unfinished(f) && fits(f, mtu)) {
            return self.send_fitting(batch);
        }
        let mut report = TxReport::default();
        let mut good = Batch::new();
        for frame in batch.drain(..) {
            if is_unfinished(&frame) {
                // In order: what came before goes first.
                report.absorb(self.send_fitting(&mut good));
                report.absorb(finish_and_send(&frame, |cut| {
                    let before = cut.len();
                    cut.retain(|f| fits(f, mtu));
                    let mut inner = self.send_fitting(cut);
                    let known = inner.sent + inner.full + inner.policed + inner.error;
                    inner.too_big += (before - known as usize) as u32;
                    inner
                }));
            } else if fits(&frame, mtu) {
                let pushed = good.push(frame);
                debug_assert!(pushed.is_ok(), "no more than were in a batch");
            } else {
                report.too_big += 1;
            }
        }
        report.absorb(self.send_fitting(&mut good));
        report
    }

    fn book(&self, report: TxReport) -> TxReport {
        if report.full + report.too_big + report.error > 0 {
            self.queues.shared.book(&report);
        }
        report
    }
}

impl TxQueue for Tx {
    #[inline]
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let n = batch.len() as u32;
        if self.is_closed() {
            batch.release_all();
            return self.book(TxReport {
                error: n,
                ..TxReport::default()
            });
        }
        let shared = &self.queues.shared;
        let plainly = if shared.qos.polices_tx() {
            None
        } else {
            self.pass(batch, shared.mtu() + ETH_BYTES as u32)
        };
        let report = match plainly {
            Some(report) => report,
            None => self.sort_and_send(batch),
        };
        self.book(report)
    }

    /// Straight into mbufs: several outputs of a packet cost one copy each.
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let mtu = self.queues.shared.mtu();
        let plain = !self.queues.shared.qos.polices_tx()
            && frames.iter().all(|f| !is_unfinished(f) && fits(f, mtu));
        let mut total = TxReport::default();
        for chunk in frames.chunks(BATCH_MAX) {
            let report = if plain && !self.is_closed() {
                self.book(self.pass_copies(chunk))
            } else {
                let heap = packet::HeapPool::global();
                let mut batch: Batch = Batch::new();
                batch.extend(chunk.iter().map(|f| heap.duplicate(f)));
                self.send(&mut batch)
            };
            total.absorb(report);
        }
        total
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.alone {
            self.queues.tx[usize::from(self.id.1)].store(false, Ordering::Release); // pairs with take()
        }
    }
}
