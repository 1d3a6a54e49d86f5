//! [`Flow`]: every fact about a packet that a rule can match, and [`Mask`]: which bits of them matter.
//!
//! A flow is an array of 64-byte lines. Fields are grouped by how often rules use them, so that a mask
//! touches few lines and masking, hashing and comparing are whole-line operations on only those lines.
//! Multi-byte fields are big-endian, also those that never were on a wire (ports, registers): a field is
//! then always a byte string at a fixed offset, and sub-field arithmetic is the same for all.
//!
//! | line | content |
//! |---|---|
//! | 0 | in_port, recirc_id, Ethernet, VLANs, IPv4, L4 ports, TCP flags, ct state/zone/mark, dp_hash |
//! | 1 | IPv6 addresses, ND target, IPv6 label, ARP hardware addresses |
//! | 2 | MPLS, IGMP group / ND reserved, ct label and original tuple, priority, pkt_mark, conj_id |
//! | 3 | ct original IPv6 tuple, NSH, metadata |
//! | 4 | registers |
//! | 5 | tunnel: addresses, id, flags, ports, GBP, ERSPAN index |
//! | 6-10 | tunnel: ERSPAN, GTP-U, option presence and 256 bytes of options |
//!
//! Sharing of slots follows Open vSwitch: `nw_src`/`nw_dst` hold ARP spa/tpa, `nw_proto` the ARP opcode,
//! `arp_sha`/`arp_tha` also ND sll/tll, `tp_src`/`tp_dst` ICMP type/code (low byte), `igmp_group_ip4` also
//! ND reserved, `tcp_flags` also the ND options type.

use wire::{EthAddr, Ipv4, Ipv6, U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// 64-byte lines in a [`Flow`].
pub const FLOW_LINES: usize = 11;
/// Bytes of tunnel options a flow can hold (Geneve's 252, rounded up).
pub const TUN_OPTS_MAX: usize = 256;

/// One 802.1Q or 802.1ad tag. `tci` has [`Vlan::CFI`] set when the tag is present.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Vlan {
    /// EtherType of the tag (0x8100, 0x88a8), 0 when absent.
    pub tpid: U16,
    /// Priority, presence bit, VLAN id.
    pub tci: U16,
}

impl Vlan {
    /// The bit of `tci` that says "there is a tag".
    pub const CFI: u16 = 0x1000;
    /// The VLAN id bits of `tci`.
    pub const VID_MASK: u16 = 0x0fff;
    /// The priority bits of `tci`.
    pub const PCP_MASK: u16 = 0xe000;
    /// True when there is a tag.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.tci.get() & Self::CFI != 0
    }
    /// The VLAN id.
    #[must_use]
    pub fn vid(&self) -> u16 {
        self.tci.get() & Self::VID_MASK
    }
    /// The priority, 0..=7.
    #[must_use]
    pub fn pcp(&self) -> u8 {
        (self.tci.get() >> 13) as u8
    }
}

/// Network service header, RFC 8300, as far as it can be matched.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct NshKey {
    /// Version and flag bits (3 bits used: O and reserved).
    pub flags: u8,
    /// Time to live, 6 bits.
    pub ttl: u8,
    /// Metadata type (1 or 2).
    pub mdtype: u8,
    /// Next protocol.
    pub np: u8,
    /// Service path id (24 bits) and service index (8 bits).
    pub path_hdr: U32,
    /// MD type 1 context words.
    pub context: [U32; 4],
}

/// Tunnel metadata of a packet that came out of (or will enter) a tunnel.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TunnelKey {
    /// Outer IPv4 destination; zero when the tunnel runs over IPv6.
    pub ip_dst: Ipv4,
    /// Outer IPv4 source.
    pub ip_src: Ipv4,
    /// Outer IPv6 destination.
    pub ipv6_dst: Ipv6,
    /// Outer IPv6 source.
    pub ipv6_src: Ipv6,
    /// Tunnel id (VNI, GRE key, ...).
    pub tun_id: U64,
    /// Bits of `TunnelKey::F_*`.
    pub flags: U16,
    /// Outer TOS.
    pub ip_tos: u8,
    /// Outer TTL.
    pub ip_ttl: u8,
    /// Outer UDP source.
    pub tp_src: U16,
    /// Outer UDP destination.
    pub tp_dst: U16,
    /// VXLAN group policy id.
    pub gbp_id: U16,
    /// VXLAN group policy flags.
    pub gbp_flags: u8,
    /// ERSPAN version.
    pub erspan_ver: u8,
    /// ERSPAN v1 index, 20 bits.
    pub erspan_idx: U32,
    // ---- line 6
    /// ERSPAN v2 direction.
    pub erspan_dir: u8,
    /// ERSPAN v2 hardware id.
    pub erspan_hwid: u8,
    /// GTP-U flags.
    pub gtpu_flags: u8,
    /// GTP-U message type.
    pub gtpu_msgtype: u8,
    /// Raw form: bytes of Geneve options in `opts` (F_UDPIF set).
    pub opts_len: u8,
    pub(crate) _pad6: [u8; 3],
    /// Mapped form: bit n set when `tun_metadata{n}` is present (F_UDPIF clear).
    pub present: U64,
    /// Options: raw Geneve TLVs, or values laid out by the TLV table.
    pub opts: [u8; TUN_OPTS_MAX],
    pub(crate) _pad10: [u8; 48],
}

impl TunnelKey {
    /// OAM frame. (The values are those of OpenFlow's `tun_flags`.)
    pub const F_OAM: u16 = 1;
    /// Outer "don't fragment".
    pub const F_DF: u16 = 2;
    /// Outer checksum.
    pub const F_CSUM: u16 = 4;
    /// The tunnel header has a key.
    pub const F_KEY: u16 = 8;
    /// Options are in raw (datapath) form, not mapped through the TLV table.
    pub const F_UDPIF: u16 = 1 << 4;
    /// Flags that OpenFlow can match (`tun_flags`).
    pub const F_MATCHABLE: u16 = Self::F_OAM;

    /// True when there is a tunnel (an outer destination).
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ip_dst.0 != [0; 4] || self.ipv6_dst.0 != [0; 16]
    }
}

/// Every matchable fact about one packet.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Flow {
    // ---- line 0
    /// Ingress port: a datapath port in the datapath, an OpenFlow port (16 bits) in ofproto and xlate.
    pub in_port: U32,
    /// Recirculation id, 0 on first pass.
    pub recirc_id: U32,
    /// Ethernet destination.
    pub dl_dst: EthAddr,
    /// Ethernet source.
    pub dl_src: EthAddr,
    /// EtherType of the innermost L2 header; 0x05ff for 802.3 without SNAP.
    pub dl_type: U16,
    /// Fragment bits `Flow::FRAG_*`.
    pub nw_frag: u8,
    /// IP protocol or low 8 bits of the ARP opcode.
    pub nw_proto: u8,
    /// VLAN tags, outermost first.
    pub vlans: [Vlan; 2],
    /// IPv4 source or ARP spa.
    pub nw_src: Ipv4,
    /// IPv4 destination or ARP tpa.
    pub nw_dst: Ipv4,
    /// L4 source port or ICMP type.
    pub tp_src: U16,
    /// L4 destination port or ICMP code.
    pub tp_dst: U16,
    /// TCP flags (12 bits), or the ND options type.
    pub tcp_flags: U16,
    /// DSCP and ECN.
    pub nw_tos: u8,
    /// TTL or hop limit.
    pub nw_ttl: u8,
    /// Conntrack state bits.
    pub ct_state: u8,
    pub(crate) _pad0: u8,
    /// Conntrack zone.
    pub ct_zone: U16,
    /// Conntrack mark.
    pub ct_mark: U32,
    /// Hash computed by the `hash` action or the receiver.
    pub dp_hash: U32,
    /// OpenFlow packet type: namespace and type; 0 is Ethernet.
    pub packet_type: U32,
    // ---- line 1
    /// IPv6 source.
    pub ipv6_src: Ipv6,
    /// IPv6 destination.
    pub ipv6_dst: Ipv6,
    /// ND target.
    pub nd_target: Ipv6,
    /// IPv6 flow label, 20 bits.
    pub ipv6_label: U32,
    /// ARP source hardware address or ND source link-layer address.
    pub arp_sha: EthAddr,
    /// ARP target hardware address or ND target link-layer address.
    pub arp_tha: EthAddr,
    // ---- line 2
    /// MPLS label stack entries, outermost first.
    pub mpls_lse: [U32; 3],
    /// IGMP group, or the ND reserved word.
    pub igmp_group_ip4: U32,
    /// Conntrack label.
    pub ct_label: U128,
    /// Original-direction IPv4 source.
    pub ct_nw_src: Ipv4,
    /// Original-direction IPv4 destination.
    pub ct_nw_dst: Ipv4,
    /// Original-direction L4 source.
    pub ct_tp_src: U16,
    /// Original-direction L4 destination.
    pub ct_tp_dst: U16,
    /// Original-direction protocol.
    pub ct_nw_proto: u8,
    pub(crate) _pad2: [u8; 3],
    /// Egress queue priority.
    pub skb_priority: U32,
    /// Packet mark.
    pub pkt_mark: U32,
    /// Conjunction id, set by the classifier.
    pub conj_id: U32,
    /// Output port of the action set.
    pub actset_output: U32,
    // ---- line 3
    /// Original-direction IPv6 source.
    pub ct_ipv6_src: Ipv6,
    /// Original-direction IPv6 destination.
    pub ct_ipv6_dst: Ipv6,
    /// Network service header.
    pub nsh: NshKey,
    /// OpenFlow metadata.
    pub metadata: U64,
    // ---- line 4
    /// Registers 0..=15.
    pub regs: [U32; 16],
    // ---- lines 5..=10
    /// Tunnel.
    pub tunnel: TunnelKey,
}

const _: () = assert!(size_of::<Flow>() == FLOW_LINES * 64);

impl Flow {
    /// The packet is a fragment.
    pub const FRAG_ANY: u8 = 1;
    /// The packet is not the first fragment.
    pub const FRAG_LATER: u8 = 2;
    /// `dl_type` of an 802.3 frame without SNAP.
    pub const DL_TYPE_NONE: u16 = 0x05ff;
    /// VLAN tags a flow can hold.
    pub const VLANS_MAX: usize = 2;
    /// MPLS labels a flow can hold.
    pub const MPLS_MAX: usize = 3;
    /// The first line of `tunnel`.
    pub const TUNNEL_LINE: usize = 5;

    /// A flow of zeroes: no packet has it, every wildcard starts from it.
    #[must_use]
    pub fn zero() -> Self {
        Self::new_zeroed()
    }
    /// The flow as lines of 64-bit words.
    #[inline]
    #[must_use]
    pub fn lines(&self) -> &[[u64; 8]; FLOW_LINES] {
        zerocopy::transmute_ref!(self)
    }
    /// The flow as lines of 64-bit words, to be changed.
    #[inline]
    #[must_use]
    pub fn lines_mut(&mut self) -> &mut [[u64; 8]; FLOW_LINES] {
        zerocopy::transmute_mut!(self)
    }
    /// The flow as bytes; field offsets of the field table point into it.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8; FLOW_LINES * 64] {
        zerocopy::transmute_ref!(self)
    }
    /// The flow as bytes, to be changed.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8; FLOW_LINES * 64] {
        zerocopy::transmute_mut!(self)
    }
    /// True when `self` and `other` agree in every bit that `mask` has set.
    #[must_use]
    pub fn equals_under(&self, other: &Self, mask: &Mask) -> bool {
        let (a, b, m) = (self.lines(), other.lines(), mask.lines());
        // A line at a time: that is one comparison of vectors.
        let differ = |l: usize| (0..8).fold(0, |d, w| d | (a[l][w] ^ b[l][w]) & m[l][w]);
        (0..FLOW_LINES).all(|l| differ(l) == 0)
    }
    /// `self` with every bit that `mask` does not have set to zero.
    #[must_use]
    pub fn masked(&self, mask: &Mask) -> Self {
        let mut out = *self;
        for (o, m) in out.lines_mut().iter_mut().zip(mask.lines()) {
            for (o, m) in o.iter_mut().zip(m) {
                *o &= m;
            }
        }
        out
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self::zero()
    }
}

/// Word by word: many fields at once.
impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        self.lines() == other.lines()
    }
}

impl Eq for Flow {}

impl std::hash::Hash for Flow {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(self.bytes());
    }
}

/// Which bits of a [`Flow`] matter: a 1-bit must match. Also called wildcards (its complement).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Mask(pub Flow);

impl Mask {
    /// Nothing matters: matches every packet.
    #[must_use]
    pub fn empty() -> Self {
        Self(Flow::zero())
    }
    /// Every bit of every field matters.
    #[must_use]
    pub fn exact() -> Self {
        let mut m = Self::empty();
        *m.0.bytes_mut() = [0xff; FLOW_LINES * 64];
        m
    }
    /// The mask as lines of words.
    #[inline]
    #[must_use]
    pub fn lines(&self) -> &[[u64; 8]; FLOW_LINES] {
        self.0.lines()
    }
    /// Bit l is set when line l has any bit.
    #[must_use]
    pub fn touched(&self) -> u16 {
        let mut t = 0;
        for (l, line) in self.lines().iter().enumerate() {
            if line.iter().any(|&w| w != 0) {
                t |= 1 << l;
            }
        }
        t
    }
    /// Adds every bit of `other`.
    pub fn union(&mut self, other: &Self) {
        for (a, b) in self.0.lines_mut().iter_mut().zip(other.lines()) {
            for (a, b) in a.iter_mut().zip(b) {
                *a |= b;
            }
        }
    }
    /// True when every bit of `other` is also in `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let beyond = |(a, b): (&[u64; 8], &[u64; 8])| (0..8).fold(0, |d, w| d | b[w] & !a[w]);
        let lines = self.lines().iter().zip(other.lines());
        lines.map(beyond).all(|d| d == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_where_the_table_says() {
        let f = Flow::zero();
        let base = std::ptr::from_ref(&f) as usize;
        let at = |p: usize| (p - base) / 64;
        assert_eq!(at(std::ptr::from_ref(&f.packet_type) as usize), 0);
        assert_eq!(at(std::ptr::from_ref(&f.ipv6_src) as usize), 1);
        assert_eq!(at(std::ptr::from_ref(&f.mpls_lse) as usize), 2);
        assert_eq!(at(std::ptr::from_ref(&f.ct_ipv6_src) as usize), 3);
        assert_eq!(at(std::ptr::from_ref(&f.regs) as usize), 4);
        assert_eq!(at(std::ptr::from_ref(&f.tunnel) as usize), 5);
        assert_eq!(at(std::ptr::from_ref(&f.tunnel.erspan_dir) as usize), 6);
    }

    #[test]
    fn masks_mask() {
        let mut f = Flow::zero();
        f.nw_src = Ipv4([10, 1, 2, 3]);
        let mut m = Mask::empty();
        m.0.nw_src = Ipv4([255, 0, 0, 0]);
        assert_eq!(f.masked(&m).nw_src, Ipv4([10, 0, 0, 0]));
        assert_eq!(m.touched(), 1);
        assert!(Mask::exact().covers(&m) && !m.covers(&Mask::exact()));
        assert!(f.equals_under(&f.masked(&m), &m));
    }
}
