//! [`OutQueue`]: messages that wait to be written to one controller, and how many of each kind.
//!
//! Whoever owns the socket takes messages only when the socket can take them, so what stands here is what the
//! controller is behind with. Replies and monitor updates hold back their causes; packet-ins are dropped when
//! too many wait.

use std::collections::VecDeque;

/// What a message is, as far as holding back goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutKind {
    /// The answer to a request, or what a request led to.
    Reply,
    /// A flow monitor's update.
    Monitor,
    /// A packet.
    PacketIn,
    /// Anything else.
    Other,
}

const KINDS: usize = 4;

/// See the file's essay.
#[derive(Debug, Default)]
pub(crate) struct OutQueue {
    queue: VecDeque<(OutKind, Vec<u8>)>,
    counts: [usize; KINDS],
    bytes: [usize; KINDS],
}

impl OutQueue {
    /// Queues a message, or several in a row.
    pub(crate) fn push(&mut self, kind: OutKind, mut messages: Vec<u8>) {
        loop {
            let len = messages
                .get(2..4)
                .map_or(0, |l| usize::from(l[0]) << 8 | usize::from(l[1]));
            if len == 0 || len >= messages.len() {
                break;
            }
            let rest = messages.split_off(len);
            self.push_one(kind, messages);
            messages = rest;
        }
        self.push_one(kind, messages);
    }

    fn push_one(&mut self, kind: OutKind, message: Vec<u8>) {
        self.counts[kind as usize] += 1;
        self.bytes[kind as usize] += message.len();
        self.queue.push_back((kind, message));
    }

    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        let (kind, message) = self.queue.pop_front()?;
        self.counts[kind as usize] -= 1;
        self.bytes[kind as usize] -= message.len();
        Some(message)
    }

    /// Messages of a kind that wait.
    pub(crate) fn count(&self, kind: OutKind) -> usize {
        self.counts[kind as usize]
    }

    /// Octets of a kind that wait.
    pub(crate) fn bytes(&self, kind: OutKind) -> usize {
        self.bytes[kind as usize]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
