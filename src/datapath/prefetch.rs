//! Asking for a cache line before it is needed.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: the prefetch instruction is only offered as an intrinsic over raw pointers; it reads nothing
// and cannot fault.

/// Starts loading the line of `at` into the nearest cache.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(at: &T) {
    let line = std::ptr::from_ref(at).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it accesses nothing and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
