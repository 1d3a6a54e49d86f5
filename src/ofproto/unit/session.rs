//! Bundles, groups, meters, tables, roles, monitors, packets: as conversations.

use super::conn::{World, add, error_of};
use crate::{ConnId, ConnSettings, ControllerPacket};
use base::clock::Nanos;
use flow::{FieldId, Match, OfPort, TlvMap};
use openflow::flow_mod::{ALL_TABLES, ANY_GROUP, NO_BUFFER};
use openflow::{
    Act, AsyncType, Bucket, BundleAdd, BundleControl, BundleFlags, BundleType, EncodeCx, FlowFlags,
    FlowMod, FlowModCommand, FlowUpdate, GROUP_ALL, GroupCommand, GroupMod, GroupProps, GroupType,
    METER_ALL, Message, MeterBand, MeterCommand, MeterConfig, MeterFlags, MeterMod, MonitorCommand,
    MonitorFlags, MonitorRequest, OfpError, PacketIn, PacketOut, PortConfig, PortDesc, PortMod,
    Role, RoleMessage, SetAsync, TableFeaturesCommand, TableMiss, TableMod, TableVacancy,
    TlvCommand, TlvTableMod, UpdateEvent, Version,
};

const V14: Version = Version::V14;

fn control(kind: BundleType) -> Message {
    Message::BundleControl(BundleControl {
        bundle_id: 1,
        kind,
        flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
    })
}

fn group(command: GroupCommand, id: u32) -> GroupMod {
    let bucket = Bucket {
        id: 0,
        weight: 0,
        watch_port: OfPort::NONE,
        watch_group: ANY_GROUP,
        acts: vec![Act::Output {
            port: OfPort(3),
            max_len: 0,
        }],
    };
    let delete = command == GroupCommand::Delete;
    GroupMod {
        command,
        kind: GroupType::All,
        group_id: id,
        command_bucket_id: openflow::BUCKET_ALL,
        buckets: if delete { Vec::new() } else { vec![bucket] },
        props: GroupProps::default(),
    }
}

fn by_group(port: u64, id: u32) -> FlowMod {
    let mut fm = add(port);
    fm.acts = vec![Act::Group(id)];
    fm
}

fn packet_out(port: u16) -> Message {
    let mut metadata = Match::catchall();
    metadata.set_default_packet_type();
    metadata.set_in_port(OfPort(port));
    Message::PacketOut(Box::new(PacketOut {
        packet: vec![
            0, 1, 2, 3, 4, 5, 0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x12, 0x34,
        ],
        buffer_id: NO_BUFFER,
        metadata,
        acts: vec![Act::Output {
            port: OfPort::TABLE,
            max_len: 0,
        }],
    }))
}

impl World {
    /// Sends messages as a bundle; what came back.
    fn bundle(&mut self, id: ConnId, messages: &[Message]) -> Vec<Message> {
        let cx = EncodeCx::version_only(V14);
        let mut got = self.ask(id, V14, &control(BundleType::OpenRequest));
        for (xid, m) in (500..).zip(messages) {
            let add = Message::BundleAdd(BundleAdd {
                bundle_id: 1,
                flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
                message: m.encode(&cx, xid).expect("1.4 has it"),
            });
            let bytes = add.encode(&cx, xid).expect("1.4 has it");
            self.with(|c, cx| c.receive(cx, id, &bytes))
                .expect("stays open");
            got.extend(self.read(id, V14));
        }
        got.extend(self.ask(id, V14, &control(BundleType::CommitRequest)));
        got
    }

    fn flows(&self) -> usize {
        let tables = &self.of.pipeline().tables;
        let version = tables.version();
        tables
            .iter()
            .map(|(_, t)| t.rules.collect(None, version).len())
            .sum()
    }
}

fn kinds(messages: &[Message]) -> Vec<BundleType> {
    let kind = |m: &Message| match m {
        Message::BundleControl(c) => Some(c.kind),
        _ => None,
    };
    messages.iter().filter_map(kind).collect()
}

#[test]
fn a_bundle_is_applied_in_order_and_a_packet_sees_its_middle() {
    let mut w = World::new();
    let id = w.connect(ConnSettings::service("test"), V14);
    let got = w.bundle(
        id,
        &[
            Message::GroupMod(Box::new(group(GroupCommand::Add, 1))),
            Message::FlowMod(Box::new(by_group(6, 1))),
            packet_out(6),
            Message::GroupMod(Box::new(group(GroupCommand::Delete, GROUP_ALL))),
        ],
    );
    assert_eq!(
        kinds(&got),
        [BundleType::OpenReply, BundleType::CommitReply]
    );
    // The flow went with the group, but the packet was translated while it was there.
    assert_eq!((w.flows(), w.controllers.take_plans().len()), (0, 1));
    assert_eq!(w.datapath.translated.len(), 1);
    assert_eq!(w.datapath.translated[0].1, 1);
}

#[test]
fn a_bundle_that_fails_leaves_nothing_behind() {
    let mut w = World::new();
    let id = w.connect(ConnSettings::service("test"), V14);
    w.send(id, V14, &Message::FlowMod(Box::new(add(9))));
    let version = w.of.pipeline().tables.version();
    let mut replace = add(9);
    replace.acts = Vec::new();
    let got = w.bundle(
        id,
        &[
            Message::GroupMod(Box::new(group(GroupCommand::Add, 1))),
            Message::FlowMod(Box::new(by_group(6, 1))),
            Message::FlowMod(Box::new(replace)),
            packet_out(6),
            Message::FlowMod(Box::new(by_group(7, 2))),
        ],
    );
    let errors: Vec<_> = got
        .iter()
        .filter_map(|m| match m {
            Message::Error(e) => e.error,
            _ => None,
        })
        .collect();
    assert_eq!(
        errors,
        [OfpError::OFPBAC_BAD_OUT_GROUP, OfpError::OFPBFC_MSG_FAILED]
    );
    assert!(w.of.group(1).is_none() && w.controllers.take_plans().is_empty());
    assert_eq!((w.flows(), w.of.pipeline().tables.version()), (1, version));
    // A port mod cannot be atomic.
    let pm = PortMod {
        port_no: OfPort(1),
        hw_addr: wire::EthAddr::default(),
        config: PortConfig::empty(),
        mask: PortConfig::empty(),
        advertise: 0,
    };
    let got = w.bundle(id, &[Message::PortMod(pm)]);
    assert_eq!(error_of(&got), Some(OfpError::OFPBFC_MSG_FAILED));
}

#[test]
fn bundles_are_opened_closed_and_forgotten_as_the_protocol_says() {
    use BundleType::{CloseRequest, CommitRequest, DiscardRequest, OpenRequest};
    let mut w = World::new();
    let id = w.connect(ConnSettings::service("test"), V14);
    let ask = |w: &mut World, kind| error_of(&w.ask(id, V14, &control(kind)));
    for kind in [CloseRequest, CommitRequest, DiscardRequest] {
        assert_eq!(ask(&mut w, kind), Some(OfpError::OFPBFC_BAD_ID));
    }
    assert_eq!(ask(&mut w, OpenRequest), None);
    assert_eq!(ask(&mut w, OpenRequest), Some(OfpError::OFPBFC_BAD_ID));
    assert_eq!(ask(&mut w, CommitRequest), Some(OfpError::OFPBFC_BAD_ID));
    assert_eq!(ask(&mut w, OpenRequest), None);
    assert_eq!(ask(&mut w, CloseRequest), None);
    assert_eq!(
        ask(&mut w, CloseRequest),
        Some(OfpError::OFPBFC_BUNDLE_CLOSED)
    );
    assert_eq!(ask(&mut w, OpenRequest), None);
    w.now = w.now.plus_millis(9_000);
    assert!(w.read(id, V14).is_empty());
    w.now = w.now.plus_millis(1_000);
    assert_eq!(error_of(&w.read(id, V14)), Some(OfpError::OFPBFC_TIMEOUT));
    assert_eq!(ask(&mut w, DiscardRequest), Some(OfpError::OFPBFC_BAD_ID));
}

#[test]
fn a_long_bundle_is_worked_on_in_pieces() {
    let mut w = World::new();
    let id = w.connect(ConnSettings::service("test"), V14);
    let other = w.connect(ConnSettings::service("other"), V14);
    let cx = EncodeCx::version_only(V14);
    w.ask(id, V14, &control(BundleType::OpenRequest));
    for port in 0..10_000 {
        let message = Message::FlowMod(Box::new(add(port)))
            .encode(&cx, 5)
            .expect("1.4");
        let add = BundleAdd {
            bundle_id: 1,
            flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
            message,
        };
        let bytes = Message::BundleAdd(add).encode(&cx, 5).expect("1.4");
        w.with(|c, cx| c.receive(cx, id, &bytes))
            .expect("stays open");
    }
    w.send(id, V14, &control(BundleType::CommitRequest));
    let mut pieces = 0;
    while !w.controllers.may_receive(other) {
        assert!(!w.controllers.may_receive(id));
        let flows = w.flows();
        assert!(flows == 0 || flows == 10_000, "all at once, not {flows}");
        w.with(|c, cx| c.run(cx));
        pieces += 1;
    }
    assert!(pieces > 5);
    assert_eq!(kinds(&w.read(id, V14)), [BundleType::CommitReply]);
}

#[test]
fn groups_are_described_and_counted() {
    let mut w = World::new();
    let v = Version::V15;
    let id = w.connect(ConnSettings::service("test"), v);
    for n in 1..=3 {
        let gm = Message::GroupMod(Box::new(group(GroupCommand::Add, n)));
        assert!(w.ask(id, v, &gm).is_empty());
    }
    w.send(id, v, &Message::FlowMod(Box::new(by_group(1, 2))));
    w.of.group(2).expect("added").credit(None, 3, 300);
    let got = w.ask(id, v, &Message::GroupStatsRequest(GROUP_ALL));
    let [Message::GroupStatsReply(stats)] = &got[..] else {
        panic!("{got:?}");
    };
    let seen: Vec<_> = stats
        .iter()
        .map(|s| (s.group_id, s.ref_count, s.packet_count))
        .collect();
    assert_eq!(seen, [(1, 0, 0), (2, 1, 3), (3, 0, 0)]);
    assert_eq!(stats[1].buckets, [(3, 300)]);
    let got = w.ask(id, v, &Message::GroupDescRequest(2));
    let [Message::GroupDescReply(desc)] = &got[..] else {
        panic!("{got:?}");
    };
    assert_eq!((desc.len(), desc[0].buckets.len()), (1, 1));
    assert_eq!(
        w.ask(id, v, &Message::GroupStatsRequest(9)),
        [Message::GroupStatsReply(vec![])]
    );
    let gm = Message::GroupMod(Box::new(group(GroupCommand::Add, 3)));
    assert_eq!(
        error_of(&w.ask(id, v, &gm)),
        Some(OfpError::OFPGMFC_GROUP_EXISTS)
    );
    assert!(matches!(
        w.ask(id, v, &Message::GroupFeaturesRequest)[..],
        [Message::GroupFeaturesReply(_)]
    ));
}

#[test]
fn meters_live_in_the_datapath_too() {
    let mut w = World::new();
    let v = Version::V13;
    let id = w.connect(ConnSettings::service("test"), v);
    let meter = |command, meter_id, rate| {
        Message::MeterMod(MeterMod {
            command,
            meter: MeterConfig {
                meter_id,
                flags: MeterFlags::KBPS,
                bands: vec![MeterBand {
                    remark: None,
                    rate,
                    burst_size: 0,
                }],
            },
        })
    };
    let ask = |w: &mut World, m: Message| error_of(&w.ask(id, v, &m));
    assert_eq!(
        ask(&mut w, meter(MeterCommand::Add, 0, 1)),
        Some(OfpError::OFPMMFC_INVALID_METER)
    );
    assert_eq!(
        ask(&mut w, meter(MeterCommand::Modify, 5, 1)),
        Some(OfpError::OFPMMFC_UNKNOWN_METER)
    );
    assert_eq!(ask(&mut w, meter(MeterCommand::Add, 5, 1)), None);
    assert_eq!(
        ask(&mut w, meter(MeterCommand::Add, 5, 1)),
        Some(OfpError::OFPMMFC_METER_EXISTS)
    );
    assert_eq!(ask(&mut w, meter(MeterCommand::Modify, 5, 9)), None);
    assert_eq!(w.datapath.meters[0].bands[0].rate, 9);
    let mut fm = add(1);
    fm.acts.insert(0, Act::Meter(5));
    assert_eq!(ask(&mut w, Message::FlowMod(Box::new(fm))), None);
    let got = w.ask(id, v, &Message::MeterStatsRequest(METER_ALL));
    let [Message::MeterStatsReply(stats)] = &got[..] else {
        panic!("{got:?}");
    };
    assert_eq!(
        (
            stats[0].meter_id,
            stats[0].flow_count,
            stats[0].packet_in_count
        ),
        (5, 1, 7)
    );
    let got = w.ask(id, v, &Message::MeterConfigRequest(5));
    assert!(matches!(&got[..], [Message::MeterConfigReply(c)] if c[0].bands[0].rate == 9));
    assert_eq!(
        error_of(&w.ask(id, v, &Message::MeterConfigRequest(6))),
        Some(OfpError::OFPMMFC_UNKNOWN_METER)
    );
    assert_eq!(
        error_of(&w.ask(id, v, &meter(MeterCommand::Delete, 5, 0))),
        None
    );
    assert_eq!(w.flows(), 0);
}

#[test]
fn tables_have_features_names_and_vacancy() {
    let mut w = World::new();
    let v = Version::V14;
    let id = w.connect(ConnSettings::service("test"), v);
    let got = w.ask(id, v, &Message::TableFeaturesRequest(Vec::new()));
    let mut all = Vec::new();
    for m in got {
        let Message::TableFeaturesReply(f) = m else {
            panic!("{m:?}");
        };
        all.extend(f);
    }
    assert_eq!(
        (all.len(), all[253].table_id, all[0].max_entries),
        (254, 253, 1_000_000)
    );
    all[3].name = "acl".to_owned();
    all[0].command = TableFeaturesCommand::Replace;
    w.with(|_, cx| super::super::conn::change_table_features(cx.of, &all))
        .expect("only a name");
    assert_eq!(w.of.state(3).name(), "acl");
    all[4].max_entries = 7;
    let refused = w.with(|_, cx| super::super::conn::change_table_features(cx.of, &all));
    assert_eq!(refused, Err(OfpError::OFPTFFC_EPERM));
    let tm = TableMod {
        table_id: 0,
        miss: TableMiss::Default,
        eviction: Some(true),
        eviction_flags: None,
        vacancy_events: Some(true),
        vacancy: TableVacancy {
            down: 20,
            up: 80,
            now: 0,
        },
    };
    assert!(w.ask(id, v, &Message::TableMod(tm)).is_empty());
    let got = w.ask(id, v, &Message::TableDescRequest);
    let [Message::TableDescReply(descs)] = &got[..] else {
        panic!("{got:?}");
    };
    assert!(descs[0].eviction && descs[0].vacancy_events && !descs[1].eviction);
    let got = w.ask(id, v, &Message::TableStatsRequest);
    assert!(matches!(&got[..], [Message::TableStatsReply(s)] if s.len() == 254));
    let old = w.connect(ConnSettings::service("old"), Version::V11);
    let drop = TableMod {
        miss: TableMiss::Drop,
        table_id: ALL_TABLES,
        eviction: None,
        vacancy_events: None,
        ..tm
    };
    assert!(
        w.ask(old, Version::V11, &Message::TableMod(drop))
            .is_empty()
    );
    assert_eq!(w.of.pipeline().tables.table(253).miss(), TableMiss::Drop);
    assert_eq!(w.of.pipeline().tables.table(254).miss(), TableMiss::Default);
}

#[test]
fn there_is_one_primary() {
    let mut w = World::new();
    let v = Version::V14;
    let a = w.connect(ConnSettings::primary("a"), v);
    let b = w.connect(ConnSettings::primary("b"), v);
    let role = |role, generation_id| {
        Message::RoleRequest(RoleMessage {
            role,
            generation_id,
        })
    };
    let reply = |role, generation_id| {
        Message::RoleReply(RoleMessage {
            role,
            generation_id,
        })
    };
    assert_eq!(
        w.ask(a, v, &role(Role::NoChange, None)),
        [reply(Role::Equal, None)]
    );
    assert_eq!(
        w.ask(a, v, &role(Role::Primary, Some(5))),
        [reply(Role::Primary, Some(5))]
    );
    assert_eq!(
        w.ask(b, v, &role(Role::Primary, Some(6))),
        [reply(Role::Primary, Some(6))]
    );
    let told = w.read(a, v);
    assert!(
        matches!(&told[..], [Message::RoleStatus(s)] if s.role == Role::Secondary
            && s.generation_id == 6)
    );
    let refused = w.ask(a, v, &Message::FlowMod(Box::new(add(1))));
    assert_eq!(error_of(&refused), Some(OfpError::OFPBRC_IS_SECONDARY));
    let stale = w.ask(a, v, &role(Role::Primary, Some(4)));
    assert_eq!(error_of(&stale), Some(OfpError::OFPRRFC_STALE));
    // Secondaries hear of ports, not of packets.
    w.of.put_port(port("p1", 1), w.now);
    assert!(matches!(w.read(a, v)[..], [Message::PortStatus(_)]));
    assert!(matches!(w.read(b, v)[..], [Message::PortStatus(_)]));
}

fn port(name: &str, n: u16) -> PortDesc {
    PortDesc {
        port_no: OfPort(n),
        name: name.to_owned(),
        ..PortDesc::default()
    }
}

#[test]
fn what_is_told_can_be_chosen() {
    let mut w = World::new();
    let v = Version::V13;
    let id = w.connect(ConnSettings::service("test"), v);
    // Somebody who came by himself is told nothing.
    w.of.put_port(port("p1", 1), w.now);
    let mut fm = add(1);
    fm.flags = FlowFlags::SEND_FLOW_REM;
    assert!(
        w.ask(id, v, &Message::FlowMod(Box::new(fm.clone())))
            .is_empty()
    );
    let change = SetAsync {
        replace: true,
        masks: vec![(AsyncType::FlowRemoved, true, 1 << 2)],
    };
    assert!(w.ask(id, v, &Message::SetAsync(change)).is_empty());
    w.of.remove_port(OfPort(1), w.now);
    fm.command = FlowModCommand::Delete;
    let got = w.ask(id, v, &Message::FlowMod(Box::new(fm)));
    assert!(matches!(&got[..], [Message::FlowRemoved(_)]), "{got:?}");
    let got = w.ask(id, v, &Message::GetAsyncRequest);
    assert!(
        matches!(&got[..], [Message::GetAsyncReply(c)] if c.primary[2] == 4),
        "{got:?}"
    );
}

#[test]
fn a_port_mod_is_told_to_the_others() {
    let mut w = World::new();
    let v = Version::V13;
    let (a, b) = (
        w.connect(ConnSettings::primary("a"), v),
        w.connect(ConnSettings::primary("b"), v),
    );
    w.of.put_port(port("p1", 1), w.now);
    w.read(a, v);
    w.read(b, v);
    let mut pm = PortMod {
        port_no: OfPort(1),
        hw_addr: wire::EthAddr::default(),
        config: PortConfig::NO_FWD,
        mask: PortConfig::NO_FWD,
        advertise: 0,
    };
    assert!(w.ask(a, v, &Message::PortMod(pm)).is_empty());
    assert!(matches!(w.read(b, v)[..], [Message::PortStatus(_)]));
    pm.port_no = OfPort(2);
    let refused = w.ask(a, v, &Message::PortMod(pm));
    assert_eq!(error_of(&refused), Some(OfpError::OFPPMFC_BAD_PORT));
}

fn monitor(id: u32, flags: MonitorFlags) -> Message {
    Message::MonitorRequest(vec![MonitorRequest {
        id,
        command: MonitorCommand::Add,
        flags,
        out_port: OfPort::NONE,
        out_group: ANY_GROUP,
        table_id: ALL_TABLES,
        match_: Match::catchall(),
    }])
}

/// Events and ports of updates; 'P' and 'R' for pause and resumption, 'a' for abbreviated ones.
fn updates(messages: &[Message]) -> Vec<(char, u32)> {
    let mut out = Vec::new();
    for m in messages {
        match m {
            Message::MonitorReply(all) => out.extend(all.iter().map(|u| match u {
                FlowUpdate::Full(f) => {
                    let event = match f.event {
                        UpdateEvent::Initial => 'I',
                        UpdateEvent::Added => '+',
                        UpdateEvent::Removed => '-',
                        UpdateEvent::Modified => '*',
                    };
                    (event, f.match_.flow.in_port.get())
                }
                FlowUpdate::Abbrev(_) => ('a', 0),
                FlowUpdate::Paused => ('P', 0),
                FlowUpdate::Resumed => ('R', 0),
            })),
            Message::MonitorPaused => out.push(('P', 0)),
            Message::MonitorResumed => out.push(('R', 0)),
            other => panic!("{other:?}"),
        }
    }
    out
}

#[test]
fn monitors_see_what_happens_and_own_changes_in_short() {
    for v in [Version::V10, Version::V13, Version::V14] {
        let mut w = World::new();
        let (id, other) = (
            w.connect(ConnSettings::service("test"), v),
            w.connect(ConnSettings::service("other"), Version::V13),
        );
        w.send(other, Version::V13, &Message::FlowMod(Box::new(add(1))));
        let flags = MonitorFlags::INITIAL | MonitorFlags::ADD | MonitorFlags::REMOVED;
        let got = w.ask(id, v, &monitor(7, flags));
        // Before 1.4 there is no word for flows that were there.
        let there = if v < Version::V14 { '+' } else { 'I' };
        assert_eq!(updates(&got), [(there, 1)]);
        let again = w.ask(id, v, &monitor(7, flags));
        assert_eq!(error_of(&again), Some(OfpError::OFPMOFC_MONITOR_EXISTS));
        w.send(other, Version::V13, &Message::FlowMod(Box::new(add(2))));
        assert_eq!(updates(&w.read(id, v)), [('+', 2)]);
        // Modifications were not asked for.
        let mut fm = add(2);
        fm.command = FlowModCommand::Modify;
        fm.acts.clear();
        w.send(other, Version::V13, &Message::FlowMod(Box::new(fm.clone())));
        assert!(w.read(id, v).is_empty());
        fm.command = FlowModCommand::Delete;
        w.send(other, Version::V13, &Message::FlowMod(Box::new(fm.clone())));
        assert_eq!(updates(&w.read(id, v)), [('-', 2)]);
        // Flow mods of its own come back in short.
        let own = Message::FlowMod(Box::new(add(3)));
        assert_eq!(updates(&w.ask(id, v, &own)), [('a', 0)]);
        if v < Version::V14 {
            assert!(w.ask(id, v, &Message::MonitorCancel(7)).is_empty());
            let unknown = w.ask(id, v, &Message::MonitorCancel(7));
            assert_eq!(error_of(&unknown), Some(OfpError::OFPMOFC_UNKNOWN_MONITOR));
            w.send(other, Version::V13, &Message::FlowMod(Box::new(add(4))));
            assert!(w.read(id, v).is_empty());
        }
    }
}

#[test]
fn a_slow_monitor_is_paused_and_catches_up() {
    for v in [Version::V10, Version::V14] {
        let mut w = World::new();
        let (id, other) = (
            w.connect(ConnSettings::service("test"), v),
            w.connect(ConnSettings::service("other"), Version::V13),
        );
        let flags = MonitorFlags::ADD | MonitorFlags::REMOVED | MonitorFlags::MODIFY;
        assert_eq!(updates(&w.ask(id, v, &monitor(7, flags))), []);
        for port in 0..5000 {
            w.send(other, Version::V13, &Message::FlowMod(Box::new(add(port))));
        }
        // Gone before anybody read of it, one known and one not.
        for port in [5, 4990] {
            let mut fm = add(port);
            fm.command = FlowModCommand::Delete;
            w.send(other, Version::V13, &Message::FlowMod(Box::new(fm)));
            w.with(crate::Controllers::settle);
        }
        let mut modify = add(6);
        modify.command = FlowModCommand::Modify;
        modify.acts.clear();
        w.send(other, Version::V13, &Message::FlowMod(Box::new(modify)));
        w.with(crate::Controllers::settle);
        let got = updates(&w.read(id, v));
        let pause = got.iter().position(|u| u.0 == 'P').expect("it was slow");
        assert!(pause > 1000 && pause < 4900, "{pause}");
        assert_eq!(got.last(), Some(&('R', 0)));
        // Replayed, the updates give the flows there are.
        let mut flows = std::collections::BTreeSet::new();
        for (event, port) in &got {
            match event {
                '+' => assert!(flows.insert(*port)),
                '-' => assert!(flows.remove(port)),
                '*' => assert!(flows.contains(port)),
                _ => {}
            }
        }
        assert_eq!(flows.len(), w.flows());
        assert!(got[pause..].contains(&('*', 6)));
        w.send(other, Version::V13, &Message::FlowMod(Box::new(add(9000))));
        assert_eq!(updates(&w.read(id, v)), [('+', 9000)]);
    }
}

#[test]
fn requests_are_forwarded_to_those_who_want_them() {
    let mut w = World::new();
    let v = Version::V14;
    let (a, b) = (
        w.connect(ConnSettings::primary("a"), v),
        w.connect(ConnSettings::primary("b"), v),
    );
    let change = SetAsync {
        replace: false,
        masks: vec![(AsyncType::RequestForward, true, 3)],
    };
    w.send(a, v, &Message::SetAsync(change.clone()));
    w.send(b, v, &Message::SetAsync(change));
    let gm = Message::GroupMod(Box::new(group(GroupCommand::Add, 1)));
    assert!(w.ask(a, v, &gm).is_empty());
    assert!(matches!(w.read(b, v)[..], [Message::RequestForward(_)]));
}

#[test]
fn tunnel_options_in_use_stay_mapped() {
    let mut w = World::new();
    let v = Version::V13;
    let id = w.connect(ConnSettings::service("test"), v);
    let ttm = |command, index, kind| {
        Message::TlvTableMod(TlvTableMod {
            command,
            mappings: vec![TlvMap {
                index,
                class: 0xffff,
                kind,
                len: 4,
            }],
        })
    };
    let ask = |w: &mut World, m: Message| error_of(&w.ask(id, v, &m));
    assert_eq!(ask(&mut w, ttm(TlvCommand::Add, 3, 1)), None);
    assert_eq!(
        ask(&mut w, ttm(TlvCommand::Add, 3, 2)),
        Some(OfpError::NXTTMFC_ALREADY_MAPPED)
    );
    assert_eq!(
        ask(&mut w, ttm(TlvCommand::Add, 4, 1)),
        Some(OfpError::NXTTMFC_DUP_ENTRY)
    );
    let mut fm = add(1);
    fm.match_.tun = Some(base::sync::Arc::clone(w.of.tun_table()));
    fm.match_
        .set(FieldId::TunMetadata(3), &[0; 124], None)
        .expect("mapped");
    w.of.flow_mod(fm.clone(), None, w.now).expect("mapped");
    assert_eq!(
        ask(&mut w, ttm(TlvCommand::Delete, 3, 1)),
        Some(OfpError::NXTTMFC_INVALID_TLV_DEL)
    );
    assert_eq!(
        ask(&mut w, ttm(TlvCommand::Clear, 3, 1)),
        Some(OfpError::NXTTMFC_INVALID_TLV_DEL)
    );
    fm.command = FlowModCommand::Delete;
    w.of.flow_mod(fm, None, w.now).expect("there");
    assert_eq!(ask(&mut w, ttm(TlvCommand::Delete, 3, 1)), None);
    assert_eq!(w.of.tlv_table().mappings.len(), 0);
}

#[test]
fn packets_come_at_the_rate_that_was_set() {
    let mut w = World::new();
    let v = Version::V10;
    let settings = ConnSettings {
        rate: 10,
        burst: 2,
        ..ConnSettings::primary("test")
    };
    let id = w.connect(settings, v);
    let other = w.connect(ConnSettings::service("asleep"), v);
    let mut metadata = Match::catchall();
    metadata.set_in_port(OfPort(1));
    let packet = ControllerPacket {
        controller_id: 0,
        packet: PacketIn {
            packet: vec![0; 60],
            total_len: 60,
            reason: openflow::reason::NO_MATCH,
            metadata,
            ..PacketIn::default()
        },
    };
    for _ in 0..10 {
        w.controllers.packet_in(&w.of, packet.clone(), w.now);
    }
    assert_eq!(w.read(id, v).len(), 2);
    assert!(w.read(other, v).is_empty());
    w.now = w.now.plus_millis(100);
    assert_eq!(w.read(id, v).len(), 1);
    w.now = w.now.plus_millis(1000);
    assert_eq!(w.read(id, v).len(), 1, "the rest did not fit the burst");
    assert_eq!(w.controllers.next_due(), None);
    let _ = Nanos::ZERO;
}
