//! Text of datapath actions and statistics, both ways: byte for byte what `ovs-dpctl` and `ovs-appctl
//! dpctl/...` write, and what they read.
//!
//! Ports are written by number, or by name through an [`OdpNames`]. What is read is bounded
//! ([`ACTIONS_MAX`], [`NESTED_MAX`]) and never panics.

mod ct;
mod fields;
mod format;
mod geneve;
mod nsh;
mod parse;
mod put;
mod scan;
mod set;
mod stats;
#[cfg(test)]
mod tests;
mod tnl_push;
mod userspace;

pub use format::{format_actions, put_actions};
pub use parse::parse_actions;
pub use stats::{format_stats, put_stats, put_tcp_flags};

pub use flow::{NoOdpNames, OdpNames};

/// How deep actions may be nested in text.
pub const NESTED_MAX: u32 = 32;
/// How many actions a text may have, nested ones included. Open vSwitch's limit is 64 kB of Netlink
/// attributes; no action is smaller than 8 bytes there.
pub const ACTIONS_MAX: usize = 8192;

/// Why a text of actions was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionsError {
    /// EINVAL: what begins here is no action, or not a good one.
    #[error("syntax error at {0}")]
    Syntax(String),
    /// EINVAL: an action within an action, too often.
    #[error("actions nested deeper than {NESTED_MAX}")]
    TooDeep,
    /// E2BIG: too many actions.
    #[error("more than {ACTIONS_MAX} actions")]
    TooMany,
}
