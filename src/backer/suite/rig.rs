//! A switch on the fake datapath, in manual mode, with simulated time.

use crate::{Backer, BridgeSettings, IfaceConfig, Options, PortConfig};
use base::clock::{Clock, Nanos};
use base::sync::Arc;
use dpif::OdpPort;
use dpif::fake::{FakeDpif, FakeProvider};
use netdev::Registry;
use netdev::dummy::DummyLevel;
use netdev::patch::PatchClass;
use openflow::{FlowMod, FlowModCommand, Names};
use std::collections::BTreeMap;
use udpif::Threading;
use udpif::world::Sink;

/// The switch.
pub(super) struct Rig {
    pub(super) clock: Clock,
    pub(super) dp: Arc<FakeDpif>,
    pub(super) backer: Backer,
}

/// Datapath types and device classes of a test.
pub(super) fn registries(clock: &Clock) -> (dpif::Registry, Registry, Arc<FakeProvider>) {
    let dpifs = dpif::Registry::new();
    let provider = FakeProvider::create("dummy", clock.clone());
    dpifs.register(provider.clone()).unwrap();
    let netdevs = Registry::new();
    netdevs.register(Arc::new(PatchClass)).unwrap();
    netdev::dummy::enable(
        &netdevs,
        DummyLevel::OverrideAll,
        clock.clone(),
        "/tmp".into(),
    )
    .unwrap();
    let fault = netdev::fault::FaultClass::new(&netdevs, clock.clone());
    netdevs.register(Arc::new(fault)).unwrap();
    (dpifs, netdevs, provider)
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with_sink(Arc::new(udpif::world::NoSink))
    }

    pub(super) fn with_sink(sink: Arc<dyn Sink>) -> Self {
        let clock = Clock::simulated(Nanos::from_millis(1_000_000));
        let (dpifs, netdevs, provider) = registries(&clock);
        let options = Options {
            threading: Threading::Manual,
            sink,
            ..Options::new("dummy")
        };
        let backer = Backer::open(&dpifs, &netdevs, &clock, options).unwrap();
        let dp = provider.open_fake("ovs-dummy", false).unwrap();
        Self { clock, dp, backer }
    }

    /// A bridge with dummy ports `<prefix>1` to `<prefix>N`, numbered alike.
    pub(super) fn bridge(&mut self, name: &str, prefix: &str, n: u16) {
        self.backer
            .bridge_add(name, BridgeSettings::default())
            .unwrap();
        for i in 1..=n {
            let iface = IfaceConfig::new(&format!("{prefix}{i}"), "dummy").number(i);
            self.port(name, PortConfig::new(iface));
        }
    }

    pub(super) fn port(&mut self, bridge: &str, config: PortConfig) {
        self.backer.port_set(bridge, config).unwrap();
    }

    pub(super) fn patch(&mut self, a: (&str, &str), b: (&str, &str)) {
        for ((bridge, name), (_, peer)) in [(a, b), (b, a)] {
            let iface = IfaceConfig::new(name, "patch").option("peer", peer);
            self.port(bridge, PortConfig::new(iface));
        }
    }

    pub(super) fn flow(&self, bridge: &str, text: &str) {
        let fm = openflow::parse_flow_mod(text, FlowModCommand::Add, Names::default()).unwrap();
        self.flow_mod(bridge, fm.flow_mod);
    }

    pub(super) fn flow_mod(&self, bridge: &str, fm: FlowMod) {
        let now = self.clock.now();
        self.backer
            .tables(bridge, |of| of.flow_mod(fm, None, now))
            .unwrap()
            .unwrap();
    }

    /// The datapath number of a device.
    pub(super) fn odp(&self, name: &str) -> OdpPort {
        dpif::Dpif::port_by_name(&*self.dp, name).unwrap().number
    }

    /// Lets a packet come in, and everything that follows happen; returns (device, packet) of what left.
    pub(super) fn send(&mut self, port: &str, packet: &[u8]) -> Vec<(String, Vec<u8>)> {
        self.dp.inject(self.odp(port), packet);
        self.settle();
        self.took()
    }

    pub(super) fn settle(&mut self) {
        while self.backer.udpif().run_handlers_once() > 0 {}
        self.backer.udpif().run_changes_once();
    }

    pub(super) fn took(&self) -> Vec<(String, Vec<u8>)> {
        let ports = dpif::Dpif::ports(&*self.dp);
        let names: BTreeMap<_, _> = ports.into_iter().map(|p| (p.number, p.name)).collect();
        let sent = self.dp.take_output();
        let mut out: Vec<_> = sent
            .into_iter()
            .map(|(p, bytes)| (names[&p].clone(), bytes))
            .collect();
        out.sort();
        out
    }

    /// Names of the devices that a packet left by.
    pub(super) fn ports_of(&mut self, port: &str, packet: &[u8]) -> Vec<String> {
        self.send(port, packet)
            .into_iter()
            .map(|(p, _)| p)
            .collect()
    }

    /// Credits everything.
    pub(super) fn round(&mut self) {
        self.backer.udpif().run_revalidator_once();
        self.settle();
    }

    /// Packets of the rule with this cookie.
    pub(super) fn packets(&self, bridge: &str, cookie: u64) -> u64 {
        let of = self.backer.ofproto(bridge).unwrap();
        let of = base::sync::lock(&of);
        let tables = &of.pipeline().tables;
        let mut n = 0;
        for (_, table) in tables.iter() {
            for rule in table.rules.collect(None, tables.version()) {
                if rule.cookie == cookie {
                    n += rule.counts().packets;
                }
            }
        }
        n
    }
}

/// An Ethernet frame from 02::src to 02::dst.
pub(super) fn eth(src: u8, dst: u8) -> Vec<u8> {
    let mut p = vec![0; 60];
    (p[0], p[5], p[6], p[11]) = (2, dst, 2, src);
    p[12..14].copy_from_slice(&[0x12, 0x34]);
    p
}

/// The same with a VLAN tag.
pub(super) fn tagged(src: u8, dst: u8, vlan: u16) -> Vec<u8> {
    let mut p = eth(src, dst);
    let tag = [0x81, 0x00, (vlan >> 8) as u8, vlan as u8];
    p.splice(12..12, tag);
    p
}
