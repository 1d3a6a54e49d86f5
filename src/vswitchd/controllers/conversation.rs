//! One bridge's conversation: `<bridge>.mgmt`, `<bridge>.snoop`, configured controllers, and whoever they let in.
//!
//! A turn reads a bounded number of messages from each connection, answers them, and writes while the sockets take
//! it, for no longer than a slice of time each; the next turn begins with the connection after the last one served.
//! A peer that does not read is not read from. While somebody talks, [`Conversation::again`] serves messages as they
//! come, without what else belongs to a turn.

use super::below::Below;
use super::next_hop::NextHops;
use super::own_rules::OwnRules;
use super::snoop::Snoopers;
use super::{packets, ports};
use crate::model::ControllerModel;
use crate::slice::Slice;
use crate::vconn::{Door, Rconn, State};
use backer::Backer;
use base::clock::Nanos;
use base::poll::PollSet;
use base::sync::lock;
use ofproto::{ConnId, Controllers, Cx, Ofproto};
use openflow::PortConfig;
use ovsdb::{Address, Stream, Tls};
use std::collections::{BTreeMap, VecDeque};
use udpif::world::PacketIn;

/// Silence after which somebody who came by himself is probed, milliseconds.
const SERVICE_PROBE_MS: u64 = 60_000;
/// Messages read from a connection in one turn.
const MESSAGES_PER_TURN: usize = 50;
/// Bytes that may wait in a socket's queue before no more are made.
const OUTPUT_BYTES: usize = 256 << 10;
/// Connections that came by themselves, at the bridge's own socket, and as many at all the configured ones.
const SERVICES_MAX: usize = 200;
/// How often devices are looked at for changes, milliseconds.
const PORTS_MS: u64 = 100;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) rconn: Rconn,
    /// Open in the conversation.
    pub(super) id: Option<ConnId>,
    /// A configured controller, by its target; otherwise somebody who came by himself.
    pub(super) target: Option<String>,
    /// Where he came in: a configured passive target.
    pub(super) door: Option<String>,
    /// Something was heard in the last whole turn: it is served in between too.
    talks: bool,
}

impl Conn {
    /// A connection that is made, or waited for, to a configured target.
    pub(super) fn to(rconn: Rconn, target: &str) -> Self {
        Self {
            rconn,
            id: None,
            target: Some(target.to_owned()),
            door: None,
            talks: false,
        }
    }

    /// The configured target that this connection is made to or came in by.
    pub(super) fn by(&self) -> Option<&String> {
        self.target.as_ref().or(self.door.as_ref())
    }
}

/// What is shown of a controller.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Target.
    pub(crate) target: String,
    /// Connected and through with its hello.
    pub(crate) connected: bool,
    /// Role, in the database's words; none without a connection.
    pub(crate) role: Option<&'static str>,
    /// State of the connection.
    pub(crate) state: &'static str,
    /// The last error.
    pub(crate) last_error: Option<String>,
    /// Seconds since it was last connected, and since it was last lost.
    pub(crate) since: (Option<u64>, Option<u64>),
    /// What the rate limits of actions' packets and of misses counted: waiting, passed at once, delayed, dropped.
    pub(crate) paced: [Option<[u64; 4]>; 2],
}

/// What came of serving those who talk once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    /// Nobody said anything, and nothing is left to do.
    Nothing,
    /// Everything that was said is done.
    All,
    /// There is more to do at once.
    More,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(super) bridge: String,
    pub(super) controllers: Controllers,
    mgmt: Option<Door>,
    /// Keys and certificates.
    pub(super) tls: Tls,
    /// Who watches what is said with controllers.
    snoopers: Snoopers,
    pub(super) own_rules: OwnRules,
    pub(super) passive: BTreeMap<String, Door>,
    pub(super) wanted: BTreeMap<String, ControllerModel>,
    pub(super) versions: u32,
    pub(super) conns: Vec<Conn>,
    services: u64,
    ports_at: Nanos,
    /// Sum of the change counts of all devices when ports were last told.
    ports_seen: u64,
    /// `other_config:disable-in-band`, `in-band-queue`, and fail mode.
    pub(super) in_band: bool,
    pub(super) in_band_queue: Option<u32>,
    pub(super) standalone: bool,
    /// Packet-ins that may wait for a controller that says nothing else.
    pub(super) queue_size: usize,
    /// Managers that are reached in-band, and the way to all who are.
    pub(super) managers: Vec<Address>,
    pub(super) next_hops: NextHops,
    /// The connection that is served first.
    first: usize,
    /// Something was said in the last turn.
    talking: bool,
}

impl Conversation {
    /// Begins to listen for a bridge. A name with a slash gets no sockets.
    pub(crate) fn new(bridge: &str, tls: &Tls) -> Self {
        let address = |suffix: &str| {
            Address::PassiveUnix(crate::paths::rundir().join(format!("{bridge}.{suffix}")))
        };
        let listen = |suffix: &str| {
            Door::open(&address(suffix), tls)
                .inspect_err(|e| tracing::error!(target: "connmgr", "{e}"))
                .ok()
        };
        let plain = !bridge.contains('/');
        if plain {
            let rundir = crate::paths::rundir();
            tracing::info!(target: "connmgr", "{bridge}: added service controller \"punix:{}/{bridge}.mgmt\"",
                rundir.display());
        }
        Self {
            bridge: bridge.to_owned(),
            controllers: Controllers::default(),
            mgmt: plain.then(|| listen("mgmt")).flatten(),
            tls: tls.clone(),
            snoopers: if plain {
                Snoopers::listen(&address("snoop"))
            } else {
                Snoopers::default()
            },
            own_rules: OwnRules::default(),
            passive: BTreeMap::new(),
            wanted: BTreeMap::new(),
            versions: 0x7e,
            conns: Vec::new(),
            services: 0,
            ports_at: Nanos::ZERO,
            ports_seen: 0,
            in_band: false,
            in_band_queue: None,
            standalone: true,
            queue_size: 100,
            managers: Vec::new(),
            next_hops: NextHops::default(),
            first: 0,
            talking: false,
        }
    }

    /// Says after how long without a message a bundle is dropped; `None` for the usual time.
    pub(crate) fn set_bundle_timeout(&mut self, idle_ms: Option<u64>) {
        self.controllers.set_bundle_timeout(idle_ms);
    }

    /// Tells `ofproto` the ports as they are now.
    pub(crate) fn sync_ports(&mut self, backer: &Backer, now: Nanos) {
        if let Ok(ofproto) = backer.ofproto(&self.bridge) {
            self.ports_at = now.plus_millis(PORTS_MS);
            self.ports_seen = ports::changes(backer, &self.bridge);
            ports::sync(backer, &self.bridge, &mut lock(&ofproto), now);
        }
    }

    /// One turn. `waiting` are packets of this bridge; `slice_us`: how long reading and writing may last,
    /// microseconds each. True when there is more to do at once.
    pub(crate) fn run(
        &mut self,
        backer: &mut Backer,
        waiting: VecDeque<PacketIn>,
        (now, slice_us): (Nanos, u64),
    ) -> bool {
        self.accept(now, slice_us);
        self.connect(now);
        let Ok(ofproto) = backer.ofproto(&self.bridge) else {
            return false;
        };
        let bridge = self.bridge.clone();
        let mut below = Below::new(backer, &bridge, now);
        let mut of = lock(&ofproto);
        self.look_after_ports(&below, &mut of, now);
        let mut cx = Cx {
            of: &mut of,
            provider: &mut below,
            now,
        };
        for packet in waiting {
            let message = packets::to_controller(packet, cx.of.tun_table());
            self.controllers.packet_in(cx.of, message, now);
        }
        let (heard, more) = self.read(&mut cx, slice_us, false);
        self.talking = heard;
        let busy = more | self.controllers.run(&mut cx) | self.write(&mut cx, slice_us);
        let plans = self.controllers.take_plans();
        let configs = port_configs(&below, &of);
        drop(of);
        below.settle(&configs, plans);
        // Posts what the messages changed to whoever keeps flows true.
        drop(backer.tables(&bridge, |_| ()));
        self.forget_dead(now);
        busy
    }

    /// Tells what changed about ports, and keeps the rules that depend on controllers' addresses.
    fn look_after_ports(&mut self, below: &Below<'_>, of: &mut Ofproto, now: Nanos) {
        let bridge = self.bridge.clone();
        below.with_backer(|b| {
            let seen = ports::changes(b, &bridge);
            if seen != self.ports_seen || now >= self.ports_at {
                self.ports_seen = seen;
                self.ports_at = now.plus_millis(PORTS_MS);
                ports::sync(b, &bridge, of, now);
                let local = b.bridge(&bridge).ok().and_then(|x| x.iface(&bridge));
                let local = local.map_or((wire::EthAddr::ZERO, false), |i| {
                    (i.device.etheraddr(), i.device.ifindex().is_some())
                });
                let situation = self.situation(local, now);
                // Nothing else may change the tables while a long change is under way: then next time.
                if !of.is_busy() {
                    self.own_rules.update(&situation, of, now);
                }
            }
        });
    }

    /// Gives up the connections to controllers, and makes them again.
    pub(crate) fn reconnect(&mut self, now: Nanos) {
        for conn in self.conns.iter_mut().filter(|c| c.target.is_some()) {
            conn.rconn.reconnect(now);
        }
    }

    /// True when something was said in the last turn, so that more is likely to come soon.
    pub(crate) fn is_talking(&self) -> bool {
        self.talking
    }

    /// Serves what was said since by those who talk. The changes are not posted: that is for the caller to do,
    /// before long.
    pub(crate) fn again(&mut self, backer: &mut Backer, (now, slice_us): (Nanos, u64)) -> Heard {
        let Ok(ofproto) = backer.ofproto(&self.bridge) else {
            return Heard::Nothing;
        };
        let bridge = self.bridge.clone();
        let mut below = Below::new(backer, &bridge, now);
        let mut of = lock(&ofproto);
        let mut cx = Cx {
            of: &mut of,
            provider: &mut below,
            now,
        };
        let (heard, more) = self.read(&mut cx, slice_us, true);
        if !heard && !self.controllers.has_work(now) && !self.wants_to_write() {
            return Heard::Nothing;
        }
        let more = more | self.controllers.run(&mut cx) | self.write(&mut cx, slice_us);
        let plans = self.controllers.take_plans();
        let configs = port_configs(&below, &of);
        drop(of);
        below.settle(&configs, plans);
        if more { Heard::More } else { Heard::All }
    }

    /// Names what those who talk may do next.
    pub(crate) fn wait_for_talkers(&self, set: &mut PollSet) {
        for c in self.conns.iter().filter(|c| c.talks) {
            c.rconn.wait_io(self.is_heard(c), set);
        }
    }

    /// True when what arrives on a connection would be read.
    fn is_heard(&self, conn: &Conn) -> bool {
        conn.id.is_none_or(|id| self.controllers.may_receive(id))
    }

    fn wants_to_write(&self) -> bool {
        let waits = |c: &Conn| {
            let more = c.id.is_some_and(|id| self.controllers.has_output(id));
            c.rconn.is_connected() && more && c.rconn.backlog() == 0
        };
        self.conns.iter().any(waits)
    }

    /// Lets in who came by himself. Those at the bridge's own socket and those at configured ones do not take each
    /// other's room.
    fn accept(&mut self, now: Nanos, slice_us: u64) {
        let services = |c: &&Conn| c.target.is_none();
        let at_doors = self
            .conns
            .iter()
            .filter(services)
            .filter(|c| c.door.is_some());
        let at_doors = at_doors.count();
        let own = self.conns.iter().filter(services).count() - at_doors;
        let slice = Slice::micros(slice_us);
        let mut came: Vec<(Stream, Option<String>)> = Vec::new();
        if let Some(door) = &mut self.mgmt {
            let streams = door.run(now, SERVICES_MAX.saturating_sub(own), slice);
            came.extend(streams.into_iter().map(|s| (s, None)));
        }
        let mut room = SERVICES_MAX.saturating_sub(at_doors);
        for (target, door) in &mut self.passive {
            let streams = door.run(now, room, slice);
            room -= streams.len();
            came.extend(streams.into_iter().map(|s| (s, Some(target.clone()))));
        }
        self.snoopers.run(self.versions);
        for (stream, door) in came {
            self.welcome(stream, door, now);
        }
    }

    fn welcome(&mut self, stream: Stream, door: Option<String>, now: Nanos) {
        self.services += 1;
        let peer = stream.peer_name();
        let peer = peer.unwrap_or_else(|| format!("unix#{}", self.services));
        let name = format!("{}<->{peer}", self.bridge);
        let settings = self.settings(&name, door.as_ref());
        let id = self.controllers.open(settings, now);
        let mut rconn = Rconn::accepted(&name, stream, now);
        let c = door.as_ref().and_then(|t| self.wanted.get(t));
        let probe_ms = c.map_or(SERVICE_PROBE_MS, ControllerModel::probe_ms);
        rconn.set_patience(0, probe_ms);
        self.conns.push(Conn {
            rconn,
            id: Some(id),
            target: None,
            door,
            talks: false,
        });
    }

    fn connect(&mut self, now: Nanos) {
        let mut came = Vec::new();
        for (i, conn) in self.conns.iter_mut().enumerate() {
            let made = conn.rconn.run(now);
            if !conn.rconn.is_connected() {
                if let Some(id) = conn.id.take() {
                    self.controllers.close(id, now);
                }
                continue;
            }
            if made {
                came.push(i);
            }
            if conn.rconn.wants_probe() {
                // An echo request, in the oldest version as long as none is agreed on.
                let version = conn.id.and_then(|id| self.controllers.status(id));
                let version = version.and_then(|s| s.version).unwrap_or(1);
                conn.rconn.send(vec![version, 2, 0, 8, 0, 0, 0, 0], now);
            }
        }
        for i in came {
            let target = self.conns[i].target.clone();
            let name = format!("{}<->{}", self.bridge, self.conns[i].rconn.target());
            let settings = self.settings(&name, target.as_ref());
            self.conns[i].id = Some(self.controllers.open(settings, now));
        }
    }

    /// Reads from every connection (or only from `talkers`), as long as the slice lasts: (something was said,
    /// there may be more).
    fn read(&mut self, cx: &mut Cx<'_>, slice_us: u64, talkers: bool) -> (bool, bool) {
        let slice = Slice::micros(slice_us);
        let (mut heard, mut busy) = (false, false);
        let n = self.conns.len();
        if !talkers {
            self.conns.iter_mut().for_each(|c| c.talks = false);
        }
        for i in 0..n {
            let at = (self.first + i) % n;
            if talkers && !self.conns[at].talks {
                continue;
            }
            let messages = self.read_one(cx, at, slice);
            self.conns[at].talks |= messages > 0;
            heard |= messages > 0;
            busy |= messages >= MESSAGES_PER_TURN;
            if messages > 0 && slice.is_over() {
                self.first = (at + 1) % n;
                return (true, true);
            }
        }
        (heard, busy)
    }

    /// Reads from one connection; gives the number of messages.
    fn read_one(&mut self, cx: &mut Cx<'_>, at: usize, slice: Slice) -> usize {
        let conn = &mut self.conns[at];
        let Some(id) = conn.id else { return 0 };
        if self.controllers.status(id).is_some_and(|s| !s.up)
            && let Some(hello) = self.controllers.output(cx, id)
        {
            conn.rconn.send(hello, cx.now);
        }
        let mut messages = 0;
        while messages < MESSAGES_PER_TURN && self.controllers.may_receive(id) {
            let Some(message) = conn.rconn.receive(cx.now) else {
                break;
            };
            messages += 1;
            if conn.target.is_some() {
                self.snoopers.copy(&message);
            }
            if let Err(why) = self.controllers.receive(cx, id, &message) {
                while let Some(last) = self.controllers.output(cx, id) {
                    conn.rconn.send(last, cx.now);
                }
                conn.rconn.disconnect(&why.to_string(), cx.now);
                break;
            }
            if slice.is_over() {
                break;
            }
        }
        messages
    }

    /// Writes to every connection what its socket takes, as long as the slice lasts. True when there is more.
    fn write(&mut self, cx: &mut Cx<'_>, slice_us: u64) -> bool {
        let slice = Slice::micros(slice_us);
        let mut busy = false;
        let n = self.conns.len();
        for i in 0..n {
            let at = (self.first + i) % n;
            let conn = &mut self.conns[at];
            let Some(id) = conn.id else { continue };
            conn.rconn.flush(cx.now);
            while conn.rconn.is_connected() && conn.rconn.backlog() < OUTPUT_BYTES {
                match self.controllers.output(cx, id) {
                    Some(message) => {
                        if conn.target.is_some() {
                            self.snoopers.copy(&message);
                        }
                        conn.rconn.send(message, cx.now);
                    }
                    None => break,
                }
                if slice.is_over() {
                    self.first = (at + 1) % n;
                    return true;
                }
            }
            busy |= conn.rconn.backlog() == 0 && self.controllers.has_output(id);
        }
        busy
    }

    fn forget_dead(&mut self, now: Nanos) {
        let controllers = &mut self.controllers;
        self.conns.retain_mut(|c| {
            let alive =
                c.rconn.is_connected() || c.target.is_some() && c.rconn.state() != State::Void;
            if !alive && let Some(id) = c.id.take() {
                controllers.close(id, now);
            }
            alive
        });
    }

    /// True when some controller wants the packets that match no rule.
    pub(crate) fn wants_misses(&self) -> bool {
        self.controllers.wants_misses()
    }
    /// True while a configured controller is connected.
    pub(crate) fn has_controller(&self) -> bool {
        self.conns
            .iter()
            .any(|c| c.target.is_some() && c.rconn.is_connected())
    }

    /// Connections, made or being made.
    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, now: Nanos, set: &mut PollSet) {
        for door in self.mgmt.iter().chain(self.passive.values()) {
            door.wait(now, set);
        }
        self.snoopers.wait(set);
        for conn in &self.conns {
            conn.rconn.wait(self.is_heard(conn), now, set);
        }
        if let Some(due) = self.controllers.next_due() {
            set.within(due.since(now));
        }
    }

    /// Finishes what is under way, before the tables are changed by somebody else.
    pub(crate) fn settle(&mut self, backer: &mut Backer, now: Nanos) {
        let Ok(ofproto) = backer.ofproto(&self.bridge) else {
            return;
        };
        let bridge = self.bridge.clone();
        let mut below = Below::new(backer, &bridge, now);
        let mut of: base::sync::MutexGuard<'_, Ofproto> = lock(&ofproto);
        self.controllers.settle(&mut Cx {
            of: &mut of,
            provider: &mut below,
            now,
        });
    }
}

/// The configuration of ports, when it is needed for what a turn left to be done.
fn port_configs(below: &Below<'_>, of: &Ofproto) -> Vec<(flow::OfPort, PortConfig)> {
    if !below.reconfigures() {
        return Vec::new();
    }
    of.ports()
        .map(|p| (p.desc.port_no, p.desc.config))
        .collect()
}
