//! Effects that are the same for thousands of flows exist once.
//!
//! Most flows of a table differ in their keys and hit the same rules: their effects (count a lookup, credit a
//! rule) are equal. Effects that belong to one flow (an address to learn, a NetFlow record) are not shared.

use super::effects::{Effects, NewEffects};
use base::sync::{Arc, Mutex, lock};
use hashbrown::HashTable;
use smallvec::SmallVec;
use xlate::{BridgeId, Effect};

/// What names a list of effects: equal words, equal effects.
type Words = SmallVec<[u64; 16]>;

#[derive(Debug)]
struct Entry {
    hash: u64,
    words: Box<[u64]>,
    effects: Arc<Effects>,
}

#[derive(Debug, Default)]
struct Known {
    table: HashTable<Entry>,
    /// The ones asked for last, which are nearly always asked for again. Their words are in the table.
    last: Option<(Box<[u64]>, Arc<Effects>)>,
}

/// The effects in use that can be shared. The lock is a leaf.
#[derive(Debug, Default)]
pub(super) struct SharedEffects(Mutex<Known>);

impl SharedEffects {
    /// The one copy of these effects, if they can be shared; else themselves. Known ones cost no allocation.
    pub(super) fn share(&self, effects: NewEffects) -> Arc<Effects> {
        let Some(words) = words_of(&effects) else {
            return Arc::new(effects.into());
        };
        let mut known = lock(&self.0);
        let Known { table, last } = &mut *known;
        if let Some((of, last)) = last
            && **of == *words
        {
            return last.clone();
        }
        let hash = base::hash::words(base::hash::process_seed(), &words);
        let same = |e: &Entry| e.hash == hash && *e.words == *words;
        let found = match table.find(hash, same) {
            Some(e) => e.effects.clone(),
            None => {
                let effects = Arc::new(Effects::from(effects));
                let entry = Entry {
                    hash,
                    words: words.as_slice().into(),
                    effects: effects.clone(),
                };
                table.insert_unique(hash, entry, |e| e.hash);
                effects
            }
        };
        *last = Some((words.as_slice().into(), found.clone()));
        found
    }

    /// Forgets what no flow has any more, and with it the rules that only it kept.
    pub(super) fn run(&self) {
        let mut known = lock(&self.0);
        known.last = None;
        let table = &mut known.table;
        table.retain(|e| Arc::strong_count(&e.effects) > 1);
        if table.capacity() > 4 * table.len() + 1024 {
            table.shrink_to_fit(|e| e.hash);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).table.len()
    }
}

/// The words that name these effects; none if they are a flow's own.
fn words_of(effects: &NewEffects) -> Option<Words> {
    if !effects.events.is_empty() || !effects.recircs.is_empty() {
        return None;
    }
    let mut out = Words::new();
    let mut add = |kind: u64, bridge: Option<BridgeId>, rest: [u64; 2]| {
        let id = bridge.map_or(0, |b| b.0);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        out.extend([kind, id as u64, (id >> 64) as u64, rest[0], rest[1]]);
    };
    for effect in &effects.list {
        match effect {
            Effect::Table {
                bridge,
                table,
                matched,
            } => add(1, Some(*bridge), [u64::from(*table), u64::from(*matched)]),
            // An address names a rule or group for as long as the entry keeps it alive.
            Effect::Rule(rule) => add(2, None, [Arc::as_ptr(rule).addr() as u64, 0]),
            Effect::Group { group, bucket } => {
                let bucket = bucket.map_or(u64::MAX, |b| b as u64);
                add(3, None, [Arc::as_ptr(group).addr() as u64, bucket]);
            }
            Effect::FinTimeout { rule, idle, hard } => {
                let times = u64::from(*idle) << 16 | u64::from(*hard);
                add(4, None, [Arc::as_ptr(rule).addr() as u64, times]);
            }
            Effect::PortRx { bridge, port } => add(5, Some(*bridge), [u64::from(port.0), 0]),
            Effect::PortTx { bridge, port } => add(6, Some(*bridge), [u64::from(port.0), 0]),
            Effect::Mirror { bridge, mirrors } => add(7, Some(*bridge), [u64::from(*mirrors), 0]),
            Effect::Learn { .. }
            | Effect::NetFlow { .. }
            | Effect::Bond { .. }
            | Effect::MacLearn { .. } => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::OfPort;

    fn effects(port: u16, sent: bool) -> NewEffects {
        let (bridge, port) = (BridgeId(5), OfPort(port));
        let effect = if sent {
            Effect::PortTx { bridge, port }
        } else {
            Effect::PortRx { bridge, port }
        };
        NewEffects {
            list: vec![effect],
            events: Vec::new(),
            recircs: Vec::new(),
        }
    }

    #[test]
    fn equal_effects_are_one_and_go_with_their_last_flow() {
        let shared = SharedEffects::default();
        let a = shared.share(effects(1, true));
        assert!(Arc::ptr_eq(&a, &shared.share(effects(1, true))));
        assert!(!Arc::ptr_eq(&a, &shared.share(effects(1, false))));
        assert!(!Arc::ptr_eq(&a, &shared.share(effects(2, true))));
        assert_eq!(shared.len(), 3);
        shared.run();
        assert_eq!(shared.len(), 1);
        drop(a);
        shared.run();
        assert_eq!(shared.len(), 0);
    }
}
