//! The port as the rest of the switch sees it.

use super::connection::{Connection, Door};
use super::queue::{VhostRx, VhostTx};
use super::shared::Shared;
use super::{MTU_MAX, MTU_MIN, RETRIES};
use crate::device::{
    Config, Device, DeviceFlags, QosDetails, QosType, QueueStats, RxQueue, Stats, TxQueue,
};
use crate::error::NetdevError;
use crate::qos::PortQos;
use base::sync::{Arc, AtomicBool, AtomicU32, Mutex, Ordering, lock};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use wire::EthAddr;

/// MTU of a port that nobody asked for another.
const MTU_DEFAULT: u32 = 1500;

/// The class's name.
pub(super) const fn class(client: bool) -> &'static str {
    if client {
        "dpdkvhostuserclient"
    } else {
        "dpdkvhostuser"
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct VhostDevice {
    shared: Arc<Shared>,
    /// The socket of ours to remove at the end.
    listening: Option<PathBuf>,
    /// Rx queues.
    n_rxq: AtomicU32,
    promisc: AtomicBool,
    mac: Mutex<EthAddr>,
    connection: Mutex<Option<Connection>>,
}

impl VhostDevice {
    fn new(name: &str, client: bool) -> Result<Self, NetdevError> {
        let shared = Shared::new(name, client, MTU_DEFAULT);
        let shared = shared.map_err(|e| failed(name, "open /dev/null", e))?;
        Ok(Self {
            shared: Arc::new(shared),
            listening: None,
            n_rxq: AtomicU32::new(1),
            promisc: AtomicBool::new(false),
            mac: Mutex::new(random_mac(name)),
            connection: Mutex::default(),
        })
    }

    /// A port that connects, once it is told where to.
    pub(super) fn client(name: &str) -> Result<Self, NetdevError> {
        Self::new(name, true)
    }

    /// A port that listens.
    pub(super) fn server(name: &str, rundir: &Path) -> Result<Self, NetdevError> {
        static DEPRECATED: AtomicBool = AtomicBool::new(false);
        if name.contains(['/', '\\']) {
            let text = format!(
                "\"{name}\" is not a valid name for a vhost-user port. A valid name must not include '/' or '\\'"
            );
            tracing::error!(target: "netdev_dpdk", "{text}");
            let errno = libc::EINVAL;
            return Err(NetdevError::BadConfig { text, errno });
        }
        let path = rundir.join(name);
        let listener = listen(&path).map_err(|e| {
            tracing::error!(target: "netdev_dpdk",
                "vhost-user socket device setup failure for socket {}", path.display());
            failed(name, "listen for the guest", e)
        })?;
        let shown = path.display();
        tracing::info!(target: "dpdk", "VHOST_CONFIG: ({shown}) vhost-user server: socket created");
        tracing::info!(target: "netdev_dpdk",
            "Socket {shown} created for vhost-user port {name}");
        tracing::info!(target: "dpdk", "VHOST_CONFIG: ({shown}) binding succeeded");
        if !DEPRECATED.swap(true, Ordering::Relaxed) {
            tracing::warn!(target: "netdev_dpdk",
                "dpdkvhostuser ports are considered deprecated;  please migrate to dpdkvhostuserclient ports.");
        }
        let mut device = Self::new(name, false)?;
        let connection = Connection::start(&device.shared, &path, Door::Ours(listener));
        let connection = connection.map_err(|e| failed(name, "start a thread", e))?;
        device.connection = Mutex::new(Some(connection));
        device.listening = Some(path);
        Ok(device)
    }

    fn bad(&self, key: &str, value: &str, expected: &str) -> NetdevError {
        NetdevError::BadOption {
            dev: self.shared.name.clone(),
            key: key.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// Connects to another path, or to none.
    fn connect(&self, path: Option<&str>) -> Result<(), NetdevError> {
        let name = &self.shared.name;
        let mut connection = lock(&self.connection);
        let now = self.shared.control().path.clone();
        if now.as_deref() == path.map(Path::new) {
            return Ok(());
        }
        *connection = None;
        let Some(path) = path else { return Ok(()) };
        tracing::info!(target: "dpdk", "VHOST_CONFIG: ({path}) vhost-user client: socket created");
        tracing::info!(target: "netdev_dpdk",
            "vHost User device '{name}' created in 'client' mode, using client socket '{path}'");
        let door = Door::Theirs(path.into());
        let started = Connection::start(&self.shared, Path::new(path), door);
        *connection = Some(started.map_err(|e| failed(name, "start a thread", e))?);
        Ok(())
    }

    fn queues(&self) -> u32 {
        self.n_rxq.load(Ordering::Relaxed)
    }
    fn pairs(&self) -> u32 {
        self.shared.pairs.load(Ordering::Relaxed)
    }
}

impl Drop for VhostDevice {
    fn drop(&mut self) {
        *lock(&self.connection) = None;
        if let Some(path) = &self.listening {
            // Somebody may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn failed(name: &str, op: &'static str, source: io::Error) -> NetdevError {
    NetdevError::Io {
        dev: name.to_owned(),
        op,
        source,
    }
}

/// Listens at a path. A socket there that nobody listens at any more (its owner was killed) gives way.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            match UnixStream::connect(path) {
                Err(dead) if dead.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => return Err(e),
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A locally administered address.
fn random_mac(name: &str) -> EthAddr {
    let seed = name.bytes().fold(base::hash::process_seed(), |h, b| {
        base::hash::mix(h, u64::from(b))
    });
    let [b0, b1, b2, b3, b4, b5, ..] = base::rng::Rng::new(seed).next_u64().to_be_bytes();
    EthAddr([b0 & 0xfc | 0x02, b1, b2, b3, b4, b5])
}

impl Device for VhostDevice {
    fn name(&self) -> &str {
        &self.shared.name
    }
    fn class(&self) -> &'static str {
        class(self.shared.client)
    }
    fn is_pmd(&self) -> bool {
        true
    }

    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let mut unknown = Vec::new();
        let mut retries = RETRIES.1;
        let mut path = None;
        for (key, value) in config {
            match key.as_str() {
                "vhost-server-path" if self.shared.client => {
                    if value.is_empty() || value.len() > 107 {
                        return Err(self.bad(key, value, "a path of at most 107 bytes"));
                    }
                    path = Some(value.as_str());
                }
                "tx-retries-max" => {
                    let n = value.parse().ok();
                    let n = n.filter(|n| (RETRIES.0..=RETRIES.2).contains(n));
                    retries = n.ok_or_else(|| self.bad(key, value, "a number from 0 to 32"))?;
                }
                _ => unknown.push(key.clone()),
            }
        }
        if self.shared.retries.swap(retries, Ordering::Relaxed) != retries {
            tracing::info!(target: "netdev_dpdk",
                "Max Tx retries for vhost device '{}' set to {retries}", self.shared.name);
        }
        if self.shared.client {
            self.connect(path)?;
        }
        self.shared.changed();
        Ok(unknown)
    }
    fn get_config(&self) -> Config {
        let (wanted, now) = (self.pairs().to_string(), self.queues().to_string());
        let mut config = Config::from([
            ("requested_rx_queues".to_owned(), wanted.clone()),
            ("configured_rx_queues".to_owned(), now.clone()),
            ("requested_tx_queues".to_owned(), wanted),
            ("configured_tx_queues".to_owned(), now),
        ]);
        let mtu = self.shared.mtu.load(Ordering::Relaxed);
        config.insert("mtu".to_owned(), mtu.to_string());
        config
    }

    fn reconfigure(&self) -> Result<(), NetdevError> {
        self.n_rxq.store(self.pairs(), Ordering::Relaxed);
        self.shared.changed();
        Ok(())
    }
    fn needs_reconfigure(&self) -> bool {
        self.queues() != self.pairs()
    }
    fn n_rxq(&self) -> u32 {
        self.queues()
    }
    fn n_txq(&self) -> u32 {
        self.queues()
    }
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        if queue >= self.queues() {
            let e = io::Error::from_raw_os_error(libc::EINVAL);
            return Err(failed(self.name(), "open rx queue", e));
        }
        let rx = VhostRx::open(&self.shared, queue);
        Ok(Box::new(
            rx.map_err(|e| failed(self.name(), "open rx queue", e))?,
        ))
    }
    fn tx_open(&self, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        Ok(Box::new(VhostTx {
            shared: Arc::clone(&self.shared),
            queue,
            pairs: 0,
            index: 0,
        }))
    }
    fn numa_id(&self) -> u32 {
        self.shared.control().numa.unwrap_or(0)
    }

    fn etheraddr(&self) -> EthAddr {
        *lock(&self.mac)
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        let before = std::mem::replace(&mut *lock(&self.mac), mac);
        if before != mac {
            self.shared.changed();
        }
        Ok(())
    }
    fn mtu(&self) -> Option<u32> {
        Some(self.shared.mtu.load(Ordering::Relaxed))
    }
    fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            tracing::warn!(target: "netdev_dpdk", "{}: unsupported MTU {mtu}", self.name());
            return Err(self.bad("mtu", &mtu.to_string(), "a number from 68 to 9702"));
        }
        if self.shared.mtu.swap(mtu, Ordering::Relaxed) != mtu {
            self.shared.changed();
        }
        Ok(())
    }
    fn carrier(&self) -> bool {
        self.shared.carrier()
    }
    fn carrier_resets(&self) -> u64 {
        self.shared.carrier_resets()
    }

    fn status(&self) -> BTreeMap<String, String> {
        let control = self.shared.control();
        let mode = if self.shared.client {
            "client"
        } else {
            "server"
        };
        let mut map = BTreeMap::from([("mode".to_owned(), mode.to_owned())]);
        let mut put = |key: &str, value: String| map.insert(key.to_owned(), value);
        if control.socket.is_none() {
            put("status", "disconnected".to_owned());
            return map;
        }
        put("status", "connected".to_owned());
        if let Some(path) = &control.path {
            put("socket", path.display().to_string());
        }
        put("features", format!("0x{:016x}", control.features.0));
        if let Some(mtu) = control.peer_mtu {
            put("mtu", mtu.to_string());
        }
        if let Some(numa) = control.numa {
            put("numa", numa.to_string());
        }
        let sizes: Vec<u16> = self.shared.vrings.iter().map(|v| v.lock().size).collect();
        let n = sizes
            .iter()
            .rposition(|n| *n > 0)
            .map_or(0, |last| last + 1);
        if n > 0 {
            put("num_of_vrings", n.to_string());
        }
        for (i, size) in sizes[..n].iter().enumerate() {
            put(&format!("vring_{i}_size"), size.to_string());
        }
        map
    }

    /// Rings' numbers are the guest's: what it sends is what we receive.
    fn stats(&self) -> Stats {
        let shared = &self.shared;
        let sum = |of: usize, f: &dyn Fn(&super::counts::Counts) -> u64| {
            let rings = shared.vrings.iter().skip(of).step_by(2);
            Some(rings.map(|v| f(&v.counts)).sum())
        };
        let lost = |i: usize| sum(1, &move |c| c.losses()[i].1);
        let policed = (shared.qos.rx_drops.get(), shared.qos.tx_drops.get());
        let retries = sum(0, &|c| c.retries.get()).unwrap_or(0);
        let mut custom: Vec<(String, u64)> = [
            ("ovs_tx_retries", retries),
            ("ovs_tx_failure_drops", shared.drops.full.get()),
            ("ovs_tx_mtu_exceeded_drops", shared.drops.too_big.get()),
            ("ovs_tx_qos_drops", policed.1),
            ("ovs_rx_qos_drops", policed.0),
            ("ovs_tx_invalid_hwol_drops", 0),
        ]
        .map(|(name, n)| (name.to_owned(), n))
        .into();
        for q in 0..self.queues() as usize {
            shared.vrings[2 * q + 1]
                .counts
                .list(&format!("rx_q{q}"), &mut custom);
            shared.vrings[2 * q]
                .counts
                .list(&format!("tx_q{q}"), &mut custom);
        }
        Stats {
            rx_packets: sum(1, &|c| c.packets.get()),
            rx_bytes: sum(1, &|c| c.bytes.get()),
            tx_packets: sum(0, &|c| c.packets.get()),
            tx_bytes: sum(0, &|c| c.bytes.get()),
            rx_errors: sum(1, &|c| c.losses().iter().map(|l| l.1).sum()),
            rx_length_errors: lost(0).zip(lost(1)).map(|(a, b)| a + b),
            tx_dropped: Some(shared.drops.all() + policed.1),
            rx_dropped: Some(policed.0),
            tx_errors: Some(0),
            multicast: sum(1, &|c| c.multicast()),
            custom,
            ..Stats::default()
        }
    }

    fn flags(&self) -> DeviceFlags {
        DeviceFlags {
            up: self.shared.is_up(),
            promisc: self.promisc.load(Ordering::Relaxed),
            loopback: false,
        }
    }
    fn update_flags(&self, on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError> {
        if on.loopback || off.loopback {
            return Err(self.unsupported("update_flags"));
        }
        let before = self.flags();
        let up = (before.up || on.up) && !off.up;
        let promisc = (before.promisc || on.promisc) && !off.promisc;
        self.shared.up.store(up, Ordering::Relaxed);
        self.promisc.store(promisc, Ordering::Relaxed);
        if self.flags() != before {
            self.shared.changed();
        }
        Ok(())
    }
    fn error(&self) -> Option<String> {
        if self.shared.client && self.shared.control().path.is_none() {
            return Some("options:vhost-server-path is missing".to_owned());
        }
        self.shared.fault_text()
    }
    fn change_seq(&self) -> u64 {
        self.shared.change_seq()
    }

    fn set_policing(&self, rates: [u32; 4]) -> Result<(), NetdevError> {
        self.shared.qos.set_policing(rates);
        Ok(())
    }
    fn qos_types(&self) -> Vec<QosType> {
        PortQos::types()
    }
    fn qos(&self) -> Result<(String, QosDetails), NetdevError> {
        Ok(self.shared.qos.qos())
    }
    fn set_qos(&self, kind: &str, details: &QosDetails) -> Result<(), NetdevError> {
        self.shared.qos.set_qos(self.name(), kind, details)
    }
    fn queue(&self, id: u32) -> Result<QosDetails, NetdevError> {
        self.shared.qos.queue(self.name(), id)
    }
    fn set_queue(&self, id: u32, details: &QosDetails) -> Result<(), NetdevError> {
        self.shared.qos.set_queue(self.name(), id, details)
    }
    fn delete_queue(&self, id: u32) -> Result<(), NetdevError> {
        self.shared.qos.delete_queue(self.name(), id)
    }
    fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        self.shared.qos.queues(self.name())
    }
    fn queue_stats(&self, id: u32) -> Result<QueueStats, NetdevError> {
        self.shared.qos.queue_stats(self.name(), id)
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
