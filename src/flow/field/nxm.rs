//! NXM and OXM numbers of fields (OpenFlow 1.5.1, 7.2.3.2; Nicira extended match).

use super::{FieldId, table};
use base::sync::LazyLock;
use std::collections::HashMap;

/// The header of an NXM or OXM entry: the 32 bits of the wire in the upper half, the experimenter id of
/// experimenter OXMs (class 0xffff) in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OxmHeader(pub u64);

impl OxmHeader {
    /// Class of experimenter OXMs, whose header is 8 octets long.
    pub const CLASS_EXPERIMENTER: u16 = 0xffff;
    /// The flow cookie, which is no field but may stand in a match of some messages.
    pub const COOKIE: Self = Self::new(0, 1, 30, 8);
    /// The cookie with a mask.
    pub const COOKIE_MASKED: Self = Self::COOKIE.masked();

    /// A header without mask; `length` as on the wire (it includes an experimenter id's 4 octets).
    #[must_use]
    pub const fn new(vendor: u32, class: u16, field: u8, length: u8) -> Self {
        Self(
            (class as u64) << 48
                | (field as u64 & 0x7f) << 41
                | (length as u64) << 32
                | vendor as u64,
        )
    }
    /// From a plain 32-bit header.
    #[must_use]
    pub const fn from_u32(header: u32) -> Self {
        Self((header as u64) << 32)
    }
    /// Experimenter id; 0 when there is none.
    #[must_use]
    pub const fn vendor(self) -> u32 {
        self.0 as u32
    }
    /// Class.
    #[must_use]
    pub const fn class(self) -> u16 {
        (self.0 >> 48) as u16
    }
    /// Number of the field in its class.
    #[must_use]
    pub const fn field(self) -> u8 {
        (self.0 >> 41 & 0x7f) as u8
    }
    /// A mask follows the value.
    #[must_use]
    pub const fn has_mask(self) -> bool {
        self.0 >> 40 & 1 == 1
    }
    /// The length field.
    #[must_use]
    pub const fn length(self) -> usize {
        (self.0 >> 32 & 0xff) as usize
    }
    /// True for experimenter OXMs.
    #[must_use]
    pub const fn is_experimenter(self) -> bool {
        self.class() == Self::CLASS_EXPERIMENTER
    }
    /// Octets of this header on the wire: 4 or 8.
    #[must_use]
    pub const fn header_len(self) -> usize {
        if self.is_experimenter() { 8 } else { 4 }
    }
    /// Octets of value and mask; `None` when the length field is too small for the experimenter id.
    #[must_use]
    pub const fn payload_len(self) -> Option<usize> {
        self.length().checked_sub(self.header_len() - 4)
    }
    /// The header of the same field with a mask.
    #[must_use]
    pub const fn masked(self) -> Self {
        let payload = match self.payload_len() {
            Some(n) => n,
            None => 0,
        };
        let length = (payload * 2 + self.header_len() - 4) as u8;
        Self(Self::new(self.vendor(), self.class(), self.field(), length).0 | 1 << 40)
    }
    /// The header of the same field without a mask.
    #[must_use]
    pub const fn exact(self) -> Self {
        let payload = match self.payload_len() {
            Some(n) => n,
            None => 0,
        };
        let length = (payload / 2 + self.header_len() - 4) as u8;
        Self::new(self.vendor(), self.class(), self.field(), length)
    }
    /// The header with another number of payload octets (for fields of variable length).
    #[must_use]
    pub const fn with_payload(self, n_bytes: usize) -> Self {
        let length = (n_bytes + self.header_len() - 4) as u64 & 0xff;
        Self(self.0 & !(0xff << 32) | length << 32)
    }
    const fn without_len(self) -> Self {
        Self(self.0 & 0xffff_ff80_ffff_ffff & !(1 << 40) & !(0xff << 32))
    }
    /// The plain 32-bit header; `None` for experimenter OXMs.
    #[must_use]
    pub fn to_u32(self) -> Option<u32> {
        (!self.is_experimenter()).then_some((self.0 >> 32) as u32)
    }
    /// The field this header names; `None` when there is no such field or its length differs.
    #[must_use]
    pub fn to_field(self) -> Option<FieldId> {
        let exact = if self.has_mask() { self.exact() } else { self };
        let (ours, id) = exact.named()?;
        (ours.length() == exact.length() || id.info().variable_len()).then_some(id)
    }
    /// The field with this number, whatever the length says.
    #[must_use]
    pub fn to_field_any_len(self) -> Option<FieldId> {
        self.named().map(|(_, id)| id)
    }
    /// The field with this number, and the header it has without a mask.
    fn named(self) -> Option<(Self, FieldId)> {
        if self.is_experimenter() {
            return BY_EXPERIMENTER.get(&self.without_len()).copied();
        }
        let (_, row) = BY_CLASS.iter().find(|(c, _)| *c == self.class())?;
        row[usize::from(self.field())]
    }
}

/// The fields of a class, by their numbers in it.
type Row = [Option<(OxmHeader, FieldId)>; 128];

/// One NXM or OXM number of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OxmId {
    /// Header without mask.
    pub header: OxmHeader,
    /// Version number of the first OpenFlow that has it (0x03 is 1.2); 0 for NXM.
    pub version: u8,
    /// Its name, e.g. `NXM_OF_ETH_DST`.
    pub name: &'static str,
    /// First Open vSwitch that has it.
    pub since: &'static str,
}

impl OxmId {
    pub(super) const fn new(
        (vendor, class, field, length): (u32, u16, u8, u8),
        version: u8,
        name: &'static str,
        since: &'static str,
    ) -> Self {
        Self {
            header: OxmHeader::new(vendor, class, field, length),
            version,
            name,
            since,
        }
    }
}

fn all_headers() -> impl Iterator<Item = (OxmHeader, FieldId)> {
    let fields = table::FIELDS.iter();
    fields.flat_map(|f| f.oxm.iter().map(|o| (o.header, f.id)))
}

/// Fields of the few classes that have no experimenter id.
static BY_CLASS: LazyLock<Vec<(u16, Box<Row>)>> = LazyLock::new(|| {
    let mut classes: Vec<(u16, Box<Row>)> = Vec::new();
    for (header, id) in all_headers().filter(|(h, _)| !h.is_experimenter()) {
        let at = classes.iter().position(|(c, _)| *c == header.class());
        let at = at.unwrap_or_else(|| {
            classes.push((header.class(), Box::new([None; 128])));
            classes.len() - 1
        });
        classes[at].1[usize::from(header.field())] = Some((header, id));
    }
    classes
});
static BY_EXPERIMENTER: LazyLock<HashMap<OxmHeader, (OxmHeader, FieldId)>> = LazyLock::new(|| {
    let all = all_headers().filter(|(h, _)| h.is_experimenter());
    all.map(|(h, id)| (h.without_len(), (h, id))).collect()
});
static BY_OXM_NAME: LazyLock<HashMap<&'static str, FieldId>> = LazyLock::new(|| {
    let all = table::FIELDS
        .iter()
        .flat_map(|f| f.oxm.iter().map(|o| (o.name, f.id)));
    all.collect()
});

impl FieldId {
    /// The preferred number for an OpenFlow version (wire number; 0 prefers NXM). `None` when the field
    /// has none.
    #[must_use]
    pub fn oxm(self, version: u8) -> Option<&'static OxmId> {
        let ids = self.info().oxm;
        ids.iter()
            .rev()
            .find(|o| version >= o.version)
            .or_else(|| ids.first())
    }
    /// The 32-bit NXM header, or OXM where there is no NXM; `None` when it takes 64 bits or there is none.
    #[must_use]
    pub fn nxm_header(self) -> Option<u32> {
        self.oxm(0)?.header.to_u32()
    }
    /// The field with a 32-bit NXM or OXM header (with or without mask bit).
    #[must_use]
    pub fn from_nxm_header(header: u32) -> Option<Self> {
        OxmHeader::from_u32(header).to_field()
    }
    /// The field with an NXM or OXM name such as `NXM_NX_REG0`; a `_W` at the end is ignored.
    #[must_use]
    pub fn from_oxm_name(name: &str) -> Option<Self> {
        let plain = name
            .strip_suffix("_W")
            .filter(|n| !n.is_empty())
            .unwrap_or(name);
        BY_OXM_NAME.get(plain).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_known_fields() {
        assert_eq!(FieldId::from_nxm_header(0x0000_0002), Some(FieldId::InPort));
        assert_eq!(
            FieldId::from_nxm_header(0x8000_0004),
            Some(FieldId::InPortOxm)
        );
        assert_eq!(FieldId::from_nxm_header(0x8000_0005), None);
        assert_eq!(FieldId::Reg(3).nxm_header(), Some(0x0001_0604));
        assert_eq!(
            FieldId::EthDst.oxm(0).map(|o| o.name),
            Some("NXM_OF_ETH_DST")
        );
        assert_eq!(
            FieldId::EthDst.oxm(4).map(|o| o.name),
            Some("OXM_OF_ETH_DST")
        );
        assert_eq!(
            FieldId::TcpFlags.oxm(4).map(|o| o.name),
            Some("ONFOXM_ET_TCP_FLAGS")
        );
        assert_eq!(
            FieldId::TcpFlags.oxm(6).map(|o| o.name),
            Some("OXM_OF_TCP_FLAGS")
        );
        assert_eq!(
            FieldId::from_oxm_name("NXM_OF_VLAN_TCI_W"),
            Some(FieldId::VlanTci)
        );
        let nsh = FieldId::NshFlags.oxm(0).map(|o| o.header.masked());
        assert_eq!(nsh.and_then(OxmHeader::to_field), Some(FieldId::NshFlags));
    }

    #[test]
    fn masked_and_exact_undo_each_other() {
        for id in FieldId::all() {
            for o in id.info().oxm {
                if id.info().variable_len() {
                    continue;
                }
                assert_eq!(o.header.masked().exact(), o.header, "{id}");
                assert_eq!(o.header.to_field(), Some(id));
                assert_eq!(o.header.masked().to_field(), Some(id));
            }
        }
    }
}
