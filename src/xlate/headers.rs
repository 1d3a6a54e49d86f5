//! VLAN tags and MPLS labels of a flow: counting, pushing, popping.
//!
//! A flow holds two tags and three labels. What was pushed beyond that is forgotten at the far end (tags)
//! or refused (labels).

use crate::wild::{Site, Wild};
use flow::{Flow, Vlan};
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6, is_ip_type, is_mpls_type};
use wire::ipv4::DSCP_MASK;
use wire::mpls::LSE_BOS;
use wire::{EthAddr, Ipv4, Ipv6, U16, U32};

/// The packet type of Ethernet.
pub(crate) const PT_ETH: u32 = 0;
/// The namespace of packet types that are EtherTypes.
const NS_ETHERTYPE: u32 = 1;
/// The packet type of NSH.
pub(crate) const PT_NSH: u32 = 0x1_894f;
/// The packet type of IPv4.
pub(crate) const PT_IPV4: u32 = 0x1_0800;
/// The packet type of IPv6.
pub(crate) const PT_IPV6: u32 = 0x1_86dd;
/// The packet type of unicast MPLS.
pub(crate) const PT_MPLS: u32 = 0x1_8847;
/// The packet type of multicast MPLS.
pub(crate) const PT_MPLS_MC: u32 = 0x1_8848;

/// The packet type of an EtherType.
pub(crate) const fn ethertype_packet(t: u16) -> u32 {
    NS_ETHERTYPE << 16 | t as u32
}
/// The namespace of a packet type.
pub(crate) const fn pt_ns(pt: u32) -> u16 {
    (pt >> 16) as u16
}
/// True when the packet type's namespace is that of EtherTypes.
pub(crate) const fn is_ethertype_packet(pt: u32) -> bool {
    pt_ns(pt) as u32 == NS_ETHERTYPE
}

/// True for IPv4 and IPv6.
pub(crate) fn is_ip(flow: &Flow) -> bool {
    is_ip_type(flow.dl_type.get())
}
/// True for MPLS.
pub(crate) fn is_mpls(flow: &Flow) -> bool {
    is_mpls_type(flow.dl_type.get())
}
/// True for frames of a spanning tree protocol.
pub(crate) fn is_stp(flow: &Flow) -> bool {
    flow.dl_type.get() == Flow::DL_TYPE_NONE
        && flow.dl_dst == EthAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x00])
}

/// Tags present.
pub(crate) fn vlan_count(flow: &Flow) -> usize {
    flow.vlans.iter().take_while(|v| v.is_present()).count()
}

/// Removes the outermost tag.
pub(crate) fn vlan_pop(flow: &mut Flow, wc: &mut Wild) {
    let n = vlan_count(flow);
    // A tag that is pushed later may happen to equal the one that goes: then nobody else looks at it.
    wc.mark_hidden(Site::PopVlan, |m| all_vlan_bits(&mut m.vlans[..1]));
    if n > 1 {
        wc.mark(Site::PopVlan, |m| all_vlan_bits(&mut m.vlans[1..n]));
        flow.vlans.copy_within(1..n, 0);
    }
    if n > 0 {
        flow.vlans[n - 1] = Vlan::default();
    }
}

/// Makes room for a new outermost tag, which is zero.
pub(crate) fn vlan_push(flow: &mut Flow, wc: &mut Wild) {
    let n = vlan_count(flow);
    wc.mark(Site::PushVlan, |m| all_vlan_bits(&mut m.vlans[..n]));
    flow.vlans.copy_within(0..Flow::VLANS_MAX - 1, 1);
    flow.vlans[0] = Vlan::default();
}

fn all_vlan_bits(tags: &mut [Vlan]) {
    tags.fill(Vlan {
        tpid: U16::MAX_VALUE,
        tci: U16::MAX_VALUE,
    });
}

/// Labels present. Reads the bottom-of-stack bits.
pub(crate) fn mpls_count(flow: &Flow, wc: Option<&mut Wild>) -> usize {
    if !is_mpls(flow) {
        return 0;
    }
    let bottom = |lse: &U32| lse.get() & LSE_BOS != 0;
    let looked = flow.mpls_lse.iter().position(bottom);
    if let Some(wc) = wc {
        wc.mark(Site::MplsCount, |m| {
            for lse in &mut m.mpls_lse[..looked.map_or(Flow::MPLS_MAX, |i| i + 1)] {
                *lse |= U32::new(LSE_BOS);
            }
        });
    }
    match looked {
        Some(i) => i + 1,
        None => flow.mpls_lse.iter().filter(|l| l.get() != 0).count(),
    }
}

/// Labels, from the innermost, that two stacks share.
pub(crate) fn mpls_common(a: &Flow, a_n: usize, b: &Flow, b_n: usize) -> usize {
    let (a, b) = (&a.mpls_lse[..a_n], &b.mpls_lse[..b_n]);
    // The innermost first.
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Pushes a label in front of the `n` (fewer than the maximum) there are. The first label takes its class
/// and time to live from the IP header; with `hide`, it hides what follows.
pub(crate) fn mpls_push(
    flow: &mut Flow,
    n: usize,
    dl_type: u16,
    wc: Option<&mut Wild>,
    hide: bool,
) {
    debug_assert!(n < Flow::MPLS_MAX);
    if n > 0 {
        if let Some(wc) = wc {
            wc.mark(Site::MplsPush, |m| m.mpls_lse[..n].fill(U32::MAX_VALUE));
        }
        flow.mpls_lse.copy_within(0..n, 1);
        flow.mpls_lse[0] = U32::new(flow.mpls_lse[1].get() & !LSE_BOS);
    } else {
        let label = if flow.dl_type.get() == ETH_TYPE_IPV6 {
            2
        } else {
            0
        };
        let (mut tc, mut ttl) = (0, 64);
        // In a packet that begins with the label, nothing is copied from behind it.
        let first = match flow.packet_type.get() {
            PT_ETH => flow.dl_type.get(),
            pt if is_ethertype_packet(pt) => (pt & 0xffff) as u16,
            _ => 0,
        };
        if is_ip_type(first) {
            tc = u32::from(flow.nw_tos & DSCP_MASK) >> 2;
            if let Some(wc) = wc {
                wc.mark(Site::MplsPush, |m| {
                    m.nw_tos |= DSCP_MASK;
                    m.nw_ttl = 0xff;
                });
            }
            if flow.nw_ttl != 0 {
                ttl = u32::from(flow.nw_ttl);
            }
        }
        flow.mpls_lse[0] = U32::new(label << 12 | (tc & 7) << 9 | LSE_BOS | ttl);
        if hide {
            hide_l3(flow);
            flow.dp_hash = U32::ZERO;
        }
    }
    flow.dl_type = U16::new(dl_type);
}

/// Pops the outermost of `n` labels. False (and no change) when there is none, or when the next one is
/// not known.
pub(crate) fn mpls_pop(flow: &mut Flow, n: usize, dl_type: u16, wc: Option<&mut Wild>) -> bool {
    if n == 0 || (n == Flow::MPLS_MAX && flow.mpls_lse[n - 1].get() & LSE_BOS == 0) {
        return false;
    }
    if let Some(wc) = wc {
        wc.mark(Site::MplsPop, |m| m.mpls_lse[1..n].fill(U32::MAX_VALUE));
    }
    flow.mpls_lse.copy_within(1..n, 0);
    flow.mpls_lse[n - 1] = U32::ZERO;
    flow.dl_type = U16::new(dl_type);
    true
}

/// Zeroes everything from the network layer on, conntrack's tuple included.
fn hide_l3(flow: &mut Flow) {
    let zero = Flow::zero();
    flow.nw_src = Ipv4::default();
    flow.nw_dst = Ipv4::default();
    flow.ct_nw_src = Ipv4::default();
    flow.ct_nw_dst = Ipv4::default();
    flow.ipv6_src = Ipv6::default();
    flow.ipv6_dst = Ipv6::default();
    flow.ct_ipv6_src = Ipv6::default();
    flow.ct_ipv6_dst = Ipv6::default();
    flow.ipv6_label = U32::ZERO;
    flow.nw_frag = 0;
    flow.nw_tos = 0;
    flow.nw_ttl = 0;
    flow.nw_proto = 0;
    flow.nd_target = Ipv6::default();
    flow.arp_sha = EthAddr::ZERO;
    flow.arp_tha = EthAddr::ZERO;
    flow.tcp_flags = U16::ZERO;
    flow.nsh = zero.nsh;
    flow.tp_src = U16::ZERO;
    flow.tp_dst = U16::ZERO;
    flow.ct_tp_src = U16::ZERO;
    flow.ct_tp_dst = U16::ZERO;
    flow.igmp_group_ip4 = U32::ZERO;
}

/// Zeroes every header, as an outer header that replaces them all does.
pub(crate) fn hide_all(flow: &mut Flow) {
    flow.dl_dst = EthAddr::ZERO;
    flow.dl_src = EthAddr::ZERO;
    flow.dl_type = U16::ZERO;
    flow.vlans = [Vlan::default(); Flow::VLANS_MAX];
    flow.mpls_lse = [U32::ZERO; Flow::MPLS_MAX];
    hide_l3(flow);
}

/// Copies every header, and conntrack's tuple, but no metadata.
pub(crate) fn copy_headers(to: &mut Flow, from: &Flow) {
    let old = *to;
    *to = *from;
    to.in_port = old.in_port;
    to.recirc_id = old.recirc_id;
    to.packet_type = old.packet_type;
    to.dp_hash = old.dp_hash;
    to.ct_state = old.ct_state;
    to.ct_zone = old.ct_zone;
    to.ct_mark = old.ct_mark;
    to.ct_label = old.ct_label;
    to.ct_nw_proto = old.ct_nw_proto;
    to.skb_priority = old.skb_priority;
    to.pkt_mark = old.pkt_mark;
    to.conj_id = old.conj_id;
    to.actset_output = old.actset_output;
    to.metadata = old.metadata;
    to.regs = old.regs;
    to.tunnel = old.tunnel;
}

/// Makes the packet untracked.
pub(crate) fn clear_conntrack(flow: &mut Flow) {
    flow.ct_state = 0;
    flow.ct_zone = U16::ZERO;
    flow.ct_mark = U32::ZERO;
    flow.ct_label = wire::U128::ZERO;
    flow.ct_nw_proto = 0;
    flow.ct_tp_src = U16::ZERO;
    flow.ct_tp_dst = U16::ZERO;
    match flow.dl_type.get() {
        ETH_TYPE_IP => {
            flow.ct_nw_src = Ipv4::default();
            flow.ct_nw_dst = Ipv4::default();
        }
        ETH_TYPE_IPV6 => {
            flow.ct_ipv6_src = Ipv6::default();
            flow.ct_ipv6_dst = Ipv6::default();
        }
        _ => {}
    }
}
