//! [`Chain`]: numbers that come home from any thread, a batch with one instruction.
//!
//! One word holds the head of a linked list and its length. Anybody pushes a whole batch with one
//! compare-and-swap; whoever takes, takes everything at once, so there is no ABA problem: a head that was
//! taken and pushed again still heads a list of the length beside it.
//!
//! Invariant: a number is in the chain at most once; whoever pushes it gives it away.

use super::CachePadded;
use super::primitive::{AtomicU32, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub struct Chain {
    /// How many numbers are in the chain (upper half), and the first one (lower half).
    home: CachePadded<AtomicU64>,
    /// Per number, the one behind it.
    next: Box<[AtomicU32]>,
}

impl Chain {
    /// An empty chain for the numbers below `n`.
    #[must_use]
    pub fn new(n: u32) -> Self {
        Self {
            home: CachePadded::new(AtomicU64::new(0)),
            next: (0..n).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Gives numbers (their lower 32 bits, all below the bound) away, with all that was done to what they name.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "numbers are 32 bits wide, and the lower half of the head is one"
    )]
    #[inline]
    pub fn push(&self, numbers: &[u64]) {
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else {
            return;
        };
        for pair in numbers.windows(2) {
            self.next[pair[0] as usize].store(pair[1] as u32, Ordering::Relaxed);
        }
        let mut head = self.home.load(Ordering::Relaxed);
        loop {
            self.next[last as usize].store(head as u32, Ordering::Relaxed);
            let new = ((head >> 32) + numbers.len() as u64) << 32 | first;
            // Release: the links above, and all use of what the numbers name, come before (pairs with take()).
            let swapped =
                self.home
                    .compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed);
            match swapped {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all numbers; returns how many there were. One load when there is none.
    #[inline]
    pub fn take(&self, mut each: impl FnMut(u32)) -> u64 {
        if self.home.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let chain = self.home.swap(0, Ordering::Acquire); // pairs with the Release in push()
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lower half is the head"
        )]
        let mut at = chain as u32;
        let count = chain >> 32;
        for _ in 0..count {
            let next = self.next[at as usize].load(Ordering::Relaxed);
            each(at);
            at = next;
        }
        count
    }

    /// How many numbers are in it.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.home.load(Ordering::Acquire) >> 32 // pairs with the Release in push()
    }
    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
