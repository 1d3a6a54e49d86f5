//! Measures a switch with many exact flows, in one process and one thread: memory for each flow, flows set up per
//! second, what a dump takes, how soon one rule among many flows is in force, what an unrelated rule costs.
//!
//! `cargo run --release -p ringway-backer --example many_flows [FLOWS]`

#![expect(clippy::print_stdout, reason = "prints what it measured")]

use backer::{Backer, BridgeSettings, IfaceConfig, Options, PortConfig};
use base::clock::{Clock, Nanos, monotonic_ns};
use base::sync::Arc;
use datapath::{Datapath, Environment, NetdevProvider, Topology};
use netdev::Registry;
use netdev::dummy::{Dummies, DummyLevel};
use openflow::{FlowModCommand, Names};
use udpif::{Settings, Threading};

const MOVES: &str = "move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],move:NXM_OF_IP_DST[]->NXM_NX_REG1[],\
     move:NXM_OF_UDP_SRC[]->NXM_NX_REG2[0..15],move:NXM_OF_UDP_DST[]->NXM_NX_REG2[16..31]";

/// An IPv4/UDP frame that differs from all others in its addresses.
fn udp(n: u32) -> Vec<u8> {
    let mut p = vec![0; 60];
    (p[0], p[5], p[6], p[11]) = (2, 2, 2, 1);
    p[12..14].copy_from_slice(&[0x08, 0x00]);
    let [_, a, b, c] = n.to_be_bytes();
    let ip = [
        0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, a, b, c, 10, 0, 0, 1,
    ];
    p[14..34].copy_from_slice(&ip);
    p[34..42].copy_from_slice(&[0, 1, 0, 2, 0, 26, 0, 0]);
    p
}

fn rss_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Nanoseconds of processor time this thread has had: a busy machine does not count.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|n| n.parse().ok());
    first.unwrap_or_else(monotonic_ns)
}

fn timed<R>(what: &str, body: impl FnOnce() -> R) -> (R, f64) {
    let start = cpu_ns();
    let result = body();
    let ms = (cpu_ns() - start) as f64 / 1e6;
    println!("{what}: {ms:.2} ms");
    (result, ms)
}

/// The switch and what drives it.
struct Bench {
    clock: Clock,
    backer: Backer,
    dummies: Dummies,
    dp: Arc<Datapath>,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::simulated(Nanos::from_millis(1_000_000));
        let netdevs = Registry::new();
        let level = DummyLevel::OverrideAll;
        let dummies = netdev::dummy::enable(&netdevs, level, clock.clone(), "/tmp".into());
        let registry = netdevs.clone();
        let provider = Arc::new(NetdevProvider::dummy(Environment {
            clock: clock.clone(),
            open: Arc::new(move |name: &str, class: &str| registry.open(name, class)),
            threading: datapath::Threading::Manual,
            topology: Topology::dummy(&[0]),
            seed: Some(1),
        }));
        let dpifs = dpif::Registry::new();
        dpifs.register(provider.clone()).expect("first");
        let options = Options {
            threading: Threading::Manual,
            ..Options::new("dummy")
        };
        let mut backer = Backer::open(&dpifs, &netdevs, &clock, options).expect("a datapath");
        let added = backer.bridge_add("br0", BridgeSettings::default());
        added.expect("a new bridge");
        for i in 1..=3 {
            let iface = IfaceConfig::new(&format!("p{i}"), "dummy-pmd").number(i);
            let added = backer.port_set("br0", PortConfig::new(iface));
            added.expect("a good port");
        }
        backer.udpif().set_settings(Settings {
            flow_limit: 1_000_000,
            max_idle_ms: 600_000,
            ..Settings::default()
        });
        backer.udpif().set_flow_limit(1_000_000);
        Self {
            clock,
            backer,
            dummies: dummies.expect("no dummies before"),
            dp: provider.datapath("ovs-dummy").expect("just made"),
        }
    }

    fn add_flow(&self, text: &str) {
        let fm = openflow::parse_flow_mod(text, FlowModCommand::Add, Names::default());
        let fm = fm.expect("flow syntax").flow_mod;
        let now = self.clock.now();
        self.backer
            .tables("br0", |of| of.flow_mod(fm, None, now))
            .expect("a bridge")
            .expect("a good flow mod");
    }

    /// Sends one packet of each of `n` flows.
    fn fill(&self, n: u32) {
        for i in 0..n {
            self.dummies.receive("p1", &udp(i), 0).expect("a port");
            if i % 32 == 31 || i + 1 == n {
                self.clock.advance(1); // upcall budgets are per second
                while self.dp.step() {}
                self.backer.udpif().run_handlers_once();
                while self.dp.step() {}
            }
        }
        for (port, reason, n) in self.dp.drops() {
            println!("dropped on {port}: {n} ({})", reason.text());
        }
    }

    fn translate(&self, times: u32) {
        let mut key = flow::Flow::zero();
        let frame = packet::HeapPool::global().copy_from(&udp(5));
        let meta = flow::Metadata::of_frame(&frame);
        flow::extract(frame.data(), &meta, &mut key);
        key.in_port.set(1);
        let world = self.backer.udpif().translator();
        for _ in 0..times {
            let ask = udpif::Ask {
                key: &key,
                frame: None,
                from: None,
                live: false,
                now: self.clock.now(),
            };
            let t = udpif::Translator::translate(&**world, &ask);
            assert!(t.is_ok_and(|t| t.install.len() == 1));
        }
    }

    /// Adds a rule and has it take effect.
    fn react(&self, what: &str, text: &str) {
        let udpif = self.backer.udpif();
        let before = udpif.counters().revalidations.get();
        self.add_flow(text);
        timed(what, || udpif.run_changes_once());
        let n = udpif.counters().revalidations.get() - before;
        println!("  translated again: {n}");
    }
}

fn main() {
    let arg = std::env::args().nth(1).and_then(|a| a.parse().ok());
    let n: u32 = arg.unwrap_or(200_000);
    let bench = Bench::new();
    let udpif = bench.backer.udpif();
    let every = |port| format!("priority=10,in_port=1,udp,actions={MOVES},output:{port}");
    bench.add_flow(&every(2));
    udpif.run_changes_once();
    let before = rss_bytes();
    let ((), ms) = timed("set up", || bench.fill(n));
    let flows = udpif.n_ukeys() as f64;
    println!("flows: {flows}, {:.0} per second", flows / ms * 1e3);
    println!(
        "memory: {:.0} bytes a flow, of which ukeys {:.0}",
        (rss_bytes() - before) as f64 / flows,
        udpif.ukey_bytes() as f64 / flows
    );
    timed("100,000 translations", || bench.translate(100_000));
    timed("first dump", || udpif.run_revalidator_once());
    timed("second dump", || udpif.run_revalidator_once());
    bench.react(
        "one flow's rule",
        "priority=20,in_port=1,udp,nw_src=10.0.0.77,actions=output:3",
    );
    bench.react("a rule in an unused table", "table=9,ip,actions=drop");
    bench.react(
        "a rule for another port",
        "priority=30,in_port=2,actions=output:1",
    );
    bench.react("a rule below", "priority=5,in_port=1,actions=output:3");
    bench.react("every flow's rule", &every(3));
    timed("purge", || udpif.purge());
}
