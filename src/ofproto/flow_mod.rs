//! Flow mods: from a message's value to a compact [`PreparedFlowMod`], and from there into a [`Txn`].
//!
//! Preparing checks what needs no tables, so that a message put into a bundle is refused at once, and makes
//! it small: a bundle can hold a million of them.

use crate::event::Requester;
use crate::group::GROUP_ANY;
use crate::rule::{Rule, RuleSpec};
use crate::switch::Ofproto;
use crate::tables::INTERNAL_TABLE;
use crate::txn::{Over, Txn};
use crate::walk::{Criteria, Walk};
use base::clock::Nanos;
use base::log::RateLimit;
use base::sync::Arc;
use classifier::{LATEST, MiniMatch};
use flow::{Match, OfPort};
use openflow::RemovedReason;
use openflow::flow_mod::{ALL_TABLES, NO_BUFFER};
use openflow::{Acts, FlowFlags, FlowMod, FlowModCommand, OfpError};

/// The module's warnings about controllers: 1 a minute, 5 at once, as Open vSwitch has it.
static LOG: RateLimit = RateLimit::new(1, 5);

/// A flow mod that passed the checks that need no tables.
#[derive(Debug, Clone)]
pub struct PreparedFlowMod {
    /// What to do.
    pub command: FlowModCommand,
    matching: MiniMatch,
    actions: Arc<Acts>,
    cookie: u64,
    cookie_mask: u64,
    new_cookie: u64,
    out_group: u32,
    priority: i32,
    out_port: OfPort,
    idle_timeout: u16,
    hard_timeout: u16,
    importance: u16,
    flags: FlowFlags,
    table: u8,
    modify_cookie: bool,
}

/// True when fields that controllers cannot name are left alone.
fn hidden_fields_are_default(m: &Match) -> bool {
    let recirc = m.mask.0.recirc_id.get();
    m.flow.recirc_id.get() == 0
        && (recirc == 0 || recirc == u32::MAX)
        && m.flow.dp_hash.get() | m.mask.0.dp_hash.get() == 0
}

impl Ofproto {
    /// Checks a flow mod as far as that needs no tables, and makes it compact. `priority` overrides the
    /// message's, for the switch's own rules.
    ///
    /// # Errors
    /// What the message is refused for.
    pub fn prepare_flow_mod(
        &mut self,
        fm: FlowMod,
        priority: Option<i32>,
    ) -> Result<PreparedFlowMod, OfpError> {
        let table = match fm.table_id {
            ALL_TABLES if !fm.command.is_delete() && !fm.command.is_modify() => 0,
            t => t,
        };
        if !fm.command.is_delete() {
            let target = if table == ALL_TABLES { 0 } else { table };
            if target == INTERNAL_TABLE && !fm.flags.contains(FlowFlags::NO_READONLY) {
                return Err(OfpError::OFPBRC_EPERM);
            }
            let trusted = fm.flags.contains(FlowFlags::HIDDEN_FIELDS);
            if !trusted && !hidden_fields_are_default(&fm.match_) {
                base::log_rl!(
                    LOG,
                    WARN,
                    "ofproto",
                    "{}: (add_flow) only internal flows can set non-default values to hidden fields",
                    self.name()
                );
                return Err(OfpError::OFPBRC_EPERM);
            }
            crate::tlv::check_lengths(&fm.acts, &self.tun_table)?;
            if fm.buffer_id != NO_BUFFER {
                return Err(OfpError::OFPBRC_BUFFER_UNKNOWN);
            }
        }
        let shelf = self
            .pipeline
            .tables
            .table(if table == ALL_TABLES { 0 } else { table });
        let matching = shelf.rules.compact(&fm.match_.flow, &fm.match_.mask);
        Ok(PreparedFlowMod {
            command: fm.command,
            matching,
            actions: self.interned.share(fm.acts),
            cookie: fm.cookie,
            cookie_mask: fm.cookie_mask,
            new_cookie: fm.new_cookie,
            out_group: fm.out_group,
            priority: priority.unwrap_or_else(|| i32::from(fm.priority)),
            out_port: fm.out_port,
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            importance: fm.importance,
            flags: fm.flags,
            table,
            modify_cookie: fm.modify_cookie,
        })
    }

    /// Applies a flow mod by itself.
    ///
    /// # Errors
    /// What the message is refused for; nothing has changed then.
    pub fn flow_mod(
        &mut self,
        fm: FlowMod,
        by: Option<Requester>,
        now: Nanos,
    ) -> Result<(), OfpError> {
        self.apply_flow_mod((fm, None), by, now)
    }

    /// As [`Ofproto::flow_mod`], for a rule of the switch's own at a priority that controllers cannot use.
    ///
    /// # Errors
    /// What the message is refused for; nothing has changed then.
    pub fn flow_mod_at(
        &mut self,
        fm: FlowMod,
        priority: Option<i32>,
        now: Nanos,
    ) -> Result<(), OfpError> {
        self.apply_flow_mod((fm, priority), None, now)
    }

    fn apply_flow_mod(
        &mut self,
        (fm, priority): (FlowMod, Option<i32>),
        by: Option<Requester>,
        now: Nanos,
    ) -> Result<(), OfpError> {
        let fm = self.prepare_flow_mod(fm, priority)?;
        let mut txn = self.begin(now);
        match self.start_flow_mod(&mut txn, fm, by) {
            Ok(()) => {
                self.commit(txn);
                Ok(())
            }
            Err(e) => {
                self.roll_back(txn);
                Err(e)
            }
        }
    }

    /// As [`Ofproto::start_flow_mod`], but a non-strict deletion is only begun: the rest is to be done by
    /// [`Ofproto::delete_some`].
    ///
    /// # Errors
    /// What the message is refused for; the transaction must then be rolled back.
    pub fn start_flow_mod_slowly(
        &mut self,
        txn: &mut Txn,
        fm: PreparedFlowMod,
        by: Option<Requester>,
    ) -> Result<Option<Walk>, OfpError> {
        let criteria = fm.criteria();
        if fm.command == FlowModCommand::Delete && fm.table != INTERNAL_TABLE {
            txn.step(by, fm.command, fm.flags);
            return Ok(Some(self.walk_by(criteria, LATEST)));
        }
        self.start_flow_mod(txn, fm, by).map(|()| None)
    }

    /// Deletes the next flows of a walk, about `budget` of them. True when there may be more.
    pub fn delete_some(&mut self, txn: &mut Txn, walk: &mut Walk, budget: usize) -> bool {
        let mut found = Vec::new();
        let more = self.step(walk, budget, &mut found);
        for rule in found {
            self.start_remove(txn, rule, RemovedReason::Delete);
        }
        more
    }

    /// Adds the changes of a flow mod to a transaction.
    ///
    /// # Errors
    /// What the message is refused for; the transaction must then be rolled back.
    pub fn start_flow_mod(
        &mut self,
        txn: &mut Txn,
        fm: PreparedFlowMod,
        by: Option<Requester>,
    ) -> Result<(), OfpError> {
        txn.step(by, fm.command, fm.flags);
        match fm.command {
            FlowModCommand::Add => self.start_flow_add(txn, &fm),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.start_modify(txn, &fm),
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                for rule in self.collect(&fm.criteria())? {
                    self.start_remove(txn, rule, RemovedReason::Delete);
                }
                Ok(())
            }
        }
    }

    fn start_flow_add(&mut self, txn: &mut Txn, fm: &PreparedFlowMod) -> Result<(), OfpError> {
        self.check_references(&fm.actions)?;
        let table = if fm.table == ALL_TABLES { 0 } else { fm.table };
        let rules = &self.pipeline.tables.table(table).rules;
        let old = rules.find_exact(&fm.matching, fm.priority, LATEST);
        let over = match old {
            Some(old) => Over::Replaced(old),
            None => {
                if fm.flags.contains(FlowFlags::CHECK_OVERLAP)
                    && rules.overlaps(&fm.matching, fm.priority, LATEST)
                {
                    return Err(OfpError::OFPFMFC_OVERLAP);
                }
                if self.state(table).is_full() {
                    let victim = self.state_mut(table).victim();
                    Over::Evicted(victim.ok_or(OfpError::OFPFMFC_TABLE_FULL)?)
                } else {
                    Over::Nothing
                }
            }
        };
        let spec = fm.spec(table, fm.matching.clone());
        // Adding over a flow takes the new cookie, unless it is the one that means "keep".
        let rule = fm.build(txn, spec, &over, true);
        self.start_add(txn, Arc::new(rule), over);
        Ok(())
    }

    fn start_modify(&mut self, txn: &mut Txn, fm: &PreparedFlowMod) -> Result<(), OfpError> {
        let old = self.collect(&fm.criteria())?;
        if old.is_empty() {
            // A modification that names no cookie adds the flow when there is none.
            if fm.new_cookie != u64::MAX && fm.cookie_mask == 0 {
                return self.start_flow_add(txn, fm);
            }
            return Ok(());
        }
        self.check_references(&fm.actions)?;
        for old in old {
            let spec = fm.spec(old.table, old.matching().clone());
            let spec = RuleSpec {
                priority: old.priority(),
                ..spec
            };
            let over = Over::Replaced(old);
            let rule = fm.build(txn, spec, &over, fm.modify_cookie);
            self.start_add(txn, Arc::new(rule), over);
        }
        Ok(())
    }

    /// The rules that `criteria` means, in the version being prepared.
    ///
    /// # Errors
    /// `OFPBRC_BAD_TABLE_ID`; `OFPBRC_EPERM` when all of them are read-only.
    pub(crate) fn collect(&mut self, criteria: &Criteria) -> Result<Vec<Arc<Rule>>, OfpError> {
        let found = match criteria.strict {
            Some(priority) => self.collect_strict(criteria, priority),
            None => self.collect_loose(criteria),
        };
        let mut readonly = false;
        let keep = |r: &Arc<Rule>| {
            let ok = criteria.readonly_too || r.table != INTERNAL_TABLE;
            readonly |= !ok;
            ok
        };
        let found: Vec<_> = found.into_iter().filter(keep).collect();
        if found.is_empty() && readonly {
            return Err(OfpError::OFPBRC_EPERM);
        }
        Ok(found)
    }

    fn collect_strict(&self, criteria: &Criteria, priority: i32) -> Vec<Arc<Rule>> {
        criteria
            .tables()
            .filter_map(|t| {
                let rules = &self.pipeline.tables.table(t).rules;
                rules.find_exact(&criteria.matching, priority, LATEST)
            })
            .filter(|r| criteria.admits(r))
            .collect()
    }

    fn collect_loose(&mut self, criteria: &Criteria) -> Vec<Arc<Rule>> {
        let mut walk = self.walk_by(criteria.clone(), LATEST);
        let mut out = Vec::new();
        while self.step(&mut walk, usize::MAX, &mut out) {}
        out
    }

    /// Flows of a table that have this cookie.
    pub(crate) fn with_cookie(&mut self, table: u8, cookie: u64) -> Vec<Arc<Rule>> {
        let mut found = self.by_cookie(cookie);
        found.retain(|r| r.table == table && !r.is_hidden() && r.table != INTERNAL_TABLE);
        found
    }
}

impl PreparedFlowMod {
    fn criteria(&self) -> Criteria {
        let deletes = self.command.is_delete();
        Criteria {
            table: self.table,
            matching: self.matching.clone(),
            strict: self.command.is_strict().then_some(self.priority),
            cookie: self.cookie,
            cookie_mask: self.cookie_mask,
            out_port: if deletes { self.out_port } else { OfPort::NONE },
            out_group: if deletes { self.out_group } else { GROUP_ANY },
            readonly_too: self.flags.contains(FlowFlags::NO_READONLY),
        }
    }

    fn spec(&self, table: u8, matching: MiniMatch) -> RuleSpec {
        RuleSpec {
            table,
            matching,
            priority: self.priority,
            cookie: self.new_cookie,
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            importance: self.importance,
            flags: self.flags,
            actions: Arc::clone(&self.actions),
        }
    }

    /// The rule for `spec`, with what it keeps of a rule that it replaces.
    fn build(&self, txn: &Txn, mut spec: RuleSpec, over: &Over, modify_cookie: bool) -> Rule {
        let Over::Replaced(old) = over else {
            return Rule::new(spec, txn.version, txn.now);
        };
        if !modify_cookie || self.new_cookie == u64::MAX {
            spec.cookie = old.cookie;
        }
        if self.command == FlowModCommand::Add {
            let mut rule = Rule::new(spec, txn.version, txn.now);
            rule.set_used(old.used());
            return rule;
        }
        spec.idle_timeout = old.idle_timeout();
        spec.hard_timeout = old.hard_timeout();
        spec.importance = old.importance;
        spec.flags = old.flags;
        let mut rule = Rule::new(spec, txn.version, txn.now);
        rule.set_created(old.created);
        rule.set_used(old.used());
        rule
    }
}
