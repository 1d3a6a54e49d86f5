//! One NXM or OXM entry: header, value, mask (OpenFlow 1.5.1, 7.2.3.2; Nicira extended match).

use super::{Decode, Put, Reader};
use crate::error::OfpError;
use flow::{FieldId, FieldValue, OxmHeader, TunTable};

/// One entry, read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) header: OxmHeader,
    /// `None`: the cookie, where that is allowed.
    pub(crate) field: Option<FieldId>,
    pub(crate) value: FieldValue,
    pub(crate) mask: Option<FieldValue>,
}

/// What stands around entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The switch's options table; without one, every tunnel metadata field exists.
    pub(crate) tun: Option<&'a TunTable>,
    /// In an action, not in a match: other error codes.
    pub(crate) action: bool,
    /// The cookie may stand here.
    pub(crate) cookie: bool,
}

fn raw_header(r: &mut Reader<'_>) -> Decode<OxmHeader> {
    let bad = OfpError::OFPBMC_BAD_LEN;
    let word: [u8; 4] = r.array().map_err(|_| bad)?;
    let short = OxmHeader::from_u32(u32::from_be_bytes(word));
    let header = if short.is_experimenter() {
        OxmHeader(short.0 | u64::from(r.u32().map_err(|_| bad)?))
    } else {
        short
    };
    // The length field covers the experimenter id.
    header.payload_len().map(|_| header).ok_or(bad)
}

impl Place<'_> {
    /// The field a header names.
    fn field(&self, header: OxmHeader) -> Decode<Option<FieldId>> {
        let Some(field) = header.to_field() else {
            let cookie = [OxmHeader::COOKIE, OxmHeader::COOKIE_MASKED].contains(&header);
            if cookie && self.cookie {
                return Ok(None);
            }
            return Err(match self.action {
                false => OfpError::OFPBMC_BAD_FIELD,
                true if header.to_field_any_len().is_some() => OfpError::OFPBAC_BAD_SET_LEN,
                true => OfpError::OFPBAC_BAD_SET_TYPE,
            });
        };
        self.exists(field)?;
        Ok(Some(field))
    }

    fn exists(&self, field: FieldId) -> Decode<()> {
        match (field, self.tun) {
            (FieldId::TunMetadata(i), Some(t)) if t.len_of(i).is_none() => {
                Err(OfpError::NXFMFC_INVALID_TLV_FIELD)
            }
            _ => Ok(()),
        }
    }

    /// A header alone, which must not say that a mask follows.
    pub(crate) fn header(&self, r: &mut Reader<'_>) -> Decode<FieldId> {
        match self.any_header(r)? {
            (_, true) => Err(OfpError::OFPBMC_BAD_MASK),
            (field, false) => Ok(field),
        }
    }

    /// A header alone, and whether it says that a mask follows. It is taken also when the field is not
    /// known.
    pub(crate) fn any_header(&self, r: &mut Reader<'_>) -> Decode<(FieldId, bool)> {
        let header = raw_header(r)?;
        let field = self.field(header)?.ok_or(OfpError::OFPBMC_BAD_FIELD)?;
        Ok((field, header.has_mask()))
    }

    /// A 32-bit header in an old action.
    pub(crate) fn short_header(&self, header: u32) -> Decode<FieldId> {
        let field = FieldId::from_nxm_header(header).ok_or(OfpError::OFPBAC_BAD_SET_TYPE)?;
        self.exists(field)?;
        Ok(field)
    }

    /// A whole entry. The entry is taken also when its field is not known.
    pub(crate) fn entry(&self, r: &mut Reader<'_>) -> Decode<Entry> {
        let header = raw_header(r)?;
        let field = match self.field(header) {
            Err(OfpError::OFPBMC_BAD_FIELD) => Err(OfpError::OFPBMC_BAD_FIELD),
            other => Ok(other?),
        };
        let payload = header
            .payload_len()
            .and_then(|n| r.try_take(n))
            .ok_or(OfpError::OFPBMC_BAD_LEN)?;
        let (value, mask) = match header.has_mask() {
            true => {
                let (value, rest) = payload.split_at(payload.len() / 2);
                (value, Some(&rest[..value.len()]))
            }
            false => (payload, None),
        };
        if mask.is_some_and(|m| value.iter().zip(m).any(|(v, m)| v & !m != 0)) {
            return Err(OfpError::OFPBMC_BAD_WILDCARDS);
        }
        let field = field?;
        let width = field.map_or(8, |f| f.info().n_bytes);
        Ok(Entry {
            header,
            field,
            value: widen(value, width),
            // Tunnel metadata may come with fewer octets than the field has: such a mask is never exact.
            mask: mask
                .map(|m| widen(m, width))
                .filter(|m| m.iter().any(|&b| b != 0xff)),
        })
    }
}

/// The low `width` octets, zeros in front.
fn widen(bytes: &[u8], width: usize) -> FieldValue {
    if bytes.len() == width {
        return FieldValue::from_slice(bytes);
    }
    let n = bytes.len().min(width);
    let mut out = FieldValue::from_elem(0, width);
    out[width - n..].copy_from_slice(&bytes[bytes.len() - n..]);
    out
}

/// Octets the value of a field takes in an entry: less than it has only for tunnel metadata.
fn wire_len(field: FieldId, value: &[u8], mask: Option<&[u8]>, tun: Option<&TunTable>) -> usize {
    let FieldId::TunMetadata(i) = field else {
        return value.len();
    };
    if let Some(len) = tun.and_then(|t| t.len_of(i)) {
        return len.min(value.len());
    }
    let used = |v: &[u8]| v.len() - v.iter().take_while(|&&b| b == 0).count();
    used(value).max(mask.map_or(0, used)).max(1)
}

fn put_header_word(b: &mut Vec<u8>, header: OxmHeader) {
    let bytes = header.0.to_be_bytes();
    b.bytes(&bytes[..header.header_len()]);
}

/// The header of a field alone; with a table, tunnel metadata has the length it says.
pub(crate) fn put_header(b: &mut Vec<u8>, field: FieldId, version: u8, tun: Option<&TunTable>) {
    let Some(id) = field.oxm(version) else {
        return;
    };
    let mapped = match field {
        FieldId::TunMetadata(i) => tun.and_then(|t| t.len_of(i)),
        _ => None,
    };
    put_header_word(
        b,
        mapped.map_or(id.header, |len| id.header.with_payload(len)),
    );
}

/// The header of a field alone, as lists of fields have it.
pub(crate) fn put_list_header(b: &mut Vec<u8>, field: FieldId, version: u8, masked: bool) {
    if let Some(id) = field.oxm(version) {
        put_header_word(
            b,
            if masked {
                id.header.masked()
            } else {
                id.header
            },
        );
    }
}

/// An entry; `None` or an all-ones mask: exact. `version` is the number on the wire, 0 for NXM.
pub(crate) fn put_entry(
    b: &mut Vec<u8>,
    (field, version): (FieldId, u8),
    value: &[u8],
    mask: Option<&[u8]>,
    tun: Option<&TunTable>,
) {
    let Some(id) = field.oxm(version) else {
        return;
    };
    let len = wire_len(field, value, mask, tun);
    let low = |v: &[u8]| FieldValue::from_slice(&v[v.len() - len..]);
    // An option without a value has an empty mask: "it is there".
    let mask = mask
        .map(low)
        .filter(|m| m.is_empty() || m.iter().any(|&x| x != 0xff));
    let header = id.header.with_payload(len);
    put_header_word(
        b,
        if mask.is_some() {
            header.masked()
        } else {
            header
        },
    );
    b.bytes(&low(value));
    if let Some(mask) = mask {
        b.bytes(&mask);
    }
}

/// The 32-bit header of a field, as old actions have it; 0 when it has none.
pub(crate) fn short_header(field: FieldId, tun: Option<&TunTable>) -> u32 {
    let mapped = match field {
        FieldId::TunMetadata(i) => tun.and_then(|t| t.len_of(i)),
        _ => None,
    };
    let header = field.oxm(0).map(|id| id.header);
    header
        .map(|h| mapped.map_or(h, |len| h.with_payload(len)))
        .and_then(OxmHeader::to_u32)
        .unwrap_or(0)
}
