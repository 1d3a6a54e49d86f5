//! Text of `ct(...)`.

use super::put::{AltHex, Hex, chomp, put};
use super::scan::Scan;
use crate::action::{CtAction, NatAction, NatRange};
use std::net::IpAddr;

/// Longest helper and timeout policy names, bytes.
const HELPER_MAX: usize = 15;
const TIMEOUT_MAX: usize = 31;

pub(super) fn put_ct(out: &mut String, ct: &CtAction) {
    out.push_str("ct(");
    let empty = out.len();
    if ct.commit {
        out.push_str(if ct.force { "force_commit," } else { "commit," });
    }
    if ct.zone != 0 {
        put!(out, "zone={},", ct.zone);
    }
    if let Some((value, mask)) = ct.mark {
        let (value, mask) = (AltHex(value.into()), AltHex(mask.into()));
        put!(out, "mark={value}/{mask},");
    }
    if let Some((value, mask)) = ct.label {
        put!(out, "label={}", Hex(&value.to_be_bytes()));
        if mask != u128::MAX {
            put!(out, "/{}", Hex(&mask.to_be_bytes()));
        }
        out.push(',');
    }
    if let Some(helper) = &ct.helper {
        put!(out, "helper={helper},");
    }
    if let Some(timeout) = &ct.timeout {
        put!(out, "timeout={timeout},");
    }
    if let Some(nat) = &ct.nat {
        put_nat(out, nat);
    }
    chomp(out);
    if out.len() == empty {
        out.pop();
    } else {
        out.push(')');
    }
}

fn put_nat(out: &mut String, nat: &NatAction) {
    out.push_str("nat");
    if !nat.src && !nat.dst {
        return;
    }
    out.push_str(if nat.src { "(src" } else { "(dst" });
    if let Some(range) = &nat.range {
        out.push('=');
        put_range(out, range);
    }
    let words = [
        (nat.persistent, ",persistent"),
        (nat.hash, ",hash"),
        (nat.random, ",random"),
    ];
    for (_, word) in words.iter().filter(|w| w.0) {
        out.push_str(word);
    }
    out.push(')');
}

fn put_range(out: &mut String, range: &NatRange) {
    let ports = range.ports.filter(|(first, _)| *first != 0);
    let address = |ip: IpAddr| match ip {
        // Brackets keep the ports apart.
        IpAddr::V6(ip) if ports.is_some() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    out.push_str(&address(range.min));
    if let Some(max) = range.max.filter(|max| *max != range.min) {
        put!(out, "-{}", address(max));
    }
    if let Some((first, last)) = ports {
        put!(out, ":{first}");
        if last != 0 && last != first {
            put!(out, "-{last}");
        }
    }
}

/// `ct` or `ct(...)`; the word has been read, the closing parenthesis is taken.
pub(super) fn scan_ct(s: &mut Scan<'_>) -> Option<CtAction> {
    let mut ct = CtAction::default();
    let (mut commit, mut force) = (false, false);
    if s.is("(") {
        loop {
            s.delimiters();
            if s.is(")") {
                break;
            }
            match s.word(&['=', '(', ')', ',', ' '])? {
                "commit" => commit = true,
                "force_commit" => force = true,
                "nat" => ct.nat = Some(scan_nat(s)?),
                name => {
                    s.lit("=")?;
                    scan_option(s, name, &mut ct)?;
                }
            }
        }
    }
    if commit && force {
        return None;
    }
    (ct.commit, ct.force) = (commit || force, force);
    Some(ct)
}

fn scan_option(s: &mut Scan<'_>, name: &str, ct: &mut CtAction) -> Option<()> {
    let name_of = |word: &str, max: usize| (word.len() <= max).then(|| word.to_owned());
    match name {
        "zone" => ct.zone = s.dec()? as u16,
        "mark" => {
            let value = s.hex()? as u32;
            let mask = if s.is("/") { s.hex()? as u32 } else { u32::MAX };
            ct.mark = (mask != 0).then_some((value, mask));
        }
        "label" => {
            let value = scan_u128(s)?;
            let mask = if s.is("/") { scan_u128(s)? } else { u128::MAX };
            ct.label = (mask != 0).then_some((value, mask));
        }
        "helper" => ct.helper = Some(name_of(s.word(&[',', ' ', ')'])?, HELPER_MAX)?),
        "timeout" => ct.timeout = Some(name_of(s.word(&[',', ' ', ')'])?, TIMEOUT_MAX)?),
        _ => return None,
    }
    Some(())
}

fn scan_u128(s: &mut Scan<'_>) -> Option<u128> {
    let bytes: [u8; 16] = s.bytes(16)?.try_into().ok()?;
    Some(u128::from_be_bytes(bytes))
}

fn scan_nat(s: &mut Scan<'_>) -> Option<NatAction> {
    let mut nat = NatAction::default();
    if !s.is("(") {
        return Some(nat);
    }
    loop {
        s.delimiters();
        if s.is(")") {
            break;
        }
        match s.word(&['=', ')', ',', ' '])? {
            "src" => nat.src = true,
            "dst" => nat.dst = true,
            "persistent" => nat.persistent = true,
            "hash" => nat.hash = true,
            "random" => nat.random = true,
            _ => return None,
        }
        if s.is("=") {
            nat.range = Some(scan_range(s)?);
        }
    }
    if nat.src && nat.dst || nat.hash && nat.random {
        return None;
    }
    if !nat.src && !nat.dst {
        // Without a direction, nothing else means anything.
        nat = NatAction::default();
    }
    Some(nat)
}

fn scan_range(s: &mut Scan<'_>) -> Option<NatRange> {
    let min = scan_address(s)?;
    let max = if s.is("-") {
        Some(scan_address(s)?)
    } else {
        None
    };
    if max.is_some_and(|max| max.is_ipv4() != min.is_ipv4() || max < min) {
        return None;
    }
    let mut ports = None;
    if s.is(":") {
        let first = s.dec()? as u16;
        let last = if s.is("-") { s.dec()? as u16 } else { 0 };
        if last != 0 && last < first {
            return None;
        }
        ports = (first != 0).then_some((first, last));
    }
    let max = max.filter(|max| *max != min);
    Some(NatRange { min, max, ports })
}

fn scan_address(s: &mut Scan<'_>) -> Option<IpAddr> {
    if s.is("[") {
        let ip = s.ipv6()?;
        s.lit("]")?;
        return Some(ip.0.into());
    }
    if let Some(ip) = s.ipv4() {
        return Some(ip.0.into());
    }
    Some(s.ipv6()?.0.into())
}
