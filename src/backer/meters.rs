//! Meters of all bridges, in the one datapath that they share: which of its numbers are taken.
//!
//! A bridge calls its meters by OpenFlow's numbers; the datapath's number of each stands in `ofproto::Meter`.

use crate::backer::Backer;
use crate::error::BackerError;
use base::sync::{Mutex, lock};
use dpif::{DpifError, MeterConfig, MeterCounts, MeterLimits};
use std::collections::BTreeSet;

/// Numbers in use.
#[derive(Debug, Default)]
pub(crate) struct MeterIds(Mutex<BTreeSet<u32>>);

impl MeterIds {
    /// The smallest free number below `max`.
    fn take(&self, max: u32) -> Option<u32> {
        let mut taken = lock(&self.0);
        // Numbers are mostly taken without gaps: then the first free one is the count.
        let n = u32::try_from(taken.len()).ok()?;
        let dense = taken.last().is_none_or(|last| last + 1 == n);
        let id = if dense {
            n
        } else {
            (0..n).find(|i| !taken.contains(i))?
        };
        (id < max && taken.insert(id)).then_some(id)
    }

    fn give_back(&self, id: u32) {
        lock(&self.0).remove(&id);
    }
}

impl Backer {
    /// Removes what controllers put into a bridge: flows, groups, meters.
    ///
    /// # Errors
    /// NoBridge.
    pub fn flush_tables(&self, bridge: &str) -> Result<(), BackerError> {
        let now = self.clock.now();
        let meters = self.tables(bridge, |of| of.remove_all(now))?;
        for meter in meters {
            self.meter_del(meter.provider_id);
        }
        Ok(())
    }

    /// How many meters the datapath can have.
    #[must_use]
    pub fn meter_limits(&self) -> MeterLimits {
        self.dpif.meter_limits()
    }

    /// Makes a meter in the datapath and gives its number there, or changes the one of this number.
    ///
    /// # Errors
    /// TooBig: there are too many. What else the datapath says.
    pub fn meter_set(&self, id: Option<u32>, config: &MeterConfig) -> Result<u32, DpifError> {
        if let Some(id) = id {
            return self.dpif.meter_set(id, config).map(|()| id);
        }
        let max = self.meter_limits().meters_max;
        let id = self.meter_ids.take(max).ok_or(DpifError::TooBig)?;
        match self.dpif.meter_set(id, config) {
            Ok(()) => Ok(id),
            Err(e) => {
                self.meter_ids.give_back(id);
                Err(e)
            }
        }
    }

    /// Removes a meter from the datapath.
    pub fn meter_del(&self, id: u32) {
        // One that is not there is gone, which is what is wanted.
        drop(self.dpif.meter_del(id));
        self.meter_ids.give_back(id);
    }

    /// What a meter counted.
    #[must_use]
    pub fn meter_counts(&self, id: u32) -> Option<MeterCounts> {
        self.dpif.meter_get(id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_free_number() {
        let ids = MeterIds::default();
        assert_eq!(
            (ids.take(3), ids.take(3), ids.take(3)),
            (Some(0), Some(1), Some(2))
        );
        assert_eq!(ids.take(3), None);
        ids.give_back(1);
        assert_eq!(ids.take(3), Some(1));
        ids.give_back(2);
        ids.give_back(0);
        assert_eq!((ids.take(9), ids.take(9)), (Some(0), Some(2)));
    }
}
