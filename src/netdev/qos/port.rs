//! [`PortQos`]: the policers of one port, and the questions that the rest of the switch has about them.

use super::discipline::{Discipline, NAMES, QUEUES_MAX, Refusal, unreadable};
use super::policer::{Policer, PolicingRates};
use crate::device::{QosDetails, QosType, QueueStats};
use crate::error::{NetdevError, os_error};
use base::clock::monotonic_ns;
use base::sync::{AtomicBool, Counter, Mutex, Ordering, lock};
use packet::{Batch, Frame};
use std::io;

/// Bytes that do not count: the Ethernet header.
const L2_BYTES: usize = 14;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PortQos {
    /// The locks below hold something. Read by packet threads before they take one.
    policing: AtomicBool,
    shaping: AtomicBool,
    ingress: Mutex<Ingress>,
    egress: Mutex<Option<Discipline>>,
    /// Packets that ingress policing dropped.
    pub(crate) rx_drops: Counter,
    /// Packets that the discipline dropped.
    pub(crate) tx_drops: Counter,
}

#[derive(Debug, Default)]
struct Ingress {
    rates: PolicingRates,
    policer: Option<Policer>,
}

fn weight(frame: &Frame) -> u64 {
    frame.len().saturating_sub(L2_BYTES) as u64
}

impl PortQos {
    // ---- packet threads

    /// Drops what came in too fast of the frames from `from` on; returns how many those were.
    #[inline]
    pub(crate) fn police_rx(&self, batch: &mut Batch, from: usize) -> usize {
        // A change of the configuration may be seen a burst late.
        if !self.policing.load(Ordering::Relaxed) || batch.len() == from {
            return 0;
        }
        self.police_rx_now(batch, from, monotonic_ns())
    }

    #[cold]
    fn police_rx_now(&self, batch: &mut Batch, from: usize, now_ns: u64) -> usize {
        let mut ingress = lock(&self.ingress);
        let Some(policer) = &mut ingress.policer else {
            return 0;
        };
        policer.update(now_ns);
        let (mut at, before) = (0, batch.len());
        batch.retain(|frame| {
            at += 1;
            at <= from || policer.passes(weight(frame))
        });
        let dropped = before - batch.len();
        self.rx_drops.add_shared(dropped as u64);
        dropped
    }

    /// True while frames to be sent must be shown to [`PortQos::police_tx`].
    #[inline]
    pub(crate) fn polices_tx(&self) -> bool {
        self.shaping.load(Ordering::Relaxed)
    }

    /// Drops what is too much to be sent, of the frames that `counts` holds for; returns how many those were.
    #[cold]
    pub(crate) fn police_tx(&self, batch: &mut Batch, counts: impl Fn(&Frame) -> bool) -> u32 {
        self.police_tx_at(batch, counts, monotonic_ns())
    }

    pub(super) fn police_tx_at(
        &self,
        batch: &mut Batch,
        counts: impl Fn(&Frame) -> bool,
        now_ns: u64,
    ) -> u32 {
        let mut egress = lock(&self.egress);
        let Some(discipline) = &mut *egress else {
            return 0;
        };
        discipline.update(now_ns);
        let before = batch.len();
        batch.retain(|f| !counts(f) || discipline.passes(weight(f), f.priority));
        let dropped = (before - batch.len()) as u32;
        self.tx_drops.add_shared(u64::from(dropped));
        dropped
    }

    // ---- control threads

    /// Ingress policing, as [`crate::Device::set_policing`].
    pub(crate) fn set_policing(&self, rates: [u32; 4]) {
        let rates = PolicingRates::new(rates);
        let mut ingress = lock(&self.ingress);
        if ingress.rates != rates {
            ingress.rates = rates;
            ingress.policer = Policer::new(&rates, monotonic_ns());
            self.policing.store(!rates.is_off(), Ordering::Relaxed);
        }
    }

    /// Disciplines that there are.
    pub(crate) fn types() -> Vec<QosType> {
        let queues = [0, QUEUES_MAX as u32];
        let types = std::iter::zip(NAMES, queues);
        types
            .map(|(name, n_queues)| QosType {
                name: name.to_owned(),
                n_queues,
            })
            .collect()
    }

    /// The discipline in force; an empty name for none.
    pub(crate) fn qos(&self) -> (String, QosDetails) {
        let egress = lock(&self.egress);
        egress
            .as_ref()
            .map_or_else(Default::default, |d| (d.name().to_owned(), d.details()))
    }

    /// Puts a discipline in force; an empty `kind` for none. One that is refused leaves none.
    ///
    /// # Errors
    /// EOPNOTSUPP for an unknown discipline, EINVAL for rates that make no sense.
    pub(crate) fn set_qos(
        &self,
        name: &str,
        kind: &str,
        details: &QosDetails,
    ) -> Result<(), NetdevError> {
        let mut egress = lock(&self.egress);
        if egress.as_ref().is_some_and(|d| d.is(kind, details)) {
            return Ok(());
        }
        let (new, result) = if kind.is_empty() {
            (None, Ok(()))
        } else {
            name_unreadable(name, kind, details);
            match Discipline::new(kind, details, monotonic_ns()) {
                Ok(d) => (Some(d), Ok(())),
                Err(refusal) => (None, Err(refusal)),
            }
        };
        self.shaping.store(new.is_some(), Ordering::Relaxed);
        *egress = new;
        result.map_err(|refusal| {
            if kind == NAMES[0] && refusal == Refusal::Rates {
                tracing::error!(target: "netdev_dpdk", "Could not create rte meter for egress policer");
            }
            let e = error(name, "set QoS", refusal);
            tracing::error!(target: "netdev_dpdk",
                "Failed to set QoS type {kind} on port {name}: {}", reason(&e));
            e
        })
    }

    /// As [`crate::Device::queues`].
    ///
    /// # Errors
    /// EOPNOTSUPP: the discipline has no queues, or there is none.
    pub(crate) fn queues(&self, name: &str) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        self.ask(name, "dump queues", |d| d.list())
    }
    /// As [`crate::Device::queue`].
    ///
    /// # Errors
    /// EOPNOTSUPP as above, EINVAL for a queue that does not exist.
    pub(crate) fn queue(&self, name: &str, id: u32) -> Result<QosDetails, NetdevError> {
        self.ask(name, "get queue", |d| {
            let mut all = d.list()?.into_iter();
            let found = all.find(|(n, _)| *n == id);
            found.map(|(_, details)| details).ok_or(Refusal::NoQueue)
        })
    }
    /// As [`crate::Device::queue_stats`].
    ///
    /// # Errors
    /// As [`PortQos::queue`].
    pub(crate) fn queue_stats(&self, name: &str, id: u32) -> Result<QueueStats, NetdevError> {
        self.ask(name, "get queue statistics", |d| d.queue_stats(id))
    }
    /// As [`crate::Device::set_queue`].
    ///
    /// # Errors
    /// EOPNOTSUPP as above, EINVAL for rates that make no sense.
    pub(crate) fn set_queue(
        &self,
        name: &str,
        id: u32,
        details: &QosDetails,
    ) -> Result<(), NetdevError> {
        let done = self.ask(name, "set queue", |d| {
            name_unreadable(name, d.name(), details);
            d.set_queue(id, details, monotonic_ns())
        });
        done.inspect_err(|e| {
            if e.errno() != libc::EOPNOTSUPP {
                tracing::error!(target: "netdev_dpdk",
                    "Failed to set QoS queue {id} on port {name}: {}", reason(e));
            }
        })
    }
    /// As [`crate::Device::delete_queue`].
    ///
    /// # Errors
    /// EOPNOTSUPP as above.
    pub(crate) fn delete_queue(&self, name: &str, id: u32) -> Result<(), NetdevError> {
        self.ask(name, "delete queue", |d| d.delete_queue(id))
    }

    fn ask<T>(
        &self,
        name: &str,
        op: &'static str,
        question: impl FnOnce(&mut Discipline) -> Result<T, Refusal>,
    ) -> Result<T, NetdevError> {
        let mut egress = lock(&self.egress);
        let answer = egress.as_mut().ok_or(Refusal::Unsupported);
        answer.and_then(question).map_err(|r| error(name, op, r))
    }
}

fn error(name: &str, op: &'static str, refusal: Refusal) -> NetdevError {
    let errno = match refusal {
        Refusal::Unsupported => libc::EOPNOTSUPP,
        Refusal::Rates | Refusal::NoQueue => libc::EINVAL,
        Refusal::TooMany => libc::ENOSPC,
    };
    NetdevError::Io {
        dev: name.to_owned(),
        op,
        source: io::Error::from_raw_os_error(errno),
    }
}

fn reason(e: &NetdevError) -> String {
    os_error(&io::Error::from_raw_os_error(e.errno()))
}

/// Names values that were taken for zero.
fn name_unreadable(name: &str, kind: &str, details: &QosDetails) {
    for (key, value) in unreadable(details) {
        tracing::warn!(target: "netdev_dpdk",
            "{name}: {kind}: {key}: {value:?} is not a number, taken as 0");
    }
}
