//! `xlate`: from OpenFlow to the datapath. Pure: (snapshot, flow) -> (actions, wildcards, effects,
//! dependencies). No I/O, no threads, no clock, no dpif.
//!
//! * [`snapshot`]: everything translation may look at, published by the backer as one immutable value.
//! * [`output`]: what goes in and what comes out.
//! * [`effects`]: what must happen besides forwarding, as data that can be replayed with statistics.
//! * [`deps`]: what the outcome depended on, for incremental revalidation.
//! * [`recirc`]: the one shared table, of frozen translations by recirculation id.
//! * [`wild`]: the only way to mark a bit of the flow as looked at.
//! * [`trace`]: the events that `ofproto/trace` prints.
//!
//! The door is [`translate`].
//!
//! Limits: resubmits nest [`DEPTH_MAX`] deep (only those to the same or an earlier table count), and there
//! are at most [`RESUBMITS_MAX`] of them in one translation; the register stack holds
//! [`STACK_BYTES_MAX`] bytes.
//!
//! Threads: [`Snapshot`] is shared read-only; the MAC table of a bridge is behind a lock that is held for
//! single lookups; everything else lives for one call.

mod act;
mod action_set;
mod bond;
mod clone;
mod commit;
mod ct;
mod ctx;
pub mod deps;
pub mod effects;
mod encap;
mod freeze;
mod group;
mod hash;
mod header;
mod headers;
mod learn;
mod mirror;
mod normal;
pub mod output;
pub mod port;
mod ports;
pub mod recirc;
mod sample;
mod select;
mod size;
pub mod snapshot;
mod special;
mod table;
mod text;
pub mod trace;
mod trace_text;
mod translate;
mod tunnel;
pub mod wild;
mod xvlan;

pub use bond::LacpStatus;
pub use deps::{Deps, LookupDep, MacDep};
pub use effects::{Effect, Event};
pub use output::{Input, Output, Start, XlateError};
pub use port::{
    BfdFilter, BondMode, BundleId, CfmFilter, ErspanConfig, FromFlow, PacketTypeMode, PriorityTags,
    StpState, TunnelConfig, VlanMode, VlanSet, XBond, XBundle, XPort,
};
pub use recirc::{FrozenState, FrozenStep, RecircRef, RecircTable};
pub use snapshot::{BridgeId, FragHandling, MirrorCounts, Snapshot, XBridge, XIpfix, XMirror};
pub use trace_text::{After, TraceRequest, trace};
pub use translate::{ReceiveError, translate};
pub use wild::{Site, Sites, Wild};

/// Nested resubmits, groups and patch ports, beyond which translation fails.
pub const DEPTH_MAX: u32 = 64;
/// Resubmits in one translation, beyond which it fails.
pub const RESUBMITS_MAX: u32 = DEPTH_MAX * DEPTH_MAX;
/// Buckets run or asked for their liveness in one translation, beyond which it fails: groups may point at groups,
/// so that a few of them can make more paths than anybody could walk.
pub const BUCKETS_MAX: u32 = 65_536;
/// Bytes on the register stack, beyond which translation fails.
pub const STACK_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod unit;
