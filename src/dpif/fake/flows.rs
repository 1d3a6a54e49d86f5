//! The fake datapath's flow table: a list, searched from its oldest entry.

use super::{Core, State};
use crate::error::DpifError;
use crate::types::{
    FlowDel, FlowDump, FlowDumpThread, FlowGet, FlowInfo, FlowPut, FlowSelect, PmdId,
};
use base::sync::{Arc, Mutex, lock};
use flow::{Flow, Mask, Vlan};
use odp::{FlowStats, Ufid};

#[derive(Debug)]
struct Entry {
    /// Grows with every flow ever made: the order of dumps.
    serial: u64,
    info: FlowInfo,
}

/// Flows in the order they were made.
#[derive(Debug, Default)]
pub(super) struct Flows {
    list: Vec<Entry>,
    next_serial: u64,
}

impl Flows {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }
    pub(super) fn all(&self) -> Vec<FlowInfo> {
        self.list.iter().map(|e| e.info.clone()).collect()
    }
    pub(super) fn n_masks(&self) -> u32 {
        let mut masks: Vec<&Mask> = Vec::new();
        for e in &self.list {
            if !masks.contains(&&*e.info.mask) {
                masks.push(&e.info.mask);
            }
        }
        masks.len() as u32
    }

    /// The first flow of a packet thread that matches `key`.
    pub(super) fn lookup(&mut self, pmd: PmdId, key: &Flow) -> Option<&mut FlowInfo> {
        self.list
            .iter_mut()
            .map(|e| &mut e.info)
            .find(|f| f.pmd == pmd && f.key.equals_under(key, &f.mask))
    }

    /// What a put is about: the flow of that identity, or else the one that its packets hit.
    fn target(&mut self, pmd: PmdId, ufid: Option<Ufid>, key: &Flow) -> Option<&mut FlowInfo> {
        let same = ufid.and_then(|u| self.find(u, &[pmd]).first().copied());
        match same {
            Some(i) => Some(&mut self.list[i].info),
            None => self.lookup(pmd, key),
        }
    }

    fn insert(&mut self, info: FlowInfo) {
        self.list.push(Entry {
            serial: self.next_serial,
            info,
        });
        self.next_serial += 1;
    }

    /// Flows of that ufid on the wanted threads.
    fn find(&self, ufid: Ufid, pmds: &[PmdId]) -> Vec<usize> {
        let wanted = |e: &Entry| e.info.ufid == ufid && pmds.contains(&e.info.pmd);
        (0..self.list.len())
            .filter(|&i| wanted(&self.list[i]))
            .collect()
    }
}

/// The threads an operation is for.
fn threads(state: &State, pmd: Option<PmdId>) -> Result<Vec<PmdId>, DpifError> {
    let wanted = |p: &PmdId| pmd.is_none_or(|w| w == *p);
    let pmds: Vec<_> = state.pmds.iter().copied().filter(wanted).collect();
    if pmds.is_empty() {
        return Err(DpifError::Invalid);
    }
    Ok(pmds)
}

pub(super) fn add_stats(sum: &mut FlowStats, s: &FlowStats) {
    sum.n_packets += s.n_packets;
    sum.n_bytes += s.n_bytes;
    sum.used = sum.used.max(s.used);
    sum.tcp_flags |= s.tcp_flags;
}

pub(super) fn put(state: &mut State, put: &FlowPut) -> Result<FlowStats, DpifError> {
    if let Some(e) = &state.refuse_puts {
        return Err(e.clone());
    }
    if put.mask.0.in_port.get() != u32::MAX {
        return Err(DpifError::Invalid);
    }
    let mut mask = *put.mask;
    if mask.0.vlans[0].tci.get() == 0 {
        mask.0.vlans[0].tci.set(Vlan::CFI | Vlan::VID_MASK);
    }
    let mut sum = FlowStats::default();
    let mut outcome = Ok(());
    for pmd in threads(state, put.pmd)? {
        match put_on(&mut state.flows, put, &mask, pmd) {
            Ok(s) => add_stats(&mut sum, &s),
            Err(e) => outcome = Err(e),
        }
    }
    outcome.map(|()| sum)
}

fn put_on(
    flows: &mut Flows,
    put: &FlowPut,
    mask: &Mask,
    pmd: PmdId,
) -> Result<FlowStats, DpifError> {
    let key = Arc::new(put.key.masked(mask));
    match flows.target(pmd, put.ufid, &put.key) {
        None if !put.flags.create => Err(DpifError::NoEntry),
        None => {
            if !put.flags.probe {
                flows.insert(FlowInfo {
                    ufid: put.ufid.unwrap_or_else(|| Ufid::of(&key)),
                    key,
                    mask: Arc::new(*mask),
                    actions: Arc::clone(&put.actions),
                    stats: FlowStats::default(),
                    pmd,
                    dp_extra: None,
                });
            }
            Ok(FlowStats::default())
        }
        Some(flow) if put.flags.modify => {
            let before = flow.stats;
            if !put.flags.probe {
                flow.actions = Arc::clone(&put.actions);
                if put.flags.zero_stats {
                    flow.stats = FlowStats::default();
                }
            }
            Ok(before)
        }
        Some(_) if put.flags.create => Err(DpifError::Exists),
        Some(_) => Err(DpifError::Invalid),
    }
}

pub(super) fn del(state: &mut State, del: &FlowDel) -> Result<FlowStats, DpifError> {
    let pmds = threads(state, del.pmd)?;
    let found = state.flows.find(del.ufid, &pmds);
    if found.is_empty() {
        return Err(DpifError::NoEntry);
    }
    let mut sum = FlowStats::default();
    for &i in found.iter().rev() {
        add_stats(&mut sum, &state.flows.list.remove(i).info.stats);
    }
    Ok(sum)
}

pub(super) fn get(state: &State, get: &FlowGet) -> Result<FlowInfo, DpifError> {
    let pmds = threads(state, get.pmd)?;
    let found = state.flows.find(get.ufid, &pmds);
    let first = found.first().ok_or(DpifError::NoEntry)?;
    let mut info = state.flows.list[*first].info.clone();
    for &i in &found[1..] {
        add_stats(&mut info.stats, &state.flows.list[i].info.stats);
    }
    Ok(info)
}

/// A dump: the serial number after the last flow handed out, shared by all threads. Flows made after the
/// dump began are left out, so that it ends.
#[derive(Debug)]
pub(super) struct Dump {
    core: Arc<Core>,
    select: FlowSelect,
    next: Mutex<u64>,
    end: u64,
}

impl Dump {
    pub(super) fn new(core: Arc<Core>, select: FlowSelect) -> Self {
        let end = lock(&core.state).flows.next_serial;
        Self {
            core,
            select,
            next: Mutex::new(0),
            end,
        }
    }
}

impl FlowDump for Dump {
    fn thread(&self) -> Box<dyn FlowDumpThread + '_> {
        Box::new(Cursor(self))
    }
}

#[derive(Debug)]
struct Cursor<'a>(&'a Dump);

impl FlowDumpThread for Cursor<'_> {
    fn next(&mut self, out: &mut Vec<FlowInfo>, max: usize) -> bool {
        let mut next = lock(&self.0.next);
        let state = lock(&self.0.core.state);
        out.clear();
        for e in &state.flows.list {
            let wanted = self.0.select.pmd.is_none_or(|p| p == e.info.pmd);
            if e.serial < *next || e.serial >= self.0.end || !wanted {
                continue;
            }
            if out.len() == max {
                break;
            }
            *next = e.serial + 1;
            out.push(if self.0.select.terse {
                FlowInfo {
                    key: Arc::new(Flow::zero()),
                    mask: Arc::new(Mask::empty()),
                    actions: Arc::default(),
                    ..e.info.clone()
                }
            } else {
                e.info.clone()
            });
        }
        !out.is_empty()
    }
}
