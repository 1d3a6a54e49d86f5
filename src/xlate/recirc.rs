//! [`RecircTable`]: translations that stopped in the middle, by the recirculation id under which the
//! datapath continues them.
//!
//! When translation needs something that only executing the actions can tell (conntrack's verdict, the
//! headers under an MPLS label, a hash), it freezes: it stores its state here, emits `recirc(id)`, and ends.
//! The packet comes back with that id, misses, and translation thaws the state.
//!
//! Equal states share an id, so that translating again yields the same actions. Whoever keeps actions that
//! mention an id keeps a [`RecircRef`]. An id without references stays valid until [`RecircTable::run`] has
//! passed over it twice, because packets may be under way to it; but it is not given out again.

use crate::snapshot::BridgeId;
use base::sync::{Arc, Mutex, lock};
use flow::{Flow, OfPort, TunnelKey};
use openflow::Act;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use wire::{U32, U64};

/// Something to do after thawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrozenStep {
    /// An action.
    Act(Act),
    /// The following actions belong to a rule in this table with this cookie.
    Unroll {
        /// Table.
        table: u8,
        /// Cookie.
        cookie: u64,
    },
}

/// Pipeline metadata that the datapath does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenMetadata {
    /// Tunnel metadata.
    pub tunnel: TunnelKey,
    /// OpenFlow metadata.
    pub metadata: U64,
    /// Registers.
    pub regs: [U32; 16],
    /// OpenFlow ingress port.
    pub in_port: OfPort,
}

impl FrozenMetadata {
    /// What must be kept of a flow.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        Self {
            tunnel: flow.tunnel,
            metadata: flow.metadata,
            regs: flow.regs,
            in_port: OfPort((flow.in_port.get() & 0xffff) as u16),
        }
    }
    /// Puts it back.
    pub fn restore(&self, flow: &mut Flow) {
        flow.tunnel = self.tunnel;
        flow.metadata = self.metadata;
        flow.regs = self.regs;
        flow.in_port = U32::new(u32::from(self.in_port.0));
    }
}

/// A translation that stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenState {
    /// Table to continue in, when there are no steps.
    pub table: u8,
    /// Bridge to continue in.
    pub bridge: BridgeId,
    /// Bridge and port on which the packet really came in (before patch ports).
    pub ingress: Option<(BridgeId, OfPort)>,
    /// Metadata.
    pub metadata: FrozenMetadata,
    /// The register stack: entries, each the bytes of one push.
    pub stack: Vec<Vec<u8>>,
    /// Mirrors that have their copy already.
    pub mirrors: u32,
    /// Conntrack saw the packet in this bridge.
    pub conntracked: bool,
    /// The packet was MPLS before.
    pub was_mpls: bool,
    /// What remains to be done.
    pub steps: Vec<FrozenStep>,
    /// The action set.
    pub action_set: Vec<Act>,
    /// `userdata` for the controller (pipeline continuations).
    pub userdata: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    state: Arc<FrozenState>,
    hash: u64,
    refs: u64,
    /// Passes of `run` it has been without references.
    idle_runs: u8,
}

#[derive(Debug)]
struct Inner {
    by_id: HashMap<u32, Entry>,
    by_hash: HashMap<u64, Vec<u32>>,
    next_id: u32,
}

/// The table. Shared by all bridges and threads.
#[derive(Debug)]
pub struct RecircTable(Mutex<Inner>);

impl Default for RecircTable {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            by_id: HashMap::new(),
            by_hash: HashMap::new(),
            next_id: 1,
        }))
    }
}

/// A reference to an id. The id is valid as long as one exists.
#[derive(Debug)]
pub struct RecircRef {
    table: Arc<RecircTable>,
    id: u32,
}

impl RecircRef {
    /// The id, never 0.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl PartialEq for RecircRef {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Clone for RecircRef {
    fn clone(&self) -> Self {
        let mut inner = lock(&self.table.0);
        if let Some(e) = inner.by_id.get_mut(&self.id) {
            e.refs += 1;
        }
        drop(inner);
        Self {
            table: self.table.clone(),
            id: self.id,
        }
    }
}

impl Drop for RecircRef {
    fn drop(&mut self) {
        let mut inner = lock(&self.table.0);
        let Some(e) = inner.by_id.get_mut(&self.id) else {
            return;
        };
        e.refs -= 1;
        e.idle_runs = 0;
        if e.refs == 0 {
            let hash = e.hash;
            inner.forget_state(hash, self.id);
        }
    }
}

fn hash_of(state: &FrozenState) -> u64 {
    let h: BuildHasherDefault<DefaultHasher> = BuildHasherDefault::default();
    let m = &state.metadata;
    h.hash_one((
        (state.table, state.bridge, state.mirrors, state.conntracked),
        (state.was_mpls, state.ingress, m.in_port, m.metadata.get()),
        m.regs.map(U32::get),
        (m.tunnel.tun_id.get(), m.tunnel.ip_src, m.tunnel.ip_dst),
        (&state.stack, &state.userdata),
        (state.steps.len(), state.action_set.len()),
    ))
}

impl RecircTable {
    /// The id of a state: the one it has, or a new one.
    #[must_use]
    pub fn freeze(self: &Arc<Self>, state: FrozenState) -> RecircRef {
        let hash = hash_of(&state);
        let mut inner = lock(&self.0);
        let known = inner.find(hash, &state);
        let id = known.unwrap_or_else(|| inner.add(hash, state));
        if let Some(e) = inner.by_id.get_mut(&id) {
            e.refs += 1;
            e.idle_runs = 0;
        }
        drop(inner);
        RecircRef {
            table: self.clone(),
            id,
        }
    }

    /// An id of its own for a state that must not be shared (a bond's internal flows).
    #[must_use]
    pub fn allocate(self: &Arc<Self>, state: FrozenState) -> RecircRef {
        let mut inner = lock(&self.0);
        let id = inner.add(hash_of(&state), state);
        if let Some(e) = inner.by_id.get_mut(&id) {
            e.refs = 1;
        }
        drop(inner);
        RecircRef {
            table: self.clone(),
            id,
        }
    }

    /// The id of a state if it has one.
    #[must_use]
    pub fn find(&self, state: &FrozenState) -> Option<u32> {
        lock(&self.0).find(hash_of(state), state)
    }

    /// The state of an id.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Arc<FrozenState>> {
        lock(&self.0).by_id.get(&id).map(|e| e.state.clone())
    }

    /// A reference to an id that exists.
    #[must_use]
    pub fn reference(self: &Arc<Self>, id: u32) -> Option<RecircRef> {
        let mut inner = lock(&self.0);
        inner.by_id.get_mut(&id)?.refs += 1;
        drop(inner);
        Some(RecircRef {
            table: self.clone(),
            id,
        })
    }

    /// Forgets ids that nobody has referred to since the call before the last. To be called every
    /// 250 ms or slower.
    pub fn run(&self) {
        let mut inner = lock(&self.0);
        let mut gone = Vec::new();
        for (id, e) in &mut inner.by_id {
            if e.refs == 0 {
                e.idle_runs += 1;
                if e.idle_runs > 2 {
                    gone.push((*id, e.hash));
                }
            }
        }
        for (id, hash) in gone {
            inner.by_id.remove(&id);
            inner.forget_state(hash, id);
        }
    }

    /// Ids that exist.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).by_id.len()
    }
    /// True when no id exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn find(&self, hash: u64, state: &FrozenState) -> Option<u32> {
        let ids = self.by_hash.get(&hash)?;
        ids.iter()
            .copied()
            .find(|id| self.by_id.get(id).is_some_and(|e| *e.state == *state))
    }

    /// Equal states do not get this id any more.
    fn forget_state(&mut self, hash: u64, id: u32) {
        if let Some(ids) = self.by_hash.get_mut(&hash) {
            ids.retain(|i| *i != id);
            if ids.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
    }

    fn add(&mut self, hash: u64, state: FrozenState) -> u32 {
        while self.next_id == 0 || self.by_id.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let entry = Entry {
            state: Arc::new(state),
            hash,
            refs: 0,
            idle_runs: 0,
        };
        self.by_id.insert(id, entry);
        self.by_hash.entry(hash).or_default().push(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(table: u8) -> FrozenState {
        FrozenState {
            table,
            bridge: BridgeId(1),
            ingress: None,
            metadata: FrozenMetadata::of(&Flow::zero()),
            stack: vec![vec![1, 2]],
            mirrors: 0,
            conntracked: false,
            was_mpls: false,
            steps: vec![FrozenStep::Act(Act::Exit)],
            action_set: Vec::new(),
            userdata: Vec::new(),
        }
    }

    #[test]
    fn equal_states_share_an_id_until_nobody_refers_to_it() {
        let t = Arc::new(RecircTable::default());
        let (a, b, c) = (t.freeze(state(1)), t.freeze(state(1)), t.freeze(state(2)));
        assert_eq!((a.id(), b.id(), c.id()), (1, 1, 2));
        let own = t.allocate(state(1));
        assert_eq!(own.id(), 3);
        drop((a, own));
        (0..9).for_each(|_| t.run());
        assert_eq!((t.len(), t.get(1).as_deref()), (2, Some(&state(1))));
        drop(b);
        t.run();
        t.run();
        // Packets under way still find it, but the next one with this state gets another.
        assert_eq!((t.find(&state(1)), t.get(1).is_some()), (None, true));
        assert_eq!(t.freeze(state(1)).id(), 4);
        t.run();
        assert_eq!((t.get(1), t.len()), (None, 2));
    }
}
