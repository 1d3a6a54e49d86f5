//! Ports and ICMP types, and the layer 4 checksum, wherever it stands.

use super::super::csum::{update, update16};
use super::Bits;
use flow::Layers;
use packet::{Frame, RxFlags};
use wire::Header;
use wire::ipv4::{Ipv4Header, PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::ipv6::{self, Ipv6Header};

/// The layer 4 header of a packet, by its trusted IP header.
#[derive(Debug, Clone, Copy)]
pub(super) struct L4 {
    pub(super) proto: u8,
    /// Where it begins.
    pub(super) ofs: usize,
    /// Where the IP payload ends.
    pub(super) end: usize,
}

/// Finds layer 4; `None` for later fragments and when the IP header is not there or lies.
pub(super) fn locate(data: &[u8], layers: &Layers) -> Option<L4> {
    let l3 = layers.l3_ofs()?;
    match data.get(l3)? >> 4 {
        4 => {
            let (h, header_len, tot) = Ipv4Header::checked(data, l3)?;
            (!h.is_later_fragment()).then_some(L4 {
                proto: h.proto,
                ofs: l3 + header_len,
                end: l3 + tot,
            })
        }
        6 => {
            let (h, end) = ipv6::checked(data, l3)?;
            let upper = ipv6::skip_extensions(data.get(..end)?, l3 + Ipv6Header::LEN, h.next)?;
            (!upper.later).then_some(L4 {
                proto: upper.proto,
                ofs: upper.ofs,
                end,
            })
        }
        _ => None,
    }
}

/// Where the checksum of a protocol stands in its header, when it is the Internet checksum.
const fn checksum_at(proto: u8) -> Option<usize> {
    match proto {
        PROTO_TCP => Some(16),
        PROTO_UDP => Some(6),
        PROTO_ICMP | PROTO_ICMPV6 => Some(2),
        _ => None,
    }
}

/// Which bytes of the checksummed data change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Addresses, through the pseudo header.
    Pseudo,
    /// Bytes of layer 4 itself.
    Own,
}

/// Corrects the layer 4 checksum for covered bytes that change from `old` to `new`. Does nothing when the
/// packet has none (a UDP sum of zero, a protocol without, a later fragment).
pub(super) fn fix(frame: &mut Frame, l4: &L4, part: Part, change: (&[u8], &[u8])) {
    let Some(at) = checksum_at(l4.proto) else {
        return;
    };
    if l4.proto == PROTO_ICMP && part == Part::Pseudo {
        return;
    }
    let at = l4.ofs + at;
    let partial = frame.flags & RxFlags::CSUM_PARTIAL != 0
        && usize::from(frame.csum_start) + usize::from(frame.csum_offset) == at;
    let Some(field) = frame
        .data_mut()
        .get_mut(at..at + 2)
        .filter(|_| at + 2 <= l4.end)
    else {
        return;
    };
    let have = u16::from_be_bytes([field[0], field[1]]);
    let udp = l4.proto == PROTO_UDP;
    let sum = if partial {
        // Whoever completes a partial checksum sums layer 4 itself; the field holds the pseudo header's
        // sum, not inverted.
        match part {
            Part::Own => return,
            Part::Pseudo => !update(!have, change.0, change.1),
        }
    } else if udp && have == 0 {
        return;
    } else {
        match update(have, change.0, change.1) {
            0 if udp => 0xffff,
            sum => sum,
        }
    };
    field.copy_from_slice(&sum.to_be_bytes());
}

/// Sets source and destination port.
pub(super) fn set_ports(
    frame: &mut Frame,
    layers: &Layers,
    proto: u8,
    bits: &Bits<4>,
) -> Option<()> {
    let l4 = locate(frame.data(), layers).filter(|l4| l4.proto == proto)?;
    let old = *frame.data().get(l4.ofs..l4.end)?.first_chunk::<4>()?;
    let new = bits.applied(old);
    if old == new {
        return Some(());
    }
    if proto == PROTO_SCTP {
        return set_sctp(frame, &l4, new);
    }
    fix(frame, &l4, Part::Own, (&old, &new));
    frame.data_mut()[l4.ofs..l4.ofs + 4].copy_from_slice(&new);
    Some(())
}

/// SCTP's CRC covers the packet: the new one differs from what stands there as the right one for the new
/// ports differs from the right one for the old, so a wrong CRC stays wrong.
fn set_sctp(frame: &mut Frame, l4: &L4, new: [u8; 4]) -> Option<()> {
    let packet = frame.data_mut().get_mut(l4.ofs..l4.end)?;
    let before = wire::sctp::checksum(packet)?.get();
    packet[..4].copy_from_slice(&new);
    let after = wire::sctp::checksum(packet)?.get();
    let field = packet.get_mut(8..12)?;
    let have = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
    field.copy_from_slice(&(have ^ before ^ after).to_be_bytes());
    Some(())
}

/// Sets ICMP type and code.
pub(super) fn set_icmp(frame: &mut Frame, layers: &Layers, v6: bool, bits: &Bits<2>) -> Option<()> {
    let proto = if v6 { PROTO_ICMPV6 } else { PROTO_ICMP };
    let l4 = locate(frame.data(), layers).filter(|l4| l4.proto == proto)?;
    let old = *frame.data().get(l4.ofs..l4.end)?.first_chunk::<2>()?;
    let new = bits.applied(old);
    fix(frame, &l4, Part::Own, (&old, &new));
    frame.data_mut()[l4.ofs..l4.ofs + 2].copy_from_slice(&new);
    Some(())
}

/// Changes 16 bits of an IPv4 header and its header checksum.
pub(super) fn fix_ipv4_header(sum: &mut [u8], old: u16, new: u16) {
    let have = u16::from_be_bytes([sum[0], sum[1]]);
    sum[..2].copy_from_slice(&update16(have, old, new).to_be_bytes());
}
