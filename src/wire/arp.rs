//! ARP and RARP for IPv4 over Ethernet (RFC 826, RFC 903).

use crate::ethernet::ETH_TYPE_IP;
use crate::header::Header;
use crate::{EthAddr, Ipv4, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// ARP packet with Ethernet hardware and IPv4 protocol addresses.
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
pub struct ArpHeader {
    /// Hardware type, 1 for Ethernet.
    pub hrd: U16,
    /// Protocol type, 0x0800 for IPv4.
    pub pro: U16,
    /// Hardware address length, 6.
    pub hln: u8,
    /// Protocol address length, 4.
    pub pln: u8,
    /// Operation.
    pub op: U16,
    /// Sender hardware address.
    pub sha: EthAddr,
    /// Sender protocol address.
    pub spa: Ipv4,
    /// Target hardware address.
    pub tha: EthAddr,
    /// Target protocol address.
    pub tpa: Ipv4,
}
impl Header for ArpHeader {}

/// Request.
pub const OP_REQUEST: u16 = 1;
/// Reply.
pub const OP_REPLY: u16 = 2;
/// RARP request.
pub const OP_RARP: u16 = 3;

impl ArpHeader {
    /// A header with the constant fields filled in.
    #[must_use]
    pub fn new(op: u16) -> Self {
        Self {
            hrd: U16::new(1),
            pro: U16::new(ETH_TYPE_IP),
            hln: 6,
            pln: 4,
            op: U16::new(op),
            ..Self::default()
        }
    }
    /// True when the address types and lengths are those this struct lays out.
    #[inline]
    #[must_use]
    pub fn is_eth_ipv4(&self) -> bool {
        self.hrd.get() == 1 && self.pro.get() == ETH_TYPE_IP && self.hln == 6 && self.pln == 4
    }
}
