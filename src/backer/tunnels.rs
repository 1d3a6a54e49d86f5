//! Tunnel options of a device, as translation sees them and as people do.

use crate::backer::Backer;
use flow::OdpPort;
use netdev::TunnelConfig as Options;
use std::fmt::Write;
use std::net::IpAddr;
use wire::Ipv6;
use xlate::port::{ErspanConfig, FromFlow, PacketTypeMode, TunnelConfig};

/// Time to live of outer headers when nobody says otherwise.
const DEFAULT_TTL: u8 = 64;
/// The bit of the VXLAN group policy extension.
const VXLAN_GBP: u32 = 1;

fn address(ip: Option<IpAddr>, from_flow: bool) -> FromFlow<Ipv6> {
    if from_flow {
        return FromFlow::Flow;
    }
    FromFlow::Fixed(match ip {
        None => Ipv6::default(),
        Some(IpAddr::V6(ip)) => Ipv6(ip.octets()),
        Some(IpAddr::V4(ip)) => Ipv6(ip.to_ipv6_mapped().octets()),
    })
}

fn or_flow<T>(value: T, from_flow: bool) -> FromFlow<T> {
    if from_flow {
        FromFlow::Flow
    } else {
        FromFlow::Fixed(value)
    }
}

/// The options as translation sees them.
pub(crate) fn image(o: &Options) -> TunnelConfig {
    TunnelConfig {
        remote_ip: address(o.remote_ip, o.ip_dst_flow),
        local_ip: address(o.local_ip, o.ip_src_flow),
        in_key: or_flow(o.in_key, o.in_key_flow),
        out_key: or_flow(o.out_key, o.out_key_flow),
        dst_port: o.dst_port,
        ttl: (!o.ttl_inherit).then(|| o.ttl.unwrap_or(DEFAULT_TTL)),
        tos: (!o.tos_inherit).then(|| o.tos.unwrap_or(0)),
        dont_fragment: o.dont_fragment,
        csum: o.csum,
        gbp: o.exts & VXLAN_GBP != 0,
        egress_pkt_mark: o.set_egress_pkt_mark.then_some(o.egress_pkt_mark),
        erspan: ErspanConfig {
            ver: or_flow(o.erspan_ver, o.erspan_ver_flow),
            idx: or_flow(o.erspan_idx, o.erspan_idx_flow),
            dir: or_flow(o.erspan_dir, o.erspan_dir_flow),
            hwid: or_flow(o.erspan_hwid, o.erspan_hwid_flow),
        },
    }
}

/// Which packet types the tunnel carries.
pub(crate) fn packet_type(o: &Options) -> PacketTypeMode {
    match o.pt_mode {
        0 => PacketTypeMode::LegacyL2,
        1 => PacketTypeMode::LegacyL3,
        _ => PacketTypeMode::Aware,
    }
}

impl Backer {
    /// `ofproto/list-tunnels`, this datapath's part: those that match more come first, as they do for packets.
    #[must_use]
    pub fn list_tunnels(&self) -> String {
        let mut lines = Vec::new();
        for iface in self.bridges().values().flat_map(|b| b.ifaces()) {
            if let Some(o) = iface
                .device
                .tunnel_config()
                .filter(|_| iface.odp != OdpPort::NONE)
            {
                let (name, class) = (iface.name(), iface.device.class());
                lines.push((rank(&o), iface.odp, line((name, class), iface.odp, &o)));
            }
        }
        lines.sort();
        lines.into_iter().map(|(_, _, line)| line).collect()
    }
}

/// Which of its fields a tunnel leaves to the flow: the key before the remote before the local address.
fn rank(o: &Options) -> (bool, bool, u8) {
    let local = match (o.ip_src_flow, o.local_ip) {
        (true, _) => 2,
        (false, None) => 1,
        (false, Some(_)) => 0,
    };
    (o.in_key_flow, o.ip_dst_flow, local)
}

/// A tunnel in Open vSwitch's words.
fn line((name, class): (&str, &str), odp: OdpPort, o: &Options) -> String {
    let mut out = format!("port {odp}: {name} ({class}: ");
    // A string takes everything.
    let mut put = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a String takes everything");
    };
    let ip = |ip: Option<IpAddr>| ip.map_or_else(|| "::".to_owned(), |ip| ip.to_string());
    match (o.ip_src_flow, o.ip_dst_flow) {
        (_, false) => put(format_args!("{}->{}", ip(o.local_ip), ip(o.remote_ip))),
        (false, true) => put(format_args!("{}->flow", ip(o.local_ip))),
        (true, true) => put(format_args!("flow->flow")),
    }
    let hex = |n: u64| {
        if n == 0 {
            "0".to_owned()
        } else {
            format!("{n:#x}")
        }
    };
    let key = |key: Option<u64>, flow| match flow {
        true => "flow".to_owned(),
        false => hex(key.unwrap_or(0)),
    };
    let mode = match packet_type(o) {
        PacketTypeMode::LegacyL2 => "legacy_l2",
        PacketTypeMode::LegacyL3 => "legacy_l3",
        PacketTypeMode::Aware => "ptap",
    };
    put(format_args!(
        ", key={}, {mode}, dp port={odp}",
        key(o.in_key, o.in_key_flow)
    ));
    if (o.out_key, o.out_key_flow) != (o.in_key, o.in_key_flow) {
        let text = match (o.out_key, o.out_key_flow) {
            (None, false) => "none".to_owned(),
            (out_key, flow) => key(out_key, flow),
        };
        put(format_args!(", out_key={text}"));
    }
    match o.ttl_inherit {
        true => put(format_args!(", ttl=inherit")),
        false => put(format_args!(", ttl={}", o.ttl.unwrap_or(DEFAULT_TTL))),
    }
    match o.tos {
        _ if o.tos_inherit => put(format_args!(", tos=inherit")),
        Some(tos @ 1..) => put(format_args!(", tos={tos:#x}")),
        _ => {}
    }
    if !o.dont_fragment {
        put(format_args!(", df=false"));
    }
    if o.csum {
        put(format_args!(", csum=true"));
    }
    out + ")\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that Open vSwitch 3.1 gives.
    #[test]
    fn lines_are_the_peers() {
        let o = Options {
            ttl: Some(64),
            dont_fragment: true,
            ..Options::default()
        };
        let vxlan = Options {
            remote_ip: Some([1, 2, 3, 4].into()),
            in_key: Some(5),
            out_key: Some(5),
            ..o.clone()
        };
        assert_eq!(
            line(("t1", "vxlan"), OdpPort(4789), &vxlan),
            "port 4789: t1 (vxlan: ::->1.2.3.4, key=0x5, legacy_l2, dp port=4789, ttl=64)\n"
        );
        let gre = Options {
            ip_dst_flow: true,
            in_key_flow: true,
            out_key_flow: true,
            ttl_inherit: true,
            tos_inherit: true,
            ..o.clone()
        };
        assert_eq!(
            line(("t2", "gre"), OdpPort(1), &gre),
            "port 1: t2 (gre: ::->flow, key=flow, legacy_l2, dp port=1, ttl=inherit, tos=inherit)\n"
        );
        let geneve = Options {
            ip_dst_flow: true,
            ip_src_flow: true,
            out_key: Some(7),
            dont_fragment: false,
            csum: true,
            ..o.clone()
        };
        assert_eq!(
            line(("t3", "geneve"), OdpPort(6081), &geneve),
            "port 6081: t3 (geneve: flow->flow, key=0, legacy_l2, dp port=6081, out_key=0x7, ttl=64, df=false, csum=true)\n"
        );
        let gre6 = Options {
            local_ip: "fe80::2".parse().ok(),
            remote_ip: "fe80::1".parse().ok(),
            in_key: Some(3),
            pt_mode: 2,
            ttl: Some(5),
            tos: Some(8),
            ..o
        };
        assert_eq!(
            line(("t4", "gre"), OdpPort(1), &gre6),
            "port 1: t4 (gre: fe80::2->fe80::1, key=0x3, ptap, dp port=1, out_key=none, ttl=5, tos=0x8)\n"
        );
        let mut order = [rank(&geneve), rank(&gre), rank(&vxlan), rank(&gre6)];
        order.sort_unstable();
        assert_eq!(
            order,
            [rank(&gre6), rank(&vxlan), rank(&geneve), rank(&gre)]
        );
    }
}
