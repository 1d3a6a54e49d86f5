//! Freezing: stopping a translation so that it can go on when the packet comes back, and thawing.
//!
//! Something asks for it ([`Ctx::trigger_freeze`]): conntrack, an MPLS label that was popped, a hash that
//! only the datapath computes, a controller that wants to decide. The lists of actions that are being run
//! unwind; each adds what it has not done yet to the frozen steps. At the bottom [`Ctx::finish_freezing`]
//! stores the state under a recirculation id and emits `recirc(id)`.
//!
//! Actions that depend on the table they stand in, or tell it to a controller, are preceded by a mark with
//! table and cookie.

use crate::act::{Step, StepRef};
use crate::ctx::{Ctx, Freeze, Pause};
use crate::output::XlateError;
use crate::recirc::{FrozenMetadata, FrozenState, FrozenStep};
use crate::snapshot::Snapshot;
use crate::trace::{NodeKind, RecircKind};
use crate::wild::Site;
use base::sync::Arc;
use flow::{FieldId, OfPort};
use odp::{Action, HashAlg};
use ofproto::meter::METER_CONTROLLER;
use openflow::Act;
use wire::{U16, U32};

/// Actions that can be done on a packet whose label was popped without knowing what follows it.
fn works_behind_label(act: &Act) -> bool {
    match act {
        Act::Output { .. }
        | Act::OutputTrunc { .. }
        | Act::Enqueue { .. }
        | Act::OutputReg { .. }
        | Act::SetVlanVid { .. }
        | Act::SetVlanPcp { .. }
        | Act::SetEthSrc(_)
        | Act::SetEthDst(_)
        | Act::SetTunnel { .. }
        | Act::SetQueue(_)
        // A group finds out by itself.
        | Act::Group(_) => true,
        Act::SetField { field, .. } => *field < FieldId::Ipv4Src,
        _ => false,
    }
}

/// Actions that may tell a controller where they stand, or depend on it.
fn depends_on_table(act: &Act) -> bool {
    matches!(
        act,
        Act::OutputReg { .. }
            | Act::OutputTrunc { .. }
            | Act::Group(_)
            | Act::Output { .. }
            | Act::Controller { .. }
            | Act::DecMplsTtl
            | Act::DecNshTtl
            | Act::DecTtl { .. }
            | Act::Resubmit { table: 255, .. }
    )
}

impl<'a> Ctx<'a> {
    /// Stops here; what remains is done when the packet comes back.
    pub(crate) fn trigger_freeze(&mut self) {
        self.exit = true;
        self.freeze.on = true;
    }

    /// As [`Self::trigger_freeze`], with a hash that the datapath computes before.
    pub(crate) fn trigger_freeze_with_hash(&mut self, alg: HashAlg, basis: u32) {
        self.trigger_freeze();
        self.freeze.hash = Some((alg, basis));
    }

    /// Forgets that freezing was asked for.
    pub(crate) fn cancel_freeze(&mut self) {
        if self.freeze.on {
            self.freeze = Freeze::default();
        }
    }

    /// Asks for freezing when `step` cannot be done on a packet that was MPLS.
    pub(crate) fn freeze_before(&mut self, step: StepRef<'_>) {
        if self.exit || !self.was_mpls {
            return;
        }
        if !matches!(step, StepRef::Act(a) if works_behind_label(a)) {
            self.trigger_freeze();
        }
    }

    /// Adds what a list of actions has not done.
    pub(crate) fn freeze_rest<S: Step>(&mut self, steps: &[S]) {
        for item in steps {
            let act = match item.get() {
                StepRef::Act(a) => a,
                StepRef::Unroll(table, cookie) => {
                    self.freeze.unrolled = Some((table, cookie));
                    self.freeze.steps.push(FrozenStep::Unroll { table, cookie });
                    continue;
                }
            };
            if depends_on_table(act) {
                self.freeze_place();
            }
            // Instructions become the actions that do the same.
            let act = match act {
                Act::GotoTable(table) => Act::Resubmit {
                    in_port: OfPort::IN_PORT,
                    table: *table,
                    ct: false,
                },
                Act::WriteMetadata { metadata, mask } => Act::set_field(
                    FieldId::Metadata,
                    metadata.to_be_bytes().as_slice().into(),
                    Some(mask.to_be_bytes().as_slice().into()),
                ),
                Act::Note(_) | Act::Conjunction { .. } => continue,
                other => other.clone(),
            };
            self.freeze.steps.push(FrozenStep::Act(act));
        }
    }

    /// Notes table and cookie, unless the last note says the same.
    fn freeze_place(&mut self) {
        let here = (self.table, self.cookie);
        if self.freeze.unrolled != Some(here) {
            self.freeze.unrolled = Some(here);
            self.freeze.steps.push(FrozenStep::Unroll {
                table: here.0,
                cookie: here.1,
            });
        }
    }

    /// The state to continue from in `table`, or with the frozen steps if there are some.
    pub(crate) fn frozen_state(&mut self, table: u8) -> FrozenState {
        let mut metadata = FrozenMetadata::of(&self.flow);
        // No rule can match these, and they differ from packet to packet.
        metadata.tunnel.ip_ttl = 0;
        metadata.tunnel.tp_src = U16::ZERO;
        metadata.tunnel.tp_dst = U16::ZERO;
        self.keep_tunnel_metadata(Site::FrozenTunnel);
        FrozenState {
            table,
            bridge: self.bridge.id,
            ingress: self.ingress,
            metadata,
            stack: self.stack.iter().map(|e| e.to_vec()).collect(),
            mirrors: self.mirrors,
            conntracked: self.conntracked,
            was_mpls: self.was_mpls,
            steps: Vec::new(),
            action_set: Vec::new(),
            userdata: Vec::new(),
        }
    }

    /// Stores the state and emits the recirculation. The id.
    fn finish_freezing_in(&mut self, table: u8) -> u32 {
        let freeze = std::mem::take(&mut self.freeze);
        let mut state = self.frozen_state(table);
        state.steps = freeze.steps;
        state.action_set = self.action_set.clone();
        if let Some(p) = &freeze.pause {
            state.userdata = p.userdata.clone();
        }
        let held = self.snap.recirc.freeze(state);
        let id = held.id();
        self.out.recircs.push(held);
        if let Some(pause) = freeze.pause {
            if !self.only_tracing() {
                self.userspace_controller(&pause, id, true);
            }
            return id;
        }
        if let Some((alg, basis)) = freeze.hash {
            self.emit(Action::Hash { alg, basis });
        }
        self.emit(Action::Recirc(id));
        id
    }

    /// Ends a translation that was asked to freeze: what was done is committed, the rest stored.
    pub(crate) fn finish_freezing(&mut self) {
        self.commit();
        self.finish_freezing_in(0);
    }

    /// A copy of the packet goes on in `table` after conntrack; the packet itself goes on here.
    pub(crate) fn recirculate_copy(&mut self, table: u8, zone: u16) {
        self.freeze.on = true;
        let id = self.finish_freezing_in(table);
        let (flow, nat) = (self.flow, self.nat.clone());
        if let Some(t) = self.listener() {
            t.recirculate(RecircKind::Conntrack { zone, nat }, id, &flow);
        }
        self.note(NodeKind::Detail, || {
            format!(
                "A clone of the packet is forked to recirculate. The forked pipeline will be \
                 resumed at table {table}."
            )
        });
    }

    /// Runs the action set and stores what froze: the end of every pipeline and of every copy.
    pub(crate) fn finish_pipeline(&mut self) {
        if !self.freeze.on {
            self.run_action_set();
        }
        if self.freeze.on {
            self.finish_freezing();
        }
    }

    /// Goes on from a frozen state. The steps to run, if it has any.
    pub(crate) fn thaw(
        &mut self,
        snap: &'a Snapshot,
        state: &FrozenState,
        has_actions: bool,
    ) -> Option<Vec<FrozenStep>> {
        self.begin(NodeKind::Thaw, || "thaw".into());
        if has_actions {
            self.complain(|| "Recirculation conflict (actions)!".into());
            self.error = Some(XlateError::RecirculationConflict);
            self.end();
            return None;
        }
        if state.bridge != self.bridge.id {
            let Some(bridge) = snap.bridges.get(&state.bridge) else {
                self.complain(|| "Frozen bridge no longer exists.".into());
                self.error = Some(XlateError::BridgeNotFound);
                self.end();
                return None;
            };
            self.enter(bridge);
        }
        self.table = state.table;
        let table = state.table;
        self.note(NodeKind::Thaw, || format!("Resuming from table {table}"));
        self.conntracked = state.conntracked;
        if !state.conntracked {
            crate::headers::clear_conntrack(&mut self.flow);
        }
        state.metadata.restore(&mut self.flow);
        self.stack = state.stack.iter().map(|e| e.as_slice().into()).collect();
        self.mirrors = state.mirrors;
        self.ingress = state.ingress;
        if !state.action_set.is_empty() {
            self.note(NodeKind::Thaw, || {
                format!(
                    "Restoring action set: {}",
                    crate::text::actions(&state.action_set)
                )
            });
            self.flow.actset_output = U32::new(OfPort::UNSET.0.into());
            self.write_actions(&state.action_set);
        }
        if !state.steps.is_empty() {
            self.note(NodeKind::Thaw, || {
                format!("Restoring actions: {}", crate::text::steps(&state.steps))
            });
        }
        self.end();
        (!state.steps.is_empty()).then(|| state.steps.clone())
    }

    /// The state that the flow's recirculation id stands for.
    pub(crate) fn frozen_by_id(&mut self) -> Option<Arc<FrozenState>> {
        let id = self.flow.recirc_id.get();
        let state = self.snap.recirc.get(id);
        if state.is_none() {
            self.complain(|| format!("Recirculation context not found for ID {id:x}"));
            self.error = Some(XlateError::NoRecirculationContext);
        }
        state
    }

    /// Sends the packet to the controller through userspace.
    pub(crate) fn send_to_controller(&mut self, mut what: Pause, meter: Option<u32>) {
        use crate::table::reason;
        self.commit();
        if what.reason == reason::ACTION && self.rule.as_ref().is_some_and(|r| r.is_table_miss()) {
            what.reason = reason::EXPLICIT_MISS;
        }
        let mut state = self.frozen_state(self.table);
        state.ingress = None;
        state.userdata = std::mem::take(&mut what.userdata);
        let held = self.snap.recirc.freeze(state);
        let id = held.id();
        self.out.recircs.push(held);
        let meters = &self.bridge.pipeline.meters;
        let meter = meters.provider_id(meter.unwrap_or(METER_CONTROLLER));
        match meter {
            None => self.userspace_controller(&what, id, false),
            Some(m) => {
                let actions = self.nested(|ctx| {
                    ctx.emit(Action::Meter(m));
                    ctx.userspace_controller(&what, id, false);
                });
                self.emit(Action::Sample {
                    probability: u32::MAX,
                    actions,
                });
            }
        }
    }

    fn userspace_controller(&mut self, what: &Pause, recirc_id: u32, continuation: bool) {
        let cookie = odp::UserspaceCookie::Controller {
            bridge: self.bridge.id.0,
            in_port: OfPort::NONE,
            dont_send: self.only_tracing() && !continuation,
            continuation,
            reason: what.reason,
            recirc_id,
            rule_cookie: self.cookie,
            controller_id: what.controller_id,
            max_len: what.max_len,
        };
        self.emit(Action::Userspace(odp::Userspace {
            pid: 0,
            cookie,
            egress_tun_port: None,
            include_actions: false,
        }));
    }
}
