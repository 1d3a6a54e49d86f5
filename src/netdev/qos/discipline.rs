//! The disciplines of the QoS table for such ports. Both drop what is too much:
//!
//! * `egress-policer`: `cir` (bytes a second) and `cbs` (bytes), one bucket.
//! * `trtcm-policer`: `cir`, `eir`, `cbs`, `ebs` of the port, and the same of each queue. A packet is marked by
//!   its queue (`set_queue`; queue 0 for those without one, or whose queue does not exist), then by the port.

use super::meter::{Color, Rates, SingleRate, TwoRates};
use crate::device::{QosDetails, QueueStats};
use std::collections::BTreeMap;

/// Queues of a `trtcm-policer`.
pub(crate) const QUEUES_MAX: usize = 65_536;

/// Names, in the order in which they are shown.
pub(super) const NAMES: [&str; 2] = ["egress-policer", "trtcm-policer"];

/// Why a discipline or queue was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Such a discipline, or queues under this one, do not exist.
    Unsupported,
    /// The rates make no sense together.
    Rates,
    /// No such queue.
    NoQueue,
    /// Too many queues.
    TooMany,
}

/// A discipline in force.
#[derive(Debug)]
pub(super) enum Discipline {
    Policer {
        cir: u64,
        cbs: u64,
        meter: SingleRate,
    },
    TwoRates(Box<TwoRatePolicer>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct TwoRatePolicer {
    rates: Rates,
    meter: TwoRates,
    queues: BTreeMap<u32, Queue>,
}

#[derive(Debug)]
struct Queue {
    rates: Rates,
    meter: TwoRates,
    stats: QueueStats,
}

/// A number of `details`; zero when there is none.
fn number(details: &QosDetails, key: &str) -> u64 {
    details.get(key).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Keys of `details` whose values are no numbers.
pub(super) fn unreadable(details: &QosDetails) -> impl Iterator<Item = (&str, &str)> {
    let keys = ["cir", "eir", "cbs", "ebs"];
    let given = keys
        .into_iter()
        .filter_map(move |k| Some((k, details.get(k)?)));
    given
        .filter(|(_, v)| v.parse::<u64>().is_err())
        .map(|(k, v)| (k, v.as_str()))
}

fn rates(details: &QosDetails) -> Rates {
    Rates {
        cir: number(details, "cir"),
        eir: number(details, "eir"),
        cbs: number(details, "cbs"),
        ebs: number(details, "ebs"),
    }
}

fn show<const N: usize>(pairs: [(&str, u64); N]) -> QosDetails {
    pairs.map(|(k, v)| (k.to_owned(), v.to_string())).into()
}

fn show_rates(r: &Rates) -> QosDetails {
    show([
        ("cir", r.cir),
        ("eir", r.eir),
        ("cbs", r.cbs),
        ("ebs", r.ebs),
    ])
}

impl Discipline {
    pub(super) fn new(kind: &str, details: &QosDetails, now_ns: u64) -> Result<Self, Refusal> {
        match kind {
            "egress-policer" => {
                let (cir, cbs) = (number(details, "cir"), number(details, "cbs"));
                if cir == 0 || cbs == 0 {
                    return Err(Refusal::Rates);
                }
                let meter = SingleRate::new(cir, cbs, 0, now_ns);
                Ok(Self::Policer { cir, cbs, meter })
            }
            "trtcm-policer" => {
                let rates = rates(details);
                if !rates.make_sense() {
                    return Err(Refusal::Rates);
                }
                Ok(Self::TwoRates(Box::new(TwoRatePolicer {
                    meter: TwoRates::new(&rates, now_ns),
                    rates,
                    queues: BTreeMap::new(),
                })))
            }
            _ => Err(Refusal::Unsupported),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Policer { .. } => NAMES[0],
            Self::TwoRates(_) => NAMES[1],
        }
    }
    pub(super) fn details(&self) -> QosDetails {
        match self {
            Self::Policer { cir, cbs, .. } => show([("cir", *cir), ("cbs", *cbs)]),
            Self::TwoRates(p) => show_rates(&p.rates),
        }
    }
    /// True when setting `details` would change nothing.
    pub(super) fn is(&self, kind: &str, details: &QosDetails) -> bool {
        self.name() == kind
            && match self {
                Self::Policer { cir, cbs, .. } => {
                    (*cir, *cbs) == (number(details, "cir"), number(details, "cbs"))
                }
                Self::TwoRates(p) => p.rates == rates(details),
            }
    }

    pub(super) fn update(&mut self, now_ns: u64) {
        match self {
            Self::Policer { meter, .. } => meter.update(now_ns),
            Self::TwoRates(p) => {
                p.meter.update(now_ns);
                for queue in p.queues.values_mut() {
                    queue.meter.update(now_ns);
                }
            }
        }
    }

    /// True when a packet of `bytes` for `queue` may pass.
    pub(super) fn passes(&mut self, bytes: u64, queue: u32) -> bool {
        match self {
            Self::Policer { meter, .. } => meter.mark(bytes) == Color::Green,
            Self::TwoRates(p) => p.passes(bytes, queue),
        }
    }

    fn queues(&self) -> Result<&BTreeMap<u32, Queue>, Refusal> {
        match self {
            Self::TwoRates(p) => Ok(&p.queues),
            Self::Policer { .. } => Err(Refusal::Unsupported),
        }
    }
    /// Queues with their details.
    pub(super) fn list(&self) -> Result<Vec<(u32, QosDetails)>, Refusal> {
        let queues = self.queues()?.iter();
        Ok(queues.map(|(&id, q)| (id, show_rates(&q.rates))).collect())
    }
    pub(super) fn queue_stats(&self, id: u32) -> Result<QueueStats, Refusal> {
        let queue = self.queues()?.get(&id);
        queue.map(|q| q.stats).ok_or(Refusal::NoQueue)
    }
    /// Makes or changes a queue. Queue 0 without details is as the port.
    pub(super) fn set_queue(
        &mut self,
        id: u32,
        details: &QosDetails,
        now_ns: u64,
    ) -> Result<(), Refusal> {
        let Self::TwoRates(p) = self else {
            return Err(Refusal::Unsupported);
        };
        let wanted = if id == 0 && details.is_empty() {
            p.rates
        } else {
            rates(details)
        };
        if p.queues.get(&id).is_some_and(|q| q.rates == wanted) {
            return Ok(());
        }
        if !wanted.make_sense() {
            p.queues.remove(&id);
            return Err(Refusal::Rates);
        }
        if p.queues.len() >= QUEUES_MAX && !p.queues.contains_key(&id) {
            return Err(Refusal::TooMany);
        }
        let stats = p.queues.get(&id).map_or_else(
            || QueueStats {
                created_ms: now_ns / 1_000_000,
                ..QueueStats::default()
            },
            |q| q.stats,
        );
        let meter = TwoRates::new(&wanted, now_ns);
        let queue = Queue {
            rates: wanted,
            meter,
            stats,
        };
        p.queues.insert(id, queue);
        Ok(())
    }
    pub(super) fn delete_queue(&mut self, id: u32) -> Result<(), Refusal> {
        let Self::TwoRates(p) = self else {
            return Err(Refusal::Unsupported);
        };
        p.queues.remove(&id);
        Ok(())
    }
}

impl TwoRatePolicer {
    fn passes(&mut self, bytes: u64, queue: u32) -> bool {
        let id = if self.queues.contains_key(&queue) {
            queue
        } else {
            0
        };
        let Some(queue) = self.queues.get_mut(&id) else {
            return false;
        };
        let color = queue.meter.mark(bytes, Color::Green);
        if color == Color::Red {
            queue.stats.tx_errors += 1;
        } else {
            queue.stats.tx_bytes += bytes;
            queue.stats.tx_packets += 1;
        }
        self.meter.mark(bytes, color) != Color::Red
    }
}
