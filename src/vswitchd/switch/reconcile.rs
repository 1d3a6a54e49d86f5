//! From the model that is in force to the one that is wanted, by the smallest change.
//!
//! Order: bridges that go, ports that go (so that their names and numbers are free), bridges that come, ports that
//! come or change, rules. A part that fails is named and does not stop the rest.

use super::{Switch, local, mirrors, numbers, rules, settings, tables};
use crate::controllers::{Conversation, has_owners};
use crate::model::{BridgeModel, InterfaceModel, Model, PortModel, QosModel};
use backer::{
    Backer, BackerError, Bridge, BridgeSettings, IfaceConfig, Options, PortConfig, QosConfig,
    QueueConfig,
};
use base::sync::lock;
use flow::OfPort;
use netdev::NetdevError;
use xlate::VlanMode;
use xlate::port::PriorityTags;

impl Switch {
    /// Makes a model true as far as possible; what fails is in the log and in `errors`.
    pub(crate) fn apply(&mut self, model: Model) {
        let old = std::mem::take(&mut self.model);
        self.errors.clear();
        self.hopeless.clear();
        self.settle_conversations();
        flow::set_vlan_limit(settings::vlan_limit(&model.settings));
        netdev::dpdk::init(&self.program, &model.settings);
        self.remove_bridges(&model);
        self.remove_ports(&model);
        self.free_numbers(&model);
        for (name, bridge) in &model.bridges {
            let type_name = type_of(bridge);
            if let Err(e) = self.bring_up(name, &type_name, bridge, &model) {
                tracing::error!(target: "bridge", "bridge {name}: {e}");
                self.errors.insert(name.clone(), e);
            }
        }
        if model.settings.get("hw-offload").map(String::as_str) == Some("true") {
            self.dpifs.enable_offload(&self.registry);
        }
        for backer in self.backers.values_mut() {
            settings::apply(backer, &model.settings);
            let timeouts = model.ct_timeouts.get(backer.dpif().type_name());
            let none = std::collections::BTreeMap::new();
            backer.set_ct_timeouts(timeouts.unwrap_or(&none));
            // Queues are what was asked for before anybody is told that the configuration is in force.
            backer.dpif().run();
        }
        for (name, bridge) in &model.bridges {
            let before = old.bridges.get(name);
            for column in &bridge.not_in_force {
                if !before.is_some_and(|b| b.not_in_force.contains(column)) {
                    tracing::info!(target: "bridge", "bridge {name}: {column} is not in force in this version");
                }
            }
            let Some(backer) = self.backer_of(name) else {
                continue;
            };
            if let Ok(ofproto) = backer.ofproto(name) {
                let now = self.clock.now();
                tables::apply((name, &mut lock(&ofproto)), before, bridge, now);
            }
            // Tables belong to controllers, or to nobody: a change of owner empties them.
            let changed = before.is_some_and(|b| has_owners(b) != has_owners(bridge));
            let before = before.filter(|_| !changed);
            if changed && let Err(e) = backer.flush_tables(name) {
                tracing::error!(target: "bridge", "{e}");
            }
            if let Err(e) = rules::apply(backer, name, before, bridge, self.clock.now()) {
                tracing::error!(target: "bridge", "bridge {name}: {e}");
            }
        }
        for what in model.not_in_force.difference(&old.not_in_force) {
            tracing::info!(target: "bridge", "{what} is not in force in this version");
        }
        self.settle_local_ports(&model);
        self.settle_networks(&model);
        self.set_datapath_ids(&model);
        self.restore_ends(&model);
        if self.restoring {
            self.configure_conversations(&without_controllers(&model));
        } else {
            self.configure_conversations(&model);
        }
        self.model = model;
    }

    /// Misses wait as long as `flow-restore-wait` says so, from the start on; once over, it does not come again.
    fn restore_ends(&mut self, model: &Model) {
        let waits = model.settings.get("flow-restore-wait");
        let before = self.restoring;
        self.restoring &= waits.is_some_and(|w| w == "true");
        if before {
            for backer in self.backers.values() {
                backer.dpif().recv_set(!self.restoring);
            }
        }
    }

    /// Lets long changes by controllers end, before the tables are changed from here.
    fn settle_conversations(&mut self) {
        let now = self.clock.now();
        for (name, conversation) in &mut self.conversations {
            let owner = self
                .backers
                .values_mut()
                .find(|b| b.bridges().contains_key(name));
            if let Some(backer) = owner {
                conversation.settle(backer, now);
            }
        }
    }

    /// Tells every bridge its datapath id: the configured one, or the local port's address.
    fn set_datapath_ids(&self, model: &Model) {
        for (name, wanted) in &model.bridges {
            let Some(backer) = self.backer_of(name) else {
                continue;
            };
            let id = backer
                .bridge(name)
                .ok()
                .and_then(|b| datapath_id(name, b, wanted));
            let (Some(id), Ok(ofproto)) = (id, backer.ofproto(name)) else {
                continue;
            };
            let mut ofproto = lock(&ofproto);
            let settings = ofproto.settings_mut();
            settings.debug_actions = self.dummies.is_some();
            if settings.datapath_id != id {
                settings.datapath_id = id;
                tracing::info!(target: "bridge", "bridge {name}: using datapath ID {id:016x}");
            }
        }
    }

    fn configure_conversations(&mut self, model: &Model) {
        let now = self.clock.now();
        self.conversations
            .retain(|name, _| model.bridges.contains_key(name));
        for (name, bridge) in &model.bridges {
            if self.backer_of(name).is_none() {
                continue;
            }
            let conversation = self
                .conversations
                .entry(name.clone())
                .or_insert_with(|| Conversation::new(name, &self.tls));
            conversation.set_bundle_timeout(settings::bundle_idle_ms(&model.settings));
            conversation.configure(bridge, &model.managers, now);
            // Controllers know the ports before anybody is told that the configuration is in force.
            let owner = self.backers.values_mut();
            if let Some(backer) = owner.into_iter().find(|b| b.bridges().contains_key(name)) {
                conversation.sync_ports(backer, now);
            }
        }
    }

    fn remove_bridges(&mut self, model: &Model) {
        for (type_name, backer) in &mut self.backers {
            let gone: Vec<String> = backer
                .bridges()
                .keys()
                .filter(|n| {
                    model
                        .bridges
                        .get(*n)
                        .is_none_or(|b| type_of(b) != *type_name)
                })
                .cloned()
                .collect();
            for name in gone {
                if let Err(e) = backer.bridge_del(&name) {
                    tracing::warn!(target: "bridge", "{e}");
                }
            }
        }
        // A datapath without bridges forwards nothing: it goes too, as the peer's does.
        let idle: Vec<String> = self
            .backers
            .iter()
            .filter(|(t, b)| {
                b.bridges().is_empty() && !model.bridges.values().any(|m| type_of(m) == **t)
            })
            .map(|(t, _)| t.clone())
            .collect();
        for type_name in idle {
            if let Some(backer) = self.backers.remove(&type_name) {
                backer.close(true);
            }
        }
    }

    fn remove_ports(&mut self, model: &Model) {
        for backer in self.backers.values_mut() {
            let mut gone = Vec::new();
            for (name, bridge) in backer.bridges() {
                let wanted = &model.bridges[name].ports;
                let ports = bridge.ports.keys();
                gone.extend(
                    ports
                        .filter(|p| *p != name && !wanted.contains_key(*p))
                        .map(|p| (name.clone(), p.clone())),
                );
            }
            for (bridge, port) in gone {
                if let Err(e) = backer.port_del(&bridge, &port) {
                    tracing::warn!(target: "bridge", "{e}");
                }
            }
        }
    }

    /// The bridge with its ports. Failures of single ports are kept in `errors`.
    fn bring_up(
        &mut self,
        name: &str,
        type_name: &str,
        bridge: &BridgeModel,
        model: &Model,
    ) -> Result<(), String> {
        if !self.backers.contains_key(type_name) {
            let backer = self
                .open_backer(type_name, model)
                .map_err(|e| e.to_string())?;
            self.backers.insert(type_name.to_owned(), backer);
        }
        let Some(backer) = self.backers.get_mut(type_name) else {
            return Ok(());
        };
        let wanted = bridge_settings(bridge, backer.bridge(name).ok().map(|b| &b.settings));
        if backer.bridges().contains_key(name) {
            backer.bridge_set(name, wanted).map_err(|e| e.to_string())?;
        } else {
            backer.bridge_add(name, wanted).map_err(|e| e.to_string())?;
        }
        let hwaddr = local::hwaddr(bridge);
        for (port_name, port) in numbers::by_wish(&bridge.ports) {
            let mut config = port_config(name, port_name, port);
            let locals = config.interfaces.iter_mut().filter(|i| i.name == name);
            locals.for_each(|i| i.mac = hwaddr);
            if let Err(e) = backer.port_set(name, config) {
                match &e {
                    // Said where it happened.
                    BackerError::Device { .. }
                    | BackerError::Port { .. }
                    | BackerError::Claimed { .. } => {
                        tracing::debug!(target: "bridge", "{e}");
                    }
                    _ => tracing::error!(target: "bridge", "{e}"),
                }
                for interface in port.interfaces.keys() {
                    let here = backer
                        .bridge(name)
                        .is_ok_and(|b| b.iface(interface).is_some());
                    if !here {
                        if is_hopeless(&e) {
                            self.hopeless.insert(interface.clone());
                        }
                        // Tools read the column; people read what a file's switch shows.
                        let text = match self.database {
                            Some(_) => error_column(&e),
                            None => e.to_string(),
                        };
                        self.errors.insert(interface.clone(), text);
                    }
                }
            }
        }
        let mirrors = mirrors::configs(name, bridge);
        backer.mirrors_set(name, mirrors).map_err(|e| e.to_string())
    }

    fn open_backer(&self, type_name: &str, model: &Model) -> Result<Backer, BackerError> {
        let number = |key: &str| model.settings.get(key).and_then(|v| v.parse().ok());
        let mut options = Options::new(type_name);
        options.n_handlers = number("n-handler-threads").unwrap_or(0);
        options.n_revalidators = number("n-revalidator-threads").unwrap_or(0);
        options.sink = self.packet_ins.clone();
        options.vlan_limit = flow::vlan_limit() as u32;
        let backer = Backer::open(&self.dpifs, &self.registry, &self.clock, options)?;
        settings::apply(&backer, &model.settings);
        Ok(backer)
    }
}

/// The model as long as nobody may be connected to.
fn without_controllers(model: &Model) -> Model {
    let mut model = model.clone();
    for bridge in model.bridges.values_mut() {
        bridge.controllers.clear();
    }
    model
}

/// A bridge's datapath id: `other_config:datapath-id`, or its address.
pub(super) fn datapath_id(name: &str, bridge: &Bridge, wanted: &BridgeModel) -> Option<u64> {
    let configured = wanted
        .settings
        .get("datapath-id")
        .map(|t| t.trim_start_matches("0x"));
    let configured = configured
        .and_then(|t| u64::from_str_radix(t, 16).ok())
        .filter(|id| *id != 0);
    configured.or_else(|| bridge.iface(name).map(|i| i.device.etheraddr().to_u64()))
}

/// A device was asked for something that makes no sense: it will not before the configuration changes.
fn is_hopeless(e: &BackerError) -> bool {
    let invalid = rustix::io::Errno::INVAL.raw_os_error();
    matches!(e, BackerError::Device { source, .. } if source.errno() == invalid)
}

/// The datapath type that a bridge runs on. There is no kernel datapath here: `system` is `netdev`.
pub(super) fn type_of(bridge: &BridgeModel) -> String {
    match bridge.datapath_type.as_str() {
        "" | "system" => "netdev".to_owned(),
        other => other.to_owned(),
    }
}

/// Settings as configured; what controllers decide stays as it is in `now`.
fn bridge_settings(b: &BridgeModel, now: Option<&BridgeSettings>) -> BridgeSettings {
    let defaults = now.cloned().unwrap_or_default();
    let usual = BridgeSettings::default();
    let get = |key: &str| b.settings.get(key).map(String::as_str);
    BridgeSettings {
        mac_aging_s: get("mac-aging-time")
            .and_then(|v| v.parse().ok())
            .unwrap_or(usual.mac_aging_s),
        mac_table_size: get("mac-table-size")
            .and_then(|v| v.parse().ok())
            .unwrap_or(usual.mac_table_size),
        flood_vlans: b.flood_vlans.clone(),
        forward_bpdu: get("forward-bpdu") == Some("true"),
        ..defaults
    }
}

/// A port as the backer wants it. The port named as the bridge is its local port.
fn port_config(bridge: &str, name: &str, p: &PortModel) -> PortConfig {
    let get = |key: &str| p.settings.get(key).map(String::as_str);
    PortConfig {
        name: name.to_owned(),
        vlan_mode: p.vlan_mode.as_deref().and_then(vlan_mode),
        tag: p.tag,
        trunks: p.trunks.clone(),
        cvlans: p.cvlans.clone(),
        qinq_ethtype: if get("qinq-ethtype") == Some("802.1q") {
            0x8100
        } else {
            0x88a8
        },
        priority_tags: match get("priority-tags") {
            Some("true" | "if-nonzero") => PriorityTags::IfNonzero,
            Some("always") => PriorityTags::Always,
            _ => PriorityTags::Never,
        },
        protected: p.protected,
        qos: p.qos.as_ref().map(qos_config),
        interfaces: p
            .interfaces
            .iter()
            .map(|(n, i)| iface_config(bridge, n, i))
            .collect(),
    }
}

fn qos_config(q: &QosModel) -> QosConfig {
    let queues = q.queues.iter().map(|(id, queue)| {
        let config = QueueConfig {
            dscp: queue.dscp,
            settings: queue.settings.clone(),
        };
        (*id, config)
    });
    QosConfig {
        kind: q.kind.clone(),
        settings: q.settings.clone(),
        queues: queues.collect(),
    }
}

fn vlan_mode(text: &str) -> Option<VlanMode> {
    Some(match text {
        "access" => VlanMode::Access,
        "trunk" => VlanMode::Trunk,
        "native-tagged" => VlanMode::NativeTagged,
        "native-untagged" => VlanMode::NativeUntagged,
        "dot1q-tunnel" => VlanMode::Dot1qTunnel,
        _ => return None,
    })
}

/// The address that an internal port is to have. Of the local port the bridge decides.
fn mac(name: &str, local: bool, i: &InterfaceModel) -> Option<wire::EthAddr> {
    let text = i
        .mac
        .as_deref()
        .filter(|_| local || i.class == "internal")?;
    let mac: wire::EthAddr = text.parse().ok()?;
    if local {
        tracing::error!(target: "bridge",
            "interface {name}: ignoring mac in Interface record (use Bridge record to set local port's mac)");
        None
    } else if mac.is_multicast() {
        tracing::error!(target: "bridge", "interface {name}: cannot set MAC to multicast address");
        None
    } else {
        Some(mac)
    }
}

fn iface_config(bridge: &str, name: &str, i: &InterfaceModel) -> IfaceConfig {
    let local = name == bridge;
    let class = if local { "internal" } else { i.class.as_str() };
    let mut config = IfaceConfig::new(name, class);
    config.options.clone_from(&i.options);
    config.ofport_request = if local {
        Some(OfPort::LOCAL)
    } else {
        i.number.map(OfPort)
    };
    config.mtu_request = i.mtu;
    config.policing = i.policing;
    config.mac = mac(name, local, i);
    config.datapath.clone_from(&i.settings);
    config
}

/// What `Interface.error` says: a refused configuration by itself, other things as Open vSwitch words them.
fn error_column(e: &BackerError) -> String {
    let BackerError::Device {
        interface, source, ..
    } = e
    else {
        return e.to_string();
    };
    match &**source {
        NetdevError::BadConfig { text, .. } => text.clone(),
        other => format!(
            "could not open network device {interface} ({})",
            other.why()
        ),
    }
}
