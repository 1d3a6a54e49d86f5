//! The plain twin of ring parsing: guest memory as a list of bytes, one descriptor after the other, written
//! from the specification's words (virtio 1.2, 2.7) and the limits that `ring` names.

use crate::vhost::receive::Loss;
use crate::vhost::ring::{DESCRIPTORS_MAX, Fault};

/// A copy of a guest's memory: regions of (first address, bytes).
#[derive(Debug, Clone)]
pub(super) struct Memory(pub(super) Vec<(u64, Vec<u8>)>);

impl Memory {
    fn byte(&self, at: u64) -> Option<u8> {
        let mut regions = self.0.iter();
        regions.find_map(|(first, bytes)| {
            bytes
                .get(usize::try_from(at.checked_sub(*first)?).ok()?)
                .copied()
        })
    }
    fn set(&mut self, at: u64, byte: u8) {
        for (first, bytes) in &mut self.0 {
            if let Some(i) = at.checked_sub(*first)
                && let Some(b) = bytes.get_mut(i as usize)
            {
                *b = byte;
            }
        }
    }
    /// Bytes that may lie in several regions.
    pub(super) fn bytes(&self, at: u64, len: u64) -> Option<Vec<u8>> {
        let end = at.checked_add(len)?;
        // Stops at the first that is missing: a length may be 4 GB.
        (at..end).map(|i| self.byte(i)).collect()
    }
    /// Bytes of one region.
    fn in_one(&self, at: u64, len: u64) -> Option<Vec<u8>> {
        let one = |(first, bytes): &(u64, Vec<u8>)| {
            let from = usize::try_from(at.checked_sub(*first)?).ok()?;
            bytes
                .get(from..from.checked_add(len as usize)?)
                .map(<[u8]>::to_vec)
        };
        self.0.iter().find_map(one)
    }
    pub(super) fn half(&self, at: u64) -> u16 {
        let b = self.bytes(at, 2).unwrap();
        u16::from_le_bytes([b[0], b[1]])
    }
}

/// Where a ring is, in guest addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) size: u16,
    pub(super) indirect: bool,
}

/// The buffers of a chain: address and length.
fn chain(memory: &Memory, t: &Tables, head: u16, to_guest: bool) -> Result<Vec<(u64, u32)>, Fault> {
    let mut table = memory
        .in_one(t.descriptors, 16 * u64::from(t.size))
        .unwrap();
    let mut inside = false;
    let mut buffers = Vec::new();
    let mut i = usize::from(head);
    for _ in 0..DESCRIPTORS_MAX {
        let d = table.get(16 * i..16 * i + 16).ok_or(Fault::Next)?;
        let addr = u64::from_le_bytes(d[..8].try_into().unwrap());
        let len = u32::from_le_bytes(d[8..12].try_into().unwrap());
        let flags = u16::from_le_bytes([d[12], d[13]]);
        let next = u16::from_le_bytes([d[14], d[15]]);
        if flags & 4 != 0 {
            if inside || !t.indirect || flags & 1 != 0 {
                return Err(Fault::Indirect);
            }
            if len == 0 || len % 16 != 0 {
                return Err(Fault::Table);
            }
            table = memory.in_one(addr, len.into()).ok_or(Fault::Table)?;
            inside = true;
            i = 0;
            continue;
        }
        if (flags & 2 != 0) != to_guest {
            return Err(Fault::Direction);
        }
        if to_guest && len == 0 {
            return Err(Fault::Empty);
        }
        memory.bytes(addr, len.into()).ok_or(Fault::Address)?;
        buffers.push((addr, len));
        if flags & 1 == 0 {
            return Ok(buffers);
        }
        i = usize::from(next);
    }
    Err(Fault::Loop)
}

/// The heads that wait behind `next`.
fn heads(memory: &Memory, t: &Tables, next: u16) -> Result<Vec<u16>, Fault> {
    let waiting = memory.half(t.available + 2).wrapping_sub(next);
    if waiting > t.size {
        return Err(Fault::Available);
    }
    let at = |i: u16| t.available + 4 + 2 * u64::from(next.wrapping_add(i) % t.size);
    Ok((0..waiting).map(|i| memory.half(at(i))).collect())
}

/// What comes of everything that waits in a ring out of the guest, and of what it is stopped.
pub(super) fn receive(
    memory: &Memory,
    t: &Tables,
    next: u16,
    header: usize,
) -> (Vec<Result<Vec<u8>, Loss>>, Option<Fault>) {
    let mut packets = Vec::new();
    let heads = match heads(memory, t, next) {
        Ok(heads) => heads,
        Err(fault) => return (packets, Some(fault)),
    };
    for head in heads {
        if head >= t.size {
            return (packets, Some(Fault::Head));
        }
        let buffers = match chain(memory, t, head, false) {
            Ok(buffers) => buffers,
            Err(fault) => return (packets, Some(fault)),
        };
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|(addr, len)| memory.bytes(*addr, (*len).into()).unwrap())
            .collect();
        packets.push(match bytes.len().checked_sub(header) {
            None | Some(0..14) => Err(Loss::Runt),
            Some(65_558..) => Err(Loss::Oversize),
            Some(_) => Ok(bytes[header..].to_vec()),
        });
    }
    (packets, None)
}

/// What becomes of one packet for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    Full,
    TooBig,
}

/// Sends packets into a ring: changes the memory, returns what became of each, and the entries used. Stops
/// at a fault.
pub(super) fn transmit(
    memory: &mut Memory,
    t: &Tables,
    next: u16,
    packets: &[Vec<u8>],
    mergeable: bool,
) -> (Vec<Sent>, Vec<(u32, u32)>, Option<Fault>) {
    let (mut sent, mut used) = (Vec::new(), Vec::new());
    let waiting = match heads(memory, t, next) {
        Ok(heads) => heads,
        Err(fault) => return (sent, used, Some(fault)),
    };
    let mut at = 0;
    for packet in packets {
        let needed = 12 + packet.len();
        let mut buffers: Vec<Vec<(u64, u32)>> = Vec::new();
        let size = |b: &[(u64, u32)]| b.iter().map(|(_, len)| *len as usize).sum::<usize>();
        let outcome = loop {
            let room: usize = buffers.iter().map(|b| size(b)).sum();
            if room >= needed {
                break Sent::Yes;
            }
            if !mergeable && !buffers.is_empty() {
                break Sent::TooBig;
            }
            let Some(head) = waiting.get(at + buffers.len()) else {
                break Sent::Full;
            };
            if *head >= t.size {
                return (sent, used, Some(Fault::Head));
            }
            match chain(memory, t, *head, true) {
                Ok(b) => buffers.push(b),
                Err(fault) => return (sent, used, Some(fault)),
            }
        };
        sent.push(outcome);
        if outcome != Sent::Yes {
            continue;
        }
        let mut bytes = vec![0; 10];
        bytes.extend((buffers.len() as u16).to_le_bytes());
        bytes.extend(packet);
        let mut bytes = bytes.into_iter();
        let mut rest = needed;
        for (i, buffer) in buffers.iter().enumerate() {
            let n = size(buffer).min(rest);
            rest -= n;
            used.push((u32::from(waiting[at + i]), n as u32));
            for (addr, len) in buffer {
                for (offset, byte) in (0..u64::from(*len)).zip(bytes.by_ref()) {
                    memory.set(addr + offset, byte);
                }
            }
        }
        at += buffers.len();
    }
    (sent, used, None)
}
