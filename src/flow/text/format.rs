//! A match as `ovs-ofctl` writes it, in the peer's order.

use super::put::{self, put};
use super::{NoNames, PortNames};
use crate::key::{Flow, Mask, TunnelKey, Vlan};
use crate::matches::Match;
use crate::port::OfPort;
use std::fmt;
use wire::ethernet::{
    ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_NSH,
    ETH_TYPE_RARP, is_arp_type,
};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::mpls::{LSE_BOS, LSE_LABEL_MASK, LSE_TC_MASK, LSE_TTL_MASK, MplsHeader};
use wire::{EthAddr, Ipv4, Ipv6};

/// The priority that is not written.
pub const PRIORITY_DEFAULT: u16 = 0x8000;

/// A list of `name=value,` under construction.
struct List<'a> {
    out: &'a mut String,
    names: &'a dyn PortNames,
}

impl List<'_> {
    fn word(&mut self, word: &str) {
        put(self.out, format_args!("{word},"));
    }
    fn item(&mut self, name: &str, value: impl fmt::Display) {
        put(self.out, format_args!("{name}={value},"));
    }
    fn with(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        put(self.out, format_args!("{name}="));
        value(self.out);
        self.out.push(',');
    }
    /// `%#x`, with mask when not exact.
    fn number(&mut self, name: &str, value: u64, mask: u64, exact: u64) {
        if mask != 0 {
            self.with(name, |out| {
                put::alt_hex(out, value);
                if mask != exact {
                    out.push('/');
                    put::alt_hex(out, mask);
                }
            });
        }
    }
    fn hex32(&mut self, name: &str, value: u32, mask: u32) {
        self.number(name, value.into(), mask.into(), u32::MAX.into());
    }
    /// Decimal when exact, else hexadecimal.
    fn u8(&mut self, name: &str, value: u8, mask: u8) {
        match mask {
            0 => {}
            u8::MAX => self.item(name, value),
            _ => self.item(name, format_args!("{value:#04x}/{mask:#04x}")),
        }
    }
    fn u16(&mut self, name: &str, value: u16, mask: u16) {
        match mask {
            0 => {}
            u16::MAX => self.item(name, value),
            _ => self.item(name, format_args!("{value:#x}/{mask:#x}")),
        }
    }
    fn u32(&mut self, name: &str, value: u32, mask: u32) {
        match mask {
            0 => {}
            u32::MAX => self.item(name, value),
            _ => self.item(name, format_args!("{value:#010x}/{mask:#010x}")),
        }
    }
    fn u32_hex(&mut self, name: &str, value: u32, mask: u32) {
        match mask {
            0 => {}
            u32::MAX => self.item(name, format_args!("{value:#x}")),
            _ => self.item(name, format_args!("{value:#x}/{mask:#x}")),
        }
    }
    fn mac(&mut self, name: &str, value: EthAddr, mask: EthAddr) {
        if mask != EthAddr::ZERO {
            self.with(name, |out| put::ethernet(out, value, mask));
        }
    }
    fn ipv4(&mut self, name: &str, value: Ipv4, mask: Ipv4) {
        if mask != Ipv4::default() {
            self.with(name, |out| put::ipv4(out, value, mask));
        }
    }
    fn ipv6(&mut self, name: &str, value: Ipv6, mask: Ipv6) {
        if mask != Ipv6::default() {
            self.with(name, |out| put::ipv6(out, value, mask));
        }
    }
    fn port(&mut self, name: &str, port: u32) {
        let names = self.names;
        // OpenFlow ports have 16 bits.
        self.with(name, |out| put::put_port(out, OfPort(port as u16), names));
    }
}

impl Match {
    /// Appends the match; nothing for one that matches everything. A priority other than the default
    /// ([`PRIORITY_DEFAULT`]) is written first.
    pub fn format(&self, out: &mut String, names: &dyn PortNames, priority: u16) {
        let start = out.len();
        let mut list = List { out, names };
        if priority != PRIORITY_DEFAULT {
            list.item("priority", priority);
        }
        self.metadata(&mut list);
        let dl_type = self.packet_type(&mut list);
        let said = keyword(&self.flow, &self.mask, dl_type);
        if let Some((word, _)) = said {
            list.word(word);
        }
        self.registers(&mut list);
        self.layer2(&mut list, (dl_type, said.is_some()));
        self.layer3(&mut list, (dl_type, said.is_some_and(|(_, proto)| proto)));
        self.mpls(&mut list);
        self.layer4(&mut list, dl_type);
        if out.len() > start {
            out.pop();
        }
    }

    fn metadata(&self, l: &mut List<'_>) {
        let (f, m) = (&self.flow, &self.mask.0);
        l.hex32("pkt_mark", f.pkt_mark.get(), m.pkt_mark.get());
        l.hex32("recirc_id", f.recirc_id.get(), m.recirc_id.get());
        l.hex32("dp_hash", f.dp_hash.get(), m.dp_hash.get());
        if m.conj_id.get() != 0 {
            l.item("conj_id", f.conj_id);
        }
        if m.skb_priority.get() != 0 {
            l.with("skb_priority", |out| {
                put::alt_hex(out, f.skb_priority.get().into())
            });
        }
        if m.actset_output.get() != 0 {
            l.port("actset_output", f.actset_output.get());
        }
        if m.ct_state != 0 {
            let (set, mask) = (f.ct_state.into(), m.ct_state.into());
            l.with("ct_state", |out| {
                put::flags_masked(out, put::ct_state_name, (set, mask, 0xff));
            });
        }
        l.u16("ct_zone", f.ct_zone.get(), m.ct_zone.get());
        l.hex32("ct_mark", f.ct_mark.get(), m.ct_mark.get());
        let label = m.ct_label.get();
        if label != 0 {
            l.with("ct_label", |out| {
                put::hex(out, &f.ct_label.to_bytes());
                if label != u128::MAX {
                    out.push('/');
                    put::hex(out, &m.ct_label.to_bytes());
                }
            });
        }
        l.ipv4("ct_nw_src", f.ct_nw_src, m.ct_nw_src);
        l.ipv6("ct_ipv6_src", f.ct_ipv6_src, m.ct_ipv6_src);
        l.ipv4("ct_nw_dst", f.ct_nw_dst, m.ct_nw_dst);
        l.ipv6("ct_ipv6_dst", f.ct_ipv6_dst, m.ct_ipv6_dst);
        if m.ct_nw_proto != 0 {
            l.item("ct_nw_proto", f.ct_nw_proto);
            l.u16("ct_tp_src", f.ct_tp_src.get(), m.ct_tp_src.get());
            l.u16("ct_tp_dst", f.ct_tp_dst.get(), m.ct_tp_dst.get());
        }
    }

    /// The packet type when it is not the usual one, or when the match is that of a megaflow (which has a
    /// recirculation id); the EtherType that the rest is about.
    fn packet_type(&self, l: &mut List<'_>) -> u16 {
        let mask = self.mask.0.packet_type.get();
        let megaflow = self.mask.0.recirc_id.get() != 0;
        if mask == 0 || (self.has_default_packet_type() && !megaflow) {
            return self.flow.dl_type.get();
        }
        put::packet_type(l.out, self.flow.packet_type.get(), mask);
        l.out.push(',');
        match self.flow.packet_type.get() {
            t if t >> 16 == 1 => t as u16,
            _ => self.flow.dl_type.get(),
        }
    }

    fn registers(&self, l: &mut List<'_>) {
        let (f, m) = (&self.flow, &self.mask.0);
        for (i, (reg, mask)) in f.regs.iter().zip(&m.regs).enumerate() {
            if mask.get() != 0 {
                l.hex32(&format!("reg{i}"), reg.get(), mask.get());
            }
        }
        self.tunnel(l);
        l.number("metadata", f.metadata.get(), m.metadata.get(), u64::MAX);
        if m.in_port.get() != 0 {
            l.port("in_port", f.in_port.get());
        }
    }

    fn tunnel(&self, l: &mut List<'_>) {
        const FLAGS: u16 =
            TunnelKey::F_DF | TunnelKey::F_CSUM | TunnelKey::F_KEY | TunnelKey::F_OAM;
        let (t, m) = (&self.flow.tunnel, &self.mask.0.tunnel);
        l.number("tun_id", t.tun_id.get(), m.tun_id.get(), u64::MAX);
        l.ipv4("tun_src", t.ip_src, m.ip_src);
        l.ipv4("tun_dst", t.ip_dst, m.ip_dst);
        l.ipv6("tun_ipv6_src", t.ipv6_src, m.ipv6_src);
        l.ipv6("tun_ipv6_dst", t.ipv6_dst, m.ipv6_dst);
        l.u16("tun_gbp_id", t.gbp_id.get(), m.gbp_id.get());
        let hex = |l: &mut List<'_>, name, show, n: u32| {
            if show {
                l.with(name, |out| put::alt_hex(out, n.into()));
            }
        };
        hex(l, "tun_gbp_flags", m.gbp_flags != 0, t.gbp_flags.into());
        if m.ip_tos != 0 {
            l.item("tun_tos", format_args!("{:x}", t.ip_tos));
        }
        if m.ip_ttl != 0 {
            l.item("tun_ttl", t.ip_ttl);
        }
        if m.erspan_ver != 0 {
            l.item("tun_erspan_ver", t.erspan_ver);
        }
        let (v1, v2) = (t.erspan_ver == 1, t.erspan_ver == 2);
        hex(
            l,
            "tun_erspan_idx",
            v1 && m.erspan_idx.get() != 0,
            t.erspan_idx.get(),
        );
        if v2 && m.erspan_dir != 0 {
            l.item("tun_erspan_dir", t.erspan_dir);
        }
        hex(
            l,
            "tun_erspan_hwid",
            v2 && m.erspan_hwid != 0,
            t.erspan_hwid.into(),
        );
        hex(l, "gtpu_flags", m.gtpu_flags != 0, t.gtpu_flags.into());
        if m.gtpu_msgtype != 0 {
            l.item("gtpu_msgtype", t.gtpu_msgtype);
        }
        let (set, mask) = (t.flags.get() & FLAGS, m.flags.get() & FLAGS);
        if mask != 0 {
            l.with("tun_flags", |out| {
                let all = (set.into(), mask.into(), FLAGS.into());
                put::flags_masked(out, put::tun_flag_name, all);
            });
        }
        self.tun_metadata(l);
    }

    fn tun_metadata(&self, l: &mut List<'_>) {
        let (t, m) = (&self.flow.tunnel, &self.mask.0.tunnel);
        let Some(table) = self.tun.as_deref() else {
            return;
        };
        if t.flags.get() & TunnelKey::F_UDPIF != 0 {
            return;
        }
        for i in 0..64u8 {
            if m.present.get() >> i & 1 == 0 {
                continue;
            }
            put(l.out, format_args!("tun_metadata{i}"));
            let (value, mask) = (table.value(i, t), table.value(i, m));
            let exact = mask.iter().all(|&b| b == 0xff);
            let masked = table.own_masked(i).unwrap_or(mask.is_empty() || !exact);
            if t.present.get() >> i & 1 == 0 {
                l.out.push_str("=NP");
            } else if !(masked && mask.iter().all(|&b| b == 0)) {
                l.out.push('=');
                put::hex(l.out, &value);
                if !exact {
                    l.out.push('/');
                    put::hex(l.out, &mask);
                }
            }
            l.out.push(',');
        }
    }

    fn layer2(&self, l: &mut List<'_>, (dl_type, said): (u16, bool)) {
        let (f, m) = (&self.flow, &self.mask.0);
        for (i, (tag, mask)) in f.vlans.iter().zip(&m.vlans).enumerate() {
            if mask.tci.get() == 0 {
                break;
            }
            vlan(l, if i == 0 { "" } else { "1" }, tag, mask.tci.get());
        }
        l.mac("dl_src", f.dl_src, m.dl_src);
        l.mac("dl_dst", f.dl_dst, m.dl_dst);
        if !said && m.dl_type.get() != 0 {
            l.item("dl_type", format_args!("{dl_type:#06x}"));
        }
    }

    fn layer3(&self, l: &mut List<'_>, (dl_type, proto_said): (u16, bool)) {
        let (f, m) = (&self.flow, &self.mask.0);
        let arp = is_arp_type(dl_type);
        if dl_type == ETH_TYPE_IPV6 {
            l.ipv6("ipv6_src", f.ipv6_src, m.ipv6_src);
            l.ipv6("ipv6_dst", f.ipv6_dst, m.ipv6_dst);
            match (f.ipv6_label.get(), m.ipv6_label.get()) {
                (_, 0) => {}
                (v, u32::MAX) => l.item("ipv6_label", format_args!("{v:#07x}")),
                (v, mask) => l.item("ipv6_label", format_args!("{v:#07x}/{mask:#07x}")),
            }
        } else if dl_type == ETH_TYPE_NSH {
            nsh(l, f, m);
        } else {
            let (src, dst) = if arp {
                ("arp_spa", "arp_tpa")
            } else {
                ("nw_src", "nw_dst")
            };
            l.ipv4(src, f.nw_src, m.nw_src);
            l.ipv4(dst, f.nw_dst, m.nw_dst);
        }
        if !proto_said && m.nw_proto != 0 {
            l.item(if arp { "arp_op" } else { "nw_proto" }, f.nw_proto);
        }
        if arp {
            l.mac("arp_sha", f.arp_sha, m.arp_sha);
            l.mac("arp_tha", f.arp_tha, m.arp_tha);
        }
        if m.nw_tos & wire::ipv4::DSCP_MASK != 0 {
            l.item("nw_tos", f.nw_tos & wire::ipv4::DSCP_MASK);
        }
        if m.nw_tos & wire::ipv4::ECN_MASK != 0 {
            l.item("nw_ecn", f.nw_tos & wire::ipv4::ECN_MASK);
        }
        if m.nw_ttl != 0 {
            l.item("nw_ttl", f.nw_ttl);
        }
    }

    fn mpls(&self, l: &mut List<'_>) {
        let (f, m) = (&self.flow.mpls_lse, &self.mask.0.mpls_lse);
        let (lse, mask) = (MplsHeader { lse: f[0] }, m[0].get());
        if mask & LSE_LABEL_MASK != 0 {
            l.item("mpls_label", lse.label());
        }
        if mask & LSE_TC_MASK != 0 {
            l.item("mpls_tc", lse.tc());
        }
        if mask & LSE_TTL_MASK != 0 {
            l.item("mpls_ttl", lse.ttl());
        }
        if mask & LSE_BOS != 0 {
            l.item("mpls_bos", u8::from(lse.bos()));
        }
        l.u32("mpls_lse1", f[1].get(), m[1].get());
        l.u32("mpls_lse2", f[2].get(), m[2].get());
    }

    fn layer4(&self, l: &mut List<'_>, dl_type: u16) {
        let (f, m) = (&self.flow, &self.mask.0);
        let any = f.nw_frag & Flow::FRAG_ANY != 0;
        let later = f.nw_frag & Flow::FRAG_LATER != 0;
        let frag = match (
            m.nw_frag & Flow::FRAG_ANY != 0,
            m.nw_frag & Flow::FRAG_LATER != 0,
        ) {
            (true, true) => match (any, later) {
                (true, true) => "later",
                (true, false) => "first",
                (false, true) => "<error>",
                (false, false) => "no",
            },
            (true, false) if any => "yes",
            (true, false) => "no",
            (false, true) if later => "later",
            (false, true) => "not_later",
            (false, false) => "",
        };
        if !frag.is_empty() {
            l.item("nw_frag", frag);
        }
        let icmp6 = dl_type == ETH_TYPE_IPV6 && f.nw_proto == PROTO_ICMPV6;
        let icmp4 = dl_type == ETH_TYPE_IP && f.nw_proto == PROTO_ICMP;
        let names = if icmp4 || icmp6 {
            ("icmp_type", "icmp_code")
        } else {
            ("tp_src", "tp_dst")
        };
        l.u16(names.0, f.tp_src.get(), m.tp_src.get());
        l.u16(names.1, f.tp_dst.get(), m.tp_dst.get());
        if icmp6 {
            l.ipv6("nd_target", f.nd_target, m.nd_target);
            l.mac("nd_sll", f.arp_sha, m.arp_sha);
            l.mac("nd_tll", f.arp_tha, m.arp_tha);
            l.u32(
                "nd_reserved",
                f.igmp_group_ip4.get(),
                m.igmp_group_ip4.get(),
            );
            l.u16("nd_options_type", f.tcp_flags.get(), m.tcp_flags.get());
        }
        let mask = m.tcp_flags.get() & wire::tcp::FLAGS_MASK;
        if f.is_ip_any() && f.nw_proto == PROTO_TCP && m.tcp_flags.get() != 0 {
            let all = (f.tcp_flags.get().into(), mask.into(), 0xfff);
            l.with("tcp_flags", |out| {
                put::flags_masked(out, put::tcp_flag_name, all)
            });
        }
    }
}

/// The word that stands for EtherType and protocol, and whether it says the protocol too.
fn keyword(f: &Flow, mask: &Mask, dl_type: u16) -> Option<(&'static str, bool)> {
    if mask.0.dl_type.get() == 0 {
        return None;
    }
    let v6 = dl_type == ETH_TYPE_IPV6;
    let proto = match f.nw_proto {
        PROTO_ICMP if !v6 => Some("icmp"),
        PROTO_ICMPV6 if v6 => Some("icmp6"),
        PROTO_TCP => Some(if v6 { "tcp6" } else { "tcp" }),
        PROTO_UDP => Some(if v6 { "udp6" } else { "udp" }),
        PROTO_SCTP => Some(if v6 { "sctp6" } else { "sctp" }),
        _ => None,
    };
    match dl_type {
        ETH_TYPE_IP | ETH_TYPE_IPV6 => Some(match proto.filter(|_| mask.0.nw_proto != 0) {
            Some(word) => (word, true),
            None => (if v6 { "ipv6" } else { "ip" }, false),
        }),
        ETH_TYPE_ARP => Some(("arp", false)),
        ETH_TYPE_RARP => Some(("rarp", false)),
        ETH_TYPE_MPLS => Some(("mpls", false)),
        ETH_TYPE_MPLS_MCAST => Some(("mplsm", false)),
        _ => None,
    }
}

fn vlan(l: &mut List<'_>, nth: &str, tag: &Vlan, mask: u16) {
    let (vid, pcp) = (mask & Vlan::VID_MASK, mask & Vlan::PCP_MASK);
    let whole = |bits, all| bits == 0 || bits == all;
    let plain = mask & Vlan::CFI != 0
        && tag.is_present()
        && whole(vid, Vlan::VID_MASK)
        && whole(pcp, Vlan::PCP_MASK)
        && vid | pcp != 0;
    let tci = tag.tci.get();
    if plain {
        if vid != 0 {
            l.item(&format!("dl_vlan{nth}"), tag.vid());
        }
        if pcp != 0 {
            l.item(&format!("dl_vlan_pcp{nth}"), tag.pcp());
        }
    } else if mask == u16::MAX {
        l.item(&format!("vlan_tci{nth}"), format_args!("{tci:#06x}"));
    } else {
        l.item(
            &format!("vlan_tci{nth}"),
            format_args!("{tci:#06x}/{mask:#06x}"),
        );
    }
}

fn nsh(l: &mut List<'_>, f: &Flow, m: &Flow) {
    let (f, m) = (&f.nsh, &m.nsh);
    let spi = |path: u32| path >> 8;
    let spi_mask = match spi(m.path_hdr.get()) {
        0xff_ffff => u32::MAX,
        n => n,
    };
    l.u8("nsh_flags", f.flags, m.flags);
    l.u8("nsh_ttl", f.ttl, m.ttl);
    l.u8("nsh_mdtype", f.mdtype, m.mdtype);
    l.u8("nsh_np", f.np, m.np);
    l.u32_hex("nsh_spi", spi(f.path_hdr.get()), spi_mask);
    let si = |path: u32| path.to_be_bytes()[3];
    l.u8("nsh_si", si(f.path_hdr.get()), si(m.path_hdr.get()));
    if m.mdtype == u8::MAX && f.mdtype == wire::nsh::MD_TYPE1 {
        for (i, (c, mask)) in f.context.iter().zip(&m.context).enumerate() {
            l.u32_hex(&format!("nsh_c{}", i + 1), c.get(), mask.get());
        }
    }
}

impl fmt::Display for Match {
    /// Without names of ports and without priority.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.format(&mut out, &NoNames, PRIORITY_DEFAULT);
        f.write_str(&out)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({self})")
    }
}
