//! [`Rule`]: one flow of an OpenFlow table.
//!
//! What a rule matches and does never changes; a modification puts a new rule in its place. Only its times
//! and counters change, by any thread, without locks. A replaced rule passes its counts, and those still
//! credited to it by datapath flows not yet revalidated, on to its successor: none is lost or counted twice.

use crate::acts::Uses;
use base::clock::Nanos;
use base::sync::{Arc, ArcSwapOption, AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use classifier::{Conjunction, MiniMatch, RuleKey, Ruled, Version};
use openflow::{Act, Acts, FlowFlags};

/// Priority above which a rule is the switch's own: neither shown nor touched by OpenFlow.
pub const HIDDEN_PRIORITY: i32 = 65_535;

/// A rule's number, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u64);

/// Flags that belong to a flow and are shown with it, rather than only to the message that makes it.
pub const STATE_FLAGS: FlowFlags = FlowFlags::SEND_FLOW_REM
    .union(FlowFlags::CHECK_OVERLAP)
    .union(FlowFlags::RESET_COUNTS)
    .union(FlowFlags::NO_PKT_COUNTS)
    .union(FlowFlags::NO_BYT_COUNTS);

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
    pub flags: FlowFlags,
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
    /// Where the writer's [`crate::expiry`] has it; `u64::MAX` for nowhere.
    expiry_key: AtomicU64,
    idle_timeout: AtomicU16,
    hard_timeout: AtomicU16,
    /// Rules of lower importance are evicted first.
    pub importance: u16,
    /// Flags.
    pub flags: FlowFlags,
    /// Its table.
    pub table: u8,
    /// `NEWS_*`: how it came to be, for controllers that watch flows.
    news: AtomicU8,
    uses: u8,
    /// The successor gets the counts, not only the time of use.
    forward: AtomicBool,
}

/// Nobody was told about the rule: it replaced one without visible change.
pub const NEWS_NONE: u8 = 0;
/// It was announced as modified.
pub const NEWS_MODIFIED: u8 = 1;
/// It was announced as added.
pub const NEWS_ADDED: u8 = 2;

const USES_GROUPS: u8 = 1;
const USES_METERS: u8 = 2;
const USES_LEARN: u8 = 4;
const USES_TLVS: u8 = 8;

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
        let uses = Uses::of(&spec.actions);
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
            expiry_key: AtomicU64::new(u64::MAX),
            idle_timeout: AtomicU16::new(spec.idle_timeout),
            hard_timeout: AtomicU16::new(spec.hard_timeout),
            importance: spec.importance,
            flags: spec.flags & STATE_FLAGS,
            table: spec.table,
            news: AtomicU8::new(NEWS_NONE),
            uses: u8::from(uses.groups) * USES_GROUPS
                + u8::from(uses.meters) * USES_METERS
                + u8::from(uses.learns) * USES_LEARN
                + u8::from(uses.tlvs) * USES_TLVS,
            forward: AtomicBool::new(false),
        }
    }

    pub(crate) fn uses(&self) -> Uses {
        Uses {
            groups: self.uses & USES_GROUPS != 0,
            meters: self.uses & USES_METERS != 0,
            learns: self.uses & USES_LEARN != 0,
            tlvs: self.uses & USES_TLVS != 0,
        }
    }
    /// How it came to be: one of `NEWS_*`.
    #[must_use]
    pub fn news(&self) -> u8 {
        self.news.load(Ordering::Relaxed)
    }
    pub(crate) fn set_news(&self, news: u8) {
        self.news.store(news, Ordering::Relaxed);
    }
    pub(crate) fn expiry_key(&self) -> Option<Nanos> {
        let at = self.expiry_key.load(Ordering::Relaxed);
        (at != u64::MAX).then_some(Nanos(at))
    }
    pub(crate) fn set_expiry_key(&self, at: Nanos) {
        self.expiry_key.store(at.0, Ordering::Relaxed);
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
        next.used.fetch_max(self.used().0, Ordering::Relaxed);
        if self.forward.load(Ordering::Relaxed) {
            let packets = self.packets.swap(0, Ordering::Relaxed);
            let bytes = self.bytes.swap(0, Ordering::Relaxed);
            if packets | bytes != 0 {
                next.credit(packets, bytes, self.used());
            }
        }
    }

    /// Makes `next` the heir of this rule: of its time of use, and of its counts, now and later, when
    /// `counts`.
    pub(crate) fn succeed_by(&self, next: &Arc<Self>, counts: bool) {
        self.forward.store(counts, Ordering::Relaxed);
        // A change of a rule is no use of it.
        next.used.store(self.used().0, Ordering::Relaxed);
        self.successor.store(Some(Arc::clone(next)));
        base::sync::fence(Ordering::SeqCst); // pairs with the one in credit()
        self.pass_on(next);
    }

    /// Takes over the time at which the flow was added from the rule it replaces.
    pub(crate) fn set_created(&mut self, created: Nanos) {
        self.created = created;
    }

    /// Takes over the time at which a packet was last seen from the rule it replaces.
    pub(crate) fn set_used(&mut self, used: Nanos) {
        *self.used.get_mut() = used.0;
    }

    /// The hard timeout counts from `now` again.
    pub fn touch(&self, now: Nanos) {
        self.modified.fetch_max(now.0, Ordering::Relaxed);
    }

    /// Lowers the timeouts to these, where they are longer or there is none. 0 leaves a timeout alone.
    pub(crate) fn reduce_timeouts(&self, idle: u16, hard: u16) {
        for (t, new) in [(&self.idle_timeout, idle), (&self.hard_timeout, hard)] {
            let old = t.load(Ordering::Relaxed);
            if new != 0 && (old == 0 || new < old) {
                t.store(new, Ordering::Relaxed);
            }
        }
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
            flags: FlowFlags::default(),
            actions: Arc::default(),
        };
        Rule::new(spec, 0, Nanos(5))
    }

    #[test]
    fn counts_move_to_the_successor_once() {
        let (a, b) = (Arc::new(rule()), Arc::new(rule()));
        a.credit(1, 60, Nanos(7));
        a.succeed_by(&b, true);
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
        r.reduce_timeouts(0, 20);
        r.reduce_timeouts(4, 3);
        assert_eq!((r.idle_timeout(), r.hard_timeout()), (4, 3));
    }
}
