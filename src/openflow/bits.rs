//! Bits of big-endian values.

use crate::text::scan::strtoull;
use flow::{FieldId, FieldValue, Subfield};

/// Reads a number into `width` bytes: hex digits of any length (blanks between allowed) or a 64-bit number
/// as C writes it. `None` when there is none or it is too wide.
pub(crate) fn int_string(s: &str, width: usize) -> Option<(FieldValue, &str)> {
    let mut out = FieldValue::from_elem(0, width);
    let Some(mut rest) = s.strip_prefix("0x").or_else(|| s.strip_prefix("0X")) else {
        let (n, rest) = strtoull(s)?;
        let bytes = n.to_be_bytes();
        let (high, low) = bytes.split_at(8usize.saturating_sub(width));
        out[width.saturating_sub(8)..].copy_from_slice(low);
        return high.iter().all(|&b| b == 0).then_some((out, rest));
    };
    let mut digits: Vec<u8> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(d) = rest.chars().next().and_then(|c| c.to_digit(16)) else {
            break;
        };
        rest = &rest[1..];
        if d != 0 || !digits.is_empty() {
            if digits.len() >= 2 * width {
                return None;
            }
            digits.push(d as u8);
        }
    }
    for (i, d) in digits.iter().rev().enumerate() {
        out[width - 1 - i / 2] |= d << (4 * (i % 2));
    }
    Some((out, rest))
}

/// True when only the low `n_bits` bits may be set.
pub(crate) fn fits(value: &[u8], n_bits: u16) -> bool {
    (usize::from(n_bits)..8 * value.len()).all(|i| !bit(value, i))
}

/// Bit `i`, 0 is the least significant.
pub(crate) fn bit(value: &[u8], i: usize) -> bool {
    let n = value.len();
    i < 8 * n && value[n - 1 - i / 8] >> (i % 8) & 1 == 1
}

/// A mask as actions keep it: `None` when it is all ones.
pub(crate) fn partial(mask: FieldValue) -> Option<FieldValue> {
    (!mask.iter().all(|&b| b == 0xff)).then_some(mask)
}

/// The low 64 bits of a value.
pub(crate) fn low_u64(value: &[u8]) -> u64 {
    value.iter().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// A set-field as loads: runs of set mask bits, at most 64 bits each, lowest first.
pub(crate) fn load_segments(
    field: FieldId,
    value: &[u8],
    mask: Option<&[u8]>,
) -> Vec<(Subfield, u64)> {
    let width = usize::from(field.info().n_bits);
    let on = |i: usize| mask.is_none_or(|m| bit(m, i));
    let mut out = Vec::new();
    let mut start = 0;
    while start < width {
        if !on(start) {
            start += 1;
            continue;
        }
        let limit = width.min(start + 64);
        let end = (start..limit).find(|&i| !on(i)).unwrap_or(limit);
        let sub = Subfield {
            field,
            ofs: start as u16,
            n_bits: (end - start) as u16,
        };
        let n = (start..end).fold(0, |n, i| n | u64::from(bit(value, i)) << (i - start));
        out.push((sub, n));
        start = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_width() {
        let (v, rest) = int_string("0x0123456789abcdef01x", 10).expect("it fits");
        assert_eq!(&v[..], [0, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1]);
        assert_eq!(rest, "x");
        assert!(int_string("0x100", 1).is_none());
        assert!(int_string("256", 1).is_none());
        assert_eq!(int_string("255", 1).map(|(v, _)| v[0]), Some(255));
        assert!(fits(&[0, 0x0f], 4) && !fits(&[0, 0x1f], 4));
    }

    #[test]
    fn loads_are_runs_of_ones() {
        let mask = [0xff, 0xff, 0x00, 0x0f];
        let got = load_segments(FieldId::Reg(1), &[0xab, 0xcd, 0, 5], Some(&mask));
        let short: Vec<_> = got.iter().map(|(s, v)| (s.ofs, s.n_bits, *v)).collect();
        assert_eq!(short, [(0, 4, 5), (16, 16, 0xabcd)]);
        let wide = load_segments(FieldId::CtLabel, &[1; 16], None);
        assert_eq!(wide.len(), 2);
    }
}
