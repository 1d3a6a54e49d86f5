//! The lexical layer of flow syntax: `key=value`, `key:value`, `key(value)` lists and C-like numbers.

/// What separates pairs.
const LIST: [char; 5] = [',', ' ', '\t', '\r', '\n'];

/// Walks `key`, `key=value`, `key:value` and `key(value)` pairs separated by commas or blanks.
/// Parentheses nest inside values; `key(a)->b` has the value `a)->b`.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(s: &'a str) -> Self {
        Self { rest: s }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let s = self.rest.trim_start_matches(LIST);
        if s.is_empty() {
            self.rest = s;
            return None;
        }
        let end = s
            .find([':', '=', '(', ',', ' ', '\t', '\r', '\n'])
            .unwrap_or(s.len());
        let key = &s[..end];
        let tail = s.get(end + 1..).unwrap_or("");
        let (len, delims): (usize, &[u8]) = match s.as_bytes().get(end) {
            Some(b':' | b'=') => (value_len(tail, b", \t\r\n"), b", \t\r\n"),
            Some(b'(') => (value_len(tail, b")"), b")"),
            _ => {
                self.rest = tail;
                return Some((key, &key[end..]));
            }
        };
        let len = if delims == b")" && tail[len..].starts_with(")->") {
            len + value_len(&tail[len..], b", \t\r\n")
        } else {
            len
        };
        self.rest = tail.get(len + 1..).unwrap_or("");
        Some((key, &tail[..len]))
    }
}

/// Bytes up to a delimiter outside parentheses, or the end.
fn value_len(s: &str, delims: &[u8]) -> usize {
    let b = s.as_bytes();
    let mut n = 0;
    while n < b.len() && !delims.contains(&b[n]) {
        if b[n] != b'(' {
            n += 1;
            continue;
        }
        let mut level = 0usize;
        while n < b.len() {
            match b[n] {
                b'(' => level += 1,
                b')' => level -= 1,
                _ => {}
            }
            n += 1;
            if level == 0 {
                break;
            }
        }
    }
    n
}

/// Reads a number as strtoull(3) with base 0 does: blanks, sign, `0x` or `0` prefix. `None` when there are
/// no digits or it does not fit; a minus sign wraps around.
pub(crate) fn strtoull(s: &str) -> Option<(u64, &str)> {
    let (negative, magnitude, rest) = magnitude(s)?;
    let n = u64::try_from(magnitude).ok()?;
    Some((if negative { n.wrapping_neg() } else { n }, rest))
}

/// Reads a number as strtoll(3) with base 0 does.
pub(crate) fn strtoll(s: &str) -> Option<(i64, &str)> {
    let (negative, magnitude, rest) = magnitude(s)?;
    let n = i128::try_from(magnitude).ok()?;
    let n = i64::try_from(if negative { -n } else { n }).ok()?;
    Some((n, rest))
}

/// Sign, magnitude (saturating) and what follows.
fn magnitude(s: &str) -> Option<(bool, u128, &str)> {
    let s = s.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, s) = match s.as_bytes().first() {
        Some(b'-') => (true, &s[1..]),
        Some(b'+') => (false, &s[1..]),
        _ => (false, s),
    };
    let hex = s
        .strip_prefix("0x")
        .or_else(|| s.strip_prefix("0X"))
        .filter(|t| t.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (radix, digits) = match hex {
        Some(t) => (16, t),
        None if s.starts_with('0') => (8, s),
        None => (10, s),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let n = digits[..end].chars().fold(0u128, |n, c| {
        n.saturating_mul(u128::from(radix))
            .saturating_add(u128::from(c.to_digit(radix).unwrap_or(0)))
    });
    Some((negative, n, &digits[end..]))
}

/// What atoi(3) makes of `s`: the leading decimal number, 0 without one.
pub(crate) fn atoi(s: &str) -> i32 {
    let t = s.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let sign = usize::from(t.starts_with(['-', '+']));
    let end = t[sign..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(t.len(), |e| e + sign);
    t[..end]
        .parse::<i64>()
        .map_or(0, |n| (n & 0xffff_ffff) as u32 as i32)
}

/// `invalid {what} "{s}"` unless `s` is a number 0..=255.
pub(crate) fn u8_of(s: &str, what: &str) -> Result<u8, String> {
    whole_i64(s)
        .and_then(|n| u8::try_from(n).ok())
        .ok_or_else(|| format!("invalid {what} \"{s}\""))
}

/// `invalid {what} "{s}"` unless `s` is a number 0..=65535.
pub(crate) fn u16_of(s: &str, what: &str) -> Result<u16, String> {
    whole_i64(s)
        .and_then(|n| u16::try_from(n).ok())
        .ok_or_else(|| format!("invalid {what} \"{s}\""))
}

fn whole_i64(s: &str) -> Option<i64> {
    strtoll(s)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(n, _)| n)
}

/// A 64-bit number with nothing after it.
pub(crate) fn u64_of(s: &str) -> Result<u64, String> {
    if s.is_empty() {
        return Err("missing required numeric argument".into());
    }
    match strtoull(s) {
        Some((n, "")) => Ok(n),
        _ => Err(format!("invalid numeric format {s}")),
    }
}

/// The low 32 bits of a number with nothing after it (the peer does not mind the high bits).
pub(crate) fn u32_of(s: &str) -> Result<u32, String> {
    u64_of(s).map(|n| n as u32)
}

/// Pairs of hex digits, blanks and dots between them allowed; what could not be read follows.
pub(crate) fn hex_bytes(s: &str) -> (Vec<u8>, &str) {
    let mut out = Vec::new();
    let mut s = s;
    loop {
        s = s.trim_start_matches([' ', '\t', '\r', '\n', '.']);
        let pair = s
            .get(..2)
            .filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()));
        match pair.and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(b) => out.push(b),
            None => return (out, s),
        }
        s = &s[2..];
    }
}

/// Splits like strtok_r(3): skips leading delimiters, ends a token at the next one.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(s: &'a str) -> Self {
        Self { rest: s }
    }
    /// What no token has taken yet.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }
    pub(crate) fn next(&mut self, delims: &[char]) -> Option<&'a str> {
        let s = self.rest.trim_start_matches(delims);
        if s.is_empty() {
            self.rest = s;
            return None;
        }
        let end = s.find(delims).unwrap_or(s.len());
        self.rest = s.get(end + 1..).unwrap_or("");
        Some(&s[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_nest_and_end() {
        let all: Vec<_> = Pairs::new("a, b=1,c(x(y),z) d:e(f,g),h(9)->r[0],i=").collect();
        assert_eq!(
            all,
            [
                ("a", ""),
                ("b", "1"),
                ("c", "x(y),z"),
                ("d", "e(f,g)"),
                ("h", "9)->r[0]"),
                ("i", "")
            ]
        );
        assert_eq!(Pairs::new("a((((").collect::<Vec<_>>(), [("a", "(((")]);
        assert_eq!(Pairs::new("é=ü,").collect::<Vec<_>>(), [("é", "ü")]);
    }

    #[test]
    fn numbers_are_those_of_c() {
        assert_eq!(strtoull("0x1fg"), Some((0x1f, "g")));
        assert_eq!(strtoull("017"), Some((15, "")));
        assert_eq!(strtoull("0x"), Some((0, "x")));
        assert_eq!(strtoull("-1"), Some((u64::MAX, "")));
        assert_eq!(
            strtoull("99999999999999999999999999999999999999999999"),
            None
        );
        assert_eq!(u16_of("65536", "n"), Err("invalid n \"65536\"".into()));
        assert_eq!(u32_of(""), Err("missing required numeric argument".into()));
        assert_eq!(atoi("12abc"), 12);
        assert_eq!(atoi("-"), 0);
        assert_eq!(hex_bytes("01.02 03zz"), (vec![1, 2, 3], "zz"));
    }
}
