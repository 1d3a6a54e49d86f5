//! Checksums changed in place when the bytes they cover change (RFC 1624, equation 3).

/// The checksum after a covered word changed from `old` to `new`.
#[must_use]
pub(crate) fn update16(sum: u16, old: u16, new: u16) -> u16 {
    let s = u32::from(!sum) + u32::from(!old) + u32::from(new);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both carries are folded in"
    )]
    {
        !(s as u16)
    }
}

/// The checksum after covered bytes changed from `old` to `new`, which have the same even length and
/// begin at an even offset.
#[must_use]
pub(crate) fn update(mut sum: u16, old: &[u8], new: &[u8]) -> u16 {
    debug_assert!(old.len() == new.len() && old.len().is_multiple_of(2));
    for (o, n) in std::iter::zip(old.chunks_exact(2), new.chunks_exact(2)) {
        if o != n {
            sum = update16(
                sum,
                u16::from_be_bytes([o[0], o[1]]),
                u16::from_be_bytes([n[0], n[1]]),
            );
        }
    }
    sum
}

/// Replaces the bits of `mask` in `field` by those of `key` (which has no others).
pub(crate) fn overwrite(field: &mut [u8], key: &[u8], mask: &[u8]) {
    for ((f, k), m) in field.iter_mut().zip(key).zip(mask) {
        *f = *f & !m | k;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn full(data: &[u8]) -> u16 {
        let mut s = 0u32;
        for c in data.chunks(2) {
            s += u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0));
        }
        while s >> 16 != 0 {
            s = (s & 0xffff) + (s >> 16);
        }
        !(s as u16)
    }

    proptest! {
        #[test]
        fn equals_a_full_sum(
            mut data in prop::collection::vec(any::<u8>(), 20..60),
            at in 0usize..8,
            new in any::<[u8; 4]>(),
        ) {
            data[0] |= 1; // not all zero: there are two zeroes in one's complement
            let before = full(&data);
            let at = 2 + at * 2;
            let old: [u8; 4] = data[at..at + 4].try_into().unwrap();
            data[at..at + 4].copy_from_slice(&new);
            prop_assert_eq!(update(before, &old, &new), full(&data));
        }
    }
}
