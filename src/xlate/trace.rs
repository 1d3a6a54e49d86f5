//! What a translation tells a listener while it goes on: the nodes of `ofproto/trace`.

use flow::{Flow, Mask};
use openflow::NatAct;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// The packet enters a bridge. Has children.
    Bridge,
    /// A rule of a table matched, or none did. Has children.
    Table,
    /// A bucket of a group. Has children.
    Bucket,
    /// A frozen translation continues. Has children.
    Thaw,
    /// An action.
    Action,
    /// A detail of an action.
    Detail,
    /// Something questionable.
    Warn,
    /// Something wrong.
    Error,
}

/// Why a packet will come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecircKind {
    /// Conntrack; the copy sees the connection's state.
    Conntrack {
        /// Zone.
        zone: u16,
        /// Address translation asked for.
        nat: Option<NatAct>,
    },
}

/// A listener. Nodes nest: each `begin` has an `end`.
pub trait Trace: std::fmt::Debug {
    /// A node that may have children begins.
    fn begin(&mut self, kind: NodeKind, text: String);
    /// The innermost node that began ends.
    fn end(&mut self);
    /// A node without children.
    fn leaf(&mut self, kind: NodeKind, text: String);
    /// A packet with these headers will come back under recirculation id `id`.
    fn recirculate(&mut self, kind: RecircKind, id: u32, flow: &Flow);
    /// The flow at the end, and the wildcards as people are shown them: without the bits that say which
    /// tags a packet has.
    fn finish(&mut self, flow: &Flow, shown: &Mask);
    /// Show ports by name.
    fn names(&self) -> bool {
        false
    }
}
