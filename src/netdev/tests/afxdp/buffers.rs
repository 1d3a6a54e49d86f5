//! Packets of several buffers, memory that ports share, busy polling.

use super::kit::{self, Namespace, Wire, sh, tcp, until, veth};
use super::{NO_SUPER_PACKETS, broadcast, marked, opened, receive, reconfigured};
use netdev::{Provider, RxQueue, afxdp::AfxdpProvider};
use packet::{BATCH_MAX, Batch};

/// Packets of 9,000 bytes, which no chunk holds: several descriptors each, in and out.
fn jumbo_frames(mode: &str) {
    let (here, p, q) = (Namespace::new(), Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    veth("vb", &q, "192.0.2.2/24");
    if mode == "generic" {
        p.run(NO_SUPER_PACKETS);
        q.run(NO_SUPER_PACKETS);
    }
    let (a, b) = (
        opened("va", &[("xdp-mode", mode)]),
        opened("vb", &[("xdp-mode", mode)]),
    );
    assert_eq!(a.status()["multi-buffer"], "false");
    for device in [&a, &b] {
        device
            .set_mtu(9000)
            .expect("an MTU that several buffers hold");
        assert!(device.needs_reconfigure());
        reconfigured(device);
        assert_eq!(device.status()["multi-buffer"], "true");
        assert_eq!(device.status()["xdp-mode"], mode);
    }
    p.run("ip link set eth0 mtu 9000");
    q.run("ip link set eth0 mtu 9000");
    let wire = Wire::between(&a, &b);
    for size in [8972, 8900, 3900, 56, 14] {
        p.run(&format!("ping -c 2 -i 0.05 -W 2 -M do -s {size} 192.0.2.2"));
        q.run(&format!("ping -c 2 -i 0.05 -W 2 -M do -s {size} 192.0.2.1"));
    }
    tcp(&p, &q, "192.0.2.2", 8_000_000);
    tcp(&q, &p, "192.0.2.1", 8_000_000);
    let sums = wire.stop();
    // 8 MB in segments of 8,948 bytes.
    assert!(sums[0].received > 890 && sums[0].dropped == 0, "{sums:?}");
    assert!(sums[0].received < 8_000_000 / 1448, "{sums:?}");
    let stats = a.stats();
    assert!(
        stats.custom.contains(&("rx_malformed".into(), 0)),
        "{stats:?}"
    );
}

#[test]
fn native_mode_carries_jumbo_frames_in_several_buffers() {
    jumbo_frames("native");
}

#[test]
fn generic_mode_carries_jumbo_frames_in_several_buffers() {
    jumbo_frames("generic");
}

#[test]
fn large_packets_use_up_tx_frames_and_come_back() {
    let here = Namespace::new();
    here.enter();
    sh(
        "ip link add va mtu 9000 type veth peer name vb mtu 9000; ip link set va up; ip link set vb up",
    );
    let (a, b) = (opened("va", &[]), opened("vb", &[]));
    let (mut tx, mut rx) = (a.tx_open(0).unwrap(), b.rx_open(0).unwrap());
    // More than the tx frames and the rx frames hold at a time, several times over; nothing is kicked before
    // all that fits is in the ring.
    for round in 0..20u8 {
        let mut sent = 0;
        loop {
            let mut batch = Batch::new();
            (0..8).for_each(|_| drop(batch.push(broadcast(9014, round))));
            let report = tx.send(&mut batch);
            assert_eq!(report.sent + report.full, 8);
            sent += report.sent;
            let mut batch = Batch::new();
            rx.recv(&mut batch).unwrap();
            for frame in batch.iter().filter(|f| marked(f, round)) {
                assert_eq!(frame.len(), 9014);
                assert!(frame.data()[14..].iter().all(|&b| b == round));
            }
            if sent > 600 {
                break;
            }
        }
        tx.flush();
        until("all came", || {
            let mut batch = Batch::new();
            rx.recv(&mut batch).unwrap() == 0
        });
    }
}

const SHARED: (&str, &str) = ("shared-umem", "true");

/// Two veth pairs, `oa`-`va` and `vb`-`ob`; the outer ends are for packets to come from and to arrive at.
fn two_pairs() {
    sh("ip link add va type veth peer name oa; ip link add vb type veth peer name ob");
    sh("for i in va oa vb ob; do ip link set $i up; done");
}

/// Sends `n` broadcasts of `len` bytes marked `mark`, one batch.
fn batch_of(n: usize, len: usize, mark: u8) -> Batch {
    let mut batch = Batch::new();
    (0..n).for_each(|_| drop(batch.push(broadcast(len, mark))));
    batch
}

/// What a port received goes out by another from where it lies, and comes back to the first.
fn forwarded_in_place(options: &[(&str, &str)], shared: &str) {
    let here = Namespace::new();
    here.enter();
    two_pairs();
    let [outer, a, b, sink] = ["oa", "va", "vb", "ob"].map(|n| opened(n, options));
    for device in [&outer, &a, &b, &sink] {
        assert_eq!(device.status()["shared-umem"], shared);
    }
    let (mut outer, mut rx) = (
        outer.tx_open(0).expect("a tx queue"),
        a.rx_open(0).expect("an rx queue"),
    );
    let (mut tx, mut sink) = (
        b.tx_open(0).expect("a tx queue"),
        sink.rx_open(0).expect("an rx queue"),
    );
    // Several times what there is of frames.
    for round in 0..600u32 {
        let mark = (round % 250) as u8;
        let len = [1514, 60, 600][round as usize % 3];
        assert_eq!(outer.send(&mut batch_of(BATCH_MAX, len, mark)).sent, 32);
        outer.flush();
        let mut batch = Batch::new();
        for frame in receive(&mut *rx, BATCH_MAX, mark) {
            batch.push(frame).expect("room for as many as were sent");
        }
        let report = tx.send(&mut batch);
        assert_eq!(
            (report.sent, report.bytes, batch.len()),
            (32, 32 * len as u64, 0)
        );
        tx.flush();
        for frame in receive(&mut *sink, BATCH_MAX, mark) {
            assert_eq!(frame.len(), len);
            assert!(frame.data()[14..].iter().all(|&b| b == mark));
        }
    }
}

#[test]
fn ports_of_one_memory_forward_in_place() {
    forwarded_in_place(&[SHARED], "true");
}

#[test]
fn ports_that_share_no_memory_copy() {
    forwarded_in_place(&[], "false");
}

#[test]
fn a_fifth_port_is_refused_shared_memory_until_there_is_room() {
    let here = Namespace::new();
    here.enter();
    two_pairs();
    sh("ip link add vc type veth peer name oc; ip link set vc up");
    let four = ["oa", "va", "vb", "ob"].map(|n| opened(n, &[SHARED]));
    let fifth = AfxdpProvider.open("vc").unwrap();
    fifth
        .set_config(&[("shared-umem".into(), "true".into())].into())
        .unwrap();
    assert_eq!(fifth.reconfigure().unwrap_err().errno(), libc::ENOSPC);
    fifth.set_config(&netdev::Config::new()).unwrap();
    reconfigured(&fifth);
    assert_eq!(fifth.status()["shared-umem"], "false");
    // A place that is free again is taken.
    let [one, ..] = four;
    drop(one);
    fifth
        .set_config(&[("shared-umem".into(), "true".into())].into())
        .unwrap();
    reconfigured(&fifth);
    assert_eq!(fifth.status()["shared-umem"], "true");
    fifth
        .set_config(
            &[
                ("shared-umem".into(), "true".into()),
                ("multi-buffer".into(), "true".into()),
            ]
            .into(),
        )
        .unwrap();
    assert_eq!(fifth.reconfigure().unwrap_err().errno(), libc::EOPNOTSUPP);
}

#[test]
fn frames_in_a_ring_that_goes_return_to_their_port_and_those_of_a_port_that_goes_are_sent() {
    let here = Namespace::new();
    here.enter();
    two_pairs();
    let [outer, a, b, sink] = ["oa", "va", "vb", "ob"].map(|n| opened(n, &[SHARED]));
    let mut outer = outer.tx_open(0).unwrap();
    let mut sink = sink.rx_open(0).unwrap();
    let mut rx = a.rx_open(0).unwrap();
    // Fills b's ring with what a received, never kicked; then b goes.
    let mut borrow = |tx: &mut dyn netdev::TxQueue, rx: &mut dyn RxQueue, mark: u8| {
        for _ in 0..20 {
            outer.send(&mut batch_of(BATCH_MAX, 1000, mark));
            outer.flush();
            let mut batch = Batch::new();
            for frame in receive(rx, BATCH_MAX, mark) {
                batch.push(frame).unwrap();
            }
            assert_eq!(tx.send(&mut batch).sent, 32);
        }
    };
    for round in 0..12 {
        let mut tx = b.tx_open(0).unwrap();
        borrow(&mut *tx, &mut *rx, round);
        drop(tx);
        reconfigured(&b);
    }
    // Now a goes, and b still sends what it has of it.
    let mut tx = b.tx_open(0).unwrap();
    borrow(&mut *tx, &mut *rx, 99);
    drop((rx, a));
    tx.flush();
    for frame in receive(&mut *sink, 20 * BATCH_MAX, 99) {
        assert!(frame.len() == 1000 && frame.data()[14..].iter().all(|&b| b == 99));
    }
}

#[test]
fn busy_polling_carries_packets_and_still_sleeps() {
    let here = Namespace::new();
    here.enter();
    sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
    let a = opened("va", &[]);
    let b = opened("vb", &[("busy-poll", "true"), ("tx-budget", "64")]);
    assert_eq!(
        (&*a.status()["busy-poll"], &*b.status()["busy-poll"]),
        ("false", "true")
    );
    assert_eq!(b.get_config()["busy-poll"], "true");
    let (mut rx, mut tx) = (b.rx_open(0).unwrap(), a.tx_open(0).unwrap());
    for i in 0..20u8 {
        for _ in 0..10 {
            let mut batch = Batch::new();
            (0..BATCH_MAX).for_each(|_| drop(batch.push(broadcast(64, i))));
            assert_eq!(tx.send(&mut batch).sent, 32);
            tx.flush();
            receive(&mut *rx, 32, i);
        }
        until("nothing waits", || {
            rx.drain();
            rx.prepare_sleep()
        });
        let mut batch = Batch::new();
        batch.push(broadcast(64, i)).unwrap();
        let delayed = base::sync::spawn("sender", move || {
            tx.send(&mut batch);
            tx.flush();
            tx
        });
        assert!(kit::sleep_on(rx.fd().unwrap()));
        receive(&mut *rx, 1, i);
        tx = delayed.unwrap().join().unwrap();
    }
}
