//! A batch through the `ct` action.
//!
//! All packets are parsed first. Then parts of the table are taken one after the other, each for all packets that
//! fall in it; what cannot be done there (an alias, a new connection) is done for that packet alone, without
//! the lock, before the packets behind it have their turn. So packets of a connection are taken in order.

use super::alg;
use super::conn::Conn;
use super::create::Wanted;
use super::fragments::Kept;
use super::nat::Way;
use super::parse::{Parsed, parse};
use super::rewrite::Rewrite;
use super::shard::{Found, Shard};
use super::step::CtStep;
use super::tcp::Change;
use super::tuple::Tuple;
use super::{Conntrack, bits, place};
use crate::pkts::Pkts;
use base::clock::Nanos;
use base::sync::Ordering;
use flow::{CtMeta, CtTuple};
use packet::BATCH_MAX;

/// Rounds of looking up and creating for one packet, when others are quicker every time.
const ROUNDS: usize = 4;

/// A packet on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) parsed: Parsed,
    /// What is looked for: the packet's tuple, or, when it was translated in this zone before, the reverse.
    wanted: Tuple,
    hash: u64,
    /// State so far, of this zone.
    state: u8,
    /// The connection that it was of when it was translated.
    shown: CtTuple,
}

impl Look {
    /// It was translated in this zone before.
    const fn is_translated(&self) -> bool {
        self.state & bits::NAT != 0
    }
}

/// What became of a packet.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) meta: CtMeta,
    pub(super) rewrite: Option<Rewrite>,
    /// Its control connection, when it may say anything.
    pub(super) control: Option<Box<alg::Control>>,
}

impl Verdict {
    const fn of(meta: CtMeta) -> Self {
        Self {
            meta,
            rewrite: None,
            control: None,
        }
    }
}

/// What a look at the table leads to.
enum Next {
    Done(Verdict),
    /// Its connection is to be looked for under this key.
    Owner(Tuple, u64),
    /// No such connection.
    Absent,
    /// A connection ended and another one begins.
    Again,
}

/// What the action says that does not change from packet to packet.
pub(super) struct Pass<'a> {
    pub(super) ct: &'a Conntrack,
    pub(super) step: &'a CtStep,
    pub(super) now: Nanos,
    check: bool,
    /// Removed connections, to be buried when no part is held.
    gone: Vec<Conn>,
}

/// One action at one time.
pub(crate) struct Run<'a> {
    pub(crate) step: &'a CtStep,
    pub(crate) now: Nanos,
    /// For choices that are to be random.
    pub(crate) random: &'a mut dyn FnMut() -> u64,
}

impl Conntrack {
    /// Sends packets through; each ends with the state found out about it, or is held as a fragment.
    pub(crate) fn run(&self, run: &mut Run<'_>, pkts: &mut Pkts) -> Kept {
        let step = run.step;
        step.complain();
        let mut pass = Pass {
            ct: self,
            step,
            now: run.now,
            check: self.seq_check.load(Ordering::Relaxed),
            gone: Vec::new(),
        };
        let mut looks = [const { None }; BATCH_MAX];
        let (mut todo, mut others) = (0u32, 0u32);
        for (i, slot) in looks.iter_mut().enumerate().take(pkts.len()) {
            match self.look(step, pkts, i) {
                Some(look) => {
                    crate::prefetch::prefetch(&self.shards[place(look.hash).0]);
                    *slot = Some(look);
                    todo |= 1 << i;
                }
                None => others |= 1 << i,
            }
        }
        while todo != 0 {
            pass.part(pkts, &looks, &mut todo, &mut *run.random);
            if !pass.gone.is_empty() {
                self.bury(std::mem::take(&mut pass.gone));
            }
        }
        let mut kept = Kept::default();
        if others != 0 {
            kept = self.hold(run, pkts, others);
        }
        if self.fragments.is_due(run.now) {
            self.let_go(run, pkts, &mut kept);
        }
        kept
    }

    /// Parses packet `i`.
    fn look(&self, step: &CtStep, pkts: &Pkts, i: usize) -> Option<Look> {
        let side = if pkts.sided {
            pkts.sides[i].as_deref()
        } else {
            None
        };
        let packet_type = side.map_or(0, |s| s.packet_type);
        let parsed = parse(&pkts.frames[i], &pkts.layers[i], packet_type, step.zone)?;
        let before = side
            .and_then(|s| s.ct.as_ref())
            .filter(|ct| ct.zone == step.zone);
        let state = before.map_or(0, |ct| ct.state);
        let wanted = if state & bits::NAT != 0 {
            parsed.tuple.reversed()
        } else {
            parsed.tuple
        };
        Some(Look {
            parsed,
            wanted,
            hash: wanted.hash(self.seed),
            state,
            shown: before.map_or(CtTuple::None, |ct| ct.tuple),
        })
    }
}

/// What is known of what cannot be tracked.
pub(super) fn invalid(zone: u16) -> CtMeta {
    CtMeta {
        state: bits::INVALID | bits::TRACKED,
        zone,
        ..CtMeta::default()
    }
}

impl Pass<'_> {
    /// Takes one part of the table, that of the first packet left, for all packets that fall in it.
    fn part(
        &mut self,
        pkts: &mut Pkts,
        looks: &[Option<Look>; BATCH_MAX],
        todo: &mut u32,
        random: &mut dyn FnMut() -> u64,
    ) {
        let first = todo.trailing_zeros() as usize;
        let Some(look) = looks.get(first).and_then(Option::as_ref) else {
            *todo = 0;
            return;
        };
        let (number, _) = place(look.hash);
        let mut shard = self.ct.shard(number);
        for (i, look) in looks.iter().enumerate().take(pkts.len()).skip(first) {
            let Some(look) = look.as_ref().filter(|_| *todo >> i & 1 != 0) else {
                continue;
            };
            let (shard_of, hash) = place(look.hash);
            if shard_of != number {
                continue;
            }
            *todo &= !(1 << i);
            match self.find(&mut shard, look, hash) {
                Next::Done(verdict) if verdict.control.is_none() => self.set(pkts, i, verdict),
                Next::Done(verdict) => {
                    // What a control connection says may change connections.
                    drop(shard);
                    self.set(pkts, i, verdict);
                    return;
                }
                other => {
                    drop(shard);
                    let verdict = self.slowly(look, other, random);
                    self.set(pkts, i, verdict);
                    return;
                }
            }
        }
    }

    /// Looks a packet up where it falls.
    fn find(&mut self, shard: &mut Shard, look: &Look, hash: u32) -> Next {
        match shard.find(&look.wanted, hash, self.now) {
            Some(Found::Conn { slot, reply }) => {
                self.found(shard, slot, look, reply != look.is_translated())
            }
            Some(Found::Alias { owner, id }) => Next::Owner(owner, id),
            None => {
                if let Some(slot) = shard.find_expired(&look.wanted, hash, self.now) {
                    self.gone.extend(shard.remove(slot));
                }
                Next::Absent
            }
        }
    }

    /// The packet belongs to a connection.
    fn found(&mut self, shard: &mut Shard, slot: u32, look: &Look, reply: bool) -> Next {
        if self.step.force && reply {
            self.gone.extend(shard.remove(slot));
            return Next::Absent;
        }
        let Some(conn) = shard.conn_mut(slot) else {
            return Next::Absent;
        };
        match self.update(conn, look, reply) {
            Some(verdict) => Next::Done(verdict),
            None => {
                self.gone.extend(shard.remove(slot));
                Next::Again
            }
        }
    }

    /// Notes a packet of a connection; `None` when it begins a new one.
    fn update(&self, conn: &mut Conn, look: &Look, reply: bool) -> Option<Verdict> {
        let mut state = look.state;
        if look.parsed.related {
            state |= bits::RELATED;
            if reply {
                state |= bits::REPLY;
            }
        } else {
            if conn.parent().is_some() {
                state |= bits::RELATED;
            }
            let mut seen = look.parsed;
            if let Some(skews) = conn.skews() {
                // What the other end means: before its numbers were shifted.
                let by = skews[usize::from(!reply)].of_ack(seen.tcp.ack);
                seen.tcp.ack = seen.tcp.ack.wrapping_add_signed(by.wrapping_neg());
            }
            let (change, timeout) = conn.proto.update(&seen, reply, self.check);
            if let Some(timeout) = timeout {
                let ms = self.ct.policies.with(conn.policy, |p| timeout.millis(p));
                conn.expires = self.now.plus_millis(ms);
            }
            match change {
                Change::Valid => {
                    state = state & !bits::NEW | bits::ESTABLISHED;
                    if reply {
                        state |= bits::REPLY;
                    }
                }
                Change::Invalid => state = bits::INVALID,
                Change::Opening => state |= bits::NEW,
                Change::Again => return None,
            }
        }
        let rewrite = self.rewrite(conn, &mut state, reply, &look.parsed);
        self.mark(conn);
        Some(Verdict {
            meta: meta_of(conn, state, self.step.zone),
            rewrite,
            control: alg::Control::of(conn, look, reply),
        })
    }

    /// The translation of a packet of a connection, once in each zone.
    fn rewrite(&self, conn: &Conn, state: &mut u8, reply: bool, p: &Parsed) -> Option<Rewrite> {
        self.step.nat.as_ref()?;
        let (way, _) = *conn.nat()?;
        if *state & bits::NAT != 0 {
            return None;
        }
        let mut rewrite = translation(conn, way, state, reply, p.related);
        if let Some(skews) = conn.skews().filter(|_| !p.related) {
            let (own, other) = (skews[usize::from(reply)], skews[usize::from(!reply)]);
            let ack = if p.tcp.has_ack() {
                other.of_ack(p.tcp.ack).wrapping_neg()
            } else {
                0
            };
            rewrite.shift = (own.of_seq(p.tcp.seq), ack);
        }
        Some(rewrite)
    }

    /// Sets mark and label, as far as the action says. Announced connections have their parent's.
    pub(super) fn mark(&self, conn: &mut Conn) {
        if conn.parent().is_some() {
            return;
        }
        if let Some((value, mask)) = self.step.mark {
            conn.mark = value | conn.mark & !mask;
        }
        if let Some((value, mask)) = self.step.label {
            conn.label = value | conn.label & !mask;
        }
    }

    /// What is not done by a look at one part.
    #[cold]
    fn slowly(&mut self, look: &Look, first: Next, random: &mut dyn FnMut() -> u64) -> Verdict {
        let mut next = first;
        let mut fresh = false;
        for _ in 0..ROUNDS {
            self.ct.bury(std::mem::take(&mut self.gone));
            next = match next {
                Next::Done(verdict) => return verdict,
                Next::Owner(owner, id) => self.at_owner(look, &owner, id),
                Next::Absent if !fresh => match self.translated_before(look) {
                    Next::Absent => {
                        fresh = true;
                        Next::Absent
                    }
                    other => other,
                },
                Next::Absent | Next::Again => match self.open(look, random) {
                    Ok(verdict) => return verdict,
                    // Somebody else was quicker: then it is of that one.
                    Err(Wanted::Exists) => {
                        let hash = place(look.hash).1;
                        let mut shard = self.ct.shard(place(look.hash).0);
                        self.find(&mut shard, look, hash)
                    }
                },
            };
        }
        self.ct.bury(std::mem::take(&mut self.gone));
        match next {
            Next::Done(verdict) => verdict,
            _ => self.without(look, bits::NEW),
        }
    }

    /// An answer to a translated connection.
    fn at_owner(&mut self, look: &Look, owner: &Tuple, id: u64) -> Next {
        let (mut shard, hash) = self.ct.part(owner);
        let slot = shard.find_key(owner, hash).filter(|&n| {
            let conn = shard.conn(n);
            conn.is_some_and(|c| c.id == id && c.expires > self.now)
        });
        match slot {
            Some(slot) => self.found(&mut shard, slot, look, !look.is_translated()),
            None => Next::Absent,
        }
    }

    /// A packet that was translated and then changed: its connection is the one it is shown with.
    fn translated_before(&mut self, look: &Look) -> Next {
        if !look.is_translated() || self.step.nat.is_some() {
            return Next::Absent;
        }
        let Some(key) = Tuple::of_shown(&look.shown, &look.parsed.tuple, self.step.zone) else {
            return Next::Absent;
        };
        let (mut shard, hash) = self.ct.part(&key);
        match shard.find(&key, hash, self.now) {
            Some(Found::Conn { slot, .. }) => self.found(&mut shard, slot, look, false),
            Some(Found::Alias { .. }) | None => Next::Absent,
        }
    }

    /// The verdict on a packet without a connection.
    pub(super) fn without(&self, look: &Look, state: u8) -> Verdict {
        Verdict::of(CtMeta {
            state: state | bits::TRACKED,
            zone: self.step.zone,
            mark: 0,
            label: 0,
            tuple: look.parsed.tuple.shown(),
        })
    }

    /// Gives packet `i` its state, and its translation.
    fn set(&self, pkts: &mut Pkts, i: usize, mut verdict: Verdict) {
        if let Some(rewrite) = &verdict.rewrite {
            let done = rewrite.apply(&mut pkts.frames[i], &pkts.layers[i]);
            debug_assert!(done.is_some(), "parsed packets have what is rewritten");
        }
        if verdict.control.is_some() {
            self.control(pkts, i, &mut verdict);
        }
        pkts.side_mut(i).ct = Some(verdict.meta);
    }
}

/// What a translated connection's packet is to look like; its state says so.
pub(super) fn translation(
    conn: &Conn,
    way: Way,
    state: &mut u8,
    reply: bool,
    related: bool,
) -> Rewrite {
    let way = if reply { way.back() } else { way };
    *state |= match way {
        Way::Src => bits::SRC_NAT,
        Way::Dst => bits::DST_NAT,
    };
    let other = if reply { conn.key } else { conn.reply() };
    Rewrite {
        target: other.reversed(),
        way,
        related,
        shift: (0, 0),
    }
}

/// What is shown of a packet's connection.
pub(super) fn meta_of(conn: &Conn, state: u8, zone: u16) -> CtMeta {
    CtMeta {
        state: state | bits::TRACKED,
        zone,
        mark: conn.mark,
        label: conn.label,
        tuple: conn.parent().unwrap_or(&conn.key).shown(),
    }
}
