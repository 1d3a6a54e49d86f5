//! Tunnel classes: `vxlan`, `geneve`, `gre`, `ip6gre`, `erspan`, `ip6erspan`, `gtpu`, `bareudp`, and
//! `lisp` and `stt`, which can be configured but have no header of ours.
//!
//! A tunnel port has no queues: translation writes outer headers from its [`TunnelConfig`], and the
//! datapath has one port per class and destination port (its [`Provider::dpif_port_name`]) for packets
//! that come in. What is here is the configuration, read and refused exactly as Open vSwitch reads it.
//!
//! VXLAN ports with and without group policy cannot share a UDP port; the class counts them.

mod config;
mod format;

use crate::device::{
    Config, Device, DeviceFlags, Direction, Provider, RxQueue, Stats, TunnelConfig, TxQueue,
};
use crate::error::NetdevError;
use crate::registry::Registry;
use crate::vport::{Counts, random_mac};
use base::sync::{Arc, AtomicU64, Mutex, Ordering, lock};
use std::collections::BTreeMap;
use wire::EthAddr;

/// Bit numbers of [`TunnelConfig::exts`].
pub mod ext {
    /// VXLAN group policy.
    pub const VXLAN_GBP: u32 = 0;
    /// VXLAN generic protocol extension.
    pub const VXLAN_GPE: u32 = 1;
    /// bareudp carries several protocols.
    pub const BAREUDP_MULTIPROTO: u32 = 0;
}

/// Outer TTL when nothing is configured.
pub const DEFAULT_TTL: u8 = 64;

/// What tells one class from another.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    class: &'static str,
    dpif_port: &'static str,
    /// Default UDP or TCP destination port; `None` when the class has no such thing.
    dst_port: Option<u16>,
    has_csum: bool,
    has_seq: bool,
}

const fn kind(
    class: &'static str,
    dpif_port: &'static str,
    dst_port: Option<u16>,
    has_csum: bool,
    has_seq: bool,
) -> Kind {
    Kind {
        class,
        dpif_port,
        dst_port,
        has_csum,
        has_seq,
    }
}

const KINDS: [Kind; 10] = [
    kind("geneve", "genev_sys", Some(6081), true, false),
    kind("gre", "gre_sys", None, true, true),
    kind("vxlan", "vxlan_sys", Some(4789), true, false),
    kind("lisp", "lisp_sys", Some(4341), false, false),
    kind("stt", "stt_sys", Some(7471), true, false),
    kind("erspan", "erspan_sys", None, false, false),
    kind("ip6erspan", "ip6erspan_sys", None, false, false),
    kind("ip6gre", "ip6gre_sys", None, true, true),
    kind("gtpu", "gtpu_sys", Some(2152), false, false),
    kind("bareudp", "udp_sys", Some(0), false, false),
];

impl Kind {
    /// The class can carry (Ethernet frames, bare layer 3 packets).
    fn layers(&self, config: &TunnelConfig) -> (bool, bool) {
        match self.class {
            "lisp" | "gtpu" | "bareudp" => (false, true),
            "gre" => (true, true),
            "vxlan" if config.exts >> ext::VXLAN_GPE & 1 == 1 => (true, true),
            _ => (true, false),
        }
    }
    /// Packet type mode of a port that does not say: legacy_l3 when it cannot carry Ethernet.
    fn default_pt_mode(&self, config: &TunnelConfig) -> u8 {
        u8::from(self.layers(config) == (false, true))
    }
}

/// Registers all tunnel classes.
///
/// # Errors
/// One of them is registered already.
pub fn register(registry: &Registry) -> Result<(), NetdevError> {
    for kind in &KINDS {
        registry.register(Arc::new(TunnelClass {
            kind,
            shared: Arc::default(),
        }))?;
    }
    Ok(())
}

/// VXLAN ports by (destination port, has group policy).
type GbpCounts = Mutex<BTreeMap<(u16, bool), u32>>;

#[derive(Debug)]
struct TunnelClass {
    kind: &'static Kind,
    shared: Arc<GbpCounts>,
}

impl Provider for TunnelClass {
    fn class(&self) -> &'static str {
        self.kind.class
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        let config = self.kind.initial(name);
        let port = TunnelPort {
            name: name.to_owned(),
            kind: self.kind,
            gbp_counts: Arc::clone(&self.shared),
            state: Mutex::new(State {
                config: Arc::new(config),
                mac: random_mac(),
                egress: None,
            }),
            counts: Counts::default(),
            seq: AtomicU64::new(2),
        };
        port.recount(None, Some(&port.config()));
        Ok(Arc::new(port))
    }
    fn dpif_port_name(&self, config: Option<&TunnelConfig>) -> Option<String> {
        let base = self.kind.dpif_port;
        Some(match (config, self.kind.dst_port) {
            (Some(c), Some(_)) => format!("{base}_{}", c.dst_port),
            _ => base.to_owned(),
        })
    }
}

/// A tunnel port.
#[derive(Debug)]
pub struct TunnelPort {
    name: String,
    kind: &'static Kind,
    gbp_counts: Arc<GbpCounts>,
    state: Mutex<State>,
    counts: Counts,
    seq: AtomicU64,
}

#[derive(Debug)]
struct State {
    config: Arc<TunnelConfig>,
    mac: EthAddr,
    /// Where packets to the remote end leave: device name and whether its link is up.
    egress: Option<(String, bool)>,
}

impl TunnelPort {
    /// Remembers where the route to the remote end leads, for the `status` column. Whoever watches the
    /// routing table calls this.
    pub fn set_egress(&self, egress: Option<(String, bool)>) {
        let mut state = lock(&self.state);
        if state.egress != egress {
            state.egress = egress;
            self.seq.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn config(&self) -> Arc<TunnelConfig> {
        Arc::clone(&lock(&self.state).config)
    }

    /// Moves this port from one configuration's count to another's.
    fn recount(&self, old: Option<&TunnelConfig>, new: Option<&TunnelConfig>) {
        if self.kind.class != "vxlan" {
            return;
        }
        let mut counts = lock(&self.gbp_counts);
        if let Some(old) = old
            && let Some(n) = counts.get_mut(&gbp_key(old))
        {
            *n = n.saturating_sub(1);
        }
        if let Some(new) = new {
            *counts.entry(gbp_key(new)).or_default() += 1;
        }
    }

    /// True when `new` would put ports with and without group policy on one UDP port.
    fn gbp_conflict(&self, new: &TunnelConfig) -> bool {
        if self.kind.class != "vxlan" {
            return false;
        }
        let counts = lock(&self.gbp_counts);
        let count = |port, gbp| counts.get(&(port, gbp)).copied().unwrap_or(0);
        let (old, (port, gbp)) = (gbp_key(&self.config()), gbp_key(new));
        if old == (port, gbp) {
            // A port that stays on the default: what it is was settled when it came, unless it never
            // said so itself.
            return Some(port) == self.kind.dst_port && count(port, !gbp) > 0;
        }
        if old.0 == port {
            return count(old.0, old.1) > 1;
        }
        count(port, !gbp) > 0
    }
}

fn gbp_key(config: &TunnelConfig) -> (u16, bool) {
    (config.dst_port, config.exts >> ext::VXLAN_GBP & 1 == 1)
}

impl Drop for TunnelPort {
    fn drop(&mut self) {
        self.recount(Some(&self.config()), None);
    }
}

impl Device for TunnelPort {
    fn name(&self) -> &str {
        &self.name
    }
    fn class(&self) -> &'static str {
        self.kind.class
    }
    fn is_pmd(&self) -> bool {
        false
    }

    /// Complaints go to the log; only those that refuse the configuration are returned as an error.
    /// Unknown keys are among the complaints, and returned, too.
    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let mut parsed = config::parse(self.kind, &self.name, config);
        if parsed.refused.is_none() && self.gbp_conflict(&parsed.config) {
            parsed.complain(format_args!(
                "{}: VXLAN-GBP, and non-VXLAN-GBP tunnels can't be configured on the same dst_port",
                self.name
            ));
            parsed.refused = Some(libc::EEXIST);
        }
        let text = parsed.complaints.join("\n");
        if !text.is_empty() {
            tracing::warn!(target: "netdev_vport", "{text}");
        }
        if let Some(errno) = parsed.refused {
            return Err(NetdevError::BadConfig { text, errno });
        }
        let old = self.config();
        self.recount(Some(&old), Some(&parsed.config));
        if *old != parsed.config {
            lock(&self.state).config = Arc::new(parsed.config);
            self.seq.fetch_add(1, Ordering::Relaxed);
        }
        Ok(parsed.unknown)
    }
    fn get_config(&self) -> Config {
        format::options(self.kind, &self.config())
    }
    fn tunnel_config(&self) -> Option<Arc<TunnelConfig>> {
        Some(self.config())
    }

    fn n_rxq(&self) -> u32 {
        0
    }
    fn n_txq(&self) -> u32 {
        0
    }
    fn rx_open(&self, _queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        Err(NetdevError::CannotReceive {
            dev: self.name.clone(),
        })
    }
    fn tx_open(&self, _queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        Err(self.unsupported("send"))
    }
    fn etheraddr(&self) -> EthAddr {
        lock(&self.state).mac
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        lock(&self.state).mac = mac;
        self.seq.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn mtu(&self) -> Option<u32> {
        None
    }
    fn carrier(&self) -> bool {
        true
    }
    fn status(&self) -> BTreeMap<String, String> {
        let state = lock(&self.state);
        let Some((iface, up)) = &state.egress else {
            return BTreeMap::new();
        };
        let carrier = if *up { "up" } else { "down" };
        BTreeMap::from([
            ("tunnel_egress_iface".to_owned(), iface.clone()),
            ("tunnel_egress_iface_carrier".to_owned(), carrier.to_owned()),
        ])
    }
    fn stats(&self) -> Stats {
        self.counts.stats()
    }
    fn credit(&self, direction: Direction, packets: u64, bytes: u64) {
        self.counts.credit(direction, packets, bytes);
    }
    fn flags(&self) -> DeviceFlags {
        crate::vport::FLAGS
    }
    fn update_flags(&self, _on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError> {
        if off.up || off.promisc {
            return Err(self.unsupported("update_flags"));
        }
        Ok(())
    }
    fn change_seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let r = Registry::new();
        register(&r).unwrap();
        r
    }

    fn options(text: &str) -> Config {
        let pair = |w: &str| {
            let (k, v) = w.split_once('=').unwrap();
            (k.to_owned(), v.to_owned())
        };
        text.split_whitespace().map(pair).collect()
    }

    /// What comes of configuring a new port of `class` so.
    fn configured(class: &str, text: &str) -> String {
        let device = registry().open("t", class).unwrap();
        match device.set_config(&options(text)) {
            Err(e) => format!("{} {e}", e.errno()),
            Ok(unknown) if !unknown.is_empty() => format!("unknown {unknown:?}"),
            Ok(_) => {
                let shown = device.get_config();
                let words: Vec<_> = shown.iter().map(|(k, v)| format!("{k}={v}")).collect();
                words.join(" ")
            }
        }
    }

    #[test]
    fn options_are_read_and_shown_as_open_vswitch_does() {
        let cases = [
            ("vxlan", "remote_ip=1.1.1.1", "remote_ip=1.1.1.1"),
            (
                "vxlan",
                "remote_ip=1.1.1.1 key=5 ttl=0x40",
                "key=5 remote_ip=1.1.1.1",
            ),
            ("gre", "remote_ip=flow key=flow", "key=flow remote_ip=flow"),
            (
                "geneve",
                "remote_ip=::1 in_key=1 out_key=flow ttl=inherit tos=0x10 csum=true dst_port=99 \
                 df_default=false egress_pkt_mark=7",
                "csum=true df_default=false dst_port=99 egress_pkt_mark=7 in_key=1 out_key=flow \
                 remote_ip=::1 tos=0x10 ttl=inherit",
            ),
            (
                "gre",
                "remote_ip=1.1.1.1 seq=true packet_type=ptap psk=x",
                "packet_type=ptap remote_ip=1.1.1.1 seq=true",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_ver=1 erspan_idx=1f",
                "erspan_idx=0x1f erspan_ver=1 remote_ip=1.1.1.1",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_ver=2 erspan_dir=1 erspan_hwid=flow",
                "erspan_dir=1 erspan_hwid=flow erspan_ver=2 remote_ip=1.1.1.1",
            ),
            (
                "ip6erspan",
                "remote_ip=::9 erspan_ver=flow",
                "erspan_dir=flow erspan_hwid=flow erspan_idx=flow erspan_ver=flow remote_ip=::9",
            ),
            (
                "gtpu",
                "remote_ip=1.1.1.1 packet_type=legacy_l3",
                "remote_ip=1.1.1.1",
            ),
            ("gre", "remote_ip=1.1.1.1 foo=1", r#"unknown ["foo"]"#),
            (
                "gre",
                "remote_ip=1.1.1.1 dst_port=1",
                r#"unknown ["dst_port"]"#,
            ),
        ];
        for (class, given, shown) in cases {
            assert_eq!(configured(class, given), shown, "{class} {given}");
        }
    }

    #[test]
    fn refusals_name_the_port_and_the_reason() {
        let cases = [
            (
                "vxlan",
                "",
                "22 t: vxlan type requires valid 'remote_ip' argument",
            ),
            (
                "vxlan",
                "remote_ip=0.0.0.0",
                "22 t: vxlan type requires valid 'remote_ip' argument",
            ),
            (
                "gre",
                "remote_ip=zz tos=3",
                "22 t: bad gre 'remote_ip'\nt: invalid TOS 3\nt: gre type requires valid 'remote_ip' argument",
            ),
            (
                "gre",
                "remote_ip=224.0.0.1",
                "22 t: multicast remote_ip=224.0.0.1 not allowed",
            ),
            (
                "gre",
                "remote_ip=1.1.1.1 local_ip=flow",
                "22 t: gre type requires 'remote_ip=flow' with 'local_ip=flow'",
            ),
            (
                "gre",
                "remote_ip=1.1.1.1 local_ip=::1",
                "22 t: 'remote_ip' and 'local_ip' has to be of the same address family",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_ver=3",
                "22 t: invalid erspan version: 3",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_idx=100000",
                "22 t: invalid erspan index: 100000",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_hwid=40",
                "22 t: invalid erspan hardware ID: 40",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_dir=2",
                "22 t: invalid erspan direction: 2",
            ),
            (
                "vxlan",
                "remote_ip=1.1.1.1 packet_type=legacy_l3",
                "22 t: legacy_l3 configured on VXLAN (without GPE) tunnel that cannot carry L3 traffic",
            ),
            (
                "gtpu",
                "remote_ip=1.1.1.1 packet_type=legacy_l2",
                "22 t: legacy_l2 configured on gtpu tunnel that cannot carry L2 traffic",
            ),
            (
                "gre",
                "remote_ip=1.1.1.1 packet_type=x",
                "22 t: unknown packet_type 'x'",
            ),
        ];
        for (class, given, said) in cases {
            assert_eq!(configured(class, given), said, "{class} {given}");
        }
    }

    #[test]
    fn a_udp_port_is_with_or_without_group_policy() {
        let r = registry();
        let set = |d: &Arc<dyn Device>, text| d.set_config(&options(text)).map_err(|e| e.errno());
        let a = r.open("a", "vxlan").unwrap();
        set(&a, "remote_ip=1.1.1.1 exts=gbp dst_port=5000").unwrap();
        let b = r.open("b", "vxlan").unwrap();
        assert_eq!(
            set(&b, "remote_ip=1.1.1.2 dst_port=5000"),
            Err(libc::EEXIST)
        );
        set(&b, "remote_ip=1.1.1.2 exts=gbp dst_port=5000").unwrap();
        drop(a);
        set(&b, "remote_ip=1.1.1.2 dst_port=5000").unwrap();
        set(
            &r.open("c", "vxlan").unwrap(),
            "remote_ip=1.1.1.3 dst_port=5000",
        )
        .unwrap();
    }

    #[test]
    fn datapath_ports_are_named_by_class_and_udp_port() {
        let r = registry();
        let name = |class: &str, dev: &str| {
            let provider = r.provider(class).unwrap();
            let device = r.open(dev, class).unwrap();
            provider.dpif_port_name(device.tunnel_config().as_deref())
        };
        assert_eq!(name("vxlan", "a"), Some("vxlan_sys_4789".into()));
        assert_eq!(name("geneve", "genev_sys_77"), Some("genev_sys_77".into()));
        assert_eq!(name("gre", "b"), Some("gre_sys".into()));
        assert_eq!(name("bareudp", "c"), Some("udp_sys_0".into()));
        assert!(r.check_name("vxlan_sys_1").is_err() && r.check_name("vxlan1").is_ok());
    }
}
