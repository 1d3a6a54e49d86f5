//! One promise at a time.

use super::rig::{Rig, eth, registries, tagged};
use crate::{
    Backer, BackerError, BridgeSettings, DumpOptions, IfaceConfig, Options, PacketOut, PortConfig,
    PortFlags,
};
use base::clock::{Clock, Nanos};
use base::sync::lock;
use dpif::OdpPort;
use flow::OfPort;
use odp::DropReason;
use packet::HeapPool;
use wire::EthAddr;

#[test]
fn a_learning_switch() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow("br0", "cookie=1,actions=NORMAL");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2", "p3"]);
    assert_eq!(rig.ports_of("p2", &eth(2, 1)), ["p1"]);
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    // The host moves.
    assert_eq!(rig.ports_of("p3", &eth(2, 1)), ["p1"]);
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p3"]);
    rig.round();
    assert_eq!(rig.packets("br0", 1), 6);
    assert_eq!(
        rig.backer.fdb_show("br0").unwrap(),
        " port  VLAN  MAC                Age\n    1     0  02:00:00:00:00:01    0\n    \
         3     0  02:00:00:00:00:02    0\n"
    );
    assert_eq!(rig.dp.ledger().difference(), 0);
    let flows = rig.dp.flows();
    assert!(!flows.is_empty());
    for f in flows {
        assert_eq!(f.mask.0.nw_src.0, [0; 4], "wildcarded");
    }
    let c = rig.backer.udpif().counters();
    assert_eq!((c.illegal_transition.get(), c.install_failed.get()), (0, 0));
}

#[test]
fn entries_age_and_flows_with_them() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow("br0", "actions=NORMAL");
    rig.send("p2", &eth(2, 1));
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    rig.clock.advance(250_000);
    rig.ports_of("p2", &eth(2, 1)); // refreshes 2, not 1
    rig.clock.advance(100_000);
    rig.backer.run();
    rig.settle();
    assert_eq!(rig.ports_of("p3", &eth(3, 2)), ["p2"]);
    assert_eq!(rig.ports_of("p3", &eth(3, 1)), ["br0", "p1", "p2"]);
    assert_eq!(
        rig.backer.fdb_flush(Some("br0")).unwrap(),
        "table successfully flushed"
    );
    rig.settle();
    assert_eq!(rig.ports_of("p3", &eth(3, 2)), ["br0", "p1", "p2"]);
}

#[test]
fn traffic_through_installed_flows_keeps_addresses_young() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.flow("br0", "actions=NORMAL");
    rig.send("p2", &eth(2, 1));
    for _ in 0..100 {
        rig.send("p1", &eth(1, 2));
        rig.send("p2", &eth(2, 1));
        rig.clock.advance(9_000);
        rig.round();
        rig.backer.run();
    }
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    assert!(rig.backer.udpif().counters().upcalls.get() < 10);
}

#[test]
fn patch_ports_join_bridges() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.bridge("br1", "q", 2);
    rig.patch(("br0", "to1"), ("br1", "to0"));
    rig.flow("br0", "actions=NORMAL");
    rig.flow("br1", "cookie=7,actions=NORMAL");
    assert_eq!(
        rig.ports_of("p1", &eth(1, 2)),
        ["br0", "br1", "p2", "q1", "q2"]
    );
    assert_eq!(rig.ports_of("q2", &eth(2, 1)), ["p1"]);
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["q2"]);
    rig.round();
    assert_eq!(rig.packets("br1", 7), 3);
    let stats = rig.backer.bridge("br1").unwrap().iface("to0").unwrap();
    let stats = stats.device.stats();
    assert_eq!((stats.rx_packets, stats.tx_packets), (Some(2), Some(1)));
    assert_eq!(
        rig.backer.show(),
        "dummy@ovs-dummy: hit:1 missed:2\n  br0:\n    br0 65534/1: (dummy-internal)\n    \
         p1 1/2: (dummy)\n    p2 2/3: (dummy)\n    to1 3/none: (patch: peer=to0)\n  br1:\n    \
         br1 65534/4: (dummy-internal)\n    q1 1/5: (dummy)\n    q2 2/6: (dummy)\n    \
         to0 3/none: (patch: peer=to1)\n"
    );
    rig.backer.port_del("br1", "to0").unwrap();
    rig.settle();
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), Vec::<String>::new());
    rig.backer.fdb_flush(None).unwrap();
    rig.settle();
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2"]);
}

#[test]
fn vlans() {
    let mut rig = Rig::new();
    rig.bridge("br0", "t", 1);
    for (i, vlan) in [(2, 10), (3, 10), (4, 20)] {
        let iface = IfaceConfig::new(&format!("a{i}"), "dummy").number(i);
        rig.port("br0", PortConfig::new(iface).access(vlan));
    }
    rig.flow("br0", "actions=NORMAL");
    assert_eq!(rig.ports_of("a2", &eth(1, 2)), ["a3", "br0", "t1"]);
    let text = |rig: &Rig| {
        let all = DumpOptions::default();
        rig.backer.dump_flows("br0", all).unwrap()
    };
    // The fake datapath runs no header changes: what they are is seen in the flow.
    assert!(
        text(&rig).contains("push_vlan(vid=10,pcp=0)"),
        "{}",
        text(&rig)
    );
    assert_eq!(rig.ports_of("t1", &tagged(2, 1, 10)), ["a2"]);
    assert!(text(&rig).contains("actions:pop_vlan,"), "{}", text(&rig));
    assert!(
        rig.ports_of("t1", &tagged(2, 9, 30))
            .contains(&"br0".to_owned())
    );
    assert!(rig.ports_of("a4", &tagged(7, 9, 20)).is_empty());
    // The port changes its VLAN: flows follow.
    let iface = IfaceConfig::new("a2", "dummy").number(2);
    rig.port("br0", PortConfig::new(iface).access(20));
    rig.settle();
    assert_eq!(rig.ports_of("a2", &eth(1, 2)), ["a4", "br0", "t1"]);
}

#[test]
fn who_wants_misses_concerns_flows_that_miss() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow("br0", "in_port=1,actions=output:2");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    let revalidations = |rig: &Rig| rig.backer.udpif().counters().revalidations.get();
    let wants = |rig: &mut Rig, packet_in_on_miss| {
        let settings = BridgeSettings {
            packet_in_on_miss,
            ..rig.backer.bridge("br0").expect("a bridge").settings.clone()
        };
        let set = rig.backer.bridge_set("br0", settings);
        set.expect("a bridge");
        rig.settle();
    };
    let before = revalidations(&rig);
    wants(&mut rig, true);
    wants(&mut rig, false);
    assert_eq!(revalidations(&rig), before, "the flow hits a rule");
    assert!(rig.ports_of("p3", &eth(3, 2)).is_empty());
    wants(&mut rig, true);
    assert_eq!(revalidations(&rig), before + 1);
    wants(&mut rig, false);
    assert_eq!(revalidations(&rig), before + 2);
}

#[test]
fn rules_change_under_installed_flows() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 4);
    rig.flow("br0", "cookie=1,priority=1,actions=output:2");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    rig.flow(
        "br0",
        "cookie=2,priority=9,dl_dst=02:00:00:00:00:02,actions=3",
    );
    rig.settle();
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p3"]);
    assert_eq!(rig.ports_of("p1", &eth(1, 3)), ["p2"]);
    let before = rig.backer.udpif().counters().revalidations.get();
    rig.flow("br0", "priority=9,dl_dst=02:00:00:00:00:77,actions=4");
    rig.flow("br0", "table=5,actions=4");
    rig.settle();
    assert_eq!(
        rig.backer.udpif().counters().revalidations.get(),
        before,
        "no installed flow looks like the new rules"
    );
    rig.flow(
        "br0",
        "cookie=2,priority=9,dl_dst=02:00:00:00:00:02,actions=drop",
    );
    rig.settle();
    assert!(rig.ports_of("p1", &eth(1, 2)).is_empty());
    rig.round();
    assert_eq!(rig.packets("br0", 2), 2);
    assert_eq!(rig.packets("br0", 1), 2);
}

#[test]
fn learned_flows_take_effect_with_the_next_packet() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow(
        "br0",
        "priority=1,actions=learn(table=1,hard_timeout=60,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],\
         output:NXM_OF_IN_PORT[]),resubmit(,1)",
    );
    rig.flow("br0", "table=1,priority=0,actions=flood");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2", "p3"]);
    assert_eq!(rig.ports_of("p2", &eth(2, 1)), ["p1"]);
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    // Traffic restarts the hard timeout of what it learns.
    for _ in 0..20 {
        rig.clock.advance(8_000);
        rig.send("p1", &eth(1, 2));
        rig.send("p2", &eth(2, 1));
        rig.round();
        rig.backer.run();
    }
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
    rig.clock.advance(61_000);
    rig.round();
    rig.backer.run();
    rig.settle();
    assert_eq!(rig.ports_of("p3", &eth(3, 2)), ["br0", "p1", "p2"]);
}

#[test]
fn rules_time_out() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.flow("br0", "cookie=5,idle_timeout=20,actions=2");
    for _ in 0..5 {
        assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["p2"]);
        rig.clock.advance(9_000);
        rig.round();
        rig.backer.run();
    }
    rig.clock.advance(21_000);
    rig.round();
    rig.backer.run();
    rig.settle();
    assert!(rig.ports_of("p1", &eth(1, 2)).is_empty());
}

#[test]
fn a_port_without_a_bridge_drops_until_it_has_one() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.flow("br0", "actions=NORMAL");
    let spec = dpif::PortSpec {
        name: "stray".to_owned(),
        class: "dummy".to_owned(),
        number: None,
    };
    let stray = dpif::Dpif::port_add(&*rig.dp, &spec).unwrap();
    for dst in 0..5 {
        assert!(rig.ports_of("stray", &eth(1, dst)).is_empty());
    }
    let flows = rig.dp.flows();
    assert_eq!(flows.len(), 1, "one flow drops them all");
    assert_eq!(flows[0].key.in_port.get(), stray.0);
    let ledger = rig.dp.ledger();
    assert_eq!(ledger.drops[&(stray, DropReason::NoBridge)], 5);
    dpif::Dpif::port_del(&*rig.dp, stray).unwrap();
    let iface = IfaceConfig::new("fresh", "dummy");
    rig.port("br0", PortConfig::new(iface)); // gets the number of the stray port
    assert_eq!(rig.odp("fresh"), stray);
    rig.settle();
    assert_eq!(rig.ports_of("fresh", &eth(1, 2)), ["br0", "p1", "p2"]);
}

#[test]
fn ports_and_bridges_go() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.bridge("br1", "q", 1);
    rig.flow("br0", "actions=NORMAL");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2"]);
    rig.backer.port_del("br0", "p2").unwrap();
    rig.settle();
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0"]);
    assert!(matches!(
        rig.backer.port_del("br0", "p2"),
        Err(BackerError::NoPort { .. })
    ));
    rig.backer.bridge_del("br0").unwrap();
    rig.settle();
    assert!(rig.dp.flows().is_empty());
    assert_eq!(rig.backer.list(), "br1\n");
    assert_eq!(rig.backer.dump_dps(), "dummy@br1\n");
    let left: Vec<_> = dpif::Dpif::ports(&*rig.dp)
        .into_iter()
        .map(|p| p.name)
        .collect();
    assert_eq!(left, ["ovs-dummy", "br1", "q1"]);
    rig.bridge("br0", "p", 1);
    rig.flow("br0", "actions=NORMAL");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0"]);
}

#[test]
fn conflicts_and_bad_input_are_named() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.bridge("br1", "q", 1);
    let mut err = |bridge: &str, iface: IfaceConfig| {
        let e = rig.backer.port_set(bridge, PortConfig::new(iface));
        e.unwrap_err().to_string()
    };
    assert_eq!(
        err("br1", IfaceConfig::new("p1", "dummy")),
        "bridge br1: interface p1 is in port p1 of bridge br0 already"
    );
    assert_eq!(
        err("br9", IfaceConfig::new("x", "dummy")),
        "no such bridge: br9"
    );
    let e = err("br0", IfaceConfig::new("x", "nonsense"));
    assert!(e.contains("x") && e.contains("nonsense"), "{e}");
    let e = err("br0", IfaceConfig::new("to1", "patch"));
    assert!(e.contains("to1") && e.contains("peer"), "{e}");
    rig.flow("br0", "actions=NORMAL");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2"]);
    let twice = rig.backer.bridge_add("br0", BridgeSettings::default());
    assert!(matches!(twice, Err(BackerError::BridgeExists(_))));
}

#[test]
fn numbers_options_and_classes_change_in_place() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    let number = |rig: &Rig| rig.backer.bridge("br0").unwrap().iface("p2").unwrap().ofp;
    let odp = rig.odp("p2");
    rig.port(
        "br0",
        PortConfig::new(IfaceConfig::new("p2", "dummy").number(9)),
    );
    assert_eq!(number(&rig), OfPort(9));
    // A number that is taken is not fought for.
    rig.port(
        "br0",
        PortConfig::new(IfaceConfig::new("p2", "dummy").number(1)),
    );
    assert_eq!(number(&rig), OfPort(9));
    rig.flow("br0", "actions=NORMAL");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2"]);
    assert!(rig.odp("p2") >= odp);
}

#[test]
fn packets_from_controllers() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow("br0", "cookie=3,actions=2");
    let send = |rig: &mut Rig, in_port: OfPort, text: &str| {
        let acts = openflow::parse_actions(text, openflow::Names::default()).unwrap();
        let frame = HeapPool::global().copy_from(&eth(1, 2));
        rig.backer
            .packet_out(
                "br0",
                PacketOut {
                    in_port,
                    frame,
                    acts: &acts,
                    metadata: None,
                },
            )
            .unwrap();
        rig.settle();
        let out = rig.took();
        out.into_iter().map(|(p, _)| p).collect::<Vec<_>>()
    };
    assert_eq!(send(&mut rig, OfPort::CONTROLLER, "output:1"), ["p1"]);
    assert_eq!(send(&mut rig, OfPort(1), "flood"), ["br0", "p2", "p3"]);
    assert_eq!(send(&mut rig, OfPort(1), "table"), ["p2"]);
    assert_eq!(rig.packets("br0", 3), 1);
    assert!(send(&mut rig, OfPort(1), "drop").is_empty());
}

#[test]
fn an_earlier_runs_leftovers_go() {
    let clock = Clock::simulated(Nanos::from_millis(1_000_000));
    let (dpifs, netdevs, provider) = registries(&clock);
    for name in ["ovs-dummy", "old-dp"] {
        let dp = provider.open_fake(name, true).unwrap();
        let spec = dpif::PortSpec {
            name: format!("left-in-{name}"),
            class: "dummy".to_owned(),
            number: None,
        };
        dpif::Dpif::port_add(&*dp, &spec).unwrap();
    }
    let options = Options {
        threading: udpif::Threading::Manual,
        ..Options::new("dummy")
    };
    let backer = Backer::open(&dpifs, &netdevs, &clock, options).unwrap();
    assert_eq!(dpifs.enumerate("dummy").unwrap(), ["ovs-dummy"]);
    assert_eq!(backer.dpif().ports().len(), 1);
    backer.close(true);
    assert!(dpifs.enumerate("dummy").unwrap().is_empty());
    let none = Backer::open(&dpifs, &netdevs, &clock, Options::new("nonsense"));
    assert!(none.unwrap_err().to_string().contains("nonsense"));
}

#[test]
fn flows_as_text() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.bridge("br1", "q", 2);
    rig.flow("br0", "actions=2");
    rig.flow("br1", "actions=2");
    rig.send("p1", &eth(1, 2));
    rig.send("q1", &eth(1, 2));
    rig.send("p1", &eth(1, 2));
    let plain = rig
        .backer
        .dump_flows("br0", DumpOptions::default())
        .unwrap();
    assert_eq!(
        plain,
        "recirc_id(0),in_port(2),packet_type(ns=0,id=0),eth_type(0x1234), packets:1, bytes:60, \
         used:0.000s, actions:3\n"
    );
    let names = DumpOptions {
        verbose: false,
        names: Some(true),
    };
    let named = rig.backer.dump_flows("br1", names).unwrap();
    assert!(named.contains("in_port(q1)") && named.contains("actions:q2"));
    assert!(rig.backer.dump_flows("br9", names).is_err());
}

#[test]
fn static_addresses() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.flow("br0", "actions=NORMAL");
    let mac = EthAddr([2, 0, 0, 0, 0, 1]);
    rig.send("p1", &eth(1, 2));
    let b = &rig.backer;
    assert_eq!(
        b.fdb_add("br0", "p1", 0, mac).unwrap().unwrap(),
        "Overriding already existing dynamic entry on 1\n"
    );
    assert_eq!(
        b.fdb_add("br0", "p2", 0, mac).unwrap().unwrap(),
        "Overriding already existing static entry on 1\n"
    );
    assert!(b.fdb_add("br0", "nope", 0, mac).is_err());
    assert!(b.fdb_show("br0").unwrap().contains("  static\n"));
    rig.settle();
    assert_eq!(rig.ports_of("br0", &eth(9, 1)), ["p2"]);
    assert!(rig.backer.fdb_del("br0", 0, mac).unwrap());
    assert!(!rig.backer.fdb_del("br0", 0, mac).unwrap());
    assert!(rig.backer.fdb_stats("br0").unwrap().contains("1/8192"));
    assert_eq!(
        rig.backer.fdb_stats_clear(None).unwrap(),
        "statistics successfully cleared"
    );
}

#[test]
fn features_can_be_lowered() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    assert!(rig.backer.show_features().contains("Clone action: Yes\n"));
    assert_eq!(
        rig.backer.set_features(Some("clone"), Some("false")),
        String::new()
    );
    assert!(!rig.backer.snapshot().features.clone);
    let shown = rig.backer.set_features(Some("clone"), None);
    assert_eq!(
        shown,
        "clone (Clone action) : [run time]:false, [boot time]:true\n"
    );
    assert!(rig.backer.show_features().contains("Clone action: Yes\n"));
}

#[test]
fn port_state_reaches_translation() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow("br0", "actions=NORMAL");
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2", "p3"]);
    let device = netdev::dummy::by_name(&rig.backer.netdevs, "p2").unwrap();
    device.set_admin_state(false);
    rig.backer.run();
    let snapshot = rig.backer.snapshot();
    let ports = &snapshot.bridge_by_name("br0").unwrap().ports;
    assert!(ports[&OfPort(2)].port_down && !ports[&OfPort(3)].port_down);
    let flags = PortFlags {
        no_flood: true,
        ..PortFlags::default()
    };
    rig.backer.port_flags("br0", OfPort(3), flags).unwrap();
    rig.settle();
    assert_eq!(rig.ports_of("p1", &eth(1, 2)), ["br0", "p2"]);
    assert!(rig.backer.port_flags("br0", OfPort(77), flags).is_err());
}

#[test]
fn controllers_tables_stay_reachable() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 1);
    let of = rig.backer.ofproto("br0").unwrap();
    assert_eq!(lock(&of).name(), "br0");
    assert_eq!(rig.odp("br0"), OdpPort(1));
}

#[test]
fn changes_made_together_are_published_once() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 1);
    rig.bridge("br1", "q", 1);
    rig.flow("br0", "actions=NORMAL");
    let before = rig.backer.snapshot();
    rig.backer.together(|b| {
        for i in 2..50 {
            let iface = IfaceConfig::new(&format!("p{i}"), "dummy").number(i);
            b.port_set("br0", PortConfig::new(iface)).unwrap();
        }
        assert_eq!(b.snapshot().version, before.version);
    });
    let after = rig.backer.snapshot();
    assert_eq!(after.version, before.version + 1);
    let id = |name| rig.backer.bridge(name).unwrap().id;
    let same =
        |name| base::sync::Arc::ptr_eq(&before.bridges[&id(name)], &after.bridges[&id(name)]);
    assert!(same("br1") && !same("br0"));
    assert_eq!(rig.ports_of("p1", &eth(1, 2)).len(), 49);
}
