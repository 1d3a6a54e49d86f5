//! Flow operations, carried out by the packet thread that owns the table.
//!
//! Control threads prepare everything that costs time (compiling actions, masking keys, allocating); here
//! it is only looked up, linked in, and the old part handed back to be freed elsewhere.
//!
//! Installing a flow releases the parked packets that match it, because later ones would overtake them;
//! only those that a `Resume` later in the same batch names are left to it.

use super::{Pmd, PmdShared};
use crate::actions::{Deed, Origin};
use crate::limits::OPS_PER_TURN;
use crate::mailbox::Asked;
use crate::pending::Entry;
use crate::pkts::{Pkt, Side};
use crate::table::{DpFlow, Run};
use base::sync::{Arc, Ordering};
use dpif::{DpifError, PutFlags};
use flow::{CtMeta, CtTuple, Flow, Layers};
use odp::{DropReason, FlowStats, Ufid};
use packet::{BATCH_MAX, Frame};

/// A prepared operation.
#[derive(Debug)]
pub(crate) enum Job {
    Put {
        flags: PutFlags,
        /// Made from the operation's key, mask and actions.
        flow: Arc<DpFlow>,
        /// The operation's key.
        key: Arc<Flow>,
    },
    /// A put that creates nothing.
    Modify {
        flags: PutFlags,
        ufid: Ufid,
        key: Arc<Flow>,
        deed: Arc<Deed>,
    },
    Del(Ufid),
    Get(Ufid),
    Execute {
        frame: Option<Frame>,
        key: Arc<Flow>,
        deed: Arc<Deed>,
    },
    Resume {
        id: u64,
        deed: Arc<Deed>,
    },
    /// Already carried out.
    Done,
}

/// What became of an operation.
#[derive(Debug)]
pub(crate) enum Answer {
    Stats(Result<FlowStats, DpifError>),
    Flow(Result<Arc<DpFlow>, DpifError>),
    Unit,
}

/// A batch of operations under way.
#[derive(Debug)]
pub(crate) struct Request {
    jobs: Vec<Job>,
    next: usize,
    answers: Vec<Answer>,
    /// Flows that were taken out, to be freed by whoever asked.
    old: Vec<Arc<DpFlow>>,
    asked: Asked<Answers>,
}

/// Answers in the order of the operations, and what is to be freed.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) answers: Vec<Answer>,
    pub(crate) old: Vec<Arc<DpFlow>>,
    pub(crate) jobs: Vec<Job>,
}

impl Request {
    pub(crate) fn new(jobs: Vec<Job>, asked: Asked<Answers>) -> Self {
        Self {
            next: 0,
            answers: Vec::with_capacity(jobs.len()),
            old: Vec::with_capacity(jobs.len()),
            jobs,
            asked,
        }
    }
}

impl Pmd {
    /// Accepts a batch of operations.
    pub(super) fn accept(&mut self, request: Request) {
        self.jobs.push_back(request);
    }

    /// True when operations wait.
    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Carries out a bounded number of operations; true when there were any.
    pub(super) fn run_jobs(&mut self) -> bool {
        let mut left = OPS_PER_TURN;
        let any = self.has_jobs();
        while left > 0
            && let Some(mut request) = self.jobs.pop_front()
        {
            while left > 0 && request.next < request.jobs.len() {
                self.run_job(&mut request);
                left -= 1;
            }
            if request.next < request.jobs.len() {
                self.jobs.push_front(request);
            } else {
                self.publish();
                request.asked.give(Answers {
                    answers: request.answers,
                    old: request.old,
                    jobs: request.jobs,
                });
            }
        }
        any
    }

    /// Brings what others see up to date.
    pub(crate) fn publish(&self) {
        let shared: &PmdShared = self.shared();
        shared.masks.store(self.tables.masks(), Ordering::Relaxed);
        shared.pending.store(self.pending.len(), Ordering::Release); // pairs with quiesce's Acquire
    }

    fn run_job(&mut self, request: &mut Request) {
        let job = std::mem::replace(&mut request.jobs[request.next], Job::Done);
        let answer = match job {
            Job::Put { flags, flow, key } => {
                let later = request.jobs.get(request.next + 1..).unwrap_or_default();
                Answer::Stats(self.put(flags, (flow, &key), later, &mut request.old))
            }
            Job::Modify {
                flags,
                ufid,
                key,
                deed,
            } => Answer::Stats(match self.there(ufid, &key) {
                Some(n) if flags.modify => self.redo(n, (flags, deed), &mut request.old),
                Some(_) => Err(DpifError::Invalid),
                None => Err(DpifError::NoEntry),
            }),
            Job::Del(ufid) => Answer::Stats(match self.tables.flows.find(ufid) {
                Some(n) => self
                    .tables
                    .remove(n)
                    .map(|flow| {
                        let stats = flow.last_stats();
                        request.old.push(flow);
                        stats
                    })
                    .ok_or(DpifError::NoEntry),
                None => Err(DpifError::NoEntry),
            }),
            Job::Get(ufid) => {
                let flow = self.tables.flows.find(ufid);
                let flow = flow.and_then(|n| self.tables.flows.get(n));
                Answer::Flow(flow.map(Arc::clone).ok_or(DpifError::NoEntry))
            }
            Job::Execute { frame, key, deed } => {
                if let Some(frame) = frame {
                    self.execute(frame, &key, &deed);
                }
                Answer::Unit
            }
            Job::Resume { id, deed } => Answer::Stats(match self.pending.take(id) {
                Some(entry) => Ok(self.release(*entry, &deed)),
                None => Err(DpifError::NoEntry),
            }),
            Job::Done => Answer::Unit,
        };
        request.answers.push(answer);
        request.next += 1;
    }

    /// The flow that a put is about: the same identity, or else whatever its packets hit now.
    fn there(&self, ufid: Ufid, key: &Flow) -> Option<u32> {
        let known = self.tables.flows.find(ufid);
        known.or_else(|| self.tables.lookup_one(key))
    }

    /// A put that may create a flow; `later` are the jobs behind it.
    fn put(
        &mut self,
        flags: PutFlags,
        (flow, key): (Arc<DpFlow>, &Flow),
        later: &[Job],
        old: &mut Vec<Arc<DpFlow>>,
    ) -> Result<FlowStats, DpifError> {
        let Some(n) = self.there(flow.ufid, key) else {
            if flags.probe {
                return Ok(FlowStats::default());
            }
            let n = self.tables.insert(flow, key).map_err(|flow| {
                old.push(flow);
                DpifError::NoSpace
            })?;
            self.release_matching(n, later);
            return Ok(FlowStats::default());
        };
        let deed = Arc::clone(&flow.deed);
        old.push(flow);
        if flags.modify {
            self.redo(n, (flags, deed), old)
        } else {
            Err(DpifError::Exists)
        }
    }

    /// Gives a flow other actions.
    fn redo(
        &mut self,
        n: u32,
        (flags, deed): (PutFlags, Arc<Deed>),
        old: &mut Vec<Arc<DpFlow>>,
    ) -> Result<FlowStats, DpifError> {
        let before = self
            .tables
            .redo(n, deed, flags.zero_stats)
            .ok_or(DpifError::NoEntry)?;
        let stats = before.last_stats();
        old.push(before);
        Ok(stats)
    }

    /// Releases the parked packets that belong to flow `n`, and counts them there; but not those that a job
    /// behind this one resumes.
    fn release_matching(&mut self, n: u32, later: &[Job]) {
        if self.pending.len() == 0 {
            return;
        }
        let Some(flow) = self.tables.flows.get(n).map(Arc::clone) else {
            return;
        };
        for id in self.pending.matching(&flow) {
            let resumed = |job: &Job| matches!(job, Job::Resume { id: it, .. } if *it == id);
            if later.iter().any(resumed) {
                continue;
            }
            if let Some(entry) = self.pending.take(id) {
                let s = self.release(*entry, &flow.deed);
                let Some(live) = self.tables.flows.live(n) else {
                    continue;
                };
                live.credit(&Run {
                    packets: u32::try_from(s.n_packets).unwrap_or(u32::MAX),
                    bytes: s.n_bytes,
                    tcp_flags: s.tcp_flags,
                    now: self.exec.now,
                });
            }
        }
    }

    /// Runs the packets of a pending entry, in order.
    fn release(&mut self, mut entry: Entry, deed: &Deed) -> FlowStats {
        let stats = FlowStats {
            n_packets: entry.pkts.len() as u64,
            n_bytes: entry.pkts.iter().map(|p| p.frame.len() as u64).sum(),
            used: Some(self.exec.now),
            tcp_flags: crate::table::tcp_flags(&entry.key),
        };
        let ledger = self.exec.ingress.ledger(entry.in_port);
        ledger.unpark(stats.n_packets);
        let mut rest = entry.pkts.drain(..);
        while rest.len() > 0 {
            let mut pkts = self.exec.spare_pkts();
            pkts.in_port = entry.in_port;
            pkts.recirc_id = entry.recirc_id;
            pkts.passes = entry.passes;
            for pkt in rest.by_ref().take(BATCH_MAX) {
                pkts.push(pkt);
            }
            self.guarded(&mut pkts, |pmd, pkts| {
                let actions = &deed.actions;
                pmd.exec.run(&deed.program, pkts, Origin { actions });
            });
            self.exec.give_back(pkts);
        }
        stats
    }

    /// Runs actions on a packet that was handed in.
    fn execute(&mut self, mut frame: Frame, key: &Flow, deed: &Deed) {
        let mut pkts = self.exec.spare_pkts();
        pkts.in_port = odp::OdpPort(key.in_port.get());
        pkts.recirc_id = key.recirc_id.get();
        frame.mark = key.pkt_mark.get();
        frame.priority = key.skb_priority.get();
        pkts.push(Pkt {
            frame,
            layers: Layers::UNKNOWN,
            side: side_of(key).map(Box::new),
        });
        pkts.extract(0, &mut Flow::zero());
        let ledger = self.exec.ingress.ledger(pkts.in_port);
        ledger.injected.add_local(1);
        self.guarded(&mut pkts, |pmd, pkts| {
            let origin = Origin {
                actions: &deed.actions,
            };
            pmd.exec.run(&deed.program, pkts, origin);
        });
        self.exec.give_back(pkts);
    }

    /// Drops the packets of a pending entry.
    pub(crate) fn drop_pending(&mut self, id: u64, reason: DropReason) {
        if let Some(entry) = self.pending.take(id) {
            self.drop_entry(*entry, reason);
        }
    }

    pub(super) fn drop_entry(&mut self, entry: Entry, reason: DropReason) {
        let n = entry.pkts.len() as u64;
        let ledger = self.exec.ingress.ledger(entry.in_port);
        ledger.unpark(n);
        ledger.drop_n(reason, n);
    }

    /// Removes all flows; gives them to be freed.
    pub(crate) fn flush(&mut self) -> Vec<Arc<DpFlow>> {
        let numbers = self.tables.flows.numbers();
        let old = numbers.filter_map(|n| self.tables.remove(n)).collect();
        self.publish();
        old
    }
}

/// What an executed packet's key says about it besides its headers.
fn side_of(key: &Flow) -> Option<Side> {
    let side = Side {
        dp_hash: key.dp_hash.get(),
        packet_type: key.packet_type.get(),
        ct: (key.ct_state != 0).then(|| ct_of(key)),
        tunnel: key.tunnel.is_set().then(|| Box::new(key.tunnel)),
    };
    let any = side.dp_hash != 0 || side.packet_type != 0;
    (any || side.ct.is_some() || side.tunnel.is_some()).then_some(side)
}

fn ct_of(key: &Flow) -> CtMeta {
    let (tp_src, tp_dst) = (key.ct_tp_src.get(), key.ct_tp_dst.get());
    let proto = key.ct_nw_proto;
    let tuple = if proto == 0 {
        CtTuple::None
    } else if key.ct_ipv6_src.0 != [0; 16] || key.ct_ipv6_dst.0 != [0; 16] {
        CtTuple::V6 {
            src: key.ct_ipv6_src,
            dst: key.ct_ipv6_dst,
            tp_src,
            tp_dst,
            proto,
        }
    } else {
        CtTuple::V4 {
            src: key.ct_nw_src,
            dst: key.ct_nw_dst,
            tp_src,
            tp_dst,
            proto,
        }
    };
    CtMeta {
        state: key.ct_state,
        zone: key.ct_zone.get(),
        mark: key.ct_mark.get(),
        label: key.ct_label.get(),
        tuple,
    }
}
