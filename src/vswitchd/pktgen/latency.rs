//! [`Latency`]: a histogram of times with percentiles of at most 1/32 error, in 15 KiB.
//!
//! Below 32 every nanosecond has its own count; above, each power of two is cut into 32 equal parts.

/// Parts of a power of two, as an exponent.
const PART_BITS: u32 = 5;
const PARTS: usize = 1 << PART_BITS;
const COUNTS: usize = (64 - PART_BITS as usize) * PARTS + PARTS;

/// See the module. Nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Latency {
    counts: Vec<u64>,
    n: u64,
    max: u64,
}

fn place(ns: u64) -> usize {
    if ns < PARTS as u64 {
        return ns as usize;
    }
    let exponent = ns.ilog2() - PART_BITS;
    (exponent as usize * PARTS) + (ns >> exponent) as usize
}

/// The largest time that is counted at a place.
fn upper(at: usize) -> u64 {
    if at < 2 * PARTS {
        return at as u64;
    }
    let exponent = at / PARTS - 1;
    let part = (at % PARTS + PARTS) as u64;
    (part << exponent) + ((1u64 << exponent) - 1)
}

impl Latency {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; COUNTS],
            n: 0,
            max: 0,
        }
    }

    /// Counts one time.
    pub(super) fn add(&mut self, ns: u64) {
        self.counts[place(ns)] += 1;
        self.n += 1;
        self.max = self.max.max(ns);
    }

    /// The time that a share `q` (0 to 1) of the times do not exceed; `None` without times.
    pub(super) fn quantile(&self, q: f64) -> Option<u64> {
        let wanted = ((self.n as f64 * q).ceil() as u64).clamp(1, self.n.max(1));
        let mut seen = 0;
        let at = self.counts.iter().position(|&c| {
            seen += c;
            seen >= wanted
        })?;
        Some(upper(at).min(self.max))
    }

    /// The longest time; 0 without times.
    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_cover_all_times_in_order() {
        for at in 0..COUNTS {
            assert_eq!(place(upper(at)), at);
            if at + 1 < COUNTS {
                assert_eq!(place(upper(at) + 1), at + 1);
            }
        }
        assert_eq!(upper(COUNTS - 1), u64::MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// The twin is the sorted list.
        #[test]
        fn quantiles_are_near_those_of_the_list(
            mut times in prop::collection::vec(prop_oneof![0u64..100, 0u64..10_000_000, any::<u64>()], 1..400),
            q in 0.0f64..=1.0,
        ) {
            let mut l = Latency::new();
            for &t in &times {
                l.add(t);
            }
            times.sort_unstable();
            let rank = ((times.len() as f64 * q).ceil() as usize).clamp(1, times.len());
            let want = times[rank - 1];
            let got = l.quantile(q).unwrap();
            prop_assert!(got >= want && got - want <= want / 32, "{} for {}", got, want);
            prop_assert_eq!(l.max(), *times.last().unwrap());
        }
    }
}
