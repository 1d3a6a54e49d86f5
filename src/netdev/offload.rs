//! What hardware would have done: finishing partial checksums and cutting super-packets.
//!
//! Local senders (a tap's kernel side, the other end of a veth) leave the checksum to the device and hand
//! over packets of up to 64 kB to be cut. A port that can pass both on (tap, packet socket) does; any
//! other completes the checksum and segments here, so that nothing leaves unfinished. Frames whose
//! offload data is impossible are refused, never sent.

use packet::{Batch, Frame, GsoKind, HeapPool, RxFlags};
use wire::checksum::{Sum, checksum, pseudo4, pseudo6};
use wire::{Ipv4, Ipv6};

const ETH_IPV4: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
const VLAN_TPIDS: [u16; 2] = [0x8100, 0x88a8];
const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// The offload data of a frame cannot be true: offsets outside, a segment size of zero, no such header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadOffload;

/// Does the frame need work before it may leave the host?
#[inline]
#[must_use]
pub fn is_unfinished(frame: &Frame) -> bool {
    frame.flags & (RxFlags::CSUM_PARTIAL | RxFlags::GSO) != 0
}

fn be16(d: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(d.get(at..at + 2)?.try_into().ok()?))
}

fn be32(d: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(d.get(at..at + 4)?.try_into().ok()?))
}

fn put16(d: &mut [u8], at: usize, n: u16) {
    d[at..at + 2].copy_from_slice(&n.to_be_bytes());
}

/// Finishes a partial checksum. Frames without one are left alone.
///
/// # Errors
/// [`BadOffload`] when the checksum's place is outside the frame.
pub fn complete_checksum(frame: &mut Frame) -> Result<(), BadOffload> {
    if frame.flags & RxFlags::CSUM_PARTIAL == 0 {
        return Ok(());
    }
    let start = usize::from(frame.csum_start);
    let field = start + usize::from(frame.csum_offset);
    if field + 2 > frame.len() {
        return Err(BadOffload);
    }
    // The field holds the pseudo header's sum, so that summing over it includes that.
    let sum = Sum::new().add_bytes(&frame.data()[start..]).finish();
    // Zero would say "no checksum" in UDP; all ones is the same number.
    put16(frame.data_mut(), field, if sum == 0 { 0xffff } else { sum });
    frame.flags = frame.flags & !RxFlags::CSUM_PARTIAL | RxFlags::CSUM_GOOD;
    Ok(())
}

/// Where the layers of a TCP or UDP packet begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layers {
    l3: usize,
    v6: bool,
    l4: usize,
    protocol: u8,
}

/// Finds IP (under up to two VLAN tags) and, behind a header without extensions, TCP or UDP.
fn layers(data: &[u8]) -> Option<Layers> {
    let mut at = 12;
    for _ in 0..2 {
        if VLAN_TPIDS.contains(&be16(data, at)?) {
            at += 4;
        }
    }
    let l3 = at + 2;
    match be16(data, at)? {
        ETH_IPV4 => {
            let first = *data.get(l3)?;
            let header = usize::from(first & 0xf) * 4;
            let fragment = be16(data, l3 + 6)? & 0x3fff != 0;
            let good = first >> 4 == 4 && header >= 20 && !fragment;
            let protocol = *data.get(l3 + 9)?;
            good.then_some(Layers {
                l3,
                v6: false,
                l4: l3 + header,
                protocol,
            })
        }
        ETH_IPV6 => {
            let protocol = *data.get(l3 + 6)?;
            Some(Layers {
                l3,
                v6: true,
                l4: l3 + 40,
                protocol,
            })
        }
        _ => None,
    }
}

/// The sum of a packet's pseudo header with an upper-layer length of `len`.
fn pseudo(data: &[u8], at: Layers, len: u32) -> Option<Sum> {
    let bytes = |from: usize, to: usize| data.get(at.l3 + from..at.l3 + to);
    if at.v6 {
        let src = Ipv6(bytes(8, 24)?.try_into().ok()?);
        let dst = Ipv6(bytes(24, 40)?.try_into().ok()?);
        Some(pseudo6(src, dst, at.protocol, len))
    } else {
        let src = Ipv4(bytes(12, 16)?.try_into().ok()?);
        let dst = Ipv4(bytes(16, 20)?.try_into().ok()?);
        Some(pseudo4(src, dst, at.protocol, len))
    }
}

/// Marks a frame whose TCP or UDP checksum is only its pseudo header's sum as partial, as a packet from a
/// local sender through a port that has no offload metadata (AF_XDP on a veth) is. A packet that really
/// has that checksum is completed to the same value, so a wrong guess costs time and changes nothing,
/// except for one in 65,536 packets that arrive damaged.
#[inline]
pub fn recognise_partial(frame: &mut Frame) {
    if let Some((start, offset)) = partial_at(frame.data()) {
        frame.csum_start = start;
        frame.csum_offset = offset;
        frame.flags |= RxFlags::CSUM_PARTIAL;
    }
}

fn partial_at(data: &[u8]) -> Option<(u16, u16)> {
    let at = layers(data)?;
    let (header, offset) = match at.protocol {
        TCP => (20, 16),
        UDP => (8, 6),
        _ => return None,
    };
    // Padding may follow the packet; the length that counts is IP's.
    let total = if at.v6 {
        40 + usize::from(be16(data, at.l3 + 4)?)
    } else {
        usize::from(be16(data, at.l3 + 2)?)
    };
    let len = (at.l3 + total).checked_sub(at.l4)?;
    if len < header || at.l4 + len != data.len() {
        return None;
    }
    let field = be16(data, at.l4 + offset)?;
    let sum = pseudo(data, at, u32::try_from(len).ok()?)?.partial();
    (field == sum && field != 0).then_some((at.l4 as u16, offset as u16))
}

/// Cuts a super-packet into frames of at most `gso_size` bytes of payload, checksums finished, appended
/// to `out` in order; whenever that is full, `full` empties it. Frames that are no super-packet just get
/// their checksum finished.
///
/// # Errors
/// [`BadOffload`]; nothing was appended then.
pub fn segment(
    mut frame: Frame,
    out: &mut Batch,
    mut full: impl FnMut(&mut Batch),
) -> Result<usize, BadOffload> {
    if frame.flags & RxFlags::GSO == 0 {
        complete_checksum(&mut frame)?;
        push(out, frame, &mut full);
        return Ok(1);
    }
    let plan = Plan::new(&frame)?;
    for i in 0..plan.segments {
        let cut = plan.cut(&frame, i);
        push(out, cut, &mut full);
    }
    Ok(plan.segments)
}

fn push(out: &mut Batch, frame: Frame, full: &mut impl FnMut(&mut Batch)) {
    if out.room() == 0 {
        full(out);
    }
    // A consumer that does not empty the batch loses the frame: it goes back to its pool.
    drop(out.push(frame));
}

/// How a super-packet is cut.
#[derive(Debug)]
struct Plan {
    at: Layers,
    /// Bytes of all headers, copied to every segment.
    headers: usize,
    payload: usize,
    size: usize,
    segments: usize,
    tcp: bool,
    /// Pseudo header's sum with a length of zero.
    pseudo: u16,
}

impl Plan {
    fn new(frame: &Frame) -> Result<Self, BadOffload> {
        Self::checked(frame).ok_or(BadOffload)
    }

    fn checked(frame: &Frame) -> Option<Self> {
        let data = frame.data();
        let mut at = layers(data)?;
        let tcp = match (frame.gso, at.v6) {
            (GsoKind::TCP4, false) | (GsoKind::TCP6, true) => true,
            (GsoKind::UDP, _) => false,
            _ => return None,
        };
        let wanted = if tcp { TCP } else { UDP };
        let partial = frame.flags & RxFlags::CSUM_PARTIAL != 0;
        if partial {
            // The sender knows where its header is, extension headers or not.
            let start = usize::from(frame.csum_start);
            if start < at.l4 || (start > at.l4 && !at.v6) {
                return None;
            }
            at.l4 = start;
        } else if at.protocol != wanted {
            return None;
        }
        let (minimum, field) = if tcp { (20, 16) } else { (8, 6) };
        let l4_bytes = if tcp {
            usize::from(data.get(at.l4 + 12)? >> 4) * 4
        } else {
            8
        };
        let headers = at.l4 + l4_bytes;
        let payload = data.len().checked_sub(headers)?;
        let size = usize::from(frame.gso_size);
        if l4_bytes < minimum || size == 0 || payload == 0 {
            return None;
        }
        let len = u32::try_from(data.len() - at.l4).ok()?;
        let pseudo = if partial {
            // What the sender put there includes the length of the whole; take that out again.
            let sum = Sum::from_partial(be16(data, at.l4 + field)?);
            sum.add_u32(!len).partial()
        } else {
            at.protocol = wanted;
            pseudo(data, at, 0)?.partial()
        };
        let segments = payload.div_ceil(size);
        Some(Self {
            at,
            headers,
            payload,
            size,
            segments,
            tcp,
            pseudo,
        })
    }

    /// Makes segment `i`.
    fn cut(&self, frame: &Frame, i: usize) -> Frame {
        let from = i * self.size;
        let n = self.size.min(self.payload - from);
        let mut cut = HeapPool::global().alloc(self.headers + n);
        cut.copy_metadata(frame);
        cut.flags = frame.flags & !(RxFlags::GSO | RxFlags::CSUM_PARTIAL) | RxFlags::CSUM_GOOD;
        cut.gso = GsoKind::NONE;
        cut.gso_size = 0;
        let source = frame.data();
        let data = cut.data_mut();
        data[..self.headers].copy_from_slice(&source[..self.headers]);
        data[self.headers..].copy_from_slice(&source[self.headers + from..][..n]);
        self.fix_l3(data, i);
        self.fix_l4(data, i);
        cut
    }

    fn fix_l3(&self, data: &mut [u8], i: usize) {
        let l3 = self.at.l3;
        let len = data.len() - l3;
        // Segments are shorter than the super-packet, whose length fitted 16 bits or was cut to them.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        if self.at.v6 {
            put16(data, l3 + 4, (len - 40) as u16);
        } else {
            put16(data, l3 + 2, len as u16);
            let id = u16::from_be_bytes([data[l3 + 4], data[l3 + 5]]);
            put16(data, l3 + 4, id.wrapping_add(i as u16));
            put16(data, l3 + 10, 0);
            // layers() took the header's length from the packet; a sender's start may not be before it.
            let header = usize::from(data[l3] & 0xf) * 4;
            let sum = checksum(&data[l3..l3 + header]);
            put16(data, l3 + 10, sum);
        }
    }

    fn fix_l4(&self, data: &mut [u8], i: usize) {
        let l4 = self.at.l4;
        let len = data.len() - l4;
        let field = l4 + if self.tcp { 16 } else { 6 };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "offsets in a packet below 4 GB"
        )]
        if self.tcp {
            let seq = be32(data, l4 + 4)
                .unwrap_or(0)
                .wrapping_add((i * self.size) as u32);
            data[l4 + 4..l4 + 8].copy_from_slice(&seq.to_be_bytes());
            if i + 1 < self.segments {
                data[l4 + 13] &= !(TCP_FIN | TCP_PSH);
            }
            if i > 0 {
                data[l4 + 13] &= !TCP_CWR;
            }
        } else {
            put16(data, l4 + 4, len as u16);
        }
        put16(data, field, 0);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a packet's length fits 32 bits"
        )]
        let sum = Sum::from_partial(self.pseudo)
            .add_u32(len as u32)
            .add_bytes(&data[l4..])
            .finish();
        put16(data, field, if sum == 0 { 0xffff } else { sum });
    }
}

#[cfg(test)]
#[path = "offload_tests.rs"]
mod tests;
