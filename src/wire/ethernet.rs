//! Ethernet II, 802.3 with LLC/SNAP.

use crate::header::Header;
use crate::{EthAddr, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ethernet header.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination.
    pub dst: EthAddr,
    /// Source.
    pub src: EthAddr,
    /// EtherType, or length when below [`ETH_TYPE_MIN`].
    pub ethertype: U16,
}
impl Header for EthernetHeader {}

/// LLC and SNAP headers of an 802.3 frame that carries an EtherType.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct LlcSnapHeader {
    /// Destination service access point, 0xaa for SNAP.
    pub dsap: u8,
    /// Source service access point, 0xaa for SNAP.
    pub ssap: u8,
    /// Control, 3 for unnumbered information.
    pub cntl: u8,
    /// Organization, zero for EtherTypes.
    pub org: [u8; 3],
    /// EtherType.
    pub ethertype: U16,
}
impl Header for LlcSnapHeader {}

impl LlcSnapHeader {
    /// True when the header says "an EtherType follows".
    #[inline]
    #[must_use]
    pub fn is_snap(&self) -> bool {
        self.dsap == 0xaa && self.ssap == 0xaa && self.cntl == 3 && self.org == [0; 3]
    }
}

/// Smallest EtherType; smaller numbers are 802.3 lengths.
pub const ETH_TYPE_MIN: u16 = 0x600;
/// IPv4.
pub const ETH_TYPE_IP: u16 = 0x0800;
/// ARP.
pub const ETH_TYPE_ARP: u16 = 0x0806;
/// Transparent Ethernet bridging (GRE, NSH next protocol).
pub const ETH_TYPE_TEB: u16 = 0x6558;
/// 802.1Q tag.
pub const ETH_TYPE_VLAN: u16 = 0x8100;
/// Reverse ARP.
pub const ETH_TYPE_RARP: u16 = 0x8035;
/// IPv6.
pub const ETH_TYPE_IPV6: u16 = 0x86dd;
/// Slow protocols (LACP).
pub const ETH_TYPE_SLOW: u16 = 0x8809;
/// MPLS unicast.
pub const ETH_TYPE_MPLS: u16 = 0x8847;
/// MPLS multicast.
pub const ETH_TYPE_MPLS_MCAST: u16 = 0x8848;
/// 802.1ad tag.
pub const ETH_TYPE_QINQ: u16 = 0x88a8;
/// ERSPAN version 1 (type II).
pub const ETH_TYPE_ERSPAN1: u16 = 0x88be;
/// LLDP.
pub const ETH_TYPE_LLDP: u16 = 0x88cc;
/// Connectivity fault management.
pub const ETH_TYPE_CFM: u16 = 0x8902;
/// Network service header.
pub const ETH_TYPE_NSH: u16 = 0x894f;
/// ERSPAN version 2 (type III).
pub const ETH_TYPE_ERSPAN2: u16 = 0x22eb;

/// True for the EtherTypes of VLAN tags.
#[inline]
#[must_use]
pub const fn is_vlan_type(t: u16) -> bool {
    t == ETH_TYPE_VLAN || t == ETH_TYPE_QINQ
}
/// True for the EtherTypes of MPLS.
#[inline]
#[must_use]
pub const fn is_mpls_type(t: u16) -> bool {
    t == ETH_TYPE_MPLS || t == ETH_TYPE_MPLS_MCAST
}
/// True for IPv4 and IPv6.
#[inline]
#[must_use]
pub const fn is_ip_type(t: u16) -> bool {
    t == ETH_TYPE_IP || t == ETH_TYPE_IPV6
}
/// True for ARP and RARP.
#[inline]
#[must_use]
pub const fn is_arp_type(t: u16) -> bool {
    t == ETH_TYPE_ARP || t == ETH_TYPE_RARP
}
