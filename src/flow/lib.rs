//! `flow`: what the switch knows about a packet, and how to say it.
//!
//! * [`key`]: [`Flow`], every matchable fact as an array of 64-byte lines, and [`Mask`].
//! * [`field`]: the field table of OpenFlow 1.5 and the Nicira extensions.
//! * [`extract`](mod@extract): a flow from the bytes of a packet, as deep as asked.
//! * packet composition from a flow, the OpenFlow match with its text form, and
//!   the datapath text form live beside them.
//!
//! This room knows no priorities, tables or actions.

pub mod compose;
pub mod dpkey;
pub mod extract;
pub mod field;
pub mod key;
mod mask;
pub mod matches;
pub mod mini;
pub mod port;
pub mod text;
pub mod tun_table;

pub use dpkey::{Attr, NoOdpNames, OdpKey, OdpNames, OdpTextError};
pub use extract::{
    CtMeta, CtTuple, Depth, Layers, LineSet, Metadata, extract, extract_lines, set_vlan_limit,
};
pub use field::{FieldId, FieldInfo, FieldValue, OxmHeader, OxmId, Prereqs, Protocols, Subfield};
pub use key::{FLOW_LINES, Flow, Mask, NshKey, TunnelKey, Vlan};
pub use matches::{Match, MatchError};
pub use mini::MiniMatch;
pub use packet::OdpPort;
pub use port::OfPort;
pub use text::{ExactFlow, NoNames, PortNames, TextError};
pub use tun_table::{TlvMap, TunTable, TunTableError};
