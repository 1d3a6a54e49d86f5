//! Tunnel options of a device, as translation sees them.

use netdev::TunnelConfig as Options;
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
