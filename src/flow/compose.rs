//! Packets from flows: what `ofproto/trace` and `netdev-dummy/receive` make of a flow that somebody wrote.
//!
//! [`compose`] builds Ethernet, VLAN tags, IPv4, IPv6, ARP, MPLS and layer 4 headers with right lengths
//! and checksums. What a flow does not tell is zero. As in the peer: packets that are no first fragment
//! get no layer 4 header, IPv6 gets no fragment header, SCTP no checksum, and nothing but an Ethernet
//! header is built for other types. Cold code.

use crate::key::Flow;
use wire::arp::{ArpHeader, OP_REPLY, OP_REQUEST};
use wire::checksum::{Sum, checksum, pseudo4, pseudo6};
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6, EthernetHeader, is_arp_type, is_mpls_type};
use wire::icmp::{IcmpHeader, IgmpHeader};
use wire::icmpv6::{self, Icmpv6Header, NdLlaOption};
use wire::ipv4::{
    FRAG_MF, Ipv4Header, PROTO_ICMP, PROTO_ICMPV6, PROTO_IGMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP,
};
use wire::ipv6::Ipv6Header;
use wire::sctp::SctpHeader;
use wire::tcp::{FIN, FLAGS_MASK, RST, SYN, TcpHeader};
use wire::udp::UdpHeader;
use wire::vlan::VlanTag;
use wire::{EthAddr, Header, U16, U32};
use zerocopy::IntoBytes;

/// Octets of layer 4 payload that tools put into a packet when nobody says otherwise.
pub const PAYLOAD_LEN_DEFAULT: usize = 64;

/// Offset, in 8-octet units, of a made-up later fragment.
const LATER_FRAGMENT_OFS: u16 = 100;

/// What follows the layer 4 header, where the protocol has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// This many octets, counting up from 0.
    Counting(usize),
    /// These octets.
    Bytes(&'a [u8]),
}

impl Default for Payload<'_> {
    fn default() -> Self {
        Self::Counting(PAYLOAD_LEN_DEFAULT)
    }
}

impl Payload<'_> {
    fn put(&self, p: &mut Vec<u8>) {
        match *self {
            Self::Counting(n) => p.extend((0..n).map(|i| i as u8)),
            Self::Bytes(bytes) => p.extend_from_slice(bytes),
        }
    }
}

/// A packet that has `flow`. Lengths that do not fit their field are cut to it.
#[must_use]
pub fn compose(flow: &Flow, payload: Payload<'_>) -> Vec<u8> {
    let mut p = Vec::with_capacity(128);
    let dl_type = flow.dl_type.get();
    let mut ethertype = flow.dl_type;
    if dl_type == Flow::DL_TYPE_NONE {
        // An 802.3 frame; its length field counts what there is.
        ethertype = U16::new(EthernetHeader::LEN as u16);
    }
    p.extend_from_slice(flow.dl_dst.as_bytes());
    p.extend_from_slice(flow.dl_src.as_bytes());
    if dl_type != Flow::DL_TYPE_NONE {
        for tag in flow.vlans.iter().filter(|t| t.is_present()) {
            let tci = U16::new(tag.tci.get() & !crate::Vlan::CFI);
            p.extend_from_slice(
                VlanTag {
                    tpid: tag.tpid,
                    tci,
                }
                .as_bytes(),
            );
        }
    }
    p.extend_from_slice(ethertype.as_bytes());
    match dl_type {
        ETH_TYPE_IP => ipv4(&mut p, flow, payload),
        ETH_TYPE_IPV6 => ipv6(&mut p, flow, payload),
        t if is_arp_type(t) => arp(&mut p, flow),
        t if is_mpls_type(t) => {
            let bottom = flow
                .mpls_lse
                .iter()
                .position(|l| l.get() & wire::mpls::LSE_BOS != 0);
            let n = bottom.map_or(Flow::MPLS_MAX, |i| i + 1);
            flow.mpls_lse[..n]
                .iter()
                .for_each(|l| p.extend_from_slice(l.as_bytes()));
        }
        _ => {}
    }
    p
}

/// Appends zeroes up to `size` octets, and makes lengths and checksums right again. Does nothing to a
/// packet that is as long already.
pub fn expand(packet: &mut Vec<u8>, flow: &Flow, size: usize) {
    if packet.len() >= size {
        return;
    }
    packet.resize(size, 0);
    let l2 = EthernetHeader::LEN + 4 * flow.vlans.iter().filter(|t| t.is_present()).count();
    match flow.dl_type.get() {
        Flow::DL_TYPE_NONE => {
            if let Some(h) = EthernetHeader::at_mut(packet, 0) {
                h.ethertype.set(size as u16);
            }
        }
        ETH_TYPE_IP => finish_ipv4(packet, l2, flow),
        ETH_TYPE_IPV6 => finish_ipv6(packet, l2, flow),
        _ => {}
    }
}

fn ipv4(p: &mut Vec<u8>, flow: &Flow, payload: Payload<'_>) {
    let l3 = p.len();
    let mut frag_off = 0;
    if flow.nw_frag & Flow::FRAG_ANY != 0 {
        frag_off |= FRAG_MF;
        if flow.nw_frag & Flow::FRAG_LATER != 0 {
            frag_off |= LATER_FRAGMENT_OFS;
        }
    }
    let header = Ipv4Header {
        ver_ihl: 0x45,
        tos: flow.nw_tos,
        frag_off: U16::new(frag_off),
        ttl: flow.nw_ttl,
        proto: flow.nw_proto,
        src: flow.nw_src,
        dst: flow.nw_dst,
        ..Ipv4Header::default()
    };
    p.extend_from_slice(header.as_bytes());
    layer4(p, flow, payload);
    finish_ipv4(p, l3, flow);
}

fn finish_ipv4(p: &mut [u8], l3: usize, flow: &Flow) {
    let total = p.len() - l3;
    let Some(h) = Ipv4Header::at_mut(p, l3) else {
        return;
    };
    h.tot_len.set(total as u16);
    h.csum = U16::ZERO;
    h.csum.set(checksum(h.as_bytes()));
    let l4_len = total - Ipv4Header::LEN;
    let pseudo = pseudo4(h.src, h.dst, h.proto, l4_len as u32);
    layer4_checksum(&mut p[l3 + Ipv4Header::LEN..], flow, pseudo);
}

fn ipv6(p: &mut Vec<u8>, flow: &Flow, payload: Payload<'_>) {
    let l3 = p.len();
    let mut header = Ipv6Header {
        ver_tc_label: U32::new(6 << 28),
        next: flow.nw_proto,
        hop_limit: flow.nw_ttl,
        src: flow.ipv6_src,
        dst: flow.ipv6_dst,
        ..Ipv6Header::default()
    };
    header.set_traffic_class(flow.nw_tos);
    header.set_label(flow.ipv6_label.get());
    p.extend_from_slice(header.as_bytes());
    layer4(p, flow, payload);
    finish_ipv6(p, l3, flow);
}

fn finish_ipv6(p: &mut [u8], l3: usize, flow: &Flow) {
    let l4_len = p.len() - l3 - Ipv6Header::LEN;
    let Some(h) = Ipv6Header::at_mut(p, l3) else {
        return;
    };
    h.payload_len.set(l4_len as u16);
    let pseudo = pseudo6(h.src, h.dst, h.next, l4_len as u32);
    layer4_checksum(&mut p[l3 + Ipv6Header::LEN..], flow, pseudo);
}

fn arp(p: &mut Vec<u8>, flow: &Flow) {
    let mut header = ArpHeader::new(flow.nw_proto.into());
    if [OP_REQUEST, OP_REPLY].contains(&flow.nw_proto.into()) {
        (header.spa, header.tpa) = (flow.nw_src, flow.nw_dst);
        (header.sha, header.tha) = (flow.arp_sha, flow.arp_tha);
    }
    p.extend_from_slice(header.as_bytes());
}

fn layer4(p: &mut Vec<u8>, flow: &Flow, payload: Payload<'_>) {
    if flow.nw_frag & Flow::FRAG_LATER != 0 {
        return;
    }
    let (src, dst) = (flow.tp_src, flow.tp_dst);
    let (kind, code) = (src.get() as u8, dst.get() as u8);
    match flow.nw_proto {
        PROTO_TCP => {
            let flags = flow.tcp_flags.get() & FLAGS_MASK;
            let ctl = U16::new(flags | 5 << 12);
            p.extend_from_slice(
                TcpHeader {
                    src,
                    dst,
                    ctl,
                    ..TcpHeader::default()
                }
                .as_bytes(),
            );
            if flags & (SYN | FIN | RST) == 0 {
                payload.put(p);
            }
        }
        PROTO_UDP => {
            p.extend_from_slice(
                UdpHeader {
                    src,
                    dst,
                    ..UdpHeader::default()
                }
                .as_bytes(),
            );
            payload.put(p);
        }
        PROTO_SCTP => {
            p.extend_from_slice(
                SctpHeader {
                    src,
                    dst,
                    ..SctpHeader::default()
                }
                .as_bytes(),
            );
        }
        PROTO_ICMP => {
            p.extend_from_slice(
                IcmpHeader {
                    kind,
                    code,
                    ..IcmpHeader::default()
                }
                .as_bytes(),
            );
            if matches!(kind, wire::icmp::ECHO_REQUEST | wire::icmp::ECHO_REPLY) && code == 0 {
                payload.put(p);
            }
        }
        PROTO_IGMP => {
            let group = wire::Ipv4(flow.igmp_group_ip4.to_bytes());
            let header = IgmpHeader {
                kind,
                code,
                group,
                ..IgmpHeader::default()
            };
            p.extend_from_slice(header.as_bytes());
        }
        PROTO_ICMPV6 => icmpv6(p, flow, (kind, code), payload),
        _ => {}
    }
}

fn icmpv6(p: &mut Vec<u8>, flow: &Flow, (kind, code): (u8, u8), payload: Payload<'_>) {
    let rest = flow.igmp_group_ip4;
    p.extend_from_slice(
        Icmpv6Header {
            kind,
            code,
            rest,
            ..Icmpv6Header::default()
        }
        .as_bytes(),
    );
    match kind {
        _ if code != 0 => {}
        icmpv6::NEIGHBOR_SOLICIT | icmpv6::NEIGHBOR_ADVERT => {
            p.extend_from_slice(flow.nd_target.as_bytes());
            let options = [
                (icmpv6::ND_OPT_SLL, flow.arp_sha),
                (icmpv6::ND_OPT_TLL, flow.arp_tha),
            ];
            for (kind, mac) in options.into_iter().filter(|(_, mac)| *mac != EthAddr::ZERO) {
                p.extend_from_slice(NdLlaOption { kind, len: 1, mac }.as_bytes());
            }
        }
        icmpv6::ECHO_REQUEST | icmpv6::ECHO_REPLY => payload.put(p),
        _ => {}
    }
}

/// Sets the checksum (and UDP's length) of the layer 4 packet `l4`.
fn layer4_checksum(l4: &mut [u8], flow: &Flow, pseudo: Sum) {
    if flow.nw_frag & Flow::FRAG_LATER != 0 {
        return;
    }
    let (at, pseudo) = match flow.nw_proto {
        PROTO_TCP => (16, pseudo),
        PROTO_UDP => (6, pseudo),
        PROTO_ICMPV6 => (2, pseudo),
        PROTO_ICMP | PROTO_IGMP => (2, Sum::new()),
        _ => return,
    };
    let udp = flow.nw_proto == PROTO_UDP;
    let len = l4.len();
    if udp && let Some(h) = UdpHeader::at_mut(l4, 0) {
        h.len.set(len as u16);
    }
    let Some(field) = l4.get_mut(at..at + 2) else {
        return;
    };
    field.fill(0);
    let mut sum = pseudo.add_bytes(l4).finish();
    if udp && sum == 0 {
        sum = 0xffff;
    }
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
