//! Bytes of any kind: no panic, and what is not whole is invalid.

use super::*;
use proptest::prelude::*;

const ENDS: Ends = ([10, 1, 1, 1], 1000, [10, 1, 1, 2], 80);

fn samples() -> Vec<Vec<u8>> {
    let udp = udp(ENDS);
    let error = unreachable([10, 1, 1, 2], &udp, 60);
    let mut six = Flow::zero();
    six.dl_type = U16::new(0x86dd);
    six.ipv6_src = wire::Ipv6([1; 16]);
    six.ipv6_dst = wire::Ipv6([2; 16]);
    six.nw_proto = PROTO_UDP;
    six.tp_src = U16::new(5);
    six.tp_dst = U16::new(6);
    let six = compose(&six, Payload::Counting(20));
    vec![
        segment(ENDS, 0x18, (1, 2), 30),
        ping([10, 1, 1, 1], [10, 1, 1, 2], 8, 3),
        udp,
        error,
        six,
    ]
}

#[test]
fn cut_at_every_octet() {
    let net = Net::new();
    for packet in samples() {
        assert!(!net.state(&commit(0), &packet).contains("inv") || packet[23] == 1);
        for cut in 14..packet.len() {
            let state = net.state(&track(9), &packet[..cut]);
            assert_eq!(state, "inv|trk", "{cut} octets of {packet:02x?}");
        }
    }
}

#[test]
fn a_wrong_checksum_anywhere() {
    let net = Net::new();
    for packet in samples() {
        let from = if packet[12] == 8 { 14 } else { 22 };
        for at in from..packet.len() {
            let mut bad = packet.clone();
            bad[at] ^= 0x10;
            let state = net.state(&track(9), &bad);
            assert_eq!(state, "inv|trk", "octet {at} of {packet:02x?}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(
        which in 0usize..5,
        changes in prop::collection::vec((14usize..100, any::<u8>()), 0..8),
        cut in 14usize..120,
        trusted in any::<bool>(),
        action in 0usize..4,
    ) {
        let mut packet = samples()[which].clone();
        for (at, to) in changes {
            if let Some(b) = packet.get_mut(at) {
                *b = to;
            }
        }
        packet.truncate(cut);
        let net = Net::new();
        for sample in samples() {
            net.send(&natted(true, [9; 4], [9; 4], None), &sample, None);
        }
        let mut pkts = pkts_of(&[&packet]);
        if trusted {
            pkts.frames[0].flags |= packet::RxFlags::CSUM_GOOD;
        }
        let action = match action {
            0 => commit(1),
            1 => back(1),
            2 => natted(true, [8; 4], [8; 4], Some((1, 9))),
            _ => CtAction { force: true, ..natted(false, [8; 4], [8; 4], None) },
        };
        if net.kept(&CtStep::new(&action), &mut pkts).held > 0 {
            return Ok(());
        }
        let meta = pkts.side_mut(0).ct.unwrap();
        prop_assert!(meta.state & 0x20 != 0);
    }
}
