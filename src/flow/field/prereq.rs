//! What a flow must be so that a field of it means anything.

use super::FieldId;
use crate::key::{Flow, Mask, Vlan};
use wire::U16;
use wire::ethernet::{
    ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_NSH, is_arp_type, is_ip_type, is_mpls_type,
};
use wire::icmpv6::{NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};

/// A condition on a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Prereqs {
    None,
    Ethernet,
    Arp,
    VlanVid,
    Ipv4,
    Ipv6,
    IpAny,
    Nsh,
    CtValid,
    Mpls,
    Tcp,
    Udp,
    Sctp,
    Icmpv4,
    Icmpv6,
    Nd,
    NdSolicit,
    NdAdvert,
}

/// Conntrack state bits (`ct_state`).
pub mod ct_state {
    /// First packet of a connection.
    pub const NEW: u8 = 0x01;
    /// Both directions seen.
    pub const ESTABLISHED: u8 = 0x02;
    /// Related to a known connection.
    pub const RELATED: u8 = 0x04;
    /// Reply direction.
    pub const REPLY_DIR: u8 = 0x08;
    /// Cannot be tracked.
    pub const INVALID: u8 = 0x10;
    /// Conntrack has seen it.
    pub const TRACKED: u8 = 0x20;
    /// Source address or port was translated.
    pub const SRC_NAT: u8 = 0x40;
    /// Destination address or port was translated.
    pub const DST_NAT: u8 = 0x80;
}

/// True when the conntrack state of a packet is that of a valid connection; marks what was looked at.
#[must_use]
pub fn ct_valid(flow: &Flow, wc: Option<&mut Mask>) -> bool {
    const VALID: u8 = ct_state::NEW | ct_state::ESTABLISHED | ct_state::REPLY_DIR;
    if let Some(wc) = wc {
        wc.0.ct_state |= VALID;
    }
    flow.ct_state & VALID != 0
}

/// The same for a match: it must ask for a bit that implies a valid connection, or for "not invalid".
fn ct_valid_match(flow: &Flow, mask: &Mask) -> bool {
    use ct_state::{DST_NAT, ESTABLISHED, INVALID, NEW, RELATED, REPLY_DIR, SRC_NAT, TRACKED};
    let s = flow.ct_state;
    s & (NEW | ESTABLISHED | RELATED | REPLY_DIR | SRC_NAT | DST_NAT) != 0
        || (s & TRACKED != 0 && mask.0.ct_state & INVALID != 0 && s & INVALID == 0)
}

impl Flow {
    /// The EtherType, from the packet type when the packet has no Ethernet header.
    #[must_use]
    pub fn effective_dl_type(&self) -> u16 {
        match self.packet_type.get() {
            0 => self.dl_type.get(),
            t if t >> 16 == 1 => t as u16,
            _ => Self::DL_TYPE_NONE,
        }
    }
    /// The packet has an Ethernet header.
    #[must_use]
    pub fn is_ethernet(&self) -> bool {
        self.packet_type.get() == 0
    }
    /// IPv4 or IPv6.
    #[must_use]
    pub fn is_ip_any(&self) -> bool {
        is_ip_type(self.effective_dl_type())
    }
    /// The packet is IP with this protocol; marks `nw_proto` as looked at when it is IP.
    #[must_use]
    pub fn is_ip_proto(&self, proto: u8, wc: Option<&mut Mask>) -> bool {
        self.is_ip_any() && self.proto_is(proto, wc)
    }
    /// ICMP over IPv4.
    #[must_use]
    pub fn is_icmpv4(&self, wc: Option<&mut Mask>) -> bool {
        self.effective_dl_type() == ETH_TYPE_IP && self.proto_is(PROTO_ICMP, wc)
    }
    /// ICMPv6 over IPv6.
    #[must_use]
    pub fn is_icmpv6(&self, wc: Option<&mut Mask>) -> bool {
        self.effective_dl_type() == ETH_TYPE_IPV6 && self.proto_is(PROTO_ICMPV6, wc)
    }
    /// Neighbour solicitation or advertisement.
    #[must_use]
    pub fn is_nd(&self, mut wc: Option<&mut Mask>) -> bool {
        if !self.is_icmpv6(wc.as_deref_mut()) {
            return false;
        }
        if let Some(wc) = wc.as_deref_mut() {
            wc.0.tp_dst = U16::MAX_VALUE;
        }
        if self.tp_dst.get() != 0 {
            return false;
        }
        if let Some(wc) = wc {
            wc.0.tp_src = U16::MAX_VALUE;
        }
        [NEIGHBOR_SOLICIT, NEIGHBOR_ADVERT]
            .map(u16::from)
            .contains(&self.tp_src.get())
    }
    /// The packet has a VLAN tag.
    #[must_use]
    pub fn is_vlan(&self, mut wc: Option<&mut Mask>) -> bool {
        if let Some(wc) = wc.as_deref_mut() {
            wc.0.packet_type.set(u32::MAX);
        }
        if !self.is_ethernet() {
            return false;
        }
        if let Some(wc) = wc {
            let tci = &mut wc.0.vlans[0].tci;
            tci.set(tci.get() | Vlan::CFI);
        }
        self.vlans[0].is_present()
    }

    fn proto_is(&self, proto: u8, wc: Option<&mut Mask>) -> bool {
        if let Some(wc) = wc {
            wc.0.nw_proto = 0xff;
        }
        self.nw_proto == proto
    }
}

impl Prereqs {
    /// True when `flow` fulfils them. Marks in `wc` what had to be looked at. When `flow` is the flow of
    /// a match, `of_match` is its mask.
    #[must_use]
    pub fn ok(self, flow: &Flow, of_match: Option<&Mask>, wc: Option<&mut Mask>) -> bool {
        let dl_type = flow.effective_dl_type();
        let first = flow.nw_frag & Flow::FRAG_LATER == 0;
        match self {
            Self::None => true,
            Self::Ethernet => {
                if let Some(wc) = wc {
                    wc.0.packet_type.set(u32::MAX);
                }
                flow.is_ethernet()
            }
            Self::Arp => is_arp_type(dl_type),
            Self::Ipv4 => dl_type == ETH_TYPE_IP,
            Self::Ipv6 => dl_type == ETH_TYPE_IPV6,
            Self::VlanVid => flow.is_vlan(wc),
            Self::Mpls => is_mpls_type(dl_type),
            Self::IpAny => is_ip_type(dl_type),
            Self::Nsh => dl_type == ETH_TYPE_NSH,
            Self::CtValid => match of_match {
                Some(mask) => ct_valid_match(flow, mask),
                None => ct_valid(flow, wc),
            },
            Self::Tcp => flow.is_ip_proto(PROTO_TCP, wc) && first,
            Self::Udp => flow.is_ip_proto(PROTO_UDP, wc) && first,
            Self::Sctp => flow.is_ip_proto(PROTO_SCTP, wc) && first,
            Self::Icmpv4 => flow.is_icmpv4(wc),
            Self::Icmpv6 => flow.is_icmpv6(wc),
            Self::Nd => flow.is_nd(wc),
            Self::NdSolicit => flow.is_nd(wc) && flow.tp_src.get() == u16::from(NEIGHBOR_SOLICIT),
            Self::NdAdvert => flow.is_nd(wc) && flow.tp_src.get() == u16::from(NEIGHBOR_ADVERT),
        }
    }
}

impl FieldId {
    /// True when a packet's `flow` meets the field's prerequisites; marks what was looked at.
    #[must_use]
    pub fn prereqs_ok(self, flow: &Flow, wc: Option<&mut Mask>) -> bool {
        self.info().prereqs.ok(flow, None, wc)
    }
}
