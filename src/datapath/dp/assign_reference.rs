//! The plain twin of [`super::assign`]: the three policies written down one at a time, each step by looking
//! at everything again, and a property test that compares the two.

use super::*;
use proptest::prelude::*;

/// Everything decided so far: the thread of each queue.
type So = Vec<Option<usize>>;

fn isolated(so: &So, rxqs: &[Rxq], threads: &[Thread], t: usize, isolate: bool) -> bool {
    let pinned_here = |r: &Rxq| r.pinned == Some(threads[t].core);
    isolate
        && so
            .iter()
            .zip(rxqs)
            .any(|(on, r)| *on == Some(t) && pinned_here(r))
}

/// Thread numbers as taken in turn on a node: 0 1 2 0 1 2 or, to and fro, 0 1 2 2 1 0 0 1.
fn turn(n: usize, k: usize, to_and_fro: bool) -> usize {
    if !to_and_fro {
        return k % n;
    }
    let at = k % (2 * n);
    if at < n { at } else { 2 * n - 1 - at }
}

fn twin(threads: &[Thread], rxqs: &[Rxq], algorithm: Algorithm, isolate: bool) -> So {
    let mut so: So = vec![None; rxqs.len()];
    for (i, r) in rxqs.iter().enumerate() {
        so[i] = r
            .pinned
            .and_then(|c| threads.iter().position(|t| t.core == c));
    }
    let mut order: Vec<usize> = (0..rxqs.len()).filter(|&i| so[i].is_none()).collect();
    if algorithm != Algorithm::RoundRobin {
        order.sort_by(|&a, &b| rxqs[b].cycles.cmp(&rxqs[a].cycles)); // stable: port and queue order stays
    }
    let free = {
        let pins = so.clone();
        move |t: usize| !isolated(&pins, rxqs, threads, t, isolate)
    };
    let mut numas: Vec<u32> = Vec::new();
    for t in threads {
        if !numas.contains(&t.numa) {
            numas.push(t.numa);
        }
    }
    let has_free = |n: u32| (0..threads.len()).any(|t| threads[t].numa == n && free(t));
    let abroad: Vec<u32> = numas.iter().copied().filter(|&n| has_free(n)).collect();
    let mut n_abroad = 0;
    let mut turns = vec![0; numas.len()];
    for i in order {
        let home = rxqs[i].numa;
        let node = if has_free(home) {
            home
        } else if let Some(&n) = abroad.get(n_abroad % abroad.len().max(1)) {
            n_abroad += 1;
            n
        } else {
            continue;
        };
        let own: Vec<usize> = (0..threads.len())
            .filter(|&t| threads[t].numa == node)
            .collect();
        let chosen = if algorithm == Algorithm::Group {
            let load = |t: usize| -> u64 {
                let there = (0..rxqs.len()).filter(|&q| so[q] == Some(t));
                if rxqs[i].cycles > 0 {
                    there.map(|q| rxqs[q].cycles).sum()
                } else {
                    there.count() as u64
                }
            };
            own.into_iter()
                .filter(|&t| free(t))
                .min_by_key(|&t| load(t))
        } else {
            let at = numas
                .iter()
                .position(|&n| n == node)
                .expect("a node of a thread");
            loop {
                let t = own[turn(own.len(), turns[at], algorithm == Algorithm::Cycles)];
                turns[at] += 1;
                if free(t) {
                    break Some(t);
                }
            }
        };
        so[i] = chosen;
    }
    so
}

fn machine() -> impl Strategy<Value = (Vec<Thread>, Vec<Rxq>)> {
    let threads = prop::collection::vec(0..3_u32, 0..6);
    let rxq = (
        0..4_u32,
        0..4_u32,
        prop_oneof![Just(0), 1..50_u64],
        prop::option::weighted(0.2, 0..8_u32),
    );
    (threads, prop::collection::vec(rxq, 0..12)).prop_map(|(numas, rxqs)| {
        let threads = (numas.into_iter().zip(0..))
            .map(|(numa, c)| Thread {
                core: CoreId(c),
                numa,
            })
            .collect();
        let rxqs = (rxqs.into_iter().zip(0..))
            .map(|((port, numa, cycles, pin), queue)| Rxq {
                port,
                queue,
                numa,
                cycles,
                pinned: pin.map(CoreId),
            })
            .collect::<Vec<Rxq>>();
        (threads, sorted(rxqs))
    })
}

/// In order of port and queue, as the datapath gives them.
fn sorted(mut rxqs: Vec<Rxq>) -> Vec<Rxq> {
    rxqs.sort_by_key(|r| (r.port, r.queue));
    rxqs
}

proptest! {
    #[test]
    fn assignment_is_the_twins((threads, rxqs) in machine(), isolate in any::<bool>()) {
        for algorithm in [Algorithm::RoundRobin, Algorithm::Cycles, Algorithm::Group] {
            let decisions = assign(&threads, &rxqs, algorithm, isolate);
            let placed = Placement::of(&decisions, rxqs.len(), threads.len(), isolate);
            prop_assert_eq!(&placed.thread, &twin(&threads, &rxqs, algorithm, isolate));
            // Everybody is polled unless nobody is free, and nobody shares an isolated thread.
            let all_taken = placed.isolated.iter().all(|i| *i);
            for (on, r) in placed.thread.iter().zip(&rxqs) {
                prop_assert!(on.is_some() || all_taken);
                if let Some(t) = on {
                    prop_assert!(!placed.isolated[*t] || r.pinned == Some(threads[*t].core));
                }
            }
        }
    }
}
