//! A whole switch in one process: the real datapath on dummy ports, stepped by the test, at simulated time.

use backer::{Backer, BridgeSettings, IfaceConfig, Options, PortConfig};
use base::clock::{Clock, Nanos};
use base::sync::Arc;
use datapath::{Datapath, Environment, NetdevProvider, Topology};
use dpif::OdpPort;
use netdev::Registry;
use netdev::dummy::{Dummies, DummyLevel};
use netdev::fault::FaultClass;
use netdev::patch::PatchClass;
use openflow::{FlowModCommand, Names};
use udpif::Threading;

/// The switch.
pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) dp: Arc<Datapath>,
    pub(crate) backer: Backer,
    pub(crate) netdevs: Registry,
    pub(crate) dpifs: dpif::Registry,
    pub(crate) dummies: Dummies,
}

impl Rig {
    /// A switch without bridges, stepped by the test.
    pub(crate) fn new(seed: u64) -> Self {
        // The same for all tests of the process: whoever is first sets it.
        let _ = base::hash::fix_process_seed(1);
        let clock = Clock::simulated(Nanos::from_millis(1_000_000));
        Self::build(clock, Threading::Manual, datapath::Threading::Manual, seed)
    }

    /// A switch without bridges, with threads of its own, in real time.
    pub(crate) fn alive() -> Self {
        Self::build(Clock::real(), Threading::Real, datapath::Threading::Real, 0)
    }

    fn build(clock: Clock, udpif: Threading, dp: datapath::Threading, seed: u64) -> Self {
        let netdevs = Registry::new();
        netdevs.register(Arc::new(PatchClass)).expect("first");
        let level = DummyLevel::OverrideAll;
        let dummies = netdev::dummy::enable(&netdevs, level, clock.clone(), "/tmp".into());
        let faults = FaultClass::new(&netdevs, clock.clone());
        netdevs.register(Arc::new(faults)).expect("first");
        let registry = netdevs.clone();
        let provider = Arc::new(NetdevProvider::dummy(Environment {
            clock: clock.clone(),
            open: Arc::new(move |name: &str, class: &str| registry.open(name, class)),
            threading: dp,
            topology: Topology::dummy(&[0, 0]),
            seed: Some(seed),
        }));
        let dpifs = dpif::Registry::new();
        dpifs.register(provider.clone()).expect("first");
        let options = Options {
            threading: udpif,
            ..Options::new("dummy")
        };
        let backer = Backer::open(&dpifs, &netdevs, &clock, options).expect("a datapath");
        Self {
            clock,
            dp: provider.datapath("ovs-dummy").expect("just made"),
            backer,
            netdevs,
            dpifs,
            dummies: dummies.expect("no dummies before"),
        }
    }

    /// A bridge with ports `<prefix>1` to `<prefix>N` of a class, numbered alike.
    pub(crate) fn bridge(&mut self, name: &str, prefix: &str, n: u16, class: &str) {
        self.backer
            .bridge_add(name, BridgeSettings::default())
            .expect("a new bridge");
        self.capture(name);
        for i in 1..=n {
            let iface = IfaceConfig::new(&format!("{prefix}{i}"), class).number(i);
            self.port(name, PortConfig::new(iface));
        }
    }

    pub(crate) fn port(&mut self, bridge: &str, config: PortConfig) {
        let names: Vec<_> = config.interfaces.iter().map(|i| i.name.clone()).collect();
        self.backer.port_set(bridge, config).expect("a good port");
        for name in names {
            self.capture(&name);
        }
    }

    fn capture(&self, device: &str) {
        if let Some(d) = self.dummies.get(device) {
            d.capture();
        }
    }

    pub(crate) fn patch(&mut self, a: (&str, &str), b: (&str, &str)) {
        for ((bridge, name), (_, peer)) in [(a, b), (b, a)] {
            let iface = IfaceConfig::new(name, "patch").option("peer", peer);
            self.port(bridge, PortConfig::new(iface));
        }
    }

    /// Adds (or with another command changes) a flow.
    pub(crate) fn flow(&self, bridge: &str, command: FlowModCommand, text: &str) {
        let fm = openflow::parse_flow_mod(text, command, Names::default()).expect("flow syntax");
        let now = self.clock.now();
        self.backer
            .tables(bridge, |of| of.flow_mod(fm.flow_mod, None, now))
            .expect("a bridge")
            .expect("a good flow mod");
    }
    pub(crate) fn add_flow(&self, bridge: &str, text: &str) {
        self.flow(bridge, FlowModCommand::Add, text);
    }

    /// A packet comes in; it waits in its port's queue.
    pub(crate) fn receive(&self, port: &str, packet: &[u8]) {
        self.dummies.receive(port, packet, 0).expect("a dummy port");
    }

    /// Lets everything that waits happen.
    pub(crate) fn settle(&mut self) {
        loop {
            self.netdevs.run();
            let stepped = self.dp.step();
            let upcalls = self.backer.udpif().run_handlers_once();
            let changes = self.backer.udpif().has_changes();
            if !stepped && upcalls == 0 && !changes {
                break;
            }
            if upcalls == 0 {
                self.backer.udpif().run_changes_once();
            }
        }
    }

    /// A packet comes in and everything that follows happens; names of the ports it left by.
    pub(crate) fn send(&mut self, port: &str, packet: &[u8]) -> Vec<String> {
        self.receive(port, packet);
        self.settle();
        self.took().into_iter().map(|(p, _)| p).collect()
    }

    /// What left since this was last called, by port.
    pub(crate) fn took(&self) -> Vec<(String, Vec<u8>)> {
        let mut out = Vec::new();
        for d in self.dummies.devices() {
            let name = netdev::Device::name(&*d).to_owned();
            out.extend(d.take_sent().into_iter().map(|p| (name.clone(), p)));
        }
        // By port; those of a port in the order they left.
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    }

    /// A dump, and everything that follows.
    pub(crate) fn round(&mut self) {
        self.backer.udpif().run_revalidator_once();
        self.backer.run();
        self.settle();
    }

    pub(crate) fn odp(&self, name: &str) -> OdpPort {
        let port = self.backer.dpif().port_by_name(name);
        port.expect("a port").number
    }

    /// Names of the datapath's ports.
    pub(crate) fn dp_ports(&self) -> Vec<String> {
        let ports = self.backer.dpif().ports();
        ports.into_iter().map(|p| p.name).collect()
    }

    /// (matched, missed) packets of a table.
    pub(crate) fn table_counts(&self, bridge: &str, table: u8) -> (u64, u64) {
        let of = self.backer.ofproto(bridge).expect("a bridge");
        let of = base::sync::lock(&of);
        let t = of.pipeline().tables.table(table);
        (t.matched.get(), t.missed.get())
    }

    /// Every packet is accounted for, and nothing waits.
    pub(crate) fn assert_ledger_closed(&self) {
        for (port, account) in self.dp.ledger() {
            assert_eq!(account.difference(), 0, "port {port}: {account:?}");
        }
    }
}

/// An Ethernet frame from 02::src to 02::dst.
pub(crate) fn eth(src: u8, dst: u8) -> Vec<u8> {
    let mut p = vec![0; 60];
    (p[0], p[5], p[6], p[11]) = (2, dst, 2, src);
    p[12..14].copy_from_slice(&[0x12, 0x34]);
    p
}

/// The same with a VLAN tag.
pub(crate) fn tagged(src: u8, dst: u8, vlan: u16) -> Vec<u8> {
    let mut p = eth(src, dst);
    let tag = [0x81, 0x00, (vlan >> 8) as u8, (vlan & 0xff) as u8];
    p.splice(12..12, tag);
    p
}

/// An IPv4/UDP frame between 10.0.0.src and 10.0.0.dst, destination port `port`.
pub(crate) fn udp(src: u8, dst: u8, port: u8) -> Vec<u8> {
    let mut p = eth(src, dst);
    p[12..14].copy_from_slice(&[0x08, 0x00]);
    let ip = [
        0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, src, 10, 0, 0, dst,
    ];
    p[14..34].copy_from_slice(&ip);
    let sum = ip
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(c[1]))
        .sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let check = !u16::try_from(folded & 0xffff).expect("16 bits");
    p[24..26].copy_from_slice(&check.to_be_bytes());
    p[34..42].copy_from_slice(&[0, 1, 0, port, 0, 26, 0, 0]);
    p
}
