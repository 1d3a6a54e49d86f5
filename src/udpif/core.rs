//! What handlers and revalidators share: the datapath, the translator, the ukeys, the numbers.
//!
//! Everything here may be used by any thread. Locks in order: round, shard, leaves (pending changes,
//! interners, settings); nothing is locked while the datapath or the translator is called, except that a
//! round is (see [`crate::round`]).

use crate::counters::Counters;
use crate::deps::Pending;
use crate::limit::Settings;
use crate::map::UkeyMap;
use crate::pace::Pace;
use crate::packed::Shared;
use crate::shard::{Shard, Slot as ShardSlot};
use crate::state::UkeyState;
use crate::translator::Translator;
use base::clock::{Clock, Nanos};
use base::log::RateLimit;
use base::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, Slot, lock};
use dpif::Dpif;
use odp::FlowStats;

/// Milliseconds for which the datapath's own count of flows is believed.
const N_FLOWS_FRESH_MS: u64 = 100;

/// The shared part.
#[derive(Debug)]
pub(crate) struct Core<T: Translator> {
    pub(crate) dpif: Arc<dyn Dpif>,
    pub(crate) translator: Arc<T>,
    pub(crate) clock: Clock,
    pub(crate) map: UkeyMap<T::Effects>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pending: Arc<Pending<T::Probe>>,
    pub(crate) counters: Counters,
    pub(crate) settings: Slot<Settings>,
    /// The dynamic flow limit.
    pub(crate) flow_limit: AtomicU32,
    /// The dump that runs or ran last; 0 before the first.
    pub(crate) round: AtomicU64,
    /// How long the last dump took, milliseconds.
    pub(crate) dump_ms: AtomicU64,
    /// When the last finished dump began.
    pub(crate) counted_until: AtomicU64,
    /// Of the round at hand.
    pub(crate) pace: Pace,
    pub(crate) max_flows: AtomicU64,
    pub(crate) avg_flows: AtomicU64,
    pub(crate) megaflows: AtomicBool,
    pub(crate) ufid: AtomicBool,
    n_flows: Mutex<Option<(u64, Nanos)>>,
}

impl<T: Translator> Core<T> {
    pub(crate) fn new(dpif: Arc<dyn Dpif>, translator: Arc<T>, clock: Clock) -> Self {
        let settings = Settings::default();
        let pending = Arc::new(Pending::default());
        let shared = Arc::default();
        translator.attach(&pending, &shared);
        Self {
            dpif,
            translator,
            clock,
            map: UkeyMap::default(),
            shared,
            pending,
            counters: Counters::default(),
            flow_limit: AtomicU32::new(settings.flow_limit.min(crate::limit::FLOW_LIMIT_START)),
            settings: Slot::from_pointee(settings),
            round: AtomicU64::new(0),
            dump_ms: AtomicU64::new(0),
            counted_until: AtomicU64::new(0),
            pace: Pace::default(),
            max_flows: AtomicU64::new(0),
            avg_flows: AtomicU64::new(0),
            megaflows: AtomicBool::new(true),
            ufid: AtomicBool::new(true),
            n_flows: Mutex::new(None),
        }
    }

    /// Flows in the datapath, as it says itself, at most 100 ms old.
    pub(crate) fn n_flows(&self) -> u64 {
        let now = self.clock.now();
        let mut known = lock(&self.n_flows);
        if let Some((n, at)) = *known
            && now.since(at).as_millis() < u128::from(N_FLOWS_FRESH_MS)
        {
            return n;
        }
        let n = self.dpif.stats().n_flows;
        *known = Some((n, now));
        n
    }

    /// Forgets what the datapath said, after many flows went at once.
    pub(crate) fn recount_flows(&self) {
        *lock(&self.n_flows) = None;
    }

    /// Moves a ukey to its next state; an illegal step is counted and logged.
    pub(crate) fn step(&self, shard: &mut Shard<T::Effects>, slot: ShardSlot, to: UkeyState) {
        static LIMIT: RateLimit = RateLimit::new(1, 5);
        if let Err(illegal) = shard.transition(slot, to) {
            self.counters.illegal_transition.add_shared(1);
            base::log_rl!(LIMIT, WARN, "ofproto_dpif_upcall", "{illegal}");
        }
    }

    /// Credits packets to whom a translation named.
    pub(crate) fn credit(&self, effects: &T::Effects, delta: &FlowStats) {
        if delta.n_packets > 0 {
            self.counters.credited_packets.add_shared(delta.n_packets);
            self.translator.credit(effects, delta);
        }
    }

    /// A worker of the round at hand has done a little more of it.
    pub(crate) fn paced(&self) -> Nanos {
        let now = self.clock.now();
        self.pace.step(now);
        now
    }

    /// The limit now.
    pub(crate) fn limit(&self) -> u32 {
        self.flow_limit.load(Ordering::Relaxed)
    }
}
