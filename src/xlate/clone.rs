//! Copies of the packet: `clone`, the far end of a patch port, `check_pkt_larger`.

use crate::act::Step;
use crate::commit::Pending;
use crate::ctx::{Ctx, Due};
use flow::Subfield;
use odp::{Action, Actions, SlowReason};
use openflow::Act;

/// True when everything the actions do to the packet can be undone by setting headers back, so that no
/// copy of the packet is needed.
fn reversible(acts: &[Act]) -> bool {
    !acts.iter().any(|a| {
        matches!(
            a,
            Act::Ct(_)
                | Act::Meter(_)
                | Act::Nat(_)
                | Act::OutputTrunc { .. }
                | Act::Encap { .. }
                | Act::Decap { .. }
                | Act::DecNshTtl
        )
    })
}

/// What a copy may change and the original must not notice.
struct Kept {
    flow: flow::Flow,
    stack: Vec<crate::ctx::StackEntry>,
    action_set: Vec<Act>,
    due: Due,
}

impl Ctx<'_> {
    fn keep(&self) -> Kept {
        Kept {
            flow: self.flow,
            stack: self.stack.clone(),
            action_set: self.action_set.clone(),
            due: self.due(),
        }
    }

    fn restore(&mut self, kept: Kept) {
        self.flow = kept.flow;
        self.stack = kept.stack;
        self.action_set = kept.action_set;
        self.restore_due(kept.due);
    }

    /// Runs actions on a copy of the packet, with its own stack and action set.
    pub(crate) fn run_cloned(&mut self, acts: &[Act], is_last: bool) {
        let kept = self.keep();
        if reversible(acts) || is_last {
            self.run(acts, is_last, false);
            self.finish_pipeline();
            self.restore(kept);
            return;
        }
        // What is common to the copy and to what follows is done once, before.
        self.commit();
        let (base, was_mpls, conntracked) = (self.base, self.was_mpls, self.conntracked);
        if self.snap.features.clone {
            let actions = self.copy(acts);
            if !actions.is_empty() {
                self.emit(Action::Clone(actions));
            }
        } else if self.snap.features.sample_nesting > 3 {
            let actions = self.copy(acts);
            if !actions.is_empty() {
                self.emit(Action::Sample {
                    probability: u32::MAX,
                    actions,
                });
            }
        } else {
            self.complain(|| "Failed to compose clone action".into());
        }
        self.conntracked = conntracked;
        self.was_mpls = was_mpls;
        self.base = base;
        self.restore(kept);
    }

    fn copy(&mut self, acts: &[Act]) -> Actions {
        self.nested(|ctx| {
            ctx.run(acts, true, false);
            ctx.finish_pipeline();
        })
    }

    /// `check_pkt_larger`: both outcomes are translated, each with the rest of the list. False when the
    /// datapath cannot, and the list simply goes on.
    pub(crate) fn check_pkt_larger<S: Step>(
        &mut self,
        len: u16,
        dst: &Subfield,
        rest: &[S],
    ) -> bool {
        if !self.snap.features.check_pkt_len {
            let larger = self.packet.is_some_and(|p| p.len() > usize::from(len));
            let tun = self.tun();
            let tun = Some(&*tun);
            dst.write_u64(&mut self.flow, larger.into(), tun);
            self.slow(SlowReason::ACTION);
            return false;
        }
        let kept = self.keep();
        self.commit();
        let (base, was_mpls, conntracked) = (self.base, self.was_mpls, self.conntracked);
        let outcome = |ctx: &mut Self, larger: u64| {
            let tun = ctx.tun();
            let tun = Some(&*tun);
            dst.write_u64(&mut ctx.flow, larger, tun);
            let actions = ctx.nested(|ctx| {
                ctx.run(rest, true, false);
                ctx.finish_pipeline();
            });
            ctx.base = base;
            ctx.pending = Pending::default(); // what one outcome did to headers is not the other's
            ctx.was_mpls = was_mpls;
            ctx.conntracked = conntracked;
            actions
        };
        let greater = outcome(self, 1);
        self.flow = kept.flow;
        self.stack.clone_from(&kept.stack);
        self.action_set.clone_from(&kept.action_set);
        // The first outcome may have stopped (frozen); the second starts afresh.
        let exit = std::mem::take(&mut self.exit);
        let less_equal = outcome(self, 0);
        self.emit(Action::CheckPktLen {
            pkt_len: len,
            greater,
            less_equal,
        });
        self.exit = exit;
        self.restore(kept);
        // Both outcomes ran it. (Open vSwitch forgets it in the second and runs it once more for all.)
        self.action_set.clear();
        true
    }
}
