//! Forgetting connections that expired.
//!
//! An expired connection is not found by packets any more; what is left to do is to give its memory back. A
//! thread of its own does that, part by part, in slices: no part is held for long. It sleeps while there are
//! no connections. Datapaths without threads sweep when they are stepped.

use super::{Conntrack, SHARDS};
use base::clock::{Clock, Nanos};
use base::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, Ordering, Weak, lock, spawn};
use std::time::Duration;

/// Connections looked at while a part is held.
const SLICE: usize = 64;
/// Real time between two sweeps.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct State {
    /// There may be connections.
    busy: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// As `busy`, without the lock.
    awake: AtomicBool,
}

/// The thread's handle; without a thread it does nothing.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    shared: Arc<Shared>,
    /// When a datapath without threads swept.
    swept: AtomicU64,
}

impl Sweeper {
    /// There is a connection.
    pub(super) fn wake(&self) {
        if !self.shared.awake.load(Ordering::Relaxed) {
            self.shared.awake.store(true, Ordering::Relaxed);
            lock(&self.shared.state).busy = true;
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Waits until it is time for a sweep; false when there will be none any more.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.busy && !state.stop {
            state = match self.changed.wait(state) {
                Ok(state) => state,
                Err(poisoned) => poisoned.into_inner(),
            };
        }
        if !state.stop {
            state = match self.changed.wait_timeout(state, PAUSE) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        !state.stop
    }

    /// Sleeps until there are connections again.
    fn rest(&self, ct: &Conntrack) {
        self.awake.store(false, Ordering::SeqCst);
        lock(&self.state).busy = false;
        // One that came meanwhile saw it awake, or is counted by now.
        if ct.conns.load(Ordering::SeqCst) > 0 || ct.fragments.held() > 0 {
            ct.sweeper.wake();
        }
    }
}

impl Conntrack {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's, when there can be no thread.
    pub(crate) fn start_sweeping(self: &Arc<Self>, clock: Clock) -> std::io::Result<()> {
        let shared = Arc::clone(&self.sweeper.shared);
        let ct: Weak<Self> = Arc::downgrade(self);
        spawn("ct_clean", move || {
            while shared.wait() {
                let Some(ct) = ct.upgrade() else { return };
                ct.sweep(clock.now());
                if ct.conns.load(Ordering::Relaxed) == 0 && ct.fragments.held() == 0 {
                    shared.rest(&ct);
                }
            }
        })?;
        Ok(())
    }

    /// Sweeps when a second has passed since the last time.
    pub(crate) fn sweep_now_and_then(&self, now: Nanos) {
        let last = self.sweeper.swept.load(Ordering::Relaxed);
        if now.0 >= last.saturating_add(1_000_000_000) {
            self.sweeper.swept.store(now.0, Ordering::Relaxed);
            self.sweep(now);
        }
    }

    /// Removes every expired connection, whoever's turn it is.
    #[cfg(test)]
    pub(super) fn sweep_all(&self, now: Nanos) {
        for number in 0..SHARDS {
            let mut gone = Vec::new();
            self.shard(number)
                .remove_if(0, u32::MAX, |c| c.expires <= now, |c| gone.push(c));
            self.bury(gone);
        }
    }

    /// Removes what expired.
    pub(crate) fn sweep(&self, now: Nanos) {
        self.fragments.purge(now);
        if self.conns.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut gone = Vec::new();
        for number in 0..SHARDS {
            loop {
                let done = self.shard(number).sweep(now, SLICE, |c| gone.push(c));
                self.bury(gone.drain(..));
                if done {
                    break;
                }
            }
        }
    }
}
