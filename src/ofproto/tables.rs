//! [`Tables`]: the OpenFlow tables as translation sees them, and the version at which to look.
//!
//! A reader takes a [`Pin`] for as long as it translates one packet. Rules that were removed stay findable at
//! the versions before their removal until no pin of such a version is left, so that a reader sees all of a
//! change or nothing of it.

use crate::rule::Rule;
use base::sync::{Arc, AtomicU8, Counter, Ordering, Slot};
use classifier::{Classifier, Version, default_prefixes};
use flow::{Flow, Mask};

/// Tables a bridge has: 0 to 253 for controllers, 254 for the switch itself.
pub const N_TABLES: u8 = 255;
/// The switch's own table.
pub const INTERNAL_TABLE: u8 = 254;

pub use openflow::TableMiss;

/// One table's part that readers need.
#[derive(Debug)]
pub struct Table {
    /// The rules.
    pub rules: Classifier<Rule>,
    miss: AtomicU8,
    /// Packets that matched a rule.
    pub matched: Counter,
    /// Packets that matched none.
    pub missed: Counter,
}

impl Table {
    fn new() -> Self {
        let rules = Classifier::new();
        rules.set_prefixes(&default_prefixes());
        Self {
            rules,
            miss: AtomicU8::new(0),
            matched: Counter::new(),
            missed: Counter::new(),
        }
    }

    /// What happens to packets that match no rule.
    #[must_use]
    pub fn miss(&self) -> TableMiss {
        match self.miss.load(Ordering::Relaxed) {
            1 => TableMiss::Controller,
            2 => TableMiss::Continue,
            3 => TableMiss::Drop,
            _ => TableMiss::Default,
        }
    }

    pub(crate) fn set_miss(&self, miss: TableMiss) {
        self.miss.store(miss as u8, Ordering::Relaxed);
    }
}

/// A version in use: see the file's essay.
#[derive(Debug, Clone)]
pub struct Pin(Arc<Version>);

impl Pin {
    /// The version to look at.
    #[must_use]
    pub fn version(&self) -> Version {
        *self.0
    }
}

/// All tables of a bridge. Shared by readers; written by the bridge's [`crate::Ofproto`] alone.
#[derive(Debug)]
pub struct Tables {
    tables: Box<[Table]>,
    current: Slot<Version>,
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    /// Empty tables at version 1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tables: (0..N_TABLES).map(|_| Table::new()).collect(),
            current: Slot::from_pointee(1),
        }
    }

    /// The newest version, held as long as the pin lives.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin(self.current.load_full())
    }

    /// The newest version.
    #[must_use]
    pub fn version(&self) -> Version {
        **self.current.load()
    }

    /// Makes `version` the newest; returns a pin of the one before.
    pub(crate) fn publish(&self, version: Version) -> Pin {
        Pin(self.current.swap(Arc::new(version)))
    }

    /// A table; numbers above the last one name the last one (255 is no table in OpenFlow).
    #[must_use]
    pub fn table(&self, id: u8) -> &Table {
        &self.tables[usize::from(id.min(N_TABLES - 1))]
    }

    /// Every table with its number.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Table)> + '_ {
        (0..N_TABLES).zip(&*self.tables)
    }

    /// The best rule of `table` for `flow` at `version`; marks in `wc` what decided. Counts nothing.
    #[must_use]
    pub fn lookup(
        &self,
        table: u8,
        version: Version,
        flow: &Flow,
        wc: Option<&mut Mask>,
    ) -> Option<Arc<Rule>> {
        self.table(table).rules.lookup(version, flow, wc)
    }
}

impl Pin {
    /// True when nobody else holds this version and it is not the newest any more.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}
