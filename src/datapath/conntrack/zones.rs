//! [`Zones`]: how many connections each zone may have.
//!
//! A zone without a limit of its own falls under the default one, if there is one: all such zones together.
//! A connection holds its [`Admission`] as long as it lives, so counts are exact whatever becomes of it; one
//! that was admitted while there was no limit does not count.

use base::sync::{Arc, ArcSwap, AtomicU32, Mutex, Ordering, lock};
use std::collections::BTreeMap;

/// A limit and what falls under it.
#[derive(Debug, Default)]
pub(crate) struct ZoneLimit {
    limit: AtomicU32,
    count: AtomicU32,
}

impl ZoneLimit {
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

/// A connection's place under a limit.
#[derive(Debug)]
pub(crate) struct Admission(Arc<ZoneLimit>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Limits by zone; `None` is the default one.
type Limits = BTreeMap<Option<u16>, Arc<ZoneLimit>>;

/// See the module. Each change of the set publishes a new map.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    published: ArcSwap<Limits>,
    changing: Mutex<()>,
}

/// The zone has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Zones {
    /// Admits one more connection; `None` when nothing limits its zone.
    pub(crate) fn admit(&self, zone: u16) -> Result<Option<Admission>, Full> {
        let limits = self.published.load();
        if limits.is_empty() {
            return Ok(None);
        }
        let Some(found) = limits.get(&Some(zone)).or_else(|| limits.get(&None)) else {
            return Ok(None);
        };
        let before = found.count.fetch_add(1, Ordering::Relaxed);
        let admission = Admission(Arc::clone(found));
        if before >= found.limit() {
            return Err(Full);
        }
        Ok(Some(admission))
    }

    /// Sets the limit of a zone, or the default one. True when it is a new one.
    pub(crate) fn set(&self, zone: Option<u16>, limit: u32) -> bool {
        let _changing = lock(&self.changing);
        let now = self.published.load();
        if let Some(there) = now.get(&zone) {
            there.limit.store(limit, Ordering::Relaxed);
            return false;
        }
        let mut limits = (**now).clone();
        let new = ZoneLimit::default();
        new.limit.store(limit, Ordering::Relaxed);
        limits.insert(zone, Arc::new(new));
        self.published.store(Arc::new(limits));
        true
    }

    /// Removes a zone's limit. True when there was one.
    pub(crate) fn del(&self, zone: u16) -> bool {
        let _changing = lock(&self.changing);
        let mut limits = (**self.published.load()).clone();
        let had = limits.remove(&Some(zone)).is_some();
        self.published.store(Arc::new(limits));
        had
    }

    /// Limit and count of a zone, or of the default; `None` without.
    pub(crate) fn get(&self, zone: Option<u16>) -> Option<(u32, u32)> {
        let limits = self.published.load();
        limits.get(&zone).map(|l| (l.limit(), l.count()))
    }

    /// Zones with a limit of their own: limit and count.
    pub(crate) fn all(&self) -> Vec<(u16, u32, u32)> {
        let limits = self.published.load();
        let own = limits.iter().filter_map(|(z, l)| Some(((*z)?, l)));
        own.map(|(z, l)| (z, l.limit(), l.count())).collect()
    }
}
