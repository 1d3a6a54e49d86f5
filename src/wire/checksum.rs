//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A [`Sum`] collects 16-bit words in the machine's own byte order, four bytes at a time in a 64-bit
//! accumulator, and swaps bytes once at the end: the ones' complement sum does not mind. Numbers that go
//! in or come out are the checksum's value as read from a big-endian field.

use crate::{Ipv4, Ipv6};

/// A running ones' complement sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

impl Sum {
    /// A sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// A sum that starts with what a field holds (a partial checksum).
    #[must_use]
    pub const fn from_partial(field: u16) -> Self {
        Self(field.to_be() as u64)
    }

    /// Adds bytes that begin at an even offset of what is summed. An odd last byte is padded by zero, so
    /// only the last piece may have one.
    #[must_use]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        // Each step adds less than 2^32, so 2^32 steps cannot overflow.
        let mut sum = self.0;
        let mut words = bytes.chunks_exact(4);
        for w in &mut words {
            sum += u64::from(u32::from_ne_bytes([w[0], w[1], w[2], w[3]]));
        }
        let tail = match *words.remainder() {
            [a] => u32::from_ne_bytes([a, 0, 0, 0]),
            [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
            [a, b, c] => u32::from_ne_bytes([a, b, c, 0]),
            _ => 0,
        };
        Self(sum + u64::from(tail))
    }

    /// Adds one 16-bit number.
    #[must_use]
    pub const fn add_u16(self, n: u16) -> Self {
        Self(self.0 + n.to_be() as u64)
    }

    /// Adds a 32-bit number.
    #[must_use]
    pub const fn add_u32(self, n: u32) -> Self {
        Self(self.0 + n.to_be() as u64)
    }

    /// Takes one 16-bit number away: adds its complement.
    #[must_use]
    pub const fn sub_u16(self, n: u16) -> Self {
        self.add_u16(!n)
    }

    /// The sum, not complemented: what stands in the field of a partial checksum.
    #[must_use]
    pub const fn partial(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "folded to 16 bits just above"
        )]
        u16::from_be(sum as u16)
    }

    /// The checksum.
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.partial()
    }
}

/// The checksum of some bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().add_bytes(bytes).finish()
}

/// The pseudo header of TCP and UDP over IPv4. `len` is that of header and payload.
#[must_use]
pub fn pseudo4(src: Ipv4, dst: Ipv4, protocol: u8, len: u32) -> Sum {
    Sum::new()
        .add_bytes(&src.0)
        .add_bytes(&dst.0)
        .add_u16(u16::from(protocol))
        .add_u32(len)
}

/// The pseudo header of TCP, UDP and ICMPv6 over IPv6. `len` is that of header and payload.
#[must_use]
pub fn pseudo6(src: Ipv6, dst: Ipv6, protocol: u8, len: u32) -> Sum {
    Sum::new()
        .add_bytes(&src.0)
        .add_bytes(&dst.0)
        .add_u16(u16::from(protocol))
        .add_u32(len)
}

/// A checksum after one 16-bit word under it changed (RFC 1624, equation 3).
#[must_use]
pub const fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::from_partial(!checksum)
        .sub_u16(old)
        .add_u16(new)
        .finish()
}

/// A checksum after 32 bits under it, at an even offset, changed.
#[must_use]
pub const fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    Sum::from_partial(!checksum)
        .add_u32(!old)
        .add_u32(new)
        .finish()
}

/// A checksum after bytes under it, at an even offset and of even length, changed.
#[must_use]
pub fn update_bytes(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let without = Sum::new().add_bytes(old).finish();
    Sum::from_partial(!checksum)
        .add_u16(without)
        .add_bytes(new)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::new().add_bytes(&bytes).partial(), 0xddf2);
    }

    proptest! {
        #[test]
        fn any_bytes_sum_as_defined(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(checksum(&bytes), slow(&bytes));
        }

        #[test]
        fn updates_equal_a_new_sum(
            mut bytes in prop::collection::vec(any::<u8>(), 8..200),
            at in 0usize..100, new in any::<[u8; 4]>(),
        ) {
            let at = (at * 2 % (bytes.len() - 4)) & !1;
            let before = slow(&bytes);
            let old: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
            bytes[at..at + 4].copy_from_slice(&new);
            // All ones and all zeros are the same number in ones' complement.
            let same = |a: u16, b: u16| a % 0xffff == b % 0xffff;
            let after = slow(&bytes);
            prop_assert!(same(update_bytes(before, &old, &new), after));
            let (o, n) = (u32::from_be_bytes(old), u32::from_be_bytes(new));
            prop_assert!(same(update32(before, o, n), after));
            let h = |b: [u8; 4], i| u16::from_be_bytes([b[i], b[i + 1]]);
            let half = update16(before, h(old, 0), h(new, 0));
            prop_assert!(same(update16(half, h(old, 2), h(new, 2)), after));
        }
    }
}
