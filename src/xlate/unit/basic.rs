//! The pipeline, rule by rule.

use super::*;
use odp::{Action, SetKey};

fn outputs(out: &Output) -> Vec<u32> {
    out.actions
        .iter()
        .filter_map(|a| match a {
            Action::Output(p) => Some(p.0),
            _ => None,
        })
        .collect()
}

#[test]
fn normal_floods_then_learns() {
    let mut rig = Rig::new(3);
    rig.flows(0, "actions=normal");
    let a = Rig::flow("in_port=1,dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:02");
    let out = rig.translate(0, &a);
    assert_eq!(outputs(&out), [100, 2, 3]);
    rig.apply(&out);
    let b = Rig::flow("in_port=2,dl_src=50:54:00:00:00:02,dl_dst=50:54:00:00:00:01");
    let out = rig.translate(0, &b);
    assert_eq!(outputs(&out), [1]);
    rig.apply(&out);
    assert_eq!(outputs(&rig.translate(0, &a)), [2]);
    let back = Rig::flow("in_port=1,dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:01");
    let out = rig.translate(0, &back);
    assert_eq!(
        (outputs(&out), out.drop),
        (vec![], Some(odp::DropReason::PolicyDrop))
    );
}

#[test]
fn sets_are_masked_and_committed_once() {
    let mut rig = Rig::new(3);
    rig.flows(
        0,
        "in_port=1,ip actions=mod_dl_src:00:00:00:00:00:07,mod_nw_tos:16,output:2,output:3
         table=1,ip actions=dec_ttl,output:1
         in_port=2,ip actions=resubmit(,1),output:3",
    );
    let f = Rig::flow(
        "in_port=1,tcp,dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:02,nw_src=1.2.3.4,nw_ttl=64",
    );
    let out = rig.translate(0, &f);
    assert_eq!(out.actions.len(), 4, "{:?}", out.actions);
    assert!(matches!(
        out.actions[0],
        Action::SetMasked {
            key: SetKey::Ethernet { .. },
            ..
        }
    ));
    assert!(matches!(
        out.actions[1],
        Action::SetMasked {
            key: SetKey::Ipv4 { tos: 16, .. },
            mask: SetKey::Ipv4 { tos: 0xfc, .. }
        }
    ));
    let f = Rig::flow("in_port=2,tcp,nw_src=1.2.3.4,nw_ttl=64");
    let out = rig.translate(0, &f);
    assert_eq!(outputs(&out), [1, 3]);
    assert!(out.wildcards.0.nw_ttl == 0xff && out.wildcards.0.nw_src.0 == [0; 4]);
}

#[test]
fn a_search_with_another_port_is_not_compared_with_the_packet() {
    let mut rig = Rig::new(3);
    rig.flows(0, "in_port=1 actions=resubmit(,1),resubmit(9,2)");
    let out = rig.translate(0, &Rig::flow("in_port=1"));
    let pristine: Vec<_> = out
        .deps
        .lookups
        .iter()
        .map(|l| (l.table, l.pristine))
        .collect();
    assert_eq!(pristine, [(0, true), (1, true), (2, false)]);
}

#[test]
fn resubmits_have_limits() {
    let mut rig = Rig::new(2);
    rig.flows(0, "actions=resubmit(1,0)");
    let out = rig.translate(0, &Rig::flow("in_port=1"));
    assert_eq!(out.error, Some(XlateError::RecursionTooDeep));
    let mut rig = Rig::new(2);
    for i in 1..=20 {
        rig.flows(
            0,
            &format!("in_port={i} actions=resubmit:{},resubmit:{}", i + 1, i + 1),
        );
    }
    let out = rig.translate(0, &Rig::flow("in_port=1"));
    assert_eq!(out.error, Some(XlateError::TooManyResubmits));
    assert!(out.actions.is_empty());
}

/// Case: the second bridge on the way reported it again (ofproto/trace beside Open vSwitch).
#[test]
fn what_a_translation_learns_is_reported_once() {
    let mut rig = Rig::new(3);
    rig.flows(0, "actions=clone(normal),normal");
    let flow = Rig::flow("in_port=1,dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:02");
    let req = TraceRequest {
        bridge: Rig::id(0),
        flow: &flow,
        packet: Some(&[]),
        actions: None,
        ct_states: &[],
        names: false,
        now: rig.now,
    };
    let text = trace(&rig.snap, &req, &mut |_, _| ());
    let said = "learned that 50:54:00:00:00:01 is on port p1 in VLAN 0";
    assert_eq!(text.matches(said).count(), 1, "{text}");
    assert_eq!(text.matches("no learned MAC").count(), 2, "{text}");
}

/// Case: behind a port that leaves zero tags out, only the bit that proved that the VLAN is not zero was left.
#[test]
fn a_vlan_that_nobody_asked_for_matters_whole() {
    let mut rig = Rig::new(3);
    rig.change(0, |br| {
        br.mirrors.push(XMirror {
            counts: Arc::default(),
            name: "m".into(),
            select_src: Some(vec![BundleId(1)]),
            select_dst: Some(Vec::new()),
            vlans: None,
            out_bundle: Some(BundleId(3)),
            out_vlan: None,
            snaplen: 0,
        });
    });
    rig.flows(0, "actions=drop");
    let out = rig.translate(0, &Rig::flow("in_port=1,dl_vlan=30,ip"));
    assert_eq!(outputs(&out), [3]);
    assert_eq!(out.wildcards.0.vlans[0].tci.get(), 0x1fff);
}
