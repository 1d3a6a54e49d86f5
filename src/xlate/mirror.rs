//! Mirrors: copies of packets that enter or leave by selected bundles.

use crate::ctx::Ctx;
use crate::effects::Effect;
use crate::normal::Entry;
use crate::port::{BundleId, VlanMode, XPort};
use crate::snapshot::XMirror;
use crate::wild::Site;
use crate::xvlan::{self, XVlan};
use flow::Vlan;
use wire::U16;

/// Bits of the mirrors for which `select` is true.
fn bits(mirrors: &[XMirror], select: impl Fn(&XMirror) -> bool) -> u32 {
    mirrors
        .iter()
        .take(32)
        .enumerate()
        .filter(|(_, m)| select(m))
        .fold(0, |set, (i, _)| set | 1 << i)
}

fn selects(list: Option<&Vec<BundleId>>, bundle: BundleId) -> bool {
    list.is_none_or(|l| l.contains(&bundle))
}

impl<'a> Ctx<'a> {
    /// Copies a packet that came in.
    pub(crate) fn mirror_ingress(&mut self) {
        if self.bridge.mirrors.is_empty() {
            return;
        }
        let Some(entry) = self.entry(self.in_port()) else {
            return;
        };
        if let Entry::Bundle(bundle, _) = entry {
            let set = bits(&self.bridge.mirrors, |m| {
                selects(m.select_src.as_ref(), bundle.id)
            });
            self.mirror(entry, set);
        }
    }

    /// Copies a packet that leaves by a port.
    pub(crate) fn mirror_egress(&mut self, port: &'a XPort) {
        if self.bridge.mirrors.is_empty() {
            return;
        }
        if let Some(bundle) = self.bundle_of(port) {
            let set = bits(&self.bridge.mirrors, |m| {
                selects(m.select_dst.as_ref(), bundle.id)
            });
            self.mirror(Entry::Bundle(bundle, port), set);
        }
    }

    fn mirror(&mut self, entry: Entry<'a>, candidates: u32) {
        let tags = XVlan::of(&self.flow);
        let bundle = entry.bundle();
        let refusal = bundle.and_then(|b| xvlan::refusal(b, tags.vid()));
        let refused = refusal.is_some();
        if let Some(why) = refusal {
            self.complain(|| why);
        }
        if candidates & !self.mirrors == 0 {
            return;
        }
        if bundle.is_some_and(|b| b.vlan_mode != VlanMode::Trunk || b.trunks.is_some()) {
            self.mark_mirrored_vlan();
        }
        if refused {
            return;
        }
        let xvlan = bundle.map_or(tags, |b| tags.received_on(b));
        let bridge = self.bridge;
        let mut used = 0u32;
        for (i, mirror) in bridge.mirrors.iter().take(32).enumerate() {
            // Copies may have been copied: look again each time.
            if candidates & !self.mirrors & 1 << i == 0 {
                continue;
            }
            if let Some(vlans) = &mirror.vlans {
                self.wc.mark(Site::MirrorVlan, |m| {
                    m.vlans[0].tci |= U16::new(Vlan::CFI | Vlan::VID_MASK);
                });
                if !vlans.contains(xvlan.vid()) {
                    continue;
                }
            }
            used |= 1 << i;
            // Mirrors with the same destination count as done too.
            self.mirrors |= bits(&bridge.mirrors, |m| {
                m.out_bundle == mirror.out_bundle && m.out_vlan == mirror.out_vlan
            });
            self.mirror_snaplen = mirror.snaplen;
            self.copy_to(mirror, &xvlan);
            self.mirror_snaplen = 0;
        }
        if used != 0 {
            self.effect(Effect::Mirror {
                bridge: bridge.id,
                mirrors: used,
            });
        }
    }

    fn mark_mirrored_vlan(&mut self) {
        self.wc.mark_hidden(Site::MirrorEntry, |m| {
            m.vlans[0].tci |= U16::new(Vlan::CFI | Vlan::VID_MASK);
        });
    }

    fn copy_to(&mut self, mirror: &XMirror, xvlan: &XVlan) {
        let bridge = self.bridge;
        if let Some(out) = mirror.out_bundle {
            if let Some(bundle) = bridge.bundles.get(&out) {
                self.output_normal(bundle, xvlan);
            }
        } else if let Some(vlan) = mirror.out_vlan {
            self.mark_mirrored_vlan();
            self.wc
                .mark_hidden(Site::MirrorAddress, |m| m.dl_dst.0 = [0xff; 6]);
            if xvlan.vid() == vlan || self.flow.dl_dst.is_reserved() {
                return;
            }
            let mut x = *xvlan;
            x.tags[0].vid = vlan;
            for (id, bundle) in &bridge.bundles {
                if xvlan::includes(bundle, &x) && !bridge.is_mirror_output(*id) {
                    self.output_normal(bundle, &x);
                }
            }
        }
    }

    /// Refuses what comes in by a port that only takes copies.
    pub(crate) fn refuse_mirror_output(&mut self, port: Option<&'a XPort>) -> bool {
        let Some(bundle) = port.and_then(|p| self.bundle_of(p)) else {
            return false;
        };
        if !self.bridge.is_mirror_output(bundle.id) {
            return false;
        }
        self.complain(|| {
            format!(
                "dropping packet received on port {}, which is reserved exclusively for mirroring",
                bundle.name
            )
        });
        true
    }
}
