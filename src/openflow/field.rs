//! The field table as text forms and codecs of this room use it.

use crate::names::{Names, put};
use crate::version::Protocols;
use flow::{FieldId, FieldValue, Subfield};

/// A subfield with nothing after it.
pub(crate) fn parse_subfield(s: &str) -> Result<Subfield, String> {
    match split_subfield(s)? {
        (sub, "") => Ok(sub),
        _ => Err("unexpected input following field syntax".into()),
    }
}
/// A subfield, and what follows it.
pub(crate) fn split_subfield(s: &str) -> Result<(Subfield, &str), String> {
    Subfield::parse_prefix(s).map_err(|e| e.to_string())
}
pub(crate) fn put_subfield(out: &mut String, sub: &Subfield) {
    put(out, format_args!("{sub}"));
}
/// By the name of OpenFlow text, e.g. `reg0`.
pub(crate) fn from_name(name: &str) -> Option<FieldId> {
    FieldId::from_name(name)
}
/// By the name of OpenFlow text or of NXM and OXM.
pub(crate) fn from_any_name(name: &str) -> Option<FieldId> {
    FieldId::from_oxm_name(name).or_else(|| FieldId::from_name(name))
}
pub(crate) fn name(field: FieldId) -> &'static str {
    field.name()
}
pub(crate) fn n_bytes(field: FieldId) -> usize {
    field.info().n_bytes
}
pub(crate) fn writable(field: FieldId) -> bool {
    field.info().writable
}
pub(crate) fn is_valid(field: FieldId, value: &[u8]) -> bool {
    field.is_value_valid(value)
}
/// The header that fits into 32 bits.
pub(crate) fn nxm_header(field: FieldId) -> Option<u32> {
    field.nxm_header()
}
/// Protocols that can set or match the whole field.
pub(crate) fn protocols_exact(field: FieldId) -> Protocols {
    Protocols::from_bits_truncate(field.info().exact.bits())
}

// Values are plain numbers here until the flow room's own text forms are used.

pub(crate) fn put_value(
    out: &mut String,
    _field: FieldId,
    value: &[u8],
    mask: Option<&[u8]>,
    _names: Names<'_>,
) {
    crate::text::put_hex(out, value);
    if let Some(m) = mask {
        out.push('/');
        crate::text::put_hex(out, m);
    }
}
/// A value with an optional mask.
pub(crate) fn parse_value(
    field: FieldId,
    text: &str,
    names: Names<'_>,
) -> Result<(FieldValue, Option<FieldValue>), String> {
    match text.split_once('/') {
        Some((value, mask)) => Ok((
            parse_exact(field, value, names)?,
            Some(parse_exact(field, mask, names)?),
        )),
        None => Ok((parse_exact(field, text, names)?, None)),
    }
}
/// A value without a mask.
pub(crate) fn parse_exact(
    field: FieldId,
    text: &str,
    _names: Names<'_>,
) -> Result<FieldValue, String> {
    match crate::bits::int_string(text, n_bytes(field)) {
        Some((value, "")) => Ok(value),
        _ => Err(format!("{text}: invalid value for field {}", field.name())),
    }
}
/// Appends a match with its priority, unless that is the default.
pub(crate) fn put_match(out: &mut String, m: &flow::Match, priority: u16, names: Names<'_>) {
    if priority != crate::flow_mod::DEFAULT_PRIORITY {
        put(out, format_args!("priority={priority},"));
    }
    for field in FieldId::all().filter(|&f| !m.is_wild(f)) {
        put(out, format_args!("{}=", field.name()));
        let mask = crate::bits::partial(m.get_mask(field));
        put_value(out, field, &m.get(field), mask.as_deref(), names);
        out.push(',');
    }
    if out.ends_with(',') {
        out.pop();
    }
}
