//! [`Live`]: the line that every hit of a flow reads and writes. For plain packets it is the only one.
//!
//! It holds what the packet loop needs of a flow: the masked words that plain packets are compared with, counters,
//! and in one more word the TCP flags seen, what to do, and the number of the mask.

use super::plain::Words;
use crate::actions::Fast;
use base::clock::Nanos;
use base::sync::{AtomicU16, AtomicU64, Counter, Ordering};
use odp::FlowStats;
use zerocopy::FromZeros;

/// The last figures of a flow that is gone. Written once, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct LastStats {
    packets: Counter,
    bytes: Counter,
    /// Nanoseconds; 0 for never.
    used: AtomicU64,
    tcp_flags: AtomicU16,
}

impl LastStats {
    pub(super) fn set(&self, stats: &FlowStats) {
        self.packets.set(stats.n_packets);
        self.bytes.set(stats.n_bytes);
        self.used
            .store(stats.used.map_or(0, |used| used.0), Ordering::Relaxed);
        self.tcp_flags.store(stats.tcp_flags, Ordering::Relaxed);
    }
    pub(super) fn read(&self) -> FlowStats {
        stats_of(
            (&self.packets, &self.bytes),
            self.used.load(Ordering::Relaxed),
            self.tcp_flags.load(Ordering::Relaxed),
        )
    }
}

fn stats_of((packets, bytes): (&Counter, &Counter), used: u64, tcp_flags: u16) -> FlowStats {
    FlowStats {
        n_packets: packets.get(),
        n_bytes: bytes.get(),
        used: (used != 0).then_some(Nanos(used)),
        tcp_flags,
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

/// See the module. Everything in it is written by the packet thread that has the flow; others read the
/// counters (relaxed: they want numbers, not an order).
#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
pub(crate) struct Live {
    plain: [AtomicU64; 4],
    packets: Counter,
    bytes: Counter,
    /// Nanoseconds; 0 for never.
    used: AtomicU64,
    /// From the lowest bit: TCP flags, [`Fast::code`], whether the mask looks at more than line 0, its number.
    word: AtomicU64,
}

const _: () = assert!(size_of::<Live>() == 64);

const FLAGS: u64 = 0xffff;
const CODE_SHIFT: u32 = 16;
const CODE: u64 = (Fast::CODES as u64 - 1) << CODE_SHIFT;
const WIDE: u64 = 1 << 39;
const MASK_SHIFT: u32 = 40;

const _: () = assert!(Fast::CODES.is_power_of_two() && CODE & WIDE == 0);
// Each flow may have a mask of its own.
const _: () = assert!(crate::limits::FLOWS_MAX <= 1 << (64 - MASK_SHIFT));

impl Live {
    /// Makes this the line of a flow that does `fast`, with mask number `mask`.
    pub(super) fn set(&self, fast: Fast, mask: u32, wide: bool) {
        let wide = if wide { WIDE } else { 0 };
        let word = self.word.load(Ordering::Relaxed) & FLAGS | u64::from(mask) << MASK_SHIFT | wide;
        self.word.store(word, Ordering::Relaxed);
        self.set_fast(fast);
    }
    /// Plain packets of the flow have these words.
    pub(super) fn set_plain(&self, words: Words) {
        for (to, word) in std::iter::zip(&self.plain, words) {
            to.store(word, Ordering::Relaxed);
        }
    }
    /// The flow does this from now on.
    pub(super) fn set_fast(&self, fast: Fast) {
        let rest = self.word.load(Ordering::Relaxed) & !CODE;
        let code = u64::from(fast.code()) << CODE_SHIFT;
        self.word.store(rest | code, Ordering::Relaxed);
    }
    /// Counts from zero.
    pub(super) fn clear(&self) {
        self.packets.set(0);
        self.bytes.set(0);
        self.used.store(0, Ordering::Relaxed);
        let word = self.word.load(Ordering::Relaxed);
        self.word.store(word & !FLAGS, Ordering::Relaxed);
    }

    /// Counts a run of packets. Packet thread only.
    #[inline]
    pub(crate) fn credit(&self, s: &Run) {
        self.packets.add_local(u64::from(s.packets));
        self.bytes.add_local(s.bytes);
        self.used.store(s.now.0.max(1), Ordering::Relaxed);
        if s.tcp_flags != 0 {
            let word = self.word.load(Ordering::Relaxed);
            let seen = word | u64::from(s.tcp_flags);
            if seen != word {
                self.word.store(seen, Ordering::Relaxed);
            }
        }
    }
    /// The counters now.
    pub(crate) fn read(&self) -> FlowStats {
        stats_of(
            (&self.packets, &self.bytes),
            self.used.load(Ordering::Relaxed),
            (self.word.load(Ordering::Relaxed) & FLAGS) as u16,
        )
    }

    /// What its packets go through, when that is simple, as [`Fast::code`].
    #[inline]
    pub(crate) fn code(&self) -> u32 {
        ((self.word.load(Ordering::Relaxed) & CODE) >> CODE_SHIFT) as u32
    }
    /// What its packets go through, when that is simple.
    #[inline]
    pub(crate) fn fast(&self) -> Fast {
        Fast::decode(self.code())
    }
    /// The masked words of its plain packets.
    #[inline]
    pub(super) fn plain(&self) -> Words {
        std::array::from_fn(|i| self.plain[i].load(Ordering::Relaxed))
    }
    /// The number of its mask.
    #[inline]
    pub(super) fn mask(&self) -> u32 {
        (self.word.load(Ordering::Relaxed) >> MASK_SHIFT) as u32
    }
    #[inline]
    pub(super) fn wide(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WIDE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odp::DropReason;

    #[test]
    fn the_word_keeps_its_parts_apart() {
        let live = Live::new_zeroed();
        let run = |tcp_flags| Run {
            packets: 1,
            bytes: 60,
            tcp_flags,
            now: Nanos(7),
        };
        live.set(Fast::Output(65_534), 0x00ab_cdef, true);
        live.credit(&run(0xfff));
        let parts = |l: &Live| (l.fast(), l.mask(), l.wide(), l.read().tcp_flags);
        assert_eq!(
            parts(&live),
            (Fast::Output(65_534), 0x00ab_cdef, true, 0xfff)
        );
        for &reason in DropReason::ALL {
            live.set_fast(Fast::Drop(reason));
            assert_eq!(parts(&live), (Fast::Drop(reason), 0x00ab_cdef, true, 0xfff));
        }
        live.clear();
        live.credit(&run(2));
        live.credit(&run(1));
        live.set(Fast::Program, 0, false);
        assert_eq!(parts(&live), (Fast::Program, 0, false, 3));
        assert_eq!((live.read().n_packets, live.read().n_bytes), (2, 120));
    }
}
