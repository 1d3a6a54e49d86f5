//! Mbufs as frames, and frames as mbufs: in place, without a count and without a copy.
//!
//! A frame of an mbuf carries the mbuf's address as its token and belongs to the one [`MbufPool`] of the process;
//! the mbuf knows its mempool itself. Dropping the frame frees the mbuf, sending it through a DPDK port hands it
//! to the driver. Threads: any may release; a [`Library::rx`]/[`Library::tx`] queue has one user at a time.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: frames are made of buffers that DPDK owns.

use super::library::{Library, Pool, RX_CSUM_GOOD, RX_HASH, RxView, TxView};
use crate::device::TxReport;
use arrayvec::ArrayVec;
use base::sync::OnceLock;
use packet::{BATCH_MAX, Batch, Frame, FrameParts, FramePool, PoolOwner, RxFlags};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// Every mbuf of the process. Never freed: which mempool an mbuf belongs to, and when that can go, is between
/// DPDK and [`super::memory`].
#[derive(Debug)]
pub(super) struct MbufPool(Library);

impl MbufPool {
    /// The pool; there is one.
    pub(super) fn get(library: Library) -> &'static PoolOwner<Self> {
        static POOL: OnceLock<PoolOwner<MbufPool>> = OnceLock::new();
        POOL.get_or_init(|| PoolOwner::new(Self(library)))
    }
}

impl FramePool for MbufPool {
    #[inline]
    fn release(&self, tokens: &[u64]) {
        self.0.release(tokens);
    }
    /// Not counted: the pool is never freed, and a mempool knows itself what is out.
    fn outstanding(&self) -> usize {
        0
    }
}

/// One queue of one port, as the library wants it named.
pub(super) type QueueId = (u16, u16);

/// Receives into a batch; how many came.
#[inline]
pub(super) fn receive(
    library: Library,
    pool: &'static PoolOwner<MbufPool>,
    queue: QueueId,
    batch: &mut Batch,
    malformed: &mut u64,
) -> usize {
    let mut views = [const { MaybeUninit::<RxView>::uninit() }; BATCH_MAX];
    let room = batch.room();
    let views = library.rx(queue, &mut views[..room], malformed);
    for view in views {
        let parts = FrameParts {
            base: NonNull::new(view.base).unwrap_or(NonNull::dangling()),
            capacity: view.capacity,
            start: view.start,
            len: view.len,
            token: view.mbuf as usize as u64,
            pool: pool.ptr(),
        };
        // SAFETY: the driver gave the mbuf to us alone, its data lies inside its buffer, and the pool is never
        // freed.
        let mut frame = unsafe { Frame::from_parts(parts) };
        frame.hash = view.hash;
        if view.flags != 0 {
            frame.flags = flags(view.flags);
        }
        let pushed = batch.push(frame);
        debug_assert!(pushed.is_ok(), "not more than there was room for");
    }
    views.len()
}

fn flags(device: u32) -> u8 {
    let hash = if device & RX_HASH != 0 {
        RxFlags::HASH_VALID
    } else {
        0
    };
    let csum = if device & RX_CSUM_GOOD != 0 {
        RxFlags::CSUM_GOOD
    } else {
        0
    };
    hash | csum
}

/// What the library is told about frames; mbufs change hands unless `copy`.
#[inline]
fn views(
    frames: &[Frame],
    pool: &'static PoolOwner<MbufPool>,
    copy: bool,
) -> ArrayVec<TxView, BATCH_MAX> {
    let ours = pool.ptr();
    frames
        .iter()
        .take(BATCH_MAX)
        .map(|f| TxView {
            mbuf: if !copy && f.pool().same(&ours) {
                f.token() as usize as *mut _
            } else {
                ptr::null_mut()
            },
            data: f.data().as_ptr(),
            start: f.headroom() as u32,
            len: f.len() as u32,
        })
        .collect()
}

fn report(sent: super::library::Sent) -> TxReport {
    TxReport {
        sent: sent.sent,
        bytes: sent.bytes,
        full: sent.full,
        too_big: 0,
        policed: 0,
        error: sent.no_mem,
    }
}

/// Sends a batch whose frames all fit; it is empty afterwards.
#[inline]
pub(super) fn send(
    library: Library,
    pool: &'static PoolOwner<MbufPool>,
    queue: QueueId,
    memory: Pool,
    batch: &mut Batch,
) -> TxReport {
    let views = views(batch, pool, false);
    let sent = library.tx(queue, memory, &views);
    for (frame, view) in batch.drain(..).zip(&views) {
        if view.mbuf.is_null() {
            drop(frame);
        } else {
            // The mbuf is the driver's now, or freed.
            let _ = frame.into_parts();
        }
    }
    report(sent)
}

/// Sends copies of at most a batch of frames, which stay with the caller.
pub(super) fn send_copies(
    library: Library,
    pool: &'static PoolOwner<MbufPool>,
    queue: QueueId,
    memory: Pool,
    frames: &[Frame],
) -> TxReport {
    report(library.tx(queue, memory, &views(frames, pool, true)))
}
