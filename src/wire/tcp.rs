//! TCP (RFC 9293).

use crate::header::Header;
use crate::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// TCP header without options.
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
pub struct TcpHeader {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgment number.
    pub ack: U32,
    /// Header length in 4-octet words (upper 4 bits) and 12 flags.
    pub ctl: U16,
    /// Window.
    pub window: U16,
    /// Checksum.
    pub csum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}
impl Header for TcpHeader {}

/// No more data from sender.
pub const FIN: u16 = 0x01;
/// Synchronize sequence numbers.
pub const SYN: u16 = 0x02;
/// Reset.
pub const RST: u16 = 0x04;
/// Push.
pub const PSH: u16 = 0x08;
/// Acknowledgment is meaningful.
pub const ACK: u16 = 0x10;
/// Urgent pointer is meaningful.
pub const URG: u16 = 0x20;
/// ECN echo.
pub const ECE: u16 = 0x40;
/// Congestion window reduced.
pub const CWR: u16 = 0x80;
/// Nonce sum.
pub const NS: u16 = 0x100;
/// The flag bits of `ctl`.
pub const FLAGS_MASK: u16 = 0x0fff;

impl TcpHeader {
    /// Octets of header with options, as the header claims.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.ctl.get() >> 12) * 4
    }
    /// The 12 flags.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.ctl.get() & FLAGS_MASK
    }
}
