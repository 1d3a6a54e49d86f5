//! Ports and bundles as translation sees them.

use crate::bond::LacpStatus;
use crate::snapshot::BridgeId;
use flow::{OdpPort, OfPort};

/// A bundle's number within its bridge: stable while the bundle exists. The MAC table's
/// [`l2::PortKey`] is the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BundleId(pub u32);

impl BundleId {
    /// The same number as the MAC table has it.
    #[must_use]
    pub fn key(self) -> l2::PortKey {
        l2::PortKey(self.0)
    }
    /// From the MAC table's number.
    #[must_use]
    pub fn of(key: l2::PortKey) -> Self {
        Self(key.0)
    }
}

/// What the spanning tree (either one) says about a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StpState {
    /// Switched off by management or without link: nothing passes.
    Disabled,
    /// Neither learns nor forwards.
    Listening,
    /// Learns, does not forward.
    Learning,
    /// Learns and forwards.
    Forwarding,
    /// Neither learns nor forwards, but hears BPDUs.
    Blocking,
}

impl StpState {
    /// Source addresses are learned.
    #[must_use]
    pub const fn learns(self) -> bool {
        matches!(self, Self::Learning | Self::Forwarding)
    }
    /// Packets pass.
    #[must_use]
    pub const fn forwards(self) -> bool {
        matches!(self, Self::Forwarding)
    }
}

/// An OpenFlow port of a bridge. Build it with [`XPort::new`] and set what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XPort {
    /// Number in the bridge.
    pub ofp: OfPort,
    /// Number in the datapath; `OdpPort::NONE` for a patch port or one that could not be added.
    pub odp: OdpPort,
    /// Device name.
    pub name: String,
    /// Device class (`dummy`, `vxlan`, ...).
    pub class: String,
    /// `OFPPC_PORT_DOWN`.
    pub port_down: bool,
    /// `OFPPC_NO_RECV`.
    pub no_recv: bool,
    /// `OFPPC_NO_RECV_STP`.
    pub no_recv_stp: bool,
    /// `OFPPC_NO_FLOOD`.
    pub no_flood: bool,
    /// `OFPPC_NO_FWD`.
    pub no_fwd: bool,
    /// `OFPPC_NO_PACKET_IN`.
    pub no_packet_in: bool,
    /// Carrier, as OpenFlow shows it (not `OFPPS_LINK_DOWN`).
    pub link_up: bool,
    /// Usable as a member of a bond and for fast failover (carrier, BFD, CFM, LACP).
    pub may_enable: bool,
    /// The bundle it belongs to.
    pub bundle: Option<BundleId>,
    /// Where a patch port leads.
    pub peer: Option<(BridgeId, OfPort)>,
    /// Tunnel settings, for tunnel ports.
    pub tunnel: Option<Box<TunnelConfig>>,
    /// Spanning tree state, when a spanning tree (STP or RSTP) runs on it.
    pub stp: Option<StpState>,
    /// DSCP to write for packets of a queue: (skb_priority, DSCP in the upper six bits of the TOS).
    pub qdscp: Vec<(u32, u8)>,
    /// The interface index, for sFlow and NetFlow.
    pub ifindex: u32,
    /// LLDP runs on it.
    pub lldp: bool,
    /// CFM runs on it.
    pub cfm: Option<CfmFilter>,
    /// BFD runs on it.
    pub bfd: Option<BfdFilter>,
    /// Which packet types it carries.
    pub packet_type: PacketTypeMode,
    /// It has an IP address: tunnels may end here.
    pub has_ip: bool,
}

impl XPort {
    /// A plain port that is up.
    #[must_use]
    pub fn new(ofp: OfPort, odp: OdpPort, name: &str) -> Self {
        Self {
            ofp,
            odp,
            name: name.to_owned(),
            class: String::new(),
            port_down: false,
            no_recv: false,
            no_recv_stp: false,
            no_flood: false,
            no_fwd: false,
            no_packet_in: false,
            link_up: true,
            may_enable: true,
            bundle: None,
            peer: None,
            tunnel: None,
            stp: None,
            qdscp: Vec::new(),
            ifindex: 0,
            lldp: false,
            cfm: None,
            bfd: None,
            packet_type: PacketTypeMode::LegacyL2,
            has_ip: false,
        }
    }
    /// True when frames of a spanning tree may leave here: all but the blocked ports of STP.
    #[must_use]
    pub fn forwards_bpdu(&self, stp: bool) -> bool {
        !(stp && self.stp == Some(StpState::Blocking))
    }
    /// A tunnel port.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }
    /// The spanning tree lets it learn.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.stp.is_none_or(StpState::learns)
    }
    /// The spanning tree lets it forward.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.stp.is_none_or(StpState::forwards)
    }
}

/// Which packet types a port carries (`options:packet_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PacketTypeMode {
    /// Ethernet only.
    #[default]
    LegacyL2,
    /// Anything but Ethernet; the bridge sees Ethernet with zero addresses.
    LegacyL3,
    /// Anything, as it is.
    Aware,
}

/// A value that is fixed by configuration or taken from the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromFlow<T> {
    /// From the flow's tunnel metadata (`flow`).
    Flow,
    /// This one.
    Fixed(T),
}

/// `options` of a tunnel port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelConfig {
    /// `remote_ip`.
    pub remote_ip: FromFlow<wire::Ipv6>,
    /// `local_ip`; all zero: any.
    pub local_ip: FromFlow<wire::Ipv6>,
    /// `in_key`; `None`: no key present.
    pub in_key: FromFlow<Option<u64>>,
    /// `out_key`; `None`: no key sent.
    pub out_key: FromFlow<Option<u64>>,
    /// `dst_port`.
    pub dst_port: u16,
    /// `ttl`; `None`: inherit.
    pub ttl: Option<u8>,
    /// `tos`; `None`: inherit.
    pub tos: Option<u8>,
    /// `df_default`.
    pub dont_fragment: bool,
    /// `csum`.
    pub csum: bool,
    /// VXLAN group policy extension.
    pub gbp: bool,
    /// `egress_pkt_mark`.
    pub egress_pkt_mark: Option<u32>,
    /// ERSPAN.
    pub erspan: ErspanConfig,
}

/// ERSPAN options; all zero for other tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErspanConfig {
    /// Version: 1 or 2.
    pub ver: FromFlow<u8>,
    /// Index of version 1, 20 bits.
    pub idx: FromFlow<u32>,
    /// Direction of version 2.
    pub dir: FromFlow<u8>,
    /// Hardware id of version 2.
    pub hwid: FromFlow<u8>,
}

impl Default for ErspanConfig {
    fn default() -> Self {
        Self {
            ver: FromFlow::Fixed(0),
            idx: FromFlow::Fixed(0),
            dir: FromFlow::Fixed(0),
            hwid: FromFlow::Fixed(0),
        }
    }
}

/// Which packets are those of a port's CFM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CfmFilter {
    /// Destination address of its messages.
    pub addr: wire::EthAddr,
    /// Only packets without tunnel key.
    pub no_tunnel_key: bool,
}

/// Which packets are those of a port's BFD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BfdFilter {
    /// Only to this address.
    pub eth_dst: Option<wire::EthAddr>,
    /// Only to this address (its own source address, when configured).
    pub nw_dst: Option<wire::Ipv4>,
    /// Only packets without tunnel key.
    pub no_tunnel_key: bool,
}

/// How a bundle treats VLANs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VlanMode {
    /// Carries one VLAN, untagged.
    Access,
    /// Carries VLANs, tagged; untagged packets are VLAN 0.
    #[default]
    Trunk,
    /// Trunk; untagged packets are in `vlan`, which leaves tagged.
    NativeTagged,
    /// Trunk; untagged packets are in `vlan`, which leaves untagged.
    NativeUntagged,
    /// Carries customers' tags inside `vlan`.
    Dot1qTunnel,
}

/// When packets of VLAN 0 get a tag for their priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PriorityTags {
    /// Never.
    #[default]
    Never,
    /// When the priority is not zero.
    IfNonzero,
    /// Always.
    Always,
}

/// A set of VLAN ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanSet(Box<[u64; 64]>);

impl VlanSet {
    /// True when `vid` is in the set.
    #[must_use]
    pub fn contains(&self, vid: u16) -> bool {
        self.0[usize::from(vid & 0xfff) / 64] >> (vid % 64) & 1 == 1
    }
}

impl FromIterator<u16> for VlanSet {
    fn from_iter<I: IntoIterator<Item = u16>>(vids: I) -> Self {
        let mut bits = Box::new([0u64; 64]);
        for v in vids {
            bits[usize::from(v & 0xfff) / 64] |= 1 << (v % 64);
        }
        Self(bits)
    }
}

/// A bundle: one port of the database, with one member or (a bond) several. Build it with
/// [`XBundle::new`] and set what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XBundle {
    /// Number in the bridge.
    pub id: BundleId,
    /// Port name.
    pub name: String,
    /// VLAN mode.
    pub vlan_mode: VlanMode,
    /// EtherType of the outer tag of a `dot1q-tunnel`.
    pub qinq_ethtype: u16,
    /// VLAN of access, native and tunnel modes; `None` in trunk mode.
    pub vlan: Option<u16>,
    /// VLANs that a trunk carries; `None`: all.
    pub trunks: Option<VlanSet>,
    /// Customer VLANs that a tunnel port carries; `None`: all.
    pub cvlans: Option<VlanSet>,
    /// Priority tags.
    pub priority_tags: PriorityTags,
    /// No member has `no_flood`.
    pub floodable: bool,
    /// Protected ports do not talk to each other.
    pub protected: bool,
    /// Members.
    pub ports: Vec<OfPort>,
    /// Bond state, for bonds.
    pub bond: Option<base::sync::Arc<XBond>>,
    /// LACP runs on it.
    pub lacp: bool,
}

impl XBundle {
    /// A trunk of all VLANs with one member.
    #[must_use]
    pub fn new(id: BundleId, name: &str, port: OfPort) -> Self {
        Self {
            id,
            name: name.to_owned(),
            vlan_mode: VlanMode::Trunk,
            qinq_ethtype: 0x88a8,
            vlan: None,
            trunks: None,
            cvlans: None,
            priority_tags: PriorityTags::Never,
            floodable: true,
            protected: false,
            ports: vec![port],
            bond: None,
            lacp: false,
        }
    }

    /// True when `vid` is trunked here: never on an access port; a native VLAN always is, and
    /// then VLAN 0 never; a tunnel carries whatever comes.
    #[must_use]
    pub fn trunks_vlan(&self, vid: u16) -> bool {
        let listed = || self.trunks.as_ref().is_none_or(|t| t.contains(vid));
        match self.vlan_mode {
            VlanMode::Access => false,
            VlanMode::Trunk => listed(),
            VlanMode::Dot1qTunnel => true,
            VlanMode::NativeTagged | VlanMode::NativeUntagged => match self.vlan {
                Some(native) if native != 0 => vid == native || vid != 0 && listed(),
                _ => listed(),
            },
        }
    }

    /// True when a tunnel port carries customer VLAN `vid`.
    #[must_use]
    pub fn allows_cvlan(&self, vid: u16) -> bool {
        self.cvlans.as_ref().is_none_or(|c| c.contains(vid))
    }
}

/// How a bond balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BondMode {
    /// One member carries everything.
    ActiveBackup,
    /// By source MAC and VLAN.
    Slb,
    /// By L2 to L4 headers.
    Tcp,
}

/// A bond at the moment of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XBond {
    /// Mode.
    pub mode: BondMode,
    /// Hash basis.
    pub basis: u32,
    /// Number under which the datapath knows it (`lb_output`).
    pub bond_id: u32,
    /// Recirculation id of its internal flows; 0 when it does not recirculate.
    pub recirc_id: u32,
    /// The active member.
    pub active: Option<OfPort>,
    /// Members that may carry traffic.
    pub enabled: Vec<OfPort>,
    /// Inactive members take multicast too.
    pub all_members_active: bool,
    /// LACP.
    pub lacp: LacpStatus,
    /// Fall back to active-backup when LACP fails.
    pub fallback_active_backup: bool,
    /// Use `lb_output` instead of recirculation.
    pub lb_output: bool,
    /// Member of each hash value (256 of them); empty in active-backup mode.
    pub members_by_hash: Vec<Option<OfPort>>,
}
