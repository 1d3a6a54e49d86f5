//! Numbers as C's `strtol` and `atoi` read them: configuration values were always read that way, and what
//! people wrote relies on it.

/// Reads a number in `base` (0: by prefix, 16: with or without `0x`) from the front of `text`; returns it
/// and what follows. No number at the front reads as 0 with everything following.
pub(crate) fn strtol(text: &str, base: u32) -> (i64, &str) {
    let trimmed = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let (magnitude, rest) = unsigned(digits, base);
    if rest.len() == digits.len() {
        return (0, text);
    }
    let value = i64::try_from(magnitude).unwrap_or(i64::MAX);
    (if negative { -value } else { value }, rest)
}

/// As [`strtol`], for 64 unsigned bits; too large a number reads as the largest.
pub(crate) fn strtoull(text: &str, base: u32) -> u64 {
    let (value, _) = strtol(text, base);
    let digits = text.trim_start().trim_start_matches('+');
    if value < 0 {
        return value.cast_unsigned();
    }
    unsigned(digits, base).0
}

/// `atoi`: decimal, whatever follows.
pub(crate) fn atoi(text: &str) -> i64 {
    strtol(text, 10).0
}

fn unsigned(text: &str, base: u32) -> (u64, &str) {
    let hex = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .filter(|t| t.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (base, digits) = match (base, hex) {
        (0 | 16, Some(t)) => (16, t),
        (0, None) if text.starts_with('0') => (8, text),
        (0, None) => (10, text),
        (base, _) => (base, text),
    };
    let len = digits.chars().take_while(|c| c.is_digit(base)).count();
    let (number, rest) = digits.split_at(len);
    if number.is_empty() {
        return (0, text);
    }
    (u64::from_str_radix(number, base).unwrap_or(u64::MAX), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_c_does() {
        assert_eq!(strtol("12abc", 10), (12, "abc"));
        assert_eq!(strtol(" -0x1f", 0), (-31, ""));
        assert_eq!(strtol("010", 0), (8, ""));
        assert_eq!(strtol("0x", 16), (0, "x"));
        assert_eq!(strtol("zz", 10), (0, "zz"));
        assert_eq!(strtoull("18446744073709551615", 0), u64::MAX);
        assert_eq!(strtoull("99999999999999999999", 0), u64::MAX);
        assert_eq!((atoi("64x"), atoi("")), (64, 0));
    }
}
