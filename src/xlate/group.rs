//! Groups: all buckets, one by weight, the first that is alive.

use crate::BUCKETS_MAX;
use crate::ctx::Ctx;
use crate::effects::Effect;
use crate::hash;
use crate::output::XlateError;
use crate::trace::NodeKind;
use crate::wild::Site;
use base::sync::Arc;
use flow::{FieldId, OfPort};
use odp::HashAlg;
use ofproto::group::GROUP_ANY;
use ofproto::{Bucket, Group, GroupType, Selection};
use openflow::action::HashFields;
use wire::U32;

/// Groups that watch groups that watch groups: beyond this many a bucket counts as dead.
const LIVENESS_DEPTH_MAX: u32 = 128;

/// What picking a bucket gave.
enum Pick {
    /// This one.
    Bucket(usize),
    /// None is alive.
    None,
}

impl Ctx<'_> {
    /// The group action. False when the group does not exist.
    pub(crate) fn group(&mut self, id: u32, is_last: bool) -> bool {
        if !self.may_go_on() {
            return true;
        }
        self.out.deps.groups.push((self.bridge.id, id));
        let Some(group) = self.bridge.pipeline.groups.lookup(id, self.version) else {
            self.note(NodeKind::Warn, || {
                format!("output to nonexistent group {id}")
            });
            return false;
        };
        match group.kind {
            GroupType::All | GroupType::Indirect => {
                for i in 0..group.buckets.len() {
                    self.bucket(&group, i, is_last && i + 1 == group.buckets.len());
                }
                self.effect(Effect::Group {
                    group,
                    bucket: None,
                });
            }
            GroupType::Select | GroupType::FastFailover => {
                let pick = if group.kind == GroupType::Select {
                    self.pick_select(&group)
                } else {
                    self.first_live(&group, 0)
                };
                match pick {
                    Pick::Bucket(i) => self.one_bucket(group, i, is_last),
                    Pick::None => self.note(NodeKind::Detail, || "no live bucket".into()),
                }
            }
        }
        true
    }

    fn one_bucket(&mut self, group: Arc<Group>, i: usize, is_last: bool) {
        let id = group.buckets[i].id;
        self.note(NodeKind::Detail, || format!("using bucket {id}"));
        self.bucket(&group, i, is_last);
        self.effect(Effect::Group {
            group,
            bucket: Some(i),
        });
    }

    /// Runs a bucket on a copy of the packet.
    fn bucket(&mut self, group: &Group, i: usize, is_last: bool) {
        if !self.count_bucket() {
            return;
        }
        let bucket = &group.buckets[i];
        self.begin(NodeKind::Bucket, || format!("bucket {}", bucket.id));
        let before = self.flow;
        let (was_mpls, due) = (self.was_mpls, self.due());
        let actions = crate::action_set::in_order(&bucket.actions);
        self.depth += 1;
        self.run(&actions, is_last, true);
        self.depth -= 1;
        if self.freeze.on {
            self.finish_freezing();
        }
        self.flow = before;
        self.restore_due(due);
        self.was_mpls = was_mpls;
        self.exit = false;
        // Errors of one bucket are not those of the next, but limits are limits.
        if matches!(
            self.error,
            Some(XlateError::TooManyMplsLabels | XlateError::UnsupportedPacketType)
        ) {
            self.error = None;
        }
        self.end();
    }

    /// Counts a bucket that is looked at. False, and translation fails, when there were too many.
    fn count_bucket(&mut self) -> bool {
        self.buckets = self.buckets.saturating_add(1);
        if self.buckets <= BUCKETS_MAX {
            return true;
        }
        if self.buckets == BUCKETS_MAX + 1 {
            self.complain(|| format!("over {BUCKETS_MAX} group buckets"));
        }
        self.error = Some(XlateError::TooManyResubmits);
        false
    }

    // ---- liveness

    fn is_alive(&mut self, group: &Group, bucket: &Bucket, depth: u32) -> bool {
        if !self.count_bucket() {
            return false;
        }
        if depth >= LIVENESS_DEPTH_MAX {
            self.complain(|| format!("bucket chaining exceeded {LIVENESS_DEPTH_MAX} links"));
            return false;
        }
        // Select groups do not use buckets without weight.
        if group.kind == GroupType::Select && bucket.weight == 0 {
            return false;
        }
        let (port, watched) = (bucket.watch_port, bucket.watch_group);
        if port == OfPort::NONE && watched == GROUP_ANY {
            return true;
        }
        match port {
            OfPort::NONE => {}
            OfPort::CONTROLLER => {
                if self.bridge.controller_alive {
                    return true;
                }
            }
            _ => {
                self.out.deps.ports.push((self.bridge.id, port));
                if self.port(port).is_some_and(|p| p.may_enable) {
                    return true;
                }
            }
        }
        watched != GROUP_ANY && self.group_is_alive(watched, depth + 1)
    }

    fn group_is_alive(&mut self, id: u32, depth: u32) -> bool {
        self.out.deps.groups.push((self.bridge.id, id));
        match self.bridge.pipeline.groups.lookup(id, self.version) {
            Some(group) => matches!(self.first_live(&group, depth), Pick::Bucket(_)),
            None => false,
        }
    }

    fn first_live(&mut self, group: &Group, depth: u32) -> Pick {
        for (i, bucket) in group.buckets.iter().enumerate() {
            if self.is_alive(group, bucket, depth) {
                return Pick::Bucket(i);
            }
            self.note_dead(bucket);
        }
        Pick::None
    }

    fn note_dead(&mut self, bucket: &Bucket) {
        self.note(NodeKind::Detail, || {
            let mut why = Vec::new();
            if bucket.watch_port != OfPort::NONE {
                why.push(format!("port {}", bucket.watch_port));
            }
            if bucket.watch_group != GROUP_ANY {
                why.push(format!("port {}", bucket.watch_group));
            }
            format!(
                "bucket {}: not live due to {}",
                bucket.id,
                why.join(" and ")
            )
        });
    }

    // ---- selection

    fn pick_select(&mut self, group: &Group) -> Pick {
        // The hash may look at headers that follow a popped label.
        if self.was_mpls {
            self.trigger_freeze();
            return Pick::None;
        }
        match &group.selection {
            Selection::Default => {
                hash::mark_fields(
                    &self.flow,
                    HashFields::SymmetricL4,
                    Site::GroupHash,
                    &mut self.wc,
                );
                let basis = hash::symmetric_l4(&self.flow, 0);
                self.best_live(group, basis)
            }
            Selection::Hash => {
                let basis = self.hash_configured(group);
                self.best_live(group, basis)
            }
            Selection::DpHash {
                algorithm,
                basis,
                map,
            } => self.pick_by_dp_hash(group, (*algorithm, *basis), map),
        }
    }

    /// Of the buckets that are alive, the one with the best score: hash times weight.
    fn best_live(&mut self, group: &Group, basis: u32) -> Pick {
        let mut best: Option<(usize, u32)> = None;
        for (i, bucket) in group.buckets.iter().enumerate() {
            if !self.is_alive(group, bucket, 0) {
                self.note_dead(bucket);
                continue;
            }
            let score = (hash::two_words(bucket.id, basis) & 0xffff) * u32::from(bucket.weight);
            if best.is_none_or(|(_, b)| score >= b) {
                best = Some((i, score));
            }
            self.note(NodeKind::Detail, || {
                format!("bucket {}: score {score}", bucket.id)
            });
        }
        best.map_or(Pick::None, |(i, _)| Pick::Bucket(i))
    }

    fn hash_configured(&mut self, group: &Group) -> u32 {
        let tun = self.tun();
        let tun = Some(&*tun);
        let mut basis = hash::number64(group.config.param, 0);
        let mut fields: Vec<_> = group.config.fields.iter().collect();
        fields.sort_by_key(|(f, _)| *f);
        for (field, mask) in fields {
            let flow = &self.flow;
            let ok = self
                .wc
                .with(Site::GroupHash, |m| field.prereqs_ok(flow, Some(m)));
            if !ok {
                continue;
            }
            let mut value = field.get(&self.flow, tun);
            for (v, m) in value.iter_mut().zip(mask) {
                *v &= m;
            }
            basis = hash::bytes(&value, basis);
            if matches!(field, FieldId::TunMetadata(_)) {
                basis = hash::boolean(field.is_set(&self.flow), basis);
            }
            self.wc
                .with(Site::GroupHash, |m| field.mask_bits(m, mask, tun));
        }
        basis
    }

    fn pick_by_dp_hash(&mut self, group: &Group, (alg, basis): (u32, u32), map: &[u32]) -> Pick {
        let dp_hash = self.flow.dp_hash.get();
        // Computed hashes are never zero: this one was not computed yet.
        if dp_hash == 0 {
            let alg = if alg == 1 && self.snap.features.max_hash_alg >= 1 {
                HashAlg::SymL4
            } else {
                HashAlg::L4
            };
            self.trigger_freeze_with_hash(alg, basis);
            return Pick::None;
        }
        let n = map.len();
        let mask = u32::try_from(n - 1).unwrap_or(u32::MAX);
        self.wc
            .mark(Site::GroupDpHash, |m| m.dp_hash |= U32::new(mask));
        for i in 0..n {
            let slot = (dp_hash as usize).wrapping_add(i) % n;
            let index = map[slot] as usize;
            if let Some(bucket) = group.buckets.get(index)
                && self.is_alive(group, bucket, 0)
            {
                return Pick::Bucket(index);
            }
        }
        Pick::None
    }
}
