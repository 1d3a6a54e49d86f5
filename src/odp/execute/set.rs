//! `set` and masked `set`: which bytes of the packet a header's fields are.

use super::Packet;
use super::sums::{Place, Right, correct};
use crate::action::SetKey;
use flow::{Layers, NshKey};
use wire::arp::ArpHeader;
use wire::icmpv6::{ND_OPT_SLL, ND_OPT_TLL, nd_options};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::nsh::MD_TYPE1;
use wire::{EthAddr, Header};
use zerocopy::IntoBytes;

/// Offset of the options in a neighbour discovery message.
const ND_OPTIONS_AT: usize = 24;

/// Bytes to change: where, to what, and which bits of them.
type Edit = (usize, Vec<u8>, Vec<u8>);

pub(super) fn set(p: &mut Packet, key: &SetKey, mask: Option<&SetKey>) -> Option<()> {
    match (key, mask) {
        (SetKey::Priority(k), m) => {
            let m = if let Some(SetKey::Priority(m)) = m {
                *m
            } else {
                u32::MAX
            };
            p.frame.priority = p.frame.priority & !m | k & m;
        }
        (SetKey::SkbMark(k), m) => {
            let m = if let Some(SetKey::SkbMark(m)) = m {
                *m
            } else {
                u32::MAX
            };
            p.frame.mark = p.frame.mark & !m | k & m;
        }
        (SetKey::Tunnel(t), _) => p.tunnel = Some(t.clone()),
        _ => return set_header(p, key, mask),
    }
    Some(())
}

fn set_header(p: &mut Packet, key: &SetKey, mask: Option<&SetKey>) -> Option<()> {
    // Where each field is depends on the packet alone, so key and mask give edits at the same places.
    let values = edits(p, key)?;
    let masks = match mask {
        Some(mask) => edits(p, mask)?.into_iter().map(|e| e.1).collect(),
        None => full_masks(&values, key),
    };
    let place = Place::of(p);
    let before = place.map(|place| Right::of(p.frame.data(), &place));
    for ((at, value, _), mask) in values.iter().zip::<Vec<Vec<u8>>>(masks) {
        let field = p.frame.data_mut().get_mut(*at..at + value.len())?;
        for ((f, v), m) in field.iter_mut().zip(value).zip(mask) {
            *f = *f & !m | v & m;
        }
    }
    match (place, before) {
        (Some(place), Some(before)) => correct(p, &place, &before),
        _ => Some(()),
    }
}

/// A plain `set` changes all bits its fields have; an address of zeroes in `nd` means no such option.
fn full_masks(values: &[Edit], key: &SetKey) -> Vec<Vec<u8>> {
    let nd = matches!(key, SetKey::Nd { .. });
    let mask = |(_, value, bits): &Edit| {
        let absent = nd && value.len() == 6 && value.iter().all(|&b| b == 0);
        if absent { vec![0; 6] } else { bits.clone() }
    };
    values.iter().map(mask).collect()
}

/// A field all of whose bits can be set.
fn whole(at: usize, bytes: &[u8]) -> Edit {
    (at, bytes.to_vec(), vec![0xff; bytes.len()])
}

/// The places and values of a header's fields; `None` when the packet does not have the header.
fn edits(p: &Packet, key: &SetKey) -> Option<Vec<Edit>> {
    let data = p.frame.data();
    match key {
        SetKey::Ethernet { src, dst } => {
            (data.len() >= 12).then(|| vec![whole(0, &dst.0), whole(6, &src.0)])
        }
        SetKey::Mpls { lse } => {
            let (_, layers) = p.extract();
            let at = Some(layers.l2_5).filter(|&at| at != Layers::NONE)?;
            Some(vec![whole(usize::from(at), &lse.to_be_bytes())])
        }
        SetKey::Ipv4 { .. } | SetKey::Ipv6 { .. } | SetKey::Arp { .. } | SetKey::Nsh(_) => {
            let l3 = Place::of(p)?.l3;
            network(data.get(l3..)?, l3, key)
        }
        SetKey::Nd { .. } | SetKey::NdExtensions { .. } => neighbour(data, &Place::of(p)?, key),
        _ => transport(&Place::of(p)?, key),
    }
}

/// Layer 3 headers; `l3` is where they begin, and `header` what is there.
fn network(header: &[u8], l3: usize, key: &SetKey) -> Option<Vec<Edit>> {
    let is_version = |v: u8, len: usize| header.len() >= len && header[0] >> 4 == v;
    match key {
        SetKey::Ipv4 {
            src, dst, tos, ttl, ..
        } if is_version(4, 20) => Some(vec![
            whole(l3 + 1, &[*tos]),
            whole(l3 + 8, &[*ttl]),
            whole(l3 + 12, &src.0),
            whole(l3 + 16, &dst.0),
        ]),
        SetKey::Ipv6 {
            src,
            dst,
            label,
            tclass,
            hlimit,
            ..
        } if is_version(6, 40) => {
            let first = u32::from(*tclass) << 20 | label & 0xf_ffff;
            Some(vec![
                (
                    l3,
                    first.to_be_bytes().to_vec(),
                    vec![0x0f, 0xff, 0xff, 0xff],
                ),
                whole(l3 + 7, &[*hlimit]),
                whole(l3 + 8, &src.0),
                whole(l3 + 24, &dst.0),
            ])
        }
        SetKey::Arp {
            sip,
            tip,
            op,
            sha,
            tha,
        } => {
            ArpHeader::at(header, 0).filter(|a| a.is_eth_ipv4())?;
            Some(vec![
                whole(l3 + 6, &op.to_be_bytes()),
                whole(l3 + 8, &sha.0),
                whole(l3 + 14, &sip.0),
                whole(l3 + 18, &tha.0),
                whole(l3 + 24, &tip.0),
            ])
        }
        SetKey::Nsh(nsh) => network_service(header, l3, nsh),
        _ => None,
    }
}

/// Layer 4 headers, when they are of the protocol and whole enough.
fn transport(place: &Place, key: &SetKey) -> Option<Vec<Edit>> {
    let (begin, end, proto) = place.l4?;
    let there = |wanted: u8, len: usize| proto == wanted && begin + len <= end;
    match *key {
        SetKey::Tcp { src, dst } if there(PROTO_TCP, 4) => Some(ports(begin, src, dst)),
        SetKey::Udp { src, dst } if there(PROTO_UDP, 4) => Some(ports(begin, src, dst)),
        SetKey::Sctp { src, dst } if there(PROTO_SCTP, 12) => Some(ports(begin, src, dst)),
        SetKey::Icmp { type_, code } if there(PROTO_ICMP, 2) => {
            Some(vec![whole(begin, &[type_, code])])
        }
        SetKey::Icmpv6 { type_, code } if there(PROTO_ICMPV6, 2) => {
            Some(vec![whole(begin, &[type_, code])])
        }
        _ => None,
    }
}

fn ports(at: usize, src: u16, dst: u16) -> Vec<Edit> {
    vec![
        whole(at, &src.to_be_bytes()),
        whole(at + 2, &dst.to_be_bytes()),
    ]
}

fn neighbour(data: &[u8], place: &Place, key: &SetKey) -> Option<Vec<Edit>> {
    let (begin, end, _) = place.l4.filter(|l4| l4.2 == PROTO_ICMPV6)?;
    let message = data.get(begin..end)?;
    let options = message.get(ND_OPTIONS_AT..).unwrap_or_default();
    let of_kind = |kind: u8| nd_options(options).find(|o| o.kind == kind && o.lla().is_some());
    let at = |ofs: usize| begin + ND_OPTIONS_AT + ofs;
    let mut out = Vec::new();
    match key {
        SetKey::Nd { target, sll, tll } => {
            message.get(8..24)?;
            out.push(whole(begin + 8, &target.0));
            let mut address = |kind, mac: &EthAddr| {
                out.extend(of_kind(kind).map(|o| whole(at(o.ofs) + 2, &mac.0)));
            };
            address(ND_OPT_SLL, sll);
            address(ND_OPT_TLL, tll);
        }
        SetKey::NdExtensions {
            reserved,
            options_type,
        } => {
            message.get(4..8)?;
            out.push(whole(begin + 4, &reserved.to_be_bytes()));
            let mut addresses = nd_options(options);
            let first = addresses.find(|o| matches!(o.kind, ND_OPT_SLL | ND_OPT_TLL));
            out.extend(first.map(|o| whole(at(o.ofs), &[*options_type])));
        }
        _ => return None,
    }
    Some(out)
}

/// Flags, TTL, path and, for MD type 1, context.
fn network_service(header: &[u8], l3: usize, nsh: &NshKey) -> Option<Vec<Edit>> {
    let h = header.get(..8).filter(|h| h[0] >> 6 == 0)?;
    let head = u16::from(nsh.flags & 3) << 12 | u16::from(nsh.ttl & 0x3f) << 6;
    let mut out = vec![
        (l3, head.to_be_bytes().to_vec(), vec![0x3f, 0xc0]),
        whole(l3 + 4, nsh.path_hdr.as_bytes()),
    ];
    if h[2] == MD_TYPE1 && usize::from(h[1] & 0x3f) >= 6 {
        header.get(8..24)?;
        out.push(whole(l3 + 8, nsh.context.as_bytes()));
    }
    Some(out)
}
