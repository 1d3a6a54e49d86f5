//! `odp`: the datapath's language: types, their text form, and what actions mean
//! ([`execute`](mod@execute), for one packet, slowly).
//!
//! Both towers speak it: `xlate` writes [`Action`]s, the `datapath` runs them, `udpif` compares them.
//! The text forms are those of `ovs-dpctl`, byte for byte: they are interfaces.

pub mod action;
pub mod drops;
pub mod execute;
pub mod features;
pub mod text;
pub mod ufid;
pub mod userspace;

pub use action::{
    Action, Actions, CtAction, HashAlg, NatAction, NatRange, NshPush, SetKey, TunnelPush, VportType,
};
pub use drops::DropReason;
pub use features::Features;
pub use flow::OdpPort;
pub use text::{ActionsError, NoOdpNames, OdpNames, format_actions, parse_actions};
pub use ufid::{FlowStats, Ufid};
pub use userspace::{SlowReason, Userspace, UserspaceCookie};
