//! Addresses as they stand on the wire, with the text forms that Open vSwitch prints.

use std::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

macro_rules! wire_bytes { ($($t:tt)*) => {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes,
             Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    $($t)*
} }

wire_bytes! {
/// An Ethernet address.
pub struct EthAddr(pub [u8; 6]);
}
wire_bytes! {
/// An IPv4 address in wire order.
pub struct Ipv4(pub [u8; 4]);
}
wire_bytes! {
/// An IPv6 address in wire order.
pub struct Ipv6(pub [u8; 16]);
}

impl EthAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00.
    pub const ZERO: Self = Self([0; 6]);

    /// The group bit: multicast or broadcast.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
    /// 01:80:c2:00:00:0x: bridges must not forward it.
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0x00, 0x00, x] if x & 0xf0 == 0)
    }
    /// The address as a number, as datapath ids use it.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        let b = self.0;
        u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]])
    }
}

impl Ipv4 {
    /// The address as a number in host order.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        u32::from_be_bytes(self.0)
    }
    /// From a number in host order.
    #[must_use]
    pub const fn from_u32(n: u32) -> Self {
        Self(n.to_be_bytes())
    }
}

impl fmt::Display for EthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            b[0], b[1], b[2], b[3], b[4], b[5]
        )
    }
}
impl fmt::Debug for EthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&std::net::Ipv4Addr::from(self.0), f)
    }
}
impl fmt::Debug for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // inet_ntop(3) still writes ::a.b.c.d for addresses whose first 96 bits are zero.
        if self.0[..12] == [0; 12] && self.0[12..14] != [0; 2] {
            let b = self.0;
            return write!(f, "::{}.{}.{}.{}", b[12], b[13], b[14], b[15]);
        }
        fmt::Display::fmt(&std::net::Ipv6Addr::from(self.0), f)
    }
}
impl fmt::Debug for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for EthAddr {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        let mut out = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut out {
            let part = parts
                .next()
                .filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))
                .filter(|p| (1..=2).contains(&p.len()))
                .ok_or(())?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() {
            Err(())
        } else {
            Ok(Self(out))
        }
    }
}
impl std::str::FromStr for Ipv4 {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        s.parse::<std::net::Ipv4Addr>()
            .map(|a| Self(a.octets()))
            .map_err(|_| ())
    }
}
impl std::str::FromStr for Ipv6 {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        s.parse::<std::net::Ipv6Addr>()
            .map(|a| Self(a.octets()))
            .map_err(|_| ())
    }
}
