//! States, zones, marks, limits, expiry.

use super::*;

const A: [u8; 4] = [10, 1, 1, 1];
const B: [u8; 4] = [10, 1, 1, 2];
const ENDS: Ends = (A, 1, B, 2);

#[test]
fn udp_is_established_by_an_answer() {
    let net = Net::new();
    assert_eq!(net.state(&track(0), &udp(ENDS)), "new|trk");
    assert_eq!(net.dump().len(), 0, "nothing was committed");
    assert_eq!(net.state(&commit(0), &udp(ENDS)), "new|trk");
    assert_eq!(net.state(&track(0), &udp(ENDS)), "new|trk");
    assert_eq!(
        net.state(&track(1), &udp(turned(ENDS))),
        "new|trk",
        "another zone"
    );
    let (meta, _) = net.send(&track(0), &udp(turned(ENDS)), None);
    assert_eq!(names(meta.state), "est|rpl|trk");
    let flow::CtTuple::V4 {
        src,
        tp_src,
        tp_dst,
        proto,
        ..
    } = meta.tuple
    else {
        panic!("the original direction is shown");
    };
    assert_eq!((src.0, tp_src, tp_dst, proto), (A, 1, 2, 17));
    assert_eq!(net.state(&track(0), &udp(ENDS)), "est|trk");
    assert_eq!(
        net.dump(),
        [
            "udp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=1,dport=2),reply=(src=10.1.1.2,dst=10.1.1.1,sport=2,dport=1)"
        ]
    );
}

#[test]
fn icmp_by_its_identifier() {
    let net = Net::new();
    assert_eq!(
        net.state(&commit(3), &ping(A, B, 0, 5)),
        "inv|trk",
        "no answer without request"
    );
    assert_eq!(net.state(&commit(3), &ping(A, B, 8, 5)), "new|trk");
    assert_eq!(
        net.state(&track(3), &ping(B, A, 0, 6)),
        "inv|trk",
        "another one"
    );
    assert_eq!(net.state(&track(3), &ping(B, A, 0, 5)), "est|rpl|trk");
    assert_eq!(
        net.dump(),
        [
            "icmp,orig=(src=10.1.1.1,dst=10.1.1.2,id=5,type=8,code=0),reply=(src=10.1.1.2,dst=10.1.1.1,id=5,type=0,code=0),zone=3"
        ]
    );
}

#[test]
fn errors_are_related() {
    let net = Net::new();
    let packet = udp(ENDS);
    let error = unreachable([10, 9, 9, 9], &packet, 28);
    assert_eq!(
        net.state(&track(0), &error),
        "inv|trk",
        "about nothing known"
    );
    net.state(&commit(0), &packet);
    assert_eq!(net.state(&track(0), &error), "rel|rpl|trk");
    let mut other = unreachable(B, &packet, 28);
    other[33] ^= 1; // for somebody who did not send it
    other[24..26].fill(0);
    let sum = wire::checksum::checksum(&other[14..34]);
    other[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(net.state(&track(0), &other), "inv|trk");
}

#[test]
fn marks_and_labels() {
    let net = Net::new();
    let action = CtAction {
        mark: Some((0x10, 0xf0)),
        label: Some((1 << 100, 1 << 100)),
        ..commit(1)
    };
    let (meta, _) = net.send(&action, &udp(ENDS), None);
    assert_eq!((meta.mark, meta.label), (0x10, 1 << 100));
    let action = CtAction {
        mark: Some((0x3, 0xf)),
        ..track(1)
    };
    let (meta, _) = net.send(&action, &udp(turned(ENDS)), None);
    assert_eq!((meta.mark, meta.label), (0x13, 1 << 100));
    assert!(net.dump()[0].ends_with(",zone=1,mark=19,labels=0x10000000000000000000000000"));
    let (meta, _) = net.send(&action, &udp((A, 9, B, 9)), None);
    assert_eq!(meta.mark, 0, "without a connection there is no mark");
}

#[test]
fn force_turns_a_connection_around() {
    let net = Net::new();
    net.state(&commit(0), &udp(ENDS));
    let force = CtAction {
        force: true,
        ..commit(0)
    };
    assert_eq!(
        net.state(&force, &udp(ENDS)),
        "new|trk",
        "the right direction stays"
    );
    assert_eq!(net.state(&force, &udp(turned(ENDS))), "new|trk");
    assert_eq!(net.entries()[0].orig.src, std::net::IpAddr::from(B));
    assert_eq!((net.entries().len(), net.control.conns()), (1, 1));
}

#[test]
fn connections_expire_for_packets_at_once_and_for_memory_soon() {
    let net = Net::new();
    net.state(&commit(0), &udp(ENDS));
    net.state(&track(0), &udp(turned(ENDS)));
    assert_eq!(net.entries()[0].timeout, 30);
    net.clock.advance(29_999);
    assert_eq!(net.entries()[0].timeout, 0);
    net.ct.sweep(net.clock.now());
    assert_eq!(net.control.conns(), 1);
    net.clock.advance(1);
    assert_eq!(net.state(&track(0), &udp(turned(ENDS))), "new|trk");
    assert_eq!(net.entries().len(), 0);
    net.clock.advance(1000);
    net.ct.sweep(net.clock.now());
    assert_eq!(net.control.conns(), 0);
}

#[test]
fn a_long_wait_is_looked_at_now_and_then() {
    let net = Net::new();
    let syn = segment(ENDS, 2, (100, 0), 0);
    net.state(&commit(0), &syn);
    net.state(&track(0), &segment(turned(ENDS), 0x12, (500, 101), 0));
    net.state(&track(0), &segment(ENDS, 0x10, (101, 501), 0));
    assert_eq!(net.entries()[0].timeout, 86_400);
    for _ in 0..863 {
        net.clock.advance(100_000);
        net.ct.sweep(net.clock.now());
        assert_eq!(net.control.conns(), 1);
    }
    net.clock.advance(101_000);
    net.ct.sweep(net.clock.now());
    assert_eq!(net.control.conns(), 0);
    // A jump of the clock, and one that begins before it.
    net.state(&commit(0), &udp(ENDS));
    net.clock.advance(1_000_000_000);
    net.state(&commit(0), &udp((A, 7, B, 7)));
    net.ct.sweep(net.clock.now());
    assert_eq!(net.control.conns(), 1);
}

#[test]
fn limits_are_kept() {
    let net = Net::new();
    net.control.set_max_conns(2);
    for port in 1..=3 {
        assert_eq!(net.state(&commit(0), &udp((A, port, B, 2))), "new|trk");
    }
    assert_eq!((net.entries().len(), net.control.conns()), (2, 2));
    net.control.set_max_conns(100);
    net.control.set_limit(None, 1);
    net.control.set_limit(Some(5), 2);
    for zone in [4, 5, 6] {
        for port in 1..=3 {
            net.state(&commit(zone), &udp((A, port, B, 2)));
        }
    }
    let of = |zone| net.control.limit(zone).count;
    assert_eq!(
        (of(4), of(5), of(6)),
        (1, 2, 1),
        "4 and 6 share the default"
    );
    assert_eq!(net.control.limits().len(), 1);
    net.control.flush(Some(5));
    assert_eq!((of(5), net.control.conns()), (0, 3));
    net.control.del_limit(5);
    net.control.flush(None);
    assert_eq!((net.control.conns(), of(4)), (0, 0));
}

#[test]
fn policies_say_how_long() {
    let net = Net::new();
    let mut timers = dpif::conntrack::Timers::default();
    assert!(timers.set_named("udp_first", 5) && !timers.set_named("udp_last", 5));
    net.control.set_timeouts(3, timers);
    let action = CtAction {
        timeout: Some("3".into()),
        ..commit(0)
    };
    net.state(&action, &udp(ENDS));
    assert_eq!(net.entries()[0].timeout, 5);
    net.state(&track(0), &udp(ENDS));
    assert_eq!(
        net.entries()[0].timeout,
        60,
        "what a policy leaves out is the default"
    );
    assert!(net.control.del_timeouts(3).is_ok() && net.control.del_timeouts(3).is_err());
}

#[test]
fn tuples_are_flushed_by_either_direction() {
    let net = Net::new();
    net.state(&commit(2), &udp(ENDS));
    let orig = net.entries()[0].orig;
    assert!(net.control.flush_tuple(&orig, 1).is_err());
    let reply = net.entries()[0].reply;
    assert!(net.control.flush_tuple(&reply, 2).is_ok());
    assert_eq!(net.control.conns(), 0);
}

#[test]
fn a_batch_is_taken_in_order() {
    let net = Net::new();
    let (there, again) = (udp(ENDS), udp(turned(ENDS)));
    let other = udp((A, 3, B, 4));
    let mut pkts = pkts_of(&[&there, &other, &again, &there, &other]);
    let step = CtStep::new(&commit(0));
    net.run(&step, &mut pkts);
    let states: Vec<_> = (0..5)
        .map(|i| names(pkts.side_mut(i).ct.unwrap().state))
        .collect();
    assert_eq!(
        states,
        ["new|trk", "new|trk", "est|rpl|trk", "est|trk", "new|trk"]
    );
    assert_eq!(net.control.conns(), 2);
}
