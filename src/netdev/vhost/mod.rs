//! Classes `dpdkvhostuserclient` and `dpdkvhostuser`: virtual machines (and DPDK programs) that bring their
//! own memory. Without DPDK.
//!
//! The guest's side tells us over a Unix socket where its memory and rings are; packet threads then poll
//! the rings, and each packet is copied once between guest memory and a frame.
//!
//! * [`features`]: what is offered, and what was agreed.
//! * [`memory`], [`sigbus`], [`call`]: the guest's memory, its loss, and its interrupts: `unsafe` is there and
//!   in [`pool`], which has memory of our own.
//! * [`ring`]: one split virtqueue, trusting nothing. [`receive`], [`transmit`]: packets through it.
//! * [`pace`]: how often a busy guest is looked at.
//! * [`vring`]: a ring's state by the messages. [`waker`]: what sleeps on it.
//! * [`session`]: the messages. [`connection`]: the thread they come in on, one per port.
//! * [`shared`], [`queue`], [`device`]: the port.
//!
//! What a guest (or the process that runs it) does wrong stops its ring or ends its connection, and is said
//! in the interface's error; nobody else notices. Names of logs, statistics and status are DPDK's and Open
//! vSwitch's.

mod call;
mod connection;
mod counts;
mod device;
#[cfg(feature = "drivers")]
pub mod driver;
mod features;
#[cfg(any(test, feature = "drivers"))]
mod guest;
mod memory;
mod pace;
mod pool;
mod queue;
mod receive;
mod ring;
mod session;
mod shared;
mod sigbus;
#[cfg(test)]
mod tests;
mod transmit;
mod vring;
mod waker;

use crate::device::{Device, Provider};
use crate::error::NetdevError;
use base::sync::Arc;
use device::VhostDevice;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Pairs of rings that a port can have: bits of a word.
const PAIRS_MAX: usize = 64;
/// Entries that a ring can have (virtio 1.2, 2.7).
const RING_SIZE_MAX: u16 = 32_768;
/// Limits of an MTU, as DPDK ports have them.
const MTU_MIN: u32 = 68;
const MTU_MAX: u32 = 9702;
/// `tx-retries-max`: least, default, most.
const RETRIES: (u32, u32, u32) = (0, 8, 32);

/// The provider of one of the two classes.
#[derive(Debug)]
pub struct VhostProvider {
    /// Where sockets of our own are made; `None` when the guest's are connected to.
    rundir: Option<PathBuf>,
}

impl VhostProvider {
    /// `dpdkvhostuserclient`: connects to `options:vhost-server-path`.
    #[must_use]
    pub fn client() -> Self {
        Self { rundir: None }
    }
    /// `dpdkvhostuser`: listens at `<rundir>/<name>`.
    #[must_use]
    pub fn server(rundir: PathBuf) -> Self {
        Self {
            rundir: Some(rundir),
        }
    }
}

impl Provider for VhostProvider {
    fn class(&self) -> &'static str {
        device::class(self.rundir.is_none())
    }
    fn is_pmd(&self) -> bool {
        true
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        let device = match &self.rundir {
            None => VhostDevice::client(name)?,
            Some(rundir) => VhostDevice::server(name, rundir)?,
        };
        Ok(Arc::new(device))
    }
    fn wake_fd(&self) -> Option<RawFd> {
        shared::changes_fd()
    }
    fn run(&self) {
        shared::changes_seen();
    }
}
