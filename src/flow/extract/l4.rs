//! Layer 4: TCP, UDP, SCTP, ICMP, IGMP, ICMPv6 with neighbour discovery.

use super::l3::L4;
use super::{Depth, Layers, Sink};
use wire::icmp::IgmpHeader;
use wire::icmpv6::{self, Icmpv6Header};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_IGMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::sctp::SctpHeader;
use wire::tcp::TcpHeader;
use wire::{EthAddr, Header, Ipv6, U16};

/// Octets that ICMP, IGMP and ICMPv6 must have before any of them counts.
const ICMP_LEN_MIN: usize = 8;

/// Parses `seg`, which ends where the IP payload ends. A header that does not fit gives nothing.
#[inline]
pub(super) fn parse(seg: &[u8], l4: &L4, sink: &mut Sink<'_>, layers: &mut Layers) {
    let trusted = match l4.proto {
        PROTO_UDP => ports(seg, 8, sink),
        PROTO_TCP => tcp(seg, sink),
        PROTO_SCTP => ports(seg, SctpHeader::LEN, sink),
        PROTO_ICMP => type_code(seg, sink),
        PROTO_IGMP => igmp(seg, sink),
        PROTO_ICMPV6 => return icmpv6(seg, l4, sink, layers),
        _ => None,
    };
    if trusted.is_some() {
        layers.reached = Depth::L4;
        l4.write_ct_tp(sink);
    }
}

#[inline]
fn ports(seg: &[u8], header_len: usize, sink: &mut Sink<'_>) -> Option<()> {
    let h = seg.get(..header_len)?.first_chunk::<4>()?;
    sink.flow.tp_src = U16::from_bytes([h[0], h[1]]);
    sink.flow.tp_dst = U16::from_bytes([h[2], h[3]]);
    Some(())
}

#[inline]
fn tcp(seg: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let h = TcpHeader::at(seg, 0)?;
    let len = h.header_len();
    if len < TcpHeader::LEN || len > seg.len() {
        return None;
    }
    sink.flow.tp_src = h.src;
    sink.flow.tp_dst = h.dst;
    sink.flow.tcp_flags = U16::new(h.flags());
    Some(())
}

#[inline]
fn type_code(seg: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let h = seg.first_chunk::<ICMP_LEN_MIN>()?;
    sink.flow.tp_src = U16::new(u16::from(h[0]));
    sink.flow.tp_dst = U16::new(u16::from(h[1]));
    Some(())
}

fn igmp(seg: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let h = IgmpHeader::at(seg, 0)?;
    type_code(seg, sink)?;
    sink.line::<2>().igmp_group_ip4 = wire::U32::from_bytes(h.group.0);
    Some(())
}

fn icmpv6(seg: &[u8], l4: &L4, sink: &mut Sink<'_>, layers: &mut Layers) {
    let Some(h) = Icmpv6Header::at(seg, 0) else {
        return;
    };
    type_code(seg, sink);
    layers.reached = Depth::L4;
    if !matches!(h.kind, icmpv6::NEIGHBOR_SOLICIT | icmpv6::NEIGHBOR_ADVERT) || h.code != 0 {
        l4.write_ct_tp(sink);
        return;
    }
    let nd = neighbour(&seg[Icmpv6Header::LEN..]);
    let flow = sink.line::<1>();
    flow.nd_target = nd.target;
    flow.arp_sha = nd.sll;
    flow.arp_tha = nd.tll;
    flow.tcp_flags = U16::new(u16::from(nd.option));
    sink.line::<2>().igmp_group_ip4 = h.rest;
}

/// What a neighbour solicitation or advertisement says.
#[derive(Default)]
struct Neighbour {
    target: Ipv6,
    sll: EthAddr,
    tll: EthAddr,
    /// Type of the first link-layer address option, 0 for none.
    option: u8,
}

/// Parses target and options. Options behind a broken one are not seen. A link-layer address given twice
/// takes the trust from target and addresses, though not from the first option's type.
fn neighbour(body: &[u8]) -> Neighbour {
    let mut nd = Neighbour::default();
    let Some((target, options)) = body.split_first_chunk::<16>() else {
        return nd;
    };
    nd.target = Ipv6(*target);
    for option in icmpv6::nd_options(options) {
        let slot = match option.kind {
            icmpv6::ND_OPT_SLL => &mut nd.sll,
            icmpv6::ND_OPT_TLL => &mut nd.tll,
            _ => continue,
        };
        let Some(mac) = option.lla() else { continue };
        if *slot != EthAddr::ZERO {
            return Neighbour {
                option: nd.option,
                ..Neighbour::default()
            };
        }
        *slot = mac;
        if nd.option == 0 {
            nd.option = option.kind;
        }
    }
    nd
}
