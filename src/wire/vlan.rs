//! 802.1Q and 802.1ad tags (IEEE 802.1Q-2018, 9.6).

use crate::U16;
use crate::header::Header;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A tag, as it stands behind the Ethernet addresses.
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
pub struct VlanTag {
    /// EtherType of the tag.
    pub tpid: U16,
    /// Priority, drop eligible indicator, VLAN id.
    pub tci: U16,
}
impl Header for VlanTag {}

/// The VLAN id bits of a TCI.
pub const VID_MASK: u16 = 0x0fff;
/// The drop eligible (formerly CFI) bit of a TCI.
pub const DEI: u16 = 0x1000;
/// The priority bits of a TCI.
pub const PCP_MASK: u16 = 0xe000;
/// Where the priority begins in a TCI.
pub const PCP_SHIFT: u16 = 13;
