//! How control threads reach into a packet thread: messages that it carries out between batches, and
//! replies that the sender waits for.
//!
//! Nobody else touches what a packet thread owns, so every change is a closure that it runs itself. Flow
//! operations come as batches and are carried out a few at a time, so that a large batch does not hold up
//! packets. A message that cannot be carried out (its thread panicked over it, or is gone) answers `None`.

use crate::bell::Bell;
use crate::limits::MAILBOX;
use base::sync::{ArrayQueue, AtomicBool, Ordering};

pub(crate) use base::sync::{Asked, Reply, ask};

/// A bounded queue of messages to one thread.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    queue: ArrayQueue<M>,
    /// Nobody reads it any more: messages are dropped, which answers them.
    closed: AtomicBool,
    pub(crate) bell: Bell,
}

impl<M> Mailbox<M> {
    /// An empty one.
    ///
    /// # Errors
    /// The kernel's, when there is no descriptor left.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            queue: ArrayQueue::new(MAILBOX),
            closed: AtomicBool::new(false),
            bell: Bell::new()?,
        })
    }

    /// Sends; waits while the queue is full.
    pub(crate) fn send(&self, message: M) {
        let mut message = message;
        while let Err(back) = self.queue.push(message) {
            message = back;
            self.bell.ring();
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            std::thread::yield_now();
        }
        self.bell.ring();
        // Either this sees the mailbox closed, or close() sees the message.
        if self.closed.load(Ordering::SeqCst) {
            self.close();
        }
    }

    /// Drops what is in it and whatever comes later. Once its reader has gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.queue.pop().is_some() {}
    }

    /// The next message.
    pub(crate) fn take(&self) -> Option<M> {
        self.queue.pop()
    }

    /// True when there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_mailbox_answers_with_nothing() {
        let mailbox = Mailbox::new().unwrap();
        let (before, early) = ask::<u8>();
        mailbox.send(before);
        mailbox.close();
        let (after, late) = ask::<u8>();
        mailbox.send(after);
        assert_eq!((early.wait(), late.wait()), (None, None));
    }
}
