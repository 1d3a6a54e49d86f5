//! [`Ofproto`]: the writer of a bridge's OpenFlow state.
//!
//! Owned by one thread at a time. Every change prepares the next version and publishes it; what was removed
//! is kept in the tables until no reader is left that could look for it.

use crate::Pipeline;
use crate::group::{Bucket, Group, GroupType, SelectionConfig};
use crate::rule::{Rule, RuleSpec};
use crate::tables::{Pin, TableMiss};
use base::clock::Nanos;
use base::sync::Arc;
use classifier::Version;
use std::collections::VecDeque;

/// What changed with one version, for whoever keeps conclusions drawn from it.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Rules that are new.
    pub added: Vec<Arc<Rule>>,
    /// Rules that are gone, the replaced ones included.
    pub removed: Vec<Arc<Rule>>,
    /// Numbers of groups that were added, changed or removed.
    pub groups: Vec<u32>,
    /// Numbers of meters that were added, changed or removed.
    pub meters: Vec<u32>,
    /// Something else changed that translation looks at (table configuration).
    pub other: bool,
}

impl Changes {
    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.groups.is_empty()
            && self.meters.is_empty()
            && !self.other
    }
}

/// What left the tables with one version, still to be swept out of them.
#[derive(Debug)]
struct Leaving {
    /// The version before; readers of it may still look.
    pin: Pin,
    rules: Vec<Arc<Rule>>,
    groups: Vec<Arc<Group>>,
}

/// See the file's essay.
#[derive(Debug)]
pub struct Ofproto {
    name: String,
    pipeline: Arc<Pipeline>,
    changes: Changes,
    leaving: VecDeque<Leaving>,
}

impl Ofproto {
    /// A switch without flows.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pipeline: Arc::default(),
            changes: Changes::default(),
            leaving: VecDeque::new(),
        }
    }

    /// The bridge's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What readers share.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Takes what changed since the last call. All of it is published already.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    fn next_version(&self) -> Version {
        self.pipeline.tables.version() + 1
    }

    /// Puts a rule into its table, in the place of one with the same match and priority if there is one.
    /// For the switch's own rules: nothing is checked, and controllers are not told.
    pub fn install(&mut self, spec: RuleSpec, now: Nanos) -> Arc<Rule> {
        let version = self.next_version();
        let table = self.pipeline.tables.table(spec.table);
        let old = table
            .rules
            .find_exact(&spec.matching, spec.priority, version);
        let rule = Arc::new(Rule::new(spec, version, now));
        table.rules.insert(Arc::clone(&rule));
        self.publish(version, &[Arc::clone(&rule)], &Vec::from_iter(old));
        rule
    }

    /// Removes a rule. False when it was gone already.
    pub fn uninstall(&mut self, rule: &Arc<Rule>) -> bool {
        use classifier::Ruled;
        if rule.key().is_leaving() {
            return false;
        }
        let version = self.next_version();
        self.publish(version, &[], &[Arc::clone(rule)]);
        true
    }

    /// Puts a group into the bridge, in the place of the one of the same number. Nothing is checked.
    pub fn install_group(
        &mut self,
        id: u32,
        kind: GroupType,
        buckets: Vec<Bucket>,
        config: SelectionConfig,
    ) -> Arc<Group> {
        let version = self.next_version();
        let old = self.pipeline.groups.lookup(id, version);
        let group = Group::new(id, kind, buckets, config, (version, Nanos::ZERO));
        let group = Arc::new(group);
        self.pipeline.groups.insert(Arc::clone(&group));
        self.changes.groups.push(id);
        if let Some(g) = &old {
            g.remove_in(version);
        }
        self.publish(version, &[], &[]);
        if let (Some(g), Some(l)) = (old, self.leaving.back_mut()) {
            l.groups.push(g);
        }
        group
    }

    /// Says what a table does with packets that match no rule of it.
    pub fn set_table_miss(&mut self, table: u8, miss: TableMiss) {
        self.pipeline.tables.table(table).set_miss(miss);
        self.changes.other = true;
    }

    fn publish(&mut self, version: Version, added: &[Arc<Rule>], removed: &[Arc<Rule>]) {
        use classifier::Ruled;
        for rule in removed {
            rule.key().remove_in(version);
        }
        let pin = self.pipeline.tables.publish(version);
        self.changes.added.extend_from_slice(added);
        self.changes.removed.extend_from_slice(removed);
        self.leaving.push_back(Leaving {
            pin,
            rules: removed.to_vec(),
            groups: Vec::new(),
        });
        self.sweep(usize::MAX);
    }

    /// Drops from the tables what no reader can look for any more, at most `budget` rules. True when there
    /// may be more to do.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while let Some(front) = self.leaving.front_mut() {
            if !front.pin.is_last() {
                return true;
            }
            while let Some(rule) = front.rules.pop() {
                self.pipeline.tables.table(rule.table).rules.remove(&rule);
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
            for group in front.groups.drain(..) {
                self.pipeline.groups.remove(&group);
            }
            self.leaving.pop_front();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RuleFlags;
    use classifier::MiniMatch;
    use flow::Flow;
    use openflow::Acts;

    fn spec(priority: i32) -> RuleSpec {
        RuleSpec {
            table: 3,
            matching: MiniMatch::catchall(),
            priority,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: RuleFlags::default(),
            actions: Arc::new(Acts::new()),
        }
    }

    #[test]
    fn a_pinned_reader_keeps_its_view() {
        let mut of = Ofproto::new("br0");
        let pipeline = Arc::clone(of.pipeline());
        let a = of.install(spec(1), Nanos(1));
        let pin = pipeline.tables.pin();
        let b = of.install(spec(1), Nanos(2));
        let at = |v| {
            pipeline
                .tables
                .lookup(3, v, &Flow::zero(), None)
                .map(|r| r.id)
        };
        assert_eq!(at(pin.version()), Some(a.id));
        assert_eq!(at(pipeline.tables.version()), Some(b.id));
        assert!(of.sweep(usize::MAX));
        drop(pin);
        assert!(!of.sweep(usize::MAX));
        assert_eq!(pipeline.tables.table(3).rules.len(), 1);
        assert!(of.uninstall(&b) && !of.uninstall(&b));
        assert_eq!(at(pipeline.tables.version()), None);
        let changes = of.take_changes();
        assert_eq!((changes.added.len(), changes.removed.len()), (2, 2));
    }
}
