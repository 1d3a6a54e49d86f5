//! [`Pace`]: how often a ring is looked at while its guest is busy.
//!
//! Guest and switch share the line of the available index: each look takes it from the guest, whose next packets then
//! wait for its return, and a look at each burst keeps the two in a step that is slow for both (lines of processors that
//! share no cache take 250 ns to change sides, as long as five packets). So a look that found a full burst or more is
//! followed by a rest, in which several bursts come together. A guest that sends less is looked at every time: its
//! packets wait for nobody.

use base::clock::monotonic_ns;
use packet::BATCH_MAX;

/// Longest rest, nanoseconds.
const REST_NS: u64 = 16_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time of the last look that found a full burst.
    last: u64,
    /// When the rest ends; 0 when there is none.
    until: u64,
}

impl Pace {
    /// Is it too early for another look?
    #[inline]
    pub(super) fn holds(&mut self) -> bool {
        self.until != 0 && monotonic_ns() < self.until
    }

    /// A look found `n` new packets in a ring of `size`.
    #[inline]
    pub(super) fn looked(&mut self, n: u16, size: u16) {
        if usize::from(n) < BATCH_MAX {
            self.until = 0;
        } else {
            self.found(n, size, monotonic_ns());
        }
    }

    #[cfg(test)]
    pub(super) fn endless() -> Self {
        let until = u64::MAX;
        Self { last: 0, until }
    }

    /// Rests, but not for longer than a quarter of the ring takes to fill.
    fn found(&mut self, n: u16, size: u16, now: u64) {
        let since = now.saturating_sub(self.last);
        self.last = now;
        let quarter = since.saturating_mul(u64::from(size / 4)) / u64::from(n.max(1));
        self.until = now + REST_NS.min(quarter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_follows_full_bursts_and_is_short_for_short_rings() {
        let mut pace = Pace::default();
        let mut rest = |n, size, now| {
            pace.found(n, size, now);
            pace.until - now
        };
        assert_eq!(rest(32, 1024, 1_000_000), REST_NS, "nothing is known yet");
        // 32 packets in 4 us: 256 would take 32 us, 64 take 8, none of them fit into a ring of 2.
        assert_eq!(rest(32, 1024, 1_004_000), REST_NS);
        assert_eq!(rest(32, 256, 1_008_000), 8_000);
        assert_eq!(rest(32, 2, 1_012_000), 0);
        assert_eq!(rest(64, 256, 1_012_000), 0, "a clock that stands still");
    }

    #[test]
    fn few_packets_are_looked_for_every_time() {
        let mut pace = Pace::default();
        assert!(!pace.holds());
        pace.looked(31, 1024);
        assert!(!pace.holds());
        pace.until = u64::MAX;
        assert!(pace.holds());
        pace.looked(0, 1024);
        assert!(!pace.holds());
    }
}
