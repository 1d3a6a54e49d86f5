//! One round of a packet thread: messages, rx queues, timers.
//!
//! Where cycles go is told by marks of the cycle counter, one after each poll of a queue: what lies between two
//! marks was spent on that queue if it brought anything, and a round lasts from its predecessor's last mark to its
//! own. The clock is only read when the marks say that it has moved.

use super::perf::Sample;
use super::process::Lengths;
use super::{Message, Perf, Pmd, RxSlot};
use crate::cycles::{cycles, cycles_per_second};
use crate::limits::{CLOCK_EVERY_US, INTERVAL_S, RANK_MS, RX_BURSTS};
use crate::pkts::Pkts;
use base::clock::Nanos;
use base::sync::Ordering;
use odp::{DropReason, OdpPort};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What one packet is worth where cycles may not be looked at, and what a round without any.
const WORTH: u64 = 100;
const ROUND_WORTH: u64 = 10;

impl Pmd {
    /// One round: true when anything was done.
    pub(crate) fn turn(&mut self) -> bool {
        let begun = self.mark;
        let messages = self.run_messages();
        let before = self.perf.is_some().then(|| self.counted());
        let packets = self.poll_all();
        if self.rxqs.is_empty() {
            self.set_mark();
        }
        self.after_polling();
        let spent = self.spent(begun, packets);
        if let Some(before) = before {
            self.note_round(before, packets, spent);
        }
        let totals = &self.shared.totals;
        if packets > 0 {
            totals.busy.add_local(spent);
            totals.busy_rounds.add_local(1);
        } else {
            totals.idle.add_local(spent);
            totals.idle_rounds.add_local(1);
        }
        messages || packets > 0
    }

    /// Batches received and upcalls sent so far.
    fn counted(&self) -> (u64, u64) {
        (self.shared.totals.batches.get(), self.exec.missed_up)
    }

    #[cold]
    fn note_round(&mut self, before: (u64, u64), packets: u64, cycles: u64) {
        let now = self.counted();
        let sample = Sample {
            cycles,
            packets,
            batches: now.0 - before.0,
            upcalls: now.1.saturating_sub(before.1),
            ..Sample::default()
        };
        let time = self.common.clock.now();
        if let Some(perf) = &mut self.perf {
            perf.round(time, sample);
        }
    }

    /// Keeps distributions, or stops doing so, as control threads want it.
    fn follow_tuning(&mut self) {
        let wanted = self.common.tuning.metrics.load(Ordering::Relaxed);
        if wanted != self.perf.is_some() {
            self.perf = wanted.then(|| Box::new(Perf::new()));
        }
    }

    /// Cycles from a mark to the last one.
    #[inline]
    fn spent(&self, begun: u64, packets: u64) -> u64 {
        if self.common.repeatable {
            (packets * WORTH).max(ROUND_WORTH)
        } else {
            self.mark.wrapping_sub(begun)
        }
    }

    /// What is being done ends here.
    #[inline]
    fn set_mark(&mut self) {
        if !self.common.repeatable {
            self.mark = cycles();
        }
    }

    /// Brings the time up to date, if it can have moved since it was read.
    #[inline]
    fn look_at_clock(&mut self) {
        if self.common.repeatable || self.mark.wrapping_sub(self.clock_mark) >= self.clock_every {
            self.clock_mark = self.mark;
            self.exec.now = self.common.clock.now();
        }
    }

    /// Takes messages, and a few of the operations that wait. True when there were any.
    fn run_messages(&mut self) -> bool {
        let mut any = false;
        if !self.shared.mailbox.is_empty() {
            self.exec.now = self.common.clock.now();
            while let Some(message) = self.shared.mailbox.take() {
                any = true;
                self.run_message(message);
            }
        }
        if self.has_jobs() {
            self.exec.now = self.common.clock.now();
            // A panic loses the request at hand, whose sender is told so by its being dropped.
            any |= catch_unwind(AssertUnwindSafe(|| self.run_jobs())).unwrap_or(true);
        }
        any
    }

    fn run_message(&mut self, message: Message) {
        match message {
            Message::Ops(request) => self.accept(request),
            Message::Call(call) => {
                // As above: whatever the closure had to answer is answered by its being dropped.
                let _ = catch_unwind(AssertUnwindSafe(|| call(self)));
            }
            Message::Stop => self.stop = true,
        }
    }

    /// Carries out everything that waits in the mailbox.
    pub(crate) fn run_all_messages(&mut self) {
        while self.run_messages() {}
        self.after_polling();
    }

    /// True once the thread was told to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop
    }

    /// Polls each rx queue once; returns packets received.
    pub(super) fn poll_all(&mut self) -> u64 {
        let mut received = 0;
        self.most = 0;
        // The clock is read once per round that has packets.
        let mut fresh = false;
        for i in 0..self.rxqs.len() {
            for _ in 0..RX_BURSTS {
                let n = self.poll_one(i, &mut fresh);
                received += n;
                self.most = self.most.max(n);
                if n == 0 {
                    break;
                }
            }
        }
        received
    }

    fn poll_one(&mut self, i: usize, fresh: &mut bool) -> u64 {
        let slot = &mut self.rxqs[i];
        if slot.gone {
            return 0;
        }
        debug_assert!(self.pkts.is_empty());
        let (begun, port) = (self.mark, slot.port);
        let polled = slot.rx.recv(&mut self.pkts.frames);
        if polled.is_err() {
            lose_device(slot, &self.shared);
        }
        let n = self.pkts.frames.len() as u64;
        let came = polled.map_or(0, |came| came as u64);
        if came > n {
            let ledger = self.exec.ingress.ledger(slot.port);
            ledger.received.add_local(came - n);
            ledger.drop_n(DropReason::Policing, came - n);
        }
        if n == 0 {
            self.set_mark();
            return came;
        }
        if !std::mem::replace(fresh, true) {
            self.look_at_clock();
        }
        let mut pkts = std::mem::replace(&mut self.pkts, self.exec.spare_pkts());
        let lengths = self.arrive(port, &mut pkts);
        self.forward(&mut pkts, lengths);
        let spare = std::mem::replace(&mut self.pkts, pkts);
        self.exec.give_back(spare);
        self.set_mark();
        let load = &self.rxqs[i].load;
        load.cycles.add_local(self.spent(begun, n));
        load.packets.add_local(n);
        n
    }

    /// Books a received batch.
    #[inline]
    fn arrive(&mut self, port: OdpPort, pkts: &mut Pkts) -> Lengths {
        pkts.in_port = port;
        pkts.recirc_id = 0;
        pkts.passes = 0;
        let lengths = Lengths::of(pkts);
        let n = pkts.len() as u64;
        let ledger = self.exec.ingress.ledger(port);
        ledger.received.add_local(n);
        ledger.received_bytes.add_local(lengths.sum);
        self.shared.totals.received.add_local(n);
        if let Some(perf) = &mut self.perf {
            perf.batch(n);
        }
        self.shared.totals.batches.add_local(1);
        lengths
    }

    /// What is due after each round.
    fn after_polling(&mut self) {
        if std::mem::take(&mut self.exec.woken_late) {
            self.exec.upcalls.wake();
        }
        self.exec.outs.kick();
        let totals = &self.shared.totals;
        totals.recirculated.set(self.exec.recirculated);
        totals.upcalls.set(self.exec.missed_up);
        totals.lost.set(self.exec.lost_upcalls);
        let now = self.exec.now;
        if now >= self.ranked.plus_millis(RANK_MS) {
            self.ranked = now;
            self.follow_tuning();
            self.tables.rank();
            let loads = self.rxqs.iter().map(|r| &*r.load);
            let tuning = &self.common.tuning;
            let overload = tuning.overload_percent.load(Ordering::Relaxed);
            self.interval.run(now, &self.shared.totals, overload, loads);
        }
        self.expire(now);
    }

    /// Drops what has been parked for too long.
    fn expire(&mut self, now: Nanos) {
        if self.pending.len() == 0 {
            return;
        }
        while let Some(entry) = self.pending.expired(now) {
            self.drop_entry(*entry, DropReason::ParkTimeout);
        }
        self.shared
            .pending
            .store(self.pending.len(), Ordering::Release); // pairs with quiesce's Acquire
    }

    /// Does what only depends on time: for threads that have been asleep.
    pub(crate) fn tick(&mut self) {
        self.set_mark();
        self.exec.now = self.common.clock.now();
        self.after_polling();
    }

    /// When the thread has to wake even if nothing arrives.
    pub(super) fn next_deadline(&self) -> Nanos {
        let interval = self.ranked.plus_millis(INTERVAL_S * 1000);
        self.pending
            .deadline()
            .map_or(interval, |d| d.min(interval))
    }
}

/// Cycles in which the clock need not be read again.
pub(super) fn clock_every(repeatable: bool) -> u64 {
    if repeatable {
        0
    } else {
        cycles_per_second() / 1_000_000 * CLOCK_EVERY_US
    }
}

#[cold]
fn lose_device(slot: &mut RxSlot, shared: &super::PmdShared) {
    slot.gone = true;
    slot.load.gone.store(true, Ordering::Relaxed);
    shared.device_gone.store(true, Ordering::Relaxed);
}
