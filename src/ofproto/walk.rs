//! [`Walk`]: over the flows that a message means, in bounded steps.
//!
//! A walk sees the flows of the version at which it began. It holds nothing: flows that go away before it
//! comes to them are not seen.

use crate::acts;
use crate::group::GROUP_ANY;
use crate::rule::{HIDDEN_PRIORITY, Rule};
use crate::switch::Ofproto;
use crate::tables::INTERNAL_TABLE;
use base::sync::Arc;
use classifier::{Cursor, MiniMatch, Version};
use flow::OfPort;
use openflow::flow_mod::ALL_TABLES;
use openflow::{FlowStatsRequest, OfpError};
use std::ops::Range;

/// Which rules a message means.
#[derive(Debug, Clone)]
pub(crate) struct Criteria {
    /// A table, or all that controllers can see.
    pub(crate) table: u8,
    pub(crate) matching: MiniMatch,
    /// With a priority: the rule of exactly this match. Without: rules within the match.
    pub(crate) strict: Option<i32>,
    pub(crate) cookie: u64,
    pub(crate) cookie_mask: u64,
    pub(crate) out_port: OfPort,
    pub(crate) out_group: u32,
    /// Rules of the switch's own table too.
    pub(crate) readonly_too: bool,
}

impl Criteria {
    /// Checks all but table and match.
    pub(crate) fn admits(&self, rule: &Rule) -> bool {
        (self.out_port == OfPort::NONE || acts::output_to_port(&rule.actions, self.out_port))
            && (self.out_group == GROUP_ANY || acts::output_to_group(&rule.actions, self.out_group))
            && (rule.cookie ^ self.cookie) & self.cookie_mask == 0
            && (!rule.is_hidden() || self.strict.is_some_and(|p| p > HIDDEN_PRIORITY))
    }

    /// The tables meant.
    pub(crate) fn tables(&self) -> Range<u8> {
        match self.table {
            ALL_TABLES => 0..INTERNAL_TABLE,
            t => t..t + 1,
        }
    }

    /// True when the rules can be found by their cookie.
    pub(crate) fn by_cookie(&self) -> bool {
        self.cookie_mask == u64::MAX
    }
}

/// See the file's essay.
#[derive(Debug)]
pub struct Walk {
    criteria: Criteria,
    version: Version,
    tables: Range<u8>,
    cursor: Option<(u8, Cursor)>,
    /// Found by cookie already, last one first.
    found: Vec<Arc<Rule>>,
}

impl Ofproto {
    /// Begins a walk over the flows that a statistics request means.
    ///
    /// # Errors
    /// `OFPBRC_BAD_TABLE_ID`.
    pub fn walk(&mut self, request: &FlowStatsRequest) -> Result<Walk, OfpError> {
        let table = request.table_id;
        let shelf = self
            .pipeline
            .tables
            .table(if table == ALL_TABLES { 0 } else { table });
        let m = &request.match_;
        let criteria = Criteria {
            table,
            matching: shelf.rules.compact(&m.flow, &m.mask),
            strict: None,
            cookie: request.cookie,
            cookie_mask: request.cookie_mask,
            out_port: request.out_port,
            out_group: request.out_group,
            readonly_too: true,
        };
        let version = self.pipeline.tables.version();
        Ok(self.walk_by(criteria, version))
    }

    pub(crate) fn walk_by(&mut self, criteria: Criteria, version: Version) -> Walk {
        let by_cookie = criteria.by_cookie();
        let mut found = if by_cookie {
            self.by_cookie(criteria.cookie)
        } else {
            Vec::new()
        };
        found.retain(|r| {
            (criteria.table == ALL_TABLES || r.table == criteria.table)
                && r.matching().is_within(&criteria.matching)
        });
        found.reverse();
        Walk {
            tables: if by_cookie { 0..0 } else { criteria.tables() },
            criteria,
            version,
            cursor: None,
            found,
        }
    }

    /// Continues a walk: appends flows to `out`, looking at no more than about `budget` of them. True when
    /// there may be more.
    pub fn step(&self, walk: &mut Walk, budget: usize, out: &mut Vec<Arc<Rule>>) -> bool {
        use classifier::Ruled;
        let from = out.len();
        let rest = walk.found.len().saturating_sub(budget);
        let taken = walk.found.drain(rest..).rev();
        out.extend(taken.filter(|r| r.key().visible_in(walk.version)));
        let more = !walk.found.is_empty() || self.step_tables(walk, budget, out);
        let mut at = 0;
        out.retain(|r| {
            at += 1;
            at <= from || walk.criteria.admits(r)
        });
        more
    }

    fn step_tables(&self, walk: &mut Walk, budget: usize, out: &mut Vec<Arc<Rule>>) -> bool {
        loop {
            if let Some((table, cursor)) = &mut walk.cursor {
                let rules = &self.pipeline.tables.table(*table).rules;
                if rules.advance(cursor, budget, out) {
                    return true;
                }
                walk.cursor = None;
                return !walk.tables.is_empty();
            }
            let Some(table) = walk.tables.next() else {
                return false;
            };
            let rules = &self.pipeline.tables.table(table).rules;
            if !rules.is_empty() {
                let cursor = rules.cursor(Some(&walk.criteria.matching), walk.version);
                walk.cursor = Some((table, cursor));
            }
        }
    }
}
