//! All ukeys: shards chosen by hash, each behind its own lock, and the number of live flows.
//!
//! A shard's lock is held for short, never while translating, crediting or talking to the datapath, so a
//! handler that installs a flow hardly ever waits for a revalidator.

use crate::shard::{Shard, Slot};
use crate::ukey::UkeyId;
use base::sync::{AtomicUsize, CachePadded, Mutex, Ordering, lock};

/// Shards. A power of two.
pub const SHARDS: usize = 128;

/// All ukeys.
#[derive(Debug)]
pub struct UkeyMap<E> {
    shards: Box<[CachePadded<Mutex<Shard<E>>>]>,
    live: AtomicUsize,
}

impl<E> Default for UkeyMap<E> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| CachePadded::new(Mutex::new(Shard::default())))
                .collect(),
            live: AtomicUsize::new(0),
        }
    }
}

impl<E> UkeyMap<E> {
    /// The shard that a ukey of this name is in.
    #[must_use]
    pub fn shard_of(id: &UkeyId) -> usize {
        (id.hash() >> 40) as usize % SHARDS
    }

    /// Works on a shard under its lock.
    pub fn with<R>(&self, shard: usize, body: impl FnOnce(&mut Shard<E>) -> R) -> R {
        let mut guard = lock(&self.shards[shard]);
        let before = guard.live();
        let result = body(&mut guard);
        let after = guard.live();
        if after >= before {
            self.live.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.live.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }

    /// Works on the shard of a ukey of this name.
    pub fn with_id<R>(&self, id: &UkeyId, body: impl FnOnce(&mut Shard<E>) -> R) -> R {
        self.with(Self::shard_of(id), body)
    }

    /// Works on a ukey, if there is one of this name.
    pub fn with_ukey<R>(
        &self,
        id: &UkeyId,
        body: impl FnOnce(&mut Shard<E>, Slot) -> Option<R>,
    ) -> Option<R> {
        self.with_id(id, |shard| {
            let slot = shard.find(id)?;
            body(shard, slot)
        })
    }

    /// Flows that may be in the datapath.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The shards of worker `worker` of `n`.
    pub fn slice(worker: usize, n: usize) -> impl Iterator<Item = usize> {
        (worker..SHARDS).step_by(n.max(1))
    }

    /// Ukeys in the shards of worker `worker` of `n`.
    #[must_use]
    pub fn keys_of(&self, worker: usize, n: usize) -> usize {
        Self::slice(worker, n)
            .map(|s| lock(&self.shards[s]).len())
            .sum()
    }

    /// Bytes of memory all ukeys occupy, not counting what they share, nor the tables around them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards
            .iter()
            .map(|s| {
                let shard = lock(s);
                let slots = shard.slots();
                slots
                    .iter()
                    .filter_map(|&s| shard.get(s))
                    .map(crate::ukey::Ukey::bytes)
                    .sum::<usize>()
            })
            .sum()
    }
}
