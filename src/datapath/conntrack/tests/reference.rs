//! The tracker beside a plain one: a list of connections, looked through from the front, one packet at a time.
//!
//! The plain one knows UDP and ICMP, zones, marks, force, translation of sources (with the port that the real
//! one chose), expiry and limits; TCP's rules have tests of their own.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Plain {
    zone: u16,
    /// What packets of either direction look like.
    there: Ends,
    back: Ends,
    answered: bool,
    mark: u32,
    until_ms: u64,
}

#[derive(Debug, Default)]
struct Twin(Vec<Plain>);

#[derive(Debug, Clone)]
enum Event {
    /// (connection, reply, commit, force, zone, mark)
    Packet(u8, bool, bool, bool, u16, Option<u32>),
    Wait(u64),
    Flush(u16),
    Sweep,
}

impl Twin {
    /// The state of a packet and its mark. `max` connections there may be.
    fn packet(&mut self, ends: Ends, e: &Event, now: u64, max: usize) -> (String, u32) {
        let Event::Packet(_, _, commit, force, zone, mark) = *e else {
            unreachable!()
        };
        self.0.retain(|c| c.until_ms > now);
        let mut found = self
            .0
            .iter()
            .position(|c| c.zone == zone && (c.there == ends || c.back == ends));
        if let Some(i) = found
            && force
            && self.0[i].back == ends
        {
            self.0.remove(i);
            found = None;
        }
        let Some(i) = found else {
            if (commit || force) && self.0.len() < max {
                let mark = mark.unwrap_or(0);
                self.0.push(Plain {
                    zone,
                    there: ends,
                    back: turned(ends),
                    answered: false,
                    mark,
                    until_ms: now + 60_000,
                });
                return ("new|trk".into(), mark);
            }
            return ("new|trk".into(), 0);
        };
        let c = &mut self.0[i];
        let reply = c.there != ends;
        c.answered |= reply;
        c.until_ms = now + if c.answered { 30_000 } else { 60_000 };
        c.mark = mark.unwrap_or(c.mark);
        let state = match (c.answered, reply) {
            (false, _) => "new|trk",
            (true, false) => "est|trk",
            (true, true) => "est|rpl|trk",
        };
        (state.into(), c.mark)
    }
}

fn event() -> impl Strategy<Value = Event> {
    let packet = (
        0u8..6,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
        0u16..2,
        prop::option::weighted(0.3, any::<u32>()),
    );
    prop_oneof![
        12 => packet.prop_map(|(c, r, k, f, z, m)| Event::Packet(c, r, k, f, z, m)),
        3 => (0u64..70_000).prop_map(Event::Wait),
        1 => (0u16..2).prop_map(Event::Flush),
        1 => Just(Event::Sweep),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_plain_list(events in prop::collection::vec(event(), 1..120), max in 2usize..8) {
        let net = Net::new();
        net.control.set_max_conns(max as u32);
        let mut twin = Twin::default();
        for e in &events {
            let now = net.clock.now();
            match *e {
                Event::Packet(c, reply, commit, force, zone, mark) => {
                    // Expired ones count until they are swept; the plain one forgets at once.
                    net.clock.advance(0);
                    net.ct.sweep_all(now);
                    let ends = ([10, 1, 1, 1], u16::from(c) + 1, [10, 1, 1, 2], 53);
                    let ends = if reply { turned(ends) } else { ends };
                    let action = CtAction {
                        commit,
                        force,
                        zone,
                        mark: mark.map(|m| (m, u32::MAX)),
                        ..CtAction::default()
                    };
                    let (meta, _) = net.send(&action, &udp(ends), None);
                    let want = twin.packet(ends, e, now.millis(), max);
                    prop_assert_eq!((names(meta.state), meta.mark), want, "{:?}", e);
                }
                Event::Wait(ms) => net.clock.advance(ms),
                Event::Flush(zone) => {
                    net.control.flush(Some(zone));
                    twin.0.retain(|c| c.zone != zone);
                }
                Event::Sweep => net.ct.sweep(now),
            }
            let alive = twin.0.iter().filter(|c| c.until_ms > net.clock.now().millis()).count();
            prop_assert_eq!(net.entries().len(), alive);
        }
    }

    /// Any sequence of translated connections: answers find their way, and no two connections share one.
    #[test]
    fn translations_are_one_to_one(
        opened in prop::collection::vec((0u16..40, 0u8..3, any::<bool>(), 0u64..40_000), 1..80),
        size in 1u16..20,
    ) {
        let net = Net::new();
        let snat = natted(true, [10, 2, 0, 1], [10, 2, 0, 2], Some((1, size)));
        for (port, server, sweep, wait) in opened {
            net.clock.advance(wait);
            if sweep {
                net.ct.sweep(net.clock.now());
            }
            net.send(&snat, &udp(([10, 1, 1, 1], port + 1, [10, 1, 1, server], 53)), None);
            let entries = net.entries();
            let mut replies: Vec<_> = entries.iter().map(|e| (e.reply.src, e.reply.dst, e.reply.dport)).collect();
            replies.sort();
            replies.dedup();
            prop_assert_eq!(replies.len(), entries.len());
            for e in &entries {
                let octets = |ip| match ip {
                    std::net::IpAddr::V4(a) => a.octets(),
                    std::net::IpAddr::V6(_) => [0; 4],
                };
                let ends = (octets(e.reply.src), 53, octets(e.reply.dst), e.reply.dport);
                let (meta, p) = net.send(&back(1), &udp(ends), None);
                prop_assert_eq!(names(meta.state), "est|rpl|trk|dnat");
                prop_assert_eq!(&p[30..34], &octets(e.orig.src)[..]);
                prop_assert_eq!(&p[36..38], &e.orig.sport.to_be_bytes()[..]);
            }
        }
    }
}
