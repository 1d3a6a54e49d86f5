//! [`MaskInfo`]: a megaflow mask, prepared for hashing and comparing; and where equal masks become one.
//!
//! Control threads prepare masks and flows, packet threads only use them. Two flows have the same mask
//! exactly when their `Arc<MaskInfo>` are the same pointer.

use base::hash::finish;
use base::rng::Rng;
use base::sync::{Arc, Mutex, Weak, lock};
use flow::{Depth, FLOW_LINES, Flow, LineSet, Mask};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A 64-byte line of a flow.
pub(crate) type Line = [u64; 8];

/// The key of a table's hashes: 32 bits of its own for every half word of a flow.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct HashKey {
    lines: [Line; FLOW_LINES],
    seed: u64,
}

impl HashKey {
    /// The key that follows from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut lines = [[0; 8]; FLOW_LINES];
        lines.as_flattened_mut().fill_with(|| rng.next_u64());
        Self { lines, seed }
    }
}

/// Adds the masked line to a hash: the sum over its words of (low half + key) * (high half + key), which
/// two different lines share for one key in 2^32 (NH, RFC 4418 section 5.2.2). Eight words at once.
#[inline]
fn add_line(have: &Line, mask: &Line, key: &Line) -> u64 {
    let mut sum = 0u64;
    for i in 0..8 {
        let word = have[i] & mask[i];
        let low = (word as u32).wrapping_add(key[i] as u32);
        let high = ((word >> 32) as u32).wrapping_add((key[i] >> 32) as u32);
        sum = sum.wrapping_add(u64::from(low) * u64::from(high));
    }
    sum
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
            mask,
        }
    }

    /// A hash of the bits of `key` that the mask has set. Two flows that agree in them have the same.
    #[inline]
    pub(crate) fn hash(&self, with: &HashKey, key: &Flow) -> u64 {
        let lines = key.lines();
        let mut sum = with.seed;
        sum = sum.wrapping_add(add_line(&lines[0], &self.line0, &with.lines[0]));
        for (l, mask) in &self.rest {
            sum = sum.wrapping_add(add_line(&lines[*l], mask, &with.lines[*l]));
        }
        finish(sum)
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

/// The first lines of the masks that a packet thread's flows have, side by side, by small numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    lines: Vec<Aligned>,
    users: Vec<u32>,
    free: Vec<u32>,
    /// By the address of the mask, which its flows keep from being another's.
    known: HashMap<usize, u32>,
}

#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Aligned(Line);

impl Numbers {
    /// The first line of a mask.
    #[inline]
    pub(super) fn line0(&self, number: u32) -> &Line {
        &self.lines[number as usize].0
    }

    /// The number of a mask that one more flow has.
    pub(super) fn take(&mut self, mask: &Arc<MaskInfo>) -> u32 {
        let number = match self.known.entry(Arc::as_ptr(mask).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(match self.free.pop() {
                Some(number) => {
                    self.lines[number as usize] = Aligned(mask.line0);
                    number
                }
                None => {
                    self.lines.push(Aligned(mask.line0));
                    self.users.push(0);
                    (self.lines.len() - 1) as u32
                }
            }),
        };
        self.users[number as usize] += 1;
        number
    }

    /// One flow less has this mask.
    pub(super) fn give_back(&mut self, mask: &Arc<MaskInfo>) {
        let address = Arc::as_ptr(mask).addr();
        let Some(&number) = self.known.get(&address) else {
            debug_assert!(false, "only what was taken is given back");
            return;
        };
        let users = &mut self.users[number as usize];
        *users -= 1;
        if *users == 0 {
            self.known.remove(&address);
            self.free.push(number);
        }
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
        let (five, six) = (HashKey::new(5), HashKey::new(6));
        let h = info.hash(&five, &key);
        key.tp_src = U16::new(80);
        key.nw_src = Ipv4([10, 1, 9, 9]);
        assert_eq!(info.hash(&five, &key), h);
        assert_ne!(info.hash(&six, &key), h);
        key.ipv6_label = U32::new(1);
        assert_ne!(info.hash(&five, &key), h);
        assert_eq!(info.rest.len(), 1);
        assert_eq!(info.lines, LineSet(3));
        assert_eq!(info.depth, Depth::L3);
    }

    #[test]
    fn hashes_of_neighbours_spread_evenly() {
        let info = MaskInfo::new(mask(|m| {
            m.nw_src = Ipv4([255; 4]);
            m.nw_dst = Ipv4([255; 4]);
            m.tp_dst = U16::new(u16::MAX);
        }));
        for seed in 0..20 {
            let with = HashKey::new(seed);
            let (mut high, mut low) = ([0u32; 64], [0u32; 64]);
            for i in 0..64_000u32 {
                let mut key = Flow::zero();
                key.nw_src = Ipv4::from_u32(0x0a00_0000 + i);
                key.nw_dst = Ipv4::from_u32(0x1400_0000 + i.wrapping_mul(7));
                key.tp_dst = U16::new((i % 300) as u16);
                let h = info.hash(&with, &key);
                high[(h >> 32) as usize % 64] += 1;
                low[h as usize % 64] += 1;
            }
            for n in high.iter().chain(&low) {
                assert!((800..1200).contains(n), "{seed}: {high:?} {low:?}");
            }
        }
    }

    #[test]
    fn mask_numbers_are_given_out_again_once_unused() {
        let masks: Vec<_> = (1..5u32)
            .map(|n| Arc::new(MaskInfo::new(mask(|m| m.dp_hash = U32::new(n)))))
            .collect();
        let mut numbers = Numbers::default();
        let taken: Vec<u32> = masks.iter().map(|m| numbers.take(m)).collect();
        assert_eq!(taken, [0, 1, 2, 3]);
        assert_eq!(numbers.take(&masks[1]), 1);
        numbers.give_back(&masks[1]);
        assert_eq!(*numbers.line0(1), masks[1].line0);
        numbers.give_back(&masks[1]);
        let new = Arc::new(MaskInfo::new(mask(|m| m.dp_hash = U32::new(9))));
        assert_eq!(numbers.take(&new), 1);
        assert_eq!(*numbers.line0(1), new.line0);
        assert_eq!(numbers.take(&masks[1]), 4);
    }
}
