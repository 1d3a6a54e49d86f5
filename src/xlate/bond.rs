//! What a bond says at the moment of the snapshot: whether a packet may enter, and which member carries
//! one out. The state machine behind it lives in `l2`.

use crate::hash;
use crate::port::{BondMode, XBond};
use crate::wild::{Site, Wild};
use flow::{Flow, OfPort};
use openflow::action::HashFields;
use wire::ethernet::{ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::{EthAddr, Ipv4, Ipv6};

/// What a bond says about a packet that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BondVerdict {
    Accept,
    Drop,
    DropIfMoved,
}

/// How far LACP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LacpStatus {
    /// It does not run.
    #[default]
    Disabled,
    /// It runs, without success so far.
    Configured,
    /// The partner agreed.
    Negotiated,
}

impl XBond {
    /// The mode that is in force; `None` when nothing may pass.
    fn effective_mode(&self) -> Option<BondMode> {
        match (self.lacp, self.mode) {
            (LacpStatus::Configured, _) => self
                .fallback_active_backup
                .then_some(BondMode::ActiveBackup),
            (LacpStatus::Disabled, BondMode::Tcp) => None,
            (_, mode) => Some(mode),
        }
    }

    /// Whether a packet to `dst` may enter by `member`.
    pub(crate) fn admits(&self, member: OfPort, dst: EthAddr) -> BondVerdict {
        let verdict = |ok: bool| {
            if ok {
                BondVerdict::Accept
            } else {
                BondVerdict::Drop
            }
        };
        match self.lacp {
            // The partner knows about the bond and does the right thing.
            LacpStatus::Negotiated => return verdict(self.enabled.contains(&member)),
            LacpStatus::Configured if !self.fallback_active_backup => return BondVerdict::Drop,
            LacpStatus::Disabled if self.mode == BondMode::Tcp => return BondVerdict::Drop,
            LacpStatus::Configured | LacpStatus::Disabled => {}
        }
        let active = self.active == Some(member);
        if dst.is_multicast() && !active && !self.all_members_active {
            return BondVerdict::Drop;
        }
        match self.mode {
            BondMode::Tcp | BondMode::ActiveBackup => verdict(active),
            BondMode::Slb => BondVerdict::DropIfMoved,
        }
    }

    /// The member by which a packet leaves; `None` drops it.
    pub(crate) fn choose(&self, flow: &Flow, vid: u16) -> Option<OfPort> {
        let hash = match self.effective_mode()? {
            BondMode::ActiveBackup => return self.active,
            BondMode::Slb => {
                let key = flow.dl_src.to_u64() | u64::from(vid) << 48;
                hash::number64(key, self.basis)
            }
            BondMode::Tcp => five_tuple(flow, self.basis),
        };
        let n = u32::try_from(self.members_by_hash.len())
            .ok()
            .filter(|n| *n > 0)?;
        self.members_by_hash[(hash % n) as usize]
    }

    /// Marks what [`Self::choose`] looks at.
    pub(crate) fn mark(&self, flow: &Flow, wc: &mut Wild) {
        match self.effective_mode() {
            Some(BondMode::Slb) => hash::mark_fields(flow, HashFields::EthSrc, Site::BondHash, wc),
            Some(BondMode::Tcp) => wc.mark(Site::BondHash, |m| mark_five_tuple(flow, m)),
            _ => {}
        }
    }
}

fn has_ports(flow: &Flow) -> bool {
    matches!(
        flow.nw_proto,
        PROTO_TCP | PROTO_UDP | PROTO_SCTP | PROTO_ICMP | PROTO_ICMPV6
    )
}

/// The hash of a TCP-balanced bond.
pub(crate) fn five_tuple(flow: &Flow, basis: u32) -> u32 {
    let words = |h: u32, b: &[u8]| b.chunks(4).fold(h, hash::add_bytes);
    let mut h = basis;
    match flow.dl_type.get() {
        ETH_TYPE_IP | ETH_TYPE_ARP => {
            h = words(words(h, &flow.nw_src.0), &flow.nw_dst.0);
        }
        ETH_TYPE_IPV6 => {
            h = words(words(h, &flow.ipv6_src.0), &flow.ipv6_dst.0);
        }
        _ => return hash::finish(h, 42),
    }
    h = hash::add(h, flow.nw_proto.into());
    if has_ports(flow) {
        let [a, b] = flow.tp_src.to_bytes();
        let [c, d] = flow.tp_dst.to_bytes();
        h = hash::add_bytes(h, &[a, b, c, d]);
    }
    hash::finish(h, 42)
}

fn mark_five_tuple(flow: &Flow, m: &mut Flow) {
    match flow.dl_type.get() {
        ETH_TYPE_IP | ETH_TYPE_ARP => {
            m.nw_src = Ipv4([0xff; 4]);
            m.nw_dst = Ipv4([0xff; 4]);
        }
        ETH_TYPE_IPV6 => {
            m.ipv6_src = Ipv6([0xff; 16]);
            m.ipv6_dst = Ipv6([0xff; 16]);
        }
        _ => return,
    }
    m.nw_proto = 0xff;
    if has_ports(flow) {
        hash::mark_ports(flow, m);
    }
}
