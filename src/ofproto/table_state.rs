//! [`TableState`]: what only the writer needs to know of a table: name, limits, eviction, vacancy.

use crate::event::Vacancy;
use crate::eviction::Eviction;
use crate::rule::Rule;
use crate::tables::INTERNAL_TABLE;
use base::sync::Arc;
use flow::Subfield;

/// Longest name a table can have, in octets.
pub const TABLE_NAME_MAX: usize = 32;
/// Flows a table can have where a message must say so.
pub const TABLE_ENTRIES_MAX: u32 = 1_000_000;

/// Who gave a table its name. Later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NameLevel {
    /// Nobody.
    #[default]
    Unset,
    /// A controller.
    OpenFlow,
    /// The configuration.
    Config,
}

/// What configuration says about a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableSettings {
    /// Its name, when the configuration gives one.
    pub name: Option<String>,
    /// Most flows it can have.
    pub max_flows: Option<u32>,
    /// Full tables make room: by these fields' fairness. `None`: they refuse.
    pub eviction: Option<Vec<Subfield>>,
    /// Fields whose prefixes are tracked.
    pub prefixes: Vec<flow::FieldId>,
}

/// See the file's essay.
#[derive(Debug)]
pub struct TableState {
    name: String,
    name_level: NameLevel,
    /// Most flows it can have; `u32::MAX` for no limit.
    pub(crate) max_flows: u32,
    /// Flows it has in the version being prepared.
    pub(crate) n_flows: u32,
    /// Configuration wants eviction.
    pub(crate) evict_by_config: bool,
    /// A controller wants eviction.
    pub(crate) evict_by_openflow: bool,
    eviction: Option<Eviction>,
    eviction_fields: Vec<Subfield>,
    /// The event that controllers are to be sent next.
    pub(crate) vacancy_event: Option<Vacancy>,
    /// Percentage below which [`Vacancy::Down`] happens.
    pub(crate) vacancy_down: u8,
    /// Percentage above which [`Vacancy::Up`] happens.
    pub(crate) vacancy_up: u8,
    /// Left out where messages speak of all tables, and not for controllers to change.
    pub(crate) internal: bool,
}

impl TableState {
    pub(crate) fn new(id: u8) -> Self {
        Self {
            name: String::new(),
            name_level: NameLevel::Unset,
            max_flows: u32::MAX,
            n_flows: 0,
            evict_by_config: false,
            evict_by_openflow: false,
            eviction: None,
            eviction_fields: Vec::new(),
            vacancy_event: None,
            vacancy_down: 0,
            vacancy_up: 0,
            internal: id == INTERNAL_TABLE,
        }
    }

    /// Its name, empty when it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when [`TableState::set_name`] would have its way.
    #[must_use]
    pub fn may_set_name(&self, name: &str, level: NameLevel) -> bool {
        level >= self.name_level || self.name.is_empty() || cut(name) == self.name
    }

    /// Gives the table a name, or takes it away when `name` is `None` and this level gave it. An empty name
    /// is no name but keeps lower levels from giving one.
    pub(crate) fn set_name(&mut self, name: Option<&str>, level: NameLevel) {
        match name {
            Some(name) if level >= self.name_level => {
                cut(name).clone_into(&mut self.name);
                self.name_level = level;
            }
            None if level == self.name_level => {
                self.name.clear();
                self.name_level = NameLevel::Unset;
            }
            _ => {}
        }
    }

    /// Percentage of its space that is left.
    #[must_use]
    pub fn vacancy(&self) -> u8 {
        if self.max_flows == 0 {
            return 100;
        }
        let left = u64::from(self.max_flows.saturating_sub(self.n_flows));
        u8::try_from(left * 100 / u64::from(self.max_flows)).unwrap_or(100)
    }

    /// True when another flow needs somebody's place.
    pub(crate) fn is_full(&self) -> bool {
        self.n_flows >= self.max_flows
    }

    /// Turns eviction on or off and sets its fields; `rules` gives the flows the table has.
    pub(crate) fn configure_eviction(
        &mut self,
        fields: Vec<Subfield>,
        rules: impl FnOnce() -> Vec<Arc<Rule>>,
    ) {
        let on = self.evict_by_config || self.evict_by_openflow;
        let same = self.eviction.is_some() == on && fields == self.eviction_fields;
        if same {
            return;
        }
        self.eviction_fields = fields;
        self.eviction = on.then(|| {
            let mut e = Eviction::new(self.eviction_fields.clone());
            rules().iter().for_each(|r| e.enter(r));
            e
        });
    }

    pub(crate) fn enter(&mut self, rule: &Arc<Rule>) {
        if let Some(e) = &mut self.eviction {
            e.enter(rule);
        }
    }
    pub(crate) fn leave(&mut self, rule: &Rule) {
        if let Some(e) = &mut self.eviction {
            e.leave(rule);
        }
    }
    pub(crate) fn victim(&mut self) -> Option<Arc<Rule>> {
        self.eviction.as_mut()?.victim()
    }

    /// The vacancy event that is due, if one is; then the opposite one is waited for.
    pub(crate) fn take_vacancy_event(&mut self) -> Option<Vacancy> {
        let awaited = self.vacancy_event?;
        let vacancy = self.vacancy();
        let (due, next) = match awaited {
            Vacancy::Down => (vacancy < self.vacancy_down, Vacancy::Up),
            Vacancy::Up => (vacancy > self.vacancy_up, Vacancy::Down),
        };
        // Below the lower threshold only "down" can happen, as in Open vSwitch.
        let shadowed = awaited == Vacancy::Up && vacancy < self.vacancy_down;
        (due && !shadowed).then(|| {
            self.vacancy_event = Some(next);
            awaited
        })
    }
}

impl crate::Ofproto {
    /// Changes the configuration of a table as a controller asks.
    pub(crate) fn apply_table_mod(&mut self, table: u8, tm: &openflow::TableMod) {
        if tm.miss != openflow::TableMiss::Default {
            self.set_table_miss(table, tm.miss);
        }
        let pipeline = Arc::clone(self.pipeline());
        let state = self.state_mut(table);
        if let Some(on) = tm.eviction {
            state.evict_by_openflow = on;
            let fields = state.eviction_fields.clone();
            let rules = || {
                pipeline
                    .tables
                    .table(table)
                    .rules
                    .collect(None, classifier::LATEST)
            };
            state.configure_eviction(fields, rules);
        }
        if let Some(on) = tm.vacancy_events {
            (state.vacancy_down, state.vacancy_up) = (tm.vacancy.down, tm.vacancy.up);
            if !on {
                state.vacancy_event = None;
            } else if state.vacancy_event.is_none() {
                let up = state.vacancy() < state.vacancy_up;
                state.vacancy_event = Some(if up { Vacancy::Up } else { Vacancy::Down });
            }
        }
    }

    /// The switch's own flows in table 0.
    #[must_use]
    pub fn hidden_flows(&self) -> u32 {
        self.hidden
    }
}

fn cut(name: &str) -> &str {
    let mut end = name.len().min(TABLE_NAME_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
