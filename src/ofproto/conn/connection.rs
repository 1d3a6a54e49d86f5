//! [`Connection`]: what one controller's connection is configured to, and what waits for it.

use super::bundle::Bundles;
use super::monitor::Monitors;
use super::out::{OutKind, OutQueue};
use super::pace::Pacer;
use super::stream::Stream;
use crate::event::ConnId;
use base::clock::Nanos;
use base::log::RateLimit;
use flow::TunTable;
use openflow::{
    AsyncConfig, AsyncType, EncodeCx, Header, Hello, Message, OfpError, PacketInFormat, Protocols,
    Raw, Role, Version, Xid,
};
use std::collections::BTreeMap;

/// Octets of a packet that missed that are sent to a controller, unless it says otherwise.
pub const MISS_SEND_LEN_DEFAULT: u16 = 128;
/// Replies that may wait before requests are not read any more.
pub(crate) const REPLIES_MAX: usize = 100;

static LOG: RateLimit = RateLimit::new(10, 10);
static LOG_MESSAGES: RateLimit = RateLimit::new(600, 600);
static LOG_OVERFLOW: RateLimit = RateLimit::new(5, 5);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnKind {
    /// A controller that the bridge was configured to have.
    Primary,
    /// Somebody who came by himself (`ovs-ofctl`): is sent nothing he did not ask for.
    Service,
}

/// How a connection is to be treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnSettings {
    /// Who is at the other end.
    pub kind: ConnKind,
    /// For the log: `br0<->tcp:127.0.0.1:6653`.
    pub name: String,
    /// OpenFlow versions that may be spoken, bit n for number n on the wire.
    pub versions: u32,
    /// Packets a second sent to the controller; 0 for no limit.
    pub rate: u32,
    /// Packets sent at once; 0 for a fitting number.
    pub burst: u32,
    /// Packets that may wait for the controller to read.
    pub packets_max: usize,
    /// Asynchronous messages are on without being asked for.
    pub asynchronous: bool,
}

impl ConnSettings {
    /// The name of the other end alone: what follows the bridge's in [`ConnSettings::name`].
    #[must_use]
    pub fn peer_name(&self) -> &str {
        self.name.split_once("<->").map_or(&self.name, |(_, n)| n)
    }

    /// For somebody who came by himself.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self {
            kind: ConnKind::Service,
            name: name.to_owned(),
            versions: 0x7e,
            rate: 0,
            burst: 0,
            packets_max: 100,
            asynchronous: true,
        }
    }

    /// For a configured controller.
    #[must_use]
    pub fn primary(name: &str) -> Self {
        Self {
            kind: ConnKind::Primary,
            ..Self::service(name)
        }
    }
}

/// Flow mods of a controller, counted for the log.
#[derive(Debug, Default)]
pub(crate) struct FlowModLog {
    counts: [u32; 3],
    first: Nanos,
    last: Nanos,
    /// When to log, if there is something.
    pub(crate) due: Option<Nanos>,
    not_before: Nanos,
}

impl FlowModLog {
    /// Counts adds, modifications and deletions.
    pub(crate) fn count(&mut self, n: [u32; 3], now: Nanos) {
        if n == [0; 3] {
            return;
        }
        for (c, n) in self.counts.iter_mut().zip(n) {
            *c += n;
        }
        if self.due.is_none() {
            self.first = now;
            let due = now.plus_millis(10_000).max(self.not_before);
            self.due = Some(due);
            self.not_before = due.plus_millis(60_000);
        }
        self.last = now;
    }

    /// Logs what was counted.
    pub(crate) fn report(&mut self, name: &str, now: Nanos) {
        let [adds, mods, dels] = std::mem::take(&mut self.counts);
        self.due = None;
        let all = adds + mods + dels;
        if all == 0 {
            return;
        }
        let ago = now.since(self.first).as_secs();
        let span = self.last.since(self.first).as_secs();
        let when = if span == ago {
            format!("in the last {ago} s")
        } else if span > 0 {
            format!("in the {span} s starting {ago} s ago")
        } else {
            format!("{ago} s ago")
        };
        let kinds = [(adds, "adds"), (dels, "deletes"), (mods, "modifications")];
        let kinds: Vec<_> = kinds
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        tracing::info!(
            target: "connmgr",
            "{name}: {all} flow_mods {when} ({})",
            kinds.join(", ")
        );
    }
}

/// Parts of a request that came in several messages.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) raw: Raw,
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) bytes: usize,
    pub(crate) deadline: Nanos,
}

/// See the file's essay.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) settings: ConnSettings,
    /// In force; `None` until the versions are negotiated.
    pub(crate) protocol: Option<Protocols>,
    pub(crate) role: Role,
    pub(crate) format: PacketInFormat,
    pub(crate) controller_id: u16,
    pub(crate) miss_send_len: u16,
    pub(crate) async_config: Option<AsyncConfig>,
    pub(crate) out: OutQueue,
    /// Of packets sent by actions, and of packets that missed.
    pub(crate) pacers: [Option<Pacer<Vec<u8>>>; 2],
    pub(crate) bundles: Bundles,
    pub(crate) monitors: Monitors,
    pub(crate) stream: Option<Box<Stream>>,
    pub(crate) partials: BTreeMap<Xid, Partial>,
    pub(crate) flow_mods: FlowModLog,
}

impl Connection {
    /// A new connection, with our hello waiting to be sent.
    pub(crate) fn new(id: ConnId, settings: ConnSettings, now: Nanos) -> Self {
        let miss_send_len = match settings.kind {
            ConnKind::Primary => MISS_SEND_LEN_DEFAULT,
            ConnKind::Service => 0,
        };
        let versions = settings.versions;
        let mut conn = Self {
            id,
            settings,
            protocol: None,
            role: Role::Equal,
            format: PacketInFormat::Standard,
            controller_id: 0,
            miss_send_len,
            async_config: None,
            out: OutQueue::default(),
            pacers: [None, None],
            bundles: Bundles::default(),
            monitors: Monitors::default(),
            stream: None,
            partials: BTreeMap::new(),
            flow_mods: FlowModLog::default(),
        };
        conn.set_rate(now);
        conn.out.push(OutKind::Other, Hello { versions }.encode(1));
        conn
    }

    /// Applies the rate limit of the settings.
    pub(crate) fn set_rate(&mut self, now: Nanos) {
        let (rate, burst) = (self.settings.rate, self.settings.burst);
        for p in &mut self.pacers {
            match p {
                _ if rate == 0 => *p = None,
                Some(p) => p.set_limits(rate, burst),
                None => *p = Some(Pacer::new(rate, burst, now)),
            }
        }
    }

    /// The version spoken; before negotiation the oldest.
    pub(crate) fn version(&self) -> Version {
        self.protocol.map_or(Version::V10, Protocols::version)
    }

    /// How messages to this controller are written.
    pub(crate) fn encode_cx<'a>(&self, tun: &'a TunTable) -> EncodeCx<'a> {
        EncodeCx {
            protocol: self
                .protocol
                .unwrap_or_else(|| Protocols::initial(Version::V10)),
            tun: Some(tun),
            packet_in_format: self.format,
        }
    }

    /// Shows a message in the log, to whoever wants to see every one.
    pub(crate) fn show(&self, what: &str, message: &[u8]) {
        if tracing::enabled!(target: "vconn", tracing::Level::DEBUG) {
            base::log_rl!(
                LOG_MESSAGES,
                DEBUG,
                "vconn",
                "{}: {what}: {}",
                self.settings.peer_name(),
                openflow::format_message(message).trim_end()
            );
        }
    }

    /// Queues a message that answers a request.
    pub(crate) fn reply(&mut self, message: &Message, request: &Header, tun: &TunTable) {
        if let Some(bytes) = message.encode_reply(&self.encode_cx(tun), request) {
            self.out.push(OutKind::Reply, bytes);
        }
    }

    /// Queues a message that answers nothing.
    pub(crate) fn tell(&mut self, kind: OutKind, message: &Message, tun: &TunTable) {
        if let Some(bytes) = message.encode(&self.encode_cx(tun), 0) {
            self.out.push(kind, bytes);
        }
    }

    /// Queues an error about a message.
    pub(crate) fn refuse(&mut self, error: OfpError, message: &[u8]) {
        let known = Header::decode_prefix(message);
        let what = known.map_or_else(|_| "invalid".to_owned(), |h| h.raw.name());
        base::log_rl!(
            LOG,
            INFO,
            "connmgr",
            "{}: sending {error} error reply to {what} message",
            self.settings.name
        );
        let bytes = openflow::encode_error_reply(error, message);
        self.out.push(OutKind::Reply, bytes);
    }

    /// True when this controller gets asynchronous messages of this type for this reason.
    pub(crate) fn wants(&self, what: AsyncType, reason: u8) -> bool {
        let asleep = self.settings.kind == ConnKind::Service && self.miss_send_len == 0;
        self.protocol.is_some() && !asleep && {
            let secondary = self.role == Role::Secondary;
            self.async_config().wants(secondary, what, reason)
        }
    }

    /// The configuration of asynchronous messages in force.
    pub(crate) fn async_config(&self) -> AsyncConfig {
        match (&self.async_config, self.protocol) {
            (Some(c), _) => *c,
            (None, Some(p)) if self.settings.asynchronous => AsyncConfig::initial(p.version()),
            _ => AsyncConfig::default(),
        }
    }

    /// True when packets that match no flow are wanted by a controller of this kind and version.
    pub(crate) fn wants_misses(&self) -> bool {
        let old = self.protocol.is_none_or(|p| p.version() < Version::V13);
        self.controller_id == 0 && old
    }

    /// True when the next request may be read.
    pub(crate) fn may_receive(&self) -> bool {
        self.stream.is_none() && self.out.count(OutKind::Reply) < REPLIES_MAX
    }

    /// Queues a packet, or drops it when too many wait.
    pub(crate) fn push_packet(&mut self, message: Vec<u8>) {
        if self.out.count(OutKind::PacketIn) >= self.settings.packets_max {
            base::log_rl!(
                LOG_OVERFLOW,
                INFO,
                "connmgr",
                "{}: dropping packet-in due to queue overflow",
                self.settings.name
            );
            return;
        }
        self.out.push(OutKind::PacketIn, message);
    }
}
