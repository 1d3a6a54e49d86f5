//! [`Datapath`]: ports, packet threads and what ties them together, seen from control threads.
//!
//! * [`ports`]: adding, removing, re-attaching ports. [`threads`]: the set of packet threads, and which
//!   polls what. [`assign`]: the decision, as a pure function. [`balance`]: when to decide anew.
//! * [`facts`]: what it is decided from, and telling it.
//! * [`operate`]: flow operations, sent to the threads they are for. [`dump`]: reading flows.
//! * [`settings`]: configuration. [`handle`]: the `Dpif` trait over all of it.
//!
//! Locks: `admin` is held while ports or threads change; nothing a packet thread does needs it, and
//! forwarding goes on while it is held. Operations, dumps and upcalls do not take it.

mod assign;
mod balance;
mod dump;
mod facts;
mod graves;
mod handle;
mod operate;
mod ports;
mod settings;
mod threads;

pub use assign::Algorithm;
pub(crate) use handle::DpHandle;
pub(crate) use ports::Port;
pub use settings::{AutoBalance, Settings};

use crate::actions::Deeds;
use crate::conntrack::{Conntrack, Control};
use crate::ledger::{Account, Ledger};
use crate::pmd::{Common, PmdHandle};
use crate::table::Masks;
use crate::upcall::Upcalls;
use base::clock::Clock;
use base::cpu::CoreId;
use base::sync::{Arc, ArcSwap, Mutex, Ordering, lock};
use dpif::{DpStats, DpifError, PortChange};
use netdev::{Device, NetdevError};
use odp::{DropReason, OdpPort};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Opens a device by name and class.
pub type OpenDevice = Arc<dyn Fn(&str, &str) -> Result<Arc<dyn Device>, NetdevError> + Send + Sync>;

/// Who runs packet threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threading {
    /// Threads of their own.
    #[default]
    Real,
    /// Whoever calls [`Datapath::step`]: repeatable from a seed.
    Manual,
}

/// Cores and the NUMA node of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// In order.
    pub cores: Vec<(CoreId, u32)>,
    /// False when cores are made up (`--dummy-numa`): threads are not pinned.
    pub real: bool,
}

impl Topology {
    /// This machine's.
    #[must_use]
    pub fn of_host() -> Self {
        let cores = base::cpu::online().into_iter();
        Self {
            cores: cores.map(|c| (c, base::cpu::numa_node(c))).collect(),
            real: true,
        }
    }

    /// Tells the log what there is.
    pub fn announce(&self) {
        let mut nodes: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, node) in &self.cores {
            *nodes.entry(*node).or_default() += 1;
        }
        for (node, n) in &nodes {
            tracing::info!(target: "ovs_numa", "Discovered {n} CPU cores on NUMA node {node}");
        }
        let (n, cores) = (nodes.len(), self.cores.len());
        tracing::info!(target: "ovs_numa", "Discovered {n} NUMA nodes and {cores} CPU cores");
    }

    /// Made up: core i is on node `numas[i]`.
    #[must_use]
    pub fn dummy(numas: &[u32]) -> Self {
        let cores = numas.iter().zip(0..);
        Self {
            cores: cores.map(|(&n, c)| (CoreId(c), n)).collect(),
            real: false,
        }
    }
}

/// Where a datapath lives.
#[derive(Clone)]
pub struct Environment {
    /// Time.
    pub clock: Clock,
    /// Devices.
    pub open: OpenDevice,
    /// Threads.
    pub threading: Threading,
    /// Cores.
    pub topology: Topology,
    /// Of hashes and random choices; `None` for a random one.
    pub seed: Option<u64>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("threading", &self.threading)
            .field("topology", &self.topology)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Changes of the set of ports that handles may still have to hear of.
#[derive(Debug, Default)]
struct Changes {
    /// Number of the first one in `names`.
    first: u64,
    names: VecDeque<String>,
}

/// Changes remembered; a handle further behind has to look at everything.
const CHANGES_MAX: usize = 1024;

/// What is changed under the lock.
#[derive(Debug, Default)]
struct Admin {
    ports: BTreeMap<u32, Port>,
    settings: Settings,
    /// Settings were given at least once.
    configured: bool,
    balancer: balance::Balancer,
    destroyed: bool,
}

/// A datapath.
#[derive(Debug)]
pub struct Datapath {
    type_name: String,
    name: String,
    env: Environment,
    pub(crate) common: Common,
    masks: Masks,
    deeds: Deeds,
    conntrack: Control,
    /// Packet threads; the first is the one of ports that are not polled.
    pmds: ArcSwap<Vec<Arc<PmdHandle>>>,
    admin: Mutex<Admin>,
    changes: Mutex<Changes>,
    graves: graves::Graves,
    /// Counters of packet threads that are gone.
    retired: Mutex<DpStats>,
    /// Packets dropped by (port, reason) when the port got its number.
    before: Mutex<BTreeMap<OdpPort, Account>>,
}

impl Datapath {
    /// Makes a datapath without ports.
    ///
    /// # Errors
    /// Netdev, with the kernel's reason, when there is no descriptor or thread left.
    pub(crate) fn create(
        type_name: &str,
        name: &str,
        env: &Environment,
    ) -> Result<Arc<Self>, DpifError> {
        let why = |e: std::io::Error| DpifError::Netdev(format!("{name}: {e}"));
        let seed = env.seed.unwrap_or_else(base::hash::process_seed);
        let common = Common {
            clock: env.clock.clone(),
            upcalls: Arc::new(Upcalls::new().map_err(why)?),
            ledger: Arc::new(Ledger::default()),
            meters: Arc::default(),
            conntrack: Conntrack::new(seed),
            seed,
            repeatable: env.threading == Threading::Manual,
            tuning: Arc::default(),
        };
        if env.threading == Threading::Real {
            let sweeping = common.conntrack.start_sweeping(env.clock.clone());
            sweeping.map_err(why)?;
        }
        let main = threads::start_main(env, &common).map_err(why)?;
        let conntrack = Control::new(Arc::clone(&common.conntrack), env.clock.clone());
        Ok(Arc::new(Self {
            conntrack,
            type_name: type_name.to_owned(),
            name: name.to_owned(),
            env: env.clone(),
            common,
            masks: Masks::default(),
            deeds: Deeds::default(),
            pmds: ArcSwap::from_pointee(vec![Arc::new(main)]),
            admin: Mutex::default(),
            changes: Mutex::default(),
            graves: graves::Graves::default(),
            retired: Mutex::default(),
            before: Mutex::default(),
        }))
    }

    /// `netdev` or `dummy`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }
    /// E.g. `ovs-netdev`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    pub(crate) fn is_dummy(&self) -> bool {
        self.type_name != "netdev"
    }
    /// Packet threads now.
    pub(crate) fn pmds(&self) -> Arc<Vec<Arc<PmdHandle>>> {
        self.pmds.load_full()
    }

    /// One loop of every packet thread on the caller; true when anything was done. Only with
    /// [`Threading::Manual`].
    pub fn step(&self) -> bool {
        let mut any = false;
        for pmd in self.pmds().iter() {
            any |= pmd.step();
        }
        self.common
            .conntrack
            .sweep_now_and_then(self.env.clock.now());
        any
    }

    /// Where every packet went, by ingress port, since the datapath was made. [`OdpPort::NONE`] stands for
    /// packets that were handed in with no port, or with one that is not there.
    #[must_use]
    pub fn ledger(&self) -> BTreeMap<OdpPort, Account> {
        self.common.ledger.by_port()
    }

    /// The ledger's sum over all ports.
    #[must_use]
    pub fn ledger_total(&self) -> Account {
        let mut sum = Account::default();
        for account in self.ledger().values() {
            sum.add(account);
        }
        sum
    }

    /// Packets dropped by (port, reason), since each port was added.
    #[must_use]
    pub fn drops(&self) -> Vec<(OdpPort, DropReason, u64)> {
        let before = lock(&self.before);
        let mut out = Vec::new();
        for (port, account) in self.ledger() {
            let then = before.get(&port);
            for (reason, n) in account.drops {
                let then = then.and_then(|a| a.drops.get(&reason)).copied();
                let n = n - then.unwrap_or(0).min(n);
                if n > 0 {
                    out.push((port, reason, n));
                }
            }
        }
        out
    }

    /// Totals of all packet threads, those that are gone included.
    #[must_use]
    pub fn stats(&self) -> DpStats {
        let mut sum = *lock(&self.retired);
        for pmd in self.pmds().iter() {
            add_stats(&mut sum, pmd);
        }
        sum
    }

    /// Waits until every packet received so far was forwarded. See `Dpif::quiesce`.
    pub(crate) fn quiesce(&self, timeout: Duration) -> bool {
        let manual = self.env.threading == Threading::Manual;
        let until = base::clock::monotonic_ns()
            .saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        loop {
            let mut moved = false;
            for pmd in self.pmds().iter() {
                moved |= pmd.drain();
            }
            let pmds = self.pmds();
            let pending = |p: &Arc<PmdHandle>| p.shared.pending.load(Ordering::Acquire) > 0;
            let waiting = pmds.iter().any(pending) || !self.common.upcalls.idle(!manual);
            if !moved && !waiting {
                return true;
            }
            // In manual mode nobody answers upcalls while the caller waits here, unless other threads do.
            if base::clock::monotonic_ns() >= until {
                return false;
            }
            if !moved {
                base::clock::sleep(Duration::from_micros(50));
            }
        }
    }

    /// Notes that the port called `name` changed.
    fn port_changed(&self, name: &str) {
        let mut changes = lock(&self.changes);
        changes.names.push_back(name.to_owned());
        if changes.names.len() > CHANGES_MAX {
            changes.names.pop_front();
            changes.first += 1;
        }
    }

    /// Number of the next change.
    pub(crate) fn next_change(&self) -> u64 {
        let changes = lock(&self.changes);
        changes.first + changes.names.len() as u64
    }

    /// The change with number `seen`, and how many then are seen.
    pub(crate) fn change(&self, seen: u64) -> Option<(PortChange, u64)> {
        let changes = lock(&self.changes);
        let next = changes.first + changes.names.len() as u64;
        if seen < changes.first {
            return Some((PortChange::All, next));
        }
        let at = usize::try_from(seen - changes.first).ok()?;
        let name = changes.names.get(at)?;
        Some((PortChange::Port(name.clone()), seen + 1))
    }
}

fn add_stats(sum: &mut DpStats, pmd: &PmdHandle) {
    let shared = &pmd.shared;
    let (lookups, totals) = (&shared.lookups, &shared.totals);
    let lost = totals.lost.get();
    sum.n_hit += lookups.first.get() + lookups.searched.get();
    sum.n_missed += lookups.missed.get().saturating_sub(lost);
    sum.n_lost += lost;
    sum.n_flows += shared.list.len() as u64;
    sum.n_cache_hit += lookups.first.get();
    sum.n_mask_hit += lookups.probes.get();
    sum.n_masks += u32::try_from(shared.masks.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
}
