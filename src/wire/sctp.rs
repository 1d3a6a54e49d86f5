//! SCTP common header (RFC 9260) and its CRC32c.

use crate::header::Header;
use crate::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SCTP common header.
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
pub struct SctpHeader {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Verification tag.
    pub vtag: U32,
    /// CRC32c over the packet with this field zero, least significant octet first.
    pub csum: U32,
}
impl Header for SctpHeader {}

/// Header of a chunk.
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
pub struct SctpChunk {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Octets of chunk with this header, without padding.
    pub len: U16,
}
impl Header for SctpChunk {}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut t = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut k = 0;
        while k < 8 {
            c = if c & 1 == 1 {
                c >> 1 ^ 0x82f6_3b78
            } else {
                c >> 1
            };
            k += 1;
        }
        t[i] = c;
        i += 1;
    }
    t
}

/// Continues a CRC32c (Castagnoli, reflected); begin with `!0`, end with `!crc`.
#[must_use]
pub fn crc32c_update(crc: u32, bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(crc, |c, &b| TABLE[usize::from(c as u8 ^ b)] ^ c >> 8)
}

/// CRC32c of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c_update(!0, bytes)
}

/// The checksum field of the SCTP packet `data` (header and chunks), whatever stands in it now;
/// `None` when it is too short.
#[must_use]
pub fn checksum(data: &[u8]) -> Option<U32> {
    let (_, chunks) = SctpHeader::split(data)?;
    let crc = crc32c_update(!0, data.get(..8)?);
    let crc = crc32c_update(crc, &[0; 4]);
    Some(U32::new((!crc32c_update(crc, chunks)).swap_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_has_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn checksum_ignores_its_own_field() {
        let mut p = [7u8; 20];
        let a = checksum(&p);
        p[8..12].fill(0xff);
        assert_eq!(a, checksum(&p));
        assert_eq!(checksum(&p[..11]), None);
    }
}
