//! Text of a flow's counters.

use super::put::put;
use crate::ufid::FlowStats;
use base::clock::Nanos;

/// `packets:N, bytes:N, used:1.234s, flags:SF.`, at time `now`.
#[must_use]
pub fn format_stats(stats: &FlowStats, now: Nanos) -> String {
    let mut out = String::new();
    put_stats(&mut out, stats, now);
    out
}

/// As [`format_stats`], appended to `out`.
pub fn put_stats(out: &mut String, stats: &FlowStats, now: Nanos) {
    put!(
        out,
        "packets:{}, bytes:{}, used:",
        stats.n_packets,
        stats.n_bytes
    );
    match stats.used {
        // Whole milliseconds of both, as the peer has no finer ones.
        Some(used) => {
            let ms = now.millis().saturating_sub(used.millis());
            put!(out, "{}.{:03}s", ms / 1000, ms % 1000);
        }
        None => out.push_str("never"),
    }
    if stats.tcp_flags != 0 {
        out.push_str(", flags:");
        put_tcp_flags(out, stats.tcp_flags);
    }
}

/// One letter per TCP flag, `none` for none.
pub fn put_tcp_flags(out: &mut String, flags: u16) {
    const NAMES: [&str; 12] = [
        "F", "S", "R", "P", ".", "U", "E", "C", "N", "[200]", "[400]", "[800]",
    ];
    if flags == 0 {
        out.push_str("none");
    }
    let set = NAMES
        .iter()
        .enumerate()
        .filter(|(i, _)| flags >> i & 1 == 1);
    set.for_each(|(_, name)| out.push_str(name));
}
