//! Properties: type, length, content (OpenFlow 1.3 tables, 1.4 and later everywhere).

use super::{Decode, Put, Reader};
use crate::error::OfpError;

/// Types from here on belong to experimenters.
pub(crate) const EXPERIMENTER: u16 = 0xffff;

/// One property.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prop<'a> {
    /// Type; experimenter properties: see `exp`.
    pub(crate) ty: u16,
    /// Experimenter id and type of an experimenter property.
    pub(crate) exp: Option<(u32, u32)>,
    /// Content behind the header (and the experimenter's ids).
    pub(crate) data: &'a [u8],
}

/// Takes the next property. Experimenter types are `min_exp` and above.
pub(crate) fn pull<'a>(r: &mut Reader<'a>, min_exp: u16) -> Decode<Prop<'a>> {
    pull_aligned(r, 8, min_exp)
}

/// As [`pull`], with properties padded to `align`.
pub(crate) fn pull_aligned<'a>(r: &mut Reader<'a>, align: usize, min_exp: u16) -> Decode<Prop<'a>> {
    let bad = OfpError::OFPBPC_BAD_LEN;
    let &[t0, t1, l0, l1, ..] = r.peek() else {
        return Err(bad);
    };
    let ty = u16::from_be_bytes([t0, t1]);
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if len < 4 || len > r.len() {
        return Err(bad);
    }
    let padded = len.next_multiple_of(align);
    let all = r.try_take(padded).ok_or(bad)?;
    let mut body = Reader::new(&all[4..len]);
    let exp = if ty >= min_exp {
        if len < 12 {
            return Err(bad);
        }
        let exp = body.u32()?;
        if exp == 0 {
            return Err(OfpError::OFPBPC_BAD_EXPERIMENTER);
        }
        Some((exp, body.u32()?))
    } else {
        None
    };
    Ok(Prop {
        ty,
        exp,
        data: body.rest(),
    })
}

/// Takes the next of a list of bare types.
pub(crate) fn pull_id(r: &mut Reader<'_>) -> Decode<u16> {
    let bad = OfpError::OFPBPC_BAD_LEN;
    let (ty, len) = (r.u16().map_err(|_| bad)?, r.u16().map_err(|_| bad)?);
    let rest = usize::from(len).checked_sub(4).ok_or(bad)?;
    r.skip(rest).map_err(|_| bad)?;
    Ok(ty)
}

impl<'a> Prop<'a> {
    fn at_least<const N: usize>(&self) -> Decode<[u8; N]> {
        let head = self.data.first_chunk();
        head.copied().ok_or(OfpError::OFPBPC_BAD_LEN)
    }
    /// A byte; what follows it is padding.
    pub(crate) fn u8(&self) -> Decode<u8> {
        self.at_least().map(u8::from_be_bytes)
    }
    /// A 16-bit number; what follows it is padding.
    pub(crate) fn u16(&self) -> Decode<u16> {
        self.at_least().map(u16::from_be_bytes)
    }
    /// A 32-bit number and nothing else.
    pub(crate) fn u32(&self) -> Decode<u32> {
        let all = <[u8; 4]>::try_from(self.data);
        all.map(u32::from_be_bytes)
            .map_err(|_| OfpError::OFPBPC_BAD_LEN)
    }
    /// A 64-bit number behind 4 octets of padding, and nothing else.
    pub(crate) fn u64(&self) -> Decode<u64> {
        let all = <[u8; 8]>::try_from(self.nested()?.peek());
        all.map(u64::from_be_bytes)
            .map_err(|_| OfpError::OFPBPC_BAD_LEN)
    }
    /// What is behind 4 octets of padding: properties, as a rule.
    pub(crate) fn nested(&self) -> Decode<Reader<'a>> {
        let data = self.data.get(4..).ok_or(OfpError::OFPBPC_BAD_LEN)?;
        Ok(Reader::new(data))
    }
    /// The error for a property nobody knows.
    pub(crate) fn unknown(&self) -> OfpError {
        match self.exp {
            None => OfpError::OFPBPC_BAD_TYPE,
            Some(_) => OfpError::OFPBPC_BAD_EXP_TYPE,
        }
    }
}

/// Begins a property; [`end`] ends it.
pub(crate) fn start(b: &mut Vec<u8>, ty: u16) -> usize {
    let at = b.len();
    b.u16(ty);
    b.u16(0);
    at
}
/// Begins an experimenter property.
pub(crate) fn start_exp(b: &mut Vec<u8>, exp: u32, ty: u32) -> usize {
    let at = start(b, EXPERIMENTER);
    b.u32(exp);
    b.u32(ty);
    at
}
/// Writes the length and pads to 8.
pub(crate) fn end(b: &mut Vec<u8>, at: usize) {
    let len = b.len() - at;
    b.set_u16(at + 2, len);
    b.pad(at, 8);
}
/// Begins a property whose content has 4 octets of padding in front.
pub(crate) fn start_nested(b: &mut Vec<u8>, ty: u16) -> usize {
    let at = start(b, ty);
    b.zeros(4);
    at
}
/// Ends what [`start_nested`] began; takes it back when nothing came.
pub(crate) fn end_unless_empty(b: &mut Vec<u8>, at: usize) {
    if b.len() == at + 8 {
        b.truncate(at);
    } else {
        end(b, at);
    }
}
/// A property that lists the types whose bits are set.
pub(crate) fn put_ids(b: &mut Vec<u8>, ty: u16, bits: u32) {
    let at = start(b, ty);
    for id in (0..32).filter(|id| bits & 1 << id != 0) {
        b.u16(id);
        b.u16(4);
    }
    end(b, at);
}
/// A property with these bytes.
pub(crate) fn put(b: &mut Vec<u8>, ty: u16, data: &[u8]) {
    let at = start(b, ty);
    b.bytes(data);
    end(b, at);
}
/// A property with a byte.
pub(crate) fn put_u8(b: &mut Vec<u8>, ty: u16, v: u8) {
    put(b, ty, &[v]);
}
/// A property with a 16-bit number, padded as the specification has it.
pub(crate) fn put_u16(b: &mut Vec<u8>, ty: u16, v: u16) {
    put(b, ty, &[(v >> 8) as u8, v as u8, 0, 0]);
}
/// A property with a 32-bit number.
pub(crate) fn put_u32(b: &mut Vec<u8>, ty: u16, v: u32) {
    put(b, ty, &v.to_be_bytes());
}
/// A property with a 64-bit number.
pub(crate) fn put_u64(b: &mut Vec<u8>, ty: u16, v: u64) {
    let at = start(b, ty);
    b.zeros(4);
    b.u64(v);
    end(b, at);
}
