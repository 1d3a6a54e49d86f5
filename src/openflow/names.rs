//! Names of ports and tables, both ways, as text forms use them.

use crate::action::Port;
use flow::OfPort;
use std::collections::HashMap;
use std::fmt::{self, Write};

/// Numbers and their names. A name given to two numbers, or a number given two names, counts as unnamed.
#[derive(Debug, Clone, Default)]
pub struct NameMap {
    by_name: HashMap<String, u32>,
    by_number: HashMap<u32, (String, bool)>,
}

impl NameMap {
    /// Adds a name. The first of two clashing entries stays, marked as a duplicate.
    pub fn put(&mut self, number: u32, name: &str) {
        if let Some(&first) = self.by_name.get(name) {
            if first != number {
                self.mark(first);
            }
        } else if self.by_number.contains_key(&number) {
            self.mark(number);
        } else {
            self.by_name.insert(name.to_owned(), number);
            self.by_number.insert(number, (name.to_owned(), false));
        }
    }
    fn mark(&mut self, number: u32) {
        if let Some(entry) = self.by_number.get_mut(&number) {
            entry.1 = true;
        }
    }
    /// The number of an unambiguous name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        let number = *self.by_name.get(name)?;
        self.name(number).map(|_| number)
    }
    /// The unambiguous name of a number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<&str> {
        let (name, duplicate) = self.by_number.get(&number)?;
        (!duplicate).then_some(name)
    }
}

/// The maps a text form is read or written with; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// Ports of the bridge.
    pub ports: Option<&'a NameMap>,
    /// Tables of the bridge.
    pub tables: Option<&'a NameMap>,
}

impl flow::text::PortNames for Names<'_> {
    fn number(&self, name: &str) -> Option<OfPort> {
        let n = self.ports?.number(name)?;
        u16::try_from(n).ok().map(OfPort)
    }
    fn name(&self, port: OfPort) -> Option<&str> {
        self.ports?.name(port.0.into())
    }
}

/// Added to a reserved 16-bit port to make OpenFlow 1.1's.
const PORT_OFFSET: u32 = 0xffff_0000;

const PORT_WORDS: [(&str, OfPort); 10] = [
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

impl Names<'_> {
    /// A port: number (16-bit, or 32-bit reserved as OpenFlow 1.1 has it), reserved word, or name.
    #[must_use]
    pub fn parse_port(&self, s: &str) -> Option<Port> {
        if s.starts_with('-') {
            return None;
        }
        if let Some(n) = decimal(s) {
            let n = u32::try_from(n).ok()?;
            return match u16::try_from(n) {
                Ok(n) => Some(OfPort(n)),
                Err(_) => u16::try_from(n.wrapping_sub(PORT_OFFSET))
                    .ok()
                    .filter(|&n| n >= OfPort::MAX.0)
                    .map(OfPort),
            };
        }
        if let Some((_, port)) = PORT_WORDS.iter().find(|(w, _)| w.eq_ignore_ascii_case(s)) {
            return Some(*port);
        }
        let number = lookup(self.ports, s)?;
        u16::try_from(number)
            .ok()
            .map(OfPort)
            .filter(|&p| p != OfPort::NONE)
    }
    /// A table: number 0..=255, or name.
    #[must_use]
    pub fn parse_table(&self, s: &str) -> Option<u8> {
        if s.starts_with('-') {
            return None;
        }
        match decimal(s) {
            Some(n) => u8::try_from(n).ok(),
            None => lookup(self.tables, s)
                .and_then(|n| u8::try_from(n).ok())
                .filter(|&n| n != u8::MAX),
        }
    }
    /// Writes a port: reserved word, name, or number.
    pub fn put_port(&self, out: &mut String, port: Port) {
        let name = self.ports.and_then(|m| m.name(u32::from(port.0)));
        match (port.reserved_name(), name) {
            (Some(word), _) => out.push_str(word),
            (None, Some(name)) => put_name(out, name),
            (None, None) => put(out, format_args!("{}", port.0)),
        }
    }
    /// Writes a table: name or number.
    pub fn put_table(&self, out: &mut String, table: u8) {
        match self.tables.and_then(|m| m.name(u32::from(table))) {
            Some(name) => put_name(out, name),
            None => put(out, format_args!("{table}")),
        }
    }
    /// True when the table has a name.
    #[must_use]
    pub fn has_table_name(&self, table: u8) -> bool {
        self.tables.and_then(|m| m.name(u32::from(table))).is_some()
    }
}

/// Writing to a string cannot fail.
pub(crate) fn put(out: &mut String, args: fmt::Arguments<'_>) {
    out.write_fmt(args).expect("a String takes everything");
}

/// All of `s` as strtoll(3) with base 10 reads it, when it is not negative.
fn decimal(s: &str) -> Option<i64> {
    let t = s.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    t.parse::<i64>().ok()
}

fn lookup(map: Option<&NameMap>, s: &str) -> Option<u32> {
    let map = map?;
    match s.strip_prefix('"') {
        None => map.number(s),
        Some(rest) => map.number(&unquote(rest.strip_suffix('"')?)?),
    }
}

/// Undoes the escapes of a JSON string.
fn unquote(s: &str) -> Option<String> {
    let mut out = String::with_capacity(s.len());
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        if c == '"' {
            return None;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\x08',
            'f' => '\x0c',
            'u' => {
                let hex: String = chars.by_ref().take(4).collect();
                char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        });
    }
    Some(out)
}

/// A name that is not letters and digits after a letter is written as a JSON string.
fn put_name(out: &mut String, name: &str) {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric());
    if plain {
        out.push_str(name);
        return;
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
            c if (c as u32) < 32 => put(out, format_args!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_by_number_word_and_name() {
        let mut map = NameMap::default();
        map.put(1, "eth0");
        map.put(2, "br-int");
        map.put(3, "eth0");
        let names = Names {
            ports: Some(&map),
            tables: None,
        };
        assert_eq!(names.parse_port("4294967294"), Some(OfPort::LOCAL));
        assert_eq!(names.parse_port("65536"), None);
        assert_eq!(names.parse_port("local"), Some(OfPort::LOCAL));
        assert_eq!(names.parse_port("eth0"), None, "two ports are called eth0");
        assert_eq!(names.parse_port("\"br-int\""), Some(OfPort(2)));
        let mut s = String::new();
        names.put_port(&mut s, OfPort(2));
        names.put_port(&mut s, OfPort(7));
        names.put_port(&mut s, OfPort::NONE);
        assert_eq!(s, "\"br-int\"7ANY");
    }
}
