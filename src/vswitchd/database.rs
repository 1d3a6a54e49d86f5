//! The database as a source of configuration and a place to show status.
//!
//! A database that goes away changes nothing. When it returns, what it says is compared with what is in force. One
//! that comes back without any bridge while bridges run is not believed until it was read so twice.

use crate::db_model::{self, OVSDB_PORT, RowIds};
use crate::db_status::{Shown, Writer};
use crate::model::Model;
use base::clock::Nanos;
use base::poll::PollSet;
use base::sync::AtomicBool;
use ovsdb::{Address, Datum, Dial, Event, Row, Session, Tls, remark_on_default_port};

/// The lock that one switch per database holds.
const LOCK: &str = "ovs_vswitchd";

static DEFAULT_PORT_SAID: AtomicBool = AtomicBool::new(false);

/// A new state of the configuration.
#[derive(Debug)]
pub(crate) struct News {
    /// What it says.
    pub(crate) model: Model,
    /// Its number; to be shown in `cur_cfg` once it is in force.
    pub(crate) next_cfg: i64,
}

/// The database connection.
#[derive(Debug)]
pub(crate) struct Database {
    session: Session,
    writer: Writer,
    address: String,
    ids: RowIds,
    /// Something changed that was not given out yet.
    stale: bool,
    /// It came back empty once.
    seen_empty: bool,
    had_bridges: bool,
    lock_lost_said: bool,
    /// The configuration in force, for `cur_cfg`.
    in_force: Option<i64>,
}

impl Database {
    /// A database at an address, or at one of several (`,` between them). One that means nothing is tried again for
    /// ever, as one where nobody is.
    pub(crate) fn new(address: &str, tls: &Tls) -> Self {
        let rundir = crate::paths::rundir();
        let mut remotes: Vec<_> = address.split(',').map(str::trim).collect();
        remotes.retain(|r| !r.is_empty());
        if remotes.is_empty() {
            remotes.push("invalid:");
        }
        let remote = |text: &str| {
            remark_on_default_port(text, ("OVSDB", 6632, OVSDB_PORT), &DEFAULT_PORT_SAID);
            let address = Address::parse_any(text, OVSDB_PORT, &rundir);
            (text.to_owned(), address)
        };
        let remotes = remotes.into_iter().map(remote).collect();
        let dial = Dial {
            tls: tls.clone(),
            dscp: None,
        };
        let wanted = db_model::wanted();
        Self {
            session: Session::new((remotes, dial), "Open_vSwitch", Some(LOCK), wanted),
            writer: Writer::default(),
            address: address.to_owned(),
            ids: RowIds::default(),
            stale: false,
            seen_empty: false,
            had_bridges: false,
            lock_lost_said: false,
            in_force: None,
        }
    }

    /// One turn: talks to the server; gives out the configuration when it changed and the lock is ours.
    pub(crate) fn run(&mut self, now: Nanos) -> Option<News> {
        for event in self.session.run(now) {
            self.take(event, now);
        }
        if !self.stale || !self.session.is_ready() || !self.session.has_lock() {
            return None;
        }
        self.stale = false;
        let root = self.session.replica().singleton("Open_vSwitch");
        if root.is_none() && !self.had_bridges {
            return None;
        }
        // Without its root row a database says that there is to be nothing.
        let next_cfg = root.and_then(|(_, r)| r.get("next_cfg").and_then(Datum::int));
        let next_cfg = next_cfg.unwrap_or(0);
        let (model, ids) = db_model::read(self.session.replica());
        self.had_bridges = !model.bridges.is_empty();
        self.ids = ids;
        Some(News { model, next_cfg })
    }

    fn take(&mut self, event: Event, now: Nanos) {
        match event {
            Event::Connected => {}
            Event::Disconnected(_) => self.writer.reset(),
            Event::Lock(true) => {
                self.lock_lost_said = false;
                self.stale = true;
            }
            Event::Lock(false) => {
                if !self.lock_lost_said {
                    self.lock_lost_said = true;
                    tracing::error!(target: "bridge",
                        "another ovs-vswitchd process is running, disabling this process (pid {}) until it goes away",
                        std::process::id());
                }
            }
            Event::Updated { fresh, .. } => {
                let empty = self.session.replica().rows("Bridge").next().is_none();
                if fresh && empty && self.had_bridges && !self.seen_empty {
                    self.seen_empty = true;
                    tracing::info!(target: "bridge",
                        "{}: the database came back without bridges, reading it again", self.address);
                    self.session.reconnect(now);
                } else {
                    self.seen_empty = false;
                    self.stale = true;
                }
            }
            Event::Transacted(id, result) => {
                if let Err(why) = &result {
                    tracing::info!(target: "ovsdb_idl", "transaction error: {why}");
                }
                self.writer.finished(id, result.is_ok());
            }
        }
    }

    /// True when the database was read, but is empty or held by another switch.
    pub(crate) fn has_nothing_for_us(&self) -> bool {
        let empty = || self.session.replica().singleton("Open_vSwitch").is_none();
        self.session.is_ready() && (self.lock_lost_said || empty())
    }

    /// Where the rows of the model are.
    pub(crate) fn ids(&self) -> &RowIds {
        &self.ids
    }

    /// The configuration of this number is in force.
    pub(crate) fn set_in_force(&mut self, next_cfg: i64) {
        self.in_force = Some(next_cfg);
    }

    /// Shows status: `rows` and the root row's own columns. Returns false when it has to be said again later.
    pub(crate) fn show(&mut self, mut rows: Vec<Shown>, root: Row) -> bool {
        let Some((uuid, _)) = self.session.replica().singleton("Open_vSwitch") else {
            return false;
        };
        let mut root = root;
        if let Some(n) = self.in_force {
            root.insert("cur_cfg".to_owned(), Datum::one(n));
        }
        rows.push(Shown {
            table: "Open_vSwitch",
            uuid,
            row: root,
        });
        self.writer.write(&mut self.session, &rows)
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, now: Nanos, set: &mut PollSet) {
        self.session.wait(now, set);
    }
}
