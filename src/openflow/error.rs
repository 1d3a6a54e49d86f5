//! OpenFlow errors by the names of the specifications, with their (vendor, type, code) in every version.

mod table;

use crate::version::Version;
use std::fmt;
use table::TABLE;

/// Nicira's vendor (experimenter) id.
pub const NX_VENDOR: u32 = 0x0000_2320;
/// The Open Networking Foundation's experimenter id.
pub const ONF_VENDOR: u32 = 0x4f4e_4600;

/// An OpenFlow error. Its constants carry the names of the specifications.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfpError(u8);

/// Where an error stands in one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    /// 0 for OpenFlow's own errors.
    pub vendor: u32,
    /// Error type; for vendor errors of OpenFlow 1.2 and up the vendor's number.
    pub ty: u16,
    /// Error code.
    pub code: u16,
}

/// One encoding, for versions `lo..=hi` counted from 1.0.
pub(super) struct Span {
    vendor: u32,
    lo: u8,
    hi: u8,
    ty: u16,
    code: u16,
}

const fn span(vendor: u32, lo: u8, hi: u8, ty: u16, code: u16) -> Span {
    Span {
        vendor,
        lo,
        hi,
        ty,
        code,
    }
}
const fn of(lo: u8, hi: u8, ty: u16, code: u16) -> Span {
    span(0, lo, hi, ty, code)
}
const fn nx(lo: u8, hi: u8, ty: u16, code: u16) -> Span {
    span(NX_VENDOR, lo, hi, ty, code)
}
const fn onf(lo: u8, hi: u8, ty: u16, code: u16) -> Span {
    span(ONF_VENDOR, lo, hi, ty, code)
}

impl Span {
    fn holds(&self, version: Version) -> bool {
        (self.lo..=self.hi).contains(&version.minor())
    }
}

impl OfpError {
    /// The specification's name, e.g. `OFPBRC_BAD_TYPE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].0
    }
    /// The error of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|e| e.name() == name)
    }
    /// Every error.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).take(TABLE.len()).map(Self)
    }
    /// How `version` encodes it; `None` when it cannot.
    #[must_use]
    pub fn code(self, version: Version) -> Option<ErrorCode> {
        let spans = TABLE[usize::from(self.0)].1;
        spans.iter().find(|s| s.holds(version)).map(|s| ErrorCode {
            vendor: s.vendor,
            ty: s.ty,
            code: s.code,
        })
    }
    /// The error that `code` means in `version`.
    #[must_use]
    pub fn from_code(version: Version, code: ErrorCode) -> Option<Self> {
        Self::all().find(|e| {
            let spans = TABLE[usize::from(e.0)].1;
            spans.iter().any(|s| {
                s.holds(version) && (s.vendor, s.ty, s.code) == (code.vendor, code.ty, code.code)
            })
        })
    }
}

impl fmt::Display for OfpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl fmt::Debug for OfpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl std::error::Error for OfpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_but_for_the_known_merges() {
        for version in Version::ALL {
            for e in OfpError::all() {
                let Some(code) = e.code(version) else {
                    continue;
                };
                let back = OfpError::from_code(version, code);
                let merged = (version == Version::V11 && e == OfpError::OFPBIC_BAD_EXP_TYPE)
                    || (version.minor() <= 1 && e == OfpError::OFPBRC_IS_SECONDARY);
                assert_eq!(back == Some(e), !merged, "{e} in {version}");
            }
        }
    }

    #[test]
    fn bad_role_was_an_extension_first() {
        let e = OfpError::from_name("OFPRRFC_BAD_ROLE").expect("it is there");
        assert_eq!(e, OfpError::OFPRRFC_BAD_ROLE);
        let at = |v| e.code(v).map(|c| (c.vendor, c.ty, c.code));
        assert_eq!(at(Version::V10), Some((NX_VENDOR, 1, 513)));
        assert_eq!(at(Version::V12), Some((0, 11, 2)));
        assert_eq!(OfpError::OFPBIC_UNKNOWN_INST.code(Version::V10), None);
    }
}
