//! `dpctl/*`: the datapath, past all bridges. `ovs-dpctl` and `ovs-appctl dpctl/...` speak it.

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use base::sync::Arc;
use dpif::{Dpif, FlowInfo, FlowSelect, OdpPort, Op, PmdId, Ufid};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Options that stand in front of every command's arguments.
#[derive(Debug, Default, Clone, Copy)]
struct Flags {
    more: bool,
    statistics: bool,
    names: bool,
}

fn flags<'a>(args: &[&'a str]) -> Result<(Flags, Vec<&'a str>), String> {
    let mut f = Flags::default();
    let mut names = None;
    let mut rest = args;
    while let Some((arg, after)) = rest.split_first() {
        match *arg {
            "-m" | "--more" => f.more = true,
            "-s" | "--statistics" => f.statistics = true,
            "--names" => names = Some(true),
            "--no-names" => names = Some(false),
            "--clear" | "--may-create" => {}
            long if long.starts_with("--") => return Err(format!("Unrecognized option {long}")),
            short if short.len() > 1 && short.starts_with('-') => {
                for c in short[1..].chars() {
                    match c {
                        'm' => f.more = true,
                        's' => f.statistics = true,
                        _ => return Err(format!("Unrecognized option -{c}")),
                    }
                }
            }
            _ => break,
        }
        rest = after;
    }
    f.names = names.unwrap_or(f.more);
    Ok((f, rest.to_vec()))
}

pub(super) fn add(commands: &mut Commands<Switch>) {
    let many = 0..=usize::MAX;
    commands.add("dpctl/dump-dps", "", many.clone(), |s, _| {
        let mut out = String::new();
        for dpif in all(s) {
            put(
                &mut out,
                format_args!("{}@{}\n", dpif.type_name(), dpif.name()),
            );
        }
        Ok(out)
    });
    commands.add("dpctl/show", "[-s] [dp...]", many.clone(), |s, args| {
        let (f, names) = flags(args)?;
        let dpifs = if names.is_empty() {
            all(s)
        } else {
            names
                .iter()
                .map(|n| named(s, n))
                .collect::<Result<_, _>>()?
        };
        Ok(dpifs.iter().map(|d| show(s, &**d, f)).collect())
    });
    let usage = "[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]";
    commands.add("dpctl/dump-flows", usage, many.clone(), dump_flows);
    commands.add("dpctl/get-flow", "[dp] ufid", many.clone(), |s, args| {
        let (f, args) = flags(args)?;
        let (dpif, args) = dp_and_rest(s, &args)?;
        let text = args
            .first()
            .ok_or("\"dpctl/get-flow\" command requires at least 1 arguments")?;
        get_flow(s, &*dpif, text, f)
    });
    commands.add("dpctl/del-flows", "[dp]", many, |s, args| {
        let (_, args) = flags(args)?;
        let (dpif, _) = dp_and_rest(s, &args)?;
        dpif.flow_flush()
            .map(|()| String::new())
            .map_err(|e| format!("deleting all flows ({e})"))
    });
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}

/// Every datapath, by type and name.
pub(super) fn all(s: &Switch) -> Vec<Arc<dyn Dpif>> {
    let mut out = Vec::new();
    for type_name in s.dpifs().types() {
        for name in s.dpifs().enumerate(&type_name).unwrap_or_default() {
            out.extend(
                s.dpifs()
                    .open(&name, &type_name, dpif::OpenMode::Existing)
                    .ok(),
            );
        }
    }
    out
}

pub(super) fn named(s: &Switch, text: &str) -> Result<Arc<dyn Dpif>, String> {
    let (name, type_name) = dpif::registry::parse_name(text);
    s.dpifs()
        .open(name, type_name, dpif::OpenMode::Existing)
        .map_err(|e| format!("opening datapath ({e})"))
}

/// The datapath that the first argument names, or the only one.
fn dp_and_rest<'a>(s: &Switch, args: &[&'a str]) -> Result<(Arc<dyn Dpif>, Vec<&'a str>), String> {
    if let Some((first, rest)) = args.split_first()
        && !first.contains(['(', '=', ':'])
    {
        return named(s, first).map(|d| (d, rest.to_vec()));
    }
    let mut dpifs = all(s);
    match (dpifs.pop(), dpifs.is_empty()) {
        (Some(only), true) => Ok((only, args.to_vec())),
        _ => Err("datapath not found (Invalid argument)".to_owned()),
    }
}

fn show(s: &Switch, dpif: &dyn Dpif, f: Flags) -> String {
    let mut out = String::new();
    let t = dpif.stats();
    let n = t.n_hit + t.n_missed;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let per_packet = |hits: u64| if n == 0 { 0.0 } else { hits as f64 / n as f64 };
    put(
        &mut out,
        format_args!("{}@{}:\n", dpif.type_name(), dpif.name()),
    );
    put(
        &mut out,
        format_args!(
            "  lookups: hit:{} missed:{} lost:{}\n",
            t.n_hit, t.n_missed, t.n_lost
        ),
    );
    put(&mut out, format_args!("  flows: {}\n", t.n_flows));
    if f.statistics {
        put(
            &mut out,
            format_args!(
                "  masks: hit:{} total:{} hit/pkt:{:.2}\n",
                t.n_mask_hit,
                t.n_masks,
                per_packet(t.n_mask_hit)
            ),
        );
        put(
            &mut out,
            format_args!(
                "  cache: hit:{} hit-rate:{:.2}%\n",
                t.n_cache_hit,
                per_packet(t.n_cache_hit) * 100.0
            ),
        );
    }
    for port in dpif.ports() {
        put(
            &mut out,
            format_args!("  port {}: {}", port.number, port.name),
        );
        let device = s.registry().get(&port.name);
        if port.class != "system" {
            put(&mut out, format_args!(" ({}", port.class));
            for (i, (k, v)) in device.iter().flat_map(|d| d.get_config()).enumerate() {
                put(
                    &mut out,
                    format_args!("{} {k}={v}", if i == 0 { ':' } else { ',' }),
                );
            }
            out.push(')');
        }
        out.push('\n');
        if let Some(d) = device.filter(|_| f.statistics) {
            statistics(&mut out, &d.stats());
        }
    }
    out
}

fn statistics(out: &mut String, s: &netdev::Stats) {
    let n = |v: Option<u64>| v.map_or_else(|| "?".to_owned(), |v| v.to_string());
    put(
        out,
        format_args!(
            "    RX packets:{} errors:{} dropped:{} overruns:{} frame:{}\n",
            n(s.rx_packets),
            n(s.rx_errors),
            n(s.rx_dropped),
            n(s.rx_over_errors),
            n(s.rx_frame_errors)
        ),
    );
    put(
        out,
        format_args!(
            "    TX packets:{} errors:{} dropped:{} aborted:? carrier:?\n",
            n(s.tx_packets),
            n(s.tx_errors),
            n(s.tx_dropped)
        ),
    );
    put(out, format_args!("    collisions:{}\n", n(s.collisions)));
    put(
        out,
        format_args!(
            "    RX bytes:{}  TX bytes:{}\n",
            n(s.rx_bytes),
            n(s.tx_bytes)
        ),
    );
}

/// Port names of a datapath.
fn port_names(dpif: &dyn Dpif, wanted: bool) -> BTreeMap<OdpPort, String> {
    let ports = if wanted { dpif.ports() } else { Vec::new() };
    ports.into_iter().map(|p| (p.number, p.name)).collect()
}

fn dump_flows(s: &mut Switch, args: &[&str]) -> Outcome {
    let (f, args) = flags(args)?;
    let keyed = |key: &str| {
        args.iter()
            .find_map(|a| a.strip_prefix(key)?.strip_prefix('='))
    };
    let pmd = match keyed("pmd") {
        None => None,
        Some("-1") => Some(PmdId::NON_PMD),
        Some(text) => Some(PmdId(
            text.parse()
                .map_err(|_| format!("Invalid pmd specified: {text}"))?,
        )),
    };
    let plain: Vec<&str> = args.iter().copied().filter(|a| !a.contains('=')).collect();
    let (dpif, _) = dp_and_rest(s, &plain)?;
    let all_names = port_names(&*dpif, true);
    let filter = keyed("filter")
        .map(|text| filter(text, &all_names))
        .transpose()?;
    let names = if f.names { all_names } else { BTreeMap::new() };
    let now = s.clock().now();
    let mut out = String::new();
    let mut last = None;
    for flow in flows(&*dpif, pmd) {
        if filter
            .as_ref()
            .is_some_and(|m| !flow.key.equals_under(&m.flow, &m.mask))
        {
            continue;
        }
        if pmd.is_none() && last != Some(flow.pmd) {
            match flow.pmd {
                PmdId::NON_PMD => out.push_str("flow-dump from the main thread:\n"),
                PmdId(core) => put(
                    &mut out,
                    format_args!("flow-dump from pmd on cpu core: {core}\n"),
                ),
            }
            last = Some(flow.pmd);
        }
        out += &dpif::format_flow(&flow, &names, f.more, now);
        out.push('\n');
    }
    Ok(out)
}

/// All flows, those of one packet thread together.
fn flows(dpif: &dyn Dpif, pmd: Option<PmdId>) -> Vec<FlowInfo> {
    let dump = dpif.flow_dump(FlowSelect { terse: false, pmd });
    let mut cursor = dump.thread();
    let (mut all, mut some) = (Vec::new(), Vec::new());
    loop {
        let more = cursor.next(&mut some, 256);
        all.append(&mut some);
        if !more {
            return all;
        }
    }
}

fn filter(text: &str, names: &BTreeMap<OdpPort, String>) -> Result<flow::text::ExactFlow, String> {
    let mut ports = openflow::NameMap::default();
    for (port, name) in names {
        ports.put(port.0, name);
    }
    let names = openflow::Names {
        ports: Some(&ports),
        tables: None,
    };
    flow::text::ExactFlow::parse(text, &names, None)
        .map_err(|e| format!("Failed to parse filter ({e})"))
}

fn get_flow(s: &Switch, dpif: &dyn Dpif, text: &str, f: Flags) -> Outcome {
    let digits: String = text
        .trim_start_matches("ufid:")
        .chars()
        .filter(|c| *c != '-')
        .collect();
    let ufid = u128::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 32);
    let ufid = Ufid(ufid.ok_or("invalid ufid (Invalid argument)")?);
    let mut ops = [Op::FlowGet(dpif::FlowGet {
        ufid,
        pmd: None,
        result: Err(dpif::DpifError::NoEntry),
    })];
    dpif.operate(&mut ops);
    let [Op::FlowGet(get)] = ops else {
        return Err("getting flow".to_owned());
    };
    let flow = get.result.map_err(|e| format!("getting flow ({e})"))?;
    let names = port_names(dpif, f.names);
    Ok(dpif::format_flow(&flow, &names, f.more, s.clock().now()))
}
