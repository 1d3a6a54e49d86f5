//! The threads around the pure parts: handlers that sleep until upcalls come, revalidators that sleep until
//! something changes or a dump is due.

use crate::core::Core;
use crate::handler::{self, Sent};
use crate::round::{Plan, Rounds};
use crate::translator::Translator;
use base::clock::monotonic_ns;
use base::sync::{Arc, AtomicBool, Barrier, JoinHandle, Mutex, Ordering, Seq, lock, mpsc, spawn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long a handler sleeps before it looks whether it should end, should a wake-up be lost.
const HANDLER_SLEEP: Duration = Duration::from_millis(500);
/// Between two rounds is as long a rest as the first took, but no longer than this: so a burst of changes becomes few
/// rounds, and where there are few flows a change is in force at once.
const ROUND_GAP_NS: u64 = 5_000_000;

/// Tells threads to end or to stand still.
#[derive(Debug, Default)]
pub(crate) struct Control {
    exit: AtomicBool,
    paused: AtomicBool,
    /// Moves when either flag does.
    moved: Seq,
}

impl Control {
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release); // pairs with is_paused()
        self.moved.change();
    }
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire) // pairs with set_paused()
    }
    fn is_exiting(&self) -> bool {
        self.exit.load(Ordering::Acquire) // pairs with Threads::stop()
    }
}

/// Running threads; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Threads<T: Translator> {
    core: Arc<Core<T>>,
    control: Arc<Control>,
    handles: Vec<JoinHandle<()>>,
    pub(crate) n_handlers: u32,
    pub(crate) n_revalidators: u32,
}

impl<T: Translator> Threads<T> {
    /// Starts threads. `control` is fresh.
    ///
    /// # Errors
    /// The kernel's; then none is left running.
    pub(crate) fn start(
        rounds: &Arc<Rounds<T>>,
        control: &Arc<Control>,
        n_handlers: u32,
        n_revalidators: u32,
    ) -> std::io::Result<Self> {
        let core = rounds.core.clone();
        let mut threads = Self {
            core: core.clone(),
            control: control.clone(),
            handles: Vec::new(),
            n_handlers,
            n_revalidators,
        };
        for h in 0..n_handlers {
            let (core, control) = (core.clone(), control.clone());
            threads
                .handles
                .push(spawn(&format!("handler{}", h + 1), move || {
                    handler_loop(&core, &control, h);
                })?);
        }
        let n = n_revalidators as usize;
        let mut starters = Vec::new();
        for me in 0..n {
            let (starter, team) = mpsc::channel::<Arc<Team<T>>>();
            let name = format!("revalidator{}", n_handlers as usize + me + 1);
            threads.handles.push(spawn(&name, move || {
                // No team: another thread could not be started.
                match team.recv() {
                    Ok(team) if me == 0 => team.lead(),
                    Ok(team) => team.follow(me),
                    Err(_) => {}
                }
            })?);
            starters.push(starter);
        }
        let team = Arc::new(Team {
            rounds: rounds.clone(),
            control: control.clone(),
            barrier: Barrier::new(n),
            plan: Mutex::new(None),
            n,
        });
        for starter in starters {
            // Fails only if the thread is gone, which it is not before it was told to.
            drop(starter.send(team.clone()));
        }
        Ok(threads)
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(&mut self) {
        self.control.exit.store(true, Ordering::Release); // pairs with is_exiting()
        self.control.moved.change();
        self.core.pending.wake.change();
        self.core.dpif.recv_wake();
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                tracing::error!(target: "ofproto_dpif_upcall", "a thread ended by a panic");
            }
        }
    }
}

impl<T: Translator> Drop for Threads<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn handler_loop<T: Translator>(core: &Core<T>, control: &Control, me: u32) {
    let mut sent = None;
    while !control.is_exiting() {
        let (n, next) = handle_batch(core, me);
        if let Some(sent) = std::mem::replace(&mut sent, next) {
            finish(sent);
        } else if n == 0 {
            core.dpif.recv_wait(me, HANDLER_SLEEP);
        }
    }
    if let Some(sent) = sent {
        finish(sent);
    }
}

/// Handles up to a batch of upcalls of handler `me`; returns how many there were.
pub(crate) fn handle_some<T: Translator>(core: &Core<T>, me: u32) -> usize {
    let (n, sent) = handle_batch(core, me);
    if let Some(sent) = sent {
        finish(sent);
    }
    n
}

/// Takes up to a batch of upcalls, and handles them as far as that goes without waiting.
fn handle_batch<T: Translator>(core: &Core<T>, me: u32) -> (usize, Option<Sent<'_, T>>) {
    let upcalls = core.dpif.recv_many(me, handler::BATCH_MAX);
    let n = upcalls.len();
    if n == 0 {
        return (0, None);
    }
    match catch_unwind(AssertUnwindSafe(|| handler::handle(core, upcalls))) {
        Ok(sent) => (n, sent),
        Err(_) => {
            failed(n);
            (n, None)
        }
    }
}

fn finish<T: Translator>(sent: Sent<'_, T>) {
    let n = sent.len();
    if catch_unwind(AssertUnwindSafe(|| sent.finish())).is_err() {
        failed(n);
    }
}

#[cold]
fn failed(n: usize) {
    tracing::error!(target: "ofproto_dpif_upcall", "a handler failed on {n} upcalls or operations");
}

/// The revalidators.
#[derive(Debug)]
struct Team<T: Translator> {
    rounds: Arc<Rounds<T>>,
    control: Arc<Control>,
    barrier: Barrier,
    /// The round to be walked; none: the end.
    plan: Mutex<Option<Arc<Plan<T::Probe>>>>,
    n: usize,
}

impl<T: Translator> Team<T> {
    fn lead(&self) {
        let core = &self.rounds.core;
        let mut rested = 0; // when the rest after the last round ends
        let mut due = 0; // when the next full round is due, real time: a stopped clock stops no dumps
        while let Some(full) = self.wait_for_work(&mut due, rested) {
            let mut held = self.rounds.hold();
            if self.control.is_paused() {
                continue; // paused while it waited for the lock
            }
            let start = monotonic_ns();
            if full {
                due = start + core.settings.load().dump_interval_ms() * 1_000_000;
            }
            let plan = Arc::new(self.rounds.begin(&held, full));
            *lock(&self.plan) = Some(plan.clone());
            self.barrier.wait();
            self.rounds.work(&plan, 0, self.n, &self.barrier);
            self.rounds.finish(&mut held, &plan);
            let end = monotonic_ns();
            rested = end + (end - start).min(ROUND_GAP_NS);
        }
        *lock(&self.plan) = None;
        self.barrier.wait();
    }

    fn follow(&self, me: usize) {
        loop {
            self.barrier.wait();
            let Some(plan) = lock(&self.plan).clone() else {
                return;
            };
            self.rounds.work(&plan, me, self.n, &self.barrier);
        }
    }

    /// Sleeps until a round is due: true for a full one. None when the threads are to end.
    fn wait_for_work(&self, due: &mut u64, rested: u64) -> Option<bool> {
        let core = &self.rounds.core;
        loop {
            let (moved, seen) = (self.control.moved.read(), core.pending.wake.read());
            if self.control.is_exiting() {
                return None;
            }
            if self.control.is_paused() {
                self.control.moved.wait(moved, HANDLER_SLEEP);
                continue;
            }
            let now = monotonic_ns();
            let gap = rested.saturating_sub(now);
            let full = now >= *due || self.rounds.is_wanted();
            if full || core.pending.is_due() {
                if gap == 0 {
                    return Some(full);
                }
                self.control.moved.wait(moved, Duration::from_nanos(gap));
            } else {
                core.pending
                    .wake
                    .wait(seen, Duration::from_nanos(*due - now));
            }
        }
    }
}
