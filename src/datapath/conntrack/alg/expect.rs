//! Announced connections that may come.
//!
//! An expectation lives as long as the connection that announced it. There is a bound on all of them; beyond it
//! nothing more is expected, and such connections are what they would be without a helper: new.

use crate::conntrack::nat::Way;
use crate::conntrack::tuple::Tuple;
use base::sync::{AtomicUsize, Mutex, Ordering, lock};
use std::collections::HashMap;

/// Expectations at once.
const MAX: usize = 1 << 16;

/// What is known of a connection that may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Expectation {
    /// The connection that announced it.
    pub(in super::super) parent: Tuple,
    pub(in super::super) mark: u32,
    pub(in super::super) label: u128,
    /// Which end is translated, to which address, where translation is asked for.
    pub(in super::super) way: Way,
    pub(in super::super) addr: [u8; 16],
}

/// Expectations by the tuple of the first packet, its source port left out.
#[derive(Debug, Default)]
pub(in super::super) struct Expected {
    by_tuple: Mutex<HashMap<Tuple, Expectation>>,
    /// How many, to be read without the lock.
    count: AtomicUsize,
}

impl Expected {
    /// Expects a connection. One that is expected already stays as it is.
    pub(super) fn add(&self, wanted: Tuple, expectation: Expectation) {
        let mut all = lock(&self.by_tuple);
        if all.len() < MAX {
            all.entry(wanted).or_insert(expectation);
        }
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// What is known of a connection with this tuple.
    pub(in super::super) fn find(&self, tuple: &Tuple) -> Option<Expectation> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut wanted = *tuple;
        wanted.src.port = 0;
        lock(&self.by_tuple).get(&wanted).copied()
    }

    /// A connection is gone, and what it announced with it.
    pub(in super::super) fn forget(&self, parent: &Tuple) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut all = lock(&self.by_tuple);
        all.retain(|_, e| e.parent != *parent);
        self.count.store(all.len(), Ordering::Relaxed);
    }
}
