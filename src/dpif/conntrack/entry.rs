//! A tracked connection as control threads see it.

use std::net::IpAddr;

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CtTuple {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// IP protocol.
    pub proto: u8,
    /// Source port; ICMP: identifier.
    pub sport: u16,
    /// Destination port; ICMP: 0.
    pub dport: u16,
    /// ICMP type and code.
    pub icmp: (u8, u8),
}

impl CtTuple {
    /// True for ICMP and ICMPv6.
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        self.proto == 1 || self.proto == 58
    }
}

/// States of a TCP end, in the order of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
#[repr(u8)]
pub enum TcpPhase {
    Closed,
    Listen,
    SynSent,
    SynRecv,
    Established,
    CloseWait,
    FinWait1,
    Closing,
    LastAck,
    FinWait2,
    TimeWait,
}

impl TcpPhase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::CloseWait,
        Self::FinWait1,
        Self::Closing,
        Self::LastAck,
        Self::FinWait2,
        Self::TimeWait,
    ];
    /// As dumps have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::CloseWait => "CLOSE_WAIT",
            Self::FinWait1 => "FIN_WAIT_1",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST_ACK",
            Self::FinWait2 => "FIN_WAIT_2",
            Self::TimeWait => "TIME_WAIT",
        }
    }
    /// What dumps that are not verbose show instead: trackers differ in these.
    #[must_use]
    pub const fn coalesced(self) -> Self {
        match self {
            Self::FinWait2 => Self::TimeWait,
            Self::SynRecv => Self::Established,
            other => other,
        }
    }
}

/// One end of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpEnd {
    /// State.
    pub phase: TcpPhase,
    /// Window scale.
    pub scale: u8,
    /// It offered a window scale.
    pub scales: bool,
    /// The connection was picked up in the middle, and is looked at less strictly.
    pub liberal: bool,
}

/// What the protocol of a connection is doing, where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtProtoInfo {
    /// Nothing to say.
    None,
    /// TCP: who opened it, and the other end.
    Tcp([TcpEnd; 2]),
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CtEntry {
    /// Its first packet.
    pub orig: CtTuple,
    /// Packets that answer.
    pub reply: CtTuple,
    /// The connection that announced it.
    pub parent: Option<CtTuple>,
    /// Zone.
    pub zone: u16,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// Seconds until it is forgotten.
    pub timeout: u32,
    /// State.
    pub info: CtProtoInfo,
    /// Application helper.
    pub helper: Option<&'static str>,
}
