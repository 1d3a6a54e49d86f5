//! From frames to a guest's ring: each packet is copied once, into one or (merged) several buffers.

use super::counts::Counts;
use super::ring::{Chain, Fault, Ring, Way};
use crate::device::TxReport;
use crate::offload::is_unfinished;
use crate::outgoing::{finish_and_send, fits, kernel_takes};
use crate::vnet;
use arrayvec::ArrayVec;
use packet::{Frame, GsoKind, RxFlags};

/// Buffers that one packet may take.
const BUFFERS_MAX: usize = 64;

/// How a port sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes, without the Ethernet header.
    pub(super) mtu: u32,
    /// Times that a burst looks for more buffers when it ran out of them.
    pub(super) retries: u32,
}

/// What became of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Sent,
    /// Not enough buffers, yet.
    Short,
    /// It fits no buffer of this guest.
    TooBig,
}

/// A burst under way.
struct Burst<'a> {
    ring: &'a mut Ring,
    counts: &'a Counts,
    limits: Limits,
    /// Packets since the last look for buffers: without any, another look is not worth it.
    progress: bool,
    fault: Option<Fault>,
}

/// Copies frames into the ring. Says whether the guest wants to be called, and what it did wrong.
pub(super) fn transmit(
    ring: &mut Ring,
    frames: &[Frame],
    limits: Limits,
    counts: &Counts,
) -> (TxReport, bool, Option<Fault>) {
    let mut report = TxReport::default();
    let mut fault = None;
    if usize::from(ring.waiting()) < frames.len() {
        fault = ring.refresh().err();
    }
    let mut burst = Burst {
        ring,
        counts,
        limits,
        progress: false,
        fault,
    };
    for frame in frames {
        if !fits(frame, limits.mtu) {
            report.too_big += 1;
        } else if burst.passes_on(frame) {
            burst.send(frame, &mut report);
        } else {
            report.absorb(finish_and_send(frame, |cut| {
                let mut inner = TxReport::default();
                cut.iter().for_each(|f| burst.send(f, &mut inner));
                cut.release_all();
                inner
            }));
        }
    }
    let fault = burst.fault;
    (report, ring.publish(), fault)
}

impl Burst<'_> {
    /// May the guest get the frame with its offload data as it is?
    #[inline]
    fn passes_on(&self, frame: &Frame) -> bool {
        if !is_unfinished(frame) {
            return true;
        }
        let features = self.ring.features();
        if frame.flags & RxFlags::GSO == 0 {
            return features.guest_takes_partial();
        }
        features.guest_takes_super(frame.gso == GsoKind::TCP6) && kernel_takes(frame)
    }

    fn send(&mut self, frame: &Frame, report: &mut TxReport) {
        loop {
            match self.put(frame) {
                Ok(Put::Sent) => {
                    self.progress = true;
                    self.counts.packet(frame.data());
                    report.sent += 1;
                    report.bytes += frame.len() as u64;
                }
                Ok(Put::Short) if self.look_again() => continue,
                Ok(Put::Short) => report.full += 1,
                Ok(Put::TooBig) => report.too_big += 1,
                Err(fault) => {
                    self.fault = Some(fault);
                    report.error += 1;
                }
            }
            return;
        }
    }

    /// Looks for more buffers; false when that is pointless.
    #[inline]
    fn look_again(&mut self) -> bool {
        let before = self.ring.waiting();
        if !self.progress || self.limits.retries == 0 {
            return false;
        }
        self.progress = false;
        self.limits.retries -= 1;
        self.counts.retries.add_local(1);
        match self.ring.refresh() {
            Ok(now) => now > before,
            Err(fault) => {
                self.fault = Some(fault);
                false
            }
        }
    }

    /// Copies one frame into as many buffers as it needs.
    #[inline]
    fn put(&mut self, frame: &Frame) -> Result<Put, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let features = self.ring.features();
        let header_bytes = features.header_bytes();
        let needed = header_bytes + frame.len();
        let mut chain = Chain::default();
        let mut buffers: ArrayVec<(u16, usize), BUFFERS_MAX> = ArrayVec::new();
        while chain.bytes() < needed {
            if chain.cut || buffers.is_full() || (!buffers.is_empty() && !features.mergeable()) {
                return Ok(Put::TooBig);
            }
            if buffers.len() >= usize::from(self.ring.waiting()) {
                return Ok(Put::Short);
            }
            let head = self.ring.head(buffers.len())?;
            let before = chain.bytes();
            self.ring.walk(head, Way::ToGuest, &mut chain)?;
            buffers.push((head, chain.bytes() - before));
        }
        let mut header = [0; 12];
        if features.guest_takes_partial() {
            header[..vnet::VNET_BYTES].copy_from_slice(&vnet::describe(frame));
        }
        header[10..].copy_from_slice(&(buffers.len() as u16).to_le_bytes());
        copy_in(&chain, &header[..header_bytes], frame.data());
        drop(chain);
        let mut rest = needed;
        for (head, room) in buffers {
            let n = room.min(rest);
            rest -= n;
            self.ring.give_back(head, n as u32);
        }
        Ok(Put::Sent)
    }
}

/// Writes the header and then the data, which together are no longer than the chain.
#[inline]
fn copy_in(chain: &Chain<'_>, mut header: &[u8], mut data: &[u8]) {
    for span in chain.spans() {
        let n = span.write(header);
        header = &header[n..];
        data = &data[span.skip(n).write(data)..];
    }
}
