//! Waiting for descriptors: `poll(2)` over whatever the main loop's parts named.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: descriptors are named by number, because their owners lend them for one wait only; `poll` takes
// numbers, and reports one that is not open as an event, so a stale number is harmless.

use std::os::fd::RawFd;
use std::time::Duration;

/// What to wait for in one turn of a loop.
#[derive(Debug, Default)]
pub struct PollSet {
    fds: Vec<libc::pollfd>,
    timeout: Option<Duration>,
}

impl PollSet {
    /// Waits for nothing, for ever.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Wakes when `fd` is readable, and if `write` also when it is writable.
    pub fn fd(&mut self, fd: RawFd, write: bool) {
        let events = libc::POLLIN | if write { libc::POLLOUT } else { 0 };
        self.fds.push(libc::pollfd {
            fd,
            events,
            revents: 0,
        });
    }
    /// Wakes after `d` at the latest.
    pub fn within(&mut self, d: Duration) {
        self.timeout = Some(self.timeout.map_or(d, |t| t.min(d)));
    }
    /// Does not wait.
    pub fn at_once(&mut self) {
        self.within(Duration::ZERO);
    }
    /// How long the next wait lasts at most.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Waits; true when a descriptor woke it. The set is empty afterwards.
    pub fn wait(&mut self) -> bool {
        // Rounded up, or a loop would spin through the last fraction of a millisecond.
        let ms = self.timeout.map_or(-1, |t| {
            i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        let n = self.fds.len() as libc::nfds_t;
        // SAFETY: the pointer and length describe the live vector of pollfd.
        let ready = unsafe { libc::poll(self.fds.as_mut_ptr(), n, ms) };
        self.fds.clear();
        self.timeout = None;
        ready > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn wakes_by_descriptor_or_by_time() {
        let (mut a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut set = PollSet::new();
        set.fd(b.as_raw_fd(), false);
        set.within(Duration::from_millis(1));
        assert!(!set.wait());
        a.write_all(b"x").unwrap();
        set.fd(b.as_raw_fd(), false);
        assert!(set.wait());
    }
}
