//! IPv6 and its extension headers (RFC 8200, RFC 4302).

use crate::header::Header;
use crate::ipv4::PAD_MAX;
use crate::{Ipv6, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// IPv6 header.
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
pub struct Ipv6Header {
    /// Version (6), traffic class, flow label.
    pub ver_tc_label: U32,
    /// Octets behind this header.
    pub payload_len: U16,
    /// Protocol of what follows.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub src: Ipv6,
    /// Destination.
    pub dst: Ipv6,
}
impl Header for Ipv6Header {}

/// Fragment header.
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
pub struct Ipv6Fragment {
    /// Protocol of what follows.
    pub next: u8,
    /// Zero.
    pub reserved: u8,
    /// Offset in 8-octet units (upper 13 bits) and "more" (lowest bit).
    pub off_flags: U16,
    /// Identification.
    pub id: U32,
}
impl Header for Ipv6Fragment {}

/// Hop-by-hop options.
pub const EXT_HOPOPTS: u8 = 0;
/// Routing header.
pub const EXT_ROUTING: u8 = 43;
/// Fragment header.
pub const EXT_FRAGMENT: u8 = 44;
/// Authentication header.
pub const EXT_AUTH: u8 = 51;
/// No next header.
pub const EXT_NONE: u8 = 59;
/// Destination options.
pub const EXT_DSTOPTS: u8 = 60;
/// The offset bits of [`Ipv6Fragment::off_flags`].
pub const FRAG_OFF_MASK: u16 = 0xfff8;
/// "More fragments" in [`Ipv6Fragment::off_flags`].
pub const FRAG_MORE: u16 = 1;
/// Flow label bits of `ver_tc_label`.
pub const LABEL_MASK: u32 = 0xf_ffff;

impl Ipv6Header {
    /// Traffic class.
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        (self.ver_tc_label.get() >> 20 & 0xff) as u8
    }
    /// Flow label, 20 bits.
    #[inline]
    #[must_use]
    pub fn label(&self) -> u32 {
        self.ver_tc_label.get() & LABEL_MASK
    }
    /// Replaces the traffic class.
    pub fn set_traffic_class(&mut self, tc: u8) {
        self.ver_tc_label
            .set(self.ver_tc_label.get() & !(0xff << 20) | u32::from(tc) << 20);
    }
    /// Replaces the flow label (20 bits).
    pub fn set_label(&mut self, label: u32) {
        self.ver_tc_label
            .set(self.ver_tc_label.get() & !LABEL_MASK | label & LABEL_MASK);
    }
}

/// What lies behind the chain of extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper {
    /// The protocol: an upper layer, an unknown extension, or [`EXT_FRAGMENT`] in a later fragment.
    pub proto: u8,
    /// Where it begins.
    pub ofs: usize,
    /// A fragment header says the packet is in pieces.
    pub fragment: bool,
    /// It is not the first piece.
    pub later: bool,
    /// Where the last fragment header seen begins.
    pub frag_ofs: Option<usize>,
}

/// True for the extension headers that [`skip_extensions`] walks over.
#[inline]
#[must_use]
pub const fn is_extension(proto: u8) -> bool {
    matches!(
        proto,
        EXT_HOPOPTS | EXT_ROUTING | EXT_FRAGMENT | EXT_AUTH | EXT_DSTOPTS
    )
}

/// Walks over extension headers. `data` ends where the IPv6 payload ends, `ofs` is the first octet behind
/// the IPv6 header, `next` its protocol. The walk stops at the fragment header of a later fragment.
/// `None` when a header does not fit.
#[inline]
#[must_use]
pub fn skip_extensions(data: &[u8], ofs: usize, next: u8) -> Option<Upper> {
    let mut u = Upper {
        proto: next,
        ofs,
        fragment: false,
        later: false,
        frag_ofs: None,
    };
    // Every round advances by at least 8 octets, so the loop is bounded by the packet.
    while is_extension(u.proto) {
        let h = data.get(u.ofs..)?.first_chunk::<8>()?;
        let proto = std::mem::replace(&mut u.proto, h[0]);
        let len = match proto {
            EXT_FRAGMENT => 8,
            EXT_AUTH => (usize::from(h[1]) + 2) * 4,
            _ => (usize::from(h[1]) + 1) * 8,
        };
        if proto == EXT_FRAGMENT {
            u.frag_ofs = Some(u.ofs);
        }
        u.ofs += len;
        if u.ofs > data.len() {
            return None;
        }
        let off_flags = u16::from_be_bytes([h[2], h[3]]);
        if proto == EXT_FRAGMENT && off_flags != 0 {
            u.fragment = true;
            if off_flags & FRAG_OFF_MASK != 0 {
                u.later = true;
                u.proto = EXT_FRAGMENT;
                break;
            }
        }
    }
    Some(u)
}

/// The header at `data[ofs]` when its payload is inside the data with at most 65,535 octets behind it
/// (padding); also the end of the payload.
#[inline]
#[must_use]
pub fn checked(data: &[u8], ofs: usize) -> Option<(&Ipv6Header, usize)> {
    let h = Ipv6Header::at(data, ofs)?;
    let end = ofs + Ipv6Header::LEN + usize::from(h.payload_len.get());
    (end <= data.len() && data.len() - end <= PAD_MAX).then_some((h, end))
}
