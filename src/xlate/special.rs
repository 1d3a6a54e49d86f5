//! Protocols that the switch itself speaks on a port. Their packets go to userspace, all of them, and are
//! not forwarded.

use crate::ctx::Ctx;
use crate::effects::Event;
use crate::headers::is_stp;
use crate::port::XPort;
use crate::wild::Site;
use flow::Flow;
use odp::SlowReason;
use wire::ethernet::{ETH_TYPE_CFM, ETH_TYPE_IP, ETH_TYPE_LLDP, ETH_TYPE_SLOW};
use wire::ipv4::PROTO_UDP;
use wire::{Ipv4, U16, U64};

/// UDP port of BFD control packets (RFC 5881).
const BFD_PORT: u16 = 3784;

impl Ctx<'_> {
    /// True for a packet that the switch itself must read: nothing else happens to it.
    pub(crate) fn is_special(&mut self, port: &XPort) -> bool {
        let Some(reason) = self.special_reason(port) else {
            return false;
        };
        self.slow(reason);
        let bridge = self.bridge.id;
        self.out.events.push(Event::Protocol {
            bridge,
            port: port.ofp,
            reason,
        });
        true
    }

    fn special_reason(&mut self, port: &XPort) -> Option<SlowReason> {
        let dl_type = self.flow.dl_type.get();
        if self.is_cfm(port) {
            return Some(SlowReason::CFM);
        }
        if self.is_bfd(port) {
            return Some(SlowReason::BFD);
        }
        let lacp = self.bundle_of(port).is_some_and(|b| b.lacp);
        if lacp && dl_type == ETH_TYPE_SLOW {
            return Some(SlowReason::LACP);
        }
        if self.bridge.stp || self.bridge.rstp {
            self.wc.mark(Site::StpAddress, |m| m.dl_dst.0 = [0xff; 6]);
            if is_stp(&self.flow) {
                return Some(SlowReason::STP);
            }
        }
        (port.lldp && dl_type == ETH_TYPE_LLDP).then_some(SlowReason::LLDP)
    }

    /// CFM and BFD packets pass a port that the spanning tree blocks.
    pub(crate) fn is_link_monitoring(&mut self, port: &XPort) -> bool {
        self.is_cfm(port) || self.is_bfd(port)
    }

    fn is_cfm(&mut self, port: &XPort) -> bool {
        let Some(cfm) = port.cfm else {
            return false;
        };
        if self.flow.dl_type.get() != ETH_TYPE_CFM {
            return false;
        }
        self.wc.mark(Site::Cfm, |m| m.dl_dst.0 = [0xff; 6]);
        self.flow.dl_dst == cfm.addr && self.tunnel_key_fits(cfm.no_tunnel_key)
    }

    fn is_bfd(&mut self, port: &XPort) -> bool {
        let Some(bfd) = port.bfd else {
            return false;
        };
        if let Some(dst) = bfd.eth_dst {
            self.wc.mark(Site::Bfd, |m| m.dl_dst.0 = [0xff; 6]);
            if self.flow.dl_dst != dst {
                return false;
            }
        }
        if self.flow.dl_type.get() != ETH_TYPE_IP {
            return false;
        }
        self.wc.mark(Site::Bfd, |m| m.nw_proto = 0xff);
        if self.flow.nw_proto != PROTO_UDP || self.flow.nw_frag & Flow::FRAG_LATER != 0 {
            return false;
        }
        self.wc.mark(Site::Bfd, |m| m.tp_dst = U16::MAX_VALUE);
        if self.flow.tp_dst.get() != BFD_PORT {
            return false;
        }
        if let Some(dst) = bfd.nw_dst {
            self.wc.mark(Site::Bfd, |m| m.nw_dst = Ipv4([0xff; 4]));
            if self.flow.nw_dst != dst {
                return false;
            }
        }
        self.tunnel_key_fits(bfd.no_tunnel_key)
    }

    fn tunnel_key_fits(&mut self, none: bool) -> bool {
        if !none {
            return true;
        }
        self.wc
            .mark(Site::Bfd, |m| m.tunnel.tun_id = U64::MAX_VALUE);
        self.flow.tunnel.tun_id == U64::ZERO
    }
}
