//! Several threads on one table: connections are counted exactly, and translations never collide.

use super::*;
use base::sync::{Barrier, spawn};
use std::collections::HashSet;

const THREADS: u16 = 4;

#[test]
fn threads_that_open_the_same_and_different_connections() {
    let net = Arc::new(Net::new());
    let start = Arc::new(Barrier::new(usize::from(THREADS)));
    let threads: Vec<_> = (0..THREADS)
        .map(|t| {
            let (net, start) = (Arc::clone(&net), Arc::clone(&start));
            spawn("ct-test", move || {
                let snat = natted(true, [10, 2, 0, 1], [10, 2, 0, 1], Some((1000, 2999)));
                start.wait();
                for i in 0..500u16 {
                    // Half of them are everybody's.
                    let port = if i % 2 == 0 { i } else { 10_000 + t * 1000 + i };
                    let ends = ([10, 1, 1, 1], port + 1, [10, 1, 1, 2], 80);
                    net.send(&snat, &udp(ends), None);
                    if i % 7 == 0 {
                        let entry = net.entries().into_iter().next();
                        entry.map(|e| net.control.flush_tuple(&e.orig, 1).ok());
                    }
                }
            })
            .unwrap()
        })
        .collect();
    for t in threads {
        t.join().unwrap();
    }
    let entries = net.entries();
    assert_eq!(entries.len(), net.control.conns() as usize);
    let replies: HashSet<_> = entries.iter().map(|e| e.reply).collect();
    assert_eq!(
        replies.len(),
        entries.len(),
        "no answer is of two connections"
    );
    let origs: HashSet<_> = entries.iter().map(|e| e.orig).collect();
    assert_eq!(origs.len(), entries.len());
    // Every answer finds its connection.
    for e in &entries {
        let ends = ([10, 1, 1, 2], 80, [10, 2, 0, 1], e.reply.dport);
        let (meta, p) = net.send(&back(1), &udp(ends), None);
        assert_eq!(names(meta.state), "est|rpl|trk|dnat");
        assert_eq!(u16::from_be_bytes([p[36], p[37]]), e.orig.sport);
    }
    net.control.flush(None);
    let left: usize = (0..super::super::SHARDS)
        .map(|n| net.ct.shard(n).used())
        .sum();
    assert_eq!((left, net.control.conns()), (0, 0));
}
