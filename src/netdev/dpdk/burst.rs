//! Mbufs as frames, and frames as mbufs: in place, without a count and without a copy.
//!
//! A frame of an mbuf carries the mbuf's address as its token and belongs to the one [`MbufPool`] of the process;
//! the mbuf knows its mempool itself. Dropping the frame frees the mbuf, sending it through a DPDK port hands it
//! to the driver. Threads: any may release; a [`Library::rx`]/[`Library::tx`] queue has one user at a time.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: frames are made of buffers that DPDK owns.

use super::library::{Bytes, Library, Pool, Sent};
use crate::device::TxReport;
use arrayvec::ArrayVec;
use base::sync::OnceLock;
use packet::{BATCH_MAX, Batch, Frame, FramePool, PoolOwner};

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
    // SAFETY: the pool of all mbufs, never freed.
    unsafe { library.rx(queue, pool.ptr(), batch, malformed) }
}

fn report(sent: Sent) -> TxReport {
    TxReport {
        sent: sent.sent,
        bytes: sent.bytes,
        full: sent.full,
        too_big: 0,
        policed: 0,
        error: sent.no_mem,
    }
}

/// Sends a batch of mbufs that are finished and of at most `limit` bytes, which is empty afterwards; `None`, and
/// nothing done, when it is not such a batch.
#[inline]
pub(super) fn send(
    library: Library,
    pool: &'static PoolOwner<MbufPool>,
    queue: QueueId,
    limit: u32,
    batch: &mut Batch,
) -> Option<TxReport> {
    library.tx(queue, pool.ptr(), limit, batch).map(report)
}

/// Sends copies of at most a batch of frames, which stay with the caller.
pub(super) fn send_copies(
    library: Library,
    queue: QueueId,
    memory: Pool,
    frames: &[Frame],
) -> TxReport {
    let all: ArrayVec<_, BATCH_MAX> = (frames.iter().take(BATCH_MAX))
        .map(|f| Bytes::of(f.data()))
        .collect();
    report(library.tx_bytes(queue, memory, &all))
}
