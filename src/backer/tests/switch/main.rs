//! Whole-switch tests: the real datapath, udpif, translation and bridges in one process, on dummy ports, at
//! simulated time, repeatable from a seed.

mod behaviour;
mod ledger;
mod oracle;
mod rig;
mod traffic;

use backer::{DumpOptions, IfaceConfig, PortConfig};
use odp::DropReason;
use rig::{Rig, eth, tagged, udp};

#[test]
fn a_learning_switch_with_wildcarded_flows() {
    for class in ["dummy", "dummy-pmd"] {
        let mut rig = Rig::new(1);
        rig.bridge("br0", "p", 3, class);
        rig.add_flow("br0", "actions=NORMAL");
        assert_eq!(rig.send("p1", &eth(1, 2)), ["br0", "p2", "p3"]);
        assert_eq!(rig.send("p2", &eth(2, 1)), ["p1"]);
        for i in 0..20 {
            assert_eq!(rig.send("p1", &udp(1, 2, i)), ["p2"]);
        }
        rig.round();
        let text = rig
            .backer
            .dump_flows("br0", DumpOptions::default())
            .expect("a bridge");
        let ip: Vec<_> = text.lines().filter(|l| l.contains("0x0800")).collect();
        assert_eq!(ip.len(), 1, "{text}");
        assert!(
            !ip[0].contains("udp(") && ip[0].contains("packets:19,"),
            "{text}"
        );
        assert_eq!(rig.table_counts("br0", 0), (22, 0));
        rig.assert_ledger_closed();
        let c = rig.backer.udpif().counters();
        assert_eq!((c.illegal_transition.get(), c.install_failed.get()), (0, 0));
    }
}

#[test]
fn a_burst_is_one_translation_and_stays_in_order() {
    let mut rig = Rig::new(2);
    rig.bridge("br0", "p", 2, "dummy-pmd");
    rig.add_flow("br0", "in_port=1,actions=2");
    for i in 0..100 {
        let mut p = eth(1, 2);
        p[30] = i;
        rig.receive("p1", &p);
    }
    rig.settle();
    let order: Vec<u8> = rig.took().iter().map(|(_, p)| p[30]).collect();
    assert!(order.is_sorted());
    let dropped: u64 = rig.dp.drops().iter().map(|(_, _, n)| n).sum();
    assert_eq!(order.len() as u64 + dropped, 100);
    assert_eq!(rig.backer.udpif().counters().translations.get(), 1);
    rig.round();
    assert_eq!(rig.table_counts("br0", 0).0, order.len() as u64);
    rig.assert_ledger_closed();
}

#[test]
fn two_bridges_a_patch_and_vlans() {
    let mut rig = Rig::new(3);
    rig.bridge("br0", "p", 2, "dummy");
    rig.bridge("br1", "q", 1, "dummy");
    rig.patch(("br0", "to1"), ("br1", "to0"));
    let access = IfaceConfig::new("a7", "dummy").number(7);
    rig.port("br1", PortConfig::new(access).access(10));
    rig.add_flow("br0", "actions=NORMAL");
    rig.add_flow("br1", "actions=NORMAL");
    assert_eq!(
        rig.send("p1", &tagged(1, 2, 10)),
        ["a7", "br0", "br1", "p2", "q1"]
    );
    rig.receive("a7", &eth(2, 1));
    rig.settle();
    assert_eq!(rig.took(), [("p1".to_owned(), tagged(2, 1, 10))]);
    rig.receive("p1", &tagged(1, 2, 10));
    rig.settle();
    assert_eq!(rig.took(), [("a7".to_owned(), eth(1, 2))]);
    rig.round();
    rig.assert_ledger_closed();
    assert_eq!(rig.table_counts("br1", 0).0, 3);
}

#[test]
fn header_changes_and_drops() {
    let mut rig = Rig::new(4);
    rig.bridge("br0", "p", 2, "dummy");
    rig.add_flow(
        "br0",
        "priority=9,udp,tp_dst=7,actions=mod_dl_dst:02:00:00:00:00:99,mod_nw_tos:32,2,mod_tp_dst:9,1,in_port",
    );
    rig.add_flow("br0", "priority=1,actions=drop");
    rig.receive("p1", &udp(1, 2, 7));
    rig.settle();
    let out = rig.took();
    let ports: Vec<_> = out.iter().map(|(p, b)| (p.as_str(), b[37])).collect();
    assert_eq!(ports, [("p1", 9), ("p2", 7)]);
    assert!(out.iter().all(|(_, b)| b[5] == 0x99 && b[15] == 32));
    assert!(rig.send("p1", &udp(1, 2, 8)).is_empty());
    rig.assert_ledger_closed();
}

#[test]
fn ports_that_go_take_their_flows_with_them() {
    let mut rig = Rig::new(5);
    rig.bridge("br0", "p", 3, "dummy");
    rig.add_flow("br0", "actions=NORMAL");
    rig.send("p2", &eth(2, 1));
    assert_eq!(rig.send("p1", &eth(1, 2)), ["p2"]);
    rig.backer.port_del("br0", "p2").expect("a port");
    rig.settle();
    assert_eq!(rig.send("p1", &eth(1, 2)), ["br0", "p3"]);
    rig.assert_ledger_closed();
    rig.backer.bridge_del("br0").expect("a bridge");
    rig.settle();
    rig.round();
    assert_eq!(rig.backer.udpif().n_flows(), 0);
}

#[test]
fn idle_flows_go() {
    let mut rig = Rig::new(6);
    rig.bridge("br0", "p", 2, "dummy");
    rig.add_flow("br0", "actions=2");
    rig.send("p1", &eth(1, 2));
    rig.send("p1", &eth(1, 2));
    rig.clock.advance(10_500);
    rig.round();
    assert_eq!(rig.backer.udpif().n_flows(), 0);
    assert_eq!(rig.table_counts("br0", 0), (2, 0));
    assert_eq!(rig.odp("p1").0, 1);
}

#[test]
fn threads_lose_nothing_and_count_nothing_twice() {
    let mut rig = Rig::alive();
    let wait = std::time::Duration::from_secs(30);
    rig.bridge("br0", "p", 3, "dummy-pmd");
    rig.add_flow("br0", "priority=1,in_port=1,actions=2");
    rig.add_flow("br0", "priority=0,actions=NORMAL");
    for i in 0..400_u32 {
        for port in 0..20 {
            let n = u8::try_from(i % 7).expect("small");
            rig.receive("p1", &udp(n, port, port));
            rig.receive("p2", &eth(port, n));
        }
        let out = 2 + i % 2;
        rig.add_flow(
            "br0",
            &format!("priority=9,in_port=1,udp,tp_dst={},actions={out}", i % 20),
        );
        if i % 5 == 0 {
            assert!(rig.backer.dpif().quiesce(wait), "packets wait");
        }
        if i % 50 == 0 {
            rig.backer.udpif().purge();
        }
        if i % 100 == 0 {
            rig.backer
                .udpif()
                .set_threads(1 + i / 100, 1 + i / 200)
                .expect("threads");
        }
    }
    assert!(rig.backer.dpif().quiesce(wait), "packets wait");
    rig.backer.udpif().stop();
    rig.backer.udpif().purge();
    rig.assert_ledger_closed();
    let total = rig.dp.ledger_total();
    let came = total.received;
    // Packets that were dropped before translation or a flow could say anything about them.
    let lost: u64 = [
        DropReason::UpcallQueueFull,
        DropReason::UpcallBudget,
        DropReason::UpcallDisabled,
        DropReason::ParkFull,
        DropReason::ParkTimeout,
        DropReason::Purged,
    ]
    .iter()
    .filter_map(|r| total.drops.get(r))
    .sum();
    let (matched, missed) = rig.table_counts("br0", 0);
    assert_eq!(matched + missed, came - lost);
    assert_eq!(came, 16_000);
    let c = rig.backer.udpif().counters();
    assert_eq!(c.illegal_transition.get(), 0);
}
