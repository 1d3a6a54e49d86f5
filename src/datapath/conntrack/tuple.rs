//! [`Tuple`]: who talks to whom, in which zone: what identifies a connection, seen from one direction.
//!
//! An ICMP conversation is told apart by its identifier, which stands where ports do; the types of request and
//! answer stand at their senders' ends, so that the other direction is, as always, the two ends swapped.

use base::hash::{finish, mix};
use flow::CtTuple;
use std::net::IpAddr;
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6};
use wire::{Ipv4, Ipv6, icmp, icmpv6};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct End {
    /// IPv6, or IPv4 in the first four octets and zeroes.
    pub(crate) addr: [u8; 16],
    /// Port, or ICMP identifier; 0 for protocols that have neither.
    pub(crate) port: u16,
    /// ICMP type and code.
    pub(crate) kind: u8,
    pub(crate) code: u8,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Tuple {
    pub(crate) src: End,
    pub(crate) dst: End,
    pub(crate) zone: u16,
    pub(crate) proto: u8,
    pub(crate) v6: bool,
}

/// An address as ends keep it.
pub(crate) fn addr_of(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(a) => v4(a.octets()),
        IpAddr::V6(a) => a.octets(),
    }
}

/// An IPv4 address as ends keep it.
pub(crate) const fn v4(a: [u8; 4]) -> [u8; 16] {
    let mut addr = [0; 16];
    addr[0] = a[0];
    addr[1] = a[1];
    addr[2] = a[2];
    addr[3] = a[3];
    addr
}

impl End {
    /// The address of an IPv4 end.
    pub(crate) const fn v4(&self) -> [u8; 4] {
        let a = &self.addr;
        [a[0], a[1], a[2], a[3]]
    }
    /// Port and ICMP type and code as one number.
    const fn small(&self) -> u64 {
        self.port as u64 | (self.kind as u64) << 16 | (self.code as u64) << 24
    }
    fn hash(&self, v6: bool, seed: u64) -> u64 {
        let a = u128::from_le_bytes(self.addr);
        if v6 {
            mix(mix(mix(seed, a as u64), (a >> 64) as u64), self.small())
        } else {
            mix(seed, a as u64 | self.small() << 32)
        }
    }
}

impl Tuple {
    /// The other direction.
    #[inline]
    pub(crate) fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            ..*self
        }
    }

    /// The same for both directions.
    #[inline]
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let ends = self
            .src
            .hash(self.v6, seed)
            .wrapping_add(self.dst.hash(self.v6, seed));
        let rest = u64::from(self.zone) | u64::from(self.proto) << 16 | u64::from(self.v6) << 24;
        finish(mix(ends, rest))
    }

    /// True for ICMP and ICMPv6.
    pub(crate) const fn is_icmp(&self) -> bool {
        self.proto == PROTO_ICMP && !self.v6 || self.proto == PROTO_ICMPV6 && self.v6
    }

    /// As flow keys show a connection's original direction.
    pub(crate) fn shown(&self) -> CtTuple {
        let (tp_src, tp_dst) = if self.is_icmp() {
            (u16::from(self.src.kind), u16::from(self.src.code))
        } else {
            (self.src.port, self.dst.port)
        };
        if self.v6 {
            CtTuple::V6 {
                src: Ipv6(self.src.addr),
                dst: Ipv6(self.dst.addr),
                tp_src,
                tp_dst,
                proto: self.proto,
            }
        } else {
            CtTuple::V4 {
                src: Ipv4(self.src.v4()),
                dst: Ipv4(self.dst.v4()),
                tp_src,
                tp_dst,
                proto: self.proto,
            }
        }
    }

    /// The original direction that a flow key shows, of a packet with this tuple (whose ICMP identifier is that
    /// of the connection).
    pub(crate) fn of_shown(shown: &CtTuple, packet: &Self, zone: u16) -> Option<Self> {
        let (src, dst, tp_src, tp_dst, proto, v6) = match *shown {
            CtTuple::None => return None,
            CtTuple::V4 {
                src,
                dst,
                tp_src,
                tp_dst,
                proto,
            } => (v4(src.0), v4(dst.0), tp_src, tp_dst, proto, false),
            CtTuple::V6 {
                src,
                dst,
                tp_src,
                tp_dst,
                proto,
            } => (src.0, dst.0, tp_src, tp_dst, proto, true),
        };
        let mut t = Self {
            src: End {
                addr: src,
                port: tp_src,
                ..End::default()
            },
            dst: End {
                addr: dst,
                port: tp_dst,
                ..End::default()
            },
            zone,
            proto,
            v6,
        };
        if t.is_icmp() {
            let kind = u8::try_from(tp_src).ok()?;
            (t.src.port, t.dst.port) = (packet.src.port, packet.dst.port);
            t.src.kind = kind;
            t.dst.kind = answer_to(kind, v6)?;
        }
        (v6 == packet.v6).then_some(t)
    }
}

/// The type of ICMP messages that go the other way; `None` for messages that are no conversation.
pub(crate) const fn answer_to(kind: u8, v6: bool) -> Option<u8> {
    Some(if v6 {
        match kind {
            icmpv6::ECHO_REQUEST => icmpv6::ECHO_REPLY,
            icmpv6::ECHO_REPLY => icmpv6::ECHO_REQUEST,
            _ => return None,
        }
    } else {
        match kind {
            icmp::ECHO_REQUEST => icmp::ECHO_REPLY,
            icmp::ECHO_REPLY => icmp::ECHO_REQUEST,
            icmp::TIMESTAMP => icmp::TIMESTAMP_REPLY,
            icmp::TIMESTAMP_REPLY => icmp::TIMESTAMP,
            icmp::INFO_REQUEST => icmp::INFO_REPLY,
            icmp::INFO_REPLY => icmp::INFO_REQUEST,
            _ => return None,
        }
    })
}
