//! From frames to a guest's ring: each packet is copied once, into one or (merged) several buffers.
//!
//! A burst's buffers are looked at together ([`Tables::look_ahead`]); a packet that fits its own is copied at
//! once, any other goes the long way.

use super::counts::{Counts, Tally};
use super::ring::{Chain, Fault, Places, Ring, Sight, Tables, Way};
use crate::device::TxReport;
use crate::offload::is_unfinished;
use crate::outgoing::{finish_and_send, fits, kernel_takes};
use crate::vnet;
use arrayvec::ArrayVec;
use packet::{Frame, GsoKind, RxFlags};

/// Buffers that one packet may take.
const BUFFERS_MAX: usize = 64;

/// What a header can say of a frame.
const OFFLOADS: u8 = RxFlags::CSUM_PARTIAL | RxFlags::CSUM_GOOD | RxFlags::GSO;

/// The header of a frame without any of them, in one buffer.
static PLAIN: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

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
    tables: &'a Tables,
    places: &'a mut Places,
    /// Heads looked at, the first of them number `sight_from`.
    sight: Sight<'a>,
    sight_from: u16,
    tally: Tally<'a>,
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
    let Ring { tables, places, .. } = ring;
    places.fetch_used_index(tables);
    if usize::from(places.waiting()) < frames.len() {
        fault = places.refresh(tables).err();
    }
    let sight = match fault {
        None => tables.look_ahead(places, frames.len(), Way::ToGuest),
        Some(_) => Sight::new(),
    };
    let mut burst = Burst {
        tables,
        sight_from: places.next(),
        places,
        sight,
        tally: Tally::new(counts),
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
    let Burst {
        places,
        tally,
        fault,
        ..
    } = burst;
    tally.close();
    (report, places.publish(tables), fault)
}

impl Burst<'_> {
    /// May the guest get the frame with its offload data as it is?
    #[inline]
    fn passes_on(&self, frame: &Frame) -> bool {
        if !is_unfinished(frame) {
            return true;
        }
        let features = self.tables.features();
        if frame.flags & RxFlags::GSO == 0 {
            return features.guest_takes_partial();
        }
        features.guest_takes_super(frame.gso == GsoKind::TCP6) && kernel_takes(frame)
    }

    #[inline]
    fn send(&mut self, frame: &Frame, report: &mut TxReport) {
        if self.put_simply(frame) {
            self.progress = true;
            self.tally.packet(frame.data());
            report.sent += 1;
            report.bytes += frame.len() as u64;
            return;
        }
        self.send_any(frame, report);
    }

    #[inline(never)]
    fn send_any(&mut self, frame: &Frame, report: &mut TxReport) {
        loop {
            match self.put(frame) {
                Ok(Put::Sent) => {
                    self.progress = true;
                    self.tally.packet(frame.data());
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
        let before = self.places.waiting();
        if !self.progress || self.limits.retries == 0 {
            return false;
        }
        self.progress = false;
        self.limits.retries -= 1;
        self.tally.retry();
        match self.places.refresh(self.tables) {
            Ok(now) => now > before,
            Err(fault) => {
                self.fault = Some(fault);
                false
            }
        }
    }

    /// Copies one frame into the next buffer, if that was looked at and the frame fits; false when not.
    #[inline]
    fn put_simply(&mut self, frame: &Frame) -> bool {
        let at = usize::from(self.places.next().wrapping_sub(self.sight_from));
        let Some(ahead) = self.sight.get(at) else {
            return false;
        };
        let (head, Some(span)) = (ahead.head, ahead.span) else {
            return false;
        };
        let header_bytes = self.tables.features().header_bytes();
        let needed = header_bytes + frame.len();
        if span.len() < needed || self.fault.is_some() {
            return false;
        }
        if frame.flags & OFFLOADS == 0 {
            span.write_packet(&PLAIN[..header_bytes], frame.data());
        } else {
            let header = self.header(frame, 1);
            span.write_packet(&header[..header_bytes], frame.data());
        }
        self.places.give_back(self.tables, head, needed as u32);
        true
    }

    /// The virtio-net header of a frame that takes `buffers` buffers.
    #[inline]
    fn header(&self, frame: &Frame, buffers: u16) -> [u8; 12] {
        let mut header = [0; 12];
        if frame.flags & OFFLOADS != 0 && self.tables.features().guest_takes_partial() {
            header[..vnet::VNET_BYTES].copy_from_slice(&vnet::describe(frame));
        }
        header[10..].copy_from_slice(&buffers.to_le_bytes());
        header
    }

    /// Copies one frame into as many buffers as it needs.
    fn put(&mut self, frame: &Frame) -> Result<Put, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let features = self.tables.features();
        let header_bytes = features.header_bytes();
        let needed = header_bytes + frame.len();
        let mut chain = Chain::default();
        let mut buffers: ArrayVec<(u16, usize), BUFFERS_MAX> = ArrayVec::new();
        while chain.bytes() < needed {
            if chain.cut || buffers.is_full() || (!buffers.is_empty() && !features.mergeable()) {
                return Ok(Put::TooBig);
            }
            if buffers.len() >= usize::from(self.places.waiting()) {
                return Ok(Put::Short);
            }
            let head = self.places.head(self.tables, buffers.len())?;
            let before = chain.bytes();
            self.tables.walk(head, Way::ToGuest, &mut chain)?;
            buffers.push((head, chain.bytes() - before));
        }
        let header = self.header(frame, buffers.len() as u16);
        copy_in(&chain, &header[..header_bytes], frame.data());
        let mut rest = needed;
        for (head, room) in buffers {
            let n = room.min(rest);
            rest -= n;
            self.places.give_back(self.tables, head, n as u32);
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
