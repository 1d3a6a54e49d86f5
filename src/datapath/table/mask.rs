//! [`MaskInfo`]: a megaflow mask, prepared for hashing and comparing; and where equal masks become one.
//!
//! Control threads prepare masks and flows, packet threads only use them. Two flows have the same mask
//! exactly when their `Arc<MaskInfo>` are the same pointer.

use base::hash::{finish, mix};
use base::sync::{Arc, Mutex, Weak, lock};
use flow::{Depth, Flow, LineSet, Mask};
use std::collections::HashMap;

/// A 64-byte line of a flow.
pub(crate) type Line = [u64; 8];

/// One word of a flow that a mask looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    /// Which of the flow's 64-bit words.
    at: u32,
    /// Which of its bits.
    mask: u64,
}

/// The words that a mask looks at: hashing a flow touches nothing else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words(Box<[Word]>);

impl Words {
    /// The non-zero words of `mask`.
    pub(crate) fn of(mask: &Mask) -> Self {
        let words = mask.lines().as_flattened().iter().zip(0..);
        Self(
            words
                .filter(|(m, _)| **m != 0)
                .map(|(&mask, at)| Word { at, mask })
                .collect(),
        )
    }

    /// A hash of the bits of `key` that the mask has set. Two flows that agree in them have the same.
    #[inline]
    pub(crate) fn hash(&self, seed: u64, key: &Flow) -> u64 {
        let words = key.lines().as_flattened();
        let mut h = seed;
        for w in &self.0 {
            h = mix(h, words[w.at as usize] & w.mask);
        }
        finish(h)
    }
}

/// A mask with everything that is computed from it once.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct MaskInfo {
    /// Line 0, which nearly every comparison needs and most need alone.
    pub(crate) line0: Line,
    /// The other lines with any bit, in order.
    pub(crate) rest: Box<[(usize, Line)]>,
    /// Lines with any bit.
    pub(crate) lines: LineSet,
    /// How deep a packet must be parsed to be compared.
    pub(crate) depth: Depth,
    /// For hashing.
    pub(crate) words: Words,
    /// The mask itself.
    pub(crate) mask: Arc<Mask>,
}

impl MaskInfo {
    /// Prepares a mask.
    pub(crate) fn new(mask: Arc<Mask>) -> Self {
        let lines = mask.lines();
        let rest = lines.iter().copied().enumerate().skip(1);
        Self {
            line0: lines[0],
            rest: rest.filter(|(_, l)| l.iter().any(|&w| w != 0)).collect(),
            lines: LineSet(mask.touched()),
            depth: mask.depth(),
            words: Words::of(&mask),
            mask,
        }
    }

    /// True when every bit of `other` is in this mask too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.mask.covers(&other.mask)
    }
}

/// One `Arc<MaskInfo>` for each distinct mask in use.
#[derive(Debug, Default)]
pub(crate) struct Masks(Mutex<HashMap<u64, Vec<Weak<MaskInfo>>>>);

impl Masks {
    /// The prepared form of `mask`.
    pub(crate) fn intern(&self, mask: &Arc<Mask>) -> Arc<MaskInfo> {
        let seed = base::hash::process_seed();
        let hash = base::hash::words(seed, mask.lines().as_flattened());
        let mut masks = lock(&self.0);
        if let Some(found) = masks.get(&hash).and_then(|same| {
            let mut live = same.iter().filter_map(Weak::upgrade);
            live.find(|m| *m.mask == **mask)
        }) {
            return found;
        }
        let made = Arc::new(MaskInfo::new(Arc::clone(mask)));
        if masks.len() == masks.capacity() {
            masks.retain(|_, same| {
                same.retain(|m| m.strong_count() > 0);
                !same.is_empty()
            });
        }
        masks.entry(hash).or_default().push(Arc::downgrade(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Ipv4, U16, U32};

    fn mask(f: impl FnOnce(&mut Flow)) -> Arc<Mask> {
        let mut m = Mask::empty();
        f(&mut m.0);
        Arc::new(m)
    }

    #[test]
    fn equal_masks_become_one_and_unused_ones_go() {
        let masks = Masks::default();
        let a = masks.intern(&mask(|m| m.nw_src = Ipv4([255; 4])));
        let b = masks.intern(&mask(|m| m.nw_src = Ipv4([255; 4])));
        let c = masks.intern(&mask(|m| m.nw_src = Ipv4([255, 255, 255, 0])));
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
        assert!(a.covers(&c) && !c.covers(&a));
        drop((a, b, c));
        for i in 1..2000u32 {
            masks.intern(&mask(|m| m.dp_hash = U32::new(i)));
        }
        assert!(lock(&masks.0).len() < 2000);
    }

    #[test]
    fn hashes_see_masked_bits_only() {
        let info = MaskInfo::new(mask(|m| {
            m.nw_src = Ipv4([255, 255, 0, 0]);
            m.ipv6_label = U32::new(0xff);
        }));
        let mut key = Flow::zero();
        key.nw_src = Ipv4([10, 1, 2, 3]);
        let h = info.words.hash(5, &key);
        key.tp_src = U16::new(80);
        key.nw_src = Ipv4([10, 1, 9, 9]);
        assert_eq!(info.words.hash(5, &key), h);
        assert_ne!(info.words.hash(6, &key), h);
        key.ipv6_label = U32::new(1);
        assert_ne!(info.words.hash(5, &key), h);
        assert_eq!(info.rest.len(), 1);
        assert_eq!(info.lines, LineSet(3));
        assert_eq!(info.depth, Depth::L3);
    }
}
