//! Tunnel options to [`TunnelConfig`]. What is wrong with an option is a complaint; some complaints refuse
//! the whole configuration, the others are only told. Texts and order of checks are Open vSwitch's.

use super::{DEFAULT_TTL, Kind, ext};
use crate::cnum::{atoi, strtol, strtoull};
use crate::device::{Config, TunnelConfig};
use std::fmt::Arguments;
use std::net::IpAddr;

const ERSPAN_IDX_MAX: u32 = 0xf_ffff;
const ERSPAN_HWID_MAX: u8 = 0x3f;
const DSCP_MASK: i64 = 0xfc;

/// What became of the options.
pub(super) struct Parsed {
    pub(super) config: TunnelConfig,
    /// Lines for the log and, when refused, for the user.
    pub(super) complaints: Vec<String>,
    /// Keys that no tunnel of this class has.
    pub(super) unknown: Vec<String>,
    /// The errno, when the configuration must not be used.
    pub(super) refused: Option<i32>,
}

impl Parsed {
    pub(super) fn complain(&mut self, text: Arguments<'_>) {
        self.complaints.push(text.to_string());
    }
}

/// Complained already, and refused with this errno.
struct Refused(i32);
const INVALID: Refused = Refused(libc::EINVAL);

impl Kind {
    /// The configuration of a port that has none yet. The port's name can say the destination port.
    pub(super) fn initial(&self, name: &str) -> TunnelConfig {
        let suffix = name
            .strip_prefix(self.dpif_port)
            .and_then(|rest| rest.get(1..));
        let named = suffix.map_or(0, |s| atoi(s) as u16);
        let dst_port = match self.dst_port {
            Some(default) if named == 0 => default,
            Some(_) => named,
            None => 0,
        };
        TunnelConfig {
            dst_port,
            dont_fragment: true,
            ttl: Some(DEFAULT_TTL),
            ..TunnelConfig::default()
        }
    }
}

/// Reads the options of a port of class `kind`.
pub(super) fn parse(kind: &Kind, name: &str, options: &Config) -> Parsed {
    let mut reader = Reader {
        kind,
        name,
        out: Parsed {
            config: TunnelConfig {
                dst_port: kind.dst_port.unwrap_or(0),
                dont_fragment: true,
                ..TunnelConfig::default()
            },
            complaints: Vec::new(),
            unknown: Vec::new(),
            refused: None,
        },
    };
    if let Err(Refused(errno)) = reader.all(options) {
        reader.out.refused = Some(errno);
    }
    reader.out
}

struct Reader<'a> {
    kind: &'a Kind,
    name: &'a str,
    out: Parsed,
}

impl Reader<'_> {
    fn all(&mut self, options: &Config) -> Result<(), Refused> {
        for (key, value) in options {
            self.option(key, value)?;
        }
        self.packet_type(options)?;
        self.addresses()?;
        let c = &mut self.out.config;
        if c.ttl.unwrap_or(0) == 0 {
            c.ttl = Some(DEFAULT_TTL);
        }
        (c.in_key, c.in_key_flow) = tunnel_key(options, "in_key");
        (c.out_key, c.out_key_flow) = tunnel_key(options, "out_key");
        Ok(())
    }

    fn complain(&mut self, text: Arguments<'_>) {
        let name = self.name;
        self.out.complain(format_args!("{name}: {text}"));
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let kind = self.kind;
        let c = &mut self.out.config;
        match key {
            "remote_ip" => return self.remote_ip(value),
            "local_ip" => self.local_ip(value),
            "tos" => self.tos(value),
            "ttl" if value == "inherit" => c.ttl_inherit = true,
            "ttl" => c.ttl = Some(atoi(value) as u8),
            "dst_port" if kind.dst_port.is_some() => c.dst_port = atoi(value) as u16,
            "csum" if kind.has_csum => c.csum |= value == "true",
            "seq" if kind.has_seq => c.set_seq |= value == "true",
            "df_default" => c.dont_fragment &= value != "false",
            "key" | "in_key" | "out_key" | "packet_type" => {} // when all others are known
            "exts" if kind.class == "vxlan" => self.extensions(value),
            "egress_pkt_mark" => {
                c.egress_pkt_mark = strtoull(value, 10) as u32;
                c.set_egress_pkt_mark = true;
            }
            "erspan_idx" | "erspan_ver" | "erspan_dir" | "erspan_hwid" => {
                return self.erspan(key, value);
            }
            "payload_type" => return self.payload_type(value),
            "remote_cert" | "remote_name" | "psk" => {} // read by the IPsec daemon, not by us
            _ => {
                self.out.unknown.push(key.to_owned());
                self.complain(format_args!("unknown {} argument '{key}'", kind.class));
            }
        }
        Ok(())
    }

    fn remote_ip(&mut self, value: &str) -> Result<(), Refused> {
        match address(value) {
            Address::Flow => self.out.config.ip_dst_flow = true,
            Address::Ip(ip) if ip.is_multicast() => {
                self.complain(format_args!("multicast remote_ip={value} not allowed"));
                return Err(INVALID);
            }
            Address::Ip(ip) => self.out.config.remote_ip = Some(ip),
            Address::Bad => {
                let class = self.kind.class;
                self.complain(format_args!("bad {class} 'remote_ip'"));
            }
        }
        Ok(())
    }

    fn local_ip(&mut self, value: &str) {
        match address(value) {
            Address::Flow => self.out.config.ip_src_flow = true,
            Address::Ip(ip) => self.out.config.local_ip = Some(ip),
            Address::Bad => {
                let class = self.kind.class;
                self.complain(format_args!("bad {class} 'local_ip'"));
            }
        }
    }

    fn tos(&mut self, value: &str) {
        if value == "inherit" {
            self.out.config.tos_inherit = true;
            return;
        }
        match strtol(value, 0) {
            (tos, "") if tos == tos & DSCP_MASK => self.out.config.tos = Some(tos as u8),
            _ => self.complain(format_args!("invalid TOS {value}")),
        }
    }

    fn extensions(&mut self, value: &str) {
        self.out.config.exts = 0;
        for name in value.split(',').filter(|e| !e.is_empty()) {
            match name {
                "gbp" => self.out.config.exts |= 1 << ext::VXLAN_GBP,
                "gpe" => self.out.config.exts |= 1 << ext::VXLAN_GPE,
                _ => self.complain(format_args!("unknown extension '{name}'")),
            }
        }
    }

    fn erspan(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let c = &mut self.out.config;
        let from_flow = value == "flow";
        let (decimal, hex) = (atoi(value) as u8, strtol(value, 16).0);
        let (good, what) = match key {
            "erspan_idx" => {
                c.erspan_idx_flow = from_flow;
                c.erspan_idx = if from_flow { 0 } else { hex as u32 };
                (c.erspan_idx <= ERSPAN_IDX_MAX, "index")
            }
            "erspan_ver" if from_flow => {
                c.erspan_ver_flow = true;
                (c.erspan_idx_flow, c.erspan_dir_flow, c.erspan_hwid_flow) = (true, true, true);
                (true, "version")
            }
            "erspan_ver" => {
                c.erspan_ver_flow = false;
                c.erspan_ver = decimal;
                (matches!(decimal, 1 | 2), "version")
            }
            "erspan_dir" => {
                c.erspan_dir_flow = from_flow;
                c.erspan_dir = if from_flow { 0 } else { decimal };
                (c.erspan_dir <= 1, "direction")
            }
            _ => {
                c.erspan_hwid_flow = from_flow;
                c.erspan_hwid = if from_flow { 0 } else { hex as u8 };
                (c.erspan_hwid <= ERSPAN_HWID_MAX, "hardware ID")
            }
        };
        if good {
            return Ok(());
        }
        self.complain(format_args!("invalid erspan {what}: {value}"));
        Err(INVALID)
    }

    fn payload_type(&mut self, value: &str) -> Result<(), Refused> {
        const MPLS: u16 = 0x8847;
        const IP: u16 = 0x0800;
        let multi = 1 << ext::BAREUDP_MULTIPROTO;
        let (ethertype, exts) = match value {
            "mpls" => (MPLS, multi),
            "ip" => (IP, multi),
            _ => match strtol(value, 0) {
                (n, "") => (u16::try_from(n).map_err(|_| INVALID)?, 0),
                _ => return Err(INVALID),
            },
        };
        self.out.config.payload_ethertype = ethertype;
        self.out.config.exts |= exts;
        Ok(())
    }

    fn packet_type(&mut self, options: &Config) -> Result<(), Refused> {
        let (l2, l3) = self.kind.layers(&self.out.config);
        let full_type = match (self.kind.class, l3) {
            ("vxlan", true) => "VXLAN-GPE",
            ("vxlan", false) => "VXLAN (without GPE)",
            (class, _) => class,
        };
        let (mode, able, layer) = match options.get("packet_type").map(String::as_str) {
            None => (self.kind.default_pt_mode(&self.out.config), true, ""),
            Some("legacy_l2") => (0, l2, "L2"),
            Some("legacy_l3") => (1, l3, "L3"),
            Some("ptap") => (2, true, ""),
            Some(other) => {
                self.complain(format_args!("unknown packet_type '{other}'"));
                return Err(INVALID);
            }
        };
        self.out.config.pt_mode = mode;
        if able {
            return Ok(());
        }
        let lower = layer.to_lowercase();
        self.complain(format_args!(
            "legacy_{lower} configured on {full_type} tunnel that cannot carry {layer} traffic"
        ));
        Err(INVALID)
    }

    fn addresses(&mut self) -> Result<(), Refused> {
        let class = self.kind.class;
        let c = &self.out.config;
        // An all-zero address is none.
        let remote = c.remote_ip.filter(|ip| !ip.is_unspecified());
        if remote.is_none() && !c.ip_dst_flow {
            self.complain(format_args!(
                "{class} type requires valid 'remote_ip' argument"
            ));
            return Err(INVALID);
        }
        if c.ip_src_flow && !c.ip_dst_flow {
            self.complain(format_args!(
                "{class} type requires 'remote_ip=flow' with 'local_ip=flow'"
            ));
            return Err(INVALID);
        }
        if let (Some(a), Some(b)) = (c.remote_ip, c.local_ip)
            && a.is_ipv4() != b.is_ipv4()
        {
            self.complain(format_args!(
                "'remote_ip' and 'local_ip' has to be of the same address family"
            ));
            return Err(INVALID);
        }
        Ok(())
    }
}

enum Address {
    Flow,
    Ip(IpAddr),
    Bad,
}

fn address(value: &str) -> Address {
    if value == "flow" {
        return Address::Flow;
    }
    match value.parse() {
        Ok(ip) => Address::Ip(ip),
        Err(_) => {
            let family = if value.contains(':') { "IPv6" } else { "IP" };
            tracing::error!(target: "socket_util", "\"{value}\" is not a valid {family} address");
            Address::Bad
        }
    }
}

/// The key under `name`, or else under `key`; and whether it comes from the flow.
fn tunnel_key(options: &Config, name: &str) -> (Option<u64>, bool) {
    match options.get(name).or_else(|| options.get("key")) {
        None => (None, false),
        Some(s) if s == "flow" => (None, true),
        Some(s) => (Some(strtoull(s, 0)), false),
    }
}
