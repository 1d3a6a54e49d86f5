//! `netdev-dummy/*`: driving dummy devices by hand.

use super::{bridges, packets};
use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use flow::OdpPort;
use netdev::dummy::Dummies;

fn dummies(s: &Switch) -> Result<&Dummies, String> {
    s.dummies().ok_or_else(|| "no such dummy netdev".to_owned())
}

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add(
        "dpif-dummy/change-port-number",
        "dp port new-number",
        3..=3,
        |s, args| {
            let type_name = args[0].strip_prefix("ovs-").unwrap_or(args[0]);
            let dummy = s.dummies().is_some();
            let backer = s.backers_mut().get_mut(type_name).filter(|_| dummy);
            let backer = backer.ok_or("unknown datapath or not a dummy")?;
            let number = args[2].parse().map_or(OdpPort(0), OdpPort);
            backer.port_renumber(args[1], number)?;
            Ok(String::new())
        },
    );
    commands.add(
        "netdev-dummy/receive",
        "name [--qid queue_id] packet|flow [--len packet_len]",
        2..=usize::MAX,
        receive,
    );
    commands.add(
        "netdev-dummy/set-admin-state",
        "[netdev] up|down",
        1..=2,
        |s, args| {
            let (name, state) = match args {
                [state] => (None, *state),
                [name, state, ..] => (Some(*name), *state),
                [] => return Err(String::new()),
            };
            let up = match state.to_ascii_lowercase().as_str() {
                "up" => true,
                "down" => false,
                _ => return Err("Invalid Admin State".to_owned()),
            };
            done(dummies(s)?.set_admin_state(name, up))
        },
    );
    commands.add("netdev-dummy/conn-state", "[netdev]", 0..=1, |s, args| {
        Ok(dummies(s)?.conn_state(args.first().copied()))
    });
    commands.add(
        "netdev-dummy/ip4addr",
        "[netdev] ipaddr/mask-prefix-len",
        2..=2,
        |s, args| {
            let bad = || "Invalid parameters".to_owned();
            let (ip, len) = args[1].split_once('/').ok_or_else(bad)?;
            let ip: wire::Ipv4 = ip.parse().map_err(|()| bad())?;
            let len: u32 = len.parse().ok().filter(|l| *l <= 32).ok_or_else(bad)?;
            let mask = wire::Ipv4::from_u32(u32::MAX.checked_shl(32 - len).unwrap_or(0));
            done(dummies(s)?.set_ip4addr(args[0], ip, mask))
        },
    );
    commands.add(
        "netdev-dummy/ip6addr",
        "[netdev] ip6addr",
        2..=2,
        |s, args| {
            let bad = || "Invalid parameters".to_owned();
            let (ip, len) = args[1].split_once('/').unwrap_or((args[1], "128"));
            let ip: wire::Ipv6 = ip.parse().map_err(|()| bad())?;
            let len: u8 = len.parse().ok().filter(|l| *l <= 128).ok_or_else(bad)?;
            done(dummies(s)?.set_ip6addr(args[0], ip, len))
        },
    );
}

/// Gives packets to a dummy device as if they had arrived, and waits until they are through.
fn receive(s: &mut Switch, args: &[&str]) -> Outcome {
    let (name, mut rest) = args.split_first().ok_or("no device")?;
    let mut queue = 0;
    if let ["--qid", n, after @ ..] = rest {
        queue = n.parse().map_err(|_| "bad rx queue id.")?;
        rest = after;
    }
    // All are read before the first is given: a wrong one changes nothing.
    let mut given = Vec::new();
    while let Some((text, after)) = rest.split_first() {
        rest = after;
        given.push(match packets::packet(text) {
            Ok(packet) => packet,
            Err(_) => {
                let mut size = 0;
                if let ["--len", n, after @ ..] = rest {
                    size = n.parse().unwrap_or(0);
                    rest = after;
                    if size < 14 {
                        return Err("too small packet len".to_owned());
                    }
                }
                packets::from_flow(text, size)?
            }
        });
    }
    for packet in given {
        dummies(s)?
            .receive(name, &packet, queue)
            .map_err(|e| e.to_string())?;
    }
    bridges::quiesce(s);
    Ok(String::new())
}

fn done(result: Result<(), netdev::dummy::DummyError>) -> Outcome {
    result.map(|()| "OK".to_owned()).map_err(|e| e.to_string())
}
