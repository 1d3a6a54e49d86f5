//! Which values and masks a field may have in a match or action.

use super::{FieldId, FieldValue};
use crate::port::OfPort;

fn number(value: &[u8]) -> u128 {
    value
        .iter()
        .rev()
        .take(16)
        .rev()
        .fold(0, |n, &b| n << 8 | u128::from(b))
}

impl FieldId {
    /// True when a (masked) match may ask for `value`. Values are refused when no packet and no mask could
    /// give them a meaning, not merely because no packet has them.
    #[must_use]
    pub fn is_value_valid(self, value: &[u8]) -> bool {
        let n = number(value);
        let within = |bits: u128| n & !bits == 0;
        match self {
            Self::InPortOxm | Self::ActsetOutput => {
                u32::try_from(n).is_ok_and(|n| OfPort::from_ofp11(n).is_some())
            }
            Self::IpDscp => within(0xfc),
            Self::IpDscpShifted | Self::NshTtl => within(0x3f),
            Self::IpEcn | Self::IpFrag => within(3),
            Self::TcpFlags => within(0xfff),
            Self::ArpOp => within(0xff),
            Self::DlVlan => within(0xfff),
            Self::VlanVid => within(0x1fff),
            Self::DlVlanPcp | Self::VlanPcp | Self::MplsTc => within(7),
            Self::Ipv6Label | Self::MplsLabel => within(0xf_ffff),
            Self::MplsBos => within(1),
            Self::TunFlags => within(u128::from(crate::TunnelKey::F_MATCHABLE)),
            Self::CtState => within(0xff),
            Self::NshMdtype => n == 1 || n == 2,
            Self::NshSpi => within(0xff_ffff),
            _ => true,
        }
    }

    /// True when `mask` may be used with the field.
    #[must_use]
    pub fn is_mask_valid(self, mask: &[u8]) -> bool {
        self.info().maskable || mask.iter().all(|&b| b == 0) || mask.iter().all(|&b| b == 0xff)
    }

    /// A mask of the whole field.
    #[must_use]
    pub fn exact_mask(self) -> FieldValue {
        FieldValue::from_elem(0xff, self.info().n_bytes)
    }
}

/// The shortest encoding of a tunnel metadata value with its mask: octets without leading zeroes.
pub(crate) fn significant_len(value: &[u8], mask: Option<&[u8]>) -> usize {
    let len = |v: &[u8]| v.len() - v.iter().take_while(|&&b| b == 0).count();
    len(value).max(mask.map_or(0, len))
}
