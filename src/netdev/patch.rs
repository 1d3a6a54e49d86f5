//! The `patch` class: a port that is another bridge's port.
//!
//! A patch port has no queues: translation walks through it, and the datapath never sees it. It only
//! remembers its peer's name and counts what translation says went through.

use crate::device::{Config, Device, DeviceFlags, Direction, Provider, RxQueue, Stats, TxQueue};
use crate::error::NetdevError;
use crate::vport::{Counts, random_mac};
use base::sync::{Arc, AtomicU64, Mutex, Ordering, lock};
use wire::EthAddr;

/// The class. Stateless.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatchClass;

impl Provider for PatchClass {
    fn class(&self) -> &'static str {
        "patch"
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        Ok(Arc::new(PatchPort {
            name: name.to_owned(),
            peer: Mutex::default(),
            mac: Mutex::new(random_mac()),
            counts: Counts::default(),
            seq: AtomicU64::new(2),
        }))
    }
}

#[derive(Debug)]
struct PatchPort {
    name: String,
    peer: Mutex<Option<String>>,
    mac: Mutex<EthAddr>,
    counts: Counts,
    seq: AtomicU64,
}

impl PatchPort {
    fn refuse(&self, what: &str) -> NetdevError {
        let text = format!("{}: {what}", self.name);
        tracing::error!(target: "netdev_vport", "{text}");
        NetdevError::BadConfig {
            text,
            errno: libc::EINVAL,
        }
    }
}

impl Device for PatchPort {
    fn name(&self) -> &str {
        &self.name
    }
    fn class(&self) -> &'static str {
        "patch"
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let Some(peer) = config.get("peer") else {
            return Err(self.refuse("patch type requires valid 'peer' argument"));
        };
        if config.len() > 1 {
            return Err(self.refuse("patch type takes only a 'peer' argument"));
        }
        if *peer == self.name {
            return Err(self.refuse("patch peer must not be self"));
        }
        let mut mine = lock(&self.peer);
        if mine.as_ref() != Some(peer) {
            *mine = Some(peer.clone());
            self.seq.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Vec::new())
    }
    fn get_config(&self) -> Config {
        let peer = self.patch_peer();
        peer.into_iter().map(|p| ("peer".to_owned(), p)).collect()
    }
    fn patch_peer(&self) -> Option<String> {
        lock(&self.peer).clone()
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
        *lock(&self.mac)
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        *lock(&self.mac) = mac;
        self.seq.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn mtu(&self) -> Option<u32> {
        None
    }
    fn carrier(&self) -> bool {
        true
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
