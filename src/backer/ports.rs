//! Adding, changing and removing ports.

use crate::backer::Backer;
use crate::bridge::{Bridge, Iface, Port, PortFlags};
use crate::config::{IfaceConfig, PortConfig};
use crate::error::BackerError;
use crate::qos;
use base::sync::{Arc, write};
use dpif::{DpifError, PortSpec};
use flow::{OdpPort, OfPort};
use netdev::{Device, NetdevError};
use std::collections::BTreeMap;
use udpif::world::{Fact, facts};
use xlate::BundleId;

impl Backer {
    /// Makes a bridge's port what `config` says: adds it, or changes what differs. An interface whose class,
    /// or wanted number, changed is removed and added; options and VLAN mode change in place.
    ///
    /// # Errors
    /// The first interface's that is not in force afterwards; the others are.
    pub fn port_set(&mut self, bridge: &str, config: PortConfig) -> Result<(), BackerError> {
        if config.interfaces.is_empty() {
            return Err(BackerError::NoInterfaces {
                bridge: bridge.to_owned(),
                port: config.name,
            });
        }
        let mut changed = Changed::default();
        let result = self.port_set_inner(bridge, &config, &mut changed);
        if changed.any {
            self.announce(bridge, &changed);
        }
        result
    }

    fn port_set_inner(
        &mut self,
        bridge: &str,
        config: &PortConfig,
        changed: &mut Changed,
    ) -> Result<(), BackerError> {
        let mut port = match self.bridge_mut(bridge)?.ports.remove(&config.name) {
            Some(port) => port,
            None => self.new_port(bridge, config)?,
        };
        let mut first_error = None;
        let mut keep = BTreeMap::new();
        for wanted in &config.interfaces {
            let old = port.ifaces.remove(&wanted.name);
            match self.iface_set(bridge, wanted, old, changed) {
                Ok(mut iface) => {
                    qos::settle(&mut iface, config.qos.as_ref());
                    keep.insert(wanted.name.clone(), iface);
                }
                Err(e) => {
                    first_error.get_or_insert(e);
                }
            }
        }
        for iface in std::mem::replace(&mut port.ifaces, keep).into_values() {
            self.iface_del(bridge, &iface, changed);
        }
        changed.any |= port.config != *config;
        port.config = config.clone();
        if !port.ifaces.is_empty() {
            let b = self.bridge_mut(bridge)?;
            b.ports.insert(config.name.clone(), port);
        } else {
            self.forget_bundle(bridge, port.bundle);
        }
        first_error.map_or(Ok(()), Err)
    }

    fn new_port(&mut self, bridge: &str, config: &PortConfig) -> Result<Port, BackerError> {
        let b = self.bridge_mut(bridge)?;
        let bundle = BundleId(b.next_bundle);
        b.next_bundle += 1;
        Ok(Port {
            config: config.clone(),
            bundle,
            ifaces: BTreeMap::new(),
        })
    }

    /// Removes a port.
    ///
    /// # Errors
    /// NoBridge, NoPort.
    pub fn port_del(&mut self, bridge: &str, port: &str) -> Result<(), BackerError> {
        let b = self.bridge_mut(bridge)?;
        let gone = b.ports.remove(port).ok_or_else(|| BackerError::NoPort {
            bridge: bridge.to_owned(),
            port: port.to_owned(),
        })?;
        let mut changed = Changed::default();
        for iface in gone.ifaces.values() {
            self.iface_del(bridge, iface, &mut changed);
        }
        self.forget_bundle(bridge, gone.bundle);
        self.announce(bridge, &changed);
        Ok(())
    }

    /// Sets what OpenFlow may switch off on a port.
    ///
    /// # Errors
    /// NoBridge; NoPort when no interface has that number.
    pub fn port_flags(
        &mut self,
        bridge: &str,
        number: OfPort,
        flags: PortFlags,
    ) -> Result<(), BackerError> {
        let b = self.bridge_mut(bridge)?;
        let mut ifaces = b.ports.values_mut().flat_map(|p| p.ifaces.values_mut());
        let Some(iface) = ifaces.find(|i| i.ofp == number) else {
            return Err(BackerError::NoPort {
                bridge: bridge.to_owned(),
                port: number.to_string(),
            });
        };
        if iface.flags != flags {
            iface.flags = flags;
            let changed = Changed {
                any: true,
                ..Changed::default()
            };
            self.announce(bridge, &changed);
        }
        Ok(())
    }

    /// Gives an interface another datapath port number, as a datapath may by itself: tests want it.
    ///
    /// # Errors
    /// In the peer's words.
    pub fn port_renumber(&mut self, name: &str, to: OdpPort) -> Result<(), &'static str> {
        let old = self.dpif.port_by_name(name).map_err(|_| "unknown port")?;
        if to.0 == 0 || to == OdpPort::NONE {
            return Err("bad port number");
        }
        if self.dpif.ports().iter().any(|p| p.number == to) {
            return Err("port number already in use");
        }
        let moved = self.dpif.port_del(old.number).and_then(|()| {
            self.dpif.port_add(&PortSpec {
                name: name.to_owned(),
                class: old.class,
                number: Some(to),
            })
        });
        let number = moved.unwrap_or(OdpPort::NONE);
        let mut owner = None;
        for bridge in self.bridges.values_mut() {
            let ifaces = bridge
                .ports
                .values_mut()
                .flat_map(|p| p.ifaces.values_mut());
            for iface in ifaces.filter(|i| i.odp == old.number) {
                iface.odp = number;
                owner = Some(bridge.name.clone());
            }
        }
        if let Some(bridge) = owner {
            let changed = Changed {
                any: true,
                odp: vec![old.number, number],
            };
            self.announce(&bridge, &changed);
        }
        Ok(())
    }

    /// Brings one interface in force.
    fn iface_set(
        &mut self,
        bridge: &str,
        wanted: &IfaceConfig,
        old: Option<Iface>,
        changed: &mut Changed,
    ) -> Result<Iface, BackerError> {
        if let Some(mut iface) = old {
            let number = wanted.ofport_request;
            let renumbered = number.is_some_and(|n| n != iface.ofp && self.is_free(bridge, n));
            if iface.config.class == wanted.class && !renumbered {
                if iface.config != *wanted {
                    let shared = self.shared_port_name(&iface.device);
                    if let Err(e) = self.configure(bridge, wanted, &mut iface) {
                        // What cannot be as it was asked for does not stay as it was.
                        self.iface_del(bridge, &iface, changed);
                        return Err(e);
                    }
                    changed.any = true;
                    if self.shared_port_name(&iface.device) != shared {
                        self.move_tunnel(bridge, &mut iface, changed)?;
                    }
                }
                return Ok(iface);
            }
            self.iface_del(bridge, &iface, changed);
            if iface.config.class != wanted.class {
                // Packet threads let go of the old device in a while.
                self.netdevs.forget(&iface.device);
            }
        }
        let iface = self.iface_add(bridge, wanted)?;
        changed.any = true;
        changed.odp.push(iface.odp);
        Ok(iface)
    }

    /// Puts a tunnel onto the datapath port of its new options.
    fn move_tunnel(
        &mut self,
        bridge: &str,
        iface: &mut Iface,
        changed: &mut Changed,
    ) -> Result<(), BackerError> {
        self.detach(iface);
        changed.odp.push(iface.odp);
        iface.odp = OdpPort::NONE;
        let added = self.dp_port(&iface.device);
        iface.odp = added.map_err(|source| BackerError::Port {
            bridge: bridge.to_owned(),
            interface: iface.name().to_owned(),
            source,
        })?;
        changed.odp.push(iface.odp);
        Ok(())
    }

    fn is_free(&self, bridge: &str, number: OfPort) -> bool {
        self.bridges
            .get(bridge)
            .is_some_and(|b| b.iface_by_number(number).is_none())
    }

    fn iface_add(&mut self, bridge: &str, wanted: &IfaceConfig) -> Result<Iface, BackerError> {
        self.check_unclaimed(bridge, &wanted.name)?;
        let class = self.device_class(&wanted.class);
        let refuse = |source| BackerError::Device {
            bridge: bridge.to_owned(),
            interface: wanted.name.clone(),
            source: Box::new(source),
        };
        if wanted.class != "internal" {
            let free = self.netdevs.check_name(&wanted.name);
            free.map_err(|e| {
                tracing::warn!(target: "bridge",
                    "could not create interface {}, name is reserved", wanted.name);
                refuse(e)
            })?;
        }
        let device = self.netdevs.open(&wanted.name, &class).map_err(|e| {
            tracing::warn!(target: "bridge",
                "could not open network device {} ({})", wanted.name, e.why());
            refuse(e)
        })?;
        let mut iface = Iface {
            seen_seq: device.change_seq(),
            device,
            ofp: OfPort::NONE,
            odp: OdpPort::NONE,
            unknown_options: Vec::new(),
            flags: PortFlags::default(),
            asked: None,
            config: wanted.clone(),
        };
        self.configure(bridge, wanted, &mut iface)?;
        let now = self.clock.now();
        let is_local = wanted.ofport_request == Some(OfPort::LOCAL);
        let numbers = &mut self.bridge_mut(bridge)?.numbers;
        iface.ofp = if is_local {
            OfPort::LOCAL
        } else {
            let number = numbers.allocate(wanted.ofport_request, now);
            number.ok_or_else(|| BackerError::NoNumber {
                bridge: bridge.to_owned(),
                interface: wanted.name.clone(),
            })?
        };
        if iface.device.patch_peer().is_none() {
            match self.dp_port(&iface.device) {
                Ok(odp) => iface.odp = odp,
                Err(source) => {
                    self.bridge_mut(bridge)?.numbers.release(iface.ofp, now);
                    tracing::warn!(target: "ofproto_dpif",
                        "{bridge}: failed to add {} as port: {source}", wanted.name);
                    return Err(BackerError::Port {
                        bridge: bridge.to_owned(),
                        interface: wanted.name.clone(),
                        source,
                    });
                }
            }
            self.configure_in_datapath(bridge, &iface);
        }
        tracing::info!(target: "bridge",
            "bridge {bridge}: added interface {} on port {}", wanted.name, iface.ofp.0);
        Ok(iface)
    }

    /// The device class that stands for a class of the configuration on this datapath.
    fn device_class(&self, class: &str) -> String {
        let class = if class.is_empty() { "system" } else { class };
        self.dpifs
            .provider(&self.type_name)
            .map_or_else(|| class.to_owned(), |p| p.port_open_type(class))
    }

    /// The name of the datapath port that tunnels of a device's kind share.
    fn shared_port_name(&self, device: &Arc<dyn Device>) -> Option<String> {
        let provider = self.netdevs.provider(device.class())?;
        provider.dpif_port_name(device.tunnel_config().as_deref())
    }

    /// Compares the datapath's ports with ours, when somebody else may have changed them: a port that is gone
    /// leaves its bridge (until the next configuration brings it back), one with another number is told on.
    pub(crate) fn poll_datapath(&mut self) {
        let mut any = false;
        while self.dpif.port_poll().is_some() {
            any = true;
        }
        if !any {
            return;
        }
        let there = self.dpif.ports().into_iter();
        let there: BTreeMap<String, OdpPort> = there.map(|p| (p.name, p.number)).collect();
        let mut moved = Vec::new();
        for (bridge, b) in &self.bridges {
            for (port, p) in &b.ports {
                for iface in p.ifaces.values().filter(|i| i.odp != OdpPort::NONE) {
                    let shared = self.shared_port_name(&iface.device);
                    let name = shared.as_deref().unwrap_or_else(|| iface.name());
                    let now = there.get(name).copied();
                    if now != Some(iface.odp) {
                        let iface = iface.name().to_owned();
                        moved.push((bridge.clone(), port.clone(), iface, now));
                    }
                }
            }
        }
        for (bridge, port, iface, number) in moved {
            self.port_moved(&bridge, (&port, &iface), number);
        }
    }

    /// An interface has another datapath port now, or none.
    fn port_moved(&mut self, bridge: &str, (port, iface): (&str, &str), number: Option<OdpPort>) {
        let mut changed = Changed::default();
        let Ok(b) = self.bridge_mut(bridge) else {
            return;
        };
        let Some(p) = b.ports.get_mut(port) else {
            return;
        };
        if let Some(number) = number {
            if let Some(i) = p.ifaces.get_mut(iface) {
                changed.any = true;
                changed.odp = vec![i.odp, number];
                i.odp = number;
            }
        } else if let Some(gone) = p.ifaces.remove(iface) {
            let bundle = p.bundle;
            let empty = p.ifaces.is_empty();
            if empty {
                b.ports.remove(port);
            }
            self.iface_del(bridge, &gone, &mut changed);
            if empty {
                self.forget_bundle(bridge, bundle);
            }
        }
        self.announce(bridge, &changed);
    }

    /// Puts a device into the datapath. Tunnels of one kind share a datapath port.
    fn dp_port(&self, device: &Arc<dyn Device>) -> Result<OdpPort, DpifError> {
        let shared = self.shared_port_name(device);
        let name = shared.clone().unwrap_or_else(|| device.name().to_owned());
        if shared.is_some()
            && let Ok(port) = self.dpif.port_by_name(&name)
        {
            return Ok(port.number);
        }
        self.dpif.port_add(&PortSpec {
            name,
            class: device.class().to_owned(),
            number: None,
        })
    }

    fn configure(
        &self,
        bridge: &str,
        wanted: &IfaceConfig,
        iface: &mut Iface,
    ) -> Result<(), BackerError> {
        let refuse = |source| BackerError::Device {
            bridge: bridge.to_owned(),
            interface: wanted.name.clone(),
            source: Box::new(source),
        };
        let unknown = netdev::configure(&*iface.device, &wanted.options).map_err(refuse)?;
        for key in &unknown {
            tracing::warn!(target: "netdev",
                "{}: option {key} is not known to class {}", wanted.name, iface.device.class());
        }
        iface.unknown_options = unknown;
        if let Some(mtu) = wanted.mtu_request {
            request_mtu(&*iface.device, mtu);
        }
        if let Some(mac) = wanted.mac
            && iface.device.etheraddr() != mac
        {
            iface.device.set_etheraddr(mac).map_err(refuse)?;
        }
        iface.config = wanted.clone();
        if iface.odp != OdpPort::NONE {
            self.configure_in_datapath(bridge, iface);
        }
        Ok(())
    }

    /// Tells the datapath how to treat an interface; what it cannot make sense of is named, and the rest is in
    /// force.
    fn configure_in_datapath(&self, bridge: &str, iface: &Iface) {
        if let Err(e) = self.dpif.port_set_config(iface.odp, &iface.config.datapath) {
            tracing::warn!(target: "bridge",
                "{bridge}: interface {}: other_config: {e}", iface.name());
        }
    }

    /// The name of an interface may be in one port only.
    fn check_unclaimed(&self, bridge: &str, interface: &str) -> Result<(), BackerError> {
        for owner in self.bridges.values() {
            for (name, port) in &owner.ports {
                if port.ifaces.contains_key(interface) {
                    let e = BackerError::Claimed {
                        bridge: bridge.to_owned(),
                        interface: interface.to_owned(),
                        owner: owner.name.clone(),
                        owner_port: name.clone(),
                    };
                    tracing::warn!(target: "bridge", "{e}");
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    fn iface_del(&mut self, bridge: &str, iface: &Iface, changed: &mut Changed) {
        let now = self.clock.now();
        self.detach(iface);
        if let Ok(b) = self.bridge_mut(bridge) {
            b.numbers.release(iface.ofp, now);
        }
        iface.say_deleted(bridge);
        changed.any = true;
        changed.odp.push(iface.odp);
    }

    /// Takes a device out of the datapath, unless another tunnel still uses the same port.
    pub(crate) fn detach(&self, iface: &Iface) {
        let same = |i: &Iface| i.odp == iface.odp && i.name() != iface.name();
        let shared = self.bridges.values().flat_map(Bridge::ifaces).any(same);
        if iface.odp != OdpPort::NONE && !shared {
            // Gone already is as good.
            drop(self.dpif.port_del(iface.odp));
        }
    }

    /// Forgets what was learned on a bundle that is gone; in the other bridges too, for whoever was there is
    /// likely to have moved.
    fn forget_bundle(&self, bridge: &str, bundle: BundleId) {
        let Ok(own) = self.bridge(bridge) else {
            return;
        };
        let gone = write(&own.macs).flush_port(bundle.key(), false);
        for b in self.bridges.values() {
            let changes = {
                let mut macs = write(&b.macs);
                if b.id != own.id {
                    for (vlan, mac) in &gone {
                        macs.forget(*vlan, *mac);
                    }
                }
                macs.take_changes()
            };
            self.udpif().post(facts::of_macs(b.id, &changes));
        }
    }

    /// Publishes what changed on a bridge's ports.
    fn announce(&mut self, bridge: &str, changed: &Changed) {
        // A patch port may lead anywhere: bridges at its other end change with it.
        let mut facts: Vec<Fact> = self
            .bridges
            .values()
            .filter(|b| b.name == bridge || b.ifaces().any(|i| i.device.patch_peer().is_some()))
            .map(|b| Fact::Bridge(b.id))
            .collect();
        facts.extend(changed.odp.iter().map(|&p| Fact::Odp(p)));
        facts.push(Fact::Untracked);
        self.publish(&facts);
    }
}

/// What a change of ports touched.
#[derive(Debug, Default)]
struct Changed {
    any: bool,
    /// Datapath ports that came or went.
    odp: Vec<OdpPort>,
}

/// Asks for an MTU. A device that cannot have it keeps the one it has, and says so.
fn request_mtu(device: &dyn Device, mtu: u32) {
    match device.set_mtu(mtu) {
        Ok(()) | Err(NetdevError::NotSupported { .. }) => {}
        Err(e) => {
            let errno = std::io::Error::from_raw_os_error(e.errno());
            tracing::warn!(target: "netdev", "failed to set MTU for network device {}: {}",
                device.name(), netdev::os_error(&errno));
            tracing::info!(target: "netdev", "{e}");
        }
    }
}
