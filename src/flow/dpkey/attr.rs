//! One attribute as text.

use super::put::{Hex, Parts};
use super::{Attr, OdpNames, tunnel};
use crate::key::{Flow, Mask, NshKey, Vlan};
use crate::text::put::{self, put};
use packet::OdpPort;
use wire::U32;
use wire::mpls::MplsHeader;

impl Attr {
    /// Appends `name(...)` with the attribute's fields of `flow`, under `mask`; without a mask, all bits
    /// count. For [`Attr::Vlan`] and [`Attr::EthType`]: the outer tag and `dl_type`. [`Attr::Encap`] has
    /// no text of its own.
    pub fn format(
        self,
        out: &mut String,
        (flow, mask): (&Flow, Option<&Mask>),
        names: &dyn OdpNames,
        verbose: bool,
    ) {
        put(out, format_args!("{}(", self.name()));
        let exact = Mask::exact();
        let m = &mask.unwrap_or(&exact).0;
        let masked = mask.is_some();
        let mut p = Parts { out, verbose };
        match self {
            Self::Priority => number(&mut p, flow.skb_priority, m.skb_priority),
            Self::SkbMark => number(&mut p, flow.pkt_mark, m.pkt_mark),
            Self::DpHash => number(&mut p, flow.dp_hash, m.dp_hash),
            Self::RecircId => number(&mut p, flow.recirc_id, m.recirc_id),
            Self::CtState | Self::CtZone | Self::CtMark | Self::CtLabel => {
                conntrack(self, &mut p, (flow, m), masked);
            }
            Self::CtTuple4 | Self::CtTuple6 => ct_tuple(self, &mut p, flow, m),
            Self::Tunnel => tunnel::format(&mut p, &flow.tunnel, mask.map(|m| &m.0.tunnel)),
            Self::InPort => in_port(&mut p, flow.in_port.get(), m.in_port.get(), names),
            Self::PacketType => {
                let (v, m) = (flow.packet_type.get(), m.packet_type.get());
                p.u16("ns", (v >> 16) as u16, (m >> 16) as u16);
                p.u16_hex("id", v as u16, m as u16);
            }
            Self::Vlan => vlan(&mut p, flow.vlans[0].tci.get(), m.vlans[0].tci.get()),
            Self::EthType => ethertype(&mut p, flow.dl_type.get(), m.dl_type.get()),
            Self::Mpls => mpls(&mut p, flow, m),
            Self::TcpFlags => {
                let (v, m) = (
                    flow.tcp_flags.get(),
                    m.tcp_flags.get() & wire::tcp::FLAGS_MASK,
                );
                let all = (v.into(), m.into(), wire::tcp::FLAGS_MASK.into());
                put::flags_masked(p.out, put::tcp_flag_name, all);
            }
            Self::Nsh => nsh(&mut p, &flow.nsh, mask.map(|m| &m.0.nsh)),
            Self::Ethernet | Self::Ipv4 | Self::Ipv6 | Self::Arp => layers23(self, &mut p, flow, m),
            Self::Tcp | Self::Udp | Self::Sctp | Self::Icmp | Self::Icmpv6 => {
                ports(self, &mut p, flow, m);
            }
            Self::Nd | Self::NdExt => neighbour(self, &mut p, flow, m),
            Self::Encap => {}
        }
        p.end();
        out.push(')');
    }

    /// True when the attribute's mask has no bit.
    pub(super) fn is_wild(self, m: &Flow) -> bool {
        let none = Flow::zero();
        match self {
            Self::Encap | Self::Tunnel | Self::Nsh => false,
            Self::Priority => m.skb_priority.get() == 0,
            Self::SkbMark => m.pkt_mark.get() == 0,
            Self::CtState => m.ct_state == 0,
            Self::CtZone => m.ct_zone.get() == 0,
            Self::CtMark => m.ct_mark.get() == 0,
            Self::CtLabel => m.ct_label.get() == 0,
            Self::CtTuple4 => {
                m.ct_nw_src == none.ct_nw_src && m.ct_nw_dst == none.ct_nw_dst && ct_upper_wild(m)
            }
            Self::CtTuple6 => {
                m.ct_ipv6_src == none.ct_ipv6_src
                    && m.ct_ipv6_dst == none.ct_ipv6_dst
                    && ct_upper_wild(m)
            }
            Self::InPort => m.in_port.get() == 0,
            Self::Ethernet => m.dl_src == none.dl_src && m.dl_dst == none.dl_dst,
            Self::Vlan => m.vlans[0].tci.get() == 0,
            Self::EthType => m.dl_type.get() == 0,
            Self::Ipv4 => m.nw_src == none.nw_src && m.nw_dst == none.nw_dst && ip_wild(m),
            Self::Ipv6 => {
                m.ipv6_src == none.ipv6_src
                    && m.ipv6_dst == none.ipv6_dst
                    && m.ipv6_label.get() == 0
                    && ip_wild(m)
            }
            Self::Tcp | Self::Udp | Self::Sctp | Self::Icmp | Self::Icmpv6 => {
                m.tp_src.get() == 0 && m.tp_dst.get() == 0
            }
            Self::TcpFlags => m.tcp_flags.get() & wire::tcp::FLAGS_MASK == 0,
            Self::Arp => {
                m.nw_src == none.nw_src
                    && m.nw_dst == none.nw_dst
                    && m.nw_proto == 0
                    && m.arp_sha == none.arp_sha
                    && m.arp_tha == none.arp_tha
            }
            Self::Nd => {
                m.nd_target == none.nd_target
                    && m.arp_sha == none.arp_sha
                    && m.arp_tha == none.arp_tha
            }
            Self::NdExt => m.igmp_group_ip4.get() == 0 && m.tcp_flags.get() == 0,
            Self::Mpls => m.mpls_lse == none.mpls_lse,
            Self::DpHash => m.dp_hash.get() == 0,
            Self::RecircId => m.recirc_id.get() == 0,
            Self::PacketType => m.packet_type.get() == 0,
        }
    }
}

fn ip_wild(m: &Flow) -> bool {
    m.nw_proto == 0 && m.nw_tos == 0 && m.nw_ttl == 0 && m.nw_frag & Flow::FRAG_ANY == 0
}

fn ct_upper_wild(m: &Flow) -> bool {
    m.ct_nw_proto == 0 && m.ct_tp_src.get() == 0 && m.ct_tp_dst.get() == 0
}

fn number(p: &mut Parts<'_>, v: U32, m: U32) {
    put(p.out, format_args!("{}", Hex(v.get().into())));
    if m.get() != u32::MAX {
        put(p.out, format_args!("/{}", Hex(m.get().into())));
    }
}

/// These show nothing in their parentheses when their mask is empty or missing, unless verbose.
fn conntrack(attr: Attr, p: &mut Parts<'_>, (f, m): (&Flow, &Flow), masked: bool) {
    match attr {
        Attr::CtState => {
            let (v, mask) = (u32::from(f.ct_state), u32::from(m.ct_state));
            if p.verbose {
                put(p.out, format_args!("{}", Hex(v.into())));
                // The datapath's mask has 32 bits, of which the flow knows eight.
                if masked {
                    put(p.out, format_args!("/{}", Hex(mask.into())));
                }
            } else if masked {
                put::flags_masked(p.out, put::ct_state_name, (v, mask, u32::MAX));
            } else {
                put::flags(p.out, put::ct_state_name, v, '|');
            }
        }
        Attr::CtZone if p.verbose || masked && m.ct_zone.get() != 0 => {
            put(p.out, format_args!("{}", Hex(f.ct_zone.get().into())));
            if m.ct_zone.get() != u16::MAX {
                put(p.out, format_args!("/{}", Hex(m.ct_zone.get().into())));
            }
        }
        Attr::CtMark if p.verbose || masked && m.ct_mark.get() != 0 => {
            number(p, f.ct_mark, m.ct_mark);
        }
        Attr::CtLabel if p.verbose || masked && m.ct_label.get() != 0 => {
            put::hex(p.out, &f.ct_label.to_bytes());
            if m.ct_label.get() != u128::MAX {
                p.out.push('/');
                put::hex(p.out, &m.ct_label.to_bytes());
            }
        }
        _ => {}
    }
}

fn ct_tuple(attr: Attr, p: &mut Parts<'_>, f: &Flow, m: &Flow) {
    let v6 = attr == Attr::CtTuple6;
    if v6 {
        p.ipv6("src", f.ct_ipv6_src, m.ct_ipv6_src);
        p.ipv6("dst", f.ct_ipv6_dst, m.ct_ipv6_dst);
    } else {
        p.ipv4("src", f.ct_nw_src, m.ct_nw_src);
        p.ipv4("dst", f.ct_nw_dst, m.ct_nw_dst);
    }
    p.u8("proto", f.ct_nw_proto, m.ct_nw_proto);
    let (src, dst) = if v6 {
        ("src_port", "dst_port")
    } else {
        ("tp_src", "tp_dst")
    };
    p.u16(src, f.ct_tp_src.get(), m.ct_tp_src.get());
    p.u16(dst, f.ct_tp_dst.get(), m.ct_tp_dst.get());
}

fn in_port(p: &mut Parts<'_>, v: u32, m: u32, names: &dyn OdpNames) {
    match names.name(OdpPort(v)) {
        Some(name) if m == u32::MAX => p.out.push_str(name),
        _ if m == u32::MAX => put(p.out, format_args!("{v}")),
        _ => put(p.out, format_args!("{v}/{}", Hex(m.into()))),
    }
}

pub(super) fn ethertype(p: &mut Parts<'_>, v: u16, m: u16) {
    put(p.out, format_args!("{v:#06x}"));
    if m != u16::MAX {
        put(p.out, format_args!("/{m:#06x}"));
    }
}

pub(super) fn vlan(p: &mut Parts<'_>, tci: u16, mask: u16) {
    let (vid, vid_mask) = (tci & Vlan::VID_MASK, mask & Vlan::VID_MASK);
    let (pcp, pcp_mask) = (tci >> 13, mask >> 13);
    if p.verbose || vid | vid_mask != 0 {
        put(p.out, format_args!("vid={vid}"));
        if vid_mask != Vlan::VID_MASK {
            put(p.out, format_args!("/{vid_mask:#x}"));
        }
        p.out.push(',');
    }
    if p.verbose || pcp | pcp_mask != 0 {
        put(p.out, format_args!("pcp={pcp}"));
        if pcp_mask != 7 {
            put(p.out, format_args!("/{pcp_mask:#x}"));
        }
        p.out.push(',');
    }
    if tci & Vlan::CFI == 0 {
        p.out.push_str("cfi=0,");
    }
}

impl Flow {
    /// Labels of the MPLS stack: down to the bottom of stack, or those that are not zero.
    #[must_use]
    pub fn mpls_depth(&self) -> usize {
        let bottom = self
            .mpls_lse
            .iter()
            .position(|l| MplsHeader { lse: *l }.bos());
        bottom.map_or_else(
            || self.mpls_lse.iter().filter(|l| l.get() != 0).count(),
            |i| i + 1,
        )
    }
}

fn mpls(p: &mut Parts<'_>, f: &Flow, m: &Flow) {
    let n = f.mpls_depth().max(1);
    let (f, m) = (&f.mpls_lse[..n], &m.mpls_lse[..n]);
    let exact = m.iter().all(|l| l.get() == u32::MAX);
    for (v, m) in f.iter().zip(m) {
        let (v, m) = (MplsHeader { lse: *v }, MplsHeader { lse: *m });
        let (bos, bos_mask) = (u8::from(v.bos()), u8::from(m.bos()));
        if exact {
            let (label, tc, ttl) = (v.label(), v.tc(), v.ttl());
            put(
                p.out,
                format_args!("label={label},tc={tc},ttl={ttl},bos={bos},"),
            );
        } else {
            put(
                p.out,
                format_args!(
                    "label={}/{:#x},tc={}/{:x},",
                    v.label(),
                    m.label(),
                    v.tc(),
                    m.tc()
                ),
            );
            put(
                p.out,
                format_args!("ttl={}/{:#x},bos={bos}/{bos_mask:x},", v.ttl(), m.ttl()),
            );
        }
    }
}

fn nsh(p: &mut Parts<'_>, f: &NshKey, mask: Option<&NshKey>) {
    let md1 = f.mdtype == wire::nsh::MD_TYPE1;
    let (path, si) = (f.path_hdr.get() >> 8, f.path_hdr.get() as u8);
    let Some(m) = mask else {
        put(
            p.out,
            format_args!("flags={},ttl={},mdtype={},", f.flags, f.ttl, f.mdtype),
        );
        put(p.out, format_args!("np={},spi={path:#x},si={si},", f.np));
        for (i, c) in f.context.iter().enumerate().filter(|_| md1) {
            put(p.out, format_args!("c{}={:#x},", i + 1, c.get()));
        }
        return;
    };
    let u8_part = |p: &mut Parts<'_>, name, v: u8, m: u8| match m {
        0 => {}
        u8::MAX => put(p.out, format_args!("{name}={v},")),
        _ => put(p.out, format_args!("{name}={v:#04x}/{m:#04x},")),
    };
    let u32_part = |p: &mut Parts<'_>, name, v: u32, m: u32| match m {
        0 => {}
        u32::MAX => put(p.out, format_args!("{name}={v:#x},")),
        _ => put(p.out, format_args!("{name}={v:#x}/{m:#010x},")),
    };
    u8_part(p, "flags", f.flags, m.flags);
    u8_part(p, "ttl", f.ttl, m.ttl);
    u8_part(p, "mdtype", f.mdtype, m.mdtype);
    u8_part(p, "np", f.np, m.np);
    let path_mask = m.path_hdr.get() >> 8;
    u32_part(
        p,
        "spi",
        path,
        if path_mask == 0xff_ffff {
            u32::MAX
        } else {
            path_mask
        },
    );
    u8_part(p, "si", si, m.path_hdr.get() as u8);
    for (i, name) in ["c1", "c2", "c3", "c4"].into_iter().enumerate() {
        // Without context words in the key, the peer has no mask for them either and takes it for exact.
        let (v, m) = if md1 {
            (f.context[i].get(), m.context[i].get())
        } else {
            (0, u32::MAX)
        };
        u32_part(p, name, v, m);
    }
}

fn layers23(attr: Attr, p: &mut Parts<'_>, f: &Flow, m: &Flow) {
    match attr {
        Attr::Ethernet => {
            p.mac("src", f.dl_src, m.dl_src);
            p.mac("dst", f.dl_dst, m.dl_dst);
        }
        Attr::Ipv4 => {
            p.ipv4("src", f.nw_src, m.nw_src);
            p.ipv4("dst", f.nw_dst, m.nw_dst);
            p.u8("proto", f.nw_proto, m.nw_proto);
            p.u8_hex("tos", f.nw_tos, m.nw_tos);
            p.u8("ttl", f.nw_ttl, m.nw_ttl);
            p.frag(f.nw_frag, m.nw_frag);
        }
        Attr::Ipv6 => {
            p.ipv6("src", f.ipv6_src, m.ipv6_src);
            p.ipv6("dst", f.ipv6_dst, m.ipv6_dst);
            p.label("label", f.ipv6_label.get(), m.ipv6_label.get());
            p.u8("proto", f.nw_proto, m.nw_proto);
            p.u8_hex("tclass", f.nw_tos, m.nw_tos);
            p.u8("hlimit", f.nw_ttl, m.nw_ttl);
            p.frag(f.nw_frag, m.nw_frag);
        }
        _ => {
            p.ipv4("sip", f.nw_src, m.nw_src);
            p.ipv4("tip", f.nw_dst, m.nw_dst);
            let op_mask = if m.nw_proto == u8::MAX {
                u16::MAX
            } else {
                m.nw_proto.into()
            };
            p.u16("op", f.nw_proto.into(), op_mask);
            p.mac("sha", f.arp_sha, m.arp_sha);
            p.mac("tha", f.arp_tha, m.arp_tha);
        }
    }
}

fn ports(attr: Attr, p: &mut Parts<'_>, f: &Flow, m: &Flow) {
    let ((src, dst), (src_mask, dst_mask)) = (
        (f.tp_src.get(), f.tp_dst.get()),
        (m.tp_src.get(), m.tp_dst.get()),
    );
    if matches!(attr, Attr::Icmp | Attr::Icmpv6) {
        p.u8("type", src as u8, src_mask as u8);
        p.u8("code", dst as u8, dst_mask as u8);
    } else {
        p.u16("src", src, src_mask);
        p.u16("dst", dst, dst_mask);
    }
}

fn neighbour(attr: Attr, p: &mut Parts<'_>, f: &Flow, m: &Flow) {
    if attr == Attr::Nd {
        p.ipv6("target", f.nd_target, m.nd_target);
        p.mac("sll", f.arp_sha, m.arp_sha);
        p.mac("tll", f.arp_tha, m.arp_tha);
    } else {
        put(
            p.out,
            format_args!("nd_reserved={:#x},", f.igmp_group_ip4.get()),
        );
        p.u8(
            "nd_options_type",
            f.tcp_flags.get() as u8,
            m.tcp_flags.get() as u8,
        );
    }
}
