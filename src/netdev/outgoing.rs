//! Decisions every tx queue makes about a frame before it may leave: does it fit the device, can its
//! offloads be passed on or must they be finished here. And the arithmetic of [`TxReport`].

use crate::device::TxReport;
use crate::offload::{BadOffload, segment};
use packet::{Batch, Frame, GsoKind, HeapPool, RxFlags};

/// Ethernet header bytes.
pub(crate) const ETH_BYTES: usize = 14;

impl TxReport {
    /// Adds another report to this one.
    pub fn absorb(&mut self, other: Self) {
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.full += other.full;
        self.too_big += other.too_big;
        self.policed += other.policed;
        self.error += other.error;
    }
}

/// Bytes of VLAN tags in front of the frame's payload; they do not count against the MTU.
fn tag_bytes(data: &[u8]) -> usize {
    let is_tag = |at: usize| {
        matches!(
            data.get(at..at + 2),
            Some([0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00])
        )
    };
    match (is_tag(12), is_tag(16)) {
        (false, _) => 0,
        (true, false) => 4,
        (true, true) => 8,
    }
}

/// Does the frame, or each segment it will be cut into, fit an MTU of `mtu` bytes?
#[inline]
pub(crate) fn fits(frame: &Frame, mtu: u32) -> bool {
    let limit = mtu as usize + ETH_BYTES;
    if frame.flags & RxFlags::GSO == 0 && frame.len() <= limit {
        return true;
    }
    fits_slowly(frame, limit)
}

#[cold]
fn fits_slowly(frame: &Frame, limit: usize) -> bool {
    let limit = limit + tag_bytes(frame.data());
    if frame.flags & RxFlags::GSO == 0 {
        return frame.len() <= limit;
    }
    let l4 = usize::from(frame.csum_start);
    let header = match frame.gso {
        GsoKind::UDP => 8,
        _ => frame
            .data()
            .get(l4 + 12)
            .map_or(20, |b| usize::from(b >> 4) * 4),
    };
    l4 + header + usize::from(frame.gso_size) <= limit
}

/// May the frame go to the kernel with its offload data as it is? The kernel looks for the IP header of
/// a super-packet right behind the Ethernet header, and only new ones know of UDP segments.
#[inline]
pub(crate) fn kernel_takes(frame: &Frame) -> bool {
    frame.flags & RxFlags::GSO == 0
        || (frame.gso != GsoKind::UDP
            && frame.flags & RxFlags::CSUM_PARTIAL != 0
            && tag_bytes(frame.data()) == 0)
}

/// Finishes a copy of a frame (checksum, segments) and hands the results to `send`. The report counts
/// the frame as one, by the worst that befell any of its segments.
#[cold]
pub(crate) fn finish_and_send(
    frame: &Frame,
    mut send: impl FnMut(&mut Batch) -> TxReport,
) -> TxReport {
    let mut out = Batch::new();
    let mut total = TxReport::default();
    let copy = HeapPool::global().duplicate(frame);
    let cut: Result<usize, BadOffload> = segment(copy, &mut out, |full| total.absorb(send(full)));
    if cut.is_ok() {
        total.absorb(send(&mut out));
    } else {
        total.error = 1;
    }
    // The worst first.
    let found = [total.full, total.too_big, total.policed, total.error];
    let worst = found.iter().position(|&n| n > 0);
    let is = |at| u32::from(worst == Some(at));
    let sent = worst.is_none();
    TxReport {
        sent: u32::from(sent),
        bytes: if sent { frame.len() as u64 } else { 0 },
        full: is(0),
        too_big: is(1),
        policed: is(2),
        error: is(3),
    }
}
