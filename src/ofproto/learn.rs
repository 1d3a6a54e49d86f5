//! Flows that other flows learn from packets.
//!
//! Translation says what to learn; whoever applies its effects calls [`Ofproto::learn`] the first time, and
//! [`Rule::refresh`] each time packets were seen again, which needs no access to the tables.

use crate::rule::{Rule, STATE_FLAGS};
use crate::switch::Ofproto;
use crate::tables::Tables;
use base::clock::Nanos;
use base::log::RateLimit;
use base::sync::Arc;
use classifier::{LATEST, Ruled, Version};
use openflow::{FlowMod, FlowModCommand, OfpError};

/// Learned flows that wait for a transaction to end; more are learned with their next packet.
const PENDING_MAX: usize = 1024;
static LOG: RateLimit = RateLimit::new(1, 5);

/// What became of a learned flow.
#[derive(Debug, Clone)]
pub enum Learned {
    /// It is in its table.
    Here(Arc<Rule>),
    /// It will be, when the transaction under way has ended.
    Later,
    /// There are as many flows with its cookie as the action allows.
    Limit,
}

impl Rule {
    /// Restarts the hard timeout of a learned flow. False when the flow is gone and must be learned again.
    pub fn refresh(&self, now: Nanos) -> bool {
        let here = !self.key().is_leaving();
        if here {
            self.touch(now);
        }
        here
    }
}

impl Ofproto {
    /// Adds the flow that a `learn` action describes, or restarts its hard timeout. `limit`: flows that may
    /// have this cookie in the table, 0 for any number.
    ///
    /// # Errors
    /// What a flow mod is refused for.
    pub fn learn(&mut self, fm: &FlowMod, limit: u32, now: Nanos) -> Result<Learned, OfpError> {
        debug_assert_eq!(fm.command, FlowModCommand::ModifyStrict);
        if let Some(rule) = self.pipeline.tables.learned(fm, LATEST) {
            rule.touch(now);
            return Ok(Learned::Here(rule));
        }
        if self.is_busy() {
            if self.to_learn.len() < PENDING_MAX {
                self.to_learn.push((fm.clone(), limit));
            }
            return Ok(Learned::Later);
        }
        if limit != 0 && self.with_cookie(fm.table_id, fm.new_cookie).len() >= limit as usize {
            base::log_rl!(
                LOG,
                INFO,
                "ofproto",
                "Learn limit for flow {} reached.",
                fm.new_cookie
            );
            return Ok(Learned::Limit);
        }
        self.flow_mod(fm.clone(), None, now)?;
        let rules = &self.pipeline.tables.table(fm.table_id).rules;
        let m = rules.compact(&fm.match_.flow, &fm.match_.mask);
        let rule = rules.find_exact(&m, i32::from(fm.priority), LATEST);
        Ok(rule.map_or(Learned::Later, Learned::Here))
    }

    /// Learns what had to wait for a transaction.
    pub(crate) fn learn_pending(&mut self, now: Nanos) {
        for (fm, limit) in std::mem::take(&mut self.to_learn) {
            if let Err(e) = self.learn(&fm, limit, now) {
                tracing::debug!(target: "ofproto", "{}: learned flow refused: {e}", self.name());
            }
        }
    }
}

impl Tables {
    /// The flow that `fm` wants, if it is in its table at `version` just like that. Needs no writer: its packets
    /// keep it alive by [`Rule::touch`].
    #[must_use]
    pub fn learned(&self, fm: &FlowMod, version: Version) -> Option<Arc<Rule>> {
        let rules = &self.table(fm.table_id).rules;
        let m = rules.compact(&fm.match_.flow, &fm.match_.mask);
        let rule = rules.find_exact(&m, i32::from(fm.priority), version)?;
        let same = rule.idle_timeout() == fm.idle_timeout
            && rule.hard_timeout() == fm.hard_timeout
            && rule.importance == fm.importance
            && rule.flags == fm.flags & STATE_FLAGS
            && (!fm.modify_cookie || fm.new_cookie == rule.cookie)
            && *rule.actions == fm.acts;
        same.then_some(rule)
    }
}
