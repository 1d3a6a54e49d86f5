//! The oracle of design section 7: a packet that the wildcards of a translation match gets the same actions
//! when it is translated itself.
//!
//! For every random packet, neighbours are made that agree with it in the bits that its translation marked
//! and differ elsewhere. Each place that marks ([`Site`]) can be muted; the oracle must then find a packet
//! that proves it wrong. Places for which none can exist are listed with the reason.

use super::Rig;
use super::{dice, vary};
use crate::*;
use base::rng::Rng;
use flow::{Flow, Mask};
use wire::U32;

/// A packet and a neighbour that its datapath flow would mistreat.
#[derive(Debug)]
struct Violation {
    packet: Flow,
    neighbour: Flow,
    was: Output,
    should: Output,
}

/// `b` with the bits of `mask` from `a`, made a possible packet. `None` when that changes marked bits.
fn neighbour(a: &Flow, b: &Flow, mask: &Mask) -> Option<Flow> {
    let mut n = *b;
    let (al, ml) = (a.lines(), mask.lines());
    for (l, line) in n.lines_mut().iter_mut().enumerate() {
        for (w, word) in line.iter_mut().enumerate() {
            *word = al[l][w] & ml[l][w] | *word & !ml[l][w];
        }
    }
    // The ingress port and what translation itself fills in are not a packet's to choose.
    n.actset_output = a.actset_output;
    dice::canonical(&mut n);
    // Protocol 0 is treated apart by those alone who know that they have it: see `commit`.
    if n.nw_proto == 0 && a.nw_proto != 0 {
        return None;
    }
    n.equals_under(a, mask).then_some(n)
}

/// What an effect does, without what may differ between packets of one datapath flow.
fn essence(e: &Effect) -> String {
    match e {
        Effect::Rule(rule) | Effect::FinTimeout { rule, .. } => format!("rule {:?}", rule.id),
        Effect::Group { group, bucket } => format!("group {} {bucket:?}", group.id),
        Effect::NetFlow {
            bridge,
            flow,
            output,
        } => format!(
            "netflow {bridge:?} {output} {} {} {} {} {} {}",
            flow.nw_src,
            flow.nw_dst,
            flow.nw_proto,
            flow.tp_src,
            flow.tp_dst,
            flow.nw_tos & 0xfc
        ),
        // Which member it was is seen in the actions.
        Effect::Bond { bridge, bundle, .. } => format!("bond {bridge:?} {bundle:?}"),
        other => format!("{other:?}"),
    }
}

fn same(a: &Output, b: &Output) -> bool {
    a.actions == b.actions
        && a.slow == b.slow
        && a.error == b.error
        && a.effects.len() == b.effects.len()
        && a.effects
            .iter()
            .zip(&b.effects)
            .all(|(a, b)| essence(a) == essence(b))
}

/// Translates a packet as it comes from the datapath: `in_port` is a datapath port.
fn translate_muted(rig: &Rig, flow: &Flow, mute: Option<Site>) -> Output {
    let Ok((bridge, port)) = rig.snap.receive(flow) else {
        return Output::default();
    };
    let mut flow = *flow;
    flow.in_port = U32::new(port.0.into());
    let mut input = Input::new(bridge, &flow, rig.now);
    input.mute = mute;
    translate(&rig.snap, input)
}

/// Neighbours tried for each packet.
const NEIGHBOURS: u32 = 4;

/// Tries one packet against its neighbours; how many there were.
fn probe(
    rig: &Rig,
    r: &mut Rng,
    packet: &Flow,
    mute: Option<Site>,
) -> Result<(u32, Output), Box<Violation>> {
    if rig.snap.receive(packet).is_err() {
        return Ok((0, Output::default()));
    }
    let out = translate_muted(rig, packet, mute);
    let mut tried = 0;
    for k in 0..NEIGHBOURS {
        // Half of the neighbours differ in little.
        let mut other = match packet.recirc_id.get() {
            _ if k % 2 == 1 => dice::touch(r, packet),
            0 => dice::packet(r),
            id => dice::returning(r, id, packet.dp_hash.get() != 0),
        };
        if packet.recirc_id != U32::ZERO {
            // It is the same packet's second pass: the outer headers are known.
            other.tunnel = packet.tunnel;
        }
        let Some(n) = neighbour(packet, &other, &out.wildcards) else {
            continue;
        };
        tried += 1;
        let fresh = translate_muted(rig, &n, None);
        if !same(&out, &fresh) {
            return Err(Box::new(Violation {
                packet: *packet,
                neighbour: n,
                was: out,
                should: fresh,
            }));
        }
    }
    Ok((tried, out))
}

/// A random packet, and packets that come back after it.
fn packets(rig: &Rig, r: &mut Rng) -> Vec<(Flow, Output)> {
    let packet = dice::packet(r);
    let out = translate_muted(rig, &packet, None);
    let mut all = Vec::new();
    for id in out.recircs.iter().map(RecircRef::id).take(2) {
        let hash = out
            .actions
            .iter()
            .any(|a| matches!(a, odp::Action::Hash { .. }));
        let mut back = dice::returning(r, id, hash);
        back.in_port = packet.in_port;
        back.tunnel = packet.tunnel;
        let again = translate_muted(rig, &back, None);
        all.push((back, again));
    }
    all.push((packet, out));
    all
}

fn budget(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

fn explain(rig: &Rig, v: &Violation, seed: u64) -> String {
    let show = |f: &Flow| {
        let Ok((bridge, port)) = rig.snap.receive(f) else {
            return "not received".to_owned();
        };
        let mut f = *f;
        f.in_port = U32::new(port.0.into());
        let req = TraceRequest {
            bridge,
            flow: &f,
            packet: None,
            actions: None,
            ct_states: &[],
            names: false,
            now: rig.now,
        };
        trace(&rig.snap, &req, &mut |_, _| ())
    };
    format!(
        "seed {seed}\n--- installed for\n{}\n{:?}\n--- but\n{}\n{:?}\n{}",
        show(&v.packet),
        v.was.actions,
        show(&v.neighbour),
        v.should.actions,
        v.was
            .effects
            .iter()
            .map(essence)
            .zip(v.should.effects.iter().map(essence))
            .filter(|(a, b)| a != b)
            .map(|(a, b)| format!("{a} <> {b}\n"))
            .collect::<String>()
    )
}

#[test]
fn neighbours_get_the_same_actions() {
    let n_packets = budget("RINGWAY_ORACLE_PACKETS", 100_000);
    let tables = budget("RINGWAY_ORACLE_TABLES", 1_000).min(n_packets);
    let first = budget("RINGWAY_ORACLE_SEED", 1);
    let mut neighbours = 0;
    for seed in first..first + tables {
        let mut r = Rng::new(seed);
        let rig = vary::rig(&mut r);
        for _ in 0..n_packets / tables {
            for (packet, _) in packets(&rig, &mut r) {
                match probe(&rig, &mut r, &packet, None) {
                    Ok((n, _)) => neighbours += u64::from(n),
                    Err(v) => panic!("{}", explain(&rig, &v, seed)),
                }
            }
        }
    }
    println!("{n_packets} packets, {tables} tables, {neighbours} neighbours, no violation");
    assert!(neighbours > n_packets);
}

/// Places that cannot be proven wrong by a packet, and why.
const EQUIVALENT: &[(Site, &str)] = &[
    (Site::Encap, "the packet type is always marked"),
    (Site::CommitPacketType, "the packet type is always marked"),
    (Site::CommitVlan, "shown only: CommitTags marks the same"),
    (
        Site::CommitTags,
        "PopVlan, MovedTags and CommitVlan have marked the tags by then; kept for tags that come otherwise",
    ),
    (
        Site::CustomerVlan,
        "shown only: CommitTags marks the same, as its output pops a tag",
    ),
    (
        Site::IpProto,
        "shown only: CommitProto marks it where it matters",
    ),
    (
        Site::FinTimeout,
        "only TCP flows report the flags it acts on",
    ),
];

#[test]
fn every_mark_is_needed() {
    let rounds = budget("RINGWAY_MUTATION_TABLES", 20_000);
    let mut alive: Vec<Site> = Site::ALL
        .iter()
        .copied()
        .filter(|s| !EQUIVALENT.iter().any(|(e, _)| e == s))
        .collect();
    let all = alive.len();
    let mut tried = 0u64;
    for seed in 1..=rounds {
        let mut r = Rng::new(seed.wrapping_mul(0x9e37_79b9));
        let rig = vary::rig(&mut r);
        for _ in 0..40 {
            for (packet, out) in packets(&rig, &mut r) {
                tried += 1;
                alive.retain(|&site| {
                    let found =
                        out.sites.has(site) && probe(&rig, &mut r, &packet, Some(site)).is_err();
                    if found {
                        println!("{site:?}: proven needed by packet {tried}");
                    }
                    !found
                });
            }
        }
        if alive.is_empty() {
            break;
        }
    }
    println!(
        "mutation score: {} of {all} marks proven needed after {tried} packets; {} more are \
         equivalent to others",
        all - alive.len(),
        EQUIVALENT.len()
    );
    assert!(alive.is_empty(), "not proven needed: {alive:?}");
}
