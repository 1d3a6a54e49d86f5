//! `flow`: what the switch knows about a packet, and how to say it.
//!
//! * [`key`]: [`Flow`], every matchable fact as an array of 64-byte lines, and [`Mask`].
//! * [`extract`](mod@extract): a flow from the bytes of a packet, as deep as asked.
//! * [`compose`]: the bytes of a packet from a flow.
//! * [`field`]: the field table of OpenFlow 1.5 and the Nicira extensions; [`Subfield`]s.
//! * [`matches`](mod@matches): [`Match`], what a rule asks of a packet; [`mini`]: the same in little memory.
//! * [`tun_table`]: [`TunTable`], which tunnel option is which `tun_metadata` field.
//! * [`text`]: matches and flows as `ovs-ofctl` writes them; [`dpkey`]: keys as `ovs-dpctl` does.
//!
//! Plain values and pure functions, usable on any thread; the one process-wide setting is
//! [`set_vlan_limit`]. Nothing here panics on outside input. This room knows no priorities, tables or
//! actions.
//!
//! Limits: 2 VLAN tags, 3 MPLS labels, 16 registers, 64 tunnel options in 256 octets.

pub mod compose;
mod context;
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
    vlan_limit,
};
pub use field::{FieldId, FieldInfo, FieldValue, OxmHeader, OxmId, Prereqs, Protocols, Subfield};
pub use key::{FLOW_LINES, Flow, Mask, NshKey, TunnelKey, Vlan};
pub use matches::{Match, MatchError};
pub use mini::MiniMatch;
pub use packet::OdpPort;
pub use port::OfPort;
pub use text::{ExactFlow, NoNames, PortNames, TextError};
pub use tun_table::{TlvMap, TunTable, TunTableError};
