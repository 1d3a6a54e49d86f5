//! One batch: look up, group, run, send; park what missed.
//!
//! Packets are run in the order they came. Consecutive packets of the same flow form a run; the two most
//! common programs, a single output and a drop, are run right here.
//!
//! A panic anywhere below is caught at the batch's edge: the packets of the batch that are not accounted
//! for are booked as dropped by panic, and the thread goes on.

use super::Pmd;
use crate::actions::{Exec, Fast, Origin};
use crate::pending::{Missed, Pending};
use crate::pkts::{Beside, Pkt, Pkts};
use crate::table::{DpFlow, Flows, Found, Live, NONE, Run};
use base::sync::{Arc, lock};
use dpif::{ParkToken, Upcall, UpcallKind};
use flow::Flow;
use odp::{DropReason, OdpPort, Ufid};
use packet::Frame;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Frames shorter than an Ethernet header cannot be anything.
const FRAME_MIN: usize = 14;

/// How long the packets of a batch are, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) sum: u64,
    pub(super) least: usize,
}

impl Lengths {
    #[inline]
    pub(super) fn of(pkts: &Pkts) -> Self {
        let mut lengths = Self {
            sum: 0,
            least: usize::MAX,
        };
        for frame in pkts.frames.iter() {
            lengths.sum += frame.len() as u64;
            lengths.least = lengths.least.min(frame.len());
        }
        lengths
    }
}

impl Pmd {
    /// Forwards a received batch; `pkts` is empty afterwards.
    #[inline]
    pub(super) fn forward(&mut self, pkts: &mut Pkts, mut lengths: Lengths) {
        self.guarded(pkts, |pmd, pkts| {
            if lengths.least < FRAME_MIN {
                drop_runts(&pmd.exec, pkts);
                lengths = Lengths::of(pkts);
            }
            pmd.pass(pkts, lengths);
        });
    }

    /// Does something with packets, then takes up their further passes and sends; survives panics.
    #[inline]
    pub(super) fn guarded(&mut self, pkts: &mut Pkts, first: impl FnOnce(&mut Self, &mut Pkts)) {
        let in_port = pkts.in_port;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            first(self, pkts);
            self.finish_passes(in_port);
        }));
        if ended.is_err() {
            self.after_panic(pkts, in_port);
        }
    }

    /// Takes up recirculated packets until there are none, then sends what waits.
    fn finish_passes(&mut self, in_port: OdpPort) {
        while let Some(mut next) = self.exec.later.pop_front() {
            let lengths = Lengths::of(&next);
            self.pass(&mut next, lengths);
            self.exec.give_back(next);
        }
        let Exec { outs, ingress, .. } = &mut self.exec;
        outs.flush(ingress.ledger(in_port));
    }

    /// Looks packets up and runs what was found.
    fn pass(&mut self, pkts: &mut Pkts, lengths: Lengths) {
        if pkts.is_empty() {
            return;
        }
        let missed = match self.tables.lookup(pkts, &mut self.keys) {
            Found::One(number) => return self.run_uniform(number, pkts, lengths),
            Found::Some => false,
            Found::Missed => true,
        };
        match self.credit(pkts) {
            Some(code) if !missed => self.run_alike(Fast::decode(code), pkts),
            _ => self.run_mixed(pkts),
        }
    }

    /// All packets belong to one flow.
    fn run_uniform(&mut self, number: u32, pkts: &mut Pkts, lengths: Lengths) {
        let flows = &self.tables.flows;
        let (Some(live), Some(flow)) = (flows.live(number), flows.get(number)) else {
            self.exec.drop_all(pkts, DropReason::PolicyDrop);
            return;
        };
        let mut run = Run {
            packets: pkts.len() as u32,
            bytes: lengths.sum,
            now: self.exec.now,
            tcp_flags: 0,
        };
        if self.keys.deep {
            run.tcp_flags = (0..pkts.len()).fold(0, |f, i| f | self.keys.tcp_flags(i));
        }
        live.credit(&run);
        match live.fast() {
            Fast::Program => {
                let origin = Origin {
                    actions: &flow.deed.actions,
                };
                self.exec.run(&flow.deed.program, pkts, origin);
            }
            fast => self.run_alike(fast, pkts),
        }
    }

    /// All packets go through the same program, which is a simple one.
    fn run_alike(&mut self, fast: Fast, pkts: &mut Pkts) {
        match fast {
            Fast::Output(port) if pkts.passes == 0 => self.exec.output_now(port, pkts),
            Fast::Output(port) => self.exec.output(port, pkts),
            Fast::Drop(reason) => self.exec.drop_all(pkts, reason),
            Fast::Program => self.run_mixed(pkts),
        }
    }

    /// Credits each packet to its flow. Gives the program of all packets when it is the same simple one.
    fn credit(&mut self, pkts: &Pkts) -> Option<u32> {
        let keys = &self.keys;
        let codes = if !keys.deep {
            self.credit_each(pkts, |_| 0)
        } else if keys.all_plain(pkts.len()) {
            self.credit_each(pkts, |i| keys.plain_tcp_flags(i))
        } else {
            self.credit_each(pkts, |i| keys.tcp_flags(i))
        };
        (codes.0 == codes.1 && codes.0 != Fast::Program.code()).then_some(codes.0)
    }

    /// The codes that all packets' programs have in common, as bits, and those that any has.
    #[inline]
    fn credit_each(&self, pkts: &Pkts, tcp_flags: impl Fn(usize) -> u16) -> (u32, u32) {
        let (flows, now) = (&self.tables.flows, self.exec.now);
        let mut codes = (u32::MAX, 0);
        let found = std::iter::zip(&*pkts.frames, &self.keys.found);
        for (i, (frame, &number)) in found.enumerate() {
            let Some(live) = flows.live(number) else {
                continue; // missed
            };
            live.credit(&Run {
                packets: 1,
                bytes: frame.len() as u64,
                tcp_flags: tcp_flags(i),
                now,
            });
            let code = live.code();
            codes = (codes.0 & code, codes.1 | code);
        }
        codes
    }

    /// Packets of several flows, or of none, that were credited.
    fn run_mixed(&mut self, pkts: &mut Pkts) {
        let Self {
            exec,
            tables,
            keys,
            pending,
            shared,
            ..
        } = self;
        let mut gathered = exec.borrow(pkts);
        let mut runs = Runs {
            exec,
            flow: None,
            fast: Fast::Program,
            number: NONE,
            gathered: &mut gathered,
        };
        let pass = (pkts.in_port, pkts.recirc_id, pkts.passes);
        for (i, (frame, beside)) in pkts.drain_frames().enumerate() {
            let number = keys.found[i];
            if number != runs.number {
                runs.end();
                runs.begin(number, &tables.flows);
            }
            if number == NONE {
                miss(runs.exec, pending, beside.with(frame), pass);
            } else {
                runs.packet((frame, beside), pass.0);
            }
        }
        runs.end();
        shared
            .pending
            .store(pending.len(), base::sync::Ordering::Relaxed);
        self.exec.give_back(gathered);
    }

    /// Brings the books in order after a panic: what of the batch is not accounted for is dropped.
    #[cold]
    fn after_panic(&mut self, pkts: &mut Pkts, in_port: OdpPort) {
        self.shared.totals.panics.add_local(1);
        if let Some(frame) = pkts.frames.first() {
            *lock(&self.shared.last_panic) = Some(frame.data().to_vec());
        }
        pkts.frames.release_all();
        pkts.forget_sides();
        self.exec.later.clear();
        let Exec { outs, ingress, .. } = &mut self.exec;
        let ledger = ingress.ledger(in_port);
        // The device may be what panics: then its batch is lost with it, and counted below.
        let _ = catch_unwind(AssertUnwindSafe(|| outs.flush(ledger)));
        outs.abandon();
        let missing = ledger.read().difference();
        ledger.drop_n(DropReason::Panic, u64::try_from(missing).unwrap_or(0));
        base::log_rl!(
            PANICS,
            ERROR,
            "dpif_netdev",
            "a packet thread panicked over a batch from port {in_port}; {missing} packets dropped"
        );
    }
}

static PANICS: base::log::RateLimit = base::log::RateLimit::new(1, 5);

#[cold]
fn drop_runts(exec: &Exec, pkts: &mut Pkts) {
    let ledger = exec.ingress.ledger(pkts.in_port);
    pkts.retain(
        |frame, _, _| frame.len() >= FRAME_MIN,
        |_runt| ledger.drop_n(DropReason::Malformed, 1),
    );
}

/// The run at hand of a mixed batch.
struct Runs<'a, 'f> {
    exec: &'a mut Exec,
    flow: Option<&'f DpFlow>,
    fast: Fast,
    number: u32,
    /// Its packets, when its program is not a simple one.
    gathered: &'a mut Box<Pkts>,
}

impl<'f> Runs<'_, 'f> {
    fn begin(&mut self, number: u32, flows: &'f Flows) {
        self.number = number;
        self.fast = flows.live(number).map_or(Fast::Program, Live::fast);
        if self.fast == Fast::Program {
            self.flow = flows.get(number).map(|f| &**f);
        }
    }

    #[inline]
    fn packet(&mut self, (frame, beside): (Frame, Beside<'_>), in_port: OdpPort) {
        match self.fast {
            Fast::Output(port) => {
                let ledger = self.exec.ingress.ledger(in_port);
                self.exec.outs.push(port, frame, ledger);
                beside.forget();
            }
            Fast::Drop(reason) => {
                self.exec.ingress.ledger(in_port).drop_n(reason, 1);
                beside.forget();
            }
            Fast::Program => self.gathered.push(beside.with(frame)),
        }
    }

    fn end(&mut self) {
        let flow = self.flow.take();
        if self.gathered.is_empty() {
            return;
        }
        let Some(flow) = flow else {
            debug_assert!(false, "lookups find flows that are there");
            self.exec.drop_all(self.gathered, DropReason::PolicyDrop);
            return;
        };
        let origin = Origin {
            actions: &flow.deed.actions,
        };
        self.exec.run(&flow.deed.program, self.gathered, origin);
    }
}

/// Parks a packet behind its pending flow, or raises an upcall for it.
#[cold]
fn miss(exec: &mut Exec, pending: &mut Pending, mut pkt: Pkt, pass: (OdpPort, u32, u8)) {
    let (in_port, recirc_id, _) = pass;
    let mut key = Flow::zero();
    pkt.extract(in_port, recirc_id, &mut key);
    let hash = pending.hash(&key);
    let refusal = match pending.find(hash, &key) {
        Some(slot) => (!pending.park(slot, pkt)).then_some(DropReason::ParkFull),
        None => raise_miss(exec, pending, (&key, hash), pkt, pass).err(),
    };
    let ledger = exec.ingress.ledger(in_port);
    match refusal {
        None => ledger.parked.add_local(1),
        Some(reason) => ledger.drop_n(reason, 1),
    }
}

fn raise_miss(
    exec: &mut Exec,
    pending: &mut Pending,
    (key, hash): (&Flow, u32),
    pkt: Pkt,
    (in_port, recirc_id, passes): (OdpPort, u32, u8),
) -> Result<(), DropReason> {
    let id = pending
        .next_id(in_port)
        .ok_or(DropReason::UpcallQueueFull)?;
    let missed = Missed {
        key: Arc::new(*key),
        hash,
        in_port,
        recirc_id,
        passes,
    };
    let upcall = Upcall {
        kind: UpcallKind::Miss,
        key: Arc::clone(&missed.key),
        ufid: Ufid::of(key),
        frame: None,
        packet_len: u32::try_from(pkt.frame.len()).unwrap_or(u32::MAX),
        park: Some(ParkToken { pmd: exec.pmd, id }),
        pmd: exec.pmd,
        actions: None,
        raised: exec.now,
    };
    exec.raise(Box::new(upcall), in_port)?;
    exec.missed_up += 1;
    let now = exec.now;
    pending.open(id, missed, pkt, now);
    Ok(())
}
