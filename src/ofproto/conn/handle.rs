//! What the switch does with each message.

use super::bundle::{Cause, Entry, Work};
use super::connection::{Connection, Partial};
use super::job::{Job, Outcome};
use super::out::OutKind;
use super::{CloseReason, Controllers, Cx, LOG};
use crate::event::{ConnId, Requester};
use crate::tables::N_TABLES;
use base::clock::Nanos;
use flow::{Flow, Mask, OfPort};
use openflow::{
    CheckParams, CtFlush, DecodeCx, FlowMod, FlowModCommand, Header, Hello, Message, OfpError,
    PacketOut, Protocols, Raw, Role, Version,
};
use std::collections::VecDeque;

/// Octets that a request in several messages may have. (Table features are more than a megabyte.)
const PARTIAL_BYTES_MAX: usize = 4 << 20;
/// Requests in several messages that may be under way on a connection.
const PARTIALS_MAX: usize = 16;
/// Time for the next part to come.
const PARTIAL_MS: u64 = 1000;
/// Flow mods of one kind work at most so long before they go on in pieces.
const FIRST_PIECE: usize = 2000;

type Verdict = Result<(), OfpError>;

/// The first message of a connection: agrees on a version.
pub(crate) fn hello(conn: &mut Connection, message: &[u8]) -> Result<(), CloseReason> {
    let decoded = Message::decode(message, &DecodeCx::default());
    let Ok((_, Message::Hello(Hello { versions }))) = decoded else {
        base::log_rl!(
            LOG,
            WARN,
            "vconn",
            "{}: received message while expecting hello: {}",
            conn.settings.peer_name(),
            openflow::format_message(message).trim_end()
        );
        return Err(CloseReason::NoHello);
    };
    let ours = conn.settings.versions;
    let (we, you) = (
        openflow::format_versions(ours),
        openflow::format_versions(versions),
    );
    if let Some(version) = Version::negotiate(ours, versions) {
        conn.protocol = Some(Protocols::initial(version));
        tracing::debug!(
            target: "vconn",
            "{}: negotiated OpenFlow version 0x{:02x} (we support {we}, peer supports {you})",
            conn.settings.peer_name(),
            version.wire()
        );
        return Ok(());
    }
    base::log_rl!(
        LOG,
        WARN,
        "vconn",
        "{}: version negotiation failed (we support {we}, peer supports {you})",
        conn.settings.peer_name()
    );
    let text = format!("We support {we}, you support {you}, no common versions.");
    let newest = Version::ALL
        .into_iter()
        .rev()
        .find(|v| v.bit() & versions != 0);
    let newest = newest.unwrap_or(Version::V10);
    let error = openflow::ErrorMsg::new(OfpError::OFPHFC_INCOMPATIBLE, newest, text.as_bytes());
    let cx = openflow::EncodeCx::version_only(newest);
    if let Some(bytes) = Message::Error(error).encode(&cx, 0) {
        conn.out.push(OutKind::Other, bytes);
    }
    Err(CloseReason::NoCommonVersion)
}

/// Refuses a message of another version than was agreed on.
pub(crate) fn version_fits(conn: &mut Connection, protocol: Protocols, message: &[u8]) -> bool {
    let (wanted, got) = (
        protocol.version().wire(),
        message.first().copied().unwrap_or(0),
    );
    if wanted == got {
        return true;
    }
    let raw = Header::decode_prefix(message).map(|h| h.raw);
    let of_all_versions = [
        Raw::OfptHello,
        Raw::OfptError,
        Raw::OfptEchoRequest,
        Raw::OfptEchoReply,
    ];
    if raw.is_ok_and(|r| of_all_versions.contains(&r)) {
        return true;
    }
    base::log_rl!(
        LOG,
        ERROR,
        "vconn",
        "{}: received OpenFlow version 0x{got:02x} != expected {wanted:02x}",
        conn.settings.peer_name()
    );
    let bytes = openflow::encode_error_reply(OfpError::OFPBRC_BAD_VERSION, message);
    conn.out.push(OutKind::Other, bytes);
    false
}

/// Gives up requests whose next part did not come.
pub(crate) fn expire_partials(conn: &mut Connection, now: Nanos) {
    let late = |p: &Partial| p.deadline <= now;
    while let Some(xid) = conn.partials.iter().find(|(_, p)| late(p)).map(|(x, _)| *x) {
        if let Some(part) = conn.partials.remove(&xid).and_then(|mut p| p.parts.pop()) {
            conn.refuse(OfpError::OFPBRC_MULTIPART_REQUEST_TIMEOUT, &part);
        }
    }
}

impl Controllers {
    /// Does what a message asks for.
    pub(crate) fn dispatch(&mut self, cx: &mut Cx<'_>, id: ConnId, bytes: &[u8]) -> Verdict {
        let header = Header::decode_prefix(bytes)?;
        if header.raw.is_stats_request() {
            return match self.assemble(id, &header, bytes, cx.now)? {
                Some(parts) => self.stats_request(cx, id, &parts),
                None => Ok(()),
            };
        }
        let (header, message) = self.decode(cx, id, bytes)?;
        self.handle(cx, (id, &header), message, bytes)
    }

    pub(crate) fn decode(
        &mut self,
        cx: &Cx<'_>,
        id: ConnId,
        bytes: &[u8],
    ) -> Result<(Header, Message), OfpError> {
        let protocol = self.conns.get(&id).and_then(|c| c.protocol);
        let decode = DecodeCx {
            protocol,
            tun: Some(cx.of.tun_table()),
            max_ports: OfPort::MAX,
            n_tables: N_TABLES,
            debug: cx.of.settings().debug_actions,
            loose: false,
        };
        Message::decode(bytes, &decode)
    }

    /// Collects the parts of a request; gives them when all are there.
    fn assemble(
        &mut self,
        id: ConnId,
        header: &Header,
        bytes: &[u8],
        now: Nanos,
    ) -> Result<Option<Vec<Vec<u8>>>, OfpError> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(None);
        };
        let more = header.more && conn.version() >= Version::V13;
        if !more && !conn.partials.contains_key(&header.xid) {
            return Ok(Some(vec![bytes.to_vec()]));
        }
        if conn.partials.len() >= PARTIALS_MAX && !conn.partials.contains_key(&header.xid) {
            return Err(OfpError::OFPBRC_MULTIPART_BUFFER_OVERFLOW);
        }
        let partial = conn.partials.entry(header.xid).or_insert_with(|| Partial {
            raw: header.raw,
            parts: Vec::new(),
            bytes: 0,
            deadline: now,
        });
        partial.deadline = now.plus_millis(PARTIAL_MS);
        partial.bytes += bytes.len();
        let error = if partial.raw != header.raw {
            Some(OfpError::OFPBRC_BAD_STAT)
        } else if partial.bytes > PARTIAL_BYTES_MAX {
            Some(OfpError::OFPBRC_MULTIPART_BUFFER_OVERFLOW)
        } else {
            None
        };
        if let Some(error) = error {
            conn.partials.remove(&header.xid);
            return Err(error);
        }
        partial.parts.push(bytes.to_vec());
        if more {
            return Ok(None);
        }
        Ok(conn.partials.remove(&header.xid).map(|p| p.parts))
    }

    pub(crate) fn conn(&mut self, id: ConnId) -> Result<&mut Connection, OfpError> {
        self.conns.get_mut(&id).ok_or(OfpError::OFPBRC_EPERM)
    }

    /// Refuses what a secondary controller may not ask for.
    pub(crate) fn writable(&mut self, id: ConnId) -> Result<&mut Connection, OfpError> {
        let conn = self.conn(id)?;
        if conn.role == Role::Secondary {
            return Err(OfpError::OFPBRC_IS_SECONDARY);
        }
        Ok(conn)
    }

    fn handle(
        &mut self,
        cx: &mut Cx<'_>,
        (id, header): (ConnId, &Header),
        message: Message,
        bytes: &[u8],
    ) -> Verdict {
        let to = (id, header);
        let by = Requester {
            conn: id,
            xid: header.xid,
        };
        match message {
            Message::EchoRequest(data) => self.reply(cx, to, &Message::EchoReply(data)),
            Message::BarrierRequest => self.reply(cx, to, &Message::BarrierReply),
            Message::FeaturesRequest => {
                let features = self.features(cx);
                self.reply(cx, to, &Message::FeaturesReply(features))
            }
            Message::GetConfigRequest => {
                let config = self.switch_config(cx, id)?;
                self.reply(cx, to, &Message::GetConfigReply(config))
            }
            Message::SetConfig(config) => self.set_config(cx, id, config),
            Message::EchoReply(_) | Message::Error(_) | Message::FlowAge => Ok(()),
            Message::FlowMod(fm) => self.flow_mod(cx, by, *fm, bytes),
            Message::PortMod(pm) => {
                self.writable(id)?;
                cx.of.check_port_mod(&pm)?;
                super::port::apply_port_mod(cx, &pm, id);
                Ok(())
            }
            Message::PacketOut(po) => self.packet_out(cx, id, &po),
            Message::Resume(pin) => cx.provider.resume(&pin),
            other => self.handle_more(cx, to, other, bytes),
        }
    }

    fn handle_more(
        &mut self,
        cx: &mut Cx<'_>,
        to: (ConnId, &Header),
        message: Message,
        bytes: &[u8],
    ) -> Verdict {
        let (id, header) = to;
        let by = Requester {
            conn: id,
            xid: header.xid,
        };
        match message {
            Message::GroupMod(gm) => self.group_mod(cx, by, *gm),
            Message::MeterMod(mm) => self.meter_mod(cx, by, mm),
            Message::TableMod(tm) => self.table_mod(cx, id, &tm),
            Message::RoleRequest(request) => self.role_request(cx, to, request),
            Message::SetAsync(change) => self.set_async(id, &change),
            Message::GetAsyncRequest => {
                let config = self.conn(id)?.async_config();
                self.reply(cx, to, &Message::GetAsyncReply(Box::new(config)))
            }
            Message::BundleControl(control) => self.bundle_control(cx, to, control, bytes),
            Message::BundleAdd(add) => self.bundle_add(cx, id, &add, bytes),
            Message::MonitorCancel(monitor) => {
                let verdict = self.conn(id)?.monitors.cancel(monitor);
                self.watch(cx);
                verdict
            }
            Message::QueueConfigRequest(request) => self.queue_config(cx, to, request),
            Message::TlvTableMod(ttm) => {
                self.writable(id)?;
                cx.of.tlv_table_mod(&ttm)
            }
            Message::TlvTableRequest => {
                let reply = cx.of.tlv_table();
                self.reply(cx, to, &Message::TlvTableReply(reply))
            }
            Message::CtFlushZone(zone) => cx.provider.ct_flush(&CtFlush {
                zone: Some(zone),
                ..CtFlush::default()
            }),
            Message::CtFlush(flush) => cx.provider.ct_flush(&flush),
            other => self.handle_format(id, other),
        }
    }

    /// Messages that only change how the connection is talked to.
    fn handle_format(&mut self, id: ConnId, message: Message) -> Verdict {
        let conn = self.conn(id)?;
        match message {
            Message::SetFlowFormat(p) => {
                let nxm = p.intersects(Protocols::NXM_ANY);
                conn.protocol = conn.protocol.map(|p| p.with_nxm(nxm));
            }
            Message::FlowModTableId(on) => conn.protocol = conn.protocol.map(|p| p.with_tid(on)),
            Message::SetPacketInFormat(format) => conn.format = format,
            Message::SetControllerId(controller_id) => conn.controller_id = controller_id,
            _ => return Err(OfpError::OFPBRC_BAD_TYPE),
        }
        Ok(())
    }

    pub(crate) fn reply(
        &mut self,
        cx: &Cx<'_>,
        (id, request): (ConnId, &Header),
        message: &Message,
    ) -> Verdict {
        self.conn(id)?.reply(message, request, cx.of.tun_table());
        Ok(())
    }

    fn flow_mod(&mut self, cx: &mut Cx<'_>, by: Requester, fm: FlowMod, bytes: &[u8]) -> Verdict {
        self.writable(by.conn)?;
        let fm = cx.of.prepare_flow_mod(fm, None)?;
        if fm.command == FlowModCommand::Add {
            let mut txn = cx.of.begin(cx.now);
            if let Err(e) = cx.of.start_flow_mod(&mut txn, fm, Some(by)) {
                cx.of.roll_back(txn);
                return Err(e);
            }
            cx.of.commit(txn);
            self.conn(by.conn)?.flow_mods.count([1, 0, 0], cx.now);
            return Ok(());
        }
        let entry = Entry {
            work: Work::Flow(fm),
            cause: Cause::of(bytes),
        };
        let job = Job::new(cx, by, 0, VecDeque::from([entry]));
        self.begin_job(cx, job);
        Ok(())
    }

    fn packet_out(&mut self, cx: &mut Cx<'_>, id: ConnId, po: &PacketOut) -> Verdict {
        let protocol = self.writable(id)?.protocol;
        check_packet_out(po, protocol)?;
        cx.of.check_references(&po.acts)?;
        let version = cx.of.pipeline().tables.version();
        let plan = cx.provider.translate(po, version)?;
        for (fm, limit) in &plan.learns {
            cx.of.learn(fm, *limit, cx.now)?;
        }
        self.plans.push(plan);
        Ok(())
    }

    /// Begins to apply messages.
    pub(crate) fn begin_job(&mut self, cx: &mut Cx<'_>, job: Job) {
        self.job = Some(Box::new(job));
        self.work(cx, FIRST_PIECE);
    }

    /// Says what came of a job.
    pub(crate) fn job_done(&mut self, cx: &mut Cx<'_>, job: Job) {
        let Outcome {
            plans,
            groups,
            flow_mods,
            failed,
        } = job.outcome;
        self.plans.extend(plans);
        for (gm, existed) in groups {
            self.forward_group_mod(cx, job.by, *gm, existed);
        }
        let Some(conn) = self.conns.get_mut(&job.by.conn) else {
            return;
        };
        conn.flow_mods.count(flow_mods, cx.now);
        match (failed, job.commit) {
            (None, Some((reply, request, _))) => {
                conn.reply(&reply, &request, cx.of.tun_table());
            }
            (None, None) => {}
            (Some((error, cause)), commit) => {
                conn.refuse(error, cause.bytes());
                if let Some((_, _, cause)) = commit {
                    conn.refuse(OfpError::OFPBFC_MSG_FAILED, cause.bytes());
                }
            }
        }
    }
}

/// Checks what can be checked of a packet-out without tables.
pub(crate) fn check_packet_out(po: &PacketOut, protocol: Option<Protocols>) -> Verdict {
    if po.buffer_id != openflow::flow_mod::NO_BUFFER {
        return Err(OfpError::OFPBRC_BUFFER_UNKNOWN);
    }
    let flow = packet_flow(po);
    let mask = Mask::for_packet(&flow);
    let params = CheckParams {
        flow: &flow,
        mask: &mask,
        max_ports: OfPort::MAX,
        table_id: 0,
        n_tables: N_TABLES,
    };
    let protocol = protocol.unwrap_or(Protocols::OF10_STD);
    openflow::check_consistency(&mut po.acts.clone(), protocol, &params)
}

/// Headers and pipeline fields of a packet from a controller.
#[must_use]
pub fn packet_flow(po: &PacketOut) -> Flow {
    let metadata = flow::Metadata {
        packet_type: po.metadata.flow.packet_type.get(),
        ..flow::Metadata::default()
    };
    let mut flow = Flow::zero();
    flow::extract(&po.packet, &metadata, &mut flow);
    let given = po.metadata.flow.lines().as_flattened();
    for (f, g) in flow.lines_mut().as_flattened_mut().iter_mut().zip(given) {
        *f |= g;
    }
    flow
}
