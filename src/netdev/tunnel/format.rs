//! [`TunnelConfig`] to options: what was set, defaults left out, as `dpif/show` lists them.

use super::{DEFAULT_TTL, Kind};
use crate::device::{Config, TunnelConfig};
use std::net::IpAddr;

pub(super) fn options(kind: &Kind, c: &TunnelConfig) -> Config {
    let mut out = Options(Config::new());
    out.address("remote_ip", c.remote_ip, c.ip_dst_flow);
    out.address("local_ip", c.local_ip, c.ip_src_flow);
    keys(&mut out, c);
    out.header(kind, c);
    if c.pt_mode != kind.default_pt_mode(c) {
        let mode = ["legacy_l2", "legacy_l3", "ptap"];
        out.put("packet_type", mode[usize::from(c.pt_mode).min(2)]);
    }
    if !c.dont_fragment {
        out.put("df_default", "false");
    }
    if c.set_egress_pkt_mark {
        out.put("egress_pkt_mark", c.egress_pkt_mark);
    }
    if kind.class.ends_with("erspan") {
        erspan(&mut out, c);
    }
    out.0
}

struct Options(Config);

impl Options {
    fn put(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.to_owned(), value.to_string());
    }

    fn address(&mut self, key: &str, ip: Option<IpAddr>, from_flow: bool) {
        match ip.filter(|ip| !ip.is_unspecified()) {
            Some(ip) => self.put(key, ip),
            None if from_flow => self.put(key, "flow"),
            None => {}
        }
    }

    fn key(&mut self, name: &str, key: Option<u64>, from_flow: bool) {
        match key {
            _ if from_flow => self.put(name, "flow"),
            Some(key) => self.put(name, key),
            None => {}
        }
    }

    /// Fields of the outer header.
    fn header(&mut self, kind: &Kind, c: &TunnelConfig) {
        match c.ttl {
            _ if c.ttl_inherit => self.put("ttl", "inherit"),
            Some(ttl) if ttl != DEFAULT_TTL => self.put("ttl", ttl),
            _ => {}
        }
        match c.tos {
            _ if c.tos_inherit => self.put("tos", "inherit"),
            Some(tos) if tos != 0 => self.put("tos", format!("{tos:#x}")),
            _ => {}
        }
        if kind.dst_port.is_some_and(|default| default != c.dst_port) {
            self.put("dst_port", c.dst_port);
        }
        if c.csum {
            self.put("csum", "true");
        }
        if c.set_seq {
            self.put("seq", "true");
        }
    }
}

/// One `key` when both directions have the same, else one each.
fn keys(out: &mut Options, c: &TunnelConfig) {
    let same = c.in_key.is_some() && c.in_key == c.out_key;
    if same || c.in_key_flow && c.out_key_flow {
        out.key("key", c.in_key, c.in_key_flow);
    } else {
        out.key("in_key", c.in_key, c.in_key_flow);
        out.key("out_key", c.out_key, c.out_key_flow);
    }
}

fn erspan(out: &mut Options, c: &TunnelConfig) {
    if c.erspan_ver_flow {
        for key in ["erspan_ver", "erspan_idx", "erspan_dir", "erspan_hwid"] {
            out.put(key, "flow");
        }
        return;
    }
    let flow_or = |from_flow: bool, value: String| {
        if from_flow { "flow".to_owned() } else { value }
    };
    out.put("erspan_ver", c.erspan_ver);
    if c.erspan_ver == 1 {
        let idx = format!("{:#x}", c.erspan_idx);
        out.put("erspan_idx", flow_or(c.erspan_idx_flow, idx));
    } else if c.erspan_ver == 2 {
        let (dir, hwid) = (c.erspan_dir.to_string(), format!("{:#x}", c.erspan_hwid));
        out.put("erspan_dir", flow_or(c.erspan_dir_flow, dir));
        out.put("erspan_hwid", flow_or(c.erspan_hwid_flow, hwid));
    }
}
