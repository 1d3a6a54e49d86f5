//! A flow key without its empty lines, and shared masks and actions: what keeps a ukey small.
//!
//! A full [`Flow`] is 704 bytes, of which an ordinary flow uses one or two 64-byte lines. Masks and actions
//! repeat: thousands of flows share one of each, so they are interned.

use base::sync::{Arc, Mutex, OnceLock, lock};
use flow::{FLOW_LINES, Flow, Mask};
use hashbrown::HashTable;
use odp::{Actions, Ufid};

/// A key's lines that are not all zero. The first one, which every key has, is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFlow {
    first: [u64; 8],
    /// The others that are there.
    rest: Box<[[u64; 8]]>,
    /// Bit l: line l is there, l > 0.
    present: u16,
}

impl PackedFlow {
    /// Packs a key.
    #[must_use]
    pub fn pack(flow: &Flow) -> Self {
        Self::of_lines(|l, w| flow.lines()[l][w])
    }

    /// Packs what a mask leaves of a key.
    #[must_use]
    pub fn masked(flow: &Flow, mask: &Mask) -> Self {
        let (f, m) = (flow.lines(), mask.lines());
        Self::of_lines(|l, w| f[l][w] & m[l][w])
    }

    #[inline]
    fn of_lines(word: impl Fn(usize, usize) -> u64) -> Self {
        let line = |l: usize| std::array::from_fn(|w| word(l, w));
        let mut present = 0u16;
        for l in 1..FLOW_LINES {
            let any = (0..8).fold(0, |any, w| any | word(l, w));
            present |= u16::from(any != 0) << l;
        }
        let mut rest = Vec::with_capacity(present.count_ones() as usize);
        let mut left = present;
        while left != 0 {
            rest.push(line(left.trailing_zeros() as usize));
            left &= left - 1;
        }
        Self {
            first: line(0),
            rest: rest.into_boxed_slice(),
            present,
        }
    }

    /// The key.
    #[must_use]
    pub fn unpack(&self) -> Flow {
        let mut flow = Flow::zero();
        self.unpack_into(&mut flow);
        flow
    }

    /// Writes the key over a flow of zeroes.
    pub fn unpack_into(&self, flow: &mut Flow) {
        let lines = flow.lines_mut();
        lines[0] = self.first;
        let mut left = self.present;
        for line in &self.rest {
            lines[left.trailing_zeros() as usize] = *line;
            left &= left.wrapping_sub(1);
        }
    }

    /// The identity of the flow with this masked key and a mask of this hash ([`mask_hash`]).
    ///
    /// Two misses that one megaflow covers get the same identity, so the map itself refuses the second
    /// installation; two masks never share one, so a narrowed flow is another flow.
    #[must_use]
    pub fn ufid(&self, mask_hash: u64) -> Ufid {
        let seed = base::hash::process_seed() ^ u64::from(self.present);
        let (mut a, mut b) = (
            seed ^ mask_hash,
            seed.rotate_left(17) ^ mask_hash.rotate_left(29) ^ 0xa5a5_5a5a_1234_8765,
        );
        for line in std::iter::once(&self.first).chain(&*self.rest) {
            for &w in line {
                a = base::hash::mix(a, w);
                b = base::hash::mix(b, w.rotate_left(21));
            }
        }
        Ufid(u128::from(base::hash::finish(a)) << 64 | u128::from(base::hash::finish(b)))
    }

    /// Reads something of it.
    pub(crate) fn touch(&self) -> u64 {
        self.first[0] ^ self.first[7]
    }

    /// Bytes it occupies outside the struct.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.rest.len() * 64
    }
}

/// Values that many ukeys share. Equal values become one; a value nobody uses any more goes at the next
/// growth. The lock is a leaf.
#[derive(Debug)]
struct Interner<T>(Mutex<Interned<T>>);

#[derive(Debug)]
struct Interned<T> {
    table: HashTable<(u64, Arc<T>)>,
    /// The one asked for last, which is nearly always asked for again.
    last: Option<(u64, Arc<T>)>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self(Mutex::new(Interned {
            table: HashTable::new(),
            last: None,
        }))
    }
}

impl<T: PartialEq> Interner<T> {
    /// The one value that equals this one, with its hash; `own` makes it one of ours when there is none.
    fn intern(
        &self,
        value: &T,
        hash: impl FnOnce(&T) -> u64,
        own: impl FnOnce() -> Arc<T>,
    ) -> (u64, Arc<T>) {
        let mut interned = lock(&self.0);
        let Interned { table, last } = &mut *interned;
        if let Some((h, last)) = last
            && (std::ptr::eq(&raw const **last, value) || **last == *value)
        {
            return (*h, Arc::clone(last));
        }
        let hash = hash(value);
        let same = |(h, v): &(u64, Arc<T>)| *h == hash && **v == *value;
        let found = match table.find(hash, same) {
            Some((_, found)) => Arc::clone(found),
            None => {
                if table.len() == table.capacity() {
                    table.retain(|(_, v)| Arc::strong_count(v) > 1);
                }
                let value = own();
                table.insert_unique(hash, (hash, Arc::clone(&value)), |(h, _)| *h);
                value
            }
        };
        *last = Some((hash, Arc::clone(&found)));
        (hash, found)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).table.len()
    }
}

/// The masks and action lists in use.
#[derive(Debug, Default)]
pub struct Shared {
    masks: Interner<Mask>,
    actions: Interner<Actions>,
}

impl Shared {
    /// The shared copy of a mask, and its [`mask_hash`].
    pub fn mask(&self, mask: &Arc<Mask>) -> (u64, Arc<Mask>) {
        self.masks.intern(mask, mask_hash, || Arc::clone(mask))
    }
    /// The shared copy of a mask that was just made: a known one costs no allocation.
    pub fn new_mask(&self, mask: &Mask) -> Arc<Mask> {
        self.masks.intern(mask, mask_hash, || Arc::new(*mask)).1
    }
    /// The shared copy of an action list.
    pub fn actions(&self, actions: &Arc<Actions>) -> Arc<Actions> {
        let hash = |list: &Actions| actions_hash(list);
        (self.actions)
            .intern(actions, hash, || Arc::clone(actions))
            .1
    }
    /// The shared copy of an action list that was just made: a known one costs no allocation.
    pub fn new_actions(&self, actions: &Actions) -> Arc<Actions> {
        let hash = |list: &Actions| actions_hash(list);
        (self.actions)
            .intern(actions, hash, || Arc::new(actions.clone()))
            .1
    }
    /// Distinct masks and action lists kept.
    #[cfg(test)]
    pub fn sizes(&self) -> (usize, usize) {
        (self.masks.len(), self.actions.len())
    }
}

/// A hash of a mask's bits.
#[must_use]
pub fn mask_hash(mask: &Mask) -> u64 {
    let mut h = base::hash::process_seed();
    let lines = mask.lines().iter().enumerate();
    for (l, line) in lines.filter(|(_, line)| **line != [0; 8]) {
        h = line
            .iter()
            .fold(h ^ l as u64, |h, &w| base::hash::mix(h, w));
    }
    base::hash::finish(h)
}

/// A hash of an action list.
fn actions_hash(actions: &Actions) -> u64 {
    static STATE: OnceLock<ahash::RandomState> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        let seed = base::hash::process_seed();
        ahash::RandomState::with_seeds(seed, seed.rotate_left(13), seed ^ 1, !seed)
    });
    state.hash_one(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use odp::Action;
    use proptest::prelude::*;
    use wire::Ipv4;

    proptest! {
        #[test]
        fn packing_loses_nothing(bytes in prop::collection::vec((0usize..FLOW_LINES * 64, any::<u8>()), 0..20)) {
            let mut f = Flow::zero();
            for (at, b) in bytes {
                f.bytes_mut()[at] = b;
            }
            let p = PackedFlow::pack(&f);
            prop_assert_eq!(p.unpack(), f);
            prop_assert_eq!(p, PackedFlow::pack(&f));
        }

        #[test]
        fn a_masked_key_is_packed_as_if_it_was_masked_before(
            bytes in prop::collection::vec((0usize..FLOW_LINES * 64, any::<u8>(), any::<u8>()), 0..20),
        ) {
            let (mut f, mut m) = (Flow::zero(), Mask::empty());
            for (at, b, mask) in bytes {
                f.bytes_mut()[at] = b;
                m.0.bytes_mut()[at] = mask;
            }
            let p = PackedFlow::masked(&f, &m);
            prop_assert_eq!(p.unpack(), f.masked(&m));
            prop_assert_eq!(p.ufid(1), PackedFlow::pack(&f.masked(&m)).ufid(1));
            prop_assert_ne!(p.ufid(1), p.ufid(2));
        }
    }

    #[test]
    fn equal_values_become_one_and_unused_ones_go() {
        let shared = Shared::default();
        let make = |n: u8| {
            let mut m = Mask::empty();
            m.0.nw_src = Ipv4([n, 0, 0, 0]);
            Arc::new(m)
        };
        let (hash, a) = shared.mask(&make(1));
        assert_eq!(hash, mask_hash(&a));
        assert!(Arc::ptr_eq(&a, &shared.mask(&make(1)).1));
        for n in 2..200 {
            drop(shared.mask(&make(n)));
        }
        assert!(shared.sizes().0 < 100, "{:?}", shared.sizes());
        assert!(Arc::ptr_eq(&a, &shared.new_mask(&make(1))));
        assert!(!Arc::ptr_eq(&a, &shared.new_mask(&make(2))));
        let list = |p| Arc::new(vec![Action::Output(odp::OdpPort(p))]);
        assert!(Arc::ptr_eq(
            &shared.actions(&list(1)),
            &shared.actions(&list(1))
        ));
        let one = shared.actions(&list(1));
        assert_ne!(one, shared.actions(&list(2)));
        assert!(Arc::ptr_eq(&one, &shared.new_actions(&list(1))));
    }
}
