//! Actions to text.

use super::put::put;
use super::set::{put_lse, put_set};
use super::{OdpNames, ct, nsh, tnl_push, userspace};
use crate::action::{Action, HashAlg};
use flow::{OdpPort, Vlan};

const ETH_VLAN: u16 = 0x8100;

/// A list of actions; `drop` when it is empty.
#[must_use]
pub fn format_actions(actions: &[Action], names: &dyn OdpNames) -> String {
    let mut out = String::new();
    put_actions(&mut out, actions, names);
    out
}

/// As [`format_actions`], appended to `out`.
pub fn put_actions(out: &mut String, actions: &[Action], names: &dyn OdpNames) {
    if actions.is_empty() {
        out.push_str("drop");
    }
    for (i, action) in actions.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        put_action(out, action, names);
    }
}

/// A port by name, or else by number.
pub(super) fn put_port(out: &mut String, port: OdpPort, names: &dyn OdpNames) {
    match names.name(port) {
        Some(name) => out.push_str(name),
        None => put!(out, "{port}"),
    }
}

fn put_action(out: &mut String, action: &Action, names: &dyn OdpNames) {
    match action {
        Action::Output(port) => put_port(out, *port, names),
        Action::Userspace(u) => userspace::put_userspace(out, u, names),
        Action::Set(key) => put_set(out, key, None),
        Action::SetMasked { key, mask } => put_set(out, key, Some(mask)),
        Action::PushVlan { tpid, tci } => put_push_vlan(out, *tpid, *tci),
        Action::PopVlan => out.push_str("pop_vlan"),
        Action::PushMpls { ethertype, lse } => put_mpls(out, "push_mpls", *lse, *ethertype),
        Action::AddMpls { ethertype, lse, .. } => put_mpls(out, "add_mpls", *lse, *ethertype),
        Action::PopMpls { ethertype } => put!(out, "pop_mpls(eth_type={ethertype:#x})"),
        Action::PushEth { src, dst } => put!(out, "push_eth(src={src},dst={dst})"),
        Action::PopEth => out.push_str("pop_eth"),
        Action::PushNsh(push) => nsh::put_push(out, push),
        Action::PopNsh => out.push_str("pop_nsh()"),
        Action::Recirc(id) => put!(out, "recirc({})", super::put::AltHex((*id).into())),
        Action::Hash { alg, basis } => match alg {
            HashAlg::L4 => put!(out, "hash(l4({basis}))"),
            HashAlg::SymL4 => put!(out, "hash(sym_l4({basis}))"),
        },
        Action::Trunc { max_len } => put!(out, "trunc({max_len})"),
        Action::Ct(action) => ct::put_ct(out, action),
        Action::CtClear => out.push_str("ct_clear"),
        Action::Meter(id) => put!(out, "meter({id})"),
        Action::TunnelPush(push) => tnl_push::put_tnl_push(out, push, names),
        Action::TunnelPop(port) => {
            out.push_str("tnl_pop(");
            put_port(out, *port, names);
            out.push(')');
        }
        Action::LbOutput(id) => put!(out, "lb_output({id})"),
        Action::Drop(_) => out.push_str("drop"),
        Action::Sample { .. } | Action::Clone(_) | Action::CheckPktLen { .. } => {
            put_nested(out, action, names);
        }
    }
}

/// Actions that hold actions.
fn put_nested(out: &mut String, action: &Action, names: &dyn OdpNames) {
    match action {
        Action::Clone(actions) => {
            out.push_str("clone(");
            put_actions(out, actions, names);
        }
        Action::Sample {
            probability,
            actions,
        } => {
            let percent = 100.0 * f64::from(*probability) / f64::from(u32::MAX);
            put!(out, "sample(sample={percent:.1}%,actions(");
            put_actions(out, actions, names);
            out.push(')');
        }
        Action::CheckPktLen {
            pkt_len,
            greater,
            less_equal,
        } => {
            put!(out, "check_pkt_len(size={pkt_len},gt(");
            put_actions(out, greater, names);
            out.push_str("),le(");
            put_actions(out, less_equal, names);
            out.push(')');
        }
        _ => return,
    }
    out.push(')');
}

fn put_push_vlan(out: &mut String, tpid: u16, tci: u16) {
    out.push_str("push_vlan(");
    if tpid != ETH_VLAN {
        put!(out, "tpid={tpid:#06x},");
    }
    put!(out, "vid={},pcp={}", tci & Vlan::VID_MASK, tci >> 13);
    if tci & Vlan::CFI == 0 {
        out.push_str(",cfi=0");
    }
    out.push(')');
}

fn put_mpls(out: &mut String, name: &str, lse: u32, ethertype: u16) {
    put!(out, "{name}(");
    put_lse(out, lse);
    put!(out, ",eth_type={ethertype:#x})");
}
