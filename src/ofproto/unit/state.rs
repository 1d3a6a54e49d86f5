//! Time, limits, eviction, learned flows, groups and meters, events.

use crate::{
    Bucket, ConnId, Event, FlowChange, FlowFlags, GroupType, Learned, Meter, MeterConfig, Ofproto,
    RemovedReason, Requester, SelectionConfig, TableSettings, Vacancy,
};
use base::clock::Nanos;
use flow::{FieldId, Match, OfPort, Subfield};
use openflow::flow_mod::ALL_TABLES;
use openflow::{Act, FlowMod, FlowModCommand, FlowStatsRequest, LearnAct, OfpError};

fn add(port: u64) -> FlowMod {
    let mut fm = FlowMod::new(FlowModCommand::Add);
    fm.match_.set_u64(FieldId::InPort, port);
    fm
}

fn at(ms: u64) -> Nanos {
    Nanos::from_millis(ms)
}

fn n(of: &Ofproto) -> usize {
    let v = of.pipeline().tables.version();
    of.pipeline().tables.table(0).rules.collect(None, v).len()
}

fn removals(of: &mut Ofproto) -> Vec<RemovedReason> {
    of.take_events()
        .iter()
        .filter_map(|e| match e {
            Event::Flow {
                change: FlowChange::Removed(r),
                ..
            } => Some(*r),
            _ => None,
        })
        .collect()
}

#[test]
fn timeouts() {
    let mut of = Ofproto::new("br0");
    of.watch_flows(true);
    let mut fm = add(1);
    fm.idle_timeout = 2;
    of.flow_mod(fm.clone(), None, at(0)).expect("added");
    fm = add(2);
    fm.hard_timeout = 5;
    of.flow_mod(fm, None, at(0)).expect("added");
    assert_eq!(of.next_expiry(), Some(at(2000)));
    let v = of.pipeline().tables.version();
    let rules = of.pipeline().tables.table(0).rules.collect(None, v);
    rules[0].credit(1, 60, at(1500));
    of.expire(at(2001), at(2001), 10);
    assert_eq!((n(&of), of.next_expiry()), (2, Some(at(3500))));
    // Packets of the last second may not have been credited yet.
    of.expire(at(3600), at(3500), 10);
    assert_eq!(n(&of), 2);
    of.expire(at(3600), at(3501), 10);
    assert_eq!(n(&of), 1);
    of.expire(at(5001), at(0), 10);
    let want = [RemovedReason::IdleTimeout, RemovedReason::HardTimeout];
    assert_eq!((n(&of), removals(&mut of)), (0, want.to_vec()));
}

#[test]
fn fin_timeout_makes_a_flow_expire() {
    let mut of = Ofproto::new("br0");
    of.flow_mod(add(1), None, at(0)).expect("added");
    let v = of.pipeline().tables.version();
    let rule = of.pipeline().tables.table(0).rules.collect(None, v)[0].clone();
    assert_eq!(of.next_expiry(), None);
    of.reduce_timeouts(&rule, 5, 0);
    of.expire(at(5001), at(5001), 10);
    assert_eq!(n(&of), 0);
}

#[test]
fn full_tables_evict_fairly_and_by_importance() {
    let mut of = Ofproto::new("br0");
    of.watch_flows(true);
    let settings = TableSettings {
        max_flows: Some(3),
        eviction: Some(vec![Subfield::whole(FieldId::InPort)]),
        ..TableSettings::default()
    };
    of.configure_table(0, &settings, at(0));
    let flow = |port: u64, vlan: u64, idle: u16, importance: u16| {
        let mut fm = add(port);
        fm.match_.set_u64(FieldId::EthType, vlan);
        (fm.idle_timeout, fm.importance) = (idle, importance);
        fm
    };
    for fm in [flow(1, 1, 5, 7), flow(1, 2, 9, 1), flow(2, 1, 1, 0)] {
        of.flow_mod(fm, None, at(0)).expect("there is room");
    }
    // Port 1 has most flows; of these the less important one goes.
    of.flow_mod(flow(3, 1, 0, 0), None, at(1)).expect("evicts");
    let v = of.pipeline().tables.version();
    let left = of.pipeline().tables.table(0).rules.collect(None, v);
    assert!(left.iter().all(|r| r.idle_timeout() != 9));
    assert_eq!(removals(&mut of), [RemovedReason::Eviction]);
    // Flows without timeouts stay.
    for fm in [flow(4, 1, 0, 0), flow(5, 1, 0, 0)] {
        of.flow_mod(fm, None, at(2)).expect("evicts");
    }
    let full = of.flow_mod(flow(6, 1, 9, 9), None, at(3));
    assert_eq!(full, Err(OfpError::OFPFMFC_TABLE_FULL));
    of.unconfigure_table(0, at(4));
    of.flow_mod(flow(6, 1, 9, 9), None, at(4))
        .expect("no limit");
}

#[test]
fn learned_flows_go_with_the_last_teacher() {
    let mut of = Ofproto::new("br0");
    let learn = Act::Learn(Box::new(LearnAct {
        idle_timeout: 0,
        hard_timeout: 0,
        priority: 1,
        table: 0,
        cookie: 77,
        send_flow_rem: false,
        delete_learned: true,
        write_result: false,
        fin_idle_timeout: 0,
        fin_hard_timeout: 0,
        limit: 0,
        result_dst: None,
        specs: Vec::new(),
    }));
    for port in [1, 2] {
        let mut fm = add(port);
        fm.acts = vec![Act::Clone(vec![learn.clone()])];
        of.flow_mod(fm, None, at(0)).expect("added");
    }
    let mut learned = add(9);
    learned.new_cookie = 77;
    of.flow_mod(learned, None, at(0)).expect("added");
    let mut del = add(1);
    del.command = FlowModCommand::Delete;
    of.flow_mod(del.clone(), None, at(1)).expect("deleted");
    assert_eq!(n(&of), 2);
    del.match_.set_u64(FieldId::InPort, 2);
    of.flow_mod(del, None, at(1)).expect("deleted");
    assert_eq!(n(&of), 0);
}

#[test]
fn learning_refreshes_waits_and_has_limits() {
    let mut of = Ofproto::new("br0");
    let mut fm = add(1);
    fm.command = FlowModCommand::ModifyStrict;
    (fm.table_id, fm.new_cookie, fm.modify_cookie) = (0, 5, true);
    fm.hard_timeout = 1;
    let Ok(Learned::Here(rule)) = of.learn(&fm, 2, at(0)) else {
        panic!("nothing is in the way");
    };
    assert!(rule.refresh(at(900)));
    of.expire(at(1500), at(1500), 9);
    let txn = of.begin(at(1500));
    let mut second = fm.clone();
    second.match_.set_u64(FieldId::InPort, 2);
    assert!(matches!(of.learn(&second, 2, at(1500)), Ok(Learned::Later)));
    assert_eq!(n(&of), 1);
    of.roll_back(txn);
    assert_eq!(n(&of), 2);
    let mut third = fm.clone();
    third.match_.set_u64(FieldId::InPort, 3);
    assert!(matches!(of.learn(&third, 2, at(1500)), Ok(Learned::Limit)));
    of.expire(at(3000), at(3000), 9);
    assert!(n(&of) == 0 && !rule.refresh(at(3000)));
}

#[test]
fn groups_and_meters_must_exist_and_take_their_flows_with_them() {
    let mut of = Ofproto::new("br0");
    of.watch_flows(true);
    let mut by_group = add(1);
    by_group.acts = vec![Act::WriteActions(vec![Act::Group(5)])];
    let mut by_meter = add(2);
    by_meter.acts = vec![Act::Meter(3)];
    let refused = of.flow_mod(by_group.clone(), None, at(0));
    assert_eq!(refused, Err(OfpError::OFPBAC_BAD_OUT_GROUP));
    let refused = of.flow_mod(by_meter.clone(), None, at(0));
    assert_eq!(refused, Err(OfpError::OFPMMFC_INVALID_METER));
    let bucket = Bucket::new(0, 1, Vec::new());
    of.install_group(5, GroupType::All, vec![bucket], SelectionConfig::default());
    of.install_meter(Meter {
        id: 3,
        provider_id: 0,
        config: MeterConfig::default(),
        created: at(0),
    });
    of.flow_mod(by_group, None, at(0))
        .expect("the group exists");
    of.flow_mod(by_meter, None, at(0))
        .expect("the meter exists");
    assert_eq!((of.group_users(5), of.meter_users(3)), (1, 1));
    assert!(of.remove_meter(3, at(1)).is_some());
    assert_eq!(removals(&mut of), [RemovedReason::MeterDelete]);
    assert_eq!((of.group_users(5), of.meter_users(3)), (1, 0));
}

#[test]
fn events_say_what_happened_and_who_asked() {
    let mut of = Ofproto::new("br0");
    let by = Some(Requester {
        conn: ConnId(4),
        xid: 9,
    });
    let mut quiet = add(1);
    of.flow_mod(quiet.clone(), by, at(0)).expect("added");
    assert!(of.take_events().is_empty());
    of.watch_flows(true);
    quiet.flags = FlowFlags::SEND_FLOW_REM;
    of.flow_mod(quiet.clone(), by, at(0)).expect("replaced");
    quiet.command = FlowModCommand::Modify;
    of.flow_mod(quiet.clone(), by, at(0))
        .expect("nothing to see");
    quiet.acts = vec![Act::Output {
        port: OfPort(1),
        max_len: 0,
    }];
    of.flow_mod(quiet.clone(), by, at(0)).expect("modified");
    of.watch_flows(false);
    quiet.command = FlowModCommand::Delete;
    of.flow_mod(quiet, by, at(0)).expect("deleted");
    let seen: Vec<_> = of
        .take_events()
        .into_iter()
        .map(|e| match e {
            Event::Flow { change, by: b, .. } => {
                assert_eq!(b, by);
                match change {
                    FlowChange::Added => 'a',
                    FlowChange::Modified(_) => 'm',
                    FlowChange::Removed(_) => 'r',
                }
            }
            _ => '?',
        })
        .collect();
    assert_eq!(seen, ['a', 'm', 'r']);
}

#[test]
fn vacancy_events_alternate() {
    let mut of = Ofproto::new("br0");
    let state = of.state_mut(0);
    state.max_flows = 10;
    (state.vacancy_down, state.vacancy_up) = (40, 60);
    state.vacancy_event = Some(Vacancy::Down);
    let mut seen = Vec::new();
    let mut take = |of: &mut Ofproto| {
        for e in of.take_events() {
            if let Event::Vacancy { reason, .. } = e {
                seen.push((of.state(0).n_flows, reason));
            }
        }
    };
    for port in 0..9 {
        of.flow_mod(add(port), None, at(0)).expect("added");
        take(&mut of);
    }
    for port in 0..9 {
        let mut fm = add(port);
        fm.command = FlowModCommand::DeleteStrict;
        of.flow_mod(fm, None, at(0)).expect("deleted");
        take(&mut of);
    }
    assert_eq!(seen, [(7, Vacancy::Down), (3, Vacancy::Up)]);
}

#[test]
fn the_switch_keeps_its_own_table_and_rules() {
    let mut of = Ofproto::new("br0");
    let mut fm = add(1);
    fm.table_id = crate::INTERNAL_TABLE;
    assert_eq!(
        of.flow_mod(fm.clone(), None, at(0)),
        Err(OfpError::OFPBRC_EPERM)
    );
    fm.flags = FlowFlags::NO_READONLY | FlowFlags::HIDDEN_FIELDS;
    of.flow_mod(fm.clone(), None, at(0)).expect("from inside");
    fm.flags = FlowFlags::empty();
    fm.command = FlowModCommand::Delete;
    assert_eq!(
        of.flow_mod(fm.clone(), None, at(0)),
        Err(OfpError::OFPBRC_EPERM)
    );
    fm.table_id = 255;
    of.flow_mod(fm, None, at(0)).expect("passes over it");
    let table = of.pipeline().tables.table(crate::INTERNAL_TABLE);
    assert_eq!(table.rules.len(), 1);
}

#[test]
fn walks_and_deletions_in_pieces() {
    let mut of = Ofproto::new("br0");
    for port in 0..100 {
        let mut fm = add(port);
        fm.table_id = u8::try_from(port % 3).expect("small");
        fm.new_cookie = port % 2;
        of.flow_mod(fm, None, at(0)).expect("added");
    }
    let mut request = FlowStatsRequest {
        aggregate: false,
        match_: Match::catchall(),
        cookie: 1,
        cookie_mask: 1,
        out_port: OfPort::NONE,
        out_group: u32::MAX,
        table_id: ALL_TABLES,
    };
    for (mask, want) in [(1, 50), (u64::MAX, 50), (0, 100)] {
        request.cookie_mask = mask;
        let mut walk = of.walk(&request).expect("proper");
        let (mut out, mut steps) = (Vec::new(), 0);
        while of.step(&mut walk, 7, &mut out) {
            steps += 1;
        }
        assert_eq!((out.len(), steps > want / 8), (want, true));
    }
    let mut fm = FlowMod::new(FlowModCommand::Delete);
    (fm.cookie, fm.cookie_mask) = (1, 1);
    let fm = of.prepare_flow_mod(fm, None).expect("proper");
    let mut txn = of.begin(at(1));
    let walk = of
        .start_flow_mod_slowly(&mut txn, fm, None)
        .expect("proper");
    let mut walk = walk.expect("a deletion is a walk");
    while of.delete_some(&mut txn, &mut walk, 9) {}
    let flows = |of: &Ofproto| of.state(0).n_flows + of.state(1).n_flows + of.state(2).n_flows;
    assert_eq!((flows(&of), n(&of)), (50, 34));
    of.publish(&mut txn);
    assert_eq!(n(&of), 17);
    while of.finish(&mut txn, 3) {}
    assert!(!of.is_busy() && !of.sweep(usize::MAX));
}
