//! Texts for people: which thread polls what and how busy it is. The forms are those of
//! `ovs-appctl dpif-netdev/pmd-rxq-show`, `pmd-stats-show` and `pmd-perf-show`, byte for byte.

use crate::cycles::cycles_per_second;
use crate::dp::Datapath;
use crate::limits::{HISTORY_LEN, INTERVAL_S, INTERVALS};
use crate::pmd::perf::{Perf, ratio, show_histograms, show_millis, show_rounds};
use crate::pmd::{Figures, Pmd, PmdHandle, PmdShared, RxqLoad};
use base::clock::Clock;
use base::sync::{Arc, Ordering};
use dpif::PmdId;
use std::collections::BTreeSet;
use std::fmt::Write;

fn percent(a: u64, b: u64) -> f64 {
    100.0 * ratio(a, b)
}

fn selected(dp: &Datapath, core: Option<u32>) -> Vec<Arc<PmdHandle>> {
    let pmds = dp.pmds();
    // The thread of ports that are not polled comes last, as its number is the highest.
    let mut pmds: Vec<_> = pmds.iter().cloned().collect();
    pmds.sort_by_key(|p| p.shared.id);
    pmds.retain(|p| core.is_none_or(|c| p.shared.id == PmdId(c)));
    pmds
}

fn title(out: &mut String, pmd: &PmdShared) {
    match pmd.core {
        Some(core) => put!(out, "pmd thread numa_id {} core_id {}:\n", pmd.numa, core.0),
        None => out.push_str("main thread:\n"),
    }
}

/// `pmd-stats-show`; with `core` only that thread's. Cycles of the main thread, which does other things too, are not
/// shown.
#[must_use]
pub fn pmd_stats(dp: &Datapath, core: Option<u32>) -> String {
    let mut out = String::new();
    for pmd in selected(dp, core) {
        title(&mut out, &pmd.shared);
        let f = pmd.shared.figures();
        packet_figures(&mut out, &f);
        if pmd.shared.core.is_some() {
            cycle_figures(&mut out, &f);
        }
    }
    out
}

fn packet_figures(out: &mut String, f: &Figures) {
    let passes = if f.received > 0 {
        ratio(f.received + f.recirculated, f.received)
    } else {
        0.0
    };
    put!(
        out,
        "  packets received: {}\n  packet recirculations: {}\n  avg. datapath passes per packet: {passes:.2}\n",
        f.received,
        f.recirculated
    );
    put!(
        out,
        "  phwol hits: 0\n  mfex opt hits: 0\n  simple match hits: 0\n  emc hits: {}\n  smc hits: 0\n",
        f.first
    );
    put!(
        out,
        "  megaflow hits: {}\n  avg. subtable lookups per megaflow hit: {:.2}\n",
        f.searched,
        ratio(f.probes, f.searched)
    );
    put!(
        out,
        "  miss with success upcall: {}\n  miss with failed upcall: {}\n  avg. packets per output batch: {:.2}\n",
        f.missed.saturating_sub(f.lost),
        f.lost,
        ratio(f.sent, f.sent_batches)
    );
}

fn cycle_figures(out: &mut String, f: &Figures) {
    let all = f.idle + f.busy;
    if all == 0 {
        return;
    }
    put!(
        out,
        "  idle cycles: {} ({:.2}%)\n  processing cycles: {} ({:.2}%)\n",
        f.idle,
        percent(f.idle, all),
        f.busy,
        percent(f.busy, all)
    );
    if f.received == 0 {
        return;
    }
    put!(
        out,
        "  avg cycles per packet: {:.2} ({all}/{})\n",
        ratio(all, f.received),
        f.received
    );
    put!(
        out,
        "  avg processing cycles per packet: {:.2} ({}/{})\n",
        ratio(f.busy, f.received),
        f.busy,
        f.received
    );
}

/// `pmd-stats-clear`: all figures of `pmd-stats-show` and `pmd-perf-show` begin at zero again.
pub fn clear_stats(dp: &Datapath, core: Option<u32>) {
    for pmd in selected(dp, core) {
        pmd.shared.clear_figures(dp.common.clock.now());
        // A thread that is gone by now has nothing to clear.
        let _ = pmd.call(Pmd::clear_perf);
    }
}

/// One queue in `pmd-rxq-show`.
struct Shown {
    port: String,
    queue: u32,
    load: Arc<RxqLoad>,
}

/// `pmd-rxq-show`: what each thread polls, and its load over the last `secs` seconds (0 or too many: as
/// long as is known).
#[must_use]
pub fn pmd_rxq(dp: &Datapath, core: Option<u32>, secs: u64) -> String {
    let longest = INTERVAL_S * INTERVALS as u64;
    let secs = match secs {
        1.. if secs <= longest => secs.next_multiple_of(INTERVAL_S),
        _ => longest,
    };
    let intervals = usize::try_from(secs / INTERVAL_S).unwrap_or(INTERVALS);
    let mut queues = Vec::new();
    dp.each_port(|port| {
        for (queue, by, load) in port.loads() {
            let shown = Shown {
                port: port.device.name().to_owned(),
                queue,
                load: Arc::clone(load),
            };
            queues.push((by, shown));
        }
    });
    let pmds = selected(dp, core);
    if pmds.is_empty() {
        return String::new();
    }
    let mut out = format!("Displaying last {secs} seconds pmd usage %\n");
    for pmd in pmds.iter().filter(|p| p.shared.core.is_some()) {
        let id = Some(pmd.shared.id);
        let mut own: Vec<&Shown> = queues.iter().filter(|q| q.0 == id).map(|q| &q.1).collect();
        own.sort_by(|a, b| (&a.port, a.queue).cmp(&(&b.port, b.queue)));
        rxqs_of(&mut out, pmd, &own, intervals);
    }
    out
}

fn rxqs_of(out: &mut String, pmd: &PmdHandle, queues: &[&Shown], intervals: usize) {
    let shared = &pmd.shared;
    title(out, shared);
    let isolated = pmd.isolated.load(Ordering::Relaxed);
    put!(out, "  isolated : {isolated}\n");
    let all = shared.totals.interval.load(Ordering::Relaxed) * intervals as u64;
    let busy = shared.totals.busy_history.sum(intervals).min(all);
    let mut polled = 0;
    for q in queues {
        let cycles = q.load.history.sum(intervals);
        polled += cycles;
        let enabled = if q.load.gone.load(Ordering::Relaxed) {
            "(disabled)"
        } else {
            "(enabled) "
        };
        put!(
            out,
            "  port: {:<16}  queue-id: {:2} {enabled}  pmd usage: ",
            q.port,
            q.queue
        );
        usage(out, cycles, all);
    }
    if !queues.is_empty() {
        out.push_str("  overhead: ");
        usage(out, busy.saturating_sub(polled), all);
    }
}

fn usage(out: &mut String, part: u64, all: u64) {
    match (part * 100).checked_div(all) {
        Some(share) => put!(out, "{share:2} %\n"),
        None => out.push_str("NOT AVAIL\n"),
    }
}

/// What `pmd-perf-show` shows beyond totals, when `pmd-perf-metrics` is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerfParts {
    /// Histograms.
    pub histograms: bool,
    /// So many of the last rounds.
    pub rounds: usize,
    /// So many of the last milliseconds.
    pub millis: usize,
}

/// `pmd-perf-show`, for packet threads of polled ports.
#[must_use]
pub fn pmd_perf(dp: &Datapath, core: Option<u32>, parts: PerfParts) -> String {
    let mut out = String::new();
    for pmd in selected(dp, core) {
        if pmd.shared.core.is_none() {
            continue;
        }
        let since = base::clock::Nanos(pmd.shared.totals.since.load(Ordering::Relaxed));
        let lasted = dp.common.clock.now().since(since).as_secs_f64();
        put!(
            out,
            "\nTime: {}\nMeasurement duration: {lasted:.3} s\n\n",
            time_of_day()
        );
        title(&mut out, &pmd.shared);
        out.push('\n');
        if lasted > 0.0 {
            rounds(&mut out, &pmd.shared.figures(), lasted);
            packets(&mut out, &pmd.shared.figures(), lasted);
        }
        if let Some(perf) = pmd.call(|p| p.perf()).flatten() {
            distributions(&mut out, &perf, parts);
        }
    }
    out
}

fn distributions(out: &mut String, perf: &Perf, parts: PerfParts) {
    if parts.histograms {
        out.push('\n');
        show_histograms(out, perf);
    }
    if parts.rounds > 0 {
        out.push('\n');
        show_rounds(out, perf, parts.rounds.min(HISTORY_LEN));
    }
    if parts.millis > 0 {
        out.push('\n');
        show_millis(out, perf, parts.millis.min(HISTORY_LEN));
    }
}

/// Wall-clock time of day with milliseconds (UTC).
fn time_of_day() -> String {
    let now = Clock::wall();
    let s = now.as_secs() % 86_400;
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    format!("{h:02}:{m:02}:{s:02}.{:03}", now.subsec_millis())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn rounds(out: &mut String, f: &Figures, lasted: f64) {
    let hz = cycles_per_second() as f64;
    let us = |cycles: u64| cycles as f64 * 1e6 / hz;
    let used = f.idle + f.busy;
    let all = f.idle_rounds + f.busy_rounds;
    let each = if all > 0 {
        us(used + f.asleep) / all as f64
    } else {
        0.0
    };
    put!(out, "  Iterations:         {all:12}  ({each:.2} us/it)\n");
    put!(
        out,
        "  - Used TSC cycles:  {used:12}  ({:5.1} % of total cycles)\n",
        100.0 * used as f64 / lasted / hz
    );
    put!(
        out,
        "  - idle iterations:  {:12}  ({:5.1} % of used cycles)\n",
        f.idle_rounds,
        percent(f.idle, used)
    );
    put!(
        out,
        "  - busy iterations:  {:12}  ({:5.1} % of used cycles)\n",
        f.busy_rounds,
        percent(f.busy, used)
    );
    put!(
        out,
        "  - sleep iterations: {:12}  ({:5.1} % of iterations)\n",
        f.sleeps,
        percent(f.sleeps, all)
    );
    let per_sleep = if f.sleeps > 0 {
        us(f.asleep) / f.sleeps as f64
    } else {
        0.0
    };
    put!(
        out,
        "  Sleep time (us):    {:12.0}  ({per_sleep:3.0} us/iteration avg.)\n",
        us(f.asleep)
    );
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn packets(out: &mut String, f: &Figures, lasted: f64) {
    let kpps = |n: u64| n as f64 / lasted / 1000.0;
    if f.received == 0 {
        put!(out, "  Rx packets:         {:12}\n", 0);
    } else {
        let passes = f.received + f.recirculated;
        put!(
            out,
            "  Rx packets:         {:12}  ({:.0} Kpps, {:.0} cycles/pkt)\n",
            f.received,
            kpps(f.received),
            ratio(f.busy, f.received)
        );
        put!(
            out,
            "  Datapath passes:    {passes:12}  ({:.2} passes/pkt)\n",
            ratio(passes, f.received)
        );
        let mut hits = |name: &str, n: u64| {
            put!(
                out,
                "  - {name:<18}{n:12}  ({:5.1} %)\n",
                percent(n, passes)
            );
        };
        hits("PHWOL hits:", 0);
        hits("MFEX Opt hits:", 0);
        hits("Simple Match hits:", 0);
        hits("EMC hits:", f.first);
        hits("SMC hits:", 0);
        put!(
            out,
            "  - Megaflow hits:    {:12}  ({:5.1} %, {:.2} subtbl lookups/hit)\n",
            f.searched,
            percent(f.searched, passes),
            ratio(f.probes, f.searched)
        );
        let up = f.missed.saturating_sub(f.lost);
        // Handlers translate, not this thread: an upcall takes none of its time worth measuring.
        put!(
            out,
            "  - Upcalls:          {up:12}  ({:5.1} %, 0.0 us/upcall)\n",
            percent(up, passes)
        );
        put!(
            out,
            "  - Lost upcalls:     {:12}  ({:5.1} %)\n",
            f.lost,
            percent(f.lost, passes)
        );
    }
    if f.sent == 0 {
        put!(out, "  Tx packets:         {:12}\n\n", 0);
    } else {
        put!(
            out,
            "  Tx packets:         {:12}  ({:.0} Kpps)\n  Tx batches:         {:12}  ({:.2} pkts/batch)\n",
            f.sent,
            kpps(f.sent),
            f.sent_batches,
            ratio(f.sent, f.sent_batches)
        );
    }
}

/// `ringway/pmd-sleep-show`: how long each thread sleeps and how long it takes to wake. A message is sent to
/// each, and answered when it runs: to one that sleeps, that is the time to wake.
#[must_use]
pub fn pmd_sleep(dp: &Datapath, core: Option<u32>) -> String {
    let hz = cycles_per_second().max(1);
    let us = |cycles: u64| ratio(cycles, hz) * 1e6;
    let mut out = String::new();
    for pmd in selected(dp, core) {
        title(&mut out, &pmd.shared);
        let begun = crate::cycles::cycles();
        let ran = pmd.call(|_| crate::cycles::cycles()).unwrap_or(begun);
        let t = &pmd.shared.totals;
        put!(
            out,
            "  sleeps: {}, {:.0} us asleep\n",
            t.sleeps.get(),
            us(t.asleep.get())
        );
        put!(
            out,
            "  naps: {}, late by {:.1} us on average, {:.1} us at most\n",
            t.naps.get(),
            us(t.late.get()) / ratio(t.naps.get().max(1), 1),
            us(t.latest.get())
        );
        put!(
            out,
            "  time to wake for a message, just now: {:.1} us\n",
            us(ran.saturating_sub(begun))
        );
    }
    out
}

/// Cores of the threads that poll ports, in order.
#[must_use]
pub fn pmd_cores(dp: &Datapath) -> Vec<u32> {
    let pmds = selected(dp, None);
    pmds.iter()
        .filter_map(|p| p.shared.core.map(|c| c.0))
        .collect()
}

/// Places where polled packets are looked up: (thread and ingress port) pairs that have flows, and distinct
/// masks over all of them. Looks at every flow.
#[must_use]
pub fn lookup_places(dp: &Datapath) -> (usize, usize) {
    let (mut ports, mut masks) = (BTreeSet::new(), BTreeSet::new());
    for pmd in selected(dp, None) {
        if pmd.shared.core.is_none() {
            continue;
        }
        let list = &pmd.shared.list;
        for flow in (0..list.slots()).filter_map(|slot| list.get(slot)) {
            let place = (pmd.shared.id, flow.source().0);
            ports.insert(place);
            masks.insert((place, Arc::as_ptr(&flow.mask).addr()));
        }
    }
    (ports.len(), masks.len())
}
