//! A walk over the rules that can stop after any rule and go on later, while rules come and go.
//!
//! The walk fixes the list of subtables when it begins (rules of masks that appear later have later
//! versions than the walk's) and remembers the sequence number of the last rule it saw. Rules removed
//! meanwhile are not seen; no rule is seen twice.

use crate::key::{Ruled, Version};
use crate::mini::MiniMatch;
use crate::table::Inner;
use base::sync::Arc;

/// Where a walk stands. Holds no lock and no rule.
#[derive(Debug, Clone)]
pub struct Cursor {
    target: Option<MiniMatch>,
    version: Version,
    /// Subtables still to visit, the next one last: place and unique id.
    tables: Vec<(u32, u64)>,
    /// Last sequence number seen in the subtable at hand.
    after: u64,
}

impl Cursor {
    pub(crate) fn new(
        target: Option<MiniMatch>,
        version: Version,
        mut tables: Vec<(u32, u64)>,
    ) -> Self {
        tables.reverse();
        Self {
            target,
            version,
            tables,
            after: 0,
        }
    }

    /// The version whose rules the walk sees.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn advance<R: Ruled>(
        &mut self,
        inner: &Inner<R>,
        budget: usize,
        out: &mut Vec<Arc<R>>,
    ) -> bool {
        let mut left = budget.max(1);
        while let Some(&(at, id)) = self.tables.last() {
            let member = inner.members.get(at as usize).and_then(Option::as_ref);
            if let Some(member) = member.filter(|m| m.id == id) {
                for (seq, rule) in member.table.after(self.after) {
                    if left == 0 {
                        return true;
                    }
                    left -= 1;
                    self.after = seq;
                    out.extend(rule.filter(|r| self.wants(&***r)).cloned());
                }
            }
            self.tables.pop();
            self.after = 0;
        }
        false
    }

    fn wants<R: Ruled>(&self, rule: &R) -> bool {
        let key = rule.key();
        key.visible_in(self.version)
            && self
                .target
                .as_ref()
                .is_none_or(|t| key.matching().is_within(t))
    }
}
