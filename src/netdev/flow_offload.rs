//! Telling devices of flows, for those that can match packets themselves.
//!
//! A device that offers [`FlowOffload`] is told of every datapath flow whose ingress port it is. What a
//! flow matches is not known here (this room knows no flows): it comes as a [`PacketMatcher`], with its
//! text for log lines.

use std::fmt::Debug;

/// Decides whether a packet belongs to a flow.
pub trait PacketMatcher: Send + Sync + Debug {
    /// The packet in words when it matches.
    fn matches(&self, packet: &[u8]) -> Option<String>;
}

/// A flow as a device is told of it.
#[derive(Debug)]
pub struct OffloadFlow {
    /// Its name, `ufid:...`.
    pub name: String,
    /// The number by which the device marks its packets.
    pub mark: u32,
    /// What it matches, in words.
    pub text: String,
    /// The same without the ingress port.
    pub text_any_port: String,
    /// What it matches, but for the ingress port.
    pub matcher: Box<dyn PacketMatcher>,
}

/// A device that takes flows.
pub trait FlowOffload {
    /// Adds a flow, or replaces the one of that id.
    fn flow_put(&self, id: u128, flow: OffloadFlow);
    /// Removes a flow; false when there is none of that id.
    fn flow_del(&self, id: u128) -> bool;
}
