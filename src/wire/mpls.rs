//! MPLS label stack entries (RFC 3032).

use crate::U32;
use crate::header::Header;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One label stack entry.
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
pub struct MplsHeader {
    /// Label, traffic class, bottom of stack, TTL.
    pub lse: U32,
}
impl Header for MplsHeader {}

impl MplsHeader {
    /// An entry from its parts.
    #[must_use]
    pub fn new(label: u32, tc: u8, bos: bool, ttl: u8) -> Self {
        let lse = (label & 0xf_ffff) << 12
            | u32::from(tc & 7) << 9
            | u32::from(bos) << 8
            | u32::from(ttl);
        Self { lse: U32::new(lse) }
    }
    /// Label, 20 bits.
    #[must_use]
    pub fn label(&self) -> u32 {
        self.lse.get() >> 12
    }
    /// Traffic class, 3 bits.
    #[must_use]
    pub fn tc(&self) -> u8 {
        (self.lse.get() >> 9 & 7) as u8
    }
    /// Bottom of stack.
    #[must_use]
    pub fn bos(&self) -> bool {
        self.lse.get() & LSE_BOS != 0
    }
    /// Time to live.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.lse.get().to_be_bytes()[3]
    }
}

/// Bottom of stack bit of a label stack entry.
pub const LSE_BOS: u32 = 0x100;
/// Label bits of a label stack entry.
pub const LSE_LABEL_MASK: u32 = 0xffff_f000;
/// Traffic class bits of a label stack entry.
pub const LSE_TC_MASK: u32 = 0x0e00;
/// TTL bits of a label stack entry.
pub const LSE_TTL_MASK: u32 = 0xff;
