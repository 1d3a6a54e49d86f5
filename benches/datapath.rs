//! The packet loop over a pair of null ports: extraction, lookup and actions, one thread, 60-byte frames.
//!
//! One iteration is one batch of 32. `cargo bench -p ringway-datapath`; cases are named after those of
//! `perf/RESULTS.md`. With `BEST=name` (`BEST=` for all) only the fastest of many short slices is printed for each
//! case that contains the name: the figure to look at on a machine that others use too.

mod null;

use base::sync::lock;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::{Flow, Metadata};
use null::{Bench, frame, ip_mask, key, output, port_mask, tuple_mask, wild_mask};
use odp::{Action, SetKey};
use packet::BATCH_MAX;
use std::hint::black_box;
use std::time::Duration;
use wire::{EthAddr, U16};

impl Bench {
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
