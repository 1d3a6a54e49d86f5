//! [`Group`]s as translation sees them: immutable but for their counters, versioned like rules.

use crate::rule::Counts;
use base::clock::Nanos;
use base::sync::{Arc, AtomicU64, Ordering, RwLock, read, write};
use classifier::Version;
use flow::{FieldId, FieldValue, OfPort};
use openflow::Acts;
pub use openflow::{GROUP_ALL, GROUP_MAX, GroupType};
use std::collections::BTreeMap;
use std::ops::Bound;

/// "Any group": watch no group, match every group.
pub const GROUP_ANY: u32 = openflow::flow_mod::ANY_GROUP;
/// Most hash values a select group's map can have.
pub const HASH_VALUES_MAX: u64 = 256;
/// Most hash values when the controller named no selection method.
pub const HASH_VALUES_DEFAULT_MAX: u64 = 256;

/// How a select group picks, as the controller asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectionConfig {
    /// `""`, `"hash"` or `"dp_hash"`.
    pub method: String,
    /// The method's parameter.
    pub param: u64,
    /// Fields to hash over, each with its mask.
    pub fields: Vec<(FieldId, FieldValue)>,
}

/// How a select group picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// By a hash of Ethernet addresses and the like, computed in userspace.
    Default,
    /// By a hash over the configured fields, computed in userspace.
    Hash,
    /// By the datapath's hash.
    DpHash {
        /// Datapath hash algorithm: 0 L4, 1 symmetric L4.
        algorithm: u32,
        /// Its basis.
        basis: u32,
        /// Index of the bucket for each hash value; a power of two of them.
        map: Vec<u32>,
    },
}

/// One bucket.
#[derive(Debug)]
pub struct Bucket {
    /// Its number.
    pub id: u32,
    /// Its weight, in select groups.
    pub weight: u16,
    /// Alive while this port is up; `NONE` for none.
    pub watch_port: OfPort,
    /// Alive while this group has a live bucket; [`GROUP_ANY`] for none.
    pub watch_group: u32,
    /// What it does.
    pub actions: Acts,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Bucket {
    /// A bucket without counts.
    #[must_use]
    pub fn new(id: u32, weight: u16, actions: Acts) -> Self {
        Self {
            id,
            weight,
            watch_port: OfPort::NONE,
            watch_group: GROUP_ANY,
            actions,
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
    /// The same bucket without counts.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            watch_port: self.watch_port,
            watch_group: self.watch_group,
            ..Self::new(self.id, self.weight, self.actions.clone())
        }
    }
    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// A group.
#[derive(Debug)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// What it does with its buckets.
    pub kind: GroupType,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
    /// How it picks.
    pub selection: Selection,
    /// How it picks, as the controller asked.
    pub config: SelectionConfig,
    /// When it was added.
    pub created: Nanos,
    /// When it was last modified.
    pub modified: Nanos,
    packets: AtomicU64,
    bytes: AtomicU64,
    added: Version,
    removed: AtomicU64,
}

impl Group {
    /// A group, visible from version `added` on.
    #[must_use]
    pub fn new(
        id: u32,
        kind: GroupType,
        buckets: Vec<Bucket>,
        config: SelectionConfig,
        (added, now): (Version, Nanos),
    ) -> Self {
        let selection = match kind {
            GroupType::Select => {
                tracing::debug!(target: "ofproto_dpif", "Constructing select group {id}");
                select(&config, &buckets)
            }
            _ => Selection::Default,
        };
        Self {
            id,
            kind,
            buckets,
            selection,
            config,
            created: now,
            modified: now,
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            added,
            removed: AtomicU64::new(Version::MAX),
        }
    }
    /// Counts packets of the group and, when it went to one, of the bucket at this index. Any thread.
    pub fn credit(&self, bucket: Option<usize>, packets: u64, bytes: u64) {
        let add = |p: &AtomicU64, b: &AtomicU64| {
            p.fetch_add(packets, Ordering::Relaxed);
            b.fetch_add(bytes, Ordering::Relaxed);
        };
        match bucket {
            Some(i) => {
                if let Some(b) = self.buckets.get(i) {
                    add(&b.packets, &b.bytes);
                }
            }
            None => self.buckets.iter().for_each(|b| add(&b.packets, &b.bytes)),
        }
        add(&self.packets, &self.bytes);
    }
    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
    /// True when lookups at `version` find it.
    #[must_use]
    pub fn visible_in(&self, version: Version) -> bool {
        self.added <= version && version < self.removed.load(Ordering::Relaxed)
    }
    pub(crate) fn remove_in(&self, version: Version) {
        self.removed.store(version, Ordering::Relaxed);
    }
    pub(crate) fn restore(&self) {
        self.removed.store(Version::MAX, Ordering::Relaxed);
    }
}

macro_rules! say {
    ($($arg:tt)*) => { tracing::debug!(target: "ofproto_dpif", $($arg)*) };
}

/// How a select group with this configuration picks, as Open vSwitch decides it.
fn select(config: &SelectionConfig, buckets: &[Bucket]) -> Selection {
    let (algorithm, basis, limit) = match config.method.as_str() {
        "hash" => {
            say!("Selection method specified: hash.");
            if config.fields.is_empty() {
                say!("No hash fields. Falling back to default hash method.");
                return Selection::Default;
            }
            return Selection::Hash;
        }
        "dp_hash" => {
            say!("Selection method specified: dp_hash.");
            let wanted = (config.param >> 32) as u32;
            let basis = (config.param & 0xffff_ffff) as u32;
            (wanted, basis, HASH_VALUES_MAX)
        }
        _ => {
            say!("No selection method specified. Trying dp_hash.");
            (1, 0, HASH_VALUES_DEFAULT_MAX)
        }
    };
    let Some(map) = hash_map(buckets, limit) else {
        say!("Falling back to default hash method.");
        return Selection::Default;
    };
    let algorithm = if algorithm > 1 {
        say!("Invalid dp_hash algorithm {algorithm}. Defaulting to OVS_HASH_ALG_L4");
        0
    } else {
        algorithm
    };
    say!(
        "Use dp_hash with {} hash values using algorithm {algorithm}.",
        map.len()
    );
    Selection::DpHash {
        algorithm,
        basis,
        map,
    }
}

/// Shares hash values out to buckets by weight (Webster's method). `None` when there is nothing to share
/// out, or it would take more than `limit` values.
fn hash_map(buckets: &[Bucket], limit: u64) -> Option<Vec<u32>> {
    let total: u64 = buckets.iter().map(|b| u64::from(b.weight)).sum();
    if buckets.is_empty() {
        say!("  Don't apply dp_hash method without buckets.");
    }
    let Some(least) = buckets.iter().map(|b| b.weight).filter(|w| *w > 0).min() else {
        if !buckets.is_empty() {
            say!("  Total weight is zero. No active buckets.");
        }
        return None;
    };
    say!("  Minimum weight: {least}, total weight: {total}");
    let n = total.div_ceil(u64::from(least)).next_power_of_two().max(16);
    if n > limit {
        say!("  Too many hash values required: {n}");
        return None;
    }
    say!("  Using {n} hash values:");
    let mut divisors = vec![1u64; buckets.len()];
    let map = (0..n)
        .map(|_| {
            let mut best = 0;
            for i in 1..buckets.len() {
                // weight / divisor compared without division; the first of equals wins.
                let (w, b) = (
                    u64::from(buckets[i].weight),
                    u64::from(buckets[best].weight),
                );
                if w * divisors[best] > b * divisors[i] {
                    best = i;
                }
            }
            divisors[best] += 2;
            u32::try_from(best).unwrap_or(u32::MAX)
        })
        .collect();
    for (b, divisor) in buckets.iter().zip(&divisors) {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let target = (n * u64::from(b.weight)) as f64 / total as f64;
        let hits = (divisor - 1) / 2;
        say!(
            "  Bucket {}: weight={}, target={target:.2} hits={hits}",
            b.id,
            b.weight
        );
    }
    Some(map)
}

/// All groups of a bridge. Read by translation, written by the bridge's [`crate::Ofproto`] alone.
#[derive(Debug, Default)]
pub struct Groups {
    /// Versions of each group: at most one is visible at any version.
    by_id: RwLock<BTreeMap<u32, Vec<Arc<Group>>>>,
}

impl Groups {
    /// The group of this number at `version`.
    #[must_use]
    pub fn lookup(&self, id: u32, version: Version) -> Option<Arc<Group>> {
        let groups = read(&self.by_id);
        groups
            .get(&id)?
            .iter()
            .find(|g| g.visible_in(version))
            .cloned()
    }
    /// Every group at `version`, ascending.
    #[must_use]
    pub fn all(&self, version: Version) -> Vec<Arc<Group>> {
        read(&self.by_id)
            .values()
            .flatten()
            .filter(|g| g.visible_in(version))
            .cloned()
            .collect()
    }
    /// Groups with numbers above `after`, ascending, at most `n`.
    pub(crate) fn after(&self, after: Option<u32>, n: usize, version: Version) -> Vec<Arc<Group>> {
        let from = match after {
            None => Bound::Unbounded,
            Some(id) => Bound::Excluded(id),
        };
        read(&self.by_id)
            .range((from, Bound::Unbounded))
            .flat_map(|(_, versions)| versions)
            .filter(|g| g.visible_in(version))
            .take(n)
            .cloned()
            .collect()
    }
    pub(crate) fn insert(&self, group: Arc<Group>) {
        write(&self.by_id).entry(group.id).or_default().push(group);
    }
    pub(crate) fn remove(&self, group: &Arc<Group>) {
        let mut groups = write(&self.by_id);
        if let Some(versions) = groups.get_mut(&group.id) {
            versions.retain(|g| !Arc::ptr_eq(g, group));
            if versions.is_empty() {
                groups.remove(&group.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_values_follow_weights() {
        let b = |w| Bucket::new(0, w, Acts::new());
        let map = hash_map(&[b(1), b(2), b(3)], 256).expect("fits");
        let n = |i| map.iter().filter(|x| **x == i).count();
        assert_eq!((map.len(), n(0), n(1), n(2)), (16, 3, 5, 8));
        assert_eq!(hash_map(&[b(0)], 256), None);
        assert_eq!(hash_map(&[b(1), b(60000)], 256), None);
    }
}
