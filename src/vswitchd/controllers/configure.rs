//! What is configured about one bridge's controllers, and what is shown of them.

use super::conversation::{Conn, Conversation, Shown};
use super::own_rules::{Situation, is_primary};
use crate::model::{BridgeModel, ControllerModel};
use crate::vconn::{ASKED_FOR, Door, Rconn};
use base::clock::Nanos;
use base::sync::AtomicBool;
use ofproto::{ConnKind, ConnSettings, Role};
use ovsdb::{Address, Dial, remark_on_default_port};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use wire::EthAddr;

/// Packet-ins that may wait for a controller, by default, and what may be said instead.
const QUEUE_SIZE: usize = 100;
const QUEUE_SIZES: RangeInclusive<usize> = 1..=512;
/// Port of OpenFlow (IANA).
const OPENFLOW_PORT: u16 = 6653;

static DEFAULT_PORT_SAID: AtomicBool = AtomicBool::new(false);

impl ControllerModel {
    /// Silence after which it is probed, milliseconds in whole seconds; 0 for never.
    pub(super) fn probe_ms(&self) -> u64 {
        match self.inactivity_probe_ms {
            None => 5000,
            Some(0) => 0,
            Some(ms) => ms.max(5000) / 1000 * 1000,
        }
    }
    /// The same in seconds, as it is said: three times as long without a controller of use, and the bridge is on its own.
    fn probe_s(&self) -> u64 {
        match self.inactivity_probe_ms {
            None => 5,
            Some(0) => 0,
            Some(ms) => (ms / 1000).max(1),
        }
    }
    fn backoff_ms(&self) -> u64 {
        self.max_backoff_ms.unwrap_or(8000)
    }
    /// The code point of what is sent to it: that of control traffic (CS6) unless said otherwise.
    fn dscp(&self) -> u8 {
        const CS6: u8 = 48;
        self.dscp.filter(|d| *d < 64).unwrap_or(CS6)
    }
    fn kind_name(&self, target: &str) -> &'static str {
        if is_primary(target, self.kind.as_deref()) {
            "primary"
        } else {
            "service"
        }
    }
}

impl Conversation {
    /// Puts the configured controllers in force: those that did not change keep their connections.
    /// `managers` are reached in-band too.
    pub(crate) fn configure(&mut self, model: &BridgeModel, managers: &[Address], now: Nanos) {
        self.managers = managers.to_vec();
        let setting = |key: &str| model.settings.get(key).map(String::as_str);
        self.in_band = setting("disable-in-band") != Some("true");
        self.in_band_queue = setting("in-band-queue").and_then(|q| q.parse().ok());
        let queue_size = setting("controller-queue-size")
            .and_then(|n| n.parse().ok())
            .filter(|n| QUEUE_SIZES.contains(n))
            .unwrap_or(QUEUE_SIZE);
        self.standalone = model.fail_mode.as_deref() != Some("secure");
        let versions = versions(&model.protocols);
        let wanted: BTreeMap<String, ControllerModel> = model
            .controllers
            .iter()
            .filter(|(target, _)| target.as_str() != "none")
            .map(|(t, c)| (t.clone(), c.clone()))
            .collect();
        let same = wanted == self.wanted && versions == self.versions;
        if same && queue_size == self.queue_size && self.lacks_nobody() {
            return;
        }
        self.queue_size = queue_size;
        let other_versions = std::mem::replace(&mut self.versions, versions) != versions;
        self.passive.retain(|target, _| wanted.contains_key(target));
        for conn in &mut self.conns {
            let Some(by) = conn.by() else { continue };
            let gone = !wanted.contains_key(by);
            if gone || other_versions {
                conn.rconn.disconnect(ASKED_FOR, now);
            }
            if gone {
                (conn.target, conn.door) = (None, None);
            }
        }
        let old = std::mem::replace(&mut self.wanted, wanted.clone());
        for target in wanted.keys() {
            if self.lacks(target) {
                self.add_controller(target, now);
            }
        }
        // Those of an unknown kind were never there.
        let known = |t: &str| Address::parse(t, OPENFLOW_PORT, &crate::paths::rundir()).is_ok();
        let removed = old.iter().filter(|(t, _)| !wanted.contains_key(*t));
        for (target, c) in removed.filter(|(t, _)| known(t)) {
            let (bridge, kind) = (&self.bridge, c.kind_name(target));
            tracing::info!(target: "connmgr", "{bridge}: removed {kind} controller \"{target}\"");
        }
        self.settle_settings(&old, now);
    }

    /// Existing connections are treated as configured now.
    fn settle_settings(&mut self, old: &BTreeMap<String, ControllerModel>, now: Nanos) {
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            let Some((by, c)) = conn.by().and_then(|t| self.wanted.get_key_value(t)) else {
                continue;
            };
            let (by, patience, dscp) = (by.clone(), (c.backoff_ms(), c.probe_ms()), c.dscp());
            if let Some(id) = conn.id {
                let name = self.controllers.name(id).unwrap_or_default().to_owned();
                let settings = self.settings(&name, Some(&by));
                self.controllers.configure(id, settings, now);
            }
            let rconn = &mut self.conns[i].rconn;
            rconn.set_patience(patience.0, patience.1);
            if old.get(&by).is_some_and(|o| o.dscp() != dscp) {
                rconn.set_dscp(dscp);
                rconn.disconnect(ASKED_FOR, now);
            }
        }
    }

    /// How a connection by way of this target is to be treated.
    pub(super) fn settings(&self, name: &str, target: Option<&String>) -> ConnSettings {
        let mut settings = ConnSettings::service(name);
        settings.versions = self.versions;
        settings.packets_max = self.queue_size;
        let Some((target, c)) = target.and_then(|t| self.wanted.get_key_value(t)) else {
            return settings;
        };
        if is_primary(target, c.kind.as_deref()) {
            settings.kind = ConnKind::Primary;
        }
        (settings.rate, settings.burst) = c.rate_limit.unwrap_or((0, 0));
        settings.asynchronous = c.enable_async;
        if let Some(n) = c.queue_size {
            settings.packets_max = n as usize;
        }
        settings
    }

    /// True where each controller has its connection or its door.
    fn lacks_nobody(&self) -> bool {
        self.wanted.keys().all(|t| !self.lacks(t))
    }

    fn lacks(&self, target: &String) -> bool {
        let here = |c: &Conn| c.target.as_ref() == Some(target);
        !self.passive.contains_key(target) && !self.conns.iter().any(here)
    }

    fn add_controller(&mut self, target: &str, now: Nanos) {
        let bridge = &self.bridge;
        let Ok(address) = Address::parse(target, OPENFLOW_PORT, &crate::paths::rundir()) else {
            tracing::warn!(target: "connmgr", "{bridge}: unsupported controller \"{target}\"");
            return;
        };
        remark_on_default_port(
            target,
            ("OpenFlow", 6633, OPENFLOW_PORT),
            &DEFAULT_PORT_SAID,
        );
        if address.is_passive() {
            // What is wrong is in the log; the next configuration has another try.
            let Ok(door) = Door::open(&address, &self.tls) else {
                return;
            };
            self.passive.insert(target.to_owned(), door);
        } else {
            let dial = Dial {
                tls: self.tls.clone(),
                dscp: self.wanted.get(target).map(ControllerModel::dscp),
            };
            let name = format!("{bridge}<->{target}");
            let rconn = Rconn::to((&name, target), (address, dial), now);
            self.conns.push(Conn::to(rconn, target));
        }
        if let Some(c) = self.wanted.get(target) {
            let kind = c.kind_name(target);
            tracing::info!(target: "connmgr", "{}: added {kind} controller \"{target}\"", self.bridge);
        }
    }

    /// What the bridge's own rules depend on. `local` is the local port's address, and whether the kernel has it.
    pub(super) fn situation(&mut self, (local, real): (EthAddr, bool), now: Nanos) -> Situation {
        let remotes = self.in_band_remotes();
        // Only of devices of the kernel are there routes and neighbours.
        let hops = if real {
            remotes.iter().map(|r| *r.ip()).collect()
        } else {
            BTreeSet::new()
        };
        let next_hops = self.next_hops.refresh(&hops, &self.bridge, now);
        let primary = |c: &&Conn| {
            let model = c.target.as_ref().and_then(|t| self.wanted.get_key_value(t));
            model.is_some_and(|(t, m)| is_primary(t, m.kind.as_deref()))
        };
        let owners = || self.conns.iter().filter(primary);
        let failing_s = owners().map(|c| c.rconn.failing_s(now));
        let model = |c: &Conn| self.wanted.get(c.target.as_ref()?);
        let probe_s = owners().filter_map(model).map(ControllerModel::probe_s);
        let failing = failing_s
            .min()
            .zip(probe_s.max())
            .filter(|(s, _)| *s > 0 && self.standalone);
        Situation {
            remotes,
            next_hops,
            local,
            queue: self.in_band_queue,
            failing,
        }
    }

    /// Controllers that are reached in-band, and managers.
    fn in_band_remotes(&self) -> Vec<SocketAddrV4> {
        if !self.in_band {
            return Vec::new();
        }
        let wants = |c: &&Conn| {
            let model = c.target.as_ref().and_then(|t| self.wanted.get(t));
            model.is_some_and(|m| m.connection_mode.as_deref() != Some("out-of-band"))
        };
        let controllers = self.conns.iter().filter(wants);
        let controllers = controllers.filter_map(|c| c.rconn.remote());
        // Managers are not on this host.
        let managers = self.managers.iter().filter_map(Address::remote);
        let managers = managers.filter(|a| a.ip() != Ipv4Addr::LOCALHOST);
        let v4 = |a| match a {
            SocketAddr::V4(v4) => Some(v4),
            SocketAddr::V6(_) => None,
        };
        controllers.chain(managers).filter_map(v4).collect()
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
                    role: status.map(|s| match s.role {
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
