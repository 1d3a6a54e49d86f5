//! The body of a packet thread, and its sleep.
//!
//! With nothing configured a thread that found nothing for a while sleeps until a packet or a message wakes
//! it, and costs nothing. A queue that cannot wake anybody (no descriptor: DPDK, vhost-user, dummies) is
//! looked at after naps instead, short ones first. `pmd-maxsleep` changes that for such queues: 0 means that
//! their thread never sleeps; more, that it naps in every round in which no queue brought many packets, for
//! one microsecond longer each time up to that much (the peer's load based sleeps).
//!
//! How late naps end is counted: it is the time that waking takes, on top of what was asked for.

use super::Pmd;
use crate::cycles::{cycles, cycles_per_second};
use crate::limits::{IDLE_SPINS, NAP_US, SLEEP_MS, SLEEP_PACKETS, SLEEP_STEP_US, TICK_ROUNDS};
use base::poll::PollSet;
use base::sync::{Arc, Ordering};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// How far a timer of a packet thread may be off for the kernel's convenience, nanoseconds.
const SLACK_NS: NonZeroU64 = NonZeroU64::new(1000).expect("not zero");

/// Where a thread is in its idleness.
#[derive(Debug, Default)]
struct Rest {
    /// Rounds without anything.
    idle: u32,
    /// Sleeps since the last packet.
    naps: u32,
    /// Length of the next load based nap, microseconds.
    nap_us: u64,
    waits: PollSet,
}

/// The body of a packet thread.
pub(super) fn run(pmd: &mut Pmd) {
    // Without it naps are 50 us longer, and that is all.
    let _ = rustix::thread::set_current_timer_slack(Some(SLACK_NS));
    let mut rest = Rest::default();
    while !pmd.is_stopped() {
        let found = pmd.turn();
        match pmd.load_based() {
            Some(max_us) => rest.by_load(pmd, found, max_us),
            None => rest.when_idle(pmd, found),
        }
    }
    pmd.run_all_messages();
}

impl Rest {
    /// As `pmd-maxsleep` has it.
    fn by_load(&mut self, pmd: &mut Pmd, found: bool, max_us: u64) {
        if pmd.most >= SLEEP_PACKETS || max_us == 0 {
            self.nap_us = 0;
        } else {
            if self.nap_us > 0 {
                pmd.nap(Duration::from_micros(self.nap_us));
                pmd.tick();
                self.idle = 0;
            }
            self.nap_us = (self.nap_us + SLEEP_STEP_US).min(max_us);
        }
        self.idle = if found { 0 } else { self.idle + 1 };
        if self.idle >= TICK_ROUNDS {
            self.idle = 0;
            pmd.tick();
        }
    }

    /// As the thread sees fit.
    fn when_idle(&mut self, pmd: &mut Pmd, found: bool) {
        if found {
            (self.idle, self.naps) = (0, 0);
            return;
        }
        self.idle += 1;
        if self.idle < pmd.patience() {
            std::hint::spin_loop();
            return;
        }
        self.naps += 1;
        pmd.sleep(&mut self.waits, self.naps);
        pmd.tick();
    }
}

impl Pmd {
    /// The longest load based nap, microseconds; `None` when the thread sleeps as it sees fit: nothing is
    /// configured, or all its queues can wake it.
    fn load_based(&self) -> Option<u64> {
        let max = self.common.tuning.max_sleep_us.load(Ordering::Relaxed);
        let blind = || self.rxqs.iter().any(|s| !s.gone && s.rx.fd().is_none());
        (max != u64::MAX && self.shared.core.is_some() && blind()).then_some(max)
    }

    /// Empty rounds before sleeping. Threads of ports that are not polled do not wait: their queues cost a
    /// system call to look at.
    fn patience(&self) -> u32 {
        if self.shared().core.is_some() && !self.rxqs.is_empty() {
            IDLE_SPINS
        } else {
            1
        }
    }

    /// Sleeps until a packet or a message arrives, or something is due.
    fn sleep(&mut self, waits: &mut PollSet, naps: u32) {
        let begun = cycles();
        let bell = Arc::clone(self.shared());
        let bell = &bell.mailbox.bell;
        bell.announce();
        let mut blind = false;
        let mut quiet = self.shared().mailbox.is_empty() && !self.has_jobs();
        for slot in self.rxqs.iter_mut().filter(|s| !s.gone) {
            match slot.rx.fd() {
                Some(fd) => {
                    quiet &= slot.rx.prepare_sleep();
                    waits.fd(fd, false);
                }
                None => blind = true,
            }
        }
        if quiet && blind {
            *waits = PollSet::new();
            bell.awake();
            // Queues that cannot wake us are looked at often at first, then less so.
            self.nap(Duration::from_micros(NAP_US << (naps / 64).min(4)));
            return;
        }
        if quiet {
            waits.fd(bell.fd().as_raw_fd(), false);
            waits.within(Duration::from_millis(SLEEP_MS));
            let due = self.next_deadline().since(self.exec.now);
            waits.within(due);
            waits.wait();
        } else {
            *waits = PollSet::new();
        }
        bell.awake();
        self.slept(begun);
    }

    /// Sleeps for `nap`, or until a message comes.
    fn nap(&self, nap: Duration) {
        let begun = cycles();
        let shared = self.shared();
        let called = (shared.mailbox.bell).wait(nap, || !shared.mailbox.is_empty());
        let spent = self.slept(begun);
        if called {
            return;
        }
        let asked = u128::from(cycles_per_second()) * nap.as_nanos() / 1_000_000_000;
        let late = spent.saturating_sub(u64::try_from(asked).unwrap_or(u64::MAX));
        let totals = &shared.totals;
        totals.naps.add_local(1);
        totals.late.add_local(late);
        totals.latest.set(totals.latest.get().max(late));
    }

    /// Books a sleep; returns the cycles it took.
    fn slept(&self, begun: u64) -> u64 {
        let spent = cycles().wrapping_sub(begun);
        let totals = &self.shared().totals;
        totals.sleeps.add_local(1);
        totals.asleep.add_local(spent);
        spent
    }
}
