//! Segmentation and checksum completion, judged by an independent packet library.

use super::*;
use crate::vnet;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use packet::BATCH_MAX;
use proptest::prelude::*;

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

/// A whole packet with right checksums, as the library builds it.
fn build(tcp: bool, v6: bool, vlan: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2(MACS.0, MACS.1);
    let mut out = Vec::new();
    macro_rules! l4 {
        ($ip:expr) => {
            if tcp {
                let mut h = TcpHeader::new(1000, 2000, 0xffff_ff00, 4096);
                h.acknowledgment_number = 77;
                (h.fin, h.psh, h.ack, h.cwr) =
                    (flags & 1 != 0, flags & 8 != 0, true, flags & 0x80 != 0);
                $ip.tcp_header(h).write(&mut out, payload).unwrap();
            } else {
                $ip.udp(1000, 2000).write(&mut out, payload).unwrap();
            }
        };
    }
    let (s4, d4) = ([192, 0, 2, 1], [198, 51, 100, 2]);
    let (s6, d6) = ([0x20; 16], [0xfe; 16]);
    match (v6, vlan) {
        (false, false) => l4!(eth.ipv4(s4, d4, 9)),
        (true, false) => l4!(eth.ipv6(s6, d6, 9)),
        (false, true) => l4!(eth.single_vlan(5.try_into().unwrap()).ipv4(s4, d4, 9)),
        (true, true) => l4!(eth.single_vlan(5.try_into().unwrap()).ipv6(s6, d6, 9)),
    }
    out
}

/// Makes a local sender's frame of a finished packet: only the pseudo header's sum in the field.
fn unfinish(packet: &[u8], tcp: bool) -> Frame {
    let mut frame = HeapPool::global().copy_from(packet);
    let at = layers(packet).unwrap();
    let field = if tcp { 16 } else { 6 };
    let len = (packet.len() - at.l4) as u32;
    let sum = pseudo(packet, at, len).unwrap().partial();
    put16(frame.data_mut(), at.l4 + field, sum);
    frame.csum_start = at.l4 as u16;
    frame.csum_offset = field as u16;
    frame.flags |= RxFlags::CSUM_PARTIAL;
    frame
}

/// (payload, sequence number, FIN|PSH|CWR) of a packet, after checking every length and checksum.
fn judge(packet: &[u8], tcp: bool) -> (Vec<u8>, u32, u8) {
    let sliced = SlicedPacket::from_ethernet(packet).unwrap();
    let net = sliced.net.unwrap();
    let total = match &net {
        NetSlice::Ipv4(ip) => {
            let h = ip.header().to_header();
            assert_eq!(h.header_checksum, h.calc_header_checksum());
            usize::from(h.total_len)
        }
        NetSlice::Ipv6(ip) => 40 + usize::from(ip.header().payload_length()),
        _ => panic!("not IP"),
    };
    assert_eq!(layers(packet).unwrap().l3 + total, packet.len());
    match (sliced.transport.unwrap(), tcp) {
        (TransportSlice::Tcp(t), true) => {
            let h = t.to_header();
            let sum = match &net {
                NetSlice::Ipv4(ip) => h
                    .calc_checksum_ipv4(&ip.header().to_header(), t.payload())
                    .unwrap(),
                NetSlice::Ipv6(ip) => h
                    .calc_checksum_ipv6(&ip.header().to_header(), t.payload())
                    .unwrap(),
                _ => panic!("not IP"),
            };
            assert_eq!(h.checksum, sum);
            let flags = u8::from(h.fin) | u8::from(h.psh) << 3 | u8::from(h.cwr) << 7;
            (t.payload().to_vec(), h.sequence_number, flags)
        }
        (TransportSlice::Udp(u), false) => {
            let h = u.to_header();
            assert_eq!(usize::from(h.length), 8 + u.payload().len());
            let sum = match &net {
                NetSlice::Ipv4(ip) => h
                    .calc_checksum_ipv4(&ip.header().to_header(), u.payload())
                    .unwrap(),
                NetSlice::Ipv6(ip) => h
                    .calc_checksum_ipv6(&ip.header().to_header(), u.payload())
                    .unwrap(),
                _ => panic!("not IP"),
            };
            assert_eq!(h.checksum, sum);
            (u.payload().to_vec(), 0, 0)
        }
        _ => panic!("wrong transport"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn segments_are_what_the_sender_would_have_sent(
        tcp: bool, v6: bool, vlan: bool, partial: bool, flags in prop::sample::select(vec![0u8, 1, 8, 0x89]),
        payload in prop::collection::vec(any::<u8>(), 1..9000), size in 1u16..3000,
    ) {
        prop_assume!(payload.len() / usize::from(size) < 200);
        let whole = build(tcp, v6, vlan, flags, &payload);
        let mut frame = unfinish(&whole, tcp);
        if !partial {
            frame.flags &= !RxFlags::CSUM_PARTIAL;
        }
        frame.flags |= RxFlags::GSO;
        frame.gso_size = size;
        frame.gso = match (tcp, v6) {
            (true, false) => GsoKind::TCP4,
            (true, true) => GsoKind::TCP6,
            _ => GsoKind::UDP,
        };
        frame.mark = 42;
        let mut out = Batch::new();
        let mut all = Vec::new();
        let n = segment(frame, &mut out, |b| all.extend(b.drain(..))).unwrap();
        all.extend(out.drain(..));
        prop_assert_eq!(n, all.len());
        prop_assert_eq!(n, payload.len().div_ceil(usize::from(size)));
        let mut joined = Vec::new();
        for (i, cut) in all.iter().enumerate() {
            prop_assert!(!is_unfinished(cut) && cut.mark == 42);
            let (bytes, seq, got) = judge(cut.data(), tcp);
            if tcp {
                prop_assert_eq!(seq, 0xffff_ff00u32.wrapping_add(joined.len() as u32));
                let last = i + 1 == n;
                let want = (if last { flags & 9 } else { 0 }) | (if i == 0 { flags & 0x80 } else { 0 });
                prop_assert_eq!(got, want);
            }
            prop_assert!(bytes.len() <= usize::from(size));
            joined.extend(bytes);
        }
        prop_assert_eq!(joined, payload);
    }

    #[test]
    fn partial_checksums_are_seen_and_completed(
        tcp: bool, v6: bool, vlan: bool, payload in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let whole = build(tcp, v6, vlan, 8, &payload);
        let mut frame = unfinish(&whole, tcp);
        let (start, offset) = (frame.csum_start, frame.csum_offset);
        frame.flags = 0;
        recognise_partial(&mut frame);
        prop_assert_eq!(frame.flags & RxFlags::CSUM_PARTIAL, RxFlags::CSUM_PARTIAL);
        prop_assert_eq!((frame.csum_start, frame.csum_offset), (start, offset));
        complete_checksum(&mut frame).unwrap();
        prop_assert_eq!(frame.data(), &whole[..]);
        // A finished packet stays what it is, whether it is taken for a partial one or not.
        recognise_partial(&mut frame);
        complete_checksum(&mut frame).unwrap();
        prop_assert_eq!(frame.data(), &whole[..]);
    }

    #[test]
    fn no_bytes_and_no_metadata_panic(
        mut data in prop::collection::vec(any::<u8>(), 0..200), start: u16, offset in 0u16..80,
        size: u16, kind in 0u8..4, flags: u8, ethertype in 0usize..5,
    ) {
        if data.len() >= 14 {
            let types = [0x0800u16, 0x86dd, 0x8100, 0x88a8, 0x0806];
            put16(&mut data, 12, types[ethertype]);
        }
        let mut frame = HeapPool::global().copy_from(&data);
        recognise_partial(&mut frame);
        (frame.csum_start, frame.csum_offset, frame.gso_size) = (start % 100, offset, size);
        frame.flags = flags;
        frame.gso = [GsoKind::NONE, GsoKind::TCP4, GsoKind::TCP6, GsoKind::UDP][usize::from(kind)];
        let header = vnet::describe(&frame);
        vnet::apply(&header, &mut frame);
        let mut out = Batch::new();
        let _ = segment(frame, &mut out, |b| assert_eq!(b.drain(..).count(), BATCH_MAX));
    }
}
