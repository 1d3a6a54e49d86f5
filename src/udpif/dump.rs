//! One round's dump and sweep: statistics, idle flows, flows that vanished, flows nobody here made.
//!
//! While a dump runs, no ukey is removed: a flow that is deleted leaves a tombstone, so that a line of the
//! dump that was read before the deletion is recognised and its counters are not taken again. The sweep,
//! which begins when every thread has finished its part of the dump, removes the tombstones.

use crate::core::Core;
use crate::credits::Credits;
use crate::limit::AgeHistogram;
use crate::map::{SHARDS, UkeyMap};
use crate::packed::PackedFlow;
use crate::reason::DelReason;
use crate::revalidate::Ops;
use crate::shard::{Insert, Shard};
use crate::state::UkeyState;
use crate::translator::{Ask, Translator};
use crate::ukey::{NewUkey, Ukey, UkeyId};
use base::clock::Nanos;
use base::log::RateLimit;
use base::sync::{AtomicI64, Ordering};
use dpif::{DpifError, FlowDel, FlowDump, FlowGet, FlowInfo, Op};
use odp::{Action, FlowStats};

/// Flows taken from a dump at once: some of each shard, so that a lock is taken, and memory waited for, once for
/// several ukeys.
const CHUNK: usize = 2048;
/// Flows removed at once.
const PURGE_CHUNK: usize = 50;
/// Dumps in a row that do not show a flow before it is believed to be gone.
pub const MISSED_MAX: u8 = 3;

/// What a dump goes by, the same for all its threads.
#[derive(Debug)]
pub(crate) struct Terms {
    /// This dump's number.
    pub(crate) round: u64,
    /// When it began.
    pub(crate) start: Nanos,
    /// Idle time allowed, milliseconds.
    pub(crate) idle_ms: u64,
    /// Fewer milliseconds idle than this, and a flow is not taken for the budget below.
    pub(crate) cold_ms: u64,
    /// Flows still to be removed because there are far too many.
    pub(crate) excess: AtomicI64,
}

/// What one thread owes and found.
#[derive(Debug)]
pub(crate) struct Tally<'a, E> {
    pub(crate) ops: Ops<'a, E>,
    pub(crate) ages: AgeHistogram,
    credits: Credits<E>,
    foreign: Vec<FlowInfo>,
}

impl<E> Default for Tally<'_, E> {
    fn default() -> Self {
        Self {
            ops: Ops::default(),
            ages: AgeHistogram::default(),
            credits: Credits::default(),
            foreign: Vec::new(),
        }
    }
}

/// Does one thread's part of a dump.
pub(crate) fn dump<'a, T: Translator>(
    core: &'a Core<T>,
    terms: &Terms,
    dump: &dyn FlowDump,
) -> Tally<'a, T::Effects> {
    let mut tally = Tally::default();
    let mut cursor = dump.thread();
    let mut flows = Vec::with_capacity(CHUNK);
    let (mut order, mut slots) = (Vec::with_capacity(CHUNK), Vec::new());
    loop {
        let more = cursor.next(&mut flows, CHUNK);
        let now = core.paced();
        by_shard(&flows, &mut order);
        for group in order.chunk_by(|a, b| a.0 == b.0) {
            let (shard, infos) = (group[0].0, || {
                group.iter().map(|&(_, i)| &flows[i as usize])
            });
            core.map.with(shard.into(), |s| {
                slots.clear();
                slots.extend(infos().map(|info| s.find(&id_of(info))));
                s.touch(slots.iter().flatten());
                for (info, slot) in infos().zip(&slots) {
                    match slot {
                        Some(slot) => look(core, terms, now, s, *slot, &info.stats, &mut tally),
                        None => tally.foreign.push(info.clone()),
                    }
                }
            });
        }
        tally.credits.pay(core);
        for info in std::mem::take(&mut tally.foreign) {
            adopt(core, terms, &info, now);
        }
        tally.ops.send(core);
        if !more {
            return tally;
        }
    }
}

fn id_of(info: &FlowInfo) -> UkeyId {
    UkeyId {
        ufid: info.ufid,
        pmd: info.pmd,
    }
}

/// Puts the places of flows, with the shard of each, in the order of the shards: those of one shard stay in theirs.
fn by_shard(flows: &[FlowInfo], order: &mut Vec<(u16, u32)>) {
    const _: () = assert!(SHARDS <= 1 << 16 && CHUNK <= 1 << 20);
    let shard = |info: &FlowInfo| UkeyMap::<()>::shard_of(&id_of(info));
    let mut starts = [0u32; SHARDS + 1];
    for info in flows {
        starts[shard(info) + 1] += 1;
    }
    for s in 1..SHARDS {
        starts[s] += starts[s - 1];
    }
    order.clear();
    order.resize(flows.len(), (0, 0));
    #[expect(clippy::cast_possible_truncation, reason = "both are small, see above")]
    for (i, info) in flows.iter().enumerate() {
        let shard = shard(info);
        order[starts[shard] as usize] = (shard as u16, i as u32);
        starts[shard] += 1;
    }
}

/// Looks at one dumped flow that has a ukey.
#[expect(
    clippy::too_many_arguments,
    reason = "the inner step of one loop, with that loop's variables"
)]
fn look<T: Translator>(
    core: &Core<T>,
    terms: &Terms,
    now: Nanos,
    shard: &mut Shard<T::Effects>,
    slot: u32,
    stats: &FlowStats,
    tally: &mut Tally<'_, T::Effects>,
) {
    let Some(ukey) = shard.get_mut(slot) else {
        return;
    };
    if ukey.dump_round == terms.round {
        core.counters.dumped_duplicate_flow.add_shared(1);
        return;
    }
    match ukey.state() {
        UkeyState::Visible | UkeyState::Operational if !ukey.claimed => {}
        UkeyState::Created
        | UkeyState::Visible
        | UkeyState::Operational
        | UkeyState::Evicting
        | UkeyState::Evicted
        | UkeyState::Deleted => {
            core.counters.upcall_ukey_contention.add_shared(1);
            return;
        }
    }
    ukey.dump_round = terms.round;
    ukey.missed_dumps = 0;
    let used = ukey.last_used(stats);
    let age_ms = now.millis().saturating_sub(used.millis());
    tally.ages.add(age_ms);
    let reason = if age_ms > terms.idle_ms {
        Some(if terms.idle_ms < core.settings.load().max_idle_ms {
            DelReason::Limit
        } else {
            DelReason::Idle
        })
    } else if age_ms >= terms.cold_ms && terms.excess.load(Ordering::Relaxed) > 0 {
        (terms.excess.fetch_sub(1, Ordering::Relaxed) > 0).then_some(DelReason::Limit)
    } else {
        None
    };
    if let Some(reason) = reason {
        let id = ukey.id;
        core.step(shard, slot, UkeyState::Evicting);
        tally.ops.delete(id, reason, Some(*stats));
        return;
    }
    let delta = ukey.take_delta(stats);
    ukey.recent_packets = u32::try_from(delta.n_packets).unwrap_or(u32::MAX);
    tally.credits.add(&ukey.effects, &delta);
    if ukey.state() == UkeyState::Visible {
        // The dump is the first to say that it is installed.
        core.step(shard, slot, UkeyState::Operational);
    }
}

/// A flow in the datapath that has no ukey: somebody else's, or one from before this process. It gets a
/// ukey and is looked at like any other; one whose recirculation nobody can continue is removed.
fn adopt<T: Translator>(core: &Core<T>, terms: &Terms, info: &FlowInfo, now: Nanos) {
    core.counters.dumped_foreign_flow.add_shared(1);
    let id = id_of(info);
    let mut ops = [Op::FlowGet(FlowGet {
        ufid: id.ufid,
        pmd: Some(id.pmd),
        result: Err(DpifError::Again),
    })];
    core.dpif.operate(&mut ops);
    let [Op::FlowGet(FlowGet { result, .. })] = ops else {
        return;
    };
    let Ok(full) = result else {
        return; // gone meanwhile
    };
    let recirculates = full.key.recirc_id.get() != 0
        || full.actions.iter().any(|a| matches!(a, Action::Recirc(_)));
    let translation = core.translator.translate(&Ask {
        key: &full.key,
        frame: None,
        from: None,
        live: false,
        now,
    });
    let (Ok(translation), false) = (translation, recirculates) else {
        remove_foreign(core, id);
        return;
    };
    let mut ukey = Ukey::new(NewUkey {
        id,
        key: PackedFlow::masked(&full.key, &full.mask),
        mask: core.shared.mask(&full.mask).1,
        actions: core.shared.actions(&full.actions),
        effects: translation.effects,
        created: now,
    });
    ukey.dump_round = terms.round;
    ukey.confirmed = Some(now);
    // Its counters are credited to whom it should have been credited; its actions are compared next.
    let delta = ukey.take_delta(&full.stats);
    let effects = ukey.effects.clone();
    let inserted = core.map.with_id(&id, |shard| {
        let outcome = shard.insert(ukey, &translation.deps, 0);
        if let Insert::New(slot) | Insert::Replaced(slot) = outcome {
            core.step(shard, slot, UkeyState::Operational);
            if let Some(u) = shard.get_mut(slot) {
                u.stale = true;
            }
            shard.requeue(slot);
        }
        !matches!(outcome, Insert::Known(_))
    });
    if inserted {
        core.credit(&effects, &delta);
    }
}

#[cold]
fn remove_foreign<T: Translator>(core: &Core<T>, id: UkeyId) {
    static LIMIT: RateLimit = RateLimit::new(10, 60);
    base::log_rl!(
        LIMIT,
        WARN,
        "ofproto_dpif_upcall",
        "Failed to acquire udpif_key corresponding to unexpected flow (Invalid argument): ufid:{}",
        id.ufid
    );
    let mut ops = [Op::FlowDel(FlowDel {
        ufid: id.ufid,
        pmd: Some(id.pmd),
        result: Err(DpifError::Again),
    })];
    core.dpif.operate(&mut ops);
    core.counters.deleted.add(DelReason::Foreign);
}

/// Removes a shard's tombstones, and the flows that dumps have not shown for too long.
pub(crate) fn sweep<'a, T: Translator>(
    core: &'a Core<T>,
    terms: &Terms,
    shard: usize,
    ops: &mut Ops<'a, T::Effects>,
) {
    let gone = core.map.with(shard, |s| {
        let mut gone = Vec::new();
        for slot in s.slots() {
            let Some(ukey) = s.get_mut(slot) else {
                continue;
            };
            match ukey.state() {
                UkeyState::Evicted => {
                    s.remove(slot);
                }
                UkeyState::Operational
                    if !ukey.claimed
                        && ukey.dump_round != terms.round
                        && ukey.confirmed.is_none_or(|c| c < terms.start) =>
                {
                    core.counters.revalidate_missed_dp_flow.add_shared(1);
                    ukey.missed_dumps += 1;
                    if ukey.missed_dumps >= MISSED_MAX {
                        gone.push(ukey.id);
                        core.step(s, slot, UkeyState::Evicting);
                    }
                }
                UkeyState::Created
                | UkeyState::Visible
                | UkeyState::Operational
                | UkeyState::Evicting
                | UkeyState::Deleted => {}
            }
        }
        gone
    });
    for id in gone {
        ops.delete(id, DelReason::MissingInDatapath, None);
    }
    ops.send(core);
}

/// Removes every flow of a shard, for this reason. Not while a dump runs.
pub(crate) fn purge<T: Translator>(core: &Core<T>, shard: usize, reason: DelReason) {
    let mut ops = Ops::default();
    let ids = core.map.with(shard, |s| {
        let mut ids = Vec::new();
        for slot in s.slots() {
            let Some(ukey) = s.get(slot) else {
                continue;
            };
            if matches!(ukey.state(), UkeyState::Visible | UkeyState::Operational) && !ukey.claimed
            {
                ids.push(ukey.id);
                core.step(s, slot, UkeyState::Evicting);
            }
        }
        ids
    });
    for chunk in ids.chunks(PURGE_CHUNK) {
        for &id in chunk {
            ops.delete(id, reason, None);
        }
        ops.send(core);
    }
    core.map.with(shard, |s| {
        for slot in s.slots() {
            s.remove(slot);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sync::Arc;
    use dpif::PmdId;
    use odp::Ufid;
    use proptest::prelude::*;

    proptest! {
        /// The twin sorts.
        #[test]
        fn flows_are_grouped_by_shard_in_their_order(ufids in prop::collection::vec(any::<u128>(), 0..300)) {
            let info = |&n: &u128| FlowInfo {
                ufid: Ufid(n),
                key: Arc::new(flow::Flow::zero()),
                mask: Arc::default(),
                actions: Arc::default(),
                stats: FlowStats::default(),
                pmd: PmdId(0),
                dp_extra: None,
            };
            let flows: Vec<FlowInfo> = ufids.iter().map(info).collect();
            let mut order = Vec::new();
            by_shard(&flows, &mut order);
            let shard = |f: &FlowInfo| UkeyMap::<()>::shard_of(&id_of(f)) as u16;
            let mut want: Vec<(u16, u32)> = flows.iter().map(shard).zip(0..).collect();
            want.sort_by_key(|(shard, _)| *shard);
            prop_assert_eq!(order, want);
        }
    }
}
