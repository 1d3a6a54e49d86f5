//! Properties of `encap`, and packet types.

/// Property class of NSH.
pub(crate) const CLASS_NSH: u16 = 4;
/// Property "metadata type": one byte.
pub(crate) const NSH_MDTYPE: u8 = 1;
/// Property "TLV": class (2 bytes), type, value.
pub(crate) const NSH_TLV: u8 = 2;

/// Packet type Ethernet.
pub(crate) const PT_ETH: u32 = 0;
/// Packet type NSH.
pub(crate) const PT_NSH: u32 = 0x0001_894f;
/// Pseudo packet type of `decap`: what the header says comes next.
pub(crate) const USE_NEXT_PROTO: u32 = 0x0000_fffe;
/// After `decap` nothing is known.
pub(crate) const PT_UNKNOWN: u32 = 0xffff_ffff;
