//! From bridges as they are kept to what translation sees.
//!
//! A change of configuration is published before it is posted: first the new snapshot, then which facts changed.
//! Only bridges that changed get a new image. Several changes can be published [together](Backer::together),
//! so that configuring n ports is not n snapshots of up to n ports.

use crate::backer::Backer;
use crate::bridge::Iface;
use base::sync::Arc;
use flow::{OdpPort, OfPort};
use std::collections::{BTreeSet, HashMap};
use udpif::world::{Fact, Links};
use xlate::{BridgeId, Snapshot, XBridge};

/// What was published, and what waits to be.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    version: u64,
    images: HashMap<BridgeId, Arc<XBridge>>,
    /// Bridges whose image is old.
    dirty: BTreeSet<BridgeId>,
    /// Facts that changed and were not posted.
    changed: Vec<Fact>,
    /// Nothing is published while this is not zero.
    held: u32,
    waiting: bool,
}

/// Where a patch port is, and the name of its peer.
struct Patch {
    bridge: BridgeId,
    port: OfPort,
    peer: String,
}

impl Backer {
    /// Makes several changes as one: they are published and posted when `body` is done.
    pub fn together<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> R {
        self.publisher.held += 1;
        let result = body(self);
        self.publisher.held -= 1;
        if self.publisher.held == 0 && self.publisher.waiting {
            self.publish_now();
        }
        result
    }

    /// Publishes the bridges as they are now, then says what changed.
    pub(crate) fn publish(&mut self, changed: &[Fact]) {
        let p = &mut self.publisher;
        for fact in changed {
            if let Fact::Bridge(bridge) | Fact::Port(bridge, _) | Fact::Misses(bridge) = fact {
                p.dirty.insert(*bridge);
            }
        }
        p.changed.extend_from_slice(changed);
        p.waiting = true;
        if p.held == 0 {
            self.publish_now();
        }
    }

    fn publish_now(&mut self) {
        self.draw_images();
        self.publisher.version += 1;
        self.publisher.waiting = false;
        let mut snapshot = Snapshot::new(self.in_force.clone(), self.recirc.clone());
        snapshot.version = self.publisher.version;
        snapshot.ct_timeouts = self.ct_timeouts.by_zone().clone();
        let (mut ofprotos, mut devices) = (HashMap::new(), HashMap::new());
        for bridge in self.bridges.values() {
            let image = &self.publisher.images[&bridge.id];
            for port in image.ports.values() {
                if port.odp != OdpPort::NONE && port.tunnel.is_none() {
                    snapshot.by_odp.insert(port.odp, (bridge.id, port.ofp));
                }
            }
            snapshot.bridges.insert(bridge.id, image.clone());
            ofprotos.insert(bridge.id, bridge.ofproto.clone());
            for iface in bridge.ifaces() {
                devices.insert((bridge.id, iface.ofp), iface.device.clone());
            }
        }
        self.world().publish(Links {
            snapshot: Arc::new(snapshot),
            ofprotos,
            devices,
        });
        let changed = std::mem::take(&mut self.publisher.changed);
        self.udpif().post(changed.iter().map(|f| f.changed()));
    }

    /// Draws the images of bridges that changed, and drops those of bridges that are gone.
    fn draw_images(&mut self) {
        let patches = self.patches();
        let peer = |iface: &Iface| {
            let other = patches.get(&iface.device.patch_peer()?)?;
            // Both ends must name each other.
            (other.peer == iface.name()).then_some((other.bridge, other.port))
        };
        let mut images = std::mem::take(&mut self.publisher.images);
        let dirty = std::mem::take(&mut self.publisher.dirty);
        self.publisher.images = self
            .bridges
            .values()
            .map(|bridge| {
                let old = images.remove(&bridge.id);
                let image = old
                    .filter(|_| !dirty.contains(&bridge.id))
                    .unwrap_or_else(|| Arc::new(bridge.image(&peer)));
                (bridge.id, image)
            })
            .collect();
    }

    /// Patch ports by name.
    fn patches(&self) -> HashMap<String, Patch> {
        let mut all = HashMap::new();
        for bridge in self.bridges.values() {
            for iface in bridge.ifaces() {
                if let Some(peer) = iface.device.patch_peer() {
                    let patch = Patch {
                        bridge: bridge.id,
                        port: iface.ofp,
                        peer,
                    };
                    all.insert(iface.name().to_owned(), patch);
                }
            }
        }
        all
    }
}
