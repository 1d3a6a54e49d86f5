//! The lexical layer of flow syntax: `key=value` lists, C-like numbers, addresses, flags, ports.

use super::{PortNames, TextError};
use crate::port::OfPort;
use wire::{EthAddr, Ipv4, Ipv6};

const BLANK: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// Walks `key`, `key=value`, `key:value` and `key(value)` pairs separated by commas or blanks; a key
/// without value has an empty one. Parentheses nest inside values; `key(a)->b` has the value `a)->b`.
pub fn key_values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    const LIST: [char; 5] = [',', ' ', '\t', '\r', '\n'];
    const ENDS: [char; 8] = [':', '=', '(', ',', ' ', '\t', '\r', '\n'];
    let mut rest = text;
    std::iter::from_fn(move || {
        let s = rest.trim_start_matches(LIST);
        if s.is_empty() {
            return None;
        }
        let (key, tail) = s.split_at(s.find(ENDS).unwrap_or(s.len()));
        let delims: &[u8] = match tail.as_bytes().first() {
            Some(b':' | b'=') => b", \t\r\n",
            Some(b'(') => b")",
            _ => {
                rest = tail.get(1..).unwrap_or_default();
                return Some((key, ""));
            }
        };
        let tail = &tail[1..];
        let mut len = value_len(tail, delims);
        if delims == b")" && tail[len..].starts_with(")->") {
            len += value_len(&tail[len..], b", \t\r\n");
        }
        rest = tail.get(len + 1..).unwrap_or_default();
        Some((key, &tail[..len]))
    })
}

/// Octets before the first of `delims` outside parentheses.
fn value_len(s: &str, delims: &[u8]) -> usize {
    let mut level = 0usize;
    let end = s.bytes().position(|b| {
        let outside = level == 0;
        match b {
            b'(' => level += 1,
            b')' if level > 0 => level -= 1,
            _ => {}
        }
        outside && delims.contains(&b)
    });
    end.unwrap_or(s.len())
}

/// Why a number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberError {
    Syntax,
    Range,
}

/// A number as strtoull(3) reads it with base 0, and what follows; a minus sign wraps around.
pub(crate) fn c_number(s: &str) -> Result<(u64, &str), NumberError> {
    let s = s.trim_start_matches(BLANK);
    let (minus, s) = match s.as_bytes().first() {
        Some(b'-') => (true, &s[1..]),
        Some(b'+') => (false, &s[1..]),
        _ => (false, s),
    };
    let is_hex = |t: &&str| t.starts_with(|c: char| c.is_ascii_hexdigit());
    let hex = s
        .strip_prefix("0x")
        .or_else(|| s.strip_prefix("0X"))
        .filter(is_hex);
    let (digits, radix) = match hex {
        Some(t) => (t, 16),
        None if s.starts_with('0') => (s, 8),
        None => (s, 10),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    if end == 0 {
        return Err(NumberError::Syntax);
    }
    let n = u64::from_str_radix(&digits[..end], radix).map_err(|_| NumberError::Range)?;
    Ok((if minus { n.wrapping_neg() } else { n }, &digits[end..]))
}

/// A number of up to `width` octets, big-endian, and what follows: hexadecimal of any length (blanks
/// between digits), else as [`c_number`].
pub(crate) fn integer(s: &str, width: usize) -> Result<(Vec<u8>, &str), NumberError> {
    let mut out = vec![0; width];
    let Some(mut s) = s.strip_prefix("0x").or_else(|| s.strip_prefix("0X")) else {
        let (n, rest) = c_number(s)?;
        let bytes = n.to_be_bytes();
        let (high, low) = bytes.split_at(8 - width.min(8));
        if high.iter().any(|&b| b != 0) {
            return Err(NumberError::Range);
        }
        out[width - low.len()..].copy_from_slice(low);
        return Ok((out, rest));
    };
    let mut significant = 0;
    loop {
        s = s.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(digit) = s.chars().next().and_then(|c| c.to_digit(16)) else {
            break;
        };
        s = &s[1..];
        if digit == 0 && significant == 0 {
            continue;
        }
        significant += 1;
        if significant > width * 2 {
            return Err(NumberError::Range);
        }
        // Shift the whole number by one digit.
        let mut carry = digit as u8;
        for b in out.iter_mut().rev() {
            let wide = u16::from(*b) << 4 | u16::from(carry);
            *b = (wide & 0xff) as u8;
            carry = (wide >> 8) as u8;
        }
    }
    Ok((out, s))
}

/// `a:b:c:d:e:f` at the front of `s`.
pub(crate) fn ethernet(s: &str) -> Option<(EthAddr, &str)> {
    let mut out = EthAddr::ZERO;
    let mut rest = s;
    for (i, byte) in out.0.iter_mut().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(':')?;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(rest.len());
        *byte = u8::from_str_radix(rest.get(..end)?, 16).ok()?;
        rest = &rest[end..];
    }
    Some((out, rest))
}

/// `a.b.c.d` at the front of `s`.
pub(crate) fn ipv4(s: &str) -> Option<(Ipv4, &str)> {
    let mut out = Ipv4::default();
    let mut rest = s;
    for (i, byte) in out.0.iter_mut().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        *byte = rest[..end].parse().ok()?;
        rest = &rest[end..];
    }
    Some((out, rest))
}

fn decimal(s: &str) -> Option<(i64, &str)> {
    let sign = usize::from(s.starts_with(['-', '+']));
    let end = s[sign..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(s.len(), |e| e + sign);
    Some((s[..end].parse().ok()?, &s[end..]))
}

/// `a.b.c.d`, with `/prefix` or `/mask`, at the front of `s`: address, mask, what follows.
pub(crate) fn ipv4_masked(s: &str) -> Result<(Ipv4, Ipv4, &str), TextError> {
    let (ip, rest) = ipv4(s).ok_or_else(|| TextError::BadIpv4 { text: s.into() })?;
    let exact = Ipv4([0xff; 4]);
    let Some(mask) = rest.strip_prefix('/') else {
        return Ok((ip, exact, rest));
    };
    if let Some((mask, rest)) = ipv4(mask) {
        return Ok((ip, mask, rest));
    }
    let Some((n, after)) = decimal(mask) else {
        return Ok((ip, exact, rest));
    };
    let n = u32::try_from(n).ok().filter(|&n| n <= 32);
    let n = n.ok_or_else(|| TextError::BadIpv4Prefix { text: s.into() })?;
    let bits = u32::MAX.checked_shl(32 - n).unwrap_or(0);
    Ok((ip, Ipv4::from_u32(bits), after))
}

/// An IPv6 address at the front of `s`.
pub(crate) fn ipv6(s: &str) -> Option<(Ipv6, &str)> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let (ip, rest) = s.split_at(s.find(|c| !is_part(c)).unwrap_or(s.len()));
    Some((ip.parse().ok()?, rest))
}

/// An IPv6 address, with `/prefix` or `/mask`, at the front of `s`: address, mask, what follows.
pub(crate) fn ipv6_masked(s: &str) -> Result<(Ipv6, Ipv6, &str), TextError> {
    let bad = || TextError::BadIpv6 { text: s.into() };
    let (ip, rest) = ipv6(s.trim_start_matches(BLANK)).ok_or_else(bad)?;
    let Some(mask) = rest.strip_prefix('/') else {
        return Ok((ip, Ipv6([0xff; 16]), rest));
    };
    // A mask may begin with digits too: it is a prefix length only when nothing of an address follows.
    let prefix =
        decimal(mask).filter(|(_, r)| !r.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':'));
    if let Some((n, after)) = prefix {
        let n = u32::try_from(n).ok().filter(|&n| n <= 128);
        let n = n.ok_or_else(|| TextError::BadIpv6Prefix { text: s.into() })?;
        let bits = u128::MAX.checked_shl(128 - n).unwrap_or(0);
        return Ok((ip, Ipv6(bits.to_be_bytes()), after));
    }
    let (mask, after) = ipv6(mask).ok_or_else(|| TextError::BadIpv6Mask { text: s.into() })?;
    Ok((ip, mask, after))
}

/// Flag names by bit.
pub(crate) type FlagName = fn(u32) -> Option<&'static str>;

/// A set of flags that is being read.
pub(crate) struct Flags {
    pub(crate) name: FlagName,
    /// What they are called in errors.
    pub(crate) what: &'static str,
    /// Bits that may be named.
    pub(crate) allowed: u32,
    /// What ends the text of the flags, besides its end.
    pub(crate) end: Option<char>,
}

impl Flags {
    fn named(&self, s: &str, more: &[char]) -> Option<(u32, usize)> {
        (0..32).map(|i| 1 << i).find_map(|bit| {
            let name = (self.name)(bit)?;
            let rest = s.strip_prefix(name)?;
            let ends = rest.is_empty() && self.end.is_none()
                || rest.starts_with(|c| more.contains(&c) || Some(c) == self.end);
            ends.then_some((bit, name.len()))
        })
    }
    fn at_end(&self, s: &str) -> bool {
        match self.end {
            Some(c) => s.starts_with(c),
            None => s.is_empty(),
        }
    }

    /// `value/mask` in numbers, or `+set-clear`: value, mask, what follows. `None` when it is neither.
    pub(crate) fn parse_masked<'a>(
        &self,
        s: &'a str,
    ) -> Result<Option<(u32, u32, &'a str)>, TextError> {
        if let Ok((value, rest)) = c_number(s)
            && let Some(mask) = rest.strip_prefix('/')
            && let Ok((mask, rest)) = c_number(mask)
        {
            return match (u32::try_from(value), u32::try_from(mask)) {
                (Ok(v), Ok(m)) if (v | m) & !self.allowed == 0 => Ok(Some((v, m, rest))),
                _ => Err(self.unknown(s)),
            };
        }
        if !s.starts_with(['+', '-']) {
            return Ok(None);
        }
        let (mut value, mut mask, mut rest) = (0, 0, s);
        while !self.at_end(rest) {
            let set = rest.starts_with('+');
            if !set && !rest.starts_with('-') {
                return Err(TextError::FlagSign {
                    text: rest.into(),
                    what: self.what,
                });
            }
            rest = &rest[1..];
            let (bit, len) = self
                .named(rest, &['+', '-'])
                .ok_or_else(|| self.unknown(rest))?;
            if mask & bit != 0 {
                return Err(TextError::FlagTwice {
                    text: rest.into(),
                    what: self.what,
                });
            } else if bit & self.allowed == 0 {
                return Err(self.unknown(rest));
            }
            mask |= bit;
            value |= if set { bit } else { 0 };
            rest = &rest[len..];
        }
        Ok(Some((value, mask, rest)))
    }

    /// `a|b|c`, numbers among them: the set, what follows.
    pub(crate) fn parse<'a>(&self, s: &'a str) -> Result<(u32, &'a str), TextError> {
        let (mut out, mut rest) = (0, s);
        while !self.at_end(rest) {
            let (bits, after) = match c_number(rest) {
                Ok((n, after)) => (n, after),
                Err(_) => {
                    let (bit, len) = self.named(rest, &['|']).ok_or_else(|| self.unknown(s))?;
                    (u64::from(bit), &rest[len..])
                }
            };
            let bits = u32::try_from(bits).ok().filter(|b| b & !self.allowed == 0);
            out |= bits.ok_or_else(|| self.unknown(s))?;
            rest = after.strip_prefix('|').unwrap_or(after);
        }
        Ok((out, rest))
    }

    fn unknown(&self, text: &str) -> TextError {
        TextError::FlagUnknown {
            text: text.into(),
            what: self.what,
        }
    }
}

/// Reserved ports by name, as they may be written.
const RESERVED: [(&str, OfPort); 10] = [
    ("IN_PORT", OfPort::IN_PORT),
    ("TABLE", OfPort::TABLE),
    ("NORMAL", OfPort::NORMAL),
    ("FLOOD", OfPort::FLOOD),
    ("ALL", OfPort::ALL),
    ("CONTROLLER", OfPort::CONTROLLER),
    ("LOCAL", OfPort::LOCAL),
    ("ANY", OfPort::NONE),
    ("UNSET", OfPort::UNSET),
    ("NONE", OfPort::NONE),
];

/// A port: a decimal number (reserved ports also as OpenFlow 1.1 numbers them), a reserved word, or a name
/// that `names` knows, in quotes or not.
#[must_use]
pub fn parse_port(s: &str, names: &dyn PortNames) -> Option<OfPort> {
    if s.starts_with('-') {
        return None;
    }
    let digits = s.trim_start_matches(BLANK);
    if let Ok(n) = digits.strip_prefix('+').unwrap_or(digits).parse::<u32>() {
        return u16::try_from(n)
            .ok()
            .map(OfPort)
            .or_else(|| OfPort::from_ofp11(n));
    }
    if let Some((_, port)) = RESERVED
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(s))
    {
        return Some(*port);
    }
    let quoted = s
        .strip_prefix('"')
        .map(|q| q.strip_suffix('"').and_then(unescape));
    let port = match quoted {
        Some(name) => names.number(&name?),
        None => names.number(s),
    };
    port.filter(|&p| p != OfPort::NONE)
}

/// The inside of a JSON string.
fn unescape(s: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let hex = chars.as_str().get(..4)?;
                chars.nth(3);
                char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::NoNames;
    use super::*;

    #[test]
    fn lists() {
        let all: Vec<_> = key_values("a, b=1,c(x(y),z) d:e(f,g),h(9)->r[0],i=").collect();
        let want = [
            ("a", ""),
            ("b", "1"),
            ("c", "x(y),z"),
            ("d", "e(f,g)"),
            ("h", "9)->r[0]"),
            ("i", ""),
        ];
        assert_eq!(all, want);
        assert_eq!(key_values("a((((").collect::<Vec<_>>(), [("a", "(((")]);
    }

    #[test]
    fn numbers() {
        assert_eq!(integer("0x1 f/", 2), Ok((vec![0, 0x1f], "/")));
        assert_eq!(integer("0x100", 1), Err(NumberError::Range));
        assert_eq!(integer("256", 1), Err(NumberError::Range));
        assert_eq!(integer("-1", 8), Ok((vec![0xff; 8], "")));
        assert_eq!(integer("010", 1), Ok((vec![8], "")));
        assert_eq!(integer("x", 1), Err(NumberError::Syntax));
        assert_eq!(integer("7", 16).map(|(v, _)| v[15]), Ok(7));
    }

    #[test]
    fn addresses() {
        let v4 = |s| ipv4_masked(s).map(|(a, m, r)| (a.0, m.0, r));
        assert_eq!(v4("1.2.3.4/8,"), Ok(([1, 2, 3, 4], [255, 0, 0, 0], ",")));
        assert_eq!(v4("1.2.3.4/0.0.0.1"), Ok(([1, 2, 3, 4], [0, 0, 0, 1], "")));
        assert_eq!(
            v4("1.2.3.4/33").map_err(|e| e.to_string()),
            Err("1.2.3.4/33: IPv4 network prefix bits not between 0 and 32, inclusive".into())
        );
        assert_eq!(
            ipv6_masked("::/ffff::").map(|(_, m, _)| m.0[..3].to_vec()),
            Ok(vec![255, 255, 0])
        );
        assert_eq!(
            ipv6_masked("fe80::1/10)").map(|(_, m, r)| (m.0[1], r)),
            Ok((0xc0, ")"))
        );
    }

    #[test]
    fn ports() {
        let p = |s| parse_port(s, &NoNames);
        assert_eq!(p("local"), Some(OfPort::LOCAL));
        assert_eq!(p("4294967294"), Some(OfPort::LOCAL));
        assert_eq!(p("65534"), Some(OfPort::LOCAL));
        assert_eq!((p("-1"), p("70000"), p("eth0")), (None, None, None));
    }
}
