//! Masks that follow from a packet's type: what can matter at all, and what is worth nothing.

use crate::key::{Flow, Mask, TunnelKey};
use crate::matches::Match;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_NSH, is_arp_type, is_mpls_type};
use wire::icmpv6::{NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_IGMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::mpls::LSE_BOS;
use wire::{EthAddr, Ipv4, Ipv6, U16};

const MAC: EthAddr = EthAddr::BROADCAST;
const V4: Ipv4 = Ipv4([0xff; 4]);
const V6: Ipv6 = Ipv6([0xff; 16]);
const ALL16: U16 = U16::MAX_VALUE;

impl Mask {
    /// Every field that a packet of `flow`'s type has. Registers, metadata and the like are not in it.
    #[must_use]
    pub fn for_packet(flow: &Flow) -> Self {
        let mut mask = Self::empty();
        let m = &mut mask.0;
        tunnel(&flow.tunnel, &mut m.tunnel);
        m.skb_priority.set(u32::MAX);
        m.pkt_mark.set(u32::MAX);
        m.ct_state = 0xff;
        m.ct_zone = ALL16;
        m.ct_mark.set(u32::MAX);
        m.ct_label.set(u128::MAX);
        m.recirc_id.set(u32::MAX);
        m.dp_hash.set(u32::MAX);
        m.in_port.set(u32::MAX);
        m.packet_type.set(u32::MAX);
        if flow.is_ethernet() {
            (m.dl_dst, m.dl_src, m.dl_type) = (MAC, MAC, ALL16);
            // The first missing tag is part of the picture, tags behind it are not.
            for (m, tag) in m.vlans.iter_mut().zip(&flow.vlans) {
                (m.tpid, m.tci) = (ALL16, ALL16);
                if tag.tci.get() == 0 {
                    break;
                }
            }
        }
        if layer3(flow, m) {
            layer4(flow, m);
        }
        mask
    }

    /// Marks the layer 4 ports as looked at; of ICMP, the 8 bits there are.
    pub fn add_tp_ports(&mut self, flow: &Flow) {
        let all = if flow.nw_proto == PROTO_ICMP {
            0xff
        } else {
            u16::MAX
        };
        self.0.tp_src.set(all);
        self.0.tp_dst.set(all);
    }
}

fn tunnel(t: &TunnelKey, m: &mut TunnelKey) {
    if !t.is_set() {
        if t.tun_id.get() != 0 {
            m.tun_id.set(u64::MAX);
        }
        return;
    }
    let exact = &Mask::exact().0.tunnel;
    let (tun_id, present) = (m.tun_id, m.present);
    *m = *exact;
    (m.tun_id, m.present) = (tun_id, present);
    (m._pad6, m._pad10) = (Default::default(), [0; 48]);
    m.opts_len = 0;
    if t.flags.get() & TunnelKey::F_KEY != 0 {
        m.tun_id.set(u64::MAX);
    }
    if t.flags.get() & TunnelKey::F_UDPIF != 0 {
        m.opts_len = 0xff;
        m.opts[usize::from(t.opts_len)..].fill(0);
    } else if t.present.get() != 0 {
        m.present = t.present;
    } else {
        m.opts.fill(0);
    }
}

/// True when layer 4 may follow.
fn layer3(flow: &Flow, m: &mut Flow) -> bool {
    match flow.effective_dl_type() {
        ETH_TYPE_IP => {
            (m.nw_src, m.nw_dst) = (V4, V4);
            (m.ct_nw_src, m.ct_nw_dst) = (V4, V4);
            true
        }
        ETH_TYPE_IPV6 => {
            (m.ipv6_src, m.ipv6_dst) = (V6, V6);
            m.ipv6_label.set(u32::MAX);
            if flow.is_nd(None) {
                (m.arp_sha, m.arp_tha, m.nd_target) = (MAC, MAC, V6);
            } else {
                (m.ct_ipv6_src, m.ct_ipv6_dst) = (V6, V6);
            }
            true
        }
        ETH_TYPE_NSH => {
            m.nsh = Mask::exact().0.nsh;
            true
        }
        t if is_arp_type(t) => {
            (m.nw_src, m.nw_dst, m.nw_proto) = (V4, V4, 0xff);
            (m.arp_sha, m.arp_tha) = (MAC, MAC);
            false
        }
        t if is_mpls_type(t) => {
            for (m, lse) in m.mpls_lse.iter_mut().zip(&flow.mpls_lse) {
                m.set(u32::MAX);
                if lse.get() & LSE_BOS != 0 {
                    break;
                }
            }
            false
        }
        _ => false,
    }
}

fn layer4(flow: &Flow, m: &mut Flow) {
    m.nw_frag = Flow::FRAG_ANY | Flow::FRAG_LATER;
    (m.nw_tos, m.nw_ttl, m.nw_proto) = (0xff, 0xff, 0xff);
    (m.ct_nw_proto, m.ct_tp_src, m.ct_tp_dst) = (0xff, ALL16, ALL16);
    if flow.nw_frag & Flow::FRAG_LATER != 0 {
        return;
    }
    match flow.nw_proto {
        PROTO_TCP => m.tcp_flags = ALL16,
        PROTO_IGMP => m.igmp_group_ip4.set(u32::MAX),
        PROTO_ICMP | PROTO_ICMPV6 | PROTO_UDP | PROTO_SCTP => {}
        _ => return,
    }
    (m.tp_src, m.tp_dst) = (ALL16, ALL16);
}

/// What a normal match may ask for.
#[derive(Default)]
struct May {
    ether: bool,
    nw_addr: bool,
    tp_addr: bool,
    nw_proto: bool,
    ip: bool,
    arp_sha: bool,
    arp_tha: bool,
    ipv6: bool,
    nd_target: bool,
    mpls: bool,
}

impl May {
    fn of(m: &Match) -> Self {
        let mut may = Self::default();
        let wc_type = m.mask.0.packet_type.get();
        let dl_type = if wc_type == 0 || m.has_default_packet_type() {
            may.ether = true;
            m.flow.dl_type.get()
        } else if wc_type == u32::MAX && m.flow.packet_type.get() >> 16 == 1 {
            m.flow.effective_dl_type()
        } else {
            0
        };
        let f = &m.flow;
        match dl_type {
            ETH_TYPE_IP => {
                (may.nw_proto, may.ip, may.nw_addr) = (true, true, true);
                may.tp_addr = matches!(f.nw_proto, PROTO_TCP | PROTO_UDP | PROTO_SCTP | PROTO_ICMP);
            }
            ETH_TYPE_IPV6 => {
                (may.nw_proto, may.ip, may.ipv6) = (true, true, true);
                may.tp_addr = matches!(
                    f.nw_proto,
                    PROTO_TCP | PROTO_UDP | PROTO_SCTP | PROTO_ICMPV6
                );
                if f.nw_proto == PROTO_ICMPV6 {
                    may.arp_sha = f.tp_src.get() == NEIGHBOR_SOLICIT.into();
                    may.arp_tha = f.tp_src.get() == NEIGHBOR_ADVERT.into();
                    may.nd_target = may.arp_sha || may.arp_tha;
                }
            }
            t if is_arp_type(t) => {
                (may.nw_proto, may.nw_addr) = (true, true);
                (may.arp_sha, may.arp_tha) = (true, true);
            }
            t => may.mpls = is_mpls_type(t),
        }
        may
    }

    fn restrict(&self, m: &mut Flow) {
        let zero = Flow::zero();
        if !self.ether {
            (m.dl_src, m.dl_dst) = (zero.dl_src, zero.dl_dst);
        }
        if !self.nw_addr {
            (m.nw_src, m.nw_dst) = (zero.nw_src, zero.nw_dst);
        }
        if !self.tp_addr {
            (m.tp_src, m.tp_dst) = (zero.tp_src, zero.tp_dst);
        }
        if !self.nw_proto {
            m.nw_proto = 0;
        }
        if !self.ip {
            (m.nw_tos, m.nw_ttl) = (0, 0);
        }
        if !self.arp_sha {
            m.arp_sha = zero.arp_sha;
        }
        if !self.arp_tha {
            m.arp_tha = zero.arp_tha;
        }
        if !self.ipv6 {
            (m.ipv6_src, m.ipv6_dst) = (zero.ipv6_src, zero.ipv6_dst);
            m.ipv6_label = zero.ipv6_label;
        }
        if !self.nd_target {
            m.nd_target = zero.nd_target;
        }
        if !self.mpls {
            m.mpls_lse = zero.mpls_lse;
        }
    }
}

impl Match {
    /// Drops what cannot matter: fields of a layer whose type the match does not ask for, or whose type
    /// does not have them. Gives the match as it was when anything was dropped (callers that got it from
    /// a controller log both at INFO: "normalization changed ofp_match, details:").
    pub fn normalize(&mut self) -> Option<Box<Self>> {
        let mut mask = self.mask;
        May::of(self).restrict(&mut mask.0);
        if mask == self.mask {
            return None;
        }
        let before = Box::new(self.clone());
        self.mask = mask;
        self.zero_wildcarded();
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldId;

    #[test]
    fn normalize_drops_orphans() {
        let mut m = Match::catchall();
        m.set_u64(FieldId::TcpDst, 80);
        m.set_u64(FieldId::EthType, 0x800);
        let before = m.normalize().map(|b| b.get(FieldId::TcpDst)[1]);
        assert_eq!(before, Some(80));
        assert!(m.is_wild(FieldId::TcpDst) && !m.is_wild(FieldId::EthType));
        m.set_u64(FieldId::IpProto, 6);
        m.set_u64(FieldId::TcpDst, 80);
        assert!(m.normalize().is_none());
    }

    #[test]
    fn packets_match_their_own_mask() {
        let mut f = Flow::zero();
        f.dl_type.set(0x86dd);
        f.nw_proto = 58;
        f.tp_src.set(135);
        let m = Mask::for_packet(&f);
        assert_eq!(m.0.nd_target, V6);
        assert_eq!(m.0.ct_ipv6_src, Ipv6::default());
        assert_eq!(m.0.vlans[1].tci.get(), 0);
        f.tp_dst.set(1);
        assert_eq!(Mask::for_packet(&f).0.nd_target, Ipv6::default());
    }
}
