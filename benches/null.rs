//! A datapath of two null ports, for benches: frames go round, what one port is sent the other receives again;
//! so nothing is allocated or copied, and what is measured is the datapath alone (and two moves of each frame).

use base::clock::Clock;
use base::rng::Rng;
use base::sync::{Arc, Mutex, lock};
use datapath::{Datapath, Environment, NetdevProvider, Threading, Topology};
use dpif::{Dpif, DpifError, FlowPut, Op, PmdId, PortSpec, Provider, PutFlags};
use flow::{Flow, Mask, Metadata};
use netdev::{Config, Device, DeviceFlags, NetdevError, RxQueue, Stats, TxQueue, TxReport};
use odp::{Action, OdpPort};
use packet::{Batch, Frame, HeapPool};
use std::collections::VecDeque;
use wire::{EthAddr, Ipv4, U16, U32};

/// Frames that go round.
pub(crate) type Ring = Arc<Mutex<VecDeque<Frame>>>;

#[derive(Debug)]
struct Null {
    name: String,
    ring: Ring,
}

#[derive(Debug)]
struct Rx(Ring);
#[derive(Debug)]
struct Tx(Ring);

impl RxQueue for Rx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        let mut ring = lock(&self.0);
        let n = ring.len().min(batch.room());
        for frame in ring.drain(..n) {
            let pushed = batch.push(frame);
            debug_assert!(pushed.is_ok());
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
        lock(&self.0).extend(batch.drain(..));
        TxReport {
            sent,
            bytes: u64::from(sent) * 60,
            ..TxReport::default()
        }
    }
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        TxReport {
            sent: frames.len() as u32,
            ..TxReport::default()
        }
    }
}

impl Device for Null {
    fn name(&self) -> &str {
        &self.name
    }
    fn class(&self) -> &'static str {
        "null"
    }
    fn is_pmd(&self) -> bool {
        true
    }
    fn set_config(&self, _: &Config) -> Result<Vec<String>, NetdevError> {
        Ok(Vec::new())
    }
    fn get_config(&self) -> Config {
        Config::new()
    }
    fn n_rxq(&self) -> u32 {
        // The local port and the sink receive nothing.
        u32::from(self.name == "p1")
    }
    fn rx_open(&self, _: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        Ok(Box::new(Rx(Arc::clone(&self.ring))))
    }
    fn tx_open(&self, _: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        Ok(Box::new(Tx(Arc::clone(&self.ring))))
    }
    fn etheraddr(&self) -> EthAddr {
        EthAddr::ZERO
    }
    fn mtu(&self) -> Option<u32> {
        None
    }
    fn carrier(&self) -> bool {
        true
    }
    fn stats(&self) -> Stats {
        Stats::default()
    }
    fn flags(&self) -> DeviceFlags {
        DeviceFlags::default()
    }
    fn update_flags(&self, _: DeviceFlags, _: DeviceFlags) -> Result<(), NetdevError> {
        Ok(())
    }
    fn change_seq(&self) -> u64 {
        1
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// UDP flow number `i`: addresses and ports spread as the harness spreads them.
pub(crate) fn frame(i: u32) -> Vec<u8> {
    let mut f = vec![0u8; 60];
    f[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    f[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    f[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let ip = &mut f[14..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&46u16.to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..16].copy_from_slice(&(0x0a00_0000 + i).to_be_bytes());
    ip[16..20].copy_from_slice(&(0x1400_0000 + i.wrapping_mul(7)).to_be_bytes());
    ip[20..22].copy_from_slice(&((i % 50_000) as u16).to_be_bytes());
    ip[22..24].copy_from_slice(&((i % 30_000) as u16).to_be_bytes());
    ip[24..26].copy_from_slice(&26u16.to_be_bytes());
    f
}

/// A datapath with a packet thread that its caller is.
pub(crate) struct Bench {
    pub(crate) dpif: Arc<dyn Dpif>,
    pub(crate) dp: Arc<Datapath>,
    pub(crate) ring: Ring,
}

impl Bench {
    /// With frames of `flows` flows.
    pub(crate) fn new(flows: u32) -> Self {
        let ring: Ring = Arc::default();
        let shared = Arc::clone(&ring);
        let open = move |name: &str, _: &str| {
            Ok(Arc::new(Null {
                name: name.to_owned(),
                ring: Arc::clone(&shared),
            }) as Arc<dyn Device>)
        };
        let provider = NetdevProvider::dummy(Environment {
            clock: Clock::real(),
            open: Arc::new(open),
            threading: Threading::Manual,
            topology: Topology::dummy(&[0]),
            seed: Some(1),
        });
        let dpif = provider.open("ovs-dummy", true).expect("a datapath");
        for name in ["p1", "p2"] {
            let spec = PortSpec {
                name: name.to_owned(),
                class: "null".to_owned(),
                number: None,
            };
            dpif.port_add(&spec).expect("a port");
        }
        let dp = provider.datapath("ovs-dummy").expect("just made");
        let bench = Self { dpif, dp, ring };
        bench.fill(flows);
        bench
    }

    /// Frames of `flows` flows in random order; each flow equally often.
    fn fill(&self, flows: u32) {
        let each = (64 / flows).max(1);
        let mut all: Vec<u32> = (0..flows).flat_map(|i| (0..each).map(move |_| i)).collect();
        let mut rng = Rng::new(5);
        for i in (1..all.len()).rev() {
            all.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let pool = HeapPool::global();
        let frames = all.into_iter().map(|i| pool.copy_from(&frame(i)));
        lock(&self.ring).extend(frames);
    }

    /// Installs a flow.
    pub(crate) fn install(&self, key: &Flow, mask: &Mask, actions: Vec<Action>) {
        let mut op = [Op::FlowPut(FlowPut {
            flags: PutFlags {
                create: true,
                ..PutFlags::default()
            },
            key: Arc::new(*key),
            mask: Arc::new(*mask),
            ufid: None,
            actions: Arc::new(actions),
            pmd: Some(PmdId(0)),
            result: Err(DpifError::Again),
        })];
        self.dpif.operate(&mut op);
        if let [Op::FlowPut(p)] = op {
            p.result.expect("the flow is installed");
        }
    }
}

pub(crate) fn key(i: u32) -> Flow {
    let md = Metadata {
        in_port: 1,
        ..Metadata::default()
    };
    let mut key = Flow::zero();
    flow::extract(&frame(i), &md, &mut key);
    key
}

pub(crate) fn port_mask() -> Mask {
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    m
}

/// What a translation always looks at.
pub(crate) fn wild_mask() -> Mask {
    let mut m = port_mask();
    m.0.packet_type = U32::new(u32::MAX);
    m.0.dl_type = U16::new(u16::MAX);
    m.0.nw_frag = 0xff;
    m
}

pub(crate) fn ip_mask() -> Mask {
    let mut m = wild_mask();
    m.0.nw_src = Ipv4([255, 0, 0, 0]);
    m
}

pub(crate) fn tuple_mask() -> Mask {
    let mut m = wild_mask();
    m.0.nw_proto = 0xff;
    m.0.nw_src = Ipv4([255; 4]);
    m.0.nw_dst = Ipv4([255; 4]);
    m.0.tp_src = U16::new(u16::MAX);
    m.0.tp_dst = U16::new(u16::MAX);
    m
}

pub(crate) fn output() -> Vec<Action> {
    vec![Action::Output(OdpPort(2))]
}
