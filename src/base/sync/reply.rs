//! [`ask`]: a question to another thread, and the promise of its answer.
//!
//! Whoever was asked gives a value or drops the question; either ends the wait. A question that is lost (its
//! thread panicked, its queue was closed) is therefore answered: with nothing.

use super::primitive::{Arc, AtomicBool, Mutex, Ordering, Thread, current, lock, park, spin_loop};
use std::time::Duration;

/// Looks for the answer before sleeping: most come within a few microseconds.
const SPINS: u32 = if cfg!(loom) { 1 } else { 200 };

/// The promise of an answer.
#[derive(Debug)]
pub struct Reply<T>(Arc<Answer<T>>);

/// The duty to answer; dropped unanswered, the answer is "none".
#[derive(Debug)]
pub struct Asked<T>(Arc<Answer<T>>);

#[derive(Debug)]
struct Answer<T> {
    /// Locked by the answerer before `done`, by the asker after it.
    value: Mutex<Option<T>>,
    done: AtomicBool,
    asker: Thread,
}

/// A question and its answer's two ends. The calling thread is the one that will wait.
#[must_use]
pub fn ask<T>() -> (Asked<T>, Reply<T>) {
    let answer = Arc::new(Answer {
        value: Mutex::new(None),
        done: AtomicBool::new(false),
        asker: current(),
    });
    (Asked(Arc::clone(&answer)), Reply(answer))
}

impl<T> Asked<T> {
    /// Answers.
    pub fn give(self, value: T) {
        *lock(&self.0.value) = Some(value);
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release); // pairs with the Acquire in is_done()
        self.0.asker.unpark();
    }
}

impl<T> Reply<T> {
    fn is_done(&self) -> bool {
        self.0.done.load(Ordering::Acquire) // pairs with the Release in drop()
    }

    /// Waits for the answer.
    #[must_use]
    pub fn wait(self) -> Option<T> {
        for _ in 0..SPINS {
            if self.is_done() {
                break;
            }
            spin_loop();
        }
        while !self.is_done() {
            park(Duration::from_millis(100));
        }
        lock(&self.0.value).take()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_and_silence_is_none() {
        let (asked, reply) = ask();
        let answerer = crate::sync::spawn("answerer", move || asked.give(7)).unwrap();
        assert_eq!(reply.wait(), Some(7));
        answerer.join().unwrap();
        let (asked, reply) = ask::<u8>();
        drop(asked);
        assert_eq!(reply.wait(), None);
    }
}
