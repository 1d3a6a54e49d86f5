//! The packet ledger of a whole switch behind bad links: whatever happens to packets, rules, ports and flows,
//! what came in is what went out, was dropped for a reason, was used up or is still held. Exactly, per port and
//! in total, and the same for the same seed.
//!
//! 200,000 packets every day; `RINGWAY_LEDGER_PACKETS` says another number.

use crate::rig::Rig;
use crate::traffic::Traffic;
use backer::{BridgeSettings, IfaceConfig, PortConfig};
use base::rng::Rng;
use base::sync::Arc;
use dpif::{OdpPort, PortSpec};
use netdev::dummy::DummyDevice;
use netdev::fault::{FaultCounts, FaultDevice};
use netdev::{Device, Registry};
use openflow::FlowModCommand;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Packets that a dummy port's queue takes.
const QUEUE: u64 = netdev::dummy::QUEUE_MAX as u64;
/// Names of the fault ports, the bridge of each (the last has none), and the class behind.
const PORTS: [(&str, Option<&str>, &str); 7] = [
    ("p1", Some("br0"), "dummy"),
    ("p2", Some("br0"), "dummy-pmd"),
    ("p3", Some("br0"), "dummy-pmd"),
    ("p4", Some("br0"), "dummy"),
    ("p5", Some("br1"), "dummy-pmd"),
    ("p6", Some("br1"), "dummy"),
    ("p9", None, "dummy"),
];
/// How bad the links are.
const FAULTS: [(&str, &str); 9] = [
    ("drop", "20000"),
    ("corrupt", "30000"),
    ("truncate", "20000"),
    ("duplicate", "20000"),
    ("delay", "20000"),
    ("delay_ms", "5"),
    ("reorder", "30000"),
    ("stall", "500"),
    ("stall_ms", "3"),
];

/// A dummy port behind a bad link.
struct Link {
    odp: OdpPort,
    config: IfaceConfig,
    bridge: Option<&'static str>,
    open: bool,
    /// Kept, so that counts outlive the port.
    fault: Arc<dyn Device>,
    behind: Arc<DummyDevice>,
    /// Packets put in from outside.
    given: u64,
}

impl Link {
    fn counts(&self) -> (FaultCounts, FaultCounts) {
        let device = self.fault.as_any().downcast_ref::<FaultDevice>();
        let device = device.expect("a fault port");
        (device.rx_counts(), device.tx_counts())
    }
    fn waiting(&self) -> u64 {
        self.behind.rx_pending()
    }
}

fn config(i: usize, seed: u64) -> IfaceConfig {
    let (name, _, class) = PORTS[i];
    let iface = IfaceConfig::new(name, "fault")
        .number(i as u16 + 1)
        .option("device", &format!("w{name}"))
        .option("class", class)
        .option("seed", &(seed + i as u64).to_string())
        .option("rx_burst", "32");
    FAULTS.iter().fold(iface, |c, (k, v)| c.option(k, v))
}

fn open_device(netdevs: &Registry, c: &IfaceConfig) -> Arc<dyn Device> {
    let device = netdevs.open(&c.name, "fault").expect("a fault port");
    let unknown = netdev::configure(&*device, &c.options).expect("good options");
    assert!(unknown.is_empty());
    device
}

/// A run of the simulation.
struct Sim {
    rig: Rig,
    rng: Rng,
    traffic: Traffic,
    links: Vec<Link>,
    digest: u64,
    delivered: u64,
    flooded: u64,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new(seed);
        let mut links = Vec::new();
        for bridge in ["br0", "br1"] {
            rig.backer
                .bridge_add(bridge, BridgeSettings::default())
                .expect("a new bridge");
        }
        rig.patch(("br0", "to1"), ("br1", "to0"));
        for (i, &(name, bridge, _)) in PORTS.iter().enumerate() {
            let config = config(i, seed);
            let fault = open_device(&rig.netdevs, &config);
            let behind = rig.dummies.get(&format!("w{name}")).expect("opened");
            behind.capture();
            if bridge.is_none() {
                let spec = PortSpec {
                    name: name.to_owned(),
                    class: "fault".to_owned(),
                    number: None,
                };
                rig.backer.dpif().port_add(&spec).expect("a good port");
            }
            links.push(Link {
                odp: OdpPort::NONE,
                config,
                bridge,
                open: bridge.is_none(),
                fault,
                behind,
                given: 0,
            });
        }
        let mut sim = Self {
            rig,
            rng: Rng::new(seed),
            traffic: Traffic::new(seed),
            links,
            digest: seed,
            delivered: 0,
            flooded: 0,
        };
        for i in 0..PORTS.len() {
            sim.plug(i);
        }
        for bridge in ["br0", "br1"] {
            sim.rig.add_flow(bridge, "priority=0,actions=NORMAL");
        }
        sim
    }

    fn plug(&mut self, i: usize) {
        let link = &mut self.links[i];
        if let Some(bridge) = link.bridge {
            let mut port = PortConfig::new(link.config.clone());
            if i == 3 {
                port = port.access(10);
            }
            self.rig.backer.port_set(bridge, port).expect("a good port");
            link.open = true;
        }
        link.odp = self.rig.odp(&link.config.name);
    }

    fn unplug(&mut self, i: usize) {
        let link = &mut self.links[i];
        let Some(bridge) = link.bridge else { return };
        link.open = false;
        let gone = self.rig.backer.port_del(bridge, &link.config.name);
        gone.expect("a port");
    }

    /// Up to `n` packets come in on a port; how many did.
    fn give(&mut self, i: usize, n: u64, flood: bool) -> u64 {
        let link = &mut self.links[i];
        if !link.open {
            return 0;
        }
        let n = n.min(QUEUE - link.waiting());
        for _ in 0..n {
            let packet = if flood {
                self.flooded += 1;
                self.traffic.flood(self.flooded)
            } else {
                self.traffic.next()
            };
            link.behind.receive(&packet, 0).expect("queue 0");
        }
        link.given += n;
        n
    }

    fn change_rules(&mut self) {
        let bridge = ["br0", "br1"][self.rng.below(2) as usize];
        let n = self.rng.below(8);
        let matching = [
            format!("in_port={n}"),
            format!("udp,tp_dst={n}"),
            format!("tcp,nw_dst=10.0.0.{n}/30"),
            format!("dl_vlan={}", n / 2 * 10),
            format!("dl_dst=02:00:00:00:00:0{n}"),
            "ipv6".to_owned(),
            "mpls".to_owned(),
            format!("ip,nw_src=10.0.0.0/{}", 24 + n),
        ];
        let actions = [
            "NORMAL",
            "drop",
            "flood",
            "in_port",
            "output:2,output:3,NORMAL",
            "mod_dl_dst:02:00:00:00:00:03,NORMAL",
            "mod_nw_tos:32,mod_tp_dst:9,NORMAL",
            "push_vlan:0x8100,set_field:4116->vlan_vid,NORMAL",
            "strip_vlan,output:1,output:4",
            "controller(max_len=64),NORMAL",
            "dec_ttl,output:1,output:5",
            "output(port=2,max_len=40),output:3",
        ];
        let matching = &matching[self.rng.below(matching.len() as u64) as usize];
        let action = actions[self.rng.below(actions.len() as u64) as usize];
        let rig = &self.rig;
        if self.rng.chance(700_000) {
            let text = format!("priority={},{matching},actions={action}", 10 + n);
            rig.flow(bridge, FlowModCommand::Add, &text);
        } else {
            rig.flow(bridge, FlowModCommand::Delete, matching);
        }
    }

    /// Something other than packets may happen.
    fn disturb(&mut self) {
        match self.rng.below(1_000) {
            0..40 => self.change_rules(),
            40..44 => {
                let i = self.rng.below(6) as usize;
                if self.links[i].open {
                    self.unplug(i);
                } else {
                    self.plug(i);
                }
            }
            44..50 => self.rig.round(),
            50 => self.rig.backer.udpif().purge(),
            51 => {
                self.rig.clock.advance(11_000);
                self.rig.round();
            }
            52 => {
                self.rig.backer.fdb_flush(None).expect("bridges");
            }
            53 => {
                let i = self.rng.below(6) as usize;
                self.links[i].behind.set_admin_state(false);
                self.rig.backer.run();
                self.links[i].behind.set_admin_state(true);
                self.rig.backer.run();
            }
            _ => {}
        }
    }

    /// A burst on a port, perhaps something else, a few rounds of the switch. Packets given.
    fn tick(&mut self) -> u64 {
        let i = self.rng.below(PORTS.len() as u64) as usize;
        let (n, flood) = (1 + self.rng.below(QUEUE), self.rng.chance(20_000));
        let mut given = self.give(i, n, flood);
        if self.rng.chance(1_000) {
            given += self.siege();
        }
        self.disturb();
        for _ in 0..self.rng.below(4) {
            self.rig.dp.step();
        }
        if self.rng.chance(500_000) {
            self.disturb();
            self.rig.backer.udpif().run_handlers_once();
        }
        if self.rng.chance(300_000) {
            self.rig.settle();
        }
        self.rig.clock.advance(1);
        self.collect();
        given
    }

    /// Handlers sleep for a while, packets go on coming on one port. Packets given.
    fn siege(&mut self) -> u64 {
        let i = self.rng.below(PORTS.len() as u64) as usize;
        let flood = self.rng.chance(500_000);
        let mut given = 0;
        for _ in 0..10 + self.rng.below(60) {
            given += self.give(i, QUEUE, flood);
            for _ in 0..4 {
                self.rig.dp.step();
            }
        }
        if self.rng.chance(300_000) {
            self.rig.clock.advance(2_500);
            self.rig.dp.step();
        }
        given
    }

    /// Takes what left, into the digest.
    fn collect(&mut self) {
        for (i, link) in self.links.iter().enumerate() {
            for packet in link.behind.take_sent() {
                let words = packet.chunks(8).map(|c| {
                    let word = c.iter().fold(0, |w, &b| w << 8 | u64::from(b));
                    word ^ i as u64
                });
                self.digest = words.fold(self.digest, base::hash::mix);
                self.delivered += 1;
            }
        }
    }

    /// Checks every account, and says them.
    fn check(&self) -> String {
        let ledger = self.rig.dp.ledger();
        let mut sum: BTreeMap<&str, u64> = BTreeMap::new();
        let mut add = |name, n| *sum.entry(name).or_default() += n;
        for account in ledger.values() {
            assert_eq!(account.difference(), 0, "{account:?}");
        }
        let (mut sent, mut to_links) = (0, 0);
        for link in &self.links {
            let (rx, tx) = link.counts();
            let name = &link.config.name;
            assert_eq!((rx.difference(), tx.difference()), (0, 0), "{name}");
            let came = rx.offered + link.waiting();
            assert_eq!(link.given, came, "{name} {rx:?}");
            let received = ledger.get(&link.odp).map_or(0, |a| a.received);
            assert_eq!(received, rx.taken, "{name} {rx:?}");
            let tx_packets = link.behind.stats().tx_packets.expect("counted");
            assert_eq!(tx_packets, tx.taken - tx.refused, "{name} {tx:?}");
            (sent, to_links) = (sent + tx_packets, to_links + tx.offered);
            for (what, n) in [
                ("+ given", link.given),
                ("- waiting at ports", link.waiting()),
                ("+ rx duplicated", rx.duplicated),
                ("+ tx duplicated", tx.duplicated),
                ("- rx dropped", rx.dropped),
                ("- rx overflowed", rx.overflowed),
                ("- rx held", rx.held),
                ("- tx dropped", tx.dropped),
                ("- tx overflowed", tx.overflowed),
                ("- tx held", tx.held),
                ("- tx refused", tx.refused),
            ] {
                add(what, n);
            }
        }
        assert_eq!(sent, self.delivered);
        let total = self.rig.dp.ledger_total();
        let local: u64 = ["br0", "br1"].map(|b| self.local_tx(b)).iter().sum();
        assert_eq!(total.forwarded, to_links + local);
        add("- delivered", sent + local);
        add("+ created", total.created);
        add("+ injected", total.injected);
        add("- consumed", total.consumed);
        add("- parked", total.parked);
        let dropped = total.dropped();
        add("- dropped by the datapath", dropped);
        let mut text = String::new();
        let mut difference = 0_i128;
        for (name, n) in sum.iter().filter(|(_, n)| **n > 0) {
            writeln!(text, "{name}: {n}").expect("text");
            let sign = if name.starts_with('+') { 1 } else { -1 };
            difference += sign * i128::from(*n);
        }
        for (reason, n) in &total.drops {
            writeln!(text, "    {}: {n}", reason.text()).expect("text");
        }
        assert_eq!(difference, 0, "{text}");
        writeln!(text, "= difference: {difference}").expect("text");
        text
    }

    fn local_tx(&self, bridge: &str) -> u64 {
        let device = self.rig.dummies.get(bridge).expect("a local port");
        device.stats().tx_packets.expect("counted")
    }

    /// Lets everything held come out.
    fn finish(&mut self) {
        for _ in 0..50 {
            self.rig.clock.advance(100);
            self.rig.settle();
            self.collect();
        }
        for link in &self.links {
            let (rx, tx) = link.counts();
            assert_eq!((link.waiting(), rx.held, tx.held), (0, 0, 0));
        }
        assert_eq!(self.rig.dp.ledger_total().parked, 0);
        let c = self.rig.backer.udpif().counters();
        assert_eq!(c.illegal_transition.get(), 0);
    }
}

/// Runs `packets` packets; what left, as a digest, and the final account.
fn run(seed: u64, packets: u64, talk: bool) -> (u64, String) {
    let mut sim = Sim::new(seed);
    let (mut given, episode) = (0, (packets / 20).max(1));
    let mut checked = 0;
    while given < packets {
        given += sim.tick();
        if given / episode > checked {
            checked = given / episode;
            let text = sim.check();
            if talk {
                let flows = sim.rig.backer.udpif().n_ukeys();
                println!("-- after {given} packets, {flows} flows\n{text}");
            }
        }
    }
    sim.finish();
    (sim.digest, sim.check())
}

#[test]
fn every_packet_is_accounted_for_behind_bad_links() {
    let wanted = std::env::var("RINGWAY_LEDGER_PACKETS").ok();
    if let Some(n) = wanted.and_then(|v| v.parse().ok()) {
        let (digest, text) = run(1, n, true);
        println!("== {n} packets, digest {digest:016x}\n{text}");
        return;
    }
    let first = run(1, 70_000, false);
    assert_eq!(first, run(1, 70_000, false), "the same seed, the same run");
    let other = run(2, 60_000, false);
    assert_ne!(first.0, other.0);
    println!("{}", first.1);
}
