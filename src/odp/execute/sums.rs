//! Checksums of a packet: what they should be, and correcting what stands there after a change.

use super::Packet;
use flow::{Flow, Layers};
use packet::RxFlags;
use wire::checksum::{Sum, checksum, pseudo4, pseudo6};
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::ipv6::{EXT_AUTH, EXT_FRAGMENT, EXT_ROUTING, is_extension};
use wire::{Ipv4, Ipv6};

/// Where a packet's layers 3 and 4 are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) l3: usize,
    /// Begin and end of layer 4 and its protocol; `None` for later fragments and IP headers that lie.
    pub(super) l4: Option<(usize, usize, u8)>,
}

impl Place {
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        let (key, layers) = packet.extract();
        let l3 = layers.l3_ofs()?;
        let ip = matches!(key.dl_type.get(), ETH_TYPE_IP | ETH_TYPE_IPV6);
        let whole = key.nw_frag & Flow::FRAG_LATER == 0;
        let l4 = (ip && whole && layers.l4 != Layers::NONE).then(|| {
            let end = packet.frame.len() - usize::from(layers.l2_pad);
            (usize::from(layers.l4), end, key.nw_proto)
        });
        Some(Self { l3, l4 })
    }
}

/// What the checksums should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    header: Option<u16>,
    /// Sum of the pseudo header, of protocols that have one.
    pseudo: u16,
    l4: Option<u16>,
    crc: Option<u32>,
}

impl Right {
    /// Of the packet as it is; the bytes of its checksum fields do not matter.
    pub(super) fn of(data: &[u8], place: &Place) -> Self {
        let ip = data.get(place.l3..).unwrap_or_default();
        let mut right = Self {
            header: ip_header_sum(ip),
            pseudo: 0,
            l4: None,
            crc: None,
        };
        let Some((begin, end, proto)) = place.l4 else {
            return right;
        };
        let Some(body) = data.get(begin..end) else {
            return right;
        };
        right.pseudo = pseudo(ip, begin - place.l3, proto).partial();
        if proto == PROTO_SCTP {
            right.crc = wire::sctp::checksum(body).map(|c| c.get());
        }
        if let Some(at) = field_at(proto).filter(|at| at + 2 <= body.len()) {
            let mut copy = body.to_vec();
            copy[at..at + 2].fill(0);
            let sum = Sum::new().add_bytes(&copy).add_u16(right.pseudo);
            right.l4 = Some(sum.finish());
        }
        right
    }
}

/// The checksum of an IPv4 header; `None` for anything else.
fn ip_header_sum(ip: &[u8]) -> Option<u16> {
    let first = ip.first().filter(|b| *b >> 4 == 4)?;
    let mut header = ip.get(..usize::from(first & 0xf) * 4)?.to_vec();
    header.get_mut(10..12)?.fill(0);
    Some(checksum(&header))
}

/// Where a protocol has its Internet checksum.
fn field_at(proto: u8) -> Option<usize> {
    match proto {
        PROTO_TCP => Some(16),
        PROTO_UDP => Some(6),
        PROTO_ICMP | PROTO_ICMPV6 => Some(2),
        _ => None,
    }
}

/// Addresses of the pseudo header. Lengths and protocol cancel out in differences.
fn pseudo(ip: &[u8], header_len: usize, proto: u8) -> Sum {
    let none = Sum::new();
    if !matches!(proto, PROTO_TCP | PROTO_UDP | PROTO_ICMPV6) {
        return none;
    }
    let v4 = |at: usize| ip.get(at..at + 4)?.try_into().ok().map(Ipv4);
    let v6 = |at: usize| ip.get(at..at + 16)?.try_into().ok().map(Ipv6);
    match ip.first().map(|b| b >> 4) {
        Some(4) => match (v4(12), v4(16)) {
            (Some(src), Some(dst)) => pseudo4(src, dst, proto, 0),
            _ => none,
        },
        Some(6) => match (v6(8), v6(24)) {
            (Some(src), Some(dst)) => {
                // Under a routing header, the final destination counts, which no action changes.
                let routed = is_routed(ip, header_len);
                pseudo6(src, if routed { Ipv6::default() } else { dst }, proto, 0)
            }
            _ => none,
        },
        _ => none,
    }
}

/// True when a routing header with segments left lies within the headers.
fn is_routed(ip: &[u8], header_len: usize) -> bool {
    let (mut next, mut at) = (ip[6], 40);
    while at < header_len && is_extension(next) {
        let Some(h) = ip.get(at..at + 8) else {
            return false;
        };
        if next == EXT_ROUTING && h[3] > 0 {
            return true;
        }
        at += match next {
            EXT_FRAGMENT => 8,
            EXT_AUTH => (usize::from(h[1]) + 2) * 4,
            _ => (usize::from(h[1]) + 1) * 8,
        };
        next = h[0];
    }
    false
}

/// A checksum moved by as much as the right one moved.
fn moved(have: u16, before: u16, after: u16) -> u16 {
    Sum::from_partial(!have)
        .add_u16(before)
        .sub_u16(after)
        .finish()
}

/// Corrects the checksum fields after the packet changed.
pub(super) fn correct(p: &mut Packet, place: &Place, before: &Right) -> Option<()> {
    let after = Right::of(p.frame.data(), place);
    if let (Some(b), Some(a)) = (before.header, after.header)
        && a != b
    {
        let at = place.l3 + 10;
        let have = p.u16_at(at)?;
        p.overwrite(at, &moved(have, b, a).to_be_bytes())?;
    }
    let Some((begin, _, proto)) = place.l4 else {
        return Some(());
    };
    if let (Some(b), Some(a)) = (before.crc, after.crc)
        && a != b
    {
        let field = p.frame.data().get(begin + 8..begin + 12)?;
        let have = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
        p.overwrite(begin + 8, &(have ^ b ^ a).to_be_bytes())?;
    }
    let (Some(b), Some(a), Some(at)) = (before.l4, after.l4, field_at(proto)) else {
        return Some(());
    };
    let at = begin + at;
    let have = p.u16_at(at)?;
    let partial = p.frame.flags & RxFlags::CSUM_PARTIAL != 0
        && usize::from(p.frame.csum_start) + usize::from(p.frame.csum_offset) == at;
    let new = if partial {
        // The field holds the pseudo header's sum, not inverted.
        !moved(!have, !before.pseudo, !after.pseudo)
    } else if a == b || proto == PROTO_UDP && have == 0 {
        return Some(());
    } else {
        match moved(have, b, a) {
            0 if proto == PROTO_UDP => 0xffff,
            sum => sum,
        }
    };
    if partial && before.pseudo == after.pseudo {
        return Some(());
    }
    p.overwrite(at, &new.to_be_bytes())
}

impl Packet {
    fn u16_at(&self, at: usize) -> Option<u16> {
        let field = self.frame.data().get(at..at + 2)?;
        Some(u16::from_be_bytes([field[0], field[1]]))
    }
}
