//! [`Pending`]: flows that were missed and are being translated, and the packets that wait for them.
//!
//! One entry per exact flow. Its first packet raised the upcall; later ones wait behind it, in order, and
//! all are released together: by `Resume` with the entry's token, or by the installation of a megaflow
//! that they match (or a packet of the flow that came later would overtake them). To find those quickly,
//! the first lines of a port's pending keys stand side by side; and entries are known by their addresses and
//! ports, which most megaflows that are installed for a miss pin.
//!
//! Bounded: entries per port and in all, packets per entry and per port. An entry whose answer does not
//! come is dropped after a time.

use crate::limits::{PARK_PER_FLOW, PARK_PER_PORT, PARK_TIMEOUT_MS, PENDING_MAX, PENDING_PER_PORT};
use crate::pkts::Pkt;
use crate::table::DpFlow;
use crate::table::index::Index;
use crate::table::mask::{HashKey, Line, Tuple};
use base::clock::Nanos;
use base::sync::Arc;
use flow::{Flow, LineSet};
use odp::OdpPort;
use std::collections::{HashMap, VecDeque};

/// A missed flow.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) key: Arc<Flow>,
    hash: u32,
    tuple: u32,
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
#[derive(Debug)]
pub(crate) struct Pending {
    slots: Vec<Option<Box<Entry>>>,
    free: Vec<u32>,
    hash_key: Box<HashKey>,
    by_key: Index,
    by_tuple: Index,
    ports: HashMap<u32, Port>,
    /// Ids with the time they expire, oldest first; some are gone already.
    order: VecDeque<(Nanos, u64)>,
    seq: u64,
}

/// Bits of an id that name the slot; the others are never used twice.
const SLOT_BITS: u32 = 16;

/// A missed packet's flow and pass.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) key: Arc<Flow>,
    /// What [`Pending::hash`] says of it.
    pub(crate) hash: u32,
    pub(crate) in_port: OdpPort,
    pub(crate) recirc_id: u32,
    pub(crate) passes: u8,
}

impl Pending {
    /// Nothing pending. `seed` is that of its hashes.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            hash_key: Box::new(HashKey::new(seed)),
            by_key: Index::new(),
            by_tuple: Index::new(),
            ports: HashMap::new(),
            order: VecDeque::new(),
            seq: 0,
        }
    }

    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// A hash of a full key, for [`Pending::find`].
    pub(crate) fn hash(&self, key: &Flow) -> u32 {
        (self.hash_key.of_flow(key) >> 32) as u32
    }

    /// The entry of an exact flow with this hash.
    pub(crate) fn find(&self, hash: u32, key: &Flow) -> Option<u32> {
        self.by_key.find(hash, |slot| {
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
        let tuple = (Tuple::of(&missed.key).hash(&self.hash_key) >> 32) as u32;
        self.by_key.insert(missed.hash, slot);
        self.by_tuple.insert(tuple, slot);
        self.order.push_back((now.plus_millis(PARK_TIMEOUT_MS), id));
        self.slots[slot as usize] = Some(Box::new(Entry {
            id,
            key: missed.key,
            hash: missed.hash,
            tuple,
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
        let removed = self.by_key.remove(entry.hash, slot);
        debug_assert!(removed, "every entry is known by its key");
        let removed = self.by_tuple.remove(entry.tuple, slot);
        debug_assert!(removed, "and by its addresses and ports");
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

    /// Ids of the entries that a flow matches, oldest first.
    pub(crate) fn matching(&self, flow: &DpFlow) -> Vec<u64> {
        let mut ids = Vec::new();
        if let Some(tuple) = flow.pinned_tuple() {
            // All it can match have the same addresses and ports.
            let hash = (tuple.hash(&self.hash_key) >> 32) as u32;
            self.by_tuple.find(hash, |slot| {
                ids.extend(self.matched(slot, flow));
                false
            });
        } else if let Some(port) = self.ports.get(&flow.source().0) {
            let alike = std::iter::zip(&port.lines, &port.slots)
                .filter(|(line, _)| flow.matches_line0(line));
            ids.extend(alike.filter_map(|(_, &slot)| self.matched(slot, flow)));
        }
        ids.sort_unstable_by_key(|id| id >> SLOT_BITS);
        ids
    }

    /// The id of the entry in a slot, if a flow matches it.
    fn matched(&self, slot: u32, flow: &DpFlow) -> Option<u64> {
        let entry = self.entry(slot)?;
        (flow.matches(&entry.key, LineSet::ALL)).then_some(entry.id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Masks;
    use crate::table::reference::flow_of;
    use base::rng::Rng;
    use flow::{Layers, Mask};
    use packet::HeapPool;
    use proptest::prelude::*;
    use wire::ethernet::{ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6};
    use wire::{Ipv4, Ipv6, U16, U32};

    /// A key whose fields come from few values, as extraction fills them in.
    fn key(rng: &mut Rng) -> Flow {
        let mut key = Flow::zero();
        key.in_port = U32::new(rng.below(2) as u32);
        let byte = |rng: &mut Rng| rng.below(3) as u8;
        let kind = rng.below(5);
        key.nw_ttl = byte(rng);
        if kind == 0 {
            key.dl_type = U16::new(ETH_TYPE_ARP);
            key.nw_src = Ipv4([10, 0, 0, byte(rng)]);
            return key;
        }
        if kind < 3 {
            key.dl_type = U16::new(ETH_TYPE_IP);
            key.nw_src = Ipv4([10, 0, 0, byte(rng)]);
            key.nw_dst = Ipv4([10, 0, 1, byte(rng)]);
        } else {
            key.dl_type = U16::new(ETH_TYPE_IPV6);
            key.ipv6_src = Ipv6([byte(rng); 16]);
            key.ipv6_dst = Ipv6([byte(rng); 16]);
        }
        key.tp_src = U16::new(rng.below(2) as u16);
        key.tp_dst = U16::new(rng.below(2) as u16);
        key
    }

    fn mask(rng: &mut Rng) -> Mask {
        let mut mask = Mask::empty();
        let (m, all) = (&mut mask.0, Mask::exact().0);
        m.in_port = all.in_port;
        m.recirc_id = all.recirc_id;
        let often = |rng: &mut Rng| rng.below(6) > 0;
        if often(rng) {
            m.dl_type = all.dl_type;
        }
        if often(rng) {
            (m.nw_src, m.nw_dst) = (all.nw_src, all.nw_dst);
        }
        if often(rng) {
            (m.ipv6_src, m.ipv6_dst) = (all.ipv6_src, all.ipv6_dst);
        }
        if often(rng) {
            (m.tp_src, m.tp_dst) = (all.tp_src, all.tp_dst);
        }
        if rng.below(3) == 0 {
            m.nw_ttl = 3;
        }
        mask
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// The twin is a list of ids and keys, searched from the front.
        #[test]
        fn entries_are_found_as_in_a_list(seed in any::<u64>(), n in 1usize..60) {
            let mut rng = Rng::new(seed);
            let masks = Masks::default();
            let mut pending = Pending::new(seed);
            let mut list: Vec<(u64, Flow)> = Vec::new();
            for round in 0..n {
                let key = key(&mut rng);
                let hash = pending.hash(&key);
                let known = list.iter().any(|(_, k)| *k == key);
                prop_assert_eq!(pending.find(hash, &key).is_some(), known);
                if !known {
                    let in_port = OdpPort(key.in_port.get());
                    let id = pending.next_id(in_port).unwrap();
                    let missed = Missed { key: Arc::new(key), hash, in_port, recirc_id: 0, passes: 0 };
                    let pkt = Pkt {
                        frame: HeapPool::global().copy_from(&[0; 60]),
                        layers: Layers::UNKNOWN,
                        side: None,
                    };
                    pending.open(id, missed, pkt, Nanos(round as u64));
                    list.push((id, key));
                }
                let mask = mask(&mut rng);
                let flow = flow_of(&masks, &key, &mask, round as u128);
                let wanted: Vec<u64> = list
                    .iter()
                    .filter(|(_, k)| k.equals_under(&key, &mask))
                    .map(|(id, _)| *id)
                    .collect();
                prop_assert_eq!(pending.matching(&flow), wanted.clone());
                if rng.below(3) == 0 {
                    for id in wanted {
                        prop_assert!(pending.take(id).is_some());
                        prop_assert!(pending.take(id).is_none());
                        list.retain(|(it, _)| *it != id);
                    }
                }
                prop_assert_eq!(pending.len(), list.len());
            }
        }
    }
}
