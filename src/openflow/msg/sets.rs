//! Sets that messages about tables have: of fields, tables, actions.

use crate::version::Version;
use flow::FieldId;

const WORDS: usize = FieldId::COUNT.div_ceil(64);

/// A set of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FieldSet([u64; WORDS]);

impl FieldSet {
    /// All fields with this property that OpenFlow has a number for.
    fn of(has: impl Fn(FieldId) -> bool) -> Self {
        FieldId::all()
            .filter(|&f| f.oxm(0).is_some() && has(f))
            .collect()
    }
    /// The fields that flows can match.
    #[must_use]
    pub fn matchable() -> Self {
        Self::of(|_| true)
    }
    /// The fields that flows can match in part.
    #[must_use]
    pub fn maskable() -> Self {
        Self::of(|f| f.info().maskable)
    }
    /// The fields that actions can set.
    #[must_use]
    pub fn writable() -> Self {
        Self::of(|f| f.info().writable)
    }
    /// Adds a field.
    pub fn insert(&mut self, field: FieldId) {
        let i = field.index();
        self.0[i / 64] |= 1 << (i % 64);
    }
    /// True when the field is in the set.
    #[must_use]
    pub fn contains(&self, field: FieldId) -> bool {
        let i = field.index();
        self.0[i / 64] & 1 << (i % 64) != 0
    }
    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = FieldId> {
        FieldId::all().filter(|&f| self.contains(f))
    }
    /// True without fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&w| w == 0)
    }
    /// True when it has all fields of `other`.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| !a & b == 0)
    }
    pub(super) fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }
    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }
    pub(super) fn complement(&self) -> Self {
        FieldId::all().filter(|&f| !self.contains(f)).collect()
    }

    /// The bits that a table of fields by bit has for the fields of the set.
    fn bits(&self, table: &[(u32, FieldId)]) -> u32 {
        let has = table.iter().filter(|(_, f)| self.contains(*f));
        has.fold(0, |bits, (bit, _)| bits | bit)
    }
    fn from_bits(bits: u32, table: &[(u32, FieldId)]) -> Self {
        let has = table.iter().filter(|(bit, _)| bits & bit != 0);
        has.map(|&(_, f)| f).collect()
    }
    pub(super) fn to_10(self) -> u32 {
        self.bits(&WILDCARDS_10)
    }
    pub(super) fn from_10(bits: u32) -> Self {
        Self::from_bits(bits, &WILDCARDS_10)
    }
    pub(super) fn to_11(self) -> u32 {
        self.bits(&FIELDS_11)
    }
    pub(super) fn from_11(bits: u32) -> Self {
        Self::from_bits(bits, &FIELDS_11)
    }
    /// OpenFlow 1.2: bit n is OXM field n of the basic class.
    pub(super) fn to_12(self) -> u64 {
        let basic = self.iter().filter_map(basic_12);
        basic.fold(0, |bits, (n, _)| bits | 1 << n)
    }
    pub(super) fn from_12(bits: u64) -> Self {
        let has = |f: &FieldId| {
            basic_12(*f)
                .is_some_and(|(n, since)| bits & 1 << n != 0 && since <= Version::V12.wire())
        };
        FieldId::all().filter(has).collect()
    }
}

/// Number of a field among the basic ones of OXM, below 64, and the version that has it first.
fn basic_12(field: FieldId) -> Option<(u8, u8)> {
    const BASIC: u16 = 0x8000;
    let id = field.oxm(Version::V12.wire())?;
    let number = id.header.field();
    (id.header.class() == BASIC && number < 64).then_some((number, id.version))
}

impl FromIterator<FieldId> for FieldSet {
    fn from_iter<I: IntoIterator<Item = FieldId>>(fields: I) -> Self {
        let mut set = Self::default();
        for field in fields {
            set.insert(field);
        }
        set
    }
}

/// Wildcards of OpenFlow 1.0; those of addresses have several bits.
const WILDCARDS_10: [(u32, FieldId); 12] = [
    (1, FieldId::InPort),
    (1 << 1, FieldId::VlanVid),
    (1 << 2, FieldId::EthSrc),
    (1 << 3, FieldId::EthDst),
    (1 << 4, FieldId::EthType),
    (1 << 5, FieldId::IpProto),
    (1 << 6, FieldId::TcpSrc),
    (1 << 7, FieldId::TcpDst),
    (0x3f << 8, FieldId::Ipv4Src),
    (0x3f << 14, FieldId::Ipv4Dst),
    (1 << 20, FieldId::VlanPcp),
    (1 << 21, FieldId::IpDscp),
];

/// Match fields of OpenFlow 1.1's table statistics.
const FIELDS_11: [(u32, FieldId); 15] = [
    (1, FieldId::InPort),
    (1 << 1, FieldId::VlanVid),
    (1 << 2, FieldId::VlanPcp),
    (1 << 3, FieldId::EthType),
    (1 << 4, FieldId::IpDscp),
    (1 << 5, FieldId::IpProto),
    (1 << 6, FieldId::TcpSrc),
    (1 << 7, FieldId::TcpDst),
    (1 << 8, FieldId::MplsLabel),
    (1 << 9, FieldId::MplsTc),
    (1 << 11, FieldId::EthSrc),
    (1 << 12, FieldId::EthDst),
    (1 << 13, FieldId::Ipv4Src),
    (1 << 14, FieldId::Ipv4Dst),
    (1 << 15, FieldId::Metadata),
];

/// A set of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSet([u64; 4]);

impl TableSet {
    /// Adds a table.
    pub fn insert(&mut self, table: u8) {
        self.0[usize::from(table / 64)] |= 1 << (table % 64);
    }
    /// True when the table is in the set.
    #[must_use]
    pub fn contains(&self, table: u8) -> bool {
        self.0[usize::from(table / 64)] & 1 << (table % 64) != 0
    }
    /// The tables in order.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|&t| self.contains(t))
    }
    /// True when it has all tables of `other`.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| !a & b == 0)
    }
}

impl FromIterator<u8> for TableSet {
    fn from_iter<I: IntoIterator<Item = u8>>(tables: I) -> Self {
        let mut set = Self::default();
        for table in tables {
            set.insert(table);
        }
        set
    }
}

bitflags::bitflags! {
    /// Kinds of standard actions.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ActionKinds: u32 {
        /// `output`.
        const OUTPUT = 1;
        /// `set_vlan_vid`.
        const SET_VLAN_VID = 1 << 1;
        /// `set_vlan_pcp`.
        const SET_VLAN_PCP = 1 << 2;
        /// `strip_vlan`.
        const STRIP_VLAN = 1 << 3;
        /// `set_eth_src`.
        const SET_ETH_SRC = 1 << 4;
        /// `set_eth_dst`.
        const SET_ETH_DST = 1 << 5;
        /// `set_ipv4_src`.
        const SET_IPV4_SRC = 1 << 6;
        /// `set_ipv4_dst`.
        const SET_IPV4_DST = 1 << 7;
        /// `set_ip_dscp`.
        const SET_IP_DSCP = 1 << 8;
        /// `set_ip_ecn`.
        const SET_IP_ECN = 1 << 9;
        /// `set_l4_src_port`.
        const SET_L4_SRC_PORT = 1 << 10;
        /// `set_l4_dst_port`.
        const SET_L4_DST_PORT = 1 << 11;
        /// `enqueue`.
        const ENQUEUE = 1 << 12;
        /// `set_mpls_label`.
        const SET_MPLS_LABEL = 1 << 13;
        /// `set_mpls_tc`.
        const SET_MPLS_TC = 1 << 14;
        /// `set_mpls_ttl`.
        const SET_MPLS_TTL = 1 << 15;
        /// `dec_mpls_ttl`.
        const DEC_MPLS_TTL = 1 << 16;
        /// `push_vlan`.
        const PUSH_VLAN = 1 << 17;
        /// `push_mpls`.
        const PUSH_MPLS = 1 << 18;
        /// `pop_mpls`.
        const POP_MPLS = 1 << 19;
        /// `set_queue`.
        const SET_QUEUE = 1 << 20;
        /// `group`.
        const GROUP = 1 << 21;
        /// `set_ip_ttl`.
        const SET_IP_TTL = 1 << 22;
        /// `dec_ttl`.
        const DEC_TTL = 1 << 23;
        /// `set_field`.
        const SET_FIELD = 1 << 24;
    }
}

type Numbered = (u8, ActionKinds);

const ACTIONS_10: [Numbered; 12] = {
    use ActionKinds as A;
    [
        (0, A::OUTPUT),
        (1, A::SET_VLAN_VID),
        (2, A::SET_VLAN_PCP),
        (3, A::STRIP_VLAN),
        (4, A::SET_ETH_SRC),
        (5, A::SET_ETH_DST),
        (6, A::SET_IPV4_SRC),
        (7, A::SET_IPV4_DST),
        (8, A::SET_IP_DSCP),
        (9, A::SET_L4_SRC_PORT),
        (10, A::SET_L4_DST_PORT),
        (11, A::ENQUEUE),
    ]
};

/// What OpenFlow 1.1 has and 1.2 says by setting fields.
const ACTIONS_11: [Numbered; 12] = {
    use ActionKinds as A;
    [
        (1, A::SET_VLAN_VID),
        (2, A::SET_VLAN_PCP),
        (3, A::SET_ETH_SRC),
        (4, A::SET_ETH_DST),
        (5, A::SET_IPV4_SRC),
        (6, A::SET_IPV4_DST),
        (7, A::SET_IP_DSCP),
        (8, A::SET_IP_ECN),
        (9, A::SET_L4_SRC_PORT),
        (10, A::SET_L4_DST_PORT),
        (13, A::SET_MPLS_LABEL),
        (14, A::SET_MPLS_TC),
    ]
};

/// What OpenFlow 1.1 and later have; the last not in 1.1.
const ACTIONS_12: [Numbered; 12] = {
    use ActionKinds as A;
    [
        (0, A::OUTPUT),
        (15, A::SET_MPLS_TTL),
        (16, A::DEC_MPLS_TTL),
        (17, A::PUSH_VLAN),
        (18, A::STRIP_VLAN),
        (19, A::PUSH_MPLS),
        (20, A::POP_MPLS),
        (21, A::SET_QUEUE),
        (22, A::GROUP),
        (23, A::SET_IP_TTL),
        (24, A::DEC_TTL),
        (25, A::SET_FIELD),
    ]
};

impl ActionKinds {
    fn numbers(version: Version) -> impl Iterator<Item = Numbered> {
        let (first, second): (&[Numbered], &[Numbered]) = match version {
            Version::V10 => (&ACTIONS_10, &[]),
            Version::V11 => (&ACTIONS_11, &ACTIONS_12[..11]),
            _ => (&ACTIONS_12, &[]),
        };
        first.iter().chain(second).copied()
    }
    /// The bits of the action types that `version` has.
    #[must_use]
    pub fn to_wire(self, version: Version) -> u32 {
        let has = Self::numbers(version).filter(|(_, kind)| self.contains(*kind));
        has.fold(0, |bits, (n, _)| bits | 1 << n)
    }
    /// From the bits of the action types of `version`.
    #[must_use]
    pub fn from_wire(bits: u32, version: Version) -> Self {
        let has = Self::numbers(version).filter(|(n, _)| bits & 1 << n != 0);
        has.map(|(_, kind)| kind).collect()
    }
}
