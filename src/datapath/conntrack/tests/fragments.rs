//! Fragments: held until their packet is whole, then tracked and translated as one.

use super::*;
use base::rng::Rng;
use proptest::prelude::*;

const ENDS: Ends = ([10, 1, 1, 1], 1000, [10, 1, 1, 2], 80);

/// A UDP packet with this many octets of payload.
fn packet(payload: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..payload).map(|i| (i * 7) as u8).collect();
    let mut p = compose(&key4(PROTO_UDP, ENDS), Payload::Bytes(&bytes));
    p[18..20].copy_from_slice(&77u16.to_be_bytes());
    fix_header(&mut p);
    p
}

fn fix_header(p: &mut [u8]) {
    p[24..26].fill(0);
    let sum = wire::checksum::checksum(&p[14..34]);
    p[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// Cuts a packet into fragments with at most `most` octets of payload, a multiple of 8.
fn cut(p: &[u8], most: usize) -> Vec<Vec<u8>> {
    let payload = &p[34..];
    let n = payload.len().div_ceil(most);
    (0..n)
        .map(|i| {
            let piece = &payload[i * most..payload.len().min((i + 1) * most)];
            let mut f = p[..34].to_vec();
            f.extend_from_slice(piece);
            f[16..18].copy_from_slice(&((20 + piece.len()) as u16).to_be_bytes());
            let more = if i + 1 < n { 0x2000 } else { 0 };
            let field = (i * most / 8) as u16 | more;
            f[20..22].copy_from_slice(&field.to_be_bytes());
            fix_header(&mut f);
            f
        })
        .collect()
}

/// Joins fragments by the book.
fn join(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut out = fragments[0].clone();
    for f in &fragments[1..] {
        out.extend_from_slice(&f[34..]);
    }
    let total = (out.len() - 14) as u16;
    out[16..18].copy_from_slice(&total.to_be_bytes());
    out[20..22].fill(0);
    fix_header(&mut out);
    out
}

fn small(net: &Net) {
    net.control.ipf_set_min_frag(false, 400).unwrap();
}

/// Sends fragments one by one; what goes on in the end.
fn send_all(net: &Net, action: &CtAction, fragments: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for f in fragments {
        let mut pkts = pkts_of(&[f]);
        let kept = net.kept(&CtStep::new(action), &mut pkts);
        for i in 0..pkts.len() {
            let state = names(pkts.side_mut(i).ct.unwrap().state);
            out.push((state, pkts.frames[i].data().to_vec()));
        }
        for p in kept.released {
            let state = names(p.side.unwrap().ct.unwrap().state);
            out.push((state, p.frame.data().to_vec()));
        }
    }
    out
}

#[test]
fn a_packet_in_pieces_is_one_packet() {
    let net = Net::new();
    small(&net);
    let whole = packet(1500);
    let pieces = cut(&whole, 496);
    let snat = natted(true, [10, 2, 0, 1], [10, 2, 0, 1], Some((9, 9)));
    let sent = send_all(&net, &snat, &pieces);
    assert_eq!(sent.len(), pieces.len());
    assert!(sent.iter().all(|(s, _)| s == "new|trk|snat"), "{sent:?}");
    let joined = join(&sent.into_iter().map(|(_, p)| p).collect::<Vec<_>>());
    assert_eq!(
        (l4_sum(&joined), &joined[26..30], &joined[34..36]),
        (0, &[10, 2, 0, 1][..], &[0, 9][..])
    );
    assert_eq!(joined[42..], whole[42..]);
    let status = net.control.ipf_status();
    assert_eq!(
        (
            status.nfrag,
            status.v4.nfrag_accepted,
            status.v4.nfrag_completed_sent
        ),
        (0, 4, 4)
    );
    assert_eq!(net.control.conns(), 1);
}

#[test]
fn what_is_not_sound_goes_on_as_invalid() {
    let net = Net::new();
    small(&net);
    let pieces = cut(&packet(1500), 496);
    let one = |f: &Vec<u8>| send_all(&net, &commit(1), std::slice::from_ref(f));
    assert!(one(&pieces[0]).is_empty());
    assert_eq!(one(&pieces[0])[0].0, "inv|trk", "twice");
    assert_eq!(net.control.ipf_lists().len(), 1);
    assert!(net.control.ipf_lists()[0].ends_with("num_fragments=1,state=first frag)"));
    let tiny = cut(&packet(700), 160);
    assert_eq!(one(&tiny[0])[0].0, "inv|trk", "too small");
    let status = net.control.ipf_status().v4;
    assert_eq!((status.nfrag_overlap, status.nfrag_too_small), (1, 1));
    net.control.ipf_set_enabled(false, false);
    assert_eq!(one(&pieces[1])[0].0, "inv|trk", "switched off");
    net.control.ipf_set_enabled(false, true);
    net.control.ipf_set_max_frags(1).unwrap();
    assert_eq!(one(&pieces[1])[0].0, "inv|trk", "too many");
    assert!(net.control.ipf_set_max_frags(5001).is_err());
    assert!(net.control.ipf_set_min_frag(false, 399).is_err());
}

#[test]
fn fragments_do_not_wait_for_ever() {
    let net = Net::new();
    small(&net);
    let pieces = cut(&packet(1500), 496);
    assert!(send_all(&net, &commit(1), &pieces[..2]).is_empty());
    net.clock.advance(15_000);
    // Another flow of the same place: they go on, as invalid.
    let other = udp((ENDS.0, 5, ENDS.2, 5));
    let sent = send_all(&net, &commit(1), std::slice::from_ref(&other));
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[1].0, "inv|trk");
    assert!(send_all(&net, &commit(1), &pieces[..2]).is_empty());
    net.clock.advance(25_000);
    net.ct.sweep(net.clock.now());
    let status = net.control.ipf_status();
    assert_eq!(
        (
            status.nfrag,
            status.v4.nfrag_expired_sent,
            status.v4.nfrag_purged
        ),
        (0, 2, 2)
    );
}

proptest! {
    #[test]
    fn any_order_any_cut(
        payload in 400usize..4000,
        most in 50usize..120,
        seed in any::<u64>(),
    ) {
        let net = Net::new();
        small(&net);
        let whole = packet(payload);
        let mut pieces = cut(&whole, most * 8);
        if pieces.len() < 2 {
            return Ok(());
        }
        let mut rng = Rng::new(seed);
        for i in (1..pieces.len()).rev() {
            pieces.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let sent = send_all(&net, &commit(1), &pieces);
        prop_assert_eq!(sent.len(), pieces.len());
        let sent: Vec<_> = sent.into_iter().map(|(_, p)| p).collect();
        prop_assert_eq!(join(&sent), whole);
    }
}
