//! What must happen besides forwarding.
//!
//! [`Effect`]s are values, made once per translation and replayed by `udpif` with the statistics of each
//! period. [`Event`]s happen once, to the packet that was translated.

use crate::port::BundleId;
use crate::snapshot::BridgeId;
use base::sync::Arc;
use flow::{Flow, OfPort};
use ofproto::{Group, Rule};
use openflow::FlowMod;
use wire::EthAddr;

/// Something to do again whenever packets were counted.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A table was searched: count a match or a miss (lookup count = both).
    Table {
        /// Bridge.
        bridge: BridgeId,
        /// Table.
        table: u8,
        /// A rule matched.
        matched: bool,
    },
    /// Packets matched a rule.
    Rule(Arc<Rule>),
    /// Packets were handled by a group: by the bucket of this index, or by all.
    Group {
        /// The group.
        group: Arc<Group>,
        /// Index into its buckets.
        bucket: Option<usize>,
    },
    /// A learn action: add or refresh this flow (a strict modify).
    Learn {
        /// Bridge.
        bridge: BridgeId,
        /// The flow.
        flow_mod: Arc<FlowMod>,
        /// Do not add it when its table holds this many flows of its cookie already; 0 for no limit.
        limit: u32,
    },
    /// When TCP flags FIN or RST were seen: lower the rule's timeouts to these seconds (0: leave).
    FinTimeout {
        /// The rule.
        rule: Arc<Rule>,
        /// Idle timeout.
        idle: u16,
        /// Hard timeout.
        hard: u16,
    },
    /// Packets crossed a port without passing the datapath (patch ports, packets from OpenFlow): count
    /// them as received.
    PortRx {
        /// Bridge.
        bridge: BridgeId,
        /// Port.
        port: OfPort,
    },
    /// As `PortRx`, sent.
    PortTx {
        /// Bridge.
        bridge: BridgeId,
        /// Port.
        port: OfPort,
    },
    /// Packets were copied by these mirrors (bits by index).
    Mirror {
        /// Bridge.
        bridge: BridgeId,
        /// Mirrors.
        mirrors: u32,
    },
    /// Packets belong to a NetFlow flow.
    NetFlow {
        /// Bridge.
        bridge: BridgeId,
        /// Headers on input (in_port is an OpenFlow port).
        flow: Box<Flow>,
        /// Where they went; `NONE` for dropped, `FLOOD`-like values as NetFlow has them.
        output: OfPort,
    },
    /// Bytes were balanced over a bond.
    Bond {
        /// Bridge.
        bridge: BridgeId,
        /// The bond.
        bundle: BundleId,
        /// Headers at output.
        flow: Box<Flow>,
        /// VLAN.
        vid: u16,
    },
    /// A source address was seen.
    MacLearn {
        /// Bridge.
        bridge: BridgeId,
        /// Port it was seen on.
        port: OfPort,
        /// The MAC table's view of it.
        seen: l2::Sighting,
    },
}

/// Something that happens to the packet at hand, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Hand the packet to the protocol that owns it.
    Protocol {
        /// Bridge.
        bridge: BridgeId,
        /// Port it came in on.
        port: OfPort,
        /// Which: exactly one bit (CFM, BFD, LACP, STP, LLDP).
        reason: odp::SlowReason,
    },
    /// A multicast group was joined, left or asked for.
    Multicast {
        /// Bridge.
        bridge: BridgeId,
        /// Port.
        port: OfPort,
        /// VLAN.
        vlan: u16,
        /// Who sent it.
        source: EthAddr,
    },
}
