//! `dpif`: the datapath *interface*. A provider forwards packets by flows; whoever installs the flows
//! talks to it only through [`Dpif`].
//!
//! Life of a miss: the provider parks the packet, raises an [`Upcall`] with its key and a [`ParkToken`];
//! a handler translates the key and answers with one batch of operations to the same packet thread:
//! [`Op::FlowPut`] (optional) and [`Op::Resume`], which runs the parked packets, in order, through the
//! given actions. Packets that pass later hit the flow. So nothing is reordered, and a burst costs one
//! translation. Packets run by `Resume` are *not* counted in the flow's statistics but reported back, so
//! that whoever sent the operation credits them.
//!
//! [`Registry`] knows the datapath types and hands out datapaths behind a [`Front`], which logs every
//! operation and does above the provider what the provider cannot do itself. [`fake`] is a datapath in
//! memory to test against. [`format_flow`] is a flow as `dpctl/dump-flows` prints it.
//!
//! Threads: every method may be called from any control thread; none blocks a packet thread.

pub mod conntrack;
pub mod error;
pub mod fake;
pub mod format;
pub mod front;
mod help;
mod log;
pub mod meter;
mod offload;
pub mod registry;
pub mod types;

pub use error::DpifError;
pub use format::format_flow;
pub use front::Front;
pub use meter::{MeterBand, MeterConfig, MeterCounts, MeterLimits};
pub use odp::{Features, FlowStats, OdpPort, Ufid};
pub use registry::{OpenMode, Registry, normalize_type, parse_name};
pub use types::{
    DpStats, Dpif, DpifPort, Execute, FlowDel, FlowDump, FlowDumpThread, FlowGet, FlowInfo,
    FlowPut, FlowSelect, Op, ParkToken, PmdId, PortChange, PortSpec, Provider, PutFlags, Resume,
    Ticket, Upcall, UpcallKind,
};
