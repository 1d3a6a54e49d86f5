//! [`Bell`]: wakes one sleeping thread, and costs nothing while it is awake.
//!
//! The sleeper announces its sleep, looks once more for work, and waits on an eventfd (alone or with other
//! descriptors). Whoever has work for it makes the work visible first and then rings; ringing is a system
//! call only when sleep was announced.

use base::sync::Doze;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bell {
    asleep: Doze,
    event: OwnedFd,
}

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// The kernel's, when there is no descriptor left.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            asleep: Doze::new(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Wakes the sleeper, if it sleeps. The work must be visible already.
    pub(crate) fn ring(&self) {
        if self.asleep.must_wake() {
            // Can only fail when the counter is full, and then it is readable anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Announces sleep. Afterwards look for work once more, then wait or call [`Bell::awake`].
    pub(crate) fn announce(&self) {
        self.asleep.announce();
    }

    /// Ends sleep.
    pub(crate) fn awake(&self) {
        self.asleep.awake();
        // Fails when nobody rang.
        let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
    }

    /// The descriptor to wait on.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Sleeps until somebody rings, `work` is true, or `timeout` of real time has passed; says whether
    /// `work` is true in the end.
    pub(crate) fn wait(&self, timeout: Duration, work: impl Fn() -> bool) -> bool {
        self.announce();
        if !work() {
            let mut fds = [PollFd::new(&self.event, PollFlags::IN)];
            let timeout = Timespec::try_from(timeout).ok();
            // An interrupted wait is a short one; callers loop.
            let _ = poll(&mut fds, timeout.as_ref());
        }
        self.awake();
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sync::{Arc, AtomicU64, Ordering, spawn};

    #[test]
    fn no_ring_is_lost() {
        let bell = Arc::new(Bell::new().unwrap());
        let work = Arc::new(AtomicU64::new(0));
        let (b, w) = (Arc::clone(&bell), Arc::clone(&work));
        let sleeper = spawn("sleeper", move || {
            let mut seen = 0;
            while seen < 2000 {
                let now = || w.load(Ordering::Acquire) > seen;
                if b.wait(Duration::from_secs(20), now) {
                    seen = w.load(Ordering::Acquire);
                } else {
                    return seen;
                }
            }
            seen
        })
        .unwrap();
        for _ in 0..2000 {
            work.fetch_add(1, Ordering::Release);
            bell.ring();
        }
        assert_eq!(sleeper.join().unwrap(), 2000);
    }
}
