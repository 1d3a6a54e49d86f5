//! Waiting for descriptors: `ppoll(2)` over whatever the main loop's parts named.

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
    /// Wakes when `fd` is writable, whatever there is to read.
    pub fn fd_writable(&mut self, fd: RawFd) {
        self.fds.push(libc::pollfd {
            fd,
            events: libc::POLLOUT,
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

    /// Forgets what was to be waited for.
    pub fn clear(&mut self) {
        self.fds.clear();
        self.timeout = None;
    }

    /// Waits; true when a descriptor woke it. The set is empty afterwards.
    pub fn wait(&mut self) -> bool {
        let time = self.timeout.map(|t| libc::timespec {
            tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (fds, n) = (self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t);
        // SAFETY: pointer and length describe the live vector of pollfd; the time, if there is one, lives on the
        // stack; no signal mask is given.
        let ready = unsafe { libc::ppoll(fds, n, time, std::ptr::null()) };
        self.clear();
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
