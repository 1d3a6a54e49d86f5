//! `openflow`: OpenFlow 1.0 to 1.5 with the Nicira extensions, as values, bytes and text. No sockets, no
//! tables, no threads.
//!
//! * [`action`]: actions and instructions in one list ([`Act`]), version independent.
//! * text forms of `ovs-ofctl`, both ways; the binary codecs of each version.

pub mod action;
mod bits;
mod check;
mod codec;
pub mod error;
mod error_text;
mod field;
pub mod flow_mod;
mod msg;
mod names;
mod props;
pub mod reason;
mod text;
mod verify;
pub mod version;

pub use action::{
    Act, Acts, BundleAct, CtAct, EncapHeader, HashFields, LearnAct, LearnDst, LearnSpec, LearnSrc,
    MultipathAct, MultipathAlg, NatAct, Port, SetKind,
};
pub use check::{CheckParams, check_acts, check_consistency};
pub use codec::header::{HEADER_LEN, Header, Multipart, Xid};
pub use codec::raw::Raw;
pub use codec::{decode_actions, decode_instructions, encode_actions, encode_instructions};
pub use error::{ErrorCode, NX_VENDOR, ONF_VENDOR, OfpError};
pub use error_text::TextError;
pub use flow::{FieldId, FieldValue, OfPort, Subfield};
pub use flow_mod::{
    AggregateStats, Duration, FlowFlags, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest,
};
pub use msg::*;
pub use names::{NameMap, Names};
pub use text::{
    DEPTH_MAX, ParsedFlowMod, format_actions, format_message, format_versions, parse_actions,
    parse_actions_usable, parse_flow_mod, parse_flow_mod_line, parse_flow_stats_request,
    parse_instructions, parse_match, put_actions, put_flow_stats,
};
pub use version::{Protocols, Version};
