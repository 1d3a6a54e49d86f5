//! Log line patterns: `%` conversions of `ovs-appctl(8)`, with width and argument.

use super::{Level, time};
use std::fmt::Write;

/// What a line can be made of.
pub(super) struct Facts<'a> {
    pub(super) program: &'a str,
    pub(super) module: &'a str,
    pub(super) level: Level,
    pub(super) message: &'a str,
    pub(super) serial: u64,
    pub(super) elapsed_ms: u64,
}

/// Expands a pattern.
pub(super) fn expand(pattern: &str, facts: &Facts<'_>) -> String {
    let mut out = String::with_capacity(facts.message.len() + 64);
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let left = rest.starts_with('-');
        rest = rest.strip_prefix('-').unwrap_or(rest);
        let zero = rest.starts_with('0');
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let width: usize = rest[..digits].parse().unwrap_or(0);
        rest = &rest[digits..];
        let Some(kind) = rest.chars().next() else {
            break;
        };
        rest = &rest[kind.len_utf8()..];
        let mut argument = "";
        if let Some((arg, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            (argument, rest) = (arg, after);
        }
        let text = convert(kind, argument, facts);
        let pad = width.min(256).saturating_sub(text.chars().count());
        let fill = if zero && !left { "0" } else { " " }.repeat(pad);
        // Writing to a string cannot fail.
        let _ = if left {
            write!(out, "{text}{fill}")
        } else {
            write!(out, "{fill}{text}")
        };
    }
    out.push_str(rest);
    out
}

fn convert(kind: char, argument: &str, f: &Facts<'_>) -> String {
    let or = |default: &'static str| {
        if argument.is_empty() {
            default
        } else {
            argument
        }
        .to_owned()
    };
    match kind {
        'A' => f.program.to_owned(),
        'B' => (3 << 3 | f.level.severity()).to_string(),
        'c' => f.module.to_owned(),
        'd' | 'D' => time::format(base::clock::Clock::wall(), &or("%Y-%m-%d %H:%M:%S.###")),
        'E' => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| or("-"), |h| h.trim().to_owned()),
        'm' => f.message.to_owned(),
        'N' => f.serial.to_string(),
        'n' => "\n".to_owned(),
        'p' => f.level.name().to_owned(),
        'P' => std::process::id().to_string(),
        'r' => f.elapsed_ms.to_string(),
        't' => thread_name().unwrap_or_else(|| or("main")),
        'T' => thread_name().map_or_else(|| argument.to_owned(), |n| format!("({n})")),
        other => other.to_string(),
    }
}

/// The thread's name, except the main thread's. Handlers do what the peer's userspace datapath does on the thread
/// that met the packet, which for ports without a thread of their own is the main one.
fn thread_name() -> Option<String> {
    std::thread::current()
        .name()
        .filter(|n| *n != "main" && !n.starts_with("handler"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions() {
        let facts = Facts {
            program: "p",
            module: "dpif",
            level: Level::Warn,
            message: "50% done",
            serial: 7,
            elapsed_ms: 3,
        };
        assert_eq!(expand("%05N|%c|%p|%m", &facts), "00007|dpif|WARN|50% done");
        assert_eq!(expand("[%-6c][%6c]%%%r", &facts), "[dpif  ][  dpif]%3");
        assert_eq!(expand("%D{%Y}", &facts).len(), 4);
        assert_eq!(expand("end%", &facts), "end");
    }
}
