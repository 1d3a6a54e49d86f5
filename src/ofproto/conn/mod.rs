//! [`Controllers`]: the conversation of one bridge with its controllers, without sockets.
//!
//! Whoever owns the sockets opens a connection here for each, hands over whole messages while
//! [`Controllers::may_receive`], takes messages out while the socket takes them ([`Controllers::output`]), and
//! calls [`Controllers::run`] whenever time passed. Packets that controllers send are handed out as plans, to
//! be executed after the [`Ofproto`] is let go of.
//!
//! Bounds: a controller that does not read is not read from, and holds at most [`connection::REPLIES_MAX`]
//! replies, its configured number of packets, and 128 KiB of flow updates and one message's worth more. Long
//! answers are made as they are read. No call works longer than some milliseconds.

mod bundle;
mod bundling;
mod connection;
mod events;
mod forward;
mod group;
mod handle;
mod job;
mod meter;
mod monitor;
mod out;
mod pace;
mod port;
mod queue;
mod requests;
mod role;
mod stream;
mod table;

pub use connection::{ConnKind, ConnSettings, MISS_SEND_LEN_DEFAULT};
pub use events::ControllerPacket;
pub use handle::packet_flow;

use crate::event::ConnId;
use crate::provider::{PacketPlan, Provider};
use crate::switch::Ofproto;
use base::clock::Nanos;
use base::log::RateLimit;
use base::sync::{AtomicU64, Ordering};
use connection::Connection;
use job::Job;
use openflow::{OfpError, Role};
use std::collections::BTreeMap;
#[cfg(test)]
pub(crate) use table::change_features as change_table_features;

/// Messages and flows that one piece of a job looks at.
const JOB_PIECE: usize = 2000;
/// Time without a message after which a bundle is dropped, unless configured.
const BUNDLE_IDLE_MS: u64 = 10_000;
/// How often bundles are looked at.
const BUNDLE_CHECK_MS: u64 = 1000;

static LOG: RateLimit = RateLimit::new(60, 5);

/// What every part of the conversation works with.
#[expect(missing_debug_implementations, reason = "a provider has none")]
pub struct Cx<'a> {
    /// The switch.
    pub of: &'a mut Ofproto,
    /// The world below.
    pub provider: &'a mut dyn Provider,
    /// Now.
    pub now: Nanos,
}

/// Why a connection must be closed, once what waits for it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// No version that both sides speak.
    #[error("version negotiation failed")]
    NoCommonVersion,
    /// The first message was no hello.
    #[error("first message was no hello")]
    NoHello,
}

/// What is shown of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnStatus {
    /// Its role.
    pub role: Role,
    /// The versions are negotiated.
    pub up: bool,
    /// The version agreed on, as on the wire.
    pub version: Option<u8>,
}

/// See the file's essay.
#[derive(Debug, Default)]
pub struct Controllers {
    conns: BTreeMap<ConnId, Connection>,
    /// Of the last election of a primary controller.
    generation: Option<u64>,
    job: Option<Box<Job>>,
    plans: Vec<PacketPlan>,
    bundle_idle_ms: Option<u64>,
    next_bundle_check: Nanos,
}

impl Controllers {
    /// Opens a connection; our hello is the first message it has for output.
    pub fn open(&mut self, settings: ConnSettings, now: Nanos) -> ConnId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = ConnId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.conns.insert(id, Connection::new(id, settings, now));
        id
    }

    /// Forgets a connection that is gone.
    pub fn close(&mut self, id: ConnId, now: Nanos) {
        if let Some(mut conn) = self.conns.remove(&id) {
            let name = conn.settings.name.clone();
            conn.flow_mods.report(&name, now);
        }
    }

    /// Changes the settings of a connection; the kind and versions of a connection do not change.
    pub fn configure(&mut self, id: ConnId, settings: ConnSettings, now: Nanos) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.settings = settings;
            conn.set_rate(now);
        }
    }

    /// Time without a message after which a bundle is dropped; `None` for the usual.
    pub fn set_bundle_timeout(&mut self, idle_ms: Option<u64>) {
        self.bundle_idle_ms = idle_ms;
    }

    /// What is shown of a connection.
    #[must_use]
    pub fn status(&self, id: ConnId) -> Option<ConnStatus> {
        let conn = self.conns.get(&id)?;
        Some(ConnStatus {
            role: conn.role,
            up: conn.protocol.is_some(),
            version: conn.protocol.map(|p| p.version().wire()),
        })
    }

    /// The name of a connection, for the log.
    #[must_use]
    pub fn name(&self, id: ConnId) -> Option<&str> {
        self.conns.get(&id).map(|c| c.settings.name.as_str())
    }

    /// What the rate limits of a connection counted, of packets sent by actions and of misses: waiting, passed at
    /// once, delayed, dropped. `None` for no limit.
    #[must_use]
    pub fn paced(&self, id: ConnId) -> [Option<[u64; 4]>; 2] {
        let Some(conn) = self.conns.get(&id) else {
            return [None; 2];
        };
        [0, 1].map(|i| {
            conn.pacers[i].as_ref().map(|p| {
                let [passed, delayed, dropped] = p.counts;
                [p.waiting() as u64, passed, delayed, dropped]
            })
        })
    }

    /// True when the next message of a connection may be handed over.
    #[must_use]
    pub fn may_receive(&self, id: ConnId) -> bool {
        self.job.is_none() && self.conns.get(&id).is_some_and(Connection::may_receive)
    }

    /// True when somebody wants the packets that match no flow.
    #[must_use]
    pub fn wants_misses(&self) -> bool {
        self.conns.values().any(Connection::wants_misses)
    }

    /// Takes a whole message that came in on a connection.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        message: &[u8],
    ) -> Result<(), CloseReason> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(());
        };
        conn.show("received", message);
        let Some(protocol) = conn.protocol else {
            return handle::hello(conn, message);
        };
        if !handle::version_fits(conn, protocol, message) {
            return Ok(());
        }
        if let Err(error) = self.dispatch(cx, id, message) {
            self.refuse(id, error, message);
        }
        self.distribute(cx);
        Ok(())
    }

    fn refuse(&mut self, id: ConnId, error: OfpError, message: &[u8]) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.refuse(error, message);
        }
    }

    /// The next message for a connection, if there is one. To be called while its socket takes messages.
    pub fn output(&mut self, cx: &mut Cx<'_>, id: ConnId) -> Option<Vec<u8>> {
        let conn = self.conns.get_mut(&id)?;
        while conn.out.is_empty() {
            let mut stream = conn.stream.take()?;
            if stream.advance(cx, conn) {
                conn.stream = Some(stream);
                if conn.out.is_empty() {
                    // Nothing fitted yet: another piece at the next call keeps this one short.
                    return None;
                }
            }
        }
        let message = conn.out.pop()?;
        conn.show("sent (Success)", &message);
        Some(message)
    }

    /// True when [`Controllers::output`] may have something.
    #[must_use]
    pub fn has_output(&self, id: ConnId) -> bool {
        self.conns
            .get(&id)
            .is_some_and(|c| !c.out.is_empty() || c.stream.is_some())
    }

    /// Packets to be executed, now that the switch is let go of.
    pub fn take_plans(&mut self) -> Vec<PacketPlan> {
        std::mem::take(&mut self.plans)
    }

    /// Does what is due. True when there is more to do at once.
    pub fn run(&mut self, cx: &mut Cx<'_>) -> bool {
        self.work(cx, JOB_PIECE);
        for conn in self.conns.values_mut() {
            for i in 0..conn.pacers.len() {
                let due = conn.pacers[i].as_mut().map(|p| p.due(cx.now));
                due.into_iter().flatten().for_each(|m| conn.push_packet(m));
            }
            if conn.flow_mods.due.is_some_and(|t| t <= cx.now) {
                let name = conn.settings.name.clone();
                conn.flow_mods.report(&name, cx.now);
            }
            handle::expire_partials(conn, cx.now);
            conn.resume_monitoring(cx.of);
        }
        self.expire_bundles(cx.now);
        self.distribute(cx);
        self.job.is_some()
    }

    /// True when [`Controllers::run`] has something to do at `now`.
    #[must_use]
    pub fn has_work(&self, now: Nanos) -> bool {
        self.job.is_some() || self.next_due().is_some_and(|due| due <= now)
    }

    /// Works on the job under way, if there is one.
    fn work(&mut self, cx: &mut Cx<'_>, budget: usize) {
        let Some(mut job) = self.job.take() else {
            return;
        };
        if job.run(cx, budget) {
            self.job = Some(job);
        } else {
            self.job_done(cx, *job);
        }
    }

    /// Finishes what is under way, however long it takes: before the configuration changes.
    pub fn settle(&mut self, cx: &mut Cx<'_>) {
        while self.job.is_some() {
            self.work(cx, usize::MAX);
        }
    }

    fn expire_bundles(&mut self, now: Nanos) {
        if now < self.next_bundle_check {
            return;
        }
        self.next_bundle_check = now.plus_millis(BUNDLE_CHECK_MS);
        let idle = self.bundle_idle_ms.unwrap_or(BUNDLE_IDLE_MS);
        for conn in self.conns.values_mut() {
            for cause in conn.bundles.expire(idle, now) {
                conn.refuse(OfpError::OFPBFC_TIMEOUT, cause.bytes());
            }
        }
    }

    /// When [`Controllers::run`] has something to do next, apart from messages.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        let bundles = self.conns.values().any(|c| !c.bundles.is_empty());
        let pacers = self.conns.values().flat_map(|c| &c.pacers).flatten();
        let partials = self.conns.values().flat_map(|c| c.partials.values());
        pacers
            .filter_map(pace::Pacer::next_due)
            .chain(partials.map(|p| p.deadline))
            .chain(self.conns.values().filter_map(|c| c.flow_mods.due))
            .chain(bundles.then_some(self.next_bundle_check))
            .chain(self.job.is_some().then_some(Nanos::ZERO))
            .min()
    }
}
