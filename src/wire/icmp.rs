//! ICMP (RFC 792).

use crate::header::Header;
use crate::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// ICMP header: the first 8 octets of every message.
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
pub struct IcmpHeader {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum over the message.
    pub csum: U16,
    /// Depends on the type: identifier and sequence, next-hop MTU, gateway.
    pub rest: U32,
}
impl Header for IcmpHeader {}

/// IGMP header (RFC 2236, the part all versions share).
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
pub struct IgmpHeader {
    /// Type.
    pub kind: u8,
    /// Code or maximum response time.
    pub code: u8,
    /// Checksum over the message.
    pub csum: U16,
    /// Group.
    pub group: crate::Ipv4,
}
impl Header for IgmpHeader {}

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const DST_UNREACH: u8 = 3;
/// Source quench.
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAM_PROB: u8 = 12;
/// Timestamp request.
pub const TIMESTAMP: u8 = 13;
/// Timestamp reply.
pub const TIMESTAMP_REPLY: u8 = 14;
/// Information request.
pub const INFO_REQUEST: u8 = 15;
/// Information reply.
pub const INFO_REPLY: u8 = 16;

/// IGMP membership query.
pub const IGMP_QUERY: u8 = 0x11;
/// IGMPv1 membership report.
pub const IGMP_V1_REPORT: u8 = 0x12;
/// IGMPv2 membership report.
pub const IGMP_V2_REPORT: u8 = 0x16;
/// IGMPv2 leave group.
pub const IGMP_LEAVE: u8 = 0x17;
/// IGMPv3 membership report.
pub const IGMP_V3_REPORT: u8 = 0x22;
