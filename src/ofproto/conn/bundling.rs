//! Bundle messages.

use super::bundle::{Cause, Work};
use super::job::Job;
use super::{Controllers, Cx};
use crate::event::{ConnId, Requester};
use openflow::{BundleAdd, BundleControl, BundleType, Header, Message, OfpError};

type Verdict = Result<(), OfpError>;

impl Controllers {
    pub(crate) fn bundle_control(
        &mut self,
        cx: &mut Cx<'_>,
        (id, header): (ConnId, &Header),
        control: BundleControl,
        bytes: &[u8],
    ) -> Verdict {
        let now = cx.now;
        let (bundle, flags) = (control.bundle_id, control.flags.bits());
        let bundles = &mut self.writable(id)?.bundles;
        let done = match control.kind {
            BundleType::OpenRequest => {
                bundles.open(bundle, flags, bytes, now)?;
                BundleType::OpenReply
            }
            BundleType::CloseRequest => {
                bundles.close(bundle, flags, now)?;
                BundleType::CloseReply
            }
            BundleType::DiscardRequest => {
                bundles.take(bundle)?;
                BundleType::DiscardReply
            }
            BundleType::CommitRequest => {
                let taken = bundles.take(bundle)?;
                if taken.flags != flags {
                    return Err(OfpError::OFPBFC_BAD_FLAGS);
                }
                let by = Requester {
                    conn: id,
                    xid: header.xid,
                };
                let mut job = Job::new(cx, by, flags, taken.entries);
                let reply = reply(bundle, BundleType::CommitReply);
                job.commit = Some((reply, *header, Cause::of(bytes)));
                self.begin_job(cx, job);
                return Ok(());
            }
            BundleType::OpenReply
            | BundleType::CloseReply
            | BundleType::CommitReply
            | BundleType::DiscardReply => return Err(OfpError::OFPBFC_BAD_TYPE),
        };
        self.reply(cx, (id, header), &reply(bundle, done))
    }

    pub(crate) fn bundle_add(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        add: &BundleAdd,
        bytes: &[u8],
    ) -> Verdict {
        let protocol = self.writable(id)?.protocol;
        let (_, message) = self.decode(cx, id, &add.message)?;
        let work = match message {
            Message::PortMod(pm) => Work::Port(pm),
            Message::FlowMod(fm) => Work::Flow(cx.of.prepare_flow_mod(*fm, None)?),
            Message::GroupMod(gm) => Work::Group(gm),
            Message::PacketOut(po) => {
                super::handle::check_packet_out(&po, protocol)?;
                Work::Packet(po)
            }
            _ => return Err(OfpError::OFPBFC_MSG_UNSUP),
        };
        let place = (add.bundle_id, add.flags.bits());
        self.conn(id)?
            .bundles
            .add(place, work, (&add.message, bytes), cx.now)
    }
}

fn reply(bundle_id: u32, kind: BundleType) -> Message {
    Message::BundleControl(BundleControl {
        bundle_id,
        kind,
        flags: openflow::BundleFlags::empty(),
    })
}
