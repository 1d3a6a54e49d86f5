//! Three-colour markers: RFC 2697 (one rate, two sizes) and RFC 4115 (two rates that do not depend on each other).

use super::bucket::{Bucket, Stream};

/// What a packet is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Color {
    Green,
    Yellow,
    Red,
}

/// The single rate three colour marker, colour blind (RFC 2697 section 3).
#[derive(Debug, Clone)]
pub(super) struct SingleRate {
    committed: Bucket,
    excess: Bucket,
    stream: Stream,
}

impl SingleRate {
    /// `cir` in units a second, `cbs` and `ebs` in units.
    pub(super) fn new(cir: u64, cbs: u64, ebs: u64, now_ns: u64) -> Self {
        Self {
            committed: Bucket::new(cbs),
            excess: Bucket::new(ebs),
            stream: Stream::new(cir, now_ns),
        }
    }

    /// Lets time pass.
    #[inline]
    pub(super) fn update(&mut self, now_ns: u64) {
        let over = self.committed.fill(self.stream.take(now_ns));
        self.excess.fill(over);
    }
    /// Marks a packet of `size`.
    #[inline]
    pub(super) fn mark(&mut self, size: u64) -> Color {
        if self.committed.take(size) {
            Color::Green
        } else if self.excess.take(size) {
            Color::Yellow
        } else {
            Color::Red
        }
    }
    /// True when a packet of `size` would be green.
    #[inline]
    pub(super) const fn is_green(&self, size: u64) -> bool {
        self.committed.has(size)
    }
}

/// Rates in bytes a second and sizes in bytes of [`TwoRates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rates {
    pub(super) cir: u64,
    pub(super) eir: u64,
    pub(super) cbs: u64,
    pub(super) ebs: u64,
}

impl Rates {
    /// False for a rate without a bucket.
    pub(super) const fn make_sense(&self) -> bool {
        (self.cir == 0 || self.cbs > 0) && (self.eir == 0 || self.ebs > 0)
    }
}

/// The differentiated service two-rate three-colour marker (RFC 4115 section 2).
#[derive(Debug, Clone)]
pub(super) struct TwoRates {
    committed: Bucket,
    excess: Bucket,
    committed_stream: Stream,
    excess_stream: Stream,
}

impl TwoRates {
    pub(super) fn new(r: &Rates, now_ns: u64) -> Self {
        Self {
            committed: Bucket::new(r.cbs),
            excess: Bucket::new(r.ebs),
            committed_stream: Stream::new(r.cir, now_ns),
            excess_stream: Stream::new(r.eir, now_ns),
        }
    }

    /// Lets time pass.
    #[inline]
    pub(super) fn update(&mut self, now_ns: u64) {
        self.committed.fill(self.committed_stream.take(now_ns));
        self.excess.fill(self.excess_stream.take(now_ns));
    }
    /// Marks a packet of `size` that somebody marked already; colour blind is [`Color::Green`].
    #[inline]
    pub(super) fn mark(&mut self, size: u64, color: Color) -> Color {
        if color == Color::Green && self.committed.take(size) {
            Color::Green
        } else if color != Color::Red && self.excess.take(size) {
            Color::Yellow
        } else {
            Color::Red
        }
    }
}
