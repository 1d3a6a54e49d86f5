//! [`Wild`]: the wildcards of one translation, and the only door to them.
//!
//! A bit that translation looks at and does not mark is a wrong datapath flow: a packet that differs in it
//! gets the actions of another. Every place that marks has a number ([`Site`]), so that a test can mute one
//! at a time and must then find such a packet (design section 7).
//!
//! Some marks are *hidden*: Open vSwitch does not make them, though its flows are wrong without. They are in
//! the wildcards of the datapath flow, but not in those that `ofproto/trace` shows.

use flow::{Flow, Mask, TunnelKey};

macro_rules! sites {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A place that marks fields as looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Site { $($(#[$doc])* $name,)* }
        impl Site {
            /// Every place.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
        const _: () = assert!(Site::ALL.len() <= 128);
    };
}

sites! {
    /// The packet type, the ingress port: always.
    Ingress,
    /// The EtherType: always.
    EthType,
    /// The fragment bits of IP packets: always.
    Frag,
    /// The recirculation id: always.
    RecircId,
    /// What NetFlow counts by.
    NetFlow,
    /// The outer headers of a packet from a tunnel.
    Tunnel,
    /// The ECN bits that a tunnel's congestion mark meets.
    TunnelEcn,
    /// What the rules of a table looked at.
    Lookup,
    /// Whether a packet belongs to the spanning tree.
    StpAddress,
    /// Whether a frame is one of the spanning tree's, at a port that treats them differently.
    StpFrame,
    /// CFM's address.
    Cfm,
    /// BFD's headers.
    Bfd,
    /// NORMAL: source address.
    NormalSrc,
    /// NORMAL: destination address.
    NormalDst,
    /// NORMAL: VLAN.
    NormalVlan,
    /// NORMAL: whether an ARP is gratuitous.
    GratuitousArp,
    /// NORMAL: customer VLAN at a port that carries some of them.
    CustomerVlan,
    /// NORMAL: inner VLAN at a port that it keeps a packet from.
    InnerVlan,
    /// Mirrors that select VLANs.
    MirrorVlan,
    /// Mirrors: the VLAN, where the bundle or the destination cares.
    MirrorEntry,
    /// Mirrors into a VLAN: whether the destination is a reserved address.
    MirrorAddress,
    /// Output to a bundle whose native VLAN leaves untagged: the VLAN.
    NativeVlan,
    /// Output with tags: whether a tag carries anything.
    ZeroTag,
    /// Output with more or fewer tags: those that moved.
    MovedTags,
    /// Output with priority tags: the priority.
    PriorityTag,
    /// Bond: what its hash is taken over.
    BondHash,
    /// In-band control: whether a packet is a DHCP reply.
    InBand,
    /// The queue, which decides a DSCP.
    QueueDscp,
    /// enqueue, set_queue, pop_queue.
    Queue,
    /// mod_vlan_vid.
    SetVlanVid,
    /// mod_vlan_pcp.
    SetVlanPcp,
    /// pop_vlan.
    PopVlan,
    /// push_vlan.
    PushVlan,
    /// mod_dl_src.
    SetEthSrc,
    /// mod_dl_dst.
    SetEthDst,
    /// mod_nw_src, mod_nw_dst.
    SetIpv4,
    /// mod_nw_tos, mod_nw_ecn, mod_nw_ttl.
    SetIpTos,
    /// mod_nw_ttl.
    SetIpTtl,
    /// mod_tp_src, mod_tp_dst.
    SetL4,
    /// dec_ttl.
    DecTtl,
    /// The IP protocol, without which the datapath cannot change an IP header.
    IpProto,
    /// How many MPLS labels there are.
    MplsCount,
    /// The headers that a pushed MPLS label copies or hides.
    MplsPush,
    /// The labels that a popped one uncovers.
    MplsPop,
    /// set_mpls_label, set_mpls_tc, set_mpls_ttl, dec_mpls_ttl.
    SetMpls,
    /// dec_nsh_ttl.
    DecNshTtl,
    /// Prerequisites of set_field.
    SetFieldPrereqs,
    /// set_field.
    SetField,
    /// move.
    Move,
    /// push of the register stack.
    StackPush,
    /// pop of the register stack.
    StackPop,
    /// What a multipath or bundle hash is taken over.
    HashFields,
    /// Layer 2, where such a hash finds nothing above it.
    HashLayer2,
    /// Where multipath, bundle_load or learn write.
    RegLoad,
    /// output:reg.
    OutputReg,
    /// What learn copies.
    Learn,
    /// fin_timeout.
    FinTimeout,
    /// Tunnel metadata that a frozen translation keeps.
    FrozenTunnel,
    /// The zone of ct.
    CtZone,
    /// Timeout policies of ct.
    CtTimeout,
    /// What a select group's hash is taken over.
    GroupHash,
    /// dp_hash of a select group.
    GroupDpHash,
    /// encap.
    Encap,
    /// decap.
    Decap,
    /// Set actions: that there is a network header to change.
    CommitProto,
    /// Set actions: fields that are written because their group is.
    CommitSet,
    /// Set actions: labels, which are set whole.
    CommitMpls,
    /// Tags that stay while others are removed or added.
    CommitTags,
    /// Tags that are removed.
    CommitVlan,
    /// The packet type, when headers are committed.
    CommitPacketType,
    /// Tunnel output of a packet that came out of a tunnel: metadata that are kept.
    TunnelKept,
    /// Tunnel output: inner headers that are inherited.
    TunnelInherit,
}

/// A set of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sites(u128);

impl Sites {
    /// True when `site` is one of them.
    #[must_use]
    pub fn has(self, site: Site) -> bool {
        self.0 >> (site as u16) & 1 == 1
    }
    fn add(&mut self, site: Site) {
        self.0 |= 1 << (site as u16);
    }
}

/// Wildcards under construction.
#[derive(Debug, Clone)]
pub struct Wild {
    mask: Mask,
    /// Boxed: hardly any translation has such marks.
    hidden: Option<Box<Mask>>,
    sites: Sites,
    mute: Option<Site>,
}

impl Wild {
    /// Nothing looked at yet; `mute` pretends that one place does not mark.
    #[must_use]
    pub fn new(mute: Option<Site>) -> Self {
        Self {
            mask: Mask::empty(),
            hidden: None,
            sites: Sites::default(),
            mute,
        }
    }
    /// `site` looked at what `set` sets.
    pub fn mark(&mut self, site: Site, set: impl FnOnce(&mut Flow)) {
        self.sites.add(site);
        if self.mute != Some(site) {
            set(&mut self.mask.0);
        }
    }
    /// As [`Self::mark`], where Open vSwitch does not.
    pub fn mark_hidden(&mut self, site: Site, set: impl FnOnce(&mut Flow)) {
        self.sites.add(site);
        if self.mute != Some(site) {
            set(&mut self.hidden.get_or_insert_default().0);
        }
    }
    /// `site` marks through a function that takes the whole mask.
    pub fn with<R>(&mut self, site: Site, f: impl FnOnce(&mut Mask) -> R) -> R {
        self.sites.add(site);
        if self.mute == Some(site) {
            f(&mut self.mask.clone())
        } else {
            f(&mut self.mask)
        }
    }
    /// The wildcards so far.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }
    /// The places that marked so far.
    #[must_use]
    pub fn sites(&self) -> Sites {
        self.sites
    }
    /// For what is no mark: wildcarding again what the datapath cannot match or must not.
    pub(crate) fn clear(&mut self, f: impl FnOnce(&mut Flow)) {
        f(&mut self.mask.0);
    }
    /// Rewrites the tunnel part, hidden marks too.
    pub(crate) fn map_tunnel(&mut self, f: impl Fn(&TunnelKey) -> TunnelKey) {
        self.mask.0.tunnel = f(&self.mask.0.tunnel);
        if let Some(hidden) = &mut self.hidden {
            hidden.0.tunnel = f(&hidden.0.tunnel);
        }
    }
    /// From now on hidden marks are marks like the others.
    pub(crate) fn reveal(&mut self) {
        if let Some(hidden) = self.hidden.take() {
            self.mask.union(&hidden);
        }
    }
}
