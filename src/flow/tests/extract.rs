//! Extraction against its slow twin, against etherparse, and at every cut.

mod dice;
mod reference;

use dice::Dice;
use flow::{
    CtMeta, CtTuple, Depth, FLOW_LINES, Flow, Layers, LineSet, Mask, Metadata, TunnelKey, extract,
    extract_lines,
};
use proptest::prelude::*;
use reference::Offsets;
use wire::{Ipv4, Ipv6, U16, U64};
use zerocopy::FromZeros;

fn offsets(l: &Layers) -> Offsets {
    Offsets {
        l2_5: if l.l2_5 == Layers::NONE {
            None
        } else {
            Some(l.l2_5.into())
        },
        l3: l.l3_ofs(),
        l4: l.l4_ofs(),
        pad: l.l2_pad.into(),
    }
}

/// A flow buffer full of leftovers.
fn dirty() -> Flow {
    Mask::exact().0
}

fn agree(data: &[u8], md: &Metadata<'_>) {
    let (want, want_ofs) = reference::extract(data, md);
    let mut got = dirty();
    let layers = extract(data, md, &mut got);
    assert!(
        got == want,
        "{data:02x?}\n got {:02x?}\nwant {:02x?}",
        got.bytes(),
        want.bytes()
    );
    assert_eq!(offsets(&layers), want_ofs, "{data:02x?}");
    for depth in [Depth::Port, Depth::L2, Depth::L3, Depth::L4] {
        let mut part = dirty();
        let mut l = Layers::UNKNOWN;
        let lines = extract_lines(data, md, depth, (&mut part, &mut l));
        for line in 0..FLOW_LINES {
            assert!(
                lines.has(line) || part.lines()[line] == [u64::MAX; 8],
                "line {line} touched"
            );
        }
        lines.zero_missing(LineSet::ALL, &mut part);
        let mask = Mask::of_depth(depth);
        assert!(part.equals_under(&want, &mask), "{depth:?} {data:02x?}");
        assert!(l.reached <= depth && l.reached <= layers.reached);
        assert_eq!(
            depth.min(layers.reached),
            l.reached,
            "{depth:?} {data:02x?}"
        );
    }
}

fn ct(v6: bool) -> CtMeta {
    let tuple = if v6 {
        CtTuple::V6 {
            src: Ipv6([1; 16]),
            dst: Ipv6([2; 16]),
            tp_src: 3,
            tp_dst: 4,
            proto: 17,
        }
    } else {
        CtTuple::V4 {
            src: Ipv4([1; 4]),
            dst: Ipv4([2; 4]),
            tp_src: 3,
            tp_dst: 4,
            proto: 6,
        }
    };
    CtMeta {
        state: 0x21,
        zone: 7,
        mark: 8,
        label: 9 << 100,
        tuple,
    }
}

fn tunnel(len: u8, raw: bool) -> TunnelKey {
    let mut t = TunnelKey::new_zeroed();
    t.ip_dst = Ipv4([1, 2, 3, 4]);
    t.tun_id = U64::new(77);
    t.opts = [0xab; flow::key::TUN_OPTS_MAX];
    if raw {
        t.flags = U16::new(TunnelKey::F_UDPIF);
        t.opts_len = len;
    } else {
        t.present = U64::new(len.into());
    }
    t
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000,
        failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_slow_twin(entropy in prop::collection::vec(any::<u8>(), 0..400)) {
        let packet = Dice { entropy: &entropy, at: 0 }.packet();
        agree(&packet, &Metadata { in_port: 5, ..Metadata::default() });
    }

    #[test]
    fn raw_bytes_of_any_type(data in prop::collection::vec(any::<u8>(), 0..200),
                             t in prop::sample::select(vec![0u32, 0x10800, 0x186dd, 0x1894f, 0x18847, 0x10806, 5])) {
        agree(&data, &Metadata { packet_type: t, ..Metadata::default() });
    }

    #[test]
    fn metadata_in_and_out(entropy in prop::collection::vec(any::<u8>(), 40..300),
                           v6: bool, raw: bool, len in 0u8..=252, state: bool, numbers: [u32; 5]) {
        let packet = Dice { entropy: &entropy, at: 0 }.packet();
        let ct = CtMeta { state: u8::from(state), ..ct(v6) };
        let tunnel = tunnel(len, raw);
        let md = Metadata { in_port: numbers[0], recirc_id: numbers[1], dp_hash: numbers[2],
                            packet_type: 0, priority: numbers[3] % 2, mark: numbers[4] % 2,
                            ct: Some(&ct), tunnel: Some(&tunnel) };
        agree(&packet, &md);
    }
}

#[test]
fn every_cut_of_every_kind() {
    let mut state = 1u32;
    for _ in 0..300 {
        let entropy: Vec<u8> = (0..300)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        let packet = Dice {
            entropy: &entropy,
            at: 0,
        }
        .packet();
        for n in 0..=packet.len() {
            agree(&packet[..n], &Metadata::default());
        }
    }
}

/// Each known hole in the peer's history has its packet.
#[test]
fn known_lies() {
    let eth = |t: u16| [&[0u8; 12][..], &t.to_be_bytes()].concat();
    let flow = |p: &[u8]| {
        agree(p, &Metadata::default());
        let mut f = dirty();
        let l = extract(p, &Metadata::default(), &mut f);
        (f, l)
    };
    let ip = |ihl: u8, tot: u16, proto: u8, extra: usize| {
        let mut p = eth(0x800);
        p.extend([0x40 | ihl, 0]);
        p.extend(tot.to_be_bytes());
        p.extend([0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        p.extend(vec![0x11; extra]);
        p
    };
    // CVE-2016-10377: total length smaller than the header.
    let (f, l) = flow(&ip(6, 20, 6, 24));
    assert_eq!((f.nw_proto, l.l4), (0, Layers::NONE));
    // CVE-2020-35498: 300 octets of padding do not hide layer 4.
    let (f, l) = flow(&ip(5, 28, 17, 8 + 300));
    assert_eq!(
        (f.tp_src.get(), l.l2_pad, l.reached),
        (0x1111, 300, Depth::L4)
    );
    // CVE-2023-1668: protocol 0 is a value, not an absence.
    let (f, l) = flow(&ip(5, 28, 0, 8));
    assert_eq!((f.nw_proto, f.nw_ttl, l.l4), (0, 64, 34));
    // CVE-2016-2074: a label stack deeper than the flow.
    let mut p = eth(0x8847);
    p.extend([0, 0, 0x10, 1].repeat(500));
    let (f, l) = flow(&p);
    assert_eq!((f.mpls_lse[2].get(), l.l3), (0x1001, 14 + 2000));
    p.extend([0, 0, 0x10, 1].repeat(20_000));
    let (_, l) = flow(&p);
    assert_eq!((l.l2_5, l.l3), (14, Layers::NONE));
}

#[test]
fn depth_of_a_mask() {
    let mut m = Mask::empty();
    m.0.in_port.set(u32::MAX);
    m.0.regs[0].set(1);
    assert_eq!(m.depth(), Depth::Port);
    m.0.dl_type.set(0xffff);
    m.0.nw_frag = 3;
    assert_eq!(m.depth(), Depth::L2);
    m.0.nw_dst = Ipv4([255, 0, 0, 0]);
    assert_eq!(m.depth(), Depth::L3);
    m.0.tcp_flags.set(2);
    assert_eq!(m.depth(), Depth::L4);
}

/// An independent parser, where both define the same thing.
#[test]
fn agrees_with_etherparse() {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let mut state = 7u32;
    let mut compared = [0; 3];
    for _ in 0..3000 {
        let entropy: Vec<u8> = (0..300)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        let packet = Dice {
            entropy: &entropy,
            at: 0,
        }
        .packet();
        let Ok(s) = SlicedPacket::from_ethernet(&packet) else {
            continue;
        };
        let mut f = Flow::zero();
        let l = extract(&packet, &Metadata::default(), &mut f);
        match &s.net {
            Some(NetSlice::Ipv4(ip)) if l.reached >= Depth::L3 => {
                compared[0] += 1;
                assert_eq!(f.nw_src.0, ip.header().source());
                assert_eq!(f.nw_dst.0, ip.header().destination());
                assert_eq!(f.nw_ttl, ip.header().ttl());
                assert_eq!(f.nw_proto, ip.header().protocol().0);
                assert_eq!(f.nw_frag != 0, ip.header().is_fragmenting_payload());
            }
            Some(NetSlice::Ipv6(ip)) if l.reached >= Depth::L3 => {
                compared[1] += 1;
                assert_eq!(f.ipv6_src.0, ip.header().source());
                assert_eq!(f.ipv6_dst.0, ip.header().destination());
            }
            _ => {}
        }
        if l.reached == Depth::L4 {
            match &s.transport {
                Some(TransportSlice::Udp(u)) => {
                    compared[2] += 1;
                    assert_eq!(f.tp_src.get(), u.source_port());
                    assert_eq!(f.tp_dst.get(), u.destination_port());
                }
                Some(TransportSlice::Tcp(t)) => {
                    compared[2] += 1;
                    assert_eq!(f.tp_src.get(), t.source_port());
                    assert_eq!(f.tp_dst.get(), t.destination_port());
                    assert_eq!(f.tcp_flags.get() & wire::tcp::SYN != 0, t.syn());
                    assert_eq!(f.tcp_flags.get() & wire::tcp::FIN != 0, t.fin());
                }
                _ => {}
            }
        }
    }
    assert!(compared.iter().all(|&n| n > 50), "{compared:?}");
}
