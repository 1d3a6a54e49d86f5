//! The fake datapath against its own promises.

use super::*;
use crate::registry::{OpenMode, Registry};
use crate::types::{FlowDel, FlowGet, FlowPut, PutFlags, Resume, UpcallKind};
use flow::{Flow, Mask};
use odp::{Action, Actions, FlowStats, Ufid, Userspace, UserspaceCookie};
use proptest::prelude::*;

fn dpif() -> Arc<FakeDpif> {
    let d = FakeDpif::standalone("dp", Clock::simulated(base::clock::Nanos::from_millis(1)));
    for name in ["p1", "p2"] {
        d.port_add(&spec(name, None)).unwrap();
    }
    d.recv_set(true);
    d
}

fn spec(name: &str, number: Option<u32>) -> PortSpec {
    PortSpec {
        name: name.to_owned(),
        class: "dummy".to_owned(),
        number: number.map(OdpPort),
    }
}

/// A flow on `port` for packets to MAC 0:0:0:0:0:`dst`, or to any.
fn put_op(port: u32, dst: Option<u8>, actions: Actions, flags: PutFlags) -> FlowPut {
    let (mut key, mut mask) = (Flow::zero(), Mask::empty());
    key.in_port.set(port);
    mask.0.in_port.set(u32::MAX);
    if let Some(dst) = dst {
        key.dl_dst.0[5] = dst;
        mask.0.dl_dst.0 = [0xff; 6];
    }
    FlowPut {
        flags,
        key: Arc::new(key),
        mask: Arc::new(mask),
        ufid: None,
        actions: Arc::new(actions),
        pmd: None,
        result: Err(DpifError::Again),
    }
}

fn put(d: &FakeDpif, op: FlowPut) -> Result<FlowStats, DpifError> {
    let mut ops = [Op::FlowPut(op)];
    d.operate(&mut ops);
    let [Op::FlowPut(p)] = ops else {
        unreachable!()
    };
    p.result
}

fn flags(text: &str) -> PutFlags {
    PutFlags {
        create: text.contains('c'),
        modify: text.contains('m'),
        zero_stats: text.contains('z'),
        probe: text.contains('p'),
    }
}

fn packet(dst: u8) -> Vec<u8> {
    let mut p = vec![0; 60];
    p[5] = dst;
    p[12..14].copy_from_slice(&[0x12, 0x34]);
    p
}

fn out(port: u32) -> Actions {
    vec![Action::Output(OdpPort(port))]
}

#[test]
fn errors_of_put_get_and_del() {
    let d = dpif();
    let p = |f, dst, to| put(&d, put_op(1, dst, out(to), flags(f)));
    assert_eq!(p("m", Some(1), 2), Err(DpifError::NoEntry));
    assert_eq!(p("cp", Some(1), 2), Ok(FlowStats::default()));
    assert!(d.flows().is_empty(), "a probe leaves nothing");
    p("c", Some(1), 2).unwrap();
    assert_eq!(p("c", Some(1), 2), Err(DpifError::Exists));
    assert_eq!(p("", Some(1), 2), Err(DpifError::Invalid));
    d.inject(OdpPort(1), &packet(1));
    assert_eq!(p("mz", Some(1), 2).unwrap().n_packets, 1);
    assert_eq!(p("cm", Some(1), 1).unwrap().n_packets, 0);
    let mut wild = put_op(1, None, out(2), flags("c"));
    Arc::make_mut(&mut wild.mask).0.in_port.set(0);
    assert_eq!(put(&d, wild), Err(DpifError::Invalid));
    let mut nowhere = put_op(1, Some(2), out(2), flags("c"));
    nowhere.pmd = Some(PmdId(7));
    assert_eq!(put(&d, nowhere), Err(DpifError::Invalid));

    let info = d.flows().remove(0);
    assert_eq!(
        (info.actions.as_ref(), info.ufid),
        (&out(1), Ufid::of(&info.key))
    );
    let get = |ufid, pmd| {
        let result = Err(DpifError::Again);
        let mut ops = [Op::FlowGet(FlowGet { ufid, pmd, result })];
        d.operate(&mut ops);
        let [Op::FlowGet(g)] = ops else {
            unreachable!()
        };
        g.result.map(|i| i.ufid)
    };
    assert_eq!(get(info.ufid, None), Ok(info.ufid));
    assert_eq!(get(Ufid(5), None), Err(DpifError::NoEntry));
    assert_eq!(get(info.ufid, Some(PmdId(7))), Err(DpifError::Invalid));
    let del = |ufid| {
        let result = Err(DpifError::Again);
        let pmd = None;
        let mut ops = [Op::FlowDel(FlowDel { ufid, pmd, result })];
        d.operate(&mut ops);
        let [Op::FlowDel(x)] = ops else {
            unreachable!()
        };
        x.result
    };
    assert!(del(info.ufid).is_ok());
    assert_eq!(del(info.ufid), Err(DpifError::NoEntry));
}

#[test]
fn a_miss_is_parked_once_and_released_in_order() {
    let d = dpif();
    let (mut first, mut second) = (packet(9), packet(9));
    (first[20], second[20]) = (1, 2);
    d.inject(OdpPort(1), &first);
    d.inject(OdpPort(1), &second);
    let up = d.recv(0).unwrap();
    assert!(d.recv(0).is_none() && !d.quiesce(Duration::ZERO));
    assert!(matches!(up.kind, UpcallKind::Miss) && up.packet_len == 60);
    let token = up.park.unwrap();
    let resume = || {
        Op::Resume(Resume {
            token,
            actions: Arc::new(out(2)),
            result: Err(DpifError::Again),
        })
    };
    let mut ops = [
        Op::FlowPut(put_op(1, Some(9), out(2), flags("c"))),
        resume(),
        resume(),
    ];
    d.operate(&mut ops);
    let [Op::FlowPut(_), Op::Resume(once), Op::Resume(twice)] = &ops else {
        unreachable!()
    };
    assert_eq!(once.result.as_ref().unwrap().n_packets, 2);
    assert_eq!(twice.result, Err(DpifError::NoEntry));
    assert_eq!(d.flows()[0].stats.n_packets, 0, "credited by the resumer");
    d.inject(OdpPort(1), &packet(9));
    let sent = d.take_output();
    assert_eq!(sent[..2], [(OdpPort(2), first), (OdpPort(2), second)]);
    assert_eq!((sent.len(), d.flows()[0].stats.n_packets), (3, 1));
    assert_eq!(d.ledger().difference(), 0);
}

#[test]
fn upcalls_off_and_purge_drop_and_count() {
    let d = dpif();
    d.inject(OdpPort(1), &packet(1));
    assert!(d.recv_wait(0, Duration::ZERO));
    d.recv_purge();
    assert!(d.recv(0).is_none());
    d.recv_set(false);
    d.inject(OdpPort(2), &packet(1));
    assert_eq!(
        d.drops(),
        [
            (OdpPort(1), DropReason::Purged, 1),
            (OdpPort(2), DropReason::UpcallDisabled, 1)
        ]
    );
    assert_eq!((d.stats().n_missed, d.stats().n_lost), (2, 1));
    assert_eq!(d.handlers_set(0), Err(DpifError::Invalid));
}

#[test]
fn several_handlers_share_the_upcalls_and_wake() {
    let d = dpif();
    d.handlers_set(3).unwrap();
    let waiting = Arc::clone(&d);
    let handler = base::sync::spawn("handler", move || {
        while !waiting.recv_wait(2, Duration::from_secs(10)) {}
        waiting.recv(2).is_some()
    })
    .unwrap();
    for dst in 0..50 {
        d.inject(OdpPort(1), &packet(dst));
    }
    assert!(handler.join().unwrap());
    let rest: usize = (0..3)
        .map(|h| std::iter::from_fn(|| d.recv(h)).count())
        .sum();
    assert_eq!(rest, 49);
}

#[test]
fn dumps_are_shared_resumed_and_end() {
    let d = dpif();
    for dst in 0..10 {
        put(&d, put_op(1, Some(dst), out(2), flags("c"))).unwrap();
    }
    let dump = d.flow_dump(FlowSelect::default());
    let (mut a, mut b) = (dump.thread(), dump.thread());
    let (mut out_a, mut out_b, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    while a.next(&mut out_a, 3) | b.next(&mut out_b, 2) {
        seen.extend(out_a.iter().chain(&out_b).map(|f| f.key.dl_dst.0[5]));
        put(&d, put_op(2, Some(seen.len() as u8), out(1), flags("cm"))).unwrap();
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    let other = FlowSelect {
        terse: true,
        pmd: Some(PmdId(3)),
    };
    assert!(!d.flow_dump(other).thread().next(&mut out_a, 9));
    d.flow_flush().unwrap();
    assert!(
        !d.flow_dump(FlowSelect::default())
            .thread()
            .next(&mut out_a, 9)
    );
}

#[test]
fn ports_and_their_changes() {
    let provider = FakeProvider::create("fake", Clock::real());
    let registry = Registry::new();
    registry.register(provider.clone()).unwrap();
    let open = |mode| registry.open("dp", "fake", mode);
    assert_eq!(open(OpenMode::Existing).err(), Some(DpifError::NoDevice));
    let a = open(OpenMode::CreateOrExisting).unwrap();
    assert_eq!(open(OpenMode::Create).err(), Some(DpifError::Exists));
    let b = open(OpenMode::CreateOrExisting).unwrap();
    assert_eq!(registry.enumerate("fake").unwrap(), ["dp"]);
    assert_eq!(registry.unregister("fake"), Err(DpifError::Busy));
    assert_eq!(a.port_add(&spec("x", Some(7))), Ok(OdpPort(7)));
    assert_eq!(a.port_add(&spec("x", None)), Err(DpifError::Exists));
    assert_eq!(a.port_add(&spec("y", Some(7))), Err(DpifError::Busy));
    assert_eq!(a.port_add(&spec("y", None)), Ok(OdpPort(1)));
    assert_eq!(b.port_poll(), Some(PortChange::Port("x".into())));
    assert_eq!(b.port_poll(), Some(PortChange::Port("y".into())));
    assert_eq!(b.port_poll(), None);
    assert_eq!(b.port_by_name("x").unwrap().number, OdpPort(7));
    assert_eq!(b.port_del(OdpPort::LOCAL), Err(DpifError::Invalid));
    b.port_del(OdpPort(7)).unwrap();
    assert_eq!(b.port_by_number(OdpPort(7)), Err(DpifError::NoDevice));
    a.destroy().unwrap();
    assert_eq!(b.destroy(), Err(DpifError::NoDevice));
    assert!(registry.enumerate("fake").unwrap().is_empty());
    drop((a, b));
    registry.disallow("fake");
    registry.unregister("fake").unwrap();
    assert_eq!(registry.register(provider), Err(DpifError::Invalid));
    assert_eq!(open(OpenMode::Create).err(), Some(DpifError::UnknownType));
    assert_eq!(crate::parse_name("netdev@br"), ("br", "netdev"));
    assert_eq!(crate::parse_name("br"), ("br", "system"));
}

/// The same operations through a registry, that is, through logging and help.
#[test]
fn help_gives_the_same_packets_as_doing_it_oneself() {
    let provider = FakeProvider::create("fake", Clock::real());
    let registry = Registry::new();
    registry.register(provider.clone()).unwrap();
    let front = registry.open("dp", "fake", OpenMode::Create).unwrap();
    let fake = provider.open_fake("dp", false).unwrap();
    for name in ["p1", "p2"] {
        front.port_add(&spec(name, None)).unwrap();
    }
    fake.recv_set(true);
    let text = "set(eth(dst=02:00:00:00:00:01)),1,push_vlan(vid=5,pcp=0),trunc(40),2,\
        userspace(pid=7),clone(pop_vlan,meter(3),1),sample(sample=0.0%,actions(1)),2";
    let actions = Arc::new(odp::parse_actions(text, &flow::NoOdpNames).unwrap());
    let sent = |needs_help| {
        let mut key = Flow::zero();
        flow::extract(&packet(9), &flow::Metadata::default(), &mut key);
        let execute = |actions: &Arc<Actions>, needs_help| {
            Op::Execute(crate::types::Execute {
                frame: Some(packet::HeapPool::global().copy_from(&packet(9))),
                key: Arc::new(key),
                actions: Arc::clone(actions),
                needs_help,
                probe: false,
                result: Err(DpifError::Again),
            })
        };
        let plain = Arc::new(out(2));
        let mut ops = [
            execute(&plain, false),
            execute(&actions, needs_help),
            execute(&plain, false),
        ];
        front.operate(&mut ops);
        for op in &ops {
            let Op::Execute(e) = op else { unreachable!() };
            assert_eq!(e.result, Ok(()));
        }
        let up = fake.recv(0).unwrap();
        assert_eq!(fake.ledger().difference(), 0);
        (
            fake.take_output(),
            up.frame.unwrap().data().to_vec(),
            up.key,
        )
    };
    let helped = sent(true);
    assert_eq!(helped.0.len(), 6);
    assert_eq!(helped, sent(false));
}

#[test]
fn devices_are_told_of_their_flows() {
    let devices = netdev::Registry::new();
    let level = netdev::dummy::DummyLevel::Add;
    netdev::dummy::enable(&devices, level, Clock::real(), "/tmp".into()).unwrap();
    let _p1 = devices.open("p1", "dummy").unwrap();
    let registry = Registry::new();
    registry
        .register(FakeProvider::create("fake", Clock::real()))
        .unwrap();
    let front = registry.open("dp", "fake", OpenMode::Create).unwrap();
    front.port_add(&spec("p1", Some(1))).unwrap();
    let mut ops = [Op::FlowPut(put_op(1, Some(7), out(2), flags("c")))];
    front.operate(&mut ops);
    registry.enable_offload(&devices);
    let lines = crate::log::tests::Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let mut ops = [
        Op::FlowPut(put_op(1, Some(8), out(2), flags("c"))),
        Op::FlowPut(put_op(1, Some(8), out(3), flags("m"))),
    ];
    front.operate(&mut ops);
    let dummy = netdev::dummy::by_name(&devices, "p1").unwrap();
    dummy.receive(&packet(7), 0).unwrap();
    dummy.receive(&packet(8), 0).unwrap();
    front.flow_flush().unwrap();
    let told: Vec<String> = lines
        .take()
        .into_iter()
        .filter(|l| l.starts_with("netdev_dummy|"))
        .collect();
    let words = [
        "flow put[create]: ufid:",
        "flow put[modify]: ufid:",
        "packet: ",
        "flow del: ufid:",
    ];
    assert_eq!(told.len(), words.len(), "{told:#?}");
    for (line, word) in told.iter().zip(words) {
        assert!(
            line.starts_with(&format!("netdev_dummy|DEBUG|p1: {word}")),
            "{line}"
        );
        assert!(line.ends_with("mark: 1"), "{line}");
    }
    assert!(told[2].contains(" matches with flow: ufid:") && !told[2].contains("in_port"));
}

#[test]
fn flows_as_lines() {
    let d = dpif();
    let mut op = put_op(1, Some(7), out(2), flags("c"));
    Arc::make_mut(&mut op.key).dl_type.set(0x1234);
    Arc::make_mut(&mut op.mask).0.dl_type.set(0xffff);
    put(&d, op).unwrap();
    d.inject(OdpPort(1), &packet(7));
    let mut info = d.flows().remove(0);
    info.dp_extra = Some("miniflow_bits(1,1)".into());
    let names = BTreeMap::from([(OdpPort(2), "p2".to_owned())]);
    let line = |verbose| {
        let now = base::clock::Nanos::from_millis(2_001);
        crate::format_flow(&info, &names, verbose, now)
    };
    assert_eq!(
        line(false),
        "in_port(1),eth(dst=00:00:00:00:00:07),eth_type(0x1234), packets:1, bytes:60, \
         used:2.000s, actions:p2"
    );
    let long = line(true);
    assert!(long.starts_with(&format!("ufid:{}, ", info.ufid)), "{long}");
    let end =
        ", packets:1, bytes:60, used:2.000s, dp:ovs, actions:p2, dp-extra-info:miniflow_bits(1,1)";
    assert!(long.ends_with(end), "{long}");
}

fn some_actions() -> impl Strategy<Value = Actions> {
    let userspace = Action::Userspace(Userspace {
        pid: 0,
        cookie: UserspaceCookie::Ipfix {
            bridge: 0,
            in_port: flow::OfPort(1),
            output: OdpPort(1),
        },
        egress_tun_port: None,
        include_actions: false,
    });
    let leaf = prop_oneof![
        (0u32..4).prop_map(|p| Action::Output(OdpPort(p))),
        Just(userspace),
        (1u32..3).prop_map(Action::Recirc),
        Just(Action::Trunc { max_len: 20 }),
        Just(Action::Drop(DropReason::Meter)),
        Just(Action::PopVlan),
    ];
    let nested = leaf.prop_recursive(2, 12, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            list().prop_map(Action::Clone),
            list().prop_map(|actions| Action::Sample {
                probability: u32::MAX,
                actions
            }),
            (list(), list()).prop_map(|(greater, less_equal)| Action::CheckPktLen {
                pkt_len: 30,
                greater,
                less_equal
            }),
        ]
    });
    prop::collection::vec(nested, 0..4)
}

proptest! {
    /// rx = tx + drops + parked + given to userspace, after anything.
    #[test]
    fn the_ledger_closes(
        flows in prop::collection::vec((1u32..3, prop::option::of(0u8..4), some_actions()), 0..5),
        packets in prop::collection::vec((1u32..4, 0u8..5), 1..30),
    ) {
        let d = dpif();
        for (port, dst, actions) in flows {
            let _ = put(&d, put_op(port, dst, actions, flags("cm")));
        }
        for (port, dst) in packets {
            d.inject(OdpPort(port), &packet(dst));
            prop_assert_eq!(d.ledger().difference(), 0);
        }
        while let Some(up) = d.recv(0) {
            if let Some(token) = up.park {
                let (actions, result) = (Arc::new(out(2)), Err(DpifError::Again));
                d.operate(&mut [Op::Resume(Resume { token, actions, result })]);
            }
            prop_assert_eq!(d.ledger().difference(), 0);
        }
        prop_assert_eq!(d.ledger().parked, 0);
    }
}
