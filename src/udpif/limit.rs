//! The numbers that decide how many flows there are and how long they live. Pure arithmetic; the
//! rules are those of Open vSwitch, so that operators' knowledge of `upcall/show` stays true.

use base::clock::Nanos;

/// No dynamic limit goes below this.
pub const FLOW_LIMIT_MIN: u32 = 1_000;
/// The dynamic limit that a fresh switch begins with (or `flow-limit`, when that is smaller).
pub const FLOW_LIMIT_START: u32 = 10_000;
/// What the dynamic limit grows by after a quick dump.
const FLOW_LIMIT_STEP: u32 = 1_000;
/// Idle time allowed while there are more flows than the limit, milliseconds.
pub const IDLE_OVER_LIMIT_MS: u64 = 100;

/// What the operator sets (`other_config` of the database). Milliseconds where not said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `flow-limit`: the dynamic limit never exceeds it.
    pub flow_limit: u32,
    /// `max-idle`.
    pub max_idle_ms: u64,
    /// `max-revalidator`: longest time between two dumps.
    pub max_revalidator_ms: u64,
    /// `min-revalidate-pps`: slower flows are deleted rather than translated again, when dumps are slow.
    pub min_revalidate_pps: u64,
    /// Translate every flow in every round and compare with what the index says. For tests and hunts.
    pub verify: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flow_limit: 200_000,
            max_idle_ms: 10_000,
            max_revalidator_ms: 500,
            min_revalidate_pps: 5,
            verify: false,
        }
    }
}

impl Settings {
    /// Time from the start of one dump to the start of the next.
    #[must_use]
    pub fn dump_interval_ms(&self) -> u64 {
        self.max_idle_ms.min(self.max_revalidator_ms)
    }

    /// The dynamic limit after a dump that took `duration_ms` and found `n_flows`.
    #[must_use]
    pub fn next_limit(&self, limit: u32, duration_ms: u64, n_flows: u64) -> u32 {
        let duration_ms = duration_ms.max(1);
        let mut next = u64::from(limit);
        if duration_ms > 2_000 {
            next /= duration_ms / 1_000;
        } else if duration_ms > 1_300 {
            next = next * 3 / 4;
        } else if duration_ms < 1_000 && next < n_flows.saturating_mul(1_000) / duration_ms {
            next += u64::from(FLOW_LIMIT_STEP);
        }
        let next = next
            .max(u64::from(FLOW_LIMIT_MIN))
            .min(u64::from(self.flow_limit));
        u32::try_from(next).unwrap_or(self.flow_limit)
    }

    /// Idle time that a flow is allowed when there are `n_flows` under `limit`.
    #[must_use]
    pub fn idle_ms(&self, n_flows: u64, limit: u32) -> u64 {
        if n_flows > u64::from(limit) {
            IDLE_OVER_LIMIT_MS
        } else {
            self.max_idle_ms
        }
    }

    /// True when a flow whose last packet came at `used`, `packets` of them since the last look, is worth
    /// a translation after dumps that take `dump_ms`.
    #[must_use]
    pub fn worth_revalidating(
        &self,
        dump_ms: u64,
        packets: u64,
        used: Option<Nanos>,
        now: Nanos,
    ) -> bool {
        let Some(used) = used else {
            return true; // never dumped yet
        };
        if dump_ms < self.max_revalidator_ms / 2 {
            return true;
        }
        let age_ms = now.millis().saturating_sub(used.millis());
        age_ms / packets.max(1) < 1_000 / self.min_revalidate_pps.max(1)
    }
}

/// How cold the flows were at the last dump: the number of flows by the logarithm of their idle time.
/// Answers, when there are far too many flows, how idle the ones to go are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgeHistogram {
    /// Bucket b counts flows idle for 2^(b-1) to 2^b - 1 milliseconds; bucket 0 those idle for none.
    buckets: [u64; Self::BUCKETS],
}

impl AgeHistogram {
    const BUCKETS: usize = 32;

    fn bucket(age_ms: u64) -> usize {
        (64 - age_ms.leading_zeros() as usize).min(Self::BUCKETS - 1)
    }
    /// Counts a flow that was idle for `age_ms`.
    pub fn add(&mut self, age_ms: u64) {
        self.buckets[Self::bucket(age_ms)] += 1;
    }
    /// Adds the counts of another thread.
    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.buckets.iter_mut().zip(&other.buckets) {
            *a += b;
        }
    }
    /// The largest idle time (ms, a power of two or 0) such that at least `n` flows were that idle.
    #[must_use]
    pub fn coldest(&self, n: u64) -> u64 {
        let mut sum = 0;
        for b in (1..Self::BUCKETS).rev() {
            sum += self.buckets[b];
            if sum >= n {
                return 1 << (b - 1);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as a person would say it, in floating point free words of its own.
    fn twin(s: &Settings, limit: u32, ms: u64, n: u64) -> u32 {
        let ms = if ms == 0 { 1 } else { ms };
        let l = limit as i128;
        let wanted = match ms {
            2001.. => l / (ms as i128 / 1000),
            1301..=2000 => l - l.div_euclid(4) - i128::from(l % 4 != 0),
            1000..=1300 => l,
            _ => {
                let rate = n as i128 * 1000 / ms as i128;
                if l < rate { l + 1000 } else { l }
            }
        };
        let floor = if wanted < 1000 { 1000 } else { wanted };
        let cap = i128::from(s.flow_limit);
        (if floor > cap { cap } else { floor }) as u32
    }

    proptest! {
        #[test]
        fn the_limit_follows_its_twin(limit in 1u32..2_000_000, ms in 0u64..10_000, n in 0u64..3_000_000,
                                      cap in 1u32..1_000_000) {
            let s = Settings { flow_limit: cap, ..Settings::default() };
            prop_assert_eq!(s.next_limit(limit, ms, n), twin(&s, limit, ms, n));
        }

        #[test]
        fn coldest_agrees_with_a_sorted_list(mut ages in prop::collection::vec(0u64..5_000_000, 1..200), n in 1usize..200) {
            let mut h = AgeHistogram::default();
            ages.iter().for_each(|&a| h.add(a));
            ages.sort_unstable();
            let n = n.min(ages.len());
            let nth = ages[ages.len() - n];
            let t = h.coldest(n as u64);
            prop_assert!(t <= nth);
            prop_assert!(ages.iter().filter(|&&a| a >= t).count() >= n);
            prop_assert!(nth == 0 || nth < 2 * t, "{} {}", nth, t);
        }
    }

    #[test]
    fn known_steps() {
        let s = Settings::default();
        assert_eq!(s.next_limit(10_000, 5_000, 0), 2_000);
        assert_eq!(s.next_limit(10_000, 1_500, 0), 7_500);
        assert_eq!(s.next_limit(10_000, 100, 2_000), 11_000);
        assert_eq!(s.next_limit(10_000, 100, 900), 10_000);
        assert_eq!(s.next_limit(1_200, 9_000, 0), 1_000);
        assert_eq!(s.next_limit(200_000, 10, 1_000_000), 200_000);
        assert_eq!(s.idle_ms(10, 10), 10_000);
        assert_eq!(s.idle_ms(11, 10), 100);
    }

    #[test]
    fn slow_flows_are_not_worth_a_translation_when_dumps_are_slow() {
        let s = Settings::default();
        let now = Nanos::from_millis(100_000);
        let used = Some(Nanos::from_millis(99_000));
        assert!(s.worth_revalidating(100, 0, used, now));
        assert!(s.worth_revalidating(400, 0, None, now));
        assert!(!s.worth_revalidating(400, 1, used, now)); // one packet a second
        assert!(s.worth_revalidating(400, 10, used, now)); // ten packets a second
    }
}
