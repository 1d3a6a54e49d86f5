//! Where peers come in by themselves: a listening socket, and those who stand in it until their handshake is done.
//!
//! Bounds: [`ARRIVING_MAX`] of them, each for [`PATIENCE_MS`]; when more come, who has stood there longest goes. So a
//! peer that stalls, or sends its handshake byte by byte, costs that much and keeps nobody out.

use crate::slice::Slice;
use base::clock::Nanos;
use base::log_rl;
use base::poll::PollSet;
use ovsdb::{Address, Listener, Stream, StreamError, Tls};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;

/// Peers whose handshake is under way, at one door.
const ARRIVING_MAX: usize = 64;
/// How long a handshake may last, milliseconds.
const PATIENCE_MS: u64 = 10_000;
/// Peers taken from the listening socket in one turn.
const ACCEPTS_PER_TURN: usize = 32;
/// How long nobody is let in when the host has nothing left for it, milliseconds.
const EXHAUSTED_MS: u64 = 1000;

static LIMIT: base::log::RateLimit = base::log::RateLimit::new(1, 5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    arriving: VecDeque<(Stream, Nanos)>,
    /// Nobody is let in before.
    closed_until: Nanos,
    /// There is no room inside.
    full: bool,
}

impl Door {
    /// Listens.
    ///
    /// # Errors
    /// Naming the address.
    pub(crate) fn open(address: &Address, tls: &Tls) -> Result<Self, StreamError> {
        Ok(Self {
            listener: Listener::bind(address, tls)?,
            arriving: VecDeque::new(),
            closed_until: Nanos::ZERO,
            full: false,
        })
    }

    /// Goes on with those who arrive, as long as the slice lasts, and gives those who are through, at most `room`.
    pub(crate) fn run(&mut self, now: Nanos, room: usize, slice: Slice) -> Vec<Stream> {
        self.full = room == 0;
        if self.full {
            return Vec::new();
        }
        self.accept(now);
        let mut through = Vec::new();
        for _ in 0..self.arriving.len() {
            let Some((mut stream, since)) = self.arriving.pop_front() else {
                break;
            };
            match stream.is_connected() {
                Ok(true) => through.push(stream),
                Ok(false) if now < since.plus_millis(PATIENCE_MS) => {
                    self.arriving.push_back((stream, since));
                }
                Ok(false) => log_rl!(
                    LIMIT,
                    WARN,
                    "connmgr",
                    "{}: handshake takes too long, disconnecting",
                    stream.peer_name().unwrap_or_default()
                ),
                // The stream has said why.
                Err(_) => {}
            }
            if through.len() == room || slice.is_over() {
                break;
            }
        }
        through
    }

    fn accept(&mut self, now: Nanos) {
        if now < self.closed_until {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok(Some(stream)) => {
                    if self.arriving.len() == ARRIVING_MAX {
                        self.turn_away_oldest();
                    }
                    self.arriving.push_back((stream, now));
                }
                Ok(None) => return,
                Err(e) => {
                    log_rl!(
                        LIMIT,
                        WARN,
                        "connmgr",
                        "accept failed ({})",
                        super::reason(&e)
                    );
                    if is_exhausted(&e) {
                        self.closed_until = now.plus_millis(EXHAUSTED_MS);
                        return;
                    }
                }
            }
        }
    }

    fn turn_away_oldest(&mut self) {
        let since = |i: &usize| self.arriving.get(*i).map(|(_, since)| *since);
        if let Some(oldest) = (0..self.arriving.len()).min_by_key(since) {
            self.arriving.remove(oldest);
        }
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, now: Nanos, set: &mut PollSet) {
        if self.full {
            return;
        }
        if now < self.closed_until {
            set.within(self.closed_until.since(now));
        } else {
            set.fd(self.listener.as_raw_fd(), false);
        }
        for (stream, since) in &self.arriving {
            set.fd(stream.as_raw_fd(), stream.wants_write());
            set.within(since.plus_millis(PATIENCE_MS).since(now));
        }
    }
}

/// Out of descriptors, buffers or memory: that does not change at once (`ENOMEM`, `ENFILE`, `EMFILE`, `ENOBUFS`).
fn is_exhausted(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(12 | 23 | 24 | 105))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn as_many_come_in_as_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door");
        let address = Address::PassiveUnix(path.clone());
        let mut door = Door::open(&address, &Tls::default()).unwrap();
        let peers: Vec<_> = (0..3)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let t = Nanos::from_millis(1);
        let mut come = |room| door.run(t, room, Slice::micros(1_000_000)).len();
        assert_eq!([come(0), come(2), come(2), come(2)], [0, 2, 1, 0]);
        drop(peers);
    }
}
