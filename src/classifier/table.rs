//! [`Classifier`]: subtables in order of their highest priority, and the prefix tries over all of them.

use crate::cursor::Cursor;
use crate::key::{Ruled, Version};
use crate::lookup::{Lookup, TrieState};
use crate::mini::{MiniMask, MiniMatch, hash_words, mask_words};
use crate::prefix::{PREFIXES_MAX, PrefixField};
use crate::subtable::{Distinct, Subtable};
use crate::trie::Trie;
use arrayvec::ArrayVec;
use base::sync::{self, Arc, RwLock};
use flow::{FieldId, Flow, Mask};
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// Place of a subtable in the order of lookups: falling highest priority, then the order in which the
/// subtables came to have it.
pub(crate) type Rank = (Reverse<i32>, i64);

/// A subtable with what the classifier knows about it.
pub(crate) struct Member<R> {
    /// Unique over the life of the classifier (places in `members` are reused).
    pub(crate) id: u64,
    rank: Rank,
    /// Length of the prefix matched of each tracked field, 0 for none.
    pub(crate) plens: [u32; PREFIXES_MAX],
    pub(crate) table: Subtable<R>,
}

/// A tracked field and its trie.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) field: PrefixField,
    pub(crate) trie: Trie,
}

/// What the lock protects.
pub(crate) struct Inner<R> {
    pub(crate) members: Vec<Option<Box<Member<R>>>>,
    free: Vec<u32>,
    by_mask: HashTable<u32>,
    pub(crate) order: BTreeMap<Rank, u32>,
    pub(crate) tracked: ArrayVec<Tracked, PREFIXES_MAX>,
    next_id: u64,
    next_seq: u64,
    next_rank: i64,
    rules: usize,
}

/// A prioritised, versioned set of rules. See the essay in the room's door.
pub struct Classifier<R> {
    inner: RwLock<Inner<R>>,
}

impl<R> fmt::Debug for Classifier<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = sync::read(&self.inner);
        f.debug_struct("Classifier")
            .field("rules", &inner.rules)
            .field("subtables", &inner.order.len())
            .finish_non_exhaustive()
    }
}

impl<R: Ruled> Default for Classifier<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Ruled> Classifier<R> {
    /// An empty classifier that tracks no prefixes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: RwLock::new(Inner {
                members: Vec::new(),
                free: Vec::new(),
                by_mask: HashTable::new(),
                order: BTreeMap::new(),
                tracked: ArrayVec::new(),
                next_id: 0,
                next_seq: 1,
                next_rank: 1,
                rules: 0,
            }),
        }
    }

    /// Rules held, visible or not.
    #[must_use]
    pub fn len(&self) -> usize {
        sync::read(&self.inner).rules
    }

    /// True when no rule is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Distinct masks among the rules held.
    #[must_use]
    pub fn n_subtables(&self) -> usize {
        sync::read(&self.inner).order.len()
    }

    /// The compact form of a match, sharing the mask with rules of the same form.
    #[must_use]
    pub fn compact(&self, flow: &Flow, mask: &Mask) -> MiniMatch {
        let words = mask_words(mask);
        let shared = {
            let inner = sync::read(&self.inner);
            inner
                .find_mask(&words)
                .map(|m| Arc::clone(&inner.member(m).table.mask))
        };
        let mask = shared.unwrap_or_else(|| Arc::new(MiniMask::from_words(&words)));
        MiniMatch::with_mask(flow, mask)
    }

    /// Adds a rule. No visible rule of the same match and priority may be in the classifier in any
    /// version in which this one is visible (the caller keeps that).
    pub fn insert(&self, rule: Arc<R>) {
        sync::write(&self.inner).insert(rule);
    }

    /// Removes this very rule at once, whatever its versions. False when it is not here.
    pub fn remove(&self, rule: &R) -> bool {
        sync::write(&self.inner).remove(rule)
    }

    /// The rule of highest priority that is visible at `version` and matches `flow`.
    ///
    /// Adds to `wc` every bit of the flow that mattered: any flow that agrees with `flow` on all bits of
    /// `wc` gets the same answer. A false 1-bit in `wc` is slow, a false 0-bit is wrong.
    #[must_use]
    pub fn lookup(&self, version: Version, flow: &Flow, wc: Option<&mut Mask>) -> Option<Arc<R>> {
        let inner = sync::read(&self.inner);
        let tries = TrieState::start();
        Lookup {
            inner: &inner,
            version,
            flow,
            wc,
            tries,
        }
        .run(true)
        .cloned()
    }

    /// The rule with exactly this match and priority that is visible at `version`.
    #[must_use]
    pub fn find_exact(&self, m: &MiniMatch, priority: i32, version: Version) -> Option<Arc<R>> {
        let inner = sync::read(&self.inner);
        let at = inner.find_mask(m.mask().words())?;
        let table = &inner.member(at).table;
        table.find_exact(m.values(), priority, version).cloned()
    }

    /// True when a packet could match both `m` and another rule of exactly this priority that is visible
    /// at `version`.
    #[must_use]
    pub fn overlaps(&self, m: &MiniMatch, priority: i32, version: Version) -> bool {
        let inner = sync::read(&self.inner);
        inner
            .order
            .iter()
            .take_while(|(rank, _)| rank.0.0 >= priority)
            .flat_map(|(_, &at)| inner.member(at).table.rules())
            .any(|r| {
                let key = r.key();
                key.priority() == priority && key.visible_in(version) && key.matching().overlaps(m)
            })
    }

    /// Chooses the fields whose prefixes are tracked: at most [`PREFIXES_MAX`] of those that
    /// [`crate::is_prefix_field`] admits; others and repeated ones are passed over. Costs time in
    /// proportion to the rules. True when that changed anything.
    pub fn set_prefixes(&self, fields: &[FieldId]) -> bool {
        let mut want: ArrayVec<PrefixField, PREFIXES_MAX> = ArrayVec::new();
        for f in fields.iter().filter_map(|f| PrefixField::of(*f)) {
            if !want.contains(&f) {
                let _ = want.try_push(f);
            }
        }
        sync::write(&self.inner).track(&want)
    }

    /// Begins a walk over the rules that are visible at `version` and within `target` (all when `None`),
    /// in the order of lookups.
    #[must_use]
    pub fn cursor(&self, target: Option<&MiniMatch>, version: Version) -> Cursor {
        let inner = sync::read(&self.inner);
        let target = target.filter(|t| !t.is_catchall());
        let fits = |at: &u32| {
            let mask = &inner.member(*at).table.mask;
            target.is_none_or(|t| mask.covers(t.mask()))
        };
        let tables = inner
            .order
            .values()
            .filter(|at| fits(at))
            .map(|at| (*at, inner.member(*at).id))
            .collect();
        Cursor::new(target.cloned(), version, tables)
    }

    /// Continues a walk: appends rules to `out`, looking at no more than `budget` of them under one lock.
    /// True when there may be more.
    pub fn advance(&self, cursor: &mut Cursor, budget: usize, out: &mut Vec<Arc<R>>) -> bool {
        cursor.advance(&sync::read(&self.inner), budget, out)
    }

    /// Every rule within `target` that is visible at `version`.
    #[must_use]
    pub fn collect(&self, target: Option<&MiniMatch>, version: Version) -> Vec<Arc<R>> {
        let mut cursor = self.cursor(target, version);
        let mut out = Vec::new();
        while self.advance(&mut cursor, usize::MAX, &mut out) {}
        out
    }

    /// Heap bytes of the structure, without the rules themselves.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let inner = sync::read(&self.inner);
        let tables: usize = inner
            .order
            .values()
            .map(|&at| {
                let t = &inner.member(at).table;
                t.heap_bytes() + t.mask.heap_bytes() + size_of::<Member<R>>()
            })
            .sum();
        tables
            + inner
                .tracked
                .iter()
                .map(|t| t.trie.heap_bytes())
                .sum::<usize>()
    }
}

impl<R: Ruled> Inner<R> {
    pub(crate) fn member(&self, at: u32) -> &Member<R> {
        self.members[at as usize]
            .as_ref()
            .expect("indices name only subtables that exist")
    }

    fn member_mut(&mut self, at: u32) -> &mut Member<R> {
        self.members[at as usize]
            .as_mut()
            .expect("indices name only subtables that exist")
    }

    fn find_mask(&self, words: &[crate::mini::MaskWord]) -> Option<u32> {
        self.by_mask
            .find(hash_words(words), |&at| {
                self.member(at).table.mask.words() == words
            })
            .copied()
    }

    fn plens(&self, mask: &MiniMask) -> [u32; PREFIXES_MAX] {
        let mut out = [0; PREFIXES_MAX];
        for (o, t) in out.iter_mut().zip(&self.tracked) {
            *o = t.field.prefix_len(mask);
        }
        out
    }

    fn add_member(&mut self, mask: Arc<MiniMask>) -> u32 {
        let hash = hash_words(mask.words());
        self.next_id += 1;
        let member = Box::new(Member {
            id: self.next_id,
            rank: (Reverse(i32::MIN), 0),
            plens: self.plens(&mask),
            table: Subtable::new(mask),
        });
        let at = self.free.pop().unwrap_or_else(|| {
            self.members.push(None);
            u32::try_from(self.members.len() - 1).expect("fewer masks than 32 bits count")
        });
        self.members[at as usize] = Some(member);
        let members = &self.members;
        self.by_mask.insert_unique(hash, at, |&at| {
            members[at as usize]
                .as_ref()
                .map_or(0, |m| hash_words(m.table.mask.words()))
        });
        at
    }

    fn drop_member(&mut self, at: u32) {
        let hash = hash_words(self.member(at).table.mask.words());
        if let Ok(e) = self.by_mask.find_entry(hash, |&a| a == at) {
            e.remove();
        }
        let rank = self.member(at).rank;
        self.order.remove(&rank);
        self.members[at as usize] = None;
        self.free.push(at);
    }

    fn insert(&mut self, rule: Arc<R>) {
        let at = match self.find_mask(rule.key().matching().mask().words()) {
            Some(at) => at,
            None => self.add_member(Arc::clone(rule.key().matching().mask())),
        };
        let seq = self.next_seq;
        self.next_seq += 1;
        let member = self.member_mut(at);
        let (plens, new) = (member.plens, Arc::clone(&rule));
        if member.table.insert(rule, seq) == Distinct::Changed {
            for (t, len) in self.tracked.iter_mut().zip(plens) {
                if len > 0 {
                    let value = t.field.value_in(new.key().matching());
                    t.trie.insert(&value, len);
                }
            }
        }
        self.rules += 1;
        self.rank(at);
    }

    fn remove(&mut self, rule: &R) -> bool {
        let m = rule.key().matching();
        let Some(at) = self.find_mask(m.mask().words()) else {
            return false;
        };
        let member = self.member_mut(at);
        let plens = member.plens;
        let Some(distinct) = member.table.remove(rule) else {
            return false;
        };
        if distinct == Distinct::Changed {
            for (t, len) in self.tracked.iter_mut().zip(plens) {
                if len > 0 {
                    t.trie.remove(&t.field.value_in(m), len);
                }
            }
        }
        self.rules -= 1;
        if self.member(at).table.is_empty() {
            self.drop_member(at);
        } else {
            self.rank(at);
        }
        true
    }

    /// Moves a subtable to its place in the order after its highest priority changed. One that rises goes
    /// behind those that already have that priority, one that falls before them, as a stable sort would.
    fn rank(&mut self, at: u32) {
        let (old, top) = {
            let m = self.member(at);
            (m.rank, m.table.max_priority())
        };
        if old.0.0 == top && old.1 != 0 {
            return;
        }
        self.order.remove(&old);
        self.next_rank += 1;
        let tie = if old.1 == 0 || top > old.0.0 {
            self.next_rank
        } else {
            -self.next_rank
        };
        let rank = (Reverse(top), tie);
        self.member_mut(at).rank = rank;
        self.order.insert(rank, at);
    }

    fn track(&mut self, want: &[PrefixField]) -> bool {
        if self.tracked.iter().map(|t| &t.field).eq(want) {
            return false;
        }
        self.tracked = want
            .iter()
            .map(|field| Tracked {
                field: *field,
                trie: Trie::default(),
            })
            .collect();
        for member in self.members.iter_mut().flatten() {
            member.plens = [0; PREFIXES_MAX];
            for (plen, t) in member.plens.iter_mut().zip(&mut self.tracked) {
                *plen = t.field.prefix_len(&member.table.mask);
                if *plen > 0 {
                    for m in member.table.distinct() {
                        t.trie.insert(&t.field.value_in(m), *plen);
                    }
                }
            }
        }
        true
    }
}
