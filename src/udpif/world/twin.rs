//! The linear twin of the index: may a packet of an installed flow hit a rule that the flow does not know of?
//!
//! The index decides about one added rule at a time and remembers nothing; this looks at every rule of the tables
//! that a fresh translation searched. For verify mode and tests only: it costs a walk over the tables.

use super::facts::{Fact, LookupNote};
use crate::deps::Dep;
use flow::{Flow, Mask};
use xlate::Snapshot;

/// True when some packet that this flow matches would hit a rule above the one that its translation hit, in a
/// table that was searched before any field was changed. (After that nothing can be said by comparing matches:
/// the index marks such flows on every addition.)
#[must_use]
pub(super) fn too_wide(snapshot: &Snapshot, key: &Flow, mask: &Mask, deps: &[Dep]) -> bool {
    if key.recirc_id.get() != 0 {
        return false; // what its metadata were is not in the key
    }
    let (mut key, mut mask) = (*key, *mask);
    // In another form in the datapath's keys.
    mask.0.tunnel = Flow::zero().tunnel;
    // Not in the datapath's keys at all: as they are when a packet comes.
    key.actset_output.set(u32::from(flow::OfPort::UNSET.0));
    mask.0.metadata.set(u64::MAX);
    mask.0.actset_output.set(u32::MAX);
    mask.0.conj_id.set(u32::MAX);
    mask.0.regs.iter_mut().for_each(|r| r.set(u32::MAX));
    snapshot.bridges.iter().any(|(&bridge, b)| {
        let tables = &b.pipeline.tables;
        tables.iter().any(|(number, table)| {
            let fact = Fact::Table(bridge, number).key();
            let searched = deps.iter().filter(|d| d.key == fact);
            searched.map(|d| LookupNote::unpack(d.note)).any(|note| {
                key.in_port.set(u32::from(note.in_port.0));
                let rules = table.rules.collect(None, tables.version());
                note.pristine
                    && rules.iter().any(|r| {
                        r.priority() > note.priority && r.matching().intersects(&key, &mask)
                    })
            })
        })
    })
}
