//! One AF_XDP socket with its UMEM, as two halves: [`RxRing`] (rx and fill ring) and [`TxRing`] (tx and
//! completion ring). The only file that talks to `xsk-rs`.
//!
//! A frame of the UMEM is named by its index. Who owns it is kept by construction: indices below
//! `RX_FRAMES` are, at any time, in exactly one of the rx half's free list, the fill ring, the kernel, the
//! rx ring or a [`Frame`]; the others in one of the tx half's free list, the tx ring, the kernel or the
//! completion ring. `xsk-rs` cannot see that (its descriptors are plain copies), hence the unsafe calls.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: ring operations and frame memory are unsafe because descriptors do not own their frames.

use super::pool::UmemPool;
use super::{RING_SIZE, RX_FRAMES, TX_FRAMES, XDP_HEADROOM};
use base::sync::Arc;
use packet::{BATCH_MAX, Batch, Frame, FrameParts, PoolOwner};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

const SOL_XDP: i32 = 283;
const XDP_STATISTICS: i32 = 7;
/// `XDP_MAX_TX_SKB_BUDGET`: packets one wakeup may send in copy mode (kernel 6.17; 32 before).
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// How to bind a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding {
    pub(super) zero_copy: bool,
    pub(super) need_wakeup: bool,
    /// 2048 or 4096.
    pub(super) frame_bytes: u32,
}

/// `struct xdp_statistics`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct XdpStatistics {
    pub(super) rx_dropped: u64,
    pub(super) rx_invalid_descs: u64,
    pub(super) tx_invalid_descs: u64,
    pub(super) rx_ring_full: u64,
    pub(super) rx_fill_ring_empty_descs: u64,
    pub(super) tx_ring_empty_descs: u64,
}

/// The receiving half of a socket.
pub(super) struct RxRing {
    rx: RxQueue,
    fill: FillQueue,
    pool: PoolOwner<UmemPool>,
    /// First byte of the UMEM.
    base: NonNull<u8>,
    frame_bytes: u32,
    descs: Arc<[FrameDesc]>,
    free: Vec<u32>,
    scratch: [FrameDesc; BATCH_MAX],
    /// The last descriptor belonged to a packet that goes on in the next one.
    in_chain: bool,
    /// Packets of several buffers, or with a length that cannot be.
    pub(super) malformed: u64,
}

// SAFETY: `base` points into the UMEM, which `pool` keeps mapped and which is no thread's property.
unsafe impl Send for RxRing {}

impl std::fmt::Debug for RxRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RxRing")
            .field("free", &self.free.len())
            .finish_non_exhaustive()
    }
}

/// The sending half of a socket.
pub(super) struct TxRing {
    tx: TxQueue,
    completion: CompQueue,
    umem: Umem,
    frame_bytes: u32,
    descs: Arc<[FrameDesc]>,
    free: Vec<u32>,
    scratch: [FrameDesc; BATCH_MAX],
    /// Descriptors in `scratch` that are not in the ring yet.
    pending: usize,
    need_wakeup: bool,
    zero_copy: bool,
}

impl std::fmt::Debug for TxRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxRing")
            .field("free", &self.free.len())
            .finish_non_exhaustive()
    }
}

/// The kernel's errno behind a failure of the library.
fn cause(e: &(dyn std::error::Error + 'static)) -> io::Error {
    let code = e
        .source()
        .and_then(|s| s.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    code.map_or_else(
        || io::Error::other(e.to_string()),
        io::Error::from_raw_os_error,
    )
}

/// Makes a UMEM and a socket bound to a device's queue. The thread must be in the device's network
/// namespace.
///
/// # Errors
/// The kernel's: EBUSY while an earlier socket of the queue is not gone yet, EOPNOTSUPP when the mode
/// cannot be had, EINVAL when the queue does not exist, EPERM.
pub(super) fn open(device: &str, queue: u32, how: Binding) -> io::Result<(RxRing, TxRing)> {
    let size = RING_SIZE.try_into().map_err(|e| cause(&e))?;
    let umem_config = UmemConfig::builder()
        .frame_size(how.frame_bytes.try_into().map_err(|e| cause(&e))?)
        .fill_queue_size(size)
        .comp_queue_size(size)
        .build()
        .map_err(|e| cause(&e))?;
    let frames = NonZeroU32::new(RX_FRAMES + TX_FRAMES).ok_or(io::ErrorKind::InvalidInput)?;
    let (umem, descs) = Umem::new(umem_config, frames, false).map_err(|e| cause(&e))?;
    let mut flags = if how.zero_copy {
        BindFlags::XDP_ZEROCOPY
    } else {
        BindFlags::XDP_COPY
    };
    if how.need_wakeup {
        flags |= BindFlags::XDP_USE_NEED_WAKEUP;
    }
    let config = SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        .bind_flags(flags)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .build();
    let interface: Interface = device.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the UMEM was made just above and is shared with no other socket.
    let made = unsafe { Socket::new(config, &umem, &interface, queue) };
    let (tx, rx, rings) = made.map_err(|e| cause(&e))?;
    let (fill, completion) = rings.ok_or(io::ErrorKind::AlreadyExists)?;
    set_tx_budget(tx.fd().as_raw_fd());
    let first = descs.first().ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is of this UMEM, and nobody else has a frame of it yet.
    let data = unsafe { umem.data(first) };
    let base = data
        .contents()
        .as_ptr()
        .wrapping_sub(first.addr())
        .cast_mut();
    let base = NonNull::new(base).ok_or(io::ErrorKind::InvalidInput)?;
    let descs: Arc<[FrameDesc]> = descs.into();
    let mut rx = RxRing {
        rx,
        fill,
        pool: PoolOwner::new(UmemPool::new(umem.clone(), RX_FRAMES)),
        base,
        frame_bytes: how.frame_bytes,
        descs: Arc::clone(&descs),
        free: (0..RX_FRAMES).collect(),
        scratch: [FrameDesc::default(); BATCH_MAX],
        in_chain: false,
        malformed: 0,
    };
    rx.refill();
    let tx = TxRing {
        tx,
        completion,
        umem,
        frame_bytes: how.frame_bytes,
        descs,
        free: (RX_FRAMES..RX_FRAMES + TX_FRAMES).collect(),
        scratch: [FrameDesc::default(); BATCH_MAX],
        pending: 0,
        need_wakeup: how.need_wakeup,
        zero_copy: how.zero_copy,
    };
    Ok((rx, tx))
}

/// Lets one wakeup send a whole ring. Old kernels do not know the option; then it takes more wakeups.
fn set_tx_budget(fd: RawFd) {
    let budget = RING_SIZE;
    let at = (&raw const budget).cast();
    // SAFETY: the kernel reads four bytes of a live u32.
    let rc = unsafe { libc::setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, at, 4) };
    if rc < 0 {
        tracing::debug!(target: "netdev_afxdp", "the kernel sends at most 32 packets per wakeup");
    }
}

/// A second descriptor of a socket, to ask for statistics. It must be dropped before the queue can be
/// bound again.
pub(super) fn statistics_fd(ring: &RxRing) -> io::Result<OwnedFd> {
    // SAFETY: the ring's socket is open as long as the ring is borrowed.
    unsafe { BorrowedFd::borrow_raw(ring.fd()) }.try_clone_to_owned()
}

/// The kernel's counters of a socket.
pub(super) fn statistics(fd: RawFd) -> Option<XdpStatistics> {
    let mut stats = XdpStatistics::default();
    let mut len = size_of::<XdpStatistics>() as libc::socklen_t;
    let at = (&raw mut stats).cast();
    // SAFETY: the kernel writes at most `len` bytes into a live struct of that size.
    let rc = unsafe { libc::getsockopt(fd, SOL_XDP, XDP_STATISTICS, at, &raw mut len) };
    (rc == 0).then_some(stats)
}

impl RxRing {
    pub(super) fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// True when packets wait.
    pub(super) fn waiting(&mut self) -> bool {
        self.rx.nb_avail(1) > 0
    }

    /// Gives the kernel all the frames it can take.
    pub(super) fn refill(&mut self) {
        self.pool.take_home(&mut self.free);
        while !self.free.is_empty() {
            let from = self.free.len().saturating_sub(BATCH_MAX);
            let want = (self.free.len() - from) as u32;
            if self.fill.nb_free(want) < want {
                return;
            }
            let mut chunk = [FrameDesc::default(); BATCH_MAX];
            for (desc, &i) in chunk.iter_mut().zip(&self.free[from..]) {
                *desc = self.descs[i as usize];
            }
            // SAFETY: the frames are of this UMEM and, being in the free list, nobody's.
            let taken = unsafe { self.fill.produce(&chunk[..want as usize]) };
            // Either all or none are taken.
            if taken == 0 {
                return;
            }
            self.free.truncate(from);
        }
    }

    /// Tells a zero-copy driver that it has frames again, if it waits for that.
    pub(super) fn wake(&mut self) {
        if self.fill.needs_wakeup() {
            // A poll without waiting: the kernel's way to kick its receive side. Its result says nothing.
            drop(self.rx.poll(0));
        }
    }

    /// Moves received packets to the batch; returns how many.
    #[inline]
    pub(super) fn receive(&mut self, batch: &mut Batch) -> usize {
        let room = batch.room();
        // SAFETY: descriptors come from this socket's ring; what they name becomes frames exactly once.
        let n = unsafe { self.rx.consume(&mut self.scratch[..room]) };
        let mut good = 0;
        for i in 0..n {
            let desc = self.scratch[i];
            match self.frame(&desc) {
                // The batch has room for all that were asked for.
                Some(frame) => good += usize::from(batch.push(frame).is_ok()),
                None => self.malformed += 1,
            }
        }
        self.pool.handed_out(good as u64);
        good
    }

    /// Makes a frame of a received descriptor; a malformed one goes back to the free list.
    #[inline]
    fn frame(&mut self, desc: &FrameDesc) -> Option<Frame> {
        let (addr, len) = (desc.addr(), desc.lengths().data());
        let index = addr as u64 / u64::from(self.frame_bytes);
        let start = addr % self.frame_bytes as usize;
        let more = desc.has_more_frames();
        let part = std::mem::replace(&mut self.in_chain, more) || more;
        if index >= u64::from(RX_FRAMES) {
            return None; // not ours to give back
        }
        if part || start + len > self.frame_bytes as usize || len < 14 {
            self.free.push(index as u32);
            return None;
        }
        let offset = index as usize * self.frame_bytes as usize;
        // SAFETY: the offset was checked to be inside the UMEM.
        let base = unsafe { self.base.add(offset) };
        prefetch(base, start);
        // SAFETY: the frame left the kernel's hands with this descriptor and is in no list; start + len is
        // inside it; receive() counts it as handed out before anybody can release it.
        Some(unsafe {
            Frame::from_parts(FrameParts {
                base,
                capacity: self.frame_bytes,
                start: start as u32,
                len: len as u32,
                token: index,
                pool: self.pool.ptr(),
            })
        })
    }
}

/// Starts loading a frame's headers.
#[inline]
fn prefetch(base: NonNull<u8>, start: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = base.as_ptr().wrapping_add(start).cast();
        // SAFETY: prefetching has no effect on memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (base, start);
}

/// What came of a wakeup.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kick {
    /// Packets the device dropped after the kernel took them.
    pub(super) dropped: u64,
    /// The ring still holds packets.
    pub(super) unfinished: bool,
}

impl TxRing {
    /// Largest packet, bytes.
    #[inline]
    pub(super) fn room(&self) -> usize {
        (self.frame_bytes - XDP_HEADROOM) as usize
    }

    /// Frames that can be sent without waiting.
    #[inline]
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Takes back frames that were sent; returns how many.
    pub(super) fn reap(&mut self) -> usize {
        let mut done = [FrameDesc::default(); 64];
        let mut total = 0;
        loop {
            // SAFETY: descriptors come from this socket's ring and are taken for what they are: indices.
            let n = unsafe { self.completion.consume(&mut done) };
            for desc in &done[..n] {
                self.free.push(desc.addr() as u32 / self.frame_bytes);
            }
            total += n;
            if n < done.len() {
                return total;
            }
        }
    }

    /// Copies a packet into a tx frame; false when none is free. [`TxRing::submit`] makes it go.
    #[inline]
    pub(super) fn copy(&mut self, packet: &[u8]) -> bool {
        if self.pending == BATCH_MAX {
            self.submit();
        }
        debug_assert!(packet.len() <= self.room());
        let Some(index) = self.free.pop() else {
            return false;
        };
        let desc = &mut self.scratch[self.pending];
        *desc = self.descs[index as usize];
        // SAFETY: the frame is of this UMEM and, coming from the free list, nobody's.
        let mut data = unsafe { self.umem.data_mut(desc) };
        data.cursor().set_pos(packet.len());
        data.contents_mut().copy_from_slice(packet);
        self.pending += 1;
        true
    }

    /// Puts copied packets into the ring. It has as many entries as there are tx frames, so they fit.
    #[inline]
    pub(super) fn submit(&mut self) {
        if self.pending == 0 {
            return;
        }
        // SAFETY: the frames are of this UMEM, left the free list in copy() and are not touched until they
        // come back by the completion ring.
        let n = unsafe { self.tx.produce(&self.scratch[..self.pending]) };
        debug_assert_eq!(n, self.pending);
        self.pending = 0;
    }

    /// Has the kernel send what is in the ring, unless it does so by itself.
    pub(super) fn kick(&mut self) -> Kick {
        let mut kick = Kick::default();
        if self.need_wakeup && !self.tx.needs_wakeup() {
            return kick;
        }
        // Each round sends up to the budget, or ends at a packet that the device dropped.
        let mut waiting = self.waiting();
        while waiting > 0 {
            if self.wakeup() == Err(libc::EBUSY) {
                kick.dropped += 1;
            }
            let before = std::mem::replace(&mut waiting, self.waiting());
            // A zero-copy driver works on by itself; a full device queue has to drain first.
            if self.zero_copy || waiting >= before {
                break;
            }
        }
        kick.unfinished = waiting > 0;
        kick
    }

    /// Packets in the ring that the kernel has not taken.
    fn waiting(&mut self) -> u32 {
        RING_SIZE - self.tx.nb_free_exact()
    }

    fn wakeup(&self) -> Result<(), i32> {
        let (fd, flags) = (self.tx.fd().as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: a send without data and address touches no memory of ours.
        let rc = unsafe { libc::sendto(fd, std::ptr::null(), 0, flags, std::ptr::null(), 0) };
        if rc < 0 {
            Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
        } else {
            Ok(())
        }
    }
}
