//! Pools of mbufs, shared by ports: one per buffer size and NUMA node, or (`per-port-memory`) one per port.
//!
//! A pool that no port uses is freed once all its mbufs came home, which is looked at whenever a pool is asked
//! for. Control threads only. `shared-mempool-config` lists MTUs (with NUMA nodes) for which pools are made; a
//! port takes the smallest that fits it.

use super::library::{Library, Pool};
use crate::device::Config;
use base::sync::{Arc, Mutex, Weak, lock};

/// Mbufs of a pool for ordinary frames, and the least a pool can have.
const MBUFS: u32 = 4096 * 64;
const MBUFS_MIN: u32 = 4096 * 4;
/// What buffer sizes are multiples of, and what DPDK keeps free in front of received data, bytes.
const ALIGN: u32 = 1024;
const HEADROOM: u32 = 128;
/// Ethernet header and checksum; two VLAN tags.
const L2_BYTES: u32 = 14 + 4;
const TAG_BYTES: u32 = 8;

/// Bytes of a buffer for this MTU.
fn room(mtu: u32) -> u32 {
    (mtu + L2_BYTES + TAG_BYTES).next_multiple_of(ALIGN) + HEADROOM
}

/// The largest MTU of the same buffer size, as pools are named after.
fn adjusted(mtu: u32) -> u32 {
    room(mtu) - L2_BYTES
}

/// One size that the operator wants pools of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UserPool {
    mtu: u32,
    socket: Option<i32>,
}

/// What a port asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) port: &'a str,
    pub(super) mtu: u32,
    pub(super) socket: i32,
    pub(super) n_rxq: u32,
    pub(super) n_txq: u32,
    pub(super) rxd: u32,
    pub(super) txd: u32,
}

/// A port's share of a pool.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) pool: Pool,
}

#[derive(Debug)]
struct Entry {
    name: String,
    pool: Pool,
    mtu: u32,
    socket: i32,
    users: Weak<Share>,
}

/// The pools.
#[derive(Debug)]
pub(super) struct Memory {
    library: Library,
    per_port: bool,
    user: Vec<UserPool>,
    pools: Mutex<Pools>,
}

#[derive(Debug, Default)]
struct Pools {
    entries: Vec<Entry>,
    serial: u32,
}

impl Memory {
    pub(super) fn new(library: Library, settings: &Config) -> Self {
        let per_port = settings.get("per-port-memory").map(String::as_str) == Some("true");
        tracing::info!(target: "netdev_dpdk", "Per port memory for DPDK devices {}.",
            if per_port { "enabled" } else { "disabled" });
        let list = settings.get("shared-mempool-config");
        Self {
            library,
            per_port,
            user: list.map(|l| user_pools(l)).unwrap_or_default(),
            pools: Mutex::default(),
        }
    }

    /// A share of a pool that suits the port.
    ///
    /// # Errors
    /// An errno: DPDK has no memory for it.
    pub(super) fn get(&self, r: &Request<'_>) -> Result<Arc<Share>, i32> {
        let mut pools = lock(&self.pools);
        let mtu = if self.per_port {
            adjusted(r.mtu)
        } else {
            self.fitting(r)
        };
        let reused = if self.per_port {
            None
        } else {
            reuse(&mut pools.entries, mtu, r.socket)
        };
        self.sweep(&mut pools.entries);
        match reused {
            Some(share) => Ok(share),
            None => self.create(&mut pools, mtu, r),
        }
    }

    /// The MTU of the smallest pool size that the operator named and that fits, or the port's own.
    fn fitting(&self, r: &Request<'_>) -> u32 {
        let own = adjusted(r.mtu);
        let best = self
            .user
            .iter()
            .filter(|u| u.mtu >= own && u.socket.is_none_or(|s| s == r.socket))
            .map(|u| u.mtu)
            .min();
        match best {
            Some(mtu) => tracing::debug!(target: "netdev_dpdk",
                "Found user configured shared mempool with mbufs of size {}, suitable for port with MTU {}, \
                 NUMA {}.", mtu + L2_BYTES, r.mtu, r.socket),
            None => tracing::debug!(target: "netdev_dpdk",
                "No user configured shared mempool mbuf sizes found suitable for port with MTU {}, NUMA {}.",
                r.mtu, r.socket),
        }
        best.unwrap_or(own)
    }

    /// Frees pools that nobody uses and nothing is out of.
    fn sweep(&self, entries: &mut Vec<Entry>) {
        entries.retain(|e| {
            let keep = e.users.strong_count() > 0 || !self.library.pool_is_idle(e.pool);
            if !keep {
                tracing::debug!(target: "netdev_dpdk", "Freeing mempool \"{}\"", e.name);
                self.library.pool_free(e.pool);
            }
            keep
        });
    }

    fn create(&self, pools: &mut Pools, mtu: u32, r: &Request<'_>) -> Result<Arc<Share>, i32> {
        let mut n = self.mbufs(mtu, r);
        let size = mtu + L2_BYTES;
        pools.serial = pools.serial.wrapping_add(1);
        loop {
            let name = format!(
                "rw{:06x}{:02}{mtu:05}{n:07}",
                pools.serial & 0xff_ffff,
                r.socket
            );
            tracing::debug!(target: "netdev_dpdk",
                "Port {}: Requesting a mempool of {n} mbufs of size {size} on socket {} for {} Rx and {} Tx \
                 queues, cache line size of 64", r.port, r.socket, r.n_rxq, r.n_txq);
            match self.library.pool_create(&name, n, size, r.socket) {
                Ok(pool) => {
                    tracing::debug!(target: "netdev_dpdk", "Allocated \"{name}\" mempool with {n} mbufs");
                    let share = Arc::new(Share { pool });
                    pools.entries.push(Entry {
                        name,
                        pool,
                        mtu,
                        socket: r.socket,
                        users: Arc::downgrade(&share),
                    });
                    return Ok(share);
                }
                Err(libc::ENOMEM | libc::ENOBUFS) if n / 2 >= MBUFS_MIN => {
                    tracing::debug!(target: "netdev_dpdk",
                        "Failed to create mempool \"{name}\" with a request of {n} mbufs, retrying with {} \
                         mbufs", n / 2);
                    n /= 2;
                }
                Err(errno) => {
                    tracing::error!(target: "netdev_dpdk",
                        "Failed to create mempool \"{name}\" with a request of {n} mbufs");
                    return Err(errno);
                }
            }
        }
    }

    /// How many mbufs a new pool is to have.
    fn mbufs(&self, mtu: u32, r: &Request<'_>) -> u32 {
        if self.per_port {
            r.n_rxq * r.rxd + r.n_txq * r.txd + r.n_rxq.min(128) * 32 + MBUFS_MIN
        } else if mtu >= 1500 {
            MBUFS
        } else {
            MBUFS_MIN
        }
    }
}

/// A share of a pool that is there, in use or not.
fn reuse(entries: &mut [Entry], mtu: u32, socket: i32) -> Option<Arc<Share>> {
    let e = entries
        .iter_mut()
        .find(|e| e.mtu == mtu && e.socket == socket)?;
    tracing::debug!(target: "netdev_dpdk", "Reusing mempool \"{}\"", e.name);
    Some(e.users.upgrade().unwrap_or_else(|| {
        let share = Arc::new(Share { pool: e.pool });
        e.users = Arc::downgrade(&share);
        share
    }))
}

/// The list `MTU[:NUMA],...`; a wrong one counts as none.
fn user_pools(list: &str) -> Vec<UserPool> {
    let mut pools = Vec::new();
    for item in list.split([',', ' ']).filter(|i| !i.is_empty()) {
        let (mtu, socket) = item.split_once(':').unwrap_or((item, ""));
        let Ok(mtu) = mtu.parse::<u16>() else {
            return wrong("MTU");
        };
        let socket = match socket.parse::<i32>() {
            Ok(s) if s < 0 => return wrong("NUMA"),
            other => other.ok(),
        };
        let shown = socket.map_or_else(|| "ALL".to_owned(), |s| s.to_string());
        tracing::info!(target: "netdev_dpdk",
            "User configured shared mempool set for: MTU {mtu}, NUMA {shown}.");
        let mtu = adjusted(u32::from(mtu));
        pools.push(UserPool { mtu, socket });
    }
    pools
}

fn wrong(what: &str) -> Vec<UserPool> {
    tracing::warn!(target: "netdev_dpdk", "Invalid user configured shared mempool {what}.");
    tracing::warn!(target: "netdev_dpdk", "User configured shared mempools will not be used.");
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_hold_their_mtu_and_two_tags() {
        assert_eq!((room(1500), room(2022), room(2023)), (2176, 2176, 3200));
        assert_eq!((adjusted(1500), adjusted(7000)), (2158, 7278));
    }

    #[test]
    fn the_operators_list() {
        let pools = user_pools("8000,6000:1, 1500");
        let want = [(8000, None), (6000, Some(1)), (1500, None)];
        let want = want.map(|(mtu, socket)| UserPool {
            mtu: adjusted(mtu),
            socket,
        });
        assert_eq!(pools, want);
        assert!(user_pools("8000,x").is_empty() && user_pools("8000:-1").is_empty());
    }
}
