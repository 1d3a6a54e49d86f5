//! Automatic load balance: whether assigning queues anew is worth it.
//!
//! Every few minutes, when some thread has been overloaded for as long as loads are remembered, the
//! assignment is tried on paper ([`super::assign`]). It is carried out when that makes the variance of the
//! loads on some NUMA node smaller by the configured share. The conditions and the words are the peer's.

use super::assign::{Algorithm, Decision, Placement, assign};
use super::facts::{Facts, Loudness, log_decisions};
use super::{Admin, Datapath};
use crate::limits::INTERVALS;
use base::clock::Nanos;
use base::sync::Ordering;

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    /// When the last look was.
    looked: Option<Nanos>,
    /// Queues were assigned since.
    pub(super) reassigned: bool,
    /// The last look found that trying makes sense.
    sensible: bool,
}

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

impl Datapath {
    /// True when queues should be assigned anew. Called often; looks only when it is time.
    pub(super) fn wants_balance(&self, admin: &mut Admin) -> bool {
        let settings = admin.settings.balance;
        if !settings.enabled {
            admin.balancer.looked = None;
            return false;
        }
        let now = self.common.clock.now();
        let due = |then: Nanos| now > then.plus_millis(settings.interval_min * MINUTE_MS);
        match admin.balancer.looked {
            None => {
                admin.balancer.looked = Some(now);
                return false;
            }
            Some(then) if !due(then) => return false,
            Some(_) => admin.balancer.looked = Some(now),
        }
        self.is_overloaded() && self.is_sensible(admin) && self.would_help(admin)
    }

    fn is_overloaded(&self) -> bool {
        self.pmds().iter().any(|p| {
            let intervals = p.shared.totals.overloaded.load(Ordering::Relaxed);
            p.shared.core.is_some()
                && !p.isolated.load(Ordering::Relaxed)
                && intervals >= INTERVALS as u64
        })
    }

    /// There has to be something to move, and somewhere to move it.
    fn is_sensible(&self, admin: &mut Admin) -> bool {
        if !std::mem::take(&mut admin.balancer.reassigned) {
            if !admin.balancer.sensible {
                tracing::debug!(target: "dpif_netdev",
                    "PMD auto load balance nothing to do, no configuration changes since last check.");
            }
            return admin.balancer.sensible;
        }
        admin.balancer.sensible = false;
        if admin.settings.algorithm == Algorithm::RoundRobin {
            tracing::debug!(target: "dpif_netdev",
                "PMD auto load balance nothing to do, pmd-rxq-assign=roundrobin assignment type configured.");
            return false;
        }
        let facts = self.facts(admin);
        let queues = |t: usize| facts.now.thread.iter().filter(|on| **on == Some(t)).count();
        let free: Vec<usize> = (0..facts.threads.len())
            .filter(|&t| !facts.now.isolated[t])
            .collect();
        if free.len() > 1 && free.iter().any(|&t| queues(t) > 1) {
            admin.balancer.sensible = true;
        } else {
            tracing::debug!(target: "dpif_netdev",
                "PMD auto load balance nothing to do, not enough non-isolated PMDs or RxQs.");
        }
        admin.balancer.sensible
    }

    /// Tries the assignment on paper.
    fn would_help(&self, admin: &Admin) -> bool {
        tracing::debug!(target: "dpif_netdev", "PMD auto load balance performing dry run.");
        let s = &admin.settings;
        let facts = self.facts(admin);
        let decisions: Vec<Decision> = assign(&facts.threads, &facts.rxqs, s.algorithm, s.isolate);
        log_decisions(&decisions, &facts, admin, Loudness::Quiet);
        let then = facts.placement(&decisions, s.isolate);
        let nodes = facts.nodes();
        if nodes.len() > 1 && then.crosses_nodes(&facts.threads, &facts.rxqs) {
            tracing::debug!(target: "dpif_netdev",
                "PMD auto load balance detected cross-numa polling with multiple numa nodes. Unable to accurately estimate.");
            return false;
        }
        let wanted = u64::from(s.balance.improvement);
        let better = |&node: &u32| improvement(&facts, &then, node) >= wanted;
        // Every node is looked at, and told about.
        let met = nodes.iter().filter(|n| better(n)).count() > 0;
        let is = if met { "met" } else { "not met" };
        tracing::debug!(target: "dpif_netdev",
            "PMD load variance improvement threshold {wanted}% is {is}.");
        if met {
            tracing::info!(target: "dpif_netdev",
                "PMD auto load balance dry run. Requesting datapath reconfigure.");
        }
        met
    }
}

/// By how many percent the variance of a node's loads would fall.
fn improvement(facts: &Facts, then: &Placement, node: u32) -> u64 {
    let of = |p: &Placement| p.variance(node, &facts.threads, &facts.rxqs, &facts.capacity);
    let (now, then) = (of(&facts.now), of(then));
    let saved = now.saturating_sub(then).saturating_mul(100);
    let improvement = saved.checked_div(now).unwrap_or(0);
    tracing::debug!(target: "dpif_netdev",
        "Numa node {node}. Current variance {now} Estimated variance {then}. Variance improvement {improvement}%.");
    improvement
}
