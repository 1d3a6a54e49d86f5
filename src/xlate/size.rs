//! How large actions would be as netlink attributes. No netlink is spoken here, but Open vSwitch's limits
//! on the size of a translation are in these bytes, and what is too large is handled in userspace.

use odp::{Action, Actions};

/// Header of an attribute.
const HEADER: usize = 4;
/// Actions larger than this do not fit a netlink attribute.
pub(crate) const ATTRIBUTE_MAX: usize = 0xffff - HEADER;

fn attr(payload: usize) -> usize {
    HEADER + payload.div_ceil(4) * 4
}

fn list(actions: &Actions) -> usize {
    attr(actions.iter().map(action_size).sum())
}

/// Bytes of one action.
pub(crate) fn action_size(a: &Action) -> usize {
    match a {
        Action::PopVlan | Action::PopEth | Action::PopNsh | Action::CtClear => attr(0),
        Action::PopMpls { .. } => attr(2),
        Action::Output(_)
        | Action::Recirc(_)
        | Action::Trunc { .. }
        | Action::Meter(_)
        | Action::TunnelPop(_)
        | Action::LbOutput(_)
        | Action::PushVlan { .. }
        | Action::Drop(_) => attr(4),
        Action::Hash { .. } | Action::PushMpls { .. } => attr(8),
        Action::AddMpls { .. } | Action::PushEth { .. } => attr(12),
        Action::Userspace(_) => attr(attr(4) + attr(48)),
        Action::Set(k) => attr(attr(key_size(k))),
        Action::SetMasked { key, .. } => attr(attr(2 * key_size(key))),
        Action::PushNsh(n) => attr(attr(8) + attr(n.md2.len().max(16))),
        Action::Sample { actions, .. } => attr(attr(4) + list(actions)),
        Action::Clone(actions) => list(actions),
        Action::Ct(_) => attr(80),
        Action::CheckPktLen {
            greater,
            less_equal,
            ..
        } => attr(attr(2) + list(greater) + list(less_equal)),
        Action::TunnelPush(_) => attr(532),
    }
}

fn key_size(k: &odp::SetKey) -> usize {
    use odp::SetKey as K;
    match k {
        K::Priority(_) | K::SkbMark(_) | K::Mpls { .. } => 4,
        K::Tcp { .. } | K::Udp { .. } | K::Sctp { .. } => 4,
        K::Icmp { .. } | K::Icmpv6 { .. } => 2,
        K::Tunnel(_) => 80,
        K::Ethernet { .. } | K::Ipv4 { .. } => 12,
        K::Ipv6 { .. } => 40,
        K::Arp { .. } | K::Nsh(_) => 24,
        K::Nd { .. } => 28,
        K::NdExtensions { .. } => 8,
    }
}
