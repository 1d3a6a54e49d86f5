//! [`PortTable`]: the megaflow classifier of one ingress port and pass (first or recirculated).
//!
//! Tuple-space search: a subtable for each distinct mask, ranked by hits. What makes it bounded:
//!
//! * A port has at most [`MASKS_PER_PORT`] subtables. A flow with one mask more is placed in the subtable of
//!   the most specific *coarser* mask that is there: it is found through the coarser hash and verified under
//!   its own mask, so the answer stays exact. At most [`COARSE_CHAIN`] flows may share a hash that way.
//! * If no subtable can take it, the flow is narrowed to the very packet that caused it (every bit of the
//!   lines it looks at), in one of a few exact subtables; a narrower flow is always right. At most
//!   [`EXACT_PER_PORT`] of these; then there is no space, and the caller forwards without installing.
//!
//! So whatever an attacker sends into a port, a lookup there costs a bounded number of probes, and lookups
//! on other ports cost what they did.
//!
//! The table also knows how deep packets must be parsed for its flows, and which bits any of them looks
//! at: the cache hashes only these.

use super::DpFlow;
use super::index::Index;
use super::mask::{HashKey, MaskInfo};
use super::stencil::Stencil;
use crate::actions::Fast;
use crate::limits::{COARSE_CHAIN, EXACT_PER_PORT, MASKS_PER_PORT};
use base::sync::Arc;
use flow::{Depth, FLOW_LINES, Flow, LineSet, Mask};

/// Flows of one mask (or placed under it).
#[derive(Debug)]
pub(super) struct Subtable {
    pub(super) id: u32,
    pub(super) mask: Arc<MaskInfo>,
    pub(super) index: Index,
    /// Since the last ranking.
    pub(super) hits: u64,
    /// For flows that no mask could take.
    exact: bool,
}

/// The flow that all of a batch hit.
#[derive(Debug)]
pub(super) struct Hint {
    pub(super) flow: u32,
    /// To know more of its packets by, once two batches were its.
    pub(super) stencil: Option<Stencil>,
    /// It was tried to cut one.
    pub(super) tried: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PortTable {
    /// Hashes of different tables differ.
    pub(super) hash_key: Box<HashKey>,
    // ---- what every batch reads
    pub(super) depth: Depth,
    /// Lines that any flow looks at.
    pub(super) lines: LineSet,
    /// Keys of plain packets need not be extracted: see [`super::plain`].
    pub(super) plain: bool,
    /// Bits that any flow looks at.
    pub(super) all: MaskInfo,
    /// Most hit first.
    pub(super) subtables: Vec<Subtable>,
    /// The flow that all of the last batch hit.
    pub(super) hint: Option<Hint>,
    // ---- cold
    next_id: u32,
    flows: usize,
    /// Flows whose actions need to know where headers are.
    want_layers: usize,
    /// Flows whose program is not a simple one: some step of it may look there.
    pub(super) programs: usize,
    /// Flows that are in a subtable of another mask, and all bits they look at.
    guests: usize,
    guests_mask: Mask,
    exact_flows: usize,
}

/// Where a flow was placed.
#[derive(Debug)]
pub(super) enum Place {
    /// As it is, in this subtable.
    Subtable(u32),
    /// In this subtable, if it is narrowed to this mask.
    Narrowed(u32, Arc<MaskInfo>),
    /// Nowhere.
    Full,
}

impl Subtable {
    #[inline]
    pub(super) fn hash(&self, with: &HashKey, key: &Flow) -> u32 {
        short(self.mask.hash(with, key))
    }
}

/// The part of a hash that a subtable's index goes by.
#[inline]
pub(super) const fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl PortTable {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            hash_key: Box::new(HashKey::new(seed)),
            depth: Depth::Port,
            lines: LineSet(1),
            plain: false,
            all: MaskInfo::new(Arc::new(Mask::empty())),
            subtables: Vec::new(),
            hint: None,
            next_id: 0,
            flows: 0,
            want_layers: 0,
            programs: 0,
            guests: 0,
            guests_mask: Mask::empty(),
            exact_flows: 0,
        }
    }

    /// Flows.
    pub(crate) fn len(&self) -> usize {
        self.flows
    }
    /// Distinct masks.
    pub(crate) fn masks(&self) -> usize {
        self.subtables.len()
    }

    /// Finds a place for a flow with this mask and key. Makes the subtable if need be, but does not add
    /// the flow.
    pub(super) fn place(&mut self, mask: &Arc<MaskInfo>, key: &Flow) -> Place {
        let same = self.subtables.iter().find(|s| Arc::ptr_eq(&s.mask, mask));
        if let Some(s) = same {
            return Place::Subtable(s.id);
        }
        if self.subtables.len() < MASKS_PER_PORT {
            return Place::Subtable(self.open(Arc::clone(mask), false));
        }
        match self.coarser(mask, key) {
            Some(id) => Place::Subtable(id),
            None if self.exact_flows < EXACT_PER_PORT => self.narrowed(mask),
            None => Place::Full,
        }
    }

    /// The most specific coarser subtable whose chain has room.
    fn coarser(&self, mask: &MaskInfo, key: &Flow) -> Option<u32> {
        let bits = |m: &Mask| -> u32 {
            let words = m.lines().as_flattened().iter();
            words.map(|w| w.count_ones()).sum()
        };
        self.subtables
            .iter()
            .filter(|s| !s.exact && mask.covers(&s.mask))
            .filter(|s| s.index.count(s.hash(&self.hash_key, key)) < COARSE_CHAIN)
            .max_by_key(|s| (bits(&s.mask.mask), std::cmp::Reverse(s.id)))
            .map(|s| s.id)
    }

    /// An exact subtable over lines that include those of `mask`. There are few: line 0 alone, the first
    /// two, the first three, all.
    fn narrowed(&mut self, mask: &MaskInfo) -> Place {
        let mut exact = Mask::exact();
        let n = [1, 2, 3, FLOW_LINES]
            .into_iter()
            .find(|&n| mask.lines.0 >> n == 0)
            .unwrap_or(FLOW_LINES);
        for line in &mut exact.0.lines_mut()[n..] {
            *line = [0; 8];
        }
        let there = self
            .subtables
            .iter()
            .find(|s| s.exact && *s.mask.mask == exact);
        if let Some(s) = there {
            return Place::Narrowed(s.id, Arc::clone(&s.mask));
        }
        let exact = Arc::new(MaskInfo::new(Arc::new(exact)));
        Place::Narrowed(self.open(Arc::clone(&exact), true), exact)
    }

    fn open(&mut self, mask: Arc<MaskInfo>, exact: bool) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.subtables.push(Subtable {
            id,
            mask,
            index: Index::new(),
            hits: 0,
            exact,
        });
        id
    }

    /// Adds flow number `n`, with this key (masked or not), to the subtable it was placed in.
    pub(super) fn add(&mut self, id: u32, n: u32, flow: &DpFlow, key: &Flow) {
        let Some(sub) = self.subtables.iter_mut().find(|s| s.id == id) else {
            debug_assert!(false, "place() made the subtable");
            return;
        };
        self.hint = None;
        let fresh = sub.index.len() == 0;
        let hash = sub.hash(&self.hash_key, key);
        sub.index.insert(hash, n);
        let (guest, exact) = (!Arc::ptr_eq(&sub.mask, &flow.mask), sub.exact);
        self.flows += 1;
        let needy = flow.deed.program.needs_layers;
        let first_needy = needy && self.want_layers == 0;
        self.want_layers += usize::from(needy);
        self.programs += usize::from(flow.deed.program.fast() == Fast::Program);
        self.exact_flows += usize::from(exact);
        if guest {
            self.guests += 1;
            self.guests_mask.union(&flow.mask.mask);
        }
        if fresh || guest || first_needy {
            self.changed();
        }
    }

    /// Removes it.
    pub(super) fn remove(&mut self, id: u32, n: u32, flow: &DpFlow) {
        let Some(sub) = self.subtables.iter_mut().find(|s| s.id == id) else {
            debug_assert!(false, "a flow's home is there");
            return;
        };
        // It may be the flow that went: a stencil is believed without a look at it.
        self.hint = None;
        let hash = sub.hash(&self.hash_key, &flow.given_key());
        let removed = sub.index.remove(hash, n);
        debug_assert!(removed, "a flow is where its home says");
        let (guest, exact) = (!Arc::ptr_eq(&sub.mask, &flow.mask), sub.exact);
        let empty = sub.index.len() == 0;
        self.flows -= 1;
        let needy = flow.deed.program.needs_layers;
        self.want_layers -= usize::from(needy);
        self.programs -= usize::from(flow.deed.program.fast() == Fast::Program);
        self.exact_flows -= usize::from(exact);
        self.guests -= usize::from(guest);
        if empty {
            self.close_empty();
        }
        if empty || guest || needy && self.want_layers == 0 {
            self.changed();
        }
    }

    /// Tells the table that a flow's program was replaced.
    pub(super) fn replaced(&mut self, old: &DpFlow, new: &DpFlow) {
        // Its packets may have to be parsed from now on.
        self.hint = None;
        let before = self.want_layers;
        self.want_layers += usize::from(new.deed.program.needs_layers);
        self.want_layers -= usize::from(old.deed.program.needs_layers);
        self.programs += usize::from(new.deed.program.fast() == Fast::Program);
        self.programs -= usize::from(old.deed.program.fast() == Fast::Program);
        if (before == 0) != (self.want_layers == 0) {
            self.changed();
        }
    }

    /// Drops a subtable that `place` made for a flow that was not added after all, and any that ran empty.
    pub(super) fn close_empty(&mut self) {
        self.subtables.retain(|s| s.index.len() > 0);
    }

    /// Computes anew what depends on the set of masks, when that has changed.
    fn changed(&mut self) {
        if self.guests == 0 && self.guests_mask.touched() != 0 {
            self.guests_mask = Mask::empty();
        }
        let mut all = self.guests_mask;
        for s in &self.subtables {
            all.union(&s.mask.mask);
        }
        let deep = if self.want_layers > 0 {
            Depth::L2
        } else {
            Depth::Port
        };
        self.all = MaskInfo::new(Arc::new(all));
        self.depth = self.all.depth.max(deep);
        self.lines = LineSet(self.all.lines.0 | 1);
        self.plain = self.lines.0 == 1 && self.depth > Depth::Port;
    }

    /// Ranks subtables by hits since the last time.
    pub(super) fn rank(&mut self) {
        // If no stencil could be cut from the packet at hand, one may from another.
        self.hint = None;
        let hits = |s: &Subtable| std::cmp::Reverse(s.hits);
        self.subtables.sort_by_key(|s| (hits(s), s.id));
        for s in &mut self.subtables {
            s.hits = 0;
        }
    }
}
