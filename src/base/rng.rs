//! A small seeded generator (xorshift64*), for simulations, fault injection and sampling. Not for secrets.

/// The generator; the same seed gives the same numbers for ever.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator from a seed; seed 0 is as good as any other.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(crate::hash::finish(seed) | 1)
    }
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `bound` (0 when `bound` is 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is below the bound.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
    /// True with probability `per_million` / 1,000,000.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }
}
