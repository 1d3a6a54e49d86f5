//! The fields whose prefixes a table can track (`Flow_Table:prefixes`), and where they lie in a flow.

use crate::mini::{MiniMask, MiniMatch};
use crate::trie::Bits;
use flow::{FieldId, Flow, Mask};
use std::mem::offset_of;

/// Prefix fields a table can have at once, as in Open vSwitch.
pub const PREFIXES_MAX: usize = 3;

/// What a packet must be for the field to mean what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prerequisite {
    None,
    EtherType(u16),
    /// Conntrack knows the packet: one of new, established, reply.
    CtValid,
}

/// A field that can be tracked by prefix: whole 32-bit units at a fixed place in the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefixField {
    pub(crate) field: FieldId,
    /// Byte offset in the flow, a multiple of 4.
    ofs: usize,
    /// 32, 64 or 128.
    pub(crate) n_bits: u32,
    needs: Prerequisite,
}

/// True when `field` can be tracked by prefix.
#[must_use]
pub fn is_prefix_field(field: FieldId) -> bool {
    PrefixField::of(field).is_some()
}

/// The prefix fields a table has unless configured otherwise.
#[must_use]
pub fn default_prefixes() -> Vec<FieldId> {
    vec![FieldId::Ipv4Dst, FieldId::Ipv4Src]
}

macro_rules! at {
    ($($path:tt)*) => { offset_of!(Flow, $($path)*) };
}

impl PrefixField {
    /// The place of `field`, `None` when it cannot be tracked.
    pub(crate) fn of(field: FieldId) -> Option<Self> {
        use Prerequisite::{CtValid, EtherType, None as Any};
        let (ofs, n_bits, needs) = match field {
            FieldId::TunId => (at!(tunnel.tun_id), 64, Any),
            FieldId::TunSrc => (at!(tunnel.ip_src), 32, Any),
            FieldId::TunDst => (at!(tunnel.ip_dst), 32, Any),
            FieldId::TunIpv6Src => (at!(tunnel.ipv6_src), 128, Any),
            FieldId::TunIpv6Dst => (at!(tunnel.ipv6_dst), 128, Any),
            FieldId::CtNwSrc => (at!(ct_nw_src), 32, CtValid),
            FieldId::CtNwDst => (at!(ct_nw_dst), 32, CtValid),
            FieldId::CtIpv6Src => (at!(ct_ipv6_src), 128, CtValid),
            FieldId::CtIpv6Dst => (at!(ct_ipv6_dst), 128, CtValid),
            FieldId::Ipv4Src => (at!(nw_src), 32, EtherType(0x0800)),
            FieldId::Ipv4Dst => (at!(nw_dst), 32, EtherType(0x0800)),
            FieldId::Ipv6Src => (at!(ipv6_src), 128, EtherType(0x86dd)),
            FieldId::Ipv6Dst => (at!(ipv6_dst), 128, EtherType(0x86dd)),
            _ => return None,
        };
        Some(Self {
            field,
            ofs,
            n_bits,
            needs,
        })
    }

    /// The two L4 ports seen as one 32-bit value: tracked per subtable, whatever the configuration.
    pub(crate) const fn ports() -> Self {
        Self {
            field: FieldId::TcpSrc,
            ofs: at!(tp_src),
            n_bits: 32,
            needs: Prerequisite::None,
        }
    }

    /// Words of the flow the field lies in, each with its bits of the field.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mut m = Mask::empty();
        let n = self.n_bits as usize / 8;
        m.0.bytes_mut()[self.ofs..self.ofs + n].fill(0xff);
        let words: smallvec::SmallVec<[(usize, u64); 3]> = m
            .lines()
            .as_flattened()
            .iter()
            .enumerate()
            .filter(|(_, w)| **w != 0)
            .map(|(at, w)| (at, *w))
            .collect();
        words.into_iter()
    }

    /// True when `flow` is of the kind the field belongs to.
    pub(crate) fn applies_to(&self, flow: &Flow) -> bool {
        match self.needs {
            Prerequisite::None => true,
            Prerequisite::EtherType(t) => flow.dl_type.get() == t,
            // new | established | reply
            Prerequisite::CtValid => flow.ct_state & (0x01 | 0x02 | 0x08) != 0,
        }
    }

    /// The field's value in `flow`, left-aligned.
    pub(crate) fn value(&self, flow: &Flow) -> Bits {
        let mut out = [0; 4];
        let bytes = &flow.bytes()[self.ofs..self.ofs + self.n_bits as usize / 8];
        for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *o = u32::from_be_bytes(*b);
        }
        out
    }

    fn of_words(&self, word: impl Fn(usize) -> u64) -> Bits {
        let mut out = [0; 4];
        for (i, o) in (0..self.n_bits as usize / 32).zip(&mut out) {
            let byte = self.ofs + 4 * i;
            let w = word(byte / 8).to_ne_bytes();
            let half = byte % 8;
            *o = u32::from_be_bytes([w[half], w[half + 1], w[half + 2], w[half + 3]]);
        }
        out
    }

    /// The field's value in a rule, left-aligned.
    pub(crate) fn value_in(&self, m: &MiniMatch) -> Bits {
        self.of_words(|at| m.word(at))
    }

    /// The field's mask, left-aligned.
    pub(crate) fn mask_in(&self, m: &MiniMask) -> Bits {
        self.of_words(|at| m.word(at))
    }

    /// The length of the prefix that `m` matches of this field; 0 when none, or not a prefix.
    pub(crate) fn prefix_len(&self, m: &MiniMask) -> u32 {
        let bits = self
            .mask_in(m)
            .iter()
            .fold(0u128, |v, w| v << 32 | u128::from(*w));
        let len = bits.leading_ones();
        if len + bits.trailing_zeros() >= 128 {
            len
        } else {
            0
        }
    }

    /// Marks the first `n` bits of the field as looked at.
    pub(crate) fn set_prefix(&self, wc: &mut Mask, n: u32) {
        let n = n.min(self.n_bits) as usize;
        let bytes = &mut wc.0.bytes_mut()[self.ofs..self.ofs + n.div_ceil(8)];
        for (i, b) in bytes.iter_mut().enumerate() {
            let left = n - 8 * i;
            *b |= if left >= 8 { 0xff } else { 0xff << (8 - left) };
        }
    }

    /// True when the first `n` bits of the field are already marked as looked at.
    pub(crate) fn has_prefix(&self, wc: &Mask, n: u32) -> bool {
        let mut want = Mask::empty();
        self.set_prefix(&mut want, n);
        let end = self.ofs + self.n_bits as usize / 8;
        let (want, have) = (&want.0.bytes()[self.ofs..end], &wc.0.bytes()[self.ofs..end]);
        want.iter().zip(have).all(|(w, h)| w & !h == 0)
    }
}
