//! Changing headers: the result must be what a fresh extraction says it should be, with every checksum
//! right (or as wrong as it was), and nothing may panic on any bytes.

use super::push;
use super::set::SetStep;
use crate::pkts::{Pkt, Pkts, Side};
use base::rng::Rng;
use flow::{Flow, Layers, Metadata, NshKey};
use odp::{Action, OdpPort, SetKey};
use packet::{Frame, HeapPool, RxFlags};
use proptest::prelude::*;
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::{EthAddr, Ipv4, Ipv6, U32};

const PAYLOAD: usize = 31;

fn sum(data: &[u8], start: u32) -> u16 {
    let mut s = start;
    for c in data.chunks(2) {
        s += u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0));
    }
    while s >> 16 != 0 {
        s = (s & 0xffff) + (s >> 16);
    }
    !(s as u16)
}

/// Sum of a pseudo header.
fn pseudo(addrs: &[u8], proto: u8, len: usize) -> u32 {
    let s: u32 = addrs
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(c[1]))
        .sum();
    s + u32::from(proto) + len as u32
}

/// A layer 4 header with payload and zero checksum; and where the checksum stands.
fn l4(proto: u8, rng: &mut Rng) -> (Vec<u8>, Option<usize>) {
    let (len, at) = match proto {
        PROTO_TCP => (20, Some(16)),
        PROTO_UDP => (8, Some(6)),
        PROTO_SCTP => (12, None),
        PROTO_ICMPV6 => (24 + 16, Some(2)),
        _ => (8, Some(2)),
    };
    let mut l4: Vec<u8> = (0..len + PAYLOAD).map(|_| rng.next_u64() as u8).collect();
    match proto {
        PROTO_TCP => l4[12] = 0x50,
        PROTO_UDP => l4[4..6].copy_from_slice(&((8 + PAYLOAD) as u16).to_be_bytes()),
        PROTO_ICMPV6 => {
            // A neighbour solicitation with both link-layer address options.
            l4.truncate(40);
            l4[..2].copy_from_slice(&[135, 0]);
            l4[24..26].copy_from_slice(&[1, 1]);
            l4[32..34].copy_from_slice(&[2, 1]);
        }
        PROTO_SCTP => {
            let crc = wire::sctp::checksum(&l4).unwrap();
            l4[8..12].copy_from_slice(&crc.get().to_be_bytes());
        }
        _ => {}
    }
    if let Some(at) = at {
        l4[at..at + 2].fill(0);
    }
    (l4, at)
}

/// A whole packet with right checksums.
fn packet(v6: bool, proto: u8, tags: usize, rng: &mut Rng) -> Vec<u8> {
    let mut p: Vec<u8> = (0..12).map(|_| rng.next_u64() as u8).collect();
    for _ in 0..tags {
        p.extend([0x81, 0x00, rng.next_u64() as u8, rng.next_u64() as u8]);
    }
    let (mut l4, at) = l4(proto, rng);
    let addrs: Vec<u8> = (0..if v6 { 32 } else { 8 })
        .map(|_| rng.next_u64() as u8)
        .collect();
    if let Some(at) = at {
        let start = match proto {
            PROTO_ICMP => 0,
            _ => pseudo(&addrs, proto, l4.len()),
        };
        let s = sum(&l4, start);
        let s = if proto == PROTO_UDP && s == 0 {
            0xffff
        } else {
            s
        };
        l4[at..at + 2].copy_from_slice(&s.to_be_bytes());
    }
    if v6 {
        p.extend([0x86, 0xdd, 0x61, 0x23, 0x45, 0x67]);
        p.extend((l4.len() as u16).to_be_bytes());
        p.extend([proto, 64]);
        p.extend(&addrs);
    } else {
        let mut ip = vec![0x45, 0x10];
        ip.extend(((20 + l4.len()) as u16).to_be_bytes());
        ip.extend([1, 2, 0, 0, 64, proto, 0, 0]);
        ip.extend(&addrs);
        let s = sum(&ip, 0);
        ip[10..12].copy_from_slice(&s.to_be_bytes());
        p.extend([8, 0]);
        p.extend(&ip);
    }
    p.extend(&l4);
    // Padding, which nothing may count.
    p.extend([0xaa; 5]);
    p
}

/// Every checksum of the packet is right.
fn checksums_hold(data: &[u8]) {
    let mut key = Flow::zero();
    let layers = flow::extract(data, &Metadata::default(), &mut key);
    let (l3, l4_at) = (layers.l3_ofs().unwrap(), layers.l4_ofs().unwrap());
    let l4 = layers.l4(data);
    let v6 = data[l3] >> 4 == 6;
    let addrs = if v6 {
        &data[l3 + 8..l3 + 40]
    } else {
        assert_eq!(sum(&data[l3..l4_at], 0), 0, "IPv4 header checksum");
        &data[l3 + 12..l3 + 20]
    };
    match key.nw_proto {
        PROTO_SCTP => {
            let have = u32::from_be_bytes(l4[8..12].try_into().unwrap());
            assert_eq!(wire::sctp::checksum(l4).unwrap().get(), have);
        }
        PROTO_ICMP => assert_eq!(sum(l4, 0), 0, "ICMP checksum"),
        proto => {
            let s = sum(l4, pseudo(addrs, proto, l4.len()));
            assert_eq!(s, 0, "layer 4 checksum of protocol {proto}");
        }
    }
}

fn frame_of(data: &[u8]) -> (Frame, Layers) {
    let frame = HeapPool::global().copy_from(data);
    let layers = flow::extract(data, &Metadata::default(), &mut Flow::zero());
    (frame, layers)
}

fn bytes<const N: usize>(rng: &mut Rng) -> [u8; N] {
    std::array::from_fn(|_| rng.next_u64() as u8)
}

/// A random key for a `set` of the given kind.
fn set_key(kind: u64, rng: &mut Rng) -> SetKey {
    let mac = |rng: &mut Rng| EthAddr(bytes(rng));
    let (a, b) = (rng.next_u64() as u16, rng.next_u64() as u16);
    let (c, d) = (a as u8, b as u8);
    match kind {
        0 => SetKey::Ethernet {
            src: mac(rng),
            dst: mac(rng),
        },
        1 => SetKey::Ipv4 {
            src: Ipv4(bytes(rng)),
            dst: Ipv4(bytes(rng)),
            proto: 0,
            tos: c,
            ttl: d,
            frag: 0,
        },
        2 => SetKey::Ipv6 {
            src: Ipv6(bytes(rng)),
            dst: Ipv6(bytes(rng)),
            label: rng.next_u64() as u32 & 0xf_ffff,
            proto: 0,
            tclass: c,
            hlimit: d,
            frag: 0,
        },
        3 => SetKey::Tcp { src: a, dst: b },
        4 => SetKey::Udp { src: a, dst: b },
        5 => SetKey::Sctp { src: a, dst: b },
        6 => SetKey::Icmp { type_: c, code: d },
        7 => SetKey::Icmpv6 { type_: c, code: d },
        8 => SetKey::Arp {
            sip: Ipv4(bytes(rng)),
            tip: Ipv4(bytes(rng)),
            op: a & 0xff,
            sha: mac(rng),
            tha: mac(rng),
        },
        9 => SetKey::Nd {
            target: Ipv6(bytes(rng)),
            sll: mac(rng),
            tll: mac(rng),
        },
        10 => SetKey::NdExtensions {
            reserved: rng.next_u64() as u32,
            options_type: 1 + c % 2,
        },
        11 => SetKey::Mpls {
            lse: rng.next_u64() as u32,
        },
        12 => SetKey::Priority(u32::from(a)),
        13 => SetKey::SkbMark(u32::from(a)),
        _ => SetKey::Nsh(NshKey {
            flags: c & 3,
            ttl: d & 0x3f,
            path_hdr: U32::new(rng.next_u64() as u32),
            ..NshKey::default()
        }),
    }
}

const KINDS: u64 = 15;

/// The kinds of `set` that fit a packet.
fn fitting(v6: bool, proto: u8) -> Vec<u64> {
    let mut kinds = vec![0, if v6 { 2 } else { 1 }];
    match proto {
        PROTO_TCP => kinds.push(3),
        PROTO_UDP => kinds.push(4),
        PROTO_SCTP => kinds.push(5),
        PROTO_ICMP => kinds.push(6),
        _ => kinds.extend([7, 9, 10]),
    }
    kinds
}

proptest! {
    #[test]
    fn sets_keep_checksums_right_and_set_what_they_say(
        seed in any::<u64>(), v6 in any::<bool>(), which in 0usize..4, tags in 0usize..3,
        pick in any::<usize>(), masked in any::<bool>(),
    ) {
        let mut rng = Rng::new(seed);
        let proto = if v6 {
            [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_ICMPV6][which]
        } else {
            [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_ICMP][which]
        };
        let data = packet(v6, proto, tags, &mut rng);
        checksums_hold(&data);
        let kinds = fitting(v6, proto);
        let kind = kinds[pick % kinds.len()];
        let key = set_key(kind, &mut rng);
        let (mut frame, layers) = frame_of(&data);
        let full = SetStep::full(&key).unwrap();
        let step = if masked {
            SetStep::masked(&key, &set_key(kind, &mut rng)).unwrap()
        } else {
            full.clone()
        };
        prop_assert!(step.apply(&mut frame, &layers, &mut None).is_some());
        checksums_hold(frame.data());
        if !masked {
            // Setting the same again changes nothing: everything asked for is there.
            let once = frame.data().to_vec();
            let (mut again, layers) = frame_of(&once);
            if full.apply(&mut again, &layers, &mut None).is_some() {
                prop_assert_eq!(again.data(), &once[..]);
            }
        }
        prop_assert_eq!(frame.len(), data.len());
        prop_assert_eq!(&frame.data()[data.len() - 5..], &[0xaa; 5]);
    }

    #[test]
    fn a_wrong_checksum_stays_as_wrong(seed in any::<u64>(), v6 in any::<bool>()) {
        let mut rng = Rng::new(seed);
        let mut data = packet(v6, PROTO_TCP, 0, &mut rng);
        let (_, layers) = frame_of(&data);
        let at = layers.l4_ofs().unwrap() + 16;
        let off = 1 + rng.below(0xfffe) as u16;
        let have = u16::from_be_bytes([data[at], data[at + 1]]);
        data[at..at + 2].copy_from_slice(&super::csum::update16(have, 0, off).to_be_bytes());
        let (mut frame, layers) = frame_of(&data);
        for kind in fitting(v6, PROTO_TCP) {
            let step = SetStep::full(&set_key(kind, &mut rng)).unwrap();
            step.apply(&mut frame, &layers, &mut None).unwrap();
        }
        let have = u16::from_be_bytes([frame.data()[at], frame.data()[at + 1]]);
        frame.data_mut()[at..at + 2]
            .copy_from_slice(&super::csum::update16(have, off, 0).to_be_bytes());
        checksums_hold(frame.data());
    }

    #[test]
    fn a_partial_checksum_still_completes_to_the_right_one(seed in any::<u64>(), v6 in any::<bool>()) {
        let mut rng = Rng::new(seed);
        let mut data = packet(v6, PROTO_UDP, 1, &mut rng);
        let (_, layers) = frame_of(&data);
        let (l3, l4) = (layers.l3_ofs().unwrap(), layers.l4_ofs().unwrap());
        let addrs = if v6 { data[l3 + 8..l3 + 40].to_vec() } else { data[l3 + 12..l3 + 20].to_vec() };
        let len = layers.l4(&data).len();
        let partial = !sum(&[], pseudo(&addrs, PROTO_UDP, len));
        data[l4 + 6..l4 + 8].copy_from_slice(&partial.to_be_bytes());
        let (mut frame, mut layers) = frame_of(&data);
        frame.flags |= RxFlags::CSUM_PARTIAL;
        (frame.csum_start, frame.csum_offset) = (l4 as u16, 6);
        for kind in fitting(v6, PROTO_UDP) {
            let step = SetStep::full(&set_key(kind, &mut rng)).unwrap();
            step.apply(&mut frame, &layers, &mut None).unwrap();
        }
        push::push_vlan(&mut frame, &mut layers, 0x88a8, 5).unwrap();
        push::push_vlan(&mut frame, &mut layers, 0x88a8, 5).unwrap();
        push::pop_vlan(&mut frame, &mut layers).unwrap();
        // Complete it as a device does.
        let start = usize::from(frame.csum_start);
        let end = frame.len() - usize::from(layers.l2_pad);
        let s = sum(&frame.data()[start..end], 0);
        let at = start + usize::from(frame.csum_offset);
        frame.data_mut()[at..at + 2].copy_from_slice(&s.to_be_bytes());
        checksums_hold(frame.data());
    }

    #[test]
    fn no_bytes_make_a_change_panic(
        seed in any::<u64>(), cut in 0usize..200, noise in 0usize..6, kind in 0u64..KINDS,
    ) {
        let mut rng = Rng::new(seed);
        let proto = [PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_ICMPV6, PROTO_ICMP][rng.below(5) as usize];
        let mut data = packet(rng.below(2) == 0, proto, rng.below(3) as usize, &mut rng);
        if rng.below(4) == 0 {
            let at = if rng.below(2) == 0 { 12 } else { 16 };
            let types = [0x0806u16, 0x8847, 0x894f, 0x0800, 0x86dd];
            data[at..at + 2].copy_from_slice(&types[rng.below(5) as usize].to_be_bytes());
        }
        data.truncate(cut.max(1));
        for _ in 0..noise {
            let at = rng.below(data.len() as u64) as usize;
            data[at] = rng.next_u64() as u8;
        }
        let (mut frame, mut layers) = frame_of(&data);
        let mut side = None;
        for _ in 0..6 {
            let step = SetStep::masked(&set_key(kind, &mut rng), &set_key(kind, &mut rng)).unwrap();
            let _ = step.apply(&mut frame, &layers, &mut side);
            let p = (&mut frame, &mut layers, &mut side);
            let _ = match rng.below(8) {
                0 => push::push_vlan(p.0, p.1, 0x8100, 7),
                1 => push::pop_vlan(p.0, p.1),
                2 => push::push_mpls(p, 0x8847, 0x1234_5100, true),
                3 => push::pop_mpls(p, [0x0800, 0x8847][rng.below(2) as usize]),
                4 => push::push_eth(p, EthAddr::ZERO, EthAddr::BROADCAST),
                5 => push::pop_eth(p),
                6 => super::nsh::push(p, &nsh_push(&mut rng)),
                _ => super::nsh::pop(p),
            };
            let mut pkt = Pkt { frame, layers, side };
            pkt.extract(OdpPort(1), 0, &mut Flow::zero());
            (frame, layers, side) = (pkt.frame, pkt.layers, pkt.side);
        }
    }
}

fn nsh_push(rng: &mut Rng) -> odp::action::NshPush {
    let mdtype = 1 + rng.below(2) as u8;
    odp::action::NshPush {
        key: NshKey {
            flags: 1,
            ttl: 63,
            mdtype,
            np: 3,
            path_hdr: U32::new(0x1_02ff),
            context: [U32::new(7); 4],
        },
        md2: if mdtype == 2 {
            (0..rng.below(30)).map(|i| i as u8).collect()
        } else {
            Vec::new()
        },
    }
}

#[test]
fn pushes_and_pops_undo_each_other() {
    let mut rng = Rng::new(1);
    let data = packet(false, PROTO_UDP, 1, &mut rng);
    let (mut frame, mut layers) = frame_of(&data);
    let before = layers;
    let mut side: Option<Box<Side>> = None;
    push::push_vlan(&mut frame, &mut layers, 0x88a8, 0x1fff).unwrap();
    assert_eq!(frame.data()[12..16], [0x88, 0xa8, 0x0f, 0xff]);
    push::push_mpls(
        (&mut frame, &mut layers, &mut side),
        0x8847,
        0x0000_1140,
        true,
    )
    .unwrap();
    push::push_mpls(
        (&mut frame, &mut layers, &mut side),
        0x8847,
        0x0000_2040,
        true,
    )
    .unwrap();
    let mut key = Flow::zero();
    let fresh = flow::extract(frame.data(), &Metadata::default(), &mut key);
    assert_eq!((fresh.l2_5, fresh.l3), (layers.l2_5, layers.l3));
    assert_eq!(key.mpls_lse[0].get(), 0x2040);
    assert_eq!(key.dl_type.get(), 0x8847);
    push::pop_mpls((&mut frame, &mut layers, &mut side), 0x8847).unwrap();
    push::pop_mpls((&mut frame, &mut layers, &mut side), 0x0800).unwrap();
    push::pop_vlan(&mut frame, &mut layers).unwrap();
    assert_eq!(frame.data(), &data[..]);
    assert_eq!((layers.l3, layers.l4), (before.l3, before.l4));
    push::pop_vlan(&mut frame, &mut layers).unwrap();
    assert!(push::pop_vlan(&mut frame, &mut layers).is_none());
    let untagged = frame.data().to_vec();
    push::pop_eth((&mut frame, &mut layers, &mut side)).unwrap();
    assert_eq!(side.as_ref().unwrap().packet_type, 0x1_0800);
    assert!(push::pop_eth((&mut frame, &mut layers, &mut side)).is_none());
    super::nsh::push((&mut frame, &mut layers, &mut side), &nsh_push(&mut rng)).unwrap();
    super::nsh::pop((&mut frame, &mut layers, &mut side)).unwrap();
    let (src, dst) = (EthAddr([3; 6]), EthAddr([4; 6]));
    push::push_eth((&mut frame, &mut layers, &mut side), src, dst).unwrap();
    assert_eq!(frame.data()[14..], untagged[14..]);
    assert_eq!(frame.data()[..12], [4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3]);
    assert_eq!(side.unwrap().packet_type, 0);
}

#[test]
fn no_headroom_is_made_up_for() {
    let data = packet(false, PROTO_UDP, 0, &mut Rng::new(2));
    let mut frame = HeapPool::global().alloc_with(0, data.len());
    frame.data_mut().copy_from_slice(&data);
    let mut layers = flow::extract(&data, &Metadata::default(), &mut Flow::zero());
    frame.mark = 5;
    push::push_vlan(&mut frame, &mut layers, 0x8100, 1).unwrap();
    assert_eq!((frame.len(), frame.mark), (data.len() + 4, 5));
    assert_eq!(frame.data()[16..], data[12..]);
}

#[test]
fn what_this_datapath_does_not_do_is_refused() {
    use super::compile;
    assert!(compile(&[Action::TunnelPop(OdpPort(1))]).is_err());
    assert!(compile(&[Action::Clone(vec![Action::TunnelPop(OdpPort(1))])]).is_err());
    let mut deep = vec![Action::Output(OdpPort(1))];
    for _ in 0..17 {
        deep = vec![Action::Clone(deep)];
    }
    assert!(compile(&deep).is_err());
    let mismatch = Action::SetMasked {
        key: SetKey::Priority(1),
        mask: SetKey::SkbMark(1),
    };
    assert!(compile(&[mismatch]).is_err());
}

#[test]
fn retaining_keeps_order_and_companions() {
    let mut pkts = Pkts::new();
    for i in 0..10u8 {
        let side = Side {
            dp_hash: u32::from(i),
            ..Side::default()
        };
        pkts.push(Pkt {
            frame: HeapPool::global().copy_from(&[i; 20]),
            layers: Layers {
                l3: u16::from(i),
                ..Layers::UNKNOWN
            },
            side: Some(Box::new(side)),
        });
    }
    let mut gone = 0;
    pkts.retain(|f, _, _| f.data()[0] % 3 != 0, |_| gone += 1);
    assert_eq!((gone, pkts.len()), (4, 6));
    let left: Vec<_> = pkts
        .drain()
        .map(|p| (p.frame.data()[0], p.layers.l3, p.side.unwrap().dp_hash))
        .collect();
    assert_eq!(
        left,
        [1, 2, 4, 5, 7, 8].map(|i: u8| (i, i.into(), i.into()))
    );
}
