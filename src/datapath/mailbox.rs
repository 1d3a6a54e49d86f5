//! How control threads reach into a packet thread: messages that it carries out between batches, and
//! replies that the sender waits for.
//!
//! Nobody else touches what a packet thread owns, so every change is a closure that it runs itself. Flow
//! operations come as batches and are carried out a few at a time, so that a large batch does not hold up
//! packets. A message that cannot be carried out (its thread panicked over it, or is gone) answers `None`.

use crate::bell::Bell;
use crate::limits::MAILBOX;
use base::sync::{Arc, ArrayQueue, AtomicBool, Mutex, Ordering, lock};
use std::time::Duration;

/// The promise of an answer.
#[derive(Debug)]
pub(crate) struct Reply<T>(Arc<Answer<T>>);

/// The duty to answer; dropped unanswered, the answer is "none".
#[derive(Debug)]
pub(crate) struct Asked<T>(Arc<Answer<T>>);

#[derive(Debug)]
struct Answer<T> {
    /// Locked by the answerer before `done`, by the asker after it.
    value: Mutex<Option<T>>,
    done: AtomicBool,
    asker: std::thread::Thread,
}

/// A question and its answer's two ends. The calling thread is the one that will wait.
pub(crate) fn ask<T>() -> (Asked<T>, Reply<T>) {
    let answer = Arc::new(Answer {
        value: Mutex::new(None),
        done: AtomicBool::new(false),
        asker: std::thread::current(),
    });
    (Asked(Arc::clone(&answer)), Reply(answer))
}

impl<T> Asked<T> {
    /// Answers.
    pub(crate) fn give(self, value: T) {
        *lock(&self.0.value) = Some(value);
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release); // pairs with the Acquire in wait()
        self.0.asker.unpark();
    }
}

impl<T> Reply<T> {
    /// Waits for the answer.
    pub(crate) fn wait(self) -> Option<T> {
        // Most answers come within a few microseconds.
        for _ in 0..200 {
            if self.0.done.load(Ordering::Acquire) {
                break; // pairs with the Release in drop()
            }
            std::hint::spin_loop();
        }
        while !self.0.done.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(100));
        }
        lock(&self.0.value).take()
    }
}

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

    #[test]
    fn answers_arrive_and_silence_is_none() {
        let (asked, reply) = ask();
        let answerer = base::sync::spawn("answerer", move || asked.give(7)).unwrap();
        assert_eq!(reply.wait(), Some(7));
        answerer.join().unwrap();
        let (asked, reply) = ask::<u8>();
        drop(asked);
        assert_eq!(reply.wait(), None);
    }
}
