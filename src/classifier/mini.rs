//! Compact matches: only the 64-bit words of a flow that a rule looks at.
//!
//! A [`Flow`] and its [`Mask`] take 1,408 bytes; a rule of a five-tuple looks at four words. Rules of the
//! same form share one [`MiniMask`] (it is also the key of their subtable) and keep only the values.
//!
//! Invariants: mask words are in ascending order and never zero; values have no bit outside the mask.

use arrayvec::ArrayVec;
use base::hash;
use base::sync::Arc;
use flow::{FLOW_LINES, Flow, Mask};

/// 64-bit words in a flow.
pub const FLOW_WORDS: usize = FLOW_LINES * 8;

/// A word of a mask: where it is and which bits matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskWord {
    /// Index of the word in the flow.
    pub at: u8,
    /// Bits that must match. Never zero.
    pub bits: u64,
}

/// The words of a mask on the stack, before it is known whether a shared [`MiniMask`] exists.
pub(crate) type MaskWords = ArrayVec<MaskWord, FLOW_WORDS>;

/// Collects the words of `mask` that have any bit.
pub(crate) fn mask_words(mask: &Mask) -> MaskWords {
    let mut out = MaskWords::new();
    let words = mask.lines().as_flattened();
    for (at, &bits) in (0u8..).zip(words) {
        if bits != 0 {
            out.push(MaskWord { at, bits });
        }
    }
    out
}

/// Hash of mask words: key of the table of subtables.
pub(crate) fn hash_words(words: &[MaskWord]) -> u64 {
    let mut h = hash::process_seed();
    for w in words {
        h = hash::mix(hash::mix(h, u64::from(w.at)), w.bits);
    }
    hash::finish(h)
}

/// A mask as the list of its non-zero words.
#[derive(Debug, PartialEq, Eq)]
pub struct MiniMask {
    words: Box<[MaskWord]>,
}

impl MiniMask {
    pub(crate) fn from_words(words: &[MaskWord]) -> Self {
        Self {
            words: words.into(),
        }
    }
    /// The compact form of `mask`.
    #[must_use]
    pub fn new(mask: &Mask) -> Self {
        Self::from_words(&mask_words(mask))
    }
    /// The words, ascending.
    #[must_use]
    pub fn words(&self) -> &[MaskWord] {
        &self.words
    }
    /// The bits of word `at`, zero when it does not matter.
    #[must_use]
    pub fn word(&self, at: usize) -> u64 {
        self.words
            .iter()
            .find(|w| usize::from(w.at) == at)
            .map_or(0, |w| w.bits)
    }
    /// The full mask.
    #[must_use]
    pub fn expand(&self) -> Mask {
        let mut mask = Mask::empty();
        let out = mask.0.lines_mut().as_flattened_mut();
        for w in &self.words {
            out[usize::from(w.at)] = w.bits;
        }
        mask
    }
    /// True when every bit of `other` is also in `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut mine = self.words.iter();
        other.words.iter().all(|o| {
            mine.find(|w| w.at >= o.at)
                .is_some_and(|w| w.at == o.at && o.bits & !w.bits == 0)
        })
    }
    /// Heap bytes behind this mask.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

/// What a rule matches: a shared mask and the values under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MiniMatch {
    mask: Arc<MiniMask>,
    values: Box<[u64]>,
}

impl MiniMatch {
    /// The compact form of `flow` under `mask`; bits of `flow` outside of the mask are dropped.
    #[must_use]
    pub fn new(flow: &Flow, mask: &Mask) -> Self {
        Self::with_mask(flow, Arc::new(MiniMask::new(mask)))
    }
    /// A match of everything.
    #[must_use]
    pub fn catchall() -> Self {
        Self::new(&Flow::zero(), &Mask::empty())
    }
    pub(crate) fn with_mask(flow: &Flow, mask: Arc<MiniMask>) -> Self {
        let words = flow.lines().as_flattened();
        let values = mask
            .words
            .iter()
            .map(|w| words[usize::from(w.at)] & w.bits)
            .collect();
        Self { mask, values }
    }
    /// The mask.
    #[must_use]
    pub fn mask(&self) -> &Arc<MiniMask> {
        &self.mask
    }
    /// The values, one per word of the mask.
    #[must_use]
    pub fn values(&self) -> &[u64] {
        &self.values
    }
    /// The value of word `at`, zero when it does not matter.
    #[must_use]
    pub fn word(&self, at: usize) -> u64 {
        let n = self.mask.words.iter().position(|w| usize::from(w.at) == at);
        n.map_or(0, |n| self.values[n])
    }
    /// True when every packet matches.
    #[must_use]
    pub fn is_catchall(&self) -> bool {
        self.values.is_empty()
    }
    /// Flow and mask at full size.
    #[must_use]
    pub fn expand(&self) -> (Flow, Mask) {
        let mut flow = Flow::zero();
        let out = flow.lines_mut().as_flattened_mut();
        for (w, v) in self.mask.words.iter().zip(&self.values) {
            out[usize::from(w.at)] = *v;
        }
        (flow, self.mask.expand())
    }
    /// True when a packet with this flow matches.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let words = flow.lines().as_flattened();
        self.mask
            .words
            .iter()
            .zip(&self.values)
            .all(|(w, v)| words[usize::from(w.at)] & w.bits == *v)
    }
    /// True when some packet could match this and also `flow` under `mask`.
    #[must_use]
    pub fn intersects(&self, flow: &Flow, mask: &Mask) -> bool {
        let (f, m) = (flow.lines().as_flattened(), mask.lines().as_flattened());
        self.mask.words.iter().zip(&self.values).all(|(w, v)| {
            let at = usize::from(w.at);
            (f[at] ^ v) & w.bits & m[at] == 0
        })
    }
    /// True when some packet could match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut theirs = other.mask.words.iter().zip(&other.values).peekable();
        for (w, v) in self.mask.words.iter().zip(&self.values) {
            while theirs.next_if(|(o, _)| o.at < w.at).is_some() {}
            if let Some((o, ov)) = theirs.next_if(|(o, _)| o.at == w.at)
                && (v ^ ov) & w.bits & o.bits != 0
            {
                return false;
            }
        }
        true
    }
    /// True when `self` is `criteria` or more specific: the rule of non-strict flow mods and queries.
    #[must_use]
    pub fn is_within(&self, criteria: &Self) -> bool {
        let mut mine = self.mask.words.iter().zip(&self.values);
        criteria
            .mask
            .words
            .iter()
            .zip(&criteria.values)
            .all(|(c, cv)| {
                mine.find(|(w, _)| w.at >= c.at).is_some_and(|(w, v)| {
                    w.at == c.at && c.bits & !w.bits == 0 && v & c.bits == *cv
                })
            })
    }
    /// Heap bytes of the values (the mask is shared).
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.values)
    }
}
