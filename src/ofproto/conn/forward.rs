//! Forwarding a controller's group and meter mods to the others (`OFPT_REQUESTFORWARD`).

use super::out::OutKind;
use super::{Controllers, Cx};
use crate::event::Requester;
use openflow::{AsyncType, GroupCommand, GroupMod, Message, MeterMod, RequestForward, Version};

/// Reasons, by the numbers of the wire.
const GROUP_MOD: u8 = 0;
const METER_MOD: u8 = 1;

impl Controllers {
    /// Tells the others of a group mod. Versions without changes of single buckets are told the whole group
    /// that they made.
    pub(crate) fn forward_group_mod(
        &mut self,
        cx: &Cx<'_>,
        by: Requester,
        mut gm: GroupMod,
        existed: bool,
    ) {
        if gm.command == GroupCommand::AddOrModify {
            gm.command = if existed {
                GroupCommand::Modify
            } else {
                GroupCommand::Add
            };
        }
        let bucketwise = [GroupCommand::InsertBucket, GroupCommand::RemoveBucket];
        let whole = cx
            .of
            .group(gm.group_id)
            .filter(|_| bucketwise.contains(&gm.command));
        let whole = whole.map(|group| GroupMod {
            command: GroupCommand::Modify,
            kind: group.kind,
            buckets: super::group::buckets(&group),
            ..gm.clone()
        });
        let gm = Message::GroupMod(Box::new(gm));
        let whole = whole.map(|gm| Message::GroupMod(Box::new(gm)));
        self.forward(cx, by, GROUP_MOD, |version| match (&whole, version) {
            (None, _) | (_, Version::V10 | Version::V15) => &gm,
            (Some(whole), _) => whole,
        });
    }

    /// Tells the others of a meter mod.
    pub(crate) fn forward_meter_mod(&mut self, cx: &Cx<'_>, by: Requester, mm: MeterMod) {
        let mm = Message::MeterMod(mm);
        self.forward(cx, by, METER_MOD, |_| &mm);
    }

    fn forward<'m>(
        &mut self,
        cx: &Cx<'_>,
        by: Requester,
        reason: u8,
        request: impl Fn(Version) -> &'m Message,
    ) {
        let tun = cx.of.tun_table();
        for conn in self.conns.values_mut() {
            let old = reason == METER_MOD && conn.version() < Version::V13;
            if old || conn.id == by.conn || !conn.wants(AsyncType::RequestForward, reason) {
                continue;
            }
            let request = request(conn.version());
            let forward = RequestForward::new(request, &conn.encode_cx(tun), by.xid);
            if let Some(forward) = forward {
                conn.tell(OutKind::Other, &Message::RequestForward(forward), tun);
            }
        }
    }
}
