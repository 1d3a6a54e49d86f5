//! A connection to a database server that stays up.
//!
//! `run` is called from the main loop. It connects (back-off 1 to 8 s; of several servers, to the next one each time),
//! or listens for a server that connects to it (`ptcp:`, `pssl:`, `punix:`; a newer connection replaces an older one).
//! Then it asks for the schema, takes the
//! lock, monitors, answers echoes, probes a silent server, and reports [`Event`]s. A server that goes away
//! changes nothing in the replica; when it returns, the fresh copy replaces the old one at once and only the
//! caller's comparison decides what really changed.

use crate::address::Address;
use crate::jsonrpc::{Message, Rpc, RpcError};
use crate::listener::Listener;
use crate::reconnect::Reconnect;
use crate::replica::{Change, Replica};
use crate::schema::Schema;
use crate::stream::{Dial, Stream, words};
use crate::txn::Transaction;
use base::clock::Nanos;
use base::log_rl;
use base::poll::PollSet;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

/// A server silent for so long is probed, and given up after as long again, milliseconds.
const PROBE_MS: u64 = 5000;

static ACCEPTS: base::log::RateLimit = base::log::RateLimit::new(1, 5);

/// Names a transaction that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u64);

/// Something the caller must know.
#[derive(Debug)]
pub enum Event {
    /// The connection is up; the text is the address.
    Connected,
    /// The connection is down, and why.
    Disconnected(String),
    /// The lock was granted (true), or is held by someone else (false).
    Lock(bool),
    /// Rows changed. `fresh`: this is a complete copy after (re)connecting.
    Updated {
        /// What changed.
        changes: Vec<Change>,
        /// A complete copy.
        fresh: bool,
    },
    /// A transaction came to its end: the results, or the error.
    Transacted(TxnId, Result<Value, String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Schema,
    Monitor,
    Ready,
}

#[derive(Debug)]
enum Pending {
    Schema,
    Lock,
    Monitor(Monitor),
    Echo,
    Txn(TxnId),
}

/// The ways to follow a database, newest first. A server that refuses one is asked for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Monitor {
    /// Open vSwitch 2.12 and later: resumes where it was.
    CondSince,
    /// Open vSwitch 2.6 and later.
    Cond,
    /// RFC 7047.
    Plain,
}

impl Monitor {
    fn method(self) -> &'static str {
        match self {
            Self::CondSince => "monitor_cond_since",
            Self::Cond => "monitor_cond",
            Self::Plain => "monitor",
        }
    }
    fn older(self) -> Option<Self> {
        match self {
            Self::CondSince => Some(Self::Cond),
            Self::Cond => Some(Self::Plain),
            Self::Plain => None,
        }
    }
}

/// Which columns of which tables to monitor; an empty list means all the server has.
pub type Wanted = BTreeMap<String, Vec<String>>;

/// A server: its name in the log, and where it is.
pub type Remote = (String, Address);

/// The session.
#[derive(Debug)]
pub struct Session {
    remotes: Vec<Remote>,
    /// The remote that is in use, or was tried last.
    remote: usize,
    dial: Dial,
    listener: Option<Listener>,
    /// Who is being let in.
    arriving: Option<Stream>,
    database: String,
    lock: Option<String>,
    wanted: Wanted,
    rpc: Option<Rpc>,
    phase: Phase,
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
    reconnect: Reconnect,
    heard_at: Nanos,
    heard_bytes: u64,
    probed: bool,
    has_lock: bool,
    schema: Schema,
    replica: Replica,
    last_txn: String,
}

impl Session {
    /// A session that is not connected yet, with one of `remotes`. `lock` is taken after each connection.
    #[must_use]
    pub fn new(
        (remotes, dial): (Vec<Remote>, Dial),
        database: &str,
        lock: Option<&str>,
        wanted: Wanted,
    ) -> Self {
        Self {
            // So that the first attempt is at the first one.
            remote: remotes.len().saturating_sub(1),
            remotes,
            dial,
            listener: None,
            arriving: None,
            database: database.to_owned(),
            lock: lock.map(str::to_owned),
            wanted,
            rpc: None,
            phase: Phase::Schema,
            pending: BTreeMap::new(),
            next_id: 1,
            reconnect: Reconnect::default(),
            heard_at: Nanos::ZERO,
            heard_bytes: 0,
            probed: false,
            has_lock: false,
            schema: Schema::default(),
            replica: Replica::new(),
            last_txn: "00000000-0000-0000-0000-000000000000".to_owned(),
        }
    }

    /// The database as last seen.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }
    /// Its schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
    /// True while connected and complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.rpc.is_some() && self.phase == Phase::Ready
    }
    /// True when the lock is ours, or none is wanted.
    #[must_use]
    pub fn has_lock(&self) -> bool {
        self.has_lock || self.lock.is_none()
    }
    /// The server that is connected, or was tried last.
    #[must_use]
    pub fn remote(&self) -> Option<&Address> {
        self.remotes.get(self.remote).map(|(_, address)| address)
    }

    /// Names what to wait for.
    pub fn wait(&self, now: Nanos, set: &mut PollSet) {
        if let Some(l) = &self.listener {
            set.fd(l.as_raw_fd(), false);
        }
        if let Some(s) = &self.arriving {
            set.fd(s.as_raw_fd(), s.wants_write());
        }
        if let Some(r) = &self.rpc {
            let connecting = self.phase == Phase::Connecting;
            let write = r.wants_write() || connecting && r.is_on_its_way();
            set.fd(r.as_raw_fd(), write);
        }
        let timed = self.probes() || self.phase == Phase::Connecting;
        match &self.rpc {
            None if self.listener.is_none() => set.within(self.reconnect.due().since(now)),
            Some(_) if timed => {
                let probe = self.heard_at.plus_millis(PROBE_MS);
                // Once probed, the answer has as long again.
                let due = if now < probe {
                    probe
                } else {
                    self.heard_at.plus_millis(PROBE_MS * 2)
                };
                set.within(due.since(now));
            }
            _ => {}
        }
    }

    /// A peer on the same host cannot be out of reach without the kernel saying so.
    fn probes(&self) -> bool {
        self.remote().is_some_and(Address::needs_probes)
    }

    /// Gives the connection up and makes it anew at once, for a complete copy.
    pub fn reconnect(&mut self, now: Nanos) {
        self.rpc = None;
        self.pending.clear();
        self.has_lock = false;
        self.reconnect.hurry(now);
    }

    /// Sends a transaction; `None` when not connected or empty.
    pub fn transact(&mut self, txn: &Transaction) -> Option<TxnId> {
        if !self.is_ready() || txn.is_empty() {
            return None;
        }
        let id = TxnId(self.next_id);
        let params = txn.params(&self.database);
        self.request("transact", params, Pending::Txn(id)).ok()?;
        Some(id)
    }

    /// Does what is due at `now`.
    pub fn run(&mut self, now: Nanos) -> Vec<Event> {
        let mut events = Vec::new();
        if self.listener.is_some() {
            self.accept(now, &mut events);
        } else if self.rpc.is_none() {
            if now < self.reconnect.due() {
                return events;
            }
            self.connect(now);
        }
        if self.phase == Phase::Connecting && self.rpc.is_some() {
            self.await_connection(now, &mut events);
            if self.phase == Phase::Connecting {
                return events;
            }
        }
        if let Err(e) = self.exchange(now, &mut events) {
            self.disconnect(now, &e.to_string(), &mut events);
        }
        events
    }

    /// The server's name in the log.
    fn name(&self) -> String {
        let remote = self.remotes.get(self.remote);
        remote.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    fn connect(&mut self, now: Nanos) {
        self.remote = (self.remote + 1) % self.remotes.len().max(1);
        let Some((name, address)) = self.remotes.get(self.remote).cloned() else {
            return;
        };
        let (what, doing) = if address.is_passive() {
            ("listen", "listening")
        } else {
            ("connection", "connecting")
        };
        let begun = if address.is_passive() {
            Listener::bind(&address, &self.dial.tls).map(|l| self.listener = Some(l))
        } else {
            Stream::begin(&address, &self.dial).map(|s| self.begin(s, now))
        };
        self.reconnect.passive = address.is_passive();
        self.reconnect.attempt(&name, doing);
        if let Err(e) = begun {
            let why = words(&e.source_error());
            self.reconnect.failed(&name, (what, Some(&why)), now);
        }
    }

    fn begin(&mut self, stream: Stream, now: Nanos) {
        self.rpc = Some(Rpc::new(stream));
        self.phase = Phase::Connecting;
        self.heard_at = now;
        self.heard_bytes = 0;
        self.probed = false;
        self.has_lock = false;
    }

    /// Lets a server in that connects to us. It takes the place of an older one once it has shown who it is.
    fn accept(&mut self, now: Nanos, events: &mut Vec<Event>) {
        match self.listener.as_ref().map(Listener::accept) {
            Some(Ok(Some(stream))) => self.arriving = Some(stream),
            Some(Err(e)) => {
                log_rl!(
                    ACCEPTS,
                    WARN,
                    "reconnect",
                    "{}: accept failed ({})",
                    self.name(),
                    words(&e)
                );
            }
            _ => {}
        }
        match self.arriving.as_mut().map(Stream::is_connected) {
            Some(Ok(true)) => {
                let stream = self.arriving.take();
                if self.rpc.is_some() {
                    log_rl!(
                        ACCEPTS,
                        INFO,
                        "jsonrpc",
                        "{}: new connection replacing active connection",
                        self.name()
                    );
                    self.disconnect(now, "replaced", events);
                }
                if let Some(stream) = stream {
                    self.begin(stream, now);
                }
            }
            Some(Err(_)) => self.arriving = None,
            _ => {}
        }
    }

    /// Looks whether the connection is there by now; one that takes too long is given up.
    fn await_connection(&mut self, now: Nanos, events: &mut Vec<Event>) {
        let state = self.rpc.as_mut().map(Rpc::is_connected);
        match state {
            Some(Ok(true)) => {
                self.phase = Phase::Schema;
                self.heard_at = now;
                let name = self.name();
                self.reconnect.connected(&name, now);
                events.push(Event::Connected);
                let database = self.database.clone();
                if let Err(e) = self.request("get_schema", json!([database]), Pending::Schema) {
                    self.disconnect(now, &e.to_string(), events);
                }
            }
            Some(Ok(false)) if now < self.heard_at.plus_millis(PROBE_MS) => {}
            other => {
                let why = match other {
                    Some(Err(e)) => Some(words(&e)),
                    _ => None,
                };
                self.rpc = None;
                let name = self.name();
                self.reconnect
                    .failed(&name, ("connection", why.as_deref()), now);
            }
        }
    }

    fn disconnect(&mut self, now: Nanos, why: &str, events: &mut Vec<Event>) {
        if self.rpc.take().is_none() {
            return;
        }
        for (_, pending) in std::mem::take(&mut self.pending) {
            if let Pending::Txn(id) = pending {
                events.push(Event::Transacted(id, Err("connection lost".to_owned())));
            }
        }
        self.has_lock = false;
        let name = self.name();
        self.reconnect.lost(&name, why, now);
        events.push(Event::Disconnected(why.to_owned()));
    }

    fn request(&mut self, method: &str, params: Value, what: Pending) -> Result<(), RpcError> {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, what);
        let message = Message::Request {
            id: json!(id),
            method: method.to_owned(),
            params,
        };
        self.rpc
            .as_mut()
            .map_or(Err(RpcError::Closed), |r| r.send(&message))
    }

    fn exchange(&mut self, now: Nanos, events: &mut Vec<Event>) -> Result<(), RpcError> {
        loop {
            let Some(rpc) = self.rpc.as_mut() else {
                return Ok(());
            };
            rpc.flush()?;
            let message = rpc.receive()?;
            if rpc.received != self.heard_bytes {
                self.heard_bytes = rpc.received;
                self.heard_at = now;
                self.probed = false;
            }
            match message {
                Some(m) => self.take(m, events)?,
                None => break,
            }
        }
        if !self.probes() {
            return Ok(());
        }
        if now >= self.heard_at.plus_millis(PROBE_MS * 2) {
            let (name, s) = (self.name(), PROBE_MS / 1000);
            tracing::error!(target: "reconnect",
                "{name}: no response to inactivity probe after {s} seconds, disconnecting");
            return Err(RpcError::Io(std::io::ErrorKind::TimedOut.into()));
        }
        if now >= self.heard_at.plus_millis(PROBE_MS) && !self.probed {
            self.probed = true;
            self.request("echo", json!([]), Pending::Echo)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Message, events: &mut Vec<Event>) -> Result<(), RpcError> {
        match message {
            Message::Request { id, method, params } if method == "echo" => {
                let reply = Message::Reply { id, result: params };
                self.rpc.as_mut().map_or(Ok(()), |r| r.send(&reply))
            }
            Message::Request { id, .. } => {
                let error = json!({"error": "unknown method"});
                self.rpc
                    .as_mut()
                    .map_or(Ok(()), |r| r.send(&Message::Error { id, error }))
            }
            Message::Notify { method, params } => {
                self.notified(&method, &params, events);
                Ok(())
            }
            Message::Reply { id, result } => self.answered(&id, Ok(result), events),
            Message::Error { id, error } => self.answered(&id, Err(error.to_string()), events),
        }
    }

    fn notified(&mut self, method: &str, params: &Value, events: &mut Vec<Event>) {
        let mut apply = |at: usize| {
            let updates = params.get(at).unwrap_or(&Value::Null);
            let changes = self.replica.apply(&self.schema, updates);
            events.push(Event::Updated {
                changes,
                fresh: false,
            });
        };
        match method {
            "update3" => {
                apply(2);
                if let Some(id) = params.get(1).and_then(Value::as_str) {
                    id.clone_into(&mut self.last_txn);
                }
            }
            "update2" | "update" => apply(1),
            "locked" => {
                self.has_lock = true;
                events.push(Event::Lock(true));
            }
            "stolen" => {
                self.has_lock = false;
                events.push(Event::Lock(false));
            }
            _ => {}
        }
    }

    fn answered(
        &mut self,
        id: &Value,
        result: Result<Value, String>,
        events: &mut Vec<Event>,
    ) -> Result<(), RpcError> {
        let Some(what) = id.as_u64().and_then(|id| self.pending.remove(&id)) else {
            return Ok(());
        };
        match what {
            Pending::Echo => Ok(()),
            Pending::Txn(txn) => {
                events.push(Event::Transacted(txn, result.and_then(first_error)));
                Ok(())
            }
            Pending::Lock => {
                let got = result
                    .ok()
                    .and_then(|r| r.get("locked").and_then(Value::as_bool));
                self.has_lock = got == Some(true);
                events.push(Event::Lock(self.has_lock));
                Ok(())
            }
            Pending::Schema => self.got_schema(result),
            Pending::Monitor(how) => match (result, how.older()) {
                (Ok(copy), _) => {
                    self.got_copy(&copy, how, events);
                    Ok(())
                }
                (Err(_), Some(older)) => self.monitor(older),
                (Err(_), None) => Err(RpcError::NotAMessage("server refuses to be monitored")),
            },
        }
    }

    fn got_schema(&mut self, result: Result<Value, String>) -> Result<(), RpcError> {
        let schema = result.ok().as_ref().and_then(Schema::from_json);
        self.schema = schema.ok_or(RpcError::NotAMessage("server has no such database"))?;
        if let Some(lock) = self.lock.clone() {
            self.request("lock", json!([lock]), Pending::Lock)?;
        }
        self.phase = Phase::Monitor;
        self.monitor(Monitor::CondSince)
    }

    fn monitor(&mut self, how: Monitor) -> Result<(), RpcError> {
        let requests = self.monitor_requests();
        let id = json!(["monid", self.database]);
        let mut params = vec![json!(self.database), id, requests];
        if how == Monitor::CondSince {
            params.push(json!(self.last_txn));
        }
        self.request(how.method(), Value::Array(params), Pending::Monitor(how))
    }

    fn monitor_requests(&self) -> Value {
        let mut requests = serde_json::Map::new();
        for (table, columns) in &self.wanted {
            let Some(have) = self.schema.tables.get(table) else {
                continue;
            };
            let columns: Vec<&str> = if columns.is_empty() {
                have.keys().map(String::as_str).collect()
            } else {
                columns
                    .iter()
                    .map(String::as_str)
                    .filter(|c| have.contains_key(*c))
                    .collect()
            };
            requests.insert(table.clone(), json!([{"columns": columns}]));
        }
        Value::Object(requests)
    }

    fn got_copy(&mut self, result: &Value, how: Monitor, events: &mut Vec<Event>) {
        let mut updates = Some(result);
        let mut found = false;
        if how == Monitor::CondSince {
            found = result.get(0).and_then(Value::as_bool).unwrap_or(false);
            if let Some(id) = result.get(1).and_then(Value::as_str) {
                id.clone_into(&mut self.last_txn);
            }
            updates = result.get(2);
        }
        if !found {
            self.replica.clear();
        }
        let updates = updates.unwrap_or(&Value::Null);
        let changes = self.replica.apply(&self.schema, updates);
        self.phase = Phase::Ready;
        events.push(Event::Updated {
            changes,
            fresh: true,
        });
    }
}

/// A transaction's result array, or the first error in it.
fn first_error(result: Value) -> Result<Value, String> {
    for item in result.as_array().into_iter().flatten() {
        if let Some(error) = item.get("error") {
            let details = item
                .get("details")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Err(format!("{}: {details}", error.as_str().unwrap_or("error")));
        }
    }
    Ok(result)
}
