//! [`Message::decode`].

use super::port::decode_request;
use super::{
    AsyncConfig, BundleAdd, BundleControl, CtFlush, DecodeCx, Desc, ErrorMsg, Features,
    FlowRemoved, FlowUpdate, GROUP_ALL, GroupDesc, GroupFeatures, GroupMod, GroupStats, Hello,
    IpfixStats, Message, MeterConfig, MeterFeatures, MeterMod, MeterStats, MonitorRequest,
    PacketIn, PacketInFormat, PacketOut, PortDesc, PortMod, PortStats, PortStatus,
    QueueConfigReply, QueueRequest, QueueStats, RequestForward, RoleMessage, RoleStatus, SetAsync,
    SwitchConfig, TableDesc, TableFeatures, TableMod, TableStats, TableStatus, TlvTableMod,
    TlvTableReply, flow_mod, flow_stats,
};
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
        let readers = [
            Self::flows,
            Self::basic,
            Self::ports,
            Self::tables,
            Self::groups,
            Self::meters,
            Self::control,
            Self::monitors,
            Self::nicira,
        ];
        for read in readers {
            if let Some(message) = read(self)? {
                return Ok(message);
            }
        }
        Err(OfpError::OFPBRC_BAD_TYPE)
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
            _ => return Ok(None),
        }))
    }

    fn ports(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let (raw, version, r) = (self.raw, self.version, &mut self.r);
        Ok(Some(match raw {
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
            R::Ofpt10QueueGetConfigRequest
            | R::Ofpt11QueueGetConfigRequest
            | R::Ofpst14QueueDescRequest => {
                M::QueueConfigRequest(QueueRequest::decode_config(raw, r)?)
            }
            R::Ofpt10QueueGetConfigReply
            | R::Ofpt11QueueGetConfigReply
            | R::Ofpst14QueueDescReply => {
                M::QueueConfigReply(QueueConfigReply::decode(raw, version, r)?)
            }
            R::Ofpst10QueueRequest | R::Ofpst11QueueRequest => {
                M::QueueStatsRequest(QueueRequest::decode_stats(version, r)?)
            }
            R::Ofpst10QueueReply
            | R::Ofpst11QueueReply
            | R::Ofpst13QueueReply
            | R::Ofpst14QueueReply => {
                M::QueueStatsReply(self.list(|i| QueueStats::decode(i.version, &mut i.r))?)
            }
            _ => return Ok(None),
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
            R::NxtTlvTableMod => M::TlvTableMod(TlvTableMod::decode(r)?),
            R::NxtTlvTableRequest => M::TlvTableRequest,
            R::NxtTlvTableReply => M::TlvTableReply(TlvTableReply::decode(r)?),
            R::NxtCtFlushZone => {
                if r.array()? != [0; 6] {
                    return Err(OfpError::NXBRC_MUST_BE_ZERO);
                }
                M::CtFlushZone(r.u16()?)
            }
            R::NxtCtFlush => M::CtFlush(Box::new(CtFlush::decode(r)?)),
            R::NxstIpfixBridgeRequest => M::IpfixBridgeRequest,
            R::NxstIpfixBridgeReply => M::IpfixBridgeReply(Box::new(IpfixStats::decode(r)?)),
            R::NxstIpfixFlowRequest => M::IpfixFlowRequest,
            R::NxstIpfixFlowReply => {
                M::IpfixFlowReply(self.list(|i| IpfixStats::decode(&mut i.r))?)
            }
            _ => return Ok(None),
        }))
    }

    fn tables(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let (version, r) = (self.version, &mut self.r);
        Ok(Some(match self.raw {
            R::Ofpt11TableMod | R::Ofpt14TableMod => M::TableMod(TableMod::decode(version, r)?),
            R::OfpstTableRequest => M::TableStatsRequest,
            R::Ofpst10TableReply
            | R::Ofpst11TableReply
            | R::Ofpst12TableReply
            | R::Ofpst13TableReply => {
                M::TableStatsReply(self.list(|i| TableStats::decode(i.version, &mut i.r))?)
            }
            R::Ofpst13TableFeaturesRequest => M::TableFeaturesRequest(
                self.list(|i| TableFeatures::decode(i.version, &mut i.r, i.cx.loose))?,
            ),
            R::Ofpst13TableFeaturesReply => M::TableFeaturesReply(
                self.list(|i| TableFeatures::decode(i.version, &mut i.r, i.cx.loose))?,
            ),
            R::Ofpst14TableDescRequest => M::TableDescRequest,
            R::Ofpst14TableDescReply => {
                M::TableDescReply(self.list(|i| TableDesc::decode(&mut i.r))?)
            }
            R::Ofpt14TableStatus => M::TableStatus(TableStatus::decode(r)?),
            _ => return Ok(None),
        }))
    }

    fn groups(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let (version, r, cx) = (self.version, &mut self.r, self.cx);
        Ok(Some(match self.raw {
            R::NxtGroupMod | R::Ofpt11GroupMod | R::Ofpt15GroupMod => {
                M::GroupMod(Box::new(GroupMod::decode(version, r, cx)?))
            }
            R::NxstGroupRequest | R::Ofpst11GroupRequest => M::GroupStatsRequest(r.u32()?),
            R::NxstGroupReply | R::Ofpst11GroupReply | R::Ofpst13GroupReply => {
                M::GroupStatsReply(self.list(|i| GroupStats::decode(i.raw, &mut i.r))?)
            }
            R::Ofpst11GroupDescRequest => M::GroupDescRequest(GROUP_ALL),
            R::NxstGroupDescRequest | R::Ofpst15GroupDescRequest => M::GroupDescRequest(r.u32()?),
            R::NxstGroupDescReply | R::Ofpst11GroupDescReply => {
                M::GroupDescReply(self.list(|i| GroupDesc::decode(i.version, &mut i.r, i.cx))?)
            }
            R::NxstGroupFeaturesRequest | R::Ofpst12GroupFeaturesRequest => M::GroupFeaturesRequest,
            R::NxstGroupFeaturesReply | R::Ofpst12GroupFeaturesReply => {
                M::GroupFeaturesReply(Box::new(GroupFeatures::decode(version, r)?))
            }
            _ => return Ok(None),
        }))
    }

    fn meters(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let r = &mut self.r;
        Ok(Some(match self.raw {
            R::Ofpt13MeterMod => M::MeterMod(MeterMod::decode(r)?),
            R::Ofpst13MeterRequest => M::MeterStatsRequest(r.u32()?),
            R::Ofpst13MeterReply => {
                M::MeterStatsReply(self.list(|i| MeterStats::decode(&mut i.r))?)
            }
            R::Ofpst13MeterConfigRequest => M::MeterConfigRequest(r.u32()?),
            R::Ofpst13MeterConfigReply => {
                M::MeterConfigReply(self.list(|i| MeterConfig::decode(&mut i.r))?)
            }
            R::Ofpst13MeterFeaturesRequest => M::MeterFeaturesRequest,
            R::Ofpst13MeterFeaturesReply => M::MeterFeaturesReply(MeterFeatures::decode(r)?),
            _ => return Ok(None),
        }))
    }

    fn control(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let (raw, version, r) = (self.raw, self.version, &mut self.r);
        Ok(Some(match raw {
            R::Ofpt12RoleRequest | R::NxtRoleRequest => {
                M::RoleRequest(RoleMessage::decode(raw, r)?)
            }
            R::Ofpt12RoleReply | R::NxtRoleReply => M::RoleReply(RoleMessage::decode(raw, r)?),
            R::Onft13RoleStatus | R::Ofpt14RoleStatus => M::RoleStatus(RoleStatus::decode(r)?),
            R::Ofpt13GetAsyncRequest | R::Ofpt14GetAsyncRequest => M::GetAsyncRequest,
            R::Ofpt13GetAsyncReply | R::Ofpt14GetAsyncReply => {
                M::GetAsyncReply(Box::new(AsyncConfig::decode(raw, version, r)?))
            }
            R::Ofpt13SetAsync
            | R::NxtSetAsyncConfig
            | R::NxtSetAsyncConfig2
            | R::Ofpt14SetAsync => M::SetAsync(SetAsync::decode(raw, version, r, false)?),
            R::Ofpt14BundleControl | R::Onft13BundleControl => {
                M::BundleControl(BundleControl::decode(r)?)
            }
            R::Ofpt14BundleAddMessage | R::Onft13BundleAddMessage => {
                M::BundleAdd(BundleAdd::decode(&self.header, r)?)
            }
            R::NxtRequestforward | R::Onft13Requestforward | R::Ofpt14Requestforward => {
                M::RequestForward(RequestForward::decode(&self.header, r)?)
            }
            _ => return Ok(None),
        }))
    }

    fn monitors(&mut self) -> Decode<Option<Message>> {
        use Message as M;
        let r = &mut self.r;
        Ok(Some(match self.raw {
            R::Ofpst14FlowMonitorRequest
            | R::Onfst13FlowMonitorRequest
            | R::NxstFlowMonitorRequest => {
                M::MonitorRequest(self.list(|i| MonitorRequest::decode(i.raw, &mut i.r, i.cx))?)
            }
            R::Ofpst14FlowMonitorReply | R::Onfst13FlowMonitorReply | R::NxstFlowMonitorReply => {
                M::MonitorReply(
                    self.list(|i| FlowUpdate::decode(i.raw, i.version, &mut i.r, i.cx))?,
                )
            }
            R::Onft13FlowMonitorCancel | R::NxtFlowMonitorCancel => M::MonitorCancel(r.u32()?),
            R::Onft13FlowMonitorPaused | R::NxtFlowMonitorPaused => M::MonitorPaused,
            R::Onft13FlowMonitorResumed | R::NxtFlowMonitorResumed => M::MonitorResumed,
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
