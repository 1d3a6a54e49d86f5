//! Nothing stays behind of translated connections, whatever ends them.

use super::*;

const N: [u8; 4] = [10, 2, 0, 1];

fn entries_of_any_kind(net: &Net) -> usize {
    (0..super::super::SHARDS)
        .map(|n| net.ct.shard(n).used())
        .sum()
}

#[test]
fn aliases_go_with_their_connections() {
    let net = Net::new();
    let snat = natted(true, N, N, None);
    let packet = |port| udp(([10, 1, 1, 1], port, [10, 1, 1, 2], 80));
    let fill = || (1024..1124).for_each(|port| drop(net.send(&snat, &packet(port), None)));
    fill();
    assert_eq!((net.control.conns(), entries_of_any_kind(&net)), (100, 200));
    net.control.flush(None);
    assert_eq!((net.control.conns(), entries_of_any_kind(&net)), (0, 0));
    fill();
    net.clock.advance(100_000);
    net.ct.sweep(net.clock.now());
    assert_eq!((net.control.conns(), entries_of_any_kind(&net)), (0, 0));
    fill();
    for e in net.entries() {
        assert!(net.control.flush_tuple(&e.orig, 1).is_ok());
    }
    assert_eq!((net.control.conns(), entries_of_any_kind(&net)), (0, 0));
    // Turned around by force: the new one is not translated, and nothing of the old one is left.
    net.send(&snat, &packet(2000), None);
    let force = CtAction {
        force: true,
        ..commit(1)
    };
    net.send(&force, &udp(([10, 1, 1, 2], 80, N, 2000)), None);
    assert_eq!((net.control.conns(), entries_of_any_kind(&net)), (1, 1));
}
