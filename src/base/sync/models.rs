//! Our concurrent structures under every order in which their threads may meet (loom). Each model is tiny: two
//! or three threads, a few steps; a lost wake-up shows as a deadlock, a missing ordering as a stale value.

use super::primitive::{Arc, AtomicU64, Mutex, Ordering, lock};
use super::{Chain, Counter, Doze, Seq, ask};
use loom::thread;
use std::time::Duration;

/// Longer than any model.
const FOREVER: Duration = Duration::from_secs(1);

/// Runs a model in every order. They are small enough to need no bound on preemptions (with one, loom leaves out
/// orders in which a stale value is read); a model that grows past the bound on its branches fails.
fn model(body: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(body);
}

#[test]
fn a_change_wakes_whoever_waits_for_it() {
    model(|| {
        let (seq, data) = (Arc::new(Seq::new()), Arc::new(AtomicU64::new(0)));
        let (s, d) = (seq.clone(), data.clone());
        let writer = thread::spawn(move || {
            d.store(7, Ordering::Relaxed);
            s.change();
        });
        assert_eq!(seq.wait(1, FOREVER), 2);
        assert_eq!(
            data.load(Ordering::Relaxed),
            7,
            "what came before the change"
        );
        writer.join().unwrap();
    });
}

#[test]
fn whoever_reads_a_change_sees_what_came_before_it() {
    model(|| {
        let (seq, data) = (Arc::new(Seq::new()), Arc::new(AtomicU64::new(0)));
        let (s, d) = (seq.clone(), data.clone());
        let writer = thread::spawn(move || {
            d.store(7, Ordering::Relaxed);
            s.change();
        });
        if seq.read() == 2 {
            assert_eq!(data.load(Ordering::Relaxed), 7);
        }
        writer.join().unwrap();
    });
}

#[test]
fn one_change_wakes_all_waiters() {
    model(|| {
        let seq = Arc::new(Seq::new());
        let s = seq.clone();
        let changer = thread::spawn(move || s.change());
        let s = seq.clone();
        let waiter = thread::spawn(move || s.wait(1, FOREVER));
        assert_eq!(seq.wait(1, FOREVER), 2);
        assert_eq!(waiter.join().unwrap(), 2);
        changer.join().unwrap();
    });
}

#[test]
fn every_number_comes_home_once_with_what_was_done_to_it() {
    model(|| {
        let chain = Arc::new(Chain::new(3));
        let frames = Arc::new([(); 3].map(|()| AtomicU64::new(0)));
        let givers: Vec<_> = [&[0u64, 1][..], &[2][..]]
            .into_iter()
            .map(|numbers| {
                let (chain, frames) = (chain.clone(), frames.clone());
                thread::spawn(move || {
                    for &n in numbers {
                        frames[n as usize].store(n + 10, Ordering::Relaxed);
                    }
                    chain.push(numbers);
                })
            })
            .collect();
        // Without this, loom does not try the orders in which a giver is done first: its own look at the head
        // hides from loom that its swap depends on ours.
        thread::yield_now();
        let mut home = Vec::new();
        let mut take = || {
            chain.take(|n| {
                let used = frames[n as usize].load(Ordering::Relaxed);
                assert_eq!(used, u64::from(n) + 10, "used before it was given");
                home.push(n);
            })
        };
        take();
        for giver in givers {
            giver.join().unwrap();
        }
        take();
        assert_eq!(take(), 0);
        home.sort_unstable();
        assert_eq!(home, [0, 1, 2]);
        assert!(chain.is_empty());
    });
}

#[test]
fn a_number_that_was_taken_may_be_given_again() {
    model(|| {
        let chain = Arc::new(Chain::new(2));
        chain.push(&[0]);
        let other = chain.clone();
        let giver = thread::spawn(move || other.push(&[1]));
        thread::yield_now();
        let mut home = Vec::new();
        chain.take(|n| home.push(n));
        if home.contains(&0) {
            chain.push(&[0]); // the head that the giver may have seen
            home.retain(|&n| n != 0);
        }
        giver.join().unwrap();
        chain.take(|n| home.push(n));
        home.sort_unstable();
        assert_eq!(home, [0, 1]);
    });
}

#[test]
fn a_sleeper_and_its_waker_never_miss_each_other() {
    model(|| {
        let doze = Arc::new(Doze::new());
        let work = Arc::new(AtomicU64::new(0));
        // Stands for the eventfd: readable when not zero.
        let rings = Arc::new(AtomicU64::new(0));
        let (d, w, r) = (doze.clone(), work.clone(), rings.clone());
        let waker = thread::spawn(move || {
            w.store(1, Ordering::Relaxed);
            if d.must_wake() {
                r.fetch_add(1, Ordering::Relaxed);
            }
        });
        doze.announce();
        let awake = work.load(Ordering::Relaxed) == 1;
        waker.join().unwrap();
        let rung = rings.load(Ordering::Relaxed) == 1;
        assert!(awake || rung, "it sleeps, and nobody rings");
    });
}

#[test]
fn one_sleeper_is_woken_by_one() {
    model(|| {
        let doze = Arc::new(Doze::new());
        doze.announce();
        let d = doze.clone();
        let other = thread::spawn(move || d.must_wake());
        let mine = doze.must_wake();
        assert!(
            mine ^ other.join().unwrap(),
            "exactly one is told to wake it"
        );
    });
}

#[test]
fn an_answer_arrives_and_a_dropped_question_is_answered() {
    model(|| {
        let (asked, reply) = ask();
        let answerer = thread::spawn(move || asked.give(7));
        assert_eq!(reply.wait(), Some(7));
        answerer.join().unwrap();
    });
    model(|| {
        let (asked, reply) = ask::<u8>();
        let loser = thread::spawn(move || drop(asked));
        assert_eq!(reply.wait(), None);
        loser.join().unwrap();
    });
}

#[test]
fn a_counter_of_one_writer_never_goes_back() {
    model(|| {
        let (counter, shared) = (Arc::new(Counter::new()), Arc::new(Counter::new()));
        let (c, s) = (counter.clone(), shared.clone());
        let writer = thread::spawn(move || {
            c.add_local(1);
            c.add_local(1);
            s.add_shared(1);
        });
        shared.add_shared(1);
        let first = counter.get();
        assert!(counter.get() >= first);
        writer.join().unwrap();
        assert_eq!((counter.get(), shared.get()), (2, 2));
    });
}

/// The rule of `udpif`: a translation remembers how many changes were posted before it began, and a ukey that is
/// put in later than a change was marked is stale. The protocol alone, with a lock for each side as there.
#[test]
fn a_change_between_a_translation_and_its_flow_is_not_missed() {
    #[derive(Default)]
    struct Shard {
        marked: u64,
        flow: Option<u64>,
        stale: bool,
    }
    model(|| {
        let table = Arc::new(AtomicU64::new(0));
        let posted = Arc::new(Mutex::new(0u64));
        let shard = Arc::new(Mutex::new(Shard::default()));
        let (t, p, s) = (table.clone(), posted.clone(), shard.clone());
        let handler = thread::spawn(move || {
            let before = *lock(&p);
            let translation = t.load(Ordering::Relaxed);
            let mut shard = lock(&s);
            shard.stale = shard.marked > before;
            shard.flow = Some(translation);
        });
        table.store(1, Ordering::Relaxed); // published, then posted, then marked
        *lock(&posted) += 1;
        {
            let mut shard = lock(&shard);
            shard.marked = *lock(&posted);
            shard.stale |= shard.flow.is_some();
        }
        handler.join().unwrap();
        let shard = lock(&shard);
        assert!(shard.stale || shard.flow == Some(1), "an old flow stays");
    });
}
