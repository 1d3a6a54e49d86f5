//! `backer`: one per datapath type, shared by all bridges of it. Owns the datapath and what keeps its flows
//! true ([`udpif`]); knows which datapath port is which OpenFlow port of which bridge; publishes the
//! snapshots that translation looks at.
//!
//! * [`backer`]: opening, bridges, tables. [`publish`]: snapshots. [`ports`]: ports and interfaces. [`run`]: housekeeping.
//! * [`qos`]: QoS and policing on devices. `meters`: meters in the datapath; `conntrack`: its connections.
//!   [`send`]: packets from controllers.
//! * [`bridge`]: a bridge as it is kept. [`config`]: what the backer is told.
//! * [`probe`], [`features`]: what the datapath can do.
//! * [`show`][]: text.
//!
//! Threads: a [`Backer`] belongs to the main thread. Handlers and revalidators see only what it published.
//! Order of a change: make it, publish the snapshot, post what changed.
//!
//! It may not know controllers' connections, the database or the command line: those tell it what to do.
//!
//! Limits: 65,279 OpenFlow ports a bridge; MAC tables as configured (8,192 entries by default).

pub mod backer;
pub mod bridge;
pub mod config;
mod conntrack;
pub mod error;
pub mod features;
mod flow_text;
mod meters;
pub mod mirrors;
mod ports;
pub mod probe;
pub mod publish;
pub mod qos;
pub mod run;
pub mod send;
pub mod show;
#[cfg(test)]
mod suite;
mod tunnels;

pub use backer::Backer;
pub use bridge::{Bridge, Iface, Port, PortFlags};
pub use config::{BridgeSettings, IfaceConfig, Options, PortConfig};
pub use error::BackerError;
pub use flow_text::PortNames;
pub use mirrors::{MIRRORS_MAX, Mirror, MirrorConfig, MirrorOutput};
pub use qos::{QosConfig, QueueConfig};
pub use send::{PacketOut, Sending};
pub use show::{DumpOptions, FlowLines};
