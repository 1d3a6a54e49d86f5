//! Stages that packets pass.

use crate::null::{Bench, frame, ip_mask, key, output, port_mask, tuple_mask};
use crate::{Maker, Stage, Work};
use base::sync::Arc;
use dpif::{DpifError, FlowDel, FlowPut, Op, PmdId, PutFlags};
use flow::{Depth, Flow, Layers, Metadata};
use netdev::drivers::VhostRings;
use odp::{Action, SetKey, Ufid};
use packet::{BATCH_MAX, Batch, HeapPool};
use std::hint::black_box;
use wire::{EthAddr, U16};

pub(crate) const STAGES: &[(&str, Maker)] = &[
    ("extract to l2", || extract("extract to l2", Depth::L2)),
    ("extract to l4", || extract("extract to l4", Depth::L4)),
    ("loop, in_port", || {
        one_flow("loop, in_port", &port_mask(), output())
    }),
    ("loop, wildip (extract, hash, cache)", || {
        one_flow("loop, wildip (extract, hash, cache)", &ip_mask(), output())
    }),
    ("loop, exact 1k", exact),
    ("loop, 20 masks", masks20),
    ("loop, set and output", || {
        one_flow(
            "loop, set and output",
            &ip_mask(),
            vec![set(), output()[0].clone()],
        )
    }),
    ("loop, push and pop vlan", || {
        one_flow("loop, push and pop vlan", &ip_mask(), tags())
    }),
    ("loop, output x4", || {
        one_flow("loop, output x4", &ip_mask(), vec![output()[0].clone(); 4])
    }),
    ("batch of heap frames", heap),
    ("vhost rx ring", vhost_rx),
    ("vhost tx ring", vhost_tx),
    ("flow put and delete", flow_put),
];

fn extract(name: &'static str, depth: Depth) -> Stage {
    let frames: Vec<_> = (0..BATCH_MAX as u32).map(frame).collect();
    let md = Metadata {
        in_port: 1,
        ..Metadata::default()
    };
    let (mut out, mut layers) = (Flow::zero(), Layers::UNKNOWN);
    Stage::new(name, BATCH_MAX, move || {
        for data in &frames {
            flow::extract_lines(black_box(data), &md, depth, (&mut out, &mut layers));
        }
        black_box(&out);
    })
}

/// One turn of the packet thread over a full batch.
fn turns(name: &'static str, bench: Bench) -> Stage {
    Stage::new(name, BATCH_MAX, move || {
        black_box(bench.dp.step());
    })
}

fn one_flow(name: &'static str, mask: &flow::Mask, actions: Vec<Action>) -> Stage {
    let bench = Bench::new(64);
    bench.install(&key(0), mask, actions);
    turns(name, bench)
}

fn exact() -> Stage {
    let bench = Bench::new(1000);
    for i in 0..1000 {
        bench.install(&key(i), &tuple_mask(), output());
    }
    turns("loop, exact 1k", bench)
}

fn masks20() -> Stage {
    let bench = Bench::new(640);
    for i in 0..640 {
        let mut m = tuple_mask();
        m.0.tp_dst = U16::new(0xffff << (i % 20 % 16));
        m.0.nw_ttl = if i % 20 >= 16 { 0xff } else { 0 };
        bench.install(&key(i), &m, output());
    }
    turns("loop, 20 masks", bench)
}

fn set() -> Action {
    Action::Set(SetKey::Ethernet {
        src: EthAddr([2, 0, 0, 0, 0, 9]),
        dst: EthAddr([2, 0, 0, 0, 0, 8]),
    })
}

fn tags() -> Vec<Action> {
    let push = Action::PushVlan {
        tpid: 0x8100,
        tci: 5,
    };
    vec![push, Action::PopVlan, output()[0].clone()]
}

fn heap() -> Stage {
    let pool = HeapPool::global();
    let data = frame(1);
    let mut batch = Batch::new();
    Stage::new("batch of heap frames", BATCH_MAX, move || {
        for _ in 0..BATCH_MAX {
            drop(batch.push(pool.copy_from(&data)));
        }
        batch.release_all();
    })
}

struct VhostRx(VhostRings, Batch);

impl Work for VhostRx {
    fn prepare(&mut self) {
        self.1.release_all();
        self.0.offer_packets(&frame(1), BATCH_MAX);
    }
    fn run(&mut self) {
        self.0.receive(&mut self.1);
    }
}

fn vhost_rx() -> Stage {
    Stage::new(
        "vhost rx ring",
        BATCH_MAX,
        VhostRx(VhostRings::new(), Batch::new()),
    )
}

struct VhostTx(VhostRings, Batch);

impl Work for VhostTx {
    fn prepare(&mut self) {
        self.0.offer_buffers(BATCH_MAX);
        let pool = HeapPool::global();
        while self.1.room() > 0 {
            drop(self.1.push(pool.copy_from(&frame(1))));
        }
    }
    fn run(&mut self) {
        self.0.transmit(self.1.as_slice());
    }
}

fn vhost_tx() -> Stage {
    Stage::new(
        "vhost tx ring",
        BATCH_MAX,
        VhostTx(VhostRings::new(), Batch::new()),
    )
}

/// Flows put and deleted by one batch of operations.
const FLOWS: u32 = 64;

fn flow_put() -> Stage {
    let bench = Bench::new(64);
    let (mask, actions) = (Arc::new(tuple_mask()), Arc::new(output()));
    let keys: Vec<_> = (0..FLOWS)
        .map(|i| (Ufid(i.into()), Arc::new(key(i))))
        .collect();
    Stage::new("flow put and delete", FLOWS as usize, move || {
        let put = |(ufid, key): &(Ufid, Arc<Flow>)| {
            Op::FlowPut(FlowPut {
                flags: PutFlags {
                    create: true,
                    ..PutFlags::default()
                },
                key: Arc::clone(key),
                mask: Arc::clone(&mask),
                ufid: Some(*ufid),
                actions: Arc::clone(&actions),
                pmd: Some(PmdId(0)),
                result: Err(DpifError::Again),
            })
        };
        let delete = |(ufid, _): &(Ufid, Arc<Flow>)| {
            Op::FlowDel(FlowDel {
                ufid: *ufid,
                pmd: Some(PmdId(0)),
                result: Err(DpifError::Again),
            })
        };
        bench
            .dpif
            .operate(&mut keys.iter().map(put).collect::<Vec<_>>());
        bench
            .dpif
            .operate(&mut keys.iter().map(delete).collect::<Vec<_>>());
    })
}
