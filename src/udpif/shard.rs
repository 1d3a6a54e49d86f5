//! One part of the ukeys, with the index from what they depend on to them.
//!
//! Everything here happens under the shard's lock, which [`crate::map::UkeyMap`] holds. Nothing here
//! translates, talks to the datapath or takes another lock.
//!
use crate::deps::{ChangeSet, Dep, DepKey};
use crate::index::{Group, Index};
use crate::state::{IllegalTransition, UkeyState};
use crate::ukey::{Ukey, UkeyId};
use flow::{Flow, Mask};
use hashbrown::HashTable;
use slab::Slab;

/// A ukey's place in its shard. Valid while the ukey is claimed or the lock is held.
pub type Slot = u32;

/// Part of the ukeys.
#[derive(Debug)]
pub struct Shard<E> {
    /// Boxed, so that the table's spare room is small.
    ukeys: Slab<Box<Ukey<E>>>,
    ids: HashTable<Slot>,
    /// Every ukey has a seat in it.
    index: Index,
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
            index: Index::default(),
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
    /// The place of a ukey that was last seen in this slot.
    #[must_use]
    pub fn find_at(&self, slot: Slot, id: &UkeyId) -> Option<Slot> {
        match self.get(slot) {
            Some(ukey) if ukey.id == *id => Some(slot),
            _ => self.find(id),
        }
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
    /// Fetches ukeys that are going to be looked at, so that the waiting for memory is done for all at once.
    pub fn touch<'s>(&self, slots: impl IntoIterator<Item = &'s Slot>) {
        let ukeys = slots.into_iter().filter_map(|&s| self.get(s));
        let words = ukeys.map(Ukey::touch);
        std::hint::black_box(words.fold(0, |all, w| all ^ w));
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

    /// Puts a new ukey in, as Visible. `deps` are its dependencies; `translated_at` is the number of changes posted before its
    /// translation began: later ones may have been marked before it could be found.
    pub fn insert(&mut self, mut ukey: Ukey<E>, deps: &[Dep], translated_at: u64) -> Insert {
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
        ukey.seat = self.index.join(slot, deps);
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
        self.unseat(slot);
        let hash = self.ukeys[slot as usize].id.hash();
        if let Ok(entry) = self.ids.find_entry(hash, |&s| s == slot) {
            entry.remove();
        }
        let mut ukey = self.ukeys.remove(slot as usize);
        ukey.transition(UkeyState::Deleted).is_ok()
    }

    /// Replaces a ukey's dependencies.
    pub fn set_deps(&mut self, slot: Slot, deps: &[Dep]) {
        let Some(ukey) = self.ukeys.get(slot as usize) else {
            return;
        };
        if *self.index.deps(ukey.seat) == *deps {
            return;
        }
        self.unseat(slot);
        self.ukeys[slot as usize].seat = self.index.join(slot, deps);
    }

    /// Takes a ukey out of the index.
    fn unseat(&mut self, slot: Slot) {
        let seat = self.ukeys[slot as usize].seat;
        if let Some(moved) = self.index.leave(seat) {
            self.ukeys[moved as usize].seat = seat;
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
            let slots = self.slots();
            mark_all(&mut self.ukeys, &mut self.worklist, &slots);
            return;
        }
        let Self {
            ukeys,
            index,
            worklist,
            ..
        } = self;
        // Walk whichever is shorter: the changes or the ukeys.
        if changes.keys.len() < ukeys.len().saturating_mul(4) {
            let groups = changes.keys.iter().flat_map(|&key| index.groups_with(key));
            groups.for_each(|g| mark_all(ukeys, worklist, &g.members));
        } else {
            let hit = |g: &&Group| g.deps.iter().any(|d| changes.keys.contains(&d.key));
            let groups = index.groups().filter(hit);
            groups.for_each(|g| mark_all(ukeys, worklist, &g.members));
        }
        for (&key, probes) in &changes.probes {
            for group in index.groups_with(key) {
                let notes = || group.deps.iter().filter(|d| d.key == key).map(|d| d.note);
                for &slot in &group.members {
                    let ukey = &ukeys[slot as usize];
                    if ukey.stale {
                        continue;
                    }
                    let flow = ukey.key.unpack();
                    let concerned = notes()
                        .any(|note| probes.iter().any(|p| concerns(p, note, &flow, &ukey.mask)));
                    if concerned {
                        mark_all(ukeys, worklist, &[slot]);
                    }
                }
            }
        }
    }

    /// The ukeys that depend on a fact.
    #[must_use]
    pub fn dependants(&self, key: DepKey) -> Vec<Slot> {
        let groups = self.index.groups_with(key);
        let mut slots: Vec<Slot> = groups.flat_map(|g| &g.members).copied().collect();
        slots.sort_unstable();
        slots
    }
}

/// Marks ukeys, to be translated again. Tombstones are nobody's business; a claimed one that is marked again must
/// be done again.
fn mark_all<E>(ukeys: &mut Slab<Box<Ukey<E>>>, worklist: &mut Vec<Slot>, slots: &[Slot]) {
    for &slot in slots {
        let ukey = &mut ukeys[slot as usize];
        if !ukey.stale && ukey.state() != UkeyState::Evicted {
            ukey.stale = true;
            worklist.push(slot);
        }
    }
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

    fn deps(keys: &[u64]) -> Vec<Dep> {
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

    fn ukey(n: u128) -> Ukey<()> {
        Ukey::new(NewUkey {
            id: id(n),
            key: PackedFlow::pack(&Flow::zero()),
            mask: Arc::new(Mask::empty()),
            actions: Arc::default(),
            effects: Arc::new(()),
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
                        let got = shard.insert(ukey(n), &deps(&keys), 0);
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
                            shard.set_deps(slot, &deps(&keys));
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
                let entries = shard.index.entries();
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
        shard.insert(ukey(1), &deps(&[1]), 4); // translated before the fifth change was posted
        shard.insert(ukey(2), &deps(&[1]), 5);
        let stale = |s: &Shard<()>, n| s.get(s.find(&id(n)).unwrap()).unwrap().stale;
        assert!(stale(&shard, 1) && !stale(&shard, 2));
        assert_eq!(shard.take_worklist().len(), 1);
        shard.mark(&set, 6, &nothing);
        assert!(stale(&shard, 2));
    }
}
