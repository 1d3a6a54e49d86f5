//! What all ports on kernel devices have in common: one [`Device`] over a [`Link`] and a [`Class`].
//!
//! A port is attached to one life of its device (a generation of the link). When the device disappears
//! or returns, queues answer `Gone`, [`Device::needs_reconfigure`] turns true as soon as there is
//! something to attach to, and `reconfigure` + `rx_open` + `tx_open` put the port back to work. A
//! reconfiguration that failed is asked for again when the device changes, and otherwise after a pause
//! that doubles from 1 s to 32 s.

use crate::device::{
    Config, Device, DeviceFlags, LinkFeatures, QosDetails, QosType, QueueStats, RxQueue, Stats,
    TxQueue,
};
use crate::error::NetdevError;
use crate::linux::{Link, Tc};
use base::clock::monotonic_ns;
use base::sync::{Arc, Mutex, lock};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use wire::EthAddr;

/// Pause after the first failed reconfiguration, nanoseconds; doubles up to [`PAUSE_MAX_NS`].
const PAUSE_NS: u64 = 1_000_000_000;
const PAUSE_MAX_NS: u64 = 32_000_000_000;

/// What differs between classes of ports on kernel devices.
pub(crate) trait Class: Send + Sync + Debug + 'static {
    /// Polled by packet threads?
    const PMD: bool;
    /// As [`Device::is_pmd`]: the same for all ports of most classes.
    fn is_pmd(&self) -> bool {
        Self::PMD
    }
    /// As [`Device::set_config`].
    fn set_config(&self, link: &Link, config: &Config) -> Result<Vec<String>, NetdevError>;
    /// As [`Device::get_config`].
    fn get_config(&self) -> Config {
        Config::new()
    }
    /// Attaches to the device as it is now. Called with no queue open.
    fn attach(&self, link: &Arc<Link>) -> Result<(), NetdevError>;
    /// True when [`Class::attach`] would change something although the device is the same.
    fn wants_attach(&self, link: &Link) -> bool;
    /// True when the class makes its devices itself, so that a device that is gone can be made again.
    fn makes_devices(&self) -> bool {
        false
    }
    fn n_rxq(&self) -> u32 {
        1
    }
    fn n_txq(&self) -> u32 {
        1
    }
    fn request_txq(&self, _n: u32) {}
    fn rx_open(&self, link: &Arc<Link>, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError>;
    fn tx_open(&self, link: &Arc<Link>, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError>;
    /// Refuses an MTU that the class cannot carry.
    fn check_mtu(&self, _link: &Link, _mtu: u32) -> Result<(), NetdevError> {
        Ok(())
    }
    /// Adds the class's own facts.
    fn status(&self, _map: &mut BTreeMap<String, String>) {}
    /// Adds the class's own counters to the kernel's.
    fn stats(&self, kernel: Stats) -> Stats {
        kernel
    }
}

/// A port on a kernel device.
#[derive(Debug)]
pub(crate) struct Port<C> {
    // The class goes first: what it attached to the device is taken off before flags are put back.
    class: C,
    tc: Tc,
    link: Arc<Link>,
    attached: Mutex<Attached>,
}

/// What became of the last attempt to attach.
#[derive(Debug, Default)]
struct Attached {
    /// The generation attached to.
    generation: Option<u32>,
    failure: Option<String>,
    /// When the failed attempt was, where the device's sequence stood, and how long to wait.
    at_ns: u64,
    seq: u64,
    pause_ns: u64,
}

impl<C: Class> Port<C> {
    pub(crate) fn new(link: Arc<Link>, class: C) -> Arc<Self> {
        Arc::new(Self {
            class,
            tc: Tc::new(&link),
            link,
            attached: Mutex::new(Attached::default()),
        })
    }

    fn record(&self, generation: u32, result: Result<(), NetdevError>) -> Result<(), NetdevError> {
        let mut a = lock(&self.attached);
        match &result {
            Ok(()) => {
                *a = Attached {
                    generation: Some(generation),
                    ..Attached::default()
                };
            }
            Err(e) => {
                *a = Attached {
                    generation: None,
                    failure: Some(e.to_string()),
                    at_ns: monotonic_ns(),
                    seq: self.link.seq(),
                    pause_ns: (a.pause_ns * 2).clamp(PAUSE_NS, PAUSE_MAX_NS),
                };
            }
        }
        result
    }

    fn usable(&self) -> Result<(), NetdevError> {
        let attached = lock(&self.attached).generation;
        if attached == Some(self.link.generation()) {
            Ok(())
        } else {
            Err(NetdevError::Gone {
                dev: self.link.name().to_owned(),
            })
        }
    }
}

impl<C: Class> Device for Port<C> {
    fn name(&self) -> &str {
        self.link.name()
    }
    fn class(&self) -> &'static str {
        self.link.class()
    }
    fn is_pmd(&self) -> bool {
        self.class.is_pmd()
    }
    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let before = self.class.get_config();
        let unknown = self.class.set_config(&self.link, config)?;
        if self.class.get_config() != before {
            self.link.changed();
        }
        Ok(unknown)
    }
    fn get_config(&self) -> Config {
        self.class.get_config()
    }
    fn reconfigure(&self) -> Result<(), NetdevError> {
        let result = self.class.attach(&self.link);
        // The generation after attaching: a class that makes its device moves it. A device that went
        // meanwhile moves it again and is noticed at the first use.
        let generation = self.link.generation();
        let result = result.and_then(|()| self.link.reapply());
        let recorded = self.record(generation, result);
        if recorded.is_ok() {
            self.tc.reapply();
        }
        self.link.changed();
        // That change is our own, no reason to try again.
        lock(&self.attached).seq = self.link.seq();
        recorded
    }
    fn needs_reconfigure(&self) -> bool {
        let a = lock(&self.attached);
        if !self.link.present() && !self.class.makes_devices() {
            return false;
        }
        if a.failure.is_some() {
            let waited = monotonic_ns().saturating_sub(a.at_ns);
            return a.seq != self.link.seq() || waited >= a.pause_ns;
        }
        a.generation != Some(self.link.generation()) || self.class.wants_attach(&self.link)
    }
    fn n_rxq(&self) -> u32 {
        self.class.n_rxq()
    }
    fn n_txq(&self) -> u32 {
        self.class.n_txq()
    }
    fn request_txq(&self, n: u32) {
        self.class.request_txq(n);
    }
    fn numa_id(&self) -> u32 {
        self.link.numa_id()
    }
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        self.usable()?;
        self.class.rx_open(&self.link, queue)
    }
    fn tx_open(&self, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        self.usable()?;
        self.class.tx_open(&self.link, queue)
    }
    fn etheraddr(&self) -> EthAddr {
        self.link.info().mac
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        if self.etheraddr() == mac {
            return Ok(());
        }
        self.link.set_etheraddr(mac)
    }
    fn mtu(&self) -> Option<u32> {
        Some(self.link.info().mtu)
    }
    fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        self.class.check_mtu(&self.link, mtu)?;
        self.link.set_mtu(mtu)
    }
    fn ifindex(&self) -> Option<u32> {
        self.link.index()
    }
    fn carrier(&self) -> bool {
        self.link.carrier()
    }
    fn carrier_resets(&self) -> u64 {
        self.link.carrier_resets()
    }
    fn features(&self) -> Option<LinkFeatures> {
        self.link.features()
    }
    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.link.addresses()
    }
    fn set_in4(&self, address: (Ipv4Addr, u8)) -> Result<(), NetdevError> {
        self.link.set_in4(address)
    }
    fn set_gateway(&self, gateway: Ipv4Addr) -> Result<(), NetdevError> {
        self.link.set_gateway(gateway)
    }
    fn status(&self) -> BTreeMap<String, String> {
        let mut map = self.link.status();
        self.class.status(&mut map);
        map
    }
    fn stats(&self) -> Stats {
        let mut stats = self.class.stats(self.link.refresh().unwrap_or_default());
        let policed = self.link.qos.rx_drops.get();
        stats.rx_dropped = stats.rx_dropped.map(|n| n + policed);
        if policed > 0 {
            stats.custom.push(("ovs_rx_qos_drops".to_owned(), policed));
        }
        stats
    }
    fn flags(&self) -> DeviceFlags {
        self.link.flags()
    }
    fn update_flags(&self, on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError> {
        self.link.update_flags(on, off)
    }
    fn error(&self) -> Option<String> {
        if !self.link.present() && !self.class.makes_devices() {
            return Some(
                NetdevError::Gone {
                    dev: self.link.name().to_owned(),
                }
                .to_string(),
            );
        }
        lock(&self.attached).failure.clone()
    }
    fn change_seq(&self) -> u64 {
        self.link.seq()
    }

    /// The switch polices what it gets; the kernel is asked to do the same for the host's own stack, and says in
    /// the log when it cannot.
    fn set_policing(&self, rates: [u32; 4]) -> Result<(), NetdevError> {
        self.link.qos.set_policing(rates);
        drop(self.tc.set_policing(rates));
        Ok(())
    }
    fn qos_types(&self) -> Vec<QosType> {
        Tc::types()
    }
    fn qos(&self) -> Result<(String, QosDetails), NetdevError> {
        self.tc.qos()
    }
    fn set_qos(&self, kind: &str, details: &QosDetails) -> Result<(), NetdevError> {
        self.tc.set_qos(kind, details)
    }
    fn queue(&self, id: u32) -> Result<QosDetails, NetdevError> {
        self.tc.queue(id)
    }
    fn set_queue(&self, id: u32, details: &QosDetails) -> Result<(), NetdevError> {
        self.tc.set_queue(id, details)
    }
    fn delete_queue(&self, id: u32) -> Result<(), NetdevError> {
        self.tc.delete_queue(id)
    }
    fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        self.tc.queues()
    }
    fn queue_stats(&self, id: u32) -> Result<QueueStats, NetdevError> {
        self.tc.queue_stats(id)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The answer to `rx_open`/`tx_open` of a queue that does not exist.
pub(crate) fn no_such_queue(link: &Link, op: &'static str) -> NetdevError {
    link.error(op, std::io::Error::from_raw_os_error(libc::EINVAL))
}
