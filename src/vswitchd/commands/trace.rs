//! `ofproto/trace`: what a bridge would do with a packet, and why.

use super::packets;
use crate::switch::{Switch, port_names};
use crate::unixctl::{Commands, Outcome};
use backer::Backer;
use flow::compose::{Payload, compose};
use flow::{CtMeta, Flow, Metadata, OdpPort};
use xlate::{BridgeId, TraceRequest};

/// Bytes of payload of a generated packet, and at most.
const L7: (usize, usize) = (64, 64_000);

pub(super) fn add(commands: &mut Commands<Switch>) {
    let usage = "{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]";
    commands.add("ofproto/trace", usage, 1..=usize::MAX, |s, args| {
        trace(s, args)
    });
}

/// What the arguments say.
#[derive(Default)]
struct Wanted<'a> {
    generate: bool,
    l7: Option<Vec<u8>>,
    l7_len: Option<usize>,
    names: bool,
    ct_states: Vec<u8>,
    words: Vec<&'a str>,
}

fn wanted<'a>(args: &[&'a str]) -> Result<Wanted<'a>, String> {
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

fn trace(s: &Switch, args: &[&str]) -> Outcome {
    let mut w = wanted(args)?;
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
        [flow] => datapath_form(only(s), flow)?,
        [first, flow] => two_words(s, first, flow)?,
        _ => return Err("Syntax error".to_owned()),
    };
    if w.generate {
        let payload = match (&w.l7, w.l7_len) {
            (Some(bytes), _) => Payload::Bytes(bytes),
            (None, len) => Payload::Counting(len.unwrap_or(L7.0)),
        };
        packet = Some(compose(&flow, payload));
    }
    if let Some(bytes) = &packet {
        let from = flow;
        let ct = CtMeta::of_flow(&from);
        flow::extract(bytes, &Metadata::of_flow(&from, ct.as_ref()), &mut flow);
        (flow.regs, flow.metadata) = (from.regs, from.metadata);
    }
    let traced = xlate::trace(
        &backer.snapshot(),
        &TraceRequest {
            bridge,
            flow: &flow,
            packet: packet.as_deref(),
            actions: None,
            ct_states: &w.ct_states,
            names: w.names,
            now: s.clock().now(),
        },
    );
    Ok(traced.text)
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
    if let Some(backer) = s.backers().get(type_name) {
        return datapath_form(Some(backer), text);
    }
    if packets::datapath_flow(text, &flow::dpkey::NoOdpNames).is_ok() {
        return Err("Cannot find the datapath".to_owned());
    }
    let backer = s
        .backer_of(first)
        .ok_or_else(|| format!("{first}: unknown bridge"))?;
    let ports = port_names(backer, first)?;
    let names = openflow::Names {
        ports: Some(&ports),
        tables: None,
    };
    let parsed = flow::text::ExactFlow::parse(text, &names, None);
    let flow = parsed
        .map_err(|e| format!("Bad openflow flow syntax: {e}"))?
        .flow;
    let bridge = backer.bridge(first).map_err(|e| e.to_string())?;
    Ok((backer, bridge.id, flow))
}

/// A flow as the datapath has it: its port says which bridge.
fn datapath_form<'s>(
    backer: Option<&'s Backer>,
    text: &str,
) -> Result<(&'s Backer, BridgeId, Flow), String> {
    let names = backer.map(Backer::port_names).unwrap_or_default();
    let parsed = packets::datapath_flow(text, &names);
    let mut flow = parsed.map_err(|e| format!("{e} (or the bridge name was omitted)"))?;
    let backer = backer.ok_or("Cannot find the datapath")?;
    let snapshot = backer.snapshot();
    let odp = OdpPort(flow.in_port.get());
    let (bridge, ofp) = snapshot
        .by_odp
        .get(&odp)
        .copied()
        .ok_or_else(|| format!("no OpenFlow port for datapath port {odp}"))?;
    flow.in_port.set(u32::from(ofp.0));
    Ok((backer, bridge, flow))
}
