//! [`Message::encode`].

use super::port::put_request;
use super::{
    AsyncConfig, BundleAdd, BundleControl, EncodeCx, Features, FlowRemoved, FlowUpdate, GroupMod,
    Message, MonitorCommand, MonitorRequest, PacketIn, PacketOut, PortMod, PortStatus,
    QueueConfigReply, QueueStats, RequestForward, RoleMessage, RoleStatus, SetAsync, TableFeatures,
    TableMod, flow_mod, flow_stats, table_stats,
};
use crate::codec::Put;
use crate::codec::header::{Header, Multipart, Xid, finish};
use crate::codec::raw::Raw as R;
use crate::version::{Protocols, Version};

impl Message {
    /// The message in bytes; replies that need several messages: one after the other. `None` when the
    /// version has no such message.
    #[must_use]
    pub fn encode(&self, cx: &EncodeCx<'_>, xid: Xid) -> Option<Vec<u8>> {
        if let Self::Hello(hello) = self {
            return Some(hello.encode(xid));
        }
        self.encode_as(self.raw(cx), cx, xid)
    }

    /// As [`Message::encode`] for the answer to a request: takes its transaction id, and speaks Nicira's
    /// extensions when the request did.
    #[must_use]
    pub fn encode_reply(&self, cx: &EncodeCx<'_>, request: &Header) -> Option<Vec<u8>> {
        let raw = match request.raw {
            R::NxtRoleRequest => R::NxtRoleReply,
            raw => raw
                .stats_reply(cx.version())
                .unwrap_or_else(|| self.raw(cx)),
        };
        self.encode_as(raw, cx, request.xid)
    }

    fn encode_as(&self, raw: R, cx: &EncodeCx<'_>, xid: Xid) -> Option<Vec<u8>> {
        if !raw.is_in(cx.version()) {
            return None;
        }
        if raw.is_stats_reply() {
            let mut parts = Multipart::new(raw, cx.version(), xid);
            if self.push(&mut parts, cx) {
                return Some(parts.finish().concat());
            }
        }
        let mut b = raw.start(cx.version(), xid);
        self.put(&mut b, raw, cx);
        Some(finish(b))
    }

    /// The kind of message this is in a protocol.
    fn raw(&self, cx: &EncodeCx<'_>) -> R {
        let version = cx.version();
        let v10 = version == Version::V10;
        match self {
            Self::Hello(_) => R::OfptHello,
            Self::Error(_) => R::OfptError,
            Self::EchoRequest(_) => R::OfptEchoRequest,
            Self::EchoReply(_) => R::OfptEchoReply,
            Self::FeaturesRequest => R::OfptFeaturesRequest,
            Self::FeaturesReply(_) => Features::raw(version),
            Self::GetConfigRequest => R::OfptGetConfigRequest,
            Self::GetConfigReply(_) => R::OfptGetConfigReply,
            Self::SetConfig(_) => R::OfptSetConfig,
            Self::BarrierRequest if v10 => R::Ofpt10BarrierRequest,
            Self::BarrierRequest => R::Ofpt11BarrierRequest,
            Self::BarrierReply if v10 => R::Ofpt10BarrierReply,
            Self::BarrierReply => R::Ofpt11BarrierReply,
            Self::PacketIn(_) => PacketIn::raw(cx),
            Self::PacketOut(_) => PacketOut::raw(version),
            Self::Resume(_) => R::NxtResume,
            Self::FlowMod(_) => flow_mod::raw(cx),
            Self::FlowRemoved(_) => FlowRemoved::raw(cx),
            Self::PortStatus(_) => PortStatus::raw(version),
            Self::PortMod(_) => PortMod::raw(version),
            Self::GroupMod(_) => GroupMod::raw(version),
            Self::MeterMod(_) => R::Ofpt13MeterMod,
            Self::TableMod(_) => TableMod::raw(version),
            Self::TableStatus(_) => R::Ofpt14TableStatus,
            Self::RoleRequest(_) => RoleMessage::raw(true, version),
            Self::RoleReply(_) => RoleMessage::raw(false, version),
            Self::RoleStatus(_) => RoleStatus::raw(version),
            Self::GetAsyncRequest if version >= Version::V14 => R::Ofpt14GetAsyncRequest,
            Self::GetAsyncRequest => R::Ofpt13GetAsyncRequest,
            Self::GetAsyncReply(_) => AsyncConfig::raw(version),
            Self::SetAsync(_) => SetAsync::raw(cx),
            Self::BundleControl(_) => BundleControl::raw(version),
            Self::BundleAdd(_) => BundleAdd::raw(version),
            Self::RequestForward(_) => RequestForward::raw(version),
            _ => self.nicira_raw(cx),
        }
    }

    fn nicira_raw(&self, cx: &EncodeCx<'_>) -> R {
        let v13 = cx.version() >= Version::V13;
        match self {
            // Since 1.4, a monitor request without anything but the number.
            Self::MonitorCancel(_) if cx.version() >= Version::V14 => R::Ofpst14FlowMonitorRequest,
            Self::MonitorCancel(_) if v13 => R::Onft13FlowMonitorCancel,
            Self::MonitorCancel(_) => R::NxtFlowMonitorCancel,
            Self::MonitorPaused if v13 => R::Onft13FlowMonitorPaused,
            Self::MonitorPaused => R::NxtFlowMonitorPaused,
            Self::MonitorResumed if v13 => R::Onft13FlowMonitorResumed,
            Self::MonitorResumed => R::NxtFlowMonitorResumed,
            Self::TlvTableMod(_) => R::NxtTlvTableMod,
            Self::TlvTableRequest => R::NxtTlvTableRequest,
            Self::TlvTableReply(_) => R::NxtTlvTableReply,
            Self::CtFlushZone(_) => R::NxtCtFlushZone,
            Self::CtFlush(_) => R::NxtCtFlush,
            Self::SetFlowFormat(_) => R::NxtSetFlowFormat,
            Self::FlowModTableId(_) => R::NxtFlowModTableId,
            Self::SetPacketInFormat(_) => R::NxtSetPacketInFormat,
            Self::FlowAge => R::NxtFlowAge,
            Self::SetControllerId(_) => R::NxtSetControllerId,
            _ => self.stats_raw(cx),
        }
    }

    /// The kind of a statistics message.
    fn stats_raw(&self, cx: &EncodeCx<'_>) -> R {
        let version = cx.version();
        let (v10, v11, v15) = (
            version == Version::V10,
            version <= Version::V11,
            version == Version::V15,
        );
        match self {
            Self::FlowStatsRequest(req) => flow_stats::request_raw(req.aggregate, cx),
            Self::PortStatsRequest(_) if v10 => R::Ofpst10PortRequest,
            Self::PortStatsRequest(_) => R::Ofpst11PortRequest,
            Self::PortDescRequest(_) if v15 => R::Ofpst15PortDescRequest,
            Self::PortDescRequest(_) => R::Ofpst10PortDescRequest,
            Self::GroupStatsRequest(_) if v10 => R::NxstGroupRequest,
            Self::GroupStatsRequest(_) => R::Ofpst11GroupRequest,
            Self::GroupDescRequest(_) if v10 => R::NxstGroupDescRequest,
            Self::GroupDescRequest(_) if v15 => R::Ofpst15GroupDescRequest,
            Self::GroupDescRequest(_) => R::Ofpst11GroupDescRequest,
            Self::GroupFeaturesRequest if v11 => R::NxstGroupFeaturesRequest,
            Self::GroupFeaturesRequest => R::Ofpst12GroupFeaturesRequest,
            Self::MeterStatsRequest(_) => R::Ofpst13MeterRequest,
            Self::MeterConfigRequest(_) => R::Ofpst13MeterConfigRequest,
            Self::MeterFeaturesRequest => R::Ofpst13MeterFeaturesRequest,
            Self::QueueConfigRequest(_) if v10 => R::Ofpt10QueueGetConfigRequest,
            Self::QueueConfigRequest(_) if version < Version::V14 => R::Ofpt11QueueGetConfigRequest,
            Self::QueueConfigRequest(_) => R::Ofpst14QueueDescRequest,
            Self::QueueConfigReply(_) => QueueConfigReply::raw(version),
            Self::QueueStatsRequest(_) if v10 => R::Ofpst10QueueRequest,
            Self::QueueStatsRequest(_) => R::Ofpst11QueueRequest,
            Self::TableStatsRequest => R::OfpstTableRequest,
            Self::TableFeaturesRequest(_) => R::Ofpst13TableFeaturesRequest,
            Self::TableDescRequest => R::Ofpst14TableDescRequest,
            Self::MonitorRequest(_) => MonitorRequest::raw(version),
            Self::IpfixBridgeRequest => R::NxstIpfixBridgeRequest,
            Self::IpfixFlowRequest => R::NxstIpfixFlowRequest,
            Self::DescRequest => R::OfpstDescRequest,
            _ => self.reply_raw(cx),
        }
    }

    /// The kind of a statistics reply, when the request was in the form that [`Message::encode`] gives it.
    fn reply_raw(&self, cx: &EncodeCx<'_>) -> R {
        let version = cx.version();
        let by = |raws: [R; 6]| raws[usize::from(version.minor())];
        let answer = |request: R, other: R| request.stats_reply(version).unwrap_or(other);
        match self {
            Self::FlowStatsReply(_) => answer(flow_stats::request_raw(false, cx), R::NxstFlowReply),
            Self::AggregateReply(_) => {
                answer(flow_stats::request_raw(true, cx), R::NxstAggregateReply)
            }
            Self::PortStatsReply(_) => {
                let (old, new) = (R::Ofpst11PortReply, R::Ofpst14PortReply);
                by([R::Ofpst10PortReply, old, old, R::Ofpst13PortReply, new, new])
            }
            Self::PortDescReply(_) => {
                let (old, new) = (R::Ofpst11PortDescReply, R::Ofpst14PortDescReply);
                by([R::Ofpst10PortDescReply, old, old, old, new, new])
            }
            Self::GroupStatsReply(_) => {
                let (old, new) = (R::Ofpst11GroupReply, R::Ofpst13GroupReply);
                by([R::NxstGroupReply, old, old, new, new, new])
            }
            Self::GroupDescReply(_) if version == Version::V10 => R::NxstGroupDescReply,
            Self::GroupDescReply(_) => R::Ofpst11GroupDescReply,
            Self::GroupFeaturesReply(_) if version <= Version::V11 => R::NxstGroupFeaturesReply,
            Self::GroupFeaturesReply(_) => R::Ofpst12GroupFeaturesReply,
            Self::MeterStatsReply(_) => R::Ofpst13MeterReply,
            Self::MeterConfigReply(_) => R::Ofpst13MeterConfigReply,
            Self::MeterFeaturesReply(_) => R::Ofpst13MeterFeaturesReply,
            Self::QueueStatsReply(_) => QueueStats::raw(version),
            Self::TableStatsReply(_) => table_stats::raw(version),
            Self::TableFeaturesReply(_) => R::Ofpst13TableFeaturesReply,
            Self::TableDescReply(_) => R::Ofpst14TableDescReply,
            Self::MonitorReply(_) => FlowUpdate::raw(version),
            Self::IpfixBridgeReply(_) => R::NxstIpfixBridgeReply,
            Self::IpfixFlowReply(_) => R::NxstIpfixFlowReply,
            _ => R::OfpstDescReply,
        }
    }

    /// Puts the entries of a reply; false for replies that have none.
    fn push(&self, parts: &mut Multipart, cx: &EncodeCx<'_>) -> bool {
        match self {
            Self::FlowStatsReply(all) => all.iter().for_each(|fs| {
                parts.push_flow_stats(fs, cx.tun);
            }),
            Self::PortStatsReply(all) => all.iter().for_each(|s| parts.push_port_stats(s)),
            Self::PortDescReply(all) => all.iter().for_each(|p| parts.push_port(p)),
            Self::GroupStatsReply(all) => all.iter().for_each(|s| parts.push_group_stats(s)),
            Self::GroupDescReply(all) => all.iter().for_each(|d| {
                parts.push_group_desc(d, cx.tun);
            }),
            Self::MeterStatsReply(all) => all.iter().for_each(|s| parts.push_meter_stats(s)),
            Self::MeterConfigReply(all) => all.iter().for_each(|c| parts.push_meter_config(c)),
            Self::QueueConfigReply(all) => {
                all.queues.iter().for_each(|q| parts.push_queue_config(q));
            }
            Self::QueueStatsReply(all) => all.iter().for_each(|s| parts.push_queue_stats(s)),
            Self::TableStatsReply(all) => all.iter().for_each(|(s, f)| match f {
                Some(f) => parts.push_table_stats(s, f),
                None => parts.push_table_stats(s, &TableFeatures::default()),
            }),
            Self::TableFeaturesReply(all) => all.iter().for_each(|f| parts.push_table_features(f)),
            Self::TableDescReply(all) => all.iter().for_each(|d| parts.push_table_desc(d)),
            Self::MonitorReply(all) => all.iter().for_each(|u| {
                parts.push_flow_update(u, cx.tun);
            }),
            Self::IpfixFlowReply(all) => all.iter().for_each(|s| parts.push_ipfix_stats(s)),
            Self::IpfixBridgeReply(s) => parts.push_ipfix_stats(s),
            _ => return false,
        }
        true
    }

    fn put(&self, b: &mut Vec<u8>, raw: R, cx: &EncodeCx<'_>) {
        let version = cx.version();
        match self {
            Self::Error(e) => e.put(b, version),
            Self::EchoRequest(data) | Self::EchoReply(data) => b.bytes(data),
            Self::FeaturesReply(f) => f.put(b, version),
            Self::GetConfigReply(c) | Self::SetConfig(c) => c.put(b, version),
            Self::PacketIn(p) | Self::Resume(p) => p.put(b, raw, cx),
            Self::PacketOut(p) => p.put(b, cx),
            Self::FlowMod(fm) => flow_mod::put(fm, b, cx),
            Self::FlowRemoved(fr) => fr.put(b, cx),
            Self::PortStatus(s) => s.put(b, version),
            Self::PortMod(m) => m.put(b, version),
            Self::DescReply(d) => d.put(b),
            Self::FlowStatsRequest(req) => flow_stats::put_request(req, b, cx),
            Self::AggregateReply(a) => flow_stats::put_aggregate(a, b, raw, version),
            Self::PortStatsRequest(port) => put_request(b, version, *port),
            Self::PortDescRequest(port) if version == Version::V15 => {
                put_request(b, version, *port);
            }
            Self::GroupMod(m) => m.put(b, cx),
            Self::GroupStatsRequest(id)
            | Self::MeterStatsRequest(id)
            | Self::MeterConfigRequest(id) => {
                put_id(b, *id);
            }
            Self::GroupDescRequest(id) if raw != R::Ofpst11GroupDescRequest => put_id(b, *id),
            Self::GroupFeaturesReply(f) => f.put(b, version),
            Self::MeterMod(m) => m.put(b),
            Self::MeterFeaturesReply(f) => f.put(b),
            Self::QueueConfigRequest(q) => q.put_config(b, version),
            Self::QueueConfigReply(q) => q.put(b, version),
            Self::QueueStatsRequest(q) => q.put_stats(b, version),
            Self::TableMod(m) => m.put(b, version),
            Self::TableStatus(s) => s.put(b),
            Self::TableFeaturesRequest(all) => all.iter().for_each(|f| f.put(b, version)),
            Self::MonitorRequest(all) => all.iter().for_each(|m| m.put(b, version)),
            _ => self.put_control(b, raw, version),
        }
    }

    fn put_control(&self, b: &mut Vec<u8>, raw: R, version: Version) {
        match self {
            Self::RoleRequest(m) | Self::RoleReply(m) => m.put(b, raw),
            Self::RoleStatus(s) => s.put(b),
            Self::GetAsyncReply(c) => c.put(b, version),
            Self::SetAsync(s) => s.put(b, version),
            Self::BundleControl(c) => c.put(b),
            Self::BundleAdd(a) => a.put(b),
            Self::RequestForward(f) => f.put(b),
            Self::MonitorCancel(id) if version >= Version::V14 => {
                b.u32(*id);
                b.zeros(11);
                b.u8(MonitorCommand::Delete as u8);
            }
            Self::MonitorCancel(id) => b.u32(*id),
            Self::TlvTableMod(m) => m.put(b),
            Self::TlvTableReply(t) => t.put(b),
            Self::CtFlushZone(zone) => {
                b.zeros(6);
                b.u16(*zone);
            }
            Self::CtFlush(f) => f.put(b),
            Self::SetFlowFormat(p) => b.u32(match p.intersects(Protocols::NXM_ANY) {
                true => 2,
                false => 0,
            }),
            Self::FlowModTableId(on) => b.bytes(&[u8::from(*on), 0, 0, 0, 0, 0, 0, 0]),
            Self::SetPacketInFormat(f) => b.u32(*f as u32),
            Self::SetControllerId(id) => {
                b.zeros(6);
                b.u16(*id);
            }
            // The others have no body, or were pushed.
            _ => {}
        }
    }
}

/// A number with padding behind it.
fn put_id(b: &mut Vec<u8>, id: u32) {
    b.u32(id);
    b.zeros(4);
}
