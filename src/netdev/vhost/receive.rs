//! From a guest's ring to frames: each packet is copied once, into a frame of its length.
//!
//! A burst's heads, descriptors and buffers are looked at together ([`Tables::look_ahead`]), so that their
//! way from the guest's processor to ours is waited for once.

use super::counts::{Counts, Tally};
use super::memory::Span;
use super::pool::Buffers;
use super::ring::{Chain, Fault, Ring, Tables, Way};
use crate::vnet::{self, VNET_BYTES, VnetHeader};
use arrayvec::ArrayVec;
use packet::{BATCH_MAX, Batch, Frame};

/// Descriptors followed in one burst; a burst of ordinary packets needs far fewer. More wait for the next,
/// so that a guest that sends nothing but chains of nothing gets no more than its share of the thread.
const BURST_DESCRIPTORS: usize = 1024;
/// Bytes of the longest packet: 64 kB of IP behind an Ethernet header and two tags.
const PACKET_MAX: usize = 65_535 + 22;
/// Bytes of the shortest: an Ethernet header.
const PACKET_MIN: usize = 14;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Shorter than its headers.
    Runt,
    /// Longer than a packet can be, or in too many pieces.
    Oversize,
    /// Its virtio-net header cannot be true.
    BadOffload,
}

/// Moves packets from the ring to the batch. True when the guest wants to be called, for what it was given
/// back by the call before: see [`Places::show`](super::ring::Places::show).
///
/// # Errors
/// The guest did what no driver does; what came before that is in the batch.
pub(super) fn receive(
    ring: &mut Ring,
    batch: &mut Batch,
    buffers: &mut Buffers,
    counts: &Counts,
) -> (bool, Result<(), Fault>) {
    let call = ring.places.asks(&ring.tables);
    let mut tally = Tally::new(counts);
    let before = ring.places.next();
    let result = take_burst(ring, batch, buffers, &mut tally);
    tally.close();
    let taken = ring.places.next() != before;
    ring.places.show_in_time(&ring.tables, taken);
    (call, result)
}

fn take_burst(
    ring: &mut Ring,
    batch: &mut Batch,
    buffers: &mut Buffers,
    tally: &mut Tally<'_>,
) -> Result<(), Fault> {
    let Ring {
        tables,
        places,
        pace,
    } = ring;
    let known = places.waiting();
    if known < batch.room() as u16 && !pace.holds() {
        let now = places.refresh(tables)?;
        pace.looked(now - known, tables.size());
    }
    if places.waiting() == 0 {
        return Ok(());
    }
    buffers.refresh();
    let mut followed = 0;
    // Losses leave room: look again.
    while batch.room() > 0 && followed < BURST_DESCRIPTORS && places.waiting() > 0 {
        let sight = tables.look_ahead(places, batch.room(), Way::FromGuest);
        if sight.is_empty() {
            return Err(Fault::Head);
        }
        let mut done: ArrayVec<u16, BATCH_MAX> = ArrayVec::new();
        let mut result = Ok(());
        for ahead in sight {
            if followed >= BURST_DESCRIPTORS {
                break;
            }
            let taken = match ahead.span {
                Some(span) => {
                    followed += 1;
                    take_simple(tables, span, buffers, batch)
                }
                None => match take(tables, ahead.head, &mut followed, buffers, batch) {
                    Ok(taken) => taken,
                    Err(fault) => {
                        result = Err(fault);
                        break;
                    }
                },
            };
            done.push(ahead.head);
            match taken {
                Ok(()) => tally.packet(batch.last().map_or(&[], Frame::data)),
                Err(loss) => tally.lost(loss),
            }
        }
        for head in done {
            places.give_back(tables, head, 0);
        }
        result?;
    }
    Ok(())
}

/// Is a packet of so many bytes, header not counted, one?
#[inline]
fn judge(bytes: usize, header_bytes: usize) -> Result<usize, Loss> {
    match bytes.checked_sub(header_bytes) {
        None | Some(0..PACKET_MIN) => Err(Loss::Runt),
        Some(len) if len > PACKET_MAX => Err(Loss::Oversize),
        Some(len) => Ok(len),
    }
}

/// Copies a packet that is in one piece, its header into the headroom, and puts it into the batch.
#[inline]
fn take_simple(
    tables: &Tables,
    span: Span<'_>,
    buffers: &mut Buffers,
    batch: &mut Batch,
) -> Result<(), Loss> {
    let header_bytes = tables.features().header_bytes();
    let len = judge(span.len(), header_bytes)?;
    let mut vnet: VnetHeader = [0; VNET_BYTES];
    let partial = tables.features().guest_sends_partial();
    let frame = buffers.take(header_bytes, len, |to| {
        span.read(to);
        if partial {
            vnet.copy_from_slice(&to[..VNET_BYTES]);
        }
    });
    // There is room.
    drop(batch.push(frame));
    finish(vnet, batch)
}

/// Reads the header into the batch's last frame; a frame that has a bad one goes.
#[inline]
fn finish(mut vnet: VnetHeader, batch: &mut Batch) -> Result<(), Loss> {
    // A guest may ask for a checksum, not vouch for one.
    vnet[0] &= NEEDS_CSUM;
    if vnet[..2] == [0, 0] {
        return Ok(());
    }
    if batch.last_mut().is_some_and(|f| vnet::apply(&vnet, f)) {
        return Ok(());
    }
    drop(batch.pop());
    Err(Loss::BadOffload)
}

/// Copies the packet of any chain.
#[inline(never)]
fn take(
    tables: &Tables,
    head: u16,
    followed: &mut usize,
    buffers: &mut Buffers,
    batch: &mut Batch,
) -> Result<Result<(), Loss>, Fault> {
    let mut chain = Chain::default();
    tables.walk(head, Way::FromGuest, &mut chain)?;
    *followed += chain.descriptors;
    let header_bytes = tables.features().header_bytes();
    let len = match judge(chain.bytes(), header_bytes) {
        Ok(_) if chain.cut => return Ok(Err(Loss::Oversize)),
        Ok(len) => len,
        Err(loss) => return Ok(Err(loss)),
    };
    let mut header = [0; 12];
    let frame = buffers.take(0, len, |to| {
        copy_out(&chain, &mut header[..header_bytes], to);
    });
    drop(batch.push(frame));
    let mut vnet: VnetHeader = [0; VNET_BYTES];
    if tables.features().guest_sends_partial() {
        vnet.copy_from_slice(&header[..VNET_BYTES]);
    }
    Ok(finish(vnet, batch))
}

/// Fills the header and then the data, which together are as long as the chain.
#[inline]
fn copy_out(chain: &Chain<'_>, header: &mut [u8], data: &mut [u8]) {
    let (mut in_header, mut in_data) = (0, 0);
    for span in chain.spans() {
        let n = span.read(&mut header[in_header..]);
        in_header += n;
        in_data += span.skip(n).read(&mut data[in_data..]);
    }
}
