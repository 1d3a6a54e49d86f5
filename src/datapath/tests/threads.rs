//! A datapath with real packet threads: nothing is lost or reordered while queues move, flows come and go,
//! and dumps run; threads sleep and wake.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use base::sync::{Arc, AtomicBool, AtomicU64, Ordering, lock, spawn};
use common::{Bench, install, put, seq_of, tuple_mask, udp};
use flow::Flow;
use odp::{Action, DropReason, OdpPort};
use std::time::Duration;

/// Answers misses until told to stop; returns how many.
fn handler(b: &Arc<Bench>, out: OdpPort) -> (Arc<AtomicBool>, base::sync::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (b, stopped) = (Arc::clone(b), Arc::clone(&stop));
    let thread = spawn("handler", move || {
        let mut n = 0;
        while !stopped.load(Ordering::SeqCst) {
            n += b.answer(&tuple_mask(), &[Action::Output(out)]);
            b.dpif.recv_wait(0, Duration::from_millis(100));
        }
        n
    });
    (stop, thread.unwrap())
}

#[test]
fn misses_are_answered_and_nothing_is_reordered() {
    let b = Arc::new(Bench::real());
    let (p1, p2) = (b.add("p1", "mem-pmd"), b.add("p2", "mem"));
    let (stop, thread) = handler(&b, p2);
    // Queued faster than they can be forwarded now and then, but never more than may be parked.
    for round in 0..50 {
        for i in 0..64 {
            b.receive("p1", &udp(i % 8, round * 64 + i));
        }
        b.quiesce();
    }
    let sent = b.sent("p2");
    assert_eq!(sent.len(), 3200);
    for flow in 0..8 {
        let of_flow: Vec<u32> = (sent.iter().map(|f| seq_of(f)))
            .filter(|s| s % 8 == flow)
            .collect();
        assert!(of_flow.is_sorted() && of_flow.len() == 400);
    }
    stop.store(true, Ordering::SeqCst);
    b.dpif.recv_wake();
    assert_eq!(thread.join().unwrap(), 8);
    b.balanced();
    let account = &b.dp.ledger()[&p1];
    assert_eq!((account.received, account.forwarded), (3200, 3200));
    assert_eq!(b.flows().len(), 8);
}

#[test]
fn a_packet_after_a_pause_wakes_its_thread() {
    let b = Bench::real();
    let (p1, p2) = (b.add("p1", "mem-pmd"), b.add("p2", "mem"));
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    install(&*b.dpif, p2, vec![Action::Output(p1)]);
    for seq in 0..20 {
        // Long enough for the threads to have fallen asleep.
        base::clock::sleep(Duration::from_millis(2));
        b.receive("p1", &udp(1, seq));
        b.receive("p2", &udp(2, seq));
        b.quiesce();
        assert_eq!((b.sent("p1").len(), b.sent("p2").len()), (1, 1));
    }
    b.balanced();
}

#[test]
fn moving_queues_and_adding_ports_loses_nothing() {
    let b = Arc::new(Bench::real());
    let (p1, p2) = (b.add("p1q4", "mem-pmd"), b.add("p2", "mem"));
    let cores = |mask: &str| {
        let config = [("pmd-cpu-mask".to_owned(), mask.to_owned())];
        b.dpif.set_config(&config.into_iter().collect()).unwrap();
    };
    cores("3");
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    let stop = Arc::new(AtomicBool::new(false));
    let given = Arc::new(AtomicU64::new(0));
    let (mem, s, g) = (b.mem("p1q4"), Arc::clone(&stop), Arc::clone(&given));
    let feeder = spawn("feeder", move || {
        let mut seq = 0;
        while !s.load(Ordering::SeqCst) {
            for queue in &mem.rx {
                let mut rx = lock(queue);
                if rx.len() < 256 {
                    rx.push_back(udp(1, seq));
                    g.fetch_add(1, Ordering::SeqCst);
                    seq += 1;
                }
            }
            std::thread::yield_now();
        }
    });
    for round in 0..20 {
        b.add("x", if round % 2 == 0 { "mem" } else { "mem-pmd" });
        // Only one: a thread with a pinned queue polls no other.
        let affinity = format!("0:{}", round % 2);
        let config = [("pmd-rxq-affinity".to_owned(), affinity)];
        b.dpif
            .port_set_config(p1, &config.into_iter().collect())
            .unwrap();
        let x = b.dpif.port_by_name("x").unwrap().number;
        b.dpif.port_del(x).unwrap();
        assert!(
            b.dpif
                .flow_dump(dpif::FlowSelect::default())
                .thread()
                .next(&mut Vec::new(), 10)
        );
    }
    stop.store(true, Ordering::SeqCst);
    feeder.unwrap().join().unwrap();
    b.quiesce();
    b.balanced();
    let account = b.dp.ledger()[&p1].clone();
    assert_eq!(account.received, given.load(Ordering::SeqCst));
    assert_eq!(account.forwarded, account.received, "{account:?}");
    assert_eq!(b.sent("p2").len() as u64, account.received);
}

#[test]
fn a_dump_of_200_000_flows_does_not_hold_up_packets() {
    const FLOWS: u32 = 200_000;
    let b = Arc::new(Bench::real());
    let (p1, p2) = (b.add("p1", "mem-pmd"), b.add("p2", "mem"));
    // The first miss says which thread polls p1.
    b.receive("p1", &udp(1, 0));
    while b.answer(&tuple_mask(), &[Action::Output(p2)]) == 0 {
        b.dpif.recv_wait(0, Duration::from_millis(100));
    }
    assert!(b.upcalls().is_empty());
    b.quiesce();
    assert_eq!(b.sent("p2").len(), 1);
    let pmd = b.flows()[0].pmd;
    let actions = Arc::new(vec![Action::Output(p2)]);
    let keys: Vec<u32> = (1..FLOWS).collect();
    for chunk in keys.chunks(1_000) {
        let puts = chunk.iter().map(|n| {
            let mut key = Flow::zero();
            key.in_port.set(p1.0);
            key.nw_src = wire::Ipv4(n.to_be_bytes());
            dpif::Op::FlowPut(put(&Arc::new(key), &tuple_mask(), &actions, pmd))
        });
        let mut ops: Vec<_> = puts.collect();
        b.dpif.operate(&mut ops);
    }
    assert_eq!(b.dpif.stats().n_flows, u64::from(FLOWS));
    // A packet passes between any two pieces of a dump,
    let dump = b.dpif.flow_dump(dpif::FlowSelect::default());
    let (mut cursor, mut flows, mut seen, mut seq) = (dump.thread(), Vec::new(), 0, 0);
    let mut more = true;
    while more {
        more = cursor.next(&mut flows, 5_000);
        seen += flows.len() as u32;
        b.receive("p1", &udp(1, seq));
        b.quiesce();
        assert_eq!(b.sent("p2").len(), 1, "after {seen} flows");
        seq += 1;
    }
    assert_eq!(seen, FLOWS);
    // and many pass while somebody does nothing but dump.
    let (stop, other) = (Arc::new(AtomicBool::new(false)), Arc::clone(&b));
    let stopped = Arc::clone(&stop);
    let dumper = spawn("dumper", move || {
        let mut all = 0;
        while !stopped.load(Ordering::SeqCst) {
            all += u64::from(other.flows().len() == FLOWS as usize);
        }
        all
    });
    for seq in 0..500 {
        b.receive("p1", &udp(1, seq));
        b.quiesce();
        assert_eq!(b.sent("p2").len(), 1);
    }
    stop.store(true, Ordering::SeqCst);
    assert!(dumper.unwrap().join().unwrap() > 0, "no dump was whole");
    b.balanced();
}

#[test]
fn a_thread_that_ends_leaves_its_account() {
    let b = Arc::new(Bench::real());
    let p1 = b.add("p1", "mem-pmd");
    for seq in 0..10 {
        b.receive("p1", &udp(1, seq));
    }
    // Nobody answers: the packets stay parked until their thread goes.
    assert!(!b.dpif.quiesce(Duration::from_millis(20)));
    b.dpif.port_del(p1).unwrap();
    b.balanced();
    let account = b.dp.ledger()[&p1].clone();
    assert_eq!(account.drops[&DropReason::PortRemoved], 10);
    assert_eq!(b.dpif.stats().n_missed, 10);
    // Operations for a thread that is gone are refused, not lost.
    let u = b.upcalls();
    assert_eq!(u.len(), 1);
    let mut ops = [dpif::Op::Resume(dpif::Resume {
        token: u[0].park.unwrap(),
        actions: Arc::new(Vec::new()),
        result: Ok(odp::FlowStats::default()),
    })];
    b.dpif.operate(&mut ops);
    let [dpif::Op::Resume(r)] = ops else {
        unreachable!()
    };
    assert_eq!(r.result, Err(dpif::DpifError::NoEntry));
}

#[test]
fn operations_from_many_threads_meet_in_order() {
    let b = Arc::new(Bench::real());
    b.add("p1", "mem-pmd");
    let workers: Vec<_> = (0..4u32)
        .map(|w| {
            let b = Arc::clone(&b);
            spawn("worker", move || {
                for i in 0..200u32 {
                    let mut key = Flow::zero();
                    key.in_port = wire::U32::new(1);
                    key.nw_src = wire::Ipv4::from_u32(w * 1000 + i);
                    let ufid = odp::Ufid(u128::from(w * 1000 + i));
                    let mut ops = [
                        dpif::Op::FlowPut(dpif::FlowPut {
                            ufid: Some(ufid),
                            ..put(
                                &Arc::new(key),
                                &tuple_mask(),
                                &Arc::new(vec![Action::Output(OdpPort(2))]),
                                dpif::PmdId(0),
                            )
                        }),
                        dpif::Op::FlowDel(dpif::FlowDel {
                            ufid,
                            pmd: Some(dpif::PmdId(0)),
                            result: Err(dpif::DpifError::Again),
                        }),
                    ];
                    let n = if i % 2 == 0 { 2 } else { 1 };
                    b.dpif.operate(&mut ops[..n]);
                    let [dpif::Op::FlowPut(p), dpif::Op::FlowDel(d)] = &ops else {
                        unreachable!()
                    };
                    assert!(p.result.is_ok() && (n == 1 || d.result.is_ok()));
                }
            })
            .unwrap()
        })
        .collect();
    for w in workers {
        w.join().unwrap();
    }
    assert_eq!(b.flows().len(), 400);
    b.dpif.flow_flush().unwrap();
    assert!(b.flows().is_empty());
    assert_eq!(b.dpif.stats().n_flows, 0);
}
