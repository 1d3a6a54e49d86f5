//! Why a packet was dropped. "Unknown" does not exist: the ledger rx = tx + drops + parked + consumed
//! holds exactly, per port and in total.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A reason. The discriminant indexes counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)* }
        impl DropReason {
            /// Every reason, by discriminant.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The name shown to people and in metrics.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    // ---- from translation (xlate): shown as drop(reason) or as an empty action list
    /// The rule says so, or no output was left.
    PolicyDrop = "policy",
    /// The table's miss says drop.
    TableMiss = "table_miss",
    /// Too many resubmits in depth.
    RecursionTooDeep = "recursion_too_deep",
    /// Too many resubmits.
    TooManyResubmits = "too_many_resubmits",
    /// The register stack grew too deep.
    StackTooDeep = "stack_too_deep",
    /// No context to continue a recirculated packet.
    NoRecirculationContext = "no_recirculation_context",
    /// Recirculation would be undone by itself.
    RecirculationConflict = "recirculation_conflict",
    /// Too many MPLS labels.
    TooManyMplsLabels = "too_many_mpls_labels",
    /// Bad tunnel metadata.
    InvalidTunnelMetadata = "invalid_tunnel_metadata",
    /// A packet type this bridge cannot handle.
    UnsupportedPacketType = "unsupported_packet_type",
    /// ECN mismatch between tunnel headers.
    CongestionDrop = "congestion",
    /// Forwarding is off on the ingress port (STP, port config, link).
    ForwardingDisabled = "forwarding_disabled",
    /// The frame's VLAN is not carried by the ingress port.
    VlanNotAllowed = "vlan_not_allowed",
    /// Reserved multicast (01:80:c2:00:00:0x).
    ReservedMulticast = "reserved_multicast",
    /// Bond or MAC table refuses the ingress port.
    Inadmissible = "inadmissible",
    /// No bridge owns the ingress port.
    NoBridge = "no_bridge",
    // ---- from the datapath
    /// Too short or lying lengths, so that nothing could be extracted.
    Malformed = "malformed",
    /// Larger than the egress port's MTU.
    MtuExceeded = "mtu_exceeded",
    /// The output port does not exist.
    NoSuchPort = "no_such_port",
    /// The egress queue or ring was full.
    TxQueueFull = "tx_queue_full",
    /// The egress device failed or is down.
    TxError = "tx_error",
    /// The upcall queue was full.
    UpcallQueueFull = "upcall_queue_full",
    /// The port's upcall budget was spent.
    UpcallBudget = "upcall_budget",
    /// Upcalls are switched off.
    UpcallDisabled = "upcall_disabled",
    /// Too many packets waited for the same flow.
    ParkFull = "park_full",
    /// A packet waited too long for its flow.
    ParkTimeout = "park_timeout",
    /// Waiting packets were purged.
    Purged = "purged",
    /// Recirculated too often.
    RecircDepth = "recirc_depth",
    /// A header needed by a set/push/pop was not there, or there was no room.
    BadAction = "bad_action",
    /// A meter's band.
    Meter = "meter",
    /// Policing of the ingress port.
    Policing = "policing",
    /// The QoS discipline of the egress port.
    EgressPolicing = "egress_policing",
    /// Conntrack refused it.
    Conntrack = "conntrack",
    /// Fragment reassembly gave it up.
    Fragment = "fragment",
    /// Tunnel header could not be removed.
    TunnelPop = "tunnel_pop",
    /// Tunnel header could not be added.
    TunnelPush = "tunnel_push",
    /// The NSH time to live ran out.
    NshTtl = "nsh_ttl",
    /// A sample or userspace copy could not be queued.
    UserspaceActionLost = "userspace_action_lost",
    /// Packet memory was exhausted.
    NoBuffer = "no_buffer",
    /// A frame larger than the port's buffers, or an unfinished multi-buffer frame.
    RxOversize = "rx_oversize",
    /// GSO or checksum metadata that contradict the packet.
    RxBadOffload = "rx_bad_offload",
    /// The port was removed while it held the packet.
    PortRemoved = "port_removed",
    /// The fault port's script dropped it.
    FaultInjected = "fault_injected",
    /// A packet thread panicked over it.
    Panic = "panic",
    /// Conntrack, BFD, LACP or the like consumed it in userspace.
    SlowPathDiscard = "slow_path_discard",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_index_all() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
    }
}
