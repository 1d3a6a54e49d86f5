//! The packet loop over a pair of null ports: extraction, lookup and actions, one thread, 60-byte frames.
//!
//! Frames go round: what one port is sent, the other receives again; so nothing is allocated or copied, and
//! what is measured is the datapath alone (and two moves of each frame). One iteration is one batch of 32.
//! `cargo bench -p ringway-datapath`; cases are named after those of `perf/RESULTS.md`. With `BEST=name`
//! (`BEST=` for all) only the fastest of many short slices is printed for each case that contains the name:
//! the figure to look at on a machine that others use too.

use base::clock::Clock;
use base::rng::Rng;
use base::sync::{Arc, Mutex, lock};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datapath::{Datapath, Environment, NetdevProvider, Threading, Topology};
use dpif::{Dpif, DpifError, FlowPut, Op, PmdId, PortSpec, Provider, PutFlags};
use flow::{Flow, Mask, Metadata};
use netdev::{Config, Device, DeviceFlags, NetdevError, RxQueue, Stats, TxQueue, TxReport};
use odp::{Action, OdpPort, SetKey};
use packet::{BATCH_MAX, Batch, Frame, HeapPool};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;
use wire::{EthAddr, Ipv4, U16, U32};

/// Frames that go round.
type Ring = Arc<Mutex<VecDeque<Frame>>>;

#[derive(Debug)]
struct Null {
    name: String,
    ring: Ring,
}

#[derive(Debug)]
struct Rx(Ring);
#[derive(Debug)]
struct Tx(Ring);

impl RxQueue for Rx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        let mut ring = lock(&self.0);
        let n = ring.len().min(batch.room());
        for frame in ring.drain(..n) {
            let pushed = batch.push(frame);
            debug_assert!(pushed.is_ok());
        }
        Ok(n)
    }
    fn drain(&mut self) -> u64 {
        0
    }
}

impl TxQueue for Tx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let sent = batch.len() as u32;
        lock(&self.0).extend(batch.drain(..));
        TxReport {
            sent,
            bytes: u64::from(sent) * 60,
            ..TxReport::default()
        }
    }
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        TxReport {
            sent: frames.len() as u32,
            ..TxReport::default()
        }
    }
}

impl Device for Null {
    fn name(&self) -> &str {
        &self.name
    }
    fn class(&self) -> &'static str {
        "null"
    }
    fn is_pmd(&self) -> bool {
        true
    }
    fn set_config(&self, _: &Config) -> Result<Vec<String>, NetdevError> {
        Ok(Vec::new())
    }
    fn get_config(&self) -> Config {
        Config::new()
    }
    fn n_rxq(&self) -> u32 {
        // The local port and the sink receive nothing.
        u32::from(self.name == "p1")
    }
    fn rx_open(&self, _: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        Ok(Box::new(Rx(Arc::clone(&self.ring))))
    }
    fn tx_open(&self, _: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        Ok(Box::new(Tx(Arc::clone(&self.ring))))
    }
    fn etheraddr(&self) -> EthAddr {
        EthAddr::ZERO
    }
    fn mtu(&self) -> Option<u32> {
        None
    }
    fn carrier(&self) -> bool {
        true
    }
    fn stats(&self) -> Stats {
        Stats::default()
    }
    fn flags(&self) -> DeviceFlags {
        DeviceFlags::default()
    }
    fn update_flags(&self, _: DeviceFlags, _: DeviceFlags) -> Result<(), NetdevError> {
        Ok(())
    }
    fn change_seq(&self) -> u64 {
        1
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// UDP flow number `i`: addresses and ports spread as the harness spreads them.
fn frame(i: u32) -> Vec<u8> {
    let mut f = vec![0u8; 60];
    f[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    f[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    f[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let ip = &mut f[14..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&46u16.to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..16].copy_from_slice(&(0x0a00_0000 + i).to_be_bytes());
    ip[16..20].copy_from_slice(&(0x1400_0000 + i.wrapping_mul(7)).to_be_bytes());
    ip[20..22].copy_from_slice(&((i % 50_000) as u16).to_be_bytes());
    ip[22..24].copy_from_slice(&((i % 30_000) as u16).to_be_bytes());
    ip[24..26].copy_from_slice(&26u16.to_be_bytes());
    f
}

struct Bench {
    dpif: Arc<dyn Dpif>,
    dp: Arc<Datapath>,
    ring: Ring,
}

impl Bench {
    fn new(flows: u32) -> Self {
        let ring: Ring = Arc::default();
        let shared = Arc::clone(&ring);
        let open = move |name: &str, _: &str| {
            Ok(Arc::new(Null {
                name: name.to_owned(),
                ring: Arc::clone(&shared),
            }) as Arc<dyn Device>)
        };
        let provider = NetdevProvider::dummy(Environment {
            clock: Clock::real(),
            open: Arc::new(open),
            threading: Threading::Manual,
            topology: Topology::dummy(&[0]),
            seed: Some(1),
        });
        let dpif = provider.open("ovs-dummy", true).expect("a datapath");
        for name in ["p1", "p2"] {
            let spec = PortSpec {
                name: name.to_owned(),
                class: "null".to_owned(),
                number: None,
            };
            dpif.port_add(&spec).expect("a port");
        }
        let dp = provider.datapath("ovs-dummy").expect("just made");
        let bench = Self { dpif, dp, ring };
        bench.fill(flows);
        bench
    }

    /// Frames of `flows` flows in random order; each flow equally often.
    fn fill(&self, flows: u32) {
        let each = (64 / flows).max(1);
        let mut all: Vec<u32> = (0..flows).flat_map(|i| (0..each).map(move |_| i)).collect();
        let mut rng = Rng::new(5);
        for i in (1..all.len()).rev() {
            all.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let pool = HeapPool::global();
        let frames = all.into_iter().map(|i| pool.copy_from(&frame(i)));
        lock(&self.ring).extend(frames);
    }

    fn install(&self, key: &Flow, mask: &Mask, actions: Vec<Action>) {
        let mut op = [Op::FlowPut(FlowPut {
            flags: PutFlags {
                create: true,
                ..PutFlags::default()
            },
            key: Arc::new(*key),
            mask: Arc::new(*mask),
            ufid: None,
            actions: Arc::new(actions),
            pmd: Some(PmdId(0)),
            result: Err(DpifError::Again),
        })];
        self.dpif.operate(&mut op);
        if let [Op::FlowPut(p)] = op {
            p.result.expect("the flow is installed");
        }
    }

    fn run(self, c: &mut Criterion, name: &str) {
        if std::env::var_os("BEST").is_some() {
            self.best(name);
            return;
        }
        // All caches warm.
        let frames = lock(&self.ring).len();
        for _ in 0..frames / BATCH_MAX * 3 {
            self.dp.step();
        }
        let mut group = c.benchmark_group("loop");
        group.throughput(Throughput::Elements(BATCH_MAX as u64));
        group.bench_function(name, |b| b.iter(|| black_box(self.dp.step())));
        group.finish();
        let total = self.dp.ledger_total();
        assert_eq!((total.difference(), total.dropped()), (0, 0), "{total:?}");
    }
}

/// True when a case is to be run.
fn wanted(name: &str) -> bool {
    std::env::var("BEST").map_or(true, |part| name.contains(&part))
}

impl Bench {
    /// Prints the fastest slice of about 50 us.
    fn best(&self, name: &str) {
        let mut best = u64::MAX;
        let batches = 40;
        let until = base::clock::monotonic_ns() + 700_000_000;
        while base::clock::monotonic_ns() < until {
            let begun = base::clock::monotonic_ns();
            for _ in 0..batches {
                black_box(self.dp.step());
            }
            best = best.min(base::clock::monotonic_ns() - begun);
        }
        let packets = (batches * BATCH_MAX) as f64;
        let ns = best as f64 / packets;
        println!("{name:<16} {ns:6.1} ns/packet {:7.1} Mpps", 1000.0 / ns);
    }
}

fn key(i: u32) -> Flow {
    let md = Metadata {
        in_port: 1,
        ..Metadata::default()
    };
    let mut key = Flow::zero();
    flow::extract(&frame(i), &md, &mut key);
    key
}

fn port_mask() -> Mask {
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    m
}

/// What a translation always looks at.
fn wild_mask() -> Mask {
    let mut m = port_mask();
    m.0.packet_type = U32::new(u32::MAX);
    m.0.dl_type = U16::new(u16::MAX);
    m.0.nw_frag = 0xff;
    m
}

fn ip_mask() -> Mask {
    let mut m = wild_mask();
    m.0.nw_src = Ipv4([255, 0, 0, 0]);
    m
}

fn tuple_mask() -> Mask {
    let mut m = wild_mask();
    m.0.nw_proto = 0xff;
    m.0.nw_src = Ipv4([255; 4]);
    m.0.nw_dst = Ipv4([255; 4]);
    m.0.tp_src = U16::new(u16::MAX);
    m.0.tp_dst = U16::new(u16::MAX);
    m
}

fn output() -> Vec<Action> {
    vec![Action::Output(OdpPort(2))]
}

fn one_megaflow(c: &mut Criterion) {
    for (name, mask, flows) in [
        ("in_port", port_mask(), 1),
        ("wild", wild_mask(), 1),
        ("wildip 1", ip_mask(), 1),
        ("wildip 1k", ip_mask(), 1000),
        ("wildip 10k", ip_mask(), 10_000),
        ("wildip 100k", ip_mask(), 100_000),
    ] {
        if !wanted(name) {
            continue;
        }
        let b = Bench::new(flows);
        b.install(&key(0), &mask, output());
        b.run(c, name);
    }
}

fn exact(c: &mut Criterion) {
    for (name, flows) in [
        ("exact 1k", 1000),
        ("exact 10k", 10_000),
        ("exact 100k", 100_000),
    ] {
        if !wanted(name) {
            continue;
        }
        let b = Bench::new(flows);
        for i in 0..flows {
            b.install(&key(i), &tuple_mask(), output());
        }
        b.run(c, name);
    }
}

/// Twenty masks: flow i is told apart by a prefix whose length depends on i.
fn masks20(c: &mut Criterion) {
    for (name, flows) in [
        ("masks20 1k", 1000),
        ("masks20 10k", 10_000),
        ("masks20 100k", 100_000),
    ] {
        if !wanted(name) {
            continue;
        }
        let b = Bench::new(flows);
        for i in 0..flows {
            let mut m = tuple_mask();
            m.0.tp_dst = U16::new(0xffff << (i % 20 % 16));
            m.0.nw_ttl = if i % 20 >= 16 { 0xff } else { 0 };
            b.install(&key(i), &m, output());
        }
        b.run(c, name);
    }
}

fn actions(c: &mut Criterion) {
    let eth = SetKey::Ethernet {
        src: EthAddr([2, 0, 0, 0, 0, 9]),
        dst: EthAddr([2, 0, 0, 0, 0, 8]),
    };
    let vlan = Action::PushVlan {
        tpid: 0x8100,
        tci: 5,
    };
    for (name, actions) in [
        ("set eth", vec![Action::Set(eth), output()[0].clone()]),
        (
            "push, pop vlan",
            vec![vlan, Action::PopVlan, output()[0].clone()],
        ),
        ("output x4", vec![output()[0].clone(); 4]),
    ] {
        if !wanted(name) {
            continue;
        }
        let b = Bench::new(1000);
        b.install(&key(0), &ip_mask(), actions);
        b.run(c, name);
    }
}

fn stages(c: &mut Criterion) {
    if std::env::var_os("BEST").is_some() {
        return;
    }
    let data = frame(7);
    let md = Metadata {
        in_port: 1,
        ..Metadata::default()
    };
    let mut out = Flow::zero();
    let mut layers = flow::Layers::UNKNOWN;
    for depth in [
        flow::Depth::Port,
        flow::Depth::L2,
        flow::Depth::L3,
        flow::Depth::L4,
    ] {
        c.bench_function(&format!("extract {depth:?}"), |b| {
            b.iter(|| flow::extract_lines(black_box(&data), &md, depth, (&mut out, &mut layers)));
        });
    }
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! { name = all; config = config(); targets = stages, one_megaflow, exact, masks20, actions }
criterion_main!(all);
