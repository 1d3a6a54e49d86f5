//! The `fault` class: another port behind a bad link, for tests.
//!
//! Options:
//!
//! * `device`, `class`: the port behind; or `pair`: the name of the fault port that this one is wired to,
//!   within this process.
//! * `seed`: makes everything that follows repeatable.
//! * `drop corrupt truncate duplicate delay reorder stall`: how often, per million packets; `delay_ms`,
//!   `stall_ms`: how long. With `rx_` or `tx_` in front for one direction only.
//!
//! All other options are the port's behind. Time is the switch's clock: with virtual time, held packets
//! leave when it moves. Rx queues that may hold packets have no descriptor to sleep on.
//!
//! Packets are counted by what became of them ([`FaultDevice::rx_counts`], [`FaultDevice::tx_counts`],
//! custom statistics), and the sums close exactly.

mod counts;
mod device;
mod options;
mod pipe;
mod queue;
#[cfg(test)]
mod tests;

use crate::device::{Device, Provider};
use crate::error::NetdevError;
use crate::mailbox::Mailbox;
use crate::registry::{Registry, WeakRegistry};
use base::clock::Clock;
use base::sync::{Arc, Mutex, Weak, lock};
use std::collections::BTreeMap;

pub use counts::FaultCounts;
pub use device::FaultDevice;
pub use pipe::{Faults, HELD_MAX};

/// Packets that wait at the end of a `pair` wire; more are refused.
pub const PAIR_MAX: usize = 1024;

/// The class.
#[derive(Debug)]
pub struct FaultClass(Arc<Shared>);

/// What fault ports of one registry share.
#[derive(Debug)]
struct Shared {
    registry: WeakRegistry,
    clock: Clock,
    /// Ends of `pair` wires, by port name.
    ends: Mutex<BTreeMap<String, Weak<Mailbox>>>,
    devices: Mutex<Vec<Weak<FaultDevice>>>,
}

impl FaultClass {
    /// The class; ports behind are opened in `registry`.
    #[must_use]
    pub fn new(registry: &Registry, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            registry: registry.downgrade(),
            clock,
            ends: Mutex::default(),
            devices: Mutex::default(),
        }))
    }
}

impl Provider for FaultClass {
    fn class(&self) -> &'static str {
        "fault"
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        let device = FaultDevice::create(name, Arc::clone(&self.0));
        lock(&self.0.devices).push(Arc::downgrade(&device));
        Ok(device)
    }
    fn run(&self) {
        let mut devices = lock(&self.0.devices);
        devices.retain(|d| d.strong_count() > 0);
        let open: Vec<_> = devices.iter().filter_map(Weak::upgrade).collect();
        drop(devices);
        for device in open {
            device.release_due();
        }
    }
}
