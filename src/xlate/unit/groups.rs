//! Groups that point at groups: bounded however many paths there are through them.

use super::*;
use ofproto::group::SelectionConfig;
use ofproto::{Bucket, GroupType};
use openflow::Act;

/// A chain of groups 1..=n of `width` buckets each, all of which lead to the next group.
fn chain(rig: &mut Rig, (n, width): (u32, u32), kind: GroupType) {
    for id in (1..=n).rev() {
        let bucket = |b| {
            let mut bucket = Bucket::new(b, 1, vec![Act::Group(id + 1)]);
            if kind == GroupType::FastFailover {
                bucket.watch_group = id + 1;
            }
            bucket
        };
        let buckets = (0..width).map(bucket).collect();
        rig.switches[0].install_group(id, kind, buckets, SelectionConfig::default());
    }
}

#[test]
fn ten_thousand_groups_in_a_row_are_too_deep() {
    let mut rig = Rig::new(2);
    chain(&mut rig, (10_000, 1), GroupType::Indirect);
    rig.flows(0, "actions=group:1");
    let out = rig.translate(0, &Rig::flow("in_port=1"));
    assert_eq!(out.error, Some(XlateError::RecursionTooDeep));
}

#[test]
fn paths_through_groups_are_counted() {
    for kind in [GroupType::All, GroupType::Select] {
        let mut rig = Rig::new(2);
        // 2 to the power of 60 paths, none of them too deep.
        chain(&mut rig, (60, 2), kind);
        rig.flows(0, "actions=group:1");
        let out = rig.translate(0, &Rig::flow("in_port=1"));
        let want = (kind == GroupType::All).then_some(XlateError::TooManyResubmits);
        assert_eq!(out.error, want, "{kind:?}");
    }
}

#[test]
fn liveness_of_groups_that_watch_groups_is_bounded() {
    let mut rig = Rig::new(2);
    // The last one watches a group that is not there: all paths are dead, each to be found so.
    chain(&mut rig, (100, 2), GroupType::FastFailover);
    rig.flows(0, "actions=group:1");
    let out = rig.translate(0, &Rig::flow("in_port=1"));
    assert_eq!(out.error, Some(XlateError::TooManyResubmits));
}
