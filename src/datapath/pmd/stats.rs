//! Load figures of packet threads and rx queues: cycles, per interval of a few seconds.
//!
//! Written by the packet thread (relaxed), read by anybody.

use crate::limits::{INTERVAL_S, INTERVALS};
use base::clock::Nanos;
use base::sync::{AtomicBool, AtomicU64, AtomicUsize, Counter, Mutex, Ordering, lock};

/// The last [`INTERVALS`] values of a figure.
#[derive(Debug)]
pub(crate) struct History {
    values: [AtomicU64; INTERVALS],
    next: AtomicUsize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            values: [const { AtomicU64::new(0) }; INTERVALS],
            next: AtomicUsize::new(0),
        }
    }
}

impl History {
    fn push(&self, value: u64) {
        let at = self.next.load(Ordering::Relaxed);
        self.values[at % INTERVALS].store(value, Ordering::Relaxed);
        self.next.store(at + 1, Ordering::Relaxed);
    }
    /// Forgets everything.
    fn clear(&self) {
        self.next.store(0, Ordering::Relaxed);
    }
    /// The sum of the last `n` values.
    pub(crate) fn sum(&self, n: usize) -> u64 {
        let next = self.next.load(Ordering::Relaxed);
        (1..=n.min(INTERVALS).min(next))
            .map(|back| self.values[(next - back) % INTERVALS].load(Ordering::Relaxed))
            .sum()
    }
}

/// Load of one rx queue. Outlives the queue's moves between threads.
#[derive(Debug, Default)]
pub(crate) struct RxqLoad {
    /// Cycles spent on its packets.
    pub(crate) cycles: Counter,
    pub(crate) packets: Counter,
    pub(crate) history: History,
    /// `cycles` when the current interval began.
    begun: AtomicU64,
    /// Its device is gone.
    pub(crate) gone: AtomicBool,
}

impl RxqLoad {
    /// Forgets the past: the queue came to another thread.
    fn restart(&self) {
        self.history.clear();
        self.begun.store(self.cycles.get(), Ordering::Relaxed);
    }
}

/// What control threads want of all packet threads of a datapath; read once a round or less.
#[derive(Debug)]
pub(crate) struct Tuning {
    /// `pmd-maxsleep`, microseconds; [`u64::MAX`] when it is not said.
    pub(crate) max_sleep_us: AtomicU64,
    /// Histograms and histories are kept.
    pub(crate) metrics: AtomicBool,
    /// Percent of an interval from which a thread counts as overloaded; [`u64::MAX`] when nobody asks.
    pub(crate) overload_percent: AtomicU64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            max_sleep_us: AtomicU64::new(u64::MAX),
            metrics: AtomicBool::new(false),
            overload_percent: AtomicU64::new(u64::MAX),
        }
    }
}

/// Totals of one packet thread.
#[derive(Debug)]
pub(crate) struct PmdTotals {
    pub(crate) received: Counter,
    pub(crate) batches: Counter,
    pub(crate) recirculated: Counter,
    /// Misses that were sent up.
    pub(crate) upcalls: Counter,
    /// Upcalls that could not be sent.
    pub(crate) lost: Counter,
    pub(crate) panics: Counter,
    // ---- in cycles
    pub(crate) busy: Counter,
    pub(crate) idle: Counter,
    pub(crate) asleep: Counter,
    // ---- rounds of polling
    pub(crate) busy_rounds: Counter,
    pub(crate) idle_rounds: Counter,
    pub(crate) sleeps: Counter,
    /// Sleeps that ended by themselves; by how many cycles too late they did, together and at most.
    pub(crate) naps: Counter,
    pub(crate) late: Counter,
    pub(crate) latest: Counter,
    /// Cycles of an interval, busy or not; 0 before the first has passed.
    pub(crate) interval: AtomicU64,
    pub(crate) busy_history: History,
    /// Intervals in a row in which it was overloaded, see [`Tuning`].
    pub(crate) overloaded: AtomicU64,
    /// When these totals began, nanoseconds of the clock.
    pub(crate) since: AtomicU64,
    /// What they stood at when they were last cleared (`pmd-stats-clear`).
    cleared: Mutex<Figures>,
}

/// Everything that is counted for a packet thread, at one time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) received: u64,
    pub(crate) recirculated: u64,
    /// Found in the first place looked at.
    pub(crate) first: u64,
    /// Found in a subtable, and subtables probed for that.
    pub(crate) searched: u64,
    pub(crate) probes: u64,
    /// Not found; of these, not sent up.
    pub(crate) missed: u64,
    pub(crate) lost: u64,
    pub(crate) sent: u64,
    pub(crate) sent_batches: u64,
    pub(crate) busy: u64,
    pub(crate) idle: u64,
    pub(crate) asleep: u64,
    pub(crate) busy_rounds: u64,
    pub(crate) idle_rounds: u64,
    pub(crate) sleeps: u64,
}

impl Figures {
    /// The figures now, since the thread began.
    fn read(shared: &super::PmdShared) -> Self {
        let (t, l) = (&shared.totals, &shared.lookups);
        Self {
            received: t.received.get(),
            recirculated: t.recirculated.get(),
            first: l.first.get(),
            searched: l.searched.get(),
            probes: l.probes.get(),
            missed: l.missed.get(),
            lost: t.lost.get(),
            sent: shared.tx.packets.get(),
            sent_batches: shared.tx.batches.get(),
            busy: t.busy.get(),
            idle: t.idle.get(),
            asleep: t.asleep.get(),
            busy_rounds: t.busy_rounds.get(),
            idle_rounds: t.idle_rounds.get(),
            sleeps: t.sleeps.get(),
        }
    }

    fn minus(self, o: &Self) -> Self {
        Self {
            received: self.received.saturating_sub(o.received),
            recirculated: self.recirculated.saturating_sub(o.recirculated),
            first: self.first.saturating_sub(o.first),
            searched: self.searched.saturating_sub(o.searched),
            probes: self.probes.saturating_sub(o.probes),
            missed: self.missed.saturating_sub(o.missed),
            lost: self.lost.saturating_sub(o.lost),
            sent: self.sent.saturating_sub(o.sent),
            sent_batches: self.sent_batches.saturating_sub(o.sent_batches),
            busy: self.busy.saturating_sub(o.busy),
            idle: self.idle.saturating_sub(o.idle),
            asleep: self.asleep.saturating_sub(o.asleep),
            busy_rounds: self.busy_rounds.saturating_sub(o.busy_rounds),
            idle_rounds: self.idle_rounds.saturating_sub(o.idle_rounds),
            sleeps: self.sleeps.saturating_sub(o.sleeps),
        }
    }
}

impl super::PmdShared {
    /// The figures since the last clear.
    pub(crate) fn figures(&self) -> Figures {
        Figures::read(self).minus(&lock(&self.totals.cleared))
    }

    /// Shows every figure as zero from here on. Only the packet thread writes the counters, so what they
    /// stand at is remembered and subtracted.
    pub(crate) fn clear_figures(&self, now: Nanos) {
        *lock(&self.totals.cleared) = Figures::read(self);
        self.totals.since.store(now.0, Ordering::Relaxed);
    }
}

impl PmdTotals {
    pub(crate) fn new(now: Nanos) -> Self {
        Self {
            received: Counter::new(),
            batches: Counter::new(),
            recirculated: Counter::new(),
            upcalls: Counter::new(),
            lost: Counter::new(),
            panics: Counter::new(),
            busy: Counter::new(),
            idle: Counter::new(),
            asleep: Counter::new(),
            busy_rounds: Counter::new(),
            idle_rounds: Counter::new(),
            sleeps: Counter::new(),
            naps: Counter::new(),
            late: Counter::new(),
            latest: Counter::new(),
            interval: AtomicU64::new(0),
            busy_history: History::default(),
            overloaded: AtomicU64::new(0),
            since: AtomicU64::new(now.0),
            cleared: Mutex::default(),
        }
    }
}

/// The interval at hand.
#[derive(Debug)]
pub(super) struct Interval {
    until: Nanos,
    busy: u64,
    all: u64,
}

/// Cycles so far: busy, and altogether.
fn cycles_of(totals: &PmdTotals) -> (u64, u64) {
    let busy = totals.busy.get();
    (busy, busy + totals.idle.get() + totals.asleep.get())
}

impl Interval {
    pub(super) fn new(now: Nanos) -> Self {
        Self {
            until: now.plus_millis(INTERVAL_S * 1000),
            busy: 0,
            all: 0,
        }
    }

    /// Begins anew, without a past: what the thread polls has changed.
    pub(super) fn restart<'a>(
        &mut self,
        now: Nanos,
        totals: &PmdTotals,
        rxqs: impl Iterator<Item = &'a RxqLoad>,
    ) {
        self.until = now.plus_millis(INTERVAL_S * 1000);
        (self.busy, self.all) = cycles_of(totals);
        totals.busy_history.clear();
        totals.interval.store(0, Ordering::Relaxed);
        totals.overloaded.store(0, Ordering::Relaxed);
        rxqs.for_each(RxqLoad::restart);
    }

    /// Closes the interval when its time has come. From `overload_percent` of it busy, it counts as
    /// overloaded.
    pub(super) fn run<'a>(
        &mut self,
        now: Nanos,
        totals: &PmdTotals,
        overload_percent: u64,
        rxqs: impl Iterator<Item = &'a RxqLoad>,
    ) {
        if now < self.until {
            return;
        }
        let (busy, all) = cycles_of(totals);
        let (of_busy, of_all) = (busy - self.busy, all - self.all);
        totals.busy_history.push(of_busy);
        totals.interval.store(of_all, Ordering::Relaxed);
        let load = (of_busy * 100).checked_div(of_all).unwrap_or(0);
        let count = totals.overloaded.load(Ordering::Relaxed);
        let count = if load >= overload_percent {
            count + 1
        } else {
            0
        };
        totals.overloaded.store(count, Ordering::Relaxed);
        (self.busy, self.all) = (busy, all);
        for load in rxqs {
            let cycles = load.cycles.get();
            let begun = load.begun.swap(cycles, Ordering::Relaxed);
            load.history.push(cycles - begun);
        }
        // One interval, however late: after a jump of the clock there is nothing to say about the gap.
        self.until = now.plus_millis(INTERVAL_S * 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_keep_the_last() {
        let h = History::default();
        assert_eq!(h.sum(5), 0);
        for v in 1..=20 {
            h.push(v);
        }
        assert_eq!(h.sum(1), 20);
        assert_eq!(h.sum(100), (9..=20).sum::<u64>());
    }

    #[test]
    fn intervals_close_on_time() {
        let (totals, load) = (PmdTotals::new(Nanos::ZERO), RxqLoad::default());
        let mut interval = Interval::new(Nanos::ZERO);
        totals.busy.set(30);
        totals.idle.set(70);
        load.cycles.set(25);
        let mut run = |ms, percent| {
            let now = Nanos::from_millis(ms);
            interval.run(now, &totals, percent, [&load].into_iter());
            totals.overloaded.load(Ordering::Relaxed)
        };
        assert_eq!(run(4999, 30), 0);
        assert_eq!(totals.interval.load(Ordering::Relaxed), 0);
        assert_eq!(run(5000, 30), 1);
        assert_eq!(totals.interval.load(Ordering::Relaxed), 100);
        assert_eq!(
            (totals.busy_history.sum(12), load.history.sum(12)),
            (30, 25)
        );
        totals.busy.set(130);
        assert_eq!((run(10_000, 100), run(15_000, 100)), (2, 0));
        interval.restart(Nanos::from_millis(16_000), &totals, [&load].into_iter());
        assert_eq!(totals.interval.load(Ordering::Relaxed), 0);
        assert_eq!((totals.busy_history.sum(12), load.history.sum(12)), (0, 0));
    }
}
