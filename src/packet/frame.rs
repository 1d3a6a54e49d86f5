//! One packet: a buffer, the part of it that is data, and what the receiver knew about it.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: the buffer belongs to a pool (UMEM, mbuf, heap) and is reached through a raw pointer.

use crate::pool::PoolPtr;
use std::ptr::NonNull;

/// Bytes kept free in front of received data where the port allows it: room for tunnel headers.
pub const HEADROOM: usize = 256;

/// A datapath port number. `OdpPort::NONE` means "no port".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OdpPort(pub u32);

impl OdpPort {
    /// No port.
    pub const NONE: Self = Self(u32::MAX);
    /// The datapath's own local port.
    pub const LOCAL: Self = Self(0);
}

impl std::fmt::Display for OdpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the receiving port knew, as bits of [`Frame::flags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxFlags(pub u8);

impl RxFlags {
    /// The L4 checksum is partial: complete it over `csum_start`/`csum_offset` before it leaves the host.
    pub const CSUM_PARTIAL: u8 = 1;
    /// The receiver vouches for the L4 checksum.
    pub const CSUM_GOOD: u8 = 2;
    /// The receiver computed [`Frame::hash`].
    pub const HASH_VALID: u8 = 4;
    /// The frame is larger than a segment: cut it into `gso_size` pieces before it leaves the host.
    pub const GSO: u8 = 8;
}

/// What kind of super-packet a frame is, when [`RxFlags::GSO`] is set.
///
/// Not an enum: a byte that has values to spare becomes the place where `Option<Frame>` keeps its `None`,
/// and then every frame taken off a batch is moved in two odd pieces around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct GsoKind(u8);

impl GsoKind {
    /// Not one.
    pub const NONE: Self = Self(0);
    /// TCP over IPv4.
    pub const TCP4: Self = Self(1);
    /// TCP over IPv6.
    pub const TCP6: Self = Self(2);
    /// UDP (each segment a datagram).
    pub const UDP: Self = Self(3);
}

/// A packet and its buffer. Move-only; dropping it returns the buffer to its pool.
///
/// One cache line. Drivers written in C fill frames in where they lie (see `Batch::spare`), so the layout is
/// fixed; `src/netdev/dpdk/shim/ringway_dpdk.h` has its twin.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Frame {
    base: NonNull<u8>,
    token: u64,
    pool: PoolPtr,
    capacity: u32,
    start: u32,
    len: u32,
    /// Flow hash given by the receiver; meaningful with [`RxFlags::HASH_VALID`].
    pub hash: u32,
    /// `pkt_mark` (SO_MARK of local senders).
    pub mark: u32,
    /// `skb_priority`.
    pub priority: u32,
    /// With CSUM_PARTIAL: where the checksummed bytes begin, from the start of data.
    pub csum_start: u16,
    /// With CSUM_PARTIAL: where the checksum stands, from `csum_start`.
    pub csum_offset: u16,
    /// With GSO: payload bytes of one segment.
    pub gso_size: u16,
    /// With GSO: what to cut.
    pub gso: GsoKind,
    /// Bits of [`RxFlags`].
    pub flags: u8,
}

/// The layout that drivers in C know.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Frame>() == 64 && align_of::<Frame>() == 64);
    assert!(offset_of!(Frame, base) == 0 && offset_of!(Frame, token) == 8);
    assert!(offset_of!(Frame, pool) == 16 && offset_of!(Frame, capacity) == 24);
    assert!(offset_of!(Frame, start) == 28 && offset_of!(Frame, len) == 32);
    assert!(offset_of!(Frame, hash) == 36 && offset_of!(Frame, mark) == 40);
    assert!(offset_of!(Frame, priority) == 44 && offset_of!(Frame, csum_start) == 48);
    assert!(offset_of!(Frame, csum_offset) == 50 && offset_of!(Frame, gso_size) == 52);
    assert!(offset_of!(Frame, gso) == 54 && offset_of!(Frame, flags) == 55);
};

// SAFETY: a frame is the only owner of its buffer, and its pool may be released into from any thread.
unsafe impl Send for Frame {}

/// What a pool hands over to make a [`Frame`].
#[derive(Debug)]
pub struct FrameParts {
    /// First byte of the buffer.
    pub base: NonNull<u8>,
    /// Bytes in the buffer.
    pub capacity: u32,
    /// Where data begins.
    pub start: u32,
    /// Bytes of data.
    pub len: u32,
    /// What the pool wants back.
    pub token: u64,
    /// The pool.
    pub pool: PoolPtr,
}

impl Frame {
    /// Makes a frame from a pool's buffer.
    ///
    /// # Safety
    /// `base..base+capacity` is memory that nobody else reads or writes until the pool gets `token` back;
    /// `start + len <= capacity`; the pool counts this frame in `outstanding`.
    #[inline]
    #[must_use]
    pub unsafe fn from_parts(p: FrameParts) -> Self {
        debug_assert!(p.start.saturating_add(p.len) <= p.capacity);
        Self {
            base: p.base,
            token: p.token,
            pool: p.pool,
            capacity: p.capacity,
            start: p.start,
            len: p.len,
            hash: 0,
            mark: 0,
            priority: 0,
            csum_start: 0,
            csum_offset: 0,
            gso_size: 0,
            gso: GsoKind::NONE,
            flags: 0,
        }
    }

    /// Gives the buffer up without releasing it: for a tx ring or device that now owns it.
    #[inline]
    #[must_use]
    pub fn into_parts(self) -> FrameParts {
        let f = std::mem::ManuallyDrop::new(self);
        FrameParts {
            base: f.base,
            capacity: f.capacity,
            start: f.start,
            len: f.len,
            token: f.token,
            pool: f.pool,
        }
    }

    /// The packet.
    #[inline]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        // SAFETY: from_parts' contract: start <= capacity.
        let first = unsafe { self.base.as_ptr().add(self.start as usize) };
        // SAFETY: from_parts' contract: start + len <= capacity, and this frame owns the buffer.
        unsafe { std::slice::from_raw_parts(first, self.len as usize) }
    }

    /// The packet, to be changed.
    #[inline]
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: from_parts' contract: start <= capacity.
        let first = unsafe { self.base.as_ptr().add(self.start as usize) };
        // SAFETY: as data(), and &mut self makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(first, self.len as usize) }
    }

    /// Bytes of data.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }
    /// True when there is no data.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Free bytes in front of the data.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.start as usize
    }
    /// Free bytes behind the data.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        (self.capacity - self.start - self.len) as usize
    }
    /// The pool's name for the buffer.
    #[inline]
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }
    /// The pool.
    #[inline]
    #[must_use]
    pub fn pool(&self) -> PoolPtr {
        self.pool
    }
    /// Grows the data by `n` bytes at the front; false (and no change) when the headroom is too small.
    /// The new bytes hold whatever was there.
    #[inline]
    #[must_use]
    pub fn push(&mut self, n: usize) -> bool {
        if n > self.headroom() {
            return false;
        }
        let n = n as u32;
        self.start -= n;
        self.len += n;
        true
    }
    /// Shrinks the data by `n` bytes at the front; false (and no change) when there are fewer.
    #[inline]
    #[must_use]
    pub fn pull(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        let n = n as u32;
        self.start += n;
        self.len -= n;
        true
    }
    /// Sets the length of data; false (and no change) when the buffer is too small. New bytes hold
    /// whatever was there.
    #[inline]
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        if len > (self.capacity - self.start) as usize {
            return false;
        }
        self.len = len as u32;
        true
    }
    /// Copies what the receiver knew (not the data, not the buffer) from another frame.
    pub fn copy_metadata(&mut self, from: &Self) {
        self.hash = from.hash;
        self.mark = from.mark;
        self.priority = from.priority;
        self.csum_start = from.csum_start;
        self.csum_offset = from.csum_offset;
        self.gso_size = from.gso_size;
        self.gso = from.gso;
        self.flags = from.flags;
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        self.pool.get().release(&[self.token]);
    }
}
