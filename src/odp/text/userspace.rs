//! Text of `userspace(...)`.

use super::OdpNames;
use super::format::put_port;
use super::put::{AltHex, Bytes, put};
use super::scan::{Scan, put_flags};
use crate::userspace::{SlowReason, Userspace, UserspaceCookie};
use flow::{OdpPort, OfPort, Vlan};

/// Bits of [`SlowReason`] by name.
const SLOW_NAMES: [&str; 8] = [
    "cfm",
    "bfd",
    "lacp",
    "stp",
    "lldp",
    "controller",
    "action",
    "match",
];
/// What a `flow_sample` samples: 0 whatever passes, 1 ingress, 2 egress.
const DIRECTIONS: [&str; 3] = ["", ",ingress", ",egress"];

pub(super) fn put_userspace(out: &mut String, u: &Userspace, names: &dyn OdpNames) {
    put!(out, "userspace(pid={}", u.pid);
    put_cookie(out, &u.cookie, names);
    if u.include_actions {
        out.push_str(",actions");
    }
    if let Some(port) = u.egress_tun_port {
        out.push_str(",tunnel_out_port=");
        put_port(out, port, names);
    }
    out.push(')');
}

fn put_cookie(out: &mut String, cookie: &UserspaceCookie, names: &dyn OdpNames) {
    match cookie {
        UserspaceCookie::SFlow {
            vlan_tci, output, ..
        } => {
            let (vid, pcp) = (vlan_tci & Vlan::VID_MASK, vlan_tci >> 13);
            put!(out, ",sFlow(vid={vid},pcp={pcp},output={output}");
        }
        UserspaceCookie::SlowPath { reason, .. } => {
            out.push_str(",slow_path(");
            put_flags(out, reason.0, &SLOW_NAMES, ',');
        }
        UserspaceCookie::FlowSample {
            probability,
            collector_set_id,
            obs_domain_id,
            obs_point_id,
            output,
            direction,
            ..
        } => {
            put!(
                out,
                ",flow_sample(probability={probability},collector_set_id={collector_set_id}"
            );
            put!(
                out,
                ",obs_domain_id={obs_domain_id},obs_point_id={obs_point_id},output_port="
            );
            put_port(out, *output, names);
            out.push_str(DIRECTIONS.get(usize::from(*direction)).unwrap_or(&""));
        }
        UserspaceCookie::Ipfix { output, .. } => {
            out.push_str(",ipfix(output_port=");
            put_port(out, *output, names);
        }
        UserspaceCookie::Controller {
            dont_send,
            continuation,
            reason,
            recirc_id,
            rule_cookie,
            controller_id,
            max_len,
            ..
        } => {
            let (send, cont) = (u8::from(*dont_send), u8::from(*continuation));
            put!(
                out,
                ",controller(reason={reason},dont_send={send},continuation={cont}"
            );
            put!(
                out,
                ",recirc_id={recirc_id},rule_cookie={}",
                AltHex(*rule_cookie)
            );
            put!(out, ",controller_id={controller_id},max_len={max_len}");
        }
        UserspaceCookie::Userdata(bytes) if bytes.is_empty() => return,
        UserspaceCookie::Userdata(bytes) => put!(out, ",userdata({}", Bytes(bytes)),
    }
    out.push(')');
}

/// `userspace(...)`; the word has been read, the closing parenthesis is taken.
pub(super) fn scan_userspace(s: &mut Scan<'_>) -> Option<Userspace> {
    s.lit("pid=")?;
    let mut u = Userspace {
        pid: s.u32()?,
        cookie: UserspaceCookie::Userdata(Vec::new()),
        egress_tun_port: None,
        include_actions: false,
    };
    loop {
        if s.is(")") {
            return Some(u);
        }
        s.lit(",")?;
        match s.word(&['(', ')', ',', '='])? {
            "actions" => u.include_actions = true,
            "tunnel_out_port" => {
                s.lit("=")?;
                u.egress_tun_port = s.port();
                u.egress_tun_port?;
            }
            kind => {
                s.lit("(")?;
                u.cookie = scan_cookie(s, kind)?;
                s.lit(")")?;
            }
        }
    }
}

/// What text does not say: no bridge, no ingress port.
const BRIDGE: u128 = 0;
const IN_PORT: OfPort = OfPort::NONE;

fn scan_cookie(s: &mut Scan<'_>, kind: &str) -> Option<UserspaceCookie> {
    match kind {
        "sFlow" => scan_sflow(s),
        "slow_path" => scan_slow_path(s),
        "flow_sample" => scan_flow_sample(s),
        "ipfix" => {
            s.lit("output_port=")?;
            Some(UserspaceCookie::Ipfix {
                bridge: BRIDGE,
                in_port: IN_PORT,
                output: s.port()?,
            })
        }
        "controller" => scan_controller(s),
        "userdata" => Some(UserspaceCookie::Userdata(s.octets())),
        _ => None,
    }
}

fn scan_sflow(s: &mut Scan<'_>) -> Option<UserspaceCookie> {
    s.lit("vid=")?;
    let vid = s.u16()?;
    s.lit(",pcp=")?;
    let tci = vid | s.u16()? << 13;
    s.lit(",output=")?;
    Some(UserspaceCookie::SFlow {
        bridge: BRIDGE,
        in_port: IN_PORT,
        vlan_tci: if tci == 0 { 0 } else { tci | Vlan::CFI },
        output: s.u32()?,
    })
}

fn scan_slow_path(s: &mut Scan<'_>) -> Option<UserspaceCookie> {
    let mut reason = 0;
    if !s.is("0") {
        loop {
            let name = s.word(&[',', '|', ')'])?;
            reason |= 1 << SLOW_NAMES.iter().position(|n| *n == name)?;
            if !s.is(",") && !s.is("|") {
                break;
            }
        }
    }
    Some(UserspaceCookie::SlowPath {
        bridge: BRIDGE,
        in_port: IN_PORT,
        reason: SlowReason(reason),
    })
}

fn scan_flow_sample(s: &mut Scan<'_>) -> Option<UserspaceCookie> {
    let mut number = |name: &str| {
        s.lit(name)?;
        s.u32()
    };
    let probability = number("probability=")? as u16;
    let collector_set_id = number(",collector_set_id=")?;
    let obs_domain_id = number(",obs_domain_id=")?;
    let obs_point_id = number(",obs_point_id=")?;
    let output = OdpPort(number(",output_port=")?);
    let direction = (1..3).find(|&d| s.is(DIRECTIONS[d])).unwrap_or(0) as u8;
    Some(UserspaceCookie::FlowSample {
        bridge: BRIDGE,
        in_port: IN_PORT,
        probability,
        collector_set_id,
        obs_domain_id,
        obs_point_id,
        output,
        direction,
    })
}

fn scan_controller(s: &mut Scan<'_>) -> Option<UserspaceCookie> {
    let mut number = |name: &str| {
        s.lit(name)?;
        s.dec()
    };
    let reason = number("reason=")? as u8;
    let dont_send = number(",dont_send=")? as u8 != 0;
    let continuation = number(",continuation=")? as u8 != 0;
    let recirc_id = number(",recirc_id=")? as u32;
    s.lit(",rule_cookie=")?;
    let rule_cookie = s.hex()?;
    let mut number = |name: &str| {
        s.lit(name)?;
        s.dec()
    };
    Some(UserspaceCookie::Controller {
        bridge: BRIDGE,
        in_port: IN_PORT,
        dont_send,
        continuation,
        reason,
        recirc_id,
        rule_cookie,
        controller_id: number(",controller_id=")? as u16,
        max_len: number(",max_len=")? as u16,
    })
}
