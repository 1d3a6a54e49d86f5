//! VXLAN (RFC 7348) with the group policy and GPE extensions (drafts smith-vxlan-group-policy and
//! ietf-nvo3-vxlan-gpe).

use crate::U32;
use crate::header::Header;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// VXLAN header.
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
pub struct VxlanHeader {
    /// Flags (8 bits); group policy flags and id, or GPE's next protocol, in the other 24.
    pub flags: U32,
    /// Network identifier (24 bits), reserved octet.
    pub vni: U32,
}
impl Header for VxlanHeader {}

/// UDP port.
pub const PORT: u16 = 4789;
/// UDP port of GPE.
pub const GPE_PORT: u16 = 4790;
/// The VNI is valid.
pub const FLAG_VNI: u32 = 1 << 27;
/// A group policy id is there.
pub const FLAG_GBP: u32 = 1 << 31;
/// Group policy: do not learn.
pub const GBP_DONT_LEARN: u32 = 1 << 22;
/// Group policy: already applied.
pub const GBP_APPLIED: u32 = 1 << 19;
/// The group policy id.
pub const GBP_ID_MASK: u32 = 0xffff;
/// GPE: the next protocol is valid.
pub const GPE_FLAG_P: u32 = 1 << 26;
/// GPE: version, must be 0.
pub const GPE_VERSION_MASK: u32 = 3 << 28;
/// GPE: operations and maintenance.
pub const GPE_FLAG_O: u32 = 1 << 24;
/// GPE next protocol: IPv4.
pub const GPE_NP_IPV4: u8 = 1;
/// GPE next protocol: IPv6.
pub const GPE_NP_IPV6: u8 = 2;
/// GPE next protocol: Ethernet.
pub const GPE_NP_ETHERNET: u8 = 3;
/// GPE next protocol: NSH.
pub const GPE_NP_NSH: u8 = 4;

impl VxlanHeader {
    /// A plain header.
    #[must_use]
    pub fn new(vni: u32) -> Self {
        Self {
            flags: U32::new(FLAG_VNI),
            vni: U32::new(vni << 8),
        }
    }
    /// Network identifier, 24 bits.
    #[inline]
    #[must_use]
    pub fn vni(&self) -> u32 {
        self.vni.get() >> 8
    }
    /// GPE: next protocol.
    #[must_use]
    pub fn next_protocol(&self) -> u8 {
        self.flags.to_bytes()[3]
    }
}
