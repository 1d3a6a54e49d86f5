//! `dpctl/...conntrack`, `dpctl/ct-*`, `dpctl/ipf-*`: connections, limits and fragments.

use super::{Flags, Out, Row, exists, open_first};
use crate::switch::Switch;
use base::sync::Arc;
use dpif::conntrack::{
    CtControl, CtDump, CtEntry, CtMatch, CtProtoInfo, IpfFamily, TcpPhase, ZoneLimit,
    flush_matching, format_entry,
};
use dpif::{Dpif, DpifError};
use std::fmt::Write;

/// The commands that answer at once.
pub(super) const COMMANDS: [Row; 17] = [
    (
        "dpctl/flush-conntrack",
        "[dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]",
        0,
        4,
        flush,
    ),
    ("dpctl/ct-stats-show", "[dp] [zone=N]", 0, 3, stats_show),
    ("dpctl/ct-bkts", "[dp] [gt=N]", 0, 2, buckets),
    (
        "dpctl/ct-set-maxconns",
        "[dp] maxconns",
        1,
        2,
        set_max_conns,
    ),
    ("dpctl/ct-get-maxconns", "[dp]", 0, 1, get_max_conns),
    ("dpctl/ct-get-nconns", "[dp]", 0, 1, get_conns),
    (
        "dpctl/ct-enable-tcp-seq-chk",
        "[dp]",
        0,
        1,
        enable_seq_check,
    ),
    (
        "dpctl/ct-disable-tcp-seq-chk",
        "[dp]",
        0,
        1,
        disable_seq_check,
    ),
    ("dpctl/ct-get-tcp-seq-chk", "[dp]", 0, 1, get_seq_check),
    (
        "dpctl/ct-set-limits",
        "[dp] [default=L] [zone=N,limit=L]...",
        1,
        usize::MAX,
        set_limits,
    ),
    (
        "dpctl/ct-del-limits",
        "[dp] zone=N1[,N2]...",
        1,
        2,
        del_limits,
    ),
    (
        "dpctl/ct-get-limits",
        "[dp] [zone=N1[,N2]...]",
        0,
        2,
        get_limits,
    ),
    ("dpctl/ipf-set-enabled", "[dp] v4|v6", 1, 2, ipf_enable),
    ("dpctl/ipf-set-disabled", "[dp] v4|v6", 1, 2, ipf_disable),
    (
        "dpctl/ipf-set-min-frag",
        "[dp] v4|v6 minfragment",
        2,
        3,
        ipf_set_min_frag,
    ),
    (
        "dpctl/ipf-set-max-nfrags",
        "[dp] maxfrags",
        1,
        2,
        ipf_set_max_frags,
    ),
    ("dpctl/ipf-get-status", "[dp]", 0, 1, ipf_status),
];

/// Does something with the connection tracker of a datapath.
fn with(out: &mut Out, dpif: &Arc<dyn Dpif>, f: impl FnOnce(&mut Out, &dyn CtControl)) {
    match dpif.conntrack() {
        Some(ct) => f(out, ct),
        None => out.fail(
            format_args!("connection tracking"),
            Some(&DpifError::NotSupported),
        ),
    }
}

/// Splits off a last argument `zone=N`.
fn zone_last<'a, 'b>(args: &'a [&'b str]) -> (Option<u16>, &'a [&'b str]) {
    let zone = |text: &str| text.strip_prefix("zone=")?.parse().ok();
    match args.split_last() {
        Some((last, before)) if zone(last).is_some() => (zone(last), before),
        _ => (None, args),
    }
}

/// A dump under way, made piece by piece.
pub(super) struct Dump {
    entries: Box<dyn CtDump>,
    some: Vec<CtEntry>,
    verbose: bool,
    statistics: bool,
}

impl Dump {
    /// Starts one.
    ///
    /// # Errors
    /// What is wrong with the arguments, as the command says it.
    pub(super) fn start(s: &Switch, f: Flags, args: &[&str]) -> Result<Self, String> {
        let mut out = Out::new(s);
        let (zone, rest) = zone_last(args);
        let dpif = open_first(s, &mut out, rest, 1);
        let mut entries = None;
        if let Some(dpif) = dpif {
            with(&mut out, &dpif, |_, ct| entries = Some(ct.dump(zone)));
        }
        let entries = entries.ok_or(out.text)?;
        Ok(Self {
            entries,
            some: Vec::new(),
            verbose: f.more,
            statistics: f.statistics,
        })
    }

    /// Writes some connections; false when there are no more.
    pub(super) fn more(&mut self, out: &mut String) -> bool {
        let more = self.entries.next(&mut self.some);
        for e in self.some.drain(..) {
            format_entry(out, &e, self.verbose, self.statistics);
            out.push('\n');
        }
        more
    }
}

/// Every connection, one after the other.
fn each(ct: &dyn CtControl, zone: Option<u16>, mut f: impl FnMut(&CtEntry)) {
    let (mut dump, mut some) = (ct.dump(zone), Vec::new());
    loop {
        let more = dump.next(&mut some);
        some.drain(..).for_each(|e| f(&e));
        if !more {
            return;
        }
    }
}

/// `flush-conntrack [dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]`
pub(super) fn flush(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let dp_given = args.first().is_some_and(|a| exists(s, a));
    let mut rest = if dp_given { &args[1..] } else { args };
    let mut zone = None;
    let mut complain = |what: &str| out.fail(format_args!("{what}"), Some(&DpifError::Invalid));
    if let Some(text) = rest.first().and_then(|a| a.strip_prefix("zone=")) {
        zone = text.parse().ok();
        if zone.is_none() {
            return complain("failed to parse zone");
        }
        rest = &rest[1..];
    }
    let mut wanted = CtMatch::default();
    for (reply, text) in [false, true].into_iter().zip(rest) {
        if let Err(what) = wanted.parse_ends(reply, text) {
            return complain(&what);
        }
    }
    if rest.len() > 2 {
        return complain("invalid arguments");
    }
    let named = if dp_given { &args[..1] } else { &[] };
    let Some(dpif) = open_first(s, out, named, 4) else {
        return out.fail(format_args!("Cannot open dpif"), Some(&DpifError::Invalid));
    };
    let name = format!("{}@{}", dpif.type_name(), dpif.name());
    with(out, &dpif, |out, ct| {
        if let Err(e) = flush_matching(ct, &name, zone, &wanted) {
            out.fail(format_args!("failed to flush conntrack"), Some(&e));
        }
    });
}

/// Names of protocols in `ct-stats-show`, in its order.
const STATS: [(&str, u8); 6] = [
    ("UDP", 17),
    ("UDPLITE", 136),
    ("SCTP", 132),
    ("ICMP", 1),
    ("DCCP", 33),
    ("IGMP", 2),
];
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// `ct-stats-show [dp] [zone=N]`
pub(super) fn stats_show(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    let (mut zone, mut rest, mut verbose) = (None, args, f.more);
    while let Some((last, before)) = rest.split_last() {
        if last.starts_with("verbose") {
            verbose = true;
        } else if let (Some(z), _) = zone_last(rest) {
            zone = Some(z);
        } else {
            break;
        }
        rest = before;
    }
    let Some(dpif) = open_first(s, out, rest, 1) else {
        return;
    };
    with(out, &dpif, |out, ct| {
        let mut by_proto = [0u32; 256];
        let mut by_phase = [0u32; TcpPhase::ALL.len()];
        each(ct, zone, |e| {
            by_proto[usize::from(e.orig.proto)] += 1;
            if let CtProtoInfo::Tcp([a, b]) = &e.info {
                by_phase[a.phase.max(b.phase).coalesced() as usize] += 1;
            }
        });
        let total: u32 = by_proto.iter().sum();
        out.line(format_args!("Connections Stats:\n    Total: {total}"));
        let of = |proto: u8| by_proto[usize::from(proto)];
        if of(TCP) > 0 {
            out.line(format_args!("  TCP: {}", of(TCP)));
            if verbose {
                out.line(format_args!("    Conn per TCP states:"));
                for (phase, n) in TcpPhase::ALL.iter().zip(by_phase).filter(|(_, n)| *n > 0) {
                    out.line(format_args!("\t  [{}]={n}", phase.name()));
                }
            }
        }
        let mut known = of(TCP) + of(ICMPV6);
        for (name, proto) in STATS {
            known += of(proto);
            if of(proto) > 0 {
                out.line(format_args!("  {name}: {}", of(proto)));
            }
        }
        if total > known {
            out.line(format_args!("  Other: {}", total - known));
        }
    });
}

/// `ct-bkts [dp] [gt=N]`: as in the peer, all connections are in one bucket.
pub(super) fn buckets(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let over = |text: &str| text.strip_prefix("gt=")?.parse::<u16>().ok();
    let (gt, rest) = match args.split_last() {
        Some((last, before)) if over(last).is_some() => (over(last).unwrap_or(0), before),
        _ => (0, args),
    };
    let Some(dpif) = open_first(s, out, rest, 1) else {
        return;
    };
    with(out, &dpif, |out, ct| {
        let mut total = 0u32;
        each(ct, None, |_| total += 1);
        out.line(format_args!("Total Buckets: 1"));
        out.line(format_args!("Current Connections: {total}\n"));
        if total > 0 {
            const RULE: &str = "+-----------+-----------------------------------------+";
            out.line(format_args!("{RULE}"));
            out.line(format_args!(
                "|  Buckets  |         Connections per Buckets         |"
            ));
            out.line(format_args!("{RULE}"));
            let shown = if total > u32::from(gt) {
                total.to_string()
            } else {
                ".".to_owned()
            };
            out.line(format_args!("   0..  7   | {shown:>5}\n"));
        }
    });
}

/// `ct-set-maxconns [dp] maxconns`
pub(super) fn set_max_conns(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open_first(s, out, args, 2) else {
        return;
    };
    with(out, &dpif, |out, ct| match leading(args.last()) {
        Some(n) => {
            ct.set_max_conns(n);
            out.text.push_str("setting maxconns successful");
        }
        None => out.fail(
            format_args!("maxconns missing or malformed"),
            Some(&DpifError::Invalid),
        ),
    });
}

/// The number that an argument begins with.
fn leading(arg: Option<&&str>) -> Option<u32> {
    let text = arg?.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// `ct-get-maxconns [dp]`
pub(super) fn get_max_conns(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    if let Some(dpif) = open_first(s, out, args, 1) {
        with(out, &dpif, |out, ct| {
            out.line(format_args!("{}", ct.max_conns()))
        });
    }
}

/// `ct-get-nconns [dp]`
pub(super) fn get_conns(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    if let Some(dpif) = open_first(s, out, args, 1) {
        with(out, &dpif, |out, ct| {
            out.line(format_args!("{}", ct.conns()))
        });
    }
}

/// `ct-enable-tcp-seq-chk [dp]`
pub(super) fn enable_seq_check(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    set_seq_check(s, out, args, true);
}

/// `ct-disable-tcp-seq-chk [dp]`
pub(super) fn disable_seq_check(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    set_seq_check(s, out, args, false);
}

fn set_seq_check(s: &mut Switch, out: &mut Out, args: &[&str], on: bool) {
    if let Some(dpif) = open_first(s, out, args, 2) {
        with(out, &dpif, |out, ct| {
            ct.set_tcp_seq_check(on);
            out.text.push_str(if on { "enabling" } else { "disabling" });
            out.text.push_str(" TCP sequence checking successful");
        });
    }
}

/// `ct-get-tcp-seq-chk [dp]`
pub(super) fn get_seq_check(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    if let Some(dpif) = open_first(s, out, args, 1) {
        with(out, &dpif, |out, ct| {
            let on = if ct.tcp_seq_check() {
                "enabled"
            } else {
                "disabled"
            };
            out.line(format_args!("TCP sequence checking: {on}"));
        });
    }
}

/// `zone=N,limit=L`
fn zone_limit(text: &str) -> Result<(u16, u32), String> {
    let (mut zone, mut limit) = (None, None);
    for part in text.split([',', ' ']).filter(|p| !p.is_empty()) {
        let (key, value) = part.split_once(['=', ':']).unwrap_or((part, ""));
        if value.is_empty() {
            return Err(format!("field {key} missing value"));
        }
        let malformed = |_| format!("failed to parse field {key}");
        match key {
            "zone" => zone = Some(value.parse().map_err(malformed)?),
            "limit" => limit = Some(value.parse().map_err(malformed)?),
            _ => return Err(format!("invalid zone limit field: {key}")),
        }
    }
    zone.zip(limit)
        .ok_or_else(|| "failed to parse zone limit".to_owned())
}

/// `ct-set-limits [dp] [default=L] [zone=N,limit=L]...`
pub(super) fn set_limits(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let rest = &args[usize::from(args.first().is_some_and(|a| exists(s, a)))..];
    let Some(dpif) = open_first(s, out, args, usize::MAX) else {
        return;
    };
    let parse = || -> Result<Vec<(Option<u16>, u32)>, String> {
        let mut limits = Vec::new();
        for (i, arg) in rest.iter().enumerate() {
            limits.push(match arg.strip_prefix("default=").filter(|_| i == 0) {
                Some(n) => (None, leading(Some(&n)).ok_or("invalid default limit")?),
                None => {
                    let (zone, limit) = zone_limit(arg)?;
                    (Some(zone), limit)
                }
            });
        }
        Ok(limits)
    };
    match parse() {
        Ok(limits) => with(out, &dpif, |_, ct| {
            for (zone, limit) in limits {
                ct.set_limit(zone, limit);
            }
        }),
        Err(what) => out.fail(format_args!("{what}"), Some(&DpifError::Invalid)),
    }
}

/// `zone=N1[,N2]...`
fn zones(text: &str) -> Result<Vec<u16>, String> {
    let list = text
        .strip_prefix("zone=")
        .ok_or_else(|| format!("invalid argument {text}"))?;
    let zone = |t: &str| {
        leading(Some(&t))
            .and_then(|n| u16::try_from(n).ok())
            .ok_or_else(|| "invalid zone".to_owned())
    };
    list.split(',').map(zone).collect()
}

/// `ct-del-limits [dp] zone=N1[,N2]...`
pub(super) fn del_limits(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open_first(s, out, args, 2) else {
        return;
    };
    match zones(args.last().copied().unwrap_or_default()) {
        Ok(zones) => with(out, &dpif, |_, ct| {
            zones.iter().for_each(|&z| ct.del_limit(z))
        }),
        Err(what) => out.fail(format_args!("{what}"), Some(&DpifError::Invalid)),
    }
}

/// `ct-get-limits [dp] [zone=N1[,N2]...]`
pub(super) fn get_limits(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let rest = &args[usize::from(args.first().is_some_and(|a| exists(s, a)))..];
    let Some(dpif) = open_first(s, out, args, 2) else {
        return;
    };
    let wanted = match rest.first().map(|a| zones(a)).transpose() {
        Ok(wanted) => wanted,
        Err(what) => return out.fail(format_args!("{what}"), Some(&DpifError::Invalid)),
    };
    with(out, &dpif, |out, ct| {
        out.line(format_args!("default limit={}", ct.default_limit()));
        let limits = match wanted {
            Some(zones) => zones.into_iter().map(|z| ct.limit(z)).collect(),
            None => ct.limits(),
        };
        for ZoneLimit { zone, limit, count } in limits {
            out.line(format_args!("zone={zone},limit={limit},count={count}"));
        }
    });
}

/// The address family that an argument names.
fn family(arg: Option<&&str>) -> Option<bool> {
    match arg?.get(..2)? {
        "v4" => Some(false),
        "v6" => Some(true),
        _ => None,
    }
}

/// `ipf-set-enabled [dp] v4|v6`
pub(super) fn ipf_enable(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    ipf_set_enabled(s, out, args, true);
}

/// `ipf-set-disabled [dp] v4|v6`
pub(super) fn ipf_disable(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    ipf_set_enabled(s, out, args, false);
}

fn ipf_set_enabled(s: &mut Switch, out: &mut Out, args: &[&str], on: bool) {
    let Some(dpif) = open_first(s, out, args, 3) else {
        return;
    };
    with(out, &dpif, |out, ct| match family(args.last()) {
        Some(v6) => {
            ct.ipf_set_enabled(v6, on);
            out.text.push_str(if on { "enabling" } else { "disabling" });
            out.text.push_str(" fragmentation reassembly successful");
        }
        None => out.fail(
            format_args!("parameter missing: 'v4' for IPv4 or 'v6' for IPv6"),
            Some(&DpifError::Invalid),
        ),
    });
}

/// `ipf-set-min-frag [dp] v4|v6 minfragment`
pub(super) fn ipf_set_min_frag(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open_first(s, out, args, 3) else {
        return;
    };
    let before = args.len().checked_sub(2).and_then(|i| args.get(i));
    with(out, &dpif, |out, ct| {
        let invalid = Some(&DpifError::Invalid);
        match (family(before), leading(args.last())) {
            (None, _) => out.fail(
                format_args!("parameter missing: v4 for IPv4 or v6 for IPv6"),
                invalid,
            ),
            (_, None) => out.fail(
                format_args!("parameter missing for minimum fragment size"),
                invalid,
            ),
            (Some(v6), Some(n)) => match ct.ipf_set_min_frag(v6, n) {
                Ok(()) => out
                    .text
                    .push_str("setting minimum fragment size successful"),
                Err(e) => out.fail(
                    format_args!("requested minimum fragment size too small; see documentation"),
                    Some(&e),
                ),
            },
        }
    });
}

/// `ipf-set-max-nfrags [dp] maxfrags`
pub(super) fn ipf_set_max_frags(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let Some(dpif) = open_first(s, out, args, 2) else {
        return;
    };
    with(out, &dpif, |out, ct| match leading(args.last()) {
        Some(n) => match ct.ipf_set_max_frags(n) {
            Ok(()) => out.text.push_str("setting maximum fragments successful"),
            Err(e) => out.fail(format_args!("setting maximum fragments failed"), Some(&e)),
        },
        None => out.fail(
            format_args!("parameter missing for maximum fragments"),
            Some(&DpifError::Invalid),
        ),
    });
}

/// `ipf-get-status [dp]`
pub(super) fn ipf_status(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    let Some(dpif) = open_first(s, out, args, 1) else {
        return;
    };
    with(out, &dpif, |out, ct| {
        let status = ct.ipf_status();
        let mut text = String::from("        Fragmentation Module Status\n");
        text.push_str("        ---------------------------\n");
        let mut say = |what: &str, n: u64| {
            writeln!(text, "        {what}: {n}").expect("a string takes everything");
        };
        say("v4 enabled", u64::from(status.v4.enabled));
        say("v6 enabled", u64::from(status.v6.enabled));
        say("max num frags (v4/v6)", u64::from(status.nfrag_max));
        say("num frag", u64::from(status.nfrag));
        family_status(&mut text, "v4", &status.v4);
        family_status(&mut text, "v6", &status.v6);
        out.text.push_str(&text);
        if f.more {
            out.text.push_str("\n        Fragment Lists:\n\n");
            for list in ct.ipf_lists() {
                out.line(format_args!("{list}"));
            }
        }
    });
}

fn family_status(text: &mut String, name: &str, s: &IpfFamily) {
    let mut say = |what: &str, n: u64| {
        writeln!(text, "        {what}: {n}").expect("a string takes everything");
    };
    say(&format!("min {name} frag size"), s.min_frag_size.into());
    for (what, n) in [
        ("accepted", s.nfrag_accepted),
        ("completed", s.nfrag_completed_sent),
        ("expired", s.nfrag_expired_sent),
        ("too small", s.nfrag_too_small),
        ("overlapped", s.nfrag_overlap),
        ("purged", s.nfrag_purged),
    ] {
        say(&format!("{name} frags {what}"), n);
    }
}
