//! Application protocols whose control connections announce others: FTP and TFTP.
//!
//! * [`message`]: what an FTP message announces. [`expect`]: announced connections that did not come yet.
//! * [`mangle`]: putting the translated address into a message, and [`skew`]: what its new length does to the
//!   sequence numbers behind it.
//!
//! A control connection is one that was committed with a helper. Tracking sees the sequence numbers that the ends
//! mean: numbers are shifted behind it on the way of the changed message, and back before it on the way back.

pub(super) mod expect;
mod mangle;
mod message;
pub(super) mod skew;

use super::conn::{Conn, Helper};
use super::nat::Way;
use super::track::{Look, Pass, Verdict};
use super::tuple::{Tuple, addr_of};
use super::{Conntrack, bits};
use crate::pkts::Pkts;
use expect::Expectation;
use message::Announcement;

/// A control connection, as far as handling its messages needs it.
#[derive(Debug, Clone)]
pub(super) struct Control {
    key: Tuple,
    reply_key: Tuple,
    way: Option<Way>,
    helper: Helper,
    mark: u32,
    label: u128,
    /// The packet is an answer.
    reply: bool,
    /// Its sequence number, as its sender means it.
    seq: u32,
}

impl Control {
    /// What is needed of a connection for a packet, if that may say anything.
    pub(super) fn of(conn: &Conn, look: &Look, reply: bool) -> Option<Box<Self>> {
        let helper = conn.helper()?;
        let speaks = match helper {
            Helper::Ftp => look.parsed.tcp.len > 0,
            Helper::Tftp => !reply && conn.key.proto == wire::ipv4::PROTO_UDP,
        };
        (speaks && !look.parsed.related).then(|| {
            Box::new(Self {
                key: conn.key,
                reply_key: conn.reply(),
                way: conn.nat().map(|(way, _)| *way),
                helper,
                mark: conn.mark,
                label: conn.label,
                reply,
                seq: look.parsed.tcp.seq,
            })
        })
    }

    /// The connection that is announced: who opens it, and what it is translated to.
    fn expectation(&self, port: u16) -> (Tuple, Expectation) {
        let (key, reply) = (&self.key, &self.reply_key);
        let is_dnat = self.way == Some(Way::Dst);
        let (src, dst, to_dst, addr) = if self.reply {
            // The client will call.
            let addr = if is_dnat {
                reply.src.addr
            } else {
                reply.dst.addr
            };
            (key.src.addr, key.dst.addr, !is_dnat, addr)
        } else {
            let addr = if is_dnat { key.dst.addr } else { key.src.addr };
            (reply.src.addr, reply.dst.addr, is_dnat, addr)
        };
        let mut wanted = Tuple {
            zone: key.zone,
            proto: key.proto,
            v6: key.v6,
            ..Tuple::default()
        };
        wanted.src.addr = src;
        wanted.dst.addr = dst;
        wanted.dst.port = port;
        let expectation = Expectation {
            parent: *key,
            mark: self.mark,
            label: self.label,
            way: if to_dst { Way::Src } else { Way::Dst },
            addr,
        };
        (wanted, expectation)
    }

    /// The address that the message has to name where it goes.
    fn shown_addr(&self) -> [u8; 16] {
        if self.reply {
            self.key.dst.addr
        } else {
            self.reply_key.dst.addr
        }
    }

    /// The message names an address that is its sender's own, before or after translation.
    fn is_honest(&self, a: &Announcement) -> bool {
        let Some((addr, _)) = &a.addr else {
            return true;
        };
        let own = if self.reply {
            self.reply_key.src.addr
        } else {
            self.key.src.addr
        };
        let addr = addr_of(*addr);
        addr == own || addr == self.shown_addr()
    }
}

/// Rate of what is said about messages that make no sense.
static MALFORMED: base::log::RateLimit = base::log::RateLimit::new(5, 5);

impl Pass<'_> {
    /// Handles what packet `i` of a control connection says.
    #[cold]
    pub(super) fn control(&self, pkts: &mut Pkts, i: usize, verdict: &mut Verdict) {
        let Some(control) = verdict.control.take() else {
            return;
        };
        if control.helper == Helper::Tftp {
            let (wanted, expectation) = control.expectation(control.key.src.port);
            self.ct.expected.add(wanted, expectation);
            return;
        }
        let Some(payload) = mangle::payload(&pkts.frames[i], &pkts.layers[i]) else {
            return;
        };
        let announced = match message::read(payload, control.key.v6) {
            Ok(Some(a)) if a.by_server == control.reply => a,
            Ok(_) => return,
            Err(message::Malformed) => return malformed(verdict),
        };
        if !control.is_honest(&announced) {
            return malformed(verdict);
        }
        let (wanted, expectation) = control.expectation(announced.port);
        self.ct.expected.add(wanted, expectation);
        if verdict.rewrite.is_none() {
            return;
        }
        if let Some((old, at)) = &announced.addr {
            let new = control.shown_addr();
            if new != addr_of(*old) {
                let text = mangle::text(&new, control.key.v6, announced.commas);
                let grown = mangle::replace(pkts, i, at.clone(), &text);
                if let Some(grown) = grown.filter(|&g| g != 0) {
                    self.ct.note_skew(&control, grown);
                }
            }
        }
    }
}

fn malformed(verdict: &mut Verdict) {
    base::log_rl!(
        MALFORMED,
        WARN,
        "conntrack",
        "Invalid FTP control packet format"
    );
    verdict.meta.state |= bits::TRACKED | bits::INVALID;
}

impl Conntrack {
    /// A message of a control connection grew.
    fn note_skew(&self, control: &Control, grown: i32) {
        let (mut shard, hash) = self.part(&control.key);
        let slot = shard.find_key(&control.key, hash);
        if let Some(conn) = slot.and_then(|n| shard.conn_mut(n)) {
            let more = conn.more.get_or_insert_default();
            more.skews[usize::from(control.reply)].grow(control.seq, grown);
        }
    }
}
