//! Is an installed flow still right? And what follows when it is not.
//!
//! [`judge`] is the pure part. [`Batch`] does it for many ukeys: claims them, translates them without any
//! lock, gives them back, and sends what must change to the datapath as one message per packet thread.
//!
//! Counters of a changed flow: what the datapath had counted before the change goes to whom the old
//! translation named, what comes after to whom the new one names.

use crate::core::Core;
use crate::credits::Credits;
use crate::limit::Settings;
use crate::reason::DelReason;
use crate::shard::{Shard, Slot};
use crate::state::UkeyState;
use crate::translator::{Ask, Translation, Translator};
use crate::ukey::UkeyId;
use base::clock::Nanos;
use base::sync::{Arc, Ordering};
use dpif::{DpifError, FlowDel, FlowPut, Op, PutFlags, Ticket};
use flow::{Flow, Mask};
use odp::{Actions, DropReason, FlowStats};

/// Ukeys worked on at once.
pub const BATCH_MAX: usize = 50;

/// What to do with an installed flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Right as it is.
    Keep,
    /// Change its actions.
    Modify,
    /// Remove it.
    Delete(DelReason),
}

/// Compares an installed flow with its fresh translation.
#[must_use]
pub fn judge<E>(
    mask: &Mask,
    actions: &Actions,
    fresh: &Result<Translation<E>, DropReason>,
) -> Verdict {
    let Ok(fresh) = fresh else {
        return Verdict::Delete(DelReason::BadTranslation);
    };
    let same = fresh.install.as_ref() == actions;
    if fresh.unowned && !same {
        return Verdict::Delete(DelReason::PortGone);
    }
    if !fresh.cacheable {
        return Verdict::Delete(DelReason::AvoidCaching);
    }
    // A bit that the translation looks at and the flow ignores: packets that should differ would not.
    if !mask.covers(&fresh.mask) {
        return Verdict::Delete(DelReason::MaskChanged);
    }
    if same { Verdict::Keep } else { Verdict::Modify }
}

/// A ukey taken out of its shard's lock to be translated.
#[derive(Debug)]
struct Claim {
    id: UkeyId,
    /// Its place: nobody removes it meanwhile.
    slot: Slot,
    key: Arc<Flow>,
    mask: Arc<Mask>,
    actions: Arc<Actions>,
    worth_it: bool,
    /// It was not marked: taken only to verify the index.
    unmarked: bool,
}

/// What an operation was for.
#[derive(Debug)]
pub(crate) enum Purpose<E> {
    /// To change a claimed ukey's actions to this translation's.
    Modify(UkeyId, Slot, Translation<E>),
    /// To remove the flow of an evicting ukey. The counters are those seen in the dump, if any, in case
    /// the datapath does not have it any more.
    Delete(UkeyId, DelReason, Option<FlowStats>),
}

/// Operations under way, and what they were for.
type Sent<'a, E> = (Box<dyn Ticket + 'a>, Vec<Purpose<E>>);

/// Operations with their purposes: those that are gathered, and those that packet threads are at meanwhile.
#[derive(Debug)]
pub(crate) struct Ops<'a, E> {
    list: Vec<(Op, Purpose<E>)>,
    sent: Option<Sent<'a, E>>,
}

impl<E> Default for Ops<'_, E> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            sent: None,
        }
    }
}

impl<'a, E> Ops<'a, E> {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds the removal of a ukey that is Evicting.
    pub(crate) fn delete(&mut self, id: UkeyId, reason: DelReason, seen: Option<FlowStats>) {
        let del = FlowDel {
            ufid: id.ufid,
            pmd: Some(id.pmd),
            result: Err(DpifError::Again),
        };
        self.list
            .push((Op::FlowDel(del), Purpose::Delete(id, reason, seen)));
    }

    fn modify(&mut self, claim: &Claim, fresh: Translation<E>) {
        let put = FlowPut {
            flags: PutFlags {
                modify: true,
                ..PutFlags::default()
            },
            key: claim.key.clone(),
            mask: claim.mask.clone(),
            ufid: Some(claim.id.ufid),
            actions: fresh.install.clone(),
            pmd: Some(claim.id.pmd),
            result: Err(DpifError::Again),
        };
        self.list.push((
            Op::FlowPut(put),
            Purpose::Modify(claim.id, claim.slot, fresh),
        ));
    }

    /// Sends the operations, digests the answers, and leaves nothing to be done.
    pub(crate) fn send<T: Translator<Effects = E>>(&mut self, core: &'a Core<T>) {
        while !self.list.is_empty() || self.sent.is_some() {
            self.begin(core);
        }
    }

    /// Sends the operations, and digests the answers to those that were sent before.
    fn begin<T: Translator<Effects = E>>(&mut self, core: &'a Core<T>) {
        let before = self.sent.take();
        let mut list = std::mem::take(&mut self.list);
        if !list.is_empty() {
            let pmd = |p: &Purpose<E>| match p {
                Purpose::Modify(id, ..) | Purpose::Delete(id, ..) => id.pmd,
            };
            if !list.is_sorted_by_key(|(_, p)| pmd(p)) {
                list.sort_by_key(|(_, p)| pmd(p));
            }
            let (ops, purposes): (Vec<Op>, Vec<Purpose<E>>) = list.into_iter().unzip();
            self.sent = Some((core.dpif.submit(ops), purposes));
        }
        let Some((ticket, purposes)) = before else {
            return;
        };
        let mut credits = Credits::default();
        for (op, purpose) in ticket.wait().into_iter().zip(purposes) {
            match (op, purpose) {
                (Op::FlowPut(put), Purpose::Modify(id, slot, fresh)) => {
                    self.modified(core, (id, slot, fresh), put.result, &mut credits);
                }
                (Op::FlowDel(del), Purpose::Delete(id, reason, seen)) => {
                    deleted(core, id, reason, del.result.ok().or(seen));
                }
                (op, _) => debug_assert!(false, "not an operation of ours: {op:?}"),
            }
        }
        credits.pay(core);
    }

    /// A claimed ukey's actions were changed, or not.
    fn modified<T: Translator<Effects = E>>(
        &mut self,
        core: &Core<T>,
        (id, slot, fresh): (UkeyId, Slot, Translation<E>),
        result: Result<FlowStats, DpifError>,
        credits: &mut Credits<E>,
    ) {
        let owed = core.map.with_id(&id, |shard| {
            let ukey = shard.get_mut(slot)?;
            ukey.claimed = false;
            let Ok(before) = &result else {
                core.step(shard, slot, UkeyState::Evicting);
                return None;
            };
            let owed = ukey.take_delta(before);
            let old = std::mem::replace(&mut ukey.effects, fresh.effects);
            ukey.actions = fresh.install;
            shard.set_deps(slot, &fresh.deps);
            Some((old, owed))
        });
        match (owed, result) {
            (Some((old, owed)), _) => {
                core.counters.modified.add_shared(1);
                credits.add(&old, &owed);
            }
            (None, Err(DpifError::NoEntry)) => {
                deleted(core, id, DelReason::MissingInDatapath, None);
            }
            (None, _) => self.delete(id, DelReason::UpdateFailed, None),
        }
    }
}

/// The flow of an evicting ukey is gone; its last counters are credited, a tombstone stays.
fn deleted<T: Translator>(core: &Core<T>, id: UkeyId, reason: DelReason, last: Option<FlowStats>) {
    let owed = core.map.with_ukey(&id, |shard, slot| {
        let ukey = shard.get_mut(slot)?;
        if ukey.state() != UkeyState::Evicting {
            return None;
        }
        let owed = last.map(|l| ukey.take_delta(&l)).unwrap_or_default();
        let effects = ukey.effects.clone();
        core.step(shard, slot, UkeyState::Evicted);
        Some((effects, owed))
    });
    if let Some((effects, owed)) = owed {
        core.counters.deleted.add(reason);
        core.credit(&effects, &owed);
        core.translator.removed(&effects);
    }
}

/// What says whether a ukey is worth a translation.
#[derive(Debug)]
struct Terms {
    settings: Settings,
    dump_ms: u64,
    verify: bool,
}

/// Translates stale ukeys again.
#[derive(Debug)]
pub(crate) struct Revalidation<'a, T: Translator> {
    pub(crate) core: &'a Core<T>,
    pub(crate) now: Nanos,
}

impl<'a, T: Translator> Revalidation<'a, T> {
    /// Does the stale ukeys of a shard; with `verify`, the others too, which must turn out to be right.
    pub(crate) fn shard(&self, shard: usize, verify: bool, ops: &mut Ops<'a, T::Effects>) {
        let core = self.core;
        let slots = core.map.with(shard, |s| {
            let mut slots = s.take_worklist();
            if verify {
                slots.extend(s.slots());
            }
            slots
        });
        let terms = Terms {
            settings: **core.settings.load(),
            dump_ms: core.dump_ms.load(Ordering::Relaxed),
            verify,
        };
        for chunk in slots.chunks(BATCH_MAX) {
            core.paced();
            let mut claims = Vec::with_capacity(chunk.len());
            core.map.with(shard, |s| {
                s.touch(chunk);
                let found = chunk.iter().map(|&slot| self.claim(s, slot, &terms));
                claims.extend(found.flatten());
            });
            for claim in claims {
                self.one(claim, ops);
            }
            if ops.len() >= BATCH_MAX {
                ops.begin(core);
            }
        }
        // The last ones do not wait for those of shards that may have none.
        if ops.len() > 0 {
            ops.begin(core);
        }
    }

    /// Takes a ukey out to be translated, if it is to be.
    fn claim(&self, shard: &mut Shard<T::Effects>, slot: Slot, terms: &Terms) -> Option<Claim> {
        let ukey = shard.get_mut(slot)?;
        if ukey.claimed || !(ukey.stale || terms.verify) {
            return None;
        }
        match ukey.state() {
            UkeyState::Operational => {}
            UkeyState::Visible if ukey.stale => {
                shard.requeue(slot); // once it is known to be installed
                return None;
            }
            UkeyState::Created
            | UkeyState::Visible
            | UkeyState::Evicting
            | UkeyState::Evicted
            | UkeyState::Deleted => return None,
        }
        let unmarked = !ukey.stale;
        ukey.stale = false; // may be marked again while it is being translated
        ukey.claimed = true;
        // Unpacked where it stays: a flow is large.
        let mut key = Arc::new(Flow::zero());
        ukey.key.unpack_into(Arc::make_mut(&mut key));
        Some(Claim {
            id: ukey.id,
            slot,
            key,
            mask: ukey.mask.clone(),
            actions: ukey.actions.clone(),
            worth_it: terms.settings.worth_revalidating(
                terms.dump_ms,
                u64::from(ukey.recent_packets),
                ukey.pushed.used,
                self.now,
            ),
            unmarked,
        })
    }

    fn one(&self, claim: Claim, ops: &mut Ops<'a, T::Effects>) {
        let core = self.core;
        if !claim.worth_it && !claim.unmarked {
            self.evict(&claim, DelReason::TooExpensive, ops);
            return;
        }
        core.counters.revalidations.add_shared(1);
        let fresh = core.translator.translate(&Ask {
            key: &claim.key,
            frame: None,
            from: None,
            live: false,
            now: self.now,
        });
        let verdict = judge(&claim.mask, &claim.actions, &fresh);
        if claim.unmarked {
            self.verify(&claim, verdict, fresh.as_ref().ok());
        }
        match (verdict, fresh) {
            (Verdict::Keep, Ok(fresh)) => self.keep(&claim, fresh),
            (Verdict::Modify, Ok(mut fresh)) => {
                fresh.install = core.shared.actions(&fresh.install);
                ops.modify(&claim, fresh);
            }
            (Verdict::Delete(reason), _) => self.evict(&claim, reason, ops),
            (Verdict::Keep | Verdict::Modify, Err(_)) => {
                self.evict(&claim, DelReason::BadTranslation, ops);
            }
        }
    }

    fn keep(&self, claim: &Claim, fresh: Translation<T::Effects>) {
        self.core.map.with_id(&claim.id, |shard| {
            if let Some(ukey) = shard.get_mut(claim.slot) {
                ukey.claimed = false;
                ukey.effects = fresh.effects;
                shard.set_deps(claim.slot, &fresh.deps);
            }
        });
    }

    fn evict(&self, claim: &Claim, reason: DelReason, ops: &mut Ops<'a, T::Effects>) {
        let core = self.core;
        core.map.with_id(&claim.id, |shard| {
            if let Some(ukey) = shard.get_mut(claim.slot) {
                ukey.claimed = false;
                core.step(shard, claim.slot, UkeyState::Evicting);
            }
        });
        ops.delete(claim.id, reason, None);
    }

    /// A flow that the index did not mark must be right: kept as it is, or wider than a fresh one would be only
    /// because finding out that some rule does not match it looks at bits that it ignores.
    fn verify(&self, claim: &Claim, verdict: Verdict, fresh: Option<&Translation<T::Effects>>) {
        let counters = &self.core.counters;
        counters.verify_compared.add_shared(1);
        let too_wide = verdict == Verdict::Delete(DelReason::MaskChanged);
        let wrong = match fresh {
            _ if verdict == Verdict::Keep => return,
            Some(fresh) if too_wide && fresh.install == claim.actions => {
                let (key, mask) = (&claim.key, &claim.mask);
                self.core.translator.too_wide(key, mask, &fresh.deps)
            }
            Some(_) | None => true,
        };
        if !wrong {
            counters.verify_wider.add_shared(1);
            return;
        }
        let fault = if too_wide {
            &counters.verify_too_wide
        } else {
            &counters.verify_disagreed
        };
        fault.add_shared(1);
        tracing::debug!(
            target: "ofproto_dpif_upcall",
            "verify: flow {} was not marked, but: {verdict:?}",
            claim.id.ufid
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deps::Deps;
    use odp::{Action, OdpPort};
    use wire::Ipv4;

    fn answer(port: u32, bits: u8) -> Translation<()> {
        let mut mask = Mask::empty();
        mask.0.nw_src = Ipv4([bits, 0, 0, 0]);
        let actions = Arc::new(vec![Action::Output(OdpPort(port))]);
        Translation {
            actions: actions.clone(),
            install: actions,
            mask: Arc::new(mask),
            cacheable: true,
            needs_help: false,
            unowned: false,
            effects: Arc::new(()),
            deps: Deps::new(),
        }
    }

    #[test]
    fn verdicts() {
        let installed = answer(1, 0xf0);
        let j = |fresh| judge(&installed.mask, &installed.install, &fresh);
        assert_eq!(j(Ok(answer(1, 0xf0))), Verdict::Keep);
        assert_eq!(j(Ok(answer(1, 0x80))), Verdict::Keep); // wider now: what is there stays right
        assert_eq!(
            j(Ok(answer(1, 0xff))),
            Verdict::Delete(DelReason::MaskChanged)
        );
        assert_eq!(j(Ok(answer(2, 0xf0))), Verdict::Modify);
        assert_eq!(
            j(Err(DropReason::NoBridge)),
            Verdict::Delete(DelReason::BadTranslation)
        );
        let unowned = Translation {
            unowned: true,
            ..answer(2, 0)
        };
        assert_eq!(j(Ok(unowned)), Verdict::Delete(DelReason::PortGone));
        let shy = Translation {
            cacheable: false,
            ..answer(1, 0xf0)
        };
        assert_eq!(j(Ok(shy)), Verdict::Delete(DelReason::AvoidCaching));
    }
}
