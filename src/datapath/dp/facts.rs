//! What an assignment of queues is decided from, as the datapath stands; and telling what was decided, in the
//! peer's words.

use super::assign::{Algorithm, Decision, Placement, Rxq, Thread};
use super::{Admin, Datapath, Port};
use crate::limits::INTERVALS;
use crate::pmd::PmdHandle;
use base::sync::{Arc, Ordering};
use dpif::PmdId;
use std::collections::BTreeSet;

impl Datapath {
    /// What an assignment has to be decided from.
    pub(super) fn facts(&self, admin: &Admin) -> Facts {
        let pmds = self.pmds();
        let polled: Vec<_> = (pmds.iter()).filter(|p| p.shared.core.is_some()).collect();
        let threads: Vec<Thread> = (polled.iter())
            .filter_map(|p| {
                let numa = p.shared.numa;
                p.shared.core.map(|core| Thread { core, numa })
            })
            .collect();
        let ports = || admin.ports.values().filter(|p| p.device.is_pmd());
        let by = |id: PmdId| polled.iter().position(|p| p.shared.id == id);
        let thread = ports().flat_map(|p| p.loads().map(|(_, on, _)| on.and_then(by)));
        let capacity = |p: &&Arc<PmdHandle>| {
            let interval = p.shared.totals.interval.load(Ordering::Relaxed);
            interval.saturating_mul(INTERVALS as u64)
        };
        Facts {
            threads,
            rxqs: ports().flat_map(Port::describe_queues).collect(),
            now: Placement {
                thread: thread.collect(),
                isolated: (polled.iter())
                    .map(|p| p.isolated.load(Ordering::Relaxed))
                    .collect(),
            },
            capacity: polled.iter().map(capacity).collect(),
        }
    }
}

/// What an assignment has to be decided from, and what is in force.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) threads: Vec<Thread>,
    pub(super) rxqs: Vec<Rxq>,
    pub(super) now: Placement,
    /// Cycles that each thread had over all intervals kept; 0 when that is not known yet.
    pub(super) capacity: Vec<u64>,
}

impl Facts {
    pub(super) fn placement(&self, decisions: &[Decision], isolate: bool) -> Placement {
        Placement::of(decisions, self.rxqs.len(), self.threads.len(), isolate)
    }
    /// NUMA nodes that have threads.
    pub(super) fn nodes(&self) -> BTreeSet<u32> {
        self.threads.iter().map(|t| t.numa).collect()
    }
}

/// How loud decisions are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loudness {
    /// Carried out: everybody may know.
    Usual,
    /// On paper: for debugging.
    Quiet,
}

macro_rules! say {
    ($loudness:expr, $level:ident, $($arg:tt)+) => {
        match $loudness {
            Loudness::Usual => tracing::$level!(target: "dpif_netdev", $($arg)+),
            Loudness::Quiet => tracing::debug!(target: "dpif_netdev", $($arg)+),
        }
    };
}

/// Tells decisions in the peer's words.
pub(super) fn log_decisions(
    decisions: &[Decision],
    facts: &Facts,
    admin: &Admin,
    loudness: Loudness,
) {
    let (rxqs, threads) = (&facts.rxqs, &facts.threads);
    let algorithm = admin.settings.algorithm;
    let name = |r: &Rxq| {
        let port = admin.ports.get(&r.port);
        port.map_or("", |p| p.device.name())
    };
    let cycles = |r: &Rxq| match algorithm {
        Algorithm::RoundRobin => String::new(),
        _ => format!(" (measured processing cycles {})", r.cycles),
    };
    let mut announced = loudness == Loudness::Quiet;
    for d in decisions {
        if !announced && !matches!(d, Decision::Pinned { .. } | Decision::CannotPin { .. }) {
            announced = true;
            tracing::info!(target: "dpif_netdev",
                "Performing pmd to rx queue assignment using {} algorithm.", algorithm.name());
        }
        match *d {
            Decision::Pinned { rxq, thread } => {
                let (r, t) = (&rxqs[rxq], &threads[thread]);
                say!(
                    loudness,
                    info,
                    "Core {:2} on numa node {} is pinned with port '{}' rx queue {}{}",
                    t.core.0,
                    t.numa,
                    name(r),
                    r.queue,
                    cycles(r)
                );
            }
            Decision::CannotPin { rxq, core } => {
                let (r, c) = (&rxqs[rxq], core.0);
                say!(
                    loudness,
                    warn,
                    "Core {c:2} cannot be pinned with port '{}' rx queue {}. Use pmd-cpu-mask to enable a pmd on core {c}. An alternative core will be assigned.",
                    name(r),
                    r.queue
                );
            }
            Decision::Assigned { rxq, thread } => {
                let (r, t) = (&rxqs[rxq], &threads[thread]);
                log_assigned(r, *t, name(r), &cycles(r), loudness);
            }
            Decision::Unpolled { rxq } => {
                let r = &rxqs[rxq];
                say!(
                    loudness,
                    warn,
                    "No non-isolated pmd on any numa available for port '{}' rx queue {}{}. This rx queue will not be polled.",
                    name(r),
                    r.queue,
                    cycles(r)
                );
            }
        }
    }
}

fn log_assigned(r: &Rxq, t: Thread, name: &str, cycles: &str, loudness: Loudness) {
    if t.numa != r.numa {
        say!(
            loudness,
            info,
            "There's no available (non-isolated) pmd thread on numa node {}. Port '{name}' rx queue {} will be assigned to a pmd on numa node {}. This may lead to reduced performance.",
            r.numa,
            r.queue,
            t.numa
        );
    }
    say!(
        loudness,
        info,
        "Core {:2} on numa node {} assigned port '{name}' rx queue {}{cycles}.",
        t.core.0,
        t.numa,
        r.queue
    );
}
