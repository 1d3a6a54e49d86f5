//! IPv4 (RFC 791).

use crate::header::Header;
use crate::{Ipv4, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// IPv4 header without options.
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
pub struct Ipv4Header {
    /// Version (4) and header length in 4-octet words.
    pub ver_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Octets of header and payload.
    pub tot_len: U16,
    /// Identification.
    pub id: U16,
    /// Flags and fragment offset in 8-octet units.
    pub frag_off: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Header checksum.
    pub csum: U16,
    /// Source.
    pub src: Ipv4,
    /// Destination.
    pub dst: Ipv4,
}
impl Header for Ipv4Header {}

/// "Don't fragment" in `frag_off`.
pub const FRAG_DF: u16 = 0x4000;
/// "More fragments" in `frag_off`.
pub const FRAG_MF: u16 = 0x2000;
/// The offset in `frag_off`.
pub const FRAG_OFF_MASK: u16 = 0x1fff;

/// ICMP.
pub const PROTO_ICMP: u8 = 1;
/// IGMP.
pub const PROTO_IGMP: u8 = 2;
/// IPv4 in IP.
pub const PROTO_IPIP: u8 = 4;
/// TCP.
pub const PROTO_TCP: u8 = 6;
/// UDP.
pub const PROTO_UDP: u8 = 17;
/// IPv6 in IP.
pub const PROTO_IPV6: u8 = 41;
/// GRE.
pub const PROTO_GRE: u8 = 47;
/// ICMPv6.
pub const PROTO_ICMPV6: u8 = 58;
/// SCTP.
pub const PROTO_SCTP: u8 = 132;
/// UDP-Lite.
pub const PROTO_UDPLITE: u8 = 136;

/// Octets of padding behind an IP packet that are believed.
pub const PAD_MAX: usize = 0xffff;

/// ECN bits of `tos`.
pub const ECN_MASK: u8 = 3;
/// DSCP bits of `tos`.
pub const DSCP_MASK: u8 = 0xfc;

impl Ipv4Header {
    /// IP version field.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        self.ver_ihl >> 4
    }
    /// Octets of header with options, as the header claims.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.ver_ihl & 15) * 4
    }
    /// The packet is a fragment (first or later).
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.frag_off.get() & (FRAG_MF | FRAG_OFF_MASK) != 0
    }
    /// The packet is a fragment other than the first.
    #[inline]
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.frag_off.get() & FRAG_OFF_MASK != 0
    }
    /// The header at `data[ofs]` when its lengths are possible: header at least 20 octets, inside the
    /// total length, which is inside the data with at most 65,535 octets behind it (padding). Also gives
    /// header and total length.
    #[inline]
    #[must_use]
    pub fn checked(data: &[u8], ofs: usize) -> Option<(&Self, usize, usize)> {
        let h = Self::at(data, ofs)?;
        let (hlen, tot) = (h.header_len(), usize::from(h.tot_len.get()));
        let size = data.len() - ofs;
        let ok = hlen >= Self::LEN && hlen <= tot && tot <= size && size - tot <= PAD_MAX;
        ok.then_some((h, hlen, tot))
    }
}
