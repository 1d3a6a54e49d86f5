//! `ofproto/trace`: what a bridge would do with a packet, and why.

use super::packets;
use crate::switch::{Switch, port_names};
use crate::unixctl::{Commands, Outcome};
use backer::Backer;
use base::sync::lock;
use flow::compose::{Payload, compose};
use flow::{CtMeta, Flow, Metadata, TunnelKey};
use openflow::Act;
use xlate::{BridgeId, TraceRequest};

/// Bytes of payload of a generated packet, and at most.
const L7: (usize, usize) = (64, 64_000);

pub(super) fn add(commands: &mut Commands<Switch>) {
    let usage = "{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]";
    commands.add("ofproto/trace", usage, 1..=usize::MAX, |s, args| {
        trace(s, args)
    });
    let usage = "[-consistent] {[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet] actions";
    commands.add(
        "ofproto/trace-packet-out",
        usage,
        2..=usize::MAX,
        |s, args| trace_packet_out(s, args),
    );
}

/// What the arguments say.
#[derive(Default)]
struct Wanted<'a> {
    generate: bool,
    l7: Option<Vec<u8>>,
    l7_len: Option<usize>,
    names: bool,
    consistent: bool,
    ct_states: Vec<u8>,
    words: Vec<&'a str>,
}

fn wanted<'a>(args: &[&'a str], may_be_consistent: bool) -> Result<Wanted<'a>, String> {
    let mut w = Wanted::default();
    let mut rest = args.iter();
    while let Some(&arg) = rest.next() {
        let mut value = || {
            rest.next()
                .copied()
                .ok_or_else(|| format!("Missing argument for option {arg}"))
        };
        match arg {
            "-generate" | "--generate" => w.generate = true,
            "-names" | "--names" => w.names = true,
            "-consistent" | "--consistent" if may_be_consistent => w.consistent = true,
            "--l7" => {
                w.l7 = Some(packets::bytes(value()?).ok_or("Trailing garbage in packet data")?);
            }
            "--l7-len" => {
                let text = value()?;
                let len = text.parse().unwrap_or(0);
                if len > L7.1 {
                    return Err(format!("{text}: too much L7 data"));
                }
                w.l7_len = Some(len);
            }
            "--ct-next" => w.ct_states.push(ct_state(value()?)?),
            option if option.starts_with('-') => return Err(format!("{option}: unknown option")),
            _ if w.words.len() == 3 => return Err("too many arguments".to_owned()),
            word => w.words.push(word),
        }
    }
    Ok(w)
}

/// States of a connection by name, `|` between them.
fn ct_state(text: &str) -> Result<u8, String> {
    const NAMES: [(&str, u8); 8] = [
        ("new", 1),
        ("est", 2),
        ("rel", 4),
        ("rpl", 8),
        ("inv", 16),
        ("trk", 32),
        ("snat", 64),
        ("dnat", 128),
    ];
    let mut state = 0;
    for word in text.split(['|', ',']).map(str::trim) {
        let found = NAMES.iter().find(|(n, _)| *n == word);
        state |= found
            .ok_or_else(|| format!("{word}: unknown connection tracking state flag"))?
            .1;
    }
    Ok(state)
}

/// A packet to trace, and where.
struct Subject<'s> {
    backer: &'s Backer,
    bridge: BridgeId,
    flow: Flow,
    packet: Option<Vec<u8>>,
}

fn subject<'s>(s: &'s Switch, w: &mut Wanted<'_>) -> Result<Subject<'s>, String> {
    let mut packet = None;
    if !w.generate && w.words.len() > 1 {
        match packets::packet(w.words[w.words.len() - 1]) {
            Ok(bytes) => {
                packet = Some(bytes);
                w.words.pop();
            }
            Err(why) if w.words.len() > 2 => return Err(why.to_owned()),
            Err(_) => {}
        }
    }
    let (backer, bridge, mut flow) = match w.words.as_slice() {
        [flow] => datapath_form(only(s), flow)
            .unwrap_or_else(|e| Err(format!("{e} (or the bridge name was omitted)")))?,
        [first, flow] => two_words(s, first, flow)?,
        _ => return Err("Syntax error".to_owned()),
    };
    if w.generate {
        let payload = match (&w.l7, w.l7_len) {
            (Some(bytes), _) => Payload::Bytes(bytes),
            (None, len) => Payload::Counting(len.unwrap_or(L7.0)),
        };
        packet = Some(compose(&flow, payload));
    } else if let Some(bytes) = &packet {
        let from = flow;
        let ct = CtMeta::of_flow(&from);
        flow::extract(bytes, &Metadata::of_flow(&from, ct.as_ref()), &mut flow);
    }
    Ok(Subject {
        backer,
        bridge,
        flow,
        packet,
    })
}

fn trace(s: &Switch, args: &[&str]) -> Outcome {
    let mut w = wanted(args, false)?;
    let subject = subject(s, &mut w)?;
    Ok(run(s, &w, &subject, None))
}

/// As a controller's packet-out would do: the last word is a list of actions.
fn trace_packet_out(s: &Switch, args: &[&str]) -> Outcome {
    let (actions, args) = args.split_last().ok_or("no actions")?;
    let names = openflow::Names::default();
    let (mut acts, usable) =
        openflow::parse_actions_usable(actions, names).map_err(|e| e.to_string())?;
    let mut w = wanted(args, true)?;
    let subject = subject(s, &mut w)?;
    let bad = |e: openflow::OfpError| format!("Bad actions: {}", e.name());
    let params = openflow::CheckParams {
        flow: &subject.flow,
        mask: &flow::Mask::for_packet(&subject.flow),
        max_ports: flow::OfPort::MAX,
        table_id: 0,
        n_tables: ofproto::N_TABLES,
    };
    let needed = if w.consistent {
        usable
    } else {
        openflow::Protocols::empty()
    };
    openflow::check_consistency(&mut acts, needed, &params).map_err(bad)?;
    let bridges = subject.backer.bridges();
    if let Some(bridge) = bridges.values().find(|b| b.id == subject.bridge) {
        lock(&bridge.ofproto).check_references(&acts).map_err(bad)?;
    }
    Ok(run(s, &w, &subject, Some(&acts)))
}

fn run(s: &Switch, w: &Wanted<'_>, subject: &Subject<'_>, acts: Option<&[Act]>) -> String {
    let backer = subject.backer;
    let packet = subject.packet.as_deref();
    xlate::trace(
        &backer.snapshot(),
        &TraceRequest {
            bridge: subject.bridge,
            flow: &subject.flow,
            packet,
            actions: acts,
            ct_states: &w.ct_states,
            names: w.names,
            now: s.clock().now(),
        },
        &mut |flow, out| {
            if let Some(packet) = packet {
                backer.traced(subject.bridge, packet, flow, out);
            }
        },
    )
}

/// The backer, when there is exactly one.
fn only(s: &Switch) -> Option<&Backer> {
    let mut all = s.backers().values();
    all.next().filter(|_| s.backers().len() == 1)
}

fn two_words<'s>(
    s: &'s Switch,
    first: &str,
    text: &str,
) -> Result<(&'s Backer, BridgeId, Flow), String> {
    let type_name = first.strip_prefix("ovs-").unwrap_or(first);
    if let Ok(result) = datapath_form(s.backers().get(type_name), text) {
        return result;
    }
    let backer = s
        .backer_of(first)
        .ok_or_else(|| format!("{first}: unknown bridge"))?;
    let ports = port_names(backer, first)?;
    let names = openflow::Names {
        ports: Some(&ports),
        tables: None,
    };
    let bridge = backer.bridge(first).map_err(|e| e.to_string())?.id;
    let snapshot = backer.snapshot();
    let tun = snapshot
        .bridges
        .get(&bridge)
        .map(|b| b.pipeline.tun_table());
    let parsed = flow::text::ExactFlow::parse(text, &names, tun.as_deref());
    let flow = parsed
        .map_err(|e| format!("Bad openflow flow syntax: {e}"))?
        .flow;
    Ok((backer, bridge, flow))
}

/// A packet that enters a bridge; or why none receives it.
type Received<'s> = Result<(&'s Backer, BridgeId, Flow), String>;

/// A flow as the datapath has it: its port says which bridge. The outer error: the text is no such flow.
fn datapath_form<'s>(backer: Option<&'s Backer>, text: &str) -> Result<Received<'s>, String> {
    let names = backer.map(Backer::port_names).unwrap_or_default();
    let flow = packets::datapath_flow(text, &names)?;
    Ok(backer
        .ok_or_else(|| "Cannot find the datapath".to_owned())
        .and_then(|b| received(b, flow)))
}

fn received(backer: &Backer, mut flow: Flow) -> Received<'_> {
    let snapshot = backer.snapshot();
    let (bridge, ofp) = snapshot.receive(&flow).map_err(|e| e.to_string())?;
    flow.in_port.set(u32::from(ofp.0));
    if flow.tunnel.flags.get() & TunnelKey::F_UDPIF != 0
        && let Some(x) = snapshot.bridges.get(&bridge)
    {
        // Shown as OpenFlow has it.
        flow.tunnel = x
            .pipeline
            .tun_table()
            .to_mapped(&flow.tunnel, &flow.tunnel)
            .map_err(|_| "Failed to parse Geneve options".to_owned())?;
    }
    Ok((backer, bridge, flow))
}
