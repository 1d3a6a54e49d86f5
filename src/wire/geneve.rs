//! Geneve (RFC 8926).

use crate::header::Header;
use crate::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Geneve header without options.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct GeneveHeader {
    /// Version (2 bits) and length of options in 4-octet words (6 bits).
    pub ver_opt_len: u8,
    /// Control ([`FLAG_OAM`]) and critical options ([`FLAG_CRITICAL`]).
    pub flags: u8,
    /// EtherType of what follows; 0x6558 for Ethernet.
    pub protocol: U16,
    /// Network identifier (24 bits), reserved octet.
    pub vni: U32,
}
impl Header for GeneveHeader {}

/// Header of one option; its value follows.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct GeneveOption {
    /// Namespace of the type.
    pub class: U16,
    /// Type; [`OPTION_CRITICAL`] says that who does not know it must drop the packet.
    pub kind: u8,
    /// Length of the value in 4-octet words (low 5 bits).
    pub len: u8,
}
impl Header for GeneveOption {}

/// UDP port.
pub const PORT: u16 = 6081;
/// A control packet.
pub const FLAG_OAM: u8 = 0x80;
/// There are critical options.
pub const FLAG_CRITICAL: u8 = 0x40;
/// The critical bit of an option's type.
pub const OPTION_CRITICAL: u8 = 0x80;
/// Octets of options a header can say.
pub const OPTIONS_LEN_MAX: usize = 63 * 4;

impl GeneveHeader {
    /// Version, 0.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        self.ver_opt_len >> 6
    }
    /// Octets of options.
    #[inline]
    #[must_use]
    pub fn options_len(&self) -> usize {
        usize::from(self.ver_opt_len & 0x3f) * 4
    }
    /// Network identifier, 24 bits.
    #[inline]
    #[must_use]
    pub fn vni(&self) -> u32 {
        self.vni.get() >> 8
    }
}

impl GeneveOption {
    /// Octets of the value.
    #[must_use]
    pub fn value_len(&self) -> usize {
        usize::from(self.len & 0x1f) * 4
    }
}

/// Walks over options as (header, value); stops at one that does not fit, after giving an error for it.
pub fn options(mut area: &[u8]) -> impl Iterator<Item = Result<(&GeneveOption, &[u8]), BadOption>> {
    std::iter::from_fn(move || {
        if area.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut area);
        let option = GeneveOption::split(rest).and_then(|(h, tail)| {
            let (value, tail) = tail.split_at_checked(h.value_len())?;
            area = tail;
            Some((h, value))
        });
        Some(option.ok_or(BadOption))
    })
}

/// An option that claims more octets than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Geneve option does not fit")]
pub struct BadOption;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_where_they_lie() {
        let area = [0xff, 0xff, 1, 1, 9, 9, 9, 9, 0, 0, 2, 0, 0, 0, 3, 2, 1];
        let all: Vec<_> = options(&area)
            .map(|o| o.map(|(h, v)| (h.kind, v.len())))
            .collect();
        assert_eq!(all, [Ok((1, 4)), Ok((2, 0)), Err(BadOption)]);
    }
}
