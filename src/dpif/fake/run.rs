//! How the fake datapath forwards: lookup, park, resume, actions, and the ledger of all that.

use super::flows::{self, add_stats};
use super::upcalls::{PARK_MAX, Parked};
use super::{Core, State};
use crate::error::DpifError;
use crate::types::{Execute, Op, ParkToken, Resume, Upcall, UpcallKind};
use base::sync::Arc;
use flow::{CtMeta, Flow, Metadata};
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

/// A packet on its way: its bytes and the key they had when it came in or was recirculated.
struct Run<'a> {
    core: &'a Core,
    state: &'a mut State,
    key: Flow,
    depth: u32,
    /// Bytes that the next copy keeps, after `trunc`; 0 for all.
    keep: usize,
}

pub(super) fn inject(core: &Core, state: &mut State, port: OdpPort, packet: &[u8]) {
    let mut frame = HeapPool::global().copy_from(packet);
    frame.in_port = port;
    let mut key = Flow::zero();
    flow::extract(frame.data(), &Metadata::of_frame(&frame), &mut key);
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
        keep: 0,
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
        keep: 0,
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
            keep: 0,
        };
        run.all(frame, &r.actions);
    }
    Ok(sum)
}

impl Run<'_> {
    /// Runs a list. The last action that takes the packet gets it; the ones before get copies.
    fn all(&mut self, frame: Frame, actions: &Actions) {
        for action in actions {
            match action {
                Action::Trunc { max_len } => self.keep = *max_len as usize,
                Action::Drop(reason) => {
                    self.state.ledger.drop(&self.key, *reason, 1);
                    return;
                }
                other => self.one(&frame, other),
            }
        }
        // Every action worked on a copy, so the packet itself is left over.
        let reason = DropReason::PolicyDrop;
        if copies(actions) == 0 {
            self.state.ledger.drop(&self.key, reason, 1);
        } else {
            // It was the first of its copies.
            self.state.ledger.copied -= 1;
        }
    }

    fn one(&mut self, frame: &Frame, action: &Action) {
        match action {
            Action::Output(port) => {
                let copy = self.copy(frame);
                self.output(*port, &copy);
            }
            Action::Userspace(userspace) => {
                let copy = self.copy(frame);
                self.upcall(copy, userspace);
            }
            Action::Recirc(id) => {
                let copy = self.copy(frame);
                let mut key = Flow::zero();
                let ct = ct_of(&self.key);
                let md = Metadata {
                    in_port: self.key.in_port.get(),
                    recirc_id: *id,
                    dp_hash: self.key.dp_hash.get(),
                    packet_type: self.key.packet_type.get(),
                    priority: self.key.skb_priority.get(),
                    mark: self.key.pkt_mark.get(),
                    ct: Some(&ct),
                    tunnel: Some(&self.key.tunnel),
                };
                flow::extract(copy.data(), &md, &mut key);
                process(self.core, self.state, copy, &key, self.depth + 1);
            }
            Action::Clone(actions) => self.nested(frame, actions),
            Action::Sample {
                probability,
                actions,
            } if *probability == u32::MAX => self.nested(frame, actions),
            Action::CheckPktLen {
                pkt_len,
                greater,
                less_equal,
            } => {
                let larger = frame.len() > usize::from(*pkt_len);
                self.nested(frame, if larger { greater } else { less_equal });
            }
            // The fake changes no header and keeps no connections: the rest does nothing here.
            _ => {}
        }
    }

    fn nested(&mut self, frame: &Frame, actions: &Actions) {
        let copy = self.copy(frame);
        self.all(copy, actions);
    }

    /// A copy for one consumer, cut as the last `trunc` said.
    fn copy(&mut self, frame: &Frame) -> Frame {
        let mut copy = HeapPool::global().duplicate(frame);
        let max = std::mem::take(&mut self.keep);
        if max != 0 && max < copy.len() {
            let cut = copy.set_len(max);
            debug_assert!(cut, "shortening always fits");
        }
        self.state.ledger.copied += 1;
        copy
    }

    fn output(&mut self, port: OdpPort, frame: &Frame) {
        if self.state.ports.find(|p| p.number == port).is_err() {
            self.state.ledger.drop(&self.key, DropReason::NoSuchPort, 1);
            return;
        }
        self.state.ledger.sent += 1;
        self.state.ledger.output.push((port, frame.data().to_vec()));
    }

    fn upcall(&mut self, frame: Frame, userspace: &Userspace) {
        let upcall = Upcall {
            kind: UpcallKind::Action(userspace.clone()),
            key: Arc::new(self.key),
            ufid: Ufid::of(&self.key),
            packet_len: frame.len() as u32,
            frame: Some(frame),
            park: None,
            pmd: self.state.pmds[0],
            actions: None,
            raised: self.core.clock.now(),
        };
        let on = self.state.upcalls.on;
        if on && self.state.upcalls.raise(upcall).is_ok() {
            self.state.ledger.to_userspace += 1;
            self.core.upcall_seq.change();
        } else {
            let reason = DropReason::UserspaceActionLost;
            self.state.ledger.drop(&self.key, reason, 1);
        }
    }
}

/// How many copies a list makes.
fn copies(actions: &Actions) -> usize {
    let makes_one = |a: &&Action| match a {
        Action::Output(_)
        | Action::Userspace(_)
        | Action::Recirc(_)
        | Action::Clone(_)
        | Action::CheckPktLen { .. } => true,
        Action::Sample { probability, .. } => *probability == u32::MAX,
        _ => false,
    };
    actions.iter().filter(makes_one).count()
}

fn ct_of(key: &Flow) -> CtMeta {
    CtMeta {
        state: key.ct_state,
        zone: key.ct_zone.get(),
        mark: key.ct_mark.get(),
        label: key.ct_label.get(),
        ..CtMeta::default()
    }
}
