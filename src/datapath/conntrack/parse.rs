//! From a packet to its [`Tuple`], and whether it can be trusted: lengths, checksums, ports.
//!
//! What cannot be tracked (fragments, truncated or damaged headers, ICMP messages that are neither conversation
//! nor error) has no tuple. An ICMP error has that of the packet it quotes, turned around: it travels against it.

use super::tcp::Segment;
use super::tuple::{End, Tuple, answer_to, v4};
use flow::Layers;
use packet::{Frame, RxFlags};
use wire::checksum::{Sum, checksum, pseudo4, pseudo6};
use wire::icmp::IcmpHeader;
use wire::icmpv6::Icmpv6Header;
use wire::ipv4::{Ipv4Header, PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP};
use wire::ipv6::{Ipv6Header, skip_extensions};
use wire::tcp::TcpHeader;
use wire::udp::UdpHeader;
use wire::{Header, Ipv4, Ipv6, icmp, icmpv6};

/// EtherTypes that can be tracked.
const ETH_IP: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;

/// Octets of a transport header that an ICMP error quotes at least (RFC 792).
const QUOTED: usize = 8;

/// What connection tracking wants to know of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parsed {
    pub(crate) tuple: Tuple,
    /// It is an ICMP error; `tuple` is about the packet it quotes.
    pub(crate) related: bool,
    /// It may begin a connection.
    pub(crate) opens: bool,
    /// All zero unless it is TCP.
    pub(crate) tcp: Segment,
}

/// A packet's layer 3 by its EtherType: whether it is IPv6, and where it begins.
pub(super) fn layer3(frame: &Frame, layers: &Layers, packet_type: u32) -> Option<(bool, usize)> {
    let l3 = layers.l3_ofs()?;
    let ethertype = if packet_type == 0 {
        let at = l3.checked_sub(2)?;
        u16::from_be_bytes(*frame.data().get(at..)?.first_chunk()?)
    } else {
        packet_type as u16
    };
    match ethertype {
        ETH_IP => Some((false, l3)),
        ETH_IPV6 => Some((true, l3)),
        _ => None,
    }
}

/// Parses a packet whose layers are known; `None` when it cannot be tracked.
pub(crate) fn parse(frame: &Frame, layers: &Layers, packet_type: u32, zone: u16) -> Option<Parsed> {
    let (v6, l3) = layer3(frame, layers, packet_type)?;
    let l4 = layers.l4_ofs()?;
    let data = frame.data();
    let packet = data.get(..data.len().checked_sub(usize::from(layers.l2_pad))?)?;
    let (mut tuple, ofs) = if v6 {
        ip6(packet, l3)?
    } else {
        ip4(packet, l3)?
    };
    if !v6 && checksum(packet.get(l3..ofs)?) != 0 {
        return None;
    }
    if ofs != l4 {
        return None;
    }
    tuple.zone = zone;
    let vouched = frame.flags & (RxFlags::CSUM_PARTIAL | RxFlags::CSUM_GOOD) != 0;
    transport(packet, l4, tuple, !vouched)
}

/// The addresses and protocol of an IPv4 packet, and where its payload begins.
pub(super) fn ip4(packet: &[u8], l3: usize) -> Option<(Tuple, usize)> {
    let h = Ipv4Header::at(packet, l3)?;
    let ofs = l3 + h.header_len();
    if h.header_len() < Ipv4Header::LEN || ofs > packet.len() || h.is_fragment() {
        return None;
    }
    let tuple = Tuple {
        src: End {
            addr: v4(h.src.0),
            ..End::default()
        },
        dst: End {
            addr: v4(h.dst.0),
            ..End::default()
        },
        proto: h.proto,
        ..Tuple::default()
    };
    Some((tuple, ofs))
}

/// The addresses and protocol of an IPv6 packet, and where its payload begins.
pub(super) fn ip6(packet: &[u8], l3: usize) -> Option<(Tuple, usize)> {
    let h = Ipv6Header::at(packet, l3)?;
    let upper = skip_extensions(packet, l3 + Ipv6Header::LEN, h.next)?;
    if upper.fragment {
        return None;
    }
    let tuple = Tuple {
        src: End {
            addr: h.src.0,
            ..End::default()
        },
        dst: End {
            addr: h.dst.0,
            ..End::default()
        },
        proto: upper.proto,
        v6: true,
        ..Tuple::default()
    };
    Some((tuple, upper.ofs))
}

/// The checksum over pseudo header and layer 4 is right.
fn sums(t: &Tuple, l4: &[u8]) -> bool {
    let len = u32::try_from(l4.len()).unwrap_or(u32::MAX);
    let pseudo = if t.v6 {
        pseudo6(Ipv6(t.src.addr), Ipv6(t.dst.addr), t.proto, len)
    } else {
        pseudo4(Ipv4(t.src.v4()), Ipv4(t.dst.v4()), t.proto, len)
    };
    pseudo.add_bytes(l4).finish() == 0
}

/// Fills in what layer 4 says; `check` its checksum.
fn transport(packet: &[u8], l4: usize, mut tuple: Tuple, check: bool) -> Option<Parsed> {
    let payload = packet.get(l4..)?;
    let mut tcp = Segment::default();
    let mut opens = true;
    match (tuple.proto, tuple.v6) {
        (PROTO_TCP, _) => {
            tcp = Segment::parse(payload)?;
            if check && !sums(&tuple, payload) {
                return None;
            }
            ports(&mut tuple, payload, TcpHeader::LEN)?;
            opens = tcp.opens();
        }
        (PROTO_UDP, _) => {
            let h = UdpHeader::at(payload, 0)?;
            let len = usize::from(h.len.get());
            if len < UdpHeader::LEN || len > payload.len() {
                return None;
            }
            let unsummed = !tuple.v6 && h.csum.get() == 0;
            if check && !unsummed && !sums(&tuple, payload) {
                return None;
            }
            ports(&mut tuple, payload, UdpHeader::LEN)?;
        }
        (PROTO_ICMP, false) => {
            if check && Sum::new().add_bytes(payload).finish() != 0 {
                return None;
            }
            return icmp4(packet, l4, tuple);
        }
        (PROTO_ICMPV6, true) => {
            if check && !sums(&tuple, payload) {
                return None;
            }
            return icmp6(packet, l4, tuple);
        }
        _ => {}
    }
    Some(Parsed {
        tuple,
        related: false,
        opens,
        tcp,
    })
}

/// Ports of a header of which at least `min` octets are there. Port 0 is nobody's.
fn ports(tuple: &mut Tuple, l4: &[u8], min: usize) -> Option<()> {
    let h = l4.get(..min)?.first_chunk::<4>()?;
    tuple.src.port = u16::from_be_bytes([h[0], h[1]]);
    tuple.dst.port = u16::from_be_bytes([h[2], h[3]]);
    (tuple.src.port != 0 && tuple.dst.port != 0).then_some(())
}

/// A message of a conversation.
fn conversation(mut t: Tuple, kind: u8, id: u16) -> Option<Tuple> {
    t.src.port = id;
    t.dst.port = id;
    t.src.kind = kind;
    t.dst.kind = answer_to(kind, t.v6)?;
    Some(t)
}

fn icmp4(packet: &[u8], l4: usize, outer: Tuple) -> Option<Parsed> {
    let h = IcmpHeader::at(packet, l4)?;
    match h.kind {
        icmp::DST_UNREACH
        | icmp::TIME_EXCEEDED
        | icmp::PARAM_PROB
        | icmp::SOURCE_QUENCH
        | icmp::REDIRECT => {
            let (inner, ofs) = ip4(packet, l4 + IcmpHeader::LEN)?;
            quoted(packet, outer, inner, ofs)
        }
        kind if h.code == 0 => Some(Parsed {
            tuple: conversation(outer, kind, (h.rest.get() >> 16) as u16)?,
            related: false,
            opens: matches!(
                kind,
                icmp::ECHO_REQUEST | icmp::INFO_REQUEST | icmp::TIMESTAMP
            ),
            tcp: Segment::default(),
        }),
        _ => None,
    }
}

fn icmp6(packet: &[u8], l4: usize, outer: Tuple) -> Option<Parsed> {
    let h = Icmpv6Header::at(packet, l4)?;
    match h.kind {
        icmpv6::DST_UNREACH
        | icmpv6::PACKET_TOO_BIG
        | icmpv6::TIME_EXCEEDED
        | icmpv6::PARAM_PROB => {
            let (inner, ofs) = ip6(packet, l4 + Icmpv6Header::LEN)?;
            quoted(packet, outer, inner, ofs)
        }
        kind if h.code == 0 => Some(Parsed {
            tuple: conversation(outer, kind, (h.rest.get() >> 16) as u16)?,
            related: false,
            opens: kind == icmpv6::ECHO_REQUEST,
            tcp: Segment::default(),
        }),
        _ => None,
    }
}

/// An error about a packet that the error's receiver sent: `inner`, whose layer 4 is at `ofs`.
fn quoted(packet: &[u8], outer: Tuple, mut inner: Tuple, ofs: usize) -> Option<Parsed> {
    if inner.src.addr != outer.dst.addr {
        return None;
    }
    inner.zone = outer.zone;
    let l4 = packet.get(ofs..)?;
    match (inner.proto, inner.v6) {
        // IPv6 quotes as much as fits, IPv4 perhaps only the first octets.
        (PROTO_TCP, true) => ports(&mut inner, l4, TcpHeader::LEN)?,
        (PROTO_TCP | PROTO_UDP, _) => ports(&mut inner, l4, QUOTED)?,
        (PROTO_ICMP, false) => {
            let h = IcmpHeader::at(l4, 0).filter(|h| h.code == 0)?;
            inner = conversation(inner, h.kind, (h.rest.get() >> 16) as u16)?;
        }
        (PROTO_ICMPV6, true) => {
            let h = Icmpv6Header::at(l4, 0).filter(|h| h.code == 0)?;
            inner = conversation(inner, h.kind, (h.rest.get() >> 16) as u16)?;
        }
        _ => {}
    }
    Some(Parsed {
        tuple: inner.reversed(),
        related: true,
        opens: false,
        tcp: Segment::default(),
    })
}
