//! What a bad link does to packets: a pure function of what goes in, a seed and the time.
//!
//! Frames are offered in order and taken when they may go on. In between they can be dropped, damaged,
//! cut, doubled, delayed, put behind their successor, or all held up for a while. Everything is counted:
//! offered + duplicated = taken + dropped + overflowed + held, at any moment.

use super::counts::PipeCounts;
use base::clock::Nanos;
use base::rng::Rng;
use base::sync::Arc;
use packet::{Frame, HeapPool};
use std::collections::{BTreeMap, VecDeque};

/// Frames that a pipe holds; more are dropped (counted as overflow).
pub const HELD_MAX: usize = 4096;

/// How often each fault strikes, per million packets, and for how long, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "fields are named as the options")]
pub struct Faults {
    pub drop: u32,
    pub corrupt: u32,
    pub truncate: u32,
    pub duplicate: u32,
    pub delay: u32,
    pub delay_ms: u32,
    pub reorder: u32,
    pub stall: u32,
    pub stall_ms: u32,
}

impl Faults {
    /// True when frames may have to wait.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.delay | self.reorder | self.stall != 0
    }
}

/// One direction of one queue.
#[derive(Debug)]
pub(super) struct Pipe {
    faults: Faults,
    rng: Rng,
    counts: Arc<PipeCounts>,
    ready: VecDeque<Frame>,
    /// By time and order of arrival.
    delayed: BTreeMap<(Nanos, u64), Frame>,
    n_delayed: u64,
    /// Waits for its successor, at most until then.
    behind: Option<(Frame, Nanos)>,
    stalled_until: Nanos,
}

impl Pipe {
    pub(super) fn new(faults: Faults, seed: u64, counts: Arc<PipeCounts>) -> Self {
        Self {
            faults,
            rng: Rng::new(seed),
            counts,
            ready: VecDeque::new(),
            delayed: BTreeMap::new(),
            n_delayed: 0,
            behind: None,
            stalled_until: Nanos::ZERO,
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    fn held(&self) -> usize {
        self.ready.len() + self.delayed.len() + usize::from(self.behind.is_some())
    }

    /// Puts a frame in.
    pub(super) fn offer(&mut self, mut frame: Frame, now: Nanos) {
        let f = self.faults;
        self.counts.offered.add_shared(1);
        if self.rng.chance(f.drop) {
            self.counts.dropped.add_shared(1);
            return;
        }
        if self.rng.chance(f.corrupt) {
            self.corrupt(&mut frame);
        }
        if self.rng.chance(f.truncate) && frame.len() > 1 {
            let len = 1 + self.rng.below(frame.len() as u64 - 1) as usize;
            let cut = frame.set_len(len);
            debug_assert!(cut, "shortening always fits");
            self.counts.truncated.add_shared(1);
        }
        if self.rng.chance(f.stall) {
            self.stalled_until = now.plus_millis(u64::from(f.stall_ms));
            self.counts.stalls.add_shared(1);
        }
        if self.rng.chance(f.duplicate) {
            self.counts.duplicated.add_shared(1);
            let copy = HeapPool::global().duplicate(&frame);
            self.place(copy, now);
        }
        self.place(frame, now);
    }

    fn corrupt(&mut self, frame: &mut Frame) {
        let bit = self.rng.below(frame.len() as u64 * 8) as usize;
        if let Some(byte) = frame.data_mut().get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
            self.counts.corrupted.add_shared(1);
        }
    }

    fn place(&mut self, frame: Frame, now: Nanos) {
        if self.held() >= HELD_MAX {
            self.counts.overflowed.add_shared(1);
            return;
        }
        self.counts.held.add_shared(1);
        let later = now.plus_millis(u64::from(self.faults.delay_ms.max(1)));
        if self.rng.chance(self.faults.delay) {
            self.counts.delayed.add_shared(1);
            self.delayed.insert((later, self.n_delayed), frame);
            self.n_delayed += 1;
        } else if self.behind.is_none() && self.rng.chance(self.faults.reorder) {
            self.counts.reordered.add_shared(1);
            self.behind = Some((frame, later));
        } else {
            self.ready.push_back(frame);
            self.ready.extend(self.behind.take().map(|(f, _)| f));
        }
    }

    /// Makes what is due ready; returns how many frames can be taken now.
    pub(super) fn advance(&mut self, now: Nanos) -> usize {
        if now < self.stalled_until {
            return 0;
        }
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            self.ready.push_back(first.remove());
        }
        if self.behind.as_ref().is_some_and(|(_, due)| *due <= now) {
            self.ready.extend(self.behind.take().map(|(f, _)| f));
        }
        self.ready.len()
    }

    /// Takes the next frame that may go on. [`Pipe::advance`] says how many there are.
    pub(super) fn take(&mut self) -> Option<Frame> {
        let frame = self.ready.pop_front()?;
        self.counts.taken.add_shared(1);
        self.counts.held.sub_shared(1);
        Some(frame)
    }

    /// Everything held, and `fresh` frames that never came this far, is taken by somebody who only counts it;
    /// returns how many frames that were.
    pub(super) fn take_all(&mut self, fresh: u64) -> u64 {
        let n = self.empty() + fresh;
        self.counts.offered.add_shared(fresh);
        self.counts.taken.add_shared(n);
        n
    }

    fn empty(&mut self) -> u64 {
        let n = self.held() as u64;
        self.ready.clear();
        self.delayed.clear();
        self.behind = None;
        self.counts.held.sub_shared(n);
        n
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let n = self.empty();
        self.counts.dropped.add_shared(n);
    }
}

#[cfg(test)]
mod tests {
    use super::super::counts::FaultCounts;
    use super::*;
    use proptest::prelude::*;

    /// Runs packets (numbered in their first bytes) through a pipe, one per millisecond, then waits.
    fn run(faults: Faults, seed: u64, n: u32) -> (Vec<Vec<u8>>, FaultCounts) {
        let counts = Arc::new(PipeCounts::default());
        let mut pipe = Pipe::new(faults, seed, Arc::clone(&counts));
        let mut out = Vec::new();
        let mut step = |pipe: &mut Pipe, ms| {
            let n = pipe.advance(Nanos::from_millis(ms));
            for _ in 0..n {
                out.push(pipe.take().unwrap().data().to_vec());
            }
            assert_eq!(counts.get().difference(), 0);
        };
        for i in 0..n {
            let mut packet = [0; 60];
            packet[..4].copy_from_slice(&i.to_be_bytes());
            let frame = HeapPool::global().copy_from(&packet);
            pipe.offer(frame, Nanos::from_millis(u64::from(i)));
            step(&mut pipe, u64::from(i));
        }
        step(&mut pipe, u64::from(n) + 100_000);
        (out, counts.get())
    }

    fn number(packet: &[u8]) -> u32 {
        u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]])
    }

    #[test]
    fn no_faults_change_nothing() {
        let (out, counts) = run(Faults::default(), 1, 100);
        assert!(out.iter().map(|p| number(p)).eq(0..100));
        assert_eq!((counts.taken, counts.held), (100, 0));
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let always = 1_000_000;
        let one = |set: fn(&mut Faults)| {
            let mut faults = Faults::default();
            set(&mut faults);
            run(faults, 7, 100)
        };
        assert_eq!(one(|f| f.drop = 1_000_000).1.dropped, always / 10_000);
        let (out, counts) = one(|f| f.duplicate = 1_000_000);
        assert_eq!((out.len(), counts.duplicated), (200, 100));
        let (out, _) = one(|f| f.corrupt = 1_000_000);
        let ones = |i: usize, p: &[u8]| {
            let mut clean = [0; 60];
            clean[..4].copy_from_slice(&(i as u32).to_be_bytes());
            let differ = p.iter().zip(clean).map(|(a, b)| (a ^ b).count_ones());
            differ.sum::<u32>()
        };
        assert!(out.iter().enumerate().all(|(i, p)| ones(i, p) == 1));
        let (out, _) = one(|f| f.truncate = 1_000_000);
        assert!(out.iter().all(|p| (1..60).contains(&p.len())));
        let (out, _) = one(|f| f.reorder = 1_000_000);
        assert_eq!(number(&out[0]), 1);
        assert_eq!(number(&out[1]), 0);
        let (out, counts) = one(|f| (f.delay, f.delay_ms) = (500_000, 5));
        assert!(out.len() == 100 && counts.delayed > 20);
        assert!(!out.iter().map(|p| number(p)).is_sorted());
        let (out, counts) = one(|f| (f.stall, f.stall_ms) = (100_000, 5));
        assert!(
            out.iter().map(|p| number(p)).eq(0..100),
            "a stall keeps the order"
        );
        assert!(counts.stalls > 2);
    }

    fn some_faults() -> impl Strategy<Value = Faults> {
        prop::array::uniform9(0u32..400_000).prop_map(|r| Faults {
            drop: r[0],
            corrupt: r[1],
            truncate: r[2],
            duplicate: r[3],
            delay: r[4],
            delay_ms: r[5] % 50,
            reorder: r[6],
            stall: r[7] / 10,
            stall_ms: r[8] % 50,
        })
    }

    proptest! {
        /// Nothing is lost without being counted, and a seed says everything.
        #[test]
        fn the_ledger_closes_and_runs_repeat(faults in some_faults(), seed: u64, n in 0u32..300) {
            let (out, counts) = run(faults, seed, n);
            prop_assert_eq!(counts.held, 0);
            prop_assert_eq!(out.len() as u64, counts.taken);
            prop_assert_eq!(counts.offered, u64::from(n));
            let again = run(faults, seed, n);
            prop_assert_eq!((out, counts), again);
        }
    }
}
