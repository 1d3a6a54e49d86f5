//! One ring of a port: what the messages said about it, and the [`Ring`] while it runs.
//!
//! A ring runs while it has a size, addresses inside the guest's memory, a kick and leave (`SET_VRING_ENABLE`),
//! and the guest behaves. Packet threads hold its lock for a burst, the connection's thread to change it;
//! after a change nobody uses what was there before.

use super::call::Caller;
use super::counts::Counts;
use super::features::Features;
use super::memory::{GuestMemory, RingAddresses, RingMemory};
use super::ring::{Fault, Ring};
use super::waker::Waker;
use base::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, TryLockError, lock};
use std::fs::File;
use std::os::fd::AsFd;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Vring {
    running: AtomicBool,
    state: Mutex<State>,
    pub(super) counts: Counts,
}

/// What a [`Vring`]'s lock protects.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Entries; 0 while not known.
    pub(super) size: u16,
    pub(super) base: u16,
    pub(super) at: Option<RingAddresses>,
    /// A kick, or the word that there will be none, has come.
    pub(super) started: bool,
    pub(super) enabled: bool,
    pub(super) kick: Option<File>,
    pub(super) call: Option<File>,
    pub(super) waker: Option<Arc<Waker>>,
    pub(super) fault: Option<Fault>,
    /// It should run, but its addresses are not in the guest's memory.
    pub(super) misplaced: bool,
    pub(super) ring: Option<Ring>,
}

impl State {
    /// Starts, stops or rebuilds the ring as the rest of the state, memory and features demand.
    fn settle(&mut self, memory: &Arc<GuestMemory>, features: Features) {
        if let Some(ring) = self.ring.take() {
            self.base = ring.stop();
        }
        self.misplaced = false;
        let leave = self.enabled || !features.protocol();
        let Some(at) = self.at else { return };
        if self.size == 0 || !self.started || !leave || self.fault.is_some() {
            return;
        }
        match RingMemory::new(memory, self.size, at) {
            Some(tables) => self.ring = Some(Ring::new(tables, features, self.base)),
            None => self.misplaced = true,
        }
    }

    /// Forgets the kick.
    pub(super) fn take_kick(&mut self) -> Option<File> {
        let kick = self.kick.take()?;
        if let Some(waker) = &self.waker {
            waker.forget(&kick);
        }
        Some(kick)
    }

    /// Calls the guest, if it gave something to call it by.
    #[inline]
    pub(super) fn call(&self, caller: &Caller, counts: &Counts) {
        if let Some(fd) = &self.call {
            caller.call(fd.as_fd());
            counts.calls.add_local(1);
        }
    }
}

impl Vring {
    /// May there be anything to do?
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// The state, for a control thread.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The state, unless it is being changed or another thread is at it.
    #[inline]
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(p)) => Some(p.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Changes the state and settles the ring; returns what `change` returns.
    pub(super) fn change<T>(
        &self,
        memory: &Arc<GuestMemory>,
        features: Features,
        change: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        state.settle(memory, features);
        self.running.store(state.ring.is_some(), Ordering::Relaxed);
        if let Some(waker) = &state.waker {
            waker.ring();
        }
        result
    }

    /// Stops a ring whose guest misbehaved.
    #[cold]
    pub(super) fn fail(&self, state: &mut State, fault: Fault) {
        state.fault = Some(fault);
        if let Some(ring) = state.ring.take() {
            state.base = ring.stop();
        }
        self.running.store(false, Ordering::Relaxed);
    }
}
