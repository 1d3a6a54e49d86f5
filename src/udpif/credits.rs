//! [`Credits`]: packets that are going to be credited, put together where they go to the same effects.
//!
//! Thousands of flows share one list of effects: crediting it once for a batch of flows costs as much as once for
//! each flow. Nothing is credited before [`Credits::pay`].

use crate::core::Core;
use crate::translator::Translator;
use base::sync::Arc;
use odp::FlowStats;

/// How many of the latest effects are compared with new ones.
const SAME_WITHIN: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Credits<E>(Vec<(Arc<E>, FlowStats)>);

impl<E> Default for Credits<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Credits<E> {
    /// Adds packets of a flow with these effects.
    pub(crate) fn add(&mut self, effects: &Arc<E>, stats: &FlowStats) {
        if stats.n_packets == 0 {
            return;
        }
        let mut latest = self.0.iter_mut().rev().take(SAME_WITHIN);
        match latest.find(|(e, _)| Arc::ptr_eq(e, effects)) {
            Some((_, sum)) => {
                sum.n_packets += stats.n_packets;
                sum.n_bytes += stats.n_bytes;
                sum.used = sum.used.max(stats.used);
                sum.tcp_flags |= stats.tcp_flags;
            }
            None => self.0.push((Arc::clone(effects), *stats)),
        }
    }

    /// Credits all of them. No lock may be held that the translator could want.
    pub(crate) fn pay<T: Translator<Effects = E>>(&mut self, core: &Core<T>) {
        for (effects, stats) in self.0.drain(..) {
            core.credit(&effects, &stats);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The twin is the sum for each effects.
        #[test]
        fn nothing_is_lost_or_counted_twice(
            adds in prop::collection::vec((0usize..20, 0u64..4, 0u16..8), 0..60),
        ) {
            let all: Vec<Arc<usize>> = (0..20).map(Arc::new).collect();
            let mut credits = Credits::default();
            for &(of, n, flags) in &adds {
                let stats = FlowStats {
                    n_packets: n,
                    n_bytes: 60 * n,
                    used: None,
                    tcp_flags: flags,
                };
                credits.add(&all[of], &stats);
            }
            for of in 0..20 {
                let mine = || credits.0.iter().filter(|(e, _)| **e == of).map(|(_, s)| s);
                let want = || adds.iter().filter(|(it, n, _)| *it == of && *n > 0);
                prop_assert_eq!(
                    mine().map(|s| s.n_packets).sum::<u64>(),
                    want().map(|(_, n, _)| n).sum::<u64>()
                );
                prop_assert_eq!(
                    mine().map(|s| s.n_bytes).sum::<u64>(),
                    want().map(|(_, n, _)| 60 * n).sum::<u64>()
                );
                prop_assert_eq!(
                    mine().fold(0, |f, s| f | s.tcp_flags),
                    want().fold(0, |f, (_, _, flags)| f | flags)
                );
            }
        }
    }
}
