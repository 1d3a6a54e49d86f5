//! When rules time out: rules with timeouts in the order of the earliest moment at which they can.
//!
//! A rule's place is not moved when packets use it; when its moment comes, it is looked at, and put back if
//! it was used meanwhile. So a packet costs nothing, and a look happens once per timeout.

use crate::rule::{Rule, RuleId};
use base::clock::Nanos;
use base::sync::Arc;
use openflow::RemovedReason;
use std::collections::BTreeMap;

/// See the file's essay.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    queue: BTreeMap<(Nanos, RuleId), Arc<Rule>>,
}

/// The moment after which `rule` is to go if nothing uses or refreshes it; `None` for never.
pub(crate) fn deadline(rule: &Rule) -> Option<Nanos> {
    let after =
        |from: Nanos, secs: u16| (secs != 0).then(|| from.plus_millis(u64::from(secs) * 1000));
    let hard = after(rule.modified(), rule.hard_timeout());
    let idle = after(rule.used(), rule.idle_timeout());
    hard.into_iter().chain(idle).min()
}

/// Why `rule` is to go now, if it is. Packets were counted up to `counted`.
fn expired(rule: &Rule, now: Nanos, counted: Nanos) -> Option<RemovedReason> {
    let past = |from: Nanos, secs: u16, at: Nanos| {
        secs != 0 && at > from.plus_millis(u64::from(secs) * 1000)
    };
    if past(rule.modified(), rule.hard_timeout(), now) {
        Some(RemovedReason::HardTimeout)
    } else if past(rule.used(), rule.idle_timeout(), counted) {
        Some(RemovedReason::IdleTimeout)
    } else {
        None
    }
}

impl Expiry {
    pub(crate) fn enter(&mut self, rule: &Arc<Rule>) {
        if let Some(at) = deadline(rule) {
            rule.set_expiry_key(at);
            self.queue.insert((at, rule.id), Arc::clone(rule));
        }
    }

    pub(crate) fn leave(&mut self, rule: &Rule) {
        if let Some(at) = rule.expiry_key() {
            self.queue.remove(&(at, rule.id));
        }
    }

    /// The moment at which something may have to go.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Looks at rules whose moment has come, at most `budget` of them, and gives those that are to go. They
    /// stay here until they are removed. True: there may be more.
    pub(crate) fn due(
        &mut self,
        now: Nanos,
        counted: Nanos,
        budget: usize,
    ) -> (Vec<(Arc<Rule>, RemovedReason)>, bool) {
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        let mut more = false;
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 < now) {
            if gone.len() + back.len() == budget {
                more = true;
                break;
            }
            let rule = entry.remove();
            match expired(&rule, now, counted) {
                Some(reason) => gone.push((rule, reason)),
                None => back.push(rule),
            }
        }
        for rule in gone.iter().map(|(r, _)| r).chain(&back) {
            self.enter(rule);
        }
        (gone, more)
    }
}
