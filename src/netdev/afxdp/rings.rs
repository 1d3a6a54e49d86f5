//! One AF_XDP socket with its UMEM, as two halves: [`RxRing`] (rx and fill ring) and [`TxRing`] (tx and
//! completion ring). The only file that talks to `xsk-rs`.
//!
//! A frame is named by its number in its place of the region, or (by the tx half) in the region. Who owns it is
//! kept by construction: of a place, the numbers below `RX_FRAMES` are, at any time, in exactly one of the rx
//! half's free list, the fill ring, the kernel, the rx ring, a [`Frame`], or (borrowed from one) a tx half's tx
//! ring, its kernel side and its completion ring; the others in one of the tx half's free list, the tx ring, the
//! kernel or the completion ring. `xsk-rs` cannot see that (its descriptors are plain copies), hence the unsafe
//! calls.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: ring operations and frame memory are unsafe because descriptors do not own their frames.

use super::gather::{Gather, PACKET_MIN, PARTS_MAX, Part, Step};
use super::lent::Lent;
use super::memory::{PLACE_FRAMES, Place};
use super::pool::UmemPool;
use super::sockopt;
use super::{RING_SIZE, RX_FRAMES, TX_FRAMES, XDP_HEADROOM};
use arrayvec::ArrayVec;
use base::sync::Arc;
use packet::{BATCH_MAX, Batch, Frame, FrameParts, PoolOwner};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

/// `XDP_PKT_CONTD`: the packet goes on in the next descriptor.
const XDP_PKT_CONTD: u32 = 1;

/// How to bind a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) zero_copy: bool,
    pub(super) need_wakeup: bool,
    /// Packets may span several frames.
    pub(super) multi_buffer: bool,
    /// [`RxRing::busy_poll`] is going to be called.
    pub(super) busy_poll: bool,
    /// Descriptors one wakeup may send in copy mode.
    pub(super) tx_budget: u32,
    /// 2048 or 4096.
    pub(super) frame_bytes: u32,
}

impl Default for Binding {
    /// What most ports want.
    fn default() -> Self {
        Self {
            zero_copy: false,
            need_wakeup: true,
            multi_buffer: false,
            busy_poll: false,
            tx_budget: RING_SIZE,
            frame_bytes: 2048,
        }
    }
}

/// A bound socket to which no packet is ever redirected.
pub(super) type Anchor = (TxQueue, RxQueue, FillQueue, CompQueue);

/// The receiving half of a socket.
pub(super) struct RxRing {
    rx: RxQueue,
    fill: FillQueue,
    pool: PoolOwner<UmemPool>,
    /// First byte of the place.
    base: NonNull<u8>,
    frame_bytes: u32,
    /// The region's, and the number of the place's first frame in it. All other numbers count from there.
    descs: Arc<[FrameDesc]>,
    first: u32,
    free: Vec<u32>,
    scratch: [FrameDesc; BATCH_MAX],
    /// The packet of several frames that is coming in.
    gather: Gather,
    /// Packets of too many frames, or with a length that cannot be.
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
    /// Dropped after the socket: nobody sends from there any more.
    lent: Lent,
    place: Arc<Place>,
    /// First byte of the region.
    base: NonNull<u8>,
    /// Frames by their numbers in the region.
    free: Vec<u32>,
    scratch: [FrameDesc; BATCH_MAX],
    /// Descriptors in `scratch` that are not in the ring yet.
    pending: usize,
    need_wakeup: bool,
    zero_copy: bool,
    /// Frames a packet may span.
    parts_max: usize,
    /// One wakeup may send as much as was asked for, and not the kernel's 32 descriptors.
    pub(super) budget_set: bool,
}

// SAFETY: `base` points into the UMEM, which `place` keeps mapped and which is no thread's property.
unsafe impl Send for TxRing {}

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

/// Makes a UMEM; also returns its frames.
pub(super) fn umem(frame_bytes: u32, frames: u32) -> io::Result<(Umem, Vec<FrameDesc>)> {
    let size = RING_SIZE.try_into().map_err(|e| cause(&e))?;
    let config = UmemConfig::builder()
        .frame_size(frame_bytes.try_into().map_err(|e| cause(&e))?)
        .fill_queue_size(size)
        .comp_queue_size(size)
        .build()
        .map_err(|e| cause(&e))?;
    let frames = NonZeroU32::new(frames).ok_or(io::ErrorKind::InvalidInput)?;
    Umem::new(config, frames, false).map_err(|e| cause(&e))
}

/// Binds a socket to a device's queue. The thread must be in the device's network namespace. A UMEM that has a
/// socket already passes that one's flags on.
pub(super) fn bind(umem: &Umem, device: &str, queue: u32, how: Binding) -> io::Result<Anchor> {
    let size = RING_SIZE.try_into().map_err(|e| cause(&e))?;
    let mut flags = if how.zero_copy {
        BindFlags::XDP_ZEROCOPY
    } else {
        BindFlags::XDP_COPY
    };
    if how.need_wakeup {
        flags |= BindFlags::XDP_USE_NEED_WAKEUP;
    }
    if how.multi_buffer {
        flags |= BindFlags::XDP_USE_SG;
    }
    let config = SocketConfig::builder()
        .rx_queue_size(size)
        .tx_queue_size(size)
        .bind_flags(flags)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .build();
    let interface: Interface = device.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the library loads no program, which is all that has to be so for sockets that share a UMEM.
    let made = unsafe { Socket::new(config, umem, &interface, queue) };
    let (tx, rx, rings) = made.map_err(|e| cause(&e))?;
    // None when a socket of that queue over this UMEM is there already.
    let (fill, completion) = rings.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
    Ok((tx, rx, fill, completion))
}

/// Makes a socket bound to a device's queue, over a place of a region. The thread must be in the device's network
/// namespace.
///
/// # Errors
/// The kernel's: EBUSY while an earlier socket of the queue is not gone yet, EOPNOTSUPP when the mode
/// cannot be had, EINVAL when the queue does not exist, EPERM.
pub(super) fn open(
    device: &str,
    queue: u32,
    how: Binding,
    place: &Arc<Place>,
) -> io::Result<(RxRing, TxRing)> {
    let region = &place.region;
    let (tx, rx, fill, completion) = bind(&region.umem, device, queue, how)?;
    let fd = tx.fd().as_raw_fd();
    let budget_set = sockopt::set_tx_budget(fd, how.tx_budget);
    if how.busy_poll {
        sockopt::prefer_busy_poll(fd)?;
    }
    if !how.zero_copy {
        sockopt::widen_send_buffer(fd);
    }
    let desc = region.descs.first().ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is of this UMEM; no byte of the data is looked at.
    let data = unsafe { region.umem.data(desc) };
    let base = data.contents().as_ptr().wrapping_sub(desc.addr());
    let base = NonNull::new(base.cast_mut()).ok_or(io::ErrorKind::InvalidInput)?;
    let first = place.first();
    let mut rx = RxRing {
        rx,
        fill,
        pool: PoolOwner::new(UmemPool::new(Arc::clone(place), RX_FRAMES)),
        // SAFETY: places lie inside the region.
        base: unsafe { base.add(first as usize * how.frame_bytes as usize) },
        frame_bytes: how.frame_bytes,
        descs: Arc::clone(&region.descs),
        first,
        free: (0..RX_FRAMES).collect(),
        scratch: [FrameDesc::default(); BATCH_MAX],
        gather: Gather::default(),
        malformed: 0,
    };
    rx.refill();
    let tx = TxRing {
        tx,
        completion,
        lent: Lent::new(region.descs.len()),
        place: Arc::clone(place),
        base,
        free: (first + RX_FRAMES..first + PLACE_FRAMES).collect(),
        scratch: [FrameDesc::default(); BATCH_MAX],
        pending: 0,
        need_wakeup: how.need_wakeup,
        zero_copy: how.zero_copy,
        parts_max: if how.multi_buffer { PARTS_MAX } else { 1 },
        budget_set,
    };
    Ok((rx, tx))
}

/// A second descriptor of a socket, to ask for statistics. It must be dropped before the queue can be
/// bound again.
pub(super) fn statistics_fd(ring: &RxRing) -> io::Result<OwnedFd> {
    // SAFETY: the ring's socket is open as long as the ring is borrowed.
    unsafe { BorrowedFd::borrow_raw(ring.fd()) }.try_clone_to_owned()
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
                *desc = self.descs[(self.first + i) as usize];
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

    /// Runs the device's receive side on this thread. The socket must have been bound for that.
    pub(super) fn busy_poll(&self) {
        sockopt::busy_poll(self.fd());
    }

    /// Moves received packets to the batch; returns how many.
    #[inline]
    pub(super) fn receive(&mut self, batch: &mut Batch) -> usize {
        let room = batch.room();
        // SAFETY: descriptors come from this socket's ring; what they name becomes frames exactly once.
        let n = unsafe { self.rx.consume(&mut self.scratch[..room]) };
        let (mut good, mut own) = (0, 0);
        for i in 0..n {
            let desc = self.scratch[i];
            let frame = if desc.has_more_frames() || self.gather.is_open() {
                self.piece(&desc)
            } else {
                let frame = self.frame(&desc);
                own += u64::from(frame.is_some());
                self.malformed += u64::from(frame.is_none());
                frame
            };
            // The batch has room for all that were asked for.
            good += usize::from(frame.is_some_and(|f| batch.push(f).is_ok()));
        }
        self.pool.handed_out(own);
        good
    }

    /// The chunk that a descriptor names, and whether its data lies inside; `None` when it is none of ours.
    #[inline]
    fn part(&self, desc: &FrameDesc) -> Option<(Part, bool)> {
        let (addr, len) = (desc.addr(), desc.lengths().data());
        let index = (addr as u64 / u64::from(self.frame_bytes)).checked_sub(self.first.into())?;
        let start = addr % self.frame_bytes as usize;
        if index >= u64::from(RX_FRAMES) {
            return None; // not ours to give back
        }
        let part = Part {
            chunk: index as u32,
            start: start as u32,
            len: len as u32,
            more: desc.has_more_frames(),
        };
        Some((part, start + len <= self.frame_bytes as usize))
    }

    /// First byte of a chunk below `RX_FRAMES`.
    #[inline]
    fn chunk(&self, index: u32) -> NonNull<u8> {
        let offset = index as usize * self.frame_bytes as usize;
        debug_assert!(index < RX_FRAMES);
        // SAFETY: chunks below RX_FRAMES lie inside the place.
        unsafe { self.base.add(offset) }
    }

    /// Takes a piece of a packet of several frames; the last one makes a frame of them.
    #[cold]
    fn piece(&mut self, desc: &FrameDesc) -> Option<Frame> {
        let step = match self.part(desc) {
            Some((part, good)) => self.gather.push(part, good, &mut self.free),
            None => {
                let more = desc.has_more_frames();
                self.gather.push_stranger(more, &mut self.free)
            }
        };
        if step == Step::Lost {
            self.malformed += 1;
        }
        if step != Step::Whole {
            return None;
        }
        let mut gather = std::mem::take(&mut self.gather);
        let mut free = std::mem::take(&mut self.free);
        let frame = gather.finish(&mut free, |part| {
            let base = self.chunk(part.chunk).as_ptr();
            // SAFETY: start + len was found to be inside the chunk.
            let first = unsafe { base.add(part.start as usize) };
            // SAFETY: as above; the chunk left the kernel's hands with its descriptor and is in no list.
            unsafe { std::slice::from_raw_parts(first, part.len as usize) }
        });
        self.free = free;
        Some(frame)
    }

    /// Makes a frame of a received descriptor; a malformed one goes back to the free list.
    #[inline]
    fn frame(&mut self, desc: &FrameDesc) -> Option<Frame> {
        let (part, inside) = self.part(desc)?;
        if !inside || (part.len as usize) < PACKET_MIN {
            self.free.push(part.chunk);
            return None;
        }
        let base = self.chunk(part.chunk);
        prefetch(base, part.start as usize);
        // SAFETY: the frame left the kernel's hands with this descriptor and is in no list; start + len is
        // inside it; receive() counts it as handed out before anybody can release it.
        Some(unsafe {
            Frame::from_parts(FrameParts {
                base,
                capacity: self.frame_bytes,
                start: part.start,
                len: part.len,
                token: u64::from(part.chunk),
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

const _: () = assert!(
    TX_FRAMES == RING_SIZE,
    "an entry of the tx ring for every tx frame, see TxRing::free"
);

/// What came of a wakeup.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kick {
    /// Packets the device dropped after the kernel took them.
    pub(super) dropped: u64,
    /// The ring still holds packets.
    pub(super) unfinished: bool,
}

impl TxRing {
    /// Bytes of a packet that one frame holds.
    #[inline]
    fn frame_room(&self) -> usize {
        (self.place.region.frame_bytes - XDP_HEADROOM) as usize
    }

    /// Largest packet, bytes.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.frame_room() * self.parts_max
    }

    /// Frames that a packet of `len` bytes takes.
    #[inline]
    pub(super) fn frames_for(&self, len: usize) -> usize {
        if len <= self.frame_room() {
            1
        } else {
            len.div_ceil(self.frame_room())
        }
    }

    /// Frames that can be sent without waiting. Each takes an entry of the ring, of which there are as many as tx
    /// frames; what is borrowed takes one too.
    #[inline]
    pub(super) fn free(&self) -> usize {
        self.free.len().saturating_sub(self.lent.count())
    }

    /// Takes back frames that were sent; returns how many.
    pub(super) fn reap(&mut self) -> usize {
        let mut done = [FrameDesc::default(); 64];
        let own = self.place.first() + RX_FRAMES..self.place.first() + PLACE_FRAMES;
        let frame_bytes = self.place.region.frame_bytes;
        let mut others = ArrayVec::<u32, 64>::new();
        let mut total = 0;
        loop {
            // SAFETY: descriptors come from this socket's ring and are taken for what they are: numbers.
            let n = unsafe { self.completion.consume(&mut done) };
            for desc in &done[..n] {
                let frame = desc.addr() as u32 / frame_bytes;
                if own.contains(&frame) {
                    self.free.push(frame);
                } else {
                    others.push(frame);
                }
            }
            if !others.is_empty() {
                self.lent.back(&others);
                others.clear();
            }
            total += n;
            if n < done.len() {
                return total;
            }
        }
    }

    /// Can the frame be sent from where it lies? It has to be in this region, as it came (the library's
    /// descriptors know one beginning for each frame), and the ring must have room.
    #[inline]
    pub(super) fn may_borrow(&self, frame: &Frame) -> bool {
        let data = frame.data().as_ptr().addr();
        let offset = data.wrapping_sub(self.base.as_ptr().addr());
        let region = &self.place.region;
        let frame_bytes = region.frame_bytes as usize;
        offset < region.descs.len() * frame_bytes
            && offset % frame_bytes == XDP_HEADROOM as usize
            && self.free() > 0
            && self.lent.has_room()
    }

    /// Sends a frame from where it lies. [`TxRing::may_borrow`] said yes; [`TxRing::submit`] makes it go.
    #[inline]
    pub(super) fn borrow(&mut self, frame: Frame) {
        if self.pending == BATCH_MAX {
            self.submit();
        }
        let region = &self.place.region;
        let (data, len) = (frame.data().as_ptr().addr(), frame.len());
        let offset = data.wrapping_sub(self.base.as_ptr().addr());
        let number = offset as u32 / region.frame_bytes;
        // The buffer is the ring's from here on, until the completion ring gives it back.
        let parts = frame.into_parts();
        let desc = &mut self.scratch[self.pending];
        *desc = region.descs[number as usize];
        debug_assert_eq!(desc.addr(), offset);
        // SAFETY: the frame is of this UMEM and was the caller's alone.
        unsafe { region.umem.data_mut(desc) }.cursor().set_pos(len);
        self.lent.lend(number, parts.pool);
        self.pending += 1;
    }

    /// Copies a packet into tx frames; false when too few are free. [`TxRing::submit`] makes it go.
    #[inline]
    pub(super) fn copy(&mut self, packet: &[u8]) -> bool {
        debug_assert!(packet.len() <= self.room());
        let frames = self.frames_for(packet.len());
        if self.free() < frames {
            return false;
        }
        // A packet's descriptors enter the ring together.
        if self.pending + frames > BATCH_MAX {
            self.submit();
        }
        if frames > 1 {
            self.copy_large(packet);
        } else if let Some(index) = self.free.pop() {
            self.fill(index, packet);
        }
        true
    }

    /// Copies a packet into several frames, which are there.
    #[cold]
    fn copy_large(&mut self, packet: &[u8]) {
        for piece in packet.chunks(self.frame_room()) {
            if let Some(index) = self.free.pop() {
                self.fill(index, piece);
                self.scratch[self.pending - 1].set_options(XDP_PKT_CONTD);
            }
        }
        self.scratch[self.pending - 1].set_options(0);
    }

    /// Copies `bytes` into a frame and puts its descriptor behind those that wait for [`TxRing::submit`].
    #[inline]
    fn fill(&mut self, index: u32, bytes: &[u8]) {
        let desc = &mut self.scratch[self.pending];
        let region = &self.place.region;
        *desc = region.descs[index as usize];
        // SAFETY: the frame is of this UMEM and, coming from the free list, nobody's.
        let mut data = unsafe { region.umem.data_mut(desc) };
        data.cursor().set_pos(bytes.len());
        data.contents_mut().copy_from_slice(bytes);
        self.pending += 1;
    }

    /// Puts packets into the ring. It has as many entries as there are tx frames, and borrowed ones take the
    /// room of those that are free, so they fit.
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
            let woken = sockopt::wakeup(self.tx.fd().as_raw_fd());
            if woken.is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY)) {
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
}
