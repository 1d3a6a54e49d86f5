//! All rules of one mask: a hash table of distinct matches, each a chain of rules by falling priority.
//!
//! Rules live in slots in the order in which they were inserted, so that a dump can be resumed by the
//! sequence number of the last rule seen. Emptied slots are not reused; the slots are compacted when
//! half of them are empty (amortised constant cost per removal).

use crate::counted::{Counted, spread};
use crate::key::{Ruled, Version};
use crate::mini::{MiniMask, MiniMatch};
use crate::prefix::PrefixField;
use crate::stage::{STAGES, Stage, plan};
use crate::trie::Trie;
use base::hash;
use base::sync::Arc;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt;

/// "No slot".
const NONE: u32 = u32::MAX;
/// Fewer empty slots than this are left alone.
const COMPACT_MIN: usize = 64;

struct Slot<R> {
    rule: Option<Arc<R>>,
    /// Insertion sequence number, ascending from slot to slot.
    seq: u64,
    hash: u32,
    /// Next rule of the same match, of equal or lower priority.
    next: u32,
}

/// See the file's essay.
pub(crate) struct Subtable<R> {
    pub(crate) mask: Arc<MiniMask>,
    pub(crate) stages: SmallVec<[Stage; STAGES]>,
    /// One per stage but the last.
    indices: SmallVec<[Counted; STAGES - 1]>,
    heads: HashTable<u32>,
    slots: Vec<Slot<R>>,
    live: usize,
    priorities: BTreeMap<i32, u32>,
    /// Prefixes of the two L4 ports taken as one value, when the mask has any of their bits.
    pub(crate) ports: Option<PortsTrie>,
}

/// See [`Subtable::ports`].
#[derive(Debug)]
pub(crate) struct PortsTrie {
    pub(crate) trie: Trie,
    pub(crate) mask: u32,
    len: u32,
}

/// What an insertion or removal did to the set of distinct matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distinct {
    /// Another rule has the same match.
    Same,
    /// The match appeared or went away.
    Changed,
}

impl<R> fmt::Debug for Subtable<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subtable")
            .field("mask", &self.mask)
            .field("rules", &self.live)
            .finish_non_exhaustive()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the tables use 32 bits of the hash"
)]
fn short(h: u64) -> u32 {
    hash::finish(h) as u32
}

impl<R: Ruled> Subtable<R> {
    pub(crate) fn new(mask: Arc<MiniMask>) -> Self {
        let stages = plan(mask.words());
        let indices = (1..stages.len()).map(|_| Counted::default()).collect();
        let ports_mask = PrefixField::ports().mask_in(&mask)[0];
        let ports = (ports_mask != 0).then(|| PortsTrie {
            trie: Trie::default(),
            mask: ports_mask,
            len: 32 - ports_mask.trailing_zeros(),
        });
        Self {
            mask,
            stages,
            indices,
            heads: HashTable::new(),
            slots: Vec::new(),
            live: 0,
            priorities: BTreeMap::new(),
            ports,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The highest priority of its rules, visible or not.
    pub(crate) fn max_priority(&self) -> i32 {
        self.priorities
            .last_key_value()
            .map_or(i32::MIN, |(p, _)| *p)
    }

    /// True when a rule may agree with the packet up to stage `i`, whose running hash is `h`.
    pub(crate) fn stage_may_match(&self, i: usize, h: u64) -> bool {
        self.indices[i].has(short(h))
    }

    fn full_hash(&self, values: &[u64]) -> u32 {
        let h = self
            .stages
            .iter()
            .fold(hash::process_seed(), |h, s| s.hash_values(h, values));
        short(h)
    }

    fn rule(&self, slot: u32) -> &Arc<R> {
        self.slots[slot as usize]
            .rule
            .as_ref()
            .expect("chains hold only occupied slots")
    }

    /// The chain whose match satisfies `eq`, by the hash over all stages.
    fn head(&self, hash: u32, eq: impl Fn(&MiniMatch) -> bool) -> Option<u32> {
        self.heads
            .find(spread(hash), |&s| {
                self.slots[s as usize].hash == hash && eq(self.rule(s).key().matching())
            })
            .copied()
    }

    fn chain(&self, head: Option<u32>) -> impl Iterator<Item = (u32, &Arc<R>)> + '_ {
        let mut at = head.unwrap_or(NONE);
        std::iter::from_fn(move || {
            if at == NONE {
                return None;
            }
            let slot = at;
            at = self.slots[slot as usize].next;
            Some((slot, self.rule(slot)))
        })
    }

    /// The best visible rule that matches the flow of these words; `h` is the running hash of all stages.
    pub(crate) fn find(&self, words: &[u64], h: u64, version: Version) -> Option<&Arc<R>> {
        let head = self.head(short(h), |m| {
            let mut pairs = m.mask().words().iter().zip(m.values());
            pairs.all(|(w, v)| words[usize::from(w.at)] & w.bits == *v)
        });
        self.chain(head)
            .map(|(_, r)| r)
            .find(|r| r.key().visible_in(version))
    }

    /// The best visible rule of lower priority than `rule` with the same match.
    pub(crate) fn next_lower(&self, rule: &R, version: Version) -> Option<&Arc<R>> {
        let key = rule.key();
        let values = key.matching().values();
        let head = self.head(self.full_hash(values), |m| m.values() == values);
        self.chain(head)
            .map(|(_, r)| r)
            .find(|r| r.key().priority() < key.priority() && r.key().visible_in(version))
    }

    /// The visible rule with exactly these values and priority.
    pub(crate) fn find_exact(
        &self,
        values: &[u64],
        priority: i32,
        version: Version,
    ) -> Option<&Arc<R>> {
        let head = self.head(self.full_hash(values), |m| m.values() == values);
        self.chain(head)
            .map(|(_, r)| r)
            .take_while(|r| r.key().priority() >= priority)
            .find(|r| r.key().priority() == priority && r.key().visible_in(version))
    }

    /// Adds a rule; `seq` must be higher than any before.
    pub(crate) fn insert(&mut self, rule: Arc<R>, seq: u64) -> Distinct {
        let priority = rule.key().priority();
        let hash = self.full_hash(rule.key().matching().values());
        let head = {
            let values = rule.key().matching().values();
            self.head(hash, |m| m.values() == values)
        };
        let slot = u32::try_from(self.slots.len()).expect("fewer rules than 32 bits count");
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact((self.slots.len() / 4).max(4));
        }
        if head.is_none() {
            self.enter(rule.key().matching());
        }
        self.slots.push(Slot {
            rule: Some(rule),
            seq,
            hash,
            next: NONE,
        });
        self.live += 1;
        *self.priorities.entry(priority).or_insert(0) += 1;
        let Some(head) = head else {
            let slots = &self.slots;
            self.heads
                .insert_unique(spread(hash), slot, |&s| spread(slots[s as usize].hash));
            return Distinct::Changed;
        };
        let before = self
            .chain(Some(head))
            .take_while(|(_, r)| r.key().priority() >= priority)
            .last()
            .map(|(s, _)| s);
        match before {
            Some(b) => {
                self.slots[slot as usize].next = self.slots[b as usize].next;
                self.slots[b as usize].next = slot;
            }
            None => {
                self.slots[slot as usize].next = head;
                self.set_head(hash, head, slot);
            }
        }
        Distinct::Same
    }

    fn set_head(&mut self, hash: u32, old: u32, new: u32) {
        if let Some(h) = self.heads.find_mut(spread(hash), |&s| s == old) {
            *h = new;
        }
    }

    /// A match appeared: enters it in the stage indices and the ports trie.
    fn enter(&mut self, m: &MiniMatch) {
        let mut h = hash::process_seed();
        for (stage, index) in self.stages.iter().zip(&mut self.indices) {
            h = stage.hash_values(h, m.values());
            index.add(short(h));
        }
        if let Some(p) = &mut self.ports {
            let value = PrefixField::ports().value_in(m);
            p.trie.insert(&value, p.len);
        }
    }

    /// A match went away: the reverse of [`Subtable::enter`].
    fn leave(&mut self, m: &MiniMatch) {
        let mut h = hash::process_seed();
        for (stage, index) in self.stages.iter().zip(&mut self.indices) {
            h = stage.hash_values(h, m.values());
            index.remove(short(h));
        }
        if let Some(p) = &mut self.ports {
            let value = PrefixField::ports().value_in(m);
            p.trie.remove(&value, p.len);
        }
    }

    /// Removes this very rule. `None` when it is not here.
    pub(crate) fn remove(&mut self, rule: &R) -> Option<Distinct> {
        let values = rule.key().matching().values();
        let hash = self.full_hash(values);
        let head = self.head(hash, |m| m.values() == values)?;
        let mut before = None;
        let slot = self
            .chain(Some(head))
            .find(|(s, r)| {
                let found = std::ptr::eq(&raw const ***r, rule);
                if !found {
                    before = Some(*s);
                }
                found
            })
            .map(|(s, _)| s)?;
        let next = self.slots[slot as usize].next;
        let distinct = match before {
            Some(b) => {
                self.slots[b as usize].next = next;
                Distinct::Same
            }
            None if next != NONE => {
                self.set_head(hash, head, next);
                Distinct::Same
            }
            None => {
                if let Ok(e) = self.heads.find_entry(spread(hash), |&s| s == slot) {
                    e.remove();
                }
                self.leave(rule.key().matching());
                Distinct::Changed
            }
        };
        self.slots[slot as usize].rule = None;
        self.live -= 1;
        self.forget_priority(rule.key().priority());
        self.compact();
        Some(distinct)
    }

    fn forget_priority(&mut self, priority: i32) {
        if let std::collections::btree_map::Entry::Occupied(mut e) = self.priorities.entry(priority)
        {
            *e.get_mut() -= 1;
            if *e.get() == 0 {
                e.remove();
            }
        }
    }

    fn compact(&mut self) {
        let empty = self.slots.len() - self.live;
        if empty < COMPACT_MIN || empty * 2 < self.slots.len() {
            return;
        }
        let mut at = 0;
        let moved: Vec<u32> = self
            .slots
            .iter()
            .map(|s| {
                let to = at;
                at += u32::from(s.rule.is_some());
                to
            })
            .collect();
        let to = |s: u32| if s == NONE { NONE } else { moved[s as usize] };
        for h in self.heads.iter_mut() {
            *h = to(*h);
        }
        self.slots.retain(|s| s.rule.is_some());
        for s in &mut self.slots {
            s.next = to(s.next);
        }
        self.slots.shrink_to(self.live + self.live / 4);
        let slots = &self.slots;
        self.heads
            .shrink_to(self.live, |&s| spread(slots[s as usize].hash));
    }

    /// Rules inserted after `seq`, in order of insertion, each with its sequence number. Emptied slots
    /// are given as `None`, so that the caller can bound its work.
    pub(crate) fn after(&self, seq: u64) -> impl Iterator<Item = (u64, Option<&Arc<R>>)> + '_ {
        let from = self.slots.partition_point(|s| s.seq <= seq);
        self.slots[from..].iter().map(|s| (s.seq, s.rule.as_ref()))
    }

    /// Every distinct match.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = &MiniMatch> + '_ {
        self.heads.iter().map(|&s| self.rule(s).key().matching())
    }

    /// Every rule, in order of insertion.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Arc<R>> + '_ {
        self.slots.iter().filter_map(|s| s.rule.as_ref())
    }

    /// Heap bytes of the structure, without the rules themselves.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<R>>()
            + self.heads.allocation_size()
            + self.indices.iter().map(Counted::heap_bytes).sum::<usize>()
            + self.ports.as_ref().map_or(0, |p| p.trie.heap_bytes())
    }
}
