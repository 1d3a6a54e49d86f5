//! One split virtqueue (virtio 1.2, 2.7), seen from the device's side.
//!
//! Nothing that the guest wrote is trusted: indices, heads, lengths, links and addresses are read once and
//! judged; what no driver does is a [`Fault`], after which the caller stops the ring. The work that one
//! packet can cause is bounded by [`DESCRIPTORS_MAX`] and [`SPANS_MAX`].
//!
//! Owned by whoever holds its vring's lock. Used entries are written as they come and shown to the guest
//! once per burst by [`Ring::publish`].

use super::features::Features;
use super::memory::{DESCRIPTOR_BYTES, Descriptor, RingMemory, Span};
use arrayvec::ArrayVec;
use base::sync::{Ordering, fence};

/// Descriptors that one chain may have. Linux uses at most 47, DPDK as many as a packet has segments.
pub(super) const DESCRIPTORS_MAX: usize = 256;
/// Pieces of memory that one packet may have: a descriptor is two when it lies across two regions.
pub(super) const SPANS_MAX: usize = 256;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT`, `VIRTQ_USED_F_NO_NOTIFY`.
const SILENT: u16 = 1;

/// What a guest did that no driver does; its ring is stopped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the available index is further ahead than the ring is long")]
    Available,
    #[error("a head is not in the ring")]
    Head,
    #[error("a descriptor's successor is not in its table")]
    Next,
    #[error("a chain is too long, or is a loop")]
    Loop,
    #[error(
        "an indirect table is inside another, or in the middle of a chain, or was not negotiated"
    )]
    Indirect,
    #[error("an indirect table's place or length is impossible")]
    Table,
    #[error("a buffer is outside of the guest's memory")]
    Address,
    #[error("a buffer is for the other direction")]
    Direction,
    #[error("a buffer to receive into is empty")]
    Empty,
    #[error("the guest's memory went away")]
    Lost,
}

/// Which way packets go through a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The guest wrote, we read.
    FromGuest,
    /// We write.
    ToGuest,
}

/// The memory of one packet: of one chain, or of several when buffers are merged.
#[derive(Debug, Default)]
pub(super) struct Chain<'m> {
    spans: ArrayVec<Span<'m>, SPANS_MAX>,
    bytes: usize,
    /// Descriptors followed.
    pub(super) descriptors: usize,
    /// Some pieces had no place here.
    pub(super) cut: bool,
}

impl<'m> Chain<'m> {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn spans(&self) -> &[Span<'m>] {
        &self.spans
    }
    #[inline]
    fn push(&mut self, span: Span<'m>) {
        self.bytes += span.len();
        self.cut |= self.spans.try_push(span).is_err();
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    memory: RingMemory,
    features: Features,
    /// Number of the next head to take.
    next: u16,
    /// The available index when last looked at.
    seen: u16,
    /// Number of the next used entry.
    used: u16,
    /// Used entries that the guest was told of; `None` before the first.
    called: Option<u16>,
}

impl Ring {
    /// A ring at work from `base` on.
    pub(super) fn new(memory: RingMemory, features: Features, base: u16) -> Self {
        // A guest that outlived the switch: what was not given back was not handled.
        let used = memory.used_index();
        let base = if used == base { base } else { used };
        memory.set_used_flags(if features.event_index() { 0 } else { SILENT });
        Self {
            memory,
            features,
            next: base,
            seen: base,
            used: base,
            called: None,
        }
    }

    /// Number of the next head, to go on from after a stop.
    pub(super) fn base(&self) -> u16 {
        self.next
    }
    pub(super) fn features(&self) -> Features {
        self.features
    }
    /// True once the guest's memory is no longer there.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.memory.memory().is_lost()
    }

    /// Heads known to wait.
    #[inline]
    pub(super) fn waiting(&self) -> u16 {
        self.seen.wrapping_sub(self.next)
    }
    /// Looks for new heads; returns how many wait.
    #[inline]
    pub(super) fn refresh(&mut self) -> Result<u16, Fault> {
        self.seen = self.memory.available_index();
        let n = self.waiting();
        if n > self.memory.size() {
            return Err(Fault::Available);
        }
        Ok(n)
    }
    /// The head that waits behind `ahead` others.
    #[inline]
    pub(super) fn head(&self, ahead: usize) -> Result<u16, Fault> {
        // There are at most `size` heads, so that ahead fits.
        let head = self.memory.head(self.next.wrapping_add(ahead as u16));
        if head >= self.memory.size() {
            return Err(Fault::Head);
        }
        Ok(head)
    }

    /// Adds the chain that begins at `head` to `into`.
    #[inline]
    pub(super) fn walk<'m>(
        &'m self,
        head: u16,
        way: Way,
        into: &mut Chain<'m>,
    ) -> Result<(), Fault> {
        let mut table = self.memory.table();
        let mut at = usize::from(head);
        let mut indirect = false;
        for _ in 0..DESCRIPTORS_MAX {
            into.descriptors += 1;
            let d = table.descriptor(at).ok_or(Fault::Next)?;
            if d.flags & INDIRECT != 0 {
                if indirect || d.flags & NEXT != 0 || !self.features.indirect() {
                    return Err(Fault::Indirect);
                }
                table = self.indirect_table(d)?;
                (at, indirect) = (0, true);
                continue;
            }
            self.buffer(d, way, into)?;
            if d.flags & NEXT == 0 {
                return Ok(());
            }
            at = usize::from(d.next);
        }
        Err(Fault::Loop)
    }

    fn indirect_table(&self, d: Descriptor) -> Result<Span<'_>, Fault> {
        let len = d.len as usize;
        if len == 0 || !len.is_multiple_of(DESCRIPTOR_BYTES) {
            return Err(Fault::Table);
        }
        let table = self.memory.memory().span(d.addr, u64::from(d.len));
        table.filter(|t| t.len() == len).ok_or(Fault::Table)
    }

    /// Adds one descriptor's buffer.
    #[inline]
    fn buffer<'m>(&'m self, d: Descriptor, way: Way, into: &mut Chain<'m>) -> Result<(), Fault> {
        if (d.flags & WRITE != 0) != (way == Way::ToGuest) {
            return Err(Fault::Direction);
        }
        if d.len == 0 && way == Way::ToGuest {
            return Err(Fault::Empty);
        }
        let (mut addr, mut rest) = (d.addr, u64::from(d.len));
        while rest > 0 {
            let span = self
                .memory
                .memory()
                .span(addr, rest)
                .ok_or(Fault::Address)?;
            let n = span.len() as u64;
            into.push(span);
            if into.cut {
                return Ok(());
            }
            addr = addr.wrapping_add(n);
            rest -= n;
        }
        Ok(())
    }

    /// Gives the next head back, with `len` bytes written into its chain.
    #[inline]
    pub(super) fn give_back(&mut self, head: u16, len: u32) {
        self.memory.set_used(self.used, head, len);
        self.used = self.used.wrapping_add(1);
        self.next = self.next.wrapping_add(1);
    }

    /// Shows the guest what was given back; true when it wants to be called for it.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        if self.called == Some(self.used) {
            return false;
        }
        self.memory.publish(self.used);
        // The guest must see the index before we look whether it sleeps; pairs with its own barrier.
        fence(Ordering::SeqCst);
        let before = self.called.replace(self.used);
        if !self.features.event_index() {
            return self.memory.available_flags() & SILENT == 0;
        }
        before.is_none_or(|before| {
            let passed = self.used.wrapping_sub(before);
            let event = self.memory.used_event();
            self.used.wrapping_sub(event).wrapping_sub(1) < passed
        })
    }

    /// Asks the guest for kicks, before a sleep. False when there is something already.
    pub(super) fn ask_for_kicks(&mut self) -> bool {
        if self.features.event_index() {
            self.memory.set_available_event(self.next);
        } else {
            self.memory.set_used_flags(0);
        }
        // The guest must see that before we look for the last time; pairs with its own barrier.
        fence(Ordering::SeqCst);
        self.memory.available_index() == self.next
    }

    /// Kicks are not needed. With event indices the one asked for last has passed, and that is that.
    pub(super) fn no_more_kicks(&mut self) {
        if !self.features.event_index() {
            self.memory.set_used_flags(SILENT);
        }
    }
}
