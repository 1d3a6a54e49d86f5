//! [`Snapshot`]: everything that translation may look at.
//!
//! The backer builds a new one on every change of configuration or port state and publishes it through
//! [`base::sync::Slot`]. Bridges that did not change are shared between snapshots. What changes with
//! traffic (MAC tables, recirculation ids) and what has its own versions (OpenFlow tables) is reached
//! through it.

use crate::port::{BundleId, VlanSet, XBundle, XPort};
use crate::recirc::RecircTable;
use base::sync::{Arc, Counter, RwLock};
use flow::{OdpPort, OfPort};
use l2::MacTable;
use odp::Features;
use std::collections::BTreeMap;

/// A bridge's uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BridgeId(pub u128);

/// All bridges of one datapath.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows with every published snapshot.
    pub version: u64,
    /// Bridges.
    pub bridges: BTreeMap<BridgeId, Arc<XBridge>>,
    /// Who owns a datapath port. Tunnel ports that share a datapath port are not in here.
    pub by_odp: BTreeMap<OdpPort, (BridgeId, OfPort)>,
    /// What the datapath can do.
    pub features: Features,
    /// Frozen translations.
    pub recirc: Arc<RecircTable>,
    /// Conntrack timeout policies by zone.
    pub ct_timeouts: BTreeMap<u16, u32>,
}

impl Snapshot {
    /// A snapshot without bridges.
    #[must_use]
    pub fn new(features: Features, recirc: Arc<RecircTable>) -> Self {
        Self {
            version: 0,
            bridges: BTreeMap::new(),
            by_odp: BTreeMap::new(),
            features,
            recirc,
            ct_timeouts: BTreeMap::new(),
        }
    }

    /// Adds or replaces a bridge, and its ports' entries in `by_odp`.
    pub fn insert(&mut self, bridge: Arc<XBridge>) {
        let id = bridge.id;
        self.by_odp.retain(|_, (owner, _)| *owner != id);
        for port in bridge.ports.values() {
            if port.odp != OdpPort::NONE && port.tunnel.is_none() {
                self.by_odp.insert(port.odp, (id, port.ofp));
            }
        }
        self.bridges.insert(id, bridge);
    }

    /// A bridge by name.
    #[must_use]
    pub fn bridge_by_name(&self, name: &str) -> Option<&Arc<XBridge>> {
        self.bridges.values().find(|b| b.name == name)
    }
}

/// What happens to IP fragments (`OFPC_FRAG_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FragHandling {
    /// Treated like other packets; ports of later fragments are zero.
    #[default]
    Normal,
    /// Dropped.
    Drop,
    /// Reassembled (not supported: like `Normal`).
    Reassemble,
    /// Matchable through `ip_frag`.
    NxMatch,
}

/// A bridge. Build it with [`XBridge::new`] and set what differs.
#[derive(Debug, Clone)]
pub struct XBridge {
    /// Uuid.
    pub id: BridgeId,
    /// Name.
    pub name: String,
    /// Tables and groups.
    pub pipeline: Arc<ofproto::Pipeline>,
    /// Ports by OpenFlow number.
    pub ports: BTreeMap<OfPort, XPort>,
    /// Bundles; packets are flooded in their order.
    pub bundles: BTreeMap<BundleId, XBundle>,
    /// MAC learning.
    pub macs: Arc<RwLock<MacTable>>,
    /// Some controller is connected.
    pub controller_alive: bool,
    /// A controller wants the packets that match no rule.
    pub packet_in_on_miss: bool,
    /// Fragment handling.
    pub frag: FragHandling,
    /// Reserved multicast (01:80:c2:00:00:0x) is forwarded.
    pub forward_bpdu: bool,
    /// In-band control is on.
    pub in_band: bool,
    /// STP runs.
    pub stp: bool,
    /// RSTP runs.
    pub rstp: bool,
    /// Mirrors, by index (at most 32).
    pub mirrors: Vec<XMirror>,
    /// NetFlow is exported.
    pub netflow: bool,
    /// sFlow: the probability of a sample, in 1/2^32.
    pub sflow_probability: Option<u32>,
    /// IPFIX: bridge-wide sampling.
    pub ipfix: Option<XIpfix>,
    /// IPFIX: sampling by the `sample` action; only its `tunnels` counts.
    pub flow_ipfix: Option<XIpfix>,
    /// Addresses of the bridge's local port and its ports, for tunnels that end here.
    pub addresses: Vec<std::net::IpAddr>,
}

impl XBridge {
    /// A bridge without ports.
    #[must_use]
    pub fn new(id: BridgeId, name: &str, pipeline: Arc<ofproto::Pipeline>) -> Self {
        Self {
            id,
            name: name.to_owned(),
            pipeline,
            ports: BTreeMap::new(),
            bundles: BTreeMap::new(),
            macs: Arc::default(),
            controller_alive: false,
            packet_in_on_miss: false,
            frag: FragHandling::Normal,
            forward_bpdu: false,
            in_band: false,
            stp: false,
            rstp: false,
            mirrors: Vec::new(),
            netflow: false,
            sflow_probability: None,
            ipfix: None,
            flow_ipfix: None,
            addresses: Vec::new(),
        }
    }

    /// True for a bundle that takes copies of a mirror: nothing else may use it.
    #[must_use]
    pub fn is_mirror_output(&self, bundle: BundleId) -> bool {
        self.mirrors.iter().any(|m| m.out_bundle == Some(bundle))
    }

    /// Adds a port with a bundle of its own.
    pub fn add_port(&mut self, mut port: XPort, mut bundle: XBundle) {
        bundle.ports = vec![port.ofp];
        port.bundle = Some(bundle.id);
        self.bundles.insert(bundle.id, bundle);
        self.ports.insert(port.ofp, port);
    }
}

/// Bridge-wide IPFIX sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XIpfix {
    /// Probability of a sample, in 1/2^32.
    pub probability: u32,
    /// Sample what comes in.
    pub input: bool,
    /// Sample what goes out.
    pub output: bool,
    /// Also sample tunnels.
    pub tunnels: bool,
}

/// A mirror.
#[derive(Debug, Clone)]
pub struct XMirror {
    /// Name.
    pub name: String,
    /// Bundles whose received packets are copied; `None`: all.
    pub select_src: Option<Vec<BundleId>>,
    /// Bundles whose sent packets are copied; `None`: all.
    pub select_dst: Option<Vec<BundleId>>,
    /// VLANs that are copied; `None`: all.
    pub vlans: Option<VlanSet>,
    /// Where copies go: a bundle ...
    pub out_bundle: Option<BundleId>,
    /// ... or a VLAN.
    pub out_vlan: Option<u16>,
    /// Bytes of a copy; 0: all.
    pub snaplen: u16,
    /// What it copied.
    pub counts: Arc<MirrorCounts>,
}

/// What a mirror copied. Several threads write.
#[derive(Debug, Default)]
pub struct MirrorCounts {
    /// Packets.
    pub packets: Counter,
    /// Bytes of the packets, before they were cut.
    pub bytes: Counter,
}
