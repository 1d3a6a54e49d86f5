//! Extraction: from the bytes of a packet, and what is known about it besides, to a [`Flow`].
//!
//! The rules for malformed packets are Open vSwitch's, because a megaflow installed for one packet is
//! used for others: a field is either what the packet says, or zero when the header that holds it cannot
//! be trusted (does not fit, or claims lengths that contradict the bytes there are), and what depends on
//! an untrusted header is zero too. Padding behind the IP total length is never parsed.
//!
//! Two forms. [`extract`] fills all of a flow. [`extract_lines`] is the per-packet form: it parses no
//! deeper than asked, and writes only the lines of the flow that hold anything. The caller's buffer may
//! be dirty: lines that are not in the returned [`LineSet`] keep their old bytes and stand for zeroes
//! ([`LineSet::zero_missing`] makes them so for the lines a mask is going to look at).
//!
//! Functions of their arguments and of one setting ([`set_vlan_limit`]); any thread; never panic. The twin that is slow and obviously right
//! is `tests/reference.rs` of this room.

mod l2;
mod l3;
mod l4;
mod metadata;

pub use l2::{set_vlan_limit, vlan_limit};
pub use metadata::{CtMeta, CtTuple, Metadata};

use crate::key::{FLOW_LINES, Flow, Mask};

/// How deep to parse. A field belongs to the first depth that gives it; at each depth, the fields that
/// belong to it or to a smaller one have the values that a full extraction gives, all others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Depth {
    /// Nothing of the packet: `in_port`, `packet_type`, recirculation, hash, marks, tunnel, and conntrack
    /// state, zone, mark and label.
    Port,
    /// Also Ethernet addresses, VLAN tags, EtherType, and `nw_frag` (which every translation of an IP
    /// packet looks at, and which costs one load for IPv4).
    L2,
    /// Also MPLS, IPv4, IPv6, ARP, NSH and the addresses and protocol of the conntrack original tuple.
    L3,
    /// Everything.
    #[default]
    L4,
}

/// Where the headers of a packet begin, in octets from its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// First MPLS label stack entry, or [`Layers::NONE`].
    pub l2_5: u16,
    /// What follows Ethernet, VLAN tags and MPLS labels; `NONE` when even Ethernet does not fit.
    pub l3: u16,
    /// What follows a trusted IP header and its extension headers, or `NONE`.
    pub l4: u16,
    /// Octets of padding behind the IP packet.
    pub l2_pad: u16,
    /// How far parsing went: `Port` when Ethernet did not fit; `L2` when there is no layer 3 that is known
    /// and trusted, `L3` when so for layer 4. Never deeper than asked.
    pub reached: Depth,
}

impl Layers {
    /// No such header.
    pub const NONE: u16 = u16::MAX;
    /// Of a packet that nothing is known about.
    pub const UNKNOWN: Self = Self {
        l2_5: Self::NONE,
        l3: Self::NONE,
        l4: Self::NONE,
        l2_pad: 0,
        reached: Depth::Port,
    };

    /// Octets of Ethernet header with VLAN tags; `None` when Ethernet does not fit.
    #[inline]
    #[must_use]
    pub fn l2_len(&self) -> Option<usize> {
        let end = if self.l2_5 == Self::NONE {
            self.l3
        } else {
            self.l2_5
        };
        (end != Self::NONE).then_some(usize::from(end))
    }
    /// Where layer 3 begins.
    #[inline]
    #[must_use]
    pub fn l3_ofs(&self) -> Option<usize> {
        (self.l3 != Self::NONE).then_some(usize::from(self.l3))
    }
    /// Where layer 4 begins.
    #[inline]
    #[must_use]
    pub fn l4_ofs(&self) -> Option<usize> {
        (self.l4 != Self::NONE).then_some(usize::from(self.l4))
    }
    /// Layer 4 without padding; empty when there is none.
    #[inline]
    #[must_use]
    pub fn l4<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let end = data.len().saturating_sub(usize::from(self.l2_pad));
        data.get(usize::from(self.l4)..end).unwrap_or_default()
    }
}

impl Default for Layers {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

/// A set of the 64-byte lines of a [`Flow`]: bit l is line l.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineSet(pub u16);

impl LineSet {
    /// Every line.
    pub const ALL: Self = Self((1 << FLOW_LINES) - 1);

    /// True when line `l` is in the set.
    #[inline]
    #[must_use]
    pub const fn has(self, l: usize) -> bool {
        self.0 >> l & 1 == 1
    }
    /// Both sets.
    #[inline]
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Zeroes the lines of `flow` that are in `needed` but not in `self` (the lines that were written).
    #[inline]
    pub fn zero_missing(self, needed: Self, flow: &mut Flow) {
        let mut missing = needed.0 & Self::ALL.0 & !self.0;
        while missing != 0 {
            let l = missing.trailing_zeros() as usize;
            if let Some(line) = flow.lines_mut().get_mut(l) {
                *line = [0; 8];
            }
            missing &= missing - 1;
        }
    }
}

/// The flow under extraction, and which of its lines hold something.
struct Sink<'a> {
    flow: &'a mut Flow,
    lines: LineSet,
}

impl Sink<'_> {
    /// The flow, after making sure that line `l` was zeroed once.
    #[inline]
    fn line<const L: usize>(&mut self) -> &mut Flow {
        if !self.lines.has(L) {
            self.flow.lines_mut()[L] = [0; 8];
            self.lines.0 |= 1 << L;
        }
        self.flow
    }
}

/// Extracts all fields. Every byte of `out` is written.
pub fn extract(data: &[u8], md: &Metadata<'_>, out: &mut Flow) -> Layers {
    let mut layers = Layers::UNKNOWN;
    let lines = extract_lines(data, md, Depth::L4, (out, &mut layers));
    lines.zero_missing(LineSet::ALL, out);
    layers
}

/// Extracts the fields of `depth` and of smaller depths, writing only lines that hold something.
/// Line 0 is always written. Returns the lines written.
///
/// Layers are written where they are to stay: they come about a field at a time, and a copy of them as a
/// whole right after would wait for all those small stores.
#[inline]
pub fn extract_lines(
    data: &[u8],
    md: &Metadata<'_>,
    depth: Depth,
    (flow, layers): (&mut Flow, &mut Layers),
) -> LineSet {
    let mut sink = Sink {
        flow,
        lines: LineSet(0),
    };
    metadata::write(md, &mut sink);
    *layers = Layers::UNKNOWN;
    if depth > Depth::Port {
        headers(data, md, depth, &mut sink, layers);
    }
    sink.lines
}

/// Parses the packet, layer by layer.
#[inline]
fn headers(
    data: &[u8],
    md: &Metadata<'_>,
    depth: Depth,
    sink: &mut Sink<'_>,
    layers: &mut Layers,
) -> Option<()> {
    let l2 = if md.packet_type == 0 {
        l2::ethernet(data, sink)?
    } else {
        l2::bare(md.packet_type, sink)
    };
    layers.reached = Depth::L2;
    let l3 = l3::Input {
        data,
        ofs: l2::mpls(data, l2, depth, sink, layers),
        ct: md.ct,
    };
    layers.l3 = u16::try_from(l3.ofs).ok().filter(|&o| o != Layers::NONE)?;
    let Some(l4) = l3::parse(&l3, l2.dl_type, depth, (sink, layers)) else {
        return Some(());
    };
    layers.l4 = u16::try_from(l4.ofs).ok().filter(|&o| o != Layers::NONE)?;
    if depth == Depth::L4 && !l4.later {
        l4::parse(data.get(l4.ofs..l4.end)?, &l4, sink, layers);
    }
    Some(())
}

impl Mask {
    /// The smallest depth that gives every field this mask looks at.
    #[must_use]
    pub fn depth(&self) -> Depth {
        [Depth::Port, Depth::L2, Depth::L3]
            .into_iter()
            .find(|&d| Self::of_depth(d).covers(self))
            .unwrap_or(Depth::L4)
    }

    /// All fields that extraction to depth `d` gives, and those that no packet has (registers, metadata).
    #[must_use]
    pub fn of_depth(d: Depth) -> Self {
        let mut m = Self::exact();
        let (zero, f) = (Flow::zero(), &mut m.0);
        if d < Depth::L4 {
            (f.tp_src, f.tp_dst, f.tcp_flags) = (zero.tp_src, zero.tp_dst, zero.tcp_flags);
            (f.ct_tp_src, f.ct_tp_dst) = (zero.ct_tp_src, zero.ct_tp_dst);
            (f.nd_target, f.igmp_group_ip4) = (zero.nd_target, zero.igmp_group_ip4);
        }
        if d < Depth::L3 {
            (f.nw_src, f.nw_dst, f.nw_proto) = (zero.nw_src, zero.nw_dst, 0);
            (f.nw_tos, f.nw_ttl, f.nsh, f.mpls_lse) = (0, 0, zero.nsh, zero.mpls_lse);
            (f.ipv6_src, f.ipv6_dst, f.ipv6_label) =
                (zero.ipv6_src, zero.ipv6_dst, zero.ipv6_label);
            (f.ct_nw_src, f.ct_nw_dst, f.ct_nw_proto) = (zero.ct_nw_src, zero.ct_nw_dst, 0);
            (f.ct_ipv6_src, f.ct_ipv6_dst) = (zero.ct_ipv6_src, zero.ct_ipv6_dst);
        }
        if d < Depth::L4 {
            // ARP's are layer 3, ND's layer 4: whoever looks at them wants everything.
            (f.arp_sha, f.arp_tha) = (zero.arp_sha, zero.arp_tha);
        }
        if d < Depth::L2 {
            (f.dl_src, f.dl_dst, f.dl_type) = (zero.dl_src, zero.dl_dst, zero.dl_type);
            (f.vlans, f.nw_frag) = (zero.vlans, 0);
        }
        m
    }
}
