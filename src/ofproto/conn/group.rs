//! Groups: mods, statistics, descriptions, features.

use super::{Controllers, Cx};
use crate::event::{ConnId, Requester};
use crate::group::{Bucket, Group, SelectionConfig};
use crate::group_mod::GroupSpec;
use crate::switch::Ofproto;
use base::clock::Nanos;
use openflow::{
    ActionKinds, GROUP_MAX, GroupCapabilities, GroupDesc, GroupFeatures, GroupMod, GroupProps,
    GroupStats, Header, Message, OfpError,
};

type Verdict = Result<(), OfpError>;

/// What a group mod asks for, in this room's terms.
pub(crate) fn spec(gm: &GroupMod) -> GroupSpec {
    let buckets = gm.buckets.iter().map(|b| {
        let mut bucket = Bucket::new(b.id, b.weight, b.acts.clone());
        (bucket.watch_port, bucket.watch_group) = (b.watch_port, b.watch_group);
        bucket
    });
    GroupSpec {
        command: gm.command,
        at: gm.command_bucket_id,
        id: gm.group_id,
        kind: gm.kind,
        buckets: buckets.collect(),
        config: SelectionConfig {
            method: gm.props.selection_method.clone(),
            param: gm.props.selection_param,
            fields: gm.props.fields.clone(),
        },
    }
}

/// Statistics of a group.
pub(crate) fn stats(of: &Ofproto, group: &Group, now: Nanos) -> GroupStats {
    let counts = group.counts();
    let pair = |b: &Bucket| (b.counts().packets, b.counts().bytes);
    GroupStats {
        group_id: group.id,
        ref_count: u32::try_from(of.group_users(group.id)).unwrap_or(u32::MAX),
        packet_count: counts.packets,
        byte_count: counts.bytes,
        duration: super::stream::duration(group.created, now),
        buckets: group.buckets.iter().map(pair).collect(),
    }
}

/// Buckets as messages have them.
pub(crate) fn buckets(group: &Group) -> Vec<openflow::Bucket> {
    let bucket = |b: &Bucket| openflow::Bucket {
        id: b.id,
        weight: b.weight,
        watch_port: b.watch_port,
        watch_group: b.watch_group,
        acts: b.actions.clone(),
    };
    group.buckets.iter().map(bucket).collect()
}

/// Description of a group.
pub(crate) fn desc(group: &Group) -> GroupDesc {
    GroupDesc {
        kind: group.kind,
        group_id: group.id,
        buckets: buckets(group),
        props: GroupProps {
            selection_method: group.config.method.clone(),
            selection_param: group.config.param,
            fields: group.config.fields.clone(),
        },
    }
}

/// What groups can do.
pub(crate) fn features() -> GroupFeatures {
    GroupFeatures {
        types: 0xf,
        capabilities: GroupCapabilities::CHAINING
            | GroupCapabilities::SELECT_LIVENESS
            | GroupCapabilities::SELECT_WEIGHT,
        max_groups: [GROUP_MAX; 4],
        actions: [ActionKinds::all(); 4],
    }
}

impl Controllers {
    pub(crate) fn group_mod(&mut self, cx: &mut Cx<'_>, by: Requester, gm: GroupMod) -> Verdict {
        self.writable(by.conn)?;
        let mut txn = cx.of.begin(cx.now);
        match cx.of.start_group_mod(&mut txn, spec(&gm), Some(by)) {
            Ok(existed) => {
                cx.of.commit(txn);
                self.forward_group_mod(cx, by, gm, existed);
                Ok(())
            }
            Err(e) => {
                cx.of.roll_back(txn);
                Err(e)
            }
        }
    }

    /// The statistics or description of one group.
    pub(crate) fn one_group(
        &mut self,
        cx: &Cx<'_>,
        to: (ConnId, &Header),
        id: u32,
        statistics: bool,
    ) -> Verdict {
        let group = cx.of.group(id);
        let message = if statistics {
            let stats = group.iter().map(|g| stats(cx.of, g, cx.now));
            Message::GroupStatsReply(stats.collect())
        } else {
            Message::GroupDescReply(group.iter().map(|g| desc(g)).collect())
        };
        self.reply(cx, to, &message)
    }
}
