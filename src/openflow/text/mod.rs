//! Text forms of `ovs-ofctl`, both ways: actions here, flows beside them.
//!
//! Errors are the sentences `ovs-ofctl` says. Nesting is bounded by [`DEPTH_MAX`].

mod ct;
mod encap;
mod format;
mod hashing;
mod learn;
mod parse;
pub(crate) mod scan;

pub use format::{format_actions, put_actions};
pub use parse::{parse_actions, parse_instructions};
pub(crate) use parse::{Parsed, parse_list};

use crate::names::put;

/// How deep actions may nest in text.
pub const DEPTH_MAX: usize = 100;

/// Bytes of variable-length content (a note, userdata) one action may have.
pub(crate) const CONTENT_MAX: usize = 65_000;

/// Bytes as one hex number: leading zeros dropped.
pub(crate) fn put_hex(out: &mut String, bytes: &[u8]) {
    let Some(first) = bytes.iter().position(|&b| b != 0) else {
        return out.push_str("0x0");
    };
    put(out, format_args!("0x{:x}", bytes[first]));
    for b in &bytes[first + 1..] {
        put(out, format_args!("{b:02x}"));
    }
}
