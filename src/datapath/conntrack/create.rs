//! New connections.
//!
//! A translated one first takes the tuple of its answers by putting an alias there, which fails when anybody has
//! it; then it goes into the table under its own. What was taken is given back when that fails.

use super::alg::{self, expect::Expectation};
use super::conn::{Alias, Conn, More};
use super::nat::{Nat, Way};
use super::proto::Proto;
use super::track::{Look, Pass, Verdict, meta_of, translation};
use super::tuple::Tuple;
use super::{Conntrack, bits};
use base::sync::Ordering;

/// Why a connection was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is there.
    Exists,
}

/// Rate of what is said about exhausted translations.
static EXHAUSTED: base::log::RateLimit = base::log::RateLimit::new(5, 5);

impl Pass<'_> {
    /// The packet has no connection: it begins one, if it may.
    pub(super) fn open(
        &mut self,
        look: &Look,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Verdict, Wanted> {
        let p = &look.parsed;
        if p.related || !p.opens {
            return Ok(self.without(look, bits::INVALID));
        }
        let expected = self.ct.expected.find(&p.tuple);
        if !self.step.commit {
            return Ok(self.unopened(look, expected.as_ref()));
        }
        let Ok(admission) = self.ct.zones.admit(self.step.zone) else {
            return Ok(self.unopened(look, expected.as_ref()));
        };
        if !self.ct.take_place() {
            return Ok(self.unopened(look, expected.as_ref()));
        }
        let key = p.tuple;
        let (proto, timeout) = Proto::new(&key, p);
        let policy = self.step.policy;
        let ms = self.ct.policies.with(policy, |t| timeout.millis(t));
        let mut conn = Conn {
            key,
            mark: 0,
            label: 0,
            expires: self.now.plus_millis(ms),
            proto,
            policy,
            id: self.ct.ids.fetch_add(1, Ordering::Relaxed),
            admission,
            more: None,
        };
        if let Some(helper) = self.step.helper {
            more(&mut conn).helper = Some(helper);
        }
        if let Some(e) = &expected {
            (conn.mark, conn.label) = (e.mark, e.label);
            more(&mut conn).parent = Some(e.parent);
        }
        if let Some(nat) = &self.step.nat
            && !self.translate(&mut conn, nat, expected.as_ref(), random)
        {
            self.ct.conns.fetch_sub(1, Ordering::Relaxed);
            base::log_rl!(
                EXHAUSTED,
                WARN,
                "conntrack",
                "Unable to NAT due to tuple space exhaustion - if DoS attack, use firewalling and/or zone partitioning."
            );
            return Ok(self.unopened(look, expected.as_ref()));
        }
        self.insert(conn, look)
    }

    /// The verdict on a packet that could begin a connection.
    fn unopened(&self, look: &Look, expected: Option<&Expectation>) -> Verdict {
        let Some(e) = expected else {
            return self.without(look, bits::NEW);
        };
        let mut verdict = self.without(look, bits::NEW | bits::RELATED);
        (verdict.meta.mark, verdict.meta.label) = (e.mark, e.label);
        verdict.meta.tuple = e.parent.shown();
        verdict
    }

    /// Decides on a translation and takes it; false when there is none left.
    fn translate(
        &self,
        conn: &mut Conn,
        nat: &Nat,
        expected: Option<&Expectation>,
        random: &mut dyn FnMut() -> u64,
    ) -> bool {
        let (ct, now, key, id) = (self.ct, self.now, conn.key, conn.id);
        let plain = key.reversed();
        let reserve = |reply: &Tuple| {
            let (mut shard, hash) = ct.part(reply);
            if shard.find(reply, hash, now).is_some() {
                return false;
            }
            if *reply != plain {
                let alias = Alias {
                    tuple: *reply,
                    owner: key,
                    id,
                };
                shard.insert_alias(hash, alias);
            }
            true
        };
        let (way, reply) = match (expected, nat.way) {
            // As its parent is translated, whatever the action asks for.
            (Some(e), _) => {
                let mut reply = plain;
                match e.way {
                    Way::Src => reply.dst.addr = e.addr,
                    Way::Dst => reply.src.addr = e.addr,
                }
                (e.way, reserve(&reply).then_some(reply))
            }
            (None, Some(way)) => (way, nat.choose(&key, (way, ct.seed), random, reserve)),
            (None, None) => return true,
        };
        if let Some(reply) = reply {
            more(conn).nat = Some((way, reply));
        }
        reply.is_some()
    }

    /// Puts a connection into the table, unless one with its tuple is there by now.
    fn insert(&mut self, mut conn: Conn, look: &Look) -> Result<Verdict, Wanted> {
        self.mark(&mut conn);
        let mut state = bits::NEW;
        if conn.parent().is_some() {
            state |= bits::RELATED;
        }
        let way = conn.nat().map(|(way, _)| *way);
        let rewrite = way.map(|way| translation(&conn, way, &mut state, false, false));
        let verdict = Verdict {
            meta: meta_of(&conn, state, self.step.zone),
            rewrite,
            control: alg::Control::of(&conn, look, false),
        };
        let (mut shard, hash) = self.ct.part(&conn.key);
        if shard.find(&conn.key, hash, self.now).is_some() {
            drop(shard);
            self.ct.bury([conn]);
            return Err(Wanted::Exists);
        }
        shard.insert(hash, conn, self.now);
        drop(shard);
        self.ct.sweeper.wake();
        Ok(verdict)
    }
}

fn more(conn: &mut Conn) -> &mut More {
    conn.more.get_or_insert_default()
}

impl Conntrack {
    /// Counts one more connection, if there may be one more.
    fn take_place(&self) -> bool {
        let max = self.conns_max.load(Ordering::Relaxed);
        let before = self.conns.fetch_add(1, Ordering::Relaxed);
        if before >= max {
            self.conns.fetch_sub(1, Ordering::Relaxed);
        }
        before < max
    }

    /// Removes a connection by its original direction.
    pub(super) fn forget(&self, key: &Tuple, alive: impl Fn(&Conn) -> bool) -> bool {
        let (mut shard, hash) = self.part(key);
        let slot = shard.find_key(key, hash);
        let slot = slot.filter(|&n| shard.conn(n).is_some_and(&alive));
        let conn = slot.and_then(|n| shard.remove(n));
        drop(shard);
        let had = conn.is_some();
        self.bury(conn);
        had
    }
}
