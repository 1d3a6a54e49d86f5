//! [`Message::encode`].

use super::features::Features;
use super::flow_removed::FlowRemoved;
use super::packet_in::PacketIn;
use super::packet_out::PacketOut;
use super::port::{PortMod, PortStatus, put_request};
use super::{EncodeCx, Message, flow_mod, flow_stats};
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
        let by = |raws: [R; 6]| raws[usize::from(version.minor())];
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
            Self::DescRequest => R::OfpstDescRequest,
            Self::DescReply(_) => R::OfpstDescReply,
            Self::FlowStatsRequest(req) => flow_stats::request_raw(req.aggregate, cx),
            Self::FlowStatsReply(_) => {
                let request = flow_stats::request_raw(false, cx);
                request.stats_reply(version).unwrap_or(R::NxstFlowReply)
            }
            Self::AggregateReply(_) => {
                let request = flow_stats::request_raw(true, cx);
                request
                    .stats_reply(version)
                    .unwrap_or(R::NxstAggregateReply)
            }
            Self::PortStatsRequest(_) if v10 => R::Ofpst10PortRequest,
            Self::PortStatsRequest(_) => R::Ofpst11PortRequest,
            Self::PortStatsReply(_) => {
                let (old, new) = (R::Ofpst11PortReply, R::Ofpst14PortReply);
                by([R::Ofpst10PortReply, old, old, R::Ofpst13PortReply, new, new])
            }
            Self::PortDescRequest(_) if version < Version::V15 => R::Ofpst10PortDescRequest,
            Self::PortDescRequest(_) => R::Ofpst15PortDescRequest,
            Self::PortDescReply(_) => {
                let (old, new) = (R::Ofpst11PortDescReply, R::Ofpst14PortDescReply);
                by([R::Ofpst10PortDescReply, old, old, old, new, new])
            }
            Self::SetFlowFormat(_) => R::NxtSetFlowFormat,
            Self::FlowModTableId(_) => R::NxtFlowModTableId,
            Self::SetPacketInFormat(_) => R::NxtSetPacketInFormat,
            Self::FlowAge => R::NxtFlowAge,
            Self::SetControllerId(_) => R::NxtSetControllerId,
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
