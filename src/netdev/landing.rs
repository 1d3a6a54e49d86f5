//! Where packets from sockets and taps land: frames with room for an ordinary packet, and behind each a
//! spill area for what a local sender's super-packet has more.
//!
//! A packet that needed its spill area is copied once into a frame of its own size. Owned by one queue;
//! warm, it does not allocate for ordinary packets (frames come from the heap pool's free list).

use crate::linux::socket::RecvSlot;
use crate::vnet::{self, VNET_BYTES, VnetHeader};
use arrayvec::ArrayVec;
use packet::{BATCH_MAX, Batch, Frame, HeapPool};

/// Data bytes of an ordinary frame: with headroom, a recycled buffer of the heap pool.
const FRAME_BYTES: usize = 2048 - packet::HEADROOM;
/// Bytes that a super-packet can have more: 64 kB and its headers in all.
const SPILL_BYTES: usize = 65_536 + 256 - FRAME_BYTES;

/// Packets lost on their way in, by reason.
#[derive(Debug, Default)]
pub(crate) struct RxLoss {
    pub(crate) oversize: u64,
    pub(crate) bad_offload: u64,
    pub(crate) runt: u64,
}

/// How one packet arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Bytes, the virtio-net header included.
    pub(crate) len: usize,
    pub(crate) truncated: bool,
    pub(crate) vlan: Option<(u16, u16)>,
}

/// Places for a batch of packets.
pub(crate) struct Landing {
    frames: ArrayVec<Frame, BATCH_MAX>,
    headers: [VnetHeader; BATCH_MAX],
    spill: Vec<u8>,
    pub(crate) loss: RxLoss,
}

impl std::fmt::Debug for Landing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Landing")
            .field("loss", &self.loss)
            .finish_non_exhaustive()
    }
}

impl Landing {
    /// Places for `n` packets at a time, at most a batch.
    pub(crate) fn new(n: usize) -> Self {
        Self {
            frames: ArrayVec::new(),
            headers: [[0; VNET_BYTES]; BATCH_MAX],
            // Zeroed memory from the kernel: not there until a super-packet touches it.
            spill: vec![0; n.min(BATCH_MAX) * SPILL_BYTES],
            loss: RxLoss::default(),
        }
    }

    /// Places for the next `n` packets.
    pub(crate) fn slots(&mut self, n: usize) -> ArrayVec<RecvSlot<'_>, BATCH_MAX> {
        let n = n.min(self.spill.len() / SPILL_BYTES);
        while self.frames.len() < n {
            self.frames.push(HeapPool::global().alloc(FRAME_BYTES));
        }
        let frames = self.frames.iter_mut().zip(self.headers.iter_mut());
        frames
            .zip(self.spill.chunks_exact_mut(SPILL_BYTES))
            .take(n)
            .map(|((frame, header), spill)| RecvSlot {
                parts: [header.as_mut_slice(), frame.data_mut(), spill],
                len: 0,
                truncated: false,
                vlan: None,
            })
            .collect()
    }

    /// Moves the packets that arrived in the first places to the batch; returns how many were good.
    pub(crate) fn land(&mut self, arrivals: &[Arrival], batch: &mut Batch) -> usize {
        let mut good = 0;
        let frames = std::mem::take(&mut self.frames);
        for (i, frame) in frames.into_iter().enumerate() {
            match arrivals.get(i) {
                Some(arrival) => {
                    if let Some(frame) = self.finish(frame, i, *arrival) {
                        // The caller asked for no more places than the batch has.
                        good += usize::from(batch.push(frame).is_ok());
                    }
                }
                None => self.frames.push(frame),
            }
        }
        good
    }

    /// Turns what arrived in place `i` into a frame.
    fn finish(&mut self, mut frame: Frame, i: usize, arrival: Arrival) -> Option<Frame> {
        let len = arrival.len.saturating_sub(VNET_BYTES);
        if arrival.truncated {
            self.loss.oversize += 1;
            return None;
        }
        if len < 14 {
            self.loss.runt += 1;
            return None;
        }
        if len > FRAME_BYTES {
            let mut large = HeapPool::global().alloc(len);
            let rest = &self.spill[i * SPILL_BYTES..][..len - FRAME_BYTES];
            large.data_mut()[..FRAME_BYTES].copy_from_slice(frame.data());
            large.data_mut()[FRAME_BYTES..].copy_from_slice(rest);
            frame = large;
        }
        let sized = frame.set_len(len);
        if !sized || !vnet::apply(&self.headers[i], &mut frame) {
            self.loss.bad_offload += 1;
            return None;
        }
        if let Some((tpid, tci)) = arrival.vlan {
            insert_vlan(&mut frame, tpid, tci);
        }
        Some(frame)
    }
}

/// Puts a VLAN tag back that the kernel took out.
fn insert_vlan(frame: &mut Frame, tpid: u16, tci: u16) {
    // Fresh frames have their whole headroom.
    if !frame.push(4) {
        return;
    }
    let data = frame.data_mut();
    data.copy_within(4..16, 0);
    data[12..14].copy_from_slice(&tpid.to_be_bytes());
    data[14..16].copy_from_slice(&tci.to_be_bytes());
    frame.csum_start += 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(landing: &mut Landing, packets: &[Vec<u8>], vlan: Option<(u16, u16)>) -> Batch {
        let mut arrivals = Vec::new();
        for (slot, packet) in landing.slots(BATCH_MAX).iter_mut().zip(packets) {
            let mut bytes = vec![0; VNET_BYTES];
            bytes.extend(packet);
            let mut rest = &bytes[..];
            for part in &mut slot.parts {
                let n = part.len().min(rest.len());
                part[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
            }
            arrivals.push(Arrival {
                len: bytes.len(),
                truncated: !rest.is_empty(),
                vlan,
            });
        }
        let mut batch = Batch::new();
        landing.land(&arrivals, &mut batch);
        batch
    }

    #[test]
    fn small_large_and_oversize_packets() {
        let mut landing = Landing::new(BATCH_MAX);
        for _ in 0..3 {
            let sizes = [60, FRAME_BYTES, FRAME_BYTES + 1, 65_600, 70_000, 5];
            let packets: Vec<Vec<u8>> = sizes
                .iter()
                .map(|&n| (0..n).map(|b| b as u8).collect())
                .collect();
            let batch = arrive(&mut landing, &packets, None);
            assert_eq!(batch.len(), 4);
            for (frame, packet) in batch.iter().zip(&packets) {
                assert_eq!(frame.data(), &packet[..]);
            }
        }
        assert_eq!((landing.loss.oversize, landing.loss.runt), (3, 3));
    }

    #[test]
    fn a_vlan_tag_is_put_back() {
        let mut landing = Landing::new(4);
        let packet: Vec<u8> = (0..100).collect();
        let batch = arrive(
            &mut landing,
            std::slice::from_ref(&packet),
            Some((0x8100, 0x2005)),
        );
        let mut want = packet[..12].to_vec();
        want.extend([0x81, 0x00, 0x20, 0x05]);
        want.extend(&packet[12..]);
        assert_eq!(batch[0].data(), &want[..]);
    }
}
