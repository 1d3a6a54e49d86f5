//! Requests about the switch as a whole, and statistics.

use super::connection::ConnKind;
use super::role;
use super::stream::{self, Stream};
use super::{Controllers, Cx, LOG};
use crate::event::ConnId;
use crate::settings::CAPABILITIES;
use crate::tables::INTERNAL_TABLE;
use flow::OfPort;
use openflow::{
    AggregateStats, Features, FlowStatsRequest, GROUP_ALL, Header, Message, MonitorRequest,
    Multipart, OfpError, PortDesc, Role, SwitchConfig, Version,
};

type Verdict = Result<(), OfpError>;

/// Actions of OpenFlow 1.0, by the bits of a features reply: all but none of them.
const ACTIONS_OF10: u32 = 0x0fff;

impl Controllers {
    pub(crate) fn features(&self, cx: &Cx<'_>) -> Features {
        Features {
            datapath_id: cx.of.settings().datapath_id,
            n_buffers: 0,
            n_tables: INTERNAL_TABLE,
            auxiliary_id: 0,
            capabilities: CAPABILITIES,
            actions: ACTIONS_OF10,
            ports: cx.of.ports().map(|p| p.desc.clone()).collect(),
        }
    }

    pub(crate) fn switch_config(
        &mut self,
        cx: &Cx<'_>,
        id: ConnId,
    ) -> Result<SwitchConfig, OfpError> {
        let conn = self.conn(id)?;
        Ok(SwitchConfig {
            frag: cx.of.settings().fragments,
            invalid_ttl: Some(role::invalid_ttl(&conn.async_config())),
            miss_send_len: conn.miss_send_len,
        })
    }

    pub(crate) fn set_config(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        config: SwitchConfig,
    ) -> Verdict {
        let conn = self.conn(id)?;
        if conn.settings.kind != ConnKind::Primary || conn.role != Role::Secondary {
            let now = cx.of.settings().fragments;
            if now != config.frag && cx.provider.set_fragments(config.frag) {
                cx.of.settings_mut().fragments = config.frag;
                cx.of.changes.other = true;
            } else if now != config.frag {
                let mode = ["normal", "drop", "reassemble", "nx-match"];
                let mode = mode[usize::from(config.frag & 3)];
                base::log_rl!(
                    LOG,
                    WARN,
                    "ofproto",
                    "{}: unsupported fragment handling mode {mode}",
                    cx.of.name()
                );
            }
        }
        if let Some(on) = config.invalid_ttl {
            let mut async_config = conn.async_config();
            role::set_invalid_ttl(&mut async_config, on);
            conn.async_config = Some(role::widen(async_config, conn.version()));
        }
        conn.miss_send_len = config.miss_send_len;
        Ok(())
    }

    /// A statistics request, in one or several parts.
    pub(crate) fn stats_request(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        parts: &[Vec<u8>],
    ) -> Verdict {
        let mut messages = Vec::with_capacity(parts.len());
        for part in parts {
            messages.push(self.decode(cx, id, part)?);
        }
        let (header, first) = messages.pop().ok_or(OfpError::OFPBRC_BAD_STAT)?;
        let to = (id, &header);
        match first {
            Message::TableFeaturesRequest(last) => {
                let wanted: Vec<_> = messages
                    .into_iter()
                    .flat_map(|(_, m)| match m {
                        Message::TableFeaturesRequest(f) => f,
                        _ => Vec::new(),
                    })
                    .chain(last)
                    .collect();
                self.table_features(cx, to, &wanted)
            }
            Message::MonitorRequest(last) => {
                let all: Vec<_> = messages
                    .into_iter()
                    .flat_map(|(_, m)| match m {
                        Message::MonitorRequest(r) => r,
                        _ => Vec::new(),
                    })
                    .chain(last)
                    .collect();
                self.flow_monitors(cx, to, &all)
            }
            _ if !messages.is_empty() => Err(OfpError::OFPBRC_BAD_STAT),
            first => self.single_request(cx, to, first),
        }
    }

    fn flow_monitors(
        &mut self,
        cx: &mut Cx<'_>,
        (id, header): (ConnId, &Header),
        requests: &[MonitorRequest],
    ) -> Verdict {
        let conn = self.conn(id)?;
        let parts = multipart(header, conn.version())?;
        let refresh = conn.monitors.request(cx.of, requests, parts);
        if let Ok(refresh) = refresh {
            conn.stream = Some(Box::new(Stream::Refresh(refresh)));
            self.watch(cx);
            return Ok(());
        }
        self.watch(cx);
        refresh.map(|_| ())
    }

    /// Every change of a flow is noted as long as somebody monitors flows.
    pub(crate) fn watch(&self, cx: &mut Cx<'_>) {
        cx.of
            .watch_flows(self.conns.values().any(|c| !c.monitors.is_empty()));
    }

    fn single_request(
        &mut self,
        cx: &mut Cx<'_>,
        to: (ConnId, &Header),
        message: Message,
    ) -> Verdict {
        let id = to.0;
        match message {
            Message::DescRequest => {
                let desc = Box::new(cx.of.settings().desc.clone());
                self.reply(cx, to, &Message::DescReply(desc))
            }
            Message::FlowStatsRequest(request) => self.flow_stats(cx, to, &request),
            Message::PortStatsRequest(port) => {
                let ports = chosen(cx, port);
                let stats = ports.iter().map(|p| {
                    let mut stats = cx.provider.port_stats(p.port_no);
                    if let Some(port) = cx.of.port(p.port_no) {
                        stats.duration = stream::duration(port.created, cx.now);
                    }
                    stats
                });
                let stats = stats.collect();
                self.reply(cx, to, &Message::PortStatsReply(stats))
            }
            Message::PortDescRequest(port) => {
                let ports = chosen(cx, port);
                self.reply(cx, to, &Message::PortDescReply(ports))
            }
            Message::TableStatsRequest => self.table_stats(cx, to),
            Message::TableDescRequest => self.table_descs(cx, to),
            Message::GroupStatsRequest(GROUP_ALL) => {
                let parts = multipart(to.1, self.conn(id)?.version())?;
                self.conn(id)?.stream = Some(Box::new(Stream::GroupStats(None, parts)));
                Ok(())
            }
            Message::GroupDescRequest(GROUP_ALL) => {
                let parts = multipart(to.1, self.conn(id)?.version())?;
                self.conn(id)?.stream = Some(Box::new(Stream::GroupDesc(None, parts)));
                Ok(())
            }
            Message::GroupStatsRequest(group) => self.one_group(cx, to, group, true),
            Message::GroupDescRequest(group) => self.one_group(cx, to, group, false),
            Message::GroupFeaturesRequest => self.reply(
                cx,
                to,
                &Message::GroupFeaturesReply(Box::new(super::group::features())),
            ),
            Message::MeterStatsRequest(meter) => self.meters(cx, to, meter, true),
            Message::MeterConfigRequest(meter) => self.meters(cx, to, meter, false),
            Message::MeterFeaturesRequest => {
                let features = cx.provider.meter_features();
                self.reply(cx, to, &Message::MeterFeaturesReply(features))
            }
            Message::QueueStatsRequest(request) => self.queue_stats(cx, to, request),
            Message::QueueConfigRequest(request) => self.queue_config(cx, to, request),
            Message::IpfixBridgeRequest => {
                let stats = cx.provider.ipfix_stats(true)?;
                let bridge = stats.first().copied().unwrap_or_default();
                self.reply(cx, to, &Message::IpfixBridgeReply(Box::new(bridge)))
            }
            Message::IpfixFlowRequest => {
                let stats = cx.provider.ipfix_stats(false)?;
                self.reply(cx, to, &Message::IpfixFlowReply(stats))
            }
            _ => Err(OfpError::OFPBRC_BAD_STAT),
        }
    }

    fn flow_stats(
        &mut self,
        cx: &mut Cx<'_>,
        (id, header): (ConnId, &Header),
        request: &FlowStatsRequest,
    ) -> Verdict {
        let walk = cx.of.walk(request)?;
        let conn = self.conn(id)?;
        let stream = if request.aggregate {
            Stream::Aggregate(walk, AggregateStats::default(), *header)
        } else {
            Stream::Flows(walk, multipart(header, conn.version())?)
        };
        conn.stream = Some(Box::new(stream));
        Ok(())
    }
}

/// The reply to a request, to be made in parts.
pub(crate) fn multipart(request: &Header, version: Version) -> Result<Multipart, OfpError> {
    let raw = request.raw.stats_reply(version);
    let raw = raw.ok_or(OfpError::OFPBRC_BAD_STAT)?;
    Ok(Multipart::new(raw, version, request.xid))
}

/// The port of this number, or all for `NONE`.
fn chosen(cx: &Cx<'_>, port: OfPort) -> Vec<PortDesc> {
    cx.of
        .ports()
        .map(|p| &p.desc)
        .filter(|d| port == OfPort::NONE || d.port_no == port)
        .cloned()
        .collect()
}
