//! The `dummy` classes: ports made of memory, scripted by tests and by the `netdev-dummy/*` commands.
//!
//! `dummy` and `dummy-internal` are served by the sleeping main loop, `dummy-pmd` by packet threads. A
//! packet given to [`DummyDevice::receive`] comes out of its rx queue; a packet sent is counted, captured
//! (pcap file or memory), answered when it asks for the port's own IPv4 address, and written to the peers
//! connected by the `stream`/`pstream` options.
//!
//! [`Dummies`] owns what the classes share: the MAC counter, the list of devices, the clock and the
//! descriptor that wakes the main loop when a connected peer has something.
//!
//! Threads: devices may be used from any thread; [`Dummies`]'s `run` belongs to the main thread.
//! Limits: [`QUEUE_MAX`] packets per rx queue and per connection, [`QUEUES_MAX`] queues per port.

mod device;
mod queue;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

use crate::device::{Device, Provider};
use crate::error::NetdevError;
use crate::registry::Registry;
use base::clock::Clock;
use base::sync::{Arc, AtomicU32, Mutex, Ordering, Weak, lock};
use rustix::event::epoll;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use wire::{Ipv4, Ipv6};

pub use device::DummyDevice;

/// Packets that one rx queue, or one connection's outgoing side, holds; more are lost (and counted).
pub const QUEUE_MAX: usize = 100;
/// Queues of one `dummy-pmd` port.
pub const QUEUES_MAX: u32 = 1024;

/// How far the dummy classes replace real ones (`--enable-dummy[=LEVEL]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DummyLevel {
    /// They exist beside the real classes.
    Add,
    /// The class `system` is a dummy, too.
    OverrideSystem,
    /// Every class but `patch` is a dummy.
    OverrideAll,
}

impl DummyLevel {
    /// From the option's argument; `None` when there is no such level.
    #[must_use]
    pub fn parse(arg: Option<&str>) -> Option<Self> {
        match arg {
            None | Some("") => Some(Self::Add),
            Some("system") => Some(Self::OverrideSystem),
            Some("override") => Some(Self::OverrideAll),
            Some(_) => None,
        }
    }
}

/// Why a `netdev-dummy/*` command was refused; the texts are the commands' answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DummyError {
    /// To `receive`.
    #[error("no such dummy netdev")]
    NoSuchDummy,
    /// To the others.
    #[error("Unknown Dummy Interface")]
    UnknownInterface,
    /// The port has no such rx queue.
    #[error("bad rx queue id.")]
    BadQueue,
}

/// What the dummy classes of one registry share. A handle: clones are the same.
#[derive(Debug, Clone)]
pub struct Dummies(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    clock: Clock,
    rundir: PathBuf,
    epoll: OwnedFd,
    next_mac: AtomicU32,
    devices: Mutex<Vec<Weak<DummyDevice>>>,
}

/// Registers the dummy classes, replacing real ones as `level` says. Relative socket paths are below
/// `rundir`.
///
/// # Errors
/// A class is in use already, or the kernel gave no epoll descriptor.
pub fn enable(
    registry: &Registry,
    level: DummyLevel,
    clock: Clock,
    rundir: PathBuf,
) -> Result<Dummies, NetdevError> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| NetdevError::Io {
        dev: "dummy".to_owned(),
        op: "epoll_create",
        source: e.into(),
    })?;
    let dummies = Dummies(Arc::new(Hub {
        clock,
        rundir,
        epoll,
        next_mac: AtomicU32::new(0xaa55_0000),
        devices: Mutex::default(),
    }));
    let replaced = match level {
        DummyLevel::Add => Vec::new(),
        DummyLevel::OverrideSystem => vec!["system"],
        DummyLevel::OverrideAll => registry.types(),
    };
    for class in replaced {
        // As in Open vSwitch, a class that is not there is not made up.
        if class != "patch" && registry.unregister(class).is_ok() {
            registry.register(dummies.class(class, false))?;
        }
    }
    registry.register(dummies.class("dummy", false))?;
    registry.register(dummies.class("dummy-internal", false))?;
    registry.register(dummies.class("dummy-pmd", true))?;
    Ok(dummies)
}

/// The open dummy device of that name.
#[must_use]
pub fn by_name(registry: &Registry, name: &str) -> Option<Arc<DummyDevice>> {
    let device = registry.get(name)?;
    let dummy = device.as_any().downcast_ref::<DummyDevice>()?;
    dummy.shared()
}

impl Dummies {
    fn class(&self, class: &'static str, pmd: bool) -> Arc<dyn Provider> {
        Arc::new(DummyClass {
            class,
            pmd,
            hub: self.clone(),
        })
    }

    /// Every open dummy device, oldest first.
    #[must_use]
    pub fn devices(&self) -> Vec<Arc<DummyDevice>> {
        let mut list = lock(&self.0.devices);
        list.retain(|d| d.strong_count() > 0);
        list.iter().filter_map(Weak::upgrade).collect()
    }

    /// An open dummy device by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<DummyDevice>> {
        self.devices().into_iter().rev().find(|d| d.name() == name)
    }

    /// `netdev-dummy/receive`, for one packet.
    ///
    /// # Errors
    /// No such port or queue.
    pub fn receive(&self, name: &str, packet: &[u8], queue: u32) -> Result<(), DummyError> {
        let device = self.get(name).ok_or(DummyError::NoSuchDummy)?;
        device.receive(packet, queue)
    }

    /// `netdev-dummy/set-admin-state`; `None` means every dummy port.
    ///
    /// # Errors
    /// No such port.
    pub fn set_admin_state(&self, name: Option<&str>, up: bool) -> Result<(), DummyError> {
        let devices = match name {
            Some(name) => vec![self.get(name).ok_or(DummyError::UnknownInterface)?],
            None => self.devices(),
        };
        for device in devices {
            device.set_admin_state(up);
        }
        Ok(())
    }

    /// The answer of `netdev-dummy/conn-state`: of one port, or of all that connect somewhere.
    #[must_use]
    pub fn conn_state(&self, name: Option<&str>) -> String {
        let text = |state| match state {
            Some(true) => "connected",
            Some(false) => "disconnected",
            None => "unknown",
        };
        if let Some(name) = name {
            let state = self.get(name).and_then(|d| d.connected());
            return format!("{name}: {}\n", text(state));
        }
        self.devices()
            .iter()
            .filter_map(|d| Some((d, d.connected()?)))
            .map(|(d, state)| format!("{}: {}\n", d.name(), text(Some(state))))
            .collect()
    }

    /// `netdev-dummy/ip4addr`.
    ///
    /// # Errors
    /// No such port.
    pub fn set_ip4addr(&self, name: &str, address: Ipv4, mask: Ipv4) -> Result<(), DummyError> {
        let device = self.get(name).ok_or(DummyError::UnknownInterface)?;
        device.set_ip4addr(address, mask);
        Ok(())
    }

    /// `netdev-dummy/ip6addr`; the prefix length is at most 128.
    ///
    /// # Errors
    /// No such port.
    pub fn set_ip6addr(&self, name: &str, address: Ipv6, prefix: u8) -> Result<(), DummyError> {
        let device = self.get(name).ok_or(DummyError::UnknownInterface)?;
        device.set_ip6addr(address, prefix.min(128));
        Ok(())
    }

    fn run(&self, class: &'static str) {
        for device in self.devices() {
            if device.class() == class {
                device.run();
            }
        }
    }
}

/// One class: `dummy`, one of its variants, or a real class's stand-in.
#[derive(Debug)]
struct DummyClass {
    class: &'static str,
    pmd: bool,
    hub: Dummies,
}

impl Provider for DummyClass {
    fn class(&self) -> &'static str {
        self.class
    }
    fn is_pmd(&self) -> bool {
        self.pmd
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        let n = self.hub.0.next_mac.fetch_add(1, Ordering::Relaxed);
        let device = DummyDevice::create(name, self, n);
        lock(&self.hub.0.devices).push(Arc::downgrade(&device));
        Ok(device)
    }
    fn run(&self) {
        self.hub.run(self.class);
    }
    fn wake_fd(&self) -> Option<RawFd> {
        Some(self.hub.0.epoll.as_raw_fd())
    }
}
