//! One bridge's conversation: `<bridge>.mgmt`, `<bridge>.snoop`, configured controllers, and whoever they let in.
//!
//! A turn reads a bounded number of messages from each connection, answers them, and writes while the sockets take
//! it. A peer that does not read is not read from.

use super::below::Below;
use super::{packets, ports};
use crate::model::{BridgeModel, ControllerModel};
use crate::vconn::{Channel, Rconn, State};
use backer::Backer;
use base::clock::Nanos;
use base::poll::PollSet;
use base::sync::lock;
use ofproto::{ConnId, ConnSettings, Controllers, Cx, Ofproto, Role};
use openflow::PortConfig;
use ovsdb::{Address, Listener};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsRawFd;
use udpif::world::PacketIn;

/// Messages read from a connection in one turn.
const MESSAGES_PER_TURN: usize = 50;
/// Bytes that may wait in a socket's queue before no more are made.
const OUTPUT_BYTES: usize = 256 << 10;
/// Connections of one bridge that came by themselves.
const SERVICES_MAX: usize = 200;
/// Silence after which one of those is probed, milliseconds.
const SERVICE_PROBE_MS: u64 = 60_000;
/// Watchers of one bridge's conversation.
const SNOOPERS_MAX: usize = 16;
/// How often devices are looked at for changes, milliseconds.
const PORTS_MS: u64 = 100;

/// A connection.
#[derive(Debug)]
struct Conn {
    rconn: Rconn,
    /// Open in the conversation.
    id: Option<ConnId>,
    /// A configured controller, by its target; otherwise somebody who came by himself.
    target: Option<String>,
}

/// What is shown of a controller.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Target.
    pub(crate) target: String,
    /// Connected and through with its hello.
    pub(crate) connected: bool,
    /// Role, in the database's words.
    pub(crate) role: &'static str,
    /// State of the connection.
    pub(crate) state: &'static str,
    /// The last error.
    pub(crate) last_error: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Conversation {
    bridge: String,
    controllers: Controllers,
    mgmt: Option<Listener>,
    snoop: Option<Listener>,
    /// Who watches what is said with controllers.
    snoopers: Vec<Channel>,
    passive: BTreeMap<String, Listener>,
    wanted: BTreeMap<String, ControllerModel>,
    versions: u32,
    conns: Vec<Conn>,
    services: u64,
    ports_at: Nanos,
}

impl Conversation {
    /// Begins to listen for a bridge. A name with a slash gets no sockets.
    pub(crate) fn new(bridge: &str) -> Self {
        let listen = |suffix: &str| {
            let path = crate::paths::rundir().join(format!("{bridge}.{suffix}"));
            match Listener::bind(&Address::PassiveUnix(path)) {
                Ok(listener) => Some(listener),
                Err(e) => {
                    tracing::error!(target: "connmgr", "{e}");
                    None
                }
            }
        };
        let plain = !bridge.contains('/');
        Self {
            bridge: bridge.to_owned(),
            controllers: Controllers::default(),
            mgmt: plain.then(|| listen("mgmt")).flatten(),
            snoop: plain.then(|| listen("snoop")).flatten(),
            snoopers: Vec::new(),
            passive: BTreeMap::new(),
            wanted: BTreeMap::new(),
            versions: 0x7e,
            conns: Vec::new(),
            services: 0,
            ports_at: Nanos::ZERO,
        }
    }

    /// Says after how long without a message a bundle is dropped; `None` for the usual time.
    pub(crate) fn set_bundle_timeout(&mut self, idle_ms: Option<u64>) {
        self.controllers.set_bundle_timeout(idle_ms);
    }

    /// Puts the configured controllers in force: those that did not change keep their connections.
    pub(crate) fn configure(&mut self, model: &BridgeModel, now: Nanos) {
        self.versions = versions(&model.protocols);
        let wanted: BTreeMap<String, ControllerModel> = model
            .controllers
            .iter()
            .filter(|(target, _)| target.as_str() != "none")
            .map(|(t, c)| (t.clone(), c.clone()))
            .collect();
        if wanted == self.wanted {
            return;
        }
        self.passive.retain(|target, _| wanted.contains_key(target));
        for conn in &mut self.conns {
            if conn
                .target
                .as_ref()
                .is_some_and(|t| !wanted.contains_key(t))
            {
                conn.rconn.disconnect("controller removed", now);
                conn.target = None;
            }
        }
        for (target, c) in &wanted {
            if !self.wanted.contains_key(target) {
                self.add_controller(target, now);
            }
            let (backoff, probe) = (
                c.max_backoff_ms.unwrap_or(8000),
                c.inactivity_probe_ms.unwrap_or(5000),
            );
            for conn in self
                .conns
                .iter_mut()
                .filter(|x| x.target.as_ref() == Some(target))
            {
                conn.rconn.set_patience(backoff, probe);
            }
        }
        self.wanted = wanted;
    }

    fn add_controller(&mut self, target: &str, now: Nanos) {
        let refused = |why: String| tracing::warn!(target: "connmgr", "{why}");
        match Address::parse(target, 6653, &crate::paths::rundir()) {
            Ok(address @ (Address::PassiveUnix(_) | Address::PassiveTcp(_))) => {
                match Listener::bind(&address) {
                    Ok(listener) => {
                        self.passive.insert(target.to_owned(), listener);
                    }
                    Err(e) => refused(e.to_string()),
                }
            }
            Ok(address) => {
                let rconn = Rconn::to(target, address, now);
                self.conns.push(Conn {
                    rconn,
                    id: None,
                    target: Some(target.to_owned()),
                });
            }
            Err(e) => refused(e.to_string()),
        }
    }

    /// Tells `ofproto` the ports as they are now.
    pub(crate) fn sync_ports(&mut self, backer: &Backer, now: Nanos) {
        if let Ok(ofproto) = backer.ofproto(&self.bridge) {
            self.ports_at = now.plus_millis(PORTS_MS);
            ports::sync(backer, &self.bridge, &mut lock(&ofproto), now);
        }
    }

    /// One turn. `waiting` are packets for this bridge. True when there is more to do at once.
    pub(crate) fn run(
        &mut self,
        backer: &mut Backer,
        waiting: VecDeque<PacketIn>,
        now: Nanos,
    ) -> bool {
        self.accept(now);
        self.connect(now);
        let Ok(ofproto) = backer.ofproto(&self.bridge) else {
            return false;
        };
        let bridge = self.bridge.clone();
        let mut below = Below::new(backer, &bridge, now);
        let mut of = lock(&ofproto);
        if now >= self.ports_at {
            self.ports_at = now.plus_millis(PORTS_MS);
            below.with_backer(|b| ports::sync(b, &bridge, &mut of, now));
        }
        let mut cx = Cx {
            of: &mut of,
            provider: &mut below,
            now,
        };
        for packet in waiting {
            let message = packets::to_controller(packet, cx.of.tun_table());
            self.controllers.packet_in(cx.of, message, now);
        }
        let mut busy = self.read(&mut cx);
        busy |= self.controllers.run(&mut cx);
        busy |= self.write(&mut cx);
        let plans = self.controllers.take_plans();
        let configs: Vec<(flow::OfPort, PortConfig)> = of
            .ports()
            .map(|p| (p.desc.port_no, p.desc.config))
            .collect();
        drop(of);
        below.settle(&configs, plans);
        self.forget_dead(now);
        busy
    }

    fn accept(&mut self, now: Nanos) {
        let mut came = Vec::new();
        for (listener, target) in self
            .mgmt
            .iter()
            .map(|l| (l, None))
            .chain(self.passive.iter().map(|(t, l)| (l, Some(t.clone()))))
        {
            while self.conns.len() + came.len() < SERVICES_MAX {
                let Some(stream) = listener.accept() else {
                    break;
                };
                came.push((stream, target.clone()));
            }
        }
        while self.snoopers.len() < SNOOPERS_MAX {
            let Some(stream) = self.snoop.as_ref().and_then(Listener::accept) else {
                break;
            };
            self.snoopers.push(Channel::new(stream));
        }
        for (stream, _) in came {
            self.services += 1;
            let name = format!("{}<->unix#{}", self.bridge, self.services);
            let mut settings = ConnSettings::service(&name);
            settings.versions = self.versions;
            let id = self.controllers.open(settings, now);
            let mut rconn = Rconn::accepted(&name, stream, now);
            rconn.set_patience(0, SERVICE_PROBE_MS);
            self.conns.push(Conn {
                rconn,
                id: Some(id),
                target: None,
            });
        }
    }

    fn connect(&mut self, now: Nanos) {
        for conn in &mut self.conns {
            let made = conn.rconn.run(now);
            if !conn.rconn.is_connected() {
                if let Some(id) = conn.id.take() {
                    self.controllers.close(id, now);
                }
                continue;
            }
            if made {
                let name = format!("{}<->{}", self.bridge, conn.rconn.target());
                tracing::info!(target: "rconn", "{name}: connected");
                let mut settings = ConnSettings::primary(&name);
                settings.versions = self.versions;
                if let Some(c) = conn.target.as_ref().and_then(|t| self.wanted.get(t)) {
                    (settings.rate, settings.burst) = c.rate_limit.unwrap_or((0, 0));
                    settings.asynchronous = c.enable_async;
                }
                conn.id = Some(self.controllers.open(settings, now));
            }
            if conn.rconn.wants_probe(now) {
                // An echo request; its version is the oldest, which every peer takes.
                conn.rconn.send(vec![1, 2, 0, 8, 0, 0, 0, 0], now);
            }
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut busy = false;
        for conn in &mut self.conns {
            let Some(id) = conn.id else { continue };
            if self.controllers.status(id).is_some_and(|s| !s.up)
                && let Some(hello) = self.controllers.output(cx, id)
            {
                conn.rconn.send(hello, cx.now);
            }
            let mut budget = MESSAGES_PER_TURN;
            while budget > 0 && self.controllers.may_receive(id) {
                let Some(message) = conn.rconn.receive(cx.now) else {
                    break;
                };
                budget -= 1;
                if conn.target.is_some() {
                    copy(&mut self.snoopers, &message);
                }
                if let Err(why) = self.controllers.receive(cx, id, &message) {
                    while let Some(last) = self.controllers.output(cx, id) {
                        conn.rconn.send(last, cx.now);
                    }
                    conn.rconn.disconnect(&why.to_string(), cx.now);
                    break;
                }
            }
            busy |= budget == 0;
        }
        busy
    }

    fn write(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut busy = false;
        for conn in &mut self.conns {
            let Some(id) = conn.id else { continue };
            conn.rconn.flush(cx.now);
            while conn.rconn.is_connected() && conn.rconn.backlog() < OUTPUT_BYTES {
                match self.controllers.output(cx, id) {
                    Some(message) => {
                        if conn.target.is_some() {
                            copy(&mut self.snoopers, &message);
                        }
                        conn.rconn.send(message, cx.now);
                    }
                    None => break,
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

    /// What is shown of configured controllers.
    pub(crate) fn show(&self) -> Vec<Shown> {
        let configured = self.conns.iter().filter(|c| c.target.is_some());
        configured
            .map(|c| {
                let status = c.id.and_then(|id| self.controllers.status(id));
                Shown {
                    target: c.rconn.target().to_owned(),
                    connected: status.is_some_and(|s| s.up),
                    role: status.map_or("other", |s| match s.role {
                        Role::Primary => "master",
                        Role::Secondary => "slave",
                        Role::Equal | Role::NoChange => "other",
                    }),
                    state: c.rconn.state().name(),
                    last_error: c.rconn.history().2.map(str::to_owned),
                }
            })
            .collect()
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, now: Nanos, set: &mut PollSet) {
        for l in self
            .mgmt
            .iter()
            .chain(&self.snoop)
            .chain(self.passive.values())
        {
            set.fd(l.as_raw_fd(), false);
        }
        for conn in &self.conns {
            conn.rconn.wait(now, set);
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

/// Shows a message to whoever watches; one who does not keep up is dropped.
fn copy(snoopers: &mut Vec<Channel>, message: &[u8]) {
    snoopers.retain_mut(|s| s.send(message.to_vec()).is_ok());
}

/// Versions by the names of the database; none given means all.
fn versions(names: &[String]) -> u32 {
    let known = [
        "OpenFlow10",
        "OpenFlow11",
        "OpenFlow12",
        "OpenFlow13",
        "OpenFlow14",
        "OpenFlow15",
    ];
    let bits = known
        .iter()
        .zip(1u32..)
        .filter(|(n, _)| names.iter().any(|x| x == *n));
    let bits = bits.fold(0, |all, (_, v)| all | 1 << v);
    if bits == 0 { 0x7e } else { bits }
}
