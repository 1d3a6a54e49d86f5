//! Which of eight words, half a cache line, are equal to another: the first step of every probe.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: compilers do not find the few vector instructions for this by themselves, and intrinsics that load
// are only offered over raw pointers.

/// Bit i is set when word i is `want`.
#[inline]
pub(super) fn equal(words: &[u32; 8], want: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 belongs to every x86-64.
        unsafe { by_vectors(words, want) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    plainly(words, want)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn by_vectors(words: &[u32; 8], want: u32) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16,
        _mm_packs_epi32, _mm_set1_epi32,
    };
    let at = words.as_ptr().cast::<__m128i>();
    // SAFETY: the first four words.
    let low = unsafe { _mm_loadu_si128(at) };
    // SAFETY: the last four words.
    let high = unsafe { _mm_loadu_si128(at.wrapping_add(1)) };
    let want = _mm_set1_epi32(want.cast_signed());
    let all = _mm_packs_epi32(_mm_cmpeq_epi32(low, want), _mm_cmpeq_epi32(high, want));
    // What was packed into halves of 16 bits is packed into bytes, twice: once is enough.
    _mm_movemask_epi8(_mm_packs_epi16(all, all)).cast_unsigned() & 0xff
}

/// The twin.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn plainly(words: &[u32; 8], want: u32) -> u32 {
    let bits = (0..).zip(words).map(|(i, &w)| u32::from(w == want) << i);
    bits.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_its_twin(mut words in any::<[u32; 8]>(), want in any::<u32>(), same in any::<u8>()) {
            for (i, w) in words.iter_mut().enumerate() {
                // Else the same but for one bit.
                *w = if same >> i & 1 == 1 { want } else { want ^ 1 << (*w % 32) };
            }
            prop_assert_eq!(equal(&words, want), u32::from(same));
            prop_assert_eq!(plainly(&words, want), u32::from(same));
        }
    }
}
