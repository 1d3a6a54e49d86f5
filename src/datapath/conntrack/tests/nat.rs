//! Translations: there, back, in errors, with partial checksums; and when nothing is left.

use super::*;
use packet::RxFlags;

const A: [u8; 4] = [10, 1, 1, 1];
const B: [u8; 4] = [10, 1, 1, 2];
const N: [u8; 4] = [10, 1, 1, 240];
const ENDS: Ends = (A, 1000, B, 80);

fn ends(p: &[u8]) -> Ends {
    let four = |i: usize| [p[i], p[i + 1], p[i + 2], p[i + 3]];
    let two = |i: usize| u16::from_be_bytes([p[i], p[i + 1]]);
    (four(26), two(34), four(30), two(36))
}

fn right(p: &[u8]) {
    assert_eq!(wire::checksum::checksum(&p[14..34]), 0, "of the IP header");
    assert_eq!(l4_sum(p), 0, "of layer 4");
}

#[test]
fn source_there_and_back() {
    let net = Net::new();
    let snat = natted(true, N, N, None);
    let (meta, p) = net.send(&snat, &udp(ENDS), None);
    assert_eq!(names(meta.state), "new|trk|snat");
    assert_eq!(ends(&p), (N, 1000, B, 80));
    right(&p);
    let (meta, p) = net.send(&back(1), &udp((B, 80, N, 1000)), None);
    assert_eq!(names(meta.state), "est|rpl|trk|dnat");
    assert_eq!(ends(&p), (B, 80, A, 1000));
    right(&p);
    let (meta, p) = net.send(&back(1), &udp(ENDS), None);
    assert_eq!(
        (names(meta.state).as_str(), ends(&p)),
        ("est|trk|snat", (N, 1000, B, 80))
    );
    // Through the same zone again: it is known, and not translated twice.
    let (again, q) = net.send(&back(1), &p, Some(meta));
    assert_eq!((again.state, &q), (meta.state, &p));
    assert_eq!(
        net.state(&back(1), &udp((B, 80, A, 1000))),
        "new|trk",
        "not what answers look like"
    );
    assert_eq!(
        net.dump(),
        [
            "udp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=1000,dport=80),reply=(src=10.1.1.2,dst=10.1.1.240,sport=80,dport=1000),zone=1"
        ]
    );
}

#[test]
fn destination_with_ports() {
    let net = Net::new();
    let dnat = natted(false, N, N, Some((8080, 8080)));
    let syn = segment(ENDS, 2, (1, 0), 0);
    let (meta, p) = net.send(&dnat, &syn, None);
    assert_eq!(
        (names(meta.state).as_str(), ends(&p)),
        ("new|trk|dnat", (A, 1000, N, 8080))
    );
    right(&p);
    let answer = segment((N, 8080, A, 1000), 0x12, (9, 2), 0);
    let (meta, p) = net.send(&back(1), &answer, None);
    assert_eq!(
        (names(meta.state).as_str(), ends(&p)),
        ("est|rpl|trk|snat", (B, 80, A, 1000))
    );
    right(&p);
}

#[test]
fn errors_are_translated_inside_and_out() {
    let net = Net::new();
    let (_, sent) = net.send(&natted(true, N, N, Some((5000, 5000))), &udp(ENDS), None);
    let error = unreachable([10, 9, 9, 9], &sent, 60);
    let (meta, p) = net.send(&back(1), &error, None);
    assert_eq!(names(meta.state), "rel|rpl|trk|dnat");
    assert_eq!(
        p[26..34],
        [10, 9, 9, 9, 10, 1, 1, 1],
        "from the router, to the client"
    );
    let inner = [&p[..14], &p[42..]].concat();
    assert_eq!(ends(&inner), ENDS);
    right(&inner);
    assert_eq!(wire::checksum::checksum(&p[34..]), 0);
    // Quoted as short as allowed.
    let (_, p) = net.send(&back(1), &unreachable(B, &sent, 28), None);
    assert_eq!(ends(&[&p[..14], &p[42..]].concat()), ENDS);
}

#[test]
fn partial_checksums_stay_partial() {
    let net = Net::new();
    let mut packet = udp(ENDS);
    let len = (packet.len() - 34) as u32;
    let begun = |src| wire::checksum::pseudo4(Ipv4(src), Ipv4(B), 17, len).partial();
    packet[40..42].copy_from_slice(&begun(A).to_be_bytes());
    let mut pkts = pkts_of(&[&packet]);
    let frame = &mut pkts.frames[0];
    (frame.flags, frame.csum_start, frame.csum_offset) = (RxFlags::CSUM_PARTIAL, 34, 6);
    let step = CtStep::new(&natted(true, N, N, Some((5000, 5000))));
    net.run(&step, &mut pkts);
    let p = pkts.frames[0].data();
    assert_eq!(ends(p), (N, 5000, B, 80));
    assert_eq!(
        u16::from_be_bytes([p[40], p[41]]) % 0xffff,
        begun(N) % 0xffff
    );
}

#[test]
fn a_udp_packet_without_checksum_gets_none() {
    let net = Net::new();
    let mut packet = udp(ENDS);
    packet[40..42].fill(0);
    let (_, p) = net.send(&natted(true, N, N, Some((5000, 5000))), &packet, None);
    assert_eq!((ends(&p), &p[40..42]), ((N, 5000, B, 80), &[0, 0][..]));
}

#[test]
fn ports_run_out() {
    let net = Net::new();
    let snat = natted(true, N, N, Some((2000, 2003)));
    let mut taken = std::collections::BTreeSet::new();
    for port in 0..4 {
        let (_, p) = net.send(&snat, &udp((A, 1000 + port, B, 80)), None);
        taken.insert(ends(&p).1);
    }
    assert_eq!(
        taken.into_iter().collect::<Vec<_>>(),
        [2000, 2001, 2002, 2003]
    );
    let (meta, p) = net.send(&snat, &udp((A, 1004, B, 80)), None);
    assert_eq!((names(meta.state).as_str(), ends(&p).1), ("new|trk", 1004));
    assert_eq!(net.control.conns(), 4);
    // Another server: the ports are free towards it.
    let (_, p) = net.send(&snat, &udp((A, 1004, [10, 1, 1, 3], 80)), None);
    assert!((2000..=2003).contains(&ends(&p).1));
    // Time gives them back.
    net.clock.advance(61_000);
    net.ct.sweep(net.clock.now());
    let (meta, _) = net.send(&snat, &udp((A, 1004, B, 80)), None);
    assert_eq!(names(meta.state), "new|trk|snat");
}

#[test]
fn the_same_connection_after_it_expired() {
    let net = Net::new();
    let snat = natted(true, N, N, Some((2000, 2000)));
    net.send(&snat, &udp(ENDS), None);
    net.clock.advance(60_000);
    let (meta, _) = net.send(&snat, &udp(ENDS), None);
    assert_eq!(names(meta.state), "new|trk|snat", "its own port is free");
}

#[test]
fn addresses_of_a_range() {
    let net = Net::new();
    let snat = natted(true, [10, 2, 0, 0], [10, 2, 0, 9], None);
    let mut seen = std::collections::BTreeSet::new();
    for port in 1024..1224 {
        let (_, p) = net.send(&snat, &udp((A, port, B, 80)), None);
        assert_eq!(ends(&p).1, port, "ports stay when they can");
        seen.insert(ends(&p).0);
    }
    assert_eq!(seen.len(), 10);
    // All zero: only collisions are avoided.
    let keep = natted(true, [0; 4], [0; 4], None);
    let (meta, p) = net.send(&keep, &udp((A, 7, [10, 1, 1, 9], 7)), None);
    assert_eq!(
        (names(meta.state).as_str(), ends(&p)),
        ("new|trk|snat", (A, 7, [10, 1, 1, 9], 7))
    );
    let (meta, _) = net.send(&back(1), &udp(([10, 1, 1, 9], 7, A, 7)), None);
    assert_eq!(names(meta.state), "est|rpl|trk|dnat");
}

#[test]
fn packets_that_were_translated_are_known_by_what_they_are_shown_with() {
    let net = Net::new();
    let (meta, p) = net.send(&natted(true, N, N, None), &udp(ENDS), None);
    // Changed by somebody after it was translated.
    let mut p = p;
    p[35] ^= 1;
    refresh(&mut p);
    let (again, _) = net.send(&track(1), &p, Some(meta));
    assert_eq!(names(again.state), "new|trk|snat");
    assert_eq!(again.tuple, meta.tuple);
}
