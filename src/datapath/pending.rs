//! [`Pending`]: flows that were missed and are being translated, and the packets that wait for them.
//!
//! One entry per exact flow. Its first packet raised the upcall; later ones wait behind it, in order, and
//! all are released together: by `Resume` with the entry's token, or by the installation of a megaflow
//! that they match (or a packet of the flow that came later would overtake them). To find those quickly,
//! the first lines of a port's pending keys stand side by side.
//!
//! Bounded: entries per port and in all, packets per entry and per port. An entry whose answer does not
//! come is dropped after a time.

use crate::limits::{PARK_PER_FLOW, PARK_PER_PORT, PARK_TIMEOUT_MS, PENDING_MAX, PENDING_PER_PORT};
use crate::pkts::Pkt;
use crate::table::DpFlow;
use crate::table::index::Index;
use crate::table::mask::Line;
use base::clock::Nanos;
use base::sync::Arc;
use flow::{Flow, LineSet};
use odp::{OdpPort, Ufid};
use std::collections::{HashMap, VecDeque};

/// A missed flow.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) key: Arc<Flow>,
    ufid: Ufid,
    pub(crate) in_port: OdpPort,
    pub(crate) recirc_id: u32,
    pub(crate) passes: u8,
    /// In order of arrival.
    pub(crate) pkts: Vec<Pkt>,
    /// Its place in its port's lists.
    at: usize,
}

#[derive(Debug, Default)]
struct Port {
    slots: Vec<u32>,
    lines: Vec<Line>,
    parked: usize,
}

/// See the module. Owned by one packet thread.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Vec<Option<Box<Entry>>>,
    free: Vec<u32>,
    by_key: Index,
    ports: HashMap<u32, Port>,
    /// Ids with the time they expire, oldest first; some are gone already.
    order: VecDeque<(Nanos, u64)>,
    seq: u64,
}

/// Bits of an id that name the slot; the others are never used twice.
const SLOT_BITS: u32 = 16;

fn hash_of(ufid: Ufid) -> u32 {
    // The ufid of an exact key is a seeded hash of it.
    (ufid.0 >> 32) as u32
}

/// A missed packet's flow and pass.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) key: Arc<Flow>,
    pub(crate) ufid: Ufid,
    pub(crate) in_port: OdpPort,
    pub(crate) recirc_id: u32,
    pub(crate) passes: u8,
}

impl Pending {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The entry of an exact flow.
    pub(crate) fn find(&self, ufid: Ufid, key: &Flow) -> Option<u32> {
        self.by_key.find(hash_of(ufid), |slot| {
            self.entry(slot).is_some_and(|e| *e.key == *key)
        })
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_deref()
    }

    /// Parks a later packet; it is gone, and false, when too many wait already.
    #[must_use]
    pub(crate) fn park(&mut self, slot: u32, pkt: Pkt) -> bool {
        let Some(Some(entry)) = self.slots.get_mut(slot as usize) else {
            return false;
        };
        let port = self.ports.entry(entry.in_port.0).or_default();
        if entry.pkts.len() >= PARK_PER_FLOW || port.parked >= PARK_PER_PORT {
            return false;
        }
        port.parked += 1;
        entry.pkts.push(pkt);
        true
    }

    /// The id of the next entry, if there is room for one on this port.
    pub(crate) fn next_id(&mut self, in_port: OdpPort) -> Option<u64> {
        let port = self.ports.entry(in_port.0).or_default();
        if port.slots.len() >= PENDING_PER_PORT
            || port.parked >= PARK_PER_PORT
            || self.len() >= PENDING_MAX
        {
            return None;
        }
        let slot = self.free.last().copied();
        let slot = slot.unwrap_or(self.slots.len() as u32);
        Some((self.seq + 1) << SLOT_BITS | u64::from(slot))
    }

    /// Opens an entry under the id that [`Pending::next_id`] just gave.
    pub(crate) fn open(&mut self, id: u64, missed: Missed, first: Pkt, now: Nanos) {
        debug_assert_eq!(id >> SLOT_BITS, self.seq + 1);
        self.seq += 1;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        debug_assert_eq!(id & ((1 << SLOT_BITS) - 1), u64::from(slot));
        let port = self.ports.entry(missed.in_port.0).or_default();
        let at = port.slots.len();
        port.slots.push(slot);
        port.lines.push(missed.key.lines()[0]);
        port.parked += 1;
        self.by_key.insert(hash_of(missed.ufid), slot);
        self.order.push_back((now.plus_millis(PARK_TIMEOUT_MS), id));
        self.slots[slot as usize] = Some(Box::new(Entry {
            id,
            key: missed.key,
            ufid: missed.ufid,
            in_port: missed.in_port,
            recirc_id: missed.recirc_id,
            passes: missed.passes,
            pkts: vec![first],
            at,
        }));
    }

    /// Removes an entry.
    pub(crate) fn take(&mut self, id: u64) -> Option<Box<Entry>> {
        let slot = (id & ((1 << SLOT_BITS) - 1)) as u32;
        if self.entry(slot)?.id != id {
            return None;
        }
        let entry = self.slots[slot as usize].take()?;
        self.free.push(slot);
        let removed = self.by_key.remove(hash_of(entry.ufid), slot);
        debug_assert!(removed, "every entry is known by its key");
        if let Some(port) = self.ports.get_mut(&entry.in_port.0) {
            port.slots.swap_remove(entry.at);
            port.lines.swap_remove(entry.at);
            port.parked -= entry.pkts.len();
            let moved = port.slots.get(entry.at).copied();
            if let Some(Some(moved)) = moved.and_then(|s| self.slots.get_mut(s as usize)) {
                moved.at = entry.at;
            }
        }
        if self.len() == 0 {
            self.order.clear();
        }
        Some(entry)
    }

    /// Ids of the entries that a flow matches, oldest first, without those of `except`.
    pub(crate) fn matching(&self, flow: &DpFlow, except: &[u64]) -> Vec<u64> {
        let in_port = flow.source().0;
        let Some(port) = self.ports.get(&in_port) else {
            return Vec::new();
        };
        let mut ids: Vec<u64> = std::iter::zip(&port.lines, &port.slots)
            .filter(|(line, _)| flow.matches_line0(line))
            .filter_map(|(_, &slot)| self.entry(slot))
            .filter(|e| flow.matches(&e.key, LineSet::ALL) && !except.contains(&e.id))
            .map(|e| e.id)
            .collect();
        ids.sort_unstable_by_key(|id| id >> SLOT_BITS);
        ids
    }

    /// The oldest entry, if it has waited too long.
    pub(crate) fn expired(&mut self, now: Nanos) -> Option<Box<Entry>> {
        while let Some(&(until, id)) = self.order.front() {
            if until > now {
                return None;
            }
            self.order.pop_front();
            if let Some(entry) = self.take(id) {
                return Some(entry);
            }
        }
        None
    }

    /// When the oldest entry expires; `None` when there is none.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.order.front().map(|&(until, _)| until)
    }

    /// Ids of all entries, or of one port's.
    pub(crate) fn ids(&self, port: Option<OdpPort>) -> Vec<u64> {
        let all = self.slots.iter().flatten();
        all.filter(|e| port.is_none_or(|p| e.in_port == p))
            .map(|e| e.id)
            .collect()
    }
}
