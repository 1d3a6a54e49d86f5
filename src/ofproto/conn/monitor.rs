//! Flow monitors: controllers that want to know what happens to flows.
//!
//! What happens is told as it happens, until too much waits for the controller to read. Then it is told that
//! monitoring *paused*; of what happens from then on only removals of flows it knows are told. When it has
//! read all, it gets the flows that were added or changed meanwhile, and is told that monitoring *resumed*.
//! That catching up is itself made in pieces (see [`super::stream`]); when flows change meanwhile, it goes
//! round again.

use super::Cx;
use super::connection::Connection;
use super::out::OutKind;
use crate::acts;
use crate::event::{FlowChange, Requester};
use crate::group::GROUP_ANY;
use crate::rule::{NEWS_ADDED, NEWS_NONE, Rule};
use crate::switch::Ofproto;
use crate::walk::{Criteria, Walk};
use classifier::{MiniMatch, Ruled, Version};
use flow::OfPort;
use openflow::flow_mod::ALL_TABLES;
use openflow::{
    Acts, FlowUpdate, FullUpdate, Message, MonitorCommand, MonitorFlags, MonitorRequest, Multipart,
    OfpError, UpdateEvent, Version as OfVersion,
};
use std::collections::BTreeMap;

/// Octets of updates that may wait before monitoring pauses.
const PAUSE_BYTES: usize = 128 * 1024;
/// Monitors a connection can have.
const MONITORS_MAX: usize = 4096;

/// What one monitor watches.
#[derive(Debug, Clone)]
struct Monitor {
    flags: MonitorFlags,
    out_port: OfPort,
    out_group: u32,
    table: u8,
    matching: MiniMatch,
}

/// The monitors of one connection.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    by_id: BTreeMap<u32, Monitor>,
    /// Paused since this version.
    paused: Option<Version>,
    /// A catching up is under way, with the flows up to this version.
    catching_up: Option<Version>,
    /// Updates of the message at hand, not queued yet.
    updates: Option<Multipart>,
    /// An abbreviated update is among them.
    abbreviated: bool,
}

/// Flows for monitors: those there are when a monitor is added, or those missed during a pause.
#[derive(Debug)]
pub(crate) struct Refresh {
    walk: Walk,
    /// The monitors it is for.
    monitors: Vec<Monitor>,
    /// Only flows of versions above this one.
    since: Option<Version>,
    parts: Multipart,
    empty: bool,
}

impl Monitor {
    fn new(of: &Ofproto, request: &MonitorRequest) -> Self {
        let table = request.table_id;
        let shelf = of
            .pipeline
            .tables
            .table(if table == ALL_TABLES { 0 } else { table });
        let m = &request.match_;
        Self {
            flags: request.flags,
            out_port: request.out_port,
            out_group: request.out_group,
            table,
            matching: shelf.rules.compact(&m.flow, &m.mask),
        }
    }

    fn watches(&self, rule: &Rule, old: Option<&Acts>) -> bool {
        let port = |acts: &[openflow::Act]| acts::output_to_port(acts, self.out_port);
        (self.table == ALL_TABLES || self.table == rule.table)
            && (self.out_port == OfPort::NONE
                || port(&rule.actions)
                || old.is_some_and(|acts| port(acts)))
            && (self.out_group == GROUP_ANY || acts::output_to_group(&rule.actions, self.out_group))
            && rule.matching().is_within(&self.matching)
    }
}

impl Monitors {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn add(&mut self, of: &Ofproto, request: &MonitorRequest) -> Result<(), OfpError> {
        if self.by_id.contains_key(&request.id) {
            return Err(OfpError::OFPMOFC_MONITOR_EXISTS);
        }
        if self.by_id.len() >= MONITORS_MAX {
            return Err(OfpError::OFPBRC_EPERM);
        }
        self.by_id.insert(request.id, Monitor::new(of, request));
        Ok(())
    }

    /// Removes a monitor.
    pub(crate) fn cancel(&mut self, id: u32) -> Result<(), OfpError> {
        let gone = self.by_id.remove(&id);
        gone.map(|_| ()).ok_or(OfpError::OFPMOFC_UNKNOWN_MONITOR)
    }

    /// Applies one request; the id of a monitor that is new.
    fn apply(&mut self, of: &Ofproto, request: &MonitorRequest) -> Result<Option<u32>, OfpError> {
        match request.command {
            MonitorCommand::Add => self.add(of, request)?,
            MonitorCommand::Modify => {
                self.cancel(request.id)?;
                self.add(of, request)?;
            }
            MonitorCommand::Delete => return self.cancel(request.id).map(|()| None),
        }
        Ok(Some(request.id))
    }

    /// Applies requests; when one fails, those that are new are removed again. Gives the flows to send.
    pub(crate) fn request(
        &mut self,
        of: &mut Ofproto,
        requests: &[MonitorRequest],
        parts: Multipart,
    ) -> Result<Refresh, OfpError> {
        let mut new = Vec::new();
        for request in requests {
            match self.apply(of, request) {
                Ok(id) => new.extend(id),
                Err(e) => {
                    for id in new {
                        self.by_id.remove(&id);
                    }
                    return Err(e);
                }
            }
        }
        let monitors = new
            .iter()
            .filter_map(|id| self.by_id.get(id))
            .filter(|m| m.flags.contains(MonitorFlags::INITIAL))
            .cloned()
            .collect();
        Ok(Refresh::new(of, monitors, None, parts))
    }

    /// Begins to catch up after a pause, if that is due.
    pub(crate) fn resume(&mut self, of: &mut Ofproto, parts: Multipart) -> Option<Refresh> {
        let since = self.paused?;
        self.catching_up = Some(of.pipeline.tables.version());
        let monitors = self.by_id.values().cloned().collect();
        Some(Refresh::new(of, monitors, Some(since), parts))
    }

    /// True when monitoring is paused and no catching up is under way.
    pub(crate) fn awaits_resume(&self) -> bool {
        self.paused.is_some() && self.catching_up.is_none()
    }

    /// True when the removal of a rule must be told although monitoring is paused.
    fn knew(&self, rule: &Rule) -> bool {
        let known = self.catching_up.or(self.paused);
        known.is_none_or(|v| rule.news() != NEWS_ADDED || rule.key().added() <= v)
    }
}

impl Refresh {
    fn new(
        of: &mut Ofproto,
        monitors: Vec<Monitor>,
        since: Option<Version>,
        parts: Multipart,
    ) -> Self {
        let mut tables = monitors.iter().map(|m| m.table);
        let first = tables.next().unwrap_or(ALL_TABLES);
        let table = if tables.all(|t| t == first) {
            first
        } else {
            ALL_TABLES
        };
        let criteria = Criteria {
            table,
            matching: MiniMatch::catchall(),
            strict: None,
            cookie: 0,
            cookie_mask: 0,
            out_port: OfPort::NONE,
            out_group: GROUP_ANY,
            readonly_too: true,
        };
        let version = of.pipeline.tables.version();
        Self {
            walk: of.walk_by(criteria, version),
            monitors,
            since,
            parts,
            empty: true,
        }
    }

    /// What the monitors want to know of a flow.
    fn update(&self, of: &Ofproto, rule: &Rule) -> Option<FlowUpdate> {
        use MonitorFlags as F;
        let news = match self.since {
            None => F::INITIAL,
            Some(v) if rule.key().added() <= v || rule.news() == NEWS_NONE => return None,
            Some(_) if rule.news() == NEWS_ADDED => F::ADD | F::MODIFY,
            Some(_) => F::MODIFY,
        };
        let watching = self
            .monitors
            .iter()
            .filter(|m| news == F::INITIAL || m.flags.intersects(news))
            .filter(|m| m.watches(rule, None));
        let flags = watching.map(|m| m.flags).reduce(|a, b| a | b)?;
        let kind = if news == F::INITIAL {
            UpdateEvent::Initial
        } else if news.contains(F::ADD) {
            UpdateEvent::Added
        } else {
            UpdateEvent::Modified
        };
        Some(update(of, rule, kind, flags))
    }
}

fn update(of: &Ofproto, rule: &Rule, event: UpdateEvent, flags: MonitorFlags) -> FlowUpdate {
    let acts = flags.contains(MonitorFlags::INSTRUCTIONS);
    FlowUpdate::Full(Box::new(FullUpdate {
        event,
        reason: 0,
        idle_timeout: rule.idle_timeout(),
        hard_timeout: rule.hard_timeout(),
        table_id: rule.table,
        priority: u16::try_from(rule.priority()).unwrap_or(u16::MAX),
        cookie: rule.cookie,
        match_: of.expand(rule.matching()),
        acts: if acts {
            (*rule.actions).clone()
        } else {
            Acts::new()
        },
    }))
}

impl Connection {
    /// Notes what happened to a flow, as far as a monitor watches it.
    pub(crate) fn watch(
        &mut self,
        of: &Ofproto,
        rule: &Rule,
        change: &FlowChange,
        by: Option<Requester>,
    ) {
        use MonitorFlags as F;
        let (event, wanted, old, reason) = match change {
            FlowChange::Added => (UpdateEvent::Added, F::ADD, None, 0),
            FlowChange::Modified(old) => (UpdateEvent::Modified, F::MODIFY, old.as_deref(), 0),
            FlowChange::Removed(why) => (UpdateEvent::Removed, F::REMOVED, None, why.wire()),
        };
        let paused = self.monitors.paused.is_some();
        if paused && (event != UpdateEvent::Removed || !self.monitors.knew(rule)) {
            return;
        }
        let watching = self
            .monitors
            .by_id
            .values()
            .filter(|m| m.flags.intersects(wanted) && m.watches(rule, old));
        let Some(flags) = watching.map(|m| m.flags).reduce(|a, b| a | b) else {
            return;
        };
        let version = self.version();
        let parts = self.monitors.updates.get_or_insert_with(|| {
            self.monitors.abbreviated = false;
            Multipart::flow_updates(version)
        });
        let own = by.filter(|b| b.conn == self.id);
        match own.filter(|_| !flags.contains(F::ONLY_OWN) && !paused) {
            None => {
                let mut update = update(of, rule, event, flags);
                if let FlowUpdate::Full(full) = &mut update {
                    full.reason = reason;
                }
                parts.push_flow_update(&update, Some(of.tun_table()));
            }
            Some(own) if !self.monitors.abbreviated => {
                self.monitors.abbreviated = true;
                parts.push_flow_update(&FlowUpdate::Abbrev(own.xid), Some(of.tun_table()));
            }
            Some(_) => {}
        }
    }

    /// Queues what was noted; pauses monitoring when too much waits.
    pub(crate) fn flush_updates(&mut self, of: &Ofproto) {
        for message in self
            .monitors
            .updates
            .take()
            .into_iter()
            .flat_map(Multipart::finish)
        {
            self.out.push(OutKind::Monitor, message);
        }
        if self.monitors.paused.is_none() && self.out.bytes(OutKind::Monitor) > PAUSE_BYTES {
            self.monitors.paused = Some(of.pipeline.tables.version());
            self.tell_pause(of, true);
        }
    }

    fn tell_pause(&mut self, of: &Ofproto, paused: bool) {
        let kind = if paused {
            OutKind::Monitor
        } else {
            OutKind::Reply
        };
        if self.version() < OfVersion::V14 {
            let message = if paused {
                Message::MonitorPaused
            } else {
                Message::MonitorResumed
            };
            return self.tell(kind, &message, of.tun_table());
        }
        let update = if paused {
            FlowUpdate::Paused
        } else {
            FlowUpdate::Resumed
        };
        let mut parts = Multipart::flow_updates(self.version());
        parts.push_flow_update(&update, None);
        for message in parts.finish() {
            self.out.push(kind, message);
        }
    }

    /// Begins to catch up when the controller has read all there was.
    pub(crate) fn resume_monitoring(&mut self, of: &mut Ofproto) {
        let read = self.out.count(OutKind::Monitor) == 0 && self.stream.is_none();
        if read && self.monitors.awaits_resume() {
            let parts = Multipart::flow_updates(self.version());
            let refresh = self.monitors.resume(of, parts);
            self.stream = refresh.map(|r| Box::new(super::stream::Stream::Refresh(r)));
        }
    }
}

/// Makes the next piece of a refresh. False when it is complete.
pub(crate) fn advance(
    refresh: &mut Refresh,
    cx: &mut Cx<'_>,
    conn: &mut Connection,
    budget: usize,
) -> bool {
    let mut rules = Vec::new();
    let more = cx.of.step(&mut refresh.walk, budget, &mut rules);
    for rule in rules {
        // What is going was told, or will be, as going.
        if rule.is_hidden() || rule.key().is_leaving() {
            continue;
        }
        if let Some(update) = refresh.update(cx.of, &rule) {
            refresh.empty = false;
            refresh
                .parts
                .push_flow_update(&update, Some(cx.of.tun_table()));
        }
    }
    let parts = &mut refresh.parts;
    let ready = if more {
        parts.take_full()
    } else {
        let fresh = Multipart::flow_updates(parts.version());
        let last = std::mem::replace(parts, fresh).finish();
        // A reply is due in any case, an update that says nothing is not.
        if refresh.empty && refresh.since.is_some() {
            Vec::new()
        } else {
            last
        }
    };
    for message in ready {
        conn.out.push(OutKind::Reply, message);
    }
    if !more && refresh.since.is_some() {
        caught_up(cx.of, conn);
    }
    more
}

/// A catching up is complete: when flows changed meanwhile, another one follows.
fn caught_up(of: &Ofproto, conn: &mut Connection) {
    let upto = conn.monitors.catching_up.take();
    if upto == Some(of.pipeline.tables.version()) {
        conn.monitors.paused = None;
        conn.tell_pause(of, false);
    } else {
        conn.monitors.paused = upto;
    }
}
