//! Whole-switch tests that need a process to themselves: they count allocations, or lines of the log whose
//! rate limit the process shares.

mod counting;
#[expect(dead_code, reason = "the kit of other tests, too")]
#[path = "../switch/rig.rs"]
mod rig;

use backer::{IfaceConfig, PortConfig};
use base::sync::{Arc, Mutex, lock};
use dpif::{FlowSelect, PortSpec};
use odp::DropReason;
use rig::{Rig, eth, udp};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use udpif::Settings;

/// Flows whose memory is measured.
const FLOWS: u32 = 200_000;
/// Bytes that one of them may take.
const BYTES_MAX: i64 = 1_500;

/// A packet of flow `n`.
fn packet(n: u32) -> Vec<u8> {
    let mut p = udp(1, 2, 7);
    p[26..30].copy_from_slice(&(0x0a00_0000 + n).to_be_bytes());
    p
}

/// A bridge whose rule looks at the whole source address, so that each one is a flow of its own.
fn by_source(seed: u64) -> Rig {
    let mut rig = Rig::new(seed);
    rig.bridge("br0", "q", 0, "dummy");
    for n in 1..=2 {
        let iface = IfaceConfig::new(&format!("p{n}"), "dummy-pmd").number(n);
        let port = PortConfig::new(iface.option("rx_burst", "32"));
        // Not captured: what is sent is counted only.
        rig.backer.port_set("br0", port).expect("a good port");
    }
    rig.add_flow(
        "br0",
        "ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],output:2",
    );
    let udpif = rig.backer.udpif();
    udpif.set_settings(Settings {
        flow_limit: 2 * FLOWS,
        ..udpif.settings()
    });
    udpif.set_flow_limit(2 * FLOWS);
    rig
}

fn install(rig: &mut Rig, flows: std::ops::Range<u32>) {
    for n in flows {
        rig.receive("p1", &packet(n));
        if n % 32 == 31 {
            rig.settle();
            rig.clock.advance(1);
        }
    }
    rig.settle();
}

fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages = text.split(' ').nth(1).expect("a second number");
    pages.parse::<i64>().expect("a number") * 4_096
}

#[test]
fn two_hundred_thousand_flows_fit_and_a_dump_does_not_stop_forwarding() {
    let mut rig = by_source(1);
    install(&mut rig, 0..1_000);
    rig.round();
    let (before, resident_before) = (counting::bytes(), resident());
    install(&mut rig, 1_000..1_000 + FLOWS);
    assert_eq!(rig.backer.udpif().n_ukeys() as u32, 1_000 + FLOWS);
    assert_eq!(rig.backer.dpif().stats().n_flows, 1_000 + u64::from(FLOWS));
    let each = (counting::bytes() - before) / i64::from(FLOWS);
    let resident = (resident() - resident_before) / i64::from(FLOWS);
    println!("{FLOWS} flows: {each} bytes allocated each, {resident} bytes resident each");
    assert!(each <= BYTES_MAX, "{each} bytes");

    let dump = rig.backer.dpif().flow_dump(FlowSelect::default());
    let mut cursor = dump.thread();
    let (mut flows, mut seen, mut more) = (Vec::new(), 0, true);
    while more {
        more = cursor.next(&mut flows, 64);
        seen += flows.len();
        let forwarded = rig.dp.ledger_total().forwarded;
        rig.receive("p1", &packet(seen as u32 % FLOWS));
        rig.dp.step();
        assert_eq!(rig.dp.ledger_total().forwarded, forwarded + 1);
    }
    assert_eq!(seen as u32, 1_000 + FLOWS);
    rig.assert_ledger_closed();
}

#[test]
fn a_warm_batch_of_a_whole_switch_allocates_nothing() {
    let mut rig = by_source(2);
    install(&mut rig, 0..64);
    for round in 0..200_u32 {
        for n in 0..64 {
            rig.receive("p1", &packet((n + round) % 64));
        }
        let before = counting::allocations();
        assert!(rig.dp.step() && rig.dp.step());
        let made = counting::allocations() - before;
        assert!(round < 20 || made == 0, "{made} allocations in {round}");
    }
    let total = rig.dp.ledger_total();
    assert_eq!((total.received, total.forwarded), (64 * 201, 64 * 201));
}

/// Keeps the lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text<'a>(&'a Lines);

impl Visit for Text<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        lock(&self.0.0).push(format!("{value:?}"));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, m: &Metadata<'_>) -> bool {
        m.target() == "ofproto_dpif_upcall" && *m.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Text(self));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_port_that_no_bridge_owns_drops_and_says_so_once() {
    let lines = Lines::default();
    let mut rig = Rig::new(3);
    rig.bridge("br0", "p", 2, "dummy");
    rig.add_flow("br0", "actions=NORMAL");
    let spec = PortSpec {
        name: "stray9".to_owned(),
        class: "dummy".to_owned(),
        number: None,
    };
    let stray = rig.backer.dpif().port_add(&spec).expect("a good port");
    tracing::subscriber::with_default(lines.clone(), || {
        for n in 0..50 {
            assert!(rig.send("stray9", &udp(n, 2, n)).is_empty());
            assert!(rig.send("stray9", &eth(n, 2)).is_empty());
            if n % 10 == 0 {
                rig.round();
            }
        }
    });
    let told = lock(&lines.0).clone();
    assert_eq!(
        told,
        ["received packet on unassociated datapath port 9 (no OpenFlow port for datapath port 9)"]
    );
    assert_eq!(rig.backer.dpif().stats().n_flows, 1);
    assert_eq!(rig.dp.ledger()[&stray].drops[&DropReason::NoBridge], 100);
    rig.assert_ledger_closed();
}
