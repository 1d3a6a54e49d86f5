//! [`LoopTimes`]: how long the turns of the main loop last.
//!
//! Powers of two, in microseconds of real time: from the moment the loop wakes to the moment it waits again.
//! While a turn lasts nobody else is served, so its longest is the longest anybody waited for the main thread.
//! Others may have had the core meanwhile: where the kernel tells, the longest is also shown without their time.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Rows: below 1 us, below 2 us, and so on; the last takes all that is longer.
const ROWS: usize = 25;

/// See the file's essay.
#[derive(Debug, Default, Clone)]
pub(crate) struct LoopTimes {
    rows: [u64; ROWS],
    turns: u64,
    total_ns: u64,
    longest_ns: u64,
    longest_own_ns: Option<u64>,
}

/// How long this thread had a core, by `/proc/thread-self/schedstat`.
#[derive(Debug)]
pub(crate) struct OwnTime(Option<File>);

impl OwnTime {
    /// Of the calling thread.
    pub(crate) fn new() -> Self {
        Self(File::open("/proc/thread-self/schedstat").ok())
    }

    /// Nanoseconds since the thread's start; `None` where the kernel does not count them.
    pub(crate) fn ns(&self) -> Option<u64> {
        let mut text = [0; 64];
        let n = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let words = std::str::from_utf8(&text[..n]).ok()?;
        words.split_whitespace().next()?.parse().ok()
    }
}

impl LoopTimes {
    /// Counts a turn; `own_ns`: the part of it in which the thread had a core, if that is known.
    pub(crate) fn add(&mut self, ns: u64, own_ns: Option<u64>) {
        self.longest_own_ns = self.longest_own_ns.max(own_ns);
        let row = (ns / 1000).checked_ilog2().map_or(0, |n| n as usize + 1);
        self.rows[row.min(ROWS - 1)] += 1;
        self.turns += 1;
        self.total_ns = self.total_ns.saturating_add(ns);
        self.longest_ns = self.longest_ns.max(ns);
    }
}

impl Display for LoopTimes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mean = self.total_ns.checked_div(self.turns).unwrap_or(0);
        write!(
            f,
            "turns: {}, mean: {} us, longest: {} us",
            self.turns,
            mean / 1000,
            self.longest_ns / 1000
        )?;
        if let Some(own) = self.longest_own_ns {
            write!(f, ", without others on the core: {} us", own / 1000)?;
        }
        for (row, n) in self.rows.iter().enumerate().filter(|(_, n)| **n > 0) {
            if row == ROWS - 1 {
                write!(f, "\n  longer: {n}")?;
            } else {
                write!(f, "\n  below {} us: {n}", 1u64 << row)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_grows_with_work() {
        let own = OwnTime::new();
        // Without the kernel's help there is nothing to compare.
        if let Some(before) = own.ns() {
            while own.ns().unwrap() == before {
                std::hint::black_box((0..10_000).sum::<u64>());
            }
            assert!(own.ns().unwrap() > before);
        }
    }

    #[test]
    fn turns_fall_into_their_rows() {
        let mut t = LoopTimes::default();
        for us in [0, 1, 3, 4, 60_000, u64::MAX / 1000] {
            t.add(us * 1000, (us < 100).then_some(us * 500));
        }
        let text = t.to_string();
        for part in [
            "turns: 6,",
            ", without others on the core: 2 us\n",
            "below 1 us: 1",
            "below 2 us: 1",
            "below 4 us: 1",
            "below 8 us: 1",
            "below 65536 us: 1",
            "longer: 1",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
