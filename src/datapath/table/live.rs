//! [`Live`]: the line that every hit of a flow reads and writes.

use crate::actions::Fast;
use base::clock::Nanos;
use base::sync::{AtomicU16, AtomicU32, AtomicU64, Counter, Ordering};
use odp::FlowStats;
use zerocopy::FromZeros;

/// Counters of a flow, written by its packet thread, read by anybody (relaxed: readers want numbers, not
/// an order).
#[derive(Debug, Default, FromZeros)]
#[repr(C)]
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
    /// Takes over other counters. Packet thread only.
    pub(super) fn inherit(&self, old: &Self) {
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

/// See the module. Everything in it is written by the packet thread that has the flow; others read the
/// counters.
#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
pub(crate) struct Live {
    pub(crate) stats: LiveStats,
    fast: AtomicU64,
    /// Number of its mask.
    mask: AtomicU32,
    /// Its mask looks at more than line 0.
    wide: AtomicU32,
}

const _: () = assert!(size_of::<Live>() == 64);

impl Live {
    /// Makes this the line of a flow that does `fast`, with mask number `mask`.
    pub(super) fn set(&self, fast: Fast, mask: u32, wide: bool) {
        self.set_fast(fast);
        self.mask.store(mask, Ordering::Relaxed);
        self.wide.store(u32::from(wide), Ordering::Relaxed);
    }
    /// Counts from zero.
    pub(super) fn clear(&self) {
        self.stats.inherit(&LiveStats::default());
    }
    /// The flow does this from now on.
    pub(super) fn set_fast(&self, fast: Fast) {
        self.fast.store(fast.code(), Ordering::Relaxed);
    }
    /// What its packets go through, when that is simple, as [`Fast::code`].
    #[inline]
    pub(crate) fn code(&self) -> u64 {
        self.fast.load(Ordering::Relaxed)
    }
    /// What its packets go through, when that is simple.
    #[inline]
    pub(crate) fn fast(&self) -> Fast {
        Fast::decode(self.code())
    }
    #[inline]
    pub(super) fn mask(&self) -> u32 {
        self.mask.load(Ordering::Relaxed)
    }
    #[inline]
    pub(super) fn wide(&self) -> bool {
        self.wide.load(Ordering::Relaxed) != 0
    }
}
