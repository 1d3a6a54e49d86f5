//! [`Graves`]: what became of the flows of packet threads that are gone.
//!
//! Revalidators learn of a flow's end by deleting it, and want its last figures. When its thread went first,
//! the figures wait here, so that none are lost and the deletion is no failure. The same holds for a flow
//! that a handler installs on a thread that has just gone.
//!
//! Threads: any; a lock that packet threads never take. Bounded by [`GRAVES_MAX`]; beyond it figures of the
//! flows that go are lost, and their deletion fails.

use crate::limits::GRAVES_MAX;
use crate::table::FlowList;
use base::sync::{Mutex, lock};
use dpif::PmdId;
use odp::{FlowStats, Ufid};
use std::collections::{BTreeSet, HashMap};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graves(Mutex<Buried>);

#[derive(Debug, Default)]
struct Buried {
    threads: BTreeSet<PmdId>,
    flows: HashMap<(PmdId, Ufid), FlowStats>,
}

impl Graves {
    /// A thread is about to go: from now on nobody is told that it does not exist.
    pub(super) fn expect(&self, pmd: PmdId) {
        lock(&self.0).threads.insert(pmd);
    }

    /// Takes the flows of a thread that forwards no more.
    pub(super) fn bury(&self, pmd: PmdId, flows: &FlowList) {
        let mut buried = lock(&self.0);
        for flow in (0..flows.slots()).filter_map(|slot| flows.get(slot)) {
            if buried.flows.len() >= GRAVES_MAX {
                return;
            }
            buried.flows.insert((pmd, flow.ufid), flow.stats(flows));
        }
    }

    /// A flow that comes too late for its thread. False when there never was such a thread.
    pub(super) fn still_born(&self, pmd: PmdId, ufid: Ufid) -> bool {
        let mut buried = lock(&self.0);
        let known = buried.threads.contains(&pmd);
        if known && buried.flows.len() < GRAVES_MAX {
            buried.flows.entry((pmd, ufid)).or_default();
        }
        known
    }

    /// The last figures of a flow, once.
    pub(super) fn take(&self, pmd: PmdId, ufid: Ufid) -> Option<FlowStats> {
        lock(&self.0).flows.remove(&(pmd, ufid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_handed_out_once() {
        let (graves, id, ufid) = (Graves::default(), PmdId(3), Ufid(7));
        assert!(!graves.still_born(id, ufid));
        assert_eq!(graves.take(id, ufid), None);
        graves.expect(id);
        assert!(graves.still_born(id, ufid));
        assert_eq!(graves.take(id, ufid), Some(FlowStats::default()));
        assert_eq!(graves.take(id, ufid), None);
    }
}
