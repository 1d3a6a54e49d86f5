//! Forwarding through a whole datapath without threads: misses, parking, flows, counters, ledger.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use base::sync::{Arc, Ordering, lock};
use common::{Bench, CREATE, MODIFY, counts, install, port_mask, put, seq_of, tuple_mask, udp};
use dpif::{DpifError, Op, PmdId, PortChange, PortSpec, Resume, UpcallKind};
use odp::{Action, DropReason, OdpPort, Ufid};

#[test]
fn a_burst_costs_one_upcall_and_stays_in_order() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    assert_eq!((p1, p2), (OdpPort(1), OdpPort(2)));
    for seq in 0..100 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    b.balanced();
    assert_eq!(b.dp.ledger()[&p1].parked, 100);
    assert_eq!(b.answer(&tuple_mask(), &[Action::Output(p2)]), 1);
    let sent: Vec<u32> = b.sent("p2").iter().map(|f| seq_of(f)).collect();
    assert_eq!(sent, (0..100).collect::<Vec<_>>());
    for seq in 100..150 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    assert_eq!(b.sent("p2").len(), 50);
    b.balanced();
    let account = &b.dp.ledger()[&p1];
    assert_eq!(
        (account.received, account.forwarded, account.parked),
        (150, 150, 0)
    );
    // Resumed packets are reported to whoever resumed them, not counted in the flow.
    assert_eq!(counts(&b.flows()[0].stats), (50, 50 * 60));
    let s = b.dpif.stats();
    assert_eq!((s.n_hit, s.n_missed, s.n_lost, s.n_flows), (50, 100, 0, 1));
}

#[test]
fn a_megaflow_releases_what_other_packets_of_it_wait_for() {
    let b = Bench::manual();
    let (_, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    for seq in 0..60 {
        b.receive("p1", &udp(seq % 3, seq));
    }
    b.run();
    let upcalls = b.upcalls();
    assert_eq!(upcalls.len(), 3);
    // Only the first is answered, with a flow that covers all three.
    let actions = Arc::new(vec![Action::Output(p2)]);
    let mut ops = [
        Op::FlowPut(put(&upcalls[0].key, &port_mask(), &actions, upcalls[0].pmd)),
        Op::Resume(Resume {
            token: upcalls[0].park.unwrap(),
            actions: Arc::clone(&actions),
            result: Err(DpifError::Again),
        }),
    ];
    b.dpif.operate(&mut ops);
    let [Op::FlowPut(p), Op::Resume(r)] = &ops else {
        unreachable!()
    };
    assert!(p.result.is_ok());
    assert_eq!(r.result.as_ref().unwrap().n_packets, 20);
    let sent = b.sent("p2");
    assert_eq!(sent.len(), 60);
    for flow in 0..3 {
        let of_flow: Vec<u32> = (sent.iter().map(|f| seq_of(f)))
            .filter(|s| s % 3 == flow)
            .collect();
        assert!(of_flow.is_sorted() && of_flow.len() == 20);
    }
    // The others' tokens are spent, and their packets count in the flow.
    let mut late = [Op::Resume(Resume {
        token: upcalls[1].park.unwrap(),
        actions,
        result: Err(DpifError::Again),
    })];
    b.dpif.operate(&mut late);
    let [Op::Resume(r)] = &late else {
        unreachable!()
    };
    assert_eq!(r.result, Err(DpifError::NoEntry));
    assert_eq!(counts(&b.flows()[0].stats), (40, 2400));
    b.balanced();
}

#[test]
fn what_cannot_be_parked_or_sent_up_is_counted() {
    let b = Bench::manual();
    let p1 = b.add("p1", "mem");
    for seq in 0..300 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    let account = b.dp.ledger()[&p1].clone();
    assert_eq!(account.parked, 256);
    assert_eq!(account.drops[&DropReason::ParkFull], 44);
    b.clock.advance(1999);
    b.run();
    assert_eq!(b.dp.ledger()[&p1].parked, 256);
    b.clock.advance(2);
    b.run();
    assert_eq!(b.dp.ledger()[&p1].drops[&DropReason::ParkTimeout], 256);
    b.receive("p1", &udp(1, 0));
    b.run();
    b.dpif.recv_purge();
    assert_eq!(b.dp.ledger()[&p1].drops[&DropReason::Purged], 1);
    b.dpif.recv_set(false);
    b.receive("p1", &udp(1, 0));
    b.receive("p1", &[0; 13]);
    b.run();
    let account = b.dp.ledger()[&p1].clone();
    assert_eq!(account.drops[&DropReason::UpcallDisabled], 1);
    assert_eq!(account.drops[&DropReason::Malformed], 1);
    b.balanced();
    let dropped: u64 = b.dpif.drops().iter().map(|d| d.2).sum();
    assert_eq!(dropped, account.dropped());
}

#[test]
fn a_flood_of_new_flows_is_bounded_and_spares_other_ports() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    for flow in 0..20_000 {
        b.receive("p1", &udp(flow, flow));
    }
    b.run();
    b.receive("p2", &udp(1, 1));
    b.run();
    let ups = b.upcalls();
    let position = ups.iter().position(|u| u.key.in_port.get() == p2.0);
    assert!(position.unwrap() < 3, "the other port has its turn at once");
    assert!(ups.len() < 5000);
    b.balanced();
    let account = &b.dp.ledger()[&p1];
    assert!(account.parked <= 1024);
    assert_eq!(
        account.drops[&DropReason::UpcallQueueFull] + account.parked,
        20_000
    );
    b.dpif.port_del(p1).unwrap();
    let account = &b.dp.ledger()[&p1];
    assert_eq!(account.parked, 0);
    assert!(account.drops[&DropReason::PortRemoved] > 0);
    b.balanced();
}

#[test]
fn puts_have_the_peers_errors() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    let ufid = install(&*b.dpif, p1, vec![Action::Output(p2)]);
    let (m, main) = (port_mask(), Some(PmdId::NON_PMD));
    let neither = dpif::PutFlags::default();
    let put = |flags, ufid, pmd| b.try_put(flags, ufid, pmd, &m);
    assert_eq!(put(CREATE, Some(ufid), main), Err(DpifError::Exists));
    assert_eq!(put(CREATE, Some(Ufid(99)), main), Err(DpifError::Exists));
    assert_eq!(put(neither, Some(ufid), main), Err(DpifError::Invalid));
    assert_eq!(put(CREATE, None, Some(PmdId(5))), Err(DpifError::Invalid));
    let inexact = b.try_put(CREATE, None, main, &flow::Mask::empty());
    assert_eq!(inexact, Err(DpifError::Invalid));
    b.del(ufid).unwrap();
    assert_eq!(put(MODIFY, Some(ufid), main), Err(DpifError::NoEntry));
    let probe = dpif::PutFlags {
        probe: true,
        ..CREATE
    };
    assert_eq!(put(probe, Some(ufid), main), Ok((0, 0)));
    assert!(b.flows().is_empty());
}

#[test]
fn counters_survive_new_actions_unless_told_not_to() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    let ufid = install(&*b.dpif, p1, vec![Action::Output(p2)]);
    let main = Some(PmdId::NON_PMD);
    b.receive("p1", &udp(1, 1));
    b.run();
    assert_eq!(b.sent("p2").len(), 1);
    let put = |flags, pmd| b.try_put(flags, Some(ufid), pmd, &port_mask());
    assert_eq!(put(MODIFY, None), Ok((1, 60)));
    b.receive("p1", &udp(1, 1));
    b.run();
    assert_eq!((b.sent("p1").len(), b.sent("p2").len()), (1, 0));
    let info = b.get(ufid).unwrap();
    assert_eq!(counts(&info.stats), (2, 120));
    assert_eq!(*info.actions, [Action::Output(p1)]);
    assert_eq!(info.stats.used, Some(b.clock.now()));
    assert_eq!(info.key.in_port.get(), p1.0);
    let zero = dpif::PutFlags {
        zero_stats: true,
        ..MODIFY
    };
    assert_eq!(put(zero, main), Ok((2, 120)));
    assert_eq!(counts(&b.get(ufid).unwrap().stats), (0, 0));
    assert_eq!(b.del(ufid), Ok((0, 0)));
    assert_eq!(b.del(ufid), Err(DpifError::NoEntry));
    assert!(b.get(ufid).is_err());
}

#[test]
fn ports_have_the_numbers_their_names_say_and_changes_are_heard() {
    let b = Bench::manual();
    assert_eq!(b.dpif.port_by_number(OdpPort(0)).unwrap().name, "ovs-dummy");
    assert_eq!(b.add("p7", "mem"), OdpPort(7));
    assert_eq!(b.add("br0", "mem"), OdpPort(100));
    assert_eq!(b.add("x7", "mem"), OdpPort(1));
    assert_eq!(b.add("eth", "mem"), OdpPort(2));
    let spec = |name: &str, class: &str, number| PortSpec {
        name: name.to_owned(),
        class: class.to_owned(),
        number,
    };
    let add = |s: &PortSpec| b.dpif.port_add(s);
    assert_eq!(
        add(&spec("y", "mem", Some(OdpPort(7)))),
        Err(DpifError::Busy)
    );
    assert_eq!(add(&spec("p7", "mem", None)), Err(DpifError::Exists));
    assert_eq!(
        add(&spec("y", "mem", Some(OdpPort(70_000)))),
        Err(DpifError::TooBig)
    );
    assert!(matches!(
        add(&spec("y", "missing", None)),
        Err(DpifError::Netdev(_))
    ));
    let heard: Vec<_> = std::iter::from_fn(|| b.dpif.port_poll()).collect();
    let names = ["p7", "br0", "x7", "eth"].map(|n| PortChange::Port(n.to_owned()));
    assert_eq!(heard, names);
    b.dpif.port_del(OdpPort(7)).unwrap();
    assert_eq!(b.dpif.port_del(OdpPort(7)), Err(DpifError::NoDevice));
    assert_eq!(b.dpif.port_del(OdpPort(0)), Err(DpifError::Invalid));
    assert_eq!(b.dpif.port_poll(), Some(PortChange::Port("p7".to_owned())));
    for _ in 0..600 {
        b.add("q", "mem");
        b.dpif
            .port_del(b.dpif.port_by_name("q").unwrap().number)
            .unwrap();
    }
    assert_eq!(b.dpif.port_poll(), Some(PortChange::All));
    assert_eq!(b.dpif.port_poll(), None);
    assert_eq!(b.dpif.ports().len(), 4);
    b.dpif.destroy().unwrap();
    assert_eq!(b.dpif.destroy(), Err(DpifError::NoDevice));
    assert_eq!(b.dpif.ports().len(), 0);
}

#[test]
fn refusals_of_devices_are_booked_where_the_packet_came_in() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    install(
        &*b.dpif,
        p1,
        vec![Action::Output(p2), Action::Output(OdpPort(77))],
    );
    b.mem("p2").full.store(true, Ordering::SeqCst);
    for seq in 0..50 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    let account = b.dp.ledger()[&p1].clone();
    assert_eq!(account.created, 50);
    assert_eq!(account.drops[&DropReason::TxQueueFull], 50);
    assert_eq!(account.drops[&DropReason::NoSuchPort], 50);
    b.balanced();
}

#[test]
fn a_panic_costs_its_batch_and_nothing_else() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    let p3 = b.add("p3", "mem");
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    install(&*b.dpif, p2, vec![Action::Output(p3)]);
    b.mem("p2").poisoned.store(true, Ordering::SeqCst);
    for seq in 0..40 {
        b.receive("p1", &udp(1, seq));
        b.receive("p2", &udp(1, seq));
    }
    b.run();
    b.balanced();
    assert_eq!(b.dp.ledger()[&p1].drops[&DropReason::Panic], 40);
    assert_eq!(b.sent("p3").len(), 40);
    b.mem("p2").poisoned.store(false, Ordering::SeqCst);
    b.receive("p1", &udp(1, 9));
    b.run();
    assert_eq!(b.sent("p2").len(), 1);
    b.balanced();
}

#[test]
fn recirculation_is_bounded_and_second_passes_have_flows_of_their_own() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    install(&*b.dpif, p1, vec![Action::Recirc(5)]);
    b.receive("p1", &udp(1, 1));
    b.receive("p1", &udp(1, 2));
    b.run();
    let ups = b.upcalls();
    assert_eq!(ups.len(), 1);
    assert_eq!(ups[0].key.recirc_id.get(), 5);
    assert!(matches!(ups[0].kind, UpcallKind::Miss));
    let actions = Arc::new(vec![Action::Output(p2)]);
    let mut ops = [
        Op::FlowPut(put(&ups[0].key, &port_mask(), &actions, ups[0].pmd)),
        Op::Resume(Resume {
            token: ups[0].park.unwrap(),
            actions,
            result: Err(DpifError::Again),
        }),
    ];
    b.dpif.operate(&mut ops);
    b.receive("p1", &udp(1, 3));
    b.run();
    let sent: Vec<u32> = b.sent("p2").iter().map(|f| seq_of(f)).collect();
    assert_eq!(sent, [1, 2, 3]);
    // A second pass that goes round for ever ends after eight.
    let mut redo = [Op::FlowPut(dpif::FlowPut {
        flags: MODIFY,
        ..put(
            &ups[0].key,
            &port_mask(),
            &Arc::new(vec![Action::Recirc(5)]),
            ups[0].pmd,
        )
    })];
    b.dpif.operate(&mut redo);
    b.receive("p1", &udp(1, 4));
    b.run();
    assert_eq!(b.dp.ledger()[&p1].drops[&DropReason::RecircDepth], 1);
    b.balanced();
}

#[test]
fn a_device_that_goes_and_returns_is_taken_up_again() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem-pmd"), b.add("p2", "mem"));
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    let mem = b.mem("p1");
    mem.gone.store(true, Ordering::SeqCst);
    b.receive("p1", &udp(1, 1));
    b.run();
    assert!(b.sent("p2").is_empty() && !b.dpif.run());
    mem.wants.store(2, Ordering::SeqCst);
    assert!(b.dpif.run(), "tried");
    install_fails_softly(&b);
    mem.gone.store(false, Ordering::SeqCst);
    mem.wants.store(1, Ordering::SeqCst);
    assert!(b.dpif.run() && !b.dpif.run());
    b.run();
    assert_eq!(b.sent("p2").len(), 1);
    assert_eq!(mem.reconfigured.load(Ordering::SeqCst), 2);
    b.balanced();
}

/// While a device is closed, sending to it is an error and nothing worse.
fn install_fails_softly(b: &Bench) {
    let p2 = b.dpif.port_by_name("p2").unwrap().number;
    install(&*b.dpif, p2, vec![Action::Output(OdpPort(1))]);
    b.receive("p2", &udp(1, 1));
    b.run();
    assert_eq!(b.dp.ledger()[&p2].drops[&DropReason::TxError], 1);
}

#[test]
fn packet_threads_come_and_go_with_polled_ports() {
    let b = Bench::manual();
    let set = |pairs: &[(&str, &str)]| {
        let config = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
        b.dpif.set_config(&config.collect()).unwrap();
    };
    assert!(!datapath::show::pmd_rxq(&b.dp, None, 0).contains("pmd thread"));
    let p = b.add("p1q4", "mem-pmd");
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(datapath::show::pmd_rxq(&b.dp, None, 0))[..5],
        [
            "Displaying last 60 seconds pmd usage %",
            "pmd thread numa_id 0 core_id 0:",
            "  isolated : false",
            "  port: p1q4              queue-id:  0 (enabled)   pmd usage: NOT AVAIL",
            "  port: p1q4              queue-id:  1 (enabled)   pmd usage: NOT AVAIL",
        ]
    );
    set(&[("pmd-cpu-mask", "3")]);
    let text = datapath::show::pmd_rxq(&b.dp, Some(1), 7);
    assert!(text.starts_with("Displaying last 10 seconds"));
    assert_eq!(text.matches("queue-id").count(), 2);
    let affinity = [("pmd-rxq-affinity".to_owned(), "3:0".to_owned())];
    b.dpif
        .port_set_config(p, &affinity.into_iter().collect())
        .unwrap();
    let text = datapath::show::pmd_rxq(&b.dp, Some(0), 0);
    assert!(text.contains("isolated : true") && text.matches("queue-id").count() == 1);
    // Every queue is polled by somebody, whichever way they were moved.
    for q in 0..4 {
        lock(&b.mem("p1q4").rx[q]).push_back(udp(1, q as u32));
    }
    b.run();
    assert_eq!(b.dp.ledger()[&p].received, 4);
    let text = datapath::show::pmd_stats(&b.dp, None);
    assert!(text.contains("pmd thread numa_id 0 core_id 1:\n  packets received: 3\n"));
    assert!(text.ends_with('\n') && text.contains("main thread:\n"));
    b.dpif.port_del(p).unwrap();
    assert!(!datapath::show::pmd_rxq(&b.dp, None, 0).contains("pmd thread"));
    b.balanced();
    assert_eq!(b.dp.ledger_total().received, 4);
    assert_eq!(b.dpif.stats().n_missed, 4);
}

#[test]
fn packets_that_wait_in_a_removed_port_are_counted() {
    let b = Bench::manual();
    let p1 = b.add("p1", "mem");
    for seq in 0..5 {
        b.receive("p1", &udp(1, seq));
    }
    b.dpif.port_del(p1).unwrap();
    let account = &b.dp.ledger()[&p1];
    assert_eq!(account.received, 5);
    assert_eq!(account.drops[&DropReason::PortRemoved], 5);
    b.balanced();
}

#[test]
fn policed_packets_are_drops_of_their_own() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    install(&*b.dpif, p1, vec![Action::Output(p2)]);
    b.mem("p1").rx_policed.store(3, Ordering::SeqCst);
    b.mem("p2").tx_policed.store(4, Ordering::SeqCst);
    for seq in 0..32 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    b.balanced();
    let account = &b.dp.ledger()[&p1];
    assert_eq!((account.received, account.forwarded), (32, 25));
    assert_eq!(account.drops[&DropReason::Policing], 3);
    assert_eq!(account.drops[&DropReason::EgressPolicing], 4);
    assert_eq!(b.sent("p2").len(), 25);
    // A burst of which nothing is left.
    for seq in 0..2 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    b.balanced();
    assert_eq!(b.dp.ledger()[&p1].drops[&DropReason::Policing], 5);
}
