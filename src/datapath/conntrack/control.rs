//! The tracker for control threads: dumps, flushes, limits. Parts of the table are held for some slots at a time.

use super::conn::Conn;
use super::proto::Proto;
use super::tcp::{Peer, Phase, Scale};
use super::tuple::{End, Tuple, addr_of, answer_to};
use super::{Conntrack, SHARDS};
use base::clock::{Clock, Nanos};
use base::sync::{Arc, Ordering};
use dpif::DpifError;
use dpif::conntrack::{
    CtControl, CtDump, CtEntry, CtProtoInfo, CtTuple, IpfStatus, TcpEnd, TcpPhase, Timers,
    ZoneLimit,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Slots looked at while a part is held.
const SLICE: u32 = 64;

/// The tracker and the time.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    ct: Arc<Conntrack>,
    clock: Clock,
}

impl Control {
    pub(crate) fn new(ct: Arc<Conntrack>, clock: Clock) -> Self {
        Self { ct, clock }
    }
}

/// A dump at some slot of some part.
#[derive(Debug)]
struct Dump {
    of: Control,
    zone: Option<u16>,
    shard: usize,
    slot: u32,
}

impl CtDump for Dump {
    fn next(&mut self, out: &mut Vec<CtEntry>) -> bool {
        let (now, zone) = (self.of.clock.now(), self.zone);
        let had = out.len();
        while self.shard < SHARDS {
            let shard = self.of.ct.shard(self.shard);
            let on = shard.each(self.slot, SLICE, |c| {
                if c.expires > now && zone.is_none_or(|z| z == c.key.zone) {
                    out.push(show(c, now));
                }
            });
            drop(shard);
            match on {
                Some(slot) => self.slot = slot,
                None => (self.shard, self.slot) = (self.shard + 1, 0),
            }
            if out.len() - had >= SLICE as usize {
                return true;
            }
        }
        false
    }
}

fn ip(end: &End, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::from(end.addr))
    } else {
        IpAddr::V4(Ipv4Addr::from(end.v4()))
    }
}

fn show_tuple(t: &Tuple) -> CtTuple {
    CtTuple {
        src: ip(&t.src, t.v6),
        dst: ip(&t.dst, t.v6),
        proto: t.proto,
        sport: t.src.port,
        dport: t.dst.port,
        icmp: (t.src.kind, t.src.code),
    }
}

fn show_peer(p: &Peer) -> TcpEnd {
    TcpEnd {
        phase: match p.phase {
            Phase::Closed => TcpPhase::Closed,
            Phase::SynSent => TcpPhase::SynSent,
            Phase::Established => TcpPhase::Established,
            Phase::Closing => TcpPhase::Closing,
            Phase::FinWait2 => TcpPhase::FinWait2,
            Phase::TimeWait => TcpPhase::TimeWait,
        },
        scale: p.scale.shift(),
        scales: matches!(p.scale, Scale::Known(_)),
        liberal: p.scale == Scale::Unknown,
    }
}

fn show(c: &Conn, now: Nanos) -> CtEntry {
    CtEntry {
        orig: show_tuple(&c.key),
        reply: show_tuple(&c.reply()),
        parent: c.parent().map(show_tuple),
        zone: c.key.zone,
        mark: c.mark,
        label: c.label,
        timeout: u32::try_from(c.expires.since(now).as_secs()).unwrap_or(u32::MAX),
        info: match &c.proto {
            Proto::Tcp(tcp) => CtProtoInfo::Tcp(tcp.peers.each_ref().map(show_peer)),
            Proto::Other(_) | Proto::Icmp(_) => CtProtoInfo::None,
        },
        helper: c.helper().map(super::conn::Helper::name),
    }
}

/// The key of a connection that a command names.
fn key_of(t: &CtTuple, zone: u16) -> Option<Tuple> {
    let v6 = t.src.is_ipv6();
    let end = |ip, port| End {
        addr: addr_of(ip),
        port,
        ..End::default()
    };
    let mut key = Tuple {
        src: end(t.src, t.sport),
        dst: end(t.dst, t.dport),
        zone,
        proto: t.proto,
        v6,
    };
    if key.is_icmp() {
        key.dst.port = t.sport;
        (key.src.kind, key.src.code) = t.icmp;
        key.dst.kind = answer_to(t.icmp.0, v6)?;
        key.dst.code = t.icmp.1;
    }
    (v6 == t.dst.is_ipv6()).then_some(key)
}

impl CtControl for Control {
    fn dump(&self, zone: Option<u16>) -> Box<dyn CtDump> {
        Box::new(Dump {
            of: self.clone(),
            zone,
            shard: 0,
            slot: 0,
        })
    }

    fn flush(&self, zone: Option<u16>) {
        let mut gone = Vec::new();
        for number in 0..SHARDS {
            let mut from = Some(0);
            while let Some(slot) = from {
                from = self.ct.shard(number).remove_if(
                    slot,
                    SLICE,
                    |c| zone.is_none_or(|z| z == c.key.zone),
                    |c| gone.push(c),
                );
                self.ct.bury(gone.drain(..));
            }
        }
    }

    fn flush_tuple(&self, tuple: &CtTuple, zone: u16) -> Result<(), DpifError> {
        let now = self.clock.now();
        let alive = |c: &Conn| c.expires > now;
        let key = key_of(tuple, zone);
        // Of a connection that is not translated, either direction will do.
        let plain = |c: &Conn| alive(c) && c.alias().is_none();
        if key.is_some_and(|k| self.ct.forget(&k, alive) || self.ct.forget(&k.reversed(), plain)) {
            return Ok(());
        }
        tracing::warn!(target: "conntrack", "Must flush tuple using the original pre-NATed tuple");
        Err(DpifError::NoEntry)
    }

    fn max_conns(&self) -> u32 {
        self.ct.conns_max.load(Ordering::Relaxed)
    }
    fn set_max_conns(&self, n: u32) {
        self.ct.conns_max.store(n, Ordering::Relaxed);
    }
    fn conns(&self) -> u32 {
        self.ct.conns.load(Ordering::Relaxed)
    }
    fn tcp_seq_check(&self) -> bool {
        self.ct.seq_check.load(Ordering::Relaxed)
    }
    fn set_tcp_seq_check(&self, on: bool) {
        self.ct.seq_check.store(on, Ordering::Relaxed);
    }

    fn default_limit(&self) -> u32 {
        self.ct.zones.get(None).map_or(0, |(limit, _)| limit)
    }
    fn limit(&self, zone: u16) -> ZoneLimit {
        let own = self.ct.zones.get(Some(zone));
        let (limit, count) = own.or_else(|| self.ct.zones.get(None)).unwrap_or_default();
        ZoneLimit { zone, limit, count }
    }
    fn limits(&self) -> Vec<ZoneLimit> {
        let all = self.ct.zones.all().into_iter();
        all.map(|(zone, limit, count)| ZoneLimit { zone, limit, count })
            .collect()
    }
    fn set_limit(&self, zone: Option<u16>, limit: u32) {
        let new = self.ct.zones.set(zone, limit);
        let what = if new { "Created" } else { "Changed" };
        let zone = zone.map_or(-1, i32::from);
        tracing::info!(target: "conntrack", "{what} zone limit of {limit} for zone {zone}");
    }
    fn del_limit(&self, zone: u16) {
        let had = self.ct.zones.del(zone);
        let what = if had {
            "Deleted zone limit for zone"
        } else {
            "Attempted delete of non-existent zone limit: zone"
        };
        tracing::info!(target: "conntrack", "{what} {zone}");
    }

    fn set_timeouts(&self, id: u32, timers: Timers) {
        self.ct.policies.set(id, timers);
    }
    fn del_timeouts(&self, id: u32) -> Result<(), DpifError> {
        if self.ct.policies.del(id) {
            return Ok(());
        }
        base::log_rl!(
            NO_POLICY,
            WARN,
            "conntrack_tp",
            "Failed to delete a non-existent timeout policy: id={id}"
        );
        Err(DpifError::NoEntry)
    }
    fn timeouts(&self) -> Vec<(u32, Timers)> {
        self.ct.policies.all()
    }

    fn ipf_status(&self) -> IpfStatus {
        self.ct.fragments.status()
    }
    fn ipf_set_enabled(&self, v6: bool, on: bool) {
        self.ct.fragments.set_enabled(v6, on);
    }
    fn ipf_set_min_frag(&self, v6: bool, octets: u32) -> Result<(), DpifError> {
        let done = self.ct.fragments.set_min_size(v6, octets);
        done.then_some(()).ok_or(DpifError::Invalid)
    }
    fn ipf_set_max_frags(&self, n: u32) -> Result<(), DpifError> {
        let done = self.ct.fragments.set_max(n);
        done.then_some(()).ok_or(DpifError::Invalid)
    }
    fn ipf_lists(&self) -> Vec<String> {
        self.ct.fragments.lines()
    }
}

static NO_POLICY: base::log::RateLimit = base::log::RateLimit::new(1, 5);
