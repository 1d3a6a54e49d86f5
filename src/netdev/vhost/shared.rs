//! What a port's device, its queues and its connection share.
//!
//! Packet threads read the atomics and take a ring's lock for a burst. [`Control`] is for control threads:
//! it is held while messages are carried out (mapping memory takes its time) and never by packet threads.

use super::call::Caller;
use super::features::Features;
use super::memory::GuestMemory;
use super::ring::Fault;
use super::transmit::Limits;
use super::vring::{State, Vring};
use super::{PAIRS_MAX, RETRIES};
use crate::device::TxReport;
use crate::qos::PortQos;
use base::sync::{
    Arc, AtomicBool, AtomicU32, AtomicU64, Counter, Mutex, MutexGuard, OnceLock, Ordering, lock,
};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Wakes the main loop when any port changed.
static CHANGED: OnceLock<Option<OwnedFd>> = OnceLock::new();

fn changed_event() -> Option<&'static OwnedFd> {
    let make = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
    CHANGED.get_or_init(make).as_ref()
}

/// Readable when a port changed.
pub(super) fn changes_fd() -> Option<RawFd> {
    changed_event().map(AsRawFd::as_raw_fd)
}

/// Makes [`changes_fd`] wait for the next change.
pub(super) fn changes_seen() {
    if let Some(event) = changed_event() {
        let _ = rustix::io::read(event, &mut [0; 8]);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    /// We connect to the guest's socket; else it connects to ours.
    pub(super) client: bool,
    /// Even: into the guest. Odd: out of it.
    pub(super) vrings: Box<[Vring]>,
    pub(super) caller: Caller,
    pub(super) mtu: AtomicU32,
    pub(super) retries: AtomicU32,
    pub(super) up: AtomicBool,
    /// Pairs whose ring into the guest runs.
    pub(super) into_guest: AtomicU64,
    /// Pairs that the guest has ever used: rx queues that the port should have.
    pub(super) pairs: AtomicU32,
    pub(super) drops: Drops,
    pub(super) qos: PortQos,
    carrier: AtomicBool,
    carrier_resets: AtomicU64,
    change_seq: AtomicU64,
    links: Mutex<()>,
    control: Mutex<Control>,
}

/// Packets for the guest that it did not get. Several threads count.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub(super) full: Counter,
    pub(super) too_big: Counter,
    pub(super) error: Counter,
}

impl Drops {
    #[inline]
    pub(super) fn count(&self, r: &TxReport) {
        if r.full + r.too_big + r.error > 0 {
            self.full.add_shared(u64::from(r.full));
            self.too_big.add_shared(u64::from(r.too_big));
            self.error.add_shared(u64::from(r.error));
        }
    }
    pub(super) fn all(&self) -> u64 {
        self.full.get() + self.too_big.get() + self.error.get()
    }
}

/// What the connection's thread and the main thread do to a port.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Moves when the connection's thread is to end; who finds another number than its own does nothing.
    pub(super) generation: u64,
    pub(super) path: Option<PathBuf>,
    /// The connection, to be shut down from outside.
    pub(super) socket: Option<UnixStream>,
    pub(super) features: Features,
    pub(super) protocol: u64,
    pub(super) memory: Arc<GuestMemory>,
    /// What the guest was told its MTU is.
    pub(super) peer_mtu: Option<u16>,
    /// The guest has been announced in the log.
    pub(super) announced: bool,
    pub(super) numa: Option<u32>,
}

impl Shared {
    pub(super) fn new(name: &str, client: bool, mtu: u32) -> std::io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            client,
            vrings: (0..2 * PAIRS_MAX).map(|_| Vring::default()).collect(),
            caller: Caller::new()?,
            mtu: AtomicU32::new(mtu),
            retries: AtomicU32::new(RETRIES.1),
            up: AtomicBool::new(true),
            into_guest: AtomicU64::new(0),
            pairs: AtomicU32::new(1),
            drops: Drops::default(),
            qos: PortQos::default(),
            carrier: AtomicBool::new(false),
            carrier_resets: AtomicU64::new(0),
            change_seq: AtomicU64::new(1),
            links: Mutex::new(()),
            control: Mutex::default(),
        })
    }

    /// For control threads.
    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        lock(&self.control)
    }
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
    pub(super) fn limits(&self) -> Limits {
        Limits {
            mtu: self.mtu.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }
    pub(super) fn carrier(&self) -> bool {
        self.carrier.load(Ordering::Relaxed)
    }
    pub(super) fn carrier_resets(&self) -> u64 {
        self.carrier_resets.load(Ordering::Relaxed)
    }
    pub(super) fn change_seq(&self) -> u64 {
        self.change_seq.load(Ordering::Acquire) // pairs with the Release in changed()
    }

    /// Something that can be asked about changed.
    pub(super) fn changed(&self) {
        self.change_seq.fetch_add(1, Ordering::Release); // pairs with the Acquire in change_seq()
        if let Some(event) = changed_event() {
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    /// Sees which rings run, and tells.
    pub(super) fn relink(&self) {
        {
            let _one = lock(&self.links);
            let running = self.vrings.iter().step_by(2).map(Vring::is_running);
            let mask = running
                .enumerate()
                .fold(0, |mask, (i, on)| mask | u64::from(on) << i);
            self.into_guest.store(mask, Ordering::Relaxed);
            let up = self.vrings.iter().any(Vring::is_running);
            if self.carrier.swap(up, Ordering::Relaxed) != up {
                self.carrier_resets.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.changed();
    }

    /// Stops a ring whose guest misbehaved. The other ports, and this one's other rings, go on.
    #[cold]
    pub(super) fn fail(&self, index: usize, state: &mut State, fault: Fault) {
        self.vrings[index].fail(state, fault);
        self.relink();
        base::log_rl!(
            FAULTS,
            WARN,
            "netdev_dpdk",
            "{}: ring {} stopped: {}",
            self.name,
            index,
            fault
        );
    }

    /// What is wrong with the rings, if anything.
    pub(super) fn fault_text(&self) -> Option<String> {
        self.vrings.iter().enumerate().find_map(|(i, vring)| {
            let state = vring.lock();
            if let Some(fault) = state.fault {
                return Some(format!("ring {i} stopped: {fault}"));
            }
            let text = || format!("ring {i} cannot start: it is not in the guest's memory");
            state.misplaced.then(text)
        })
    }
}

static FAULTS: base::log::RateLimit = base::log::RateLimit::new(1, 5);
