//! Messages on their way to a peer that reads when it likes: the one bounded output queue of every connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

/// A queue of messages (or pieces of them), written as far as the peer takes them.
///
/// It holds at most its limit and the one message that went over it: whoever is told [`OutboxError::Full`] gives the
/// connection up.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first message that are written already.
    at: usize,
    bytes: usize,
    limit: usize,
}

/// Why a connection ended while it was written to.
#[derive(Debug)]
pub enum OutboxError {
    /// The peer takes nothing any more.
    Closed,
    /// So many bytes wait for a peer that does not read.
    Full(usize),
    /// The kernel's.
    Io(io::Error),
}

impl Outbox {
    /// An empty queue for so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            at: 0,
            bytes: 0,
            limit,
        }
    }

    /// Queues a message and writes what the peer takes.
    ///
    /// # Errors
    /// The connection's end, or a peer that has not read for too long.
    pub fn send(&mut self, message: Vec<u8>, to: &mut impl Write) -> Result<(), OutboxError> {
        self.bytes += message.len();
        if !message.is_empty() {
            self.queue.push_back(message);
        }
        self.flush(to)?;
        if self.bytes > self.limit {
            return Err(OutboxError::Full(self.bytes));
        }
        Ok(())
    }

    /// Writes what the peer takes.
    ///
    /// # Errors
    /// The connection's end.
    pub fn flush(&mut self, to: &mut impl Write) -> Result<(), OutboxError> {
        while let Some(first) = self.queue.front() {
            match to.write(&first[self.at..]) {
                Ok(0) => return Err(OutboxError::Closed),
                Ok(n) => {
                    self.at += n;
                    self.bytes -= n;
                    if self.at == first.len() {
                        self.queue.pop_front();
                        self.at = 0;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(OutboxError::Io(e)),
            }
        }
        // What a layer below has taken but not written yet.
        match to.flush() {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(OutboxError::Io(e)),
            _ => Ok(()),
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes as many bytes a call as it is told, none for a zero.
    struct Picky {
        takes: Vec<usize>,
        got: Vec<u8>,
    }
    impl Write for Picky {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            match self.takes.pop() {
                None | Some(0) => Err(ErrorKind::WouldBlock.into()),
                Some(n) => {
                    let n = n.min(buf.len());
                    self.got.extend(&buf[..n]);
                    Ok(n)
                }
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            takes in prop::collection::vec(0usize..30, 0..60),
        ) {
            let mut out = Outbox::new(200);
            let mut peer = Picky { takes, got: Vec::new() };
            let mut sent: Vec<u8> = Vec::new();
            for m in messages {
                sent.extend(&m);
                match out.send(m, &mut peer) {
                    Ok(()) => prop_assert!(out.bytes() <= 200),
                    Err(OutboxError::Full(n)) => {
                        prop_assert!(n > 200 && n == out.bytes() && n < 240);
                        break;
                    }
                    Err(e) => prop_assert!(false, "{e:?}"),
                }
            }
            prop_assert_eq!(peer.got.len() + out.bytes(), sent.len());
            peer.takes = vec![1000; 50];
            prop_assert!(out.flush(&mut peer).is_ok() && out.bytes() == 0);
            prop_assert_eq!(peer.got, sent);
        }
    }
}
