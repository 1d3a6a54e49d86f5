//! Group mods: what a message asks for becomes changes of a [`Txn`].
//!
//! A group never changes: a modification puts a new one in its place, with counters at zero, as Open vSwitch
//! has it. A deleted group takes the flows that use it along.

use crate::event::Requester;
use crate::group::{Bucket, GROUP_ALL, GROUP_MAX, Group, SelectionConfig};
use crate::switch::Ofproto;
use crate::txn::Txn;
use base::sync::Arc;
use openflow::RemovedReason;
use openflow::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, BUCKET_MAX, FlowFlags, FlowModCommand, GroupCommand,
    GroupType, OfpError,
};

/// A group mod.
#[derive(Debug)]
pub struct GroupSpec {
    /// What to do.
    pub command: GroupCommand,
    /// The bucket after which others are inserted, or the one that is removed.
    pub at: u32,
    /// The group, or [`GROUP_ALL`] for deletion.
    pub id: u32,
    /// What it does with its buckets.
    pub kind: GroupType,
    /// Its buckets, or those to insert.
    pub buckets: Vec<Bucket>,
    /// How it picks.
    pub config: SelectionConfig,
}

impl Ofproto {
    /// Adds the changes of a group mod to a transaction. True when the group was there before.
    ///
    /// # Errors
    /// What the message is refused for; the transaction must then be rolled back.
    pub fn start_group_mod(
        &mut self,
        txn: &mut Txn,
        spec: GroupSpec,
        by: Option<Requester>,
    ) -> Result<bool, OfpError> {
        txn.step(by, FlowModCommand::Delete, FlowFlags::default());
        let old = self.group(spec.id);
        match (spec.command, old) {
            (GroupCommand::Add, Some(_)) => Err(OfpError::OFPGMFC_GROUP_EXISTS),
            (GroupCommand::Add | GroupCommand::AddOrModify, None) => {
                self.add_group(txn, spec).map(|()| false)
            }
            (GroupCommand::Delete, old) => Ok(self.delete_groups(txn, &spec, old)),
            (_, None) => Err(OfpError::OFPGMFC_UNKNOWN_GROUP),
            (_, Some(old)) => self.modify_group(txn, spec, old).map(|()| true),
        }
    }

    fn add_group(&mut self, txn: &mut Txn, spec: GroupSpec) -> Result<(), OfpError> {
        if spec.id > GROUP_MAX {
            return Err(OfpError::OFPGMFC_INVALID_GROUP);
        }
        let born = (txn.version(), txn.now);
        let group = Group::new(spec.id, spec.kind, spec.buckets, spec.config, born);
        self.start_group_add(txn, Arc::new(group));
        Ok(())
    }

    fn modify_group(
        &mut self,
        txn: &mut Txn,
        spec: GroupSpec,
        old: Arc<Group>,
    ) -> Result<(), OfpError> {
        let (kind, config, buckets) = match spec.command {
            // Type and properties stay as they are when only buckets change.
            GroupCommand::InsertBucket => {
                let buckets = insert_buckets(&old.buckets, spec.buckets, spec.at)?;
                (old.kind, old.config.clone(), buckets)
            }
            GroupCommand::RemoveBucket => {
                let buckets = remove_bucket(&old.buckets, spec.at)?;
                (old.kind, old.config.clone(), buckets)
            }
            _ => (spec.kind, spec.config, spec.buckets),
        };
        let born = (txn.version(), txn.now);
        let mut group = Group::new(spec.id, kind, buckets, config, born);
        group.created = old.created;
        self.start_group_remove(txn, old);
        self.start_group_add(txn, Arc::new(group));
        Ok(())
    }

    fn delete_groups(&mut self, txn: &mut Txn, spec: &GroupSpec, one: Option<Arc<Group>>) -> bool {
        let groups = if spec.id == GROUP_ALL {
            self.pipeline.groups.all(classifier::LATEST)
        } else {
            Vec::from_iter(one)
        };
        let any = !groups.is_empty();
        for group in groups {
            for rule in self.books.groups.of(group.id) {
                self.start_remove(txn, rule, RemovedReason::GroupDelete);
            }
            self.start_group_remove(txn, group);
        }
        any
    }
}

fn insert_buckets(old: &[Bucket], new: Vec<Bucket>, at: u32) -> Result<Vec<Bucket>, OfpError> {
    let place = match at {
        BUCKET_FIRST => 0,
        BUCKET_LAST => old.len(),
        id if id <= BUCKET_MAX => {
            let found = old.iter().position(|b| b.id == id);
            found.ok_or(OfpError::OFPGMFC_UNKNOWN_BUCKET)? + 1
        }
        _ => 0,
    };
    let mut out: Vec<Bucket> = old.iter().map(Bucket::fresh).collect();
    out.splice(place..place, new);
    let mut ids: Vec<u32> = out.iter().map(|b| b.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|w| w[0] == w[1]) {
        return Err(OfpError::OFPGMFC_BUCKET_EXISTS);
    }
    Ok(out)
}

fn remove_bucket(old: &[Bucket], at: u32) -> Result<Vec<Bucket>, OfpError> {
    let skip = match at {
        BUCKET_ALL => return Ok(Vec::new()),
        BUCKET_FIRST => Some(0),
        BUCKET_LAST => old.len().checked_sub(1),
        id => {
            let found = old.iter().position(|b| b.id == id);
            Some(found.ok_or(OfpError::OFPGMFC_UNKNOWN_BUCKET)?)
        }
    };
    let kept = old.iter().enumerate().filter(|(i, _)| Some(*i) != skip);
    Ok(kept.map(|(_, b)| b.fresh()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::clock::Nanos;

    fn buckets(ids: &[u32]) -> Vec<Bucket> {
        ids.iter()
            .map(|id| Bucket::new(*id, 1, Vec::new()))
            .collect()
    }

    fn change(
        of: &mut Ofproto,
        (command, at): (GroupCommand, u32),
        ids: &[u32],
    ) -> Result<(), OfpError> {
        let spec = GroupSpec {
            command,
            at,
            id: 7,
            kind: GroupType::Select,
            buckets: buckets(ids),
            config: SelectionConfig::default(),
        };
        let mut txn = of.begin(Nanos(1));
        match of.start_group_mod(&mut txn, spec, None) {
            Ok(_) => of.commit(txn),
            Err(e) => {
                of.roll_back(txn);
                return Err(e);
            }
        }
        Ok(())
    }

    fn ids(of: &Ofproto) -> Vec<u32> {
        let group = of.group(7).expect("it was added");
        group.buckets.iter().map(|b| b.id).collect()
    }

    #[test]
    fn buckets_come_and_go_where_the_message_says() {
        use GroupCommand::{Add, Delete, InsertBucket, Modify, RemoveBucket};
        let mut of = Ofproto::new("br0");
        let unknown = Err(OfpError::OFPGMFC_UNKNOWN_GROUP);
        assert_eq!(change(&mut of, (Modify, 0), &[]), unknown);
        change(&mut of, (Add, 0), &[1, 2]).expect("new");
        assert_eq!(
            change(&mut of, (Add, 0), &[1]),
            Err(OfpError::OFPGMFC_GROUP_EXISTS)
        );
        type Step<'a> = ((GroupCommand, u32), &'a [u32], &'a [u32]);
        let steps: [Step<'_>; 6] = [
            ((InsertBucket, BUCKET_FIRST), &[3], &[3, 1, 2]),
            ((InsertBucket, BUCKET_LAST), &[4, 5], &[3, 1, 2, 4, 5]),
            ((InsertBucket, 1), &[6], &[3, 1, 6, 2, 4, 5]),
            ((RemoveBucket, BUCKET_FIRST), &[], &[1, 6, 2, 4, 5]),
            ((RemoveBucket, BUCKET_LAST), &[], &[1, 6, 2, 4]),
            ((RemoveBucket, 6), &[], &[1, 2, 4]),
        ];
        for (command, new, want) in steps {
            change(&mut of, command, new).expect("proper");
            assert_eq!(ids(&of), want);
        }
        let exists = Err(OfpError::OFPGMFC_BUCKET_EXISTS);
        assert_eq!(change(&mut of, (InsertBucket, BUCKET_LAST), &[2]), exists);
        let unknown = Err(OfpError::OFPGMFC_UNKNOWN_BUCKET);
        assert_eq!(change(&mut of, (RemoveBucket, 9), &[]), unknown);
        assert_eq!(change(&mut of, (InsertBucket, 9), &[8]), unknown);
        assert_eq!(ids(&of), [1, 2, 4]);
        change(&mut of, (Delete, 0), &[]).expect("always");
        change(&mut of, (Delete, 0), &[]).expect("always");
        assert!(of.group(7).is_none());
        assert_eq!(of.pipeline().groups.all(u64::MAX - 1).len(), 0);
    }
}
