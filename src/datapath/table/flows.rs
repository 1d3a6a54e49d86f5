//! All flows of one packet thread: by number for the packet loop, by ufid for operations, and as a list
//! that any thread can read while the owner changes it.
//!
//! [`FlowList`] is that list: slots in chunks that are never moved or freed, each holding a flow or
//! nothing. The owner stores into slots, readers load from them; neither waits for the other. A reader that
//! walks the slots sees every flow that was there all along exactly once.

use super::index::Index;
use super::{DpFlow, NONE};
use crate::limits::FLOWS_MAX;
use base::sync::{Arc, ArcSwapOption, AtomicUsize, OnceLock, Ordering};
use odp::Ufid;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Slots of a chunk.
const CHUNK: usize = 1024;

type Chunk = Box<[ArcSwapOption<DpFlow>]>;

/// See the module.
#[derive(Debug)]
pub(crate) struct FlowList {
    chunks: Box<[OnceLock<Chunk>]>,
    /// Slots that were ever used.
    used: AtomicUsize,
    /// Flows.
    len: AtomicUsize,
}

impl Default for FlowList {
    fn default() -> Self {
        Self {
            chunks: (0..FLOWS_MAX / CHUNK).map(|_| OnceLock::new()).collect(),
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
        self.chunks.get(slot / CHUNK)?.get()?[slot % CHUNK].load_full()
    }
    /// Owner only.
    fn put(&self, slot: usize, flow: Option<Arc<DpFlow>>) {
        let chunk = self.chunks[slot / CHUNK]
            .get_or_init(|| (0..CHUNK).map(|_| ArcSwapOption::empty()).collect());
        chunk[slot % CHUNK].store(flow);
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

/// See the module. Owned by one packet thread.
#[derive(Debug)]
pub(crate) struct Flows {
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
            // Address space, not memory: growing by copying would hold up the packet loop.
            slots: Vec::with_capacity(1 << 18),
            free: BinaryHeap::new(),
            by_ufid: Index::new(),
            list,
        }
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
        self.list.put(n as usize, Some(Arc::clone(&flow)));
        self.slots[n as usize] = Slot {
            flow: Some(flow),
            home,
        };
        self.publish_len();
        Ok(n)
    }

    /// Puts another flow with the same identity in place of one; gives the old one.
    pub(crate) fn replace(&mut self, n: u32, flow: Arc<DpFlow>) -> Option<Arc<DpFlow>> {
        debug_assert!(self.get(n).is_some_and(|old| old.ufid == flow.ufid));
        self.list.put(n as usize, Some(Arc::clone(&flow)));
        self.slots[n as usize].flow.replace(flow)
    }

    /// Removes a flow.
    pub(crate) fn remove(&mut self, n: u32) -> Option<Arc<DpFlow>> {
        let flow = self.slots.get_mut(n as usize)?.flow.take()?;
        let removed = self.by_ufid.remove(ufid_hash(flow.ufid), n);
        debug_assert!(removed, "every flow is known by its ufid");
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
