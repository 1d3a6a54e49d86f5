//! Which action or instruction may stand where, and in what order (OpenFlow 1.1, 5.9).

use crate::action::Act;
use crate::error::OfpError;
use crate::version::Version;
use flow::FieldId;

/// The action around a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outer {
    None,
    Ct,
    Clone,
    WriteActions,
}

/// What a list may contain besides plain actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Every instruction.
    All,
    /// The meter instruction.
    Meter,
    /// Nothing.
    Actions,
}

/// A list that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: OfpError,
    pub(crate) text: String,
}

fn refuse(error: OfpError, text: String) -> Refused {
    Refused { error, text }
}

/// Instructions in the order they must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Inst {
    Meter,
    Apply,
    Clear,
    Write,
    Metadata,
    Goto,
}

impl Inst {
    /// The instruction an action belongs to. A meter is an action since OpenFlow 1.5.
    pub(crate) fn of(act: &Act, version: Version) -> Self {
        match act {
            Act::Meter(_) if version < Version::V15 => Self::Meter,
            Act::ClearActions => Self::Clear,
            Act::WriteActions(_) => Self::Write,
            Act::WriteMetadata { .. } => Self::Metadata,
            Act::GotoTable(_) => Self::Goto,
            _ => Self::Apply,
        }
    }
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Apply => "apply_actions",
            Self::Clear => "clear_actions",
            Self::Write => "write_actions",
            Self::Metadata => "write_metadata",
            Self::Goto => "goto_table",
        }
    }
}

impl Outer {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Ct => "ct",
            Self::Clone => "clone",
            Self::WriteActions => "write_actions",
        }
    }
}

pub(crate) fn verify(
    acts: &[Act],
    version: Version,
    allowed: Allowed,
    outer: Outer,
) -> Result<(), Refused> {
    let mut inst = Inst::Meter;
    for (i, act) in acts.iter().enumerate() {
        if matches!(act, Act::Conjunction { .. }) {
            return conjunction_only(acts);
        }
        nested(act, outer)?;
        let next = Inst::of(act, version);
        let ordered = i == 0
            || if inst == Inst::Apply {
                next >= inst
            } else {
                next > inst
            };
        if !ordered {
            return Err(disorder(inst, next));
        }
        let fits = match allowed {
            Allowed::All => true,
            Allowed::Meter => next <= Inst::Apply,
            Allowed::Actions => next == Inst::Apply,
        };
        if !fits {
            let text = format!("{} instruction not allowed here", next.name());
            return Err(refuse(OfpError::OFPBIC_UNSUP_INST, text));
        }
        inst = next;
    }
    Ok(())
}

fn disorder(inst: Inst, next: Inst) -> Refused {
    let (now, then) = (inst.name(), next.name());
    let text = if inst == next {
        format!("duplicate {now} instruction not allowed, for OpenFlow 1.1+ compatibility")
    } else {
        format!(
            "invalid instruction ordering: {then} must appear before {now}, for OpenFlow 1.1+ \
             compatibility"
        )
    };
    refuse(OfpError::OFPBAC_UNSUPPORTED_ORDER, text)
}

fn conjunction_only(acts: &[Act]) -> Result<(), Refused> {
    let other = acts
        .iter()
        .find(|a| !matches!(a, Act::Conjunction { .. } | Act::Note(_)));
    match other {
        None => Ok(()),
        Some(a) => {
            let text = format!(
                "\"conjunction\" actions may be used along with \"note\" but not any other kind \
                 of action (such as the \"{}\" action used here)",
                a.name()
            );
            Err(refuse(OfpError::NXBAC_BAD_CONJUNCTION, text))
        }
    }
}

/// The field an action writes.
fn written(act: &Act) -> Option<FieldId> {
    match act {
        Act::SetField { field, .. } => Some(*field),
        Act::RegMove { dst, .. } => Some(dst.field),
        _ => None,
    }
}

fn nested(act: &Act, outer: Outer) -> Result<(), Refused> {
    let field = written(act);
    let of_ct = matches!(field, Some(FieldId::CtMark | FieldId::CtLabel));
    if of_ct && outer != Outer::Ct {
        let text = "cannot set CT fields outside of ct action".to_owned();
        return Err(refuse(OfpError::OFPBAC_BAD_SET_ARGUMENT, text));
    }
    if matches!(act, Act::Nat(_)) {
        if outer == Outer::Ct {
            return Ok(());
        }
        let text = "Cannot have NAT action outside of \"ct\" action".to_owned();
        return Err(refuse(OfpError::OFPBAC_BAD_SET_ARGUMENT, text));
    }
    let unsupported = || {
        let (outer, inner) = (outer.name(), act.name());
        let text = format!("{outer} action doesn't support nested action {inner}");
        Err(refuse(OfpError::OFPBAC_BAD_ARGUMENT, text))
    };
    match (outer, field) {
        (Outer::Ct, None) => unsupported(),
        (Outer::Ct, Some(f)) if !of_ct => {
            let text = format!(
                "ct action doesn't support nested modification of {}",
                f.name()
            );
            Err(refuse(OfpError::OFPBAC_BAD_ARGUMENT, text))
        }
        (Outer::Ct | Outer::Clone | Outer::WriteActions, _) if matches!(act, Act::Meter(_)) => {
            unsupported()
        }
        _ => Ok(()),
    }
}

impl Act {
    /// The action's name, as error sentences use it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Output { .. } => "output",
            Self::Group(_) => "group",
            Self::Controller { .. } => "controller",
            Self::Enqueue { .. } => "enqueue",
            Self::OutputReg { .. } => "output_reg",
            Self::OutputTrunc { .. } => "output_trunc",
            Self::Bundle(_) => "bundle",
            Self::Multipath(_) => "multipath",
            Self::Sample { .. } => "sample",
            Self::SetTunnel { .. } => "set_tunnel",
            Self::SetQueue(_) => "set_queue",
            Self::PopQueue => "pop_queue",
            Self::FinTimeout { .. } => "fin_timeout",
            Self::Resubmit { .. } => "resubmit",
            Self::Learn(_) => "learn",
            Self::Conjunction { .. } => "conjunction",
            Self::Note(_) => "note",
            Self::Exit => "exit",
            Self::Ct(_) => "ct",
            Self::Nat(_) => "nat",
            Self::CtClear => "ct_clear",
            Self::Clone(_) => "clone",
            Self::CheckPktLarger { .. } => "check_pkt_larger",
            Self::DebugRecirc => "debug_recirc",
            Self::DebugSlow => "debug_slow",
            Self::Meter(_) => "meter",
            Self::ClearActions => "clear_actions",
            Self::WriteActions(_) => "write_actions",
            Self::WriteMetadata { .. } => "write_metadata",
            Self::GotoTable(_) => "goto_table",
            _ => self.header_name(),
        }
    }

    fn header_name(&self) -> &'static str {
        match self {
            Self::SetField { .. } => "set_field",
            Self::SetVlanVid { .. } => "set_vlan_vid",
            Self::SetVlanPcp { .. } => "set_vlan_pcp",
            Self::StripVlan { .. } => "strip_vlan",
            Self::PushVlan { .. } => "push_vlan",
            Self::SetEthSrc(_) => "mod_dl_src",
            Self::SetEthDst(_) => "mod_dl_dst",
            Self::SetIpv4Src(_) => "mod_nw_src",
            Self::SetIpv4Dst(_) => "mod_nw_dst",
            Self::SetIpDscp(_) => "mod_nw_tos",
            Self::SetIpEcn(_) => "mod_nw_ecn",
            Self::SetIpTtl(_) => "mod_nw_ttl",
            Self::SetL4SrcPort { .. } => "mod_tp_src",
            Self::SetL4DstPort { .. } => "mod_tp_dst",
            Self::RegMove { .. } => "move",
            Self::StackPush(_) => "push",
            Self::StackPop(_) => "pop",
            Self::DecTtl { .. } => "dec_ttl",
            Self::SetMplsLabel(_) => "set_mpls_label",
            Self::SetMplsTc(_) => "set_mpls_tc",
            Self::SetMplsTtl(_) => "set_mpls_ttl",
            Self::DecMplsTtl => "dec_mpls_ttl",
            Self::PushMpls { .. } => "push_mpls",
            Self::PopMpls { .. } => "pop_mpls",
            Self::DecNshTtl => "dec_nsh_ttl",
            Self::DeleteField(_) => "delete_field",
            Self::Encap { .. } => "encap",
            Self::Decap { .. } => "decap",
            _ => "<unknown>",
        }
    }
}
