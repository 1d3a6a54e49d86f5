//! Handlers: from upcalls to installed flows.
//!
//! A handler takes a batch of upcalls, translates each *distinct* flow once (an upcall that the mask of an
//! earlier one of the batch covers needs no translation of its own), and sends one message to each packet
//! thread: installations, and the release of the parked packets, in the order of arrival. While the packet
//! threads are at it, the handler may translate its next batch; when the answer is there, ukeys are confirmed
//! and the released packets credited.
//!
//! What a packet teaches (MAC addresses, `learn`) is applied between its translation and the next one, so
//! that a request and its reply in one batch behave as if they had come one after the other.
//!
//! Runs on handler threads, or on the caller in manual mode.

use crate::core::Core;
use crate::credits::Credits;
use crate::packed::PackedFlow;
use crate::shard::{Insert, Slot};
use crate::state::UkeyState;
use crate::translator::{Ask, Translation, Translator};
use crate::ukey::{NewUkey, Ukey, UkeyId};
use base::clock::Nanos;
use base::log::RateLimit;
use base::sync::{Arc, Ordering};
use dpif::{
    DpifError, Execute, FlowPut, Op, ParkToken, PmdId, PutFlags, Resume, Ticket, Upcall, UpcallKind,
};
use flow::{Flow, Mask};
use hashbrown::HashTable;
use odp::{Action, Actions, DropReason, FlowStats, Ufid, UserspaceCookie};
use packet::Frame;
use smallvec::SmallVec;

/// Upcalls taken at once.
pub const BATCH_MAX: usize = 64;

/// What an operation of a batch was for.
#[derive(Debug)]
enum Purpose<E> {
    /// To install the flow of this ukey, which was put there.
    Install(UkeyId, Slot),
    /// To install again a flow that the datapath had lost.
    Reinstall(UkeyId),
    /// To release packets, to be credited here.
    Release(Option<Arc<E>>),
    /// To execute a packet of this many bytes, to be credited here if anywhere.
    Run(Option<Arc<E>>, FlowStats),
}

/// A translated flow of a batch.
#[derive(Debug)]
struct Job<E> {
    key: Arc<Flow>,
    /// Mask to install.
    mask: Arc<Mask>,
    /// What it leaves of the key, and the identity that follows.
    packed: PackedFlow,
    ufid: Ufid,
    translation: Translation<E>,
    /// Changes posted before it was translated.
    posted: u64,
    /// Packet threads for which the installation was decided.
    decided: SmallVec<[PmdId; 2]>,
}

/// Operations for the packet threads, in the order in which their upcalls came.
#[derive(Debug)]
struct Ops<E> {
    pmds: Vec<PmdId>,
    ops: Vec<Op>,
    purposes: Vec<Purpose<E>>,
}

impl<E> Ops<E> {
    fn push(&mut self, pmd: PmdId, op: Op, purpose: Purpose<E>) {
        self.pmds.push(pmd);
        self.ops.push(op);
        self.purposes.push(purpose);
    }

    /// As one run of operations for each packet thread; within it, the order of arrival.
    fn grouped(self) -> (Vec<Op>, Vec<Purpose<E>>) {
        if self.pmds.is_sorted() {
            return (self.ops, self.purposes);
        }
        let all = self.pmds.into_iter().zip(self.ops).zip(self.purposes);
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|((pmd, _), _)| *pmd);
        all.into_iter().map(|((_, op), p)| (op, p)).unzip()
    }
}

/// One batch.
#[derive(Debug)]
struct Batch<'a, T: Translator> {
    core: &'a Core<T>,
    now: Nanos,
    jobs: Vec<Job<T::Effects>>,
    /// Masks of the jobs whose flows other packets of the batch may hit, with their hashes; and these jobs.
    masks: SmallVec<[(u64, Arc<Mask>); 4]>,
    by_ufid: HashTable<usize>,
    ops: Ops<T::Effects>,
}

/// A key under a mask.
#[derive(Debug)]
struct Masked {
    mask: Arc<Mask>,
    packed: PackedFlow,
    ufid: Ufid,
}

impl Masked {
    fn new(key: &Flow, (hash, mask): (u64, Arc<Mask>)) -> Self {
        let packed = PackedFlow::masked(key, &mask);
        Self {
            ufid: packed.ufid(hash),
            packed,
            mask,
        }
    }
}

/// A batch whose operations the packet threads are at.
#[derive(Debug)]
pub(crate) struct Sent<'a, T: Translator> {
    core: &'a Core<T>,
    now: Nanos,
    ticket: Box<dyn Ticket + 'a>,
    purposes: Vec<Purpose<T::Effects>>,
}

impl<T: Translator> Sent<'_, T> {
    /// Operations in it.
    pub(crate) fn len(&self) -> usize {
        self.purposes.len()
    }

    /// Waits for the answers and digests them.
    pub(crate) fn finish(self) {
        let mut credits = Credits::default();
        let ops = self.ticket.wait();
        for (op, purpose) in ops.into_iter().zip(self.purposes) {
            finish(self.core, self.now, (op, purpose), &mut credits);
        }
        credits.pay(self.core);
    }
}

/// Handles a batch of upcalls, up to the answers of the packet threads: these are busy with them while the
/// caller handles the next batch.
pub(crate) fn handle<T: Translator>(core: &Core<T>, upcalls: Vec<Upcall>) -> Option<Sent<'_, T>> {
    let n = upcalls.len();
    core.counters.upcalls.add_shared(n as u64);
    touch(&upcalls);
    let mut batch = Batch {
        core,
        now: core.clock.now(),
        jobs: Vec::with_capacity(n),
        masks: SmallVec::new(),
        by_ufid: HashTable::with_capacity(n),
        ops: Ops {
            pmds: Vec::with_capacity(2 * n),
            ops: Vec::with_capacity(2 * n),
            purposes: Vec::with_capacity(2 * n),
        },
    };
    for mut upcall in upcalls {
        match std::mem::replace(&mut upcall.kind, UpcallKind::Miss) {
            UpcallKind::Miss => batch.miss(upcall),
            UpcallKind::Action(userspace) => match userspace.cookie {
                UserspaceCookie::SlowPath { .. } => batch.slow(upcall, &userspace),
                UserspaceCookie::SFlow { .. }
                | UserspaceCookie::FlowSample { .. }
                | UserspaceCookie::Ipfix { .. }
                | UserspaceCookie::Controller { .. }
                | UserspaceCookie::Userdata(_) => {
                    core.translator.deliver(upcall, &userspace);
                }
            },
        }
    }
    batch.send()
}

/// Fetches the keys of a batch, which other cores have just written: the waiting is done for all at once.
fn touch(upcalls: &[Upcall]) {
    let lines = upcalls.iter().flat_map(|u| u.key.lines());
    std::hint::black_box(lines.fold(0, |all, line| all ^ line[0]));
}

impl<'a, T: Translator> Batch<'a, T> {
    /// A packet that no flow matched.
    fn miss(&mut self, upcall: Upcall) {
        let job = match self.known(&upcall.key) {
            Ok(job) => job,
            Err(guess) => match self.translate(&upcall, guess) {
                Ok(job) => self.remember(job),
                Err(reason) => {
                    self.release(upcall, &Arc::new(vec![Action::Drop(reason)]), None);
                    return;
                }
            },
        };
        self.install(job, &upcall);
        let t = &self.jobs[job].translation;
        let (actions, effects) = (t.install.clone(), t.effects.clone());
        self.release(upcall, &actions, Some(effects));
    }

    /// The job whose flow a packet with this key is going to hit; or, for want of one, what a mask of the batch
    /// makes of it.
    fn known(&self, key: &Flow) -> Result<usize, Option<Masked>> {
        let mut guess = None;
        for (hash, mask) in &self.masks {
            let masked = Masked::new(key, (*hash, mask.clone()));
            let same = |&j: &usize| {
                let job = &self.jobs[j];
                job.ufid == masked.ufid && job.packed == masked.packed
            };
            if let Some(&job) = self.by_ufid.find(hash_of(masked.ufid), same) {
                return Ok(job);
            }
            guess = Some(masked);
        }
        Err(guess)
    }

    /// Adds a job; gives its place.
    fn remember(&mut self, job: (Job<T::Effects>, u64)) -> usize {
        let (job, mask_hash) = job;
        let place = self.jobs.len();
        if job.translation.cacheable {
            let jobs = &self.jobs;
            self.by_ufid
                .insert_unique(hash_of(job.ufid), place, |&j| hash_of(jobs[j].ufid));
            if !self.masks.iter().any(|(_, m)| Arc::ptr_eq(m, &job.mask)) {
                self.masks.push((mask_hash, job.mask.clone()));
            }
        }
        self.jobs.push(job);
        place
    }

    /// Translates an upcall. `guess` is its key under the mask that the answer may have. With the job comes the
    /// hash of its mask.
    fn translate(
        &self,
        upcall: &Upcall,
        guess: Option<Masked>,
    ) -> Result<(Job<T::Effects>, u64), DropReason> {
        let core = self.core;
        let posted = core.pending.posted(); // before the translation: see deps
        let ask = Ask {
            key: &upcall.key,
            frame: None,
            from: None,
            live: true,
            now: self.now,
        };
        core.counters.translations.add_shared(1);
        let mut translation = core.translator.translate(&ask)?;
        core.translator.learn(&translation, &ask);
        translation.install = core.shared.actions(&translation.install);
        let mask = if core.megaflows.load(Ordering::Relaxed) {
            translation.mask.clone()
        } else {
            let mut exact = core.translator.exact_mask(&upcall.key);
            exact.union(&translation.mask); // what was looked at and the packet does not have
            Arc::new(exact)
        };
        let (hash, mask) = core.shared.mask(&mask);
        let masked = match guess.filter(|g| Arc::ptr_eq(&g.mask, &mask)) {
            Some(guess) => guess,
            None => Masked::new(&upcall.key, (hash, mask)),
        };
        let job = Job {
            key: upcall.key.clone(),
            mask: masked.mask,
            packed: masked.packed,
            ufid: masked.ufid,
            translation,
            posted,
            decided: SmallVec::new(),
        };
        Ok((job, hash))
    }

    /// Installs a job's flow on the packet thread of an upcall, once, if it may be.
    fn install(&mut self, job: usize, upcall: &Upcall) {
        let core = self.core;
        let job = &mut self.jobs[job];
        if !job.translation.cacheable || job.decided.contains(&upcall.pmd) {
            return;
        }
        job.decided.push(upcall.pmd);
        let id = UkeyId {
            ufid: job.ufid,
            pmd: upcall.pmd,
        };
        if over_limit(core) && !is_known(core, &id) {
            return;
        }
        let ukey = Ukey::new(NewUkey {
            id,
            key: job.packed.clone(),
            mask: job.mask.clone(),
            actions: job.translation.install.clone(),
            effects: job.translation.effects.clone(),
            created: self.now,
        });
        let posted = job.posted;
        let (outcome, lost) = core.map.with_id(&id, |s| {
            let outcome = s.insert(ukey, &job.translation.deps, posted);
            (outcome, lost_flow(s, outcome, upcall.raised))
        });
        let purpose = match outcome {
            Insert::New(slot) => Purpose::Install(id, slot),
            Insert::Replaced(slot) => {
                core.counters.upcall_ukey_replace.add_shared(1);
                Purpose::Install(id, slot)
            }
            Insert::Known(_) if lost => Purpose::Reinstall(id),
            Insert::Known(_) => {
                core.counters.handler_duplicate_upcall.add_shared(1);
                return;
            }
        };
        let put = FlowPut {
            flags: PutFlags {
                create: true,
                ..PutFlags::default()
            },
            key: job.key.clone(),
            mask: job.mask.clone(),
            ufid: Some(id.ufid),
            actions: job.translation.install.clone(),
            pmd: Some(upcall.pmd),
            result: Err(DpifError::Again),
        };
        self.ops.push(upcall.pmd, Op::FlowPut(put), purpose);
    }

    /// Sends a missed packet, and those parked behind it, on their way.
    fn release(
        &mut self,
        upcall: Upcall,
        actions: &Arc<Actions>,
        effects: Option<Arc<T::Effects>>,
    ) {
        if let Some(token) = upcall.park {
            self.resume(token, actions, effects);
        } else if let Some(frame) = upcall.frame {
            let stats = one_packet(&frame, &upcall.key, self.now);
            let op = execute(frame, upcall.key, actions.clone(), false);
            self.ops.push(upcall.pmd, op, Purpose::Run(effects, stats));
        }
    }

    fn resume(
        &mut self,
        token: ParkToken,
        actions: &Arc<Actions>,
        effects: Option<Arc<T::Effects>>,
    ) {
        let op = Op::Resume(Resume {
            token,
            actions: actions.clone(),
            result: Err(DpifError::Again),
        });
        self.ops.push(token.pmd, op, Purpose::Release(effects));
    }

    /// A packet of a flow that needs userspace for each packet. Its flow (or the release of the miss that
    /// brought it) has counted it already.
    fn slow(&mut self, mut upcall: Upcall, userspace: &odp::Userspace) {
        let core = self.core;
        core.counters.slow_path_packets.add_shared(1);
        let Some(frame) = upcall.frame.take() else {
            return;
        };
        let ask = Ask {
            key: &upcall.key,
            frame: Some(&frame),
            from: Some(userspace),
            live: true,
            now: self.now,
        };
        let Ok(translation) = core.translator.translate(&ask) else {
            return;
        };
        core.translator.learn(&translation, &ask);
        if translation.actions.is_empty() {
            return;
        }
        let stats = one_packet(&frame, &upcall.key, self.now);
        let op = execute(
            frame,
            upcall.key,
            translation.actions,
            translation.needs_help,
        );
        self.ops.push(upcall.pmd, op, Purpose::Run(None, stats));
    }

    /// Sends the operations.
    fn send(self) -> Option<Sent<'a, T>> {
        if self.ops.ops.is_empty() {
            return None;
        }
        let (ops, purposes) = self.ops.grouped();
        Some(Sent {
            core: self.core,
            now: self.now,
            ticket: self.core.dpif.submit(ops),
            purposes,
        })
    }
}

fn hash_of(ufid: Ufid) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "a ufid is a hash itself")]
    let hash = ufid.0 as u64;
    hash
}

/// Digests one answer.
fn finish<T: Translator>(
    core: &Core<T>,
    now: Nanos,
    done: (Op, Purpose<T::Effects>),
    credits: &mut Credits<T::Effects>,
) {
    match done {
        (Op::FlowPut(put), Purpose::Install(id, slot)) => match put.result {
            Ok(_) => installed(core, (&id, slot), now),
            Err(_) => refused(core, &id),
        },
        (Op::FlowPut(put), Purpose::Reinstall(id)) => {
            if put.result.is_ok() {
                reinstalled(core, &id, now);
            }
        }
        (Op::Resume(resume), Purpose::Release(effects)) => {
            if let (Ok(stats), Some(effects)) = (resume.result, effects) {
                core.counters.released_packets.add_shared(stats.n_packets);
                credits.add(&effects, &stats);
            }
        }
        (Op::Execute(_), Purpose::Run(effects, stats)) => {
            if let Some(effects) = effects {
                core.counters.released_packets.add_shared(stats.n_packets);
                credits.add(&effects, &stats);
            }
        }
        (op, purpose) => debug_assert!(false, "{op:?} does not answer {purpose:?}"),
    }
}

fn installed<T: Translator>(core: &Core<T>, (id, slot): (&UkeyId, Slot), now: Nanos) {
    core.counters.installed.add_shared(1);
    let stale = core.map.with_id(id, |shard| {
        let slot = shard.find_at(slot, id)?;
        let ukey = shard.get_mut(slot)?;
        ukey.confirmed.get_or_insert(now);
        let (visible, stale) = (ukey.state() == UkeyState::Visible, ukey.stale);
        if visible {
            // Not when a dump or a purge was faster.
            core.step(shard, slot, UkeyState::Operational);
        }
        Some(stale)
    });
    if stale == Some(true) {
        core.pending.nudge(); // changed while it was under way: have it looked at soon
    }
}

fn reinstalled<T: Translator>(core: &Core<T>, id: &UkeyId, now: Nanos) {
    core.counters.reinstalled.add_shared(1);
    let round = core.round.load(Ordering::Relaxed);
    core.map.with_ukey(id, |shard, slot| {
        let ukey = shard.get_mut(slot)?;
        // The new flow counts from zero; a running dump may still show the old one.
        ukey.pushed = FlowStats {
            used: ukey.pushed.used,
            ..FlowStats::default()
        };
        ukey.dump_round = round;
        ukey.confirmed = Some(now);
        Some(())
    });
}

fn refused<T: Translator>(core: &Core<T>, id: &UkeyId) {
    core.counters.install_failed.add_shared(1);
    core.map.with_ukey(id, |shard, slot| {
        if shard.get(slot)?.state() == UkeyState::Visible {
            core.step(shard, slot, UkeyState::Evicted);
            shard.remove(slot);
        }
        Some(())
    });
}

/// True when the datapath missed a packet for a flow that it had confirmed before: it lost the flow.
fn lost_flow<E>(shard: &mut crate::shard::Shard<E>, outcome: Insert, raised: Nanos) -> bool {
    let Insert::Known(slot) = outcome else {
        return false;
    };
    shard.get(slot).is_some_and(|u| {
        u.state() == UkeyState::Operational
            && !u.claimed
            && u.confirmed.is_some_and(|confirmed| raised > confirmed)
    })
}

fn is_known<T: Translator>(core: &Core<T>, id: &UkeyId) -> bool {
    let live = core
        .map
        .with_ukey(id, |shard, slot| Some(shard.get(slot)?.state().is_live()));
    live == Some(true)
}

fn over_limit<T: Translator>(core: &Core<T>) -> bool {
    static LIMIT: RateLimit = RateLimit::new(1, 5);
    let limit = core.limit();
    if (core.map.live() as u64) < u64::from(limit) {
        return false;
    }
    core.counters.upcall_flow_limit_hit.add_shared(1);
    base::log_rl!(
        LIMIT,
        WARN,
        "ofproto_dpif_upcall",
        "upcall: datapath reached the dynamic limit of {limit} flows."
    );
    true
}

fn one_packet(frame: &Frame, key: &Flow, now: Nanos) -> FlowStats {
    FlowStats {
        n_packets: 1,
        n_bytes: frame.len() as u64,
        used: Some(now),
        tcp_flags: key.tcp_flags.get(),
    }
}

fn execute(frame: Frame, key: Arc<Flow>, actions: Arc<Actions>, needs_help: bool) -> Op {
    Op::Execute(Execute {
        frame: Some(frame),
        key,
        actions,
        needs_help,
        probe: false,
        result: Err(DpifError::Again),
    })
}
