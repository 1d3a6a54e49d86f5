//! [`Backer`]: one per datapath type.

use crate::bridge::Bridge;
use crate::config::{BridgeSettings, IfaceConfig, Options, PortConfig};
use crate::conntrack::CtTimeouts;
use crate::error::BackerError;
use crate::meters::MeterIds;
use crate::publish::Publisher;
use crate::{features, probe};
use base::clock::Clock;
use base::sync::{Arc, Mutex, lock, write};
use dpif::{Dpif, Features};
use flow::OfPort;
use netdev::Registry;
use ofproto::Ofproto;
use std::collections::BTreeMap;
use udpif::world::{Fact, World, facts};
use udpif::{Change, Udpif};
use xlate::{BridgeId, RecircTable, Snapshot};

/// All bridges of one datapath type, their datapath, and what keeps the two equal. Owned by the main thread.
#[derive(Debug)]
pub struct Backer {
    pub(crate) dpif: Arc<dyn Dpif>,
    pub(crate) dpifs: dpif::Registry,
    pub(crate) netdevs: Registry,
    pub(crate) clock: Clock,
    pub(crate) type_name: String,
    pub(crate) bridges: BTreeMap<String, Bridge>,
    world: Arc<World>,
    udpif: Udpif<World>,
    pub(crate) recirc: Arc<RecircTable>,
    found: Features,
    pub(crate) in_force: Features,
    pub(crate) publisher: Publisher,
    bridges_made: u64,
    pub(crate) meter_ids: MeterIds,
    pub(crate) ct_timeouts: CtTimeouts,
    /// Start of the last dump whose counts were used for expiry.
    pub(crate) expired_at: base::clock::Nanos,
}

impl Backer {
    /// Opens the datapath `ovs-<type>`, making it if need be; removes what an earlier run left (other
    /// datapaths of the type, flows, ports); finds out what it can do; starts threads.
    ///
    /// # Errors
    /// The datapath cannot be opened, or threads cannot be started.
    pub fn open(
        dpifs: &dpif::Registry,
        netdevs: &Registry,
        clock: &Clock,
        options: Options,
    ) -> Result<Self, BackerError> {
        let type_name = options.type_name.clone();
        let name = format!("ovs-{type_name}");
        remove_other_datapaths(dpifs, &type_name, &name);
        let dpif = dpifs
            .open(&name, &type_name, dpif::OpenMode::CreateOrExisting)
            .map_err(|source| {
                tracing::error!(target: "ofproto_dpif",
                    "failed to open datapath of type {type_name}: {source}");
                BackerError::Open {
                    type_name: type_name.clone(),
                    source,
                }
            })?;
        clear(&*dpif, &name);
        let found = probe::probe(&*dpif, options.vlan_limit);
        let recirc = Arc::new(RecircTable::default());
        let snapshot = Snapshot::new(found.clone(), recirc.clone());
        let world = Arc::new(World::new(clock.clone(), snapshot, options.sink));
        let udpif = Udpif::new(
            dpif.clone(),
            world.clone(),
            clock.clone(),
            options.threading,
        );
        udpif.set_threads(options.n_handlers, options.n_revalidators)?;
        Ok(Self {
            dpif,
            dpifs: dpifs.clone(),
            netdevs: netdevs.clone(),
            clock: clock.clone(),
            type_name,
            bridges: BTreeMap::new(),
            world,
            udpif,
            recirc,
            in_force: found.clone(),
            found,
            publisher: Publisher::default(),
            bridges_made: 0,
            meter_ids: MeterIds::default(),
            ct_timeouts: CtTimeouts::default(),
            expired_at: base::clock::Nanos::ZERO,
        })
    }

    // ---- parts

    /// The datapath.
    #[must_use]
    pub fn dpif(&self) -> &Arc<dyn Dpif> {
        &self.dpif
    }
    /// Handlers and revalidators.
    #[must_use]
    pub fn udpif(&self) -> &Udpif<World> {
        &self.udpif
    }
    /// What translations look at now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.world.links().snapshot.clone()
    }
    pub(crate) fn world(&self) -> &World {
        &self.world
    }
    /// The datapath's full name, `type@name`.
    #[must_use]
    pub fn datapath_name(&self) -> String {
        format!("{}@{}", self.dpif.type_name(), self.dpif.name())
    }
    /// Bridges by name.
    #[must_use]
    pub fn bridges(&self) -> &BTreeMap<String, Bridge> {
        &self.bridges
    }
    /// A bridge.
    ///
    /// # Errors
    /// NoBridge.
    pub fn bridge(&self, name: &str) -> Result<&Bridge, BackerError> {
        self.bridges
            .get(name)
            .ok_or_else(|| BackerError::NoBridge(name.to_owned()))
    }
    pub(crate) fn bridge_mut(&mut self, name: &str) -> Result<&mut Bridge, BackerError> {
        self.bridges
            .get_mut(name)
            .ok_or_else(|| BackerError::NoBridge(name.to_owned()))
    }
    /// What was found at start.
    #[must_use]
    pub fn features_found(&self) -> &Features {
        &self.found
    }

    // ---- bridges

    /// Adds a bridge with its local port, an `internal` port of the bridge's name.
    ///
    /// # Errors
    /// BridgeExists; or the local port's, then there is no bridge.
    pub fn bridge_add(
        &mut self,
        name: &str,
        settings: BridgeSettings,
    ) -> Result<BridgeId, BackerError> {
        if self.bridges.contains_key(name) {
            return Err(BackerError::BridgeExists(name.to_owned()));
        }
        self.bridges_made += 1;
        let seed = base::hash::process_seed();
        let half = |n| u128::from(base::hash::words(seed, &[self.bridges_made, n]));
        let id = BridgeId(half(1) << 64 | half(2));
        let bridge = Bridge::new(id, name, settings);
        lock(&bridge.ofproto).set_created(self.clock.now());
        self.bridges.insert(name.to_owned(), bridge);
        let mut local = IfaceConfig::new(name, "internal");
        local.ofport_request = Some(OfPort::LOCAL);
        let added = self.port_set(name, PortConfig::new(local));
        if let Err(e) = added {
            self.bridges.remove(name);
            self.publish(&[]);
            return Err(e);
        }
        Ok(id)
    }

    /// Removes a bridge and its ports. Its flows go at the next revalidation, which is asked for here.
    ///
    /// # Errors
    /// NoBridge.
    pub fn bridge_del(&mut self, name: &str) -> Result<(), BackerError> {
        let bridge = self
            .bridges
            .remove(name)
            .ok_or_else(|| BackerError::NoBridge(name.to_owned()))?;
        let mut changed = vec![Fact::Bridge(bridge.id), Fact::Untracked];
        for iface in bridge.ifaces() {
            changed.push(Fact::Odp(iface.odp));
            self.detach(iface);
            iface.say_deleted(name);
        }
        self.publish(&changed);
        for meter in lock(&bridge.ofproto).pipeline().meters.all() {
            self.meter_del(meter.provider_id);
        }
        Ok(())
    }

    /// Changes a bridge's settings.
    ///
    /// # Errors
    /// NoBridge.
    pub fn bridge_set(&mut self, name: &str, settings: BridgeSettings) -> Result<(), BackerError> {
        let bridge = self.bridge_mut(name)?;
        if bridge.settings == settings {
            return Ok(());
        }
        let id = bridge.id;
        // Clients come and go, and some want to see misses: that concerns only flows that miss.
        let misses_only = BridgeSettings {
            packet_in_on_miss: bridge.settings.packet_in_on_miss,
            ..settings.clone()
        } == bridge.settings;
        bridge.settings = bridge.apply(settings);
        let changes = write(&bridge.macs).take_changes();
        self.udpif.post(facts::of_macs(id, &changes));
        if misses_only {
            self.publish(&[Fact::Misses(id)]);
        } else {
            self.publish(&[Fact::Bridge(id), Fact::Untracked]);
        }
        Ok(())
    }

    // ---- tables

    /// Works on a bridge's tables, and tells what changed to whoever keeps flows true. The lock is held for
    /// the time of `body` only.
    ///
    /// # Errors
    /// NoBridge.
    pub fn tables<R>(
        &self,
        bridge: &str,
        body: impl FnOnce(&mut Ofproto) -> R,
    ) -> Result<R, BackerError> {
        let b = self.bridge(bridge)?;
        let mut ofproto = lock(&b.ofproto);
        let result = body(&mut ofproto);
        let changes = ofproto.take_changes();
        drop(ofproto);
        self.udpif.post(facts::of_changes(b.id, &changes));
        Ok(result)
    }

    /// The writer of a bridge's tables, for somebody who works on it over a longer time. Whoever changes
    /// something calls [`Self::tables`] (with an empty body) afterwards.
    ///
    /// # Errors
    /// NoBridge.
    pub fn ofproto(&self, bridge: &str) -> Result<Arc<Mutex<Ofproto>>, BackerError> {
        Ok(self.bridge(bridge)?.ofproto.clone())
    }

    // ---- features

    /// `dpif/show-dp-features`.
    #[must_use]
    pub fn show_features(&self) -> String {
        features::show(&self.found)
    }
    /// What `Datapath.capabilities` shows: features in force, and their values.
    #[must_use]
    pub fn capabilities(&self) -> Vec<(String, String)> {
        features::capabilities(&self.in_force)
    }
    /// `dpif/set-dp-features [NAME [VALUE]]`: lowers a feature, or shows.
    pub fn set_features(&mut self, name: Option<&str>, value: Option<&str>) -> String {
        let (text, changed) = features::set(&mut self.in_force, &self.found, name, value);
        if changed {
            self.publish(&[]);
            self.udpif.post([Change::All]);
            // A datapath that is gone has no flows either.
            drop(self.udpif.flush());
        }
        text
    }

    /// Ends threads, and with `remove` the datapath too; without, its flows go on forwarding.
    pub fn close(self, remove: bool) {
        self.udpif.stop();
        if remove {
            drop(self.dpif.destroy());
        }
    }
}

fn remove_other_datapaths(dpifs: &dpif::Registry, type_name: &str, ours: &str) {
    for other in dpifs.enumerate(type_name).unwrap_or_default() {
        if other == ours {
            continue;
        }
        match dpifs.open(&other, type_name, dpif::OpenMode::Existing) {
            Ok(dpif) => drop(dpif.destroy()),
            Err(_) => tracing::warn!(target: "ofproto_dpif",
                "couldn't open old datapath {other} to remove it"),
        }
    }
}

/// Removes flows and ports of an earlier run.
fn clear(dpif: &dyn Dpif, name: &str) {
    drop(dpif.flow_flush());
    for port in dpif.ports() {
        if port.name != name {
            drop(dpif.port_del(port.number));
        }
    }
    while dpif.port_poll().is_some() {}
}
