//! Class `dpdk`: devices of DPDK's drivers, named by `dpdk-devargs`, polled by packet threads.
//!
//! * `shim/*.c`: built by `scripts/build-dpdk` into `libringway_dpdk.so`; the
//!   switch itself never links DPDK.
//! * [`library`]: opening that file, and its functions as safe ones. Nothing else knows what DPDK looks like.
//! * [`eal`]: DPDK's start, asked for by `other_config:dpdk-init`; its log; registered threads.
//! * [`args`]: the command line DPDK is started with.
//! * [`memory`]: pools of mbufs, shared by ports of the same MTU and NUMA node.
//! * [`burst`]: mbufs as [`packet::Frame`]s and back, in place.
//! * [`attach`]: devices found or brought in by their arguments.
//! * [`options`], [`port`], [`queue`]: the class itself. [`control`]: what operators ask for by hand.
//!
//! Process-wide, as DPDK is: it is started at most once and never stopped. A packet that goes from one DPDK port
//! to another stays in its mbuf; what comes from elsewhere is copied once, into an mbuf of the sending port's pool.
//!
//! Limits: 64 queues of each kind by option, 4096 descriptors a queue, MTU 68 to 9702 bytes.

mod args;
mod attach;
mod burst;
mod control;
mod eal;
mod library;
mod memory;
mod options;
mod port;
mod queue;

pub use control::{detach, mempool_info};
pub use eal::{Status, init, log_set, status, text};
pub use library::Dump;

use crate::device::{Device, Provider};
use crate::error::NetdevError;
use base::sync::Arc;

/// The provider of class `dpdk`. It is there always, to say what is missing; it is listed once DPDK runs.
#[derive(Debug, Default)]
pub struct DpdkProvider;

impl Provider for DpdkProvider {
    fn class(&self) -> &'static str {
        "dpdk"
    }
    fn is_pmd(&self) -> bool {
        true
    }
    fn is_listed(&self) -> bool {
        status().initialized
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        let eal = eal::running().map_err(|why| NetdevError::BadConfig {
            text: format!("{name}: {why}"),
            errno: libc::EAFNOSUPPORT,
        })?;
        Ok(Arc::new(port::Dpdk::new(name, eal)))
    }
    fn run(&self) {
        port::look_at_links();
    }
}
