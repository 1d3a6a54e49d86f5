//! [`Shard`]: one part of the connection table: those connections whose hash falls there.
//!
//! A hash table without keys finds the slot of a connection or of an alias; slots are in chunks, so that growing
//! moves nothing. A wheel with a place for every second says which connections to look at when: packets only write
//! a connection's time of expiry, and a connection whose turn comes too early goes on to its new place. So a
//! packet costs the wheel nothing, and each connection a look every two minutes at most.

use super::conn::{Alias, Conn};
use super::tuple::Tuple;
use crate::table::index::Index;
use base::clock::Nanos;

/// Slots of a chunk.
const CHUNK: usize = 32;
/// Places of the wheel: seconds.
const WHEEL: u64 = 128;
/// The list of those that are being looked at.
const DUE: usize = WHEEL as usize;
/// No slot.
const NONE: u32 = u32::MAX;

/// What a slot holds.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Nothing; the next free slot.
    Free(u32),
    Conn(Conn),
    Alias(Box<Alias>),
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    hash: u32,
    // ---- the wheel's lists
    next: u32,
    prev: u32,
    place: u8,
}

/// What was found under a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A connection, and whether the tuple is that of its other direction.
    Conn { slot: u32, reply: bool },
    /// A translated connection's other direction: the connection's key.
    Alias { owner: Tuple, id: u64 },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shard {
    index: Index,
    chunks: Vec<Box<[Slot; CHUNK]>>,
    free: u32,
    /// First slot of each place, and of what is due; made with the first connection.
    heads: Box<[u32]>,
    /// Seconds up to which the wheel has turned.
    turned: u64,
    conns: u32,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            index: Index::new(),
            chunks: Vec::new(),
            free: NONE,
            heads: Box::default(),
            turned: 0,
            conns: 0,
        }
    }
}

const fn seconds(t: Nanos) -> u64 {
    t.0 / 1_000_000_000
}

impl Shard {
    /// Entries of any kind.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.index.len()
    }
    /// Slots there are, used or not.
    pub(crate) fn slots(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    fn slot(&self, n: u32) -> Option<&Slot> {
        let n = n as usize;
        self.chunks.get(n / CHUNK).map(|c| &c[n % CHUNK])
    }
    fn slot_mut(&mut self, n: u32) -> Option<&mut Slot> {
        let n = n as usize;
        self.chunks.get_mut(n / CHUNK).map(|c| &mut c[n % CHUNK])
    }

    /// The connection in a slot.
    pub(crate) fn conn(&self, slot: u32) -> Option<&Conn> {
        match &self.slot(slot)?.entry {
            Entry::Conn(c) => Some(c),
            Entry::Free(_) | Entry::Alias(_) => None,
        }
    }
    /// The connection in a slot, to be changed.
    pub(crate) fn conn_mut(&mut self, slot: u32) -> Option<&mut Conn> {
        match &mut self.slot_mut(slot)?.entry {
            Entry::Conn(c) => Some(c),
            Entry::Free(_) | Entry::Alias(_) => None,
        }
    }

    /// What is under a tuple; connections that expired are not there.
    pub(crate) fn find(&self, tuple: &Tuple, hash: u32, now: Nanos) -> Option<Found> {
        let mut found = None;
        self.index.find(hash, |n| {
            found = match self.slot(n).map(|s| &s.entry) {
                Some(Entry::Conn(c)) if c.expires > now => {
                    if c.key == *tuple {
                        Some(Found::Conn {
                            slot: n,
                            reply: false,
                        })
                    } else if c.key.reversed() == *tuple && c.alias().is_none() {
                        Some(Found::Conn {
                            slot: n,
                            reply: true,
                        })
                    } else {
                        None
                    }
                }
                Some(Entry::Alias(a)) if a.tuple == *tuple => Some(Found::Alias {
                    owner: a.owner,
                    id: a.id,
                }),
                _ => None,
            };
            found.is_some()
        });
        found
    }

    /// The connection with this key, expired or not.
    pub(crate) fn find_key(&self, key: &Tuple, hash: u32) -> Option<u32> {
        self.index
            .find(hash, |n| self.conn(n).is_some_and(|c| c.key == *key))
    }

    /// A connection with this tuple, either way, that has expired and was not removed yet.
    pub(crate) fn find_expired(&self, tuple: &Tuple, hash: u32, now: Nanos) -> Option<u32> {
        let back = tuple.reversed();
        self.index.find(hash, |n| {
            self.conn(n).is_some_and(|c| {
                c.expires <= now && (c.key == *tuple || c.key == back && c.alias().is_none())
            })
        })
    }

    fn take_slot(&mut self, hash: u32, entry: Entry) -> u32 {
        if self.free == NONE {
            let first = self.slots();
            self.chunks.push(Box::new(std::array::from_fn(|i| {
                let n = first + i as u32 + 1;
                Slot {
                    entry: Entry::Free(if i + 1 < CHUNK { n } else { NONE }),
                    hash: 0,
                    next: NONE,
                    prev: NONE,
                    place: 0,
                }
            })));
            self.free = first;
        }
        let n = self.free;
        let mut next = NONE;
        if let Some(slot) = self.slot_mut(n) {
            if let Entry::Free(after) = slot.entry {
                next = after;
            }
            slot.entry = entry;
            slot.hash = hash;
        }
        self.free = next;
        self.index.insert(hash, n);
        n
    }

    /// Adds a connection. There must be none with its tuple.
    pub(crate) fn insert(&mut self, hash: u32, conn: Conn, now: Nanos) -> u32 {
        if self.heads.is_empty() {
            self.heads = vec![NONE; DUE + 1].into();
        }
        if self.conns == 0 {
            self.turned = self.turned.max(seconds(now));
        }
        self.conns += 1;
        let expires = conn.expires;
        let n = self.take_slot(hash, Entry::Conn(conn));
        self.link(n, expires, seconds(now));
        n
    }

    /// Adds an alias. There must be nothing with its tuple.
    pub(crate) fn insert_alias(&mut self, hash: u32, alias: Alias) {
        self.take_slot(hash, Entry::Alias(Box::new(alias)));
    }

    fn give_slot(&mut self, n: u32) -> Entry {
        let free = self.free;
        let Some(slot) = self.slot_mut(n) else {
            return Entry::Free(NONE);
        };
        let hash = slot.hash;
        let entry = std::mem::replace(&mut slot.entry, Entry::Free(free));
        self.free = n;
        let removed = self.index.remove(hash, n);
        debug_assert!(removed, "every entry is in the index");
        entry
    }

    /// Removes a connection.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Conn> {
        self.conn(slot)?;
        self.unlink(slot);
        self.conns -= 1;
        match self.give_slot(slot) {
            Entry::Conn(c) => Some(c),
            Entry::Free(_) | Entry::Alias(_) => None,
        }
    }

    /// Removes the alias of the connection with this id.
    pub(crate) fn remove_alias(&mut self, tuple: &Tuple, hash: u32, id: u64) {
        let at = self.index.find(hash, |n| {
            matches!(self.slot(n).map(|s| &s.entry),
                Some(Entry::Alias(a)) if a.tuple == *tuple && a.id == id)
        });
        if let Some(n) = at {
            self.give_slot(n);
        }
    }

    /// Puts a slot where its time comes, as far as the wheel goes.
    fn link(&mut self, n: u32, expires: Nanos, now_s: u64) {
        let at = seconds(expires) + 1;
        let at = at.clamp(now_s + 1, now_s + WHEEL - 1) % WHEEL;
        let head = self.heads[at as usize];
        self.heads[at as usize] = n;
        if let Some(slot) = self.slot_mut(n) {
            slot.place = at as u8;
            slot.prev = NONE;
            slot.next = head;
        }
        if let Some(slot) = self.slot_mut(head) {
            slot.prev = n;
        }
    }

    fn unlink(&mut self, n: u32) {
        let Some(slot) = self.slot(n) else { return };
        let (next, prev, place) = (slot.next, slot.prev, usize::from(slot.place));
        if let Some(before) = self.slot_mut(prev) {
            before.next = next;
        } else if self.heads[place] == n {
            self.heads[place] = next;
        } else {
            self.heads[DUE] = next;
        }
        if let Some(after) = self.slot_mut(next) {
            after.prev = prev;
        }
    }

    /// Looks at connections whose turn it is, at most `most` of them; gives those that expired to `gone`. True
    /// when there is no more to do now.
    pub(crate) fn sweep(
        &mut self,
        now: Nanos,
        mut most: usize,
        mut gone: impl FnMut(Conn),
    ) -> bool {
        let now_s = seconds(now);
        if self.conns == 0 {
            self.turned = now_s;
            return true;
        }
        loop {
            while self.heads[DUE] != NONE {
                if most == 0 {
                    return false;
                }
                most -= 1;
                let n = self.heads[DUE];
                let expires = self.conn(n).map_or(Nanos::ZERO, |c| c.expires);
                if expires <= now {
                    let conn = self.remove(n);
                    debug_assert!(conn.is_some(), "the wheel holds connections");
                    if let Some(conn) = conn {
                        gone(conn);
                    }
                } else {
                    self.unlink(n);
                    self.link(n, expires, now_s);
                }
            }
            if self.turned >= now_s {
                return true;
            }
            // After a jump every place comes once.
            self.turned = self.turned.max(now_s.saturating_sub(WHEEL)) + 1;
            let place = (self.turned % WHEEL) as usize;
            self.heads[DUE] = std::mem::replace(&mut self.heads[place], NONE);
        }
    }

    /// Removes connections in slots from `from` on, of `most` slots; gives them to `gone`. Where to go on.
    pub(crate) fn remove_if(
        &mut self,
        from: u32,
        most: u32,
        mut which: impl FnMut(&Conn) -> bool,
        mut gone: impl FnMut(Conn),
    ) -> Option<u32> {
        let end = self.slots().min(from.saturating_add(most));
        for n in from..end {
            if self.conn(n).is_some_and(&mut which)
                && let Some(conn) = self.remove(n)
            {
                gone(conn);
            }
        }
        (end < self.slots()).then_some(end)
    }

    /// Shows connections in slots from `from` on, of `most` slots. Where to go on.
    pub(crate) fn each(&self, from: u32, most: u32, mut f: impl FnMut(&Conn)) -> Option<u32> {
        let end = self.slots().min(from.saturating_add(most));
        (from..end).filter_map(|n| self.conn(n)).for_each(&mut f);
        (end < self.slots()).then_some(end)
    }
}
