//! The traits every class implements, and the values they speak of.

use crate::error::NetdevError;
use base::sync::Arc;
use packet::{Batch, Frame};
use std::collections::BTreeMap;
use std::fmt::Debug;
use wire::EthAddr;

/// Options of a port: the `options` column, or a TOML table.
pub type Config = BTreeMap<String, String>;

/// The number of a tx queue, and all above it, for senders that are no packet thread: they send rarely
/// and must not take a queue away from one.
pub const CONTROL_TXQ: u32 = 1024;

/// A port class.
pub trait Provider: Send + Sync + Debug {
    /// The class's name as written in configurations.
    fn class(&self) -> &'static str;
    /// True when its rx queues are polled by PMD threads, false when by the sleeping main loop.
    fn is_pmd(&self) -> bool;
    /// True when the class is shown as one that this process has; false when it is only there to say what is
    /// missing for it.
    fn is_listed(&self) -> bool {
        true
    }
    /// Opens (and for `tap`, `internal` creates) a device. It is not configured yet.
    ///
    /// # Errors
    /// What the host says, naming the device.
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError>;
    /// For tunnel classes: the datapath port name shared by all tunnels of one destination port
    /// (e.g. `vxlan_sys_4789`); such names are reserved.
    fn dpif_port_name(&self, _config: Option<&TunnelConfig>) -> Option<String> {
        None
    }
    /// Housekeeping, called from the main thread at least twice a second.
    fn run(&self) {}
    /// A descriptor that polls readable when [`Provider::run`] has something to do at once. Classes may
    /// share one; it stays the same for the provider's life.
    fn wake_fd(&self) -> Option<std::os::fd::RawFd> {
        None
    }
}

/// An open port. Shared; every method takes `&self` and may be called from any control thread.
pub trait Device: Send + Sync + Debug {
    /// Name.
    fn name(&self) -> &str;
    /// Class.
    fn class(&self) -> &'static str;
    /// True when PMD threads poll it.
    fn is_pmd(&self) -> bool;

    /// Sets the whole configuration. Unknown keys are returned by name, and do not fail the rest.
    ///
    /// # Errors
    /// A known key with an impossible value; then nothing was changed.
    fn set_config(&self, config: &Config) -> Result<Vec<String>, NetdevError>;
    /// The configuration in force, defaults included where they are informative.
    fn get_config(&self) -> Config;
    /// Tunnel parameters, for tunnel classes.
    fn tunnel_config(&self) -> Option<Arc<TunnelConfig>> {
        None
    }
    /// The other end's name, for patch ports.
    fn patch_peer(&self) -> Option<String> {
        None
    }

    /// Applies what was requested and needs queues to be closed (number of queues, mode, MTU). Called
    /// with no queue open.
    ///
    /// # Errors
    /// What the host says. The device stays usable only if this succeeds.
    fn reconfigure(&self) -> Result<(), NetdevError> {
        Ok(())
    }
    /// True when [`Device::reconfigure`] has something to do.
    fn needs_reconfigure(&self) -> bool {
        false
    }
    /// Rx queues now.
    fn n_rxq(&self) -> u32 {
        1
    }
    /// Tx queues now.
    fn n_txq(&self) -> u32 {
        1
    }
    /// How many packet threads will send. With at least as many tx queues each gets one to itself and
    /// sends without a lock; takes effect when tx queues are opened.
    fn request_txq(&self, _n: u32) {}
    /// Opens rx queue `queue`, to be moved into the thread that polls it.
    ///
    /// # Errors
    /// [`NetdevError::CannotReceive`], or what the host says.
    fn rx_open(&self, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError>;
    /// Opens a sender for packet thread number `queue`, or ([`CONTROL_TXQ`]) for a control thread. Threads
    /// beyond the device's queues share one under a lock.
    ///
    /// # Errors
    /// What the host says.
    fn tx_open(&self, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError>;
    /// NUMA node of the device's memory.
    fn numa_id(&self) -> u32 {
        0
    }

    /// MAC address.
    fn etheraddr(&self) -> EthAddr;
    /// Sets the MAC address.
    ///
    /// # Errors
    /// NotSupported, or what the host says.
    fn set_etheraddr(&self, _mac: EthAddr) -> Result<(), NetdevError> {
        Err(self.unsupported("set_etheraddr"))
    }
    /// MTU in bytes (L3, without Ethernet header); `None` when the class has none.
    fn mtu(&self) -> Option<u32>;
    /// Requests an MTU.
    ///
    /// # Errors
    /// NotSupported, MtuTooLarge, or what the host says.
    fn set_mtu(&self, _mtu: u32) -> Result<(), NetdevError> {
        Err(self.unsupported("set_mtu"))
    }
    /// Kernel interface index.
    fn ifindex(&self) -> Option<u32> {
        None
    }
    /// Link up?
    fn carrier(&self) -> bool;
    /// Times the carrier was lost or regained since open.
    fn carrier_resets(&self) -> u64 {
        0
    }
    /// Speed, duplex and the rest; `None` when not known.
    fn features(&self) -> Option<LinkFeatures> {
        None
    }
    /// Addresses with prefix lengths.
    fn addresses(&self) -> Vec<(std::net::IpAddr, u8)> {
        Vec::new()
    }
    /// Gives the host an IPv4 address with its prefix length at this device, in place of another one.
    ///
    /// # Errors
    /// NotSupported, or what the host says.
    fn set_in4(&self, _address: (std::net::Ipv4Addr, u8)) -> Result<(), NetdevError> {
        Err(self.unsupported("set_in4"))
    }
    /// Makes a gateway that this device leads to the host's.
    ///
    /// # Errors
    /// As [`Device::set_in4`].
    fn set_gateway(&self, _gateway: std::net::Ipv4Addr) -> Result<(), NetdevError> {
        Err(self.unsupported("set_gateway"))
    }
    /// Driver, mode and other facts for people (the `status` column).
    fn status(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    /// Counters; what is not known stays `None`.
    fn stats(&self) -> Stats;
    /// Flags now.
    fn flags(&self) -> DeviceFlags;
    /// Turns flags on and off. What was changed is put back when the device is closed.
    ///
    /// # Errors
    /// What the host says.
    fn update_flags(&self, on: DeviceFlags, off: DeviceFlags) -> Result<(), NetdevError>;
    /// What is wrong with the device now, in words (shown as the interface's error); `None` when nothing.
    fn error(&self) -> Option<String> {
        None
    }
    /// Credits packets that entered or left through a port without queues (patch and tunnel ports are
    /// resolved at translation, so the datapath never counts them).
    fn credit(&self, _direction: Direction, _packets: u64, _bytes: u64) {}
    /// Packets that wait in rx queues of this process and that no packet thread has seen yet (`dummy`,
    /// `fault`). For tests that must know when everything was forwarded.
    fn rx_pending(&self) -> u64 {
        0
    }
    /// The device's own flow table, if it can have one.
    fn flow_offload(&self) -> Option<&dyn crate::flow_offload::FlowOffload> {
        None
    }
    /// Moves on every change of anything above.
    fn change_seq(&self) -> u64;

    /// Ingress policing: kbit/s and kbit of burst (0 for off), kpkt/s and kpkt of burst.
    ///
    /// # Errors
    /// NotSupported, or what the host says.
    fn set_policing(&self, _rates: [u32; 4]) -> Result<(), NetdevError> {
        Err(self.unsupported("set_policing"))
    }
    /// QoS disciplines this device offers.
    fn qos_types(&self) -> Vec<QosType> {
        Vec::new()
    }
    /// The QoS discipline in force and its details; an empty name for none.
    ///
    /// # Errors
    /// What the host says.
    fn qos(&self) -> Result<(String, QosDetails), NetdevError> {
        Ok((String::new(), QosDetails::new()))
    }
    /// Sets the QoS discipline; an empty name for none.
    ///
    /// # Errors
    /// NotSupported, a bad detail, or what the host says.
    fn set_qos(&self, kind: &str, _details: &QosDetails) -> Result<(), NetdevError> {
        if kind.is_empty() {
            return Ok(());
        }
        Err(self.unsupported("set_qos"))
    }
    /// Details of queue `id`.
    ///
    /// # Errors
    /// NotSupported.
    fn queue(&self, _id: u32) -> Result<QosDetails, NetdevError> {
        Err(self.unsupported("get_queue"))
    }
    /// Creates or changes queue `id`.
    ///
    /// # Errors
    /// NotSupported.
    fn set_queue(&self, _id: u32, _details: &QosDetails) -> Result<(), NetdevError> {
        Err(self.unsupported("set_queue"))
    }
    /// Deletes queue `id`.
    ///
    /// # Errors
    /// NotSupported.
    fn delete_queue(&self, _id: u32) -> Result<(), NetdevError> {
        Err(self.unsupported("delete_queue"))
    }
    /// Every queue with its details.
    ///
    /// # Errors
    /// NotSupported.
    fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        Err(self.unsupported("dump_queues"))
    }
    /// Counters of queue `id`.
    ///
    /// # Errors
    /// NotSupported.
    fn queue_stats(&self, _id: u32) -> Result<QueueStats, NetdevError> {
        Err(self.unsupported("get_queue_stats"))
    }

    /// The concrete device, for commands that belong to one class.
    fn as_any(&self) -> &dyn std::any::Any;

    /// The answer of a class that does not do `op`.
    fn unsupported(&self, op: &'static str) -> NetdevError {
        NetdevError::NotSupported {
            dev: self.name().to_owned(),
            op,
        }
    }
}

/// Bursts that one drain throws away at most.
const DRAIN_MAX: usize = 1024;

/// A queue that packets come out of. Owned by one packet thread.
pub trait RxQueue: Send + Debug {
    /// Appends received frames to `batch` (as many as fit and are there). Never blocks. Frames arrive
    /// with `in_port` unset. Returns how many came in: those that ingress policing dropped are counted, and
    /// are not in the batch.
    ///
    /// # Errors
    /// [`NetdevError::Gone`] when the device disappeared; the thread then stops polling this queue.
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError>;
    /// Throws away everything queued, within bounds where more comes all the time; returns how many packets that
    /// were.
    fn drain(&mut self) -> u64 {
        let mut n = 0;
        let mut batch = Batch::new();
        for _ in 0..DRAIN_MAX {
            match self.recv(&mut batch) {
                Ok(got) if got > 0 => n += got as u64,
                _ => break,
            }
            batch.release_all();
        }
        n
    }
    /// A descriptor that polls readable when packets wait. Queues without one are polled on a timer.
    fn fd(&self) -> Option<std::os::fd::RawFd> {
        None
    }
    /// Called before the thread sleeps on [`RxQueue::fd`]; returns false when packets arrived meanwhile.
    fn prepare_sleep(&mut self) -> bool {
        true
    }
    /// Packets this queue lost by reason since open (rx ring full, oversize, bad offload data).
    fn drops(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TxReport {
    /// Packets taken by the device.
    pub sent: u32,
    /// Bytes taken by the device.
    pub bytes: u64,
    /// Dropped because the queue or ring was full.
    pub full: u32,
    /// Dropped because larger than the device can send.
    pub too_big: u32,
    /// Dropped by the port's QoS discipline.
    pub policed: u32,
    /// Dropped for any other reason (device down or gone).
    pub error: u32,
}

/// A queue that packets go into. Owned by one packet thread.
pub trait TxQueue: Send + Debug {
    /// Sends the whole batch; it is empty afterwards. Frames that could not be sent are released and
    /// counted in the report: sent + full + too_big + policed + error = frames given.
    fn send(&mut self, batch: &mut Batch) -> TxReport;
    /// Sends copies of frames that stay with the caller (several outputs of one packet). Devices that
    /// copy anyway override this.
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let mut total = TxReport::default();
        let pool = packet::HeapPool::global();
        for chunk in frames.chunks(packet::BATCH_MAX) {
            let mut batch = Batch::new();
            for frame in chunk {
                let pushed = batch.push(pool.duplicate(frame));
                debug_assert!(pushed.is_ok());
            }
            let r = self.send(&mut batch);
            total.absorb(r);
        }
        total
    }
    /// Kicks the device if it needs it; called once per loop after all sends.
    fn flush(&mut self) {}
}

/// Which way packets went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into the switch.
    Rx,
    /// Out of the switch.
    Tx,
}

/// Device flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceFlags {
    /// Administratively up.
    pub up: bool,
    /// Promiscuous.
    pub promisc: bool,
    /// Loopback device.
    pub loopback: bool,
}

/// Duplex of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplex {
    /// Half.
    Half,
    /// Full.
    Full,
}

/// Link features, as bits of OpenFlow 1.0's `OFPPF_*` (extended with 40G/100G/1T as in 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFeatures {
    /// In use.
    pub current: u32,
    /// Advertised.
    pub advertised: u32,
    /// Supported.
    pub supported: u32,
    /// Advertised by the peer.
    pub peer: u32,
    /// Speed in Mbit/s when `current` cannot say it.
    pub speed_mbps: u32,
}

/// Counters of a device. `None`: this class cannot know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "names are those of the statistics column")]
pub struct Stats {
    pub rx_packets: Option<u64>,
    pub tx_packets: Option<u64>,
    pub rx_bytes: Option<u64>,
    pub tx_bytes: Option<u64>,
    pub rx_errors: Option<u64>,
    pub tx_errors: Option<u64>,
    pub rx_dropped: Option<u64>,
    pub tx_dropped: Option<u64>,
    pub multicast: Option<u64>,
    pub collisions: Option<u64>,
    pub rx_length_errors: Option<u64>,
    pub rx_over_errors: Option<u64>,
    pub rx_crc_errors: Option<u64>,
    pub rx_frame_errors: Option<u64>,
    pub rx_fifo_errors: Option<u64>,
    pub rx_missed_errors: Option<u64>,
    /// Counters of this class only, by name.
    pub custom: Vec<(String, u64)>,
}

/// A QoS discipline's name and how many queues it can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QosType {
    /// E.g. `linux-htb`.
    pub name: String,
    /// Queues.
    pub n_queues: u32,
}

/// Details of a discipline or queue (`max-rate` in bit/s and the like).
pub type QosDetails = BTreeMap<String, String>;

/// Counters of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "names say it")]
pub struct QueueStats {
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    /// When the queue was made, milliseconds of the switch's clock.
    pub created_ms: u64,
}

/// Parameters of a tunnel port. `None` in an address or key position with `*_flow` set means "from the flow".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "names are those of the options column")]
pub struct TunnelConfig {
    pub local_ip: Option<std::net::IpAddr>,
    pub ip_src_flow: bool,
    pub remote_ip: Option<std::net::IpAddr>,
    pub ip_dst_flow: bool,
    pub in_key: Option<u64>,
    pub in_key_flow: bool,
    pub out_key: Option<u64>,
    pub out_key_flow: bool,
    pub dst_port: u16,
    pub tos: Option<u8>,
    pub tos_inherit: bool,
    pub ttl: Option<u8>,
    pub ttl_inherit: bool,
    pub dont_fragment: bool,
    pub csum: bool,
    pub exts: u32,
    pub set_egress_pkt_mark: bool,
    pub egress_pkt_mark: u32,
    /// 0 legacy_l2, 1 legacy_l3, 2 ptap.
    pub pt_mode: u8,
    pub set_seq: bool,
    pub erspan_idx: u32,
    pub erspan_ver: u8,
    pub erspan_dir: u8,
    pub erspan_hwid: u8,
    pub erspan_ver_flow: bool,
    pub erspan_idx_flow: bool,
    pub erspan_dir_flow: bool,
    pub erspan_hwid_flow: bool,
    /// Inner EtherType of bareudp.
    pub payload_ethertype: u16,
}
