//! [`Stream`]: a long answer, made piece by piece as the controller reads it.
//!
//! No piece looks at more than [`PIECE`] things, and no more than one message waits beyond what the socket
//! takes, however long the answer is. While one is under way, no further request of its connection is read.

use super::connection::Connection;
use super::monitor::{self, Refresh};
use super::out::OutKind;
use super::{Cx, table};
use crate::rule::Rule;
use crate::switch::Ofproto;
use crate::walk::Walk;
use base::clock::Nanos;
use base::log::RateLimit;
use classifier::LATEST;
use openflow::{AggregateStats, Duration, FlowStats, Header, Message, Multipart};

static LOG: RateLimit = RateLimit::new(1, 5);

/// Things one piece looks at.
const PIECE: usize = 512;

/// What a long answer is about.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Flows.
    Flows(Walk, Multipart),
    /// The sum of flows.
    Aggregate(Walk, AggregateStats, Header),
    /// Features of tables, from this one on.
    TableFeatures(u8, Multipart),
    /// Statistics of groups above this number.
    GroupStats(Option<u32>, Multipart),
    /// Descriptions of groups above this number.
    GroupDesc(Option<u32>, Multipart),
    /// Flows for flow monitors.
    Refresh(Refresh),
}

/// Time since `then`, as messages have it.
pub(crate) fn duration(then: Nanos, now: Nanos) -> Duration {
    let d = now.since(then);
    Duration {
        sec: u32::try_from(d.as_secs()).unwrap_or(u32::MAX),
        nsec: d.subsec_nanos(),
    }
}

/// Whole seconds since `then`, as far as 16 bits go.
fn age(then: Nanos, now: Nanos) -> u32 {
    u32::try_from(now.since(then).as_secs().min(u16::MAX.into())).unwrap_or(0)
}

/// Statistics of a flow.
pub(crate) fn flow_stats(of: &Ofproto, rule: &Rule, now: Nanos) -> FlowStats {
    let counts = rule.counts();
    FlowStats {
        match_: of.expand(rule.matching()),
        priority: u16::try_from(rule.priority()).unwrap_or(u16::MAX),
        cookie: rule.cookie,
        table_id: rule.table,
        duration: duration(rule.created, now),
        idle_timeout: rule.idle_timeout(),
        hard_timeout: rule.hard_timeout(),
        idle_age: Some(age(rule.used(), now)),
        hard_age: Some(age(rule.modified(), now)),
        packet_count: counts.packets,
        byte_count: counts.bytes,
        flags: rule.flags,
        importance: rule.importance,
        acts: (*rule.actions).clone(),
    }
}

impl Stream {
    /// Makes the next piece and queues what is ready. False when the answer is complete.
    pub(crate) fn advance(&mut self, cx: &mut Cx<'_>, conn: &mut Connection) -> bool {
        match self {
            Self::Flows(walk, parts) => {
                let mut rules = Vec::new();
                let more = cx.of.step(walk, PIECE, &mut rules);
                let tun = cx.of.tun_table();
                for rule in rules {
                    if !parts.push_flow_stats(&flow_stats(cx.of, &rule, cx.now), Some(tun)) {
                        base::log_rl!(
                            LOG,
                            WARN,
                            "ofp_flow",
                            "Flow exceeded the maximum flow statistics reply size and was excluded from \
                             the response set"
                        );
                    }
                }
                send(parts, conn, more)
            }
            Self::Aggregate(walk, sum, request) => {
                let mut rules = Vec::new();
                let more = cx.of.step(walk, PIECE * 8, &mut rules);
                for rule in rules {
                    let counts = rule.counts();
                    sum.packet_count += counts.packets;
                    sum.byte_count += counts.bytes;
                    sum.flow_count += 1;
                }
                if !more {
                    conn.reply(&Message::AggregateReply(*sum), request, cx.of.tun_table());
                }
                more
            }
            Self::TableFeatures(next, parts) => {
                let more = table::push_features(cx.of, next, parts);
                send(parts, conn, more)
            }
            Self::GroupStats(after, parts) => {
                let groups = cx.of.pipeline().groups.after(*after, PIECE, LATEST);
                for g in &groups {
                    parts.push_group_stats(&super::group::stats(cx.of, g, cx.now));
                    *after = Some(g.id);
                }
                send(parts, conn, groups.len() == PIECE)
            }
            Self::GroupDesc(after, parts) => {
                let groups = cx.of.pipeline().groups.after(*after, PIECE, LATEST);
                for g in &groups {
                    parts.push_group_desc(&super::group::desc(g), Some(cx.of.tun_table()));
                    *after = Some(g.id);
                }
                send(parts, conn, groups.len() == PIECE)
            }
            Self::Refresh(refresh) => monitor::advance(refresh, cx, conn, PIECE),
        }
    }
}

/// Queues the messages that are full, or all of them at the end.
fn send(parts: &mut Multipart, conn: &mut Connection, more: bool) -> bool {
    let ready = if more {
        parts.take_full()
    } else {
        let fresh = Multipart::new(parts.raw(), parts.version(), 0);
        std::mem::replace(parts, fresh).finish()
    };
    for message in ready {
        conn.out.push(OutKind::Reply, message);
    }
    more
}
