//! Turning the difference between two flows into datapath actions.
//!
//! Translation changes a flow in place and emits nothing until a packet is about to leave (or to be
//! copied, recirculated, sampled). Then [`commit`] compares the flow with `base`, the flow that the
//! datapath would see after the actions so far, and emits what leads from one to the other. The order of
//! the actions is fixed, and only as many fields are named in a masked set as changed.
//!
//! A group of fields is set by one action. A bit that is set must be exact in the wildcards, because
//! whether the action is needed depends on the packet's own value.

use crate::headers::{
    PT_ETH, PT_MPLS, PT_MPLS_MC, PT_NSH, copy_headers, is_ethertype_packet, is_ip, is_mpls,
    mpls_common, mpls_count, mpls_pop, mpls_push, vlan_count,
};
use crate::wild::{Site, Wild};
use flow::Flow;
use odp::action::NshPush;
use odp::{Action, Actions, SetKey, SlowReason};
use std::mem::offset_of;
use wire::ethernet::{ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_NSH};
use wire::ipv4::{ECN_MASK, PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::{U16, U32};

/// Headers that translation put on or took off and that the next commit must do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    /// A header was put in front.
    pub(crate) encap: bool,
    /// A header was taken off.
    pub(crate) decap: bool,
    /// Metadata (type 2) of an NSH header.
    pub(crate) nsh_md2: Option<Vec<u8>>,
}

/// What one set action sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Ethernet,
    Ipv4,
    Ipv6,
    Arp,
    Nd,
    NdExtensions,
    Nsh,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
    Priority,
    Mark,
}

/// A field as a byte range of a [`Flow`].
type Span = (usize, usize);

macro_rules! spans {
    ($($field:ident $(. $sub:ident)? : $len:expr),* $(,)?) => {
        &[$((offset_of!(Flow, $field $(. $sub)?), $len)),*]
    };
}

impl Group {
    fn spans(self) -> &'static [Span] {
        match self {
            Self::Ethernet => spans!(dl_src: 6, dl_dst: 6),
            Self::Ipv4 => {
                spans!(nw_src: 4, nw_dst: 4, nw_proto: 1, nw_tos: 1, nw_ttl: 1, nw_frag: 1)
            }
            Self::Ipv6 => spans!(ipv6_src: 16, ipv6_dst: 16, ipv6_label: 4, nw_proto: 1, nw_tos: 1,
                                 nw_ttl: 1, nw_frag: 1),
            Self::Arp => spans!(nw_src: 4, nw_dst: 4, nw_proto: 1, arp_sha: 6, arp_tha: 6),
            Self::Nd => spans!(nd_target: 16, arp_sha: 6, arp_tha: 6),
            Self::NdExtensions => spans!(igmp_group_ip4: 4, tcp_flags: 2),
            Self::Nsh => spans!(nsh: 24),
            Self::Tcp | Self::Udp | Self::Sctp | Self::Icmp | Self::Icmpv6 => {
                spans!(tp_src: 2, tp_dst: 2)
            }
            Self::Priority => spans!(skb_priority: 4),
            Self::Mark => spans!(pkt_mark: 4),
        }
    }

    /// The set action's key with the values of a flow (or of a mask).
    fn key(self, f: &Flow) -> SetKey {
        let (src, dst) = (f.tp_src.get(), f.tp_dst.get());
        match self {
            Self::Ethernet => SetKey::Ethernet {
                src: f.dl_src,
                dst: f.dl_dst,
            },
            Self::Ipv4 => SetKey::Ipv4 {
                src: f.nw_src,
                dst: f.nw_dst,
                proto: f.nw_proto,
                tos: f.nw_tos,
                ttl: f.nw_ttl,
                frag: odp_frag(f.nw_frag),
            },
            Self::Ipv6 => SetKey::Ipv6 {
                src: f.ipv6_src,
                dst: f.ipv6_dst,
                label: f.ipv6_label.get(),
                proto: f.nw_proto,
                tclass: f.nw_tos,
                hlimit: f.nw_ttl,
                frag: odp_frag(f.nw_frag),
            },
            Self::Arp => SetKey::Arp {
                sip: f.nw_src,
                tip: f.nw_dst,
                op: if f.nw_proto == 0xff {
                    0xffff
                } else {
                    f.nw_proto.into()
                },
                sha: f.arp_sha,
                tha: f.arp_tha,
            },
            Self::Nd => SetKey::Nd {
                target: f.nd_target,
                sll: f.arp_sha,
                tll: f.arp_tha,
            },
            Self::NdExtensions => SetKey::NdExtensions {
                reserved: f.igmp_group_ip4.get(),
                options_type: (f.tcp_flags.get() & 0xff) as u8,
            },
            Self::Nsh => SetKey::Nsh(f.nsh),
            Self::Tcp => SetKey::Tcp { src, dst },
            Self::Udp => SetKey::Udp { src, dst },
            Self::Sctp => SetKey::Sctp { src, dst },
            Self::Icmp => SetKey::Icmp {
                type_: (src & 0xff) as u8,
                code: (dst & 0xff) as u8,
            },
            Self::Icmpv6 => SetKey::Icmpv6 {
                type_: (src & 0xff) as u8,
                code: (dst & 0xff) as u8,
            },
            Self::Priority => SetKey::Priority(f.skb_priority.get()),
            Self::Mark => SetKey::SkbMark(f.pkt_mark.get()),
        }
    }

    /// Groups whose mask can never be all ones, so that they are always set under a mask: they hold a
    /// field that cannot be written, or padding.
    const fn never_exact(self) -> bool {
        matches!(
            self,
            Self::Ipv4 | Self::Ipv6 | Self::Arp | Self::NdExtensions | Self::Nsh
        )
    }

    /// Groups that are set whole, never under a mask.
    const fn never_masked(self) -> bool {
        matches!(self, Self::Icmp | Self::Icmpv6)
    }
}

/// A fragment type as the datapath has it: none, first, later.
fn odp_frag(nw_frag: u8) -> u8 {
    match nw_frag & (Flow::FRAG_ANY | Flow::FRAG_LATER) {
        0 => 0,
        n if n & Flow::FRAG_LATER == 0 => 1,
        _ => 2,
    }
}

/// One commit: from `base` to `flow`.
struct Commit<'a> {
    flow: &'a Flow,
    base: &'a mut Flow,
    wc: &'a mut Wild,
    out: &'a mut Actions,
    masked: bool,
}

/// Emits into `out` what leads from `base` to `flow` and moves `base` there. Tunnel metadata are not
/// looked at. Tells why the datapath cannot do it all, if so.
pub(crate) fn commit(
    (flow, base): (&Flow, &mut Flow),
    wc: &mut Wild,
    out: &mut Actions,
    masked: bool,
    pending: &mut Pending,
) -> SlowReason {
    let mut c = Commit {
        flow,
        base,
        wc,
        out,
        masked,
    };
    c.encap_decap(pending);
    c.ethernet();
    // Headers under a label can be set only once the label is gone.
    let unlabel = is_mpls(c.base) && !is_mpls(c.flow);
    if unlabel {
        c.mpls(false);
    }
    c.nsh();
    let mut slow = c.network();
    c.ports();
    if slow.is_empty() {
        slow = c.icmp();
    } else {
        c.icmp();
    }
    if !unlabel {
        c.mpls(false);
    }
    c.vlan();
    c.set(Group::Priority, |_| {});
    c.set(Group::Mark, |_| {});
    *pending = Pending::default();
    slow
}

impl Commit<'_> {
    /// True when a field of the group is to change.
    fn differs(&self, group: Group) -> bool {
        group.spans().iter().any(|&(ofs, len)| {
            self.flow.bytes()[ofs..ofs + len] != self.base.bytes()[ofs..ofs + len]
        })
    }

    /// Sets a group's fields where they differ; `readonly` clears from the mask what cannot be written.
    /// True when something was emitted.
    fn set(&mut self, group: Group, readonly: impl FnOnce(&mut Flow)) -> bool {
        if !self.differs(group) {
            return false;
        }
        let mut mask = self.wc.mask().0;
        readonly(&mut mask);
        for &(ofs, len) in group.spans() {
            let r = ofs..ofs + len;
            if self.flow.bytes()[r.clone()] == self.base.bytes()[r.clone()] {
                mask.bytes_mut()[r].fill(0);
            }
        }
        let exact = !group.never_exact()
            && group
                .spans()
                .iter()
                .all(|&(ofs, len)| mask.bytes()[ofs..ofs + len].iter().all(|b| *b == 0xff));
        if self.masked && !exact && !group.never_masked() || group == Group::Arp {
            let masked = self.flow.masked(&flow::Mask(mask));
            self.out.push(Action::SetMasked {
                key: group.key(&masked),
                mask: group.key(&mask),
            });
        } else {
            for &(ofs, len) in group.spans() {
                mask.bytes_mut()[ofs..ofs + len].fill(0xff);
            }
            self.out.push(Action::Set(group.key(self.flow)));
        }
        for &(ofs, len) in group.spans() {
            let r = ofs..ofs + len;
            self.base.bytes_mut()[r.clone()].copy_from_slice(&self.flow.bytes()[r]);
        }
        self.wc.mark(Site::CommitSet, |m| {
            for &(ofs, len) in group.spans() {
                for i in ofs..ofs + len {
                    m.bytes_mut()[i] |= mask.bytes()[i];
                }
            }
        });
        true
    }

    fn ethernet(&mut self) {
        if self.flow.packet_type.get() == PT_ETH && self.base.packet_type.get() == PT_ETH {
            self.set(Group::Ethernet, |_| {});
        }
    }

    /// Headers of IP protocol (or ARP operation) 0 are not changed. Flows of other protocols do not say so: a
    /// packet of protocol 0 that comes across one of them is changed with the others.
    fn depends_on_zero_proto(&mut self, group: Group) {
        if self.flow.nw_proto == 0 {
            self.depends_on_proto(group);
        }
    }

    /// Whether and how headers above the EtherType can be changed depends on the IP protocol.
    fn depends_on_proto(&mut self, group: Group) {
        if self.differs(group) {
            self.wc
                .mark_hidden(Site::CommitProto, |m| m.nw_proto = 0xff);
        }
    }

    fn network(&mut self) -> SlowReason {
        match self.base.dl_type.get() {
            ETH_TYPE_IP => self.depends_on_zero_proto(Group::Ipv4),
            ETH_TYPE_IPV6 => {
                self.depends_on_zero_proto(Group::Ipv6);
                self.depends_on_proto(Group::Nd);
                self.depends_on_proto(Group::NdExtensions);
            }
            ETH_TYPE_ARP => self.depends_on_zero_proto(Group::Arp),
            _ => {}
        }
        if self.flow.nw_proto == 0 {
            return SlowReason::default();
        }
        // A tunnel decapsulation may change ECN on its own: leave those bits alone unless they differ.
        let keep_ecn =
            self.base.tunnel.is_set() && (self.base.nw_tos ^ self.flow.nw_tos) & ECN_MASK == 0;
        let readonly = |m: &mut Flow| {
            m.nw_proto = 0;
            m.nw_frag = 0;
            if keep_ecn {
                m.nw_tos &= !ECN_MASK;
            }
        };
        let slow = match self.base.dl_type.get() {
            ETH_TYPE_IP => {
                self.set(Group::Ipv4, readonly);
                false
            }
            ETH_TYPE_IPV6 => {
                self.set(Group::Ipv6, readonly);
                if self.base.nw_proto == PROTO_ICMPV6 {
                    let ext = self.set(Group::NdExtensions, |_| {});
                    self.set(Group::Nd, |_| {}) || ext
                } else {
                    false
                }
            }
            ETH_TYPE_ARP => self.set(Group::Arp, |_| {}),
            _ => false,
        };
        slow_if(slow)
    }

    fn ports(&mut self) {
        if is_ip(self.base) {
            self.depends_on_proto(Group::Tcp);
        }
        if self.flow.nw_proto == 0 || !is_ip(self.base) {
            return;
        }
        let group = match self.flow.nw_proto {
            PROTO_TCP => Group::Tcp,
            PROTO_UDP => Group::Udp,
            PROTO_SCTP => Group::Sctp,
            _ => return,
        };
        self.set(group, |_| {});
    }

    fn icmp(&mut self) -> SlowReason {
        let group = match (self.flow.dl_type.get(), self.flow.nw_proto) {
            (ETH_TYPE_IP, PROTO_ICMP) => Group::Icmp,
            (ETH_TYPE_IPV6, PROTO_ICMPV6) => Group::Icmpv6,
            _ => return SlowReason::default(),
        };
        slow_if(self.set(group, |_| {}))
    }

    fn nsh(&mut self) {
        if self.flow.dl_type.get() == ETH_TYPE_NSH {
            self.set(Group::Nsh, |m| {
                m.nsh.mdtype = 0;
                m.nsh.np = 0;
            });
        }
    }

    fn vlan(&mut self) {
        if self.base.vlans == self.flow.vlans {
            return;
        }
        let mut old = vlan_count(self.base);
        // Which tags stay is found out by comparing them.
        self.wc.mark_hidden(Site::CommitTags, |m| {
            for tag in &mut m.vlans {
                tag.tpid = U16::MAX_VALUE;
                tag.tci = U16::MAX_VALUE;
            }
        });
        let mut new = vlan_count(self.flow);
        while old > 0 && new > 0 && self.base.vlans[old - 1] == self.flow.vlans[new - 1] {
            old -= 1;
            new -= 1;
        }
        for i in (0..old).rev() {
            self.out.push(Action::PopVlan);
            self.wc.mark(Site::CommitVlan, |m| {
                m.vlans[i].tpid = U16::MAX_VALUE;
                m.vlans[i].tci = U16::MAX_VALUE;
            });
        }
        for tag in self.flow.vlans[..new].iter().rev() {
            self.out.push(Action::PushVlan {
                tpid: tag.tpid.get(),
                tci: tag.tci.get(),
            });
        }
        self.base.vlans = self.flow.vlans;
    }

    /// Entries are set and pushed whole, with what nobody changed in them.
    fn mark_labels(&mut self) {
        self.wc
            .mark_hidden(Site::CommitMpls, |m| m.mpls_lse.fill(U32::MAX_VALUE));
    }

    /// Labels: what they depend on was marked when they were pushed and popped.
    fn mpls(&mut self, encap: bool) {
        let mut base_n = mpls_count(self.base, None);
        let flow_n = mpls_count(self.flow, None);
        let mut common = mpls_common(self.flow, flow_n, self.base, base_n);
        let flow_type = self.flow.dl_type.get();
        while base_n > common {
            if base_n - 1 == common && flow_n > common {
                // The outermost that differs can be changed in place.
                let lse = self.flow.mpls_lse[flow_n.saturating_sub(base_n)];
                self.out.push(Action::Set(SetKey::Mpls { lse: lse.get() }));
                self.mark_labels();
                self.base.mpls_lse[0] = lse;
                common += 1;
            } else {
                // While labels remain, what follows is MPLS.
                let ethertype = if !is_mpls(self.flow) && base_n > 1 {
                    ETH_TYPE_MPLS
                } else {
                    flow_type
                };
                self.out.push(Action::PopMpls { ethertype });
                if !mpls_pop(self.base, base_n, flow_type, None) {
                    break;
                }
                base_n -= 1;
            }
        }
        if base_n < flow_n {
            self.mark_labels();
        }
        while base_n < flow_n {
            let lse = self.flow.mpls_lse[flow_n - base_n - 1];
            let (ethertype, lse_n) = (flow_type, lse.get());
            self.out.push(if encap {
                Action::AddMpls {
                    ethertype,
                    lse: lse_n,
                    l3: false,
                }
            } else {
                Action::PushMpls {
                    ethertype,
                    lse: lse_n,
                }
            });
            mpls_push(self.base, base_n, flow_type, None, false);
            self.base.mpls_lse[0] = lse;
            base_n += 1;
        }
    }

    fn encap_decap(&mut self, pending: &mut Pending) {
        let (flow_pt, base_pt) = (self.flow.packet_type.get(), self.base.packet_type.get());
        if pending.encap {
            match flow_pt {
                PT_ETH => {
                    self.out.push(Action::PushEth {
                        src: self.flow.dl_src,
                        dst: self.flow.dl_dst,
                    });
                    self.base.packet_type = self.flow.packet_type;
                    self.base.dl_src = self.flow.dl_src;
                    self.base.dl_dst = self.flow.dl_dst;
                }
                PT_NSH => {
                    self.out.push(Action::PushNsh(Box::new(NshPush {
                        key: self.flow.nsh,
                        md2: pending.nsh_md2.take().unwrap_or_default(),
                    })));
                    self.base.packet_type = self.flow.packet_type;
                    copy_headers(self.base, self.flow);
                }
                PT_MPLS | PT_MPLS_MC => self.mpls(true),
                _ => {}
            }
        } else if pending.decap || flow_pt != base_pt {
            match base_pt {
                PT_ETH if is_ethertype_packet(flow_pt) => {
                    self.out.push(Action::PopEth);
                    self.base.packet_type = self.flow.packet_type;
                    self.base.dl_src = wire::EthAddr::ZERO;
                    self.base.dl_dst = wire::EthAddr::ZERO;
                }
                PT_NSH => self.out.push(Action::PopNsh),
                PT_MPLS | PT_MPLS_MC => self.mpls(false),
                _ => {}
            }
        }
        self.wc
            .mark(Site::CommitPacketType, |m| m.packet_type = U32::MAX_VALUE);
    }
}

fn slow_if(slow: bool) -> SlowReason {
    if slow {
        SlowReason::ACTION
    } else {
        SlowReason::default()
    }
}
