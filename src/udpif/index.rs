//! [`Index`]: from facts to the ukeys of one shard that rest on them.
//!
//! Thousands of flows rest on the same facts. Those of a shard that have equal dependencies form a *group*: the
//! list exists once, a fact leads to groups, and a group to its members. So a flow joins by being put at the end
//! of one list, and a change marks whole groups.
//!
//! A group goes with its last member. Entries from facts to groups are removed lazily: an entry is believed only
//! if the group is there and has that dependency, and a list more than half of which is dead is rebuilt.

use crate::deps::{Dep, DepKey};
use crate::shard::Slot;
use hashbrown::{HashMap, HashTable};
use slab::Slab;
use smallvec::SmallVec;

/// A ukey's place in the index.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seat {
    group: u32,
    at: u32,
}

/// The ukeys that have these dependencies.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) deps: Box<[Dep]>,
    pub(crate) members: SmallVec<[Slot; 4]>,
    hash: u64,
}

impl Group {
    fn has(&self, key: DepKey) -> bool {
        self.deps.iter().any(|d| d.key == key)
    }
}

/// Groups that depend, or once depended, on one fact.
#[derive(Debug, Default)]
struct Posting {
    groups: SmallVec<[u32; 4]>,
    live: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    groups: Slab<Group>,
    by_deps: HashTable<u32>,
    by_key: HashMap<DepKey, Posting, ahash::RandomState>,
    /// The group that was joined last: nearly always the one that is joined next.
    last: u32,
}

/// A hash of dependencies.
fn hash_of(deps: &[Dep]) -> u64 {
    let hash = deps.iter().fold(deps.len() as u64, |h, d| {
        base::hash::mix(base::hash::mix(h, d.key.0), d.note)
    });
    base::hash::finish(hash)
}

/// Each fact of a list once.
fn keys(deps: &[Dep]) -> impl Iterator<Item = DepKey> {
    let first = |(i, d): &(usize, &Dep)| deps[..*i].iter().all(|before| before.key != d.key);
    deps.iter().enumerate().filter(first).map(|(_, d)| d.key)
}

impl Index {
    /// Puts a ukey in.
    pub(crate) fn join(&mut self, slot: Slot, deps: &[Dep]) -> Seat {
        let group = self.group_of(deps);
        self.last = group;
        let members = &mut self.groups[group as usize].members;
        members.push(slot);
        Seat {
            group,
            at: place(members.len() - 1),
        }
    }

    fn group_of(&mut self, deps: &[Dep]) -> u32 {
        let groups = &self.groups;
        let last = groups.get(self.last as usize);
        if last.is_some_and(|g| *g.deps == *deps) {
            return self.last;
        }
        let hash = hash_of(deps);
        let same = |&g: &u32| *groups[g as usize].deps == *deps;
        if let Some(&group) = self.by_deps.find(hash, same) {
            return group;
        }
        let group = place(self.groups.insert(Group {
            deps: deps.into(),
            members: SmallVec::new(),
            hash,
        }));
        let groups = &self.groups;
        self.by_deps
            .insert_unique(hash, group, |&g| groups[g as usize].hash);
        for key in keys(deps) {
            let posting = self.by_key.entry(key).or_default();
            posting.groups.push(group);
            posting.live += 1;
        }
        group
    }

    /// Takes a ukey out. Another one may sit in its seat now.
    #[must_use]
    pub(crate) fn leave(&mut self, seat: Seat) -> Option<Slot> {
        let members = &mut self.groups[seat.group as usize].members;
        members.swap_remove(seat.at as usize);
        let moved = members.get(seat.at as usize).copied();
        if members.is_empty() {
            self.close(seat.group);
        }
        moved
    }

    fn close(&mut self, number: u32) {
        let group = self.groups.remove(number as usize);
        if let Ok(entry) = self.by_deps.find_entry(group.hash, |&g| g == number) {
            entry.remove();
        }
        for key in keys(&group.deps) {
            let Some(posting) = self.by_key.get_mut(&key) else {
                continue;
            };
            posting.live -= 1;
            if posting.live == 0 {
                self.by_key.remove(&key);
            } else if posting.groups.len() > 2 * posting.live as usize + 8 {
                let groups = &self.groups;
                posting.groups.sort_unstable();
                posting.groups.dedup();
                let there = |g: u32| groups.get(g as usize).is_some_and(|g| g.has(key));
                posting.groups.retain(|g| there(*g));
            }
        }
    }

    /// What the ukey of a seat depends on.
    pub(crate) fn deps(&self, seat: Seat) -> &[Dep] {
        &self.groups[seat.group as usize].deps
    }

    /// The groups that depend on a fact.
    pub(crate) fn groups_with(&self, key: DepKey) -> impl Iterator<Item = &Group> {
        let mut numbers: SmallVec<[u32; 8]> = SmallVec::new();
        if let Some(posting) = self.by_key.get(&key) {
            numbers.extend_from_slice(&posting.groups);
            numbers.sort_unstable();
            numbers.dedup();
        }
        let groups = numbers
            .into_iter()
            .filter_map(|g| self.groups.get(g as usize));
        groups.filter(move |g| g.has(key))
    }

    /// Every group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|(_, g)| g)
    }

    /// Entries from facts to groups, dead ones included.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.by_key.values().map(|p| p.groups.len()).sum()
    }
}

fn place(index: usize) -> u32 {
    u32::try_from(index).expect("a shard holds fewer than 2^32 ukeys: the flow limit is a u32")
}
