//! Packets for controllers, handed from handler threads to the main thread.
//!
//! Bounds: [`WAITING_MAX`] packets wait; further ones are lost, as at any full queue to a controller, and counted.

use base::sync::{AtomicU64, Mutex, Ordering, lock};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use udpif::world::{PacketIn, Sink};

/// Packets that wait for the main thread.
const WAITING_MAX: usize = 4096;

/// The queue.
#[derive(Debug)]
pub(crate) struct PacketIns {
    waiting: Mutex<VecDeque<PacketIn>>,
    lost: AtomicU64,
    wake: UnixStream,
    woken: UnixStream,
}

impl PacketIns {
    /// An empty queue.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub(crate) fn new() -> std::io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok(Self {
            waiting: Mutex::default(),
            lost: AtomicU64::new(0),
            wake,
            woken,
        })
    }

    /// Everything that waits.
    pub(crate) fn take(&self) -> VecDeque<PacketIn> {
        let mut buf = [0; 64];
        while matches!((&self.woken).read(&mut buf), Ok(n) if n > 0) {}
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.waiting).is_empty()
    }

    /// Readable while something waits.
    pub(crate) fn fd(&self) -> RawFd {
        self.woken.as_raw_fd()
    }

    /// Packets lost because too many waited.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Sink for PacketIns {
    fn packet_in(&self, packet: PacketIn) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= WAITING_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push_back(packet);
        if waiting.len() == 1 {
            // Full means that it is readable already.
            drop((&self.wake).write(&[1]));
        }
    }
}
