//! OpenFlow port numbers: 16 bits inside Open vSwitch, 32 on the wire since OpenFlow 1.1.

use std::fmt;

/// An OpenFlow port number as OpenFlow 1.0 has it (reserved ports are 0xfff8 and up).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OfPort(pub u16);

impl OfPort {
    /// First reserved number.
    pub const MAX: Self = Self(0xff00);
    /// Port unset in a match of table-miss semantics (1.5 `OFPP_UNSET`).
    pub const UNSET: Self = Self(0xfff7);
    /// Back out of the port it came in on.
    pub const IN_PORT: Self = Self(0xfff8);
    /// Submit to the flow tables (packet-out only).
    pub const TABLE: Self = Self(0xfff9);
    /// The non-OpenFlow pipeline.
    pub const NORMAL: Self = Self(0xfffa);
    /// All ports but the ingress port and those without flooding.
    pub const FLOOD: Self = Self(0xfffb);
    /// All ports but the ingress port.
    pub const ALL: Self = Self(0xfffc);
    /// To the controller.
    pub const CONTROLLER: Self = Self(0xfffd);
    /// The bridge's own port.
    pub const LOCAL: Self = Self(0xfffe);
    /// No port (1.1 and up: ANY).
    pub const NONE: Self = Self(0xffff);

    /// Added to reserved numbers on the wire of OpenFlow 1.1 and later.
    const OFP11_OFFSET: u32 = 0xffff_0000;

    /// From a number of OpenFlow 1.1 and later; `None` between the plain and the reserved ports.
    #[must_use]
    pub const fn from_ofp11(n: u32) -> Option<Self> {
        if n < Self::MAX.0 as u32 {
            Some(Self(n as u16))
        } else if n >= Self::MAX.0 as u32 + Self::OFP11_OFFSET {
            Some(Self((n - Self::OFP11_OFFSET) as u16))
        } else {
            None
        }
    }
    /// The number on the wire of OpenFlow 1.1 and later.
    #[must_use]
    pub const fn to_ofp11(self) -> u32 {
        if self.0 < Self::MAX.0 {
            self.0 as u32
        } else {
            self.0 as u32 + Self::OFP11_OFFSET
        }
    }

    /// The name of a reserved port as `ovs-ofctl` prints it.
    #[must_use]
    pub const fn reserved_name(self) -> Option<&'static str> {
        Some(match self {
            Self::UNSET => "UNSET",
            Self::IN_PORT => "IN_PORT",
            Self::TABLE => "TABLE",
            Self::NORMAL => "NORMAL",
            Self::FLOOD => "FLOOD",
            Self::ALL => "ALL",
            Self::CONTROLLER => "CONTROLLER",
            Self::LOCAL => "LOCAL",
            Self::NONE => "ANY",
            _ => return None,
        })
    }
}

impl fmt::Display for OfPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reserved_name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}
