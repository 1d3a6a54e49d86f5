//! Random programs over random packets: the ledger always balances, and what is sent is what an
//! interpreter that knows only counting says.

mod common;

use base::rng::Rng;
use base::sync::{Arc, lock};
use common::{Bench, CREATE, put, tuple_mask, udp};
use dpif::{DpifError, Execute, Op, PmdId, UpcallKind};
use flow::{Flow, Metadata};
use odp::{Action, Actions, DropReason, OdpPort, Userspace, UserspaceCookie};
use packet::HeapPool;
use proptest::prelude::*;
use wire::EthAddr;

fn userspace() -> Action {
    Action::Userspace(Userspace {
        pid: 0,
        cookie: UserspaceCookie::SFlow {
            bridge: 0,
            in_port: flow::OfPort(1),
            vlan_tci: 0,
            output: 0,
        },
        egress_tun_port: None,
        include_actions: true,
    })
}

/// Actions without recirculation and chance, whose outputs can be foretold.
fn actions(rng: &mut Rng, depth: u32) -> Actions {
    (0..rng.below(5))
        .map(|_| match rng.below(if depth == 0 { 7 } else { 10 }) {
            0 | 1 => Action::Output(OdpPort(2)),
            2 => Action::Output(OdpPort(77)),
            3 => userspace(),
            4 => Action::PushVlan {
                tpid: 0x8100,
                tci: 3,
            },
            5 => Action::PopVlan,
            6 => Action::Drop(DropReason::TableMiss),
            7 | 8 => Action::Clone(actions(rng, depth - 1)),
            _ => Action::CheckPktLen {
                pkt_len: 50 + rng.below(30) as u16,
                greater: actions(rng, depth - 1),
                less_equal: actions(rng, depth - 1),
            },
        })
        .collect()
}

/// What actions do to one packet: outputs to port 2 and upcalls. A packet that cannot pop a tag dies.
fn foretell(actions: &[Action], tags: &mut usize, out: &mut (usize, usize)) {
    for action in actions {
        match action {
            Action::Output(OdpPort(2)) => out.0 += 1,
            Action::Userspace(_) => out.1 += 1,
            Action::PushVlan { .. } => *tags += 1,
            Action::PopVlan if *tags == 0 => return,
            Action::PopVlan => *tags -= 1,
            Action::Drop(_) => return,
            Action::Clone(inner) => foretell(inner, &mut tags.clone(), out),
            Action::CheckPktLen {
                pkt_len,
                greater,
                less_equal,
            } => {
                let branch = if 60 + 4 * *tags > usize::from(*pkt_len) {
                    greater
                } else {
                    less_equal
                };
                foretell(branch, &mut tags.clone(), out);
            }
            _ => {}
        }
    }
}

fn key_of(data: &[u8]) -> Arc<Flow> {
    let md = Metadata {
        in_port: 1,
        ..Metadata::default()
    };
    let mut key = Flow::zero();
    flow::extract(data, &md, &mut key);
    Arc::new(key)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn programs_do_what_they_say_and_lose_nothing(seed in any::<u64>(), flows in 1u32..6, n in 1u32..70) {
        let mut rng = Rng::new(seed);
        let b = Bench::manual();
        b.add("p1", "mem");
        b.add("p2", "mem");
        let mut want = (0, 0);
        let programs: Vec<Actions> = (0..flows).map(|_| actions(&mut rng, 3)).collect();
        for (i, actions) in (0..).zip(&programs) {
            let p = put(&key_of(&udp(i, 0)), &tuple_mask(), &Arc::new(actions.clone()), PmdId::NON_PMD);
            let Op::FlowPut(p) = b.one(Op::FlowPut(dpif::FlowPut { flags: CREATE, ..p })) else {
                unreachable!()
            };
            prop_assert!(p.result.is_ok());
        }
        for seq in 0..n {
            let flow = rng.below(u64::from(flows)) as u32;
            b.receive("p1", &udp(flow, seq));
            foretell(&programs[flow as usize], &mut 0, &mut want);
        }
        b.run();
        b.balanced();
        prop_assert_eq!(b.sent("p2").len(), want.0);
        let ups = b.upcalls();
        prop_assert_eq!(ups.len(), want.1);
        for u in &ups {
            prop_assert!(matches!(u.kind, UpcallKind::Action(_)));
            prop_assert!(u.frame.is_some() && u.actions.is_some());
        }
        let account = b.dp.ledger_total();
        prop_assert_eq!(account.forwarded as usize, want.0);
        prop_assert_eq!(account.consumed as usize, want.1);
    }
}

#[test]
fn truncation_cuts_the_next_output_only() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    let out = Action::Output(p2);
    let cut = Action::Trunc { max_len: 20 };
    common::install(
        &*b.dpif,
        p1,
        vec![cut.clone(), out.clone(), out.clone(), cut, out],
    );
    b.receive("p1", &udp(1, 1));
    b.run();
    let lens: Vec<usize> = b.sent("p2").iter().map(Vec::len).collect();
    assert_eq!(lens, [20, 60, 20]);
    b.balanced();
}

#[test]
fn samples_are_taken_as_often_as_they_should() {
    let b = Bench::manual();
    let (p1, p2) = (b.add("p1", "mem"), b.add("p2", "mem"));
    let sample = |probability| Action::Sample {
        probability,
        actions: vec![Action::Output(p2)],
    };
    common::install(
        &*b.dpif,
        p1,
        vec![sample(u32::MAX), sample(0), sample(1 << 30)],
    );
    for seq in 0..2000 {
        b.receive("p1", &udp(1, seq));
    }
    b.run();
    let n = b.sent("p2").len();
    assert!((2000 + 400..2000 + 600).contains(&n), "{n}");
    b.balanced();
}

#[test]
fn packets_that_are_handed_in_are_run_and_booked() {
    let b = Bench::manual();
    b.add("p1", "mem");
    let p2 = b.add("p2", "mem");
    let run = |actions: Actions| {
        let data = udp(1, 1);
        let Op::Execute(x) = b.one(Op::Execute(Execute {
            frame: Some(HeapPool::global().copy_from(&data)),
            key: key_of(&data),
            actions: Arc::new(actions),
            needs_help: false,
            probe: false,
            result: Err(DpifError::Again),
        })) else {
            unreachable!()
        };
        x.result
    };
    let mac = EthAddr([9; 6]);
    let set = Action::Set(odp::SetKey::Ethernet { src: mac, dst: mac });
    assert_eq!(run(vec![set, Action::Output(p2)]), Ok(()));
    assert_eq!(b.sent("p2")[0][..6], mac.0);
    assert_eq!(run(vec![Action::TunnelPop(p2)]), Err(DpifError::Invalid));
    assert_eq!(run(vec![Action::Recirc(4)]), Ok(()));
    b.balanced();
    let account = b.dp.ledger()[&OdpPort(1)].clone();
    assert_eq!(
        (account.injected, account.forwarded, account.parked),
        (2, 1, 1)
    );
    assert_eq!(b.upcalls()[0].key.recirc_id.get(), 4);
    // A frame of a port that is not there is booked under no port.
    drop(lock(&b.ports));
    assert_eq!(b.dp.ledger()[&OdpPort::NONE].injected, 0);
}

#[test]
fn hashes_go_into_the_next_pass() {
    let b = Bench::manual();
    let p1 = b.add("p1", "mem");
    let hash = Action::Hash {
        alg: odp::HashAlg::L4,
        basis: 0,
    };
    common::install(&*b.dpif, p1, vec![hash, Action::Recirc(4)]);
    for flow in 0..50 {
        b.receive("p1", &udp(flow, flow));
    }
    b.run();
    let mut hashes: Vec<u32> = b.upcalls().iter().map(|u| u.key.dp_hash.get()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert!(hashes.len() >= 49 && hashes[0] != 0);
    b.balanced();
}
