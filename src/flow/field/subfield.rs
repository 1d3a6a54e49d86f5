//! Some bits of a field: reading, writing, copying, and their text form `field[ofs..end]`.

use super::{FieldId, FieldValue, Subfield};
use crate::key::{Flow, Mask};
use crate::tun_table::TunTable;
use std::fmt;
use std::ops::Range;

/// Why a subfield's text was refused. Displayed as `ovs-ofctl` does; `text` is what was being parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says it")]
pub enum SubfieldError {
    #[error("{text}: unknown field `{name}'")]
    UnknownField { text: String, name: String },
    #[error("{text}: syntax error expecting [] or [<bit>] or [<start>..<end>]")]
    Syntax { text: String },
    #[error("{text}: starting bit {start} is after ending bit {end}")]
    Order { text: String, start: i64, end: i64 },
    #[error("{text}: starting bit {start} is not valid because field is only {n_bits} bits wide")]
    Start {
        text: String,
        start: i64,
        n_bits: u16,
    },
    #[error("{text}: ending bit {end} is not valid because field is only {n_bits} bits wide")]
    End { text: String, end: i64, n_bits: u16 },
    #[error("unexpected input following field syntax")]
    Extra,
}

/// Copies `n_bits` bits from bit `src_ofs` of big-endian `src` to bit `dst_ofs` of big-endian `dst`. Bit 0
/// is the least significant of the last octet. Bits outside the slices are not copied.
fn bitwise_copy((src, src_ofs): (&[u8], usize), (dst, dst_ofs): (&mut [u8], usize), n_bits: usize) {
    let (s_len, d_len) = (src.len(), dst.len());
    let mut whole = 0;
    if src_ofs % 8 == 0 && dst_ofs % 8 == 0 {
        // Most moves are of whole octets.
        let (s_end, d_end) = (
            s_len.saturating_sub(src_ofs / 8),
            d_len.saturating_sub(dst_ofs / 8),
        );
        let n = (n_bits / 8).min(s_end).min(d_end);
        dst[d_end - n..d_end].copy_from_slice(&src[s_end - n..s_end]);
        whole = n * 8;
    }
    for i in whole..n_bits {
        let (s, d) = (src_ofs + i, dst_ofs + i);
        if s / 8 >= s_len || d / 8 >= d_len {
            return;
        }
        let bit = src[s_len - 1 - s / 8] >> (s % 8) & 1;
        let to = &mut dst[d_len - 1 - d / 8];
        *to = *to & !(1 << (d % 8)) | bit << (d % 8);
    }
}

impl Subfield {
    /// The whole field.
    #[must_use]
    pub fn whole(field: FieldId) -> Self {
        Self {
            field,
            ofs: 0,
            n_bits: field.info().n_bits,
        }
    }
    /// True when it is the whole field.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::whole(self.field)
    }
    fn n_bytes(&self) -> usize {
        usize::from(self.n_bits).div_ceil(8)
    }
    /// Its octets in a flow, when it is whole octets of a field that has them for itself.
    #[inline]
    fn octets(&self) -> Option<Range<usize>> {
        let (first, width) = self.field.octets()?;
        let (low, n) = (usize::from(self.ofs), usize::from(self.n_bits));
        let whole = low % 8 == 0 && n % 8 == 0 && (low + n) / 8 <= width;
        let end = first + width - low / 8;
        whole.then(|| end - n / 8..end)
    }
    /// The subfield's bits as a big-endian number of as many octets as they need.
    #[must_use]
    pub fn read(&self, flow: &Flow, tun: Option<&TunTable>) -> FieldValue {
        if let Some(at) = self.octets() {
            return FieldValue::from_slice(&flow.bytes()[at]);
        }
        self.of_value(&self.field.get(flow, tun))
    }
    /// The subfield's bits as a number; the low 64 bits of wider ones.
    #[must_use]
    pub fn read_u64(&self, flow: &Flow, tun: Option<&TunTable>) -> u64 {
        self.read(flow, tun)
            .iter()
            .fold(0, |n, &b| n << 8 | u64::from(b))
    }
    /// The subfield's bits out of a value of the field.
    #[must_use]
    pub fn of_value(&self, value: &[u8]) -> FieldValue {
        let mut out = FieldValue::from_elem(0, self.n_bytes());
        bitwise_copy((value, self.ofs.into()), (&mut out, 0), self.n_bits.into());
        out
    }
    /// Writes the low bits of the big-endian number `bits` over the subfield of a value of the field.
    pub fn into_value(&self, bits: &[u8], value: &mut [u8]) {
        let bits = super::slot::fit(bits, self.n_bytes());
        bitwise_copy((&bits, 0), (value, self.ofs.into()), self.n_bits.into());
    }
    /// Writes the low bits of the big-endian number `bits`.
    pub fn write(&self, flow: &mut Flow, bits: &[u8], tun: Option<&TunTable>) {
        if let Some(at) = self.octets() {
            let (to, len) = (&mut flow.bytes_mut()[at], bits.len());
            let (zero, low) = to.split_at_mut(to.len().saturating_sub(len));
            zero.fill(0);
            low.copy_from_slice(&bits[len - low.len()..]);
            return;
        }
        let mut value = self.field.get(flow, tun);
        self.into_value(bits, &mut value);
        self.field.set(flow, &value, tun);
    }
    /// Writes the low bits of a number.
    pub fn write_u64(&self, flow: &mut Flow, bits: u64, tun: Option<&TunTable>) {
        self.write(flow, &bits.to_be_bytes(), tun);
    }
    /// A mask of the field that has the subfield's bits.
    #[must_use]
    pub fn mask_value(&self) -> FieldValue {
        let mut m = FieldValue::from_elem(0, self.field.info().n_bytes);
        self.into_value(&FieldValue::from_elem(0xff, self.n_bytes()), &mut m);
        m
    }
    /// Marks the subfield as looked at.
    pub fn mask(&self, wc: &mut Mask, tun: Option<&TunTable>) {
        if let Some(at) = self.octets() {
            return wc.0.bytes_mut()[at].fill(0xff);
        }
        self.field.mask_bits(wc, &self.mask_value(), tun);
    }
    /// Copies this subfield over `dst` (of the same width) and marks both as looked at, when the
    /// prerequisites of both are met; otherwise does nothing.
    pub fn copy_to(
        &self,
        dst: &Self,
        flow: &mut Flow,
        mut wc: Option<&mut Mask>,
        tun: Option<&TunTable>,
    ) {
        if dst.field.prereqs_ok(flow, wc.as_deref_mut())
            && self.field.prereqs_ok(flow, wc.as_deref_mut())
        {
            match (self.octets(), dst.octets()) {
                (Some(from), Some(to)) if from.len() == to.len() => {
                    if let Some(wc) = wc {
                        let bits = wc.0.bytes_mut();
                        bits[from.clone()].fill(0xff);
                        bits[to.clone()].fill(0xff);
                    }
                    flow.bytes_mut().copy_within(from, to.start);
                }
                _ => {
                    if let Some(wc) = wc {
                        self.mask(wc, tun);
                        dst.mask(wc, tun);
                    }
                    dst.write(flow, &self.read(flow, tun), tun);
                }
            }
        }
    }
    /// Swaps this subfield and `other` (of the same width); else as [`Subfield::copy_to`].
    pub fn swap_with(
        &self,
        other: &Self,
        flow: &mut Flow,
        mut wc: Option<&mut Mask>,
        tun: Option<&TunTable>,
    ) {
        if self.field.prereqs_ok(flow, wc.as_deref_mut())
            && other.field.prereqs_ok(flow, wc.as_deref_mut())
        {
            if let Some(wc) = wc {
                self.mask(wc, tun);
                other.mask(wc, tun);
            }
            let (a, b) = (self.read(flow, tun), other.read(flow, tun));
            other.write(flow, &a, tun);
            self.write(flow, &b, tun);
        }
    }

    /// Parses a subfield at the front of `text`; gives what follows it. `field[]` and `field` are the
    /// whole field, `field[3]` one bit, `field[0..7]` eight.
    ///
    /// # Errors
    /// Says what is wrong, naming `text`.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), SubfieldError> {
        let end = text.find(['[', '-']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let field = FieldId::from_oxm_name(name)
            .or_else(|| FieldId::from_name(name))
            .ok_or_else(|| SubfieldError::UnknownField {
                text: text.into(),
                name: name.into(),
            })?;
        let n_bits = field.info().n_bits;
        let (mut start, mut last) = (0, i64::from(n_bits) - 1);
        if let Some(inner) = rest.strip_prefix('[') {
            let syntax = || SubfieldError::Syntax { text: text.into() };
            let (range, tail) = inner.split_once(']').ok_or_else(syntax)?;
            rest = tail;
            let number = |s: &str| s.trim_start().parse::<i64>().map_err(|_| syntax());
            match range.split_once("..") {
                Some((a, b)) => (start, last) = (number(a)?, number(b)?),
                None if range.is_empty() => {}
                None => {
                    start = number(range)?;
                    last = start;
                }
            }
        }
        let width = i64::from(n_bits);
        if start > last {
            return Err(SubfieldError::Order {
                text: text.into(),
                start,
                end: last,
            });
        } else if !(0..width).contains(&start) {
            return Err(SubfieldError::Start {
                text: text.into(),
                start,
                n_bits,
            });
        } else if last >= width {
            return Err(SubfieldError::End {
                text: text.into(),
                end: last,
                n_bits,
            });
        }
        // Both are below the field's width, which fits.
        Ok((
            Self {
                field,
                ofs: start as u16,
                n_bits: (last - start + 1) as u16,
            },
            rest,
        ))
    }
}

impl std::str::FromStr for Subfield {
    type Err = SubfieldError;
    fn from_str(s: &str) -> Result<Self, SubfieldError> {
        match Self::parse_prefix(s)? {
            (sf, "") => Ok(sf),
            _ => Err(SubfieldError::Extra),
        }
    }
}

impl fmt::Display for Subfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.field
                .oxm(0)
                .map_or_else(|| self.field.name(), |o| o.name),
        )?;
        if self.is_whole() {
            f.write_str("[]")
        } else if self.n_bits == 1 {
            write!(f, "[{}]", self.ofs)
        } else {
            write!(
                f,
                "[{}..{}]",
                self.ofs,
                u32::from(self.ofs) + u32::from(self.n_bits) - 1
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(b: &[u8]) -> u128 {
        b.iter().fold(0, |n, &x| n << 8 | u128::from(x))
    }

    /// Any bits of any field, octets more often than not.
    fn any_subfield() -> impl Strategy<Value = Subfield> {
        let pick = (0..FieldId::COUNT, any::<(u16, u16, bool)>());
        pick.prop_map(|(nth, (a, b, octets))| {
            let field = FieldId::all().nth(nth).unwrap();
            let width = field.info().n_bits;
            let (mut ofs, mut n_bits) = (a % width, 1 + b % (width - a % width));
            if octets {
                ofs -= ofs % 8;
                n_bits = n_bits.next_multiple_of(8).min(width - ofs);
            }
            Subfield { field, ofs, n_bits }
        })
    }

    proptest! {
        /// The twin goes over the value of the whole field.
        #[test]
        fn octets_are_no_other_than_the_values_bits(
            sf in any_subfield(),
            dst in any_subfield(),
            seed in prop::collection::vec(any::<u8>(), Flow::zero().bytes().len()),
            bits in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut flow = Flow::zero();
            flow.bytes_mut().copy_from_slice(&seed);
            let value = sf.field.get(&flow, None);
            prop_assert_eq!(sf.read(&flow, None), sf.of_value(&value), "{}", sf);
            let (mut fast, mut slow) = (Mask::empty(), Mask::empty());
            sf.mask(&mut fast, None);
            sf.field.mask_bits(&mut slow, &sf.mask_value(), None);
            prop_assert_eq!(fast.lines(), slow.lines(), "{}", sf);
            let write = |to: &Subfield, flow: &Flow, bits: &[u8]| {
                let (mut fast, mut slow) = (*flow, *flow);
                to.write(&mut fast, bits, None);
                let mut value = to.field.get(flow, None);
                to.into_value(bits, &mut value);
                to.field.set(&mut slow, &value, None);
                (fast, slow)
            };
            let (fast, slow) = write(&sf, &flow, &bits);
            prop_assert_eq!(fast.lines(), slow.lines(), "{}", sf);
            let n_bits = sf.n_bits.min(dst.n_bits);
            let (from, to) = (Subfield { n_bits, ..sf }, Subfield { n_bits, ..dst });
            let mut copied = flow;
            from.copy_to(&to, &mut copied, None, None);
            if from.field.prereqs_ok(&flow, None) && to.field.prereqs_ok(&flow, None) {
                let (_, slow) = write(&to, &flow, &from.of_value(&value));
                prop_assert_eq!(copied.lines(), slow.lines(), "{} to {}", from, to);
            } else {
                prop_assert_eq!(copied.lines(), flow.lines());
            }
        }

        #[test]
        fn copy_is_arithmetic(src: u128, dst: u128, s in 0usize..128, d in 0usize..128, n in 0usize..=128) {
            let n = n.min(128 - s).min(128 - d);
            let mut out = dst.to_be_bytes();
            bitwise_copy((&src.to_be_bytes(), s), (&mut out, d), n);
            let m = if n == 128 { u128::MAX } else { (1 << n) - 1 };
            prop_assert_eq!(number(&out), dst & !(m << d) | (src >> s & m) << d);
        }
    }

    #[test]
    fn text_both_ways() {
        let sf: Subfield = "NXM_NX_REG0[4..7]".parse().unwrap();
        assert_eq!((sf.field, sf.ofs, sf.n_bits), (FieldId::Reg(0), 4, 4));
        assert_eq!(sf.to_string(), "NXM_NX_REG0[4..7]");
        assert_eq!(
            "eth_dst".parse::<Subfield>().unwrap().to_string(),
            "NXM_OF_ETH_DST[]"
        );
        assert_eq!(
            "vlan_tci[12]".parse::<Subfield>().unwrap().to_string(),
            "NXM_OF_VLAN_TCI[12]"
        );
        let e = |s: &str| s.parse::<Subfield>().unwrap_err().to_string();
        assert_eq!(e("nope[]"), "nope[]: unknown field `nope'");
        assert_eq!(
            e("reg0[3..2]"),
            "reg0[3..2]: starting bit 3 is after ending bit 2"
        );
        assert_eq!(
            e("reg0[32]"),
            "reg0[32]: starting bit 32 is not valid because field is only 32 bits wide"
        );
        assert_eq!(e("reg0[]x"), "unexpected input following field syntax");
    }
}
