//! A `dpdk` port: a device that is attached by its arguments, set up, watched, and given back.
//!
//! The device is attached when the arguments are set (so that wrong ones are refused at once) and set up by
//! `reconfigure`. Other arguments, or a device that was unplugged, mean attaching again, with all queues closed.
//! A setup that failed is tried again after a pause that doubles from 1 s to 32 s.
//!
//! Threads: control threads, under [`Dpdk::state`]; packet threads only read [`Shared`]'s atomics; DPDK's own
//! threads tell of events through [`super::attach::happened`].

use super::attach::{Attached, Shared};
use super::eal::Eal;
use super::library::{Info, LinkState, STEPS, Setup};
use super::memory::{Request, Share};
use super::options::Options;
use super::queue::{Queues, Rx, Tx};
use crate::device::{
    Config, Device, DeviceFlags, LinkFeatures, QosDetails, QosType, QueueStats, RxQueue, Stats,
    TxQueue,
};
use crate::error::NetdevError;
use crate::qos::PortQos;
use base::clock::monotonic_ns;
use base::sync::{Arc, AtomicU64, Mutex, Ordering, Weak, lock};
use std::collections::BTreeMap;
use wire::EthAddr;

/// Pause after the first failed setup, nanoseconds; doubles up to [`PAUSE_MAX_NS`].
const PAUSE_NS: u64 = 1_000_000_000;
const PAUSE_MAX_NS: u64 = 32_000_000_000;
/// How often links are looked at, nanoseconds.
const LINK_NS: u64 = 500_000_000;
/// MTUs that are taken, bytes: what IPv4 needs, and what frames of 9728 bytes hold.
const MTU_MIN: u32 = 68;
const MTU_MAX: u32 = 9728 - 14 - 4 - 8;
/// Ethernet header and checksum, bytes.
const L2_BYTES: u32 = 14 + 4;
/// `IF_TYPE_ETHERNETCSMACD`.
const IF_TYPE: u32 = 6;

/// Devices whose links are looked at from time to time.
static DEVICES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// Looks at every port's link; called by the main thread.
pub(super) fn look_at_links() {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = monotonic_ns();
    if now.saturating_sub(LAST.load(Ordering::Relaxed)) < LINK_NS {
        return;
    }
    LAST.store(now, Ordering::Relaxed);
    let devices: Vec<_> = lock(&DEVICES).iter().filter_map(Weak::upgrade).collect();
    for device in devices {
        device.look_at_link();
    }
}

/// What a setup depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Wanted {
    options: Options,
    mtu: u32,
    n_txq: u32,
    mac: Option<EthAddr>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    /// The device runs, or did when we last looked.
    started: bool,
    /// What the last successful setup was asked for.
    applied: Option<Wanted>,
    attached: Option<Arc<Attached>>,
    queues: Option<Arc<Queues>>,
    memory: Option<Arc<Share>>,
    /// The MTU that it was made for.
    memory_mtu: u32,
    info: Option<Info>,
    link: LinkState,
    link_resets: u64,
    promiscuous: bool,
    /// What is not as it was asked for, though the port works.
    remark: Option<String>,
    failure: Option<String>,
    failed_ns: u64,
    pause_ns: u64,
}

/// The port.
#[derive(Debug)]
struct Inner {
    eal: Arc<Eal>,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// The device that users hold.
#[derive(Debug)]
pub(super) struct Dpdk(Arc<Inner>);

impl Dpdk {
    pub(super) fn new(name: &str, eal: Arc<Eal>) -> Self {
        let shared = Shared::new(name);
        let mut state = State::default();
        state.wanted.mtu = 1500;
        state.wanted.n_txq = 2;
        let inner = Arc::new(Inner {
            eal,
            shared,
            state: Mutex::new(state),
        });
        let mut devices = lock(&DEVICES);
        devices.retain(|d| d.strong_count() > 0);
        devices.push(Arc::downgrade(&inner));
        drop(devices);
        Self(inner)
    }
}

impl Dpdk {
    /// The port's pool in words; `None` while it has none.
    pub(super) fn pool_text(&self) -> Option<String> {
        let state = lock(&self.0.state);
        let pool = state.memory.as_ref()?.pool;
        Some(self.0.eal.library.dump_pool(pool))
    }
}

impl Inner {
    fn error(&self, op: &'static str, errno: i32) -> NetdevError {
        NetdevError::Io {
            dev: self.shared.name.clone(),
            op,
            source: std::io::Error::from_raw_os_error(errno),
        }
    }

    fn look_at_link(&self) {
        let mut s = lock(&self.state);
        let Some(port) = s.attached.as_ref().map(|a| a.port) else {
            return;
        };
        if s.applied.is_none() || self.shared.is_gone() {
            return;
        }
        let link = self.eal.library.link(port);
        if link != s.link {
            s.link_resets += u64::from(link.up != s.link.up);
            s.link = link;
            tracing::debug!(target: "netdev_dpdk", "Port {port} Link {}",
                if link.up != 0 { "Up" } else { "Down" });
            self.shared.changed();
        }
    }

    /// Attaches again when that is needed; the old device is given back first.
    fn attach(&self, s: &mut State) -> Result<Arc<Attached>, NetdevError> {
        let gone = self.shared.gone.swap(false, Ordering::Relaxed);
        if let Some(a) = &s.attached
            && a.devargs == s.wanted.options.devargs
            && !gone
        {
            return Ok(Arc::clone(a));
        }
        s.memory = None;
        s.info = None;
        s.started = false;
        s.attached = None;
        let a = Attached::new(&self.eal, &self.shared, &s.wanted.options.devargs).inspect_err(
            |_| {
                // Still gone: what queues there are say so.
                self.shared.gone.store(true, Ordering::Relaxed);
            },
        )?;
        s.attached = Some(Arc::clone(&a));
        Ok(a)
    }

    /// Attaches, sets up and starts. Called with no queue open.
    fn set_up(&self, s: &mut State) -> Result<(), NetdevError> {
        let library = self.eal.library;
        s.applied = None;
        s.queues = None;
        s.remark = None;
        let attached = self.attach(s)?;
        let port = attached.port;
        if std::mem::take(&mut s.started) {
            library.stop(port);
        }
        self.shared.reset.store(false, Ordering::Relaxed);
        let info = library
            .info(port)
            .map_err(|e| self.error("get device information", e))?;
        let wanted = s.wanted.clone();
        let mut setup = self.plan(s, &info)?;
        if let Some(mac) = wanted.mac {
            library
                .set_mac(port, mac.0)
                .map_err(|e| self.error("set address", e))?;
        }
        library
            .configure(port, &mut setup)
            .map_err(|(step, errno)| self.refusal(&setup, step, errno))?;
        s.started = true;
        let memory = s.memory.clone().expect("planned with it");
        s.queues = Some(Queues::new(
            setup.n_rxq,
            setup.n_txq,
            attached,
            memory,
            &self.shared,
        ));
        if u32::from(setup.n_rxq) < wanted.options.n_rxq {
            let text = format!(
                "{}: n_rxq: {} queues were asked for, the device has {}",
                self.shared.name, wanted.options.n_rxq, setup.n_rxq
            );
            tracing::info!(target: "netdev_dpdk", "{text}");
            s.remark = Some(text);
        }
        if setup.mtu_fixed != 0 {
            let max = library.info(port).map_or(0, |i| i.mtu);
            tracing::warn!(target: "netdev_dpdk",
                "Interface {} does not support MTU configuration, max packet size supported is {max}.",
                self.shared.name);
        }
        s.info = library.info(port).ok();
        if let Some(i) = &s.info {
            tracing::info!(target: "netdev_dpdk", "Port {port}: {}", EthAddr(i.mac));
        }
        if s.promiscuous {
            let _ = library.promiscuous(port, true);
        }
        self.shared.mtu.store(wanted.mtu, Ordering::Relaxed);
        s.link = library.link(port);
        s.applied = Some(wanted);
        Ok(())
    }

    /// What the device is to be set up with: what is wanted, within what it has.
    fn plan(&self, s: &mut State, info: &Info) -> Result<Setup, NetdevError> {
        let w = &s.wanted;
        let n_rxq = w.options.n_rxq.min(u32::from(info.max_rxq)).max(1);
        let n_txq = w.n_txq.max(w.options.n_txq);
        let n_txq = n_txq.min(u32::from(info.max_txq)).max(1);
        let rxd = within(w.options.rxd, info.rxd);
        let txd = within(w.options.txd, info.txd);
        let socket = info.socket.max(0);
        if s.memory.is_none() || s.memory_mtu != w.mtu {
            let request = Request {
                port: &self.shared.name,
                mtu: w.mtu,
                socket,
                n_rxq,
                n_txq,
                rxd: u32::from(rxd),
                txd: u32::from(txd),
            };
            let share = self.eal.memory.get(&request).map_err(|errno| {
                tracing::error!(target: "netdev_dpdk",
                    "Failed to create memory pool for netdev {}, with MTU {} on socket {socket}: {}",
                    self.shared.name, w.mtu, self.eal.library.strerror(errno));
                self.error("create memory pool", errno)
            })?;
            s.memory = Some(share);
            s.memory_mtu = s.wanted.mtu;
        }
        let w = &s.wanted;
        let pool = s.memory.as_ref().expect("just made").pool;
        Ok(Setup {
            pool,
            n_rxq: n_rxq as u16,
            n_txq: n_txq as u16,
            rxd,
            txd,
            mtu: u16::try_from(w.mtu).unwrap_or(u16::MAX),
            lsc: u16::from(w.options.lsc_interrupt),
            rx_checksum: u16::from(info.rx_checksum != 0),
            scatter: u16::from(w.mtu > 1500),
            socket,
            mtu_fixed: 0,
        })
    }

    /// Names what a device did not do.
    fn refusal(&self, setup: &Setup, step: u32, errno: i32) -> NetdevError {
        let name = &self.shared.name;
        let what = STEPS.get(step as usize).copied().unwrap_or_default();
        let text = format!(
            "Interface {name}(rxq:{} txq:{} mtu:{} lsc interrupt mode:{}) {what}: {}",
            setup.n_rxq,
            setup.n_txq,
            setup.mtu,
            setup.lsc != 0,
            self.eal.library.strerror(errno)
        );
        tracing::error!(target: "netdev_dpdk", "{text}");
        NetdevError::BadConfig { text, errno }
    }

    fn features(&self, s: &State) -> LinkFeatures {
        let l = s.link;
        let (half, full) = (1, 2);
        let pair = |at: u32| (if l.full_duplex != 0 { full } else { half }) << at;
        let current = match l.speed_mbps {
            10 => pair(0),
            100 => pair(2),
            1_000 => pair(4),
            10_000 => 1 << 6,
            40_000 => 1 << 7,
            100_000 => 1 << 8,
            1_000_000 => 1 << 9,
            _ => 0,
        };
        LinkFeatures {
            current,
            speed_mbps: if current == 0 && l.speed_mbps != u32::MAX {
                l.speed_mbps
            } else {
                0
            },
            ..LinkFeatures::default()
        }
    }
}

/// A number of descriptors that the device can have.
fn within(wanted: u32, [min, max, align]: [u16; 3]) -> u16 {
    let max = if max == 0 { u16::MAX } else { max };
    let n = u16::try_from(wanted)
        .unwrap_or(u16::MAX)
        .clamp(min.min(max), max);
    if align > 1 { n - n % align } else { n }
}

/// The speed in words, where OpenFlow has no bit for it either.
fn speed_text(mbps: u32) -> String {
    match mbps {
        u32::MAX => "Unknown".to_owned(),
        n if n >= 1_000 && n.is_multiple_of(1_000) => format!("{}Gbps", n / 1_000),
        n if n > 0 && (n < 1_000 || n == 2_500) => format!("{n}Mbps"),
        _ => "Not Defined".to_owned(),
    }
}

impl Device for Dpdk {
    fn name(&self) -> &str {
        &self.0.shared.name
    }
    fn class(&self) -> &'static str {
        "dpdk"
    }
    fn is_pmd(&self) -> bool {
        true
    }
    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let (options, unknown) = Options::parse(self.name(), config).inspect_err(|e| {
            tracing::warn!(target: "netdev_dpdk", "{e}");
        })?;
        let mut s = lock(&self.0.state);
        if s.attached.is_none() {
            s.attached = Some(Attached::new(
                &self.0.eal,
                &self.0.shared,
                &options.devargs,
            )?);
        }
        if s.wanted.options != options {
            s.wanted.options = options;
            s.failure = None;
            self.0.shared.changed();
        }
        Ok(unknown)
    }
    fn get_config(&self) -> Config {
        let s = lock(&self.0.state);
        let o = &s.wanted.options;
        let configured = |f: fn(&Queues) -> u16| s.queues.as_deref().map_or(0, f).to_string();
        [
            ("dpdk-devargs", o.devargs.clone()),
            ("requested_rx_queues", o.n_rxq.to_string()),
            ("configured_rx_queues", configured(Queues::n_rxq)),
            (
                "requested_tx_queues",
                s.wanted.n_txq.max(o.n_txq).to_string(),
            ),
            ("configured_tx_queues", configured(Queues::n_txq)),
            ("n_rxq_desc", o.rxd.to_string()),
            ("n_txq_desc", o.txd.to_string()),
            ("mtu", self.0.shared.mtu().to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
    fn reconfigure(&self) -> Result<(), NetdevError> {
        let mut s = lock(&self.0.state);
        let result = self.0.set_up(&mut s);
        match &result {
            Ok(()) => {
                s.failure = None;
                s.pause_ns = 0;
            }
            Err(e) => {
                s.failure = Some(e.to_string());
                s.failed_ns = monotonic_ns();
                s.pause_ns = (s.pause_ns * 2).clamp(PAUSE_NS, PAUSE_MAX_NS);
            }
        }
        self.0.shared.changed();
        result
    }
    fn needs_reconfigure(&self) -> bool {
        let s = lock(&self.0.state);
        if s.wanted.options.devargs.is_empty() {
            return false;
        }
        if s.failure.is_some() {
            return monotonic_ns().saturating_sub(s.failed_ns) >= s.pause_ns;
        }
        s.applied.as_ref() != Some(&s.wanted)
            || self.0.shared.is_gone()
            || self.0.shared.reset.load(Ordering::Relaxed)
    }
    fn n_rxq(&self) -> u32 {
        let s = lock(&self.0.state);
        s.queues
            .as_ref()
            .map_or(s.wanted.options.n_rxq, |q| u32::from(q.n_rxq()))
    }
    fn n_txq(&self) -> u32 {
        let s = lock(&self.0.state);
        s.queues
            .as_ref()
            .map_or(s.wanted.n_txq, |q| u32::from(q.n_txq()))
    }
    /// One for each, and one for the rest. Never fewer than before: that would stop the port for nothing.
    fn request_txq(&self, n: u32) {
        let mut s = lock(&self.0.state);
        s.wanted.n_txq = s.wanted.n_txq.max(n.saturating_add(1));
    }
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        let s = lock(&self.0.state);
        let queues = s.queues.as_ref().ok_or_else(|| self.0.shared.gone())?;
        match Rx::open(queues, queue) {
            Some(rx) => Ok(Box::new(rx)),
            None => Err(self.0.error("open rx queue", libc::EBUSY)),
        }
    }
    fn tx_open(&self, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        let s = lock(&self.0.state);
        let queues = s.queues.as_ref().ok_or_else(|| self.0.shared.gone())?;
        Ok(Box::new(Tx::open(queues, queue)))
    }
    fn numa_id(&self) -> u32 {
        let info = lock(&self.0.state).info;
        info.and_then(|i| u32::try_from(i.socket).ok()).unwrap_or(0)
    }
    fn etheraddr(&self) -> EthAddr {
        let info = lock(&self.0.state).info;
        EthAddr(info.map_or([0; 6], |i| i.mac))
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        let mut s = lock(&self.0.state);
        let Some(port) = s.attached.as_ref().map(|a| a.port) else {
            return Err(self.0.shared.gone());
        };
        self.0.eal.library.set_mac(port, mac.0).map_err(|errno| {
            tracing::warn!(target: "netdev_dpdk", "{}: Failed to set requested mac({mac}): {}",
                self.name(), self.0.eal.library.strerror(errno));
            self.0.error("set address", errno)
        })?;
        s.wanted.mac = Some(mac);
        if let Some(applied) = &mut s.applied {
            applied.mac = Some(mac);
        }
        if let Some(info) = &mut s.info {
            info.mac = mac.0;
        }
        self.0.shared.changed();
        Ok(())
    }
    fn mtu(&self) -> Option<u32> {
        Some(self.0.shared.mtu())
    }
    fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        let mut s = lock(&self.0.state);
        let device = s.info.map_or(MTU_MAX, |i| match i.max_mtu {
            0 => MTU_MAX,
            max => u32::from(max).min(MTU_MAX),
        });
        if !(MTU_MIN..=device).contains(&mtu) {
            tracing::warn!(target: "netdev_dpdk", "{}: unsupported MTU {mtu}", self.name());
            return Err(NetdevError::MtuTooLarge {
                dev: self.name().to_owned(),
                mtu,
                max: device,
            });
        }
        if s.wanted.mtu != mtu {
            s.wanted.mtu = mtu;
            s.failure = None;
            self.0.shared.changed();
        }
        Ok(())
    }
    fn carrier(&self) -> bool {
        lock(&self.0.state).link.up != 0 && !self.0.shared.is_gone()
    }
    fn carrier_resets(&self) -> u64 {
        lock(&self.0.state).link_resets
    }
    fn features(&self) -> Option<LinkFeatures> {
        Some(self.0.features(&lock(&self.0.state)))
    }
    fn status(&self) -> BTreeMap<String, String> {
        let s = lock(&self.0.state);
        let (Some(a), Some(i)) = (&s.attached, &s.info) else {
            return BTreeMap::new();
        };
        let driver = i.driver();
        [
            ("port_no", a.port.to_string()),
            ("numa_id", i.socket.to_string()),
            ("if_descr", format!("{} {driver}", a.library().version())),
            ("driver_name", driver),
            ("min_rx_bufsize", i.min_rx_bufsize.to_string()),
            (
                "max_rx_pktlen",
                (self.0.shared.mtu() + L2_BYTES).to_string(),
            ),
            ("max_rx_queues", i.max_rxq.to_string()),
            ("max_tx_queues", i.max_txq.to_string()),
            ("max_mac_addrs", i.max_mac_addrs.to_string()),
            ("max_hash_mac_addrs", i.max_hash_mac_addrs.to_string()),
            ("max_vfs", i.max_vfs.to_string()),
            ("max_vmdq_pools", i.max_vmdq_pools.to_string()),
            ("if_type", IF_TYPE.to_string()),
            ("bus_info", i.bus()),
            ("link_speed", speed_text(s.link.speed_mbps)),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
    fn stats(&self) -> Stats {
        let s = lock(&self.0.state);
        let shared = &self.0.shared;
        let policed = (shared.qos.rx_drops.get(), shared.qos.tx_drops.get());
        let failed = shared.tx_full.get() + shared.tx_error.get();
        let lost = failed + shared.tx_too_big.get() + policed.1;
        let mut stats = Stats {
            tx_dropped: Some(lost),
            ..Stats::default()
        };
        let Some(a) = s.attached.as_ref().filter(|_| s.applied.is_some()) else {
            return stats;
        };
        if let Some(c) = a.library().stats(a.port) {
            stats.rx_packets = Some(c.ipackets);
            stats.tx_packets = Some(c.opackets);
            stats.rx_bytes = Some(c.ibytes);
            stats.tx_bytes = Some(c.obytes);
            stats.rx_errors = Some(c.ierrors);
            stats.tx_errors = Some(c.oerrors);
            stats.rx_dropped = Some(policed.0 + c.rx_nombuf + c.imissed);
            stats.rx_missed_errors = Some(c.imissed);
        }
        stats.custom = a.library().xstats(a.port);
        stats.custom.retain(|(name, _)| is_worth_showing(name));
        stats.custom.extend(
            [
                ("ovs_tx_failure_drops", failed),
                ("ovs_tx_mtu_exceeded_drops", shared.tx_too_big.get()),
                ("ovs_tx_qos_drops", policed.1),
                ("ovs_rx_qos_drops", policed.0),
                ("ovs_tx_invalid_hwol_drops", 0),
            ]
            .map(|(k, v)| (k.to_owned(), v)),
        );
        stats
    }
    fn flags(&self) -> DeviceFlags {
        DeviceFlags {
            up: self.0.shared.is_up(),
            promisc: lock(&self.0.state).promiscuous,
            loopback: false,
        }
    }
    fn update_flags(&self, on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError> {
        let mut s = lock(&self.0.state);
        let port = s.attached.as_ref().map(|a| a.port);
        let library = self.0.eal.library;
        if on.promisc || off.promisc {
            s.promiscuous = on.promisc;
            if let Some(port) = port {
                // A device without such a mode receives everything or cannot help it.
                let _ = library.promiscuous(port, on.promisc);
            }
        }
        let up = self.0.shared.is_up();
        if (on.up && !up) || (off.up && up) {
            match port.map_or(Ok(()), |p| library.set_link(p, on.up)) {
                Ok(()) => {}
                Err(libc::ENOTSUP) => tracing::info!(target: "netdev_dpdk",
                    "Interface {} does not support link state configuration", self.name()),
                Err(errno) => {
                    tracing::error!(target: "netdev_dpdk", "Interface {} link change error: {}",
                        self.name(), library.strerror(errno));
                    return Err(self.0.error("set link state", errno));
                }
            }
            self.0.shared.up.store(on.up, Ordering::Relaxed);
        }
        self.0.shared.changed();
        Ok(())
    }
    fn error(&self) -> Option<String> {
        let s = lock(&self.0.state);
        if let Some(failure) = &s.failure {
            return Some(failure.clone());
        }
        if self.0.shared.is_gone() {
            return Some(self.0.shared.gone().to_string());
        }
        s.remark.clone()
    }
    fn change_seq(&self) -> u64 {
        self.0.shared.seq.load(Ordering::Relaxed)
    }

    fn set_policing(&self, rates: [u32; 4]) -> Result<(), NetdevError> {
        self.0.shared.qos.set_policing(rates);
        Ok(())
    }
    fn qos_types(&self) -> Vec<QosType> {
        PortQos::types()
    }
    fn qos(&self) -> Result<(String, QosDetails), NetdevError> {
        Ok(self.0.shared.qos.qos())
    }
    fn set_qos(&self, kind: &str, details: &QosDetails) -> Result<(), NetdevError> {
        self.0.shared.qos.set_qos(self.name(), kind, details)
    }
    fn queue(&self, id: u32) -> Result<QosDetails, NetdevError> {
        self.0.shared.qos.queue(self.name(), id)
    }
    fn set_queue(&self, id: u32, details: &QosDetails) -> Result<(), NetdevError> {
        self.0.shared.qos.set_queue(self.name(), id, details)
    }
    fn delete_queue(&self, id: u32) -> Result<(), NetdevError> {
        self.0.shared.qos.delete_queue(self.name(), id)
    }
    fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        self.0.shared.qos.queues(self.name())
    }
    fn queue_stats(&self, id: u32) -> Result<QueueStats, NetdevError> {
        self.0.shared.qos.queue_stats(self.name(), id)
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Of a driver's counters, those of queues, errors and drops: the others repeat what is known.
fn is_worth_showing(name: &str) -> bool {
    let queue = name
        .strip_prefix("rx_q")
        .or_else(|| name.strip_prefix("tx_q"));
    let queue = queue.is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    queue
        || name.ends_with("_errors")
        || name.ends_with("_dropped")
        || name.contains("_management_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_stay_within_what_the_device_has() {
        assert_eq!(within(2048, [0, 0, 0]), 2048);
        assert_eq!(within(2048, [64, 1024, 32]), 1024);
        assert_eq!(within(1, [64, 1024, 32]), 64);
        assert_eq!(within(100, [0, 65535, 32]), 96);
    }

    #[test]
    fn counters_that_are_shown() {
        for name in [
            "rx_q0_packets",
            "tx_q12_bytes",
            "rx_crc_errors",
            "rx_dropped",
        ] {
            assert!(is_worth_showing(name), "{name}");
        }
        for name in ["rx_good_packets", "rx_queue", "tx_quiet"] {
            assert!(!is_worth_showing(name), "{name}");
        }
    }

    #[test]
    fn speeds_in_words() {
        let texts = [10_000, 2_500, 100, 0, u32::MAX].map(speed_text);
        assert_eq!(
            texts,
            ["10Gbps", "2500Mbps", "100Mbps", "Not Defined", "Unknown"]
        );
    }
}
