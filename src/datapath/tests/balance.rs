//! Queues move by themselves when that evens loads out, and only then; flows of threads that are gone are not
//! forgotten; sleeps as configured. Without threads, at a simulated time, unless said.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use base::sync::lock;
use common::{Bench, install, udp};
use datapath::show;
use dpif::{DpifError, FlowDel, FlowPut, Op, PmdId};
use odp::Action;

fn set(b: &Bench, pairs: &[(&str, &str)]) {
    let config = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
    b.dpif.set_config(&config.collect()).unwrap();
}

/// Queues of each thread, in order.
fn queues(b: &Bench) -> Vec<Vec<u32>> {
    let text = show::pmd_rxq(&b.dp, None, 0);
    let of = |part: &str| {
        let lines = part.lines().filter_map(|l| l.split_once("queue-id:"));
        let ids = lines.map(|(_, rest)| rest.split_whitespace().next().unwrap().parse().unwrap());
        ids.collect()
    };
    text.split("pmd thread").skip(1).map(of).collect()
}

/// One interval of load: queues 0 and 3 bring much, the others little.
fn interval(b: &Bench) {
    for (queue, n) in [(0, 20), (1, 1), (2, 1), (3, 20)] {
        let frames = (0..n).map(|i| udp(1, i));
        lock(&b.mem("p1q4").rx[queue]).extend(frames);
    }
    for _ in 0..2000 {
        b.dp.step();
    }
    b.clock.advance(5_001);
    b.dp.step();
    b.dpif.run();
}

const BALANCED: [(&str, &str); 3] = [
    ("pmd-cpu-mask", "3"),
    ("pmd-auto-lb", "true"),
    ("pmd-auto-lb-load-threshold", "10"),
];

fn unbalanced(config: &[(&str, &str)]) -> Bench {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1q4", "mem-pmd"), b.add("p2", "mem"));
    set(&b, config);
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    b
}

#[test]
fn uneven_loads_are_evened_out() {
    let b = unbalanced(&BALANCED);
    assert_eq!(queues(&b), [[0, 3], [1, 2]]);
    for _ in 0..12 {
        interval(&b);
        assert_eq!(queues(&b), [[0, 3], [1, 2]], "not before loads are known");
    }
    for _ in 0..13 {
        interval(&b);
    }
    assert_eq!(queues(&b), [[0, 2], [1, 3]]);
    // What is even already stays as it is.
    for _ in 0..30 {
        interval(&b);
    }
    assert_eq!(queues(&b), [[0, 2], [1, 3]]);
    b.balanced();
}

#[test]
fn nothing_moves_without_need() {
    for other in [
        ("pmd-auto-lb", "false"),
        ("pmd-auto-lb-load-threshold", "95"),
        ("pmd-auto-lb-improvement-threshold", "100"),
        ("pmd-rxq-assign", "roundrobin"),
    ] {
        let mut config = BALANCED.to_vec();
        config.push(other);
        let b = unbalanced(&config);
        let before = queues(&b);
        for _ in 0..30 {
            interval(&b);
        }
        assert_eq!(queues(&b), before, "{other:?}");
    }
}

#[test]
fn the_last_figures_of_a_flow_outlive_its_thread() {
    let b = unbalanced(&[("pmd-cpu-mask", "3")]);
    lock(&b.mem("p1q4").rx[1]).extend((0..5).map(|i| udp(1, i)));
    b.run();
    let on = PmdId(1);
    let flow = b.flows().into_iter().find(|f| f.pmd == on).unwrap();
    assert_eq!(flow.stats.n_packets, 5);
    let del = |ufid| {
        let op = Op::FlowDel(FlowDel {
            ufid,
            pmd: Some(on),
            result: Err(DpifError::Again),
        });
        let Op::FlowDel(done) = b.one(op) else {
            unreachable!()
        };
        done.result.map(|s| s.n_packets)
    };
    set(&b, &[("pmd-cpu-mask", "1")]);
    assert_eq!(del(flow.ufid), Ok(5));
    assert!(del(flow.ufid).is_err(), "only once");
    // A handler that comes too late does no harm.
    let ufid = odp::Ufid(9);
    let Op::FlowPut(late) = b.one(Op::FlowPut(FlowPut {
        ufid: Some(ufid),
        pmd: Some(on),
        ..put_of(&flow)
    })) else {
        unreachable!()
    };
    assert!(late.result.is_ok());
    assert_eq!(del(ufid), Ok(0));
    let Op::FlowPut(never) = b.one(Op::FlowPut(FlowPut {
        pmd: Some(PmdId(77)),
        ..put_of(&flow)
    })) else {
        unreachable!()
    };
    assert_eq!(never.result, Err(DpifError::Invalid));
}

fn put_of(flow: &dpif::FlowInfo) -> FlowPut {
    common::put(&flow.key, &flow.mask, &flow.actions, flow.pmd)
}

/// With threads of their own: whatever the policy of sleep, packets get through and threads can be stopped.
#[test]
fn every_policy_of_sleep_forwards() {
    let b = Bench::real();
    let (p1, p2) = (b.add("p1", "mem-pmd"), b.add("p2", "mem"));
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    for sleep in [None, Some("0"), Some("1"), Some("200"), None] {
        let config: Vec<_> = sleep.iter().map(|v| ("pmd-maxsleep", *v)).collect();
        set(&b, &config);
        let before = show::pmd_stats(&b.dp, Some(0));
        for seq in 0..50 {
            b.receive("p1", &udp(1, seq));
            b.quiesce();
        }
        assert_eq!(b.sent("p2").len(), 50, "{sleep:?}");
        assert_ne!(show::pmd_stats(&b.dp, Some(0)), before);
    }
    let text = show::pmd_sleep(&b.dp, Some(0));
    assert!(
        text.contains("time to wake for a message, just now: "),
        "{text}"
    );
    b.balanced();
}

#[test]
fn metrics_are_shown_while_they_are_kept() {
    let b = unbalanced(&[("pmd-perf-metrics", "true")]);
    interval(&b);
    interval(&b);
    let parts = show::PerfParts {
        histograms: true,
        rounds: 2,
        millis: 2,
    };
    let text = show::pmd_perf(&b.dp, Some(0), parts);
    for part in ["Histograms\n   cycles/it ", "\n   iter  ", "\n   ms     "] {
        assert!(text.contains(part), "{text}");
    }
    set(&b, &[]);
    interval(&b);
    let text = show::pmd_perf(&b.dp, Some(0), parts);
    assert!(!text.contains("Histograms"), "{text}");
    assert_eq!(show::lookup_places(&b.dp), (2, 2));
    assert_eq!(show::pmd_cores(&b.dp), [0, 2]);
}
