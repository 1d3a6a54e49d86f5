//! What a packet that goes up to userspace carries: who asked, and what for.

use flow::{OdpPort, OfPort};

/// The `userspace` action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Userspace {
    /// Netlink port id; only text here (the handler is chosen by flow hash).
    pub pid: u32,
    /// Purpose.
    pub cookie: UserspaceCookie,
    /// For sFlow and IPFIX: tunnel egress port whose metadata is wanted.
    pub egress_tun_port: Option<OdpPort>,
    /// The flow's actions are wanted with the packet.
    pub include_actions: bool,
}

/// Why a packet is sent up. `ofproto` names the bridge (its uuid) and `in_port` the OpenFlow ingress port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields are named as in Open vSwitch")]
pub enum UserspaceCookie {
    SFlow {
        bridge: u128,
        in_port: OfPort,
        vlan_tci: u16,
        output: u32,
    },
    SlowPath {
        bridge: u128,
        in_port: OfPort,
        reason: SlowReason,
    },
    FlowSample {
        bridge: u128,
        in_port: OfPort,
        probability: u16,
        collector_set_id: u32,
        obs_domain_id: u32,
        obs_point_id: u32,
        output: OdpPort,
        direction: u8,
    },
    Ipfix {
        bridge: u128,
        in_port: OfPort,
        output: OdpPort,
    },
    Controller {
        bridge: u128,
        in_port: OfPort,
        dont_send: bool,
        continuation: bool,
        reason: u8,
        recirc_id: u32,
        rule_cookie: u64,
        controller_id: u16,
        max_len: u16,
    },
    /// Bytes that nobody here put there (a flow installed by hand); dropped when they come back.
    Userdata(Vec<u8>),
}

/// Why a flow must be handled in userspace, packet by packet. A set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SlowReason(pub u32);

impl SlowReason {
    /// CFM frames.
    pub const CFM: Self = Self(1 << 0);
    /// BFD frames.
    pub const BFD: Self = Self(1 << 1);
    /// LACP frames.
    pub const LACP: Self = Self(1 << 2);
    /// STP and RSTP frames.
    pub const STP: Self = Self(1 << 3);
    /// LLDP frames.
    pub const LLDP: Self = Self(1 << 4);
    /// To the controller.
    pub const CONTROLLER: Self = Self(1 << 5);
    /// An action the datapath cannot do.
    pub const ACTION: Self = Self(1 << 6);
    /// A match the datapath cannot do.
    pub const MATCH: Self = Self(1 << 7);

    /// Both sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// True when no reason is given.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// True when any reason of `other` is given.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
