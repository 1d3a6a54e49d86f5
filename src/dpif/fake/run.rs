//! How the fake datapath forwards: lookup, park, resume, actions, and the ledger of all that.

use super::flows::{self, add_stats};
use super::upcalls::{PARK_MAX, Parked};
use super::{Core, State};
use crate::error::DpifError;
use crate::types::{Execute, Op, ParkToken, PmdId, Resume, Upcall, UpcallKind};
use base::sync::Arc;
use flow::{Flow, Metadata};
use odp::execute::{Datapath, Packet, execute};
use odp::{Action, Actions, DropReason, FlowStats, OdpPort, Ufid, Userspace};
use packet::{Frame, HeapPool};
use std::collections::BTreeMap;

/// Passes of one packet through the table.
const RECIRC_MAX: u32 = 6;

/// Packets by what became of them. A copy (second output, clone) counts as created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Came in on a port.
    pub injected: u64,
    /// Came by an execute operation.
    pub executed: u64,
    /// Left through a port.
    pub sent: u64,
    /// Copies made beyond the packet itself.
    pub copied: u64,
    /// Given to userspace with an upcall.
    pub to_userspace: u64,
    /// Wait for a translation now.
    pub parked: u64,
    /// Lookups that found a flow.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Misses that could neither be parked nor sent up.
    pub lost: u64,
    /// Dropped, by ingress port and reason.
    pub drops: BTreeMap<(OdpPort, DropReason), u64>,
    pub(super) output: Vec<(OdpPort, Vec<u8>)>,
}

impl Ledger {
    /// Packets in minus packets accounted for: 0, always.
    #[must_use]
    pub fn difference(&self) -> i128 {
        let dropped: u64 = self.drops.values().sum();
        let came = self.injected + self.executed + self.copied;
        let went = self.sent + self.to_userspace + self.parked + dropped;
        i128::from(came) - i128::from(went)
    }
    fn drop(&mut self, key: &Flow, reason: DropReason, n: u64) {
        if n > 0 {
            let port = OdpPort(key.in_port.get());
            *self.drops.entry((port, reason)).or_default() += n;
        }
    }
}

/// A packet on its way through a list of actions: the key it had when it came in or was recirculated.
struct Run<'a> {
    core: &'a Core,
    state: &'a mut State,
    key: Flow,
    depth: u32,
}

pub(super) fn inject(core: &Core, state: &mut State, port: OdpPort, packet: &[u8]) {
    let frame = HeapPool::global().copy_from(packet);
    let mut key = Flow::zero();
    let md = Metadata {
        in_port: port.0,
        ..Metadata::of_frame(&frame)
    };
    flow::extract(frame.data(), &md, &mut key);
    state.ledger.injected += 1;
    process(core, state, frame, &key, 0);
}

/// Looks the packet up and does what the flow says, or parks it.
fn process(core: &Core, state: &mut State, frame: Frame, key: &Flow, depth: u32) {
    if depth > RECIRC_MAX {
        state.ledger.drop(key, DropReason::RecircDepth, 1);
        return;
    }
    let Some(&pmd) = state.pmds.first() else {
        state.ledger.drop(key, DropReason::UpcallDisabled, 1);
        return;
    };
    let Some(flow) = state.flows.lookup(pmd, key) else {
        state.ledger.misses += 1;
        park(core, state, frame, key);
        return;
    };
    add_stats(&mut flow.stats, &one_packet(core, &frame, key));
    let actions = Arc::clone(&flow.actions);
    state.ledger.hits += 1;
    let mut run = Run {
        core,
        state,
        key: *key,
        depth,
    };
    run.all(frame, &actions);
}

fn one_packet(core: &Core, frame: &Frame, key: &Flow) -> FlowStats {
    FlowStats {
        n_packets: 1,
        n_bytes: frame.len() as u64,
        used: Some(core.clock.now()),
        tcp_flags: key.tcp_flags.get(),
    }
}

/// Puts a packet behind the pending miss of its key, or raises an upcall for a new one.
fn park(core: &Core, state: &mut State, frame: Frame, key: &Flow) {
    if !state.upcalls.on {
        state.ledger.lost += 1;
        state.ledger.drop(key, DropReason::UpcallDisabled, 1);
        return;
    }
    if let Some(parked) = state.upcalls.parked.iter_mut().find(|p| p.key == *key) {
        if parked.frames.len() < PARK_MAX {
            parked.frames.push(frame);
        } else {
            state.ledger.lost += 1;
            state.ledger.drop(key, DropReason::ParkFull, 1);
        }
        return;
    }
    let token = ParkToken {
        pmd: state.pmds[0],
        id: state.upcalls.new_token(),
    };
    let upcall = Upcall {
        kind: UpcallKind::Miss,
        key: Arc::new(*key),
        ufid: Ufid::of(key),
        packet_len: frame.len() as u32,
        frame: None,
        park: Some(token),
        pmd: token.pmd,
        actions: None,
        raised: core.clock.now(),
    };
    if state.upcalls.raise(upcall).is_err() {
        state.ledger.lost += 1;
        state.ledger.drop(key, DropReason::UpcallQueueFull, 1);
        return;
    }
    state.upcalls.parked.push(Parked {
        token,
        key: *key,
        frames: vec![frame],
    });
    core.upcall_seq.change();
}

/// Drops everything parked or queued.
pub(super) fn purge(state: &mut State) {
    let (upcalls, parked) = state.upcalls.drain();
    for p in parked {
        let n = p.frames.len() as u64;
        state.ledger.drop(&p.key, DropReason::Purged, n);
    }
    // Packets in queued upcalls were counted when they were handed over.
    drop(upcalls);
}

pub(super) fn operate(core: &Core, state: &mut State, op: &mut Op) {
    match op {
        Op::FlowPut(put) => put.result = flows::put(state, put),
        Op::FlowDel(del) => del.result = flows::del(state, del),
        Op::FlowGet(get) => get.result = flows::get(state, get),
        Op::Execute(execute) => execute.result = run_execute(core, state, execute),
        Op::Resume(r) => r.result = resume(core, state, r),
    }
}

fn run_execute(core: &Core, state: &mut State, execute: &mut Execute) -> Result<(), DpifError> {
    let frame = execute.frame.take().ok_or(DpifError::Invalid)?;
    if execute.probe {
        return Ok(());
    }
    state.ledger.executed += 1;
    let key = *execute.key;
    let mut run = Run {
        core,
        state,
        key,
        depth: 0,
    };
    run.all(frame, &execute.actions);
    Ok(())
}

fn resume(core: &Core, state: &mut State, r: &Resume) -> Result<FlowStats, DpifError> {
    let parked = &mut state.upcalls.parked;
    let at = parked.iter().position(|p| p.token == r.token);
    let parked = parked.remove(at.ok_or(DpifError::NoEntry)?);
    let mut sum = FlowStats::default();
    for frame in parked.frames {
        add_stats(&mut sum, &one_packet(core, &frame, &parked.key));
        let mut run = Run {
            core,
            state,
            key: parked.key,
            depth: 0,
        };
        run.all(frame, &r.actions);
    }
    Ok(sum)
}

impl Run<'_> {
    fn all(&mut self, frame: Frame, actions: &Actions) {
        let packet = Packet::new(frame, &self.key);
        execute(packet, actions, self);
    }

    fn drop(&mut self, reason: DropReason) {
        self.state.ledger.drop(&self.key, reason, 1);
    }

    fn output(&mut self, port: OdpPort, frame: &Frame) {
        if self.state.ports.find(|p| p.number == port).is_err() {
            return self.drop(DropReason::NoSuchPort);
        }
        self.state.ledger.sent += 1;
        self.state.ledger.output.push((port, frame.data().to_vec()));
    }

    fn upcall(&mut self, packet: Packet, userspace: &Userspace) {
        let key = *packet.extract().0;
        let upcall = Upcall {
            kind: UpcallKind::Action(userspace.clone()),
            ufid: Ufid::of(&key),
            key: Arc::new(key),
            packet_len: packet.frame.len() as u32,
            frame: Some(packet.frame),
            park: None,
            pmd: self.state.pmds.first().copied().unwrap_or(PmdId::NON_PMD),
            actions: None,
            raised: self.core.clock.now(),
        };
        let on = self.state.upcalls.on;
        if on && self.state.upcalls.raise(upcall).is_ok() {
            self.state.ledger.to_userspace += 1;
            self.core.upcall_seq.change();
        } else {
            self.drop(DropReason::UserspaceActionLost);
        }
    }
}

impl Datapath for Run<'_> {
    fn perform(&mut self, action: &Action, packet: Packet) {
        match action {
            Action::Output(port) => self.output(*port, &packet.frame),
            Action::Userspace(userspace) => self.upcall(packet, userspace),
            Action::Recirc(_) => {
                let key = *packet.extract().0;
                process(self.core, self.state, packet.frame, &key, self.depth + 1);
            }
            // The fake keeps no connections and has no bonds.
            Action::Ct(_) => self.drop(DropReason::Conntrack),
            _ => self.drop(DropReason::NoSuchPort),
        }
    }
    fn dropped(&mut self, _packet: Packet, reason: DropReason) {
        self.drop(reason);
    }
    fn copied(&mut self) {
        self.state.ledger.copied += 1;
    }
}
