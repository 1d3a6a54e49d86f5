//! `netdev`: port classes and their queues. Knows packets, knows no flow.
//!
//! A [`Provider`] is a class (`afxdp`, `tap`, `dummy`, ...); a [`Device`] is one opened port, shared by
//! reference; a [`RxQueue`] and a [`TxQueue`] are owned by exactly one packet thread each and are where
//! packets go in and out, a batch at a time.
//!
//! Life of a port: `Registry::open(name, class)` -> `set_config` -> `reconfigure` (applies what needs a
//! stop) -> `rx_open`/`tx_open` per queue, moved into packet threads -> queues dropped -> last reference
//! dropped: flags and other changed device state are restored.

pub mod afxdp;
mod cnum;
pub mod device;
pub mod dpdk;
pub mod dummy;
pub mod error;
pub mod fault;
pub mod flags;
pub mod flow_offload;
mod landing;
mod linux;
mod mailbox;
pub mod offload;
mod outgoing;
pub mod patch;
pub mod pcap;
mod port;
mod qos;
pub mod registry;
pub mod system;
pub mod tap;
pub mod tunnel;
pub mod vhost;
mod vnet;
mod vport;

pub use device::{
    CONTROL_TXQ, Config, Device, DeviceFlags, Direction, Duplex, LinkFeatures, Provider,
    QosDetails, QosType, QueueStats, RxQueue, Stats, TunnelConfig, TxQueue, TxReport,
};
pub use error::{NetdevError, os_error};
pub use linux::changes;
pub use registry::{OpenDevice, Registry, configure, parse_name};
/// Parts of this room, to be driven by benches.
#[cfg(feature = "drivers")]
pub use vhost::driver as drivers;

/// The classes of real devices, to be registered at start.
#[must_use]
pub fn providers() -> Vec<base::sync::Arc<dyn Provider>> {
    use base::sync::Arc;
    vec![
        Arc::new(afxdp::AfxdpProvider),
        Arc::new(afxdp::AfxdpNonpmdProvider),
        Arc::new(dpdk::DpdkProvider),
        Arc::new(system::SystemProvider),
        Arc::new(tap::TapProvider::tap()),
        Arc::new(tap::TapProvider::internal()),
    ]
}
