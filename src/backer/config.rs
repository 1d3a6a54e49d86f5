//! What the backer is told: bridges, ports, interfaces, as plain values.

use crate::qos::QosConfig;
use base::sync::Arc;
use flow::OfPort;
use netdev::Config;
use std::collections::BTreeMap;
use udpif::Threading;
use udpif::world::{NoSink, Sink};
use wire::EthAddr;
use xlate::VlanMode;
use xlate::port::PriorityTags;

/// How to open a backer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Datapath type (`netdev`, `dummy`). The datapath is called `ovs-<type>`.
    pub type_name: String,
    /// Threads, or the caller.
    pub threading: Threading,
    /// `n-handler-threads`; 0: by the number of cores.
    pub n_handlers: u32,
    /// `n-revalidator-threads`; 0: by the number of cores.
    pub n_revalidators: u32,
    /// `vlan-limit`: VLAN tags that rules may match (1 or 2).
    pub vlan_limit: u32,
    /// Receivers of packets and counts that leave upwards.
    pub sink: Arc<dyn Sink>,
}

impl Options {
    /// Threads by the number of cores, nobody listening.
    #[must_use]
    pub fn new(type_name: &str) -> Self {
        Self {
            type_name: type_name.to_owned(),
            threading: Threading::Real,
            n_handlers: 0,
            n_revalidators: 0,
            vlan_limit: 1,
            sink: Arc::new(NoSink),
        }
    }
}

/// Settings of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Seconds after which an unused MAC entry goes.
    pub mac_aging_s: u64,
    /// MAC entries at most.
    pub mac_table_size: usize,
    /// VLANs that are flooded and not learned in.
    pub flood_vlans: Vec<u16>,
    /// Frames to 01:80:c2:00:00:0x are forwarded.
    pub forward_bpdu: bool,
    /// A controller wants the packets that match no rule.
    pub packet_in_on_miss: bool,
    /// Some controller is connected.
    pub controller_alive: bool,
    /// In-band control.
    pub in_band: bool,
    /// Fragment handling.
    pub frag: xlate::snapshot::FragHandling,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            mac_aging_s: l2::mac_table::DEFAULT_IDLE_S,
            mac_table_size: l2::mac_table::DEFAULT_ENTRIES_MAX,
            flood_vlans: Vec::new(),
            forward_bpdu: false,
            packet_in_on_miss: false,
            controller_alive: false,
            in_band: false,
            frag: xlate::snapshot::FragHandling::Normal,
        }
    }
}

/// An interface of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfaceConfig {
    /// Device name.
    pub name: String,
    /// Class; empty means `system`.
    pub class: String,
    /// Options of the class.
    pub options: Config,
    /// Wanted OpenFlow port number.
    pub ofport_request: Option<OfPort>,
    /// Wanted MTU.
    pub mtu_request: Option<u32>,
    /// Wanted MAC address.
    pub mac: Option<EthAddr>,
    /// Ingress policing: kbit/s, kbit of burst, kpkt/s, kpkt of burst; rates of 0 for none.
    pub policing: [u32; 4],
    /// How the datapath treats it (`pmd-rxq-affinity`, `tx-steering`, ...).
    pub datapath: BTreeMap<String, String>,
}

impl IfaceConfig {
    /// An interface without options.
    #[must_use]
    pub fn new(name: &str, class: &str) -> Self {
        Self {
            name: name.to_owned(),
            class: class.to_owned(),
            options: Config::new(),
            ofport_request: None,
            mtu_request: None,
            mac: None,
            policing: [0; 4],
            datapath: BTreeMap::new(),
        }
    }
    /// With an option.
    #[must_use]
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.options.insert(key.to_owned(), value.to_owned());
        self
    }
    /// With a wanted OpenFlow port number.
    #[must_use]
    pub fn number(mut self, port: u16) -> Self {
        self.ofport_request = Some(OfPort(port));
        self
    }
}

/// A port: how it treats VLANs, and its interfaces (usually one, of the same name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Name.
    pub name: String,
    /// VLAN mode; `None`: access if there is a tag, else trunk.
    pub vlan_mode: Option<VlanMode>,
    /// VLAN of access, native and tunnel modes.
    pub tag: Option<u16>,
    /// VLANs of trunks; empty: all.
    pub trunks: Vec<u16>,
    /// Customer VLANs of dot1q-tunnel mode; empty: all.
    pub cvlans: Vec<u16>,
    /// EtherType of the outer tag in dot1q-tunnel mode.
    pub qinq_ethtype: u16,
    /// Priority tags.
    pub priority_tags: PriorityTags,
    /// Protected ports do not talk to each other.
    pub protected: bool,
    /// QoS of every interface.
    pub qos: Option<QosConfig>,
    /// Interfaces.
    pub interfaces: Vec<IfaceConfig>,
}

impl PortConfig {
    /// A trunk of all VLANs with one interface.
    #[must_use]
    pub fn new(interface: IfaceConfig) -> Self {
        Self {
            name: interface.name.clone(),
            vlan_mode: None,
            tag: None,
            trunks: Vec::new(),
            cvlans: Vec::new(),
            qinq_ethtype: 0x88a8,
            priority_tags: PriorityTags::Never,
            protected: false,
            qos: None,
            interfaces: vec![interface],
        }
    }
    /// An access port of this VLAN.
    #[must_use]
    pub fn access(mut self, vlan: u16) -> Self {
        self.tag = Some(vlan);
        self.vlan_mode = Some(VlanMode::Access);
        self
    }

    /// The VLAN mode in force.
    #[must_use]
    pub fn mode(&self) -> VlanMode {
        match (self.vlan_mode, self.tag) {
            (Some(mode), _) => mode,
            (None, Some(_)) => VlanMode::Access,
            (None, None) => VlanMode::Trunk,
        }
    }
}
