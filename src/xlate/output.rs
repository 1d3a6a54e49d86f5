//! What goes into a translation and what comes out.

use crate::deps::Deps;
use crate::effects::{Effect, Event};
use crate::recirc::{FrozenState, RecircRef};
use crate::snapshot::BridgeId;
use crate::trace::Trace;
use crate::wild::{Site, Sites};
use base::clock::Nanos;
use base::sync::Arc;
use flow::{Flow, Mask};
use odp::{Actions, DropReason, SlowReason};
use openflow::Act;

/// Where translation begins.
#[derive(Debug, Clone, Copy, Default)]
pub enum Start<'a> {
    /// In table 0 (or where the frozen state of the flow's recirculation id says).
    #[default]
    Tables,
    /// With these actions.
    Actions(&'a [Act]),
    /// With the actions of an OpenFlow packet-out.
    PacketOut(&'a [Act]),
    /// With this frozen state (a controller lets a packet continue).
    Resume(&'a Arc<FrozenState>),
}

/// What to translate.
#[derive(Debug)]
pub struct Input<'a> {
    /// The bridge that received the packet.
    pub bridge: BridgeId,
    /// Headers and metadata; `in_port` is an OpenFlow port of the bridge.
    pub flow: &'a Flow,
    /// The packet, when there is one: some protocols must be read beyond what a flow says.
    pub packet: Option<&'a [u8]>,
    /// A packet is at hand, whether it is given here or not: what is wrong with it is worth a line in the log.
    pub live: bool,
    /// The time.
    pub now: Nanos,
    /// Version of the tables to search; `None`: the newest of each bridge.
    pub tables_version: Option<u64>,
    /// Where to begin.
    pub start: Start<'a>,
    /// The effects will be applied. Without, and with a listener, the trace says that they are not.
    pub may_learn: bool,
    /// Listener for `ofproto/trace`.
    pub trace: Option<&'a mut dyn Trace>,
    /// For tests only: pretend that this place does not mark its field (design section 7).
    pub mute: Option<Site>,
}

impl<'a> Input<'a> {
    /// A packet that came in on a port.
    #[must_use]
    pub fn new(bridge: BridgeId, flow: &'a Flow, now: Nanos) -> Self {
        Self {
            bridge,
            flow,
            packet: None,
            live: false,
            now,
            tables_version: None,
            start: Start::Tables,
            may_learn: true,
            trace: None,
            mute: None,
        }
    }
}

/// Why translation failed. The flow then drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum XlateError {
    /// The bridge does not exist.
    #[error("Bridge not found")]
    BridgeNotFound,
    /// Too many nested resubmits.
    #[error("Recursion too deep")]
    RecursionTooDeep,
    /// Too many resubmits.
    #[error("Too many resubmits")]
    TooManyResubmits,
    /// The register stack overflowed.
    #[error("Stack too deep")]
    StackTooDeep,
    /// The recirculation id is not known.
    #[error("No recirculation context")]
    NoRecirculationContext,
    /// The frozen state belongs to another bridge.
    #[error("Recirculation conflict")]
    RecirculationConflict,
    /// More labels than can be pushed.
    #[error("Too many MPLS labels")]
    TooManyMplsLabels,
    /// Bad tunnel metadata.
    #[error("Invalid tunnel metadata")]
    InvalidTunnelMetadata,
    /// An action that this packet type does not allow.
    #[error("Unsupported packet type")]
    UnsupportedPacketType,
    /// ECN of the tunnel headers contradict each other.
    #[error("Congestion Drop")]
    CongestionDrop,
    /// The ingress port does not forward.
    #[error("Forwarding is disabled")]
    ForwardingDisabled,
}

impl XlateError {
    /// The reason under which the datapath counts the drop.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        match self {
            Self::BridgeNotFound => DropReason::NoBridge,
            Self::RecursionTooDeep => DropReason::RecursionTooDeep,
            Self::TooManyResubmits => DropReason::TooManyResubmits,
            Self::StackTooDeep => DropReason::StackTooDeep,
            Self::NoRecirculationContext => DropReason::NoRecirculationContext,
            Self::RecirculationConflict => DropReason::RecirculationConflict,
            Self::TooManyMplsLabels => DropReason::TooManyMplsLabels,
            Self::InvalidTunnelMetadata => DropReason::InvalidTunnelMetadata,
            Self::UnsupportedPacketType => DropReason::UnsupportedPacketType,
            Self::CongestionDrop => DropReason::CongestionDrop,
            Self::ForwardingDisabled => DropReason::ForwardingDisabled,
        }
    }
}

/// The outcome.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// What the datapath is to do with every packet that `wildcards` matches.
    pub actions: Actions,
    /// Which bits of the flow decided that.
    pub wildcards: Mask,
    /// Not empty: the datapath must send each packet up for these reasons, and `actions` are what userspace
    /// executes.
    pub slow: SlowReason,
    /// What to do with the statistics of the flow.
    pub effects: Vec<Effect>,
    /// What to do with the packet at hand.
    pub events: Vec<Event>,
    /// What it depended on.
    pub deps: Deps,
    /// It failed; `actions` drop.
    pub error: Option<XlateError>,
    /// Why an empty list of actions is empty.
    pub drop: Option<DropReason>,
    /// Recirculation ids that `actions` mention.
    pub recircs: Vec<RecircRef>,
    /// The places that marked something in `wildcards`.
    pub sites: Sites,
    /// Do not install a flow: the next packet must be translated again.
    pub avoid_caching: bool,
}
