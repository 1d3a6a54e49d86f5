//! Devices that DPDK has for us: found or brought in by their arguments, given back when the last user is gone;
//! and what queues and DPDK's own threads know of a port.

use super::eal::Eal;
use super::library::Library;
use crate::device::TxReport;
use crate::error::NetdevError;
use crate::qos::PortQos;
use base::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Counter, Mutex, Ordering, Weak, lock};
use std::collections::BTreeMap;

/// What queues and events share with the port.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) mtu: AtomicU32,
    pub(super) up: AtomicBool,
    pub(super) gone: AtomicBool,
    pub(super) reset: AtomicBool,
    pub(super) seq: AtomicU64,
    pub(super) tx_full: Counter,
    pub(super) tx_too_big: Counter,
    pub(super) tx_error: Counter,
    pub(super) qos: PortQos,
}

impl Shared {
    /// Of a port that is up and has no device yet.
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            mtu: AtomicU32::new(1500),
            up: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            seq: AtomicU64::new(1),
            tx_full: Counter::new(),
            tx_too_big: Counter::new(),
            tx_error: Counter::new(),
            qos: PortQos::default(),
        })
    }
    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
    #[inline]
    pub(super) fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }
    pub(super) fn gone(&self) -> NetdevError {
        NetdevError::Gone {
            dev: self.name.clone(),
        }
    }
    /// Counts what a burst lost.
    #[cold]
    pub(super) fn book(&self, r: &TxReport) {
        self.tx_full.add_shared(u64::from(r.full));
        self.tx_too_big.add_shared(u64::from(r.too_big));
        self.tx_error.add_shared(u64::from(r.error));
    }
    /// Something that control threads look at is different.
    pub(super) fn changed(&self) {
        self.seq.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ports by DPDK's number, for events and to see who has a device.
static PORTS: Mutex<BTreeMap<u16, Weak<Shared>>> = Mutex::new(BTreeMap::new());

fn port_of(number: u16) -> Option<Arc<Shared>> {
    lock(&PORTS).get(&number).and_then(Weak::upgrade)
}

/// Names of the interfaces that use a device of which this is a port.
pub(super) fn users(library: Library, port: u16) -> Vec<String> {
    let ports = lock(&PORTS);
    let used = ports
        .iter()
        .filter_map(|(number, shared)| Some((number, shared.upgrade()?)));
    used.filter(|(number, _)| **number == port || library.same_device(**number, port))
        .map(|(_, shared)| shared.name.clone())
        .collect()
}

/// Something happened to a port: 1 it was unplugged, 2 it wants a reset, 3 its link changed.
pub(super) fn happened(number: u16, what: u32) {
    let Some(shared) = port_of(number) else {
        return;
    };
    match what {
        1 => shared.gone.store(true, Ordering::Relaxed),
        2 => shared.reset.store(true, Ordering::Relaxed),
        _ => {}
    }
    shared.changed();
}

/// A device that DPDK has for us. Dropping it closes it, and removes it if it was brought in by us.
#[derive(Debug)]
pub(super) struct Attached {
    eal: Arc<Eal>,
    pub(super) port: u16,
    pub(super) devargs: String,
    ours: bool,
}

impl Attached {
    pub(super) fn library(&self) -> Library {
        self.eal.library
    }

    /// Finds the device, or has a driver take it up.
    pub(super) fn new(
        eal: &Arc<Eal>,
        shared: &Arc<Shared>,
        devargs: &str,
    ) -> Result<Arc<Self>, NetdevError> {
        let library = eal.library;
        let found = library.find(devargs);
        let ours = found.is_err();
        let found = match found {
            Err(_) => library.probe(devargs).and_then(|()| library.find(devargs)),
            found => found,
        };
        let Ok(port) = found else {
            return Err(warn(
                format!("Error attaching device '{devargs}' to DPDK"),
                libc::EINVAL,
            ));
        };
        let mut ports = lock(&PORTS);
        if let Some(other) = ports.get(&port).and_then(Weak::upgrade)
            && !Arc::ptr_eq(&other, shared)
        {
            let text = format!(
                "'{}' is trying to use device '{devargs}' which is already in use by '{}'",
                shared.name, other.name
            );
            return Err(warn(text, libc::EADDRINUSE));
        }
        ports.insert(port, Arc::downgrade(shared));
        if ours {
            tracing::info!(target: "netdev_dpdk", "Device '{devargs}' attached to DPDK");
        }
        Ok(Arc::new(Self {
            eal: Arc::clone(eal),
            port,
            devargs: devargs.to_owned(),
            ours,
        }))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let result = self.library().detach(self.port, self.ours);
        lock(&PORTS).remove(&self.port);
        match result {
            Ok(()) if self.ours => {
                tracing::info!(target: "netdev_dpdk",
                    "Device '{}' has been removed and detached", self.devargs);
            }
            Ok(()) => {
                tracing::info!(target: "netdev_dpdk", "Device '{}' has been removed", self.devargs);
            }
            Err(errno) => tracing::error!(target: "netdev_dpdk",
                "Device '{}' can not be detached: {}.", self.devargs, self.library().strerror(errno)),
        }
    }
}

/// A refusal that is logged as well.
fn warn(text: String, errno: i32) -> NetdevError {
    tracing::warn!(target: "netdev_dpdk", "{text}");
    NetdevError::BadConfig { text, errno }
}
