//! The signature cache: from a packet's hash to the megaflow it hit last.
//!
//! An entry is a signature and a flow number, eight to a cache line. It does not hold the packet's key: a
//! candidate is verified under its own megaflow's mask, so a million microflows of one megaflow share one
//! verifying line, and a stale entry (flow gone, number reused) is only a wasted comparison. The hash
//! covers just the bits that any mask of the table looks at, so packets that no flow tells apart share an
//! entry too.
//!
//! A full set keeps most of what it has: only one insertion in eight replaces something. So more
//! microflows than entries leave a share of hits instead of none.

use super::eight::equal;
use crate::prefetch::prefetch;
use base::pages::{Advice, Pages};
use zerocopy::FromZeros;

/// Entries of a set.
const WAYS: usize = 8;

/// Zeroes are an empty set: no signature is 0.
#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
struct Set {
    signatures: [u32; WAYS],
    flows: [u32; WAYS],
}

/// See the module. Owned by one packet thread.
#[derive(Debug)]
pub(crate) struct Cache {
    sets: Pages<Set>,
    /// Turns with every insertion into a full set.
    turn: u32,
}

#[inline]
const fn signature(hash: u64) -> u32 {
    hash as u32 | 1
}

impl Cache {
    /// An empty cache of `sets` sets (a power of two).
    pub(crate) fn new(sets: usize) -> Self {
        assert!(sets.is_power_of_two());
        Self {
            sets: Pages::new(sets, Advice::Later),
            turn: 0,
        }
    }

    /// There are many flows: puts the sets on large pages.
    pub(crate) fn enlarge(&self) {
        self.sets.enlarge();
    }

    #[inline]
    fn set_of(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.sets.len() - 1)
    }

    /// Asks for the line that `candidate` will look at.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(&self.sets[self.set_of(hash)]);
    }

    /// A flow that a packet with this hash may belong to.
    #[inline]
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        let set = &self.sets[self.set_of(hash)];
        let ways = equal(&set.signatures, signature(hash));
        (ways != 0).then(|| set.flows[ways.trailing_zeros() as usize])
    }

    /// Remembers that a packet with this hash belongs to `flow`.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, flow: u32) {
        let at = self.set_of(hash);
        let set = &mut self.sets[at];
        let want = signature(hash);
        let same = equal(&set.signatures, want);
        let free = equal(&set.signatures, 0);
        let way = if same != 0 {
            same.trailing_zeros()
        } else if free != 0 {
            free.trailing_zeros()
        } else {
            self.turn = self.turn.wrapping_add(1);
            if !self.turn.is_multiple_of(8) {
                return;
            }
            self.turn / 8
        };
        let way = way as usize % WAYS;
        set.signatures[way] = want;
        set.flows[way] = flow;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// The cache's twin is a map of everything ever inserted: whatever the cache answers for a hash was
        /// the last flow inserted for its (set, signature).
        #[test]
        fn answers_are_the_last_inserted(ops in prop::collection::vec((0u64..64, 0u64..6, 0u32..50), 0..500)) {
            let mut cache = Cache::new(4);
            let mut map = HashMap::new();
            for (sig, set, flow) in ops {
                let hash = set << 32 | sig;
                let known = cache.candidate(hash).is_some();
                cache.insert(hash, flow);
                if known || cache.candidate(hash).is_some() {
                    map.insert((set % 4, signature(hash)), flow);
                    prop_assert_eq!(cache.candidate(hash), Some(flow));
                }
            }
            for (&(set, sig), &flow) in &map {
                let got = cache.candidate(set << 32 | u64::from(sig));
                prop_assert!(got.is_none() || got == Some(flow));
            }
        }
    }

    #[test]
    fn more_flows_than_entries_leave_hits() {
        let mut cache = Cache::new(64);
        let hash = |i: u64| base::hash::words(3, &[i]);
        let n = 64 * WAYS as u64 * 4;
        let mut hits = 0;
        for round in 0..20 {
            for i in 0..n {
                match cache.candidate(hash(i)) {
                    Some(f) if f == i as u32 => hits += u64::from(round >= 10),
                    _ => cache.insert(hash(i), i as u32),
                }
            }
        }
        assert!(hits * 10 > n * 10, "{hits} of {} lookups", n * 10);
    }
}
