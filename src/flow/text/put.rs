//! Small pieces of text that flows and datapath keys are written with.

use super::PortNames;
use crate::port::OfPort;
use std::fmt::{self, Write};
use wire::{EthAddr, Ipv4, Ipv6};

/// Appends formatted text.
pub(crate) fn put(out: &mut String, args: fmt::Arguments<'_>) {
    out.write_fmt(args)
        .expect("writing to a String cannot fail");
}

/// Big-endian octets as one hexadecimal number; `0` for none but zeroes.
pub(crate) fn hex(out: &mut String, bytes: &[u8]) {
    let Some(first) = bytes.iter().position(|&b| b != 0) else {
        return out.push('0');
    };
    put(out, format_args!("0x{:x}", bytes[first]));
    for b in &bytes[first + 1..] {
        put(out, format_args!("{b:02x}"));
    }
}

/// A number as C's `%#x` writes it: `0` without prefix.
pub(crate) fn alt_hex(out: &mut String, n: u64) {
    if n == 0 {
        out.push('0')
    } else {
        put(out, format_args!("{n:#x}"))
    }
}

/// An address, with its mask when that is not exact.
pub(crate) fn ethernet(out: &mut String, mac: EthAddr, mask: EthAddr) {
    put(out, format_args!("{mac}"));
    if mask != EthAddr::BROADCAST {
        put(out, format_args!("/{mask}"));
    }
}

/// An address, with its mask or prefix length when that is not exact.
pub(crate) fn ipv4(out: &mut String, ip: Ipv4, mask: Ipv4) {
    put(out, format_args!("{ip}"));
    let wild = !mask.to_u32();
    if wild & wild.wrapping_add(1) != 0 {
        put(out, format_args!("/{mask}"));
    } else if wild != 0 {
        put(out, format_args!("/{}", mask.to_u32().leading_ones()));
    }
}

/// An address, with its mask or prefix length when that is not exact.
pub(crate) fn ipv6(out: &mut String, ip: Ipv6, mask: Ipv6) {
    put(out, format_args!("{ip}"));
    let bits = u128::from_be_bytes(mask.0);
    let wild = !bits;
    if wild & wild.wrapping_add(1) != 0 {
        put(out, format_args!("/{mask}"));
    } else if wild != 0 {
        put(out, format_args!("/{}", bits.leading_ones()));
    }
}

/// The set bits, lowest first.
pub(crate) fn bits(mut n: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = n & n.wrapping_neg();
        n &= !bit;
        (bit != 0).then_some(bit)
    })
}

/// Flags by name with `del` between them, unnamed ones as one number behind.
pub(crate) fn flags(out: &mut String, name: fn(u32) -> Option<&'static str>, set: u32, del: char) {
    if set == 0 {
        return out.push('0');
    }
    let mut bad = 0;
    let start = out.len();
    for bit in bits(set) {
        match name(bit) {
            Some(name) => put(out, format_args!("{name}{del}")),
            None => bad |= bit,
        }
    }
    if bad != 0 {
        put(out, format_args!("{bad:#x}{del}"));
    }
    if out.len() > start {
        out.pop();
    }
}

/// Flags under a mask: as [`flags`] when the mask is `all`, else `+set-clear`.
pub(crate) fn flags_masked(
    out: &mut String,
    name: fn(u32) -> Option<&'static str>,
    (set, mask, all): (u32, u32, u32),
) {
    if mask == all {
        return flags(out, name, set, '|');
    } else if mask == 0 {
        return out.push_str("0/0");
    }
    for bit in bits(mask) {
        out.push(if set & bit != 0 { '+' } else { '-' });
        out.push_str(name(bit).unwrap_or("[Unknown]"));
    }
}

/// Conntrack state bits by name.
pub(crate) fn ct_state_name(bit: u32) -> Option<&'static str> {
    const NAMES: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
    NAMES.get(bit.trailing_zeros() as usize).copied()
}

/// TCP flags by name.
pub(crate) fn tcp_flag_name(bit: u32) -> Option<&'static str> {
    const NAMES: [&str; 12] = [
        "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]",
    ];
    NAMES.get(bit.trailing_zeros() as usize).copied()
}

/// Tunnel flags by name.
pub(crate) fn tun_flag_name(bit: u32) -> Option<&'static str> {
    const NAMES: [&str; 4] = ["oam", "df", "csum", "key"];
    NAMES.get(bit.trailing_zeros() as usize).copied()
}

/// `eth`, or `packet_type=(namespace,type)`.
pub(crate) fn packet_type(out: &mut String, value: u32, mask: u32) {
    if value == 0 && mask == u32::MAX {
        return out.push_str("eth");
    }
    let half = |out: &mut String, v: u32, m: u32| {
        if m == 0 {
            return out.push('*');
        } else if v > 9 {
            put(out, format_args!("{v:#x}"));
        } else {
            put(out, format_args!("{v}"));
        }
        if m != 0xffff {
            put(out, format_args!("/{m:#x}"));
        }
    };
    out.push_str("packet_type=(");
    half(out, value >> 16, mask >> 16);
    out.push(',');
    half(out, value & 0xffff, mask & 0xffff);
    out.push(')');
}

/// A port or table name: in quotes unless it is a letter followed by letters and digits.
pub fn put_name(out: &mut String, name: &str) {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain {
        return out.push_str(name);
    }
    out.push('"');
    for c in name.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => put(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A port: reserved word, name, or number.
pub fn put_port(out: &mut String, port: OfPort, names: &dyn PortNames) {
    match (port.reserved_name(), names.name(port)) {
        (Some(word), _) => out.push_str(word),
        (None, Some(name)) => put_name(out, name),
        (None, None) => put(out, format_args!("{}", port.0)),
    }
}
