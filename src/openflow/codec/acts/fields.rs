//! Actions that name fields: set-field, load, move, stack, output to a register.

use super::decode::ActRules;
use super::encode::{Out, close, nx, of};
use super::table::RawAct as R;
use crate::action::{Act, SetKind};
use crate::bits;
use crate::check::{check_dst, check_src};
use crate::codec::oxm::{self, Place};
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::version::Version;
use flow::{FieldId, FieldValue, Subfield};

/// `(ofs << 6) | (n_bits - 1)`.
pub(super) fn unpack(ofs_nbits: u16) -> (u16, u16) {
    (ofs_nbits >> 6, (ofs_nbits & 0x3f) + 1)
}
pub(super) fn pack(sub: &Subfield) -> u16 {
    sub.ofs << 6 | (sub.n_bits.wrapping_sub(1) & 0x3f)
}

impl ActRules<'_> {
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            tun: self.tun,
            action: false,
            cookie: false,
        }
    }
    fn entry_place(&self) -> Place<'_> {
        Place {
            action: true,
            ..self.place()
        }
    }
    /// A subfield named by a 32-bit header.
    pub(super) fn subfield(&self, header: u32, (ofs, n_bits): (u16, u16)) -> Decode<Subfield> {
        Ok(Subfield {
            field: self.place().short_header(header)?,
            ofs,
            n_bits,
        })
    }
}

/// `None` when `raw` is not one of these.
pub(super) fn decode(raw: R, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Option<Act>> {
    Ok(Some(match raw {
        R::SetField12 | R::SetField15 => set_field(raw == R::SetField15, b, rules)?,
        R::RegLoad => reg_load(b, rules)?,
        R::RegLoad2 => reg_load2(b, rules)?,
        R::CopyField15 => copy_field(b, rules)?,
        R::CopyFieldOnf => {
            b.skip(2)?;
            copy_field(b, rules)?
        }
        R::RegMove => {
            let n_bits = b.u16()?;
            let ofs = (b.u16()?, b.u16()?);
            moved(b, n_bits, ofs, rules)?
        }
        R::StackPush => {
            let sub = stack(b, rules)?;
            check_src(&sub)?;
            Act::StackPush(sub)
        }
        R::StackPop => {
            let sub = stack(b, rules)?;
            check_dst(&sub)?;
            Act::StackPop(sub)
        }
        R::OutputReg => {
            let bits = unpack(b.u16()?);
            let src = rules.subfield(b.u32()?, bits);
            let max_len = b.u16()?;
            if !b.rest_is_zero() {
                return Err(OfpError::OFPBAC_BAD_ARGUMENT);
            }
            output_reg(src?, max_len)?
        }
        R::OutputReg2 => {
            let (ofs, n_bits) = unpack(b.u16()?);
            let max_len = b.u16()?;
            let field = rules.place().header(b)?;
            must_be_zero(b)?;
            let src = Subfield { field, ofs, n_bits };
            output_reg(src, max_len)?
        }
        R::DeleteField => Act::DeleteField(rules.place().header(b)?),
        R::CheckPktLarger => {
            let (len, ofs) = (b.u16()?, b.u16()?);
            let field = rules.place().header(b)?;
            must_be_zero(b)?;
            let dst = Subfield {
                field,
                ofs,
                n_bits: 1,
            };
            check_dst(&dst)?;
            Act::CheckPktLarger { len, dst }
        }
        _ => return Ok(None),
    }))
}

fn must_be_zero(b: &mut Reader<'_>) -> Decode<()> {
    if b.rest_is_zero() {
        Ok(())
    } else {
        Err(OfpError::NXBRC_MUST_BE_ZERO)
    }
}

fn output_reg(src: Subfield, max_len: u16) -> Decode<Act> {
    check_src(&src)?;
    Ok(Act::OutputReg { src, max_len })
}

fn set_field(may_mask: bool, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let bad = OfpError::OFPBAC_BAD_SET_ARGUMENT;
    let entry = rules.entry_place().entry(b)?;
    if !may_mask && entry.header.has_mask() {
        return Err(OfpError::OFPBAC_BAD_SET_MASK);
    }
    let (field, value, mask) = parts(entry)?;
    if !b.rest_is_zero() || field == FieldId::InPortOxm || !field.info().writable {
        return Err(bad);
    }
    // The tag's presence cannot be cleared by a set-field.
    let present = |v: &[u8]| v.first().is_some_and(|b| b & 0x10 != 0);
    let vid_ok =
        field != FieldId::VlanVid || (present(&value) && mask.as_deref().is_none_or(present));
    if !field.is_value_valid(&value) || !vid_ok {
        return Err(bad);
    }
    Ok(Act::set_field(field, value, mask))
}

fn parts(entry: oxm::Entry) -> Decode<(FieldId, FieldValue, Option<FieldValue>)> {
    let field = entry.field.ok_or(OfpError::OFPBAC_BAD_SET_TYPE)?;
    Ok((field, entry.value, entry.mask))
}

fn reg_load(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let bits = unpack(b.u16()?);
    let dst = rules.subfield(b.u32()?, bits)?;
    let value = b.u64()?;
    check_dst(&dst)?;
    if dst.n_bits < 64 && value >> dst.n_bits != 0 {
        return Err(OfpError::OFPBAC_BAD_ARGUMENT);
    }
    let mut bytes = FieldValue::from_elem(0, dst.field.info().n_bytes);
    dst.into_value(&value.to_be_bytes(), &mut bytes);
    Ok(Act::SetField {
        field: dst.field,
        value: bytes,
        mask: bits::partial(dst.mask_value()),
        kind: SetKind::Load,
        flow_has_vlan: false,
    })
}

fn reg_load2(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let entry = rules.entry_place().entry(b)?;
    let (field, value, mask) = parts(entry)?;
    if !b.rest_is_zero() || !field.info().writable {
        return Err(OfpError::OFPBAC_BAD_SET_ARGUMENT);
    }
    Ok(Act::SetField {
        field,
        value,
        mask,
        kind: SetKind::Load2,
        flow_has_vlan: false,
    })
}

fn copy_field(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let n_bits = b.u16()?;
    let ofs = (b.u16()?, b.u16()?);
    b.skip(2)?;
    moved(b, n_bits, ofs, rules)
}

fn moved(b: &mut Reader<'_>, n_bits: u16, ofs: (u16, u16), rules: &ActRules<'_>) -> Decode<Act> {
    let sub = |field, ofs| Subfield { field, ofs, n_bits };
    let src = sub(rules.place().header(b)?, ofs.0);
    let dst = sub(rules.place().header(b)?, ofs.1);
    must_be_zero(b)?;
    check_src(&src)?;
    check_dst(&dst)?;
    Ok(Act::RegMove { src, dst })
}

fn stack(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Subfield> {
    let ofs = b.u16()?;
    let field = rules.place().header(b)?;
    let n_bits = b.u16()?;
    must_be_zero(b)?;
    Ok(Subfield { field, ofs, n_bits })
}

// ---- encoding

/// A set-field action, as the version has it.
pub(super) fn put_set_field(o: &mut Out<'_>, act: &Act) {
    let Act::SetField {
        field,
        value,
        mask,
        kind,
        ..
    } = act
    else {
        return;
    };
    let set = Set {
        field: *field,
        value,
        mask: mask.as_deref(),
        kind: *kind,
    };
    if o.version >= Version::V15 {
        set.put_set_field(o);
    } else if *kind != SetKind::SetField {
        set.put_nx(o);
    } else if o.version < Version::V12 {
        set.put_legacy(o, act);
    } else if mask.is_none() {
        set.put_set_field(o);
    } else {
        set.put_nx(o);
    }
}

struct Set<'a> {
    field: FieldId,
    value: &'a [u8],
    mask: Option<&'a [u8]>,
    kind: SetKind,
}

impl Set<'_> {
    fn put_set_field(&self, o: &mut Out<'_>) {
        let at = of(o, 25);
        let id = (self.field, o.version.wire());
        oxm::put_entry(o.b, id, self.value, self.mask, o.tun);
        close(o, at);
    }

    /// As loads, or as one load of any width where the field needs it.
    fn put_nx(&self, o: &mut Out<'_>) {
        let wide = self.kind == SetKind::Load2
            || self.field.nxm_header().is_none()
            || self.field.info().variable_len();
        if wide {
            let at = nx(o, 33);
            oxm::put_entry(o.b, (self.field, 0), self.value, self.mask, o.tun);
            return close(o, at);
        }
        for (sub, value) in bits::load_segments(self.field, self.value, self.mask) {
            put_reg_load(o, &sub, value);
        }
    }

    /// As an action of OpenFlow 1.0 or 1.1, if there is one.
    fn put_legacy(&self, o: &mut Out<'_>, act: &Act) {
        use FieldId as F;
        if self.mask.is_some() && self.field != F::VlanTci {
            return self.put_nx(o);
        }
        let v10 = o.version == Version::V10;
        let v = self.value;
        match self.field {
            F::VlanTci => put_tci(o, act),
            F::VlanVid => {
                let vid = bits::low_u64(v) as u16 & 0xfff;
                put_short(o, 1, &vid.to_be_bytes());
            }
            F::VlanPcp => put_short(o, 2, v),
            F::EthSrc => put_mac(o, if v10 { 4 } else { 3 }, v),
            F::EthDst => put_mac(o, if v10 { 5 } else { 4 }, v),
            F::Ipv4Src => put_short(o, if v10 { 6 } else { 5 }, v),
            F::Ipv4Dst => put_short(o, if v10 { 7 } else { 6 }, v),
            F::IpDscp => put_short(o, if v10 { 8 } else { 7 }, v),
            F::IpDscpShifted => put_short(o, if v10 { 8 } else { 7 }, &[v[0] << 2]),
            F::IpEcn if v10 => put_reg_load(o, &Subfield::whole(F::IpEcn), v[0].into()),
            F::IpEcn => put_short(o, 8, v),
            F::TcpSrc | F::UdpSrc => put_short(o, 9, v),
            F::TcpDst | F::UdpDst => put_short(o, 10, v),
            _ => self.put_nx(o),
        }
    }
}

fn put_tci(o: &mut Out<'_>, act: &Act) {
    let Act::SetField {
        value,
        flow_has_vlan,
        ..
    } = act
    else {
        return;
    };
    let tci = bits::low_u64(value) as u16;
    let v10 = o.version == Version::V10;
    if tci & 0x1000 == 0 {
        return put_short(o, if v10 { 3 } else { 18 }, &[]);
    }
    if !v10 && !flow_has_vlan {
        put_short(o, 17, &0x8100u16.to_be_bytes());
    }
    put_short(o, 1, &(tci & 0xfff).to_be_bytes());
    put_short(o, 2, &[(tci >> 13) as u8]);
}

/// An 8-octet action of OpenFlow.
pub(super) fn put_short(o: &mut Out<'_>, ty: u16, arg: &[u8]) {
    let at = of(o, ty);
    o.b.bytes(arg);
    close(o, at);
}

/// A 16-octet action with an Ethernet address.
pub(super) fn put_mac(o: &mut Out<'_>, ty: u16, mac: &[u8]) {
    let at = of(o, ty);
    o.b.bytes(mac);
    o.b.zeros(6);
    close(o, at);
}

pub(super) fn put_reg_load(o: &mut Out<'_>, dst: &Subfield, value: u64) {
    let at = nx(o, 7);
    o.b.u16(pack(dst));
    let header = oxm::short_header(dst.field, o.tun);
    o.b.u32(header);
    o.b.u64(value);
    close(o, at);
}

pub(super) fn put_move(o: &mut Out<'_>, src: &Subfield, dst: &Subfield) {
    let v15 = o.version >= Version::V15;
    let at = if v15 { of(o, 28) } else { nx(o, 6) };
    o.b.u16(dst.n_bits);
    o.b.u16(src.ofs);
    o.b.u16(dst.ofs);
    let version = if v15 { o.version.wire() } else { 0 };
    if v15 {
        o.b.zeros(2);
    }
    oxm::put_header(o.b, src.field, version, o.tun);
    oxm::put_header(o.b, dst.field, version, o.tun);
    close(o, at);
}

pub(super) fn put_stack(o: &mut Out<'_>, subtype: u16, sub: &Subfield) {
    let at = nx(o, subtype);
    o.b.u16(sub.ofs);
    oxm::put_header(o.b, sub.field, 0, o.tun);
    o.b.u16(sub.n_bits);
    o.b.pad(at, 24);
    close(o, at);
}

pub(super) fn put_output_reg(o: &mut Out<'_>, src: &Subfield, max_len: u16) {
    let short = src.field.nxm_header().is_some();
    let at = nx(o, if short { 15 } else { 32 });
    o.b.u16(pack(src));
    if short {
        let header = oxm::short_header(src.field, o.tun);
        o.b.u32(header);
        o.b.u16(max_len);
    } else {
        o.b.u16(max_len);
        oxm::put_header(o.b, src.field, 0, o.tun);
    }
    o.b.pad(at, 24);
    close(o, at);
}
