//! What a translation depended on, and what changed.
//!
//! A translation names the facts it looked at as [`Dep`]s: a rule that matched, a table in which a lookup
//! was made, a MAC entry, a port, a group. When a fact changes, somebody posts a [`Change`]; the shards'
//! index finds the ukeys with that dependency. This room does not know what the keys mean, only that equal
//! facts have equal keys. Two facts that share a key by accident cost a needless translation, nothing else.
//!
//! Order that makes this sound: a change is *published* (visible to translations) before it is *posted*,
//! and a handler reads [`Pending::posted`] before it translates.

use base::sync::{Arc, Mutex, Seq, lock};
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use std::fmt::Debug;

/// A fact, by a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DepKey(pub u64);

impl DepKey {
    /// The key of the fact of kind `kind` that `words` name.
    #[must_use]
    pub fn of(kind: u64, words: &[u64]) -> Self {
        Self(base::hash::words(kind.wrapping_add(1), words))
    }
}

/// A dependency of one translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dep {
    /// The fact.
    pub key: DepKey,
    /// What the translator wants to be told again when it is asked about a [`Change::Probe`] of this key.
    pub note: u64,
}

/// The dependencies of one translation. Those of a packet that crosses one table need no allocation.
pub type Deps = SmallVec<[Dep; 8]>;

/// Something that may make installed flows wrong. `P` describes what was added, for [`Change::Probe`].
#[derive(Debug, Clone)]
pub enum Change<P> {
    /// Too much, or something that is not tracked: every flow.
    All,
    /// This fact: every flow that depended on it.
    Key(DepKey),
    /// Something was added to what this fact names (a rule to a table): those flows that depended on it and
    /// that the translator says are concerned.
    Probe(DepKey, Arc<P>),
}

/// Probes kept for one key; more of them stand for the key itself.
pub const PROBES_MAX: usize = 64;
/// Keys kept; more of them stand for everything.
pub const KEYS_MAX: usize = 1 << 18;

/// Changes taken together, without repetitions, bounded.
#[derive(Debug)]
pub struct ChangeSet<P> {
    /// Everything changed; the rest is empty.
    pub all: bool,
    /// Facts that changed.
    pub keys: HashSet<DepKey, ahash::RandomState>,
    /// Additions by fact, at most [`PROBES_MAX`] each, for facts not in `keys`.
    pub probes: HashMap<DepKey, Vec<Arc<P>>, ahash::RandomState>,
}

impl<P> Default for ChangeSet<P> {
    fn default() -> Self {
        Self {
            all: false,
            keys: HashSet::default(),
            probes: HashMap::default(),
        }
    }
}

impl<P> ChangeSet<P> {
    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.keys.is_empty() && self.probes.is_empty()
    }

    /// Adds one change.
    pub fn add(&mut self, change: Change<P>) {
        if self.all {
            return;
        }
        match change {
            Change::All => self.become_all(),
            Change::Key(key) => {
                self.probes.remove(&key);
                self.keys.insert(key);
            }
            Change::Probe(key, probe) => {
                if self.keys.contains(&key) {
                    return;
                }
                let probes = self.probes.entry(key).or_default();
                if probes.len() < PROBES_MAX {
                    probes.push(probe);
                } else {
                    self.probes.remove(&key);
                    self.keys.insert(key);
                }
            }
        }
        if self.keys.len() + self.probes.len() > KEYS_MAX {
            self.become_all();
        }
    }

    fn become_all(&mut self) {
        *self = Self {
            all: true,
            ..Self::default()
        };
    }
}

#[derive(Debug)]
struct Waiting<P> {
    set: ChangeSet<P>,
    posted: u64,
    /// Something other than a change waits for a round.
    nudged: bool,
}

/// Changes posted and not yet taken by a revalidation round. Any thread posts; the leader takes.
/// The lock is a leaf: nothing else is locked while it is held.
#[derive(Debug)]
pub struct Pending<P> {
    waiting: Mutex<Waiting<P>>,
    /// Moves on every post; what the leader sleeps on.
    pub wake: Seq,
}

impl<P> Default for Pending<P> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                set: ChangeSet::default(),
                posted: 0,
                nudged: false,
            }),
            wake: Seq::new(),
        }
    }
}

impl<P> Pending<P> {
    /// Posts changes that are published already.
    pub fn post(&self, changes: impl IntoIterator<Item = Change<P>>) {
        let mut waiting = lock(&self.waiting);
        let before = waiting.posted;
        for change in changes {
            waiting.set.add(change);
            waiting.posted += 1;
        }
        let moved = waiting.posted != before;
        drop(waiting);
        if moved {
            self.wake.change();
        }
    }
    /// Asks for a round although nothing new changed.
    pub fn nudge(&self) {
        lock(&self.waiting).nudged = true;
        self.wake.change();
    }
    /// Number of changes posted so far. To be read before a translation.
    #[must_use]
    pub fn posted(&self) -> u64 {
        lock(&self.waiting).posted
    }
    /// True when something waits for a round.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.nudged || !waiting.set.is_empty()
    }
    /// Takes what was posted, and the number of changes posted so far.
    pub fn take(&self) -> (ChangeSet<P>, u64) {
        let mut waiting = lock(&self.waiting);
        waiting.nudged = false;
        (std::mem::take(&mut waiting.set), waiting.posted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_stay_bounded_and_never_forget() {
        let mut set: ChangeSet<u32> = ChangeSet::default();
        for i in 0..=PROBES_MAX as u32 {
            set.add(Change::Probe(DepKey(1), Arc::new(i)));
        }
        assert!(set.keys.contains(&DepKey(1)) && set.probes.is_empty());
        set.add(Change::Probe(DepKey(1), Arc::new(0)));
        assert!(set.probes.is_empty());
        for i in 0..=KEYS_MAX as u64 {
            set.add(Change::Key(DepKey(i)));
        }
        assert!(set.all && set.keys.is_empty());
        set.add(Change::Key(DepKey(1)));
        assert!(set.all && set.keys.is_empty());
    }

    #[test]
    fn posting_counts_and_wakes() {
        let p: Pending<()> = Pending::default();
        let seen = p.wake.read();
        p.post([]);
        assert_eq!((p.posted(), p.wake.read()), (0, seen));
        p.post([Change::Key(DepKey(7)), Change::Key(DepKey(7))]);
        assert_eq!(p.posted(), 2);
        assert_ne!(p.wake.read(), seen);
        let (set, n) = p.take();
        assert_eq!((set.keys.len(), n), (1, 2));
        assert!(p.take().0.is_empty());
    }
}
