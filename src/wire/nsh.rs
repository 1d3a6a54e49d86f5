//! Network service header (RFC 8300).

use crate::U16;
use crate::U32;
use crate::header::Header;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// NSH base and service path headers.
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
pub struct NshHeader {
    /// Version (2), O bit, reserved, TTL (6), length in 4-octet words (6).
    pub ver_flags_ttl_len: U16,
    /// Metadata type (low 4 bits).
    pub md_type: u8,
    /// Next protocol.
    pub next: u8,
    /// Service path id (24 bits) and service index.
    pub path: U32,
}
impl Header for NshHeader {}

/// Octets of base and service path headers.
pub const BASE_LEN: usize = 8;
/// Octets of a header with MD type 1.
pub const MD1_LEN: usize = 24;
/// Octets of the longest header (length field of 6 bits).
pub const LEN_MAX: usize = 252;
/// Metadata of fixed length.
pub const MD_TYPE1: u8 = 1;
/// Metadata of variable length.
pub const MD_TYPE2: u8 = 2;
/// Next protocol IPv4.
pub const NP_IPV4: u8 = 1;
/// Next protocol IPv6.
pub const NP_IPV6: u8 = 2;
/// Next protocol Ethernet.
pub const NP_ETHERNET: u8 = 3;
/// Next protocol NSH.
pub const NP_NSH: u8 = 4;

impl NshHeader {
    /// Version, 0.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        (self.ver_flags_ttl_len.get() >> 14) as u8
    }
    /// O bit (and the reserved bit under it), 2 bits.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u8 {
        (self.ver_flags_ttl_len.get() >> 12 & 3) as u8
    }
    /// Time to live, 6 bits.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> u8 {
        (self.ver_flags_ttl_len.get() >> 6 & 0x3f) as u8
    }
    /// Octets of the whole header, as it claims.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.ver_flags_ttl_len.get() & 0x3f) * 4
    }
    /// Sets version 0, flags, TTL and length (in octets).
    pub fn set(&mut self, flags: u8, ttl: u8, header_len: usize) {
        let len = (header_len / 4) as u16 & 0x3f;
        let v = u16::from(flags & 3) << 12 | u16::from(ttl & 0x3f) << 6 | len;
        self.ver_flags_ttl_len.set(v);
    }
}
