//! [`Rule`]: one flow of an OpenFlow table.
//!
//! What a rule matches and does never changes; a modification puts a new rule in its place. Only its times
//! and counters change, by any thread, without locks. A replaced rule passes its counts, and those still
//! credited to it by datapath flows not yet revalidated, on to its successor: none is lost or counted twice.

use base::clock::Nanos;
use base::sync::{Arc, ArcSwapOption, AtomicU16, AtomicU64, Ordering};
use bitflags::bitflags;
use classifier::{Conjunction, MiniMatch, RuleKey, Ruled, Version};
use openflow::{Act, Acts};

/// Priority above which a rule is the switch's own: neither shown nor touched by OpenFlow.
pub const HIDDEN_PRIORITY: i32 = 65_535;

/// A rule's number, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u64);

bitflags! {
    /// Flags of a flow (`OFPFF_*` of OpenFlow 1.5, and the switch's own above).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct RuleFlags: u16 {
        /// Tell controllers when it goes.
        const SEND_FLOW_REM = 1;
        /// Refuse to add it over an overlapping flow of the same priority.
        const CHECK_OVERLAP = 1 << 1;
        /// OpenFlow 1.0's emergency flow: never supported.
        const EMERGENCY = 1 << 2;
        /// Set the counters of an existing flow to zero.
        const RESET_COUNTS = 1 << 3;
        /// Packets need not be counted.
        const NO_PACKET_COUNTS = 1 << 4;
        /// Bytes need not be counted.
        const NO_BYTE_COUNTS = 1 << 5;
        /// The switch's own: matching fields that controllers cannot name is allowed.
        const HIDDEN_FIELDS = 1 << 6;
        /// The switch's own: may not be changed by controllers.
        const READONLY = 1 << 7;
    }
}

impl RuleFlags {
    /// Those that belong to the flow and are shown, rather than to the message that makes it.
    pub const STATE: Self = Self::SEND_FLOW_REM
        .union(Self::NO_PACKET_COUNTS)
        .union(Self::NO_BYTE_COUNTS)
        .union(Self::READONLY)
        .union(Self::HIDDEN_FIELDS);
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a rule is made of; see [`Rule::new`].
#[derive(Debug, Clone)]
pub struct RuleSpec {
    /// Its table.
    pub table: u8,
    /// What it matches.
    pub matching: MiniMatch,
    /// Its priority; above [`HIDDEN_PRIORITY`] for the switch's own.
    pub priority: i32,
    /// The controller's mark.
    pub cookie: u64,
    /// Seconds without packets after which it goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds after which it goes; 0 for never.
    pub hard_timeout: u16,
    /// Rules of lower importance are evicted first.
    pub importance: u16,
    /// Flags.
    pub flags: RuleFlags,
    /// Actions and instructions.
    pub actions: Arc<Acts>,
}

/// See the file's essay.
#[derive(Debug)]
pub struct Rule {
    /// Unique in the process.
    pub id: RuleId,
    key: RuleKey,
    /// The controller's mark.
    pub cookie: u64,
    /// Actions and instructions.
    pub actions: Arc<Acts>,
    /// When the flow was added (a modified flow keeps the time).
    pub created: Nanos,
    modified: AtomicU64,
    used: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// The rule that took the place of this one and its counts.
    successor: ArcSwapOption<Rule>,
    idle_timeout: AtomicU16,
    hard_timeout: AtomicU16,
    /// Rules of lower importance are evicted first.
    pub importance: u16,
    /// Flags.
    pub flags: RuleFlags,
    /// Its table.
    pub table: u8,
}

impl Ruled for Rule {
    fn key(&self) -> &RuleKey {
        &self.key
    }
    fn conjunctions(&self) -> impl Iterator<Item = Conjunction> + '_ {
        self.actions.iter().filter_map(|a| match *a {
            Act::Conjunction {
                id,
                clause,
                n_clauses,
            } => Some(Conjunction {
                id,
                clause,
                n_clauses,
            }),
            _ => None,
        })
    }
}

impl Rule {
    /// A rule, visible from version `added` on, not yet in any table.
    #[must_use]
    pub fn new(spec: RuleSpec, added: Version, now: Nanos) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let conjunctive = matches!(spec.actions.first(), Some(Act::Conjunction { .. }));
        Self {
            id: RuleId(NEXT.fetch_add(1, Ordering::Relaxed)),
            key: RuleKey::new(spec.matching, spec.priority, added, conjunctive),
            cookie: spec.cookie,
            actions: spec.actions,
            created: now,
            modified: AtomicU64::new(now.0),
            used: AtomicU64::new(now.0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            successor: ArcSwapOption::const_empty(),
            idle_timeout: AtomicU16::new(spec.idle_timeout),
            hard_timeout: AtomicU16::new(spec.hard_timeout),
            importance: spec.importance,
            flags: spec.flags & RuleFlags::STATE,
            table: spec.table,
        }
    }

    /// What it matches.
    #[must_use]
    pub fn matching(&self) -> &MiniMatch {
        self.key.matching()
    }
    /// Its priority.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.key.priority()
    }
    /// True for the switch's own rules.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.key.priority() > HIDDEN_PRIORITY
    }
    /// True for a rule that says what happens to packets that match no other.
    #[must_use]
    pub fn is_table_miss(&self) -> bool {
        self.key.priority() == 0 && self.matching().is_catchall()
    }
    /// Seconds without packets after which it goes; 0 for never.
    #[must_use]
    pub fn idle_timeout(&self) -> u16 {
        self.idle_timeout.load(Ordering::Relaxed)
    }
    /// Seconds after which it goes; 0 for never.
    #[must_use]
    pub fn hard_timeout(&self) -> u16 {
        self.hard_timeout.load(Ordering::Relaxed)
    }
    /// When it was last added, modified or refreshed: the hard timeout counts from here.
    #[must_use]
    pub fn modified(&self) -> Nanos {
        Nanos(self.modified.load(Ordering::Relaxed))
    }
    /// When a packet last matched it (at first, when it was added): the idle timeout counts from here.
    #[must_use]
    pub fn used(&self) -> Nanos {
        Nanos(self.used.load(Ordering::Relaxed))
    }
    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Counts packets, the last of them seen at `used`. Any thread.
    pub fn credit(&self, packets: u64, bytes: u64, used: Nanos) {
        self.used.fetch_max(used.0, Ordering::Relaxed);
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Pairs with the fence in succeed_by(): either we see the successor here, or it sees our counts.
        base::sync::fence(Ordering::SeqCst);
        if let Some(next) = &*self.successor.load() {
            self.pass_on(next);
        }
    }

    fn pass_on(&self, next: &Self) {
        let packets = self.packets.swap(0, Ordering::Relaxed);
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        if packets | bytes != 0 {
            next.credit(packets, bytes, self.used());
        }
    }

    /// Makes `next` the heir of this rule's counts, now and later.
    pub fn succeed_by(&self, next: &Arc<Self>) {
        self.successor.store(Some(Arc::clone(next)));
        base::sync::fence(Ordering::SeqCst); // pairs with the one in credit()
        self.pass_on(next);
    }

    /// Takes over the times of the rule it replaces.
    pub fn inherit(&mut self, created: Nanos, used: Nanos) {
        self.created = created;
        self.used = AtomicU64::new(used.0);
    }

    /// The hard timeout counts from `now` again.
    pub fn touch(&self, now: Nanos) {
        self.modified.fetch_max(now.0, Ordering::Relaxed);
    }

    /// Lowers the timeouts to these, where they are longer or there is none. 0 leaves a timeout alone.
    /// True when the rule had no timeout before and has one now.
    pub fn reduce_timeouts(&self, idle: u16, hard: u16) -> bool {
        let had = self.idle_timeout() != 0 || self.hard_timeout() != 0;
        for (t, new) in [(&self.idle_timeout, idle), (&self.hard_timeout, hard)] {
            let old = t.load(Ordering::Relaxed);
            if new != 0 && (old == 0 || new < old) {
                t.store(new, Ordering::Relaxed);
            }
        }
        !had && (idle != 0 || hard != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        let spec = RuleSpec {
            table: 0,
            matching: MiniMatch::catchall(),
            priority: 1,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 9,
            importance: 0,
            flags: RuleFlags::default(),
            actions: Arc::default(),
        };
        Rule::new(spec, 0, Nanos(5))
    }

    #[test]
    fn counts_move_to_the_successor_once() {
        let (a, b) = (Arc::new(rule()), Arc::new(rule()));
        a.credit(1, 60, Nanos(7));
        a.succeed_by(&b);
        a.credit(2, 120, Nanos(9));
        let want = Counts {
            packets: 3,
            bytes: 180,
        };
        assert_eq!((a.counts(), b.counts()), (Counts::default(), want));
        assert_eq!(b.used(), Nanos(9));
    }

    #[test]
    fn timeouts_only_shrink() {
        let r = rule();
        assert!(!r.reduce_timeouts(0, 20));
        assert!(!r.reduce_timeouts(4, 3));
        assert_eq!((r.idle_timeout(), r.hard_timeout()), (4, 3));
    }
}
