//! ICMPv6 (RFC 4443), neighbour discovery (RFC 4861), MLD (RFC 2710, RFC 3810).

use crate::header::Header;
use crate::{EthAddr, Ipv6, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// ICMPv6 header: the first 8 octets of every message that has a body.
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
pub struct Icmpv6Header {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum over the pseudo header and the message.
    pub csum: U16,
    /// Depends on the type; ND flags and reserved bits.
    pub rest: U32,
}
impl Header for Icmpv6Header {}

/// Neighbour solicitation or advertisement without options.
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
pub struct NdHeader {
    /// The ICMPv6 header.
    pub icmp: Icmpv6Header,
    /// Target.
    pub target: Ipv6,
}
impl Header for NdHeader {}

/// Source or target link-layer address option of Ethernet size.
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
pub struct NdLlaOption {
    /// [`ND_OPT_SLL`] or [`ND_OPT_TLL`].
    pub kind: u8,
    /// Length in 8-octet units: 1.
    pub len: u8,
    /// Address.
    pub mac: EthAddr,
}
impl Header for NdLlaOption {}

/// Destination unreachable.
pub const DST_UNREACH: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAM_PROB: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// MLDv1 query.
pub const MLD_QUERY: u8 = 130;
/// MLDv1 report.
pub const MLD_REPORT: u8 = 131;
/// MLDv1 done.
pub const MLD_DONE: u8 = 132;
/// Router solicitation.
pub const ROUTER_SOLICIT: u8 = 133;
/// Router advertisement.
pub const ROUTER_ADVERT: u8 = 134;
/// Neighbour solicitation.
pub const NEIGHBOR_SOLICIT: u8 = 135;
/// Neighbour advertisement.
pub const NEIGHBOR_ADVERT: u8 = 136;
/// Redirect.
pub const REDIRECT: u8 = 137;
/// MLDv2 report.
pub const MLD2_REPORT: u8 = 143;

/// Source link-layer address option.
pub const ND_OPT_SLL: u8 = 1;
/// Target link-layer address option.
pub const ND_OPT_TLL: u8 = 2;
/// Prefix information option.
pub const ND_OPT_PREFIX: u8 = 3;
/// MTU option.
pub const ND_OPT_MTU: u8 = 5;
/// Recursive DNS server option.
pub const ND_OPT_RDNSS: u8 = 25;

/// One ND option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NdOption<'a> {
    /// Type.
    pub kind: u8,
    /// Where it begins, from the start of the option area.
    pub ofs: usize,
    /// Type, length and value.
    pub bytes: &'a [u8],
}

impl NdOption<'_> {
    /// The address of a link-layer address option of Ethernet size.
    #[inline]
    #[must_use]
    pub fn lla(&self) -> Option<EthAddr> {
        let fits = self.bytes.len() == NdLlaOption::LEN;
        NdLlaOption::at(self.bytes, 0)
            .filter(|_| fits)
            .map(|o| o.mac)
    }
}

/// Walks over ND options; stops at the first whose length is zero or too large.
#[inline]
pub fn nd_options(area: &[u8]) -> impl Iterator<Item = NdOption<'_>> {
    let mut ofs = 0;
    std::iter::from_fn(move || {
        let head = area.get(ofs..)?.first_chunk::<8>()?;
        let len = usize::from(head[1]) * 8;
        let bytes = area.get(ofs..ofs + len).filter(|b| !b.is_empty())?;
        let option = NdOption {
            kind: head[0],
            ofs,
            bytes,
        };
        ofs += len;
        Some(option)
    })
}
