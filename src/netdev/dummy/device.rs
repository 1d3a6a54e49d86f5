//! One dummy port: what it says about itself, what becomes of packets given to and sent through it.

use super::queue::{DummyRx, DummyTx, RxList};
use super::stream::Conn;
use super::{Dummies, DummyClass, DummyError, QUEUES_MAX};
use crate::device::{
    Config, Device, DeviceFlags, QosDetails, QueueStats, RxQueue, Stats, TxQueue, TxReport,
};
use crate::error::NetdevError;
use crate::flow_offload::{FlowOffload, OffloadFlow};
use crate::pcap::PcapWriter;
use base::clock::Clock;
use base::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, Seq, Weak, lock};
use packet::HeapPool;
use std::net::IpAddr;
use std::path::Path;
use wire::{EthAddr, Ipv4, Ipv6};

const ETH_LEN: usize = 14;
const VLAN_LEN: usize = 4;
const MTU_MIN: u32 = 68;
const MTU_MAX: u32 = 65_535;
/// Sent packets that [`DummyDevice::capture`] keeps; older ones are forgotten.
const CAPTURE_MAX: usize = 65_536;

/// A dummy port.
#[derive(Debug)]
pub struct DummyDevice {
    me: Weak<Self>,
    name: String,
    class: &'static str,
    pmd: bool,
    hub: Dummies,
    change_seq: AtomicU64,
    rx_burst: AtomicUsize,
    /// Moves when a packet was captured.
    sent: Seq,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hwaddr: EthAddr,
    mtu: u32,
    flags: DeviceFlags,
    ifindex: Option<u32>,
    numa_id: u32,
    counts: [QueueCounts; 2],
    custom: u64,
    rxq: Vec<QueueCounts>,
    txq: Vec<QueueCounts>,
    requested: Queues,
    conn: Conn,
    pcap: Pcap,
    captured: Option<std::collections::VecDeque<Vec<u8>>>,
    address: Option<(Ipv4, Ipv4)>,
    ipv6: Option<(Ipv6, u8)>,
    lists: Vec<Arc<RxList>>,
    offloaded: Vec<(u128, OffloadFlow)>,
}

#[derive(Debug, Default, Clone, Copy)]
struct QueueCounts {
    packets: u64,
    bytes: u64,
}

impl QueueCounts {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
    }
}

/// What `reconfigure` will apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queues {
    n_rxq: u32,
    n_txq: u32,
    numa_id: u32,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            n_rxq: 1,
            n_txq: 1,
            numa_id: 0,
        }
    }
}

/// Where packets are recorded: the same writer for both ways, or one each.
#[derive(Debug, Default)]
struct Pcap {
    both: Option<PcapWriter>,
    rx: Option<PcapWriter>,
    tx: Option<PcapWriter>,
}

impl Pcap {
    fn open(config: &Config) -> Self {
        let open = |key: &str| {
            let path = config.get(key)?;
            PcapWriter::append(Path::new(path))
                .inspect_err(|e| {
                    tracing::warn!(target: "pcap",
                        "{path}: failed to open pcap file for appending ({})", crate::os_error(e));
                })
                .ok()
        };
        if config.contains_key("pcap") {
            return Self {
                both: open("pcap"),
                ..Self::default()
            };
        }
        Self {
            both: None,
            rx: open("rxq_pcap"),
            tx: open("tx_pcap"),
        }
    }
    fn record(&mut self, rx: bool, packet: &[u8]) {
        let one = if rx { &mut self.rx } else { &mut self.tx };
        if let Some(w) = self.both.as_mut().or(one.as_mut()) {
            // A full disk must not disturb the port; the file is simply short.
            drop(w.write(Clock::wall(), packet));
        }
    }
}

impl DummyDevice {
    pub(super) fn create(name: &str, class: &DummyClass, n: u32) -> Arc<Self> {
        let [a, b, c, d] = n.to_be_bytes();
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            name: name.to_owned(),
            class: class.class,
            pmd: class.pmd,
            hub: class.hub.clone(),
            change_seq: AtomicU64::new(2),
            rx_burst: AtomicUsize::new(1),
            sent: Seq::new(),
            state: Mutex::new(State {
                hwaddr: EthAddr([0xaa, 0x55, a, b, c, d]),
                mtu: 1500,
                flags: DeviceFlags {
                    up: true,
                    ..DeviceFlags::default()
                },
                rxq: vec![QueueCounts::default()],
                txq: vec![QueueCounts::default()],
                ..State::default()
            }),
        })
    }

    pub(super) fn shared(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Gives the port a packet, as if it came from outside. It waits in rx queue `queue`; it is lost when
    /// no packet thread has that queue open.
    ///
    /// # Errors
    /// [`DummyError::BadQueue`].
    pub fn receive(&self, packet: &[u8], queue: u32) -> Result<(), DummyError> {
        let mut state = lock(&self.state);
        if queue as usize >= state.rxq.len() {
            return Err(DummyError::BadQueue);
        }
        state.queue_packet(&self.name, packet, queue);
        Ok(())
    }

    /// Takes the port up or down.
    pub fn set_admin_state(&self, up: bool) {
        let mut state = lock(&self.state);
        if state.flags.up != up {
            state.flags.up = up;
            self.changed();
        }
    }

    /// Gives the port an IPv4 address, for which it answers ARP requests.
    pub fn set_ip4addr(&self, address: Ipv4, mask: Ipv4) {
        let set = address != Ipv4::default();
        lock(&self.state).address = set.then_some((address, mask));
        self.changed();
    }

    /// Gives the port an IPv6 address.
    pub fn set_ip6addr(&self, address: Ipv6, prefix: u8) {
        let set = address != Ipv6::default();
        lock(&self.state).ipv6 = set.then_some((address, prefix));
        self.changed();
    }

    /// State of the connection made by the `stream` option; `None` without one.
    #[must_use]
    pub fn connected(&self) -> Option<bool> {
        lock(&self.state).conn.connected()
    }

    /// Starts keeping copies of sent packets, for [`DummyDevice::take_sent`].
    pub fn capture(&self) {
        lock(&self.state).captured.get_or_insert_default();
    }

    /// The packets sent since capture began or this was last called, oldest first.
    #[must_use]
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        let mut state = lock(&self.state);
        match &mut state.captured {
            Some(sent) => sent.drain(..).collect(),
            None => Vec::new(),
        }
    }

    /// Waits until at least `n` captured packets are there to be taken, for at most `timeout` of real
    /// time; returns how many there are.
    #[must_use]
    pub fn wait_sent(&self, n: usize, timeout: std::time::Duration) -> usize {
        let deadline = base::clock::Nanos(base::clock::monotonic_ns()).plus(timeout);
        loop {
            let seen = self.sent.read();
            let have = lock(&self.state).captured.as_ref().map_or(0, |s| s.len());
            let left = deadline.since(base::clock::Nanos(base::clock::monotonic_ns()));
            if have >= n || left.is_zero() {
                return have;
            }
            self.sent.wait(seen, left);
        }
    }

    /// Forwards between the port and what it is connected to. Main thread.
    pub(super) fn run(&self) {
        let mut state = lock(&self.state);
        let mut received = Vec::new();
        state.conn.run(&self.hub, &mut received);
        for packet in received {
            state.queue_packet(&self.name, &packet, 0);
        }
    }

    pub(super) fn rx_burst(&self) -> usize {
        self.rx_burst.load(Ordering::Relaxed)
    }

    pub(super) fn count_rx(&self, queue: u32, packets: u64, bytes: u64) {
        let mut state = lock(&self.state);
        state.counts[0].add(packets, bytes);
        state.custom += packets;
        if let Some(q) = state.rxq.get_mut(queue as usize) {
            q.add(packets, bytes);
        }
    }

    pub(super) fn close_rx(&self, list: &Arc<RxList>) {
        lock(&self.state).lists.retain(|l| !Arc::ptr_eq(l, list));
    }

    pub(super) fn transmit(&self, queue: u32, packet: &[u8], report: &mut TxReport) {
        let mut state = lock(&self.state);
        if packet.len() < ETH_LEN {
            report.error += 1;
            return;
        }
        let tagged = packet[12..14] == [0x81, 0x00];
        let max = state.mtu as usize + ETH_LEN + if tagged { VLAN_LEN } else { 0 };
        if packet.len() > max {
            report.too_big += 1;
            return;
        }
        let bytes = packet.len() as u64;
        report.sent += 1;
        report.bytes += bytes;
        state.counts[1].add(1, bytes);
        let n_txq = state.txq.len();
        state.txq[queue as usize % n_txq].add(1, bytes);
        state.conn.send(&self.hub, packet);
        if let Some((address, _)) = state.address
            && let Some(reply) = arp_reply(packet, address, state.hwaddr)
        {
            state.queue_packet(&self.name, &reply, 0);
        }
        state.pcap.record(false, packet);
        if let Some(captured) = &mut state.captured {
            if captured.len() == CAPTURE_MAX {
                captured.pop_front();
            }
            captured.push_back(packet.to_vec());
            drop(state);
            self.sent.change();
        }
    }

    fn changed(&self) {
        self.change_seq.fetch_add(1, Ordering::Relaxed);
    }

    fn queues_wanted(&self, config: &Config) -> Queues {
        let number = |key: &str| config.get(key).and_then(|v| v.trim().parse::<i32>().ok());
        let count = |key: &str| number(key).unwrap_or(1).max(1).unsigned_abs();
        let (n_rxq, n_txq) = (count("n_rxq"), count("n_txq"));
        if n_rxq > QUEUES_MAX || n_txq > QUEUES_MAX {
            tracing::warn!(target: "netdev_dummy",
                "The one or both of interface {} queues(rxq: {n_rxq}, txq: {n_txq}) exceed \
                 {QUEUES_MAX}. Sets it {QUEUES_MAX}.\n", self.name);
        }
        Queues {
            n_rxq: n_rxq.min(QUEUES_MAX),
            n_txq: n_txq.min(QUEUES_MAX),
            numa_id: number("numa_id").unwrap_or(0).max(0).unsigned_abs(),
        }
    }
}

impl State {
    /// Puts a packet into every open rx queue of that number.
    fn queue_packet(&mut self, device: &str, packet: &[u8], queue: u32) {
        self.pcap.record(true, packet);
        for (_, flow) in &self.offloaded {
            if let Some(text) = flow.matcher.matches(packet) {
                tracing::debug!(target: "netdev_dummy",
                    "{device}: packet: {text} matches with flow: {} {} with mark: {}",
                    flow.name, flow.text_any_port, flow.mark);
                break;
            }
        }
        for list in self.lists.iter().filter(|l| l.queue == queue) {
            list.frames.push(HeapPool::global().copy_from(packet));
        }
    }
    fn current(&self) -> Queues {
        Queues {
            n_rxq: self.rxq.len() as u32,
            n_txq: self.txq.len() as u32,
            numa_id: self.numa_id,
        }
    }
}

impl Device for DummyDevice {
    fn name(&self) -> &str {
        &self.name
    }
    fn class(&self) -> &'static str {
        self.class
    }
    fn is_pmd(&self) -> bool {
        self.pmd
    }

    /// A dummy stands in for every class, so no key is unknown to it.
    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError> {
        let mut state = lock(&self.state);
        state.ifindex = config.get("ifindex").and_then(|v| v.trim().parse().ok());
        state.conn.configure(&self.hub, config);
        state.pcap = Pcap::default(); // closed before they are opened anew
        state.pcap = Pcap::open(config);
        let burst = config.get("rx_burst").and_then(|v| v.parse().ok());
        self.rx_burst.store(
            burst.unwrap_or(1).clamp(1, packet::BATCH_MAX),
            Ordering::Relaxed,
        );
        if self.pmd {
            state.requested = self.queues_wanted(config);
        }
        self.changed();
        Ok(Vec::new())
    }
    fn get_config(&self) -> Config {
        let state = lock(&self.state);
        let mut config = Config::new();
        let mut put = |key: &str, value: String| config.insert(key.to_owned(), value);
        if let Some(ifindex) = state.ifindex {
            put("ifindex", ifindex.to_string());
        }
        if let Some((key, name)) = state.conn.name() {
            put(key, name.to_owned());
        }
        if self.pmd {
            let now = state.current();
            put("requested_rx_queues", state.requested.n_rxq.to_string());
            put("configured_rx_queues", now.n_rxq.to_string());
            put("requested_tx_queues", state.requested.n_txq.to_string());
            put("configured_tx_queues", now.n_txq.to_string());
        }
        config
    }
    fn reconfigure(&self) -> Result<(), NetdevError> {
        let mut state = lock(&self.state);
        let (now, wanted) = (state.current(), state.requested);
        state.numa_id = wanted.numa_id;
        if (now.n_rxq, now.n_txq) != (wanted.n_rxq, wanted.n_txq) {
            state.rxq = vec![QueueCounts::default(); wanted.n_rxq as usize];
            state.txq = vec![QueueCounts::default(); wanted.n_txq as usize];
            state.counts = Default::default();
            state.custom = 0;
        }
        Ok(())
    }
    fn needs_reconfigure(&self) -> bool {
        let state = lock(&self.state);
        state.current() != state.requested
    }
    fn n_rxq(&self) -> u32 {
        lock(&self.state).current().n_rxq
    }
    fn n_txq(&self) -> u32 {
        lock(&self.state).current().n_txq
    }
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        let cannot = || NetdevError::CannotReceive {
            dev: self.name.clone(),
        };
        let device = self.shared().ok_or_else(cannot)?;
        if queue >= self.n_rxq() {
            return Err(cannot());
        }
        let list = RxList::create(queue).map_err(|source| NetdevError::Io {
            dev: self.name.clone(),
            op: "eventfd",
            source,
        })?;
        lock(&self.state).lists.push(Arc::clone(&list));
        Ok(Box::new(DummyRx { device, list }))
    }
    fn tx_open(&self, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        let device = self.shared().ok_or_else(|| NetdevError::Gone {
            dev: self.name.clone(),
        })?;
        Ok(Box::new(DummyTx { device, queue }))
    }
    fn numa_id(&self) -> u32 {
        lock(&self.state).numa_id
    }

    fn etheraddr(&self) -> EthAddr {
        lock(&self.state).hwaddr
    }
    fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        let mut state = lock(&self.state);
        if state.hwaddr != mac {
            state.hwaddr = mac;
            self.changed();
        }
        Ok(())
    }
    fn mtu(&self) -> Option<u32> {
        Some(lock(&self.state).mtu)
    }
    fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            return Err(NetdevError::BadOption {
                dev: self.name.clone(),
                key: "mtu".to_owned(),
                value: mtu.to_string(),
                expected: format!("between {MTU_MIN} and {MTU_MAX}"),
            });
        }
        let mut state = lock(&self.state);
        if state.mtu != mtu {
            state.mtu = mtu;
            self.changed();
        }
        Ok(())
    }
    fn ifindex(&self) -> Option<u32> {
        lock(&self.state).ifindex
    }
    fn carrier(&self) -> bool {
        lock(&self.state).flags.up
    }
    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        let state = lock(&self.state);
        let v4 = state
            .address
            .map(|(a, m)| (IpAddr::from(a.0), m.to_u32().count_ones() as u8));
        let v6 = state.ipv6.map(|(a, plen)| (IpAddr::from(a.0), plen));
        v4.into_iter().chain(v6).collect()
    }
    fn stats(&self) -> Stats {
        let state = lock(&self.state);
        let [rx, tx] = state.counts;
        let mut custom = vec![
            ("rx_custom_packets_1".to_owned(), state.custom),
            ("rx_custom_packets_2".to_owned(), state.custom),
        ];
        for (way, queues) in [("rx", &state.rxq), ("tx", &state.txq)] {
            for (i, q) in queues.iter().enumerate() {
                custom.push((format!("{way}_q{i}_bytes"), q.bytes));
                custom.push((format!("{way}_q{i}_packets"), q.packets));
            }
        }
        Stats {
            rx_packets: Some(rx.packets),
            rx_bytes: Some(rx.bytes),
            tx_packets: Some(tx.packets),
            tx_bytes: Some(tx.bytes),
            custom,
            ..Stats::default()
        }
    }
    fn flags(&self) -> DeviceFlags {
        lock(&self.state).flags
    }
    fn update_flags(&self, on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError> {
        if on.loopback || off.loopback {
            return Err(self.unsupported("update_flags"));
        }
        let mut state = lock(&self.state);
        let old = state.flags;
        state.flags.up = (old.up || on.up) && !off.up;
        state.flags.promisc = (old.promisc || on.promisc) && !off.promisc;
        if state.flags != old {
            self.changed();
        }
        Ok(())
    }
    fn flow_offload(&self) -> Option<&dyn FlowOffload> {
        Some(self)
    }
    fn rx_pending(&self) -> u64 {
        lock(&self.state)
            .lists
            .iter()
            .map(|l| l.frames.len() as u64)
            .sum()
    }
    fn change_seq(&self) -> u64 {
        self.change_seq.load(Ordering::Relaxed)
    }

    fn queue(&self, id: u32) -> Result<QosDetails, NetdevError> {
        self.only_queue(id).map(|()| QosDetails::new())
    }
    fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        Ok(vec![(0, QosDetails::new())])
    }
    fn queue_stats(&self, id: u32) -> Result<QueueStats, NetdevError> {
        self.only_queue(id).map(|()| QueueStats {
            tx_bytes: u64::MAX,
            tx_packets: u64::MAX,
            tx_errors: u64::MAX,
            created_ms: u64::MAX,
        })
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A dummy only says which of its flows a packet matches.
impl FlowOffload for DummyDevice {
    fn flow_put(&self, id: u128, flow: OffloadFlow) {
        let mut state = lock(&self.state);
        let known = state.offloaded.iter().position(|(i, _)| *i == id);
        let op = if known.is_some() { "modify" } else { "create" };
        tracing::debug!(target: "netdev_dummy", "{}: flow put[{op}]: {} flow match: {}, mark: {}",
            self.name, flow.name, flow.text, flow.mark);
        match known {
            Some(i) => state.offloaded[i].1 = flow,
            None => state.offloaded.push((id, flow)),
        }
    }
    fn flow_del(&self, id: u128) -> bool {
        let mut state = lock(&self.state);
        let Some(i) = state.offloaded.iter().position(|(i, _)| *i == id) else {
            tracing::warn!(target: "netdev_dummy",
                "{}: failed to flow del: {id:032x} error: No such flow.", self.name);
            return false;
        };
        let (_, flow) = state.offloaded.remove(i);
        tracing::debug!(target: "netdev_dummy", "{}: flow del: {} mark: {}",
            self.name, flow.name, flow.mark);
        true
    }
}

impl DummyDevice {
    /// There is only queue 0, and nothing is known about it.
    fn only_queue(&self, id: u32) -> Result<(), NetdevError> {
        if id == 0 {
            return Ok(());
        }
        Err(NetdevError::BadOption {
            dev: self.name.clone(),
            key: "queue".to_owned(),
            value: id.to_string(),
            expected: "0".to_owned(),
        })
    }
}

/// The answer to an ARP request for `address`, tagged or not; `None` for any other packet.
fn arp_reply(packet: &[u8], address: Ipv4, hwaddr: EthAddr) -> Option<[u8; 42]> {
    let mut at = 12;
    while matches!(packet.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
        at += VLAN_LEN;
    }
    let arp = packet.get(at..)?.strip_prefix(&[0x08, 0x06])?;
    let request = arp.get(..28)?.strip_prefix(&[0, 1, 0x08, 0, 6, 4, 0, 1])?;
    let (sender_ip, target_ip) = (&request[6..10], &request[16..20]);
    if target_ip != address.0 {
        return None;
    }
    let sender = &packet[6..12];
    let mut reply = [0; 42];
    reply[..6].copy_from_slice(sender);
    reply[6..12].copy_from_slice(&hwaddr.0);
    reply[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2]);
    reply[22..28].copy_from_slice(&hwaddr.0);
    reply[28..32].copy_from_slice(target_ip);
    reply[32..38].copy_from_slice(sender);
    reply[38..].copy_from_slice(sender_ip);
    Some(reply)
}
