//! [`Index`]: a hash table from a 32-bit hash to small numbers, in buckets of one cache line.
//!
//! It stores no keys: a lookup yields candidates whose whole 32-bit hash agrees, and the caller verifies
//! each against the thing it names. Several entries may carry the same hash.
//!
//! Design. A bucket holds seven (hash, number) pairs and counts the entries that wanted to live in it but
//! had to move on to a later bucket; a lookup ends at the first bucket that nobody overflowed. The bucket
//! comes from the low bits of the hash, so growing needs nothing but the hashes. Growing never stops the
//! world: the old array is drained a few buckets per insertion or removal, and lookups try both arrays
//! meanwhile.
//!
//! One thread owns an index. Hashes are seeded by the caller, so that a peer cannot aim at one bucket.

use super::NONE;
use super::eight::equal;
use crate::prefetch::prefetch;
use base::pages::{Advice, Pages};
use zerocopy::FromZeros;

/// Entries of a bucket. The eighth place holds the overflow count.
const WAYS: usize = 7;
/// An index grows when it holds more than this many entries per bucket on average.
const FULL: usize = 5;
/// Buckets of the old array that are moved per change. At most `FULL * old` changes happen before the new
/// array is full in its turn, so one would do; four make the time with two arrays short.
const MOVED_PER_CHANGE: usize = 4;

/// One cache line of an index.
#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
struct Bucket {
    /// Hashes, 0 for a free place; the last is the number of entries that moved on.
    hashes: [u32; WAYS + 1],
    numbers: [u32; WAYS + 1],
}

impl Bucket {
    /// Bit i is set when place i holds `hash`.
    #[inline]
    fn places(&self, hash: u32) -> u32 {
        equal(&self.hashes, hash) & ((1 << WAYS) - 1)
    }
}

#[derive(Debug)]
struct Buckets {
    buckets: Pages<Bucket>,
    len: usize,
}

impl Buckets {
    fn with_buckets(n: usize) -> Self {
        debug_assert!(n.is_power_of_two());
        Self {
            buckets: Pages::new(n, Advice::Now),
            len: 0,
        }
    }

    #[inline]
    fn mask(&self) -> usize {
        self.buckets.len() - 1
    }

    #[inline]
    fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut b = hash as usize & self.mask();
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[b];
            let mut places = bucket.places(hash);
            while places != 0 {
                let number = bucket.numbers[places.trailing_zeros() as usize];
                if is_it(number) {
                    return Some(number);
                }
                places &= places - 1;
            }
            if bucket.hashes[WAYS] == 0 {
                return None;
            }
            b = (b + 1) & self.mask();
        }
        None
    }

    fn insert(&mut self, hash: u32, number: u32) {
        let mask = self.mask();
        let mut b = hash as usize & mask;
        loop {
            let bucket = &mut self.buckets[b];
            let free = bucket.places(0);
            if free != 0 {
                let place = free.trailing_zeros() as usize;
                bucket.hashes[place] = hash;
                bucket.numbers[place] = number;
                self.len += 1;
                return;
            }
            bucket.hashes[WAYS] += 1;
            b = (b + 1) & mask;
        }
    }

    fn remove(&mut self, hash: u32, number: u32) -> bool {
        let mask = self.mask();
        let home = hash as usize & mask;
        let mut b = home;
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[b];
            for place in 0..WAYS {
                if bucket.hashes[place] == hash && bucket.numbers[place] == number {
                    bucket.hashes[place] = 0;
                    self.len -= 1;
                    self.leave(home, b);
                    return true;
                }
            }
            if bucket.hashes[WAYS] == 0 {
                return false;
            }
            b = (b + 1) & mask;
        }
        false
    }

    /// Takes back the overflow counts that an entry of `home` left on its way to `at`.
    fn leave(&mut self, home: usize, at: usize) {
        let mask = self.mask();
        let mut b = home;
        while b != at {
            self.buckets[b].hashes[WAYS] -= 1;
            b = (b + 1) & mask;
        }
    }
}

/// See the module. Numbers are the caller's; (hash, number) pairs should be distinct.
#[derive(Debug)]
pub(crate) struct Index {
    now: Buckets,
    /// The array that is being drained, and how many of its buckets are.
    old: Option<(Buckets, usize)>,
}

/// A free place is marked by hash 0, so no entry may have it: a bit that no bucket is chosen by is always set.
#[inline]
const fn nonzero(hash: u32) -> u32 {
    hash | 1 << 31
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An empty index.
    pub(crate) fn new() -> Self {
        Self {
            now: Buckets::with_buckets(1),
            old: None,
        }
    }

    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.now.len + self.old.as_ref().map_or(0, |(o, _)| o.len)
    }

    /// Asks for the line that `find` will look at first.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u32) {
        prefetch(&self.now.buckets[nonzero(hash) as usize & self.now.mask()]);
    }

    /// The first entry under `hash`, or [`NONE`].
    #[inline]
    pub(crate) fn candidate(&self, hash: u32) -> u32 {
        let nonzero = nonzero(hash);
        let bucket = &self.now.buckets[nonzero as usize & self.now.mask()];
        match bucket.places(nonzero) {
            0 => self.find(hash, |_| true).unwrap_or(NONE),
            places => bucket.numbers[places.trailing_zeros() as usize & WAYS],
        }
    }

    /// The first entry under `hash` that `is_it` accepts.
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = nonzero(hash);
        let found = self.now.find(hash, &mut is_it);
        match &self.old {
            Some((old, _)) if found.is_none() => old.find(hash, is_it),
            _ => found,
        }
    }

    /// How many entries carry `hash`.
    pub(crate) fn count(&self, hash: u32) -> usize {
        let mut n = 0;
        let none = self.find(hash, |_| {
            n += 1;
            false
        });
        debug_assert!(none.is_none());
        n
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, hash: u32, number: u32) {
        if self.old.is_none() && self.now.len >= self.now.buckets.len() * FULL {
            let bigger = Buckets::with_buckets(self.now.buckets.len() * 2);
            self.old = Some((std::mem::replace(&mut self.now, bigger), 0));
        }
        self.now.insert(nonzero(hash), number);
        self.move_some();
    }

    /// Removes an entry; false when it was not there.
    pub(crate) fn remove(&mut self, hash: u32, number: u32) -> bool {
        let hash = nonzero(hash);
        let removed = self.now.remove(hash, number)
            || self
                .old
                .as_mut()
                .is_some_and(|(old, _)| old.remove(hash, number));
        self.move_some();
        if self.len() == 0 && self.now.buckets.len() > 64 {
            *self = Self::new();
        }
        removed
    }

    /// Drains a few buckets of the old array. Their overflow counts stay: too high a count costs a look
    /// into one more bucket, never an entry.
    fn move_some(&mut self) {
        let Some((old, done)) = &mut self.old else {
            return;
        };
        let end = (*done + MOVED_PER_CHANGE).min(old.buckets.len());
        for bucket in &mut old.buckets[*done..end] {
            for place in 0..WAYS {
                let hash = std::mem::take(&mut bucket.hashes[place]);
                if hash != 0 {
                    self.now.insert(hash, bucket.numbers[place]);
                    old.len -= 1;
                }
            }
        }
        *done = end;
        if end == old.buckets.len() {
            self.old = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        Insert(u32),
        Remove(usize),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let one = prop_oneof![
            // Few distinct hashes, so that buckets overflow and hashes repeat.
            3 => (0u32..40).prop_map(|h| Change::Insert(h.wrapping_mul(0x0100_0001))),
            2 => any::<u32>().prop_map(Change::Insert),
            2 => any::<usize>().prop_map(Change::Remove),
        ];
        prop::collection::vec(one, 0..600)
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(changes in changes()) {
            let mut index = Index::new();
            let mut list: Vec<(u32, u32)> = Vec::new();
            for (n, change) in changes.into_iter().enumerate() {
                match change {
                    Change::Insert(hash) => {
                        index.insert(hash, n as u32);
                        list.push((hash, n as u32));
                    }
                    Change::Remove(at) if !list.is_empty() => {
                        let (hash, number) = list.swap_remove(at % list.len());
                        prop_assert!(index.remove(hash, number));
                        prop_assert!(!index.remove(hash, number));
                    }
                    Change::Remove(_) => {}
                }
                prop_assert_eq!(index.len(), list.len());
            }
            for &(hash, number) in &list {
                prop_assert_eq!(index.find(hash, |n| n == number), Some(number));
                prop_assert_eq!(Some(index.candidate(hash)), index.find(hash, |_| true));
                let same = list.iter().filter(|e| nonzero(e.0) == nonzero(hash)).count();
                prop_assert_eq!(index.count(hash), same);
            }
        }
    }

    #[test]
    fn growing_is_spread_over_insertions() {
        let mut index = Index::new();
        let mut state = base::rng::Rng::new(7);
        let hashes: Vec<u32> = (0..100_000).map(|_| state.next_u64() as u32).collect();
        for (n, &h) in hashes.iter().enumerate() {
            index.insert(h, n as u32);
        }
        for (n, &h) in hashes.iter().enumerate() {
            assert_eq!(index.find(h, |x| x == n as u32), Some(n as u32));
        }
        for (n, &h) in hashes.iter().enumerate() {
            assert!(index.remove(h, n as u32));
        }
        assert_eq!((index.len(), index.now.buckets.len()), (0, 1));
    }
}
