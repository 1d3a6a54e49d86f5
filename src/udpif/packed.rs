//! A flow key without its empty lines, and shared masks and actions: what keeps a ukey small.
//!
//! A full [`Flow`] is 704 bytes, of which an ordinary flow uses one or two 64-byte lines. Masks and actions
//! repeat: thousands of flows share one of each, so they are interned.

use base::sync::{Arc, Mutex, lock};
use flow::{FLOW_LINES, Flow, Mask};
use hashbrown::HashTable;
use odp::{Action, Actions};

/// A key's lines that are not all zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFlow {
    lines: Box<[[u64; 8]]>,
    /// Bit l: line l is there.
    present: u16,
}

impl PackedFlow {
    /// Packs a key.
    #[must_use]
    pub fn pack(flow: &Flow) -> Self {
        let mut present = 0u16;
        for (l, line) in flow.lines().iter().enumerate() {
            present |= u16::from(*line != [0; 8]) << l;
        }
        let mut lines = Vec::with_capacity(present.count_ones() as usize);
        let all = flow.lines().iter().enumerate();
        lines.extend(
            all.filter(|(l, _)| present >> l & 1 == 1)
                .map(|(_, line)| *line),
        );
        Self {
            lines: lines.into_boxed_slice(),
            present,
        }
    }

    /// The key.
    #[must_use]
    pub fn unpack(&self) -> Flow {
        let mut flow = Flow::zero();
        let mut lines = self.lines.iter();
        for l in 0..FLOW_LINES {
            if self.present >> l & 1 == 1
                && let Some(line) = lines.next()
            {
                flow.lines_mut()[l] = *line;
            }
        }
        flow
    }

    /// Bytes it occupies outside the struct.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.lines.len() * 64
    }
}

/// Values that many ukeys share. Equal values become one; a value nobody uses any more goes at the next
/// growth. The lock is a leaf.
#[derive(Debug)]
struct Interner<T>(Mutex<HashTable<(u64, Arc<T>)>>);

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self(Mutex::new(HashTable::new()))
    }
}

impl<T: PartialEq> Interner<T> {
    fn intern(&self, hash: u64, value: &Arc<T>) -> Arc<T> {
        let mut table = lock(&self.0);
        let same = |(h, v): &(u64, Arc<T>)| *h == hash && (Arc::ptr_eq(v, value) || v == value);
        if let Some((_, found)) = table.find(hash, same) {
            return Arc::clone(found);
        }
        if table.len() == table.capacity() {
            table.retain(|(_, v)| Arc::strong_count(v) > 1);
        }
        table.insert_unique(hash, (hash, Arc::clone(value)), |(h, _)| *h);
        Arc::clone(value)
    }
    /// The same for a value that nobody shares yet: a known one costs no allocation.
    fn intern_value(&self, hash: u64, value: T) -> Arc<T> {
        let found = {
            let table = lock(&self.0);
            let same = table.find(hash, |(h, v)| *h == hash && **v == value);
            same.map(|(_, v)| Arc::clone(v))
        };
        found.unwrap_or_else(|| self.intern(hash, &Arc::new(value)))
    }
    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

/// The masks and action lists in use.
#[derive(Debug, Default)]
pub struct Shared {
    masks: Interner<Mask>,
    actions: Interner<Actions>,
}

impl Shared {
    /// The shared copy of a mask.
    pub fn mask(&self, mask: &Arc<Mask>) -> Arc<Mask> {
        self.masks.intern(mask_hash(mask), mask)
    }
    /// The shared copy of a mask that was just made.
    pub fn new_mask(&self, mask: &Mask) -> Arc<Mask> {
        self.masks.intern_value(mask_hash(mask), *mask)
    }
    /// The shared copy of an action list.
    pub fn actions(&self, actions: &Arc<Actions>) -> Arc<Actions> {
        self.actions.intern(actions_hash(actions), actions)
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
    for (l, line) in mask.lines().iter().enumerate() {
        for (w, &word) in line.iter().enumerate() {
            if word != 0 {
                h = base::hash::mix(h ^ (l * 8 + w) as u64, word);
            }
        }
    }
    base::hash::finish(h)
}

/// A hash that tells common action lists apart; lists that differ in rare actions may share it.
fn actions_hash(actions: &Actions) -> u64 {
    let mut h = base::hash::mix(base::hash::process_seed(), actions.len() as u64);
    for action in actions {
        let word = match action {
            Action::Output(p) => 1 << 40 | u64::from(p.0),
            Action::Recirc(id) => 2 << 40 | u64::from(*id),
            Action::PushVlan { tpid, tci } => 3 << 40 | u64::from(*tpid) << 16 | u64::from(*tci),
            Action::PopVlan => 4 << 40,
            Action::Drop(reason) => 5 << 40 | *reason as u64,
            Action::Meter(id) => 6 << 40 | u64::from(*id),
            Action::Clone(inner) | Action::Sample { actions: inner, .. } => {
                7 << 40 ^ actions_hash(inner)
            }
            Action::Userspace(_)
            | Action::Set(_)
            | Action::SetMasked { .. }
            | Action::PushMpls { .. }
            | Action::PopMpls { .. }
            | Action::AddMpls { .. }
            | Action::PushEth { .. }
            | Action::PopEth
            | Action::PushNsh(_)
            | Action::PopNsh
            | Action::Hash { .. }
            | Action::Trunc { .. }
            | Action::Ct(_)
            | Action::CtClear
            | Action::CheckPktLen { .. }
            | Action::TunnelPush(_)
            | Action::TunnelPop(_)
            | Action::LbOutput(_) => 8 << 40,
        };
        h = base::hash::mix(h, word);
    }
    base::hash::finish(h)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    }

    #[test]
    fn equal_values_become_one_and_unused_ones_go() {
        let shared = Shared::default();
        let make = |n: u8| {
            let mut m = Mask::empty();
            m.0.nw_src = Ipv4([n, 0, 0, 0]);
            Arc::new(m)
        };
        let a = shared.mask(&make(1));
        assert!(Arc::ptr_eq(&a, &shared.mask(&make(1))));
        for n in 2..200 {
            drop(shared.mask(&make(n)));
        }
        assert!(shared.sizes().0 < 100, "{:?}", shared.sizes());
        assert!(Arc::ptr_eq(&a, &shared.mask(&make(1))));
        let list = |p| Arc::new(vec![Action::Output(odp::OdpPort(p))]);
        assert!(Arc::ptr_eq(
            &shared.actions(&list(1)),
            &shared.actions(&list(1))
        ));
        assert_ne!(shared.actions(&list(1)), shared.actions(&list(2)));
    }
}
