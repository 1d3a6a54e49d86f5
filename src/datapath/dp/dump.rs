//! Dumping flows: from the lists that packet threads publish, without asking them anything.
//!
//! All cursors of a dump share one position and take slots in small runs, so flows are handed out once,
//! and a cursor can be left and taken up at any time.

use super::Datapath;
use super::operate::describe;
use crate::pmd::PmdHandle;
use crate::table::DpFlow;
use base::sync::{Arc, Mutex, lock};
use dpif::{FlowDump, FlowDumpThread, FlowInfo, FlowSelect};
use odp::FlowStats;

/// A dump under way.
#[derive(Debug)]
pub(crate) struct Dump {
    pmds: Vec<Arc<PmdHandle>>,
    terse: bool,
    at: Mutex<At>,
}

/// The next slot to look at.
#[derive(Debug, Default, Clone, Copy)]
struct At {
    pmd: usize,
    slot: usize,
}

impl Datapath {
    /// Starts a dump.
    pub(crate) fn flow_dump(&self, select: FlowSelect) -> Dump {
        let pmds = self.pmds();
        let wanted = |p: &&Arc<PmdHandle>| select.pmd.is_none_or(|id| id == p.shared.id);
        Dump {
            pmds: pmds.iter().filter(wanted).cloned().collect(),
            terse: select.terse,
            at: Mutex::default(),
        }
    }
}

impl Dump {
    /// Takes up to `n` slots: the thread and the slots' numbers. `None` at the end.
    fn take(&self, n: usize) -> Option<(&PmdHandle, std::ops::Range<usize>)> {
        let mut at = lock(&self.at);
        loop {
            let pmd = self.pmds.get(at.pmd)?;
            let end = pmd.shared.list.slots().min(at.slot + n);
            if end > at.slot {
                let run = at.slot..end;
                at.slot = end;
                return Some((pmd, run));
            }
            *at = At {
                pmd: at.pmd + 1,
                slot: 0,
            };
        }
    }
}

impl FlowDump for Dump {
    fn thread(&self) -> Box<dyn FlowDumpThread + '_> {
        Box::new(Cursor(self, Vec::new()))
    }
}

#[derive(Debug)]
struct Cursor<'a>(&'a Dump, Vec<(Arc<DpFlow>, FlowStats)>);

impl FlowDumpThread for Cursor<'_> {
    fn next(&mut self, out: &mut Vec<FlowInfo>, max: usize) -> bool {
        out.clear();
        while out.len() < max {
            let Some((pmd, slots)) = self.0.take(max - out.len()) else {
                return !out.is_empty();
            };
            let list = &pmd.shared.list;
            self.1.clear();
            self.1.extend(slots.filter_map(|slot| {
                let flow = list.get(slot)?;
                Some((flow, FlowStats::default()))
            }));
            // By itself, so that memory is waited for once for many flows.
            for (flow, stats) in &mut self.1 {
                *stats = flow.stats(list);
            }
            let flows = self.1.drain(..);
            out.extend(flows.map(|(f, stats)| describe(&f, stats, pmd.shared.id, self.0.terse)));
        }
        true
    }
}
