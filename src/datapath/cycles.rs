//! The processor's time stamp counter: for load figures, never for decisions that must be repeatable.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: reading the counter is only offered as an intrinsic.

use base::clock::monotonic_ns;
use base::sync::OnceLock;

/// Cycles since some origin; nanoseconds where the processor has no counter.
#[inline]
#[must_use]
pub(crate) fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction, and it only reads a counter.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    monotonic_ns()
}

/// Cycles per second, measured once over a few milliseconds of real time.
#[must_use]
pub(crate) fn cycles_per_second() -> u64 {
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (c, t) = (cycles(), monotonic_ns());
        while monotonic_ns() - t < 5_000_000 {
            std::hint::spin_loop();
        }
        let (dc, dt) = (cycles() - c, monotonic_ns() - t);
        u64::try_from(u128::from(dc) * 1_000_000_000 / u128::from(dt)).unwrap_or(u64::MAX)
    })
}
