//! Each stage by itself, from wire to wire and from message to flow: `cargo bench --bench stages`.
//!
//! The same stages are counted in instructions, which a busy machine does not change, by
//! `scripts/bench-instructions`: with `COUNT=stage` only that one is run, a fixed number of times, and what is between
//! the entry and the exit of [`measured`] is collected. `LIST=1` names the stages and what each handles at a time.

mod afxdp;
mod control;
mod fast;
#[path = "../null.rs"]
mod null;
mod setup;

use base::clock::monotonic_ns;
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use std::time::Duration;

/// Rounds that are counted, and those before, with which caches and branches get warm.
const ROUNDS: u32 = 50;
const WARM_ROUNDS: u32 = 10;

/// One stage: what it does at a time, and what must be done before each time.
pub(crate) struct Stage {
    name: &'static str,
    /// Packets, messages or flows handled by one run.
    per_run: u64,
    work: Box<dyn Work>,
}

/// The two halves of a stage.
pub(crate) trait Work {
    /// Not measured.
    fn prepare(&mut self) {}
    /// Measured.
    fn run(&mut self);
}

impl<F: FnMut()> Work for F {
    fn run(&mut self) {
        self();
    }
}

impl Stage {
    pub(crate) fn new(name: &'static str, per_run: usize, work: impl Work + 'static) -> Self {
        Self {
            name,
            per_run: per_run as u64,
            work: Box::new(work),
        }
    }
}

/// A stage by name; making it may take a while.
type Maker = fn() -> Stage;

/// What callgrind collects: it is told this function's name.
#[inline(never)]
fn measured(work: &mut dyn Work) {
    work.run();
    black_box(());
}

fn count(stage: &mut Stage) {
    for _ in 0..WARM_ROUNDS {
        stage.work.prepare();
        stage.work.run();
    }
    for _ in 0..ROUNDS {
        stage.work.prepare();
        measured(&mut *stage.work);
    }
    println!("{} {}", stage.name, u64::from(ROUNDS) * stage.per_run);
}

fn time(c: &mut Criterion, stage: &mut Stage) {
    let mut group = c.benchmark_group("stages");
    group.throughput(Throughput::Elements(stage.per_run));
    group.bench_function(stage.name, |b| {
        b.iter_custom(|rounds| {
            let mut spent = 0;
            for _ in 0..rounds {
                stage.work.prepare();
                let begun = monotonic_ns();
                stage.work.run();
                spent += monotonic_ns() - begun;
            }
            Duration::from_nanos(spent)
        });
    });
    group.finish();
}

fn main() {
    let makers: Vec<(&str, Maker)> = [
        fast::STAGES,
        afxdp::stages(),
        control::STAGES,
        setup::STAGES,
    ]
    .concat();
    if std::env::var_os("LIST").is_some() {
        makers.iter().for_each(|(name, _)| println!("{name}"));
        return;
    }
    if let Ok(name) = std::env::var("COUNT") {
        let Some((_, make)) = makers.iter().find(|(n, _)| *n == name) else {
            eprintln!("error: there is no stage {name}: LIST=1 names them");
            std::process::exit(1);
        };
        count(&mut make());
        return;
    }
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .sample_size(20)
        .configure_from_args();
    for (_, make) in makers {
        time(&mut c, &mut make());
    }
    c.final_summary();
}
