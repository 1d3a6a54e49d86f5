//! Connections as text, byte for byte as the peer's.

use super::entry::{CtEntry, CtProtoInfo, CtTuple, TcpEnd};
use std::fmt::Write;

/// The name of an IP protocol in dumps.
#[must_use]
pub const fn proto_name(proto: u8) -> Option<&'static str> {
    Some(match proto {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

macro_rules! put {
    ($out:expr, $($arg:tt)+) => {
        write!($out, $($arg)+).expect("a string takes everything")
    };
}

/// A direction.
pub fn format_tuple(out: &mut String, t: &CtTuple) {
    put!(out, "src={},dst={}", t.src, t.dst);
    if t.is_icmp() {
        put!(out, ",id={},type={},code={}", t.sport, t.icmp.0, t.icmp.1);
    } else {
        put!(out, ",sport={},dport={}", t.sport, t.dport);
    }
}

/// A connection on one line; `verbose` as with `-m`, `stats` as with `-s`.
pub fn format_entry(out: &mut String, e: &CtEntry, verbose: bool, stats: bool) {
    match proto_name(e.orig.proto) {
        Some(name) => out.push_str(name),
        None => put!(out, "{}", e.orig.proto),
    }
    out.push_str(",orig=(");
    format_tuple(out, &e.orig);
    out.push_str("),reply=(");
    format_tuple(out, &e.reply);
    out.push(')');
    if verbose {
        out.push_str(",id=0");
    }
    if e.zone != 0 {
        put!(out, ",zone={}", e.zone);
    }
    if verbose {
        // The userspace tracker keeps no status flags.
        out.push_str(",status=0");
    }
    if stats {
        put!(out, ",timeout={}", e.timeout);
    }
    if e.mark != 0 {
        put!(out, ",mark={}", e.mark);
    }
    if e.label != 0 {
        put!(out, ",labels={:#x}", e.label);
    }
    if let CtProtoInfo::Tcp(ends) = &e.info {
        tcp(out, ends, verbose);
    }
    if let Some(helper) = e.helper {
        put!(out, ",helper={helper}");
    }
    if verbose && let Some(parent) = &e.parent {
        out.push_str(",parent=(");
        format_tuple(out, parent);
        out.push(')');
    }
}

fn tcp(out: &mut String, [a, b]: &[TcpEnd; 2], verbose: bool) {
    if !verbose {
        let state = a.phase.max(b.phase).coalesced();
        put!(out, ",protoinfo=(state={})", state.name());
        return;
    }
    put!(
        out,
        ",protoinfo=(state_orig={},state_reply={}",
        a.phase.name(),
        b.phase.name()
    );
    if a.scale != 0 || b.scale != 0 {
        put!(out, ",wscale_orig={},wscale_reply={}", a.scale, b.scale);
    }
    for (name, end) in [("orig", a), ("reply", b)] {
        put!(out, ",flags_{name}=");
        match (end.scales, end.liberal) {
            (false, false) => out.push('0'),
            (true, false) => out.push_str("WINDOW_SCALE"),
            (false, true) => out.push_str("BE_LIBERAL"),
            (true, true) => out.push_str("WINDOW_SCALE|BE_LIBERAL"),
        }
    }
    out.push(')');
}
