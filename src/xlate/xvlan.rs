//! VLANs as a bridge sees them: from a packet's tags to the VLAN it belongs to, and back, by the VLAN mode
//! of the bundles it enters and leaves by.

use crate::port::{PriorityTags, VlanMode, XBundle};
use flow::{Flow, Vlan};
use wire::U16;
use wire::ethernet::{ETH_TYPE_VLAN, is_vlan_type};

/// One tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tag {
    pub(crate) tpid: u16,
    pub(crate) vid: u16,
    /// Priority, in the upper three bits.
    pub(crate) pcp: u16,
}

/// A packet's tags, outermost first; absent ones are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct XVlan {
    pub(crate) tags: [Tag; Flow::VLANS_MAX],
    /// How far the packet's own tags moved inwards.
    pub(crate) moved: i8,
}

impl XVlan {
    /// The tags of a flow.
    pub(crate) fn of(flow: &Flow) -> Self {
        let mut x = Self::default();
        for (tag, v) in x.tags.iter_mut().zip(&flow.vlans) {
            if !is_vlan_type(v.tpid.get()) || !v.is_present() {
                break;
            }
            *tag = Tag {
                tpid: v.tpid.get(),
                vid: v.vid(),
                pcp: v.tci.get() & Vlan::PCP_MASK,
            };
        }
        x
    }

    /// The VLAN the packet is in.
    pub(crate) fn vid(&self) -> u16 {
        self.tags[0].vid
    }

    /// Writes the tags into a flow. A tag without VLAN id is written when it carries a priority, or when
    /// priority tags are always wanted.
    pub(crate) fn put(&self, flow: &mut Flow, tags: PriorityTags) {
        for (v, tag) in flow.vlans.iter_mut().zip(&self.tags) {
            let mut tci = tag.vid | tag.pcp & Vlan::PCP_MASK;
            if tci != 0 || tags == PriorityTags::Always && tag.tpid != 0 {
                tci |= Vlan::CFI;
                v.tpid = U16::new(if tag.tpid != 0 {
                    tag.tpid
                } else {
                    ETH_TYPE_VLAN
                });
            }
            v.tci = U16::new(tci);
        }
    }

    fn pop(&mut self) {
        self.tags.rotate_left(1);
        self.tags[Flow::VLANS_MAX - 1] = Tag::default();
        self.moved -= 1;
    }

    fn push(&mut self, tag: Tag) {
        self.tags.rotate_right(1);
        self.tags[0] = tag;
        self.moved += 1;
    }

    /// From tags as received on `bundle` to the VLAN inside the bridge.
    pub(crate) fn received_on(&self, bundle: &XBundle) -> Self {
        let native = |tag: Tag| Tag {
            tpid: if tag.tpid != 0 {
                tag.tpid
            } else {
                ETH_TYPE_VLAN
            },
            vid: bundle.vlan.unwrap_or(0),
            pcp: tag.pcp,
        };
        let mut x = *self;
        match bundle.vlan_mode {
            VlanMode::Access => {
                x = Self::default();
                x.tags[0] = native(self.tags[0]);
            }
            VlanMode::Trunk => {}
            VlanMode::NativeTagged | VlanMode::NativeUntagged => {
                if self.vid() == 0 {
                    x.tags[0] = native(self.tags[0]);
                }
            }
            VlanMode::Dot1qTunnel => x.push(Tag {
                tpid: bundle.qinq_ethtype,
                vid: bundle.vlan.unwrap_or(0),
                pcp: 0,
            }),
        }
        x
    }

    /// From the VLAN inside the bridge to the tags to send on `bundle`.
    pub(crate) fn sent_on(&self, bundle: &XBundle) -> Self {
        let mut x = *self;
        match bundle.vlan_mode {
            VlanMode::Access => x = Self::default(),
            VlanMode::Trunk | VlanMode::NativeTagged => {}
            VlanMode::NativeUntagged => {
                if Some(self.vid()) == bundle.vlan {
                    x.pop();
                }
            }
            VlanMode::Dot1qTunnel => x.pop(),
        }
        x
    }
}

/// Why a VLAN may not enter by a bundle.
pub(crate) fn refusal(bundle: &XBundle, vid: u16) -> Option<String> {
    let name = &bundle.name;
    match bundle.vlan_mode {
        VlanMode::Access => (vid != 0).then(|| {
            format!(
                "dropping VLAN {vid} tagged packet received on port {name} configured as VLAN {} \
                 access port",
                bundle.vlan.unwrap_or(0)
            )
        }),
        VlanMode::NativeTagged | VlanMode::NativeUntagged if vid == 0 => None,
        VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged => {
            (!bundle.trunks_vlan(vid)).then(|| {
                format!(
                    "dropping VLAN {vid} packet received on port {name} not configured for \
                     trunking VLAN {vid}"
                )
            })
        }
        VlanMode::Dot1qTunnel => (!bundle.allows_cvlan(vid)).then(|| {
            format!(
                "dropping VLAN {vid} packet received on dot1q-tunnel port {name} that excludes \
                 this VLAN"
            )
        }),
    }
}

/// True when packets with these tags belong onto a bundle.
pub(crate) fn includes(bundle: &XBundle, x: &XVlan) -> bool {
    match bundle.vlan_mode {
        VlanMode::Access => Some(x.vid()) == bundle.vlan && x.tags[1].vid == 0,
        VlanMode::Trunk | VlanMode::NativeTagged | VlanMode::NativeUntagged => {
            bundle.trunks_vlan(x.vid())
        }
        VlanMode::Dot1qTunnel => Some(x.vid()) == bundle.vlan && bundle.allows_cvlan(x.tags[1].vid),
    }
}
