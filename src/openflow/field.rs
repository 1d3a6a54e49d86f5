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
/// Appends a value, with its mask unless that is exact.
pub(crate) fn put_value(
    out: &mut String,
    field: FieldId,
    value: &[u8],
    mask: Option<&[u8]>,
    names: Names<'_>,
) {
    field.format(out, value, mask, &names);
}
/// A value and its mask; no mask: exact.
pub(crate) fn parse_value(
    field: FieldId,
    text: &str,
    names: Names<'_>,
) -> Result<(FieldValue, Option<FieldValue>), String> {
    let (value, mask) = field.parse(text, &names).map_err(|e| e.to_string())?;
    Ok((value, crate::bits::partial(mask)))
}
/// A value without a mask.
pub(crate) fn parse_exact(
    field: FieldId,
    text: &str,
    names: Names<'_>,
) -> Result<FieldValue, String> {
    field.parse_value(text, &names).map_err(|e| e.to_string())
}
