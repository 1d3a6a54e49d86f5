//! [`Ofproto`]: the writer of a bridge's OpenFlow state.
//!
//! Owned by one thread at a time. Every change goes through a [`crate::Txn`] that prepares the next version
//! and publishes it. What was removed is kept in the tables until no reader is left that could look for it,
//! then swept out in bounded steps.

use crate::Pipeline;
use crate::books::{Books, Learned};
use crate::event::Event;
use crate::group::{Bucket, Group, GroupType, SelectionConfig};
use crate::own::OwnRules;
use crate::ports::Ports;
use crate::rule::{Rule, RuleSpec};
use crate::settings::Settings;
use crate::table_state::{NameLevel, TableSettings, TableState};
use crate::tables::{N_TABLES, Pin, TableMiss};
use crate::txn::Over;
use base::clock::Nanos;
use base::sync::Arc;
use classifier::{LATEST, Ruled, default_prefixes};
use flow::TunTable;
use openflow::RemovedReason;
use openflow::{Acts, FlowMod};
use std::collections::VecDeque;

/// Changed rules that [`Changes`] names one by one; beyond that it says "much".
pub const CHANGES_MAX: usize = 65_536;
/// Recent lists of actions that new flows may share.
const INTERNED_MAX: usize = 8;

/// What changed since the last look, for whoever keeps conclusions drawn from it.
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
    /// So much changed, or something else (table configuration), that everything must be looked at again.
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

    pub(crate) fn add_rule(&mut self, rule: Arc<Rule>) {
        if self.has_room() {
            self.added.push(rule);
        }
    }

    pub(crate) fn remove_rule(&mut self, rule: Arc<Rule>) {
        if self.has_room() {
            self.removed.push(rule);
        }
    }

    fn has_room(&mut self) -> bool {
        if self.other {
            return false;
        }
        if self.added.len() + self.removed.len() >= CHANGES_MAX {
            (self.added, self.removed) = (Vec::new(), Vec::new());
            self.other = true;
            return false;
        }
        true
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

/// Lists of actions that were seen last: flows that do the same share one list.
#[derive(Debug, Default)]
pub(crate) struct Interned(VecDeque<Arc<Acts>>);

impl Interned {
    pub(crate) fn share(&mut self, mut acts: Acts) -> Arc<Acts> {
        if let Some(known) = self.0.iter().find(|k| ***k == acts) {
            return Arc::clone(known);
        }
        acts.shrink_to_fit();
        let new = Arc::new(acts);
        self.0.truncate(INTERNED_MAX - 1);
        self.0.push_front(Arc::clone(&new));
        new
    }
}

/// See the file's essay.
#[derive(Debug)]
pub struct Ofproto {
    name: String,
    pub(crate) pipeline: Arc<Pipeline>,
    states: Vec<TableState>,
    pub(crate) settings: Settings,
    pub(crate) tun_table: Arc<TunTable>,
    pub(crate) ports: Ports,
    pub(crate) books: Books,
    pub(crate) learned: Learned,
    pub(crate) interned: Interned,
    pub(crate) changes: Changes,
    pub(crate) events: Vec<Event>,
    /// Somebody watches every flow (a flow monitor).
    pub(crate) watched: bool,
    /// A transaction is under way.
    pub(crate) busy: bool,
    /// The switch's own flows in table 0.
    pub(crate) hidden: u32,
    /// Learned flows that wait for it to end, each with its limit.
    pub(crate) to_learn: Vec<(FlowMod, u32)>,
    leaving: VecDeque<Leaving>,
}

impl Ofproto {
    /// A switch without flows.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pipeline: Arc::default(),
            states: (0..N_TABLES).map(TableState::new).collect(),
            settings: Settings::default(),
            tun_table: Arc::default(),
            ports: Ports::default(),
            books: Books::default(),
            learned: Learned::default(),
            interned: Interned::default(),
            changes: Changes::default(),
            events: Vec::new(),
            watched: false,
            busy: false,
            hidden: 0,
            to_learn: Vec::new(),
            leaving: VecDeque::new(),
        }
    }

    /// Says when the bridge was made.
    pub fn set_created(&mut self, now: Nanos) {
        self.pipeline.own.store(Arc::new(OwnRules::new(now)));
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

    /// The writer's view of a table.
    #[must_use]
    pub fn state(&self, table: u8) -> &TableState {
        &self.states[usize::from(table.min(N_TABLES - 1))]
    }

    pub(crate) fn state_mut(&mut self, table: u8) -> &mut TableState {
        &mut self.states[usize::from(table.min(N_TABLES - 1))]
    }

    /// Takes what changed since the last call. All of it is published already.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Takes what controllers may want to be told.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Says whether every change of a flow is to become an event, or only those that flows ask for.
    pub fn watch_flows(&mut self, on: bool) {
        self.watched = on;
    }

    pub(crate) fn enter_books(&mut self, rule: &Arc<Rule>) {
        self.hidden += u32::from(rule.is_hidden() && rule.table == 0);
        self.books.enter(rule);
        self.state_mut(rule.table).enter(rule);
    }

    pub(crate) fn leave_books(&mut self, rule: &Rule) {
        self.hidden -= u32::from(rule.is_hidden() && rule.table == 0);
        self.books.leave(rule);
        self.state_mut(rule.table).leave(rule);
    }

    /// Flows with this cookie, in all tables.
    pub(crate) fn by_cookie(&mut self, cookie: u64) -> Vec<Arc<Rule>> {
        let tables = &self.pipeline.tables;
        let index = self.books.cookies.get_or_insert_with(|| {
            let all = tables
                .iter()
                .flat_map(|(_, t)| t.rules.collect(None, LATEST));
            all.map(|r| ((r.cookie, r.id), r)).collect()
        });
        let (first, last) = (crate::RuleId(0), crate::RuleId(u64::MAX));
        index
            .range((cookie, first)..=(cookie, last))
            .map(|(_, r)| Arc::clone(r))
            .collect()
    }

    /// The group of this number in the version being prepared.
    #[must_use]
    pub fn group(&self, id: u32) -> Option<Arc<Group>> {
        self.pipeline.groups.lookup(id, LATEST)
    }

    /// Puts a rule into its table, in the place of one with the same match and priority if there is one.
    /// For the switch's own rules: nothing is checked.
    pub fn install(&mut self, spec: RuleSpec, now: Nanos) -> Arc<Rule> {
        let mut txn = self.begin(now);
        let table = self.pipeline.tables.table(spec.table);
        let old = table
            .rules
            .find_exact(&spec.matching, spec.priority, LATEST);
        let rule = Arc::new(Rule::new(spec, txn.version(), now));
        let over = old.map_or(Over::Nothing, Over::Replaced);
        self.start_add(&mut txn, Arc::clone(&rule), over);
        self.commit(txn);
        rule
    }

    /// Removes a rule. False when it was gone already.
    pub fn uninstall(&mut self, rule: &Arc<Rule>, now: Nanos) -> bool {
        if rule.key().is_leaving() {
            return false;
        }
        let mut txn = self.begin(now);
        self.start_remove(&mut txn, Arc::clone(rule), RemovedReason::Delete);
        self.commit(txn);
        true
    }

    /// Removes all flows that controllers can see.
    pub fn flush(&mut self, now: Nanos) {
        let mut txn = self.begin(now);
        for t in 0..N_TABLES {
            for rule in self.pipeline.tables.table(t).rules.collect(None, LATEST) {
                if !rule.is_hidden() && !self.state(t).internal {
                    self.start_remove(&mut txn, rule, RemovedReason::Delete);
                }
            }
        }
        self.commit(txn);
    }

    /// Says what a table does with packets that match no rule of it.
    pub fn set_table_miss(&mut self, table: u8, miss: TableMiss) {
        self.pipeline.tables.table(table).set_miss(miss);
        self.changes.other = true;
    }

    /// Applies the configuration of a table. Lowering the limit below the number of flows evicts, when
    /// eviction is on.
    pub fn configure_table(&mut self, table: u8, settings: &TableSettings, now: Nanos) {
        let shelf = self.pipeline.tables.table(table);
        shelf.rules.set_prefixes(&settings.prefixes);
        let pipeline = Arc::clone(&self.pipeline);
        let state = self.state_mut(table);
        state.set_name(settings.name.as_deref(), NameLevel::Config);
        if state.internal {
            return;
        }
        state.evict_by_config = settings.eviction.is_some();
        let fields = settings.eviction.clone().unwrap_or_default();
        let rules = || pipeline.tables.table(table).rules.collect(None, LATEST);
        state.configure_eviction(fields, rules);
        state.max_flows = settings.max_flows.unwrap_or(u32::MAX);
        let mut txn = self.begin(now);
        while self.state(table).n_flows > self.state(table).max_flows {
            let Some(victim) = self.state_mut(table).victim() else {
                break;
            };
            self.start_remove(&mut txn, victim, RemovedReason::Eviction);
        }
        self.commit(txn);
    }

    /// Puts a table back to what it is without configuration.
    pub fn unconfigure_table(&mut self, table: u8, now: Nanos) {
        let settings = TableSettings {
            prefixes: default_prefixes(),
            ..TableSettings::default()
        };
        self.configure_table(table, &settings, now);
    }

    /// Lowers the timeouts of a flow, as `fin_timeout` does. Nothing happens to a flow that is gone.
    pub fn reduce_timeouts(&mut self, rule: &Arc<Rule>, idle: u16, hard: u16) {
        if rule.key().is_leaving() || (idle == 0 && hard == 0) {
            return;
        }
        self.leave_books(rule);
        rule.reduce_timeouts(idle, hard);
        self.enter_books(rule);
    }

    /// Removes flows whose time is over. `counted`: packets seen before this time are credited to their rules
    /// already. Looks at no more than `budget` flows; true when there may be more to do.
    pub fn expire(&mut self, now: Nanos, counted: Nanos, budget: usize) -> bool {
        if self.busy {
            return true;
        }
        let (due, more) = self.books.expiry.due(now, counted, budget);
        if !due.is_empty() {
            let mut txn = self.begin(now);
            for (rule, reason) in due {
                self.start_remove(&mut txn, rule, reason);
            }
            self.commit(txn);
        }
        more
    }

    /// When [`Ofproto::expire`] may have something to do next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Nanos> {
        self.books.expiry.next()
    }

    pub(crate) fn leave_later(&mut self, pin: Pin, rules: Vec<Arc<Rule>>, groups: Vec<Arc<Group>>) {
        // Versions without leavers are kept too: a reader of one of them still sees what leaves later.
        self.leaving.push_back(Leaving { pin, rules, groups });
        self.sweep(SWEEP_AT_COMMIT);
    }

    /// Drops from the tables what no reader can look for any more, at most `budget` rules. True when there
    /// is more that can be dropped now or later.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while let Some(front) = self.leaving.front_mut() {
            if !front.pin.is_last() {
                return true;
            }
            while let Some(rule) = front.rules.pop() {
                self.pipeline.tables.table(rule.table).rules.remove(&rule);
                left = left.saturating_sub(1);
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

    /// Puts a group into the bridge, in the place of the one of the same number. Nothing is checked.
    pub fn install_group(
        &mut self,
        id: u32,
        kind: GroupType,
        buckets: Vec<Bucket>,
        config: SelectionConfig,
    ) -> Arc<Group> {
        let mut txn = self.begin(Nanos::ZERO);
        if let Some(old) = self.group(id) {
            self.start_group_remove(&mut txn, old);
        }
        let version = (txn.version(), Nanos::ZERO);
        let group = Arc::new(Group::new(id, kind, buckets, config, version));
        self.start_group_add(&mut txn, Arc::clone(&group));
        self.commit(txn);
        group
    }
}

/// Rules swept out of the tables with each commit; the rest waits for [`Ofproto::sweep`].
const SWEEP_AT_COMMIT: usize = 1024;
