//! Which attributes a flow has, in the order and nesting of the datapath ABI.

use super::attr::{ethertype, vlan};
use super::put::Parts;
use super::{Attr, OdpNames};
use crate::extract::vlan_limit;
use crate::key::{Flow, Mask};
use crate::text::put::put;
use packet::OdpPort;
use wire::ethernet::{
    ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_MIN, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST,
    ETH_TYPE_NSH, ETH_TYPE_RARP, is_vlan_type,
};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};

/// A key under construction.
struct Key<'a> {
    out: &'a mut String,
    flow: &'a Flow,
    mask: Option<&'a Mask>,
    names: &'a dyn OdpNames,
    verbose: bool,
    /// The next attribute is the first of its list.
    first: bool,
}

/// Appends a flow's attributes, under `mask` (none: all bits count, nothing is left out).
pub fn format_key(
    out: &mut String,
    (flow, mask): (&Flow, Option<&Mask>),
    names: &dyn OdpNames,
    verbose: bool,
) {
    let mut key = Key {
        out,
        flow,
        mask,
        names,
        verbose,
        first: true,
    };
    key.metadata();
    key.packet();
}

impl Key<'_> {
    /// The attribute, unless its mask is empty and empty ones are left out.
    fn attr(&mut self, attr: Attr) {
        let wild = self.mask.is_some_and(|m| attr.is_wild(&m.0));
        if self.verbose || !wild {
            self.comma();
            attr.format(self.out, (self.flow, self.mask), self.names, self.verbose);
        }
    }
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
    }

    fn metadata(&mut self) {
        let f = self.flow;
        self.attr(Attr::Priority);
        let t = &f.tunnel;
        if t.is_set() || t.ip_src != Default::default() || t.ipv6_src != Default::default() {
            self.attr(Attr::Tunnel);
        }
        for attr in [
            Attr::SkbMark,
            Attr::CtState,
            Attr::CtZone,
            Attr::CtMark,
            Attr::CtLabel,
        ] {
            self.attr(attr);
        }
        match f.dl_type.get() {
            ETH_TYPE_IP if f.ct_nw_proto != 0 => self.attr(Attr::CtTuple4),
            ETH_TYPE_IPV6 if f.ct_nw_proto != 0 => self.attr(Attr::CtTuple6),
            _ => {}
        }
        self.attr(Attr::RecircId);
        self.attr(Attr::DpHash);
        if f.in_port.get() != OdpPort::NONE.0 {
            self.attr(Attr::InPort);
        }
        self.attr(Attr::PacketType);
    }

    /// Layer 2 and up: a tag wraps what follows it in `encap(...)`.
    fn packet(&mut self) {
        let f = self.flow;
        let mut depth = 0;
        if f.is_ethernet() {
            self.ethernet();
            for i in 0..vlan_limit() {
                let (tag, dl_type) = (&f.vlans[i], f.dl_type.get());
                let truncated = tag.tci.get() == 0;
                if truncated && !is_vlan_type(dl_type) {
                    break;
                }
                self.tag(i, if truncated { dl_type } else { tag.tpid.get() });
                depth += 1;
                if truncated {
                    return self.close(depth);
                }
            }
        }
        if f.dl_type.get() < ETH_TYPE_MIN {
            // The key has no type for such frames, only the mask says that there is none. An empty
            // list of attributes stays empty.
            if self.mask.is_some() && (depth == 0 || !self.first) {
                self.out.push_str(",eth_type(0/0xffff)");
            }
        } else {
            self.attr(Attr::EthType);
            if !is_vlan_type(f.dl_type.get()) {
                self.layer3();
                self.layer4();
            }
        }
        self.close(depth);
    }

    /// An empty `eth()` still says that there is Ethernet, when no packet type says so.
    fn ethernet(&mut self) {
        let wild = |attr: Attr| self.mask.is_some_and(|m| attr.is_wild(&m.0));
        if self.verbose || !wild(Attr::Ethernet) {
            self.attr(Attr::Ethernet);
        } else if wild(Attr::PacketType) {
            self.comma();
            self.out.push_str("eth()");
        }
    }

    fn tag(&mut self, i: usize, tpid: u16) {
        self.comma();
        self.out.push_str("eth_type(");
        ethertype(
            &mut Parts {
                out: self.out,
                verbose: self.verbose,
            },
            tpid,
            u16::MAX,
        );
        self.out.push(')');
        let tci = self.flow.vlans[i].tci.get();
        let mask = self.mask.map_or(u16::MAX, |m| m.0.vlans[i].tci.get());
        if self.verbose || mask != 0 {
            self.out.push_str(",vlan(");
            let mut parts = Parts {
                out: self.out,
                verbose: self.verbose,
            };
            vlan(&mut parts, tci, mask);
            parts.end();
            self.out.push(')');
        }
        self.out.push_str(",encap(");
        self.first = true;
    }

    fn close(&mut self, depth: usize) {
        put(self.out, format_args!("{}", ")".repeat(depth)));
    }

    fn layer3(&mut self) {
        match self.flow.dl_type.get() {
            ETH_TYPE_IP => self.attr(Attr::Ipv4),
            ETH_TYPE_IPV6 => self.attr(Attr::Ipv6),
            ETH_TYPE_ARP | ETH_TYPE_RARP => self.attr(Attr::Arp),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => self.attr(Attr::Mpls),
            ETH_TYPE_NSH => self.attr(Attr::Nsh),
            _ => {}
        }
    }

    fn layer4(&mut self) {
        let f = self.flow;
        if !f.is_ip_any() || f.nw_frag & Flow::FRAG_LATER != 0 {
            return;
        }
        let v4 = f.dl_type.get() == ETH_TYPE_IP;
        match f.nw_proto {
            PROTO_TCP => {
                self.attr(Attr::Tcp);
                let masked = self.mask.is_some_and(|m| m.0.tcp_flags.get() != 0);
                if f.tcp_flags.get() != 0 || masked {
                    self.attr(Attr::TcpFlags);
                }
            }
            PROTO_UDP => self.attr(Attr::Udp),
            PROTO_SCTP => self.attr(Attr::Sctp),
            PROTO_ICMP if v4 => self.attr(Attr::Icmp),
            PROTO_ICMPV6 if !v4 => {
                self.attr(Attr::Icmpv6);
                if f.is_nd(None) {
                    self.neighbour();
                }
            }
            _ => {}
        }
    }

    /// The mask of neighbour discovery counts only under exact type and code.
    fn neighbour(&mut self) {
        let exact = |m: &Mask| m.0.tp_src.get() & 0xff == 0xff && m.0.tp_dst.get() & 0xff == 0xff;
        match self.mask {
            Some(m) if !exact(m) => {
                if self.verbose {
                    self.comma();
                    let names = self.names;
                    Attr::Nd.format(self.out, (self.flow, Some(&Mask::empty())), names, true);
                }
            }
            _ => self.attr(Attr::Nd),
        }
    }
}
