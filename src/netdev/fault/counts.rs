//! What happened to the packets of a fault port.

use base::sync::{AtomicU64, Counter, Ordering};

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    pub(super) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    pub(super) fn sub_shared(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Counters of one direction, shared by its pipes.
#[derive(Debug, Default)]
pub(super) struct PipeCounts {
    pub(super) offered: Counter,
    pub(super) taken: Counter,
    pub(super) dropped: Counter,
    pub(super) overflowed: Counter,
    pub(super) duplicated: Counter,
    pub(super) held: Gauge,
    pub(super) corrupted: Counter,
    pub(super) truncated: Counter,
    pub(super) delayed: Counter,
    pub(super) reordered: Counter,
    pub(super) stalls: Counter,
    /// Taken, but not by the device behind the port.
    pub(super) refused: Counter,
}

impl PipeCounts {
    pub(super) fn get(&self) -> FaultCounts {
        FaultCounts {
            offered: self.offered.get(),
            taken: self.taken.get(),
            dropped: self.dropped.get(),
            overflowed: self.overflowed.get(),
            duplicated: self.duplicated.get(),
            held: self.held.0.load(Ordering::Relaxed),
            corrupted: self.corrupted.get(),
            truncated: self.truncated.get(),
            delayed: self.delayed.get(),
            reordered: self.reordered.get(),
            stalls: self.stalls.get(),
            refused: self.refused.get(),
        }
    }
}

/// Packets of one direction of a fault port, all queues together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Came in on this side.
    pub offered: u64,
    /// Went on.
    pub taken: u64,
    /// Dropped by the script, or with the queue that held them.
    pub dropped: u64,
    /// Dropped because too many were held.
    pub overflowed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Held now.
    pub held: u64,
    /// One bit was changed.
    pub corrupted: u64,
    /// Cut short.
    pub truncated: u64,
    /// Held back for a time.
    pub delayed: u64,
    /// Put behind their successor.
    pub reordered: u64,
    /// Times the whole direction was held up.
    pub stalls: u64,
    /// Of those taken: refused by the device behind the port.
    pub refused: u64,
}

impl FaultCounts {
    /// Packets in minus packets accounted for: 0 whenever no packet is just being moved.
    #[must_use]
    pub fn difference(&self) -> i128 {
        let came = i128::from(self.offered) + i128::from(self.duplicated);
        let went = [self.taken, self.dropped, self.overflowed, self.held];
        came - went.iter().map(|&n| i128::from(n)).sum::<i128>()
    }

    /// Name and value of every count.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u64); 12] {
        [
            ("offered", self.offered),
            ("taken", self.taken),
            ("dropped", self.dropped),
            ("overflowed", self.overflowed),
            ("duplicated", self.duplicated),
            ("held", self.held),
            ("corrupted", self.corrupted),
            ("truncated", self.truncated),
            ("delayed", self.delayed),
            ("reordered", self.reordered),
            ("stalls", self.stalls),
            ("refused", self.refused),
        ]
    }
}
