//! NORMAL: an Ethernet switch with VLANs and MAC learning.
//!
//! Learning is an effect: it happens when the effects are applied, not here. A packet whose source and
//! destination are the same address must still find itself learned, so the lookup sees the effects of this
//! translation too.

use crate::bond::BondVerdict;
use crate::ctx::{Ctx, NfOut};
use crate::deps::MacDep;
use crate::effects::Effect;
use crate::port::{
    BondMode, BundleId, PacketTypeMode, PriorityTags, VlanMode, XBond, XBundle, XPort,
};
use crate::ports::{BondRecirc, Out};
use crate::trace::NodeKind;
use crate::wild::Site;
use crate::xvlan::{self, XVlan};
use base::sync::read;
use flow::{OfPort, Vlan};
use l2::{MacTable, PortKey, Sighting};
use wire::ethernet::{ETH_TYPE_ARP, is_vlan_type};
use wire::{EthAddr, Ipv4, U16};

/// Where a packet entered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// By a bundle.
    Bundle(&'a XBundle, &'a XPort),
    /// From the controller or from nowhere: everything is allowed.
    Controller,
}

impl<'a> Entry<'a> {
    /// The bundle, if any.
    pub(crate) fn bundle(self) -> Option<&'a XBundle> {
        match self {
            Self::Bundle(b, _) => Some(b),
            Self::Controller => None,
        }
    }
}

impl<'a> Ctx<'a> {
    /// The bundle by which a packet on `port` enters. `None`, with a complaint, when there is none.
    pub(crate) fn entry(&mut self, port: OfPort) -> Option<Entry<'a>> {
        if let Some(xport) = self.port(port)
            && let Some(bundle) = self.bundle_of(xport)
        {
            return Some(Entry::Bundle(bundle, xport));
        }
        if matches!(port, OfPort::CONTROLLER | OfPort::NONE) {
            return Some(Entry::Controller);
        }
        // A port that was just removed, or that is not configured yet.
        self.complain(|| format!("received packet on unknown port {}", port.0));
        None
    }

    /// The NORMAL action.
    pub(crate) fn normal(&mut self) {
        self.wc.mark(Site::NormalSrc, |m| m.dl_src.0 = [0xff; 6]);
        self.wc.mark(Site::NormalDst, |m| m.dl_dst.0 = [0xff; 6]);
        self.wc.mark(Site::NormalVlan, |m| {
            m.vlans[0].tci |= U16::new(Vlan::VID_MASK | Vlan::CFI);
        });
        let Some(entry) = self.entry(self.in_port()) else {
            self.note(NodeKind::Warn, || "no input bundle, dropping".into());
            return;
        };
        let Some(xvlan) = self.admit(entry) else {
            return;
        };
        self.learn_source(entry, xvlan.vid());
        self.forward(entry, &xvlan);
    }

    /// Decides whether the packet may enter; the VLAN it is in.
    fn admit(&mut self, entry: Entry<'a>) -> Option<XVlan> {
        let tags = XVlan::of(&self.flow);
        let Entry::Bundle(bundle, port) = entry else {
            return Some(tags);
        };
        if is_vlan_type(self.flow.dl_type.get()) && !self.flow.vlans[0].is_present() {
            if self.packet.is_some() {
                self.complain(|| {
                    format!(
                        "dropping packet with partial VLAN tag received on port {}",
                        bundle.name
                    )
                });
            }
            self.note(NodeKind::Warn, || "partial VLAN tag, dropping".into());
            return None;
        }
        if self.bridge.is_mirror_output(bundle.id) {
            if self.packet.is_some() {
                self.complain(|| {
                    format!(
                        "dropping packet received on port {}, which is reserved exclusively for \
                         mirroring",
                        bundle.name
                    )
                });
            }
            self.note(NodeKind::Warn, || {
                "input port is mirror output port, dropping".into()
            });
            return None;
        }
        if let Some(why) = xvlan::refusal(bundle, tags.vid()) {
            self.complain(|| why);
            self.note(NodeKind::Warn, || {
                "disallowed VLAN VID for this input port, dropping".into()
            });
            return None;
        }
        let inside = tags.received_on(bundle);
        self.admissible(bundle, port, inside.vid())
            .then_some(inside)
    }

    fn admissible(&mut self, bundle: &'a XBundle, port: &XPort, vlan: u16) -> bool {
        if !self.bridge.forward_bpdu && self.flow.dl_dst.is_reserved() {
            self.note(NodeKind::Detail, || {
                "packet has reserved destination MAC, dropping".into()
            });
            return false;
        }
        let Some(bond) = &bundle.bond else {
            return true;
        };
        match bond.admits(port.ofp, self.flow.dl_dst) {
            BondVerdict::Accept => true,
            BondVerdict::Drop => {
                self.note(NodeKind::Detail, || {
                    "bonding refused admissibility, dropping".into()
                });
                false
            }
            BondVerdict::DropIfMoved => {
                let mac = self.flow.dl_src;
                let moved = self
                    .lookup_mac(vlan, mac)
                    .is_some_and(|there| there != bundle.id);
                if moved && (!self.is_gratuitous_arp() || self.is_locked(vlan, mac)) {
                    self.note(NodeKind::Detail, || {
                        "SLB bond thinks this packet looped back, dropping".into()
                    });
                    return false;
                }
                true
            }
        }
    }

    fn is_locked(&self, vlan: u16, mac: EthAddr) -> bool {
        read(&self.bridge.macs).is_locked(vlan, mac, self.now)
    }

    /// Announces an address, as a machine does after it moved.
    fn is_gratuitous_arp(&mut self) -> bool {
        use wire::arp::{OP_REPLY, OP_REQUEST};
        if self.flow.dl_type.get() != ETH_TYPE_ARP {
            return false;
        }
        self.wc
            .mark(Site::GratuitousArp, |m| m.dl_dst.0 = [0xff; 6]);
        if self.flow.dl_dst != EthAddr::BROADCAST {
            return false;
        }
        self.wc.mark(Site::GratuitousArp, |m| m.nw_proto = 0xff);
        match u16::from(self.flow.nw_proto) {
            OP_REPLY => true,
            OP_REQUEST => {
                self.wc.mark(Site::GratuitousArp, |m| {
                    m.nw_src = Ipv4([0xff; 4]);
                    m.nw_dst = Ipv4([0xff; 4]);
                });
                self.flow.nw_src == self.flow.nw_dst
            }
            _ => false,
        }
    }

    fn learn_source(&mut self, entry: Entry<'a>, vlan: u16) {
        let gratuitous_arp = self.is_gratuitous_arp();
        let Entry::Bundle(bundle, port) = entry else {
            return;
        };
        if self.flow.packet_type.get() != 0 || port.packet_type == PacketTypeMode::LegacyL3 {
            return;
        }
        let seen = Sighting {
            mac: self.flow.dl_src,
            vlan,
            port: bundle.id.key(),
            bond: bundle.bond.is_some(),
            gratuitous_arp,
        };
        if self.may_learn && self.moves(&seen) {
            let mac = seen.mac;
            self.mention(NodeKind::Detail, || {
                format!(
                    "learned that {mac} is on port {} in VLAN {vlan}",
                    bundle.name
                )
            });
        }
        self.effect(Effect::MacLearn {
            bridge: self.bridge.id,
            port: port.ofp,
            seen,
        });
    }

    /// The sender was not known to be there.
    fn moves(&self, seen: &Sighting) -> bool {
        let macs = read(&self.bridge.macs);
        let before = self
            .learned_here(&macs, seen.vlan, seen.mac)
            .or_else(|| macs.lookup(seen.vlan, seen.mac));
        let after = macs.after_update(seen, self.now);
        after.is_some() && after != before
    }

    /// Where an address will be when this translation's effects are applied, if it learned it.
    fn learned_here(&self, macs: &MacTable, vlan: u16, mac: EthAddr) -> Option<PortKey> {
        if !self.may_learn {
            return None;
        }
        self.out.effects.iter().rev().find_map(|e| match e {
            Effect::MacLearn { bridge, seen, .. }
                if *bridge == self.bridge.id && seen.vlan == vlan && seen.mac == mac =>
            {
                macs.after_update(seen, self.now)
            }
            _ => None,
        })
    }

    /// Where an address is, with what this translation itself learned.
    fn lookup_mac(&mut self, vlan: u16, mac: EthAddr) -> Option<BundleId> {
        let macs = read(&self.bridge.macs);
        let known = macs.lookup(vlan, mac).map(BundleId::of);
        let learned = self.learned_here(&macs, vlan, mac);
        drop(macs);
        self.out.deps.macs.push(MacDep {
            bridge: self.bridge.id,
            vlan,
            mac,
            found: known,
        });
        learned.map(BundleId::of).or(known)
    }

    /// To the port where the destination is, or to all.
    fn forward(&mut self, entry: Entry<'a>, xvlan: &XVlan) {
        let Some(id) = self.lookup_mac(xvlan.vid(), self.flow.dl_dst) else {
            self.note(NodeKind::Detail, || {
                "no learned MAC for destination, flooding".into()
            });
            self.normal_flood(entry, xvlan);
            return;
        };
        if self.bridge.is_mirror_output(id) {
            self.note(NodeKind::Warn, || {
                "learned port is a mirror port, dropping".into()
            });
            return;
        }
        match self.bridge.bundles.get(&id) {
            None => self.note(NodeKind::Warn, || {
                "learned port is unknown, dropping".into()
            }),
            Some(to) if entry.bundle().is_none_or(|from| from.id != to.id) => {
                self.note(NodeKind::Detail, || "forwarding to learned port".into());
                self.output_normal(to, xvlan);
            }
            Some(_) => self.note(NodeKind::Detail, || {
                "learned port is input port, dropping".into()
            }),
        }
    }

    /// To every bundle that carries the VLAN.
    pub(crate) fn normal_flood(&mut self, entry: Entry<'a>, xvlan: &XVlan) {
        let bridge = self.bridge;
        for (id, bundle) in &bridge.bundles {
            self.mark_inner_vlan(bundle, xvlan);
            if entry.bundle().is_none_or(|from| from.id != *id)
                && xvlan::includes(bundle, xvlan)
                && bundle.floodable
                && !bridge.is_mirror_output(*id)
            {
                self.output_normal(bundle, xvlan);
            }
        }
        self.nf_out = NfOut::Flood;
    }

    /// A port may keep a packet of its VLAN out for the inner tag.
    fn mark_inner_vlan(&mut self, bundle: &XBundle, xvlan: &XVlan) {
        let looks = match bundle.vlan_mode {
            VlanMode::Access => xvlan.tags[1].tpid != 0,
            VlanMode::Dot1qTunnel => !bundle.allows_cvlan(xvlan.tags[1].vid),
            _ => false,
        };
        if looks && bundle.vlan == Some(xvlan.vid()) {
            self.wc
                .mark_hidden(Site::InnerVlan, |m| m.vlans[1].tci = U16::MAX_VALUE);
        }
    }

    /// Out of a bundle, with the tags its VLAN mode asks for.
    pub(crate) fn output_normal(&mut self, bundle: &'a XBundle, xvlan: &XVlan) {
        if bundle.vlan_mode == VlanMode::Dot1qTunnel && bundle.cvlans.is_some() {
            self.wc
                .mark(Site::CustomerVlan, |m| m.vlans[1].tci = U16::MAX_VALUE);
        }
        // A mirror copies to an access port without having looked at the VLAN.
        if matches!(
            bundle.vlan_mode,
            VlanMode::NativeUntagged | VlanMode::Access
        ) {
            self.wc.mark_hidden(Site::NativeVlan, |m| {
                m.vlans[0].tci |= U16::new(Vlan::VID_MASK | Vlan::CFI);
            });
        }
        let mut tags = xvlan.sent_on(bundle);
        if bundle.priority_tags != PriorityTags::Never {
            self.wc.mark_hidden(Site::PriorityTag, |m| {
                m.vlans[0].tci |= U16::new(Vlan::PCP_MASK | Vlan::CFI);
            });
            tags.tags[0].pcp = self.flow.vlans[0].tci.get() & Vlan::PCP_MASK;
        }
        self.mark_zero_tags(bundle);
        let vid = tags.vid();
        let (port, bond) = match &bundle.bond {
            None => match bundle.ports.first() {
                Some(p) => (*p, None),
                None => return,
            },
            Some(bond) => match self.bond_member(bundle, bond, vid) {
                Some(chosen) => chosen,
                None => return,
            },
        };
        let before = self.flow.vlans;
        tags.put(&mut self.flow, bundle.priority_tags);
        if tags.moved != 0 || self.flow.vlans != before {
            self.mark_tags(&before);
        }
        self.compose_output(
            port,
            Out {
                bond,
                ..Out::default()
            },
        );
        self.flow.vlans = before;
    }

    /// Tags that carry neither a VLAN nor a priority are left out, so that whether a tag is zero matters.
    fn mark_zero_tags(&mut self, bundle: &XBundle) {
        if bundle.vlan_mode == VlanMode::Access || bundle.priority_tags == PriorityTags::Always {
            return;
        }
        let tags = self.flow.vlans;
        for (i, tag) in tags.iter().enumerate().filter(|(_, t)| t.is_present()) {
            let bits = tag.tci.get() & !Vlan::CFI;
            // One bit proves that it is not zero.
            let looked = match bits {
                0 => !Vlan::CFI,
                b => 1 << b.trailing_zeros(),
            };
            self.wc
                .mark_hidden(Site::ZeroTag, |m| m.vlans[i].tci |= U16::new(looked));
        }
    }

    /// Tags that moved inwards or outwards, that a port takes off or rewrites. What looks at moved ones
    /// afterwards marks their new place; and behind a patch port tags may be put on again as they were, so
    /// that nobody else looks at them.
    fn mark_tags(&mut self, tags: &[Vlan]) {
        let n = tags.iter().take_while(|t| t.is_present()).count();
        self.wc.mark_hidden(Site::MovedTags, |m| {
            for tag in &mut m.vlans[..n] {
                tag.tpid = U16::MAX_VALUE;
                tag.tci = U16::MAX_VALUE;
            }
        });
    }

    /// The member of a bond that carries the flow.
    fn bond_member(
        &mut self,
        bundle: &XBundle,
        bond: &XBond,
        vid: u16,
    ) -> Option<(OfPort, Option<BondRecirc>)> {
        let recirc = self.snap.features.recirc && bond.recirc_id != 0;
        let via = recirc.then_some(BondRecirc {
            id: bond.recirc_id,
            basis: bond.basis,
            lb_output: bond.lb_output && self.snap.features.lb_output_action,
        });
        if !recirc {
            bond.mark(&self.flow, &mut self.wc);
        }
        let member = bond.choose(&self.flow, vid)?;
        if !recirc && bond.mode != BondMode::ActiveBackup {
            self.effect(Effect::Bond {
                bridge: self.bridge.id,
                bundle: bundle.id,
                flow: Box::new(self.flow),
                vid,
            });
        }
        Some((member, via))
    }
}
