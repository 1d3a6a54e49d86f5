//! `ct(...)` and `nat(...)`.

use super::parse::{Parse, Parser};
use super::scan::{Pairs, u16_of};
use crate::action::{Act, CtAct, NatAct};
use crate::field::parse_subfield;
use crate::verify::Outer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn ct(p: &mut Parser<'_>, arg: &str) -> Parse<Act> {
    let mut ct = CtAct {
        commit: false,
        force: false,
        zone_src: None,
        zone_imm: 0,
        alg: 0,
        recirc_table: None,
        actions: Vec::new(),
    };
    for (key, value) in Pairs::new(arg) {
        match key {
            "commit" => ct.commit = true,
            "force" => ct.force = true,
            "table" => match p.names.parse_table(value) {
                None => return Err(format!("unknown table {value}")),
                Some(255) => return Err("invalid table 0xff".into()),
                Some(table) => ct.recirc_table = Some(table),
            },
            "zone" => match u16_of(value, "zone") {
                Ok(zone) => ct.zone_imm = zone,
                Err(_) => ct.zone_src = Some(parse_subfield(value)?),
            },
            "alg" => {
                ct.alg = match value {
                    "ftp" => 21,
                    "tftp" => 69,
                    _ => return Err(format!("invalid conntrack helper \"{value}\"")),
                }
            }
            "nat" => ct.actions.push(Act::Nat(nat(value)?)),
            "exec" => ct.actions.extend(p.list(value, false, Outer::Ct)?),
            _ => return Err(format!("invalid argument to \"ct\" action: `{key}'")),
        }
    }
    if ct.force && !ct.commit {
        return Err("\"force\" flag requires \"commit\" flag.".into());
    }
    Ok(Act::Ct(Box::new(ct)))
}

pub(super) fn nat(arg: &str) -> Parse<NatAct> {
    let mut nat = NatAct::default();
    for (key, value) in Pairs::new(arg) {
        match key {
            "src" => {
                nat.src = true;
                range(value, &mut nat)?;
            }
            "dst" => {
                nat.dst = true;
                range(value, &mut nat)?;
            }
            "persistent" => nat.persistent = true,
            "hash" => nat.hash = true,
            "random" => nat.random = true,
            _ => return Err(format!("invalid key \"{key}\" in \"nat\" argument")),
        }
    }
    let flags = nat.persistent || nat.hash || nat.random;
    if nat.src && nat.dst {
        Err("May only specify one of \"src\" or \"dst\".".into())
    } else if !nat.src && !nat.dst && flags {
        Err("Flags allowed only with \"src\" or \"dst\".".into())
    } else if nat.hash && nat.random {
        Err("Both \"hash\" and \"random\" are not allowed.".into())
    } else {
        Ok(nat)
    }
}

/// `ADDR[-ADDR][:PORT[-PORT]]`, IPv6 addresses in brackets or not.
fn range(s: &str, nat: &mut NatAct) -> Parse<()> {
    (nat.addr, nat.ports) = (None, None);
    let invalid = || format!("invalid nat range \"{s}\"");
    let mut rest = s;
    if let Some((min, tail)) = address(s) {
        rest = tail;
        let mut max = None;
        if let Some(tail) = rest.strip_prefix('-') {
            let (addr, tail) = address(tail).ok_or_else(invalid)?;
            if addr.is_ipv4() != min.is_ipv4() || addr < min {
                return Err(invalid());
            }
            (max, rest) = (Some(addr), tail);
        }
        nat.addr = Some((min, max));
        if let Some(tail) = rest.strip_prefix(':') {
            let (min, tail) = port(tail).ok_or_else(invalid)?;
            let mut max = None;
            rest = tail;
            if let Some(tail) = rest.strip_prefix('-') {
                let (port, tail) = port(tail).filter(|p| p.0 >= min).ok_or_else(invalid)?;
                (max, rest) = (Some(port), tail);
            }
            nat.ports = (min != 0).then_some((min, max.filter(|&m| m != 0)));
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let pos = s.len() - rest.len();
    Err(format!(
        "garbage ({rest}) after nat range \"{s}\" (pos: {pos})"
    ))
}

fn address(s: &str) -> Option<(IpAddr, &str)> {
    let end = s
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(s.len());
    if let Ok(a) = s[..end].parse::<Ipv4Addr>() {
        return Some((a.into(), &s[end..]));
    }
    if let Some(inner) = s.strip_prefix('[') {
        let (a, rest) = inner.split_once(']')?;
        return Some((a.parse::<Ipv6Addr>().ok()?.into(), rest));
    }
    let end = s
        .find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.')
        .unwrap_or(s.len());
    Some((s[..end].parse::<Ipv6Addr>().ok()?.into(), &s[end..]))
}

fn port(s: &str) -> Option<(u16, &str)> {
    let end = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    Some((s[..end].parse().ok()?, &s[end..]))
}
