//! [`Tables`]: the flow tables of one packet thread, and the lookup of a batch in stages.
//!
//! Stages touch all packets before the next one begins, so that cache misses of different packets overlap:
//! see whether all fit the [`Stencil`] of the last batch's flow; else extract, or read off what is plain; compare
//! with the flow that all of the last batch hit, if there was one; hash all and ask for their cache lines; take
//! candidates and ask for the flows' lines; verify; then subtable by subtable.
//! A port with a single subtable needs no cache: the subtable is as cheap.

use super::cache::Cache;
use super::flows::{Flows, Home};
use super::keys::Keys;
use super::mask::HashKey;
use super::port::{Hint, Place, PortTable, Subtable, short};
use super::stencil::Stencil;
use super::{Bits, DpFlow, FlowList, NONE, each, first_n};
use crate::actions::{Deed, Fast};
use crate::limits::{CACHE_SETS, MANY_FLOWS, PORTS_MAX};
use crate::pkts::Pkts;
use base::sync::{Arc, Counter};
use flow::{Flow, LineSet};
use packet::BATCH_MAX;

/// How lookups ended. Packets, except `probes`.
#[derive(Debug, Default)]
pub(crate) struct LookupTotals {
    /// In the first place looked at: the last batch's flow, the cache, or the only subtable.
    pub(crate) first: Counter,
    /// In a subtable.
    pub(crate) searched: Counter,
    /// Subtables probed for those.
    pub(crate) probes: Counter,
    pub(crate) missed: Counter,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) flows: Flows,
    cache: Cache,
    /// By `2 * in_port + pass`; the last two stand for numbers that are no port.
    ports: Vec<Option<Box<PortTable>>>,
    others: [Option<Box<PortTable>>; 2],
    seed: u64,
    pub(crate) totals: Arc<LookupTotals>,
}

/// What a lookup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// All packets belong to this flow; nothing else was noted.
    One(u32),
    /// Each belongs to the flow noted in [`Keys::found`].
    Some,
    /// There is no flow for at least one packet, where [`NONE`] is noted.
    Missed,
}

fn table_id(in_port: u32, recirc_id: u32) -> u32 {
    in_port.min(PORTS_MAX) * 2 + u32::from(recirc_id != 0)
}

impl Tables {
    pub(crate) fn new(list: Arc<FlowList>, seed: u64) -> Self {
        Self {
            flows: Flows::new(list),
            cache: Cache::new(CACHE_SETS),
            ports: Vec::new(),
            others: [None, None],
            seed,
            totals: Arc::default(),
        }
    }

    fn table(&self, id: u32) -> Option<&PortTable> {
        if id >= 2 * PORTS_MAX {
            return self.others[(id & 1) as usize].as_deref();
        }
        self.ports.get(id as usize)?.as_deref()
    }

    fn table_mut(&mut self, id: u32) -> Option<&mut PortTable> {
        if id >= 2 * PORTS_MAX {
            return self.others[(id & 1) as usize].as_deref_mut();
        }
        self.ports.get_mut(id as usize)?.as_deref_mut()
    }

    fn table_or_new(&mut self, id: u32) -> &mut PortTable {
        let seed = base::hash::words(self.seed, &[u64::from(id)]);
        let slot = if id >= 2 * PORTS_MAX {
            &mut self.others[(id & 1) as usize]
        } else {
            let at = id as usize;
            if self.ports.len() <= at {
                self.ports.resize_with(at + 1, || None);
            }
            &mut self.ports[at]
        };
        slot.get_or_insert_with(|| Box::new(PortTable::new(seed)))
    }

    /// Installs a flow that is not there, made from this key. Gives its number, or gives it back when there
    /// is no space.
    pub(crate) fn insert(&mut self, flow: Arc<DpFlow>, key: &Flow) -> Result<u32, Arc<DpFlow>> {
        let id = table_id(key.in_port.get(), key.recirc_id.get());
        let table = self.table_or_new(id);
        let (subtable, flow) = match table.place(&flow.mask, key) {
            Place::Subtable(s) => (s, flow),
            Place::Narrowed(s, mask) => {
                let deed = Arc::clone(&flow.deed);
                (s, Arc::new(DpFlow::new(flow.ufid, key, mask, deed)))
            }
            Place::Full => return Err(flow),
        };
        let home = Home {
            table: id,
            subtable,
        };
        match self.flows.add(Arc::clone(&flow), home) {
            Ok(n) => {
                self.table_or_new(id).add(subtable, n, &flow, key);
                if n as usize == MANY_FLOWS {
                    self.cache.enlarge();
                }
                Ok(n)
            }
            Err(flow) => {
                self.table_or_new(id).close_empty();
                Err(flow)
            }
        }
    }

    /// Removes a flow.
    pub(crate) fn remove(&mut self, n: u32) -> Option<Arc<DpFlow>> {
        let home = self.flows.home(n)?;
        let flow = self.flows.remove(n)?;
        if let Some(table) = self.table_mut(home.table) {
            table.remove(home.subtable, n, &flow);
        }
        Some(flow)
    }

    /// Gives a flow other actions; its counters stay unless `zero`. Returns the flow as it was.
    pub(crate) fn redo(&mut self, n: u32, deed: Arc<Deed>, zero: bool) -> Option<Arc<DpFlow>> {
        let home = self.flows.home(n)?;
        let old = self.flows.redo(n, deed, zero)?;
        let new = Arc::clone(self.flows.get(n)?);
        if let Some(table) = self.table_mut(home.table) {
            table.replaced(&old, &new);
        }
        Some(old)
    }

    /// The flow that a packet with this full key belongs to: for operations, not for packets.
    pub(crate) fn lookup_one(&self, key: &Flow) -> Option<u32> {
        let table = self.table(table_id(key.in_port.get(), key.recirc_id.get()))?;
        table.subtables.iter().find_map(|s| {
            s.index.find(s.hash(&table.hash_key, key), |n| {
                (self.flows.get(n)).is_some_and(|f| f.matches(key, LineSet::ALL))
            })
        })
    }

    /// Distinct masks, counted per port.
    pub(crate) fn masks(&self) -> usize {
        let tables = self.ports.iter().chain(&self.others).flatten();
        tables.map(|t| t.masks()).sum()
    }

    /// Ranks the subtables of every port.
    pub(crate) fn rank(&mut self) {
        for table in self.ports.iter_mut().chain(&mut self.others).flatten() {
            table.rank();
        }
    }

    /// Finds the flow of each packet.
    #[inline]
    pub(crate) fn lookup(&mut self, pkts: &mut Pkts, keys: &mut Keys) -> Found {
        let n = pkts.len();
        let all = first_n(n);
        let id = table_id(pkts.in_port.0, pkts.recirc_id);
        let Self {
            flows,
            cache,
            ports,
            others,
            totals,
            ..
        } = self;
        let table = if id >= 2 * PORTS_MAX {
            others[(id & 1) as usize].as_deref_mut()
        } else {
            ports.get_mut(id as usize).and_then(Option::as_deref_mut)
        };
        let Some(table) = table.filter(|t| t.len() > 0) else {
            keys.found[..n].fill(NONE);
            keys.deep = false;
            totals.missed.add_local(n as u64);
            return Found::Missed;
        };
        if let Some(flow) = by_stencil(table, pkts) {
            keys.deep = false;
            totals.first.add_local(n as u64);
            return Found::One(flow);
        }
        keys.extract(table, pkts);
        let mut todo = all;
        if let Some(hint) = &mut table.hint {
            todo = by_hint(flows, hint.flow, keys, n);
            if todo == 0 {
                totals.first.add_local(n as u64);
                if !std::mem::replace(&mut hint.tried, true) {
                    hint.stencil = cut(flows, hint.flow, pkts, keys.deep);
                }
                return Found::One(hint.flow);
            }
        }
        todo = match table.subtables.len() {
            1 => by_only_subtable(table, flows, keys, todo),
            _ => by_cache(table, flows, cache, keys, todo),
        };
        let missed_first = todo;
        let first = u64::from((all & !missed_first).count_ones());
        totals.first.add_local(first);
        if todo != 0 && table.subtables.len() > 1 {
            todo = by_search(table, flows, totals, keys, todo);
            for i in each(missed_first & !todo) {
                cache.insert(keys.hashes[i], keys.found[i]);
            }
        }
        table.hint = None;
        if todo != 0 {
            totals.missed.add_local(u64::from(todo.count_ones()));
            for i in each(todo) {
                keys.found[i] = NONE;
            }
            return Found::Missed;
        }
        let first = keys.found[0];
        if keys.found[..n].iter().any(|&f| f != first) {
            return Found::Some;
        }
        table.hint = Some(Hint {
            flow: first,
            stencil: None,
            tried: false,
        });
        Found::One(first)
    }
}

/// The flow that all packets are seen to belong to by their bytes.
#[inline]
fn by_stencil(table: &PortTable, pkts: &Pkts) -> Option<u32> {
    let hint = table.hint.as_ref()?;
    let stencil = hint.stencil.as_ref()?;
    if pkts.sided || !stencil.is_for(pkts.in_port.0, pkts.recirc_id) {
        return None;
    }
    let all = pkts.frames.iter().all(|f| stencil.fits(f.data()));
    all.then_some(hint.flow)
}

/// A stencil for the packets of a flow, by the first of a batch that is all its.
#[cold]
fn cut(flows: &Flows, flow: u32, pkts: &Pkts, deep: bool) -> Option<Stencil> {
    if pkts.is_empty() || flows.live(flow)?.fast() == Fast::Program {
        return None;
    }
    let flow = flows.get(flow)?;
    let data = pkts.frames[0].data();
    Stencil::cut(data, &pkts.metadata(0), &flow.mask.mask, deep)
}

/// Compares with one flow.
#[inline]
fn by_hint(flows: &Flows, hint: u32, keys: &mut Keys, n: usize) -> Bits {
    keys.found[..n].fill(hint);
    keys.unlike(flows, first_n(n))
}

#[inline]
fn by_only_subtable(table: &mut PortTable, flows: &Flows, keys: &mut Keys, todo: Bits) -> Bits {
    let Some(sub) = table.subtables.first_mut() else {
        return todo;
    };
    let left = by_subtable(sub, &table.hash_key, flows, keys, todo);
    sub.hits += u64::from((todo & !left).count_ones());
    left
}

/// Looks `todo` up in one subtable.
#[inline]
fn by_subtable(
    sub: &Subtable,
    hash_key: &HashKey,
    flows: &Flows,
    keys: &mut Keys,
    todo: Bits,
) -> Bits {
    let Keys {
        packets,
        subhashes,
        found,
        ..
    } = keys;
    packets.hash((&sub.mask, hash_key), todo, subhashes, |hash| {
        sub.index.prefetch(short(hash));
    });
    let candidate = |hash| sub.index.candidate(short(hash));
    choose(candidate, flows, (subhashes, found), todo);
    for i in each(keys.packets.whole(todo)) {
        flows.prefetch_key(keys.found[i]);
    }
    let mut left = keys.unlike(flows, todo);
    for i in each(left) {
        // Nearly always there was no candidate; or several have this hash.
        if keys.found[i] == NONE {
            continue;
        }
        let hash = short(keys.subhashes[i]);
        if let Some(n) = (sub.index).find(hash, |n| keys.packets.is_of(flows, n, i)) {
            keys.found[i] = n;
            left &= !(1 << i);
        }
    }
    left
}

/// Notes a candidate for each of `todo`, and asks for what it will be judged by.
#[inline(never)]
fn choose(
    candidate: impl Fn(u64) -> u32,
    flows: &Flows,
    (hashes, found): (&[u64; BATCH_MAX], &mut [u32; BATCH_MAX]),
    todo: Bits,
) {
    for i in each(todo) {
        found[i] = candidate(hashes[i]);
        flows.prefetch(found[i]);
    }
}

#[inline]
fn by_cache(table: &PortTable, flows: &Flows, cache: &Cache, keys: &mut Keys, todo: Bits) -> Bits {
    let Keys {
        packets,
        hashes,
        found,
        ..
    } = keys;
    packets.hash((&table.all, &table.hash_key), todo, hashes, |hash| {
        cache.prefetch(hash);
    });
    let candidate = |hash| cache.candidate(hash).unwrap_or(NONE);
    choose(candidate, flows, (hashes, found), todo);
    for i in each(keys.packets.whole(todo)) {
        flows.prefetch_key(keys.found[i]);
    }
    keys.unlike(flows, todo)
}

/// Subtable by subtable, most hit first.
fn by_search(
    table: &mut PortTable,
    flows: &Flows,
    totals: &LookupTotals,
    keys: &mut Keys,
    mut todo: Bits,
) -> Bits {
    for (nth, sub) in table.subtables.iter_mut().enumerate() {
        if todo == 0 {
            break;
        }
        let left = by_subtable(sub, &table.hash_key, flows, keys, todo);
        let hits = u64::from((todo & !left).count_ones());
        sub.hits += hits;
        totals.searched.add_local(hits);
        totals.probes.add_local(hits * (nth as u64 + 1));
        todo = left;
    }
    todo
}
