//! A warm batch allocates nothing, whatever its flows do; and a flow takes little memory.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a global allocator is an unsafe trait; this one counts and passes on.

mod common;

use base::sync::Arc;
use common::{Bench, CREATE, put, tuple_mask, udp};
use dpif::{FlowPut, Op, PmdId};
use flow::{Flow, Metadata};
use odp::{Action, HashAlg, OdpPort, SetKey};
use packet::Frame;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wire::EthAddr;

struct Counting;

thread_local! {
    /// Allocations of this thread count: the test harness has threads of its own.
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes this thread has allocated and not freed, while counting.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

fn live(bytes: usize, sign: i64) {
    if COUNTING.get() {
        LIVE.set(LIVE.get() + sign * bytes as i64);
    }
}

// SAFETY: every method is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.get() {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
            live(layout.size(), 1);
        }
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        live(layout.size(), -1);
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames that go round between two ports without being allocated.
mod round {
    use super::Frame;
    use base::sync::{Arc, Mutex, lock};
    use netdev::{NetdevError, RxQueue, TxQueue, TxReport};
    use packet::{Batch, HeapPool};
    use std::collections::VecDeque;

    pub(super) type Ring = Arc<Mutex<VecDeque<Frame>>>;

    #[derive(Debug)]
    pub(super) struct Rx(pub(super) Ring);
    #[derive(Debug)]
    pub(super) struct Tx(pub(super) Ring);

    impl RxQueue for Rx {
        fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
            let mut ring = lock(&self.0);
            let n = ring.len().min(batch.room());
            for frame in ring.drain(..n) {
                assert!(batch.push(frame).is_ok());
            }
            Ok(n)
        }
        fn drain(&mut self) -> u64 {
            0
        }
    }

    impl TxQueue for Tx {
        fn send(&mut self, batch: &mut Batch) -> TxReport {
            let sent = batch.len() as u32;
            // Copies go back to their pool; the frames themselves go round.
            let pool = HeapPool::global().ptr();
            let mut ring = lock(&self.0);
            for frame in batch.drain(..) {
                if ring.len() < 64 || !frame.pool().same(&pool) {
                    ring.push_back(frame);
                }
            }
            TxReport {
                sent,
                ..TxReport::default()
            }
        }
    }
}

fn key_of(data: &[u8], in_port: u32) -> Arc<Flow> {
    let md = Metadata {
        in_port,
        ..Metadata::default()
    };
    let mut key = Flow::zero();
    flow::extract(data, &md, &mut key);
    Arc::new(key)
}

/// Flows 0..n of port 1 each do `actions`; returns allocations of 200 warm batches.
fn allocations(flows: u32, actions: &[Action], second_pass: bool) -> u64 {
    let ring: round::Ring = Arc::default();
    let b = Bench::manual_over({
        let ring = Arc::clone(&ring);
        move || {
            (
                Box::new(round::Rx(Arc::clone(&ring))) as _,
                Box::new(round::Tx(Arc::clone(&ring))) as _,
            )
        }
    });
    b.add("p1", "mem");
    b.add("p2", "mem");
    for i in 0..flows {
        let data = udp(i, 0);
        let mut ops = vec![Op::FlowPut(FlowPut {
            flags: CREATE,
            ..put(
                &key_of(&data, 1),
                &tuple_mask(),
                &Arc::new(actions.to_vec()),
                PmdId::NON_PMD,
            )
        })];
        if second_pass {
            let mut key = *key_of(&data, 1);
            key.recirc_id = wire::U32::new(9);
            ops.push(Op::FlowPut(put(
                &Arc::new(key),
                &tuple_mask(),
                &Arc::new(vec![Action::Output(OdpPort(2))]),
                PmdId::NON_PMD,
            )));
        }
        b.dpif.operate(&mut ops);
    }
    let frames = (0..64).map(|i| packet::HeapPool::global().copy_from(&udp(i % flows, i)));
    base::sync::lock(&ring).extend(frames);
    for _ in 0..50 {
        b.dp.step();
    }
    ALLOCATIONS.set(0);
    COUNTING.set(true);
    for _ in 0..200 {
        b.dp.step();
    }
    COUNTING.set(false);
    let n = ALLOCATIONS.get();
    b.balanced();
    assert!(b.dp.ledger_total().received > 6000);
    assert_eq!(b.dp.ledger_total().dropped(), 0);
    n
}

#[test]
fn warm_batches_allocate_nothing() {
    let out = Action::Output(OdpPort(2));
    let mac = EthAddr([2; 6]);
    let ct = |commit| {
        Action::Ct(Box::new(odp::CtAction {
            commit,
            zone: 1,
            ..odp::CtAction::default()
        }))
    };
    let cases: [(&str, Vec<Action>, bool); 9] = [
        ("output", vec![out.clone()], false),
        (
            "set",
            vec![
                Action::Set(SetKey::Ethernet { src: mac, dst: mac }),
                out.clone(),
            ],
            false,
        ),
        (
            "vlan",
            vec![
                Action::PushVlan {
                    tpid: 0x8100,
                    tci: 1,
                },
                Action::PopVlan,
                out.clone(),
            ],
            false,
        ),
        ("copies", vec![out.clone(), out.clone()], false),
        (
            "clone",
            vec![Action::Clone(vec![out.clone()]), out.clone()],
            false,
        ),
        ("connections", vec![ct(true), out.clone()], false),
        (
            "tracked recirculation",
            vec![ct(true), ct(false), Action::Recirc(9)],
            true,
        ),
        ("recirculation", vec![Action::Recirc(9)], true),
        (
            "hash",
            vec![
                Action::Hash {
                    alg: HashAlg::L4,
                    basis: 0,
                },
                Action::Recirc(9),
            ],
            true,
        ),
    ];
    for (name, actions, second) in cases {
        for flows in [1, 3, 64] {
            let n = allocations(flows, &actions, second);
            assert_eq!(n, 0, "{name} with {flows} flows");
        }
    }
}

/// Bytes of memory that each of 200,000 installed flows may take in the datapath, its actions and the bits of
/// its key that the mask leaves out (dumps show them) included.
/// Translation's own record of a flow comes on top; together they have to stay under 1,200.
const FLOW_BYTES: i64 = 640;

#[test]
fn an_installed_flow_is_small() {
    const FLOWS: u32 = 200_000;
    let b = Bench::manual();
    b.add("p1", "mem");
    let mask = Arc::new(tuple_mask());
    COUNTING.set(true);
    for i in 0..FLOWS {
        let mut op = [Op::FlowPut(FlowPut {
            mask: Arc::clone(&mask),
            ..put(
                &key_of(&udp(i, 0), 1),
                &mask,
                &Arc::new(vec![Action::Output(OdpPort(2))]),
                PmdId::NON_PMD,
            )
        })];
        b.dpif.operate(&mut op);
    }
    COUNTING.set(false);
    assert_eq!(b.dpif.stats().n_flows, u64::from(FLOWS));
    let each = LIVE.get() / i64::from(FLOWS);
    println!("{each} bytes per flow");
    assert!(each <= FLOW_BYTES, "{each} bytes per flow");
}
