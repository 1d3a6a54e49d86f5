//! Ports in memory, a datapath over them, and packets: shared by this room's tests.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(dead_code, reason = "each test uses a part")]

use base::clock::{Clock, Nanos};
use base::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use datapath::{Datapath, Environment, NetdevProvider, Threading, Topology};
use dpif::{Dpif, DpifError, FlowPut, Op, PortSpec, Provider, PutFlags, Resume, Upcall};
use flow::{Flow, Mask};
use netdev::{Config, Device, DeviceFlags, NetdevError, RxQueue, Stats, TxQueue, TxReport};
use odp::{Action, Actions, FlowStats, OdpPort, Ufid};
use packet::{Batch, HeapPool};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use wire::{EthAddr, U32};

/// Makes the queues of a port, when they are not the ones in memory.
pub(crate) type Queues = Arc<dyn Fn() -> (Box<dyn RxQueue>, Box<dyn TxQueue>) + Send + Sync>;

/// A port in memory.
#[derive(Default)]
pub(crate) struct Mem {
    name: String,
    pmd: bool,
    queues: Option<Queues>,
    /// Frames to be received, by queue.
    pub(crate) rx: Vec<Mutex<VecDeque<Vec<u8>>>>,
    /// Frames that were sent.
    pub(crate) tx: Mutex<Vec<Vec<u8>>>,
    /// Sends refuse everything.
    pub(crate) full: AtomicBool,
    /// Of each burst, so many are policed: as they come in, as they go out.
    pub(crate) rx_policed: AtomicUsize,
    pub(crate) tx_policed: AtomicUsize,
    /// Sends panic.
    pub(crate) poisoned: AtomicBool,
    /// Receives say that the device is gone.
    pub(crate) gone: AtomicBool,
    /// Reconfiguration is wanted (1), and fails (2).
    pub(crate) wants: AtomicU32,
    pub(crate) reconfigured: AtomicU64,
}

impl std::fmt::Debug for Mem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Debug)]
pub(crate) struct Port(pub(crate) Arc<Mem>);

#[derive(Debug)]
struct Rx(Arc<Mem>, usize);
#[derive(Debug)]
struct Tx(Arc<Mem>);

impl RxQueue for Rx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        if self.0.gone.load(Ordering::SeqCst) {
            return Err(NetdevError::Gone {
                dev: self.0.name.clone(),
            });
        }
        let mut rx = lock(&self.0.rx[self.1]);
        let n = rx.len().min(batch.room());
        let policed = self.0.rx_policed.load(Ordering::SeqCst).min(n);
        for data in rx.drain(..n).skip(policed) {
            batch.push(HeapPool::global().copy_from(&data)).unwrap();
        }
        Ok(n)
    }
    fn drain(&mut self) -> u64 {
        std::mem::take(&mut *lock(&self.0.rx[self.1])).len() as u64
    }
}

impl TxQueue for Tx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let mut r = TxReport::default();
        assert!(!self.0.poisoned.load(Ordering::SeqCst), "poisoned port");
        if self.0.full.load(Ordering::SeqCst) {
            r.full = batch.len() as u32;
        } else {
            let mut tx = lock(&self.0.tx);
            let policed = self.0.tx_policed.load(Ordering::SeqCst).min(batch.len());
            r.policed = policed as u32;
            for frame in batch.iter().skip(policed) {
                r.sent += 1;
                r.bytes += frame.len() as u64;
                tx.push(frame.data().to_vec());
            }
        }
        batch.release_all();
        r
    }
}

impl Device for Port {
    fn name(&self) -> &str {
        &self.0.name
    }
    fn class(&self) -> &'static str {
        if self.0.pmd { "mem-pmd" } else { "mem" }
    }
    fn is_pmd(&self) -> bool {
        self.0.pmd
    }
    fn set_config(&self, _: &Config) -> Result<Vec<String>, NetdevError> {
        Ok(Vec::new())
    }
    fn get_config(&self) -> Config {
        Config::new()
    }
    fn n_rxq(&self) -> u32 {
        self.0.rx.len() as u32
    }
    fn needs_reconfigure(&self) -> bool {
        self.0.wants.load(Ordering::SeqCst) > 0
    }
    fn reconfigure(&self) -> Result<(), NetdevError> {
        self.0.reconfigured.fetch_add(1, Ordering::SeqCst);
        if self.0.wants.load(Ordering::SeqCst) == 2 {
            return Err(self.unsupported("reconfigure"));
        }
        self.0.wants.store(0, Ordering::SeqCst);
        Ok(())
    }
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        if let Some(queues) = &self.0.queues {
            return Ok(queues().0);
        }
        Ok(Box::new(Rx(Arc::clone(&self.0), queue as usize)))
    }
    fn tx_open(&self, _: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        if let Some(queues) = &self.0.queues {
            return Ok(queues().1);
        }
        Ok(Box::new(Tx(Arc::clone(&self.0))))
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

/// A datapath of type `dummy` over memory ports.
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    pub(crate) dpif: Arc<dyn Dpif>,
    pub(crate) dp: Arc<Datapath>,
    pub(crate) ports: Arc<Mutex<BTreeMap<String, Arc<Mem>>>>,
}

impl Bench {
    /// Without threads, at a simulated time.
    pub(crate) fn manual() -> Self {
        let clock = Clock::simulated(Nanos::from_millis(1000));
        Self::new(Threading::Manual, clock, Topology::dummy(&[0, 0, 1]), None)
    }
    /// Without threads, over queues made by `queues`; only port `p1` receives.
    pub(crate) fn manual_over(
        queues: impl Fn() -> (Box<dyn RxQueue>, Box<dyn TxQueue>) + Send + Sync + 'static,
    ) -> Self {
        let clock = Clock::simulated(Nanos::from_millis(1000));
        let topology = Topology::dummy(&[0]);
        Self::new(Threading::Manual, clock, topology, Some(Arc::new(queues)))
    }
    /// With threads.
    pub(crate) fn real() -> Self {
        Self::new(
            Threading::Real,
            Clock::real(),
            Topology::dummy(&[0, 0]),
            None,
        )
    }
    pub(crate) fn new(
        threading: Threading,
        clock: Clock,
        topology: Topology,
        queues: Option<Queues>,
    ) -> Self {
        let ports: Arc<Mutex<BTreeMap<String, Arc<Mem>>>> = Arc::default();
        let all = Arc::clone(&ports);
        let open = move |name: &str, class: &str| {
            if class == "missing" {
                return Err(NetdevError::NoSuchDevice {
                    dev: name.to_owned(),
                });
            }
            let n_rxq = match name {
                name if name.ends_with("q4") => 4,
                name => u32::from(queues.is_none() || name == "p1"),
            };
            let mem = Arc::new(Mem {
                name: name.to_owned(),
                pmd: class == "mem-pmd",
                queues: queues.clone(),
                rx: (0..n_rxq).map(|_| Mutex::default()).collect(),
                ..Mem::default()
            });
            lock(&all).insert(name.to_owned(), Arc::clone(&mem));
            Ok(Arc::new(Port(mem)) as Arc<dyn Device>)
        };
        let provider = NetdevProvider::dummy(Environment {
            clock: clock.clone(),
            open: Arc::new(open),
            threading,
            topology,
            seed: Some(7),
        });
        let dpif = provider.open("ovs-dummy", true).unwrap();
        dpif.recv_set(true);
        let dp = provider.datapath("ovs-dummy").unwrap();
        Self {
            clock,
            dpif,
            dp,
            ports,
        }
    }

    pub(crate) fn add(&self, name: &str, class: &str) -> OdpPort {
        let spec = PortSpec {
            name: name.to_owned(),
            class: class.to_owned(),
            number: None,
        };
        self.dpif.port_add(&spec).unwrap()
    }
    pub(crate) fn mem(&self, name: &str) -> Arc<Mem> {
        Arc::clone(&lock(&self.ports)[name])
    }
    pub(crate) fn receive(&self, name: &str, data: &[u8]) {
        lock(&self.mem(name).rx[0]).push_back(data.to_vec());
    }
    /// What a port sent since the last time.
    pub(crate) fn sent(&self, name: &str) -> Vec<Vec<u8>> {
        std::mem::take(&mut *lock(&self.mem(name).tx))
    }
    /// Polls until there is nothing to do.
    pub(crate) fn run(&self) {
        while self.dp.step() {}
    }
    pub(crate) fn upcalls(&self) -> Vec<Upcall> {
        std::iter::from_fn(|| self.dpif.recv(0)).collect()
    }
    /// Answers every upcall by installing a flow under `mask` and resuming what is parked.
    pub(crate) fn answer(&self, mask: &Mask, actions: &[Action]) -> usize {
        let upcalls = self.upcalls();
        for u in &upcalls {
            let actions: Arc<Actions> = Arc::new(actions.to_vec());
            let mut ops = vec![
                Op::FlowPut(put(&u.key, mask, &actions, u.pmd)),
                Op::Resume(Resume {
                    token: u.park.unwrap(),
                    actions,
                    result: Err(DpifError::Again),
                }),
            ];
            self.dpif.operate(&mut ops);
        }
        upcalls.len()
    }
    pub(crate) fn flows(&self) -> Vec<dpif::FlowInfo> {
        let dump = self.dpif.flow_dump(dpif::FlowSelect::default());
        let mut cursor = dump.thread();
        let (mut all, mut some) = (Vec::new(), Vec::new());
        while cursor.next(&mut some, 7) {
            all.append(&mut some);
        }
        all
    }
    /// One operation.
    pub(crate) fn one(&self, op: Op) -> Op {
        let mut ops = [op];
        self.dpif.operate(&mut ops);
        let [op] = ops;
        op
    }
    /// Puts a flow of everything that comes in on port 1, out of port 1; packets and bytes before.
    pub(crate) fn try_put(
        &self,
        flags: PutFlags,
        ufid: Option<Ufid>,
        pmd: Option<dpif::PmdId>,
        mask: &Mask,
    ) -> Result<(u64, u64), DpifError> {
        let mut key = Flow::zero();
        key.in_port = U32::new(1);
        let actions = Arc::new(vec![Action::Output(OdpPort(1))]);
        let Op::FlowPut(done) = self.one(Op::FlowPut(FlowPut {
            flags,
            ufid,
            pmd,
            ..put(&Arc::new(key), mask, &actions, dpif::PmdId::NON_PMD)
        })) else {
            unreachable!()
        };
        done.result.map(|s| counts(&s))
    }
    pub(crate) fn get(&self, ufid: Ufid) -> Result<dpif::FlowInfo, DpifError> {
        let Op::FlowGet(done) = self.one(Op::FlowGet(dpif::FlowGet {
            ufid,
            pmd: None,
            result: Err(DpifError::Again),
        })) else {
            unreachable!()
        };
        done.result
    }
    /// Deletes a flow; packets and bytes at the end.
    pub(crate) fn del(&self, ufid: Ufid) -> Result<(u64, u64), DpifError> {
        let Op::FlowDel(done) = self.one(Op::FlowDel(dpif::FlowDel {
            ufid,
            pmd: None,
            result: Err(DpifError::Again),
        })) else {
            unreachable!()
        };
        done.result.map(|s| counts(&s))
    }
    /// The ledger balances, for every port.
    pub(crate) fn balanced(&self) {
        for (port, account) in self.dp.ledger() {
            assert_eq!(account.difference(), 0, "port {port}: {account:?}");
        }
    }
    pub(crate) fn quiesce(&self) {
        assert!(self.dpif.quiesce(Duration::from_secs(20)));
    }
}

pub(crate) const CREATE: PutFlags = PutFlags {
    create: true,
    modify: false,
    zero_stats: false,
    probe: false,
};
pub(crate) const MODIFY: PutFlags = PutFlags {
    create: false,
    modify: true,
    zero_stats: false,
    probe: false,
};

pub(crate) fn put(
    key: &Arc<Flow>,
    mask: &Mask,
    actions: &Arc<Actions>,
    pmd: dpif::PmdId,
) -> FlowPut {
    FlowPut {
        flags: CREATE,
        key: Arc::clone(key),
        mask: Arc::new(*mask),
        ufid: None,
        actions: Arc::clone(actions),
        pmd: Some(pmd),
        result: Err(DpifError::Again),
    }
}

/// Installs a flow for every packet of a port, on every packet thread.
pub(crate) fn install(dpif: &dyn Dpif, port: OdpPort, actions: Actions) -> Ufid {
    let mut key = Flow::zero();
    key.in_port = U32::new(port.0);
    let mut op = [Op::FlowPut(FlowPut {
        flags: CREATE,
        ufid: Some(Ufid(u128::from(port.0) + 1)),
        pmd: None,
        ..put(
            &Arc::new(key),
            &port_mask(),
            &Arc::new(actions),
            dpif::PmdId::NON_PMD,
        )
    })];
    dpif.operate(&mut op);
    let [Op::FlowPut(done)] = op else {
        unreachable!()
    };
    done.result.unwrap();
    Ufid(u128::from(port.0) + 1)
}

/// Looks at the ingress port alone.
pub(crate) fn port_mask() -> Mask {
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    m
}

/// Looks at the 5-tuple too.
pub(crate) fn tuple_mask() -> Mask {
    let mut m = port_mask();
    m.0.dl_type = wire::U16::new(u16::MAX);
    m.0.nw_frag = 0xff;
    m.0.nw_proto = 0xff;
    m.0.nw_src = wire::Ipv4([0xff; 4]);
    m.0.nw_dst = wire::Ipv4([0xff; 4]);
    m.0.tp_src = wire::U16::new(u16::MAX);
    m.0.tp_dst = wire::U16::new(u16::MAX);
    m
}

/// An Ethernet/IPv4/UDP frame of flow `flow` with number `seq` in its payload.
pub(crate) fn udp(flow: u32, seq: u32) -> Vec<u8> {
    let mut f = vec![0u8; 60];
    f[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 1]);
    f[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 2]);
    f[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let ip = &mut f[14..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&46u16.to_be_bytes());
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&(0x0a00_0000 + flow).to_be_bytes());
    ip[16..20].copy_from_slice(&[10, 9, 0, 1]);
    let sum = csum(&ip[..20], 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let l4 = &mut ip[20..46];
    l4[..2].copy_from_slice(&1000u16.to_be_bytes());
    l4[2..4].copy_from_slice(&2000u16.to_be_bytes());
    l4[4..6].copy_from_slice(&26u16.to_be_bytes());
    l4[8..12].copy_from_slice(&seq.to_be_bytes());
    f
}

/// The number in a frame's payload.
pub(crate) fn seq_of(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[42..46].try_into().unwrap())
}

/// The Internet checksum of bytes, with `start` added (a pseudo header's sum).
pub(crate) fn csum(data: &[u8], start: u32) -> u16 {
    let mut s = start;
    for c in data.chunks(2) {
        s += u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0));
    }
    while s >> 16 != 0 {
        s = (s & 0xffff) + (s >> 16);
    }
    !(s as u16)
}

pub(crate) fn counts(s: &FlowStats) -> (u64, u64) {
    (s.n_packets, s.n_bytes)
}
