//! One split virtqueue (virtio 1.2, 2.7), seen from the device's side.
//!
//! Nothing that the guest wrote is trusted: indices, heads, lengths, links and addresses are read once and
//! judged; what no driver does is a [`Fault`], after which the caller stops the ring. The work that one
//! packet can cause is bounded by [`DESCRIPTORS_MAX`] and [`SPANS_MAX`].
//!
//! Owned by whoever holds its vring's lock. In two parts, so that memory can be referred to while places
//! move: [`Tables`], where things are, and [`Places`], how far both sides have come. Used entries are kept
//! and written together, then shown to the guest once per burst by [`Places::publish`], or less often by
//! [`Places::show_in_time`].
//!
//! Both processors' caches are what a ring's speed depends on: a line that one writes must be fetched by the other, and
//! that takes as long as handling several packets. So no line is written that has the right content already, and the
//! two index lines are read and written no more often than they must (see [`super::pace`]).

use super::features::Features;
use super::memory::{DESCRIPTOR_BYTES, Descriptor, RingMemory, Span};
use super::pace::Pace;
use arrayvec::ArrayVec;
use base::sync::{Ordering, fence};
use packet::BATCH_MAX;

/// Descriptors that one chain may have. Linux uses at most 47, DPDK as many as a packet has segments.
pub(super) const DESCRIPTORS_MAX: usize = 256;
/// Pieces of memory that one packet may have: a descriptor is two when it lies across two regions.
pub(super) const SPANS_MAX: usize = 256;
/// Used entries kept before they are written.
const KEPT_MAX: usize = 64;

/// Looks that find nothing before the guest is shown all that it gets back: some microseconds of polling.
const IDLE_LOOKS: u16 = 32;
/// Rings shorter than this get everything back at once.
const HIDING_SIZE_MIN: u16 = 256;

/// Used entries that a guest need not be shown at once: a quarter of its ring.
const fn hidden_max(size: u16) -> u16 {
    if size < HIDING_SIZE_MIN { 0 } else { size / 4 }
}

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

/// A head looked at before its turn: the usual chain of one buffer in one region is judged already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead<'m> {
    pub(super) head: u16,
    /// Its buffer; `None` when the chain is to be walked (and may be at fault).
    pub(super) span: Option<Span<'m>>,
}

/// What is known of the heads that wait, in their order.
pub(super) type Sight<'m> = ArrayVec<Ahead<'m>, BATCH_MAX>;

/// Where a ring is, and what was agreed on.
#[derive(Debug)]
pub(super) struct Tables {
    memory: RingMemory,
    features: Features,
}

impl Tables {
    #[inline]
    pub(super) fn features(&self) -> Features {
        self.features
    }
    /// Entries of the ring.
    #[inline]
    pub(super) fn size(&self) -> u16 {
        self.memory.size()
    }

    /// Looks at up to `n` heads that wait, and has their buffers fetched. Stops before a head that is not in
    /// the ring.
    #[inline]
    pub(super) fn look_ahead<'m>(&'m self, places: &Places, n: usize, way: Way) -> Sight<'m> {
        let n = n.min(usize::from(places.waiting())).min(BATCH_MAX);
        let mut heads: ArrayVec<u16, BATCH_MAX> = ArrayVec::new();
        let table = self.memory.table();
        for i in 0..n {
            let Ok(head) = places.head(self, i) else {
                break;
            };
            table.prefetch(usize::from(head) * DESCRIPTOR_BYTES);
            heads.push(head);
        }
        let mut sight = Sight::new();
        for head in heads {
            let span = self.simple(table, head, way);
            if let Some(span) = span {
                match way {
                    Way::FromGuest => span.fetch(),
                    Way::ToGuest => span.fetch_to_write(self.features.header_bytes()),
                }
            }
            sight.push(Ahead { head, span });
        }
        sight
    }

    /// The buffer of a chain of one descriptor, if it is in one region.
    #[inline]
    fn simple<'m>(&'m self, table: Span<'m>, head: u16, way: Way) -> Option<Span<'m>> {
        let d = table.descriptor(usize::from(head))?;
        let wanted = if way == Way::ToGuest { WRITE } else { 0 };
        if d.flags & (NEXT | WRITE | INDIRECT) != wanted || d.len == 0 {
            return None;
        }
        let span = self.memory.span(d.addr, u64::from(d.len))?;
        (span.len() == d.len as usize).then_some(span)
    }

    /// Adds the chain that begins at `head` to `into`.
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
        let table = self.memory.span(d.addr, u64::from(d.len));
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
            let span = self.memory.span(addr, rest).ok_or(Fault::Address)?;
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
}

/// How far a ring has come.
#[derive(Debug)]
pub(super) struct Places {
    /// Number of the next head to take.
    next: u16,
    /// The available index when last looked at.
    seen: u16,
    /// Number of the next used entry to write.
    used: u16,
    /// Used entries not yet written: heads and bytes.
    kept: ArrayVec<(u16, u32), KEPT_MAX>,
    /// Used entries that the guest can see.
    shown: u16,
    /// Looks in a row that found nothing.
    idle: u16,
    /// Used entries for which the guest was called if it wanted; `None` before the first.
    called: Option<u16>,
}

impl Places {
    /// Number of the next head.
    #[inline]
    pub(super) fn next(&self) -> u16 {
        self.next
    }
    /// Heads known to wait.
    #[inline]
    pub(super) fn waiting(&self) -> u16 {
        self.seen.wrapping_sub(self.next)
    }
    /// Looks for new heads; returns how many wait.
    #[inline]
    pub(super) fn refresh(&mut self, tables: &Tables) -> Result<u16, Fault> {
        self.seen = tables.memory.available_index();
        let n = self.waiting();
        if n > tables.memory.size() {
            return Err(Fault::Available);
        }
        Ok(n)
    }
    /// The head that waits behind `ahead` others.
    #[inline]
    pub(super) fn head(&self, tables: &Tables, ahead: usize) -> Result<u16, Fault> {
        // There are at most `size` heads, so that ahead fits.
        let head = tables.memory.head(self.next.wrapping_add(ahead as u16));
        if head >= tables.memory.size() {
            return Err(Fault::Head);
        }
        Ok(head)
    }

    /// Gives the next head back, with `len` bytes written into its chain.
    #[inline]
    pub(super) fn give_back(&mut self, tables: &Tables, head: u16, len: u32) {
        if self.kept.is_full() {
            self.write(tables);
        }
        self.kept.push((head, len));
        self.next = self.next.wrapping_add(1);
    }

    /// Writes the used entries that were kept.
    #[inline]
    fn write(&mut self, tables: &Tables) {
        for (head, len) in self.kept.drain(..) {
            tables.memory.set_used(self.used, head, len);
            self.used = self.used.wrapping_add(1);
        }
    }

    /// Shows the guest what was given back; true when it wants to be called for it.
    #[inline]
    pub(super) fn publish(&mut self, tables: &Tables) -> bool {
        self.write(tables);
        if self.called == Some(self.used) {
            return false;
        }
        // The guest must see the index before we look whether it sleeps; pairs with its own barrier.
        tables.memory.publish(self.used);
        self.shown = self.used;
        self.wants_call(tables)
    }

    /// Shows the guest what was given back, and leaves it to [`Places::asks`] whether it wants to be called: for
    /// a ring that is polled, so that the barrier between the two need not wait for the burst's writes.
    #[inline]
    pub(super) fn show(&mut self, tables: &Tables) {
        self.write(tables);
        if self.shown != self.used {
            self.shown = self.used;
            tables.memory.show(self.used);
        }
    }

    /// The same in its time: when a good part of the ring came together, or none came for a while. Each time takes the
    /// line away from the guest, which looks at it whenever it sends. `taken` says that this burst had packets.
    #[inline]
    pub(super) fn show_in_time(&mut self, tables: &Tables, taken: bool) {
        self.write(tables);
        self.idle = if taken {
            0
        } else {
            self.idle.saturating_add(1)
        };
        let hidden = self.used.wrapping_sub(self.shown);
        if hidden >= hidden_max(tables.memory.size()) || self.idle >= IDLE_LOOKS {
            self.show(tables);
        }
    }

    /// True when the guest wants to be called for what it was shown.
    #[inline]
    pub(super) fn asks(&mut self, tables: &Tables) -> bool {
        if self.called == Some(self.shown) {
            return false;
        }
        // As in publish(); by now the index is long written.
        fence(Ordering::SeqCst);
        self.wants_call(tables)
    }

    /// Has the line fetched that [`Places::publish`] will write, for the burst to take less time.
    #[inline]
    pub(super) fn fetch_used_index(&self, tables: &Tables) {
        tables.memory.fetch_used_index();
    }

    #[inline]
    fn wants_call(&mut self, tables: &Tables) -> bool {
        let before = self.called.replace(self.shown);
        if !tables.features.event_index() {
            return tables.memory.available_flags() & SILENT == 0;
        }
        before.is_none_or(|before| {
            let passed = self.shown.wrapping_sub(before);
            let event = tables.memory.used_event();
            self.shown.wrapping_sub(event).wrapping_sub(1) < passed
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) tables: Tables,
    pub(super) places: Places,
    /// Of looks for heads that are not waited for.
    pub(super) pace: Pace,
}

impl Ring {
    /// A ring at work from `base` on.
    pub(super) fn new(memory: RingMemory, features: Features, base: u16) -> Self {
        // A guest that outlived the switch: what was not given back was not handled.
        let used = memory.used_index();
        let base = if used == base { base } else { used };
        memory.set_used_flags(if features.event_index() { 0 } else { SILENT });
        Self {
            tables: Tables { memory, features },
            pace: Pace::default(),
            places: Places {
                next: base,
                seen: base,
                used: base,
                kept: ArrayVec::new(),
                shown: used,
                idle: 0,
                called: None,
            },
        }
    }

    /// Stops: the guest is shown all that it gets back. The number of the next head, to go on from.
    pub(super) fn stop(mut self) -> u16 {
        self.places.show(&self.tables);
        self.places.next
    }
    /// True once the guest's memory is no longer there.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.tables.memory.memory().is_lost()
    }

    /// Asks the guest for kicks, before a sleep. False when there is something already.
    pub(super) fn ask_for_kicks(&mut self) -> bool {
        let memory = &self.tables.memory;
        if self.tables.features.event_index() {
            memory.set_available_event(self.places.next);
        } else {
            memory.set_used_flags(0);
        }
        // The guest must see that before we look for the last time; pairs with its own barrier.
        fence(Ordering::SeqCst);
        memory.available_index() == self.places.next
    }

    /// Kicks are not needed, and one may have come. With event indices the one asked for last has passed, and that is that.
    pub(super) fn no_more_kicks(&mut self) {
        self.pace = Pace::default();
        if !self.tables.features.event_index() {
            self.tables.memory.set_used_flags(SILENT);
        }
    }
}
