//! A packet thread: polls rx queues, looks packets up, runs actions, sends.
//!
//! * [`Pmd`]: everything it owns. Nobody else touches any of it; see [`crate::mailbox`].
//! * [`PmdShared`]: what others see of it: mailbox, flow list, counters.
//! * [`perf`]: distributions, when they are wanted. [`process`]: one batch. [`ops`]: flow operations. [`turn`]: one round of polling, and timers.
//! * [`sleep`]: its body, and when it sleeps. [`handle`]: control threads' end, with or without a thread
//!   behind it.
//!
//! The thread of ports that are not polled (`tap`, `system`, `internal`, `dummy`) is one of these too; it
//! sleeps as soon as there is nothing to do.

mod handle;
mod ops;
pub(crate) mod perf;
mod process;
mod sleep;
mod stats;
mod turn;

pub(crate) use handle::{Message, PmdHandle};
pub(crate) use ops::{Answer, Answers, Job};
pub(crate) use perf::Perf;
pub(crate) use stats::{Figures, PmdTotals, RxqLoad, Tuning};

use crate::actions::Exec;
use crate::conntrack::Conntrack;
use crate::ingress::Ingresses;
use crate::ledger::Ledger;
use crate::mailbox::Mailbox;
use crate::meters::Meters;
use crate::pending::Pending;
use crate::pkts::Pkts;
use crate::table::{FlowList, Keys, LookupTotals, Tables};
use crate::upcall::{Budget, Upcalls};
use base::clock::{Clock, Nanos};
use base::cpu::CoreId;
use base::sync::{Arc, AtomicBool, AtomicUsize, Mutex};
use dpif::PmdId;
use netdev::RxQueue;
use odp::OdpPort;
use std::collections::VecDeque;

/// One polled rx queue.
#[derive(Debug)]
pub(crate) struct RxSlot {
    pub(crate) port: OdpPort,
    pub(crate) queue: u32,
    pub(crate) rx: Box<dyn RxQueue>,
    pub(crate) load: Arc<RxqLoad>,
    /// Set when the device is gone; it is polled no more.
    pub(crate) gone: bool,
}

/// What others see of a packet thread.
#[derive(Debug)]
pub(crate) struct PmdShared {
    pub(crate) id: PmdId,
    /// `None` for the thread of ports that are not polled.
    pub(crate) core: Option<CoreId>,
    pub(crate) numa: u32,
    pub(crate) mailbox: Mailbox<Message>,
    pub(crate) list: Arc<FlowList>,
    pub(crate) lookups: Arc<LookupTotals>,
    pub(crate) tx: Arc<crate::outputs::TxTotals>,
    pub(crate) totals: PmdTotals,
    /// Distinct masks.
    pub(crate) masks: AtomicUsize,
    /// Missed flows that are being translated.
    pub(crate) pending: AtomicUsize,
    /// A device of this thread disappeared.
    pub(crate) device_gone: AtomicBool,
    /// The packet that a panic was about, if it could be kept.
    pub(crate) last_panic: Mutex<Option<Vec<u8>>>,
}

/// What all packet threads of a datapath share.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) clock: Clock,
    pub(crate) upcalls: Arc<Upcalls>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) conntrack: Arc<Conntrack>,
    /// Of hashes and random choices.
    pub(crate) seed: u64,
    /// Nothing may depend on how fast this machine is.
    pub(crate) repeatable: bool,
    pub(crate) tuning: Arc<Tuning>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pmd {
    pub(crate) exec: Exec,
    pub(crate) tables: Tables,
    keys: Box<Keys>,
    pkts: Box<Pkts>,
    pub(crate) rxqs: Vec<RxSlot>,
    /// The cycle counter when the last poll of a queue had been seen to; see [`turn`].
    mark: u64,
    /// The mark at which the clock was last read, and cycles in which it need not be read again.
    clock_mark: u64,
    clock_every: u64,
    // ---- cold
    pub(crate) pending: Pending,
    shared: Arc<PmdShared>,
    common: Common,
    jobs: VecDeque<ops::Request>,
    stop: bool,
    ranked: Nanos,
    interval: stats::Interval,
    /// Most packets that one queue brought in the last round.
    most: u64,
    /// There while `pmd-perf-metrics` is set.
    perf: Option<Box<Perf>>,
}

/// Who a packet thread is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub(crate) id: PmdId,
    pub(crate) core: Option<CoreId>,
    pub(crate) numa: u32,
}

impl Pmd {
    /// A packet thread without ports.
    ///
    /// # Errors
    /// The kernel's, when there is no descriptor left.
    pub(crate) fn new(who: Who, common: &Common) -> std::io::Result<Self> {
        let now = common.clock.now();
        let seed = base::hash::words(common.seed, &[u64::from(who.id.0)]);
        let list = Arc::new(FlowList::default());
        let tables = Tables::new(Arc::clone(&list), seed);
        let budget = Budget::new(now, common.upcalls.budget());
        let exec = Exec::new(Ingresses::new(&common.ledger, budget), common, who.id, seed);
        let shared = Arc::new(PmdShared {
            id: who.id,
            core: who.core,
            numa: who.numa,
            mailbox: Mailbox::new()?,
            list,
            lookups: Arc::clone(&tables.totals),
            tx: Arc::clone(&exec.outs.totals),
            totals: PmdTotals::new(now),
            masks: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            device_gone: AtomicBool::new(false),
            last_panic: Mutex::new(None),
        });
        Ok(Self {
            exec,
            tables,
            keys: Box::new(Keys::new()),
            pkts: Box::new(Pkts::new()),
            rxqs: Vec::new(),
            mark: crate::cycles::cycles(),
            clock_mark: 0,
            clock_every: turn::clock_every(common.repeatable),
            pending: Pending::new(seed),
            shared,
            common: common.clone(),
            jobs: VecDeque::new(),
            stop: false,
            ranked: now,
            interval: stats::Interval::new(now),
            most: 0,
            perf: None,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<PmdShared> {
        &self.shared
    }

    /// Distributions so far, if they are kept.
    pub(crate) fn perf(&self) -> Option<Box<Perf>> {
        self.perf.clone()
    }

    /// Distributions begin anew.
    pub(crate) fn clear_perf(&mut self) {
        if let Some(perf) = &mut self.perf {
            **perf = Perf::new();
        }
    }

    /// Load figures begin anew: the set of queues changed.
    pub(crate) fn restart_interval(&mut self) {
        let loads = self.rxqs.iter().map(|r| &*r.load);
        let now = self.common.clock.now();
        self.interval.restart(now, &self.shared.totals, loads);
    }
}
