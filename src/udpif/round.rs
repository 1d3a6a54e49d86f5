//! Rounds: mark what changes concern, translate it again, dump, sweep.
//!
//! A *quick* round follows changes: it marks and translates only what the index names, and costs nothing
//! when nothing is concerned. A *full* round also dumps, every `max-revalidator` milliseconds or when
//! somebody waits for one. The phases of a round are walked by all revalidators together; nobody begins a
//! phase before everybody has finished the one before.
//!
//! The round lock is held by the leader for a whole round, and by whoever purges; so a purge never meets a
//! dump.

use crate::core::Core;
use crate::deps::ChangeSet;
use crate::dump::{Tally, Terms, dump, purge, sweep};
use crate::limit::AgeHistogram;
use crate::map::{SHARDS, UkeyMap};
use crate::reason::DelReason;
use crate::revalidate::{Ops, Revalidation};
use crate::translator::Translator;
use base::clock::Nanos;
use base::sync::{Arc, AtomicI64, AtomicU64, Barrier, Mutex, MutexGuard, Ordering, lock};
use dpif::{FlowDump, FlowSelect};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A dump that takes longer is worth a line in the log, milliseconds.
const DUMP_TOO_LONG_MS: u64 = 2_000;

/// What the round lock protects.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// How idle the flows were at the last dump.
    ages: AgeHistogram,
}

/// A round, the same for all its workers.
#[derive(Debug)]
pub(crate) struct Plan<P> {
    now: Nanos,
    changes: ChangeSet<P>,
    posted: u64,
    verify: bool,
    n_flows: u64,
    full: Option<(Terms, Arc<dyn FlowDump>)>,
    /// Filled in by the workers.
    ages: Mutex<AgeHistogram>,
}

/// The rounds of one udpif.
#[derive(Debug)]
pub(crate) struct Rounds<T: Translator> {
    pub(crate) core: Arc<Core<T>>,
    held: Mutex<Held>,
    /// Full rounds begun and finished.
    begun: AtomicU64,
    done: AtomicU64,
    /// A full round of at least this number is wanted.
    wanted: AtomicU64,
}

impl<T: Translator> Rounds<T> {
    pub(crate) fn new(core: Arc<Core<T>>) -> Self {
        Self {
            core,
            held: Mutex::new(Held::default()),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
        }
    }

    /// The round lock.
    pub(crate) fn hold(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Asks for a full round that begins after this call; returns its number, for [`Self::is_done`].
    pub(crate) fn request(&self) -> u64 {
        let token = self.begun.load(Ordering::Acquire) + 1; // pairs with the Release in begin()
        self.wanted.fetch_max(token, Ordering::AcqRel); // pairs with the Acquire in is_wanted()
        self.core.pending.wake.change();
        token
    }
    /// True when the full round of that number is over.
    pub(crate) fn is_done(&self, token: u64) -> bool {
        self.done.load(Ordering::Acquire) >= token // pairs with the Release in finish()
    }
    /// True when a full round was asked for and has not begun.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire) > self.begun.load(Ordering::Acquire) // pairs with request()
    }

    /// Begins a round. Called by the leader, with the round lock held.
    pub(crate) fn begin(&self, held: &Held, full: bool) -> Plan<T::Probe> {
        let core = &self.core;
        let now = core.clock.now();
        core.pace.begin(now);
        let settings = **core.settings.load();
        let number = full.then(|| {
            let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1; // pairs with request()
            core.translator.run();
            core.round.store(number, Ordering::Relaxed);
            number
        });
        // Taken after the round was counted as begun: a request sees its changes in its round.
        let (changes, posted) = core.pending.take();
        let n_flows = core.n_flows();
        core.max_flows.fetch_max(n_flows, Ordering::Relaxed);
        let full = number.map(|round| {
            let avg = core.avg_flows.load(Ordering::Relaxed);
            core.avg_flows
                .store(u64::midpoint(avg, n_flows), Ordering::Relaxed);
            let limit = core.limit();
            let live = core.map.live() as u64;
            let excess = if live > 2 * u64::from(limit) {
                live - u64::from(limit)
            } else {
                0
            };
            let terms = Terms {
                round,
                start: now,
                idle_ms: settings.idle_ms(live.max(n_flows), limit),
                cold_ms: held.ages.coldest(excess),
                excess: AtomicI64::new(i64::try_from(excess).unwrap_or(i64::MAX)),
            };
            let dump = core.dpif.flow_dump(FlowSelect {
                terse: core.ufid.load(Ordering::Relaxed),
                pmd: None,
            });
            (terms, Arc::from(dump))
        });
        Plan {
            now,
            changes,
            posted,
            verify: settings.verify,
            n_flows,
            full,
            ages: Mutex::new(AgeHistogram::default()),
        }
    }

    /// Worker `me` of `n` walks through a round. `barrier` (of `n`) keeps the phases apart.
    pub(crate) fn work(&self, plan: &Plan<T::Probe>, me: usize, n: usize, barrier: &Barrier) {
        phase(|| self.revalidate(plan, me, n));
        barrier.wait();
        if let Some((terms, flows)) = &plan.full {
            phase(|| {
                let tally: Tally<'_, T::Effects> = dump(&self.core, terms, &**flows);
                lock(&plan.ages).merge(&tally.ages);
            });
            barrier.wait();
            phase(|| {
                let mut ops = Ops::default();
                for shard in UkeyMap::<T::Effects>::slice(me, n) {
                    self.core.paced();
                    sweep(&self.core, terms, shard, &mut ops);
                }
            });
            barrier.wait();
        }
    }

    /// Ends a round. Called by the leader, with the round lock still held.
    pub(crate) fn finish(&self, held: &mut Held, plan: &Plan<T::Probe>) {
        if plan.full.is_none() {
            return;
        }
        let core = &self.core;
        held.ages = lock(&plan.ages).clone();
        let (ms, paused_ms) = core.pace.end(core.clock.now());
        let ms = ms.max(1);
        if paused_ms > 0 {
            tracing::info!(
                target: "ofproto_dpif_upcall",
                "Nothing ran for {paused_ms}ms of a dump of flows, as if this process had been stopped"
            );
        }
        core.dump_ms.store(ms, Ordering::Relaxed);
        core.counted_until.store(plan.now.0, Ordering::Relaxed);
        let limit = core
            .settings
            .load()
            .next_limit(core.limit(), ms, plan.n_flows);
        core.flow_limit.store(limit, Ordering::Relaxed);
        if ms > DUMP_TOO_LONG_MS {
            tracing::info!(
                target: "ofproto_dpif_upcall",
                "Spent an unreasonably long {ms}ms dumping flows"
            );
        }
        core.recount_flows();
        self.done.fetch_add(1, Ordering::Release); // pairs with is_done()
        core.pending.wake.change();
    }

    /// A round on the calling thread alone.
    pub(crate) fn run_alone(&self, full: bool) {
        let mut held = self.hold();
        let plan = self.begin(&held, full);
        self.work(&plan, 0, 1, &Barrier::new(1));
        self.finish(&mut held, &plan);
    }

    /// Removes every flow that has a ukey.
    pub(crate) fn purge(&self, reason: DelReason) {
        let _held = self.hold();
        for shard in 0..SHARDS {
            purge(&self.core, shard, reason);
        }
        self.core.recount_flows();
    }

    fn revalidate(&self, plan: &Plan<T::Probe>, me: usize, n: usize) {
        let core = &self.core;
        let work = Revalidation {
            core,
            now: plan.now,
        };
        let concerns = |p: &T::Probe, note: u64, key: &flow::Flow, mask: &flow::Mask| {
            core.translator.concerns(p, note, key, mask)
        };
        let mut ops = Ops::default();
        for shard in UkeyMap::<T::Effects>::slice(me, n) {
            core.map
                .with(shard, |s| s.mark(&plan.changes, plan.posted, &concerns));
            work.shard(shard, plan.verify, &mut ops);
        }
        ops.send(core);
    }
}

/// Runs one phase; a panic in it is logged and does not keep the other workers waiting for ever.
fn phase(body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!(target: "ofproto_dpif_upcall", "a revalidator failed; its round goes on");
    }
}
