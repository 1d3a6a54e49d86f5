//! Datapath actions.

use crate::drops::DropReason;
use crate::userspace::Userspace;
use flow::{NshKey, OdpPort, TunnelKey};
use smallvec::SmallVec;
use wire::{EthAddr, Ipv4, Ipv6};

/// A list of actions, run in order.
pub type Actions = Vec<Action>;

/// One action of a datapath flow. Names and semantics are the `OVS_ACTION_ATTR_*` ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields are named as in the datapath ABI")]
pub enum Action {
    /// Send out of a port.
    Output(OdpPort),
    /// Up to userspace.
    Userspace(Userspace),
    /// Overwrite whole headers' fields.
    Set(SetKey),
    /// Overwrite the bits of `mask` (same variant as `key`).
    SetMasked {
        key: SetKey,
        mask: SetKey,
    },
    PushVlan {
        tpid: u16,
        tci: u16,
    },
    PopVlan,
    PushMpls {
        ethertype: u16,
        lse: u32,
    },
    PopMpls {
        ethertype: u16,
    },
    /// Like PushMpls, but says whether the label goes before the L3 or the L2 header.
    AddMpls {
        ethertype: u16,
        lse: u32,
        l3: bool,
    },
    PushEth {
        src: EthAddr,
        dst: EthAddr,
    },
    PopEth,
    PushNsh(Box<NshPush>),
    PopNsh,
    /// Run `actions` on a copy with probability `probability` / 2^32.
    Sample {
        probability: u32,
        actions: Actions,
    },
    /// Run `actions` on a copy; later actions see the packet as it was.
    Clone(Actions),
    Recirc(u32),
    Hash {
        alg: HashAlg,
        basis: u32,
    },
    /// Cut the next output to `max_len` bytes.
    Trunc {
        max_len: u32,
    },
    Ct(Box<CtAction>),
    CtClear,
    Meter(u32),
    CheckPktLen {
        pkt_len: u16,
        greater: Actions,
        less_equal: Actions,
    },
    TunnelPush(Box<TunnelPush>),
    TunnelPop(OdpPort),
    /// Output through a bond chosen by hash.
    LbOutput(u32),
    /// Drop, saying why.
    Drop(DropReason),
}

/// Header fields that `set` overwrites, grouped as in the datapath ABI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields are named as in the datapath ABI")]
pub enum SetKey {
    Priority(u32),
    SkbMark(u32),
    Tunnel(Box<TunnelKey>),
    Ethernet {
        src: EthAddr,
        dst: EthAddr,
    },
    Ipv4 {
        src: Ipv4,
        dst: Ipv4,
        proto: u8,
        tos: u8,
        ttl: u8,
        frag: u8,
    },
    Ipv6 {
        src: Ipv6,
        dst: Ipv6,
        label: u32,
        proto: u8,
        tclass: u8,
        hlimit: u8,
        frag: u8,
    },
    Tcp {
        src: u16,
        dst: u16,
    },
    Udp {
        src: u16,
        dst: u16,
    },
    Sctp {
        src: u16,
        dst: u16,
    },
    Icmp {
        type_: u8,
        code: u8,
    },
    Icmpv6 {
        type_: u8,
        code: u8,
    },
    Arp {
        sip: Ipv4,
        tip: Ipv4,
        op: u16,
        sha: EthAddr,
        tha: EthAddr,
    },
    Nd {
        target: Ipv6,
        sll: EthAddr,
        tll: EthAddr,
    },
    NdExtensions {
        reserved: u32,
        options_type: u8,
    },
    Mpls {
        lse: u32,
    },
    Nsh(NshKey),
}

/// A network service header to push (RFC 8300): base fields and up to 248 bytes of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NshPush {
    /// Base and MD1 fields.
    pub key: NshKey,
    /// MD2 metadata, empty for MD1.
    pub md2: Vec<u8>,
}

/// How `hash` computes `dp_hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlg {
    /// Over the 5-tuple, as the datapath likes.
    L4,
    /// Over the 5-tuple, equal in both directions.
    SymL4,
}

/// The `ct` action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CtAction {
    /// Add the connection to the table.
    pub commit: bool,
    /// Add it even if it exists in the other direction, replacing that one.
    pub force: bool,
    /// Zone.
    pub zone: u16,
    /// Set these bits of the mark: (value, mask).
    pub mark: Option<(u32, u32)>,
    /// Set these bits of the label: (value, mask).
    pub label: Option<(u128, u128)>,
    /// Application helper: `ftp`, `tftp`.
    pub helper: Option<String>,
    /// Address translation.
    pub nat: Option<NatAction>,
    /// Timeout policy.
    pub timeout: Option<String>,
    /// Events to report (kernel only; kept for text).
    pub eventmask: Option<u32>,
}

/// Address translation of a `ct` action. Both `src` and `dst` false: translate as the connection says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NatAction {
    /// Source translation.
    pub src: bool,
    /// Destination translation.
    pub dst: bool,
    /// Addresses and ports to choose from.
    pub range: Option<NatRange>,
    /// Same choice for the same endpoints.
    pub persistent: bool,
    /// Choose the port by hash.
    pub hash: bool,
    /// Choose the port at random.
    pub random: bool,
}

/// A range of addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NatRange {
    /// First address.
    pub min: std::net::IpAddr,
    /// Last address; `None` when it is a single one.
    pub max: Option<std::net::IpAddr>,
    /// First and last port; last is 0 for a single one.
    pub ports: Option<(u16, u16)>,
}

/// Push a complete outer header and send through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TunnelPush {
    /// The tunnel's datapath port.
    pub tnl_port: OdpPort,
    /// The port to send out of.
    pub out_port: OdpPort,
    /// Header type, a [`VportType`].
    pub tnl_type: u32,
    /// The bytes to put in front.
    pub header: SmallVec<[u8; 128]>,
}

/// Kinds of tunnel headers (`OVS_VPORT_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VportType(pub u32);

#[expect(missing_docs, reason = "the names say it")]
impl VportType {
    pub const GRE: Self = Self(3);
    pub const VXLAN: Self = Self(4);
    pub const GENEVE: Self = Self(5);
    pub const LISP: Self = Self(105);
    pub const STT: Self = Self(106);
    pub const ERSPAN: Self = Self(107);
    pub const IP6ERSPAN: Self = Self(108);
    pub const IP6GRE: Self = Self(109);
    pub const GTPU: Self = Self(110);
    pub const BAREUDP: Self = Self(111);
}
