//! The `learn` action: a flow made out of the packet at hand. The flow is added when the effects are
//! applied, at a later version than this translation sees.

use crate::ctx::Ctx;
use crate::effects::{Effect, LearnedFlow};
use crate::trace::NodeKind;
use crate::wild::Site;
use base::sync::Arc;
use flow::{FieldValue, Match, OfPort, Subfield};
use openflow::action::SetKind;
use openflow::{Act, Acts, LearnAct, LearnDst, LearnSrc};

impl Ctx<'_> {
    /// Does it.
    pub(crate) fn learn(&mut self, learn: &LearnAct) {
        let tun = self.tun();
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
        let below_limit = self.below_limit(&flow);
        if let Some(dst) = learn.result_dst.as_ref().filter(|_| learn.write_result) {
            self.load(dst, below_limit.into());
            self.note_subfield(dst);
        }
        if below_limit {
            self.effect(Effect::Learn(flow));
        } else {
            self.note(NodeKind::Detail, || {
                "Limit exceeded, learn failed".into()
            });
        }
    }

    /// True when the table has room, by the action's own limit, or the flow is there already.
    fn below_limit(&mut self, flow: &LearnedFlow) -> bool {
        if flow.limit == 0 {
            return true;
        }
        // The outcome depends on how many flows there are, which no dependency tracks.
        self.out.deps.untracked = true;
        let table = self.bridge.pipeline.tables.table(flow.table);
        let m = table.rules.compact(&flow.matching.flow, &flow.matching.mask);
        let version = self.bridge.pipeline.tables.version();
        if table
            .rules
            .find_exact(&m, flow.priority.into(), version)
            .is_some()
        {
            return true;
        }
        let n = table
            .rules
            .collect(None, version)
            .iter()
            .filter(|r| r.cookie == flow.cookie)
            .count();
        n < flow.limit as usize
    }

    fn learned_flow(&self, learn: &LearnAct) -> LearnedFlow {
        let tun = self.tun();
        let mut matching = Match::catchall();
        matching.tun.clone_from(&self.bridge.tun_table);
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
        LearnedFlow {
            bridge: self.bridge.id,
            table: learn.table,
            matching,
            priority: learn.priority,
            cookie: learn.cookie,
            idle_timeout: learn.idle_timeout,
            hard_timeout: learn.hard_timeout,
            send_flow_rem: learn.send_flow_rem,
            delete_learned: learn.delete_learned,
            limit: learn.limit,
            actions: Arc::new(actions),
        }
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
