//! Commands about bridges and the datapath under them: `dpif/*`, `fdb/*`, `ofproto/list`, `upcall/*`,
//! `revalidator/*`.

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome, Reply};
use backer::{Backer, BackerError, DumpOptions, FlowLines};
use ofproto::Ofproto;
use std::time::Duration;

/// Flows looked at for one piece of a long text.
const PIECE: usize = 512;

pub(super) fn add(commands: &mut Commands<Switch>) {
    add_dpif(commands);
    add_fdb(commands);
    add_upcall(commands);
    add_revalidator(commands);
}

/// The backer of a bridge, or the words that say there is no such bridge.
fn backer<'s>(s: &'s Switch, bridge: &str) -> Result<&'s Backer, String> {
    s.backer_of(bridge)
        .ok_or_else(|| "no such bridge".to_owned())
}

/// The same text of every backer, one after the other.
fn all(s: &Switch, text: impl Fn(&Backer) -> String) -> Outcome {
    Ok(s.backers().values().map(text).collect())
}

fn add_dpif(commands: &mut Commands<Switch>) {
    commands.add("dpif/show", "", 0..=0, |s, _| all(s, Backer::show));
    commands.add("dpif/dump-dps", "", 0..=0, |s, _| all(s, Backer::dump_dps));
    commands.add("ofproto/list", "", 0..=0, |s, _| all(s, Backer::list));
    commands.add("ofproto/list-tunnels", "", 0..=0, |s, _| {
        all(s, Backer::list_tunnels)
    });
    commands.add("dpif/show-dp-features", "bridge", 1..=1, |s, args| {
        backer(s, args[0]).map(Backer::show_features)
    });
    commands.add("dpif/set-dp-features", "bridge", 1..=3, |s, args| {
        let name = args[0];
        let owner = s
            .backers_mut()
            .values_mut()
            .find(|b| b.bridges().contains_key(name));
        let owner = owner.ok_or_else(|| "no such bridge".to_owned())?;
        Ok(owner.set_features(args.get(1).copied(), args.get(2).copied()))
    });
    commands.add("bridge/reconnect", "[bridge]", 0..=1, |s, args| {
        let known = s.reconnect(args.first().copied());
        let known = known.then(String::new);
        known.ok_or_else(|| "Unknown bridge".to_owned())
    });
    let usage = "[--offload-stats] bridge";
    commands.add_slow("bridge/dump-flows", usage, 1..=2, |s, args| {
        let name = args.last().map_or_else(String::new, |n| (*n).to_owned());
        let offload = args.len() > 1 && args[0] == "--offload-stats";
        let Some(mut text) = on_tables(s, &name, |of| of.flows_text(offload)) else {
            return Reply::Now(Err("Unknown bridge".to_owned()));
        };
        Reply::Stream(Box::new(move |s: &mut Switch, out: &mut String| {
            let now = s.clock().now();
            // A bridge that goes away has no more flows.
            let more = on_tables(s, &name, |of| of.more_text(&mut text, PIECE, now, out));
            more.unwrap_or(false)
        }))
    });
    let usage = "[-m] [--names | --no-names] bridge";
    commands.add_slow(
        "dpif/dump-flows",
        usage,
        1..=usize::MAX,
        |s, args| match flow_lines(s, args) {
            Ok(mut lines) => Reply::Stream(Box::new(move |_, out| lines.more(out))),
            Err(why) => Reply::Now(Err(why)),
        },
    );
}

/// Works on the tables of a bridge, if it is there.
fn on_tables<R>(s: &Switch, bridge: &str, work: impl FnOnce(&mut Ofproto) -> R) -> Option<R> {
    s.backer_of(bridge)?.tables(bridge, work).ok()
}

fn flow_lines(s: &Switch, args: &[&str]) -> Result<FlowLines, String> {
    let mut options = DumpOptions::default();
    let (bridge, flags) = args.split_last().ok_or("no bridge")?;
    for flag in flags {
        match *flag {
            "-m" => options.verbose = true,
            "--names" => options.names = Some(true),
            "--no-names" => options.names = Some(false),
            // As the peer has it.
            _ => {}
        }
    }
    let lines = backer(s, bridge)?.flow_lines(bridge, options);
    lines.map_err(|e| e.to_string())
}

fn add_fdb(commands: &mut Commands<Switch>) {
    commands.add("fdb/show", "bridge", 1..=1, |s, args| {
        backer(s, args[0])?
            .fdb_show(args[0])
            .map_err(|e| e.to_string())
    });
    commands.add("fdb/stats-show", "bridge", 1..=1, |s, args| {
        backer(s, args[0])?
            .fdb_stats(args[0])
            .map_err(|e| e.to_string())
    });
    commands.add("fdb/stats-clear", "[bridge]", 0..=1, |s, args| {
        each(s, args, |b, name| {
            b.fdb_stats_clear(name).map_err(|e| e.to_string())
        })
    });
    commands.add("fdb/flush", "[bridge]", 0..=1, |s, args| {
        each(s, args, |b, name| {
            b.fdb_flush(name).map_err(|e| e.to_string())
        })
    });
    commands.add("fdb/add", "bridge port vlan mac", 4..=4, |s, args| {
        let (vlan, mac) = vlan_and_mac(args[2], args[3])?;
        let result = backer(s, args[0])?.fdb_add(args[0], args[1], vlan, mac);
        result.map_err(|e| match e {
            BackerError::NoPort { .. } => {
                "software error, odp port is present but no ofp port".to_owned()
            }
            e => e.to_string(),
        })?
    });
    commands.add("fdb/del", "bridge vlan mac", 3..=3, |s, args| {
        let (vlan, mac) = vlan_and_mac(args[1], args[2])?;
        match backer(s, args[0])?.fdb_del(args[0], vlan, mac) {
            Ok(true) => Ok(String::new()),
            Ok(false) => Err("could not find static mac entry\n".to_owned()),
            Err(e) => Err(e.to_string()),
        }
    });
}

/// One bridge's, or every backer's.
fn each(
    s: &Switch,
    args: &[&str],
    work: impl Fn(&Backer, Option<&str>) -> Result<&'static str, String>,
) -> Outcome {
    match args.first() {
        Some(name) => work(backer(s, name)?, Some(name)).map(str::to_owned),
        None => {
            let mut said = "";
            for b in s.backers().values() {
                said = work(b, None)?;
            }
            Ok(said.to_owned())
        }
    }
}

/// What is no number is VLAN 0, as `atoi` has it.
fn vlan_and_mac(vlan: &str, mac: &str) -> Result<(u16, wire::EthAddr), String> {
    let mac = mac.parse().map_err(|()| "bad MAC address")?;
    Ok((vlan.parse().unwrap_or(0) & 0xfff, mac))
}

fn add_upcall(commands: &mut Commands<Switch>) {
    commands.add("upcall/show", "", 0..=0, |s, _| {
        all(s, |b| b.udpif().show())
    });
    for (name, on) in [
        ("upcall/enable-megaflows", true),
        ("upcall/disable-megaflows", false),
    ] {
        commands.add(name, "", 0..=0, move |s, _| {
            let said = s
                .backers()
                .values()
                .map(|b| b.udpif().set_megaflows(on))
                .last();
            Ok(said.unwrap_or_default().to_owned())
        });
    }
    for (name, on) in [("upcall/enable-ufid", true), ("upcall/disable-ufid", false)] {
        commands.add(name, "", 0..=0, move |s, _| {
            let said = s.backers().values().map(|b| b.udpif().set_ufid(on)).last();
            Ok(said.unwrap_or_default().to_owned())
        });
    }
    commands.add(
        "upcall/set-flow-limit",
        "flow-limit-number",
        1..=1,
        |s, args| {
            // What is no number is 0, as `atoi` has it.
            let limit = args[0].parse().unwrap_or(0);
            all(s, |b| b.udpif().set_flow_limit(limit))
        },
    );
}

fn add_revalidator(commands: &mut Commands<Switch>) {
    commands.add_slow("revalidator/wait", "", 0..=0, |s, _| {
        let tokens: Vec<(String, u64)> = s
            .backers()
            .iter()
            .map(|(t, b)| (t.clone(), b.udpif().request_round()))
            .collect();
        Reply::Later(Box::new(move |s: &mut Switch| {
            let done = |(t, token): &(String, u64)| {
                s.backers().get(t).is_none_or(|b| b.udpif().is_done(*token))
            };
            tokens.iter().all(done).then(|| Ok(String::new()))
        }))
    });
    commands.add("revalidator/purge", "", 0..=0, |s, _| {
        s.backers().values().for_each(|b| b.udpif().purge());
        Ok(String::new())
    });
    commands.add("revalidator/pause", "", 0..=0, |s, _| {
        s.backers().values().for_each(|b| b.udpif().pause());
        Ok(String::new())
    });
    commands.add("revalidator/resume", "", 0..=0, |s, _| {
        s.backers().values().for_each(|b| b.udpif().resume());
        Ok(String::new())
    });
}

/// Waits until every packet that came in so far is through, handlers' answers included.
pub(super) fn quiesce(s: &Switch) {
    for b in s.backers().values() {
        // A packet that takes longer is still forwarded; only the caller does not see it yet.
        b.dpif().quiesce(Duration::from_secs(2));
    }
}
