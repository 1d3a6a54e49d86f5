//! Which rule makes room when a table is full.
//!
//! Rules with timeouts form groups by the values of chosen fields. The victim comes from the largest group
//! (so that no group crowds out others), and there it is the rule of lowest importance that would expire
//! first. As in [`crate::expiry`], a rule that was used meanwhile is put back when its turn comes.

use crate::expiry::deadline;
use crate::rule::{Rule, RuleId};
use base::hash;
use base::sync::Arc;
use flow::Subfield;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Importance and expiry (ms): lower goes first.
type Rank = (u16, u64);

/// See the file's essay.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    fields: Vec<Subfield>,
    groups: HashMap<u64, BTreeMap<(Rank, RuleId), Arc<Rule>>, ahash::RandomState>,
    by_size: BTreeSet<(usize, u64)>,
    places: HashMap<RuleId, (u64, Rank), ahash::RandomState>,
}

fn rank(rule: &Rule) -> Option<Rank> {
    deadline(rule).map(|at| (rule.importance, at.millis()))
}

impl Eviction {
    pub(crate) fn new(fields: Vec<Subfield>) -> Self {
        Self {
            fields,
            ..Self::default()
        }
    }

    fn group_of(&self, rule: &Rule) -> u64 {
        let (flow, _) = rule.matching().expand();
        let mut h = hash::process_seed();
        for f in &self.fields {
            if f.field.info().prereqs.ok(&flow, None, None) {
                for b in &f.read(&flow, None) {
                    h = hash::mix(h, u64::from(*b));
                }
            } else {
                h = hash::mix(h, 0x100);
            }
        }
        hash::finish(h)
    }

    fn resize(&mut self, group: u64, from: usize, to: usize) {
        self.by_size.remove(&(from, group));
        if to > 0 {
            self.by_size.insert((to, group));
        } else {
            self.groups.remove(&group);
        }
    }

    pub(crate) fn enter(&mut self, rule: &Arc<Rule>) {
        let Some(rank) = rank(rule) else { return };
        let group = self.group_of(rule);
        let members = self.groups.entry(group).or_default();
        members.insert((rank, rule.id), Arc::clone(rule));
        let n = members.len();
        self.places.insert(rule.id, (group, rank));
        self.resize(group, n - 1, n);
    }

    pub(crate) fn leave(&mut self, rule: &Rule) {
        let Some((group, rank)) = self.places.remove(&rule.id) else {
            return;
        };
        let Some(members) = self.groups.get_mut(&group) else {
            return;
        };
        members.remove(&(rank, rule.id));
        let n = members.len();
        self.resize(group, n + 1, n);
    }

    /// The rule that should make room. It stays here until it is removed.
    pub(crate) fn victim(&mut self) -> Option<Arc<Rule>> {
        let group = self.by_size.last()?.1;
        loop {
            let ((old, _), rule) = self.groups.get(&group)?.first_key_value()?;
            let (old, rule) = (*old, Arc::clone(rule));
            match rank(&rule) {
                Some(now) if now != old => {
                    self.leave(&rule);
                    self.enter(&rule);
                }
                _ => return Some(rule),
            }
        }
    }
}
