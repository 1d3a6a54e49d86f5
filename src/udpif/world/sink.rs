//! What leaves this room upwards: packets and counts for parts of the switch that are not translation.

use base::clock::Nanos;
use base::sync::Arc;
use flow::{Flow, OdpPort, OfPort};
use odp::{Actions, FlowStats, SlowReason, Userspace};
use packet::Frame;
use xlate::{BridgeId, BundleId, FrozenState};

/// A packet for a controller.
#[derive(Debug)]
pub struct PacketIn {
    /// Bridge.
    pub bridge: BridgeId,
    /// OpenFlow ingress port.
    pub in_port: OfPort,
    /// Datapath ingress port.
    pub odp_port: OdpPort,
    /// The packet, as it was when the action was met.
    pub frame: Frame,
    /// Its metadata at that point (registers and the like restored).
    pub flow: Box<Flow>,
    /// `OFPR_*`.
    pub reason: u8,
    /// Table of the rule.
    pub table: u8,
    /// Cookie of the rule.
    pub cookie: u64,
    /// Which controllers.
    pub controller_id: u16,
    /// Bytes of the packet to send at most.
    pub max_len: u16,
    /// `userdata` of the action.
    pub userdata: Vec<u8>,
    /// Where the packet goes on when the controller lets it.
    pub continuation: Option<Arc<FrozenState>>,
}

/// A packet of a link protocol.
#[derive(Debug, Clone, Copy)]
pub struct ProtocolPacket<'a> {
    /// Bridge.
    pub bridge: BridgeId,
    /// Port it came in on.
    pub port: OfPort,
    /// Which protocol: exactly one bit.
    pub reason: SlowReason,
    /// Headers.
    pub flow: &'a Flow,
    /// The packet.
    pub frame: &'a Frame,
    /// When.
    pub now: Nanos,
}

/// Bytes that left through a bond.
#[derive(Debug, Clone, Copy)]
pub struct BondLoad<'a> {
    /// The bond.
    pub bundle: BundleId,
    /// Headers at output.
    pub flow: &'a Flow,
    /// VLAN.
    pub vid: u16,
    /// Bytes.
    pub bytes: u64,
}

/// A packet sampled for sFlow or IPFIX.
#[derive(Debug)]
pub struct SampledPacket {
    /// Whose sample, and its parameters.
    pub userspace: Userspace,
    /// Headers; `in_port` is a datapath port.
    pub flow: Arc<Flow>,
    /// The packet.
    pub frame: Frame,
    /// The flow's actions, if asked for.
    pub actions: Option<Arc<Actions>>,
}

/// The receivers. Called by handlers and revalidators; must not block and must not call back into
/// [`crate::Udpif`]. What nobody overrides is dropped.
pub trait Sink: Send + Sync + std::fmt::Debug + 'static {
    /// A packet for a controller.
    fn packet_in(&self, _packet: PacketIn) {}
    /// A packet of a link protocol (LACP, STP, BFD, CFM, LLDP).
    fn protocol(&self, _packet: ProtocolPacket<'_>) {}
    /// A sampled packet.
    fn sampled(&self, _packet: SampledPacket) {}
    /// A multicast membership message was seen.
    fn multicast(&self, _event: &xlate::Event, _frame: &Frame, _now: Nanos) {}
    /// Packets of a NetFlow flow (in_port is an OpenFlow port).
    fn netflow(&self, _bridge: BridgeId, _flow: &Flow, _output: OfPort, _delta: &FlowStats) {}
    /// A NetFlow flow has no datapath flow any more.
    fn netflow_end(&self, _bridge: BridgeId, _flow: &Flow) {}
    /// Bytes left through a bond.
    fn bond(&self, _bridge: BridgeId, _load: BondLoad<'_>) {}
    /// Rules were added or changed by `learn`: somebody may want to be told.
    fn learned(&self, _bridge: BridgeId) {}
}

/// A sink that drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSink;

impl Sink for NoSink {}
