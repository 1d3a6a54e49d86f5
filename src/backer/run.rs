//! What the main thread does now and then.

use crate::backer::Backer;
use base::clock::Nanos;
use base::sync::{lock, write};
use udpif::world::{Fact, facts};

/// Rules looked at for expiry in one go.
const EXPIRY_BUDGET: usize = 4_096;
/// Rules swept out of the tables in one go.
const SWEEP_BUDGET: usize = 4_096;

impl Backer {
    /// Housekeeping: datapath, port states, MAC aging, rule expiry. To be called every 100 ms or so, and
    /// whenever a device changed. True when there is more to do at once.
    pub fn run(&mut self) -> bool {
        self.dpif.run();
        self.poll_datapath();
        self.poll_ports();
        self.age_macs();
        self.expire_rules()
    }

    /// Looks for devices that changed, and tells translation.
    fn poll_ports(&mut self) {
        let mut changed = Vec::new();
        for bridge in self.bridges.values_mut() {
            for port in bridge.ports.values_mut() {
                for iface in port.ifaces.values_mut() {
                    let seq = iface.device.change_seq();
                    if seq != iface.seen_seq {
                        iface.seen_seq = seq;
                        changed.push(Fact::Port(bridge.id, iface.ofp));
                    }
                }
            }
        }
        if !changed.is_empty() {
            changed.push(Fact::Untracked);
            self.publish(&changed);
        }
    }

    fn age_macs(&self) {
        let now = self.clock.now();
        for bridge in self.bridges.values() {
            let changes = {
                let mut macs = write(&bridge.macs);
                macs.run(now);
                macs.take_changes()
            };
            self.udpif().post(facts::of_macs(bridge.id, &changes));
        }
    }

    /// Removes rules whose time is over, once the packets of that time are credited.
    fn expire_rules(&mut self) -> bool {
        let now = self.clock.now();
        let counted = self.udpif().counted_until();
        let fresh = counted != self.expired_at;
        self.expired_at = counted;
        let mut more = false;
        for bridge in self.bridges.values() {
            let mut ofproto = lock(&bridge.ofproto);
            let due = fresh || ofproto.next_expiry().is_some_and(|t| t <= now);
            if due {
                more |= ofproto.expire(now, counted, EXPIRY_BUDGET);
            }
            // What readers still hold is swept later; that is not work to be done at once.
            ofproto.sweep(SWEEP_BUDGET);
            let changes = ofproto.take_changes();
            drop(ofproto);
            self.udpif().post(facts::of_changes(bridge.id, &changes));
        }
        more
    }

    /// When [`Self::run`] has something to do again at the latest, if nothing happens.
    #[must_use]
    pub fn next_run(&self) -> Nanos {
        self.clock.now().plus_millis(500)
    }
}
