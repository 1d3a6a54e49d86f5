//! OpenFlow messages over a byte stream: each begins with version, type, and its whole length (OpenFlow 1.0
//! section 5.1).
//!
//! Bounds: a message has at most 65,535 bytes by its header; a peer that does not read holds at most
//! [`BACKLOG_MAX`] bytes, then the connection is closed: it can always come back.

use ovsdb::{Outbox, OutboxError, Stream};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};

/// Bytes of an OpenFlow header.
const HEADER: usize = 8;
/// Bytes queued for a peer that does not read.
pub(crate) const BACKLOG_MAX: usize = 4 << 20;
/// Room for input at first, and at most: many small messages are read at once, and the longest fits.
const INPUT_MIN: usize = 4 << 10;
const INPUT_MAX: usize = 128 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The peer closed it.
    #[error("connection closed by peer")]
    Closed,
    /// A header with a length below its own.
    #[error("received too-short ofp_header ({0} bytes)")]
    TooShort(usize),
    /// The peer does not read.
    #[error("peer does not read, {0} bytes are waiting for it")]
    Backlog(usize),
    /// The kernel's.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<OutboxError> for ChannelError {
    fn from(e: OutboxError) -> Self {
        match e {
            OutboxError::Closed => Self::Closed,
            OutboxError::Full(bytes) => Self::Backlog(bytes),
            OutboxError::Io(e) => Self::Io(e),
        }
    }
}

/// A connection that carries OpenFlow.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: Stream,
    /// Room for input; what lies between `taken` and `filled` is yet to be given out.
    input: Vec<u8>,
    taken: usize,
    filled: usize,
    /// The last read took all there was.
    drained: bool,
    output: Outbox,
}

impl Channel {
    /// Over a stream.
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            taken: 0,
            filled: 0,
            drained: false,
            output: Outbox::new(BACKLOG_MAX),
        }
    }

    /// The next whole message, if one is there.
    ///
    /// # Errors
    /// The connection's end.
    pub(crate) fn receive(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        loop {
            let rest = &self.input[self.taken..self.filled];
            if let Some(&[_, _, a, b]) = rest.first_chunk::<4>() {
                let len = usize::from(u16::from_be_bytes([a, b]));
                if len < HEADER {
                    return Err(ChannelError::TooShort(len));
                }
                if rest.len() >= len {
                    let message = rest[..len].to_vec();
                    self.taken += len;
                    return Ok(Some(message));
                }
            }
            // What was read last left room: nothing more was there. The next call looks again.
            if std::mem::take(&mut self.drained) {
                return Ok(None);
            }
            self.make_room();
            let got = self.stream.read(&mut self.input[self.filled..]);
            self.filled += got.as_ref().copied().unwrap_or(0);
            let room_left = self.filled < self.input.len();
            self.drained = got.is_ok() && room_left && !self.stream.has_input();
            match got {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Moves what is there to the front; a full buffer grows.
    fn make_room(&mut self) {
        if self.filled == self.input.len() && self.filled < INPUT_MAX {
            let len = (self.filled * 2).clamp(INPUT_MIN, INPUT_MAX);
            self.input.resize(len, 0);
        }
        if self.taken > 0 {
            self.input.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
        }
    }

    /// Queues a message and writes what the peer takes.
    ///
    /// # Errors
    /// The connection's end; also a peer that does not read.
    pub(crate) fn send(&mut self, message: Vec<u8>) -> Result<(), ChannelError> {
        Ok(self.output.send(message, &mut self.stream)?)
    }

    /// Writes what the peer takes.
    ///
    /// # Errors
    /// The connection's end.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelError> {
        Ok(self.output.flush(&mut self.stream)?)
    }

    /// True once the connection that was begun is there.
    ///
    /// # Errors
    /// Why it will not come.
    pub(crate) fn is_connected(&mut self) -> io::Result<bool> {
        self.stream.is_connected()
    }

    /// Bytes that wait for the peer to read.
    pub(crate) fn backlog(&self) -> usize {
        self.output.bytes()
    }
    /// True when there is something to do once the descriptor is writable.
    pub(crate) fn wants_write(&self) -> bool {
        self.output.bytes() > 0 || self.stream.wants_write()
    }
    /// True until the connection under it is made.
    pub(crate) fn is_on_its_way(&self) -> bool {
        self.stream.is_on_its_way()
    }
    /// True when a message (or an end by a wrong one) is there without anything arriving.
    pub(crate) fn has_input(&self) -> bool {
        if self.stream.has_input() {
            return true;
        }
        let rest = &self.input[self.taken..self.filled];
        match rest.first_chunk::<4>() {
            Some(&[_, _, a, b]) => rest.len() >= usize::from(u16::from_be_bytes([a, b])),
            None => false,
        }
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Channel, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        (Channel::new(Stream::Unix(a)), b)
    }

    #[test]
    fn messages_in_pieces_and_in_lumps() {
        let (mut c, mut peer) = pair();
        let hello = [4, 0, 0, 8, 0, 0, 0, 1];
        let echo = [4, 2, 0, 10, 0, 0, 0, 2, 7, 7];
        peer.write_all(&hello[..5]).unwrap();
        assert!(c.receive().unwrap().is_none());
        assert!(!c.has_input(), "a part of a message is nothing to do yet");
        peer.write_all(&[&hello[5..], &echo].concat()).unwrap();
        assert_eq!(c.receive().unwrap().unwrap(), hello);
        assert!(c.has_input());
        assert_eq!(c.receive().unwrap().unwrap(), echo);
        assert!(c.receive().unwrap().is_none() && !c.has_input());
        peer.write_all(&[4, 0, 0, 7, 0, 0, 0, 1]).unwrap();
        assert!(matches!(c.receive(), Err(ChannelError::TooShort(7))));
    }

    #[test]
    fn a_peer_that_does_not_read_is_given_up() {
        let (mut c, _peer) = pair();
        let mut result = Ok(());
        for _ in 0..200 {
            result = c.send(vec![0; 60_000]);
            if result.is_err() {
                break;
            }
        }
        assert!(matches!(result, Err(ChannelError::Backlog(_))));
    }
}
