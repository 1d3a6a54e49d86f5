//! The oracle of design section 7 over the whole switch: whatever rules come and go in whatever order, each
//! installed flow does what a fresh translation of any packet it matches says; packets leave where a switch
//! without flows would send them; every packet is counted once.

use crate::rig::{Rig, eth, tagged, udp};
use crate::traffic::Traffic;
use base::rng::Rng;
use base::sync::Arc;
use flow::compose::{Payload, compose};
use flow::{Flow, Mask, Metadata};
use openflow::FlowModCommand;
use packet::HeapPool;
use proptest::prelude::*;
use udpif::world::World;
use udpif::{Ask, Settings, Translator};

const PORTS: [&str; 4] = ["p1", "p2", "p3", "br0"];

#[derive(Debug, Clone)]
enum Step {
    Packet(usize, Packet),
    Rule(bool, String, String),
    Round,
    Quick,
    Advance(u64),
    Purge,
    Fdb,
}

#[derive(Debug, Clone)]
enum Packet {
    Eth(u8, u8),
    Tagged(u8, u8, u16),
    Udp(u8, u8, u8),
}

impl Packet {
    fn bytes(&self) -> Vec<u8> {
        match *self {
            Self::Eth(s, d) => eth(s, d),
            Self::Tagged(s, d, v) => tagged(s, d, v),
            Self::Udp(s, d, p) => udp(s, d, p),
        }
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let host = || 1u8..5;
    prop_oneof![
        1 => (host(), host()).prop_map(|(s, d)| Packet::Eth(s, d)),
        1 => (host(), host(), 0u16..3).prop_map(|(s, d, v)| Packet::Tagged(s, d, v)),
        3 => (host(), host(), 0u8..6).prop_map(|(s, d, p)| Packet::Udp(s, d, p)),
    ]
}

fn matching() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        (1u8..4).prop_map(|p| format!("in_port={p},")),
        Just("in_port=LOCAL,".to_owned()),
        (1u8..5).prop_map(|d| format!("dl_dst=02:00:00:00:00:{d:02x},")),
        (1u8..5).prop_map(|d| format!("dl_src=02:00:00:00:00:{d:02x},")),
        (0u8..4).prop_map(|v| format!("dl_vlan={v},")),
        (29u8..33, 1u8..5).prop_map(|(n, d)| format!("ip,nw_dst=10.0.0.{d}/{n},")),
        (0u8..6).prop_map(|p| format!("udp,tp_dst={p},")),
        (0u8..6, 1u8..5).prop_map(|(p, s)| format!("udp,nw_src=10.0.0.{s},tp_dst={p}/0xfffe,")),
        (0u8..3).prop_map(|r| format!("reg0={r},")),
    ]
}

fn actions() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("drop".to_owned()),
        Just("NORMAL".to_owned()),
        Just("flood".to_owned()),
        Just("in_port".to_owned()),
        (1u8..4).prop_map(|p| format!("output:{p}")),
        Just("resubmit(,1)".to_owned()),
        (0u8..3).prop_map(|r| format!("load:{r}->NXM_NX_REG0[],resubmit(,1),output:1")),
        Just("move:NXM_OF_ETH_SRC[0..7]->NXM_NX_REG0[0..7],resubmit(,1)".to_owned()),
        (1u8..5).prop_map(|d| format!("mod_dl_dst:02:00:00:00:00:{d:02x},resubmit(,1)")),
        Just("strip_vlan,output:2".to_owned()),
        (1u16..3).prop_map(|v| format!("mod_vlan_vid:{v},NORMAL")),
        Just("dec_ttl,output:3".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0usize..4, packet()).prop_map(|(p, k)| Step::Packet(p, k)),
        4 => (prop::bool::weighted(0.7), matching(), actions())
            .prop_map(|(add, m, a)| Step::Rule(add, m, a)),
        1 => Just(Step::Round),
        3 => Just(Step::Quick),
        1 => prop_oneof![Just(400u64), Just(11_000), Just(400_000)].prop_map(Step::Advance),
        1 => Just(Step::Purge),
        1 => Just(Step::Fdb),
    ]
}

/// The key of a packet from a datapath port.
fn key_of(odp: u32, bytes: &[u8]) -> Flow {
    let frame = HeapPool::global().copy_from(bytes);
    let mut key = Flow::zero();
    let meta = Metadata {
        in_port: odp,
        ..Metadata::of_frame(&frame)
    };
    flow::extract(bytes, &meta, &mut key);
    key
}

/// A packet that a flow matches, if one can be made: random in every bit that the flow ignores, from the small
/// numbers that the rules use or from all; as it is when it is on the wire.
fn drawn(flow: &Flow, mask: &Mask, traffic: &mut Traffic, rng: &mut Rng) -> Option<Flow> {
    let mut key = key_of(flow.in_port.get(), &traffic.next());
    let hosts = |rng: &mut Rng| 1 + rng.below(4) as u8;
    key.dl_src.0 = [2, 0, 0, 0, 0, hosts(rng)];
    key.dl_dst.0 = [2, 0, 0, 0, 0, hosts(rng)];
    (key.nw_src.0[3], key.nw_dst.0[3]) = (hosts(rng), hosts(rng));
    key.tp_dst.set(rng.below(6) as u16);
    let wild = rng.chance(300_000);
    let words = key.lines_mut().as_flattened_mut().iter_mut();
    let theirs = flow.lines().as_flattened().iter();
    for ((word, have), seen) in words.zip(theirs).zip(mask.lines().as_flattened()) {
        if wild && *word != 0 && rng.chance(200_000) {
            *word ^= rng.next_u64() & rng.next_u64() & rng.next_u64();
        }
        *word = have & seen | *word & !seen;
    }
    let payload = Payload::Counting(rng.below(20) as usize);
    let key = key_of(flow.in_port.get(), &compose(&key, payload));
    key.equals_under(flow, mask).then_some(key)
}

/// Draws of one flow.
const DRAWS: usize = 8;

/// Every installed flow does what a fresh translation says of any packet it matches: of those that came, and of
/// packets drawn at random. How many were drawn.
fn check_flows(rig: &Rig, world: &World, seen: &[(usize, Packet)], rng: &mut Rng) -> u64 {
    let mut traffic = Traffic::new(rng.next_u64());
    let mut n_drawn = 0;
    let dump = rig.backer.dpif().flow_dump(dpif::FlowSelect::default());
    let mut cursor = dump.thread();
    let (mut flows, mut more) = (Vec::new(), true);
    while more {
        more = cursor.next(&mut flows, 64);
        for f in &flows {
            let came = seen
                .iter()
                .map(|(port, packet)| key_of(rig.odp(PORTS[*port]).0, &packet.bytes()))
                .filter(|key| key.equals_under(&f.key, &f.mask));
            let mut keys: Vec<Flow> = came.collect();
            let draws = (0..DRAWS).filter_map(|_| drawn(&f.key, &f.mask, &mut traffic, rng));
            let before = keys.len();
            keys.extend(draws);
            n_drawn += (keys.len() - before) as u64;
            for key in keys {
                let fresh = world.translate(&Ask {
                    key: &key,
                    frame: None,
                    from: None,
                    live: false,
                    now: rig.clock.now(),
                });
                let fresh = fresh.expect("translates");
                assert_eq!(*fresh.install, *f.actions, "{key:?}: {f:?}");
            }
        }
    }
    n_drawn
}

/// Where a switch that translated every packet would send this one.
fn expected_ports(rig: &Rig, world: &World, port: usize, packet: &Packet) -> usize {
    let key = key_of(rig.odp(PORTS[port]).0, &packet.bytes());
    let fresh = world.translate(&Ask {
        key: &key,
        frame: None,
        from: None,
        live: false,
        now: rig.clock.now(),
    });
    let fresh = fresh.expect("translates");
    fresh
        .actions
        .iter()
        .filter(|a| matches!(a, odp::Action::Output(_)))
        .count()
}

/// A priority that no other match has: which of two equal ones wins is nobody's promise.
fn priority_of(matching: &str) -> u32 {
    let fold = |h: u32, b: u8| (h ^ u32::from(b)).wrapping_mul(0x0100_0193);
    1 + matching.bytes().fold(0x811c_9dc5, fold) % 65_000
}

/// What a run knows.
struct Run {
    rig: Rig,
    world: Arc<World>,
    rng: Rng,
    seen: Vec<(usize, Packet)>,
    sent: u64,
}

impl Run {
    fn check(&mut self) -> u64 {
        check_flows(&self.rig, &self.world, &self.seen, &mut self.rng)
    }
}

fn take(run: &mut Run, step: &Step) {
    let (rig, world) = (&mut run.rig, &run.world);
    match step {
        Step::Packet(port, packet) => {
            // Changes posted before are in force before the packet comes.
            rig.settle();
            let want = expected_ports(rig, world, *port, packet);
            let got = rig.send(PORTS[*port], &packet.bytes());
            assert_eq!(got.len(), want, "{packet:?} on {}", PORTS[*port]);
            run.seen.push((*port, packet.clone()));
            run.sent += 1;
        }
        Step::Rule(add, matching, actions) => {
            let priority = priority_of(matching);
            for table in 0..2 {
                if *add && (table == 0 || !actions.contains("resubmit")) {
                    let text =
                        format!("table={table},priority={priority},{matching}actions={actions}");
                    rig.flow("br0", FlowModCommand::Add, &text);
                }
            }
            if !*add {
                let text = matching.trim_end_matches(',');
                rig.flow("br0", FlowModCommand::Delete, text);
            }
        }
        Step::Round => rig.round(),
        Step::Quick => {
            rig.settle();
            run.check();
        }
        Step::Advance(ms) => {
            rig.clock.advance(*ms);
            rig.round();
        }
        Step::Purge => rig.backer.udpif().purge(),
        Step::Fdb => {
            rig.backer.fdb_flush(None).expect("bridges");
        }
    }
}

proptest! {
    // PROPTEST_CASES says how many, 256 by default.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flows_say_what_rules_say(steps in prop::collection::vec(step(), 1..60), verify in any::<bool>(),
                                megaflows in prop::bool::weighted(0.8)) {
        let mut rig = Rig::new(steps.len() as u64);
        rig.bridge("br0", "p", 3, "dummy-pmd");
        rig.add_flow("br0", "priority=0,actions=NORMAL");
        rig.add_flow("br0", "table=1,priority=0,actions=flood");
        let udpif = rig.backer.udpif();
        udpif.set_settings(Settings { verify, ..udpif.settings() });
        if !megaflows {
            udpif.set_megaflows(false);
        }
        let world = udpif.translator().clone();
        let rng = Rng::new(steps.len() as u64);
        let mut run = Run { rig, world, rng, seen: Vec::new(), sent: 0 };
        for s in &steps {
            take(&mut run, s);
        }
        run.rig.round();
        let flows = run.rig.backer.dpif().stats().n_flows;
        let n_drawn = run.check();
        prop_assert!(n_drawn >= flows, "{n_drawn} packets drawn for {flows} flows");
        let (rig, sent) = (&run.rig, run.sent);
        let (matched, missed) = rig.table_counts("br0", 0);
        prop_assert_eq!(matched + missed, sent);
        rig.assert_ledger_closed();
        let c = rig.backer.udpif().counters();
        prop_assert_eq!(c.illegal_transition.get(), 0);
        prop_assert_eq!((c.verify_disagreed.get(), c.verify_too_wide.get()), (0, 0));
    }
}
