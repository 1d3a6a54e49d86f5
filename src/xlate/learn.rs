//! The `learn` action: a flow made out of the packet at hand. The flow is added when the effects are
//! applied, at a later version than this translation sees.

use crate::ctx::Ctx;
use crate::effects::Effect;
use crate::trace::NodeKind;
use crate::wild::Site;
use base::sync::Arc;
use flow::{FieldValue, Match, OfPort, Subfield};
use openflow::action::SetKind;
use openflow::{Act, Acts, FlowFlags, FlowMod, FlowModCommand, LearnAct, LearnDst, LearnSrc};

impl Ctx<'_> {
    /// Does it.
    pub(crate) fn learn(&mut self, learn: &LearnAct) {
        let tun = self.tun();
        let tun = Some(&*tun);
        for spec in &learn.specs {
            if let LearnSrc::Field(src) = &spec.src {
                self.wc.with(Site::Learn, |m| src.mask(m, tun));
            }
        }
        if self.only_tracing() {
            self.note(NodeKind::Warn, || {
                "suppressing side effects, so learn action ignored".into()
            });
            return;
        }
        let flow = Arc::new(self.learned_flow(learn));
        if self.tracing() {
            let text = crate::text::learned(&flow);
            self.note(NodeKind::Detail, || text);
        }
        let below_limit = self.below_limit(&flow, learn.limit);
        if let Some(dst) = learn.result_dst.as_ref().filter(|_| learn.write_result) {
            self.load(dst, below_limit.into());
            self.note_subfield(dst);
        }
        if below_limit {
            self.effect(Effect::Learn {
                bridge: self.bridge.id,
                flow_mod: flow,
                limit: learn.limit,
            });
        } else {
            self.note(NodeKind::Detail, || "Limit exceeded, learn failed".into());
        }
    }

    /// True when the table has room, by the action's own limit, or the flow is there already.
    fn below_limit(&mut self, flow: &FlowMod, limit: u32) -> bool {
        if limit == 0 {
            return true;
        }
        // The outcome depends on how many flows there are, which no dependency tracks.
        self.out.deps.untracked = true;
        let table = self.bridge.pipeline.tables.table(flow.table_id);
        let m = table.rules.compact(&flow.match_.flow, &flow.match_.mask);
        let version = self.bridge.pipeline.tables.version();
        if table
            .rules
            .find_exact(&m, flow.priority.into(), version)
            .is_some()
        {
            return true;
        }
        // There is no packet to learn from now, and what is learned later decides what the actions are: the
        // next packet is to be looked at itself, as in Open vSwitch.
        self.out.avoid_caching |= self.packet.is_none();
        let n = table
            .rules
            .collect(None, version)
            .iter()
            .filter(|r| r.cookie == flow.new_cookie)
            .count();
        n < limit as usize
    }

    fn learned_flow(&self, learn: &LearnAct) -> FlowMod {
        let tun = self.tun();
        let tun = Some(&*tun);
        let mut matching = Match::catchall();
        matching.tun = Some(self.tun());
        let mut actions = Acts::new();
        if learn.fin_idle_timeout != 0 || learn.fin_hard_timeout != 0 {
            actions.push(Act::FinTimeout {
                idle: learn.fin_idle_timeout,
                hard: learn.fin_hard_timeout,
            });
        }
        for spec in &learn.specs {
            let bits: FieldValue = match &spec.src {
                LearnSrc::Field(src) => src.read(&self.flow, tun),
                LearnSrc::Immediate(value) => value.clone(),
            };
            match &spec.dst {
                LearnDst::Match(dst) => {
                    dst.write(&mut matching.flow, &bits, tun);
                    dst.mask(&mut matching.mask, tun);
                    matching.add_ethernet_prereq(dst.field);
                }
                LearnDst::Load(dst) => actions.push(load(dst, &bits)),
                LearnDst::Output => actions.extend(output(&bits)),
            }
        }
        matching.zero_wildcarded();
        let mut fm = FlowMod::new(FlowModCommand::ModifyStrict);
        fm.match_ = matching;
        fm.priority = learn.priority;
        fm.new_cookie = learn.cookie;
        fm.modify_cookie = learn.cookie != u64::MAX;
        fm.table_id = learn.table;
        fm.idle_timeout = learn.idle_timeout;
        fm.hard_timeout = learn.hard_timeout;
        if learn.send_flow_rem {
            fm.flags |= FlowFlags::SEND_FLOW_REM;
        }
        fm.acts = actions;
        fm
    }
}

fn load(dst: &Subfield, bits: &[u8]) -> Act {
    let n = dst.field.info().n_bytes;
    let mut value = FieldValue::from_elem(0, n);
    dst.into_value(bits, &mut value);
    Act::SetField {
        field: dst.field,
        value,
        mask: Some(dst.mask_value()),
        kind: SetKind::Load,
        flow_has_vlan: false,
    }
}

/// An output, when the bits name a port that one may output to.
fn output(bits: &[u8]) -> Option<Act> {
    let n = bits.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
    let port = OfPort(u16::try_from(n).ok()?);
    let real = port < OfPort::MAX
        || matches!(
            port,
            OfPort::IN_PORT | OfPort::FLOOD | OfPort::LOCAL | OfPort::ALL
        );
    real.then_some(Act::Output { port, max_len: 0 })
}
