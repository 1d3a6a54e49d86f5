//! The plain executor: checksums come out right, every packet ends once, nothing panics.

use super::*;
use crate::text::{NoOdpNames, parse_actions};
use proptest::prelude::*;
use wire::checksum::{checksum, pseudo4, pseudo6};
use wire::{Ipv4, Ipv6};

/// What a datapath would get.
#[derive(Debug, Default)]
struct Record {
    performed: Vec<(Action, Vec<u8>)>,
    dropped: Vec<DropReason>,
    copies: usize,
}

impl Datapath for Record {
    fn perform(&mut self, action: &Action, packet: Packet) {
        let bytes = packet.frame.data().to_vec();
        self.performed.push((action.clone(), bytes));
    }
    fn dropped(&mut self, _packet: Packet, reason: DropReason) {
        self.dropped.push(reason);
    }
    fn copied(&mut self) {
        self.copies += 1;
    }
}

fn run_text(bytes: &[u8], text: &str) -> Record {
    let actions = parse_actions(text, &NoOdpNames).unwrap_or_else(|e| panic!("{text}: {e}"));
    let frame = HeapPool::global().copy_from(bytes);
    let mut record = Record::default();
    execute(Packet::new(frame, &Flow::zero()), &actions, &mut record);
    record
}

/// What leaves through the one output.
fn out(bytes: &[u8], text: &str) -> Vec<u8> {
    let mut record = run_text(bytes, &format!("{text},1"));
    assert!(record.dropped.is_empty(), "{text}: {:?}", record.dropped);
    record.performed.remove(0).1
}

const V4_L4: usize = 34;
const V6_L4: usize = 54;

/// An IPv4 packet with right checksums.
fn v4(proto: u8, body: &[u8]) -> Vec<u8> {
    let mut p = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let len = (20 + body.len() as u16).to_be_bytes();
    let mut ip = vec![0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, proto, 0, 0];
    ip.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    p.extend(ip);
    p.extend(body);
    fix(&mut p);
    p
}

fn v6(proto: u8, body: &[u8]) -> Vec<u8> {
    let mut p = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    p.extend([0x60, 0, 0, 0, 0, body.len() as u8, proto, 64]);
    p.extend([0xfd; 16]);
    p.extend([0xfe; 16]);
    p.extend(body);
    fix(&mut p);
    p
}

/// What the layer 4 checksum of a packet of these should be, and where it stands.
fn right_sum(p: &[u8]) -> Option<(usize, u16)> {
    let v4 = p[12] == 8;
    let (l4, proto) = if v4 { (V4_L4, p[23]) } else { (V6_L4, p[20]) };
    let at = match proto {
        6 => 16,
        17 => 6,
        1 | 58 => 2,
        _ => return None,
    };
    let mut body = p[l4..].to_vec();
    body[at..at + 2].fill(0);
    let len = body.len() as u32;
    let pseudo = match (v4, proto) {
        (_, 1) => wire::checksum::Sum::new(),
        (true, _) => {
            let ip = |at: usize| Ipv4(p[at..at + 4].try_into().unwrap());
            pseudo4(ip(26), ip(30), proto, len)
        }
        (false, _) => {
            let ip = |at: usize| Ipv6(p[at..at + 16].try_into().unwrap());
            pseudo6(ip(22), ip(38), proto, len)
        }
    };
    Some((l4 + at, pseudo.add_bytes(&body).finish()))
}

fn fix(p: &mut [u8]) {
    if let Some((at, sum)) = right_sum(p) {
        p[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

fn assert_right(p: &[u8]) {
    if p[12] == 8 {
        assert_eq!(checksum(&p[14..34]), 0, "IP header checksum");
    }
    if let Some((at, sum)) = right_sum(p) {
        assert_eq!(u16::from_be_bytes([p[at], p[at + 1]]), sum);
    }
}

fn tcp() -> Vec<u8> {
    let mut body = vec![
        0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0x50, 0x02, 1, 0, 0, 0, 0, 0,
    ];
    body.extend(b"odd");
    body
}

fn udp() -> Vec<u8> {
    vec![0, 1, 0, 2, 0, 12, 0, 0, 9, 9, 9, 9]
}

fn nd() -> Vec<u8> {
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend([0xfe; 16]);
    body.extend([1, 1, 2, 0, 0, 0, 0, 1]);
    body
}

#[test]
fn fields_change_and_checksums_follow() {
    let (t4, u4, i4) = (
        v4(6, &tcp()),
        v4(17, &udp()),
        v4(1, &[8, 0, 0, 0, 1, 2, 3, 4]),
    );
    let (t6, u6, n6) = (v6(6, &tcp()), v6(17, &udp()), v6(58, &nd()));
    let cases: [(&[u8], &str, usize, &[u8]); 14] = [
        (&t4, "set(ipv4(src=1.2.3.4,ttl=9))", 26, &[1, 2, 3, 4]),
        (&t4, "set(ipv4(dst=0.0.9.0/0.0.255.0))", 30, &[10, 0, 9, 2]),
        (&t4, "set(ipv4(tos=0x28/0xfc))", 15, &[0x28]),
        (
            &t4,
            "set(tcp(src=0x1234,dst=0x5678))",
            34,
            &[0x12, 0x34, 0x56, 0x78],
        ),
        (&u4, "set(udp(dst=0x0100/0xff00))", 36, &[1, 2]),
        (&u4, "set(ipv4(src=9.9.9.9))", 26, &[9; 4]),
        (&i4, "set(icmp(type=0))", 34, &[0, 0]),
        (&i4, "set(ipv4(dst=9.9.9.9))", 30, &[9; 4]),
        (
            &t6,
            "set(ipv6(src=::1,label=0x12345,tclass=0xff,hlimit=7))",
            14,
            &[0x6f, 0xf1, 0x23, 0x45],
        ),
        (&u6, "set(ipv6(dst=::9/::ff))", 53, &[9]),
        (&u6, "set(udp(src=7))", 54, &[0, 7]),
        (
            &n6,
            "set(nd(target=fd00::1,sll=02:00:00:00:00:07))",
            80,
            &[2, 0, 0, 0, 0, 7],
        ),
        (
            &n6,
            "set(nd_ext(nd_reserved=0x40000000,nd_options_type=2))",
            78,
            &[2],
        ),
        (&n6, "set(icmpv6(type=136))", 54, &[136]),
    ];
    for (packet, text, at, bytes) in cases {
        let sent = out(packet, text);
        assert_eq!(&sent[at..at + bytes.len()], bytes, "{text}");
        assert_right(&sent);
        assert_eq!(sent.len(), packet.len());
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_and_none_stays_none() {
    let mut wrong = v4(6, &tcp());
    wrong[V4_L4 + 17] ^= 1;
    let sent = out(&wrong, "set(tcp(src=99))");
    let (at, sum) = right_sum(&sent).unwrap();
    assert_ne!(sent[at..at + 2], sum.to_be_bytes());
    let mut none = v4(17, &udp());
    none[V4_L4 + 6..V4_L4 + 8].fill(0);
    let sent = out(&none, "set(udp(src=99)),set(ipv4(src=1.1.1.1))");
    assert_eq!(sent[V4_L4 + 6..V4_L4 + 8], [0, 0]);
}

#[test]
fn partial_checksums_keep_the_pseudo_header() {
    let mut frame = HeapPool::global().copy_from(&v4(17, &udp()));
    frame.flags = packet::RxFlags::CSUM_PARTIAL;
    (frame.csum_start, frame.csum_offset) = (V4_L4 as u16, 6);
    let partial = |p: &[u8]| {
        let ip = |at: usize| Ipv4(p[at..at + 4].try_into().unwrap());
        pseudo4(ip(26), ip(30), 17, 12).partial().to_be_bytes()
    };
    let sum = partial(frame.data());
    frame.data_mut()[V4_L4 + 6..V4_L4 + 8].copy_from_slice(&sum);
    let mut packet = Packet::new(frame, &Flow::zero());
    let text = "set(ipv4(dst=99.98.97.96)),set(udp(src=7)),push_vlan(vid=1,pcp=0)";
    for action in parse_actions(text, &NoOdpNames).unwrap() {
        change(&mut packet, &action).unwrap();
    }
    assert_eq!(packet.frame.csum_start, V4_L4 as u16 + 4);
    let p = &packet.frame.data()[4..];
    assert_eq!(p[V4_L4 + 6..V4_L4 + 8], partial(p));
}

#[test]
fn headers_come_and_go() {
    let p = v4(17, &udp());
    let pairs = [
        "push_vlan(vid=5,pcp=1),pop_vlan",
        "push_mpls(label=9,tc=1,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800)",
        "pop_eth,push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)",
        "push_nsh(spi=0x9,c1=0x7),set(nsh(ttl=5,si=2)),pop_nsh()",
        "push_nsh(mdtype=2,md2=0x112233),pop_nsh()",
    ];
    for text in pairs {
        assert_eq!(out(&p, text), p, "{text}");
    }
    let tagged = out(&p, "push_vlan(tpid=0x88a8,vid=5,pcp=1)");
    assert_eq!(tagged[12..18], [0x88, 0xa8, 0x20, 5, 8, 0]);
    let labelled = out(
        &p,
        "push_mpls(label=1,tc=0,ttl=2,bos=1,eth_type=0x8847),set(mpls(ttl=9))",
    );
    assert_eq!(labelled[12..18], [0x88, 0x47, 0, 0, 0x11, 9]);
    for text in [
        "pop_vlan,1",
        "pop_mpls(eth_type=0x800),1",
        "pop_nsh(),1",
        "set(tcp(src=1)),1",
    ] {
        assert_eq!(
            run_text(&p, text).dropped,
            [DropReason::BadAction],
            "{text}"
        );
    }
}

#[test]
fn copies_are_made_only_when_needed() {
    let p = v4(17, &udp());
    let r = run_text(
        &p,
        "trunc(20),1,2,clone(pop_vlan,3),set(udp(src=9)),userspace(pid=0),ct_clear",
    );
    let lens: Vec<_> = r.performed.iter().map(|(_, b)| b.len()).collect();
    assert_eq!(lens, [20, p.len(), p.len()]);
    assert_eq!(
        (r.copies, &r.dropped[..]),
        (3, &[DropReason::BadAction][..])
    );
    let r = run_text(&p, "check_pkt_len(size=46,gt(1),le(2))");
    assert_eq!(r.performed[0].0, Action::Output(OdpPort(2)));
    let r = run_text(&p, "sample(sample=0%,actions(1))");
    assert_eq!(r.dropped, [DropReason::PolicyDrop]);
    let r = run_text(&p, "meter(1),hash(l4(0)),recirc(7)");
    assert_eq!((r.copies, r.performed.len()), (0, 1));
    let mut deep = vec![Action::Output(OdpPort(1))];
    for _ in 0..100 {
        deep = vec![Action::Clone(deep)];
    }
    let mut record = Record::default();
    let frame = HeapPool::global().copy_from(&p);
    execute(Packet::new(frame, &Flow::zero()), &deep, &mut record);
    assert_eq!(record.dropped, [DropReason::BadAction]);
}

const CHANGES: &[&str] = &[
    "set(eth(src=02:00:00:00:00:09))",
    "set(ipv4(src=7.7.7.7,tos=1/0x3))",
    "set(ipv6(dst=::7))",
    "set(tcp(dst=7))",
    "set(udp(dst=7))",
    "set(sctp(dst=7))",
    "set(icmp(code=7))",
    "set(icmpv6(code=7))",
    "set(arp(op=2,tip=1.1.1.1))",
    "set(nd(target=::1,tll=02:00:00:00:00:09))",
    "set(nd_ext(nd_reserved=0x7,nd_options_type=2))",
    "set(mpls(ttl=7))",
    "set(nsh(ttl=7,c1=0x1))",
    "push_vlan(vid=1,pcp=0)",
    "pop_vlan",
    "pop_eth",
    "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)",
    "push_nsh()",
    "pop_nsh()",
    "push_mpls(label=1,tc=0,ttl=2,bos=1,eth_type=0x8847)",
    "pop_mpls(eth_type=0x800)",
    "trunc(30)",
    "1",
    "2",
    "clone(3,4)",
    "ct(commit)",
    "recirc(0x1)",
    "drop",
];

proptest! {
    /// Any bytes, any actions: no panic, and what comes in comes out once.
    #[test]
    fn every_packet_ends_once(
        bytes: Vec<u8>,
        kind in 0usize..5,
        actions in prop::collection::vec(0..CHANGES.len(), 0..6),
    ) {
        let packet = match kind {
            0 => bytes,
            1 => v4(6, &[tcp(), bytes].concat()),
            2 => v4(17, &[udp(), bytes].concat()),
            3 => v6(58, &nd()),
            _ => v4(132, &bytes),
        };
        let texts: Vec<_> = actions.iter().map(|&i| CHANGES[i]).collect();
        let r = run_text(&packet, &texts.join(" "));
        prop_assert_eq!(r.performed.len() + r.dropped.len(), 1 + r.copies, "{:?}", texts);
    }
}
