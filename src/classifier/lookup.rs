//! One lookup: subtables by falling priority, stages within a subtable, conjunctions at the end.
//!
//! Whatever is looked at is added to the wildcards: the stages probed, the prefix bits that a trie needed
//! to rule a subtable out, the port bits that the ports trie needed. Trie answers are kept for the whole
//! lookup, conjunctive second looks included. Runs under the classifier's read lock on the reader's thread.

use crate::key::{Conjunction, Ruled, Version};
use crate::prefix::{PREFIXES_MAX, PrefixField};
use crate::stage::Stage;
use crate::subtable::{PortsTrie, Subtable};
use crate::table::{Inner, Member};
use crate::trie::Lengths;
use base::hash;
use base::sync::Arc;
use flow::{Flow, Mask};
use smallvec::SmallVec;

/// Answers of the prefix tries for the flow at hand, asked for at most once each.
pub(crate) struct TrieState([Option<(Lengths, u32)>; PREFIXES_MAX]);

impl TrieState {
    pub(crate) fn start() -> Self {
        Self([None; PREFIXES_MAX])
    }
}

/// A lookup under way.
pub(crate) struct Lookup<'a, 'f, R> {
    pub(crate) inner: &'a Inner<R>,
    pub(crate) version: Version,
    pub(crate) flow: &'f Flow,
    pub(crate) wc: Option<&'f mut Mask>,
    pub(crate) tries: TrieState,
}

/// A rule that is part of a conjunction, with the subtable it is in.
type Soft<'a, R> = (&'a Subtable<R>, &'a Arc<R>);

impl<'a, R: Ruled> Lookup<'a, '_, R> {
    /// The best rule; without `conjunctive`, rules that are parts of conjunctions are passed over.
    pub(crate) fn run(&mut self, conjunctive: bool) -> Option<&'a Arc<R>> {
        let mut hard: Option<&'a Arc<R>> = None;
        let mut soft: SmallVec<[Soft<'a, R>; 8]> = SmallVec::new();
        for (rank, &at) in &self.inner.order {
            if hard.is_some_and(|h| rank.0.0 <= h.key().priority()) {
                break;
            }
            let member = self.inner.member(at);
            let Some(rule) = self.find(member) else {
                continue;
            };
            if hard.is_some_and(|h| rule.key().priority() <= h.key().priority()) {
                continue;
            }
            if !rule.key().is_conjunctive() {
                hard = Some(rule);
            } else if conjunctive {
                soft.push((&member.table, rule));
            }
        }
        if soft.is_empty() {
            hard
        } else {
            self.settle(hard, soft)
        }
    }

    /// Finds out whether parts of conjunctions, from the highest priority down, make up a whole one.
    fn settle(
        &mut self,
        mut hard: Option<&'a Arc<R>>,
        mut soft: SmallVec<[Soft<'a, R>; 8]>,
    ) -> Option<&'a Arc<R>> {
        loop {
            let floor = hard.map(|h| h.key().priority());
            soft.retain(|(_, r)| floor.is_none_or(|f| r.key().priority() > f));
            let Some(top) = soft.iter().map(|(_, r)| r.key().priority()).max() else {
                return hard;
            };
            if let Some(rule) = self.whole_conjunction(&soft, top) {
                return Some(rule);
            }
            // Rules of the same match and a lower priority stand behind those that came to nothing.
            for i in (0..soft.len()).rev() {
                let (table, rule) = soft[i];
                if rule.key().priority() != top {
                    continue;
                }
                match table.next_lower(rule, self.version) {
                    Some(next) if next.key().is_conjunctive() => soft[i].1 = next,
                    next => {
                        soft.swap_remove(i);
                        let better = next.filter(|n| {
                            hard.is_none_or(|h| n.key().priority() > h.key().priority())
                        });
                        hard = better.or(hard);
                    }
                }
            }
        }
    }

    /// The rule for the first conjunction whose clauses all matched at priority `top`.
    fn whole_conjunction(&mut self, soft: &[Soft<'a, R>], top: i32) -> Option<&'a Arc<R>> {
        let at_top = || soft.iter().filter(|(_, r)| r.key().priority() == top);
        let n = at_top().count();
        let mut seen: SmallVec<[(u32, u64); 16]> = SmallVec::new();
        for (_, rule) in at_top() {
            // At most one conjunction of each rule is looked up, as in Open vSwitch.
            let whole = rule
                .conjunctions()
                .filter(|c| usize::from(c.n_clauses) <= n)
                .find(|c| completes(&mut seen, *c));
            if let Some(c) = whole {
                let found = self.with_conj_id(c.id);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn with_conj_id(&mut self, id: u32) -> Option<&'a Arc<R>> {
        let mut flow = *self.flow;
        flow.conj_id = id.into();
        let tries = std::mem::replace(&mut self.tries, TrieState::start());
        let mut second = Lookup {
            inner: self.inner,
            version: self.version,
            flow: &flow,
            wc: self.wc.as_deref_mut(),
            tries,
        };
        let found = second.run(false);
        self.tries = second.tries;
        found
    }

    fn find(&mut self, member: &'a Member<R>) -> Option<&'a Arc<R>> {
        let table = &member.table;
        let words = self.flow.lines().as_flattened();
        if self.wc.is_none() {
            let h = table
                .stages
                .iter()
                .fold(hash::process_seed(), |h, s| s.hash_flow(h, words));
            return table.find(words, h, self.version);
        }
        let mut h = hash::process_seed();
        let last = table.stages.len() - 1;
        for (i, stage) in table.stages.iter().enumerate() {
            if self.tries_rule_out(member, stage) {
                self.fold(&table.stages[..i]);
                return None;
            }
            h = stage.hash_flow(h, words);
            if i < last && !table.stage_may_match(i, h) {
                self.fold(&table.stages[..=i]);
                return None;
            }
        }
        let found = table.find(words, h, self.version);
        match (&table.ports, found, &mut self.wc) {
            (Some(ports), None, Some(wc)) => fold_ports(wc, &table.stages, ports, self.flow),
            _ => self.fold(&table.stages),
        }
        found
    }

    fn fold(&mut self, stages: &[Stage]) {
        if let Some(wc) = &mut self.wc {
            for s in stages {
                s.fold_into(wc);
            }
        }
    }

    /// True when a prefix trie shows that no rule of the subtable can match, at the cost of no more bits
    /// than the subtable itself would look at. Marks those bits.
    fn tries_rule_out(&mut self, member: &Member<R>, stage: &Stage) -> bool {
        let Some(wc) = &mut self.wc else { return false };
        for (i, t) in self.inner.tracked.iter().enumerate() {
            let plen = member.plens[i];
            if plen == 0 || !t.field.words().any(|(at, bits)| stage.looks_at(at, bits)) {
                continue;
            }
            let (lengths, bits) = *self.tries.0[i].get_or_insert_with(|| {
                if t.field.applies_to(self.flow) {
                    t.trie.lookup(&t.field.value(self.flow), t.field.n_bits)
                } else {
                    (Lengths::ALL, 0)
                }
            });
            if lengths.has(plen) {
                continue;
            }
            if bits <= plen {
                t.field.set_prefix(wc, bits);
                return true;
            }
            if t.field.has_prefix(wc, bits) {
                return true;
            }
        }
        false
    }
}

/// Adds one clause to what was seen; true when it completes its conjunction.
fn completes(seen: &mut SmallVec<[(u32, u64); 16]>, c: Conjunction) -> bool {
    let at = seen.iter().position(|(id, _)| *id == c.id);
    let at = at.unwrap_or_else(|| {
        seen.push((c.id, u64::MAX << (c.n_clauses & 63)));
        seen.len() - 1
    });
    seen[at].1 |= 1 << (c.clause & 63);
    seen[at].1 == u64::MAX
}

/// Marks all that the subtable looks at, but of the L4 ports only the bits that show that no rule has
/// these ports. Ports bits already marked by others stay.
fn fold_ports(wc: &mut Mask, stages: &[Stage], ports: &PortsTrie, flow: &Flow) {
    let field = PrefixField::ports();
    let mut value = field.value(flow);
    value[0] &= ports.mask;
    let (_, bits) = ports.trie.lookup(&value, 32);
    let keep = ports.mask & u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
    let (src, dst) = (wc.0.tp_src, wc.0.tp_dst);
    for s in stages {
        s.fold_into(wc);
    }
    let [s0, s1, d0, d1] = keep.to_be_bytes();
    wc.0.tp_src = (src.get() | u16::from_be_bytes([s0, s1])).into();
    wc.0.tp_dst = (dst.get() | u16::from_be_bytes([d0, d1])).into();
}
