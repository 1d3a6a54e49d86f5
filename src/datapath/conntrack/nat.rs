//! Choosing the translated tuple of a connection.
//!
//! What the other direction's packets look like must be nobody else's: candidates are tried in an order that
//! begins at a hash of the connection, so that connections spread over addresses and ports, and is the same
//! for the same connection. Only so many are tried that a full range costs bounded time.

use super::tuple::{End, Tuple, addr_of};
use base::hash::{finish, mix};
use odp::NatAction;
use wire::ipv4::{PROTO_TCP, PROTO_UDP};

/// Candidates of the first round; each further round begins elsewhere and is half as long.
const ATTEMPTS: u32 = 128;
/// The shortest round.
const ATTEMPTS_MIN: u32 = 16;

/// Which end of the original direction is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Src,
    Dst,
}

impl Way {
    /// What that means for packets of the other direction.
    pub(crate) const fn back(self) -> Self {
        match self {
            Self::Src => Self::Dst,
            Self::Dst => Self::Src,
        }
    }
}

/// What an action asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nat {
    /// `None`: translate as the connection says, but decide nothing.
    pub(crate) way: Option<Way>,
    /// Addresses; `None` to keep the connection's own. With the family.
    addrs: Option<([u8; 16], [u8; 16], bool)>,
    ports: Option<(u16, u16)>,
    random: bool,
    persistent: bool,
}

impl Nat {
    pub(crate) fn new(action: &NatAction) -> Self {
        let way = if action.src {
            Some(Way::Src)
        } else if action.dst {
            Some(Way::Dst)
        } else {
            None
        };
        let addrs = action.range.as_ref().and_then(|r| {
            let min = addr_of(r.min);
            let max = r.max.map_or(min, addr_of);
            (min != [0; 16]).then_some((min, max, r.min.is_ipv6()))
        });
        let ports = action.range.as_ref().and_then(|r| r.ports);
        Self {
            way,
            addrs,
            ports: ports.map(|(min, max)| (min, max.max(min))),
            random: action.random,
            persistent: action.persistent,
        }
    }

    /// The tuple of the other direction's packets. `reserve` tries to take one and says whether it is ours;
    /// `random` is for choices that are to be random. `None` when nothing is free.
    pub(crate) fn choose(
        &self,
        key: &Tuple,
        (way, seed): (Way, u64),
        mut random: impl FnMut() -> u64,
        mut reserve: impl FnMut(&Tuple) -> bool,
    ) -> Option<Tuple> {
        let hash = self.hash(key, seed);
        let mut reply = key.reversed();
        if let Some((min, max, v6)) = self.addrs
            && v6 == key.v6
        {
            let hash = if self.persistent {
                // The same client, or the same service, gets the same address.
                let end = if way == Way::Src { &key.src } else { &key.dst };
                words(seed, &end.addr)
            } else if self.random {
                random()
            } else {
                hash
            };
            let addr = pick(&min, &max, v6, hash);
            match way {
                Way::Src => reply.dst.addr = addr,
                Way::Dst => reply.src.addr = addr,
            }
        }
        if !matches!(key.proto, PROTO_TCP | PROTO_UDP) {
            return reserve(&reply).then_some(reply);
        }
        let start = if self.random { random() } else { hash };
        if way == Way::Dst
            && let Some((min, max)) = self.ports
        {
            let span = Span::within(min, max, start);
            if span.search(&mut random, |port| {
                reply.src.port = port;
                reserve(&reply)
            }) {
                return Some(reply);
            }
        }
        let span = match self.ports {
            Some((min, max)) if way == Way::Src => Span::within(min, max, start),
            _ => Span::around(key.src.port),
        };
        let found = span.search(&mut random, |port| {
            reply.dst.port = port;
            reserve(&reply)
        });
        found.then_some(reply)
    }

    fn hash(&self, key: &Tuple, seed: u64) -> u64 {
        let end = |h, e: &End| mix(words(h, &e.addr), u64::from(e.port));
        let h = end(end(seed, &key.src), &key.dst);
        let (min, max) = self.ports.unwrap_or_default();
        let rest = u64::from(key.zone) | u64::from(key.proto) << 16;
        finish(mix(h, rest | u64::from(min) << 32 | u64::from(max) << 48))
    }
}

fn words(h: u64, addr: &[u8; 16]) -> u64 {
    let a = u128::from_le_bytes(*addr);
    finish(mix(mix(h, a as u64), (a >> 64) as u64))
}

/// An address of a range, by a hash. A range of IPv6 addresses counts up to 2^32 of them.
fn pick(min: &[u8; 16], max: &[u8; 16], v6: bool, hash: u64) -> [u8; 16] {
    if v6 {
        let (lo, hi) = (u128::from_be_bytes(*min), u128::from_be_bytes(*max));
        let size = hi.saturating_sub(lo).min(u128::from(u32::MAX - 1)) + 1;
        return (lo + u128::from(hash) % size).to_be_bytes();
    }
    let of = |a: &[u8; 16]| u32::from_be_bytes([a[0], a[1], a[2], a[3]]);
    let (lo, hi) = (of(min), of(max));
    let size = u64::from(hi.saturating_sub(lo)) + 1;
    let chosen = lo.wrapping_add((hash % size) as u32);
    super::tuple::v4(chosen.to_be_bytes())
}

/// Ports to try: first one, then those of a range from there on.
#[derive(Debug, Clone, Copy)]
struct Span {
    min: u16,
    max: u16,
    first: u16,
}

impl Span {
    fn within(min: u16, max: u16, hash: u64) -> Self {
        let size = u64::from(max - min) + 1;
        Self {
            min,
            max,
            first: min + (hash % size) as u16,
        }
    }

    /// The port itself, then those of the class that it is of.
    fn around(port: u16) -> Self {
        let (min, max) = match port {
            0..512 => (1, 511),
            512..1024 => (600, 1023),
            _ => (1024, u16::MAX),
        };
        Self {
            min,
            max,
            first: port,
        }
    }

    fn next(&self, port: u16) -> u16 {
        if port < self.min || port >= self.max {
            self.min
        } else {
            port + 1
        }
    }

    /// Tries ports until one is taken.
    fn search(&self, random: &mut impl FnMut() -> u64, mut take: impl FnMut(u16) -> bool) -> bool {
        let size = u32::from(self.max - self.min) + 1;
        let outside = !(self.min..=self.max).contains(&self.first);
        let mut attempts = size.min(ATTEMPTS);
        let mut port = self.first;
        let mut most = attempts + u32::from(outside && attempts == size);
        loop {
            for _ in 0..most {
                if take(port) {
                    return true;
                }
                port = self.next(port);
            }
            if attempts >= size || attempts < ATTEMPTS_MIN {
                return false;
            }
            attempts /= 2;
            most = attempts;
            port = self.min + (random() % u64::from(size)) as u16;
        }
    }
}
