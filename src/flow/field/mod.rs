//! The field table of OpenFlow 1.0 to 1.5 and the Nicira extensions: what can be matched, set or moved,
//! how it is called, how it is written, where it stands in a [`Flow`](crate::Flow), and under which
//! numbers it travels.
//!
//! Values and masks of a field are big-endian byte strings of [`FieldInfo::n_bytes`] octets. Tunnel
//! metadata fields have no fixed place: whoever reads or writes them brings the [`TunTable`](crate::TunTable) that places
//! them (`None` when there is none: they then read as zero and ignore writes).
//!
//! Everything here is a constant or a pure function.

mod nxm;
mod prereq;
mod protocol;
mod slot;
mod subfield;
mod table;
mod valid;

pub use nxm::{OxmHeader, OxmId};
pub use prereq::{Prereqs, ct_state, ct_valid};
pub use protocol::Protocols;
pub(crate) use slot::{Slot, fit};
pub use subfield::SubfieldError;
pub(crate) use valid::significant_len;

use base::sync::LazyLock;
use smallvec::SmallVec;
use std::collections::HashMap;

/// A field that OpenFlow can match, set or move. Order is Open vSwitch's (`mff_*`), which decides the
/// order of some printed lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of ovs-fields(7)")]
pub enum FieldId {
    DpHash,
    RecircId,
    PacketType,
    ConjId,
    TunId,
    TunSrc,
    TunDst,
    TunIpv6Src,
    TunIpv6Dst,
    TunFlags,
    TunTtl,
    TunTos,
    TunGbpId,
    TunGbpFlags,
    TunErspanIdx,
    TunErspanVer,
    TunErspanDir,
    TunErspanHwid,
    TunGtpuFlags,
    TunGtpuMsgtype,
    /// `tun_metadata0`..`tun_metadata63`.
    TunMetadata(u8),
    Metadata,
    InPort,
    InPortOxm,
    ActsetOutput,
    SkbPriority,
    PktMark,
    CtState,
    CtZone,
    CtMark,
    CtLabel,
    CtNwProto,
    CtNwSrc,
    CtNwDst,
    CtIpv6Src,
    CtIpv6Dst,
    CtTpSrc,
    CtTpDst,
    /// `reg0`..`reg15`.
    Reg(u8),
    /// `xreg0`..`xreg7`.
    Xreg(u8),
    /// `xxreg0`..`xxreg3`.
    Xxreg(u8),
    EthSrc,
    EthDst,
    EthType,
    VlanTci,
    DlVlan,
    VlanVid,
    DlVlanPcp,
    VlanPcp,
    MplsLabel,
    MplsTc,
    MplsBos,
    MplsTtl,
    Ipv4Src,
    Ipv4Dst,
    Ipv6Src,
    Ipv6Dst,
    Ipv6Label,
    IpProto,
    IpDscp,
    IpDscpShifted,
    IpEcn,
    IpTtl,
    IpFrag,
    ArpOp,
    ArpSpa,
    ArpTpa,
    ArpSha,
    ArpTha,
    TcpSrc,
    TcpDst,
    TcpFlags,
    UdpSrc,
    UdpDst,
    SctpSrc,
    SctpDst,
    Icmpv4Type,
    Icmpv4Code,
    Icmpv6Type,
    Icmpv6Code,
    NdTarget,
    NdSll,
    NdTll,
    NdReserved,
    NdOptionsType,
    NshFlags,
    NshTtl,
    NshMdtype,
    NshNp,
    NshSpi,
    NshSi,
    /// `nsh_c1`..`nsh_c4`, counted from 0.
    NshC(u8),
}

/// Some bits of a field: `n_bits` bits beginning `ofs` bits above the least significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subfield {
    /// The field.
    pub field: FieldId,
    /// First bit, 0 is the least significant.
    pub ofs: u16,
    /// Number of bits.
    pub n_bits: u16,
}

/// The value (or mask) of a field: big-endian bytes, as many as the field has.
pub type FieldValue = SmallVec<[u8; 16]>;

/// How a field's value is written in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Format {
    Decimal,
    Hexadecimal,
    CtState,
    Ethernet,
    Ipv4,
    Ipv6,
    OfpPort,
    OfpPortOxm,
    Frag,
    TunFlags,
    TcpFlags,
    PacketType,
}

/// What is known about a field.
#[derive(Debug)]
pub struct FieldInfo {
    /// The field.
    pub id: FieldId,
    /// Its name.
    pub name: &'static str,
    /// Another name it answers to.
    pub extra_name: Option<&'static str>,
    /// Octets of its value.
    pub n_bytes: usize,
    /// Bits of its value that may be nonzero (the least significant ones).
    pub n_bits: u16,
    /// Any mask is allowed; otherwise all or nothing.
    pub maskable: bool,
    /// Text form.
    pub format: Format,
    /// What a flow must be so that the field means anything.
    pub prereqs: Prereqs,
    /// Actions may change it.
    pub writable: bool,
    /// Protocols that can match it exactly.
    pub exact: Protocols,
    /// Protocols that can match a prefix of it.
    pub cidr: Protocols,
    /// Protocols that can match any bits of it.
    pub bitwise: Protocols,
    /// Prefix tries can be kept for it.
    pub prefix: bool,
    /// Its NXM and OXM numbers, by OpenFlow version.
    pub oxm: &'static [OxmId],
    pub(crate) slot: Slot,
}

impl FieldInfo {
    /// True for fields whose length depends on the TLV table.
    #[must_use]
    pub fn variable_len(&self) -> bool {
        matches!(self.id, FieldId::TunMetadata(_))
    }
}

impl FieldId {
    /// Number of fields.
    pub const COUNT: usize = table::FIELDS.len();

    /// Every field, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        table::FIELDS.iter().map(|f| f.id)
    }

    /// The field's place in the order of all fields, below [`FieldId::COUNT`]. A number past the end of
    /// a family (`Reg(16)`) counts as its last.
    #[must_use]
    pub const fn index(self) -> usize {
        table::index_of(self)
    }

    /// What is known about the field.
    #[must_use]
    pub fn info(self) -> &'static FieldInfo {
        &table::FIELDS[self.index()]
    }

    /// The field's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The field with this name or extra name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        BY_NAME.get(name).copied()
    }

    /// True for what is not a header of the packet but travels with it through the tables.
    #[must_use]
    pub fn is_pipeline(self) -> bool {
        use FieldId as I;
        match self {
            I::PacketType | I::Metadata | I::InPort | I::InPortOxm => true,
            I::Reg(_) | I::Xreg(_) | I::Xxreg(_) => true,
            I::TunTtl | I::TunTos => false,
            f => (I::TunId..=I::TunMetadata(63)).contains(&f),
        }
    }

    /// True for what is kept when a packet's translation is frozen and resumed.
    #[must_use]
    pub fn is_frozen_metadata(self) -> bool {
        use FieldId as I;
        (I::TunId..=I::InPortOxm).contains(&self)
            || matches!(self, I::Reg(_) | I::Xreg(_) | I::Xxreg(_))
    }
}

impl std::fmt::Display for FieldId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

static BY_NAME: LazyLock<HashMap<&'static str, FieldId>> = LazyLock::new(|| {
    let names = table::FIELDS
        .iter()
        .flat_map(|f| [Some(f.name), f.extra_name].map(|n| (n, f.id)));
    names.filter_map(|(n, id)| n.map(|n| (n, id))).collect()
});
