//! Meters: what controllers call by an OpenFlow number and the datapath by one of its own.

use crate::group::{GROUP_ALL, SelectionConfig};
use crate::group_mod::GroupSpec;
use base::clock::Nanos;
use base::sync::{Arc, RwLock, read, write};
use openflow::flow_mod::ALL_TABLES;
use openflow::{FlowMod, FlowModCommand, GroupCommand, GroupType, MeterConfig};
pub use openflow::{METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH};
use std::collections::BTreeMap;

/// A meter.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Its OpenFlow number.
    pub id: u32,
    /// Its number in the datapath.
    pub provider_id: u32,
    /// What it is to do.
    pub config: MeterConfig,
    /// When it was added.
    pub created: Nanos,
}

/// All meters of a bridge. Read by translation, written by the bridge's [`crate::Ofproto`] alone.
#[derive(Debug, Default)]
pub struct Meters(RwLock<BTreeMap<u32, Arc<Meter>>>);

impl Meters {
    /// The meter of this number.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Arc<Meter>> {
        read(&self.0).get(&id).cloned()
    }
    /// The datapath's number of a meter.
    #[must_use]
    pub fn provider_id(&self, id: u32) -> Option<u32> {
        read(&self.0).get(&id).map(|m| m.provider_id)
    }
    /// All meters, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Meter>> {
        read(&self.0).values().cloned().collect()
    }
    pub(crate) fn put(&self, meter: Meter) {
        write(&self.0).insert(meter.id, Arc::new(meter));
    }
    pub(crate) fn remove(&self, id: u32) -> Option<Arc<Meter>> {
        write(&self.0).remove(&id)
    }
}

impl crate::Ofproto {
    pub(crate) fn meter_exists(&self, id: u32) -> bool {
        id != 0 && self.pipeline.meters.get(id).is_some()
    }

    /// Puts a meter into the bridge, in the place of the one of the same number. Nothing is checked.
    pub fn install_meter(&mut self, meter: Meter) {
        self.changes.meters.push(meter.id);
        self.pipeline.meters.put(meter);
    }

    /// Removes a meter and the flows that use it, and gives it back.
    pub fn remove_meter(&mut self, id: u32, now: Nanos) -> Option<Arc<Meter>> {
        let meter = self.pipeline.meters.get(id)?;
        let mut txn = self.begin(now);
        for rule in self.books.meters.of(id) {
            self.start_remove(&mut txn, rule, crate::RemovedReason::MeterDelete);
        }
        self.commit(txn);
        self.pipeline.meters.remove(id);
        self.changes.meters.push(id);
        Some(meter)
    }

    /// Removes all flows that controllers can see, all groups and all meters; gives the meters back.
    pub fn remove_all(&mut self, now: Nanos) -> Vec<Arc<Meter>> {
        let mut fm = FlowMod::new(FlowModCommand::Delete);
        fm.table_id = ALL_TABLES;
        let groups = GroupSpec {
            command: GroupCommand::Delete,
            at: 0,
            id: GROUP_ALL,
            kind: GroupType::All,
            buckets: Vec::new(),
            config: SelectionConfig::default(),
        };
        // Deleting whatever there is cannot be refused.
        let done = self.flow_mod(fm, None, now);
        debug_assert!(done.is_ok());
        let mut txn = self.begin(now);
        match self.start_group_mod(&mut txn, groups, None) {
            Ok(_) => self.commit(txn),
            Err(_) => self.roll_back(txn),
        }
        let ids = self.pipeline.meters.all();
        ids.iter()
            .filter_map(|m| self.remove_meter(m.id, now))
            .collect()
    }

    /// Flows that use a meter.
    #[must_use]
    pub fn meter_users(&self, id: u32) -> usize {
        self.books.meters.count(id)
    }

    /// Flows that output to a group.
    #[must_use]
    pub fn group_users(&self, id: u32) -> usize {
        self.books.groups.count(id)
    }
}
