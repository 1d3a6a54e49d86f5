//! Datapath keys as text, both ways: what `ovs-dpctl` prints for a flow, and what `dpctl/add-flow`,
//! `ofproto/trace` and `netdev-dummy/receive` read.
//!
//! A key is a list of *attributes*, each a group of fields of a [`Flow`](crate::Flow) that the datapath ABI ships
//! together: `ipv4(src=...,dst=...)`. [`format_key`] decides which attributes a flow has, as the peer's
//! userspace datapath does; [`Attr::format`] and [`Attr::parse`] do one attribute, and serve `set(...)`
//! actions too: fill the fields in a flow, and say which attribute is meant.
//!
//! Not verbose: parts whose mask is zero are left out. Verbose: everything, with its mask.

mod attr;
mod convert;
mod format;
mod parse;
mod put;
mod tunnel;
mod tunnel_parse;

pub use convert::{Fitness, OdpKey};
pub use format::format_key;

use packet::OdpPort;

/// Names of a datapath's ports.
pub trait OdpNames {
    /// The port with this name.
    fn number(&self, name: &str) -> Option<OdpPort>;
    /// The port's name.
    fn name(&self, port: OdpPort) -> Option<&str>;
}

/// Knows no names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOdpNames;

impl OdpNames for NoOdpNames {
    fn number(&self, _: &str) -> Option<OdpPort> {
        None
    }
    fn name(&self, _: OdpPort) -> Option<&str> {
        None
    }
}

impl OdpNames for std::collections::BTreeMap<OdpPort, String> {
    fn number(&self, name: &str) -> Option<OdpPort> {
        self.iter().find(|(_, n)| *n == name).map(|(p, _)| *p)
    }
    fn name(&self, port: OdpPort) -> Option<&str> {
        self.get(&port).map(String::as_str)
    }
}

/// Why a key's text was refused. What the peer says, it says in the peer's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says it")]
pub enum OdpTextError {
    #[error("syntax error at {at}")]
    Syntax { at: String },
    /// An attribute with more in it than a message holds (`E2BIG`).
    #[error("syntax error at {at}")]
    TooLong { at: String },
    #[error("invalid Ethertype {0} in flow key")]
    BadEthertype(u16),
    #[error("tunnel options missing TTL")]
    TunnelNoTtl,
    #[error("OVS_KEY_ATTR_VLAN {0:#06x} is nonzero but CFI bit is not set")]
    VlanNoCfi(u16),
    #[error("MPLS BOS set in non-innermost label")]
    MplsBosInside,
    #[error("mask expected for non-Ethernet II frame")]
    EthertypeMaskMissing,
    #[error("unexpected L3 matching with masked Ethertype {0:#x}/{1:#x}")]
    MaskedEthertype(u16, u16),
    #[error("flow matches on L4 ports but does not define an L4 protocol")]
    PortsWithoutProto,
}

/// A group of fields that the datapath ABI ships together. Order is the ABI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of OVS_KEY_ATTR_*")]
#[repr(u8)]
pub enum Attr {
    Encap,
    Priority,
    SkbMark,
    CtState,
    CtZone,
    CtMark,
    CtLabel,
    CtTuple4,
    CtTuple6,
    Tunnel,
    InPort,
    Ethernet,
    Vlan,
    EthType,
    Ipv4,
    Ipv6,
    Tcp,
    TcpFlags,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
    Arp,
    Nd,
    NdExt,
    Mpls,
    DpHash,
    RecircId,
    PacketType,
    Nsh,
}

impl Attr {
    /// Every attribute. Longer names come before those they begin with.
    pub(crate) const ALL: [Self; 30] = [
        Self::Encap,
        Self::Priority,
        Self::SkbMark,
        Self::CtState,
        Self::CtZone,
        Self::CtMark,
        Self::CtLabel,
        Self::CtTuple4,
        Self::CtTuple6,
        Self::Tunnel,
        Self::InPort,
        Self::Ethernet,
        Self::Vlan,
        Self::EthType,
        Self::Ipv4,
        Self::Ipv6,
        Self::Tcp,
        Self::TcpFlags,
        Self::Udp,
        Self::Sctp,
        Self::Icmp,
        Self::Icmpv6,
        Self::Arp,
        Self::Nd,
        Self::NdExt,
        Self::Mpls,
        Self::DpHash,
        Self::RecircId,
        Self::PacketType,
        Self::Nsh,
    ];

    /// Its name in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Priority => "skb_priority",
            Self::SkbMark => "skb_mark",
            Self::CtState => "ct_state",
            Self::CtZone => "ct_zone",
            Self::CtMark => "ct_mark",
            Self::CtLabel => "ct_label",
            Self::CtTuple4 => "ct_tuple4",
            Self::CtTuple6 => "ct_tuple6",
            Self::Tunnel => "tunnel",
            Self::InPort => "in_port",
            Self::Ethernet => "eth",
            Self::Vlan => "vlan",
            Self::EthType => "eth_type",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Tcp => "tcp",
            Self::TcpFlags => "tcp_flags",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Arp => "arp",
            Self::Nd => "nd",
            Self::NdExt => "nd_ext",
            Self::Mpls => "mpls",
            Self::DpHash => "dp_hash",
            Self::RecircId => "recirc_id",
            Self::PacketType => "packet_type",
            Self::Nsh => "nsh",
        }
    }

    /// The attribute with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    pub(crate) const fn bit(self) -> u32 {
        1 << self as u8
    }
}
