//! The set of packet threads, and which of them polls which queue.
//!
//! Changing the set or the assignment touches only what differs: a queue is moved by taking it from one
//! thread (between two batches) and giving it to another; the others keep forwarding.

use super::assign::assign;
use super::facts::{Loudness, log_decisions};
use super::ports::NoTx;
use super::{Admin, Datapath, Environment, Port, Threading, add_stats};
use crate::ingress::Ingress;
use crate::limits::INTERVALS;
use crate::pmd::{Common, Pmd, PmdHandle, RxSlot, Who};
use crate::upcall::Budget;
use base::cpu::CoreId;
use base::sync::{Arc, Ordering, lock};
use dpif::PmdId;
use netdev::TxQueue;
use odp::{DropReason, OdpPort};
use std::collections::BTreeSet;

/// The thread of ports that are not polled.
pub(super) fn start_main(env: &Environment, common: &Common) -> std::io::Result<PmdHandle> {
    let who = Who {
        id: PmdId::NON_PMD,
        core: None,
        numa: 0,
    };
    start(env, common, who)
}

fn start(env: &Environment, common: &Common, who: Who) -> std::io::Result<PmdHandle> {
    let pmd = Pmd::new(who, common)?;
    match env.threading {
        Threading::Manual => Ok(PmdHandle::manual(pmd)),
        Threading::Real => PmdHandle::start(pmd, env.topology.real),
    }
}

impl Datapath {
    /// The packet thread of an id.
    pub(crate) fn pmd(&self, id: PmdId) -> Option<Arc<PmdHandle>> {
        self.pmds().iter().find(|p| p.shared.id == id).cloned()
    }

    /// Cores that packet threads should run on.
    fn wanted_cores(&self, admin: &Admin) -> Vec<(CoreId, u32)> {
        let all = &self.env.topology.cores;
        if !admin.ports.values().any(|p| p.device.is_pmd()) {
            return Vec::new();
        }
        match &admin.settings.cores {
            Some(mask) => (all.iter().copied())
                .filter(|(c, _)| mask.contains(c))
                .collect(),
            None => {
                let mut seen = BTreeSet::new();
                let one_per_node = all.iter().copied().filter(|&(_, n)| seen.insert(n));
                one_per_node.collect()
            }
        }
    }

    /// Makes the set of packet threads what it should be; true when it changed.
    pub(super) fn adjust_threads(&self, admin: &mut Admin) -> bool {
        let wanted = self.wanted_cores(admin);
        let senders = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        for port in admin.ports.values() {
            port.announce_senders(senders);
        }
        let now = self.pmds();
        let keeps = |p: &PmdHandle| {
            let core = p.shared.core;
            core.is_none_or(|c| wanted.contains(&(c, p.shared.numa)))
        };
        let (kept, gone): (Vec<_>, Vec<_>) = now.iter().cloned().partition(|p| keeps(p));
        let missing: Vec<_> = (wanted.iter().copied())
            .filter(|(c, _)| !kept.iter().any(|p| p.shared.core == Some(*c)))
            .collect();
        if gone.is_empty() && missing.is_empty() {
            return false;
        }
        for pmd in &gone {
            self.graves.expect(pmd.shared.id);
            self.take_queues(pmd, admin);
        }
        let mut pmds = kept;
        for (core, numa) in missing {
            if let Some(pmd) = self.start_pmd(core, numa, &pmds, admin) {
                pmds.push(pmd);
            }
        }
        pmds[1..].sort_by_key(|p| p.shared.id);
        self.pmds.store(Arc::new(pmds));
        for pmd in gone {
            self.retire(&pmd);
        }
        self.reopen_senders(admin);
        let nodes: BTreeSet<u32> = wanted.iter().map(|w| w.1).collect();
        for node in nodes {
            let n = wanted.iter().filter(|w| w.1 == node).count();
            tracing::info!(target: "dpif_netdev", "There are {n} pmd threads on numa node {node}");
        }
        true
    }

    fn start_pmd(
        &self,
        core: CoreId,
        numa: u32,
        others: &[Arc<PmdHandle>],
        admin: &mut Admin,
    ) -> Option<Arc<PmdHandle>> {
        let who = Who {
            id: PmdId(core.0),
            core: Some(core),
            numa,
        };
        let mut pmd = match start(&self.env, &self.common, who) {
            Ok(pmd) => pmd,
            Err(e) => {
                tracing::error!(target: "dpif_netdev", "no packet thread for core {}: {e}", core.0);
                return None;
            }
        };
        pmd.txq = (0..)
            .find(|q| others.iter().all(|p| p.txq != *q))
            .unwrap_or(0);
        let pmd = Arc::new(pmd);
        for port in admin.ports.values() {
            self.give_port(&pmd, port);
        }
        tracing::info!(target: "dpif_netdev",
            "PMD thread on numa_id: {numa}, core id: {:2} created.", core.0);
        Some(pmd)
    }

    /// Opens polled ports' senders again on all threads: how queues are divided depends on how many there
    /// are. All are given back before the first is taken.
    fn reopen_senders(&self, admin: &Admin) {
        for port in admin.ports.values().filter(|p| p.device.is_pmd()) {
            self.reopen_sender(port);
        }
    }

    /// As above, for one port.
    pub(super) fn reopen_sender(&self, port: &Port) {
        let (pmds, number) = (self.pmds(), port.number.0);
        for pmd in pmds.iter() {
            drop(pmd.call(move |p| p.exec.outs.add(number, Box::new(NoTx))));
        }
        for pmd in pmds.iter() {
            let tx = port.open_tx(pmd.txq);
            drop(pmd.call(move |p| p.exec.outs.add(number, tx)));
        }
    }

    /// Ends a packet thread whose queues were taken away; its counters and account stay.
    fn retire(&self, pmd: &PmdHandle) {
        // It polls nothing any more, so its flows' figures stand.
        self.graves.bury(pmd.shared.id, &pmd.shared.list);
        let dropped = pmd.call(|p| {
            for id in p.pending.ids(None) {
                p.drop_pending(id, DropReason::Purged);
            }
            p.flush()
        });
        pmd.stop();
        drop(dropped);
        add_stats(&mut lock(&self.retired), pmd);
        if let Some(core) = pmd.shared.core {
            tracing::info!(target: "dpif_netdev",
                "PMD thread on numa_id: {}, core id: {:2} destroyed.", pmd.shared.numa, core.0);
        }
    }

    /// Takes all rx queues from a thread; they are polled by nobody until the next assignment.
    fn take_queues(&self, pmd: &PmdHandle, admin: &mut Admin) {
        let slots = pmd
            .call(|p| std::mem::take(&mut p.rxqs))
            .unwrap_or_default();
        for slot in slots {
            if let Some(port) = admin.ports.get_mut(&slot.port.0) {
                port.put_back(slot);
            }
        }
    }

    /// Gives a thread a sender and an account for a port.
    pub(super) fn give_port(&self, pmd: &PmdHandle, port: &Port) {
        let tx = port.sends().then(|| port.open_tx(pmd.txq));
        let ingress = Ingress {
            ledger: self.common.ledger.open(port.number),
            quota: Arc::clone(&port.quota),
            budget: Budget::new(self.common.clock.now(), self.common.upcalls.budget()),
        };
        let number = port.number.0;
        let old = pmd.call(move |p| {
            p.exec.ingress.add(number, ingress);
            tx.and_then(|tx| p.exec.outs.add(number, tx))
        });
        drop(old);
    }

    /// Takes a port from a thread: its queues (which are closed by the caller's dropping them), and the
    /// packets parked for it.
    pub(super) fn take_port(pmd: &PmdHandle, port: OdpPort) -> Vec<RxSlot> {
        let taken = pmd.call(move |p| {
            let slots = p.close_rxqs(port);
            for id in p.pending.ids(Some(port)) {
                p.drop_pending(id, DropReason::PortRemoved);
            }
            p.exec.ingress.remove(port.0);
            p.publish();
            (slots, p.exec.outs.remove(port.0))
        });
        taken.map_or_else(Vec::new, |(slots, tx): (_, Option<Box<dyn TxQueue>>)| {
            drop(tx);
            slots
        })
    }

    /// Assigns all queues anew and moves those whose thread changed.
    pub(super) fn assign_queues(&self, admin: &mut Admin) {
        admin.balancer.reassigned = true;
        let facts = self.facts(admin);
        let s = &admin.settings;
        let decisions = assign(&facts.threads, &facts.rxqs, s.algorithm, s.isolate);
        log_decisions(&decisions, &facts, admin, Loudness::Usual);
        let placement = facts.placement(&decisions, s.isolate);
        let pmds = self.pmds();
        let polled = pmds.iter().filter(|p| p.shared.core.is_some());
        for (pmd, isolated) in polled.zip(&placement.isolated) {
            pmd.isolated.store(*isolated, Ordering::Relaxed);
        }
        for (r, on) in facts.rxqs.iter().zip(placement.thread) {
            let to = on.map(|t| PmdId(facts.threads[t].core.0));
            self.move_queue(admin, OdpPort(r.port), r.queue, to);
        }
        let unpolled: Vec<(OdpPort, u32)> = (admin.ports.values())
            .filter(|p| !p.device.is_pmd())
            .flat_map(|p| (0..p.n_queues()).map(|q| (p.number, q)))
            .collect();
        for (port, queue) in unpolled {
            self.move_queue(admin, port, queue, Some(PmdId::NON_PMD));
        }
    }

    /// Sees to it that thread `to` polls a queue, and no other does.
    fn move_queue(&self, admin: &mut Admin, number: OdpPort, queue: u32, to: Option<PmdId>) {
        let Some(port) = admin.ports.get_mut(&number.0) else {
            return;
        };
        let from = port.polled_by(queue);
        if from == to && from.is_some() {
            return;
        }
        if let Some(pmd) = from.and_then(|id| self.pmd(id)) {
            let slots = pmd.call(move |p| p.take_rxqs(number, Some(queue)));
            for slot in slots.unwrap_or_default() {
                port.put_back(slot);
            }
        }
        let Some(pmd) = to.and_then(|id| self.pmd(id)) else {
            return;
        };
        if let Some(slot) = port.take_out(queue, pmd.shared.id) {
            let added = pmd.call(move |p| {
                p.rxqs.push(slot);
                p.restart_interval();
            });
            debug_assert!(added.is_some());
        }
    }
}

impl Pmd {
    /// Takes a port's queues (or one of them) out of the polling loop.
    pub(super) fn take_rxqs(&mut self, port: OdpPort, queue: Option<u32>) -> Vec<RxSlot> {
        let (taken, kept) = std::mem::take(&mut self.rxqs)
            .into_iter()
            .partition(|s| s.port == port && queue.is_none_or(|q| q == s.queue));
        self.rxqs = kept;
        let taken: Vec<RxSlot> = taken;
        if !taken.is_empty() {
            self.restart_interval();
        }
        taken
    }

    /// Takes a port's queues out of the polling loop for good: what waits in them was received, and is dropped.
    pub(super) fn close_rxqs(&mut self, port: OdpPort) -> Vec<RxSlot> {
        let mut slots = self.take_rxqs(port, None);
        let waiting: u64 = slots.iter_mut().map(|s| s.rx.drain()).sum();
        if waiting > 0 {
            let ledger = self.exec.ingress.ledger(port);
            ledger.received.add_local(waiting);
            ledger.drop_n(DropReason::PortRemoved, waiting);
        }
        slots
    }
}

/// Cycles that a queue took over all intervals kept.
pub(super) fn recent_cycles(load: &crate::pmd::RxqLoad) -> u64 {
    load.history.sum(INTERVALS)
}
