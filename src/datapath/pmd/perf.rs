//! [`Perf`]: distributions and recent history of a packet thread's rounds, for `pmd-perf-show`.
//!
//! Kept only while `pmd-perf-metrics` is set: it costs some 50 ns a round. Owned by the packet thread;
//! control threads get a copy between two batches. Rounds that took suspiciously long are written to the log
//! together with their neighbours, some rounds later, so that writing does not disturb what is measured.
//! Walls of the histograms, lengths and words are the peer's.

use crate::limits::{HISTOGRAM_BINS, HISTORY_LEN};
use base::clock::Nanos;
use base::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use std::fmt::Write;

/// How values are distributed.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    /// Inclusive upper ends of all bins but the last, which takes everything above.
    pub(crate) walls: [u32; HISTOGRAM_BINS - 1],
    pub(crate) bins: [u64; HISTOGRAM_BINS],
}

impl Histogram {
    /// Walls at equal distances.
    fn linear(min: u32, max: u32) -> Self {
        let steps = HISTOGRAM_BINS as u32 - 2;
        Self {
            walls: std::array::from_fn(|i| min + i as u32 * (max - min) / steps),
            bins: [0; HISTOGRAM_BINS],
        }
    }

    /// Walls at equal ratios, each above the one before; a range from 0 has its first wall there.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between two u32"
    )]
    fn logarithmic(min: u32, max: u32) -> Self {
        let first = usize::from(min == 0);
        let n = HISTOGRAM_BINS - 1 - first;
        let (low, high) = (f64::from(min.max(1)).ln(), f64::from(max).ln());
        let mut walls = [0; HISTOGRAM_BINS - 1];
        let mut next = first as u32;
        for i in 0..n {
            let exact = (low + i as f64 * (high - low) / (n - 1) as f64).exp();
            next = next.max(exact as u32);
            walls[first + i] = next;
            next += 1;
        }
        let last = &mut walls[HISTOGRAM_BINS - 2];
        *last = max.max(*last);
        Self {
            walls,
            bins: [0; HISTOGRAM_BINS],
        }
    }

    fn add(&mut self, value: u64) {
        let at = self.walls.partition_point(|&w| u64::from(w) < value);
        self.bins[at] += 1;
    }
}

/// One round, or the sum over a millisecond.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Number of the round, or millisecond.
    pub(crate) stamp: u64,
    pub(crate) cycles: u64,
    /// Cycles of rounds that had packets.
    pub(crate) busy_cycles: u64,
    pub(crate) rounds: u64,
    pub(crate) packets: u64,
    pub(crate) upcalls: u64,
    /// Batches received.
    pub(crate) batches: u64,
}

impl Sample {
    fn add(&mut self, s: &Self) {
        self.cycles += s.cycles;
        self.busy_cycles += s.busy_cycles;
        self.rounds += s.rounds;
        self.packets += s.packets;
        self.upcalls += s.upcalls;
        self.batches += s.batches;
    }
}

/// The last [`HISTORY_LEN`] samples; the one being filled is among them.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    at: usize,
    samples: Box<[Sample]>,
}

impl Recent {
    fn new() -> Self {
        Self {
            at: 0,
            samples: vec![Sample::default(); HISTORY_LEN].into(),
        }
    }
    fn current(&mut self) -> &mut Sample {
        &mut self.samples[self.at]
    }
    fn advance(&mut self) {
        self.at = (self.at + 1) % HISTORY_LEN;
        self.samples[self.at] = Sample::default();
    }
    /// The last `n` finished samples, newest first.
    pub(crate) fn last(&self, n: usize) -> impl Iterator<Item = &Sample> {
        (1..=n)
            .map(|back| &self.samples[(self.at + HISTORY_LEN - back % HISTORY_LEN) % HISTORY_LEN])
    }
}

/// When to write rounds to the log (`pmd-perf-log-set`). One for the process, as the peer's.
#[derive(Debug)]
pub struct PerfLog {
    on: AtomicBool,
    /// Cycles above which a round is suspicious.
    cycles: AtomicU64,
    rules: Mutex<PerfLogRules>,
}

/// See [`PerfLog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerfLogRules {
    /// Rounds are written to the log.
    pub on: bool,
    /// Rounds shown before a suspicious one.
    pub before: u32,
    /// Rounds shown after it.
    pub after: u32,
    /// Further suspicious rounds nearby lengthen what is shown.
    pub extend: bool,
    /// Microseconds above which a round is suspicious.
    pub us: u32,
    /// Fill of a vhost queue from which a round is suspicious. Kept for scripts; queues do not tell theirs.
    pub queue: u32,
}

/// What is in force until told otherwise, as in the peer.
const RULES: PerfLogRules = PerfLogRules {
    on: false,
    before: 5,
    after: 5,
    extend: false,
    us: 1000,
    queue: 128,
};

static LOG: PerfLog = PerfLog {
    on: AtomicBool::new(false),
    cycles: AtomicU64::new(u64::MAX),
    rules: Mutex::new(RULES),
};

impl PerfLog {
    /// The process's.
    #[must_use]
    pub fn global() -> &'static Self {
        &LOG
    }
    /// What is in force.
    #[must_use]
    pub fn rules(&self) -> PerfLogRules {
        *lock(&self.rules)
    }
    /// Sets what is in force.
    pub fn set(&self, rules: PerfLogRules) {
        let hz = u128::from(crate::cycles::cycles_per_second());
        let cycles = u128::from(rules.us) * hz / 1_000_000;
        let cycles = u64::try_from(cycles).unwrap_or(u64::MAX);
        self.cycles.store(cycles, Ordering::Relaxed);
        *lock(&self.rules) = rules;
        self.on.store(rules.on, Ordering::Relaxed);
    }
}

/// A suspicious round that waits for its successors.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    stamp: u64,
    cycles: u64,
    /// First and last round to be shown.
    first: u64,
    last: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Perf {
    pub(crate) cycles: Histogram,
    pub(crate) packets: Histogram,
    pub(crate) cycles_per_packet: Histogram,
    pub(crate) packets_per_batch: Histogram,
    pub(crate) queue: Histogram,
    pub(crate) upcalls: Histogram,
    pub(crate) cycles_per_upcall: Histogram,
    pub(crate) rounds: Recent,
    pub(crate) millis: Recent,
    /// Over all finished milliseconds.
    pub(crate) totals: Sample,
    round: u64,
    suspect: Option<Suspect>,
    log: &'static PerfLog,
}

impl Perf {
    pub(crate) fn new() -> Self {
        Self {
            cycles: Histogram::logarithmic(500, 24_000_000),
            packets: Histogram::logarithmic(0, 1000),
            cycles_per_packet: Histogram::linear(100, 30_000),
            packets_per_batch: Histogram::linear(0, 32),
            queue: Histogram::logarithmic(0, 512),
            upcalls: Histogram::linear(0, 30),
            cycles_per_upcall: Histogram::logarithmic(1000, 1_000_000),
            rounds: Recent::new(),
            millis: Recent::new(),
            totals: Sample::default(),
            round: 0,
            suspect: None,
            log: PerfLog::global(),
        }
    }

    /// Notes a received batch.
    pub(crate) fn batch(&mut self, packets: u64) {
        self.packets_per_batch.add(packets);
    }

    /// Notes a finished round; `sample`'s `stamp` is not looked at.
    pub(crate) fn round(&mut self, now: Nanos, mut sample: Sample) {
        self.round += 1;
        sample.stamp = self.round;
        sample.rounds = 1;
        self.cycles.add(sample.cycles);
        self.packets.add(sample.packets);
        self.upcalls.add(sample.upcalls);
        self.queue.add(0);
        if let Some(each) = sample.cycles.checked_div(sample.packets) {
            self.cycles_per_packet.add(each);
            sample.busy_cycles = sample.cycles;
        }
        *self.rounds.current() = sample;
        self.rounds.advance();
        let ms = now.millis();
        let current = self.millis.current();
        if current.stamp != ms {
            let finished = *current;
            self.totals.add(&finished);
            self.millis.advance();
            self.millis.current().stamp = ms;
        }
        self.millis.current().add(&sample);
        if self.log.on.load(Ordering::Relaxed) {
            self.watch(&sample);
        }
    }

    /// Looks for suspicious rounds, and writes those whose neighbourhood is complete.
    fn watch(&mut self, sample: &Sample) {
        if sample.cycles > self.log.cycles.load(Ordering::Relaxed) {
            self.suspect(sample);
        }
        if let Some(s) = self.suspect.take_if(|s| s.last <= sample.stamp) {
            self.tell(&s, sample.stamp);
        }
    }

    #[cold]
    fn suspect(&mut self, sample: &Sample) {
        let rules = self.log.rules();
        let last = sample.stamp + u64::from(rules.after);
        let new = Suspect {
            stamp: sample.stamp,
            cycles: sample.cycles,
            first: sample.stamp.saturating_sub(rules.before.into()).max(1),
            last,
        };
        match &mut self.suspect {
            None => self.suspect = Some(new),
            Some(old) if rules.extend => {
                log_suspect(old);
                // What is shown has to be remembered still.
                let last = last.min(old.first + HISTORY_LEN as u64 - 2);
                *old = Suspect {
                    first: old.first,
                    last,
                    ..new
                };
            }
            Some(_) => {}
        }
    }

    #[cold]
    fn tell(&self, s: &Suspect, now: u64) {
        log_suspect(s);
        let n = usize::try_from(now + 1 - s.first).unwrap_or(HISTORY_LEN);
        let mut text = String::new();
        show_rounds(&mut text, self, n.min(HISTORY_LEN - 1));
        base::log_rl!(
            SUSPECTS,
            WARN,
            "pmd_perf",
            "Neighborhood of suspicious iteration:\n{}",
            text.trim_end_matches('\n')
        );
    }
}

static SUSPECTS: base::log::RateLimit = base::log::RateLimit::new(600, 600);

fn log_suspect(s: &Suspect) {
    let us = u128::from(s.cycles) * 1_000_000 / u128::from(crate::cycles::cycles_per_second());
    base::log_rl!(
        SUSPECTS,
        WARN,
        "pmd_perf",
        "Suspicious iteration (Excessive total cycles): iter={} duration={us} us",
        s.stamp
    );
}

fn each(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(0)
}

/// The table of the last `n` rounds.
pub(crate) fn show_rounds(out: &mut String, perf: &Perf, n: usize) {
    if n == 0 {
        return;
    }
    put!(
        out,
        "   {:<17}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}\n",
        "iter",
        "cycles",
        "packets",
        "cycles/pkt",
        "pkts/batch",
        "vhost qlen",
        "upcalls",
        "cycles/upcall"
    );
    for s in perf.rounds.last(n) {
        put!(
            out,
            "   {:<17}   {:<11}  {:<11}  {:<11}  {:<11}  {:<11}  {:<11}  {:<11}\n",
            s.stamp,
            s.cycles,
            s.packets,
            each(s.cycles, s.packets),
            each(s.packets, s.batches),
            0,
            s.upcalls,
            0
        );
    }
}

/// The table of the last `n` milliseconds.
pub(crate) fn show_millis(out: &mut String, perf: &Perf, n: usize) {
    if n == 0 {
        return;
    }
    put!(
        out,
        "   {:<12}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}   {:<10}\n",
        "ms",
        "iterations",
        "cycles/it",
        "Kpps",
        "cycles/pkt",
        "pkts/batch",
        "vhost qlen",
        "upcalls",
        "cycles/upcall"
    );
    for s in perf.millis.last(n) {
        put!(
            out,
            "   {:<12}   {:<11}  {:<11}  {:<11}  {:<11}  {:<11}  {:<11}  {:<11}  {:<11}\n",
            s.stamp,
            s.rounds,
            each(s.cycles, s.rounds),
            s.packets,
            each(s.busy_cycles, s.packets),
            each(s.packets, s.batches),
            0,
            s.upcalls,
            0
        );
    }
}

/// All histograms side by side, and averages over everything measured.
pub(crate) fn show_histograms(out: &mut String, p: &Perf) {
    let columns = [
        &p.cycles,
        &p.packets,
        &p.cycles_per_packet,
        &p.packets_per_batch,
        &p.queue,
        &p.upcalls,
        &p.cycles_per_upcall,
    ];
    out.push_str("Histograms\n");
    let mut names = [
        "cycles/it",
        "packets/it",
        "cycles/pkt",
        "pkts/batch",
        "max vhost qlen",
        "upcalls/it",
        "cycles/upcall",
    ];
    heads(out, names);
    for i in 0..HISTOGRAM_BINS {
        for (n, h) in columns.iter().enumerate() {
            let gap = ["  ", "   "][usize::from(n == 0)];
            let wall = h
                .walls
                .get(i)
                .map_or_else(|| ">".to_owned(), u32::to_string);
            put!(out, "{gap}{wall:<9} {:<11}", h.bins[i]);
        }
        out.push('\n');
    }
    let t = &p.totals;
    if t.rounds == 0 {
        return;
    }
    put!(out, "{:-<154}\n", "");
    names[4] = "vhost qlen";
    heads(out, names);
    put!(
        out,
        "   {:<21}  {:<21.5}  {:<21}  {:<21.5}  {:<21.5}  {:<21.5}  {:<21}\n",
        each(t.cycles, t.rounds),
        ratio(t.packets, t.rounds),
        each(t.busy_cycles, t.packets),
        ratio(t.packets, t.batches),
        0.0,
        ratio(t.upcalls, t.rounds),
        0
    );
}

fn heads(out: &mut String, names: [&str; 7]) {
    let row = names.map(|n| format!("{n:<21}")).join("  ");
    put!(out, "   {row}\n");
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walls_are_the_peers() {
        let p = Perf::new();
        let cycles = &p.cycles.walls;
        assert_eq!(
            (&cycles[..4], &cycles[27..]),
            (
                &[499, 716, 1025, 1469][..],
                &[8_167_461, 11_698_454, 16_755_981, 24_000_000][..]
            )
        );
        assert_eq!(
            p.packets.walls[..14],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 17]
        );
        assert_eq!(p.packets.walls[28..], [621, 788, 1000]);
        assert_eq!(p.cycles_per_packet.walls[..4], [100, 1096, 2093, 3090]);
        assert_eq!(p.packets_per_batch.walls[13..17], [13, 14, 16, 17]);
        assert_eq!(
            p.queue.walls[20..],
            [59, 73, 91, 113, 140, 174, 216, 268, 332, 412, 512]
        );
        assert_eq!(p.upcalls.walls[..3], [0, 1, 2]);
        assert_eq!(p.cycles_per_upcall.walls[..3], [999, 1258, 1584]);
        assert_eq!(p.cycles_per_upcall.walls[29..], [794_328, 1_000_000]);
    }

    #[test]
    fn values_fall_into_their_bins() {
        let mut h = Histogram::linear(0, 30);
        for v in [0, 1, 1, 30, 31, 1 << 40] {
            h.add(v);
        }
        assert_eq!((h.bins[0], h.bins[1], h.bins[30], h.bins[31]), (1, 2, 1, 2));
    }

    fn sample(cycles: u64, packets: u64) -> Sample {
        Sample {
            cycles,
            packets,
            batches: 1,
            ..Sample::default()
        }
    }

    #[test]
    fn rounds_and_milliseconds_are_remembered() {
        let mut p = Perf::new();
        for i in 0..1500 {
            p.round(Nanos::from_millis(10 + i / 100), sample(100 + i, i % 2));
        }
        let last: Vec<u64> = p.rounds.last(3).map(|s| s.stamp).collect();
        assert_eq!(last, [1500, 1499, 1498]);
        let ms: Vec<_> = p
            .millis
            .last(2)
            .map(|s| (s.stamp, s.rounds, s.packets))
            .collect();
        assert_eq!(ms, [(23, 100, 50), (22, 100, 50)]);
        assert_eq!((p.totals.rounds, p.totals.packets), (1400, 700));
        let mut text = String::new();
        show_rounds(&mut text, &p, 1);
        let row = "   1500                1599         1            1599         1            0            0            0          \n";
        assert!(text.ends_with(row), "{text}");
        show_histograms(&mut text, &p);
        show_millis(&mut text, &p, 2);
        assert!(text.contains("\n   >         0            >         0 "));
    }
}
