//! A bridge as the backer keeps it, and its image for translation.

use crate::config::{BridgeSettings, IfaceConfig, PortConfig};
use crate::mirrors::Mirror;
use crate::qos::{self, Asked};
use crate::tunnels;
use base::sync::{Arc, Mutex, RwLock, lock, write};
use flow::{OdpPort, OfPort};
use l2::MacTable;
use netdev::Device;
use ofproto::{Ofproto, PortNumbers};
use std::collections::BTreeMap;
use xlate::port::{BundleId, VlanMode, VlanSet, XBundle, XPort};
use xlate::{BridgeId, XBridge};

/// An interface that is in force.
#[derive(Debug)]
pub struct Iface {
    /// What was asked for.
    pub config: IfaceConfig,
    /// The device.
    pub device: Arc<dyn Device>,
    /// OpenFlow number.
    pub ofp: OfPort,
    /// Datapath number; `NONE` for patch ports.
    pub odp: OdpPort,
    /// Options the class did not know.
    pub unknown_options: Vec<String>,
    /// OpenFlow port configuration (`OFPPC_*` as translation needs it).
    pub flags: PortFlags,
    /// QoS and policing as the device was last asked for; `None` for never.
    pub(crate) asked: Option<Asked>,
    /// The device's change sequence when it was last looked at.
    pub(crate) seen_seq: u64,
}

/// What OpenFlow can switch off on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    missing_docs,
    reason = "names are those of OpenFlow's port configuration"
)]
pub struct PortFlags {
    pub port_down: bool,
    pub no_recv: bool,
    pub no_recv_stp: bool,
    pub no_flood: bool,
    pub no_fwd: bool,
    pub no_packet_in: bool,
}

/// A port that is in force.
#[derive(Debug)]
pub struct Port {
    /// What was asked for.
    pub config: PortConfig,
    /// Its bundle.
    pub bundle: BundleId,
    /// Interfaces that could be opened, by name.
    pub ifaces: BTreeMap<String, Iface>,
}

/// A bridge.
#[derive(Debug)]
pub struct Bridge {
    /// Identity, unique in the process.
    pub id: BridgeId,
    /// Name.
    pub name: String,
    /// Settings.
    pub settings: BridgeSettings,
    /// The writer of its tables.
    pub ofproto: Arc<Mutex<Ofproto>>,
    /// Its MAC table.
    pub macs: Arc<RwLock<MacTable>>,
    /// Ports by name; the one named as the bridge is the local port.
    pub ports: BTreeMap<String, Port>,
    /// Mirrors, those whose output does not exist included.
    pub mirrors: Vec<Mirror>,
    pub(crate) numbers: PortNumbers,
    pub(crate) next_bundle: u32,
}

impl Bridge {
    pub(crate) fn new(id: BridgeId, name: &str, settings: BridgeSettings) -> Self {
        let bridge = Self {
            id,
            name: name.to_owned(),
            settings: BridgeSettings::default(),
            ofproto: Arc::new(Mutex::new(Ofproto::new(name))),
            macs: Arc::new(RwLock::new(MacTable::default())),
            ports: BTreeMap::new(),
            mirrors: Vec::new(),
            numbers: PortNumbers::default(),
            next_bundle: 1,
        };
        Self {
            settings: bridge.apply(settings),
            ..bridge
        }
    }

    /// Puts settings of the MAC table in force.
    pub(crate) fn apply(&self, settings: BridgeSettings) -> BridgeSettings {
        let mut macs = write(&self.macs);
        macs.set_idle_time(settings.mac_aging_s);
        macs.set_max_entries(settings.mac_table_size);
        macs.set_flood_vlans(settings.flood_vlans.iter().copied());
        settings
    }

    /// Every interface.
    pub fn ifaces(&self) -> impl Iterator<Item = &Iface> {
        self.ports.values().flat_map(|p| p.ifaces.values())
    }
    /// An interface by name.
    #[must_use]
    pub fn iface(&self, name: &str) -> Option<&Iface> {
        self.ports.values().find_map(|p| p.ifaces.get(name))
    }
    /// An interface by OpenFlow number.
    #[must_use]
    pub fn iface_by_number(&self, port: OfPort) -> Option<&Iface> {
        self.ifaces().find(|i| i.ofp == port)
    }
    /// The lowest OpenFlow number of a bundle.
    #[must_use]
    pub fn a_port_of(&self, bundle: BundleId) -> Option<OfPort> {
        let port = self.ports.values().find(|p| p.bundle == bundle)?;
        port.ifaces.values().map(|i| i.ofp).min()
    }

    /// The bridge as translation sees it. `peer` finds where a patch port of a name leads.
    pub(crate) fn image(&self, peer: &dyn Fn(&Iface) -> Option<(BridgeId, OfPort)>) -> XBridge {
        let pipeline = lock(&self.ofproto).pipeline().clone();
        let mut x = XBridge::new(self.id, &self.name, pipeline);
        x.macs = self.macs.clone();
        let s = &self.settings;
        x.forward_bpdu = s.forward_bpdu;
        x.packet_in_on_miss = s.packet_in_on_miss;
        x.controller_alive = s.controller_alive;
        x.in_band = s.in_band;
        x.frag = s.frag;
        x.mirrors = self.mirrors.iter().filter_map(|m| m.image(self)).collect();
        for port in self.ports.values() {
            if let Some(bundle) = port.image() {
                x.bundles.insert(bundle.id, bundle);
            }
            for iface in port.ifaces.values() {
                let mut xport = iface.image();
                xport.bundle = Some(port.bundle);
                xport.qdscp = qos::dscps(port.config.qos.as_ref());
                xport.peer = peer(iface);
                x.ports.insert(xport.ofp, xport);
            }
        }
        x
    }
}

impl Port {
    fn image(&self) -> Option<XBundle> {
        let members: Vec<OfPort> = self.ifaces.values().map(|i| i.ofp).collect();
        let mut x = XBundle::new(self.bundle, &self.config.name, *members.first()?);
        let c = &self.config;
        x.vlan_mode = c.mode();
        x.vlan = match x.vlan_mode {
            VlanMode::Trunk => None,
            VlanMode::Access
            | VlanMode::NativeTagged
            | VlanMode::NativeUntagged
            | VlanMode::Dot1qTunnel => Some(c.tag.unwrap_or(0)),
        };
        let set =
            |list: &[u16]| (!list.is_empty()).then(|| list.iter().copied().collect::<VlanSet>());
        x.trunks = set(&c.trunks);
        x.cvlans = set(&c.cvlans);
        x.qinq_ethtype = c.qinq_ethtype;
        x.priority_tags = c.priority_tags;
        x.protected = c.protected;
        x.floodable = self.ifaces.values().all(|i| !i.flags.no_flood);
        x.ports = members;
        Some(x)
    }
}

impl Iface {
    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Tells that it left its bridge.
    pub(crate) fn say_deleted(&self, bridge: &str) {
        let (name, number) = (self.name(), self.ofp.0);
        tracing::info!(target: "bridge", "bridge {bridge}: deleted interface {name} on port {number}");
    }

    fn image(&self) -> XPort {
        let mut x = XPort::new(self.ofp, self.odp, self.name());
        x.class = self.device.class().to_owned();
        if let Some(options) = self.device.tunnel_config() {
            x.tunnel = Some(Box::new(tunnels::image(&options)));
            x.packet_type = tunnels::packet_type(&options);
        }
        let f = self.flags;
        x.port_down = f.port_down || !self.device.flags().up;
        (x.no_recv, x.no_recv_stp) = (f.no_recv, f.no_recv_stp);
        (x.no_flood, x.no_fwd, x.no_packet_in) = (f.no_flood, f.no_fwd, f.no_packet_in);
        x.link_up = self.device.carrier();
        x.may_enable = x.link_up;
        x.has_ip = !self.device.addresses().is_empty();
        x.ifindex = self.device.ifindex().unwrap_or(0);
        x
    }
}
