//! A fault port: the port behind it in everything but its name and what happens to packets.

use super::counts::{FaultCounts, PipeCounts};
use super::options::Options;
use super::pipe::Pipe;
use super::queue::{FaultRx, FaultTx, OpenQueues, PairRx, PairTx, TxHalf};
use super::{PAIR_MAX, Shared};
use crate::device::{
    Config, Device, DeviceFlags, QosDetails, QosType, QueueStats, RxQueue, Stats, TxQueue,
};
use crate::error::NetdevError;
use crate::mailbox::Mailbox;
use crate::vport::random_mac;
use base::sync::{Arc, AtomicU64, Mutex, Ordering, lock};
use std::collections::BTreeMap;
use std::net::IpAddr;
use wire::EthAddr;

/// A fault port.
#[derive(Debug)]
pub struct FaultDevice {
    name: String,
    shared: Arc<Shared>,
    rx_counts: Arc<PipeCounts>,
    tx_counts: Arc<PipeCounts>,
    seq: AtomicU64,
    mac: EthAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    options: Options,
    given: Config,
    behind: Behind,
    queues: OpenQueues,
}

/// What is at the other side of the bad link.
#[derive(Debug, Clone, Default)]
enum Behind {
    #[default]
    Nothing,
    Device(Arc<dyn Device>),
    Pair {
        own: Arc<Mailbox>,
        peer: String,
    },
}

impl FaultDevice {
    pub(super) fn create(name: &str, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            shared,
            rx_counts: Arc::default(),
            tx_counts: Arc::default(),
            seq: AtomicU64::new(2),
            mac: random_mac(),
            state: Mutex::default(),
        })
    }

    /// Packets on their way into the switch.
    #[must_use]
    pub fn rx_counts(&self) -> FaultCounts {
        self.rx_counts.get()
    }
    /// Packets on their way out of the switch.
    #[must_use]
    pub fn tx_counts(&self) -> FaultCounts {
        self.tx_counts.get()
    }
    /// Passes on the sent packets that were held and are due.
    pub fn release_due(&self) {
        lock(&self.state).queues.release();
    }

    fn behind(&self) -> Behind {
        lock(&self.state).behind.clone()
    }
    /// The port behind, if that is what there is.
    fn device(&self) -> Option<Arc<dyn Device>> {
        match self.behind() {
            Behind::Device(d) => Some(d),
            Behind::Nothing | Behind::Pair { .. } => None,
        }
    }
    fn device_or(&self, op: &'static str) -> Result<Arc<dyn Device>, NetdevError> {
        self.device().ok_or_else(|| self.unsupported(op))
    }
    fn gone(&self) -> NetdevError {
        NetdevError::Gone {
            dev: self.name.clone(),
        }
    }

    /// Opens what the options name, unless it is what is open already.
    fn connect(&self, state: &State, options: &Options) -> Result<Behind, NetdevError> {
        let old = &state.options;
        let same = (&old.device, &old.class, &old.pair)
            == (&options.device, &options.class, &options.pair);
        if same && !matches!(state.behind, Behind::Nothing) {
            return Ok(state.behind.clone());
        }
        if let Some(device) = &options.device {
            let registry = self.shared.registry.upgrade().ok_or_else(|| self.gone())?;
            return Ok(Behind::Device(registry.open(device, &options.class)?));
        }
        let io = |source| NetdevError::Io {
            dev: self.name.clone(),
            op: "eventfd",
            source,
        };
        let own = Mailbox::create(PAIR_MAX).map_err(io)?;
        let mut ends = lock(&self.shared.ends);
        ends.retain(|_, e| e.strong_count() > 0);
        ends.insert(self.name.clone(), Arc::downgrade(&own));
        Ok(Behind::Pair {
            own,
            peer: options.pair.clone().unwrap_or_default(),
        })
    }

    /// A different one for every queue and direction.
    fn queue_seed(seed: u64, tx: bool, queue: u32) -> u64 {
        base::hash::words(seed, &[u64::from(tx), u64::from(queue)])
    }
}

impl Device for FaultDevice {
    fn name(&self) -> &str {
        &self.name
    }
    fn class(&self) -> &'static str {
        "fault"
    }
    fn is_pmd(&self) -> bool {
        self.device().is_some_and(|d| d.is_pmd())
    }

    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let options = Options::parse(&self.name, config)?;
        let mut state = lock(&self.state);
        let behind = self.connect(&state, &options)?;
        let unknown = match &behind {
            Behind::Device(d) => d.set_config(&options.rest)?,
            Behind::Pair { .. } | Behind::Nothing => options.rest.keys().cloned().collect(),
        };
        state.behind = behind;
        state.queues.set_faults(options.rx, options.tx);
        state.options = options;
        state.given = config.clone();
        self.seq.fetch_add(1, Ordering::Relaxed);
        Ok(unknown)
    }
    fn get_config(&self) -> Config {
        lock(&self.state).given.clone()
    }
    fn reconfigure(&self) -> Result<(), NetdevError> {
        self.device().map_or(Ok(()), |d| d.reconfigure())
    }
    fn needs_reconfigure(&self) -> bool {
        self.device().is_some_and(|d| d.needs_reconfigure())
    }
    fn n_rxq(&self) -> u32 {
        self.device().map_or(1, |d| d.n_rxq())
    }
    fn n_txq(&self) -> u32 {
        self.device().map_or(1, |d| d.n_txq())
    }
    fn request_txq(&self, n: u32) {
        if let Some(d) = self.device() {
            d.request_txq(n);
        }
    }
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        let inner: Box<dyn RxQueue> = match self.behind() {
            Behind::Nothing => return Err(self.gone()),
            Behind::Device(d) => d.rx_open(queue)?,
            Behind::Pair { own, .. } => Box::new(PairRx(own)),
        };
        let mut state = lock(&self.state);
        let seed = Self::queue_seed(state.options.seed, false, queue);
        let counts = Arc::clone(&self.rx_counts);
        let pipe = Pipe::new(state.options.rx, seed, Arc::clone(&counts));
        let pipe = Arc::new(Mutex::new(pipe));
        state.queues.rx.push(Arc::downgrade(&pipe));
        Ok(Box::new(FaultRx {
            inner,
            pipe,
            counts,
            clock: self.shared.clock.clone(),
            holds: state.options.rx.holds(),
        }))
    }
    fn tx_open(&self, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        let inner: Box<dyn TxQueue> = match self.behind() {
            Behind::Nothing => return Err(self.gone()),
            Behind::Device(d) => d.tx_open(queue)?,
            Behind::Pair { peer, .. } => Box::new(PairTx {
                shared: Arc::downgrade(&self.shared),
                peer,
            }),
        };
        let mut state = lock(&self.state);
        let seed = Self::queue_seed(state.options.seed, true, queue);
        let counts = Arc::clone(&self.tx_counts);
        let pipe = Pipe::new(state.options.tx, seed, Arc::clone(&counts));
        let clock = self.shared.clock.clone();
        let half = Arc::new(Mutex::new(TxHalf::new(inner, pipe, counts, clock)));
        state.queues.tx.push(Arc::downgrade(&half));
        Ok(Box::new(FaultTx(half)))
    }
    fn numa_id(&self) -> u32 {
        self.device().map_or(0, |d| d.numa_id())
    }

    fn etheraddr(&self) -> EthAddr {
        self.device().map_or(self.mac, |d| d.etheraddr())
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        self.device_or("set_etheraddr")?.set_etheraddr(mac)
    }
    fn mtu(&self) -> Option<u32> {
        self.device()?.mtu()
    }
    fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        self.device_or("set_mtu")?.set_mtu(mtu)
    }
    fn ifindex(&self) -> Option<u32> {
        self.device()?.ifindex()
    }
    fn carrier(&self) -> bool {
        self.device().is_none_or(|d| d.carrier())
    }
    fn carrier_resets(&self) -> u64 {
        self.device().map_or(0, |d| d.carrier_resets())
    }
    fn features(&self) -> Option<crate::device::LinkFeatures> {
        self.device()?.features()
    }
    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.device().map_or_else(Vec::new, |d| d.addresses())
    }
    fn status(&self) -> BTreeMap<String, String> {
        self.device().map_or_else(BTreeMap::new, |d| d.status())
    }
    fn stats(&self) -> Stats {
        let mut stats = self.device().map_or_else(Stats::default, |d| d.stats());
        let ways = [("rx", self.rx_counts()), ("tx", self.tx_counts())];
        for (way, counts) in ways {
            for (name, n) in counts.list() {
                stats.custom.push((format!("fault_{way}_{name}"), n));
            }
        }
        stats
    }
    fn flags(&self) -> DeviceFlags {
        let up = DeviceFlags {
            up: true,
            ..DeviceFlags::default()
        };
        self.device().map_or(up, |d| d.flags())
    }
    fn update_flags(&self, on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError> {
        self.device_or("update_flags")?.update_flags(on, off)
    }
    fn rx_pending(&self) -> u64 {
        let state = lock(&self.state);
        let now = self.shared.clock.now();
        let pipes = state.queues.rx.iter().filter_map(|p| p.upgrade());
        let due: usize = pipes.map(|p| lock(&p).advance(now)).sum();
        let behind = match &state.behind {
            Behind::Nothing => 0,
            Behind::Device(d) => d.rx_pending(),
            Behind::Pair { own, .. } => own.len() as u64,
        };
        due as u64 + behind
    }
    fn error(&self) -> Option<String> {
        self.device()?.error()
    }
    fn change_seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed) + self.device().map_or(0, |d| d.change_seq())
    }

    fn set_policing(&self, rates: [u32; 4]) -> Result<(), NetdevError> {
        self.device_or("set_policing")?.set_policing(rates)
    }
    fn qos_types(&self) -> Vec<QosType> {
        self.device().map_or_else(Vec::new, |d| d.qos_types())
    }
    fn qos(&self) -> Result<(String, QosDetails), NetdevError> {
        self.device_or("get_qos")?.qos()
    }
    fn set_qos(&self, kind: &str, details: &QosDetails) -> Result<(), NetdevError> {
        self.device_or("set_qos")?.set_qos(kind, details)
    }
    fn queue(&self, id: u32) -> Result<QosDetails, NetdevError> {
        self.device_or("get_queue")?.queue(id)
    }
    fn set_queue(&self, id: u32, details: &QosDetails) -> Result<(), NetdevError> {
        self.device_or("set_queue")?.set_queue(id, details)
    }
    fn delete_queue(&self, id: u32) -> Result<(), NetdevError> {
        self.device_or("delete_queue")?.delete_queue(id)
    }
    fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        self.device_or("dump_queues")?.queues()
    }
    fn queue_stats(&self, id: u32) -> Result<QueueStats, NetdevError> {
        self.device_or("get_queue_stats")?.queue_stats(id)
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
