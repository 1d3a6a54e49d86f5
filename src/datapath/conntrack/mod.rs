//! Connection tracking: the `ct` action of all packet threads of a datapath.
//!
//! * [`step`]: the action, compiled. [`track`]: a batch through it. [`create`]: new connections.
//! * [`parse`]: from packets to [`tuple`]s. [`proto`], [`tcp`]: what a connection's protocol is doing.
//! * [`shard`]: the table, part by part; [`conn`]: what is in it. [`sweep`]: forgetting what expired.
//! * [`nat`]: choosing translations; [`rewrite`]: putting them into packets.
//! * [`fragments`]: packets in pieces. [`alg`]: FTP and TFTP.
//! * [`timeouts`], [`zones`]: policies and limits. [`control`]: all of it for control threads.
//!
//! Threads: the table is shared by all packet threads, since the two directions of a connection may come in on
//! different ones. It is in 1024 parts under a lock each, chosen by a seeded hash that is the same for both
//! directions. A packet of a known connection takes one of them for as long as it takes to find the connection
//! and note the packet; packets of a batch that fall in the same part take it once. Nobody ever holds two: a
//! translated connection has, besides its entry, an *alias* where its answers are looked for, which names its
//! key. Names can be stale; whoever follows one checks what it finds.
//!
//! Invariants: of all that is found under a tuple one is alive; an expired connection is as good as none
//! everywhere, when it was swept and before; every counted connection is in the table; a zone's count is
//! that of its connections' admissions.

mod alg;
mod conn;
mod control;
mod create;
mod fragments;
mod nat;
mod parse;
mod proto;
mod rewrite;
mod shard;
mod step;
mod sweep;
mod tcp;
#[cfg(test)]
mod tests;
mod timeouts;
mod track;
mod tuple;
mod zones;

pub(crate) use control::Control;
pub(crate) use step::CtStep;
pub(crate) use track::Run;

use base::sync::{
    Arc, AtomicBool, AtomicU32, AtomicU64, CachePadded, Mutex, MutexGuard, Ordering, lock,
};
use conn::Conn;
use shard::Shard;
use tuple::Tuple;

/// Parts of the table.
const SHARDS: usize = 1024;

/// Connections there may be, unless configured (as the peer's).
const CONNS_MAX: u32 = 3_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Conntrack {
    shards: Box<[CachePadded<Mutex<Shard>>]>,
    seed: u64,
    ids: AtomicU64,
    conns: AtomicU32,
    conns_max: AtomicU32,
    seq_check: AtomicBool,
    policies: timeouts::Policies,
    zones: zones::Zones,
    expected: alg::expect::Expected,
    fragments: fragments::Fragments,
    sweeper: sweep::Sweeper,
}

/// Bits of state, as flow keys have them.
mod bits {
    pub(super) const NEW: u8 = 0x01;
    pub(super) const ESTABLISHED: u8 = 0x02;
    pub(super) const RELATED: u8 = 0x04;
    pub(super) const REPLY: u8 = 0x08;
    pub(super) const INVALID: u8 = 0x10;
    pub(super) const TRACKED: u8 = 0x20;
    pub(super) const SRC_NAT: u8 = 0x40;
    pub(super) const DST_NAT: u8 = 0x80;
    pub(super) const NAT: u8 = SRC_NAT | DST_NAT;
}

/// The part of the table that a hash falls in, and the hash within it.
#[inline]
const fn place(hash: u64) -> (usize, u32) {
    ((hash >> 32) as usize % SHARDS, hash as u32)
}

impl Conntrack {
    /// An empty one.
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            seed: base::hash::words(seed, &[0x0c7]),
            ids: AtomicU64::new(0),
            conns: AtomicU32::new(0),
            conns_max: AtomicU32::new(CONNS_MAX),
            seq_check: AtomicBool::new(true),
            policies: timeouts::Policies::default(),
            zones: zones::Zones::default(),
            expected: alg::expect::Expected::default(),
            fragments: fragments::Fragments::default(),
            sweeper: sweep::Sweeper::default(),
        })
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[number])
    }

    /// The part of a tuple, locked, and the hash within it.
    fn part(&self, tuple: &Tuple) -> (MutexGuard<'_, Shard>, u32) {
        let (shard, hash) = place(tuple.hash(self.seed));
        (self.shard(shard), hash)
    }

    /// After connections were removed from the table: what else there was of them goes, too.
    fn bury(&self, gone: impl IntoIterator<Item = Conn>) {
        for conn in gone {
            self.conns.fetch_sub(1, Ordering::Relaxed);
            if conn.helper().is_some() {
                self.expected.forget(&conn.key);
            }
            if let Some(alias) = conn.alias() {
                let (mut shard, hash) = self.part(&alias);
                shard.remove_alias(&alias, hash, conn.id);
            }
        }
    }
}
