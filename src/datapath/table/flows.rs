//! All flows of one packet thread: by number for the packet loop, by ufid for operations, and as a list
//! that any thread can read while the owner changes it.
//!
//! What the packet loop touches of a flow is two cache lines, found by its number alone: its [`Live`] line and, unless
//! the packet is plain, the masked first line of its key ([`Flows::matches`]). Both stand in arrays of [`CHUNK`] lines that
//! are one large page each, and the mask that a key is compared under is one of a few lines that stand
//! together too. Everything else about a flow is in its [`DpFlow`], which the packet loop looks at only for
//! keys of more than one line and programs that are not simple.
//!
//! [`FlowList`] is the list: slots in blocks that are never moved or freed, each holding a flow or nothing.
//! The owner stores into slots, readers load from them; neither waits for the other. A reader that walks
//! the slots sees every flow that was there all along exactly once.

use super::index::Index;
use super::live::Live;
use super::mask::{Line, Numbers};
use super::plain::{self, Plain};
use super::{DpFlow, NONE};
use crate::actions::Deed;
use crate::limits::{FLOWS_MAX, MANY_FLOWS};
use crate::prefetch::prefetch;
use base::pages::{Advice, Pages};
use base::sync::{Arc, ArcSwapOption, AtomicUsize, OnceLock, Ordering};
use flow::{Flow, LineSet};
use odp::Ufid;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Slots of a block.
const BLOCK: usize = 1024;
/// Flows whose lines stand together: a large page of them.
const CHUNK: usize = 1 << 15;

type LiveLines = Pages<[Live; CHUNK]>;
type Block = Box<[ArcSwapOption<DpFlow>]>;

/// See the module.
#[derive(Debug)]
pub(crate) struct FlowList {
    blocks: Box<[OnceLock<Block>]>,
    live: Box<[OnceLock<Arc<LiveLines>>]>,
    /// Slots that were ever used.
    used: AtomicUsize,
    /// Flows.
    len: AtomicUsize,
}

impl Default for FlowList {
    fn default() -> Self {
        Self {
            blocks: (0..FLOWS_MAX / BLOCK).map(|_| OnceLock::new()).collect(),
            live: (0..FLOWS_MAX / CHUNK).map(|_| OnceLock::new()).collect(),
            used: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }
}

impl FlowList {
    /// Slots that a walk has to look at.
    pub(crate) fn slots(&self) -> usize {
        self.used.load(Ordering::Acquire) // pairs with the Release in put()
    }
    /// Flows.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
    /// The flow in a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<Arc<DpFlow>> {
        self.blocks.get(slot / BLOCK)?.get()?[slot % BLOCK].load_full()
    }
    /// The live line of a number.
    pub(super) fn live(&self, number: u32) -> Option<&Live> {
        let number = number as usize;
        let chunk = self.live.get(number / CHUNK)?.get()?.first()?;
        chunk.get(number % CHUNK)
    }
    /// Owner only.
    fn put(&self, slot: usize, flow: Option<Arc<DpFlow>>) {
        let block = self.blocks[slot / BLOCK]
            .get_or_init(|| (0..BLOCK).map(|_| ArcSwapOption::empty()).collect());
        block[slot % BLOCK].store(flow);
        if slot >= self.used.load(Ordering::Relaxed) {
            self.used.store(slot + 1, Ordering::Release); // pairs with the Acquire in slots()
        }
    }
}

/// A flow and the subtable it is in.
#[derive(Debug)]
struct Slot {
    flow: Option<Arc<DpFlow>>,
    home: Home,
}

/// Where a flow is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    /// Index of the table.
    pub(crate) table: u32,
    /// Id of the subtable in it.
    pub(crate) subtable: u32,
}

/// The lines of some flows that the packet loop touches.
#[derive(Debug)]
struct Chunk {
    /// Line 0 of the masked keys.
    keys: Pages<[Line; CHUNK]>,
    live: Arc<LiveLines>,
}

impl Chunk {
    #[inline]
    fn key(&self, n: u32) -> &Line {
        &self.keys[0][n as usize % CHUNK]
    }
    #[inline]
    fn live(&self, n: u32) -> &Live {
        &self.live[0][n as usize % CHUNK]
    }
}

/// See the module. Owned by one packet thread.
#[derive(Debug)]
pub(crate) struct Flows {
    chunks: Vec<Chunk>,
    masks: Numbers,
    // ---- cold
    slots: Vec<Slot>,
    /// The lowest is taken first, so that dumps list flows in the order in which they came, as long as few go.
    free: BinaryHeap<Reverse<u32>>,
    by_ufid: Index,
    list: Arc<FlowList>,
}

fn ufid_hash(ufid: Ufid) -> u32 {
    let (a, b) = (ufid.0 as u64, (ufid.0 >> 64) as u64);
    // Ufids may be chosen by whoever installs flows.
    (base::hash::words(base::hash::process_seed(), &[a, b]) >> 32) as u32
}

impl Flows {
    pub(crate) fn new(list: Arc<FlowList>) -> Self {
        Self {
            chunks: Vec::with_capacity(FLOWS_MAX / CHUNK),
            masks: Numbers::default(),
            // Address space, not memory: growing by copying would hold up the packet loop.
            slots: Vec::with_capacity(1 << 18),
            free: BinaryHeap::new(),
            by_ufid: Index::new(),
            list,
        }
    }

    /// Asks for what verifying and running a flow touches, for plain packets.
    #[inline]
    pub(crate) fn prefetch(&self, n: u32) {
        if let Some(chunk) = self.chunks.get(n as usize / CHUNK) {
            prefetch(chunk.live(n));
        }
    }

    /// Asks for what verifying a flow touches besides, for all others.
    #[inline]
    pub(super) fn prefetch_key(&self, n: u32) {
        if let Some(chunk) = self.chunks.get(n as usize / CHUNK) {
            prefetch(chunk.key(n));
        }
    }

    /// True when flow `n` is there and the packet with this key belongs to it. `valid` names the lines of
    /// `key` that hold what they should; a flow that looks at any other does not match.
    #[inline]
    pub(crate) fn matches(&self, n: u32, key: &Flow, valid: LineSet) -> bool {
        let Some(chunk) = self.chunks.get(n as usize / CHUNK) else {
            return false;
        };
        let live = chunk.live(n);
        let mask = self.masks.line0(live.mask());
        differ(&key.lines()[0], mask, chunk.key(n)) == 0
            && (!live.wide() || self.matches_wide(n, key, valid))
    }

    /// As [`Flows::matches`], for a plain packet on its first pass, and flows of its port.
    #[inline(always)]
    pub(super) fn matches_plain(&self, n: u32, plain: Plain) -> bool {
        let Some(chunk) = self.chunks.get(n as usize / CHUNK) else {
            return false;
        };
        let live = chunk.live(n);
        plain.is_in(self.masks.line0(live.mask()), live.plain())
    }

    fn matches_wide(&self, n: u32, key: &Flow, valid: LineSet) -> bool {
        self.get(n).is_some_and(|f| f.matches_rest(key, valid))
    }

    /// The live line of a flow.
    #[inline]
    pub(crate) fn live(&self, n: u32) -> Option<&Live> {
        Some(self.chunks.get(n as usize / CHUNK)?.live(n))
    }

    /// The flow of a number.
    #[inline]
    pub(crate) fn get(&self, n: u32) -> Option<&Arc<DpFlow>> {
        self.slots.get(n as usize)?.flow.as_ref()
    }

    /// Where the flow of a number is found.
    pub(crate) fn home(&self, n: u32) -> Option<Home> {
        self.slots.get(n as usize).map(|s| s.home)
    }

    /// The number of the flow with this identity.
    pub(crate) fn find(&self, ufid: Ufid) -> Option<u32> {
        self.by_ufid.find(ufid_hash(ufid), |n| {
            self.get(n).is_some_and(|f| f.ufid == ufid)
        })
    }

    /// Adds a flow; gives its number, or the flow back when there is no room.
    pub(crate) fn add(&mut self, flow: Arc<DpFlow>, home: Home) -> Result<u32, Arc<DpFlow>> {
        let n = match self.free.pop() {
            Some(Reverse(n)) => n,
            None if self.slots.len() < FLOWS_MAX => {
                self.slots.push(Slot { flow: None, home });
                (self.slots.len() - 1) as u32
            }
            None => return Err(flow),
        };
        self.by_ufid.insert(ufid_hash(flow.ufid), n);
        self.fill_lines(n, &flow);
        self.list.put(n as usize, Some(Arc::clone(&flow)));
        self.slots[n as usize] = Slot {
            flow: Some(flow),
            home,
        };
        self.publish_len();
        Ok(n)
    }

    /// Writes the lines that the packet loop touches of a new flow.
    fn fill_lines(&mut self, n: u32, flow: &DpFlow) {
        let chunk = n as usize / CHUNK;
        if chunk == self.chunks.len() {
            self.open_chunk();
        }
        let mask = self.masks.take(&flow.mask);
        let chunk = &mut self.chunks[chunk];
        if n as usize == MANY_FLOWS {
            chunk.keys.enlarge();
            chunk.live.enlarge();
        }
        let (line, wide) = (flow.masked_line0(), !flow.mask.rest.is_empty());
        chunk.keys[0][n as usize % CHUNK] = line;
        let live = chunk.live(n);
        live.clear();
        live.set(flow.deed.program.fast(), mask, wide);
        live.set_plain(plain::words(&line, wide));
        flow.is_at(n);
    }

    fn open_chunk(&mut self) {
        let n = self.chunks.len();
        let advice = if n == 0 { Advice::Later } else { Advice::Now };
        let live = self.list.live[n].get_or_init(|| Arc::new(Pages::new(1, advice)));
        self.chunks.push(Chunk {
            keys: Pages::new(1, advice),
            live: Arc::clone(live),
        });
    }

    /// Gives a flow other actions; its counters stay unless `zero`. Returns the flow as it was, with what it
    /// had counted.
    pub(crate) fn redo(&mut self, n: u32, deed: Arc<Deed>, zero: bool) -> Option<Arc<DpFlow>> {
        let old = self.get(n)?;
        let live = self.live(n)?;
        let new = old.with(deed);
        old.retire(live);
        live.set_fast(new.deed.program.fast());
        if zero {
            live.clear();
        }
        new.is_at(n);
        let new = Arc::new(new);
        self.list.put(n as usize, Some(Arc::clone(&new)));
        self.slots[n as usize].flow.replace(new)
    }

    /// Removes a flow.
    pub(crate) fn remove(&mut self, n: u32) -> Option<Arc<DpFlow>> {
        let flow = self.slots.get_mut(n as usize)?.flow.take()?;
        let removed = self.by_ufid.remove(ufid_hash(flow.ufid), n);
        debug_assert!(removed, "every flow is known by its ufid");
        if let Some(chunk) = self.chunks.get_mut(n as usize / CHUNK) {
            flow.retire(chunk.live(n));
            // Whoever still has the number finds nothing: no packet is unlike itself in masked-out bits.
            chunk.live(n).set_plain(plain::NOBODY);
            chunk.keys[0][n as usize % CHUNK] = NOBODY;
        }
        self.masks.give_back(&flow.mask);
        self.list.put(n as usize, None);
        self.free.push(Reverse(n));
        self.publish_len();
        Some(flow)
    }

    /// Numbers that may be in use.
    pub(crate) fn numbers(&self) -> std::ops::Range<u32> {
        debug_assert!(NONE as usize > FLOWS_MAX);
        0..self.slots.len() as u32
    }

    fn publish_len(&self) {
        self.list.len.store(self.by_ufid.len(), Ordering::Relaxed);
    }
}

/// A masked line that no packet's equals.
const NOBODY: Line = [u64::MAX; 8];

#[inline]
fn differ(have: &Line, mask: &Line, want: &Line) -> u64 {
    let mut d = 0;
    for i in 0..8 {
        d |= (have[i] & mask[i]) ^ want[i];
    }
    d
}
