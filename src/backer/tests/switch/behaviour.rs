//! What the switch promises whoever uses it, on the real datapath: order, exact counters, limits, floods,
//! timeouts, moves.

use crate::rig::{Rig, eth, udp};
use backer::{Backer, Options};
use base::rng::Rng;
use flow::Match;
use odp::DropReason;
use openflow::{FlowModCommand, FlowStatsRequest};
use std::collections::BTreeMap;
use udpif::{DelReason, Threading};

/// A UDP packet with a sequence number in its payload.
fn numbered(flow: u8, seq: u32) -> Vec<u8> {
    let mut p = udp(1, 2, flow);
    p[50..54].copy_from_slice(&seq.to_be_bytes());
    p
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[50], packet[51], packet[52], packet[53]])
}

/// Packets of each rule of a bridge, by priority.
fn rule_packets(rig: &Rig, bridge: &str) -> BTreeMap<i32, u64> {
    let of = rig.backer.ofproto(bridge).expect("a bridge");
    let mut of = base::sync::lock(&of);
    let mut walk = of
        .walk(&FlowStatsRequest {
            aggregate: false,
            match_: Match::catchall(),
            cookie: 0,
            cookie_mask: 0,
            out_port: flow::OfPort::NONE,
            out_group: openflow::flow_mod::ANY_GROUP,
            table_id: openflow::flow_mod::ALL_TABLES,
        })
        .expect("all tables");
    let mut rules = Vec::new();
    while of.step(&mut walk, 1_000, &mut rules) {}
    let counts = rules.iter().map(|r| (r.priority(), r.counts().packets));
    counts.collect()
}

#[test]
fn a_thousand_packets_of_one_new_flow_are_one_translation() {
    let mut rig = Rig::new(10);
    rig.bridge("br0", "p", 2, "dummy-pmd");
    rig.add_flow("br0", "priority=7,in_port=1,actions=2");
    for seq in 0..1_000 {
        rig.receive("p1", &numbered(1, seq));
        rig.dp.step();
    }
    assert!(rig.took().is_empty(), "all wait for their flow");
    rig.settle();
    let order: Vec<u32> = rig.took().iter().map(|(_, p)| number(p)).collect();
    assert!(order.is_sorted() && order[0] == 0);
    let counters = rig.backer.udpif().counters();
    assert_eq!(
        (counters.upcalls.get(), counters.translations.get()),
        (1, 1)
    );
    // What could not be parked was dropped, and said so.
    let total = rig.dp.ledger_total();
    assert_eq!(
        total.drops.keys().copied().collect::<Vec<_>>(),
        [DropReason::ParkFull]
    );
    assert_eq!(order.len() as u64 + total.dropped(), 1_000);
    assert!(order.len() >= 256);
    rig.round();
    assert_eq!(rule_packets(&rig, "br0")[&7], order.len() as u64);
    rig.assert_ledger_closed();
}

#[test]
fn flows_keep_their_order_while_they_begin() {
    for seed in 0..20 {
        let mut rig = Rig::new(seed);
        let mut rng = Rng::new(seed);
        rig.bridge("br0", "p", 2, "dummy-pmd");
        // Half of the flows share a megaflow, the others have one each.
        rig.add_flow("br0", "priority=5,udp,tp_dst=0/0xfff8,actions=2");
        rig.add_flow("br0", "priority=1,actions=2");
        let mut given = 0;
        for seq in 0..2_000 {
            rig.receive("p1", &numbered(rng.below(16) as u8, seq));
            given += 1;
            match rng.below(20) {
                0 => drop(rig.backer.udpif().run_handlers_once()),
                1 => rig.settle(),
                2 => rig.backer.udpif().run_revalidator_once(),
                3 => rig.backer.udpif().purge(),
                _ => drop(rig.dp.step()),
            }
            if seq % 64 == 0 {
                rig.settle();
                rig.clock.advance(1);
            }
        }
        rig.settle();
        let mut last = BTreeMap::new();
        let out = rig.took();
        for (_, p) in &out {
            let seen: Option<u32> = last.insert(p[37], number(p));
            assert!(
                seen.is_none_or(|s| s < number(p)),
                "flow {} of {seed}",
                p[37]
            );
        }
        assert_eq!(out.len(), given);
        rig.assert_ledger_closed();
    }
}

#[test]
fn counters_are_what_came_whatever_happens_to_flows() {
    let mut happened = [0; 4];
    for seed in 0..10 {
        let mut rig = Rig::new(seed);
        let mut rng = Rng::new(seed);
        rig.bridge("br0", "p", 3, "dummy-pmd");
        for r in 1..=6 {
            rig.add_flow("br0", &format!("priority={r},udp,tp_dst={r},actions=2"));
        }
        let mut came = BTreeMap::from([(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)]);
        for _ in 0..3_000 {
            let r = 1 + rng.below(6) as i32;
            rig.receive("p1", &udp(rng.below(50) as u8, 2, r as u8));
            *came.get_mut(&r).expect("a rule") += 1;
            disturb_flows(&mut rig, &mut rng, r);
            if rng.chance(600_000) {
                rig.settle();
            } else {
                rig.dp.step();
            }
        }
        rig.settle();
        rig.round();
        rig.round();
        assert_eq!(rig.dp.ledger_total().dropped(), 0);
        assert_eq!(rule_packets(&rig, "br0"), came, "seed {seed}");
        rig.assert_ledger_closed();
        let c = rig.backer.udpif().counters();
        assert_eq!(c.illegal_transition.get(), 0);
        let reasons = [DelReason::Purge, DelReason::Idle, DelReason::Flush];
        for (sum, reason) in happened.iter_mut().zip(reasons) {
            *sum += c.deleted.get(reason);
        }
        happened[3] += c.modified.get();
    }
    assert!(happened.iter().all(|&n| n > 0), "{happened:?}");
}

/// Whatever makes flows come and go without a rule's going.
fn disturb_flows(rig: &mut Rig, rng: &mut Rng, rule: i32) {
    let udpif = rig.backer.udpif();
    match rng.below(400) {
        0 => udpif.purge(),
        1 => udpif.flush().expect("a datapath"),
        2 => {
            udpif.set_flow_limit([20, 1_000][rng.below(2) as usize]);
        }
        3..8 => udpif.run_revalidator_once(),
        8 | 9 => {
            rig.settle(); // nothing waits for longer than it may
            rig.clock.advance(10_500);
            rig.round();
        }
        10 => {
            let to = 2 + rng.below(2);
            let text = format!("udp,tp_dst={rule},actions={to}");
            rig.flow("br0", FlowModCommand::Modify, &text);
        }
        11 => drop(udpif.set_megaflows(rng.chance(500_000))),
        _ => {}
    }
}

#[test]
fn over_the_flow_limit_packets_still_pass() {
    let mut rig = Rig::new(11);
    rig.bridge("br0", "p", 2, "dummy");
    rig.add_flow("br0", "priority=3,udp,tp_dst=255,actions=drop");
    rig.add_flow("br0", "priority=2,actions=2");
    rig.backer.udpif().set_megaflows(false);
    rig.backer.udpif().set_flow_limit(10);
    for i in 0..50 {
        assert_eq!(rig.send("p1", &udp(1, 2, i)), ["p2"]);
    }
    let udpif = rig.backer.udpif();
    assert_eq!((udpif.n_ukeys(), rig.dp.ledger_total().dropped()), (10, 0));
    assert_eq!(udpif.counters().upcall_flow_limit_hit.get(), 40);
    for i in 0..50 {
        assert_eq!(rig.send("p1", &udp(1, 2, i)), ["p2"]);
    }
    rig.round();
    assert_eq!(rule_packets(&rig, "br0")[&2], 100);
    rig.assert_ledger_closed();
}

#[test]
fn a_flood_of_misses_does_not_stop_an_established_flow() {
    let mut rig = Rig::new(12);
    rig.bridge("br0", "p", 3, "dummy-pmd");
    rig.add_flow("br0", "priority=5,in_port=2,actions=3");
    rig.add_flow("br0", "priority=4,in_port=1,actions=drop");
    rig.backer.udpif().set_megaflows(false);
    rig.send("p2", &numbered(1, 0));
    let mut sent = 1;
    for flood in 0..20_000_u32 {
        let mut p = udp(1, 2, 3);
        p[28..30].copy_from_slice(&flood.to_be_bytes()[2..]);
        rig.receive("p1", &p);
        if flood % 10 == 0 {
            rig.receive("p2", &numbered(1, sent));
            sent += 1;
            rig.dp.step(); // no handler runs: the queue of upcalls is full
            rig.dp.step();
        }
    }
    let out = rig.took();
    assert_eq!(
        out.len() as u32 + 1,
        sent,
        "not one packet waits or is lost"
    );
    assert!(out.iter().map(|(_, p)| number(p)).is_sorted());
    let ledger = rig.dp.ledger();
    assert_eq!(ledger[&rig.odp("p2")].dropped(), 0);
    assert!(
        ledger[&rig.odp("p1")]
            .drops
            .contains_key(&DropReason::UpcallQueueFull)
    );
    // A new flow on a third port gets its turn.
    rig.receive("p3", &udp(3, 4, 5));
    rig.settle();
    assert_eq!(rig.dp.ledger()[&rig.odp("p3")].parked, 0);
    rig.assert_ledger_closed();
}

#[test]
fn megaflows_can_be_switched_off_and_on() {
    let mut rig = Rig::new(13);
    rig.bridge("br0", "p", 2, "dummy");
    rig.add_flow("br0", "priority=2,actions=2");
    let all = |rig: &mut Rig| {
        for i in 0..30 {
            assert_eq!(rig.send("p1", &udp(1, 2, i)), ["p2"]);
        }
        rig.backer.udpif().n_ukeys()
    };
    assert_eq!(all(&mut rig), 1);
    assert_eq!(
        rig.backer.udpif().set_megaflows(false),
        "megaflows disabled"
    );
    assert_eq!(all(&mut rig), 30);
    assert_eq!(rig.backer.udpif().set_megaflows(true), "megaflows enabled");
    assert_eq!(all(&mut rig), 1);
    rig.round();
    assert_eq!(rule_packets(&rig, "br0")[&2], 90);
}

#[test]
fn hosts_that_move_are_followed() {
    let mut rig = Rig::new(14);
    rig.bridge("br0", "p", 3, "dummy-pmd");
    rig.add_flow("br0", "actions=NORMAL");
    rig.send("p1", &eth(1, 9));
    rig.send("p3", &eth(3, 1));
    for (from, to) in [("p2", "p2"), ("p1", "p1"), ("p2", "p2")] {
        rig.send(from, &eth(1, 3));
        rig.round(); // a known flow teaches when it is counted
        assert_eq!(rig.send("p3", &eth(3, 1)), [to]);
    }
    let shown = rig.backer.fdb_stats("br0").expect("a bridge");
    let moved = shown
        .lines()
        .find(|l| l.contains("port moved"))
        .expect("a line");
    assert!(moved.ends_with(": 3"), "{shown}");
    rig.assert_ledger_closed();
}

#[test]
fn rules_time_out_idle_and_hard() {
    let mut rig = Rig::new(15);
    rig.bridge("br0", "p", 2, "dummy");
    rig.add_flow("br0", "priority=9,udp,tp_dst=1,idle_timeout=10,actions=2");
    rig.add_flow("br0", "priority=8,udp,tp_dst=2,hard_timeout=30,actions=2");
    let mut after = Vec::new();
    for second in 0..60 {
        // The first rule's packets stop after 20 seconds, the second's never.
        if second < 20 {
            rig.receive("p1", &udp(1, 2, 1));
        }
        rig.receive("p1", &udp(1, 2, 2));
        rig.settle();
        rig.clock.advance(1_000);
        rig.round();
        rig.round();
        let there: Vec<i32> = rule_packets(&rig, "br0").into_keys().collect();
        if after.last() != Some(&(second, there.clone())) {
            after.push((second, there));
        }
    }
    let gone = |r: i32| {
        after
            .iter()
            .find(|(_, rules)| !rules.contains(&r))
            .map(|a| a.0)
    };
    assert!(matches!(gone(9), Some(28..=31)), "idle: {:?}", gone(9));
    assert!(matches!(gone(8), Some(28..=31)), "hard: {:?}", gone(8));
    rig.took();
    assert!(rig.send("p1", &udp(1, 2, 2)).is_empty());
    rig.assert_ledger_closed();
}

#[test]
fn what_an_earlier_run_left_is_removed() {
    let mut rig = Rig::new(16);
    rig.bridge("br0", "p", 3, "dummy");
    rig.add_flow("br0", "actions=2");
    rig.send("p1", &eth(1, 2));
    assert_eq!(
        (rig.dp_ports().len(), rig.backer.dpif().stats().n_flows),
        (5, 1)
    );
    // The old run is dead, and nobody tidied up.
    let options = Options {
        threading: Threading::Manual,
        ..Options::new("dummy")
    };
    let again = Backer::open(&rig.dpifs, &rig.netdevs, &rig.clock, options).expect("opens");
    assert_eq!(rig.dp_ports(), ["ovs-dummy"]);
    assert_eq!(again.dpif().stats().n_flows, 0);
    rig.assert_ledger_closed();
}
