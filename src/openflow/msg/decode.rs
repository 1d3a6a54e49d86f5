//! [`Message::decode`].

use super::basic::{Desc, ErrorMsg, Hello, SwitchConfig};
use super::features::Features;
use super::flow_removed::FlowRemoved;
use super::packet_in::{PacketIn, PacketInFormat};
use super::packet_out::PacketOut;
use super::port::{PortDesc, PortMod, PortStatus, decode_request};
use super::port_stats::PortStats;
use super::{DecodeCx, Message, flow_mod, flow_stats};
use crate::codec::header::Header;
use crate::codec::raw::Raw as R;
use crate::codec::{Decode, Reader};
use crate::error::OfpError;
use crate::version::{Protocols, Version};
use flow::OfPort;

/// Where a message is read.
#[derive(Debug)]
pub(super) struct In<'a, 'c> {
    pub(super) header: Header,
    pub(super) raw: R,
    pub(super) version: Version,
    pub(super) r: Reader<'a>,
    pub(super) cx: &'c DecodeCx<'c>,
}

impl Message {
    /// Reads a message, whose length field must be its length.
    ///
    /// # Errors
    /// The OpenFlow error to answer with.
    pub fn decode(msg: &[u8], cx: &DecodeCx<'_>) -> Decode<(Header, Self)> {
        let header = Header::decode(msg)?;
        let r = Reader::new(&msg[header.len..]);
        let raw = header.raw;
        let version = match (raw, Version::from_wire(header.version)) {
            (_, Some(version)) => version,
            // What every version has, whoever made it.
            (R::OfptHello | R::OfptError | R::OfptEchoRequest | R::OfptEchoReply, None) => {
                Version::V10
            }
            _ => return Err(OfpError::OFPBRC_BAD_VERSION),
        };
        let mut i = In {
            header,
            raw,
            version,
            r,
            cx,
        };
        Ok((header, i.any()?))
    }
}

impl In<'_, '_> {
    fn any(&mut self) -> Decode<Message> {
        let found = self.basic()?;
        let found = found.map_or_else(|| self.flows(), |m| Ok(Some(m)))?;
        found.map_or_else(|| Err(OfpError::OFPBRC_BAD_TYPE), Ok)
    }

    /// Entries up to the end.
    pub(super) fn list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Decode<T>,
    ) -> Decode<Vec<T>> {
        let mut out = Vec::new();
        while !self.r.is_empty() {
            out.push(entry(self)?);
        }
        Ok(out)
    }

    fn basic(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let (version, r) = (self.version, &mut self.r);
        Ok(Some(match self.raw {
            R::OfptHello => M::Hello(Hello::decode(&self.header, r)),
            R::OfptError => M::Error(ErrorMsg::decode(&self.header, r)?),
            R::OfptEchoRequest => M::EchoRequest(r.rest().to_vec()),
            R::OfptEchoReply => M::EchoReply(r.rest().to_vec()),
            R::OfptFeaturesRequest => M::FeaturesRequest,
            R::Ofpt10FeaturesReply | R::Ofpt11FeaturesReply | R::Ofpt13FeaturesReply => {
                M::FeaturesReply(Features::decode(version, r)?)
            }
            R::OfptGetConfigRequest => M::GetConfigRequest,
            R::OfptGetConfigReply => M::GetConfigReply(SwitchConfig::decode(version, r, false)?),
            R::OfptSetConfig => M::SetConfig(SwitchConfig::decode(version, r, true)?),
            R::Ofpt10BarrierRequest | R::Ofpt11BarrierRequest => M::BarrierRequest,
            R::Ofpt10BarrierReply | R::Ofpt11BarrierReply => M::BarrierReply,
            R::OfpstDescRequest => M::DescRequest,
            R::OfpstDescReply => M::DescReply(Box::new(Desc::decode(r)?)),
            R::Ofpt10PortStatus | R::Ofpt11PortStatus | R::Ofpt14PortStatus => {
                M::PortStatus(PortStatus::decode(version, r)?)
            }
            R::Ofpt10PortMod | R::Ofpt11PortMod | R::Ofpt14PortMod => {
                M::PortMod(PortMod::decode(version, r)?)
            }
            R::Ofpst10PortRequest | R::Ofpst11PortRequest => {
                M::PortStatsRequest(decode_request(version, r)?)
            }
            R::Ofpst10PortReply
            | R::Ofpst11PortReply
            | R::Ofpst13PortReply
            | R::Ofpst14PortReply => {
                M::PortStatsReply(self.list(|i| PortStats::decode(i.version, &mut i.r))?)
            }
            R::Ofpst10PortDescRequest => M::PortDescRequest(OfPort::NONE),
            R::Ofpst15PortDescRequest => M::PortDescRequest(decode_request(version, r)?),
            R::Ofpst10PortDescReply | R::Ofpst11PortDescReply | R::Ofpst14PortDescReply => {
                M::PortDescReply(self.list(|i| PortDesc::decode(i.version, &mut i.r))?)
            }
            _ => return self.nicira(),
        }))
    }

    fn nicira(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let r = &mut self.r;
        Ok(Some(match self.raw {
            R::NxtSetFlowFormat => M::SetFlowFormat(match r.u32()? {
                0 => Protocols::OF10_STD,
                2 => Protocols::OF10_NXM,
                _ => return Err(OfpError::OFPBRC_EPERM),
            }),
            R::NxtFlowModTableId => M::FlowModTableId(r.u8()? != 0),
            R::NxtSetPacketInFormat => {
                let format = PacketInFormat::from_wire(r.u32()?);
                M::SetPacketInFormat(format.ok_or(OfpError::OFPBRC_EPERM)?)
            }
            R::NxtFlowAge => M::FlowAge,
            R::NxtSetControllerId => {
                if r.array()? != [0; 6] {
                    return Err(OfpError::NXBRC_MUST_BE_ZERO);
                }
                M::SetControllerId(r.u16()?)
            }
            _ => return Ok(None),
        }))
    }

    fn flows(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let (raw, version, cx) = (self.raw, self.version, self.cx);
        let r = &mut self.r;
        Ok(Some(match raw {
            R::Ofpt10PacketIn
            | R::Ofpt11PacketIn
            | R::Ofpt12PacketIn
            | R::Ofpt13PacketIn
            | R::NxtPacketIn
            | R::NxtPacketIn2 => M::PacketIn(Box::new(PacketIn::decode(raw, version, r, cx)?)),
            R::NxtResume => M::Resume(Box::new(PacketIn::decode(raw, version, r, cx)?)),
            R::Ofpt10PacketOut | R::Ofpt11PacketOut | R::Ofpt15PacketOut => {
                M::PacketOut(Box::new(PacketOut::decode(raw, version, r, cx)?))
            }
            R::Ofpt10FlowMod | R::Ofpt11FlowMod | R::NxtFlowMod => {
                M::FlowMod(Box::new(flow_mod::decode(raw, version, r, cx)?))
            }
            R::Ofpt10FlowRemoved
            | R::Ofpt11FlowRemoved
            | R::Ofpt15FlowRemoved
            | R::NxtFlowRemoved => M::FlowRemoved(Box::new(FlowRemoved::decode(raw, r, cx)?)),
            R::Ofpst10FlowRequest
            | R::Ofpst11FlowRequest
            | R::NxstFlowRequest
            | R::Ofpst10AggregateRequest
            | R::Ofpst11AggregateRequest
            | R::Ofpst15AggregateRequest
            | R::NxstAggregateRequest => {
                M::FlowStatsRequest(Box::new(flow_stats::decode_request(raw, r, cx)?))
            }
            R::Ofpst10FlowReply
            | R::Ofpst11FlowReply
            | R::Ofpst13FlowReply
            | R::Ofpst15FlowReply
            | R::NxstFlowReply => M::FlowStatsReply(
                self.list(|i| flow_stats::decode(i.raw, i.version, &mut i.r, i.cx))?,
            ),
            R::OfpstAggregateReply | R::Ofpst15AggregateReply | R::NxstAggregateReply => {
                M::AggregateReply(flow_stats::decode_aggregate(raw, r)?)
            }
            _ => return Ok(None),
        }))
    }
}
