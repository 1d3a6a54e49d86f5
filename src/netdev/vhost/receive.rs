//! From a guest's ring to frames: each packet is copied once, into a frame of its length.

use super::counts::Counts;
use super::ring::{Chain, Fault, Ring, Way};
use crate::vnet::{self, VNET_BYTES, VnetHeader};
use packet::{Batch, Frame, HeapPool};

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

/// Moves packets from the ring to the batch. True when the guest wants to be called.
///
/// # Errors
/// The guest did what no driver does; what came before that is in the batch.
pub(super) fn receive(
    ring: &mut Ring,
    batch: &mut Batch,
    counts: &Counts,
) -> (bool, Result<(), Fault>) {
    let result = take_burst(ring, batch, counts);
    (ring.publish(), result)
}

fn take_burst(ring: &mut Ring, batch: &mut Batch, counts: &Counts) -> Result<(), Fault> {
    let mut followed = 0;
    if ring.waiting() < batch.room() as u16 {
        ring.refresh()?;
    }
    while batch.room() > 0 && followed < BURST_DESCRIPTORS && ring.waiting() > 0 {
        let head = ring.head(0)?;
        let packet = take(ring, head, &mut followed)?;
        ring.give_back(head, 0);
        match packet {
            Ok(frame) => {
                counts.packet(frame.data());
                // There is room.
                drop(batch.push(frame));
            }
            Err(loss) => counts.lost(loss),
        }
    }
    Ok(())
}

/// Copies the packet of one chain.
fn take(ring: &Ring, head: u16, followed: &mut usize) -> Result<Result<Frame, Loss>, Fault> {
    let mut chain = Chain::default();
    ring.walk(head, Way::FromGuest, &mut chain)?;
    *followed += chain.descriptors;
    let header_bytes = ring.features().header_bytes();
    let Some(len) = chain.bytes().checked_sub(header_bytes) else {
        return Ok(Err(Loss::Runt));
    };
    if len < PACKET_MIN {
        return Ok(Err(Loss::Runt));
    }
    if len > PACKET_MAX || chain.cut {
        return Ok(Err(Loss::Oversize));
    }
    let mut header = [0; 12];
    let mut frame = HeapPool::global().alloc(len);
    copy_out(&chain, &mut header[..header_bytes], frame.data_mut());
    if ring.features().guest_sends_partial() {
        let mut vnet: VnetHeader = [0; VNET_BYTES];
        vnet.copy_from_slice(&header[..VNET_BYTES]);
        // A guest may ask for a checksum, not vouch for one.
        vnet[0] &= NEEDS_CSUM;
        if !vnet::apply(&vnet, &mut frame) {
            return Ok(Err(Loss::BadOffload));
        }
    }
    Ok(Ok(frame))
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
