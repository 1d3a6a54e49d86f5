//! `name=value/mask,` as datapath keys write it.

use crate::key::Flow;
use crate::text::put::{alt_hex, put};
use std::fmt;
use wire::{EthAddr, Ipv4, Ipv6};

/// A list of parts under construction: parts whose mask is zero are left out unless `verbose`.
pub(super) struct Parts<'a> {
    pub(super) out: &'a mut String,
    pub(super) verbose: bool,
}

impl Parts<'_> {
    fn part(
        &mut self,
        name: &str,
        (value, mask): (impl fmt::Display, impl fmt::Display),
        (empty, full): (bool, bool),
    ) {
        if empty && !self.verbose {
            return;
        }
        put(self.out, format_args!("{name}={value}"));
        if !full {
            put(self.out, format_args!("/{mask}"));
        }
        self.out.push(',');
    }
    pub(super) fn u8(&mut self, name: &str, v: u8, m: u8) {
        self.part(name, (v, Hex(m.into())), (m == 0, m == u8::MAX));
    }
    pub(super) fn u8_hex(&mut self, name: &str, v: u8, m: u8) {
        self.part(name, (Hex(v.into()), Hex(m.into())), (m == 0, m == u8::MAX));
    }
    pub(super) fn u16(&mut self, name: &str, v: u16, m: u16) {
        self.part(name, (v, Hex(m.into())), (m == 0, m == u16::MAX));
    }
    pub(super) fn u16_hex(&mut self, name: &str, v: u16, m: u16) {
        self.part(
            name,
            (Hex(v.into()), Hex(m.into())),
            (m == 0, m == u16::MAX),
        );
    }
    /// Without a mask, only when verbose.
    pub(super) fn u64_hex(&mut self, name: &str, v: u64, m: Option<u64>) {
        let (empty, full) = (m.unwrap_or(0) == 0, m.is_none_or(|m| m == u64::MAX));
        let value = format_args!("{v:#x}").to_string();
        self.part(name, (value, Hex(m.unwrap_or(0))), (empty, full));
    }
    pub(super) fn label(&mut self, name: &str, v: u32, m: u32) {
        let full = m & wire::ipv6::LABEL_MASK == wire::ipv6::LABEL_MASK;
        self.part(name, (Hex(v.into()), Hex(m.into())), (m == 0, full));
    }
    pub(super) fn mac(&mut self, name: &str, v: EthAddr, m: EthAddr) {
        self.part(name, (v, m), (m == EthAddr::ZERO, m == EthAddr::BROADCAST));
    }
    pub(super) fn ipv4(&mut self, name: &str, v: Ipv4, m: Ipv4) {
        self.part(name, (v, m), (m.0 == [0; 4], m.0 == [0xff; 4]));
    }
    pub(super) fn ipv6(&mut self, name: &str, v: Ipv6, m: Ipv6) {
        self.part(name, (v, m), (m.0 == [0; 16], m.0 == [0xff; 16]));
    }
    /// An enumeration in the ABI: all or nothing, also when verbose.
    pub(super) fn frag(&mut self, v: u8, m: u8) {
        if m & Flow::FRAG_ANY == 0 {
            return;
        }
        let word = match (v & Flow::FRAG_ANY != 0, v & Flow::FRAG_LATER != 0) {
            (false, _) => "no",
            (true, false) => "first",
            (true, true) => "later",
        };
        put(self.out, format_args!("frag={word},"));
    }
    /// Drops the last comma.
    pub(super) fn end(&mut self) {
        if self.out.ends_with(',') {
            self.out.pop();
        }
    }
}

/// As C's `%#x`.
pub(super) struct Hex(pub(super) u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        alt_hex(&mut out, self.0);
        f.write_str(&out)
    }
}
