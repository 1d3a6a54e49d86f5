//! What ports without queues have in common: counters credited from above, fixed flags, a made-up MAC.

use crate::device::{DeviceFlags, Direction, Stats};
use base::sync::Counter;
use wire::EthAddr;

/// Flags of a port without queues: nothing can take it down.
pub(crate) const FLAGS: DeviceFlags = DeviceFlags {
    up: true,
    promisc: true,
    loopback: false,
};

/// Packets and bytes both ways.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    rx: [Counter; 2],
    tx: [Counter; 2],
}

impl Counts {
    pub(crate) fn credit(&self, direction: Direction, packets: u64, bytes: u64) {
        let way = match direction {
            Direction::Rx => &self.rx,
            Direction::Tx => &self.tx,
        };
        way[0].add_shared(packets);
        way[1].add_shared(bytes);
    }
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            rx_packets: Some(self.rx[0].get()),
            rx_bytes: Some(self.rx[1].get()),
            tx_packets: Some(self.tx[0].get()),
            tx_bytes: Some(self.tx[1].get()),
            ..Stats::default()
        }
    }
}

/// A locally administered unicast address.
pub(crate) fn random_mac() -> EthAddr {
    use std::hash::{BuildHasher, Hasher};
    let n = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let [_, _, a, b, c, d, e, f] = n.to_be_bytes();
    EthAddr([a & !1 | 2, b, c, d, e, f])
}
