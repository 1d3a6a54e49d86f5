//! An `afxdp` port: sockets for all queues, the program that feeds them, and how they are had.
//!
//! Attaching goes through the modes asked for, best first, and takes the first in which the program
//! attaches and every queue's socket binds. The kernel lets go of a closed socket's queue (and of a closed
//! program) some 20 ms late, seconds on a machine that is busy with its devices, so EBUSY is tried again for a while.

use super::config::{Choice, Mode, Options};
use super::gather::PARTS_MAX;
use super::memory::Place;
use super::program::{Program, foreign};
use super::queue::{Rx, Shared, Slot, Tx, TxSide, Ways};
use super::rings::{self, Binding, RxRing};
use super::sockopt;
use super::{QUEUES_MAX, RING_SIZE, TX_BUDGET_MIN, XDP_HEADROOM};
use crate::device::{CONTROL_TXQ, Config, RxQueue, Stats, TxQueue};
use crate::error::NetdevError;
use crate::linux::{Link, LinkInfo};
use crate::port::{Class, no_such_queue};
use crate::system::SystemTx;
use base::clock::{monotonic_ns, sleep};
use base::sync::{Arc, AtomicU32, Mutex, OnceLock, Ordering, lock};
use packet::HeapPool;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// How long EBUSY is not believed, and how often it is asked about. The kernel lets go of a socket's queue in a work
/// item of its own, which waits for RCU and for every device that is being set up or taken down: where the socket
/// before was ours, nobody else is to be suspected for a good while.
const BUSY_NS: u64 = 500_000_000;
const BUSY_OWN_NS: u64 = 10_000_000_000;
const BUSY_STEP: Duration = Duration::from_millis(10);

/// Ethernet header and two VLAN tags, which an MTU does not count.
const L2_BYTES: u32 = 14 + 8;
/// Frame sizes, smaller first: small frames stay in the cache.
const FRAME_SIZES: [u32; 2] = [2048, 4096];
/// The largest MTU there is: the length of an IP packet has 16 bits.
const MTU_MAX: u32 = 65_535;

/// What is special about `afxdp` ports.
#[derive(Debug, Default)]
pub(super) struct Afxdp {
    /// Looked after by the thread of ports that are not polled.
    unpolled: bool,
    wanted: Mutex<Options>,
    /// Threads that want a tx queue each; 0 while nobody said.
    senders: AtomicU32,
    attached: Mutex<Option<Attachment>>,
    shared: Arc<Shared>,
}

impl Afxdp {
    /// A port that takes no core for itself.
    pub(super) fn unpolled() -> Self {
        Self {
            unpolled: true,
            ..Self::default()
        }
    }
}

/// A port at work.
#[derive(Debug)]
struct Attachment {
    // Packets stop coming before their sockets go.
    program: Program,
    queues: Vec<Queue>,
    options: Options,
    mode: Mode,
    layout: Layout,
    ways: Ways,
}

impl Attachment {
    /// Descriptors that one wakeup sends in copy mode.
    fn tx_budget(&self) -> u32 {
        if self.queues.iter().all(|q| q.budget_set) {
            self.options.tx_budget.unwrap_or(RING_SIZE)
        } else {
            TX_BUDGET_MIN
        }
    }
}

#[derive(Debug)]
struct Queue {
    rx: Slot<RxRing>,
    tx: Slot<Box<TxSide>>,
    statistics: OwnedFd,
    /// One wakeup sends as much as was asked for.
    budget_set: bool,
    /// Kept until the last descriptor of the socket is closed.
    place: Arc<Place>,
    /// Interface index of the device.
    index: u32,
}

impl Drop for Queue {
    /// The socket goes now, unless somebody still has the ring.
    fn drop(&mut self) {
        let mut released = lock(&RELEASED);
        match *lock(&self.rx) {
            Some(_) => released.insert(self.index, monotonic_ns()),
            None => released.remove(&self.index),
        };
    }
}

/// How packets lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    frame_bytes: u32,
    /// A packet may span several frames.
    multi_buffer: bool,
}

impl Layout {
    /// What an MTU needs. Where packets may span several frames, they are large ones: a packet has a limited
    /// number of pieces.
    fn of(mtu: u32, multi_buffer: Choice, kernel: bool) -> Option<Self> {
        let fits = |room: u32| mtu.saturating_add(L2_BYTES) <= room;
        let single = |frame_bytes| Self {
            frame_bytes,
            multi_buffer: false,
        };
        let large = FRAME_SIZES[1] - XDP_HEADROOM;
        let several = Self {
            frame_bytes: FRAME_SIZES[1],
            multi_buffer: true,
        };
        let may = match multi_buffer {
            Choice::Auto => kernel,
            Choice::On => true,
            Choice::Off => false,
        };
        match multi_buffer {
            Choice::Auto | Choice::Off => FRAME_SIZES
                .into_iter()
                .find(|size| fits(size - XDP_HEADROOM))
                .map(single),
            Choice::On => None,
        }
        .or_else(|| (may && fits(large * PARTS_MAX as u32)).then_some(several))
    }

    /// Needs more than `other` has.
    fn exceeds(&self, other: &Self) -> bool {
        self.frame_bytes > other.frame_bytes || self.multi_buffer && !other.multi_buffer
    }

    /// The largest MTU that fits.
    fn mtu_max(multi_buffer: Choice, kernel: bool) -> u32 {
        let single = FRAME_SIZES[1] - XDP_HEADROOM - L2_BYTES;
        match multi_buffer {
            Choice::Off => single,
            Choice::Auto if !kernel => single,
            Choice::Auto | Choice::On => MTU_MAX,
        }
    }

    /// What a device's MTU needs with these options.
    fn needed(link: &Link, mtu: u32, options: &Options) -> Result<Self, NetdevError> {
        let (wish, kernel) = (options.multi_buffer, kernel_multi_buffer());
        let max = Self::mtu_max(wish, kernel);
        let layout = Self::of(mtu, wish, kernel).filter(|_| mtu <= max);
        layout.ok_or_else(|| NetdevError::MtuTooLarge {
            dev: link.name().to_owned(),
            mtu,
            max,
        })
    }
}

/// Does the kernel carry packets of several buffers?
fn kernel_multi_buffer() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(sockopt::knows_multi_buffer)
}

/// When this process last let go of a socket, by interface index.
static RELEASED: Mutex<BTreeMap<u32, u64>> = Mutex::new(BTreeMap::new());

/// How long a device's EBUSY is not believed.
fn patience(index: u32) -> u64 {
    let now = monotonic_ns();
    let mut released = lock(&RELEASED);
    released.retain(|_, at| now.saturating_sub(*at) < BUSY_OWN_NS);
    if released.contains_key(&index) {
        BUSY_OWN_NS
    } else {
        BUSY_NS
    }
}

/// Repeats `f` while it says EBUSY, until `deadline_ns`.
fn patiently<T>(deadline_ns: u64, mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match f() {
            Err(e)
                if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
                    && monotonic_ns() < deadline_ns =>
            {
                // A socket also lives on in frames that are still out: look for pools that can go.
                drop(HeapPool::create());
                sleep(BUSY_STEP);
            }
            result => return result,
        }
    }
}

/// What one attempt to attach goes by.
struct Attempt<'a> {
    link: &'a Arc<Link>,
    info: LinkInfo,
    options: Options,
    shared: &'a Arc<Shared>,
    /// How long EBUSY is not believed.
    patience_ns: u64,
    /// The program, kept while the next mode runs it in the same place.
    program: Option<(bool, Program)>,
}

impl Attempt<'_> {
    /// Attaches in the best mode that works.
    fn best(&mut self) -> Result<Attachment, NetdevError> {
        let options = self.options;
        let mut last = None;
        for &mode in options.modes() {
            match self.try_mode(mode) {
                Ok(attachment) => {
                    let Layout {
                        frame_bytes,
                        multi_buffer,
                    } = attachment.layout;
                    tracing::info!(target: "netdev_afxdp", "{}: {} mode, {} queue(s), frames of {frame_bytes} bytes{}",
                        self.link.name(), mode.name(), options.n_rxq,
                        if multi_buffer { ", several to a packet" } else { "" });
                    return Ok(attachment);
                }
                Err(e) => {
                    tracing::debug!(target: "netdev_afxdp", "{} mode: {e}", mode.name());
                    // A queue that is taken is taken in every mode.
                    let taken = e.errno() == libc::EBUSY;
                    last = Some(e);
                    if taken {
                        break;
                    }
                }
            }
        }
        Err(last.expect("there is at least one mode to try"))
    }

    /// Attaches in one mode.
    fn try_mode(&mut self, mode: Mode) -> Result<Attachment, NetdevError> {
        let deadline = monotonic_ns() + self.patience_ns;
        let layout = Layout::needed(self.link, self.info.mtu, &self.options)?;
        let driver = mode != Mode::Generic;
        let index = self.info.index;
        if self
            .program
            .as_ref()
            .is_none_or(|(in_driver, _)| *in_driver != driver)
        {
            self.program = None;
            let program = patiently(deadline, || Program::attach(index, mode))
                .map_err(|e| refused(self.link, "attach XDP program", e))?;
            self.program = Some((driver, program));
        }
        let how = Binding {
            zero_copy: mode == Mode::NativeZeroCopy,
            need_wakeup: self.options.need_wakeup,
            multi_buffer: layout.multi_buffer,
            busy_poll: self.options.busy_poll == Choice::On,
            tx_budget: self.options.tx_budget.unwrap_or(RING_SIZE),
            frame_bytes: layout.frame_bytes,
        };
        let queues = (0..self.options.n_rxq)
            .map(|i| self.queue(i, how, deadline))
            .collect::<Result<Vec<_>, _>>()?;
        let (_, program) = self.program.take().expect("attached above");
        Ok(Attachment {
            program,
            queues,
            options: self.options,
            mode,
            layout,
            ways: Ways {
                partial: self.info.kind == "veth",
                busy_poll: how.busy_poll,
            },
        })
    }

    /// Binds the socket of one queue and has the program feed it.
    fn queue(&mut self, i: u32, how: Binding, deadline_ns: u64) -> Result<Queue, NetdevError> {
        let link = self.link;
        let (rx, tx, place) = self
            .place(how)
            .and_then(|place| {
                let (rx, tx) = patiently(deadline_ns, || rings::open(link.name(), i, how, &place))?;
                Ok((rx, tx, place))
            })
            .map_err(|e| refused(link, "bind AF_XDP socket", e))?;
        let fail = |e| link.error("set up AF_XDP socket", e);
        let statistics = rings::statistics_fd(&rx).map_err(fail)?;
        let (_, program) = self.program.as_mut().expect("attached before its sockets");
        program.set_socket(i, rx.fd()).map_err(fail)?;
        let budget_set = tx.budget_set;
        let borrows = place.region.is_shared();
        let tx = Box::new(TxSide::new(tx, link, self.shared, borrows));
        Ok(Queue {
            rx: Arc::new(Mutex::new(Some(rx))),
            tx: Arc::new(Mutex::new(Some(tx))),
            statistics,
            budget_set,
            place,
            index: self.info.index,
        })
    }

    /// Memory for one queue: shared with other ports when that is wanted. By itself it is not: on the devices tried
    /// it gains nothing (benches/results/afxdp.md).
    fn place(&self, how: Binding) -> io::Result<Arc<Place>> {
        let usual = Binding {
            busy_poll: how.busy_poll,
            tx_budget: how.tx_budget,
            ..Binding::default()
        };
        if self.options.shared_umem == Choice::On {
            if how != usual {
                return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
            }
            let deadline = monotonic_ns() + self.patience_ns;
            return patiently(deadline, || Place::shared(how)).map(Arc::new);
        }
        Place::private(how).map(Arc::new)
    }
}

/// Rx queues of a device; `None` when the kernel does not say.
fn rx_queues(dev: &str) -> Option<u32> {
    let entries = std::fs::read_dir(format!("/sys/class/net/{dev}/queues")).ok()?;
    let names = entries.flatten().map(|e| e.file_name());
    let n = names
        .filter(|n| n.as_encoded_bytes().starts_with(b"rx-"))
        .count();
    u32::try_from(n).ok().filter(|n| *n > 0)
}

/// Names what the kernel's refusal means.
fn refused(link: &Link, op: &'static str, e: io::Error) -> NetdevError {
    let dev = link.name().to_owned();
    match e.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => NetdevError::NoPermission {
            dev,
            op,
            needs: "CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF",
        },
        Some(libc::EBUSY | libc::EEXIST) => {
            // Whoever it is came between our look and our try.
            drop(link.refresh());
            match foreign(link) {
                Some(id) => NetdevError::XdpBusy { dev, id },
                None => NetdevError::Io { dev, op, source: e },
            }
        }
        _ => link.error(op, e),
    }
}

impl Class for Afxdp {
    const PMD: bool = true;

    fn is_pmd(&self) -> bool {
        !self.unpolled
    }

    fn set_config(&self, link: &Link, config: &Config) -> Result<Vec<String>, NetdevError> {
        let (options, unknown) = Options::parse(link.name(), config)?;
        if let Some(n) = rx_queues(link.name()).filter(|n| *n < options.n_rxq) {
            tracing::error!(target: "netdev_afxdp",
                "{}: Too big 'n_rxq' ({}), the device has {n}", link.name(), options.n_rxq);
            return Err(NetdevError::BadOption {
                dev: link.name().to_owned(),
                key: "n_rxq".to_owned(),
                value: options.n_rxq.to_string(),
                expected: format!("at most {n}, as many as the device has"),
            });
        }
        *lock(&self.wanted) = options;
        Ok(unknown)
    }

    fn get_config(&self) -> Config {
        let in_use = lock(&self.attached).as_ref().map(|a| a.mode.name());
        let mut config = lock(&self.wanted).shown();
        if let Some(mode) = in_use {
            config.insert("xdp-mode-in-use".into(), mode.into());
        }
        config
    }

    fn attach(&self, link: &Arc<Link>) -> Result<(), NetdevError> {
        let mut attached = lock(&self.attached);
        *attached = None;
        self.shared.stuck.store(false, Ordering::Relaxed);
        link.refresh()?;
        let info = link.info();
        let options = *lock(&self.wanted);
        Layout::needed(link, info.mtu, &options)?;
        if let Some(id) = foreign(link) {
            return Err(NetdevError::XdpBusy {
                dev: link.name().to_owned(),
                id,
            });
        }
        // Pinned memory is limited for those without CAP_IPC_LOCK; a refusal shows at the UMEM.
        let unlimited = rustix::process::Rlimit {
            current: None,
            maximum: None,
        };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
        let mut attempt = Attempt {
            link,
            patience_ns: patience(info.index),
            info,
            options,
            shared: &self.shared,
            program: None,
        };
        *attached = Some(attempt.best()?);
        link.refresh().map(drop) // hears of our program
    }

    fn wants_attach(&self, link: &Link) -> bool {
        let wanted = *lock(&self.wanted);
        match &*lock(&self.attached) {
            Some(a) => {
                a.options != wanted
                    || detached(link)
                    || Layout::needed(link, link.mtu(), &wanted)
                        .ok()
                        .is_none_or(|layout| layout.exceeds(&a.layout))
                    || self.shared.stuck.load(Ordering::Relaxed)
            }
            None => true,
        }
    }

    fn n_rxq(&self) -> u32 {
        lock(&self.attached)
            .as_ref()
            .map_or_else(|| lock(&self.wanted).n_rxq, |a| a.options.n_rxq)
    }

    fn n_txq(&self) -> u32 {
        self.n_rxq()
    }

    fn request_txq(&self, n: u32) {
        self.senders.store(n, Ordering::Relaxed);
    }

    fn rx_open(&self, link: &Arc<Link>, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        let attached = lock(&self.attached);
        let none = || no_such_queue(link, "open rx queue");
        let a = attached.as_ref().ok_or_else(none)?;
        let slot = &a.queues.get(queue as usize).ok_or_else(none)?.rx;
        match Rx::open(link, a.ways, slot, &self.shared) {
            Some(rx) => Ok(Box::new(rx)),
            None => Err(in_use(link, "open rx queue")),
        }
    }

    /// With a queue for each packet thread, every thread has one to itself; with fewer queues threads share
    /// them. Who finds no queue so (control threads, threads nobody announced) sends by a packet socket:
    /// slower, but it needs no lock and works.
    fn tx_open(&self, link: &Arc<Link>, queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        let attached = lock(&self.attached);
        let a = attached
            .as_ref()
            .ok_or_else(|| no_such_queue(link, "open tx queue"))?;
        let n = a.options.n_rxq;
        let alone = (1..=n).contains(&self.senders.load(Ordering::Relaxed));
        let slot = |i: u32| &a.queues[(i % n) as usize].tx;
        let tx = match (alone, queue) {
            (true, CONTROL_TXQ..) => None,
            (true, _) => (queue..queue + n).find_map(|i| Tx::open(slot(i), true)),
            (false, _) => Tx::open(slot(queue), false),
        };
        match tx {
            Some(tx) => Ok(Box::new(tx)),
            None => Ok(Box::new(SystemTx::open(link)?)),
        }
    }

    fn check_mtu(&self, link: &Link, mtu: u32) -> Result<(), NetdevError> {
        Layout::needed(link, mtu, &lock(&self.wanted)).map(drop)
    }

    fn status(&self, map: &mut BTreeMap<String, String>) {
        if let Some(a) = &*lock(&self.attached) {
            map.insert("xdp-mode".into(), a.mode.name().into());
            map.insert(
                "xdp-zero-copy".into(),
                (a.mode == Mode::NativeZeroCopy).to_string(),
            );
            map.insert("use-need-wakeup".into(), a.options.need_wakeup.to_string());
            map.insert("n_rxq".into(), a.options.n_rxq.to_string());
            map.insert("busy-poll".into(), a.ways.busy_poll.to_string());
            map.insert("multi-buffer".into(), a.layout.multi_buffer.to_string());
            let shared = a.queues.iter().all(|q| q.place.region.is_shared());
            map.insert("shared-umem".into(), shared.to_string());
            map.insert("tx-budget".into(), a.tx_budget().to_string());
        }
    }

    /// The kernel counts packets before its socket may drop them: those drops are added here.
    fn stats(&self, mut stats: Stats) -> Stats {
        let attached = lock(&self.attached);
        let Some(a) = &*attached else {
            return stats;
        };
        let mut lost = 0;
        for (i, queue) in a.queues.iter().enumerate() {
            let Some(s) = sockopt::statistics(queue.statistics.as_raw_fd()) else {
                continue;
            };
            lost += s.rx_dropped + s.rx_ring_full + s.rx_fill_ring_empty_descs;
            for (name, n) in [
                ("rx_dropped", s.rx_dropped),
                ("rx_invalid_descs", s.rx_invalid_descs),
                ("tx_invalid_descs", s.tx_invalid_descs),
                ("rx_ring_full", s.rx_ring_full),
                ("rx_fill_ring_empty_descs", s.rx_fill_ring_empty_descs),
                ("tx_ring_empty_descs", s.tx_ring_empty_descs),
            ] {
                stats.custom.push((format!("xsk_queue_{i}_{name}"), n));
            }
        }
        stats.rx_dropped = stats.rx_dropped.map(|n| n + lost);
        if let Some([redirected, passed]) = a.program.counters() {
            stats.custom.push(("xdp_redirected".into(), redirected));
            stats.custom.push(("xdp_passed".into(), passed));
        }
        let load = |n: &base::sync::AtomicU64| n.load(Ordering::Relaxed);
        stats
            .custom
            .push(("rx_malformed".into(), load(&self.shared.rx_malformed)));
        stats
            .custom
            .push(("tx_device_drops".into(), load(&self.shared.tx_device_drops)));
        stats
    }
}

/// True when somebody took our program off the device. What was heard may be older than the program, so
/// the kernel is asked.
fn detached(link: &Link) -> bool {
    link.xdp_id() == 0 && link.refresh().is_ok() && link.xdp_id() == 0
}

fn in_use(link: &Link, op: &'static str) -> NetdevError {
    link.error(op, io::Error::from_raw_os_error(libc::EBUSY))
}

const _: () = assert!(
    QUEUES_MAX == 64,
    "as many as the map in bpf/xsk_redirect.bpf.c has"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_small_as_the_mtu_allows() {
        let of = |mtu, wish, kernel| {
            Layout::of(mtu, wish, kernel).map(|l| (l.frame_bytes, l.multi_buffer))
        };
        for (wish, kernel) in [
            (Choice::Auto, true),
            (Choice::Auto, false),
            (Choice::Off, true),
        ] {
            assert_eq!(of(1500, wish, kernel), Some((2048, false)));
            assert_eq!(of(1770, wish, kernel), Some((2048, false)));
            assert_eq!(of(1771, wish, kernel), Some((4096, false)));
            assert_eq!(of(3818, wish, kernel), Some((4096, false)));
            assert_eq!(of(u32::MAX, wish, kernel), None);
        }
        for (wish, kernel) in [(Choice::Auto, false), (Choice::Off, true)] {
            assert_eq!(of(3819, wish, kernel), None);
            assert_eq!(Layout::mtu_max(wish, kernel), 3818);
        }
        for (wish, kernel) in [(Choice::Auto, true), (Choice::On, false)] {
            assert_eq!(of(3819, wish, kernel), Some((4096, true)));
            assert_eq!(of(MTU_MAX, wish, kernel), Some((4096, true)));
            assert_eq!(Layout::mtu_max(wish, kernel), MTU_MAX);
        }
        assert_eq!(of(1500, Choice::On, true), Some((4096, true)));
    }
}
