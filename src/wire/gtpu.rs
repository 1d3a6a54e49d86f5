//! GTP-U (3GPP TS 29.281), the mandatory part of the header.

use crate::header::Header;
use crate::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// GTP-U header.
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
pub struct GtpuHeader {
    /// Version (3 bits), protocol type, reserved, E, S and PN flags.
    pub flags: u8,
    /// Message type; [`MSG_GPDU`] carries a user packet.
    pub msg_type: u8,
    /// Octets behind this header.
    pub len: U16,
    /// Tunnel endpoint id.
    pub teid: U32,
}
impl Header for GtpuHeader {}

/// UDP port.
pub const PORT: u16 = 2152;
/// A user packet.
pub const MSG_GPDU: u8 = 0xff;
/// Version 1, protocol type GTP.
pub const FLAGS_DEFAULT: u8 = 0x30;
/// Version bits.
pub const VERSION_MASK: u8 = 0xe0;
/// Version 1.
pub const VERSION_1: u8 = 0x20;
/// The protocol is GTP, not GTP'.
pub const FLAG_PT: u8 = 0x10;
/// An extension header follows.
pub const FLAG_E: u8 = 0x04;
/// A sequence number is there.
pub const FLAG_S: u8 = 0x02;
/// An N-PDU number is there.
pub const FLAG_PN: u8 = 0x01;
/// Octets of the optional part, there when any of E, S and PN is set.
pub const OPTIONAL_LEN: usize = 4;
