//! Where a field stands in a [`Flow`], and reading and writing it there.
//!
//! The same places serve masks, with a few exceptions that are kept in [`FieldId::mask_bits`].

use super::{FieldId, FieldInfo, FieldValue};
use crate::key::{Flow, Mask, Vlan};
use crate::port::OfPort;
use crate::tun_table::TunTable;
use wire::ethernet::ETH_TYPE_VLAN;

/// Where a field stands. Offsets and widths are octets of a [`Flow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The value itself.
    Bytes { ofs: usize },
    /// The low octets of the value; its upper octets are always zero.
    Low { ofs: usize, width: usize },
    /// The value is the low octets of what stands there.
    Wide { ofs: usize, width: usize },
    /// The bits `mask` of the big-endian number there, moved down by `shift`.
    Bits {
        ofs: usize,
        width: usize,
        mask: u32,
        shift: u32,
    },
    /// A 16-bit port in 32 bits, as OpenFlow 1.1 and later write it.
    Port { ofs: usize },
    /// Placed by the TLV table.
    TunMetadata,
}

fn load(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b))
}
fn store(bytes: &mut [u8], n: u32) {
    for (i, b) in bytes.iter_mut().rev().enumerate() {
        *b = n.checked_shr(8 * i as u32).unwrap_or(0) as u8;
    }
}

impl FieldInfo {
    /// First octet and number of octets of a field that has its octets of the flow for itself.
    fn plain_place(&self) -> Option<(usize, usize)> {
        match self.slot {
            Slot::Bytes { ofs } => Some((ofs, self.n_bytes)),
            Slot::Low { ofs, width } => Some((ofs, width)),
            _ => None,
        }
    }

    fn read(&self, flow: &Flow) -> FieldValue {
        let b = flow.bytes();
        let mut out = FieldValue::from_elem(0, self.n_bytes);
        match self.slot {
            Slot::Bytes { ofs } => out.copy_from_slice(&b[ofs..ofs + self.n_bytes]),
            Slot::Low { ofs, width } => {
                out[self.n_bytes - width..].copy_from_slice(&b[ofs..ofs + width]);
            }
            Slot::Wide { ofs, width } => {
                out.copy_from_slice(&b[ofs + width - self.n_bytes..ofs + width]);
            }
            Slot::Bits {
                ofs,
                width,
                mask,
                shift,
            } => {
                store(&mut out, (load(&b[ofs..ofs + width]) & mask) >> shift);
            }
            Slot::Port { ofs } => {
                let port = OfPort(load(&b[ofs + 2..ofs + 4]) as u16);
                store(&mut out, port.to_ofp11());
            }
            Slot::TunMetadata => {}
        }
        out
    }

    fn write(&self, flow: &mut Flow, value: &[u8]) {
        let b = flow.bytes_mut();
        match self.slot {
            Slot::Bytes { ofs } => b[ofs..ofs + self.n_bytes].copy_from_slice(value),
            Slot::Low { ofs, width } => {
                b[ofs..ofs + width].copy_from_slice(&value[self.n_bytes - width..]);
            }
            Slot::Wide { ofs, width } => {
                b[ofs..ofs + width].fill(0);
                b[ofs + width - self.n_bytes..ofs + width].copy_from_slice(value);
            }
            Slot::Bits {
                ofs,
                width,
                mask,
                shift,
            } => {
                let at = &mut b[ofs..ofs + width];
                let n = load(at) & !mask | load(value) << shift & mask;
                store(at, n);
            }
            Slot::Port { ofs } => {
                let port = OfPort::from_ofp11(load(value)).unwrap_or(OfPort::NONE);
                store(&mut b[ofs..ofs + 4], u32::from(port.0));
            }
            Slot::TunMetadata => {}
        }
    }
}

impl FieldId {
    /// The field's value in `flow`: `n_bytes` octets. The flow should meet the prerequisites; if not,
    /// the octets mean something else.
    #[must_use]
    pub fn get(self, flow: &Flow, tun: Option<&TunTable>) -> FieldValue {
        let info = self.info();
        match self {
            Self::TunMetadata(i) => {
                let mut out = FieldValue::from_elem(0, info.n_bytes);
                if let Some(t) = tun {
                    t.read(i, &flow.tunnel, &mut out);
                }
                out
            }
            Self::NshSpi => {
                // All ones of 24 bits read as all ones of 32, so that an exact mask looks exact.
                let v = info.read(flow);
                if v[..] == [0, 0xff, 0xff, 0xff] {
                    FieldValue::from_elem(0xff, 4)
                } else {
                    v
                }
            }
            _ => info.read(flow),
        }
    }

    /// The field's value as a number; the low 64 bits of wider fields.
    #[must_use]
    pub fn get_u64(self, flow: &Flow) -> u64 {
        self.get(flow, None)
            .iter()
            .fold(0, |n, &b| n << 8 | u64::from(b))
    }

    /// The bits of the field that `mask` has.
    #[must_use]
    pub fn get_mask(self, mask: &Mask, tun: Option<&TunTable>) -> FieldValue {
        self.get(&mask.0, tun)
    }

    /// Sets the field. `value` has `n_bytes` octets (missing ones in front count as zero). Setting a VLAN
    /// field of an untagged flow gives it an 802.1Q tag.
    pub fn set(self, flow: &mut Flow, value: &[u8], tun: Option<&TunTable>) {
        let info = self.info();
        let fitted;
        let value = if value.len() == info.n_bytes {
            value
        } else {
            fitted = fit(value, info.n_bytes);
            &fitted
        };
        match self {
            Self::TunMetadata(i) => {
                if let Some(t) = tun {
                    t.write(i, &mut flow.tunnel, value);
                }
            }
            Self::DlVlan if value[..] == [0xff, 0xff] => flow.vlans[0].tci.set(0),
            Self::Ipv6Label => {
                info.write(flow, value);
                let label = flow.ipv6_label.get() & wire::ipv6::LABEL_MASK;
                flow.ipv6_label.set(label);
            }
            _ => info.write(flow, value),
        }
        let tag = &mut flow.vlans[0];
        match self {
            Self::DlVlanPcp | Self::VlanPcp => tag.tci.set(tag.tci.get() | Vlan::CFI),
            Self::DlVlan if value[..] != [0xff, 0xff] => tag.tci.set(tag.tci.get() | Vlan::CFI),
            Self::VlanTci | Self::VlanVid | Self::DlVlan => {}
            _ => return,
        }
        if tag.tpid.get() == 0 && tag.tci.get() != 0 {
            tag.tpid.set(ETH_TYPE_VLAN);
        }
    }

    /// Sets the bits of the field that `mask` has; the others keep their values.
    pub fn set_masked(self, flow: &mut Flow, value: &[u8], mask: &[u8], tun: Option<&TunTable>) {
        let n = self.info().n_bytes;
        let (value, mask) = (fit(value, n), fit(mask, n));
        let mut now = self.get(flow, tun);
        for ((now, v), m) in now.iter_mut().zip(&value).zip(&mask) {
            *now = v & m | *now & !m;
        }
        self.set(flow, &now, tun);
    }

    /// True when no bit of the field is in `mask`.
    pub(crate) fn is_wild_in(self, mask: &Mask, tun: Option<&TunTable>) -> bool {
        match self.info().plain_place() {
            Some((ofs, width)) => mask.0.bytes()[ofs..ofs + width].iter().all(|&b| b == 0),
            None => self.get_mask(mask, tun).iter().all(|&b| b == 0),
        }
    }

    /// True when the field is not zero; for tunnel metadata, when it is present.
    #[must_use]
    pub fn is_set(self, flow: &Flow) -> bool {
        match self {
            Self::TunMetadata(i) => flow.tunnel.present.get() >> i & 1 == 1,
            _ => self.get(flow, None).iter().any(|&b| b != 0),
        }
    }

    /// First octet and number of octets that the field has in a flow for itself, when reading, writing and
    /// marking it is about those alone. The value's upper octets are zero when it has more.
    pub(super) fn octets(self) -> Option<(usize, usize)> {
        match self {
            // Writing these does more.
            Self::Ipv6Label | Self::VlanTci => None,
            _ => self.info().plain_place(),
        }
    }

    /// Marks the bits `bits` of the field as looked at.
    pub fn mask_bits(self, wc: &mut Mask, bits: &[u8], tun: Option<&TunTable>) {
        let info = self.info();
        let bits = fit(bits, info.n_bytes);
        if bits.iter().all(|&b| b == 0) {
            return;
        }
        match (self, info.slot) {
            (Self::InPort, Slot::Wide { ofs, width }) => {
                wc.0.bytes_mut()[ofs..ofs + width].fill(0xff);
            }
            (_, Slot::Port { ofs }) => wc.0.bytes_mut()[ofs..ofs + 4].fill(0xff),
            (Self::TunMetadata(i), _) => {
                if let Some(t) = tun {
                    t.mask_bits(i, &mut wc.0.tunnel, &bits);
                }
            }
            _ => {
                let mut now = info.read(&wc.0);
                for (now, b) in now.iter_mut().zip(&bits) {
                    *now |= b;
                }
                info.write(&mut wc.0, &now);
                let tci = &mut wc.0.vlans[0].tci;
                match self {
                    Self::Ipv6Label => {
                        let label = wc.0.ipv6_label.get();
                        wc.0.ipv6_label.set(label & wire::ipv6::LABEL_MASK);
                    }
                    Self::DlVlan | Self::DlVlanPcp | Self::VlanPcp => {
                        tci.set(tci.get() | Vlan::CFI);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Marks the whole field as looked at.
    pub fn mask_all(self, wc: &mut Mask, tun: Option<&TunTable>) {
        // The common places need no detour over a value.
        if let Some((ofs, width)) = self.octets() {
            return wc.0.bytes_mut()[ofs..ofs + width].fill(0xff);
        }
        self.mask_bits(wc, &FieldValue::from_elem(0xff, self.info().n_bytes), tun);
    }
}

/// `value` made `n` octets long: cut or filled with zeroes in front.
pub(crate) fn fit(value: &[u8], n: usize) -> FieldValue {
    let mut out = FieldValue::from_elem(0, n);
    let len = value.len().min(n);
    out[n - len..].copy_from_slice(&value[value.len() - len..]);
    out
}
