//! What a packet thread sleeps on for one queue: a descriptor that stays the same while the guest's kicks
//! come and go.
//!
//! An epoll instance holds our own bell and the guest's kick, both edge-triggered, so that a kick is taken
//! in without reading from a descriptor that is not ours.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// See the module.
#[derive(Debug)]
pub(super) struct Waker {
    epoll: OwnedFd,
    bell: OwnedFd,
}

const EDGE: EventFlags = EventFlags::IN.union(EventFlags::ET);

impl Waker {
    /// A silent waker.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, EventData::new_u64(0), EDGE)?;
        Ok(Self { epoll, bell })
    }

    /// What to poll.
    pub(super) fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
    /// Wakes the sleeper.
    pub(super) fn ring(&self) {
        // A counter that is full woke it already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
    /// Listens to a kick.
    pub(super) fn listen(&self, kick: &File) {
        // Fails only for want of memory; the queue is then looked at when the thread wakes for others.
        let _ = epoll::add(&self.epoll, kick, EventData::new_u64(1), EDGE);
    }
    /// Stops listening: closing our descriptor is not enough, the guest has others of the same file.
    pub(super) fn forget(&self, kick: &File) {
        let _ = epoll::delete(&self.epoll, kick);
    }
    /// Takes in what woke us, so that the next sleep lasts until the next kick.
    pub(super) fn quiet(&self) {
        let mut events = Vec::with_capacity(2);
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let buffer = rustix::buffer::spare_capacity(&mut events);
        let _ = epoll::wait(&self.epoll, buffer, Some(&at_once));
    }
}
