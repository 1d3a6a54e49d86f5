//! Reading a fragment: which packet it is of, and which octets of it.

use crate::conntrack::parse::layer3;
use crate::conntrack::tuple::v4;
use crate::pkts::Pkts;
use wire::Header;
use wire::checksum::checksum;
use wire::ipv4::{FRAG_MF, FRAG_OFF_MASK, Ipv4Header};
use wire::ipv6::{self, FRAG_MORE, Ipv6Fragment, Ipv6Header, skip_extensions};

/// Whose fragments belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) id: u32,
    pub(super) recirc_id: u32,
    pub(super) zone: u16,
    /// 0 for IPv6, whose later fragments do not know.
    pub(super) proto: u8,
    pub(super) v6: bool,
}

/// A fragment's place in its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Octets of the packet's payload: from, and up to but not including.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) first: bool,
    pub(super) last: bool,
    /// Octets of its IP packet.
    pub(super) size: usize,
    /// Where layer 3 begins, and where those octets are.
    pub(super) l3: usize,
    pub(super) data: usize,
}

impl Piece {
    /// They have octets in common.
    pub(super) const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Reads packet `i`; `None` when it is no fragment, or not a sound one.
pub(super) fn read(pkts: &Pkts, i: usize, zone: u16) -> Option<(Key, Piece)> {
    let packet_type = pkts.metadata(i).packet_type;
    let (frame, layers) = (&pkts.frames[i], &pkts.layers[i]);
    let (is_v6, l3) = layer3(frame, layers, packet_type)?;
    let data = frame.data();
    if is_v6 {
        read6(data, l3, zone, pkts.recirc_id)
    } else {
        read4(data, l3, zone, pkts.recirc_id)
    }
}

fn read4(data: &[u8], l3: usize, zone: u16, recirc_id: u32) -> Option<(Key, Piece)> {
    let (h, header, total) = Ipv4Header::checked(data, l3)?;
    if !h.is_fragment() || checksum(data.get(l3..l3 + header)?) != 0 || total == header {
        return None;
    }
    let field = h.frag_off.get();
    let start = usize::from(field & FRAG_OFF_MASK) * 8;
    let key = Key {
        src: v4(h.src.0),
        dst: v4(h.dst.0),
        id: u32::from(h.id.get()),
        recirc_id,
        zone,
        proto: h.proto,
        v6: false,
    };
    let piece = Piece {
        start,
        end: start + total - header,
        first: start == 0,
        last: field & FRAG_MF == 0,
        size: total,
        l3,
        data: l3 + header,
    };
    Some((key, piece))
}

fn read6(data: &[u8], l3: usize, zone: u16, recirc_id: u32) -> Option<(Key, Piece)> {
    let (h, end) = ipv6::checked(data, l3)?;
    let packet = data.get(..end)?;
    let upper = skip_extensions(packet, l3 + Ipv6Header::LEN, h.next)?;
    let at = upper.frag_ofs.filter(|_| upper.fragment)?;
    let frag = Ipv6Fragment::at(packet, at)?;
    let start = usize::from(frag.off_flags.get() & ipv6::FRAG_OFF_MASK);
    let ofs = at + Ipv6Fragment::LEN;
    let key = Key {
        src: h.src.0,
        dst: h.dst.0,
        id: frag.id.get(),
        recirc_id,
        zone,
        proto: 0,
        v6: true,
    };
    let piece = Piece {
        start,
        end: start + end.checked_sub(ofs).filter(|&n| n > 0)?,
        first: start == 0,
        last: frag.off_flags.get() & FRAG_MORE == 0,
        size: end - l3,
        l3,
        data: ofs,
    };
    Some((key, piece))
}
