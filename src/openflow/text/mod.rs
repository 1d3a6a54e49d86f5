//! Text forms of `ovs-ofctl`, both ways: actions here, flows beside them.
//!
//! Errors are the sentences `ovs-ofctl` says. Nesting is bounded by [`DEPTH_MAX`].

mod ct;
mod encap;
pub(crate) mod flow;
mod format;
mod hashing;
mod learn;
mod message;
mod parse;
pub(crate) mod scan;

pub use flow::{
    ParsedFlowMod, parse_flow_mod, parse_flow_mod_line, parse_flow_stats_request, parse_match,
    put_flow_stats,
};
pub use format::{format_actions, put_actions};
pub use message::{format_message, format_versions};
pub(crate) use parse::parse_list;
pub use parse::{parse_actions, parse_actions_usable, parse_instructions};

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
