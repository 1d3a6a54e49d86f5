//! A cursor over text, which reads numbers as Open vSwitch's scanner does: a value that is too large for
//! its place keeps its low bits.

use wire::{EthAddr, Ipv4, Ipv6};

/// What separates actions and arguments.
pub(super) const DELIMITERS: [char; 5] = [',', ' ', '\t', '\r', '\n'];

/// Text still to be read. Reading methods take what they read, or nothing and say `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a>(pub(super) &'a str);

impl<'a> Scan<'a> {
    /// The literal `text`.
    pub(super) fn lit(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// True, and taken, when `text` comes next.
    pub(super) fn is(&mut self, text: &str) -> bool {
        self.lit(text).is_some()
    }

    /// Any number of delimiters.
    pub(super) fn delimiters(&mut self) {
        self.0 = self.0.trim_start_matches(DELIMITERS);
    }

    /// At least one character, up to one of `ends` or the end.
    pub(super) fn word(&mut self, ends: &[char]) -> Option<&'a str> {
        let len = self.0.find(ends).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(len);
        if word.is_empty() {
            return None;
        }
        self.0 = rest;
        Some(word)
    }

    /// A number in `base`; 0 means by prefix, and 16 takes a prefix, too.
    fn number(&mut self, base: u32) -> Option<u64> {
        let negative = self.0.starts_with('-');
        let text = self.0.strip_prefix(['-', '+']).unwrap_or(self.0);
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let (base, text) = match (base, hex) {
            (0 | 16, Some(digits)) => (16, digits),
            (0, None) if text.starts_with('0') => (8, text),
            (0, None) => (10, text),
            (base, _) => (base, text),
        };
        let len = text.find(|c: char| !c.is_digit(base)).unwrap_or(text.len());
        let (digits, rest) = text.split_at(len);
        if digits.is_empty() {
            return None;
        }
        let value = digits.chars().fold(0u64, |n, c| {
            let digit = c.to_digit(base).unwrap_or_default();
            n.wrapping_mul(u64::from(base))
                .wrapping_add(u64::from(digit))
        });
        self.0 = rest;
        Some(if negative {
            value.wrapping_neg()
        } else {
            value
        })
    }

    /// A number by its prefix (`%i`).
    pub(super) fn int(&mut self) -> Option<u64> {
        self.number(0)
    }
    /// A hexadecimal number, with or without prefix (`%x`).
    pub(super) fn hex(&mut self) -> Option<u64> {
        self.number(16)
    }
    /// A decimal number (`%u`).
    pub(super) fn dec(&mut self) -> Option<u64> {
        self.number(10)
    }
    /// As [`Scan::int`], 32 bits of it.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.int().map(|n| n as u32)
    }
    /// As [`Scan::int`], 16 bits of it.
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.int().map(|n| n as u16)
    }
    /// As [`Scan::int`], 8 bits of it.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.int().map(|n| n as u8)
    }
    /// A port number.
    pub(super) fn port(&mut self) -> Option<flow::OdpPort> {
        self.u32().map(flow::OdpPort)
    }

    /// `a:b:c:d:e:f`.
    pub(super) fn eth(&mut self) -> Option<EthAddr> {
        let mut copy = *self;
        let mut mac = EthAddr::ZERO;
        for (i, byte) in mac.0.iter_mut().enumerate() {
            if i > 0 {
                copy.lit(":")?;
            }
            *byte = copy.hex()? as u8;
        }
        *self = copy;
        Some(mac)
    }

    /// `a.b.c.d`.
    pub(super) fn ipv4(&mut self) -> Option<Ipv4> {
        let mut copy = *self;
        let text = copy.run(|c| c.is_ascii_digit() || c == '.');
        let address = text.parse().ok()?;
        *self = copy;
        Some(address)
    }

    /// An IPv6 address, without brackets.
    pub(super) fn ipv6(&mut self) -> Option<Ipv6> {
        let mut copy = *self;
        let text = copy.run(|c| c.is_ascii_hexdigit() || c == ':' || c == '.');
        let address = text.parse().ok()?;
        *self = copy;
        Some(address)
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let len = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text
    }

    /// A number of up to `width` bytes, big-endian: hexadecimal, or as [`Scan::int`].
    pub(super) fn bytes(&mut self, width: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; width];
        let mut copy = *self;
        if !copy.is("0x") && !copy.is("0X") {
            let n = self.int()?.to_be_bytes();
            let (high, low) = n.split_at(8 - width.min(8));
            if high.iter().any(|&b| b != 0) {
                return None;
            }
            out[width - low.len()..].copy_from_slice(low);
            return Some(out);
        }
        let digits = copy.run(|c| c.is_ascii_hexdigit());
        let significant = digits.trim_start_matches('0');
        if digits.is_empty() || significant.len() > width * 2 {
            return None;
        }
        for (i, c) in significant.chars().rev().enumerate() {
            let digit = c.to_digit(16).unwrap_or_default() as u8;
            out[width - 1 - i / 2] |= digit << (i % 2 * 4);
        }
        *self = copy;
        Some(out)
    }

    /// Bytes as pairs of hexadecimal digits, blanks between them allowed.
    pub(super) fn octets(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
            let pair = self
                .0
                .get(..2)
                .filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(byte) = pair.and_then(|p| u8::from_str_radix(p, 16).ok()) else {
                return out;
            };
            out.push(byte);
            self.0 = &self.0[2..];
        }
    }
}

/// Flags by name with `delimiter` between them, the unnamed ones as a number behind; `0` for none.
pub(super) fn put_flags(out: &mut String, set: u32, names: &[&str], delimiter: char) {
    if set == 0 {
        out.push('0');
        return;
    }
    let mut first = true;
    let mut item = |text: &str| {
        if !std::mem::take(&mut first) {
            out.push(delimiter);
        }
        out.push_str(text);
    };
    for (i, name) in names.iter().enumerate() {
        if set >> i & 1 == 1 {
            item(name);
        }
    }
    let unnamed = set.checked_shr(names.len() as u32).unwrap_or(0) << names.len();
    if unnamed != 0 {
        item(&format!("{unnamed:#x}"));
    }
}
