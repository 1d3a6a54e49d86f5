//! Text, both ways: OpenFlow matches and flows as `ovs-ofctl` writes them.
//!
//! What is written is an interface: byte for byte what Open vSwitch 3.1 writes. What is read is what it
//! reads, and errors are its sentences.
//!
//! Names of ports come from a [`PortNames`]; [`NoNames`] knows none.

mod fields;
mod flows;
mod format;
mod parse;
pub(crate) mod put;
pub mod scan;

pub use flows::ExactFlow;
pub use format::PRIORITY_DEFAULT;
pub use parse::Keyword;
pub use put::{put_name, put_port};
pub use scan::{key_values, parse_port};

use crate::field::SubfieldError;
use crate::matches::MatchError;
use crate::port::OfPort;

/// Names of a bridge's ports.
pub trait PortNames {
    /// The port with this name.
    fn number(&self, name: &str) -> Option<OfPort>;
    /// The port's name.
    fn name(&self, port: OfPort) -> Option<&str>;
}

/// Knows no names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl PortNames for NoNames {
    fn number(&self, _: &str) -> Option<OfPort> {
        None
    }
    fn name(&self, _: OfPort) -> Option<&str> {
        None
    }
}

/// Why a text was refused, in the peer's words. `text` is what was being read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says it")]
pub enum TextError {
    #[error("{text}: {part} too large for {n_bytes}-byte field {field}")]
    TooLarge {
        text: String,
        part: &'static str,
        n_bytes: usize,
        field: &'static str,
    },
    #[error("{text}: bad syntax for {field} {part}")]
    BadSyntax {
        text: String,
        field: &'static str,
        part: &'static str,
    },
    #[error("{text}: bad syntax for packet type {part}")]
    BadPacketType { text: String, part: &'static str },
    #[error("{text}: invalid Ethernet address")]
    BadEthernet { text: String },
    #[error("{text}: invalid IP address")]
    BadIpv4 { text: String },
    #[error("{text}: IPv4 network prefix bits not between 0 and 32, inclusive")]
    BadIpv4Prefix { text: String },
    #[error("{text}: invalid IPv6 address")]
    BadIpv6 { text: String },
    #[error("{text}: Invalid IPv6 mask")]
    BadIpv6Mask { text: String },
    #[error("{text}: IPv6 network prefix bits not between 0 and 128, inclusive")]
    BadIpv6Prefix { text: String },
    #[error("{text}: invalid or unknown port for {field}")]
    BadPort { text: String, field: &'static str },
    #[error("{text}: port value out of range for {field}")]
    BadPort32 { text: String, field: &'static str },
    #[error(
        "{text}: unknown fragment type (valid types are \"no\", \"yes\", \"first\", \"later\", \
         \"not_later\""
    )]
    BadFrag { text: String },
    #[error("{text}: {what} must be preceded by '+' (for SET) or '-' (NOT SET)")]
    FlagSign { text: String, what: &'static str },
    #[error("{text}: Each {what} flag can be specified only once")]
    FlagTwice { text: String, what: &'static str },
    #[error("{text}: unknown {what} flag(s)")]
    FlagUnknown { text: String, what: &'static str },
    #[error("{text}: invalid mask for field {field}")]
    BadMask { text: String, field: &'static str },
    #[error("{text}: wildcards not allowed here")]
    Wildcards { text: String },
    #[error("{name}: cannot parse integer value: {value}")]
    BadInteger { name: String, value: String },
    #[error("{name}: value {value} does not fit into {n_bits} bits")]
    DoesNotFit {
        name: String,
        value: String,
        n_bits: u16,
    },
    #[error("{0}")]
    Subfield(#[from] SubfieldError),
    #[error("{0}")]
    Match(#[from] MatchError),
    #[error("field {name} missing value")]
    MissingValue { name: String },
    #[error("unknown keyword {name}")]
    UnknownKeyword { name: String },
    #[error("{text}: Ethernet type set multiple times")]
    TypeTwice { text: String },
    #[error("{text}: network protocol set multiple times")]
    ProtoTwice { text: String },
    #[error("{text}: unknown field {field}")]
    UnknownField { text: String, field: String },
    #[error("{text}: prerequisites not met for setting {field}")]
    Prereqs { text: String, field: String },
    #[error("{text}: field {field} set multiple times")]
    FieldTwice { text: String, field: String },
    #[error("{text}: bad value for {field} ({error})")]
    BadValue {
        text: String,
        field: String,
        error: Box<Self>,
    },
}
