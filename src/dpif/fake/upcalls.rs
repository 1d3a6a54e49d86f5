//! Misses that wait: parked packets and upcall queues of the fake datapath.

use crate::types::{ParkToken, Upcall};
use flow::Flow;
use packet::Frame;
use std::collections::VecDeque;

/// Packets parked for one missed flow; more are dropped.
pub(super) const PARK_MAX: usize = 64;
/// Upcalls queued for one handler; more are dropped.
pub(super) const QUEUE_MAX: usize = 256;

/// Packets that wait for one flow's translation.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) token: ParkToken,
    pub(super) key: Flow,
    pub(super) frames: Vec<Frame>,
}

/// Queues of upcalls, one per handler, and what is parked.
#[derive(Debug)]
pub(super) struct Upcalls {
    pub(super) on: bool,
    queues: Vec<VecDeque<Upcall>>,
    pub(super) parked: Vec<Parked>,
    next_token: u64,
}

impl Default for Upcalls {
    fn default() -> Self {
        Self {
            on: false,
            queues: vec![VecDeque::new()],
            parked: Vec::new(),
            next_token: 1,
        }
    }
}

impl Upcalls {
    pub(super) fn n_parked(&self) -> u64 {
        self.parked.iter().map(|p| p.frames.len() as u64).sum()
    }
    pub(super) fn new_token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token - 1
    }

    /// Changes the number of queues; what was queued stays in the first.
    pub(super) fn set_handlers(&mut self, n: u32) {
        let queued: VecDeque<_> = self.queues.drain(..).flatten().collect();
        self.queues.resize_with(n as usize, VecDeque::new);
        self.queues[0] = queued;
    }

    /// Queues an upcall for the handler of its key; gives it back when that queue is full.
    pub(super) fn raise(&mut self, upcall: Upcall) -> Result<(), Box<Upcall>> {
        let n = self.queues.len() as u128;
        let queue = &mut self.queues[(upcall.ufid.0 % n) as usize];
        if queue.len() >= QUEUE_MAX {
            return Err(Box::new(upcall));
        }
        queue.push_back(upcall);
        Ok(())
    }
    pub(super) fn take(&mut self, handler: u32) -> Option<Upcall> {
        self.queues.get_mut(handler as usize)?.pop_front()
    }
    pub(super) fn has(&self, handler: u32) -> bool {
        let queue = self.queues.get(handler as usize);
        queue.is_some_and(|q| !q.is_empty())
    }
    /// Empties everything.
    pub(super) fn drain(&mut self) -> (Vec<Upcall>, Vec<Parked>) {
        let upcalls = self.queues.iter_mut().flat_map(|q| q.drain(..)).collect();
        (upcalls, std::mem::take(&mut self.parked))
    }
}
