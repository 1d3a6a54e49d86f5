//! [`Fragments`]: fragments that wait for the rest of their packet.
//!
//! A fragment says too little to be tracked alone. So fragments are held, as copies, until all are there; the
//! packet that they make is tracked; and then the fragments themselves go on, in order, with what was found
//! out about it, and with its translation. What is too small, overlaps, or exceeds the limits is not
//! held: it goes on as invalid. So do fragments whose packet was not whole in time, if their flow still has
//! packets; otherwise they are thrown away some time later.
//!
//! * [`piece`]: reading a fragment. [`whole`]: making a packet of them, and giving back what was found out.
//!
//! Threads: fragments of one packet may come in on different packet threads, so the lists are shared, under one
//! lock. It is only taken for fragments, and when some have waited too long.

mod piece;
mod whole;

use super::Conntrack;
use super::step::CtStep;
use super::track::{Run, invalid};
use crate::pkts::{Pkt, Pkts};
use base::clock::Nanos;
use base::sync::{AtomicBool, AtomicU32, AtomicU64, Counter, Mutex, Ordering, lock};
use dpif::conntrack::{IpfFamily, IpfStatus};
use piece::{Key, Piece};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How long a packet may take to become whole, milliseconds (as the peer's).
const WAIT_MS: u64 = 15_000;
/// How long after that its fragments are kept for their flow's next packet, milliseconds (as the peer's).
const LINGER_MS: u64 = 10_000;
/// Fragments held at most, unless configured; and what can be configured (as the peer's).
const HELD_MAX: u32 = 1000;
const HELD_BOUND: u32 = 5000;
/// The smallest size that can be configured, octets (as the peer's).
const SIZE_BOUND: u32 = 400;
/// Octets that the fragments of a packet can make together.
const WHOLE_MAX: usize = 65_535;

/// What has been seen of a packet, in the words of `ipf-get-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Other,
    First,
    Last,
    Both,
    Failed,
}

impl Seen {
    const fn name(self) -> &'static str {
        match self {
            Self::Other => "other frag",
            Self::First => "first frag",
            Self::Last => "last frag",
            Self::Both => "first/last frag",
            Self::Failed => "reassemble fail",
        }
    }
}

/// Fragments of one packet, in the order of their offsets.
#[derive(Debug)]
struct List {
    seen: Seen,
    pieces: Vec<(Piece, Pkt)>,
    until: Nanos,
}

/// How one address family is treated, and what became of its fragments.
#[derive(Debug)]
struct Family {
    enabled: AtomicBool,
    min_size: AtomicU32,
    accepted: Counter,
    completed: Counter,
    expired: Counter,
    too_small: Counter,
    overlapped: Counter,
    purged: Counter,
}

impl Family {
    const fn new(min_size: u32) -> Self {
        Self {
            enabled: AtomicBool::new(true),
            min_size: AtomicU32::new(min_size),
            accepted: Counter::new(),
            completed: Counter::new(),
            expired: Counter::new(),
            too_small: Counter::new(),
            overlapped: Counter::new(),
            purged: Counter::new(),
        }
    }

    fn status(&self) -> IpfFamily {
        IpfFamily {
            enabled: self.enabled.load(Ordering::Relaxed),
            min_frag_size: self.min_size.load(Ordering::Relaxed),
            nfrag_accepted: self.accepted.get(),
            nfrag_completed_sent: self.completed.get(),
            nfrag_expired_sent: self.expired.get(),
            nfrag_too_small: self.too_small.get(),
            nfrag_overlap: self.overlapped.get(),
            nfrag_purged: self.purged.get(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fragments {
    lists: Mutex<HashMap<Key, List>>,
    held: AtomicU32,
    held_max: AtomicU32,
    /// When the first list may have waited too long; the largest number when there is none.
    due: AtomicU64,
    v4: Family,
    v6: Family,
}

impl Default for Fragments {
    fn default() -> Self {
        Self {
            lists: Mutex::default(),
            held: AtomicU32::new(0),
            held_max: AtomicU32::new(HELD_MAX),
            due: AtomicU64::new(u64::MAX),
            v4: Family::new(1200),
            v6: Family::new(1280),
        }
    }
}

/// What became of the fragments among some packets.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Packets that were taken and wait.
    pub(crate) held: u64,
    /// Packets that waited and go on now.
    pub(crate) released: Vec<Pkt>,
}

/// What a fragment leads to.
enum Step {
    /// It goes on as invalid.
    Refused,
    Held,
    /// Its packet is whole.
    Whole(Vec<(Piece, Pkt)>),
}

impl Fragments {
    const fn family(&self, v6: bool) -> &Family {
        if v6 { &self.v6 } else { &self.v4 }
    }

    /// Fragments held.
    pub(super) fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// Some list may have waited too long.
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        self.due.load(Ordering::Relaxed) <= now.0
    }

    /// Reads packet `i` as a fragment that may be held.
    fn read(&self, step: &CtStep, pkts: &Pkts, i: usize) -> Option<(Key, Piece)> {
        let (key, piece) = piece::read(pkts, i, step.zone)?;
        let family = self.family(key.v6);
        if !family.enabled.load(Ordering::Relaxed) {
            return None;
        }
        if !piece.last && piece.size < family.min_size.load(Ordering::Relaxed) as usize {
            family.too_small.add_shared(1);
            return None;
        }
        Some((key, piece))
    }

    /// Adds a fragment to its list.
    fn add(&self, (key, piece): (Key, Piece), pkts: &Pkts, i: usize, now: Nanos) -> Step {
        if self.held() >= self.held_max.load(Ordering::Relaxed) {
            return Step::Refused;
        }
        let family = self.family(key.v6);
        let mut lists = lock(&self.lists);
        let list = lists.entry(key).or_insert_with(|| List {
            seen: Seen::Other,
            pieces: Vec::new(),
            until: now.plus_millis(WAIT_MS),
        });
        if list.seen == Seen::Failed {
            return Step::Refused;
        }
        if list.pieces.iter().any(|(p, _)| p.overlaps(&piece)) {
            family.overlapped.add_shared(1);
            return Step::Refused;
        }
        family.accepted.add_shared(1);
        self.held.fetch_add(1, Ordering::Relaxed);
        self.due.fetch_min(list.until.0, Ordering::Relaxed);
        let at = list.pieces.partition_point(|(p, _)| p.start < piece.start);
        list.pieces.insert(at, (piece, pkts.duplicate(i)));
        list.seen = match (list.seen, piece.first, piece.last) {
            (Seen::Both, ..) | (Seen::First, _, true) | (Seen::Last, true, _) => Seen::Both,
            (_, true, _) => Seen::First,
            (_, _, true) => Seen::Last,
            (seen, false, false) => seen,
        };
        if list.seen != Seen::Both || !is_whole(&list.pieces) {
            return Step::Held;
        }
        if whole::octets(&list.pieces) > WHOLE_MAX {
            list.seen = Seen::Failed;
            return Step::Held;
        }
        match lists.remove(&key) {
            Some(list) => {
                self.held
                    .fetch_sub(list.pieces.len() as u32, Ordering::Relaxed);
                family.completed.add_shared(list.pieces.len() as u64);
                Step::Whole(list.pieces)
            }
            None => Step::Held,
        }
    }

    /// Takes out lists that have waited too long: those of a zone and pass to go on, and those that have waited far
    /// too long to be thrown away.
    fn expired(&self, zone_pass: Option<(u16, u32)>, now: Nanos) -> Vec<(bool, Vec<(Piece, Pkt)>)> {
        let mut lists = lock(&self.lists);
        let mut out = Vec::new();
        let mut due = u64::MAX;
        lists.retain(|key, list| {
            let lost = now >= list.until.plus_millis(LINGER_MS);
            let here = zone_pass == Some((key.zone, key.recirc_id)) && now >= list.until;
            if !lost && !here {
                let next = if now >= list.until {
                    list.until.plus_millis(LINGER_MS)
                } else {
                    list.until
                };
                due = due.min(next.0);
                return true;
            }
            let pieces = std::mem::take(&mut list.pieces);
            self.held.fetch_sub(pieces.len() as u32, Ordering::Relaxed);
            let family = self.family(key.v6);
            let count = if here {
                &family.expired
            } else {
                &family.purged
            };
            count.add_shared(pieces.len() as u64);
            out.push((here, pieces));
            false
        });
        // Lists that wait for their flow's next packet are looked at with each of them.
        if lists.values().any(|l| now >= l.until) {
            due = due.min(now.0);
        }
        self.due.store(due, Ordering::Relaxed);
        out
    }

    /// Throws away what has waited far too long.
    pub(super) fn purge(&self, now: Nanos) {
        if self.is_due(now) {
            drop(self.expired(None, now));
        }
    }

    pub(super) fn status(&self) -> IpfStatus {
        IpfStatus {
            nfrag: self.held(),
            nfrag_max: self.held_max.load(Ordering::Relaxed),
            v4: self.v4.status(),
            v6: self.v6.status(),
        }
    }

    pub(super) fn set_enabled(&self, v6: bool, on: bool) {
        self.family(v6).enabled.store(on, Ordering::Relaxed);
    }
    /// False when that is too small.
    pub(super) fn set_min_size(&self, v6: bool, octets: u32) -> bool {
        let fits = octets >= SIZE_BOUND;
        if fits {
            self.family(v6).min_size.store(octets, Ordering::Relaxed);
        }
        fits
    }
    /// False when those are too many.
    pub(super) fn set_max(&self, n: u32) -> bool {
        let fits = n <= HELD_BOUND;
        if fits {
            self.held_max.store(n, Ordering::Relaxed);
        }
        fits
    }

    /// One line for each packet that is not whole.
    pub(super) fn lines(&self) -> Vec<String> {
        let lists = lock(&self.lists);
        let line = |(k, l): (&Key, &List)| {
            let ip = |a: &[u8; 16]| {
                if k.v6 {
                    IpAddr::V6(Ipv6Addr::from(*a))
                } else {
                    IpAddr::V4(Ipv4Addr::new(a[0], a[1], a[2], a[3]))
                }
            };
            let ethertype = if k.v6 { 0x86dd } else { 0x800 };
            format!(
                "(src={},dst={},recirc_id={},ip_id={},dl_type={ethertype:#x},zone={},nw_proto={},num_fragments={},state={})",
                ip(&k.src),
                ip(&k.dst),
                k.recirc_id,
                k.id,
                k.zone,
                k.proto,
                l.pieces.len(),
                l.seen.name()
            )
        };
        lists.iter().map(line).collect()
    }
}

/// No octet is missing.
fn is_whole(pieces: &[(Piece, Pkt)]) -> bool {
    let mut next = 0;
    for (p, _) in pieces {
        if p.start != next {
            return false;
        }
        next = p.end;
    }
    pieces.last().is_some_and(|(p, _)| p.last)
}

impl Conntrack {
    /// Takes those of packets `which` that are fragments and can be held; the others are invalid. `self.run` is
    /// called for packets that become whole.
    pub(super) fn hold(&self, run: &mut Run<'_>, pkts: &mut Pkts, which: u32) -> Kept {
        let (step, now) = (run.step, run.now);
        let mut kept = Kept::default();
        let mut taken = 0u32;
        for i in 0..pkts.len() {
            if which >> i & 1 == 0 {
                continue;
            }
            let outcome = match self.fragments.read(step, pkts, i) {
                Some(fragment) => self.fragments.add(fragment, pkts, i, now),
                None => Step::Refused,
            };
            match outcome {
                Step::Refused => pkts.side_mut(i).ct = Some(invalid(step.zone)),
                Step::Held => taken |= 1 << i,
                Step::Whole(pieces) => {
                    taken |= 1 << i;
                    let like = (pkts.in_port, pkts.recirc_id, pkts.passes);
                    kept.released.extend(self.whole(run, pieces, like));
                }
            }
        }
        if taken != 0 {
            let mut i = 0;
            pkts.retain(
                |_, _, _| {
                    i += 1;
                    taken >> (i - 1) & 1 == 0
                },
                drop,
            );
            kept.held = u64::from(taken.count_ones());
            self.sweeper.wake();
        }
        kept
    }

    /// Fragments whose packet was not whole in time go on, where their flow has packets.
    pub(super) fn let_go(&self, run: &Run<'_>, pkts: &Pkts, kept: &mut Kept) {
        let (step, now) = (run.step, run.now);
        let at = (step.zone, pkts.recirc_id);
        for (here, pieces) in self.fragments.expired(Some(at), now) {
            if !here {
                continue;
            }
            kept.released.extend(pieces.into_iter().map(|(_, mut pkt)| {
                crate::pkts::side_of(&mut pkt.side).ct = Some(invalid(step.zone));
                pkt
            }));
        }
    }
}
