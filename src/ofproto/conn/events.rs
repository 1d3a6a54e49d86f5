//! Telling controllers what happened without being asked.

use super::connection::Connection;
use super::out::OutKind;
use super::{Controllers, Cx};
use crate::event::{ConnId, Event, FlowChange, Vacancy};
use crate::rule::Rule;
use crate::switch::Ofproto;
use base::clock::Nanos;
use flow::OfPort;
use openflow::{
    AsyncType, FlowFlags, FlowRemoved, Message, PacketIn, PortDesc, PortReason, PortStatus,
    TableReason, TableStatus, Version, reason,
};

/// A packet for controllers, as translation hands it over.
#[derive(Debug, Clone)]
pub struct ControllerPacket {
    /// Only controllers with this number get it.
    pub controller_id: u16,
    /// The packet, whole: without buffers there is no use in a part of it.
    pub packet: PacketIn,
}

impl Controllers {
    /// Tells every controller what happened since the last call, as far as each wants to know.
    pub(crate) fn distribute(&mut self, cx: &mut Cx<'_>) {
        for event in cx.of.take_events() {
            match event {
                Event::Flow { rule, change, by } => {
                    for conn in self.conns.values_mut().filter(|c| !c.monitors.is_empty()) {
                        conn.watch(cx.of, &rule, &change, by);
                    }
                    self.tell_removed(cx, &rule, &change);
                }
                Event::Port {
                    reason,
                    old,
                    new,
                    by,
                } => self.tell_port(cx, (reason, by), old.as_deref(), &new),
                Event::Vacancy { table, reason } => self.tell_vacancy(cx, table, reason),
            }
        }
        for conn in self.conns.values_mut() {
            conn.flush_updates(cx.of);
        }
    }

    fn tell_vacancy(&mut self, cx: &Cx<'_>, table: u8, way: Vacancy) {
        let reason = match way {
            Vacancy::Down => TableReason::VacancyDown,
            Vacancy::Up => TableReason::VacancyUp,
        };
        let desc = super::table::desc(cx.of, table);
        let message = Message::TableStatus(TableStatus { reason, desc });
        for conn in self.conns.values_mut() {
            if conn.wants(AsyncType::TableStatus, reason as u8) {
                conn.tell(OutKind::Other, &message, cx.of.tun_table());
            }
        }
    }

    fn tell_removed(&mut self, cx: &Cx<'_>, rule: &Rule, change: &FlowChange) {
        let FlowChange::Removed(why) = change else {
            return;
        };
        if !rule.flags.contains(FlowFlags::SEND_FLOW_REM) {
            return;
        }
        let message = Message::FlowRemoved(Box::new(flow_removed(cx.of, rule, *why, cx.now)));
        for conn in self.conns.values_mut() {
            if conn.wants(AsyncType::FlowRemoved, why.wire()) {
                conn.tell(OutKind::Reply, &message, cx.of.tun_table());
            }
        }
    }

    fn tell_port(
        &mut self,
        cx: &Cx<'_>,
        (reason, by): (PortReason, Option<ConnId>),
        old: Option<&PortDesc>,
        new: &PortDesc,
    ) {
        let status = |desc: &PortDesc| {
            Message::PortStatus(PortStatus {
                reason,
                desc: desc.clone(),
            })
        };
        let tun = cx.of.tun_table();
        for conn in self.conns.values_mut() {
            // Before 1.5 a controller is not told of what it did itself.
            let own = by == Some(conn.id) && conn.version() < Version::V15;
            if own || !conn.wants(AsyncType::PortStatus, reason as u8) {
                continue;
            }
            let encode = |d: &PortDesc, c: &Connection| status(d).encode(&c.encode_cx(tun), 0);
            let bytes = encode(new, conn);
            // What this version cannot see did not change for it.
            if old.is_none_or(|old| encode(old, conn) != bytes)
                && let Some(bytes) = bytes
            {
                conn.out.push(OutKind::Other, bytes);
            }
        }
    }

    /// Sends a packet to the controllers that want it.
    pub fn packet_in(&mut self, of: &Ofproto, packet: ControllerPacket, now: Nanos) {
        let why = packet.packet.reason;
        let misses = [
            reason::NO_MATCH,
            reason::EXPLICIT_MISS,
            reason::IMPLICIT_MISS,
        ];
        let miss = misses.contains(&why);
        let port = OfPort((packet.packet.metadata.flow.in_port.get() & 0xffff) as u16);
        let message = Message::PacketIn(Box::new(packet.packet));
        for conn in self.conns.values_mut() {
            if conn.controller_id != packet.controller_id || !conn.wants(AsyncType::PacketIn, why) {
                continue;
            }
            let Some(bytes) = message.encode(&conn.encode_cx(of.tun_table()), 0) else {
                continue;
            };
            let at_once = match &mut conn.pacers[usize::from(miss)] {
                Some(pacer) => pacer.send(port, bytes, now),
                None => Some(bytes),
            };
            if let Some(bytes) = at_once {
                conn.push_packet(bytes);
            }
        }
    }
}

fn flow_removed(of: &Ofproto, rule: &Rule, why: crate::RemovedReason, now: Nanos) -> FlowRemoved {
    let counts = rule.counts();
    FlowRemoved {
        match_: of.expand(rule.matching()),
        priority: u16::try_from(rule.priority()).unwrap_or(u16::MAX),
        cookie: rule.cookie,
        reason: why,
        table_id: rule.table,
        duration: super::stream::duration(rule.created, now),
        idle_timeout: rule.idle_timeout(),
        hard_timeout: rule.hard_timeout(),
        packet_count: counts.packets,
        byte_count: counts.bytes,
    }
}
