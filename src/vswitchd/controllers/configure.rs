//! What is configured about one bridge's controllers, and what is shown of them.

use super::conversation::{Conn, Conversation, Shown};
use super::own_rules::{Situation, is_primary};
use crate::model::{BridgeModel, ControllerModel};
use crate::vconn::Rconn;
use base::clock::Nanos;
use ofproto::{ConnKind, ConnSettings, Role};
use ovsdb::{Address, Listener};
use std::collections::BTreeMap;
use wire::EthAddr;

/// Port of OpenFlow (IANA).
const OPENFLOW_PORT: u16 = 6653;

impl ControllerModel {
    /// Silence after which it is probed, milliseconds in whole seconds; 0 for never.
    pub(super) fn probe_ms(&self) -> u64 {
        match self.inactivity_probe_ms {
            None => 5000,
            Some(0) => 0,
            Some(ms) => ms.max(1000) / 1000 * 1000,
        }
    }
    fn backoff_ms(&self) -> u64 {
        self.max_backoff_ms.unwrap_or(8000)
    }
}

impl Conversation {
    /// Puts the configured controllers in force: those that did not change keep their connections.
    pub(crate) fn configure(&mut self, model: &BridgeModel, now: Nanos) {
        let setting = |key: &str| model.settings.get(key).map(String::as_str);
        self.in_band = setting("disable-in-band") != Some("true");
        self.in_band_queue = setting("in-band-queue").and_then(|q| q.parse().ok());
        self.standalone = model.fail_mode.as_deref() != Some("secure");
        let versions = versions(&model.protocols);
        let wanted: BTreeMap<String, ControllerModel> = model
            .controllers
            .iter()
            .filter(|(target, _)| target.as_str() != "none")
            .map(|(t, c)| (t.clone(), c.clone()))
            .collect();
        if wanted == self.wanted && versions == self.versions {
            return;
        }
        let other_versions = std::mem::replace(&mut self.versions, versions) != versions;
        self.passive.retain(|target, _| wanted.contains_key(target));
        for conn in &mut self.conns {
            let Some(by) = conn.by() else { continue };
            let gone = !wanted.contains_key(by);
            if gone || other_versions {
                conn.rconn.disconnect("disconnecting", now);
            }
            if gone {
                (conn.target, conn.door) = (None, None);
            }
        }
        let old = std::mem::replace(&mut self.wanted, wanted.clone());
        for target in wanted.keys().filter(|t| !old.contains_key(*t)) {
            self.add_controller(target, now);
        }
        self.settle_settings(now);
    }

    /// Existing connections are treated as configured now.
    fn settle_settings(&mut self, now: Nanos) {
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            let Some((by, c)) = conn.by().and_then(|t| self.wanted.get_key_value(t)) else {
                continue;
            };
            let (by, patience) = (by.clone(), (c.backoff_ms(), c.probe_ms()));
            if let Some(id) = conn.id {
                let name = self.controllers.name(id).unwrap_or_default().to_owned();
                let settings = self.settings(&name, Some(&by));
                self.controllers.configure(id, settings, now);
            }
            self.conns[i].rconn.set_patience(patience.0, patience.1);
        }
    }

    /// How a connection by way of this target is to be treated.
    pub(super) fn settings(&self, name: &str, target: Option<&String>) -> ConnSettings {
        let mut settings = ConnSettings::service(name);
        settings.versions = self.versions;
        let Some((target, c)) = target.and_then(|t| self.wanted.get_key_value(t)) else {
            return settings;
        };
        if is_primary(target, c.kind.as_deref()) {
            settings.kind = ConnKind::Primary;
        }
        (settings.rate, settings.burst) = c.rate_limit.unwrap_or((0, 0));
        settings.asynchronous = c.enable_async;
        settings
    }

    fn add_controller(&mut self, target: &str, now: Nanos) {
        let refused = |why: String| tracing::warn!(target: "connmgr", "{why}");
        match Address::parse(target, OPENFLOW_PORT, &crate::paths::rundir()) {
            Ok(address @ (Address::PassiveUnix(_) | Address::PassiveTcp(_))) => {
                match Listener::bind(&address) {
                    Ok(listener) => {
                        self.passive.insert(target.to_owned(), listener);
                    }
                    Err(e) => refused(e.to_string()),
                }
            }
            Ok(address) => {
                let name = format!("{}<->{target}", self.bridge);
                let rconn = Rconn::to((&name, target), address, now);
                self.conns.push(Conn::to(rconn, target));
            }
            Err(e) => refused(e.to_string()),
        }
    }

    /// What the bridge's own rules depend on.
    pub(super) fn situation<'a>(
        &self,
        local: EthAddr,
        bridge: &'a str,
        now: Nanos,
    ) -> Situation<'a> {
        let configured = || self.conns.iter().filter(|c| c.target.is_some());
        let wants_in_band = |c: &&Conn| {
            let model = c.target.as_ref().and_then(|t| self.wanted.get(t));
            let mode = model.and_then(|m| m.connection_mode.as_deref());
            self.in_band && mode != Some("out-of-band")
        };
        let primary = |c: &&Conn| {
            let model = c.target.as_ref().and_then(|t| self.wanted.get_key_value(t));
            model.is_some_and(|(t, m)| is_primary(t, m.kind.as_deref()))
        };
        let failing_s = configured().filter(primary).map(|c| c.rconn.failing_s(now));
        let probe_s = configured()
            .filter(primary)
            .map(|c| c.rconn.probe_ms() / 1000);
        let failing = failing_s
            .min()
            .zip(probe_s.max())
            .filter(|(s, _)| *s > 0 && self.standalone);
        Situation {
            remotes: configured()
                .filter(wants_in_band)
                .filter_map(|c| c.rconn.remote())
                .collect(),
            local,
            queue: self.in_band_queue,
            failing,
            bridge,
        }
    }

    /// True while in-band control has rules in the bridge.
    pub(crate) fn is_in_band(&self) -> bool {
        self.own_rules.is_in_band()
    }

    /// What is shown of configured controllers.
    pub(crate) fn show(&self, now: Nanos) -> Vec<Shown> {
        let ago = |t: Option<Nanos>| t.map(|t| now.since(t).as_secs());
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
                    since: (ago(c.rconn.history().0), ago(c.rconn.history().1)),
                    paced: c.id.map_or([None; 2], |id| self.controllers.paced(id)),
                }
            })
            .collect()
    }
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
