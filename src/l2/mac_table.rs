//! [`MacTable`]: on which port a (VLAN, MAC address) pair was last seen.
//!
//! The table is a dictionary with three complications.
//!
//! * **Age.** Entries stand in a list ordered by their last use; those idle for longer than the table's
//!   idle time are removed from its old end by [`MacTable::run`]. Static entries have no age and are
//!   neither moved nor removed by traffic.
//! * **Fairness.** The table is bounded. A full table evicts the least recently used learned entry of the
//!   port that holds the most learned entries (one of them, if several do), so that a flood of addresses on one port cannot push out
//!   the addresses of the others.
//! * **Gratuitous ARP lock.** An address announced by gratuitous ARP on a port that is not a bond is
//!   protected for [`GRAT_ARP_LOCK_S`] seconds from being moved to a bond by the reflection of that very
//!   announcement.
//!
//! Ages are whole seconds, because that is what people are shown. Whoever caches decisions made from the
//! table collects [`MacTable::take_changes`] after each batch of updates.
//!
//! Not synchronised: the owner puts it behind a lock. [`MacTable::update_needed`] needs only a read lock
//! and is false for the usual packet.

use crate::usage_heap::UsageHeap;
use base::clock::Nanos;
use std::collections::HashMap;
use std::fmt::Write;
use wire::EthAddr;

/// Seconds during which an entry announced by gratuitous ARP is not moved to a bond.
pub const GRAT_ARP_LOCK_S: u64 = 5;
/// Entries a table holds when nobody says otherwise.
pub const DEFAULT_ENTRIES_MAX: usize = 8192;
/// Idle seconds after which an entry goes, when nobody says otherwise.
pub const DEFAULT_IDLE_S: u64 = 300;
/// Changes remembered one by one; beyond, [`MacChanges::All`].
const CHANGES_MAX: usize = 4096;
/// "No entry" in the intrusive lists.
const NIL: u32 = u32::MAX;

/// The caller's number for a port (a bundle of the bridge).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PortKey(pub u32);

/// What a packet says about where its sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Source address.
    pub mac: EthAddr,
    /// VLAN the packet belongs to, 0..=4095.
    pub vlan: u16,
    /// Port it came in on.
    pub port: PortKey,
    /// The port is a bond.
    pub bond: bool,
    /// The packet is a gratuitous ARP.
    pub gratuitous_arp: bool,
}

/// How long ago an entry was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacAge {
    /// Seconds since a packet confirmed it.
    Seconds(i64),
    /// Configured by hand.
    Static,
}

/// One entry, as shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacEntry {
    /// Address.
    pub mac: EthAddr,
    /// VLAN.
    pub vlan: u16,
    /// Port.
    pub port: PortKey,
    /// Age.
    pub age: MacAge,
}

/// Totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MacStats {
    /// Entries made by traffic.
    pub learned: u64,
    /// Entries removed for their age, or because the limit was lowered.
    pub expired: u64,
    /// Entries removed to make room.
    pub evicted: u64,
    /// Entries that changed their port.
    pub moved: u64,
    /// Packets from a static entry's address that came in on another port.
    pub static_none_move: u64,
}

/// What changed since the last time somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MacChanges {
    /// These (VLAN, address) pairs now have another port, or none.
    Some(Vec<(u16, EthAddr)>),
    /// Too many to name.
    All,
}

impl MacChanges {
    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Some(v) if v.is_empty())
    }
}

#[derive(Debug, Clone, Copy)]
struct Links {
    prev: u32,
    next: u32,
}

const UNLINKED: Links = Links {
    prev: NIL,
    next: NIL,
};

/// A list through the entries: oldest first.
#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    len: u32,
}

const EMPTY_LIST: List = List {
    head: NIL,
    tail: NIL,
    len: 0,
};

#[derive(Debug, Clone)]
struct Slot {
    mac: EthAddr,
    vlan: u16,
    port: PortKey,
    is_static: bool,
    /// Second at which it expires (meaningless when static).
    expires_s: i64,
    /// Second at which the gratuitous ARP lock ends.
    lock_until_s: i64,
    /// In the table's order of use.
    all: Links,
    /// In its port's order of use (learned entries only).
    port_lru: Links,
}

/// Which of the two link pairs of a slot a list runs through.
#[derive(Debug, Clone, Copy)]
enum Chain {
    All,
    Port,
}

/// The table. See the module's text.
#[derive(Debug)]
pub struct MacTable {
    index: HashMap<(u16, EthAddr), u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    all: List,
    by_port: HashMap<PortKey, List>,
    by_usage: UsageHeap,
    flood_vlans: Option<Box<[u64; 64]>>,
    idle_s: i64,
    entries_max: usize,
    n_static: usize,
    stats: MacStats,
    changes: Vec<(u16, EthAddr)>,
    too_many_changes: bool,
}

fn seconds(now: Nanos) -> i64 {
    i64::try_from(now.millis() / 1000).unwrap_or(i64::MAX)
}

fn idle_in_range(idle_s: u64) -> i64 {
    i64::try_from(idle_s.clamp(15, 3600)).expect("clamped")
}

impl Default for MacTable {
    fn default() -> Self {
        Self::new(DEFAULT_IDLE_S)
    }
}

impl MacTable {
    /// An empty table whose entries go after `idle_s` seconds (15 to 3600; values outside are clamped).
    #[must_use]
    pub fn new(idle_s: u64) -> Self {
        Self {
            index: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            all: EMPTY_LIST,
            by_port: HashMap::new(),
            by_usage: UsageHeap::default(),
            flood_vlans: None,
            idle_s: idle_in_range(idle_s),
            entries_max: DEFAULT_ENTRIES_MAX,
            n_static: 0,
            stats: MacStats::default(),
            changes: Vec::new(),
            too_many_changes: false,
        }
    }

    // ---- configuration

    /// Changes the idle time (15 to 3600 seconds), for entries that exist too.
    pub fn set_idle_time(&mut self, idle_s: u64) {
        let idle_s = idle_in_range(idle_s);
        let delta = idle_s - self.idle_s;
        for slot in &mut self.slots {
            slot.expires_s += delta;
        }
        self.idle_s = idle_s;
    }

    /// Changes the limit (10 to 1,000,000 entries); [`Self::run`] removes what is beyond it.
    pub fn set_max_entries(&mut self, max: usize) {
        self.entries_max = max.clamp(10, 1_000_000);
    }

    /// VLANs in which nothing is learned and everything is flooded. True when that is a change.
    pub fn set_flood_vlans(&mut self, vlans: impl IntoIterator<Item = u16>) -> bool {
        let mut bits = Box::new([0u64; 64]);
        for v in vlans {
            bits[usize::from(v & 0xfff) / 64] |= 1 << (v % 64);
        }
        let new = bits.iter().any(|w| *w != 0).then_some(bits);
        let changed = new != self.flood_vlans;
        self.flood_vlans = new;
        if changed {
            self.too_many_changes = true;
        }
        changed
    }

    // ---- use

    /// True when nothing is learned in `vlan`.
    #[must_use]
    pub fn is_flood_vlan(&self, vlan: u16) -> bool {
        self.flood_vlans
            .as_ref()
            .is_some_and(|b| b[usize::from(vlan & 0xfff) / 64] >> (vlan % 64) & 1 == 1)
    }

    /// Where `mac` is in `vlan`. `None` for unknown and group addresses and in VLANs without learning.
    #[must_use]
    pub fn lookup(&self, vlan: u16, mac: EthAddr) -> Option<PortKey> {
        if mac.is_multicast() || self.is_flood_vlan(vlan) {
            return None;
        }
        self.find(vlan, mac).map(|i| self.slot(i).port)
    }

    /// Like [`Self::lookup`], with everything that is known.
    #[must_use]
    pub fn entry(&self, vlan: u16, mac: EthAddr, now: Nanos) -> Option<MacEntry> {
        self.find(vlan, mac)
            .map(|i| self.shown(self.slot(i), seconds(now)))
    }

    /// True while a gratuitous ARP on another port protects an entry from being moved to a bond.
    #[must_use]
    pub fn is_locked(&self, vlan: u16, mac: EthAddr, now: Nanos) -> bool {
        self.find(vlan, mac)
            .is_some_and(|i| seconds(now) < self.slot(i).lock_until_s)
    }

    /// Where the sender would be after [`Self::update`]; `None` when it cannot be learned.
    #[must_use]
    pub fn after_update(&self, seen: &Sighting, now: Nanos) -> Option<PortKey> {
        if seen.mac.is_multicast() || self.is_flood_vlan(seen.vlan) {
            return None;
        }
        let Some(slot) = self.find(seen.vlan, seen.mac).map(|i| self.slot(i)) else {
            return Some(seen.port);
        };
        let locked = seen.gratuitous_arp && seen.bond && seconds(now) < slot.lock_until_s;
        Some(if slot.is_static || locked {
            slot.port
        } else {
            seen.port
        })
    }

    /// True when [`Self::update`] would change anything: an entry, its port, its lock, its age, a counter.
    /// False for addresses that cannot be learned. Read-only.
    #[must_use]
    pub fn update_needed(&self, seen: &Sighting, now: Nanos) -> bool {
        if seen.mac.is_multicast() || self.is_flood_vlan(seen.vlan) {
            return false;
        }
        let Some(slot) = self.find(seen.vlan, seen.mac).map(|i| self.slot(i)) else {
            return true;
        };
        if slot.is_static {
            return slot.port != seen.port;
        }
        let now_s = seconds(now);
        if slot.expires_s != now_s + self.idle_s {
            return true;
        }
        if seen.gratuitous_arp && !seen.bond {
            return true;
        }
        let locked = seen.gratuitous_arp && seen.bond && now_s < slot.lock_until_s;
        !locked && slot.port != seen.port
    }

    /// Takes note of a packet. True when a port changed or an entry was made.
    pub fn update(&mut self, seen: &Sighting, now: Nanos) -> bool {
        if seen.mac.is_multicast() || self.is_flood_vlan(seen.vlan) {
            return false;
        }
        let now_s = seconds(now);
        let Some(i) = self.find(seen.vlan, seen.mac) else {
            return self.learn(seen, now_s);
        };
        if self.slot(i).is_static {
            self.stats.static_none_move += u64::from(self.slot(i).port != seen.port);
            return false;
        }
        self.touch(i);
        let idle_s = self.idle_s;
        let slot = self.slot_mut(i);
        slot.expires_s = now_s + idle_s;
        if seen.gratuitous_arp {
            if !seen.bond {
                slot.lock_until_s = now_s + GRAT_ARP_LOCK_S as i64;
            } else if now_s < slot.lock_until_s {
                return false;
            }
        }
        if slot.port == seen.port {
            return false;
        }
        self.stats.moved += 1;
        self.set_port(i, seen.port);
        true
    }

    /// Makes a static entry, or turns a learned one into one. False only when the table is full of
    /// static entries.
    pub fn add_static(&mut self, vlan: u16, mac: EthAddr, port: PortKey) -> bool {
        if let Some(i) = self.find(vlan, mac) {
            if !self.slot(i).is_static {
                self.port_unlink(i);
                self.slot_mut(i).is_static = true;
                self.n_static += 1;
            }
            self.touch(i);
            if self.slot(i).port != port {
                self.slot_mut(i).port = port;
                self.changed(vlan, mac);
            }
            return true;
        }
        if self.len() >= self.entries_max && !self.evict() {
            return false;
        }
        self.insert(Slot {
            mac,
            vlan,
            port,
            is_static: true,
            expires_s: 0,
            lock_until_s: i64::MIN,
            all: UNLINKED,
            port_lru: UNLINKED,
        });
        self.n_static += 1;
        true
    }

    /// Removes a static entry; false when there is none.
    pub fn del_static(&mut self, vlan: u16, mac: EthAddr) -> bool {
        match self.find(vlan, mac) {
            Some(i) if self.slot(i).is_static => {
                self.remove(i);
                true
            }
            _ => false,
        }
    }

    /// Removes an entry of any kind, if there is one.
    pub fn forget(&mut self, vlan: u16, mac: EthAddr) {
        if let Some(i) = self.find(vlan, mac) {
            self.remove(i);
        }
    }

    /// Removes every learned entry.
    pub fn flush(&mut self) {
        self.retain(|_| false);
    }

    /// Removes the entries of a port: all of them (the port is gone), or with `learned_only` those that
    /// traffic made. They are told.
    pub fn flush_port(&mut self, port: PortKey, learned_only: bool) -> Vec<(u16, EthAddr)> {
        let doomed: Vec<u32> = self
            .iter_indices()
            .filter(|&i| {
                let s = self.slot(i);
                s.port == port && !(learned_only && s.is_static)
            })
            .collect();
        let mut gone = Vec::with_capacity(doomed.len());
        for i in doomed {
            gone.push((self.slot(i).vlan, self.slot(i).mac));
            self.remove(i);
        }
        gone
    }

    /// Removes every learned entry for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&MacEntry) -> bool) {
        let doomed: Vec<u32> = self
            .iter_indices()
            .filter(|&i| !self.slot(i).is_static && !keep(&self.shown(self.slot(i), 0)))
            .collect();
        for i in doomed {
            self.remove(i);
        }
    }

    /// Removes entries that are too old, and those beyond the limit.
    pub fn run(&mut self, now: Nanos) {
        let now_s = seconds(now);
        let mut i = self.all.head;
        while i != NIL {
            let slot = self.slot(i);
            let next = slot.all.next;
            if !slot.is_static {
                if self.len() <= self.entries_max && now_s < slot.expires_s {
                    break;
                }
                self.stats.expired += 1;
                self.remove(i);
            }
            i = next;
        }
    }

    /// When [`Self::run`] has work again, if nothing happens before.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Nanos> {
        let first = self.iter_indices().find(|&i| !self.slot(i).is_static)?;
        let s = u64::try_from(self.slot(first).expires_s).unwrap_or(0);
        Some(Nanos::from_millis(s.saturating_mul(1000)))
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> MacChanges {
        let some = std::mem::take(&mut self.changes);
        if std::mem::take(&mut self.too_many_changes) {
            MacChanges::All
        } else {
            MacChanges::Some(some)
        }
    }

    // ---- what people see

    /// Entries, static ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }
    /// True when there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
    /// The limit.
    #[must_use]
    pub fn max_entries(&self) -> usize {
        self.entries_max
    }
    /// Static entries.
    #[must_use]
    pub fn static_entries(&self) -> usize {
        self.n_static
    }
    /// Totals since [`Self::clear_stats`].
    #[must_use]
    pub fn stats(&self) -> MacStats {
        self.stats
    }
    /// Sets the totals to zero.
    pub fn clear_stats(&mut self) {
        self.stats = MacStats::default();
    }
    /// All entries, least recently used first.
    pub fn entries(&self, now: Nanos) -> impl Iterator<Item = MacEntry> + '_ {
        let now_s = seconds(now);
        self.iter_indices()
            .map(move |i| self.shown(self.slot(i), now_s))
    }

    /// The text of `fdb/show`; `port_name` gives the OpenFlow number (or `LOCAL`) of a port.
    #[must_use]
    pub fn show(&self, now: Nanos, port_name: impl Fn(PortKey) -> String) -> String {
        let mut out = String::from(" port  VLAN  MAC                Age\n");
        for e in self.entries(now) {
            let port = port_name(e.port);
            let row = match e.age {
                MacAge::Static => writeln!(out, "{port:>5}  {:>4}  {}  static", e.vlan, e.mac),
                MacAge::Seconds(s) => writeln!(out, "{port:>5}  {:>4}  {}  {s:>3}", e.vlan, e.mac),
            };
            row.expect("writing to a string cannot fail");
        }
        out
    }

    /// The text of `fdb/stats-show`.
    #[must_use]
    pub fn show_stats(&self, bridge: &str) -> String {
        let MacStats {
            learned,
            expired,
            evicted,
            moved,
            static_none_move: _,
        } = self.stats;
        format!(
            "Statistics for bridge \"{bridge}\":\n  \
             Current/maximum MAC entries in the table: {}/{}\n  \
             Current static MAC entries in the table : {}\n  \
             Total number of learned MAC entries     : {learned}\n  \
             Total number of expired MAC entries     : {expired}\n  \
             Total number of evicted MAC entries     : {evicted}\n  \
             Total number of port moved MAC entries  : {moved}\n",
            self.len(),
            self.entries_max,
            self.n_static,
        )
    }

    // ---- inside

    fn slot(&self, i: u32) -> &Slot {
        &self.slots[i as usize]
    }
    fn slot_mut(&mut self, i: u32) -> &mut Slot {
        &mut self.slots[i as usize]
    }
    fn find(&self, vlan: u16, mac: EthAddr) -> Option<u32> {
        self.index.get(&(vlan, mac)).copied()
    }
    fn iter_indices(&self) -> impl Iterator<Item = u32> + '_ {
        let some = |i: u32| (i != NIL).then_some(i);
        std::iter::successors(some(self.all.head), move |&i| some(self.slot(i).all.next))
    }
    fn shown(&self, slot: &Slot, now_s: i64) -> MacEntry {
        MacEntry {
            mac: slot.mac,
            vlan: slot.vlan,
            port: slot.port,
            age: if slot.is_static {
                MacAge::Static
            } else {
                MacAge::Seconds(self.idle_s - (slot.expires_s - now_s))
            },
        }
    }
    fn changed(&mut self, vlan: u16, mac: EthAddr) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push((vlan, mac));
        } else {
            self.too_many_changes = true;
        }
    }

    fn learn(&mut self, seen: &Sighting, now_s: i64) -> bool {
        if self.len() >= self.entries_max && !self.evict() {
            return false;
        }
        self.stats.learned += 1;
        let lock = seen.gratuitous_arp && !seen.bond;
        let i = self.insert(Slot {
            mac: seen.mac,
            vlan: seen.vlan,
            port: seen.port,
            is_static: false,
            expires_s: now_s + self.idle_s,
            lock_until_s: if lock {
                now_s + GRAT_ARP_LOCK_S as i64
            } else {
                i64::MIN
            },
            all: UNLINKED,
            port_lru: UNLINKED,
        });
        self.port_link(i);
        true
    }

    fn insert(&mut self, slot: Slot) -> u32 {
        let key = (slot.vlan, slot.mac);
        let i = if let Some(i) = self.free.pop() {
            self.slots[i as usize] = slot;
            i
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("at most 1,000,000 entries")
        };
        self.index.insert(key, i);
        let mut list = self.all;
        self.push_back(&mut list, Chain::All, i);
        self.all = list;
        self.changed(key.0, key.1);
        i
    }

    fn remove(&mut self, i: u32) {
        let (vlan, mac, is_static) = {
            let s = self.slot(i);
            (s.vlan, s.mac, s.is_static)
        };
        if is_static {
            self.n_static -= 1;
        } else {
            self.port_unlink(i);
        }
        let mut list = self.all;
        self.unlink(&mut list, Chain::All, i);
        self.all = list;
        self.index.remove(&(vlan, mac));
        self.free.push(i);
        self.changed(vlan, mac);
    }

    fn evict(&mut self) -> bool {
        let Some(port) = self.by_usage.first() else {
            return false;
        };
        let oldest = self.by_port[&port].head;
        self.stats.evicted += 1;
        self.remove(oldest);
        true
    }

    /// Moves an entry to the recently used end of its lists.
    fn touch(&mut self, i: u32) {
        let mut list = self.all;
        self.unlink(&mut list, Chain::All, i);
        self.push_back(&mut list, Chain::All, i);
        self.all = list;
        if !self.slot(i).is_static {
            let port = self.slot(i).port;
            let mut list = self.by_port[&port];
            self.unlink(&mut list, Chain::Port, i);
            self.push_back(&mut list, Chain::Port, i);
            self.by_port.insert(port, list);
        }
    }

    fn set_port(&mut self, i: u32, port: PortKey) {
        self.port_unlink(i);
        self.slot_mut(i).port = port;
        self.port_link(i);
        let (vlan, mac) = (self.slot(i).vlan, self.slot(i).mac);
        self.changed(vlan, mac);
    }

    fn port_link(&mut self, i: u32) {
        let port = self.slot(i).port;
        let mut list = self.by_port.get(&port).copied().unwrap_or(EMPTY_LIST);
        self.push_back(&mut list, Chain::Port, i);
        self.by_usage.add(port);
        self.by_port.insert(port, list);
    }

    fn port_unlink(&mut self, i: u32) {
        let port = self.slot(i).port;
        let mut list = self.by_port[&port];
        self.by_usage.remove(port);
        self.unlink(&mut list, Chain::Port, i);
        if list.len == 0 {
            self.by_port.remove(&port);
        } else {
            self.by_port.insert(port, list);
        }
    }

    fn links(&mut self, chain: Chain, i: u32) -> &mut Links {
        let slot = &mut self.slots[i as usize];
        match chain {
            Chain::All => &mut slot.all,
            Chain::Port => &mut slot.port_lru,
        }
    }

    fn push_back(&mut self, list: &mut List, chain: Chain, i: u32) {
        *self.links(chain, i) = Links {
            prev: list.tail,
            next: NIL,
        };
        match list.tail {
            NIL => list.head = i,
            tail => self.links(chain, tail).next = i,
        }
        list.tail = i;
        list.len += 1;
    }

    fn unlink(&mut self, list: &mut List, chain: Chain, i: u32) {
        let Links { prev, next } = *self.links(chain, i);
        match prev {
            NIL => list.head = next,
            p => self.links(chain, p).next = next,
        }
        match next {
            NIL => list.tail = prev,
            n => self.links(chain, n).prev = prev,
        }
        list.len -= 1;
    }
}

#[cfg(test)]
#[path = "mac_table_tests.rs"]
mod tests;
