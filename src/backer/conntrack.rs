//! Connection tracking of the datapath, for whom bridges ask; and the timeout policies of its zones.

use crate::backer::Backer;
use dpif::DpifError;
use dpif::conntrack::{CtMatch, Timers, flush_matching};
use std::collections::BTreeMap;
use udpif::world::Fact;

/// Timeout policies in force. Zones that are treated alike share one.
#[derive(Debug, Default)]
pub(crate) struct CtTimeouts {
    /// The datapath's number of each zone's policy.
    by_zone: BTreeMap<u16, u32>,
    policies: BTreeMap<u32, Timers>,
    last: u32,
}

impl CtTimeouts {
    pub(crate) const fn by_zone(&self) -> &BTreeMap<u16, u32> {
        &self.by_zone
    }

    /// The number of a policy, and whether it is a new one.
    fn number(&mut self, timers: &Timers) -> (u32, bool) {
        if let Some((&id, _)) = self.policies.iter().find(|(_, t)| *t == timers) {
            return (id, false);
        }
        self.last += 1;
        self.policies.insert(self.last, *timers);
        (self.last, true)
    }
}

impl Backer {
    /// Forgets connections of a zone, or of all zones.
    ///
    /// # Errors
    /// NoEntry, when a single connection is meant and it is not there; NotSupported.
    pub fn ct_flush(&self, zone: Option<u16>, wanted: &CtMatch) -> Result<(), DpifError> {
        let ct = self.dpif.conntrack().ok_or(DpifError::NotSupported)?;
        let name = format!("{}@{}", self.dpif.type_name(), self.dpif.name());
        flush_matching(ct, &name, zone, wanted)
    }

    /// Says how long connections of each zone live; zones that are not named have the defaults.
    pub fn set_ct_timeouts(&mut self, wanted: &BTreeMap<u16, Timers>) {
        let Some(ct) = self.dpif.conntrack() else {
            return;
        };
        let t = &mut self.ct_timeouts;
        let mut by_zone = BTreeMap::new();
        for (&zone, timers) in wanted {
            let (id, new) = t.number(timers);
            if new {
                ct.set_timeouts(id, *timers);
            }
            by_zone.insert(zone, id);
        }
        let used = |id: &u32| by_zone.values().any(|u| u == id);
        let gone: Vec<u32> = t.policies.keys().copied().filter(|id| !used(id)).collect();
        for id in gone {
            t.policies.remove(&id);
            // It was there, since it was made.
            let _ = ct.del_timeouts(id);
        }
        if t.by_zone == by_zone {
            return;
        }
        t.by_zone = by_zone;
        let changed: Vec<Fact> = self.bridges.values().map(|b| Fact::Bridge(b.id)).collect();
        self.publish(&changed);
    }
}
