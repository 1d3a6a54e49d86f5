//! [`Pace`]: how long a round takes, less the time in which nobody could do anything of it.
//!
//! The dynamic flow limit follows the duration of dumps: many flows take long, so fewer are allowed. A process that
//! was stopped in mid-dump (SIGSTOP, a debugger, a frozen container, a suspended guest) takes long too, whatever
//! the number of its flows; were that counted, one such stop would halve the limit, and flows in use would be deleted
//! and set up again. The workers of a round therefore tell of every few dozen flows that they have done. When none
//! of them did so for [`PAUSE_MS`], that time was not theirs. (Too many flows, or processors that others use as well,
//! make steps slow, not rare: they count.)
//!
//! Any worker may call anything here; times may come a little out of order.

use base::clock::Nanos;
use base::sync::{AtomicU64, Ordering};

/// The longest time without a step that is taken for work, milliseconds: a step takes a few at most.
const PAUSE_MS: u64 = 500;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    begun: AtomicU64,
    /// The last step of any worker.
    last: AtomicU64,
    /// Nanoseconds that were nobody's.
    lost: AtomicU64,
}

impl Pace {
    /// A round begins.
    pub(crate) fn begin(&self, now: Nanos) {
        // Relaxed, here and below: the barrier between a round's phases orders its workers, and a step more
        // or less is no matter.
        self.begun.store(now.0, Ordering::Relaxed);
        self.last.store(now.0, Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
    }

    /// A worker has done a little of it.
    pub(crate) fn step(&self, now: Nanos) {
        let last = Nanos(self.last.fetch_max(now.0, Ordering::Relaxed));
        let gap = now.since(last);
        if gap.as_millis() > u128::from(PAUSE_MS) {
            self.lost
                .fetch_add(now.0.saturating_sub(last.0), Ordering::Relaxed);
        }
    }

    /// It has ended: milliseconds that it took, and those besides in which nothing was done.
    pub(crate) fn end(&self, now: Nanos) -> (u64, u64) {
        self.step(now);
        let begun = Nanos(self.begun.load(Ordering::Relaxed));
        let lost = self.lost.load(Ordering::Relaxed);
        let took = now.0.saturating_sub(begun.0).saturating_sub(lost);
        (Nanos(took).millis(), Nanos(lost).millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Settings;

    fn round(steps: &[u64], end: u64) -> (u64, u64) {
        let pace = Pace::default();
        pace.begin(Nanos::from_millis(1000));
        for &ms in steps {
            pace.step(Nanos::from_millis(ms));
        }
        pace.end(Nanos::from_millis(end))
    }

    #[test]
    fn steady_work_counts_however_long_it_takes() {
        assert_eq!(round(&[], 1003), (3, 0));
        let steps: Vec<u64> = (0..20).map(|i| 1000 + i * 400).collect();
        assert_eq!(round(&steps, 9000), (8000, 0));
        // Two workers, one of them held up.
        assert_eq!(round(&[1400, 1300, 1800, 1350, 2200], 2500), (1500, 0));
    }

    #[test]
    fn a_stop_in_mid_dump_does_not_cut_the_limit() {
        let (took, lost) = round(&[1010, 1020, 25_000, 25_010, 40_000], 40_020);
        assert_eq!((took, lost), (50, 38_970));
        assert_eq!(round(&[1010], 6000), (10, 4990));
        let settings = Settings {
            flow_limit: 500_000,
            ..Settings::default()
        };
        assert_eq!(settings.next_limit(500_000, took, 100_000), 500_000);
        assert_eq!(settings.next_limit(500_000, took + lost, 100_000), 12_820);
    }

    #[test]
    fn a_round_knows_nothing_of_the_one_before() {
        let pace = Pace::default();
        pace.begin(Nanos::from_millis(0));
        pace.step(Nanos::from_millis(5000));
        assert_eq!(pace.end(Nanos::from_millis(5001)), (1, 5000));
        pace.begin(Nanos::from_millis(9000));
        assert_eq!(pace.end(Nanos::from_millis(9007)), (7, 0));
    }
}
