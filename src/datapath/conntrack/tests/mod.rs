//! The tracker through its own door: packets in, states and packets out.

mod alg;
mod alias;
mod concurrent;
mod fragments;
mod hostile;
mod nat;
mod reference;
mod states;
mod tcp;

use super::fragments::Kept;
use super::{Conntrack, Control, CtStep, Run};
use crate::pkts::{Pkt, Pkts};
use base::clock::{Clock, Nanos};
use base::rng::Rng;
use base::sync::Arc;
use dpif::conntrack::{CtControl, CtEntry, format_entry};
use flow::compose::{Payload, compose};
use flow::{CtMeta, Flow, Layers};
use odp::{CtAction, NatAction, NatRange};
use packet::HeapPool;
use wire::ipv4::{PROTO_ICMP, PROTO_TCP, PROTO_UDP};
use wire::{Ipv4, U16, U32};

/// New, established, and so on, as flows print them.
pub(super) fn names(state: u8) -> String {
    let all = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
    let set = all.iter().enumerate().filter(|(i, _)| state >> i & 1 != 0);
    set.map(|(_, n)| *n).collect::<Vec<_>>().join("|")
}

/// A tracker with a clock.
pub(super) struct Net {
    pub(super) ct: Arc<Conntrack>,
    pub(super) clock: Clock,
    pub(super) control: Control,
}

impl Net {
    pub(super) fn new() -> Self {
        let ct = Conntrack::new(7);
        let clock = Clock::simulated(Nanos::from_millis(1_000_000));
        let control = Control::new(Arc::clone(&ct), clock.clone());
        Self { ct, clock, control }
    }

    /// Sends one packet through; what is known about it then, and the packet.
    pub(super) fn send(
        &self,
        action: &CtAction,
        packet: &[u8],
        before: Option<CtMeta>,
    ) -> (CtMeta, Vec<u8>) {
        let mut pkts = pkts_of(&[packet]);
        if let Some(before) = before {
            pkts.side_mut(0).ct = Some(before);
        }
        self.run(&CtStep::new(action), &mut pkts);
        let meta = pkts.side_mut(0).ct.unwrap();
        (meta, pkts.frames[0].data().to_vec())
    }

    /// Sends packets through; none may be held.
    pub(super) fn run(&self, step: &CtStep, pkts: &mut Pkts) {
        let kept = self.kept(step, pkts);
        assert_eq!((kept.held, kept.released.len()), (0, 0));
    }

    /// Sends packets through.
    pub(super) fn kept(&self, step: &CtStep, pkts: &mut Pkts) -> Kept {
        let mut rng = Rng::new(1);
        let mut run = Run {
            step,
            now: self.clock.now(),
            random: &mut || rng.next_u64(),
        };
        self.ct.run(&mut run, pkts)
    }

    /// The state of one packet, as text.
    pub(super) fn state(&self, action: &CtAction, packet: &[u8]) -> String {
        names(self.send(action, packet, None).0.state)
    }

    pub(super) fn entries(&self) -> Vec<CtEntry> {
        let (mut dump, mut out) = (self.control.dump(None), Vec::new());
        while dump.next(&mut out) {}
        out
    }

    pub(super) fn dump(&self) -> Vec<String> {
        let text = |e: &CtEntry| {
            let mut out = String::new();
            format_entry(&mut out, e, false, false);
            out
        };
        let mut lines: Vec<_> = self.entries().iter().map(text).collect();
        lines.sort();
        lines
    }
}

/// Packets ready for actions.
pub(super) fn pkts_of(packets: &[&[u8]]) -> Pkts {
    let mut pkts = Pkts::new();
    for (i, packet) in packets.iter().enumerate() {
        pkts.push(Pkt {
            frame: HeapPool::global().copy_from(packet),
            layers: Layers::UNKNOWN,
            side: None,
        });
        pkts.extract(i, &mut Flow::zero());
    }
    pkts
}

pub(super) fn commit(zone: u16) -> CtAction {
    CtAction {
        commit: true,
        zone,
        ..CtAction::default()
    }
}

pub(super) fn track(zone: u16) -> CtAction {
    CtAction {
        zone,
        ..CtAction::default()
    }
}

/// Translation with these addresses and ports.
pub(super) fn natted(src: bool, min: [u8; 4], max: [u8; 4], ports: Option<(u16, u16)>) -> CtAction {
    CtAction {
        nat: Some(NatAction {
            src,
            dst: !src,
            range: Some(NatRange {
                min: min.into(),
                max: Some(max.into()),
                ports,
            }),
            ..NatAction::default()
        }),
        ..commit(1)
    }
}

/// Translation as the connection says.
pub(super) fn back(zone: u16) -> CtAction {
    CtAction {
        nat: Some(NatAction::default()),
        ..track(zone)
    }
}

pub(super) type Ends = ([u8; 4], u16, [u8; 4], u16);

pub(super) fn key4(proto: u8, (src, sport, dst, dport): Ends) -> Flow {
    let mut f = Flow::zero();
    f.dl_type = U16::new(0x0800);
    f.nw_src = Ipv4(src);
    f.nw_dst = Ipv4(dst);
    f.nw_proto = proto;
    f.nw_ttl = 64;
    f.tp_src = U16::new(sport);
    f.tp_dst = U16::new(dport);
    f
}

pub(super) fn udp(ends: Ends) -> Vec<u8> {
    compose(&key4(PROTO_UDP, ends), Payload::Counting(11))
}

pub(super) fn turned((src, sport, dst, dport): Ends) -> Ends {
    (dst, dport, src, sport)
}

/// An echo request (8) or reply (0).
pub(super) fn ping(src: [u8; 4], dst: [u8; 4], kind: u16, id: u16) -> Vec<u8> {
    let mut p = compose(&key4(PROTO_ICMP, (src, kind, dst, 0)), Payload::Counting(8));
    p[38..40].copy_from_slice(&id.to_be_bytes());
    p[36..38].fill(0);
    let sum = wire::checksum::checksum(&p[34..]);
    p[36..38].copy_from_slice(&sum.to_be_bytes());
    p
}

/// A segment of TCP.
pub(super) fn segment(ends: Ends, flags: u16, (seq, ack): (u32, u32), len: usize) -> Vec<u8> {
    let mut f = key4(PROTO_TCP, ends);
    f.tcp_flags = U16::new(flags);
    let mut p = compose(&f, Payload::Counting(len));
    let total = (20 + 20 + len) as u16;
    p.resize(14 + usize::from(total), 0);
    p[16..18].copy_from_slice(&total.to_be_bytes());
    p[24..26].fill(0);
    let sum = wire::checksum::checksum(&p[14..34]);
    p[24..26].copy_from_slice(&sum.to_be_bytes());
    p[38..42].copy_from_slice(&seq.to_be_bytes());
    p[42..46].copy_from_slice(&ack.to_be_bytes());
    p[46..48].copy_from_slice(&(0x5000 | flags).to_be_bytes());
    p[48..50].copy_from_slice(&1000u16.to_be_bytes());
    refresh(&mut p);
    p
}

/// Makes the checksum of a TCP or UDP packet over IPv4 right.
pub(super) fn refresh(p: &mut [u8]) {
    let at = if p[23] == PROTO_TCP { 50 } else { 40 };
    p[at..at + 2].fill(0);
    let sum = l4_sum(p);
    p[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum over pseudo header and layer 4; 0 when the packet's is right.
pub(super) fn l4_sum(p: &[u8]) -> u16 {
    let addr = |i: usize| Ipv4([p[i], p[i + 1], p[i + 2], p[i + 3]]);
    let len = (p.len() - 34) as u32;
    wire::checksum::pseudo4(addr(26), addr(30), p[23], len)
        .add_bytes(&p[34..])
        .finish()
}

/// An ICMP error of `from` about `inner` (an IPv4 packet with Ethernet header), cut to `quoted` octets.
pub(super) fn unreachable(from: [u8; 4], inner: &[u8], quoted: usize) -> Vec<u8> {
    let to = [inner[26], inner[27], inner[28], inner[29]];
    let quote = &inner[14..14 + quoted.min(inner.len() - 14)];
    let mut f = key4(PROTO_ICMP, (from, 3, to, 1));
    f.nw_ttl = 64;
    f.igmp_group_ip4 = U32::ZERO;
    let mut p = compose(&f, Payload::Bytes(quote));
    p.truncate(14 + 20 + 8);
    p.extend_from_slice(quote);
    let total = (p.len() - 14) as u16;
    p[16..18].copy_from_slice(&total.to_be_bytes());
    p[24..26].fill(0);
    let sum = wire::checksum::checksum(&p[14..34]);
    p[24..26].copy_from_slice(&sum.to_be_bytes());
    p[34..42].copy_from_slice(&[3, 1, 0, 0, 0, 0, 0, 0]);
    let sum = wire::checksum::checksum(&p[34..]);
    p[36..38].copy_from_slice(&sum.to_be_bytes());
    p
}
