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
use std::mem::offset_of;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6};

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

impl HashKey {
    /// What line 0 is hashed with.
    #[inline]
    pub(super) fn line0(&self) -> &Line {
        &self.lines[0]
    }
    #[inline]
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// A hash of all of a flow.
    pub(crate) fn of_flow(&self, flow: &Flow) -> u64 {
        const ALL: Line = [u64::MAX; 8];
        let lines = std::iter::zip(flow.lines(), &self.lines);
        finish(lines.fold(self.seed, |sum, (line, key)| {
            sum.wrapping_add(add_line(line, &ALL, key))
        }))
    }
}

/// Addresses and ports, wherever a flow has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple([u64; 6]);

/// Words of line 0 that hold IPv4 addresses, and ports in the lower half.
const V4: usize = offset_of!(Flow, nw_src) / 8;
const PORTS: usize = offset_of!(Flow, tp_src) / 8;
const _: () = assert!(offset_of!(Flow, nw_dst) == V4 * 8 + 4 && V4 < 8);
const _: () = assert!(offset_of!(Flow, tp_dst) == PORTS * 8 + 2 && PORTS < 8);
/// Line and words of the IPv6 addresses.
const V6: usize = offset_of!(Flow, ipv6_src) / 64;
const _: () =
    assert!(offset_of!(Flow, ipv6_src) % 64 == 0 && offset_of!(Flow, ipv6_dst) % 64 == 16);
const PORT_BITS: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

impl Tuple {
    /// That of a key.
    pub(crate) fn of(key: &Flow) -> Self {
        let lines = key.lines();
        let [a, b, c, d, ..] = lines[V6];
        Self([lines[0][V4], lines[0][PORTS] & PORT_BITS, a, b, c, d])
    }

    pub(crate) fn hash(&self, with: &HashKey) -> u64 {
        self.0.iter().fold(with.seed, |h, &w| base::hash::mix(h, w))
    }
}

/// Adds the masked line to a hash: the sum over its words of (low half + key) * (high half + key), which
/// two different lines share for one key in 2^32 (NH, RFC 4418 section 5.2.2). Eight words at once.
#[inline]
fn add_line(have: &Line, mask: &Line, key: &Line) -> u64 {
    add_words(std::array::from_fn(|i| have[i] & mask[i]), *key)
}

/// As [`add_line`], for some words of it that are masked already.
#[inline]
pub(super) fn add_words<const N: usize>(words: [u64; N], key: [u64; N]) -> u64 {
    let mut sum = 0u64;
    for i in 0..N {
        let low = (words[i] as u32).wrapping_add(key[i] as u32);
        let high = ((words[i] >> 32) as u32).wrapping_add((key[i] >> 32) as u32);
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

    /// True when packets that agree with `key` under this mask have its [`Tuple`]. (A packet that is not
    /// IPv6 has no IPv6 addresses, and one that is has no IPv4 ones.)
    pub(crate) fn pins_tuple(&self, key: &Flow) -> bool {
        let typed = self.mask.0.dl_type.get() == u16::MAX;
        let ported = self.line0[PORTS] & PORT_BITS == PORT_BITS;
        let addressed = match key.dl_type.get() {
            ETH_TYPE_IP => self.line0[V4] == u64::MAX,
            ETH_TYPE_IPV6 => self.mask.lines()[V6][..4] == [u64::MAX; 4],
            _ => false,
        };
        typed && ported && addressed
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
    use proptest::prelude::*;
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

    proptest! {
        /// The twin: the sum by its definition, over all half words.
        #[test]
        fn hashes_are_the_sum_they_say(
            seed in any::<u64>(),
            bytes in prop::collection::vec((0..FLOW_LINES * 64, any::<u8>(), any::<u8>()), 0..60),
        ) {
            let (mut key, mut looked_at) = (Flow::zero(), Mask::empty());
            for (at, k, m) in bytes {
                key.bytes_mut()[at] = k;
                looked_at.0.bytes_mut()[at] = m;
            }
            let with = HashKey::new(seed);
            let sum = |key: &Flow, mask: &Mask, of: LineSet| {
                let mut sum = u128::from(with.seed);
                for l in (0..FLOW_LINES).filter(|&l| of.has(l)) {
                    for w in 0..8 {
                        let word = u128::from(key.lines()[l][w] & mask.lines()[l][w]);
                        let own = u128::from(with.lines[l][w]);
                        let half = |n: u128| n % (1 << 32);
                        sum += half(half(word) + half(own)) * half((word >> 32) + (own >> 32));
                    }
                }
                finish((sum % (1 << 64)) as u64)
            };
            let info = MaskInfo::new(Arc::new(looked_at));
            let lines = LineSet(info.lines.0 | 1);
            prop_assert_eq!(info.hash(&with, &key), sum(&key, &looked_at, lines));
            prop_assert_eq!(with.of_flow(&key), sum(&key, &Mask::exact(), LineSet::ALL));
        }
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
