//! [`Txn`]: changes that become visible together, or not at all.
//!
//! A change is prepared in three steps. *Start*: rules are put into the tables, or marked as leaving them,
//! as of the next version, where only the writer sees that; the writer's books are brought up to date, so
//! that later changes of the transaction build on earlier ones. *Commit*: the version is published, counts
//! move from replaced rules to their successors, and controllers are told. Or *roll back*: everything is
//! undone in reverse order.

use crate::acts;
use crate::event::{Event, FlowChange, RemovedReason, Requester};
use crate::group::Group;
use crate::rule::{NEWS_ADDED, NEWS_MODIFIED, Rule};
use crate::switch::Ofproto;
use base::clock::Nanos;
use base::sync::Arc;
use classifier::{Ruled, Version};
use openflow::{FlowFlags, FlowModCommand};

/// What a new rule came over.
#[derive(Debug)]
pub(crate) enum Over {
    Nothing,
    /// One with the same match and priority.
    Replaced(Arc<Rule>),
    /// One that made room.
    Evicted(Arc<Rule>),
}

/// One change that can be undone.
#[derive(Debug)]
pub(crate) enum Op {
    Add {
        new: Arc<Rule>,
        over: Over,
    },
    Remove {
        rule: Arc<Rule>,
        reason: RemovedReason,
    },
    GroupAdd(Arc<Group>),
    GroupRemove(Arc<Group>),
}

/// What the changes of one message have in common.
#[derive(Debug, Clone, Copy)]
struct Step {
    first_op: usize,
    by: Option<Requester>,
    /// A replaced rule's counts live on.
    keep_counts: bool,
    /// The message adds flows, rather than modifies them.
    adds: bool,
}

/// See the file's essay. To be given to [`Ofproto::commit`] or [`Ofproto::roll_back`].
#[derive(Debug)]
#[must_use]
pub struct Txn {
    pub(crate) version: Version,
    pub(crate) now: Nanos,
    ops: Vec<Op>,
    steps: Vec<Step>,
}

impl Txn {
    /// The version at which its changes will be visible. A lookup at this version sees what was started so
    /// far.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Begins the changes of one message.
    pub(crate) fn step(
        &mut self,
        by: Option<Requester>,
        command: FlowModCommand,
        flags: FlowFlags,
    ) {
        self.steps.push(Step {
            first_op: self.ops.len(),
            by,
            keep_counts: !flags.contains(FlowFlags::RESET_COUNTS),
            adds: command == FlowModCommand::Add,
        });
    }
}

impl Ofproto {
    /// Begins a transaction. One at a time.
    pub fn begin(&mut self, now: Nanos) -> Txn {
        Txn {
            version: self.pipeline.tables.version() + 1,
            now,
            ops: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Puts a rule into the tables as of the transaction's version.
    pub(crate) fn start_add(&mut self, txn: &mut Txn, new: Arc<Rule>, over: Over) {
        match &over {
            Over::Nothing => self.state_mut(new.table).n_flows += 1,
            Over::Replaced(old) | Over::Evicted(old) => {
                old.key().remove_in(txn.version);
                self.leave_books(old);
            }
        }
        self.enter_books(&new);
        let table = self.pipeline.tables.table(new.table);
        table.rules.insert(Arc::clone(&new));
        txn.ops.push(Op::Add { new, over });
    }

    /// Marks a rule as leaving the tables as of the transaction's version.
    pub(crate) fn start_remove(&mut self, txn: &mut Txn, rule: Arc<Rule>, reason: RemovedReason) {
        self.state_mut(rule.table).n_flows -= 1;
        rule.key().remove_in(txn.version);
        self.leave_books(&rule);
        txn.ops.push(Op::Remove { rule, reason });
    }

    pub(crate) fn start_group_add(&mut self, txn: &mut Txn, group: Arc<Group>) {
        self.pipeline.groups.insert(Arc::clone(&group));
        txn.ops.push(Op::GroupAdd(group));
    }

    pub(crate) fn start_group_remove(&mut self, txn: &mut Txn, group: Arc<Group>) {
        group.remove_in(txn.version);
        txn.ops.push(Op::GroupRemove(group));
    }

    /// Undoes a transaction. No reader has seen any of it.
    pub fn roll_back(&mut self, txn: Txn) {
        for op in txn.ops.into_iter().rev() {
            match op {
                Op::Add { new, over } => {
                    self.pipeline.tables.table(new.table).rules.remove(&new);
                    self.leave_books(&new);
                    match over {
                        Over::Nothing => self.state_mut(new.table).n_flows -= 1,
                        Over::Replaced(old) | Over::Evicted(old) => {
                            old.key().restore();
                            self.enter_books(&old);
                        }
                    }
                }
                Op::Remove { rule, .. } => {
                    self.state_mut(rule.table).n_flows += 1;
                    rule.key().restore();
                    self.enter_books(&rule);
                }
                Op::GroupAdd(group) => self.pipeline.groups.remove(&group),
                Op::GroupRemove(group) => group.restore(),
            }
        }
    }

    /// Publishes a transaction and announces it.
    pub fn commit(&mut self, txn: Txn) {
        let mut dead = Vec::new();
        let now = txn.now;
        self.publish(txn, &mut dead);
        // Flows learned on behalf of flows that are gone. They may have learned others.
        while let Some((cookie, table)) = dead.pop() {
            let mut txn = self.begin(now);
            for rule in self.with_cookie(table, cookie) {
                self.start_remove(&mut txn, rule, RemovedReason::Delete);
            }
            self.publish(txn, &mut dead);
        }
    }

    fn publish(&mut self, txn: Txn, dead: &mut Vec<(u64, u8)>) {
        if txn.ops.is_empty() {
            return;
        }
        let pin = self.pipeline.tables.publish(txn.version);
        let mut steps = txn.steps.into_iter().peekable();
        let mut step = None;
        let (mut rules, mut groups) = (Vec::new(), Vec::new());
        for (i, op) in txn.ops.into_iter().enumerate() {
            while let Some(s) = steps.next_if(|s| s.first_op <= i) {
                step = Some(s);
            }
            match op {
                Op::Add { new, over } => {
                    self.learned.enter(&new);
                    rules.extend(self.finish_add(&new, over, step.as_ref(), dead));
                    self.changes.add_rule(new);
                }
                Op::Remove { rule, reason } => {
                    let by = step.and_then(|s| s.by);
                    self.learned.leave(&rule, dead);
                    self.tell(&rule, FlowChange::Removed(reason), by);
                    self.tell_vacancy(rule.table);
                    self.changes.remove_rule(Arc::clone(&rule));
                    rules.push(rule);
                }
                Op::GroupAdd(group) => self.changes.groups.push(group.id),
                Op::GroupRemove(group) => {
                    self.changes.groups.push(group.id);
                    groups.push(group);
                }
            }
        }
        self.leave_later(pin, rules, groups);
    }

    /// Links a new rule to the one it came over, which is given back, and announces it.
    fn finish_add(
        &mut self,
        new: &Arc<Rule>,
        over: Over,
        step: Option<&Step>,
        dead: &mut Vec<(u64, u8)>,
    ) -> Option<Arc<Rule>> {
        let by = step.and_then(|s| s.by);
        let (old, replaced) = match over {
            Over::Nothing => {
                self.tell(new, FlowChange::Added, by);
                new.set_news(NEWS_ADDED);
                self.tell_vacancy(new.table);
                return None;
            }
            Over::Replaced(old) => (old, true),
            Over::Evicted(old) => (old, false),
        };
        self.learned.leave(&old, dead);
        if replaced {
            old.succeed_by(new, step.is_none_or(|s| s.keep_counts));
            let changed = old.actions != new.actions;
            if step.is_none_or(|s| s.adds) {
                self.tell(new, FlowChange::Added, by);
                new.set_news(NEWS_ADDED);
            } else if changed || old.cookie != new.cookie {
                let before = changed.then(|| Arc::clone(&old.actions));
                self.tell(new, FlowChange::Modified(before), by);
                new.set_news(NEWS_MODIFIED);
            }
        } else {
            self.tell(&old, FlowChange::Removed(RemovedReason::Eviction), by);
        }
        self.changes.remove_rule(Arc::clone(&old));
        Some(old)
    }

    fn tell(&mut self, rule: &Arc<Rule>, change: FlowChange, by: Option<Requester>) {
        let removed = matches!(change, FlowChange::Removed(_))
            && rule.flags.contains(FlowFlags::SEND_FLOW_REM);
        if (self.watched || removed) && !rule.is_hidden() {
            self.events.push(Event::Flow {
                rule: Arc::clone(rule),
                change,
                by,
            });
        }
    }

    fn tell_vacancy(&mut self, table: u8) {
        if let Some(reason) = self.state_mut(table).take_vacancy_event() {
            self.events.push(Event::Vacancy { table, reason });
        }
    }

    /// Checks that the groups and meters that actions use exist.
    pub(crate) fn check_references(
        &self,
        acts: &[openflow::Act],
    ) -> Result<(), openflow::OfpError> {
        let mut verdict = Ok(());
        acts::each(acts, &mut |a| {
            let missing = match a {
                openflow::Act::Meter(id) if !self.meter_exists(*id) => {
                    openflow::OfpError::OFPMMFC_INVALID_METER
                }
                openflow::Act::Group(id) if self.group(*id).is_none() => {
                    openflow::OfpError::OFPBAC_BAD_OUT_GROUP
                }
                _ => return,
            };
            if verdict.is_ok() {
                verdict = Err(missing);
            }
        });
        verdict
    }
}
