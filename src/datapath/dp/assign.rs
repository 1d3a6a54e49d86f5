//! Which packet thread polls which rx queue: a pure function of what there is and how busy it has been.
//!
//! The rules and their names are the peer's. Pinned queues (`pmd-rxq-affinity`) go where they are told and,
//! unless configured otherwise, keep other queues off that thread. The others go to threads of their
//! device's NUMA node; only if that has none, to another node's:
//!
//! * `roundrobin`: in order of port and queue.
//! * `cycles`: busiest first, to and fro over the threads (0 1 1 0 0 1 ...).
//! * `group`: busiest first, each to the thread with the least so far.

use base::cpu::CoreId;

/// How queues are assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// In turn.
    RoundRobin,
    /// Busiest first, to and fro.
    #[default]
    Cycles,
    /// Busiest first, to the least loaded.
    Group,
}

impl Algorithm {
    /// By its configured name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "roundrobin" => Some(Self::RoundRobin),
            "cycles" => Some(Self::Cycles),
            "group" => Some(Self::Group),
            _ => None,
        }
    }
    /// Its configured name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::Cycles => "cycles",
            Self::Group => "group",
        }
    }
}

/// A thread that can poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) core: CoreId,
    pub(crate) numa: u32,
}

/// A queue to be polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rxq {
    pub(crate) port: u32,
    pub(crate) queue: u32,
    pub(crate) numa: u32,
    /// Cycles it took lately.
    pub(crate) cycles: u64,
    pub(crate) pinned: Option<CoreId>,
}

/// What was decided, in the order in which it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Pinned there.
    Pinned { rxq: usize, thread: usize },
    /// Pinned to a core that no thread runs on; assigned like the others further down.
    CannotPin { rxq: usize, core: CoreId },
    /// Assigned there.
    Assigned { rxq: usize, thread: usize },
    /// No thread is left for it.
    Unpolled { rxq: usize },
}

/// Where every queue is or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The thread of each queue.
    pub(crate) thread: Vec<Option<usize>>,
    /// Threads that poll only what is pinned to them.
    pub(crate) isolated: Vec<bool>,
}

impl Placement {
    /// What decisions come to.
    pub(crate) fn of(decisions: &[Decision], n_rxqs: usize, threads: usize, isolate: bool) -> Self {
        let mut p = Self {
            thread: vec![None; n_rxqs],
            isolated: vec![false; threads],
        };
        for d in decisions {
            match *d {
                Decision::Pinned { rxq, thread } => {
                    p.thread[rxq] = Some(thread);
                    p.isolated[thread] |= isolate;
                }
                Decision::Assigned { rxq, thread } => p.thread[rxq] = Some(thread),
                Decision::CannotPin { .. } | Decision::Unpolled { .. } => {}
            }
        }
        p
    }

    /// Some queue that is free to go anywhere is polled from another node.
    pub(crate) fn crosses_nodes(&self, threads: &[Thread], rxqs: &[Rxq]) -> bool {
        std::iter::zip(&self.thread, rxqs).any(|(t, r)| {
            t.is_some_and(|t| r.pinned.is_none() && !self.isolated[t] && threads[t].numa != r.numa)
        })
    }

    /// Variance of the loads, in percent, of a node's threads that are not isolated. `capacity`: cycles that
    /// each thread had; 0 when that is not known.
    pub(crate) fn variance(
        &self,
        numa: u32,
        threads: &[Thread],
        rxqs: &[Rxq],
        capacity: &[u64],
    ) -> u64 {
        let load = |t: usize| {
            let own = std::iter::zip(&self.thread, rxqs).filter(|(on, _)| **on == Some(t));
            let cycles: u64 = own.map(|(_, r)| r.cycles).sum();
            cycles
                .saturating_mul(100)
                .checked_div(capacity[t])
                .unwrap_or(0)
        };
        let of_node = (0..threads.len()).filter(|&t| threads[t].numa == numa && !self.isolated[t]);
        let loads: Vec<u64> = of_node.map(load).collect();
        variance(&loads)
    }
}

/// Mean square distance from the mean, in whole numbers.
fn variance(values: &[u64]) -> u64 {
    let n = values.len() as u64;
    let Some(mean) = values.iter().sum::<u64>().checked_div(n) else {
        return 0;
    };
    let squares = values.iter().map(|v| v.abs_diff(mean).pow(2));
    squares.sum::<u64>() / n
}

struct Node {
    numa: u32,
    /// Indices of its threads.
    threads: Vec<usize>,
    at: usize,
    forward: bool,
}

struct Load {
    cycles: u64,
    queues: usize,
    isolated: bool,
}

/// Assigns every queue.
pub(crate) fn assign(
    threads: &[Thread],
    rxqs: &[Rxq],
    algorithm: Algorithm,
    isolate: bool,
) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut loads: Vec<Load> = (threads.iter())
        .map(|_| Load {
            cycles: 0,
            queues: 0,
            isolated: false,
        })
        .collect();
    let mut rest = Vec::new();
    for (i, rxq) in rxqs.iter().enumerate() {
        let Some(core) = rxq.pinned else {
            rest.push(i);
            continue;
        };
        match threads.iter().position(|t| t.core == core) {
            Some(t) => {
                loads[t].isolated |= isolate;
                loads[t].cycles += rxq.cycles;
                loads[t].queues += 1;
                decisions.push(Decision::Pinned { rxq: i, thread: t });
            }
            None => {
                decisions.push(Decision::CannotPin { rxq: i, core });
                rest.push(i);
            }
        }
    }
    if algorithm != Algorithm::RoundRobin {
        let by = |&i: &usize| {
            let r = &rxqs[i];
            (std::cmp::Reverse(r.cycles), r.port, r.queue)
        };
        rest.sort_by_key(by);
    }
    let mut nodes = nodes_of(threads);
    let mut last_other = None;
    for i in rest {
        let node = home_node(&mut nodes, rxqs[i].numa, &loads, &mut last_other);
        let thread = node.and_then(|n| pick(&mut nodes[n], &loads, algorithm, rxqs[i].cycles > 0));
        decisions.push(match thread {
            Some(t) => {
                loads[t].cycles += rxqs[i].cycles;
                loads[t].queues += 1;
                Decision::Assigned { rxq: i, thread: t }
            }
            None => Decision::Unpolled { rxq: i },
        });
    }
    decisions
}

fn nodes_of(threads: &[Thread]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for (i, t) in threads.iter().enumerate() {
        match nodes.iter_mut().find(|n| n.numa == t.numa) {
            Some(n) => n.threads.push(i),
            None => nodes.push(Node {
                numa: t.numa,
                threads: vec![i],
                at: 0,
                forward: true,
            }),
        }
    }
    nodes
}

/// The queue's own node if it has a free thread, else the next other node in turn that has.
fn home_node(
    nodes: &mut [Node],
    numa: u32,
    loads: &[Load],
    last_other: &mut Option<usize>,
) -> Option<usize> {
    let free = |n: &Node| n.threads.iter().any(|&t| !loads[t].isolated);
    if let Some(own) = nodes.iter().position(|n| n.numa == numa && free(n)) {
        return Some(own);
    }
    for _ in 0..nodes.len() {
        let next = last_other.map_or(0, |n| (n + 1) % nodes.len());
        *last_other = Some(next);
        if free(&nodes[next]) {
            return Some(next);
        }
    }
    None
}

fn pick(node: &mut Node, loads: &[Load], algorithm: Algorithm, has_cycles: bool) -> Option<usize> {
    if algorithm == Algorithm::Group {
        let free = node.threads.iter().copied().filter(|&t| !loads[t].isolated);
        return free.min_by_key(|&t| {
            // Without figures, the number of queues must do.
            if has_cycles {
                loads[t].cycles
            } else {
                loads[t].queues as u64
            }
        });
    }
    let to_and_fro = algorithm == Algorithm::Cycles;
    (0..node.threads.len() * 2)
        .map(|_| node.next(to_and_fro))
        .find(|&t| !loads[t].isolated)
}

impl Node {
    /// The thread whose turn it is.
    fn next(&mut self, to_and_fro: bool) -> usize {
        let thread = self.threads[self.at];
        let last = self.threads.len() - 1;
        match (self.forward, self.at) {
            (true, at) if at == last && to_and_fro => self.forward = false,
            (true, at) if at == last => self.at = 0,
            (true, _) => self.at += 1,
            (false, 0) => self.forward = true,
            (false, _) => self.at -= 1,
        }
        thread
    }
}

#[cfg(test)]
#[path = "assign_reference.rs"]
mod reference;

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(numas: &[u32]) -> Vec<Thread> {
        let cores = numas.iter().zip(0..);
        cores
            .map(|(&numa, c)| Thread {
                core: CoreId(c),
                numa,
            })
            .collect()
    }

    fn rxqs(cycles: &[u64]) -> Vec<Rxq> {
        let queues = cycles.iter().zip(0..);
        queues
            .map(|(&cycles, queue)| Rxq {
                port: 1,
                queue,
                numa: 0,
                cycles,
                pinned: None,
            })
            .collect()
    }

    /// Thread of each queue, -1 for none.
    fn run(t: &[Thread], r: &[Rxq], a: Algorithm) -> Vec<i32> {
        let mut out = vec![-1; r.len()];
        for d in assign(t, r, a, true) {
            match d {
                Decision::Pinned { rxq, thread } | Decision::Assigned { rxq, thread } => {
                    out[rxq] = thread as i32;
                }
                Decision::CannotPin { .. } | Decision::Unpolled { .. } => {}
            }
        }
        out
    }

    #[test]
    fn the_three_algorithms() {
        let (t, r) = (threads(&[0, 0]), rxqs(&[0; 8]));
        assert_eq!(run(&t, &r, Algorithm::RoundRobin), [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(run(&t, &r, Algorithm::Cycles), [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(run(&t, &r, Algorithm::Group), [0, 1, 0, 1, 0, 1, 0, 1]);
        let r = rxqs(&[10, 50, 20, 15]);
        assert_eq!(run(&t, &r, Algorithm::Group), [1, 0, 1, 1]);
        assert_eq!(run(&t, &r, Algorithm::Cycles), [0, 0, 1, 1]);
    }

    #[test]
    fn variances_are_of_free_threads() {
        let (t, r) = (threads(&[0, 0, 0, 1]), rxqs(&[300, 100, 200]));
        let mut p = Placement {
            thread: vec![Some(0), Some(1), Some(3)],
            isolated: vec![false; 4],
        };
        let capacity = [1000; 4];
        // 30, 10 and 0 percent: mean 13.
        assert_eq!(p.variance(0, &t, &r, &capacity), (289 + 9 + 169) / 3);
        p.isolated[2] = true;
        assert_eq!(p.variance(0, &t, &r, &capacity), 100);
        assert_eq!(p.variance(1, &t, &r, &capacity), 0);
        assert_eq!(p.variance(7, &t, &r, &capacity), 0);
        assert_eq!(p.variance(0, &t, &r, &[0; 4]), 0);
        assert!(p.crosses_nodes(&t, &r));
        p.isolated[3] = true;
        assert!(!p.crosses_nodes(&t, &r));
    }

    #[test]
    fn pinning_isolates_and_nodes_are_respected() {
        let t = threads(&[0, 0, 1]);
        let mut r = rxqs(&[0; 4]);
        r[2].pinned = Some(CoreId(0));
        assert_eq!(run(&t, &r, Algorithm::Cycles), [1, 1, 0, 1]);
        r[3].numa = 1;
        assert_eq!(run(&t, &r, Algorithm::Cycles), [1, 1, 0, 2]);
        r[2].pinned = Some(CoreId(9));
        assert_eq!(run(&t, &r, Algorithm::RoundRobin), [0, 1, 0, 2]);
        r[1].numa = 7;
        assert_eq!(run(&t, &r, Algorithm::RoundRobin), [0, 1, 0, 2]);
        assert_eq!(run(&[], &r, Algorithm::Cycles), [-1; 4]);
        let mut only = rxqs(&[0; 2]);
        only[0].pinned = Some(CoreId(0));
        assert_eq!(run(&threads(&[0]), &only, Algorithm::Cycles), [0, -1]);
    }
}
