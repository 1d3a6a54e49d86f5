//! [`DpFlow`]: one installed megaflow of one packet thread, as everybody but the packet loop sees it.
//!
//! Made by control threads, read by anybody. What the packet loop needs of it (the masked first line, the
//! mask's number, counters, the simplest kind of program) is copied into the thread's own arrays when it
//! is installed: see [`super::flows`].

use super::live::{LastStats, Live};
use super::mask::{Line, MaskInfo, Tuple};
use super::{FlowList, NONE};
use crate::actions::Deed;
use base::sync::{Arc, AtomicBool, AtomicU32, Ordering, fence};
use flow::{Flow, LineSet};
use odp::{FlowStats, Ufid};

/// An installed megaflow.
#[derive(Debug)]
pub(crate) struct DpFlow {
    /// Line 0 of the key it was made from; its mask says which bits count.
    line0: Line,
    /// The other lines of that key that are not all zero, by number.
    rest: Box<[(u8, Line)]>,
    /// Which bits of the key count.
    pub(crate) mask: Arc<MaskInfo>,
    /// What its packets go through.
    pub(crate) deed: Arc<Deed>,
    /// Identity.
    pub(crate) ufid: Ufid,
    /// Its number on its packet thread, [`NONE`] before it has one.
    number: AtomicU32,
    /// It is no more in the table, and `last` holds what it counted.
    gone: AtomicBool,
    last: LastStats,
}

impl DpFlow {
    /// A flow that is in no table.
    pub(crate) fn new(ufid: Ufid, key: &Flow, mask: Arc<MaskInfo>, deed: Arc<Deed>) -> Self {
        let lines = key.lines();
        let rest = (1u8..).zip(&lines[1..]);
        Self {
            line0: lines[0],
            rest: rest
                .filter(|(_, line)| **line != [0; 8])
                .map(|(l, line)| (l, *line))
                .collect(),
            mask,
            deed,
            ufid,
            number: AtomicU32::new(NONE),
            gone: AtomicBool::new(false),
            last: LastStats::default(),
        }
    }

    /// The same flow with other actions.
    pub(crate) fn with(&self, deed: Arc<Deed>) -> Self {
        Self {
            line0: self.line0,
            rest: self.rest.clone(),
            mask: Arc::clone(&self.mask),
            deed,
            ufid: self.ufid,
            number: AtomicU32::new(NONE),
            gone: AtomicBool::new(false),
            last: LastStats::default(),
        }
    }

    /// It is in its thread's table under this number. Before anybody else can see it.
    pub(super) fn is_at(&self, number: u32) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// It is replaced or removed, and this is what it counted. Packet thread only.
    pub(super) fn retire(&self, live: &Live) {
        self.last.set(&live.read());
        // Pairs with stats(): who sees this sees `last`.
        self.gone.store(true, Ordering::Release);
        // Pairs with stats(): who sees what its place counts next sees this.
        fence(Ordering::Release);
    }

    /// What it has counted; of a flow that is no more, its last figures.
    pub(crate) fn stats(&self, list: &FlowList) -> FlowStats {
        let number = self.number.load(Ordering::Relaxed);
        let live = list.live(number).map(|live| live.read());
        // Pairs with retire(): counters of the place's next flow are not taken for ours.
        fence(Ordering::Acquire);
        match live {
            Some(live) if !self.gone.load(Ordering::Acquire) => live,
            _ => self.last.read(),
        }
    }

    /// Its last figures: once it is gone, or before it was anywhere.
    pub(crate) fn last_stats(&self) -> FlowStats {
        self.last.read()
    }

    /// True when the packet with this key belongs to the flow. `valid` names the lines of `key` that hold
    /// what they should; a flow that looks at any other does not match.
    pub(crate) fn matches(&self, key: &Flow, valid: LineSet) -> bool {
        self.matches_line0(&key.lines()[0]) && self.matches_rest(key, valid)
    }

    /// True when line 0 of a key agrees: a cheap first test before [`DpFlow::matches`].
    #[inline]
    pub(crate) fn matches_line0(&self, line: &Line) -> bool {
        differ(line, &self.line0, &self.mask.line0) == 0
    }

    /// True when all other lines agree.
    pub(super) fn matches_rest(&self, key: &Flow, valid: LineSet) -> bool {
        let lines = key.lines();
        self.mask.lines.0 & !valid.0 == 0
            && (self.mask.rest.iter()).all(|(l, m)| differ(&lines[*l], self.line(*l), m) == 0)
    }

    fn line(&self, l: usize) -> &Line {
        const ZERO: &Line = &[0; 8];
        let mut rest = self.rest.iter();
        rest.find(|(n, _)| usize::from(*n) == l)
            .map_or(ZERO, |(_, line)| line)
    }

    /// Line 0 of the masked key.
    pub(super) fn masked_line0(&self) -> Line {
        std::array::from_fn(|i| self.line0[i] & self.mask.line0[i])
    }

    /// The key as it was installed, unmasked.
    pub(crate) fn given_key(&self) -> Flow {
        let mut key = Flow::zero();
        let lines = key.lines_mut();
        lines[0] = self.line0;
        for (l, line) in &self.rest {
            lines[usize::from(*l)] = *line;
        }
        key
    }

    /// The masked key.
    #[cfg(test)]
    pub(crate) fn key(&self) -> Flow {
        self.given_key().masked(&self.mask.mask)
    }

    /// Addresses and ports that all its packets have, if they all have the same.
    pub(crate) fn pinned_tuple(&self) -> Option<Tuple> {
        let key = self.given_key();
        self.mask.pins_tuple(&key).then(|| Tuple::of(&key))
    }

    /// The ingress port, which every flow looks at, and the recirculation id.
    pub(crate) fn source(&self) -> (u32, u32) {
        let key = zerocopy::transmute_ref!(&self.line0);
        let [port, recirc, ..]: &[wire::U32; 16] = key;
        (port.get(), recirc.get())
    }
}

#[inline]
fn differ(a: &Line, b: &Line, mask: &Line) -> u64 {
    let mut d = 0;
    for i in 0..8 {
        d |= (a[i] ^ b[i]) & mask[i];
    }
    d
}
