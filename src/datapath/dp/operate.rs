//! Flow operations: prepared here, carried out by the packet threads they are for.
//!
//! A batch is split by thread, keeping its order for each; all threads work at the same time, and the
//! answers are put together when all have come. An operation for every thread counts as the peer counts
//! it: what was installed everywhere must have succeeded everywhere; what was found anywhere was found.

use super::Datapath;
use crate::actions::Deed;
use crate::mailbox::Reply;
use crate::pmd::{Answer, Answers, Job, PmdHandle, PmdShared};
use crate::table::DpFlow;
use crate::table::mask::MaskInfo;
use base::sync::Arc;
use dpif::{DpifError, Execute, FlowInfo, FlowPut, Op, PmdId};
use flow::{Flow, Mask};
use odp::{Actions, FlowStats, Ufid};
use wire::U32;

/// Where an operation goes.
enum Route {
    /// To no thread: it is answered already.
    Nowhere,
    One(usize),
    All,
}

/// Jobs for each thread, with the operation each came from.
struct Plan {
    jobs: Vec<Vec<Job>>,
    origin: Vec<Vec<usize>>,
    /// Operations in all: nearly always all are for one thread.
    n: usize,
    last: Last,
}

/// What the operation before had, which the next one nearly always has too.
#[derive(Default)]
struct Last {
    mask: Option<(Arc<Mask>, Arc<MaskInfo>)>,
    deed: Option<Arc<Deed>>,
}

/// Operations under way.
#[derive(Debug)]
pub(crate) struct Sent(Vec<Part>);

/// One thread's part of them.
#[derive(Debug)]
struct Part {
    reply: Reply<Answers>,
    /// For each answer, the operation.
    origin: Vec<usize>,
    pmd: Arc<PmdShared>,
}

impl Plan {
    fn add(&mut self, pmd: usize, op: usize, job: Job) {
        if self.jobs[pmd].is_empty() {
            self.jobs[pmd].reserve(self.n - op);
            self.origin[pmd].reserve(self.n - op);
        }
        self.jobs[pmd].push(job);
        self.origin[pmd].push(op);
    }
}

fn route(pmds: &[Arc<PmdHandle>], pmd: Option<PmdId>) -> Result<Route, DpifError> {
    match pmd {
        None => Ok(Route::All),
        Some(id) => pmds
            .iter()
            .position(|p| p.shared.id == id)
            .map(Route::One)
            .ok_or(DpifError::Invalid),
    }
}

static PUTS: base::log::RateLimit = base::log::RateLimit::new(1, 5);

impl Datapath {
    /// Performs operations. See `Dpif::operate`.
    pub(crate) fn operate(&self, ops: &mut [Op]) {
        let sent = self.begin(ops);
        self.end(ops, sent);
    }

    /// Sends operations to the packet threads. They are answered in [`Datapath::end`].
    pub(crate) fn begin(&self, ops: &mut [Op]) -> Sent {
        let pmds = self.pmds();
        let mut plan = Plan {
            jobs: pmds.iter().map(|_| Vec::new()).collect(),
            origin: pmds.iter().map(|_| Vec::new()).collect(),
            n: ops.len(),
            last: Last::default(),
        };
        for (i, op) in ops.iter_mut().enumerate() {
            if let Err(e) = self.plan(&pmds, i, op, &mut plan) {
                fail(op, e);
            }
        }
        let parts = std::iter::zip(pmds.iter(), plan.jobs).zip(plan.origin);
        let sent = parts.filter(|((_, jobs), _)| !jobs.is_empty());
        let sent = sent.map(|((pmd, jobs), origin)| Part {
            reply: pmd.send_jobs(jobs),
            origin,
            pmd: Arc::clone(&pmd.shared),
        });
        Sent(sent.collect())
    }

    /// Waits for the answers to operations, and puts them together.
    pub(crate) fn end(&self, ops: &mut [Op], sent: Sent) {
        let mut first = vec![true; ops.len()];
        for part in sent.0 {
            let answers = part.reply.wait().map(|a| {
                // Flows that were replaced, and spent jobs, are freed here and not on the packet thread.
                drop((a.old, a.jobs));
                a.answers
            });
            let mut answers = answers.unwrap_or_default().into_iter();
            for op in part.origin {
                let first = std::mem::replace(&mut first[op], false);
                match answers.next() {
                    Some(answer) => merge(&mut ops[op], answer, first, &part.pmd),
                    None => fail(&mut ops[op], DpifError::NoDevice),
                }
            }
        }
        ops.iter_mut().for_each(|op| self.settle(op));
    }

    /// What came too late for a packet thread that is gone is no failure.
    fn settle(&self, op: &mut Op) {
        match op {
            Op::FlowDel(del) if del.result.is_err() => {
                let stats = del.pmd.and_then(|id| self.graves.take(id, del.ufid));
                if let Some(stats) = stats {
                    del.result = Ok(stats);
                }
            }
            Op::FlowPut(put) if put.result == Err(DpifError::NoDevice) => {
                let ufid = put_ufid(put);
                if put.pmd.is_some_and(|id| self.graves.still_born(id, ufid)) {
                    put.result = Ok(FlowStats::default());
                }
            }
            _ => {}
        }
    }

    /// Prepares one operation for the threads it goes to.
    fn plan(
        &self,
        pmds: &[Arc<PmdHandle>],
        i: usize,
        op: &mut Op,
        plan: &mut Plan,
    ) -> Result<(), DpifError> {
        let targets = |route| match route {
            Route::Nowhere => 0..0,
            Route::One(p) => p..p + 1,
            Route::All => 0..pmds.len(),
        };
        match op {
            Op::FlowPut(put) => {
                let prepared = self.prepare_put(put, &mut plan.last)?;
                let late = |id| self.graves.still_born(id, put_ufid(put));
                let to = match route(pmds, put.pmd) {
                    Err(_) if put.pmd.is_some_and(late) => {
                        put.result = Ok(FlowStats::default());
                        Route::Nowhere
                    }
                    to => to?,
                };
                for p in targets(to) {
                    plan.add(p, i, prepared.job(put));
                }
            }
            Op::FlowDel(del) => {
                for p in targets(route(pmds, del.pmd)?) {
                    plan.add(p, i, Job::Del(del.ufid));
                }
            }
            Op::FlowGet(get) => {
                for p in targets(route(pmds, get.pmd)?) {
                    plan.add(p, i, Job::Get(get.ufid));
                }
            }
            Op::Execute(x) => {
                let deed = Deed::new(&x.actions)?;
                x.result = Ok(());
                for p in targets(execute_route(pmds, x)) {
                    let job = Job::Execute {
                        frame: x.frame.take(),
                        key: Arc::clone(&x.key),
                        deed: deed.clone(),
                    };
                    plan.add(p, i, job);
                }
            }
            Op::Resume(r) => {
                let deed = self.deed(&r.actions, &mut plan.last)?;
                let route = route(pmds, Some(r.token.pmd)).map_err(|_| DpifError::NoEntry)?;
                for p in targets(route) {
                    let job = Job::Resume {
                        id: r.token.id,
                        deed: deed.clone(),
                    };
                    plan.add(p, i, job);
                }
            }
        }
        Ok(())
    }

    /// Checks a put.
    fn prepare_put(&self, put: &FlowPut, last: &mut Last) -> Result<Prepared, DpifError> {
        if put.mask.0.in_port.get() != u32::MAX {
            let how = match (put.flags.create, put.flags.modify) {
                (true, _) => "[create]",
                (false, true) => "[modify]",
                (false, false) => "[zero]",
            };
            base::log_rl!(
                PUTS,
                ERROR,
                "dpif_netdev",
                "failed to put{how} flow: in_port is not an exact match"
            );
            return Err(DpifError::Invalid);
        }
        let create = put.flags.create;
        Ok(Prepared {
            ufid: put_ufid(put),
            mask: create.then(|| self.mask(&put.mask, last)),
            deed: self.deed(&put.actions, last)?,
        })
    }

    /// The prepared form of a put's mask.
    fn mask(&self, mask: &Arc<Mask>, last: &mut Last) -> Arc<MaskInfo> {
        if let Some((of, info)) = &last.mask
            && Arc::ptr_eq(of, mask)
        {
            return Arc::clone(info);
        }
        let info = self.masks.intern(&with_recirc_id(mask));
        last.mask = Some((Arc::clone(mask), Arc::clone(&info)));
        info
    }

    /// The deed of a list that others share.
    fn deed(&self, actions: &Arc<Actions>, last: &mut Last) -> Result<Arc<Deed>, DpifError> {
        if let Some(deed) = &last.deed
            && Arc::ptr_eq(&deed.actions, actions)
        {
            return Ok(Arc::clone(deed));
        }
        let deed = self.deeds.of(actions)?;
        last.deed = Some(Arc::clone(&deed));
        Ok(deed)
    }

    /// Removes all flows.
    pub(crate) fn flow_flush(&self) {
        for pmd in self.pmds().iter() {
            drop(pmd.call(crate::pmd::Pmd::flush));
        }
    }

    /// Drops what waits for handlers, and the packets parked for it.
    pub(crate) fn recv_purge(&self) {
        let gone = self.common.upcalls.purge();
        self.drop_upcalls(gone);
    }

    /// Drops upcalls that nobody will answer, with their parked packets.
    pub(crate) fn drop_upcalls(&self, upcalls: Vec<dpif::Upcall>) {
        for pmd in self.pmds().iter() {
            let tokens = upcalls.iter().filter_map(|u| u.park);
            let ids: Vec<u64> = tokens
                .filter(|t| t.pmd == pmd.shared.id)
                .map(|t| t.id)
                .collect();
            if !ids.is_empty() {
                pmd.call(move |p| {
                    for id in ids {
                        p.drop_pending(id, odp::DropReason::Purged);
                    }
                    p.publish();
                });
            }
        }
    }
}

/// A put that was checked.
struct Prepared {
    ufid: Ufid,
    /// When it may create a flow.
    mask: Option<Arc<MaskInfo>>,
    deed: Arc<Deed>,
}

impl Prepared {
    /// The job for one thread.
    fn job(&self, put: &FlowPut) -> Job {
        let (flags, key, deed) = (put.flags, Arc::clone(&put.key), Arc::clone(&self.deed));
        match &self.mask {
            Some(mask) => Job::Put {
                flags,
                flow: Arc::new(DpFlow::new(self.ufid, &key, Arc::clone(mask), deed)),
                key,
            },
            None => Job::Modify {
                flags,
                ufid: self.ufid,
                key,
                deed,
            },
        }
    }
}

fn put_ufid(put: &FlowPut) -> Ufid {
    let usual = || Ufid::of(&put.key.masked(&put.mask));
    put.ufid.unwrap_or_else(usual)
}

/// A flow of one pass is no flow of another, whatever its mask says.
fn with_recirc_id(mask: &Arc<Mask>) -> Arc<Mask> {
    if mask.0.recirc_id.get() == u32::MAX {
        return Arc::clone(mask);
    }
    let mut wider = **mask;
    wider.0.recirc_id = U32::new(u32::MAX);
    Arc::new(wider)
}

fn execute_route(pmds: &[Arc<PmdHandle>], x: &Execute) -> Route {
    if x.probe || x.frame.is_none() {
        return Route::Nowhere;
    }
    let main = pmds.iter().position(|p| p.shared.id == PmdId::NON_PMD);
    main.map_or(Route::Nowhere, Route::One)
}

fn fail(op: &mut Op, e: DpifError) {
    match op {
        Op::FlowPut(put) => put.result = Err(e),
        Op::FlowDel(del) => del.result = Err(e),
        Op::FlowGet(get) => get.result = Err(e),
        Op::Execute(x) => x.result = Err(e),
        Op::Resume(r) => r.result = Err(e),
    }
}

fn sum(a: &mut FlowStats, b: &FlowStats) {
    a.n_packets += b.n_packets;
    a.n_bytes += b.n_bytes;
    a.used = a.used.max(b.used);
    a.tcp_flags |= b.tcp_flags;
}

/// Adds one thread's answer to the others'. With `all`, one failure is a failure; without, one success is
/// a success.
fn merge_stats(
    into: &mut Result<FlowStats, DpifError>,
    new: Result<FlowStats, DpifError>,
    first: bool,
    all: bool,
) {
    if first {
        *into = new;
        return;
    }
    match (&mut *into, new) {
        (Ok(a), Ok(b)) => sum(a, &b),
        (Ok(_), Err(e)) if all => *into = Err(e),
        (Err(_), Ok(b)) if !all => *into = Ok(b),
        (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => {}
    }
}

fn merge(op: &mut Op, answer: Answer, first: bool, pmd: &PmdShared) {
    match (op, answer) {
        (Op::FlowPut(put), Answer::Stats(s)) => {
            merge_stats(&mut put.result, s, first, put.flags.create);
        }
        (Op::FlowDel(del), Answer::Stats(s)) => merge_stats(&mut del.result, s, first, false),
        (Op::Resume(r), Answer::Stats(s)) => merge_stats(&mut r.result, s, first, false),
        (Op::FlowGet(get), Answer::Flow(flow)) => {
            let new = flow.map(|f| describe(&f, f.stats(&pmd.list), pmd.id, false));
            match (&mut get.result, new) {
                (Ok(have), Ok(more)) if !first => sum(&mut have.stats, &more.stats),
                (Ok(_), Err(_)) if !first => {}
                (slot, new) => *slot = new,
            }
        }
        _ => {}
    }
}

/// A flow as control threads see it.
pub(super) fn describe(flow: &DpFlow, stats: FlowStats, pmd: PmdId, terse: bool) -> FlowInfo {
    let nothing = nothing();
    let (key, mask, actions) = if terse {
        nothing
    } else {
        (
            Arc::new(flow.given_key()),
            Arc::clone(&flow.mask.mask),
            Arc::clone(&flow.deed.actions),
        )
    };
    FlowInfo {
        ufid: flow.ufid,
        key,
        mask,
        actions,
        stats,
        pmd,
        dp_extra: None,
    }
}

/// What a terse dump has for key, mask and actions.
fn nothing() -> (Arc<Flow>, Arc<Mask>, Arc<Actions>) {
    static NOTHING: base::sync::OnceLock<(Arc<Flow>, Arc<Mask>, Arc<Actions>)> =
        base::sync::OnceLock::new();
    NOTHING
        .get_or_init(|| {
            (
                Arc::new(Flow::zero()),
                Arc::new(Mask::empty()),
                Arc::new(Actions::new()),
            )
        })
        .clone()
}
