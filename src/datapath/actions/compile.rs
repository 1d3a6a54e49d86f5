//! From `odp` actions to a [`Program`].
//!
//! Rules that make the packet ledger exact: a program ends with the step that takes the packets (an
//! output, a drop, ...); steps behind it would change packets nobody sees and are left out; a list without
//! any such step drops by policy. A `trunc` belongs to the next output or userspace action.

use super::set::SetStep;
use super::{NESTING_MAX, Program, Step, UNCUT};
use crate::conntrack::CtStep;
use dpif::DpifError;
use odp::{Action, DropReason};

/// Compiles a list of actions.
///
/// # Errors
/// Invalid: nested too deep, a malformed set, or something this datapath does not do.
pub(crate) fn compile(actions: &[Action]) -> Result<Program, DpifError> {
    list(actions, 0, &mut UNCUT.clone())
}

fn list(actions: &[Action], depth: usize, cut: &mut u32) -> Result<Program, DpifError> {
    if depth > NESTING_MAX {
        return Err(DpifError::Invalid);
    }
    let mut steps = Vec::with_capacity(actions.len());
    for action in actions {
        if let Action::Trunc { max_len } = action {
            *cut = *max_len;
        } else {
            steps.push(step(action, depth, cut)?);
        }
        if matches!(steps.last(), Some(Step::Drop(_))) {
            break;
        }
    }
    // A meter counts what comes to it even when nothing follows, and connections are tracked.
    while steps
        .last()
        .is_some_and(|s| !s.takes() && !matches!(s, Step::Meter(_) | Step::Ct(_)))
    {
        steps.pop();
    }
    if steps.last().is_none_or(|s| !s.takes()) {
        steps.push(Step::Drop(DropReason::PolicyDrop));
    }
    Ok(Program {
        needs_layers: steps.iter().any(Step::needs_layers),
        steps: steps.into(),
    })
}

fn step(action: &Action, depth: usize, cut: &mut u32) -> Result<Step, DpifError> {
    Ok(match action {
        Action::Output(port) => Step::Output {
            port: port.0,
            max_len: std::mem::replace(cut, UNCUT),
        },
        Action::Userspace(what) => Step::Userspace {
            what: Box::new(what.clone()),
            max_len: std::mem::replace(cut, UNCUT),
        },
        Action::Set(key) => Step::Set(SetStep::full(key)?),
        Action::SetMasked { key, mask } => Step::Set(SetStep::masked(key, mask)?),
        Action::PushVlan { tpid, tci } => Step::PushVlan {
            tpid: *tpid,
            tci: *tci,
        },
        Action::PopVlan => Step::PopVlan,
        Action::PushMpls { ethertype, lse } => Step::PushMpls {
            ethertype: *ethertype,
            lse: *lse,
            l3: true,
        },
        Action::AddMpls { ethertype, lse, l3 } => Step::PushMpls {
            ethertype: *ethertype,
            lse: *lse,
            l3: *l3,
        },
        Action::PopMpls { ethertype } => Step::PopMpls {
            ethertype: *ethertype,
        },
        Action::PushEth { src, dst } => Step::PushEth {
            src: *src,
            dst: *dst,
        },
        Action::PopEth => Step::PopEth,
        Action::PushNsh(push) => Step::PushNsh(push.clone()),
        Action::PopNsh => Step::PopNsh,
        Action::Clone(inner) => Step::Clone(list(inner, depth + 1, &mut cut.clone())?),
        Action::Sample {
            probability,
            actions,
        } => Step::Sample {
            probability: *probability,
            inner: list(actions, depth + 1, &mut cut.clone())?,
        },
        Action::CheckPktLen {
            pkt_len,
            greater,
            less_equal,
        } => Step::CheckPktLen {
            len: *pkt_len,
            greater: list(greater, depth + 1, &mut cut.clone())?,
            less_equal: list(less_equal, depth + 1, &mut cut.clone())?,
        },
        Action::Recirc(id) => Step::Recirc(*id),
        Action::Hash { alg, basis } => Step::Hash {
            alg: *alg,
            basis: *basis,
        },
        Action::Ct(ct) => Step::Ct(Box::new(CtStep::new(ct))),
        Action::CtClear => Step::CtClear,
        Action::Meter(id) => Step::Meter(*id),
        Action::Drop(reason) => Step::Drop(*reason),
        Action::Trunc { max_len: _ }
        | Action::TunnelPush(_)
        | Action::TunnelPop(_)
        | Action::LbOutput(_) => return Err(DpifError::Invalid),
    })
}

impl Step {
    /// True when packets can end here.
    fn takes(&self) -> bool {
        match self {
            Self::Output { .. }
            | Self::Userspace { .. }
            | Self::Clone(_)
            | Self::Sample { .. }
            | Self::CheckPktLen { .. }
            | Self::Recirc(_)
            | Self::Drop(_) => true,
            Self::Set(_)
            | Self::PushVlan { .. }
            | Self::PopVlan
            | Self::PushMpls { .. }
            | Self::PopMpls { .. }
            | Self::PushEth { .. }
            | Self::PopEth
            | Self::PushNsh(_)
            | Self::PopNsh
            | Self::Hash { .. }
            | Self::Ct(_)
            | Self::CtClear
            | Self::Meter(_) => false,
        }
    }

    fn needs_layers(&self) -> bool {
        match self {
            Self::Set(set) => set.needs_layers(),
            Self::PushMpls { .. } | Self::PopMpls { .. } | Self::PopEth | Self::Ct(_) => true,
            Self::Clone(p) | Self::Sample { inner: p, .. } => p.needs_layers,
            Self::CheckPktLen {
                greater,
                less_equal,
                ..
            } => greater.needs_layers || less_equal.needs_layers,
            Self::Output { .. }
            | Self::Userspace { .. }
            | Self::Recirc(_)
            | Self::Drop(_)
            | Self::PushVlan { .. }
            | Self::PopVlan
            | Self::PushEth { .. }
            | Self::PushNsh(_)
            | Self::PopNsh
            | Self::Hash { .. }
            | Self::CtClear
            | Self::Meter(_) => false,
        }
    }
}
