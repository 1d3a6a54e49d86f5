//! [`Exec`]: running programs on packets, and everything that takes packets: outputs, upcalls, drops,
//! recirculation.
//!
//! Recirculated packets are not looked up here but queued, and taken up again by the packet thread when
//! the batch at hand is done; so nothing here calls the flow table, and nothing recurses except into
//! actions inside actions, whose depth is bounded.
//!
//! Every packet given to [`Exec::run`] is booked in the ledger of its ingress port exactly once, and so is
//! every copy made on the way.

use super::{Program, Step, UNCUT, nsh, push};
use crate::conntrack::{Conntrack, CtStep, Run};
use crate::ingress::Ingresses;
use crate::limits::RECIRC_MAX;
use crate::meters::Meters;
use crate::outputs::Outputs;
use crate::pkts::{Pkt, Pkts};
use crate::pmd::Common;
use crate::upcall::{Upcalls, is_urgent};
use base::clock::Nanos;
use base::rng::Rng;
use base::sync::Arc;
use dpif::{PmdId, Upcall, UpcallKind};
use flow::Flow;
use odp::{Actions, DropReason, HashAlg, Ufid, Userspace};
use packet::BATCH_MAX;
use std::collections::VecDeque;

/// Where the actions at hand come from: userspace actions may want to see them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) actions: &'a Arc<Actions>,
}

/// Everything a program can reach. Owned by one packet thread.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) outs: Outputs,
    pub(crate) ingress: Ingresses,
    pub(crate) upcalls: Arc<Upcalls>,
    meters: Arc<Meters>,
    conntrack: Arc<Conntrack>,
    /// Packets that came out of a step and found no room; empty between two steps.
    #[expect(clippy::vec_box, reason = "moved by pointer: one is over 3 kB")]
    surplus: Vec<Box<Pkts>>,
    /// Packets on their next pass, oldest first.
    pub(crate) later: VecDeque<Box<Pkts>>,
    #[expect(clippy::vec_box, reason = "moved by pointer: one is over 3 kB")]
    spare: Vec<Box<Pkts>>,
    rng: Rng,
    pub(crate) pmd: PmdId,
    pub(crate) now: Nanos,
    /// Upcalls were queued since handlers were last woken.
    pub(crate) woken_late: bool,
    pub(crate) recirculated: u64,
    pub(crate) lost_upcalls: u64,
    /// Misses that were sent up.
    pub(crate) missed_up: u64,
}

impl Exec {
    pub(crate) fn new(ingress: Ingresses, common: &Common, pmd: PmdId, seed: u64) -> Self {
        Self {
            outs: Outputs::default(),
            ingress,
            upcalls: common.upcalls.clone(),
            meters: common.meters.clone(),
            conntrack: common.conntrack.clone(),
            surplus: Vec::new(),
            later: VecDeque::with_capacity(64),
            spare: Vec::with_capacity(64),
            rng: Rng::new(seed),
            pmd,
            now: Nanos::ZERO,
            woken_late: false,
            recirculated: 0,
            lost_upcalls: 0,
            missed_up: 0,
        }
    }

    /// An empty `Pkts`, recycled if possible.
    pub(crate) fn borrow(&mut self, like: &Pkts) -> Box<Pkts> {
        let mut p = self.spare.pop().unwrap_or_else(|| Box::new(Pkts::new()));
        p.like(like);
        p
    }

    /// An empty `Pkts` of no port.
    pub(crate) fn spare_pkts(&mut self) -> Box<Pkts> {
        let mut p = self.spare.pop().unwrap_or_else(|| Box::new(Pkts::new()));
        debug_assert!(p.is_empty());
        p.recirc_id = 0;
        p.passes = 0;
        p
    }

    /// Takes an empty `Pkts` back.
    pub(crate) fn give_back(&mut self, mut p: Box<Pkts>) {
        p.frames.release_all();
        p.forget_sides();
        if self.spare.len() < self.spare.capacity() {
            self.spare.push(p);
        }
    }

    /// Books and releases all packets.
    pub(crate) fn drop_all(&mut self, pkts: &mut Pkts, reason: DropReason) {
        let ledger = self.ingress.ledger(pkts.in_port);
        ledger.drop_n(reason, pkts.len() as u64);
        pkts.frames.release_all();
        pkts.forget_sides();
    }

    /// Runs a program on packets; `pkts` is empty afterwards.
    pub(crate) fn run(&mut self, program: &Program, pkts: &mut Pkts, origin: Origin<'_>) {
        let Some((last, before)) = program.steps.split_last() else {
            self.drop_all(pkts, DropReason::PolicyDrop);
            return;
        };
        for (i, step) in before.iter().enumerate() {
            if pkts.is_empty() {
                return;
            }
            self.step(step, pkts, origin);
            if !self.surplus.is_empty() {
                self.run_surplus(&program.steps[i + 1..], origin);
            }
        }
        if !pkts.is_empty() {
            self.finish(last, pkts, origin);
        }
        debug_assert!(pkts.is_empty());
    }

    /// Runs the steps that are left on packets for which there was no room among those that they belong to.
    #[cold]
    fn run_surplus(&mut self, steps: &[Step], origin: Origin<'_>) {
        for mut pkts in std::mem::take(&mut self.surplus) {
            if let Some((last, before)) = steps.split_last() {
                for (i, step) in before.iter().enumerate() {
                    self.step(step, &mut pkts, origin);
                    if !self.surplus.is_empty() {
                        self.run_surplus(&steps[i + 1..], origin);
                    }
                }
                self.finish(last, &mut pkts, origin);
            }
            self.give_back(pkts);
        }
    }

    /// Sends packets through connection tracking. Fragments may stay there: they are consumed here, and injected
    /// again when their packet is whole.
    fn conntrack(&mut self, step: &CtStep, pkts: &mut Pkts) {
        let rng = &mut self.rng;
        let mut run = Run {
            step,
            now: self.now,
            random: &mut || rng.next_u64(),
        };
        let kept = self.conntrack.run(&mut run, pkts);
        if kept.held == 0 && kept.released.is_empty() {
            return;
        }
        let ledger = self.ingress.ledger(pkts.in_port);
        ledger.consumed.add_local(kept.held);
        ledger.injected.add_local(kept.released.len() as u64);
        for pkt in kept.released {
            if pkts.frames.room() > 0 {
                pkts.push(pkt);
                continue;
            }
            if self.surplus.last().is_none_or(|p| p.frames.room() == 0) {
                let more = self.borrow(pkts);
                self.surplus.push(more);
            }
            if let Some(more) = self.surplus.last_mut() {
                more.push(pkt);
            }
        }
    }

    /// A step after which the packets go on.
    fn step(&mut self, step: &Step, pkts: &mut Pkts, origin: Origin<'_>) {
        match step {
            Step::Output { port, max_len } => {
                let ledger = self.ingress.ledger(pkts.in_port);
                match *max_len {
                    UNCUT => self.outs.send_copies(*port, &pkts.frames, ledger),
                    cut => self.outs.send_cut(*port, &pkts.frames, cut, ledger),
                }
            }
            Step::Userspace { what, max_len } => {
                let ledger = self.ingress.ledger(pkts.in_port);
                ledger.created.add_local(pkts.len() as u64);
                self.send_up(what, *max_len, pkts, origin);
            }
            Step::Clone(_) | Step::Sample { .. } | Step::CheckPktLen { .. } | Step::Recirc(_) => {
                let mut copies = self.borrow(pkts);
                for i in 0..pkts.len() {
                    copies.push(pkts.duplicate(i));
                }
                let ledger = self.ingress.ledger(pkts.in_port);
                ledger.created.add_local(pkts.len() as u64);
                self.finish(step, &mut copies, origin);
                self.give_back(copies);
            }
            Step::Hash { alg, basis } => hash_all(pkts, *alg, *basis),
            Step::Ct(ct) => self.conntrack(ct, pkts),
            Step::CtClear => {
                for side in pkts.sides.iter_mut().flatten() {
                    side.ct = None;
                }
            }
            Step::Meter(id) => self.meter(*id, pkts),
            // Compiled programs have it last only.
            Step::Drop(reason) => self.drop_all(pkts, *reason),
            Step::Set(_)
            | Step::PushVlan { .. }
            | Step::PopVlan
            | Step::PushMpls { .. }
            | Step::PopMpls { .. }
            | Step::PushEth { .. }
            | Step::PopEth
            | Step::PushNsh(_)
            | Step::PopNsh => self.change(step, pkts),
        }
    }

    /// Changes headers. A packet that cannot take the change is dropped.
    fn change(&mut self, step: &Step, pkts: &mut Pkts) {
        let ledger = self.ingress.ledger(pkts.in_port);
        let refused = |_frame| ledger.drop_n(DropReason::BadAction, 1);
        let mut sided = pkts.sided;
        pkts.retain(
            |frame, layers, side| {
                let p = (&mut *frame, &mut *layers, &mut *side);
                let done = match step {
                    Step::Set(set) => set.apply(p.0, p.1, p.2),
                    Step::PushVlan { tpid, tci } => push::push_vlan(p.0, p.1, *tpid, *tci),
                    Step::PopVlan => push::pop_vlan(p.0, p.1),
                    Step::PushMpls { ethertype, lse, l3 } => {
                        push::push_mpls(p, *ethertype, *lse, *l3)
                    }
                    Step::PopMpls { ethertype } => push::pop_mpls(p, *ethertype),
                    Step::PushEth { src, dst } => push::push_eth(p, *src, *dst),
                    Step::PopEth => push::pop_eth(p),
                    Step::PushNsh(what) => nsh::push(p, what),
                    Step::PopNsh => nsh::pop(p),
                    Step::Output { .. }
                    | Step::Userspace { .. }
                    | Step::Clone(_)
                    | Step::Sample { .. }
                    | Step::CheckPktLen { .. }
                    | Step::Recirc(_)
                    | Step::Hash { .. }
                    | Step::Ct(_)
                    | Step::CtClear
                    | Step::Meter(_)
                    | Step::Drop(_) => None,
                };
                sided |= side.is_some();
                done.is_some()
            },
            refused,
        );
        pkts.sided = sided;
    }

    /// The last step: the packets end here.
    fn finish(&mut self, step: &Step, pkts: &mut Pkts, origin: Origin<'_>) {
        match step {
            Step::Output { port, max_len } => {
                if *max_len != UNCUT {
                    for frame in pkts.frames.iter_mut() {
                        let shorter = frame.set_len(frame.len().min(*max_len as usize));
                        debug_assert!(shorter);
                    }
                }
                self.output(*port, pkts);
            }
            Step::Userspace { what, max_len } => {
                self.send_up(what, *max_len, pkts, origin);
                pkts.frames.release_all();
                pkts.forget_sides();
            }
            Step::Clone(inner) => self.run(inner, pkts, origin),
            Step::Sample { probability, inner } => {
                let p = *probability;
                let mut lost = 0;
                if p != u32::MAX {
                    let rng = &mut self.rng;
                    pkts.retain(
                        |_, _, _| rng.below(1 << 32) < u64::from(p),
                        |_frame| lost += 1,
                    );
                    let ledger = self.ingress.ledger(pkts.in_port);
                    ledger.drop_n(DropReason::PolicyDrop, lost);
                }
                self.run_rest(inner, pkts, origin);
            }
            Step::CheckPktLen {
                len,
                greater,
                less_equal,
            } => self.branch(*len, (greater, less_equal), pkts, origin),
            Step::Recirc(id) => self.recirculate(*id, pkts),
            Step::Drop(reason) => self.drop_all(pkts, *reason),
            Step::Set(_)
            | Step::PushVlan { .. }
            | Step::PopVlan
            | Step::PushMpls { .. }
            | Step::PopMpls { .. }
            | Step::PushEth { .. }
            | Step::PopEth
            | Step::PushNsh(_)
            | Step::PopNsh
            | Step::Hash { .. }
            | Step::Ct(_)
            | Step::CtClear
            | Step::Meter(_) => {
                debug_assert!(false, "no program ends with this step");
                self.drop_all(pkts, DropReason::PolicyDrop);
            }
        }
    }

    /// Drops what a meter does not let pass. A number without a meter lets everything pass.
    fn meter(&mut self, id: u32, pkts: &mut Pkts) {
        let Some(meter) = self.meters.find(id) else {
            return;
        };
        let mut passed = [true; BATCH_MAX];
        let mut verdicts = passed.iter_mut();
        let lengths = pkts.frames.iter().map(|f| f.len());
        meter.run(self.now, lengths, |pass| {
            if let Some(v) = verdicts.next() {
                *v = pass;
            }
        });
        if passed.iter().all(|p| *p) {
            return;
        }
        let mut verdicts = passed.iter();
        let ledger = self.ingress.ledger(pkts.in_port);
        pkts.retain(
            |_, _, _| verdicts.next().is_none_or(|p| *p),
            |_frame| ledger.drop_n(DropReason::Meter, 1),
        );
    }

    fn run_rest(&mut self, program: &Program, pkts: &mut Pkts, origin: Origin<'_>) {
        if !pkts.is_empty() {
            self.run(program, pkts, origin);
        }
    }

    /// Sends packets out of a port.
    #[inline]
    pub(crate) fn output(&mut self, port: u32, pkts: &mut Pkts) {
        // Few packets wait for company; many go at once.
        if pkts.len() * 2 >= BATCH_MAX {
            self.output_now(port, pkts);
            return;
        }
        let ledger = self.ingress.ledger(pkts.in_port);
        for frame in pkts.frames.drain(..) {
            self.outs.push(port, frame, ledger);
        }
        pkts.forget_sides();
    }

    /// Sends packets out of a port that need no company: they are all of a received batch.
    #[inline]
    pub(crate) fn output_now(&mut self, port: u32, pkts: &mut Pkts) {
        let ledger = self.ingress.ledger(pkts.in_port);
        self.outs.send(port, &mut pkts.frames, ledger);
        pkts.forget_sides();
    }

    /// Splits by length, keeping the order within each half.
    fn branch(
        &mut self,
        len: u16,
        (greater, less_equal): (&Program, &Program),
        pkts: &mut Pkts,
        origin: Origin<'_>,
    ) {
        let mut long = self.borrow(pkts);
        let mut short = self.borrow(pkts);
        for pkt in pkts.drain() {
            if pkt.frame.len() > usize::from(len) {
                long.push(pkt);
            } else {
                short.push(pkt);
            }
        }
        self.run_rest(greater, &mut long, origin);
        self.run_rest(less_equal, &mut short, origin);
        self.give_back(long);
        self.give_back(short);
    }

    /// Queues packets for their next pass, together with others of the same pass if there is room.
    fn recirculate(&mut self, id: u32, pkts: &mut Pkts) {
        if pkts.passes >= RECIRC_MAX {
            self.drop_all(pkts, DropReason::RecircDepth);
            return;
        }
        self.recirculated += pkts.len() as u64;
        let (in_port, passes) = (pkts.in_port, pkts.passes + 1);
        let fits = |p: &&mut Box<Pkts>| {
            p.recirc_id == id
                && p.in_port == in_port
                && p.passes == passes
                && p.frames.room() >= pkts.len()
        };
        if self.later.back_mut().filter(fits).is_none() {
            let mut next = self.borrow(pkts);
            next.recirc_id = id;
            next.passes = passes;
            self.later.push_back(next);
        }
        if let Some(next) = self.later.back_mut() {
            for pkt in pkts.drain() {
                next.push(pkt);
            }
        }
    }

    /// Raises an upcall with a copy of each packet. Books each as consumed or lost.
    fn send_up(&mut self, what: &Userspace, max_len: u32, pkts: &mut Pkts, origin: Origin<'_>) {
        for i in 0..pkts.len() {
            let mut key = Arc::new(Flow::zero());
            if let Some(key) = Arc::get_mut(&mut key) {
                pkts.extract(i, key);
            }
            let Pkt { mut frame, .. } = pkts.duplicate(i);
            let packet_len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let cut = frame.set_len(frame.len().min(max_len as usize));
            debug_assert!(cut);
            let upcall = Upcall {
                kind: UpcallKind::Action(what.clone()),
                ufid: Ufid::of(&key),
                key,
                frame: Some(frame),
                packet_len,
                park: None,
                pmd: self.pmd,
                actions: what.include_actions.then(|| Arc::clone(origin.actions)),
                raised: self.now,
            };
            let sent = self.raise(Box::new(upcall), pkts.in_port);
            let ledger = self.ingress.ledger(pkts.in_port);
            match sent {
                Ok(()) => ledger.consumed.add_local(1),
                Err(_) => ledger.drop_n(DropReason::UserspaceActionLost, 1),
            }
        }
    }

    /// Queues an upcall, within the port's budget.
    pub(crate) fn raise(
        &mut self,
        upcall: Box<Upcall>,
        in_port: odp::OdpPort,
    ) -> Result<(), DropReason> {
        let result = if self.upcalls.is_enabled() {
            let ingress = self.ingress.of_mut(in_port);
            let per_second = self.upcalls.budget();
            let urgent = is_urgent(&upcall.key);
            match ingress.budget.take(self.now, per_second, urgent) {
                Some(urgent) => self.upcalls.push(upcall, &ingress.quota, urgent),
                None => Err(DropReason::UpcallBudget),
            }
        } else {
            Err(DropReason::UpcallDisabled)
        };
        match result {
            Ok(()) => self.woken_late = true,
            Err(_) => self.lost_upcalls += 1,
        }
        result
    }
}

/// Computes `dp_hash` for every packet.
fn hash_all(pkts: &mut Pkts, alg: HashAlg, basis: u32) {
    let mut key = Flow::zero();
    for i in 0..pkts.len() {
        pkts.extract(i, &mut key);
        let hash = super::hash::dp_hash(&key, alg, basis);
        pkts.side_mut(i).dp_hash = hash;
    }
}
