//! [`Proto`]: what a connection's protocol is doing.

use super::parse::Parsed;
use super::tcp::{Change, Tcp};
use super::timeouts::Timeout;
use super::tuple::Tuple;
use wire::ipv4::PROTO_TCP;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proto {
    Tcp(Tcp),
    Other(Seen),
    /// Whether it was answered.
    Icmp(bool),
}

/// What was seen of a connection whose protocol is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// One packet.
    First,
    /// Several, in one direction.
    Multiple,
    /// Both directions.
    Both,
}

impl Proto {
    /// A connection by its first packet.
    pub(crate) fn new(tuple: &Tuple, p: &Parsed) -> (Self, Timeout) {
        if tuple.proto == PROTO_TCP {
            (Self::Tcp(Tcp::new(&p.tcp)), Timeout::TcpFirst)
        } else if tuple.is_icmp() {
            (Self::Icmp(false), Timeout::IcmpFirst)
        } else {
            (Self::Other(Seen::First), Timeout::OtherFirst)
        }
    }

    /// Takes a packet into account. The timeout is `None` when it stays as it is.
    pub(crate) fn update(
        &mut self,
        p: &Parsed,
        reply: bool,
        check: bool,
    ) -> (Change, Option<Timeout>) {
        match self {
            Self::Tcp(tcp) => tcp.update(&p.tcp, reply, check),
            Self::Other(seen) => {
                *seen = match *seen {
                    _ if reply => Seen::Both,
                    Seen::First => Seen::Multiple,
                    as_before => as_before,
                };
                match *seen {
                    Seen::First => (Change::Opening, Some(Timeout::OtherFirst)),
                    Seen::Multiple => (Change::Opening, Some(Timeout::OtherMultiple)),
                    Seen::Both => (Change::Valid, Some(Timeout::OtherBidir)),
                }
            }
            Self::Icmp(answered) => {
                *answered |= reply;
                if *answered {
                    (Change::Valid, Some(Timeout::IcmpReply))
                } else {
                    (Change::Opening, Some(Timeout::IcmpFirst))
                }
            }
        }
    }
}
