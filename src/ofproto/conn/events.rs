//! Telling controllers what happened without being asked.

use super::connection::Connection;
use super::out::OutKind;
use super::{Controllers, Cx};
use crate::event::{ConnId, Event, FlowChange, Requester};
use crate::rule::Rule;
use crate::switch::Ofproto;
use base::clock::Nanos;
use flow::OfPort;
use openflow::{
    FlowFlags, FlowRemoved, Message, PacketIn, PortDesc, PortReason, PortStatus, Version, reason,
};

/// "All of the packet".
pub const WHOLE_PACKET: u16 = u16::MAX;

/// A packet for controllers, as translation hands it over.
#[derive(Debug, Clone)]
pub struct ControllerPacket {
    /// Only controllers with this number get it.
    pub controller_id: u16,
    /// Octets to send of it at most; [`WHOLE_PACKET`] for all.
    pub max_len: u16,
    /// The packet was sent because it matched no flow: controllers have their own length for those.
    pub miss: bool,
    /// The packet, whole.
    pub packet: PacketIn,
}

impl Controllers {
    /// Tells every controller what happened since the last call, as far as each wants to know.
    pub(crate) fn distribute(&mut self, cx: &mut Cx<'_>) {
        for event in cx.of.take_events() {
            match event {
                Event::Flow { rule, change, by } => {
                    self.tell_monitors(cx, &rule, &change, by);
                    self.tell_removed(cx, &rule, &change);
                }
                Event::Port {
                    reason,
                    old,
                    new,
                    by,
                } => self.tell_port(cx, reason, old.as_deref(), &new, by),
                Event::Vacancy { table, reason } => self.tell_vacancy(cx, table, reason),
            }
        }
        self.flush_monitors(cx);
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
            if conn.wants(openflow::AsyncType::FlowRemoved, *why as u8) {
                conn.tell(OutKind::Reply, &message, cx.of.tun_table());
            }
        }
    }

    fn tell_port(
        &mut self,
        cx: &Cx<'_>,
        reason: PortReason,
        old: Option<&PortDesc>,
        new: &PortDesc,
        by: Option<ConnId>,
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
            if own || !conn.wants(openflow::AsyncType::PortStatus, reason as u8) {
                continue;
            }
            let encode = |d: &PortDesc, c: &Connection| status(d).encode(&c.encode_cx(tun), 0);
            let bytes = encode(new, conn);
            // What this version cannot see did not change for it.
            if old.is_none_or(|old| encode(old, conn) != bytes) {
                conn.out.push(OutKind::Other, bytes);
            }
        }
    }

    /// Sends a packet to the controllers that want it.
    pub fn packet_in(&mut self, of: &Ofproto, mut packet: ControllerPacket, now: Nanos) {
        let miss = packet.miss
            || [reason::NO_MATCH, reason::EXPLICIT_MISS, reason::IMPLICIT_MISS]
                .contains(&packet.packet.reason);
        let port = OfPort((packet.packet.metadata.flow.in_port.get() & 0xffff) as u16);
        let whole = std::mem::take(&mut packet.packet.packet);
        packet.packet.total_len = whole.len();
        for conn in self.conns.values_mut() {
            let why = packet.packet.reason;
            if conn.controller_id != packet.controller_id
                || !conn.wants(openflow::AsyncType::PacketIn, why)
            {
                continue;
            }
            let len = whole.len().min(packet.max_len.into());
            packet.packet.packet.clear();
            packet.packet.packet.extend_from_slice(&whole[..len]);
            // One that is to be resumed must come back whole.
            let bytes = Message::PacketIn(Box::new(packet.packet.clone()));
            let bytes = bytes.encode(&conn.encode_cx(of.tun_table()), 0);
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

fn flow_removed(
    of: &Ofproto,
    rule: &Rule,
    why: crate::RemovedReason,
    now: Nanos,
) -> FlowRemoved {
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
