//! `ovs/route/*`: the routes that people add for tunnels.
//!
//! The table is kept and can be asked; no packet is sent by it yet, because the datapath does not push tunnel
//! headers: translation says so ("native tunnel routing failed").

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use l2::routes::{NextHop, Prefix, source_for};
use std::net::IpAddr;

pub(super) fn add(commands: &mut Commands<Switch>) {
    let usage = "ip_addr/prefix_len out_br_name [gw] [pkt_mark=mark]";
    commands.add("ovs/route/add", usage, 2..=4, route_add);
    commands.add("ovs/route/show", "", 0..=0, |s, _| Ok(s.routes().show()));
    let usage = "ip_addr/prefix_len [pkt_mark=mark]";
    commands.add("ovs/route/del", usage, 1..=2, |s, args| {
        let prefix = Prefix::parse(args[0]).ok_or("Invalid parameters")?;
        let mark = mark_or_none(args.get(1))?;
        match s.routes_mut().del(mark, prefix) {
            true => Ok("OK\n".to_owned()),
            false => Err("Not found".to_owned()),
        }
    });
    commands.add(
        "ovs/route/lookup",
        "ip_addr [pkt_mark=mark]",
        1..=2,
        |s, args| {
            let to = Prefix::parse(args[0]).and_then(|p| p.address());
            let to = to.ok_or("Invalid parameters")?;
            let mark = mark_or_none(args.get(1))?;
            let found = s.routes().lookup(mark, to).ok_or("Not found")?;
            Ok(found.show())
        },
    );
}

/// `pkt_mark=` in decimal, or with a prefix in hexadecimal.
fn mark(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("pkt_mark=")?;
    match digits.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

fn mark_or_none(text: Option<&&str>) -> Result<u32, String> {
    let bad = || "Invalid pkt_mark".to_owned();
    text.map_or(Ok(0), |t| mark(t).ok_or_else(bad))
}

fn route_add(s: &mut Switch, args: &[&str]) -> Outcome {
    let prefix = Prefix::parse(args[0]).ok_or("Invalid parameters")?;
    let v4 = !args[0].contains(':');
    let (mut gateway, mut of_mark) = (None, 0);
    if let Some(text) = args.get(2) {
        match (mark(text), text.parse::<IpAddr>()) {
            (Some(m), _) => of_mark = m,
            (None, Ok(ip)) if ip.is_ipv4() == v4 => gateway = Some(ip),
            _ if v4 => return Err("Invalid pkt_mark or gateway".to_owned()),
            _ => return Err("Invalid pkt_mark or IPv6 gateway".to_owned()),
        }
    }
    if args.len() > 3 {
        of_mark = mark_or_none(args.get(3))?;
    }
    let first = args[0].split('/').next().and_then(|ip| ip.parse().ok());
    let to: Vec<IpAddr> = first.into_iter().chain(gateway).collect();
    let device = s.registry().get(args[1]);
    let source = device.and_then(|d| source_for(&d.addresses(), &to));
    let wrong = || "Error while inserting route.".to_owned();
    let hop = NextHop {
        device: args[1].to_owned(),
        gateway,
        source: source.ok_or_else(wrong)?,
    };
    if s.routes_mut().add(of_mark, prefix, hop) {
        Ok("OK\n".to_owned())
    } else {
        Err(wrong())
    }
}
