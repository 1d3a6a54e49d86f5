//! Tunnel ports: what the outer headers of a packet will be, and which port a packet from a tunnel came in
//! on.
//!
//! A packet leaves a tunnel port with tunnel metadata made from the port's options and, where these say
//! `flow` or `inherit`, from the packet. The datapath gets them by a `set(tunnel(...))` action and does the
//! rest.

use crate::ctx::{Ctx, mapped, tunnel_dst};
use crate::effects::Effect;
use crate::headers::is_ip;
use crate::port::{FromFlow, PacketTypeMode, TunnelConfig, XPort};
use crate::snapshot::{BridgeId, Snapshot};
use crate::trace::NodeKind;
use crate::wild::{Site, Wild};
use base::log::RateLimit;
use flow::{Flow, Mask, OfPort, TunnelKey};
use odp::{Action, SetKey};
use wire::ipv4::{DSCP_MASK, ECN_MASK};
use wire::{Ipv4, Ipv6, U16, U32, U64};

/// "Congestion experienced".
const ECN_CE: u8 = 3;
/// "ECN-capable transport", the codepoint used for congestion on the outer header.
const ECN_ECT_0: u8 = 2;

/// Time to live where there is none to inherit.
const DEFAULT_TTL: u8 = 64;

static ECN_DROPS: RateLimit = RateLimit::new(5, 20);

fn is_ce(tos: u8) -> bool {
    tos & ECN_MASK == ECN_CE
}

/// Marks the outer headers of a packet that came out of a tunnel: they decide on which port it came in.
pub(crate) fn mark_received(flow: &Flow, wc: &mut Wild) {
    if !flow.tunnel.is_set() {
        return;
    }
    let v4 = flow.tunnel.ip_dst != Ipv4::default();
    wc.mark(Site::Tunnel, |m| {
        m.tunnel.tun_id = U64::MAX_VALUE;
        if v4 {
            m.tunnel.ip_src = Ipv4([0xff; 4]);
            m.tunnel.ip_dst = Ipv4([0xff; 4]);
        } else {
            m.tunnel.ipv6_src = Ipv6([0xff; 16]);
            m.tunnel.ipv6_dst = Ipv6([0xff; 16]);
        }
        m.tunnel.flags = U16::new(TunnelKey::F_DF | TunnelKey::F_CSUM | TunnelKey::F_KEY);
        m.tunnel.ip_tos = 0xff;
    });
    if is_ip(flow) && is_ce(flow.tunnel.ip_tos) {
        wc.mark(Site::TunnelEcn, |m| m.nw_tos |= ECN_MASK);
    }
}

/// Passes a congestion mark of the outer header on to the packet; false when the packet cannot carry it
/// and must be dropped (RFC 6040).
pub(crate) fn receive_ecn(flow: &mut Flow) -> bool {
    if flow.tunnel.is_set() && is_ip(flow) && is_ce(flow.tunnel.ip_tos) {
        if flow.nw_tos & ECN_MASK == 0 {
            base::log_rl!(
                ECN_DROPS,
                WARN,
                "tunnel",
                "dropping tunnel packet marked ECN CE but is not ECN capable"
            );
            return false;
        }
        flow.nw_tos |= ECN_CE;
    }
    true
}

/// The IPv4 and IPv6 forms in which a tunnel key has an address: one of them is zero.
fn split(ip: Ipv6) -> (Ipv4, Ipv6) {
    match std::net::Ipv6Addr::from(ip.0).to_ipv4_mapped() {
        Some(v4) => (Ipv4(v4.octets()), Ipv6::default()),
        None => (Ipv4::default(), ip),
    }
}

fn fix<T: Copy>(slot: &mut T, value: FromFlow<T>) {
    if let FromFlow::Fixed(v) = value {
        *slot = v;
    }
}

/// Options that a tunnel's class does not have are not sent to the datapath.
fn keep_options_of(class: &str, key: &mut TunnelKey) {
    let none = Flow::zero().tunnel;
    if class != "geneve" {
        (key.present, key.opts, key.opts_len) = (none.present, none.opts, 0);
        key.flags &= U16::new(!TunnelKey::F_UDPIF);
    }
    if class != "vxlan" {
        (key.gbp_id, key.gbp_flags) = (none.gbp_id, 0);
    }
    if !class.ends_with("erspan") {
        (key.erspan_ver, key.erspan_idx) = (0, none.erspan_idx);
        (key.erspan_dir, key.erspan_hwid) = (0, 0);
    }
    if class != "gtpu" {
        (key.gtpu_flags, key.gtpu_msgtype) = (0, 0);
    }
}

impl<'a> Ctx<'a> {
    /// Sends the packet into a tunnel.
    pub(crate) fn send_tunnel(&mut self, port: &'a XPort) {
        let Some(cfg) = &port.tunnel else {
            return;
        };
        if self.snap.features.tnl_push_pop {
            // The datapath would send the outer packet by a route, and there are none.
            self.note(NodeKind::Warn, || "native tunnel routing failed".into());
            return;
        }
        let before = self.flow.tunnel;
        self.outer_headers(cfg);
        if tunnel_dst(&self.flow.tunnel) == self.own_tunnel_dst {
            self.note(NodeKind::Warn, || "Not tunneling to our own address".into());
            self.flow.tunnel = before;
            return;
        }
        self.effect(Effect::PortTx {
            bridge: self.bridge.id,
            port: port.ofp,
        });
        self.note(NodeKind::Detail, || "output to kernel tunnel".into());
        self.keep_tunnel_metadata(Site::TunnelKept);
        if self.flow.tunnel.is_set() && self.base.tunnel != self.flow.tunnel {
            self.base.tunnel = self.flow.tunnel;
            let mut key = Box::new(self.flow.tunnel);
            keep_options_of(&port.class, &mut key);
            if key.present.get() != 0 {
                *key = self.tun().to_raw(&key);
            }
            self.emit(Action::Set(SetKey::Tunnel(key)));
        }
        self.flow.tunnel = before;
        self.commit();
        self.sample_egress(port.odp);
        self.emit(Action::Output(port.odp));
        self.sent(port.ofp);
        self.mirror_egress(port);
    }

    /// What came with the packet out of one tunnel and is kept, in a frozen translation or into another
    /// tunnel, but for what differs from packet to packet and is not kept.
    pub(crate) fn keep_tunnel_metadata(&mut self, site: Site) {
        if self.upcall.tunnel.is_set() {
            self.wc.mark_hidden(site, |m| {
                let free = (m.tunnel.ip_ttl, m.tunnel.tp_src, m.tunnel.tp_dst);
                m.tunnel = Mask::exact().0.tunnel;
                (m.tunnel.ip_ttl, m.tunnel.tp_src, m.tunnel.tp_dst) = free;
            });
        }
    }

    /// Makes the flow's tunnel metadata those of a packet that leaves by a port with these options.
    fn outer_headers(&mut self, cfg: &TunnelConfig) {
        let ip = is_ip(&self.flow);
        let (tos, ttl) = (self.flow.nw_tos, self.flow.nw_ttl);
        let t = &mut self.flow.tunnel;
        if let FromFlow::Fixed(src) = cfg.local_ip {
            (t.ip_src, t.ipv6_src) = split(src);
        }
        if let FromFlow::Fixed(dst) = cfg.remote_ip {
            (t.ip_dst, t.ipv6_dst) = split(dst);
        }
        // The source port is the datapath's to choose.
        t.tp_src = U16::ZERO;
        t.tp_dst = U16::new(cfg.dst_port);
        if let FromFlow::Fixed(key) = cfg.out_key {
            t.tun_id = U64::new(key.unwrap_or(0));
        }
        match cfg.ttl {
            None if ip => {
                self.wc.mark(Site::TunnelInherit, |m| m.nw_ttl = 0xff);
                t.ip_ttl = ttl;
            }
            fixed => t.ip_ttl = fixed.unwrap_or(DEFAULT_TTL),
        }
        match cfg.tos {
            None if ip => {
                self.wc.mark(Site::TunnelInherit, |m| m.nw_tos |= DSCP_MASK);
                t.ip_tos = tos & DSCP_MASK;
            }
            fixed => t.ip_tos = fixed.unwrap_or(0),
        }
        // ECN is always inherited.
        if ip {
            self.wc.mark(Site::TunnelInherit, |m| m.nw_tos |= ECN_MASK);
            t.ip_tos |= if is_ce(tos) {
                ECN_ECT_0
            } else {
                tos & ECN_MASK
            };
        }
        let mut flags = t.flags.get() & TunnelKey::F_MATCHABLE;
        flags |= if cfg.dont_fragment {
            TunnelKey::F_DF
        } else {
            0
        };
        flags |= if cfg.csum { TunnelKey::F_CSUM } else { 0 };
        if cfg.out_key != FromFlow::Fixed(None) {
            flags |= TunnelKey::F_KEY;
        }
        t.flags = U16::new(flags);
        let e = &cfg.erspan;
        fix(&mut t.erspan_ver, e.ver);
        if let FromFlow::Fixed(idx) = e.idx {
            t.erspan_idx = U32::new(idx);
        }
        fix(&mut t.erspan_dir, e.dir);
        fix(&mut t.erspan_hwid, e.hwid);
        if let Some(mark) = cfg.egress_pkt_mark {
            self.flow.pkt_mark = U32::new(mark);
            self.wc
                .mark(Site::TunnelInherit, |m| m.pkt_mark = U32::MAX_VALUE);
        }
    }
}

/// How exactly a tunnel port asks for a packet: lower is more exact. `None`: not at all.
fn rank(port: &XPort, cfg: &TunnelConfig, flow: &Flow) -> Option<u8> {
    let t = &flow.tunnel;
    let by_mode = match (
        port.packet_type,
        crate::headers::is_ethertype_packet(flow.packet_type.get()),
    ) {
        (PacketTypeMode::LegacyL3, true) | (PacketTypeMode::LegacyL2, false) => 0,
        (PacketTypeMode::Aware, _) => 1,
        _ => return None,
    };
    let key = match cfg.in_key {
        FromFlow::Fixed(key) => {
            if key.unwrap_or(0) != t.tun_id.get() {
                return None;
            }
            0
        }
        FromFlow::Flow => 12,
    };
    let src = if t.ip_dst == Ipv4::default() {
        t.ipv6_src
    } else {
        mapped(t.ip_src)
    };
    let remote = match cfg.remote_ip {
        FromFlow::Fixed(ip) => {
            if ip != src {
                return None;
            }
            0
        }
        FromFlow::Flow => 6,
    };
    let local = match cfg.local_ip {
        FromFlow::Fixed(ip) if ip == tunnel_dst(t) => 0,
        FromFlow::Fixed(ip) if ip == Ipv6::default() => 2,
        FromFlow::Fixed(_) => return None,
        FromFlow::Flow => 4,
    };
    Some(key + remote + local + by_mode)
}

impl Snapshot {
    /// The port on which a packet from a tunnel came in: of those on its datapath port, the one whose
    /// options ask for it most exactly.
    pub(crate) fn tunnel_port(&self, flow: &Flow) -> Option<(BridgeId, OfPort)> {
        let odp = flow::OdpPort(flow.in_port.get());
        self.bridges
            .values()
            .flat_map(|b| b.ports.values().map(|p| (b.id, p)))
            .filter(|(_, p)| p.odp == odp)
            .filter_map(|(id, p)| Some((rank(p, p.tunnel.as_deref()?, flow)?, id, p.ofp)))
            .min()
            .map(|(_, id, ofp)| (id, ofp))
    }
}
