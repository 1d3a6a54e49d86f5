//! What a rule must carry so that a classifier can hold it.

use crate::mini::MiniMatch;
use base::sync::{AtomicU64, Ordering};

/// A version of a set of tables: lookups happen at a version, changes prepare the next one.
pub type Version = u64;

/// A version in which everything that was inserted and not marked as leaving is visible: the writer's view.
pub const LATEST: Version = Version::MAX - 1;

/// "Not removed in any version yet".
const NOT_REMOVED: Version = Version::MAX;

/// Match, priority and lifetime of a rule.
///
/// `added` is fixed; `removed` may be moved by the single writer while readers look.
#[derive(Debug)]
pub struct RuleKey {
    matching: MiniMatch,
    added: Version,
    removed: AtomicU64,
    priority: i32,
    conjunctive: bool,
}

impl RuleKey {
    /// A rule visible from version `added` on. `conjunctive`: its actions are `conjunction`s, so that it
    /// is a part of a match and no match by itself.
    #[must_use]
    pub fn new(matching: MiniMatch, priority: i32, added: Version, conjunctive: bool) -> Self {
        Self {
            matching,
            added,
            removed: AtomicU64::new(NOT_REMOVED),
            priority,
            conjunctive,
        }
    }
    /// What the rule matches.
    #[must_use]
    pub fn matching(&self) -> &MiniMatch {
        &self.matching
    }
    /// Higher wins. OpenFlow uses 0..=65535, the switch itself also values outside of it.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.priority
    }
    /// First version the rule is visible in.
    #[must_use]
    pub fn added(&self) -> Version {
        self.added
    }
    /// True when the rule is a part of conjunctive matches.
    #[must_use]
    pub fn is_conjunctive(&self) -> bool {
        self.conjunctive
    }
    /// True when lookups at `version` find the rule.
    #[must_use]
    pub fn visible_in(&self, version: Version) -> bool {
        // Relaxed: the version that readers use is published with Release after this was written.
        self.added <= version && version < self.removed.load(Ordering::Relaxed)
    }
    /// Makes the rule invisible from `version` on.
    pub fn remove_in(&self, version: Version) {
        self.removed.store(version, Ordering::Relaxed);
    }
    /// Takes back [`RuleKey::remove_in`].
    pub fn restore(&self) {
        self.removed.store(NOT_REMOVED, Ordering::Relaxed);
    }
    /// True when the rule is, or is about to become, invisible.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.removed.load(Ordering::Relaxed) != NOT_REMOVED
    }
}

/// One `conjunction(id, clause/n)` of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conjunction {
    /// `conj_id` of the rule to look up once every clause matched.
    pub id: u32,
    /// Which clause, counted from 0.
    pub clause: u8,
    /// Clauses in all, 2..=64.
    pub n_clauses: u8,
}

/// A value that a classifier can hold.
pub trait Ruled: Send + Sync + 'static {
    /// Its key. Must always be the same.
    fn key(&self) -> &RuleKey;
    /// Its conjunctions; asked only when the key says it is conjunctive.
    fn conjunctions(&self) -> impl Iterator<Item = Conjunction> + '_ {
        std::iter::empty()
    }
}
