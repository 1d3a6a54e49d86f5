//! [`DpFlow`]: one installed megaflow of one packet thread.
//!
//! Made by control threads, read by anybody; only the statistics change, and only the packet thread that
//! has the flow in its table writes them (relaxed: readers want numbers, not an order). The first line is
//! the masked key, the second what every hit writes and runs; what dumps want comes after.

use super::mask::{Line, MaskInfo};
use crate::actions::{Fast, Program};
use base::clock::Nanos;
use base::sync::{Arc, AtomicU16, AtomicU64, Counter, Ordering};
use flow::{Flow, LineSet};
use odp::{Actions, FlowStats, Ufid};

/// Counters of a flow, written by its packet thread.
#[derive(Debug, Default)]
pub(crate) struct LiveStats {
    packets: Counter,
    bytes: Counter,
    /// Nanoseconds; 0 for never.
    used: AtomicU64,
    tcp_flags: AtomicU16,
}

impl LiveStats {
    /// Counts a run of packets. Packet thread only.
    #[inline]
    pub(crate) fn credit(&self, s: &Run) {
        self.packets.add_local(u64::from(s.packets));
        self.bytes.add_local(s.bytes);
        self.used.store(s.now.0.max(1), Ordering::Relaxed);
        if s.tcp_flags != 0 {
            let seen = self.tcp_flags.load(Ordering::Relaxed);
            if seen | s.tcp_flags != seen {
                self.tcp_flags.store(seen | s.tcp_flags, Ordering::Relaxed);
            }
        }
    }
    /// Takes over the counters of the flow that this one replaces. Packet thread only.
    pub(crate) fn inherit(&self, old: &Self) {
        self.packets.set(old.packets.get());
        self.bytes.set(old.bytes.get());
        self.used
            .store(old.used.load(Ordering::Relaxed), Ordering::Relaxed);
        self.tcp_flags
            .store(old.tcp_flags.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    /// The counters now.
    pub(crate) fn read(&self) -> FlowStats {
        let used = self.used.load(Ordering::Relaxed);
        FlowStats {
            n_packets: self.packets.get(),
            n_bytes: self.bytes.get(),
            used: (used != 0).then_some(Nanos(used)),
            tcp_flags: self.tcp_flags.load(Ordering::Relaxed),
        }
    }
}

/// Consecutive packets of one flow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    pub(crate) packets: u32,
    pub(crate) bytes: u64,
    pub(crate) tcp_flags: u16,
    pub(crate) now: Nanos,
}

/// An installed megaflow.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct DpFlow {
    /// Line 0 of the masked key.
    line0: Line,
    // ---- written and run by every hit
    pub(crate) stats: LiveStats,
    /// What its packets go through, when that is simple.
    pub(crate) fast: Fast,
    /// The mask it is verified under.
    pub(crate) mask: Arc<MaskInfo>,
    /// The other lines of the masked key, as many as the mask has; `None` when it has none.
    rest: Option<Box<Rest>>,
    // ---- cold
    /// What its packets go through.
    pub(crate) program: Arc<Program>,
    /// What was installed, as it was given.
    pub(crate) actions: Arc<Actions>,
    /// Identity.
    pub(crate) ufid: Ufid,
    /// What the mask took away from the key it was installed with, for people who look at dumps: lines with their
    /// numbers.
    hidden: Box<[(u8, Line)]>,
}

type Rest = Box<[Line]>;

/// What a flow does: the actions as given and as compiled.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) actions: Arc<Actions>,
    pub(crate) program: Arc<Program>,
}

impl DpFlow {
    /// A flow with fresh counters.
    pub(crate) fn new(ufid: Ufid, key: &Flow, mask: Arc<MaskInfo>, deed: Deed) -> Self {
        let lines = key.lines();
        let rest = mask.rest.iter().map(|(l, m)| and(&lines[*l], m));
        let rest: Rest = rest.collect();
        let hidden = hidden(key, &mask);
        Self {
            line0: and(&lines[0], &mask.line0),
            stats: LiveStats::default(),
            fast: deed.program.fast(),
            rest: (!rest.is_empty()).then(|| Box::new(rest)),
            mask,
            program: deed.program,
            actions: deed.actions,
            ufid,
            hidden,
        }
    }

    /// The same flow with other actions and fresh counters.
    pub(crate) fn with(&self, deed: Deed) -> Self {
        Self {
            line0: self.line0,
            stats: LiveStats::default(),
            fast: deed.program.fast(),
            rest: self.rest.clone(),
            mask: Arc::clone(&self.mask),
            program: deed.program,
            actions: deed.actions,
            ufid: self.ufid,
            hidden: self.hidden.clone(),
        }
    }

    /// True when the packet with this key belongs to the flow. `valid` names the lines of `key` that hold
    /// what they should; a flow that looks at any other does not match.
    #[inline]
    pub(crate) fn matches(&self, key: &Flow, valid: LineSet) -> bool {
        let lines = key.lines();
        differ(&lines[0], &self.mask.line0, &self.line0) == 0
            && (self.rest.as_ref()).is_none_or(|rest| self.rest_matches(rest, key, valid))
    }

    fn rest_matches(&self, rest: &[Line], key: &Flow, valid: LineSet) -> bool {
        let lines = key.lines();
        self.mask.lines.0 & !valid.0 == 0
            && std::iter::zip(&self.mask.rest, rest)
                .all(|((l, m), want)| differ(&lines[*l], m, want) == 0)
    }

    /// True when line 0 of a key agrees: a cheap first test before [`DpFlow::matches`].
    #[inline]
    pub(crate) fn matches_line0(&self, line: &Line) -> bool {
        differ(line, &self.mask.line0, &self.line0) == 0
    }

    /// The key as it was installed, unmasked.
    pub(crate) fn given_key(&self) -> Flow {
        let mut key = self.key();
        let lines = key.lines_mut();
        for (l, hidden) in &self.hidden {
            let line = &mut lines[usize::from(*l)];
            *line = std::array::from_fn(|i| line[i] | hidden[i]);
        }
        key
    }

    /// The masked key.
    pub(crate) fn key(&self) -> Flow {
        let mut key = Flow::zero();
        let lines = key.lines_mut();
        lines[0] = self.line0;
        let rest = self.rest.as_ref().map_or(&[][..], |r| r);
        for ((l, _), line) in std::iter::zip(&self.mask.rest, rest) {
            lines[*l] = *line;
        }
        key
    }
}

#[inline]
fn differ(have: &Line, mask: &Line, want: &Line) -> u64 {
    let mut d = 0;
    for i in 0..8 {
        d |= (have[i] & mask[i]) ^ want[i];
    }
    d
}

/// The lines of a key that have bits outside the mask: only those bits.
fn hidden(key: &Flow, mask: &MaskInfo) -> Box<[(u8, Line)]> {
    let outside = key.lines().iter().enumerate().map(|(l, line)| {
        let nothing = [0; 8];
        let under = match l {
            0 => &mask.line0,
            _ => (mask.rest.iter().find(|(n, _)| *n == l)).map_or(&nothing, |(_, m)| m),
        };
        let line: Line = std::array::from_fn(|i| line[i] & !under[i]);
        (l as u8, line)
    });
    outside.filter(|(_, line)| *line != [0; 8]).collect()
}

fn and(a: &Line, b: &Line) -> Line {
    std::array::from_fn(|i| a[i] & b[i])
}
