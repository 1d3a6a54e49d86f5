//! Actions and instructions, independent of the OpenFlow version.
//!
//! As in Open vSwitch, instructions (`goto_table`, `write_actions`, ...) stand in the same list as
//! actions, in the order in which they take effect.

use flow::{FieldId, FieldValue, OfPort, Subfield};
use std::net::IpAddr;
use wire::{EthAddr, Ipv4};

/// A list of actions and instructions.
pub type Acts = Vec<Act>;
/// An OpenFlow port as actions name it.
pub type Port = OfPort;

/// One action or instruction. Names follow `ovs-actions(7)`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in ovs-actions(7)")]
pub enum Act {
    // ---- output
    Output {
        port: Port,
        max_len: u16,
    },
    Group(u32),
    Controller {
        max_len: u16,
        controller_id: u16,
        reason: u8,
        userdata: Vec<u8>,
        /// `Some(NO_METER)`-like ids are kept as given; `None` is the default virtual meter.
        meter_id: Option<u32>,
        pause: bool,
    },
    Enqueue {
        port: Port,
        queue: u32,
    },
    OutputReg {
        src: Subfield,
        max_len: u16,
    },
    OutputTrunc {
        port: Port,
        max_len: u32,
    },
    Bundle(Box<BundleAct>),
    // ---- header changes
    /// Bits of `value` outside `mask` are zero; no mask: the whole field.
    SetField {
        field: FieldId,
        value: FieldValue,
        mask: Option<FieldValue>,
        /// How it was said: decides text and encoding, not the effect.
        kind: SetKind,
        /// The flow had a VLAN tag at this point (set by the consistency check; OpenFlow 1.1 encoding).
        flow_has_vlan: bool,
    },
    /// `strip_vlan`, or `pop_vlan` when `pop`: the same effect.
    StripVlan {
        pop: bool,
    },
    PushVlan {
        ethertype: u16,
    },
    /// `push_vlan_if_needed`, `flow_has_vlan`: OpenFlow 1.0 semantics of `mod_vlan_vid`.
    SetVlanVid {
        vid: u16,
        push_if_needed: bool,
        flow_has_vlan: bool,
    },
    SetVlanPcp {
        pcp: u8,
        push_if_needed: bool,
        flow_has_vlan: bool,
    },
    SetEthSrc(EthAddr),
    SetEthDst(EthAddr),
    SetIpv4Src(Ipv4),
    SetIpv4Dst(Ipv4),
    SetIpDscp(u8),
    SetIpEcn(u8),
    SetIpTtl(u8),
    /// `flow_ip_proto` is set by the consistency check; OpenFlow 1.2+ encodes a set-field of that protocol.
    SetL4SrcPort {
        port: u16,
        flow_ip_proto: u8,
    },
    SetL4DstPort {
        port: u16,
        flow_ip_proto: u8,
    },
    RegMove {
        src: Subfield,
        dst: Subfield,
    },
    StackPush(Subfield),
    StackPop(Subfield),
    /// Controllers to tell when the TTL expires; empty: plain `dec_ttl` (controller id 0).
    DecTtl {
        ids: Vec<u16>,
    },
    SetMplsLabel(u32),
    SetMplsTc(u8),
    SetMplsTtl(u8),
    DecMplsTtl,
    PushMpls {
        ethertype: u16,
    },
    PopMpls {
        ethertype: u16,
    },
    DecNshTtl,
    DeleteField(FieldId),
    // ---- metadata
    SetTunnel {
        id: u64,
        wide: bool,
    },
    SetQueue(u32),
    PopQueue,
    FinTimeout {
        idle: u16,
        hard: u16,
    },
    // ---- flow table interaction
    Resubmit {
        in_port: Port,
        table: u8,
        ct: bool,
    },
    Learn(Box<LearnAct>),
    Conjunction {
        id: u32,
        clause: u8,
        n_clauses: u8,
    },
    // ---- arithmetic
    Multipath(Box<MultipathAct>),
    // ---- other
    Note(Vec<u8>),
    Exit,
    Sample {
        probability: u16,
        collector_set_id: u32,
        obs_domain_id: u32,
        obs_point_id: u32,
        sampling_port: Port,
        /// 0 default, 1 ingress, 2 egress.
        direction: u8,
    },
    Ct(Box<CtAct>),
    Nat(NatAct),
    CtClear,
    Clone(Acts),
    CheckPktLarger {
        len: u16,
        dst: Subfield,
    },
    Encap {
        header: EncapHeader,
        props: Vec<(u16, u8, Vec<u8>)>,
    },
    Decap {
        new_type: Option<u32>,
    },
    DebugRecirc,
    DebugSlow,
    // ---- instructions
    Meter(u32),
    ClearActions,
    WriteActions(Acts),
    WriteMetadata {
        metadata: u64,
        mask: u64,
    },
    GotoTable(u8),
}

/// How a [`Act::SetField`] was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetKind {
    /// `set_field:V->F`, OpenFlow's action.
    #[default]
    SetField,
    /// `load:V->F[]`, `NXAST_REG_LOAD`.
    Load,
    /// `NXAST_REG_LOAD2`: printed as `set_field`.
    Load2,
}

impl Act {
    /// `set_field` of a whole field (no mask) or of the bits of `mask`.
    #[must_use]
    pub fn set_field(field: FieldId, value: FieldValue, mask: Option<FieldValue>) -> Self {
        Self::SetField {
            field,
            value,
            mask,
            kind: SetKind::SetField,
            flow_has_vlan: false,
        }
    }
}

/// What `encap` puts in front of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncapHeader {
    /// An Ethernet header.
    Ethernet,
    /// A network service header.
    Nsh,
    /// An MPLS label with this EtherType.
    Mpls(u16),
}

/// `bundle` and `bundle_load`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in ovs-actions(7)")]
pub struct BundleAct {
    pub fields: HashFields,
    pub basis: u16,
    /// True: highest random weight; false: active-backup.
    pub hrw: bool,
    pub dst: Option<Subfield>,
    pub members: Vec<Port>,
}

/// What a hash is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names are those of ovs-actions(7)")]
pub enum HashFields {
    EthSrc,
    SymmetricL4,
    SymmetricL3L4,
    SymmetricL3L4Udp,
    NwSrc,
    NwDst,
    SymmetricL3,
}

/// `multipath`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in ovs-actions(7)")]
pub struct MultipathAct {
    pub fields: HashFields,
    pub basis: u16,
    pub algorithm: MultipathAlg,
    pub max_link: u16,
    pub arg: u32,
    pub dst: Subfield,
}

/// How `multipath` picks a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names are those of ovs-actions(7)")]
pub enum MultipathAlg {
    ModuloN,
    HashThreshold,
    Hrw,
    IterHash,
}

/// `learn`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in ovs-actions(7)")]
pub struct LearnAct {
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub priority: u16,
    pub table: u8,
    pub cookie: u64,
    pub send_flow_rem: bool,
    pub delete_learned: bool,
    pub write_result: bool,
    pub fin_idle_timeout: u16,
    pub fin_hard_timeout: u16,
    /// 0: no limit.
    pub limit: u32,
    pub result_dst: Option<Subfield>,
    pub specs: Vec<LearnSpec>,
}

/// One piece of a learned flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnSpec {
    /// Bits this piece fills.
    pub n_bits: u16,
    /// Where they come from.
    pub src: LearnSrc,
    /// What they become.
    pub dst: LearnDst,
}

/// Source of a learned piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LearnSrc {
    /// Bits of a field of the packet at hand.
    Field(Subfield),
    /// Constant bits, right-aligned big-endian.
    Immediate(FieldValue),
}

/// Destination of a learned piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LearnDst {
    /// A match on these bits.
    Match(Subfield),
    /// An action that loads these bits.
    Load(Subfield),
    /// An action that outputs to the port in the source.
    Output,
}

/// `ct(...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in ovs-actions(7)")]
pub struct CtAct {
    pub commit: bool,
    pub force: bool,
    pub zone_src: Option<Subfield>,
    pub zone_imm: u16,
    pub alg: u16,
    /// `None`: do not recirculate.
    pub recirc_table: Option<u8>,
    /// `nat` and `exec(...)` content.
    pub actions: Acts,
}

/// `nat(...)` inside `ct`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "fields are named as in ovs-actions(7)")]
pub struct NatAct {
    pub src: bool,
    pub dst: bool,
    pub persistent: bool,
    pub hash: bool,
    pub random: bool,
    pub addr: Option<(IpAddr, Option<IpAddr>)>,
    pub ports: Option<(u16, Option<u16>)>,
}
