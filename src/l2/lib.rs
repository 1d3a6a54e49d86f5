//! `l2`: the protocols and tables of a layer-2 switch, as state machines that are driven by an explicit
//! `now` and touch neither sockets nor clocks.
//!
//! * [`mac_table`]: which port a MAC address was last seen on.
//! * [`routes`]: which device leads to an IP address.
//!
//! The room knows no flows, no rules and no datapath. Ports appear as opaque numbers that the caller gives
//! out ([`PortKey`]).

pub mod mac_table;
pub mod routes;
mod usage_heap;

pub use mac_table::{MacAge, MacChanges, MacEntry, MacStats, MacTable, PortKey, Sighting};
