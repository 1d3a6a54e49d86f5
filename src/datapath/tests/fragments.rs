//! The ledger while connection tracking holds fragments: whatever comes in is on its way, dropped or held.

mod common;

use base::rng::Rng;
use common::{Bench, csum, install};
use odp::{Action, CtAction, OdpPort};

/// Octets of payload in each fragment but the last: more than the smallest that is held (1200 octets of packet).
const PIECE: usize = 1208;

/// The `n` fragments of UDP packet number `id`.
fn fragments(id: u16, n: usize) -> Vec<Vec<u8>> {
    let payload: Vec<u8> = (0..PIECE * (n - 1) + 40).map(|i| (i * 3) as u8).collect();
    let mut datagram = vec![0x03, 0xe8, 0, 80, 0, 0, 0, 0];
    datagram[4..6].copy_from_slice(&((payload.len() + 8) as u16).to_be_bytes());
    datagram.extend_from_slice(&payload);
    let count = datagram.len().div_ceil(PIECE);
    let cut = |(i, piece): (usize, &[u8])| {
        let mut f = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        f.extend_from_slice(&((20 + piece.len()) as u16).to_be_bytes());
        f.extend_from_slice(&id.to_be_bytes());
        let more = if i + 1 < count { 0x2000 } else { 0 };
        f.extend_from_slice(&((i * PIECE / 8) as u16 | more).to_be_bytes());
        f.extend_from_slice(&[64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = csum(&f[14..34], 0);
        f[24..26].copy_from_slice(&sum.to_be_bytes());
        f.extend_from_slice(piece);
        f
    };
    datagram.chunks(PIECE).enumerate().map(cut).collect()
}

fn tracked(b: &Bench) -> (OdpPort, OdpPort) {
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    let ct = CtAction {
        commit: true,
        zone: 1,
        ..CtAction::default()
    };
    install(
        &*b.dpif,
        p1,
        vec![Action::Ct(Box::new(ct)), Action::Output(p2)],
    );
    (p1, p2)
}

/// Received and forwarded packets, and those that were taken in and given back.
fn account(b: &Bench, port: OdpPort) -> [u64; 4] {
    let a = &b.dp.ledger()[&port];
    assert_eq!(a.difference(), 0, "{a:?}");
    [a.received, a.forwarded, a.consumed, a.injected]
}

#[test]
fn held_fragments_are_consumed_and_injected_when_their_packet_is_whole() {
    let b = Bench::manual();
    let (p1, _) = tracked(&b);
    let all = fragments(7, 3);
    for (i, f) in all.iter().take(2).enumerate() {
        b.receive("p1", f);
        b.run();
        let n = i as u64 + 1;
        assert_eq!(account(&b, p1), [n, 0, n, 0]);
    }
    b.receive("p1", &all[2]);
    b.run();
    assert_eq!(account(&b, p1), [3, 3, 3, 3]);
    assert_eq!(b.sent("p2"), all);
}

#[test]
fn whatever_fragments_come_the_ledger_balances() {
    for seed in 0..20 {
        let b = Bench::manual();
        let (p1, _) = tracked(&b);
        let mut rng = Rng::new(seed);
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        let (mut received, mut arrived) = (0, 0);
        for id in 0..60u16 {
            let mut set = fragments(id % 23, 2 + rng.below(3) as usize);
            if rng.below(4) == 0 {
                set.pop(); // lost
            }
            if rng.below(5) == 0 {
                set.push(set[0].clone()); // twice, which is an overlap
            }
            waiting.extend(set);
            let n = rng.below(waiting.len() as u64 + 1);
            for _ in 0..n {
                let at = rng.below(waiting.len() as u64) as usize;
                b.receive("p1", &waiting.swap_remove(at));
                received += 1;
            }
            b.run();
            if rng.below(10) == 0 {
                b.clock.advance(16_000); // too late for what waits
            }
            let [got, sent, taken, given] = account(&b, p1);
            assert_eq!((got, sent + taken), (received, received + given));
            arrived += b.sent("p2").len() as u64;
            assert_eq!(arrived, sent);
        }
        let [_, sent, _, given] = account(&b, p1);
        assert!(given > 0 && sent > given, "{sent} {given}");
    }
}
