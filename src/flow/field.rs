//! The field table of OpenFlow 1.0 to 1.5 and the Nicira extensions.

use smallvec::SmallVec;

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
