//! One part of the ukeys, with the index from what they depend on to them.
//!
//! Everything here happens under the shard's lock, which [`crate::map::UkeyMap`] holds. Nothing here
//! translates, talks to the datapath or takes another lock.
//!
//! The index is a list of slots for each fact. Entries are removed lazily: an entry is believed only if
//! its ukey still has that dependency, and a list more than half of which is dead is rebuilt.

use crate::deps::{ChangeSet, Dep, DepKey, Deps};
use crate::state::{IllegalTransition, UkeyState};
use crate::ukey::{Ukey, UkeyId};
use flow::{Flow, Mask};
use hashbrown::{HashMap, HashTable};
use slab::Slab;
use smallvec::SmallVec;

/// A ukey's place in its shard. Valid while the ukey is claimed or the lock is held.
pub type Slot = u32;

/// The ukeys that depend, or once depended, on one fact.
#[derive(Debug, Default)]
struct Posting {
    slots: SmallVec<[Slot; 4]>,
    live: u32,
}

/// Part of the ukeys.
#[derive(Debug)]
pub struct Shard<E> {
    /// Boxed, so that the table's spare room is small.
    ukeys: Slab<Box<Ukey<E>>>,
    ids: HashTable<Slot>,
    index: HashMap<DepKey, Posting, ahash::RandomState>,
    /// Stale ukeys to be translated again. May name slots that are not stale any more.
    worklist: Vec<Slot>,
    /// Changes posted up to this number have been marked here.
    marked: u64,
    live: usize,
}

/// What became of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insert {
    /// It is in, in this slot.
    New(Slot),
    /// It is in, in the place of a tombstone.
    Replaced(Slot),
    /// A ukey of that name is there already.
    Known(Slot),
}

impl<E> Default for Shard<E> {
    fn default() -> Self {
        Self {
            ukeys: Slab::new(),
            ids: HashTable::new(),
            index: HashMap::default(),
            worklist: Vec::new(),
            marked: 0,
            live: 0,
        }
    }
}

impl<E> Shard<E> {
    /// Ukeys, tombstones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ukeys.len()
    }
    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ukeys.is_empty()
    }
    /// Ukeys whose flow may be in the datapath.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }
    /// The place of a ukey.
    #[must_use]
    pub fn find(&self, id: &UkeyId) -> Option<Slot> {
        let ukeys = &self.ukeys;
        self.ids
            .find(id.hash(), |&s| ukeys[s as usize].id == *id)
            .copied()
    }
    /// The ukey in a slot.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Ukey<E>> {
        self.ukeys.get(slot as usize).map(|u| &**u)
    }
    /// The ukey in a slot, to be changed (its dependencies and state change through the shard).
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Ukey<E>> {
        self.ukeys.get_mut(slot as usize).map(|u| &mut **u)
    }
    /// Every slot in use.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        self.ukeys.iter().map(|(s, _)| slot_of(s)).collect()
    }
    /// Takes the slots that wait to be translated again, in their order: what marked them first depends on
    /// hashes, and a simulation is to repeat.
    pub fn take_worklist(&mut self) -> Vec<Slot> {
        let mut slots = std::mem::take(&mut self.worklist);
        slots.sort_unstable();
        slots
    }
    /// Puts a slot back on the list.
    pub fn requeue(&mut self, slot: Slot) {
        self.worklist.push(slot);
    }

    /// Puts a new ukey in, as Visible. `translated_at` is the number of changes posted before its
    /// translation began: later ones may have been marked before it could be found.
    pub fn insert(&mut self, mut ukey: Ukey<E>, translated_at: u64) -> Insert {
        let id = ukey.id;
        let old = self.find(&id);
        if let Some(slot) = old {
            let tombstone = &self.ukeys[slot as usize];
            if tombstone.state() != UkeyState::Evicted || tombstone.claimed {
                return Insert::Known(slot);
            }
            ukey.dump_round = tombstone.dump_round;
            self.remove(slot);
        }
        let legal = ukey.transition(UkeyState::Visible);
        debug_assert!(legal.is_ok(), "a new ukey is Created");
        let slot = slot_of(self.ukeys.vacant_key());
        if self.marked > translated_at {
            ukey.stale = true;
            self.worklist.push(slot);
        }
        for dep in ukey.deps() {
            let posting = self.index.entry(dep.key).or_default();
            posting.slots.push(slot);
            posting.live += 1;
        }
        self.ukeys.insert(Box::new(ukey));
        self.live += 1;
        let ukeys = &self.ukeys;
        self.ids
            .insert_unique(id.hash(), slot, |&s| ukeys[s as usize].id.hash());
        if old.is_some() {
            Insert::Replaced(slot)
        } else {
            Insert::New(slot)
        }
    }

    /// Moves a ukey to its next state.
    ///
    /// # Errors
    /// The transition is illegal; nothing changed.
    pub fn transition(&mut self, slot: Slot, to: UkeyState) -> Result<(), IllegalTransition> {
        let Some(ukey) = self.ukeys.get_mut(slot as usize) else {
            return Ok(());
        };
        let was = ukey.state().is_live();
        ukey.transition(to)?;
        if was && !to.is_live() {
            self.live -= 1;
        }
        Ok(())
    }

    /// Removes a tombstone. True when it was one and is gone.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let removable = |u: &Ukey<E>| u.state() == UkeyState::Evicted && !u.claimed;
        if !self.get(slot).is_some_and(removable) {
            return false;
        }
        let deps = std::mem::take(&mut self.ukeys[slot as usize].deps);
        self.unindex(&deps);
        let hash = self.ukeys[slot as usize].id.hash();
        if let Ok(entry) = self.ids.find_entry(hash, |&s| s == slot) {
            entry.remove();
        }
        let mut ukey = self.ukeys.remove(slot as usize);
        ukey.transition(UkeyState::Deleted).is_ok()
    }

    /// Replaces a ukey's dependencies.
    pub fn set_deps(&mut self, slot: Slot, deps: Deps) {
        let Some(ukey) = self.ukeys.get_mut(slot as usize) else {
            return;
        };
        if *ukey.deps == *deps {
            return;
        }
        let old = std::mem::take(&mut ukey.deps);
        self.unindex(&old);
        for dep in &deps {
            let posting = self.index.entry(dep.key).or_default();
            posting.slots.push(slot);
            posting.live += 1;
        }
        if let Some(ukey) = self.ukeys.get_mut(slot as usize) {
            ukey.deps = Vec::from(deps.as_slice()).into_boxed_slice();
        }
    }

    /// Takes entries out of the index; their ukey must not have them any more.
    fn unindex(&mut self, deps: &[Dep]) {
        for dep in deps {
            let Some(posting) = self.index.get_mut(&dep.key) else {
                continue;
            };
            posting.live -= 1;
            if posting.live == 0 {
                self.index.remove(&dep.key);
            } else if posting.slots.len() > 2 * posting.live as usize + 8 {
                let ukeys = &self.ukeys;
                posting.slots.sort_unstable();
                posting.slots.dedup();
                posting.slots.retain(|s| has(ukeys, *s, dep.key));
            }
        }
    }

    /// Marks every ukey that a set of changes, the `posted`-th of all included, may concern. `concerns`
    /// decides about additions.
    pub fn mark<P>(
        &mut self,
        changes: &ChangeSet<P>,
        posted: u64,
        concerns: &dyn Fn(&P, u64, &Flow, &Mask) -> bool,
    ) {
        self.marked = self.marked.max(posted);
        if changes.is_empty() || self.ukeys.is_empty() {
            return;
        }
        if changes.all {
            for slot in self.slots() {
                self.mark_one(slot);
            }
            return;
        }
        // Walk whichever is shorter: the changes or the ukeys.
        if changes.keys.len() < self.ukeys.len().saturating_mul(4) {
            for &key in &changes.keys {
                for slot in self.dependants(key) {
                    self.mark_one(slot);
                }
            }
        } else {
            let hit = |u: &Ukey<E>| u.deps.iter().any(|d| changes.keys.contains(&d.key));
            let slots: Vec<Slot> = self
                .ukeys
                .iter()
                .filter(|(_, u)| hit(u))
                .map(|(s, _)| slot_of(s))
                .collect();
            slots.into_iter().for_each(|s| self.mark_one(s));
        }
        for (&key, probes) in &changes.probes {
            for slot in self.dependants(key) {
                let ukey = &self.ukeys[slot as usize];
                if ukey.stale {
                    continue;
                }
                let flow = ukey.key.unpack();
                let concerned = ukey.deps.iter().filter(|d| d.key == key).any(|d| {
                    probes
                        .iter()
                        .any(|p| concerns(p, d.note, &flow, &ukey.mask))
                });
                if concerned {
                    self.mark_one(slot);
                }
            }
        }
    }

    /// The ukeys that depend on a fact.
    #[must_use]
    pub fn dependants(&self, key: DepKey) -> Vec<Slot> {
        let Some(posting) = self.index.get(&key) else {
            return Vec::new();
        };
        let mut slots: Vec<Slot> = posting
            .slots
            .iter()
            .copied()
            .filter(|&s| has(&self.ukeys, s, key))
            .collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn mark_one(&mut self, slot: Slot) {
        let ukey = &mut self.ukeys[slot as usize];
        // Tombstones are nobody's business; a claimed one that is marked again must be done again.
        if !ukey.stale && ukey.state() != UkeyState::Evicted {
            ukey.stale = true;
            self.worklist.push(slot);
        }
    }
}

fn has<E>(ukeys: &Slab<Box<Ukey<E>>>, slot: Slot, key: DepKey) -> bool {
    ukeys
        .get(slot as usize)
        .is_some_and(|u| u.deps.iter().any(|d| d.key == key))
}

fn slot_of(index: usize) -> Slot {
    Slot::try_from(index).expect("a shard holds fewer than 2^32 ukeys: the flow limit is a u32")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::PackedFlow;
    use crate::ukey::NewUkey;
    use base::clock::Nanos;
    use base::sync::Arc;
    use dpif::PmdId;
    use odp::Ufid;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn deps(keys: &[u64]) -> Deps {
        let dep = |&k| Dep {
            key: DepKey(k),
            note: 0,
        };
        keys.iter().map(dep).collect()
    }

    fn id(n: u128) -> UkeyId {
        UkeyId {
            ufid: Ufid(n),
            pmd: PmdId(0),
        }
    }

    fn ukey(n: u128, keys: &[u64]) -> Ukey<()> {
        Ukey::new(NewUkey {
            id: id(n),
            key: PackedFlow::pack(&Flow::zero()),
            mask: Arc::new(Mask::empty()),
            actions: Arc::default(),
            effects: Arc::new(()),
            deps: deps(keys),
            created: Nanos::ZERO,
        })
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u128, Vec<u64>),
        Deps(u128, Vec<u64>),
        Evict(u128),
        Remove(u128),
    }

    fn step() -> impl Strategy<Value = Step> {
        let keys = || prop::collection::vec(0u64..6, 0..5);
        prop_oneof![
            4 => (0u128..30, keys()).prop_map(|(n, k)| Step::Insert(n, k)),
            4 => (0u128..30, keys()).prop_map(|(n, k)| Step::Deps(n, k)),
            3 => (0u128..30).prop_map(Step::Evict),
            3 => (0u128..30).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The index against a list of (ukey, its dependencies, is it a tombstone).
        #[test]
        fn the_index_is_the_list_turned_round(steps in prop::collection::vec(step(), 1..300)) {
            let mut shard: Shard<()> = Shard::default();
            let mut twin: BTreeMap<u128, (Vec<u64>, bool)> = BTreeMap::new();
            for s in steps {
                match s {
                    Step::Insert(n, keys) => {
                        let got = shard.insert(ukey(n, &keys), 0);
                        let want = match twin.get(&n) {
                            Some((_, false)) => "Known",
                            Some((_, true)) => "Replaced",
                            None => "New",
                        };
                        let got = match got {
                            Insert::New(_) => "New",
                            Insert::Replaced(_) => "Replaced",
                            Insert::Known(_) => "Known",
                        };
                        prop_assert_eq!(got, want);
                        if want != "Known" {
                            twin.insert(n, (keys, false));
                        }
                    }
                    Step::Deps(n, keys) => {
                        if let Some(slot) = shard.find(&id(n)) {
                            shard.set_deps(slot, deps(&keys));
                            twin.get_mut(&n).unwrap().0 = keys;
                        }
                    }
                    Step::Evict(n) => {
                        if let Some(slot) = shard.find(&id(n)) {
                            let legal = shard.transition(slot, UkeyState::Evicted).is_ok();
                            let t = twin.get_mut(&n).unwrap();
                            prop_assert_eq!(legal, !t.1);
                            t.1 = true;
                        }
                    }
                    Step::Remove(n) => {
                        let gone = shard.find(&id(n)).is_some_and(|slot| shard.remove(slot));
                        prop_assert_eq!(gone, twin.get(&n).is_some_and(|t| t.1));
                        if gone {
                            twin.remove(&n);
                        }
                    }
                }
                prop_assert_eq!(shard.len(), twin.len());
                prop_assert_eq!(shard.live(), twin.values().filter(|t| !t.1).count());
                for k in 0..6 {
                    let mut got: Vec<u128> = shard
                        .dependants(DepKey(k))
                        .into_iter()
                        .map(|s| shard.get(s).unwrap().id.ufid.0)
                        .collect();
                    got.sort_unstable();
                    let want: Vec<u128> =
                        twin.iter().filter(|(_, t)| t.0.contains(&k)).map(|(n, _)| *n).collect();
                    prop_assert_eq!(got, want, "fact {}", k);
                }
                let entries: usize = shard.index.values().map(|p| p.slots.len()).sum();
                let live: usize = twin.values().map(|t| t.0.len()).sum();
                prop_assert!(entries <= 2 * live + 8 * 6 + 6);
            }
        }
    }

    #[test]
    fn a_change_between_translation_and_insertion_is_not_missed() {
        let mut shard: Shard<()> = Shard::default();
        let nothing = |_: &(), _, _: &Flow, _: &Mask| false;
        let mut set = ChangeSet::default();
        set.add(crate::deps::Change::Key(DepKey(1)));
        shard.mark(&set, 5, &nothing);
        shard.insert(ukey(1, &[1]), 4); // translated before the fifth change was posted
        shard.insert(ukey(2, &[1]), 5);
        let stale = |s: &Shard<()>, n| s.get(s.find(&id(n)).unwrap()).unwrap().stale;
        assert!(stale(&shard, 1) && !stale(&shard, 2));
        assert_eq!(shard.take_worklist().len(), 1);
        shard.mark(&set, 6, &nothing);
        assert!(stale(&shard, 2));
    }
}
