//! Running a list of actions: the loop, and the actions that are about the pipeline itself.

use crate::ctx::{Ctx, Pause};
use crate::effects::Effect;
use crate::recirc::FrozenStep;
use crate::table::{Lookup, Run};
use crate::trace::NodeKind;
use crate::wild::Site;
use flow::OfPort;
use odp::{Action, SlowReason};
use openflow::Act;
use wire::{U32, U64};

/// An item of a list: an action, or a mark left by freezing.
pub(crate) trait Step {
    /// What it is.
    fn get(&self) -> StepRef<'_>;
}

/// See [`Step`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum StepRef<'s> {
    /// An action.
    Act(&'s Act),
    /// The following actions belong to a rule of this table with this cookie.
    Unroll(u8, u64),
}

impl Step for Act {
    fn get(&self) -> StepRef<'_> {
        StepRef::Act(self)
    }
}

impl Step for FrozenStep {
    fn get(&self) -> StepRef<'_> {
        match self {
            Self::Act(a) => StepRef::Act(a),
            Self::Unroll { table, cookie } => StepRef::Unroll(*table, *cookie),
        }
    }
}

/// Where in a list an action stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Nothing happens to the packet after it.
    pub(crate) last: bool,
    /// The list is that of a group's bucket.
    pub(crate) bucket: bool,
}

/// How the loop goes on after an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// With the next action. Should the action have asked for freezing, it is done again after thawing.
    Go,
    /// As `Go`, but after thawing the action is not done again.
    Done,
    /// As `Done`, for actions that ran other lists, which took care of freezing themselves.
    Jumped,
    /// Not at all; nothing is frozen.
    Stop,
    /// Not at all: the action ran the rest of the list.
    Consumed,
}

impl Ctx<'_> {
    /// Runs a list of actions. `is_last`: nothing happens to the packet afterwards.
    pub(crate) fn run<S: Step>(&mut self, steps: &[S], is_last: bool, bucket: bool) {
        if steps.is_empty() {
            self.note(NodeKind::Action, || "drop".into());
            return;
        }
        for (i, item) in steps.iter().enumerate() {
            if self.error.is_some() {
                return;
            }
            let step = item.get();
            self.freeze_before(step);
            if self.exit {
                if self.freeze.on {
                    self.freeze_rest(&steps[i..]);
                }
                return;
            }
            let place = Place {
                last: is_last && i + 1 == steps.len() && self.action_set.is_empty(),
                bucket,
            };
            let next = self.step(step, &steps[i + 1..], place);
            let rest = match next {
                Next::Go => &steps[i..],
                Next::Done => &steps[i + 1..],
                Next::Jumped => continue,
                Next::Stop => return,
                Next::Consumed => {
                    if self.exit && self.freeze.on {
                        self.freeze_rest(&steps[i + 1..]);
                    }
                    return;
                }
            };
            if self.error.is_none() && self.exit && self.freeze.on && self.freeze.steps.is_empty() {
                self.freeze_rest(rest);
                return;
            }
        }
    }

    fn step<S: Step>(&mut self, step: StepRef<'_>, rest: &[S], place: Place) -> Next {
        let act = match step {
            StepRef::Act(act) => act,
            StepRef::Unroll(table, cookie) => {
                self.note(NodeKind::Action, || "unroll_xlate".into());
                self.table = table;
                self.cookie = cookie;
                self.note(NodeKind::Thaw, || {
                    format!("restored state: table={table}, cookie={cookie:#x}")
                });
                return Next::Go;
            }
        };
        if self.tracing() {
            let text = crate::text::action(self, act);
            self.note(NodeKind::Action, || text);
        }
        if let Act::CheckPktLarger { len, dst } = act {
            return if self.check_pkt_larger(*len, dst, rest) {
                Next::Consumed
            } else {
                Next::Go
            };
        }
        if self.header_action(act) {
            return Next::Go;
        }
        self.other_action(act, place)
    }

    fn other_action(&mut self, act: &Act, place: Place) -> Next {
        match act {
            Act::Output { port, max_len } => self.output(*port, *max_len, true, place),
            Act::OutputReg { src, max_len } => self.output_reg(src, *max_len, place),
            Act::OutputTrunc { port, max_len } => self.output_trunc(*port, *max_len, place),
            Act::Enqueue { port, queue } => self.enqueue(*port, *queue, place),
            Act::Bundle(b) => self.bundle(b, place),
            Act::Group(id) => {
                if !self.group(*id, place.last) {
                    return Next::Stop;
                }
            }
            Act::Controller { .. } => return self.controller_action(act),
            Act::Resubmit { in_port, table, ct } => {
                self.resubmit(*in_port, *table, *ct, place.last);
                return Next::Jumped;
            }
            Act::GotoTable(table) => {
                let l = Lookup {
                    in_port: self.in_port(),
                    table: *table,
                    may_packet_in: true,
                    honor_miss: true,
                    ct_orig: false,
                };
                self.table_action(l, place.last, Run::Plain);
                return Next::Jumped;
            }
            Act::DecTtl { ids } => return stop_if(self.dec_ttl(ids)),
            Act::DecMplsTtl => return stop_if(self.dec_mpls_ttl()),
            Act::DecNshTtl => return stop_if(self.dec_nsh_ttl()),
            Act::Learn(l) => self.learn(l),
            Act::Clone(acts) => self.run_cloned(acts, place.last),
            Act::Ct(ct) => self.ct(ct, place.last),
            Act::Nat(nat) => self.nat = Some(nat.clone()),
            Act::CtClear => self.ct_clear(),
            Act::Sample { .. } => self.sample(act),
            Act::Encap { header, props } => self.encap(*header, props),
            Act::Decap { new_type } => {
                if self.decap(*new_type) {
                    self.trigger_freeze();
                    return Next::Done;
                }
            }
            Act::DebugRecirc => {
                self.trigger_freeze();
                return Next::Done;
            }
            _ => self.simple_action(act),
        }
        Next::Go
    }

    /// Actions of one line.
    fn simple_action(&mut self, act: &Act) {
        match act {
            Act::SetTunnel { id, .. } => self.flow.tunnel.tun_id = U64::new(*id),
            Act::SetQueue(q) => {
                self.mark_queue();
                // The userspace datapath's priorities are the queue numbers.
                self.flow.skb_priority = U32::new(*q);
            }
            Act::PopQueue => {
                self.mark_queue();
                if self.flow.skb_priority != self.orig_priority {
                    self.flow.skb_priority = self.orig_priority;
                    let q = self.orig_priority.get();
                    self.note(NodeKind::Detail, || {
                        format!("queue = {}", crate::text::hex(q))
                    });
                }
            }
            Act::FinTimeout { idle, hard } => {
                self.wc.mark(Site::FinTimeout, |m| m.nw_proto = 0xff);
                if let Some(rule) = self.rule.clone() {
                    self.effect(Effect::FinTimeout {
                        rule,
                        idle: *idle,
                        hard: *hard,
                    });
                }
            }
            Act::Conjunction { .. } => {
                self.complain(|| "executing no-op conjunction action".into());
            }
            Act::Exit => self.exit = true,
            Act::ClearActions => {
                self.note_action_set("was");
                self.action_set.clear();
                self.flow.actset_output = U32::new(OfPort::UNSET.0.into());
                self.action_set_has_group = false;
            }
            Act::WriteActions(acts) => {
                self.write_actions(acts);
                self.note_action_set("is");
            }
            Act::WriteMetadata { metadata, mask } => {
                let old = self.flow.metadata.get();
                self.flow.metadata = U64::new(old & !mask | metadata & mask);
            }
            Act::Meter(id) => {
                self.out.deps.meters.push((self.bridge.id, *id));
                if let Some(dp) = self.bridge.pipeline.meters.provider_id(*id) {
                    self.emit(Action::Meter(dp));
                }
            }
            Act::DebugSlow => self.slow(SlowReason::ACTION),
            Act::DeleteField(field) => {
                if let flow::FieldId::TunMetadata(i) = *field {
                    flow::TunTable::delete(i, &mut self.flow.tunnel);
                }
                self.note(NodeKind::Detail, || format!("delete {}", field.name()));
            }
            // Notes say nothing to the switch; everything else was handled before.
            _ => {}
        }
    }

    pub(crate) fn mark_queue(&mut self) {
        self.wc
            .mark(Site::Queue, |m| m.skb_priority = U32::MAX_VALUE);
    }

    fn resubmit(&mut self, in_port: OfPort, table: u8, ct_orig: bool, is_last: bool) {
        let l = Lookup {
            in_port: if in_port == OfPort::IN_PORT {
                self.in_port()
            } else {
                in_port
            },
            table: if table == 255 { self.table } else { table },
            may_packet_in: false,
            honor_miss: false,
            ct_orig,
        };
        self.table_action(l, is_last, Run::Plain);
    }

    fn controller_action(&mut self, act: &Act) -> Next {
        let Act::Controller {
            max_len,
            controller_id,
            reason,
            userdata,
            meter_id,
            pause,
        } = act
        else {
            return Next::Go;
        };
        let what = Pause {
            max_len: *max_len,
            controller_id: *controller_id,
            reason: *reason,
            userdata: userdata.clone(),
        };
        if *pause {
            self.freeze.pause = Some(what);
            self.trigger_freeze();
            Next::Done
        } else {
            self.send_to_controller(what, *meter_id);
            Next::Go
        }
    }

    // ---- the action set

    /// Adds actions to the action set, and keeps `actset_output` true to it.
    pub(crate) fn write_actions(&mut self, acts: &[Act]) {
        for act in acts {
            if self.action_set_has_group {
                break;
            }
            match act {
                Act::Output { port, .. } => {
                    self.flow.actset_output = U32::new(port.0.into());
                }
                Act::Group(_) => {
                    self.flow.actset_output = U32::new(OfPort::UNSET.0.into());
                    self.action_set_has_group = true;
                }
                _ => {}
            }
        }
        self.action_set.extend_from_slice(acts);
    }

    /// Executes the action set, at the end of the pipeline.
    pub(crate) fn run_action_set(&mut self) {
        let set = std::mem::take(&mut self.action_set);
        let list = crate::action_set::in_order(&set);
        if list.is_empty() {
            return;
        }
        self.in_action_set = true;
        self.begin(NodeKind::Table, || "--. Executing action set:".into());
        self.run(&list, true, false);
        self.end();
        self.in_action_set = false;
    }

    fn note_action_set(&mut self, verb: &str) {
        if !self.tracing() {
            return;
        }
        let list = crate::action_set::in_order(&self.action_set);
        let text = if list.is_empty() {
            format!("action set {verb} empty")
        } else {
            format!("action set {verb}: {}", crate::text::actions(&list))
        };
        self.note(NodeKind::Detail, || text);
    }
}

fn stop_if(stop: bool) -> Next {
    if stop { Next::Stop } else { Next::Go }
}
