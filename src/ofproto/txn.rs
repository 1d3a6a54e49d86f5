//! [`Txn`]: changes that become visible together, or not at all.
//!
//! A change is prepared in three steps. *Start*: rules are put into the tables, or marked as leaving them,
//! as of the next version, where only the writer sees that; the writer's books are brought up to date, so
//! that later changes of the transaction build on earlier ones. *Commit*: the version is published, counts
//! move from replaced rules to their successors, and controllers are told. Or *roll back*: everything is
//! undone in reverse order.
//!
//! A long transaction may be worked on in pieces, so that its thread can do other things in between:
//! [`Ofproto::publish`] and then [`Ofproto::finish`] until it is done, or [`Ofproto::undo`] until it is done.
//! Meanwhile the [`Ofproto`] takes no other change ([`Ofproto::is_busy`]).

use crate::acts;
use crate::event::{Event, FlowChange, Requester};
use crate::group::Group;
use crate::rule::{NEWS_ADDED, NEWS_MODIFIED, Rule};
use crate::switch::Ofproto;
use crate::tables::Pin;
use base::clock::Nanos;
use base::sync::Arc;
use classifier::{Ruled, Version};
use openflow::RemovedReason;
use openflow::{FlowFlags, FlowModCommand};
use std::collections::VecDeque;

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
    ops: VecDeque<Op>,
    /// Changes finished so far.
    done: usize,
    steps: VecDeque<Step>,
    /// The step that the next change to finish belongs to.
    step: Option<Step>,
    /// The version before, once this one is published.
    pin: Option<Pin>,
    left: Vec<Arc<Rule>>,
    left_groups: Vec<Arc<Group>>,
    /// Learned cookies without a teacher.
    dead: Vec<(u64, u8)>,
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
        self.steps.push_back(Step {
            first_op: self.ops.len(),
            by,
            keep_counts: !flags.contains(FlowFlags::RESET_COUNTS),
            adds: command == FlowModCommand::Add,
        });
    }
}

impl Ofproto {
    /// Begins a transaction. Only one can be under way.
    pub fn begin(&mut self, now: Nanos) -> Txn {
        debug_assert!(!self.busy, "one transaction at a time");
        self.busy = true;
        Txn {
            version: self.pipeline.tables.version() + 1,
            now,
            ops: VecDeque::new(),
            done: 0,
            steps: VecDeque::new(),
            step: None,
            pin: None,
            left: Vec::new(),
            left_groups: Vec::new(),
            dead: Vec::new(),
        }
    }

    /// True while a transaction is under way: nothing else may change the tables.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy
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
        txn.ops.push_back(Op::Add { new, over });
    }

    /// Marks a rule as leaving the tables as of the transaction's version.
    pub(crate) fn start_remove(&mut self, txn: &mut Txn, rule: Arc<Rule>, reason: RemovedReason) {
        self.state_mut(rule.table).n_flows -= 1;
        rule.key().remove_in(txn.version);
        self.leave_books(&rule);
        txn.ops.push_back(Op::Remove { rule, reason });
    }

    pub(crate) fn start_group_add(&mut self, txn: &mut Txn, group: Arc<Group>) {
        self.pipeline.groups.insert(Arc::clone(&group));
        txn.ops.push_back(Op::GroupAdd(group));
    }

    pub(crate) fn start_group_remove(&mut self, txn: &mut Txn, group: Arc<Group>) {
        group.remove_in(txn.version);
        txn.ops.push_back(Op::GroupRemove(group));
    }

    /// Undoes a transaction. No reader has seen any of it.
    pub fn roll_back(&mut self, mut txn: Txn) {
        while self.undo(&mut txn, usize::MAX) {}
    }

    /// Undoes at most `budget` changes of a transaction that was not published. True when there are more.
    pub fn undo(&mut self, txn: &mut Txn, budget: usize) -> bool {
        for _ in 0..budget {
            match txn.ops.pop_back() {
                Some(op) => self.undo_op(op),
                None => {
                    self.busy = false;
                    self.learn_pending(txn.now);
                    return false;
                }
            }
        }
        true
    }

    fn undo_op(&mut self, op: Op) {
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

    /// Publishes a transaction and announces it.
    pub fn commit(&mut self, mut txn: Txn) {
        self.publish(&mut txn);
        while self.finish(&mut txn, usize::MAX) {}
    }

    /// Makes a transaction's changes visible, all at once.
    pub fn publish(&mut self, txn: &mut Txn) {
        if !txn.ops.is_empty() {
            txn.pin = Some(self.pipeline.tables.publish(txn.version));
        }
    }

    /// Announces at most `budget` changes of a published transaction. True when there are more.
    pub fn finish(&mut self, txn: &mut Txn, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(op) = txn.ops.pop_front() else {
                return self.finish_off(txn);
            };
            while let Some(s) = txn.steps.pop_front_if(|s| s.first_op <= txn.done) {
                txn.step = Some(s);
            }
            txn.done += 1;
            self.finish_op(txn, op);
        }
        true
    }

    /// All changes are announced: leaves the old version, and begins anew for flows that were learned on
    /// behalf of flows that are gone.
    fn finish_off(&mut self, txn: &mut Txn) -> bool {
        if let Some(pin) = txn.pin.take() {
            let rules = std::mem::take(&mut txn.left);
            let groups = std::mem::take(&mut txn.left_groups);
            self.leave_later(pin, rules, groups);
        }
        self.busy = false;
        let dead = std::mem::take(&mut txn.dead);
        if dead.is_empty() {
            self.learn_pending(txn.now);
            return false;
        }
        *txn = self.begin(txn.now);
        for (cookie, table) in dead {
            for rule in self.with_cookie(table, cookie) {
                self.start_remove(txn, rule, RemovedReason::Delete);
            }
        }
        self.publish(txn);
        true
    }

    fn finish_op(&mut self, txn: &mut Txn, op: Op) {
        match op {
            Op::Add { new, over } => {
                self.learned.enter(&new);
                let old = self.finish_add(&new, over, txn.step.as_ref(), &mut txn.dead);
                txn.left.extend(old);
                self.changes.add_rule(new);
            }
            Op::Remove { rule, reason } => {
                let by = txn.step.and_then(|s| s.by);
                self.learned.leave(&rule, &mut txn.dead);
                self.tell(&rule, FlowChange::Removed(reason), by);
                self.tell_vacancy(rule.table);
                self.changes.remove_rule(Arc::clone(&rule));
                txn.left.push(rule);
            }
            Op::GroupAdd(group) => self.changes.groups.push(group.id),
            Op::GroupRemove(group) => {
                self.changes.groups.push(group.id);
                txn.left_groups.push(group);
            }
        }
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
    ///
    /// # Errors
    /// That of the first one that does not.
    pub fn check_references(&self, acts: &[openflow::Act]) -> Result<(), openflow::OfpError> {
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
