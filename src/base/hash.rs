//! The flow hash: seeded, the same on every thread, cheap.
//!
//! A multiply-and-fold hash over 64-bit words (two independent 64x64->128 multiplications). It is
//! keyed by a per-process random seed so that a peer cannot compute colliding flows offline.

use crate::sync::OnceLock;

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;

static SEED: OnceLock<u64> = OnceLock::new();

/// Sets the seed, for simulations that are to repeat; false when it is in use already.
pub fn fix_process_seed(seed: u64) -> bool {
    SEED.set(seed).is_ok()
}

/// The per-process random seed of tables that packets can reach.
#[must_use]
pub fn process_seed() -> u64 {
    *SEED.get_or_init(|| {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    })
}

/// Folds a 128-bit product into 64 bits.
#[inline]
#[must_use]
pub const fn fold(a: u64, b: u64) -> u64 {
    let p = (a as u128).wrapping_mul(b as u128);
    p as u64 ^ (p >> 64) as u64
}

/// Adds one word to a running hash.
#[inline]
#[must_use]
pub const fn mix(h: u64, w: u64) -> u64 {
    fold(h ^ w ^ K0, K1 ^ w.rotate_left(32))
}

/// Hashes a sequence of words.
#[inline]
#[must_use]
pub fn words(seed: u64, words: &[u64]) -> u64 {
    let mut h = seed;
    for &w in words {
        h = mix(h, w);
    }
    finish(h)
}

/// MurmurHash3 (in the public domain), one word: for hashes that must be the same as in other switches.
#[inline]
#[must_use]
pub const fn murmur_add(hash: u32, data: u32) -> u32 {
    let mut h = hash;
    if data != 0 {
        h ^= data
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593);
    }
    h.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// MurmurHash3, the end.
#[inline]
#[must_use]
pub const fn murmur_finish(hash: u32, last: u32) -> u32 {
    let mut h = hash ^ last;
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

/// Makes every bit of the result depend on every bit of the state.
#[inline]
#[must_use]
pub const fn finish(h: u64) -> u64 {
    fold(h ^ K1, K0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_by_seed_order_and_content() {
        let h = words(1, &[1, 2, 3]);
        assert_ne!(h, words(2, &[1, 2, 3]));
        assert_ne!(h, words(1, &[2, 1, 3]));
        assert_ne!(h, words(1, &[1, 2, 4]));
        assert_ne!(words(1, &[0]), words(1, &[0, 0]));
    }

    #[test]
    fn low_bits_of_counters_spread_evenly() {
        let mut buckets = [0u32; 64];
        for i in 0..64_000u64 {
            buckets[(words(process_seed(), &[i]) % 64) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|&n| (800..1200).contains(&n)),
            "{buckets:?}"
        );
    }
}
