//! Layer 3: IPv4, IPv6 with extension headers, ARP and RARP, NSH.

use super::{CtMeta, CtTuple, Depth, Layers, Sink};
use crate::key::{Flow, NshKey};
use wire::arp::ArpHeader;
use wire::ethernet::{ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_NSH, ETH_TYPE_RARP};
use wire::ipv4::Ipv4Header;
use wire::ipv6::{self, Ipv6Header};
use wire::nsh::{self, NshHeader};
use wire::{Header, U16, U32};

/// Where to look.
pub(super) struct Input<'a> {
    pub(super) data: &'a [u8],
    /// Where layer 3 begins.
    pub(super) ofs: usize,
    pub(super) ct: Option<&'a CtMeta>,
}

/// What a trusted IP header says about layer 4.
pub(super) struct L4 {
    pub(super) proto: u8,
    /// Where it begins.
    pub(super) ofs: usize,
    /// Where it ends; padding begins.
    pub(super) end: usize,
    /// Not the first fragment: there is no layer 4 header.
    pub(super) later: bool,
    /// Original-direction ports, when the tuple is of this IP version.
    pub(super) ct_tp: Option<(u16, u16)>,
}

type Out<'a, 'b> = (&'a mut Sink<'b>, &'a mut Layers);

/// Parses layer 3; says where layer 4 is when there is one.
#[inline]
pub(super) fn parse(at: &Input<'_>, dl_type: u16, depth: Depth, out: Out<'_, '_>) -> Option<L4> {
    match dl_type {
        ETH_TYPE_IP => ipv4(at, depth, out),
        ETH_TYPE_IPV6 => ipv6(at, depth, out),
        ETH_TYPE_ARP | ETH_TYPE_RARP if depth >= Depth::L3 => {
            arp(at, out);
            None
        }
        ETH_TYPE_NSH if depth >= Depth::L3 => {
            nsh(at, out);
            None
        }
        _ => None,
    }
}

const fn frag_bits(any: bool, later: bool) -> u8 {
    (if any { Flow::FRAG_ANY } else { 0 }) | (if later { Flow::FRAG_LATER } else { 0 })
}

#[inline]
fn ipv4(at: &Input<'_>, depth: Depth, (sink, layers): Out<'_, '_>) -> Option<L4> {
    let (h, header_len, tot_len) = Ipv4Header::checked(at.data, at.ofs)?;
    let end = at.ofs + tot_len;
    // `checked` has seen that the padding fits in 16 bits.
    layers.l2_pad = (at.data.len() - end) as u16;
    let flow = &mut *sink.flow;
    let later = h.is_later_fragment();
    flow.nw_frag = frag_bits(h.is_fragment(), later);
    let mut l4 = L4 {
        proto: h.proto,
        ofs: at.ofs + header_len,
        end,
        later,
        ct_tp: None,
    };
    if depth >= Depth::L3 {
        layers.reached = Depth::L3;
        flow.nw_src = h.src;
        flow.nw_dst = h.dst;
        flow.nw_tos = h.tos;
        flow.nw_ttl = h.ttl;
        flow.nw_proto = h.proto;
        if let Some(ct) = at.ct {
            l4.ct_tp = ct_tuple(ct, false, sink);
        }
    }
    Some(l4)
}

#[inline]
fn ipv6(at: &Input<'_>, depth: Depth, (sink, layers): Out<'_, '_>) -> Option<L4> {
    let (h, end) = ipv6::checked(at.data, at.ofs)?;
    // `checked` has seen that the padding fits in 16 bits.
    layers.l2_pad = (at.data.len() - end) as u16;
    let mut ct_tp = None;
    if depth >= Depth::L3 {
        layers.reached = Depth::L3;
        let flow = sink.line::<1>();
        flow.ipv6_src = h.src;
        flow.ipv6_dst = h.dst;
        if let Some(ct) = at.ct {
            ct_tp = ct_tuple(ct, true, sink);
        }
    }
    // When the chain of extension headers is broken, only the addresses are trusted.
    let upper = ipv6::skip_extensions(at.data.get(..end)?, at.ofs + Ipv6Header::LEN, h.next)?;
    let flow = &mut *sink.flow;
    flow.nw_frag = frag_bits(upper.fragment, upper.later);
    if depth >= Depth::L3 {
        flow.ipv6_label = U32::new(h.label());
        flow.nw_tos = h.traffic_class();
        flow.nw_ttl = h.hop_limit;
        flow.nw_proto = upper.proto;
    }
    Some(L4 {
        proto: upper.proto,
        ofs: upper.ofs,
        end,
        later: upper.later,
        ct_tp,
    })
}

/// Writes addresses and protocol of the original tuple when it is of the packet's IP version; the ports
/// are for layer 4 to write.
#[cold]
fn ct_tuple(ct: &CtMeta, v6: bool, sink: &mut Sink<'_>) -> Option<(u16, u16)> {
    match ct.tuple {
        _ if ct.state == 0 => None,
        CtTuple::V4 {
            src,
            dst,
            tp_src,
            tp_dst,
            proto,
        } if !v6 && proto != 0 => {
            let flow = sink.line::<2>();
            (flow.ct_nw_src, flow.ct_nw_dst, flow.ct_nw_proto) = (src, dst, proto);
            Some((tp_src, tp_dst))
        }
        CtTuple::V6 {
            src,
            dst,
            tp_src,
            tp_dst,
            proto,
        } if v6 && proto != 0 => {
            sink.line::<2>().ct_nw_proto = proto;
            let flow = sink.line::<3>();
            (flow.ct_ipv6_src, flow.ct_ipv6_dst) = (src, dst);
            Some((tp_src, tp_dst))
        }
        CtTuple::None | CtTuple::V4 { .. } | CtTuple::V6 { .. } => None,
    }
}

#[inline]
fn arp(at: &Input<'_>, (sink, layers): Out<'_, '_>) {
    let Some(h) = ArpHeader::at(at.data, at.ofs).filter(|h| h.is_eth_ipv4()) else {
        return;
    };
    layers.reached = Depth::L3;
    let flow = sink.line::<1>();
    flow.arp_sha = h.sha;
    flow.arp_tha = h.tha;
    flow.nw_src = h.spa;
    flow.nw_dst = h.tpa;
    // Only opcodes of 8 bits can be matched.
    flow.nw_proto = u8::try_from(h.op.get()).unwrap_or(0);
}

/// Context words are kept for MD type 1 only.
#[cold]
fn nsh(at: &Input<'_>, (sink, layers): Out<'_, '_>) -> Option<()> {
    let h = NshHeader::at(at.data, at.ofs)?;
    let len = h.header_len();
    if h.version() != 0 || len > at.data.len() - at.ofs {
        return None;
    }
    let mut key = NshKey {
        flags: h.flags(),
        ttl: h.ttl(),
        mdtype: h.md_type,
        np: h.next,
        path_hdr: h.path,
        context: [U32::ZERO; 4],
    };
    if h.md_type == nsh::MD_TYPE1 {
        if len != nsh::MD1_LEN {
            return None;
        }
        let words = at.data.get(at.ofs + nsh::BASE_LEN..at.ofs + nsh::MD1_LEN)?;
        for (to, from) in key.context.iter_mut().zip(words.chunks_exact(4)) {
            *to = U32::from_bytes([from[0], from[1], from[2], from[3]]);
        }
    } else if h.md_type == nsh::MD_TYPE2 && len < nsh::BASE_LEN {
        return None;
    }
    sink.line::<3>().nsh = key;
    layers.reached = Depth::L3;
    Some(())
}

impl L4 {
    /// The original-direction ports, written when the packet's own ports are.
    #[inline]
    pub(super) fn write_ct_tp(&self, sink: &mut Sink<'_>) {
        if let Some((src, dst)) = self.ct_tp {
            let flow = sink.line::<2>();
            flow.ct_tp_src = U16::new(src);
            flow.ct_tp_dst = U16::new(dst);
        }
    }
}
