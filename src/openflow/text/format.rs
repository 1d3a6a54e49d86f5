//! Actions to text, byte for byte as `ovs-ofctl dump-flows` prints them.

use super::{learn, put_hex};
use crate::action::{Act, BundleAct, CtAct, EncapHeader, MultipathAct, NatAct, Port, SetKind};
use crate::field::{put_subfield, put_value};
use crate::names::{Names, put};
use crate::props::{NSH_MDTYPE, NSH_TLV};
use crate::reason;
use flow::{OfPort, Subfield};
use std::net::IpAddr;

/// The text of a list of actions; `drop` when it is empty.
#[must_use]
pub fn format_actions(acts: &[Act], names: Names<'_>) -> String {
    let mut out = String::new();
    put_actions(&mut out, acts, names);
    out
}

/// Appends the text of a list of actions; `drop` when it is empty.
pub fn put_actions(out: &mut String, acts: &[Act], names: Names<'_>) {
    if acts.is_empty() {
        out.push_str("drop");
    }
    for (i, act) in acts.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        put_action(out, act, names);
    }
}

fn put_action(out: &mut String, act: &Act, n: Names<'_>) {
    let known = put_output(out, act, n)
        || put_header(out, act, n)
        || put_flow(out, act, n)
        || put_word(out, act);
    debug_assert!(known, "{act:?} has no text");
}

macro_rules! say {
    ($out:expr, $($arg:tt)*) => { put($out, format_args!($($arg)*)) };
}

/// Drops a trailing comma, then closes the parenthesis.
fn close(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push(')');
}

fn put_output(out: &mut String, act: &Act, n: Names<'_>) -> bool {
    match act {
        Act::Output { port, max_len } => put_port_output(out, *port, *max_len, n),
        Act::Group(id) => say!(out, "group:{id}"),
        Act::Controller { .. } => put_controller(out, act),
        Act::Enqueue { port, queue } => {
            out.push_str("enqueue:");
            n.put_port(out, *port);
            say!(out, ":{queue}");
        }
        Act::OutputReg { src, .. } => {
            out.push_str("output:");
            put_subfield(out, src);
        }
        Act::OutputTrunc { port, max_len } => {
            out.push_str("output(port=");
            n.put_port(out, *port);
            say!(out, ",max_len={max_len})");
        }
        Act::Bundle(b) => put_bundle(out, b, n),
        Act::Multipath(m) => put_multipath(out, m),
        Act::Sample { .. } => put_sample(out, act, n),
        _ => return false,
    }
    true
}

fn put_port_output(out: &mut String, port: Port, max_len: u16, n: Names<'_>) {
    if port < OfPort::MAX {
        out.push_str("output:");
    }
    n.put_port(out, port);
    if port == OfPort::CONTROLLER {
        say!(out, ":{max_len}");
    }
}

fn put_controller(out: &mut String, act: &Act) {
    let Act::Controller {
        max_len,
        controller_id,
        reason,
        userdata,
        meter_id,
        pause,
    } = act
    else {
        return;
    };
    if *reason == reason::ACTION
        && *controller_id == 0
        && userdata.is_empty()
        && !pause
        && meter_id.is_none()
    {
        return say!(out, "CONTROLLER:{max_len}");
    }
    out.push_str("controller(");
    if *reason != reason::ACTION {
        say!(out, "reason={},", reason::name(*reason));
    }
    if *max_len != u16::MAX {
        say!(out, "max_len={max_len},");
    }
    if *controller_id != 0 {
        say!(out, "id={controller_id},");
    }
    if !userdata.is_empty() {
        out.push_str("userdata=");
        put_dotted(out, userdata);
        out.push(',');
    }
    if *pause {
        out.push_str("pause,");
    }
    if let Some(meter) = meter_id {
        say!(out, "meter_id={meter},");
    }
    close(out);
}

fn put_dotted(out: &mut String, bytes: &[u8]) {
    for (i, b) in bytes.iter().enumerate() {
        if i > 0 {
            out.push('.');
        }
        say!(out, "{b:02x}");
    }
}

fn put_bundle(out: &mut String, b: &BundleAct, n: Names<'_>) {
    let word = if b.dst.is_some() {
        "bundle_load"
    } else {
        "bundle"
    };
    let alg = if b.hrw { "hrw" } else { "active_backup" };
    say!(out, "{word}({},{},{alg},ofport,", b.fields.name(), b.basis);
    if let Some(dst) = &b.dst {
        put_subfield(out, dst);
        out.push(',');
    }
    out.push_str("members:");
    for (i, &member) in b.members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        n.put_port(out, member);
    }
    out.push(')');
}

fn put_multipath(out: &mut String, m: &MultipathAct) {
    let links = u32::from(m.max_link) + 1;
    let (fields, alg) = (m.fields.name(), m.algorithm.name());
    say!(
        out,
        "multipath({fields},{},{alg},{links},{},",
        m.basis,
        m.arg
    );
    put_subfield(out, &m.dst);
    out.push(')');
}

fn put_sample(out: &mut String, act: &Act, n: Names<'_>) {
    let Act::Sample {
        probability,
        collector_set_id,
        obs_domain_id,
        obs_point_id,
        sampling_port,
        direction,
    } = act
    else {
        return;
    };
    say!(
        out,
        "sample(probability={probability},collector_set_id={collector_set_id},\
         obs_domain_id={obs_domain_id},obs_point_id={obs_point_id}"
    );
    if *sampling_port != OfPort::NONE {
        out.push_str(",sampling_port=");
        n.put_port(out, *sampling_port);
    }
    out.push_str(match direction {
        1 => ",ingress)",
        2 => ",egress)",
        _ => ")",
    });
}

fn put_header(out: &mut String, act: &Act, n: Names<'_>) -> bool {
    match act {
        Act::SetField { .. } => put_set_field(out, act, n),
        Act::SetVlanVid {
            vid,
            push_if_needed,
            ..
        } => say!(out, "{}_vlan_vid:{vid}", verb(*push_if_needed)),
        Act::SetVlanPcp {
            pcp,
            push_if_needed,
            ..
        } => say!(out, "{}_vlan_pcp:{pcp}", verb(*push_if_needed)),
        Act::PushVlan { ethertype } => say!(out, "push_vlan:{ethertype:#x}"),
        Act::SetEthSrc(a) => say!(out, "mod_dl_src:{a}"),
        Act::SetEthDst(a) => say!(out, "mod_dl_dst:{a}"),
        Act::SetIpv4Src(a) => say!(out, "mod_nw_src:{a}"),
        Act::SetIpv4Dst(a) => say!(out, "mod_nw_dst:{a}"),
        Act::SetIpDscp(v) => say!(out, "mod_nw_tos:{v}"),
        Act::SetIpEcn(v) => say!(out, "mod_nw_ecn:{v}"),
        Act::SetIpTtl(v) => say!(out, "mod_nw_ttl:{v}"),
        Act::SetL4SrcPort { port, .. } => say!(out, "mod_tp_src:{port}"),
        Act::SetL4DstPort { port, .. } => say!(out, "mod_tp_dst:{port}"),
        Act::RegMove { src, dst } => {
            out.push_str("move:");
            put_subfield(out, src);
            out.push_str("->");
            put_subfield(out, dst);
        }
        Act::StackPush(f) => put_with(out, "push:", f),
        Act::StackPop(f) => put_with(out, "pop:", f),
        Act::DecTtl { ids } => put_dec_ttl(out, ids),
        Act::SetMplsLabel(v) => say!(out, "set_mpls_label({v})"),
        Act::SetMplsTc(v) => say!(out, "set_mpls_tc({v})"),
        Act::SetMplsTtl(v) => say!(out, "set_mpls_ttl({v})"),
        Act::PushMpls { ethertype } => say!(out, "push_mpls:0x{ethertype:04x}"),
        Act::PopMpls { ethertype } => say!(out, "pop_mpls:0x{ethertype:04x}"),
        Act::DeleteField(f) => say!(out, "delete_field:{}", crate::field::name(*f)),
        Act::Encap { header, props } => put_encap(out, *header, props),
        Act::Decap { new_type } => put_decap(out, *new_type),
        _ => return false,
    }
    true
}

fn verb(push_if_needed: bool) -> &'static str {
    if push_if_needed { "mod" } else { "set" }
}

fn put_with(out: &mut String, word: &str, sub: &Subfield) {
    out.push_str(word);
    put_subfield(out, sub);
}

fn put_dec_ttl(out: &mut String, ids: &[u16]) {
    out.push_str("dec_ttl");
    for (i, id) in ids.iter().enumerate() {
        say!(out, "{}{id}", if i == 0 { '(' } else { ',' });
    }
    if !ids.is_empty() {
        out.push(')');
    }
}

fn put_set_field(out: &mut String, act: &Act, n: Names<'_>) {
    let Act::SetField {
        field,
        value,
        mask,
        kind,
        ..
    } = act
    else {
        return;
    };
    if *kind != SetKind::Load {
        out.push_str("set_field:");
        put_value(out, *field, value, mask.as_deref(), n);
        return say!(out, "->{}", crate::field::name(*field));
    }
    for (dst, value) in crate::bits::load_segments(*field, value, mask.as_deref()) {
        say!(out, "load:{}->", c_hex(value));
        put_subfield(out, &dst);
        out.push(',');
    }
    if out.ends_with(',') {
        out.pop();
    }
}

fn put_encap(out: &mut String, header: EncapHeader, props: &[(u16, u8, Vec<u8>)]) {
    out.push_str("encap(");
    out.push_str(match header {
        EncapHeader::Ethernet => "ethernet",
        EncapHeader::Nsh => "nsh",
        EncapHeader::Mpls(0x8848) => "mpls_mc",
        EncapHeader::Mpls(_) => "mpls",
    });
    for (i, (_, ty, data)) in props.iter().enumerate() {
        out.push(if i == 0 { '(' } else { ',' });
        match (*ty, data.as_slice()) {
            (NSH_MDTYPE, &[md]) => say!(out, "md_type={md}"),
            (NSH_TLV, &[c0, c1, ty, ref value @ ..]) => {
                say!(out, "tlv(0x{:04x},{ty},", u16::from_be_bytes([c0, c1]));
                put_hex(out, value);
                out.push(')');
            }
            _ => {}
        }
    }
    out.push_str(if props.is_empty() { ")" } else { "))" });
}

fn put_decap(out: &mut String, new_type: Option<u32>) {
    out.push_str("decap(");
    if let Some(t) = new_type {
        say!(
            out,
            "packet_type(ns={},type={})",
            t >> 16,
            c_hex(u64::from(t & 0xffff))
        );
    }
    out.push(')');
}

fn put_flow(out: &mut String, act: &Act, n: Names<'_>) -> bool {
    match act {
        Act::SetTunnel { id, wide } => {
            let wide = *wide || *id > u64::from(u32::MAX);
            say!(
                out,
                "set_tunnel{}:{}",
                if wide { "64" } else { "" },
                c_hex(*id)
            );
        }
        Act::SetQueue(q) => say!(out, "set_queue:{q}"),
        Act::FinTimeout { idle, hard } => put_fin_timeout(out, *idle, *hard),
        Act::Resubmit { in_port, table, ct } => put_resubmit(out, *in_port, *table, *ct, n),
        Act::Learn(l) => learn::put_learn(out, l, n),
        Act::Conjunction {
            id,
            clause,
            n_clauses,
        } => say!(
            out,
            "conjunction({id},{}/{n_clauses})",
            u16::from(*clause) + 1
        ),
        Act::Note(data) => {
            out.push_str("note:");
            put_dotted(out, data);
        }
        Act::Ct(ct) => put_ct(out, ct, n),
        Act::Nat(nat) => put_nat(out, nat),
        Act::Clone(acts) => put_nested(out, "clone(", acts, n),
        Act::WriteActions(acts) => put_nested(out, "write_actions(", acts, n),
        Act::CheckPktLarger { len, dst } => {
            say!(out, "check_pkt_larger({len})->");
            put_subfield(out, dst);
        }
        Act::Meter(id) => say!(out, "meter:{id}"),
        Act::WriteMetadata { metadata, mask } => {
            say!(out, "write_metadata:{}", c_hex(*metadata));
            if *mask != u64::MAX {
                say!(out, "/{}", c_hex(*mask));
            }
        }
        Act::GotoTable(table) => {
            out.push_str("goto_table:");
            n.put_table(out, *table);
        }
        _ => return false,
    }
    true
}

/// `%#x` of C: zero has no prefix.
fn c_hex(v: u64) -> String {
    if v == 0 {
        "0".into()
    } else {
        format!("{v:#x}")
    }
}

fn put_fin_timeout(out: &mut String, idle: u16, hard: u16) {
    out.push_str("fin_timeout(");
    if idle != 0 {
        say!(out, "idle_timeout={idle},");
    }
    if hard != 0 {
        say!(out, "hard_timeout={hard},");
    }
    close(out);
}

fn put_resubmit(out: &mut String, in_port: Port, table: u8, ct: bool, n: Names<'_>) {
    if in_port != OfPort::IN_PORT && table == u8::MAX {
        out.push_str("resubmit:");
        return n.put_port(out, in_port);
    }
    out.push_str("resubmit(");
    if in_port != OfPort::IN_PORT {
        n.put_port(out, in_port);
    }
    out.push(',');
    if table != u8::MAX {
        n.put_table(out, table);
    }
    out.push_str(if ct { ",ct)" } else { ")" });
}

fn put_nested(out: &mut String, word: &str, acts: &[Act], n: Names<'_>) {
    out.push_str(word);
    put_actions(out, acts, n);
    out.push(')');
}

fn put_ct(out: &mut String, ct: &CtAct, n: Names<'_>) {
    out.push_str("ct(");
    if ct.commit {
        out.push_str("commit,");
    }
    if ct.force {
        out.push_str("force,");
    }
    if let Some(table) = ct.recirc_table {
        out.push_str("table=");
        n.put_table(out, table);
        out.push(',');
    }
    if let Some(src) = &ct.zone_src {
        put_with(out, "zone=", src);
        out.push(',');
    } else if ct.zone_imm != 0 {
        say!(out, "zone={},", ct.zone_imm);
    }
    let (nat, exec) = match ct.actions.split_first() {
        Some((Act::Nat(nat), rest)) => (Some(nat), rest),
        _ => (None, ct.actions.as_slice()),
    };
    if let Some(nat) = nat {
        put_nat(out, nat);
        out.push(',');
    }
    if !exec.is_empty() {
        put_nested(out, "exec(", exec, n);
        out.push(',');
    }
    match ct.alg {
        0 => {}
        21 => out.push_str("alg=ftp,"),
        69 => out.push_str("alg=tftp,"),
        port => say!(out, "alg={port},"),
    }
    close(out);
}

fn put_nat(out: &mut String, nat: &NatAct) {
    out.push_str("nat");
    if !nat.src && !nat.dst {
        return;
    }
    out.push_str(if nat.src { "(src" } else { "(dst" });
    if let Some((min, max)) = nat.addr {
        out.push('=');
        let bracket = nat.ports.is_some();
        put_nat_addr(out, min, bracket);
        if let Some(max) = max.filter(|&max| max != min && !max.is_unspecified()) {
            out.push('-');
            put_nat_addr(out, max, bracket);
        }
        if let Some((min, max)) = nat.ports {
            say!(out, ":{min}");
            if let Some(max) = max.filter(|&max| max != min && max != 0) {
                say!(out, "-{max}");
            }
        }
        out.push(',');
        for (on, word) in [
            (nat.persistent, "persistent,"),
            (nat.hash, "hash,"),
            (nat.random, "random,"),
        ] {
            if on {
                out.push_str(word);
            }
        }
    }
    close(out);
}

fn put_nat_addr(out: &mut String, addr: IpAddr, bracket: bool) {
    match addr {
        IpAddr::V6(a) if bracket => say!(out, "[{a}]"),
        a => say!(out, "{a}"),
    }
}

fn put_word(out: &mut String, act: &Act) -> bool {
    out.push_str(match act {
        Act::StripVlan { pop: false } => "strip_vlan",
        Act::StripVlan { pop: true } => "pop_vlan",
        Act::DecMplsTtl => "dec_mpls_ttl",
        Act::DecNshTtl => "dec_nsh_ttl",
        Act::PopQueue => "pop_queue",
        Act::Exit => "exit",
        Act::CtClear => "ct_clear",
        Act::DebugRecirc => "debug_recirc",
        Act::DebugSlow => "debug_slow",
        Act::ClearActions => "clear_actions",
        _ => return false,
    });
    true
}
