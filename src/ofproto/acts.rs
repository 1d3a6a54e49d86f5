//! Questions about lists of actions, nested ones included.

use flow::OfPort;
use openflow::{Act, LearnAct};

/// Calls `see` for every action, those inside `clone`, `ct` and `write_actions` after the one they are in.
pub(crate) fn each<'a>(acts: &'a [Act], see: &mut dyn FnMut(&'a Act)) {
    for act in acts {
        see(act);
        match act {
            Act::Clone(inner) | Act::WriteActions(inner) => each(inner, see),
            Act::Ct(ct) => each(&ct.actions, see),
            _ => {}
        }
    }
}

fn any(acts: &[Act], wanted: &dyn Fn(&Act) -> bool) -> bool {
    let mut found = false;
    each(acts, &mut |a| found |= wanted(a));
    found
}

/// True when an action names `port` as an output, as the `out_port` filter has it.
pub(crate) fn output_to_port(acts: &[Act], wanted: OfPort) -> bool {
    any(acts, &|a| match a {
        Act::Output { port, .. } | Act::Enqueue { port, .. } => *port == wanted,
        Act::Controller { .. } => wanted == OfPort::CONTROLLER,
        _ => false,
    })
}

/// True when an action outputs to `group`.
pub(crate) fn output_to_group(acts: &[Act], group: u32) -> bool {
    any(acts, &|a| *a == Act::Group(group))
}

/// The groups that actions output to.
pub(crate) fn groups(acts: &[Act]) -> Vec<u32> {
    let mut out = Vec::new();
    each(acts, &mut |a| {
        if let Act::Group(id) = a
            && !out.contains(id)
        {
            out.push(*id);
        }
    });
    out
}

/// The meters that packets pass.
pub(crate) fn meters(acts: &[Act]) -> Vec<u32> {
    let mut out = Vec::new();
    each(acts, &mut |a| {
        if let Act::Meter(id) = a
            && !out.contains(id)
        {
            out.push(*id);
        }
    });
    out
}

/// `learn` actions whose flows go with the flow that learned them.
pub(crate) fn learns_with_delete<'a>(acts: &'a [Act], see: &mut dyn FnMut(&'a LearnAct)) {
    each(acts, &mut |a| {
        if let Act::Learn(learn) = a
            && learn.delete_learned
        {
            see(learn);
        }
    });
}

/// What a list of actions holds that the tables must keep books about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Uses {
    pub(crate) groups: bool,
    pub(crate) meters: bool,
    pub(crate) learns: bool,
    pub(crate) tlvs: bool,
}

impl Uses {
    pub(crate) fn of(acts: &[Act]) -> Self {
        let mut uses = Self {
            tlvs: crate::tlv::acts_use(acts) != 0,
            ..Self::default()
        };
        each(acts, &mut |a| match a {
            Act::Group(_) => uses.groups = true,
            Act::Meter(_) => uses.meters = true,
            Act::Learn(l) if l.delete_learned => uses.learns = true,
            _ => {}
        });
        uses
    }
}
