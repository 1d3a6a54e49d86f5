//! What packet threads hold of a port: rx and tx queues.

use super::pool::{BUFFERS, Buffers};
use super::receive::receive;
use super::ring::{Fault, Ring};
use super::shared::Shared;
use super::transmit::transmit;
use super::vring::{State, Vring};
use super::waker::Waker;
use crate::device::{RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::outgoing::fits;
use base::sync::{Arc, Ordering};
use packet::{BATCH_MAX, Batch, Frame, HeapPool};
use std::os::fd::RawFd;

/// Out of the guest.
#[derive(Debug)]
pub(super) struct VhostRx {
    shared: Arc<Shared>,
    /// The ring's number.
    index: usize,
    waker: Arc<Waker>,
    buffers: Buffers,
    /// The guest was asked for kicks.
    asked: bool,
}

impl VhostRx {
    pub(super) fn open(shared: &Arc<Shared>, queue: u32) -> std::io::Result<Self> {
        let waker = Arc::new(Waker::new()?);
        let index = 2 * queue as usize + 1;
        {
            let mut state = shared.vrings[index].lock();
            if let Some(kick) = &state.kick {
                waker.listen(kick);
            }
            state.waker = Some(Arc::clone(&waker));
        }
        Ok(Self {
            shared: Arc::clone(shared),
            index,
            waker,
            buffers: Buffers::new(BUFFERS),
            asked: false,
        })
    }

    #[inline]
    fn vring(&self) -> &Vring {
        &self.shared.vrings[self.index]
    }

    /// Shows the guest all that it gets back, and calls it if it waits for that.
    fn settle_calls(&self, state: &mut State) {
        let asks = |ring: &mut Ring| {
            ring.places.show(&ring.tables);
            ring.places.asks(&ring.tables)
        };
        if state.ring.as_mut().is_some_and(asks) {
            state.call(&self.shared.caller, &self.vring().counts);
        }
    }
}

impl Drop for VhostRx {
    fn drop(&mut self) {
        let mut state = self.vring().lock();
        self.settle_calls(&mut state);
        if state
            .waker
            .as_ref()
            .is_some_and(|w| Arc::ptr_eq(w, &self.waker))
        {
            state.waker = None;
        }
    }
}

impl RxQueue for VhostRx {
    #[inline]
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        let vring = &self.shared.vrings[self.index];
        if !vring.is_running() || !self.shared.is_up() {
            return Ok(0);
        }
        let Some(mut guard) = vring.try_lock() else {
            return Ok(0);
        };
        let state = &mut *guard;
        let Some(ring) = &mut state.ring else {
            return Ok(0);
        };
        if std::mem::take(&mut self.asked) {
            ring.no_more_kicks();
        }
        let before = batch.len();
        let (call, mut result) = receive(ring, batch, &mut self.buffers, &vring.counts);
        if ring.is_lost() {
            result = Err(Fault::Lost);
            batch.truncate(before);
        }
        if call {
            state.call(&self.shared.caller, &vring.counts);
        }
        if let Err(fault) = result {
            self.shared.fail(self.index, state, fault);
        }
        let n = batch.len() - before;
        self.shared.qos.police_rx(batch, before);
        Ok(n)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.waker.fd())
    }

    fn prepare_sleep(&mut self) -> bool {
        // First: what comes from here on wakes.
        self.waker.quiet();
        if !self.shared.is_up() {
            return true;
        }
        let Some(mut state) = self.shared.vrings[self.index].try_lock() else {
            return false;
        };
        self.asked = true;
        self.settle_calls(&mut state);
        state.ring.as_mut().is_none_or(|r| r.ask_for_kicks())
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        self.vring().counts.losses().to_vec()
    }
}

/// Into the guest, by the pair that its number falls on among those that run.
#[derive(Debug)]
pub(super) struct VhostTx {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: u32,
    /// The pairs that ran when `index` was chosen, and that.
    pub(super) pairs: u64,
    pub(super) index: usize,
}

impl VhostTx {
    /// The ring to send by.
    #[inline]
    fn choose(&mut self) -> Option<usize> {
        let pairs = self.shared.into_guest.load(Ordering::Relaxed);
        if pairs != self.pairs {
            self.pairs = pairs;
            self.index = 2 * nth_pair(pairs, self.queue) as usize;
        }
        (pairs != 0).then_some(self.index)
    }
}

/// Number `n` (counted around) of the set bits.
fn nth_pair(mut pairs: u64, n: u32) -> u32 {
    let n = n % pairs.count_ones().max(1);
    for _ in 0..n {
        pairs &= pairs - 1;
    }
    pairs.trailing_zeros() % u64::BITS
}

impl TxQueue for VhostTx {
    #[inline]
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let report = self.pass(batch);
        self.shared.drops.count(&report);
        report
    }

    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let report = if self.shared.qos.polices_tx() {
            self.pass_copies(frames)
        } else {
            self.copy(frames)
        };
        self.shared.drops.count(&report);
        report
    }
}

impl VhostTx {
    #[inline]
    fn pass(&mut self, batch: &mut Batch) -> TxReport {
        let qos = &self.shared.qos;
        let policed = if qos.polices_tx() {
            let mtu = self.shared.limits().mtu;
            qos.police_tx(batch, |frame| fits(frame, mtu))
        } else {
            0
        };
        let report = self.copy(batch.as_slice());
        batch.release_all();
        TxReport { policed, ..report }
    }

    /// What must be thinned out is copied first.
    #[cold]
    fn pass_copies(&mut self, frames: &[Frame]) -> TxReport {
        let mut total = TxReport::default();
        for chunk in frames.chunks(BATCH_MAX) {
            let mut batch = Batch::new();
            batch.extend(chunk.iter().map(|f| HeapPool::global().duplicate(f)));
            total.absorb(self.pass(&mut batch));
        }
        total
    }

    fn copy(&mut self, frames: &[Frame]) -> TxReport {
        let none = TxReport {
            error: frames.len() as u32,
            ..TxReport::default()
        };
        let Some(index) = self.choose().filter(|_| self.shared.is_up()) else {
            return none;
        };
        let vring = &self.shared.vrings[index];
        // Another thread may be sending by the same ring, for the length of a burst.
        let mut guard = vring.lock();
        let state = &mut *guard;
        let Some(ring) = &mut state.ring else {
            return none;
        };
        let (report, call, mut fault) = transmit(ring, frames, self.shared.limits(), &vring.counts);
        if ring.is_lost() {
            fault = Some(Fault::Lost);
        }
        if call {
            state.call(&self.shared.caller, &vring.counts);
        }
        if let Some(fault) = fault {
            self.shared.fail(index, state, fault);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_spread_over_the_pairs_that_run() {
        let at = |pairs, n| (0..n).map(|i| nth_pair(pairs, i)).collect::<Vec<_>>();
        assert_eq!(at(0b1011, 5), [0, 1, 3, 0, 1]);
        assert_eq!(at(1 << 63, 2), [63, 63]);
        assert_eq!(at(0, 2), [0, 0]);
    }
}
