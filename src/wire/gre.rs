//! GRE (RFC 2784, RFC 2890) and ERSPAN types II and III (draft foschiano-erspan) over it.

use crate::header::Header;
use crate::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// GRE header without optional words.
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
pub struct GreHeader {
    /// `FLAG_*` and version (low 3 bits, 0).
    pub flags: U16,
    /// EtherType of what follows.
    pub protocol: U16,
}
impl Header for GreHeader {}

/// ERSPAN base header, of both types.
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
pub struct ErspanHeader {
    /// Version (4 bits), VLAN (12 bits).
    pub ver_vlan: U16,
    /// Class of service (3), encapsulation type or bad-frame bits (2), truncated (1), session id (10).
    pub session: U16,
}
impl Header for ErspanHeader {}

/// What follows the base header in type III (version 2).
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
pub struct Erspan2Metadata {
    /// Timestamp.
    pub timestamp: U32,
    /// Security group tag.
    pub sgt: U16,
    /// Protocol data unit (1), frame type (5), hardware id (6), direction (1), granularity (2),
    /// optional subheader (1).
    pub hwid_dir: U16,
}
impl Header for Erspan2Metadata {}

/// A checksum word is there.
pub const FLAG_CSUM: u16 = 0x8000;
/// Source routing (obsolete, refused).
pub const FLAG_ROUTING: u16 = 0x4000;
/// A key word is there.
pub const FLAG_KEY: u16 = 0x2000;
/// A sequence number word is there.
pub const FLAG_SEQ: u16 = 0x1000;
/// Version bits.
pub const VERSION_MASK: u16 = 0x0007;
/// Octets of ERSPAN type II behind the base header: the index word.
pub const ERSPAN1_MD_LEN: usize = 4;
/// The index bits of that word.
pub const ERSPAN1_INDEX_MASK: u32 = 0xf_ffff;

impl GreHeader {
    /// Octets of header with the optional words that the flags announce; `None` for a version or flags
    /// that are not understood.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> Option<usize> {
        let flags = self.flags.get();
        if flags & !(FLAG_CSUM | FLAG_KEY | FLAG_SEQ) != 0 {
            return None;
        }
        let words = (flags & (FLAG_CSUM | FLAG_KEY | FLAG_SEQ)).count_ones() as usize;
        Some(Self::LEN + 4 * words)
    }
}

impl ErspanHeader {
    /// Version: 1 for type II, 2 for type III.
    #[must_use]
    pub fn version(&self) -> u8 {
        (self.ver_vlan.get() >> 12) as u8
    }
    /// Session id, 10 bits.
    #[must_use]
    pub fn session_id(&self) -> u16 {
        self.session.get() & 0x3ff
    }
    /// A header of a version and session.
    #[must_use]
    pub fn new(version: u8, session_id: u16) -> Self {
        Self {
            ver_vlan: U16::new(u16::from(version & 15) << 12),
            session: U16::new(session_id & 0x3ff),
        }
    }
}

impl Erspan2Metadata {
    /// Hardware id, 6 bits.
    #[must_use]
    pub fn hwid(&self) -> u8 {
        (self.hwid_dir.get() >> 4 & 0x3f) as u8
    }
    /// Direction: 0 ingress, 1 egress.
    #[must_use]
    pub fn direction(&self) -> u8 {
        (self.hwid_dir.get() >> 3 & 1) as u8
    }
    /// Sets hardware id and direction.
    pub fn set_hwid_direction(&mut self, hwid: u8, direction: u8) {
        let keep = self.hwid_dir.get() & !(0x3f << 4 | 1 << 3);
        self.hwid_dir
            .set(keep | u16::from(hwid & 0x3f) << 4 | u16::from(direction & 1) << 3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_bits() {
        let gre = |flags| {
            GreHeader {
                flags: U16::new(flags),
                protocol: U16::ZERO,
            }
            .header_len()
        };
        assert_eq!(
            (gre(0), gre(0x2000), gre(0xb000)),
            (Some(4), Some(8), Some(16))
        );
        assert_eq!((gre(0x4000), gre(1)), (None, None));
        let mut md = Erspan2Metadata {
            hwid_dir: U16::new(0xffff),
            ..Erspan2Metadata::default()
        };
        md.set_hwid_direction(0x17, 0);
        assert_eq!(
            (md.hwid(), md.direction(), md.hwid_dir.get() & 7),
            (0x17, 0, 7)
        );
        let h = ErspanHeader::new(2, 0x155);
        assert_eq!((h.version(), h.session_id()), (2, 0x155));
    }
}
