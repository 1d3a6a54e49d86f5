//! What the writer keeps about the flows that are in the tables (of the version being prepared): who uses
//! which group and meter, who has which cookie, who expires when.

use crate::acts;
use crate::expiry::Expiry;
use crate::rule::{Rule, RuleId};
use crate::tlv::TlvUsers;
use base::sync::Arc;
use openflow::LearnAct;
use std::collections::{BTreeMap, HashMap};

/// Users of numbered things.
#[derive(Debug, Default)]
pub(crate) struct Users(HashMap<u32, BTreeMap<RuleId, Arc<Rule>>, ahash::RandomState>);

impl Users {
    fn enter(&mut self, ids: &[u32], rule: &Arc<Rule>) {
        for id in ids {
            self.0
                .entry(*id)
                .or_default()
                .insert(rule.id, Arc::clone(rule));
        }
    }
    fn leave(&mut self, ids: &[u32], rule: &Rule) {
        for id in ids {
            if let Some(users) = self.0.get_mut(id) {
                users.remove(&rule.id);
                if users.is_empty() {
                    self.0.remove(id);
                }
            }
        }
    }
    /// Number of users.
    pub(crate) fn count(&self, id: u32) -> usize {
        self.0.get(&id).map_or(0, BTreeMap::len)
    }
    /// The users, oldest first.
    pub(crate) fn of(&self, id: u32) -> Vec<Arc<Rule>> {
        self.0
            .get(&id)
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }
}

/// Rules by cookie. Made when the first message asks for an exact cookie, kept from then on.
pub(crate) type Cookies = BTreeMap<(u64, RuleId), Arc<Rule>>;

/// See the file's essay.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) expiry: Expiry,
    pub(crate) groups: Users,
    pub(crate) meters: Users,
    pub(crate) cookies: Option<Cookies>,
    pub(crate) tlvs: TlvUsers,
}

impl Books {
    pub(crate) fn enter(&mut self, rule: &Arc<Rule>) {
        self.expiry.enter(rule);
        self.tlvs.enter(rule);
        if let Some(cookies) = &mut self.cookies {
            cookies.insert((rule.cookie, rule.id), Arc::clone(rule));
        }
        let uses = rule.uses();
        if uses.groups {
            self.groups.enter(&acts::groups(&rule.actions), rule);
        }
        if uses.meters {
            self.meters.enter(&acts::meters(&rule.actions), rule);
        }
    }

    pub(crate) fn leave(&mut self, rule: &Rule) {
        self.expiry.leave(rule);
        self.tlvs.leave(rule);
        if let Some(cookies) = &mut self.cookies {
            cookies.remove(&(rule.cookie, rule.id));
        }
        let uses = rule.uses();
        if uses.groups {
            self.groups.leave(&acts::groups(&rule.actions), rule);
        }
        if uses.meters {
            self.meters.leave(&acts::meters(&rule.actions), rule);
        }
    }
}

/// How many flows have a `learn(delete_learned)` for a cookie and table. When the last one goes, so do the
/// learned flows.
#[derive(Debug, Default)]
pub(crate) struct Learned(HashMap<(u64, u8), usize>);

fn key(learn: &LearnAct) -> (u64, u8) {
    (learn.cookie, learn.table)
}

impl Learned {
    pub(crate) fn enter(&mut self, rule: &Rule) {
        if rule.uses().learns {
            acts::learns_with_delete(&rule.actions, &mut |l| {
                *self.0.entry(key(l)).or_insert(0) += 1;
            });
        }
    }

    /// Cookies and tables of which this was the last are appended to `dead`.
    pub(crate) fn leave(&mut self, rule: &Rule, dead: &mut Vec<(u64, u8)>) {
        if rule.uses().learns {
            acts::learns_with_delete(&rule.actions, &mut |l| {
                if let Some(n) = self.0.get_mut(&key(l)) {
                    *n -= 1;
                    if *n == 0 {
                        self.0.remove(&key(l));
                        dead.push(key(l));
                    }
                }
            });
        }
    }
}
