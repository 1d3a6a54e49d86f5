//! Packets of several buffers (`XDP_PKT_CONTD`) put together.
//!
//! A packet's descriptors come one behind the other, all but the last marked as going on; a read of the ring
//! may end anywhere among them. [`Gather`] keeps what has come of a packet until its end is there, then copies
//! the pieces into one frame. It knows no ring and no UMEM: it deals in chunk numbers, and asks for their bytes.
//!
//! Whatever comes, every chunk goes back to the free list exactly once: with its packet's end, or at once when
//! the packet cannot be any good any more (too many pieces, one that lies outside its chunk). Such a packet is
//! swallowed to its end and counted as one.

use arrayvec::ArrayVec;
use packet::{Frame, HeapPool};

/// Most pieces of a packet: what the kernel can carry in one of its own (17 fragments and a head), and with
/// chunks of 4,096 bytes more than the largest IP packet.
pub(super) const PARTS_MAX: usize = 18;

/// Bytes of the smallest packet that is one: an Ethernet header.
pub(super) const PACKET_MIN: usize = 14;

/// One descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Number of the chunk.
    pub(super) chunk: u32,
    /// Where data begins in the chunk, bytes.
    pub(super) start: u32,
    /// Bytes of data.
    pub(super) len: u32,
    /// The packet goes on in the next descriptor.
    pub(super) more: bool,
}

/// What a descriptor did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The packet goes on.
    Open,
    /// The packet is there: [`Gather::finish`] makes a frame of it.
    Whole,
    /// The packet ended and was no good: one is lost.
    Lost,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gather {
    parts: ArrayVec<Part, PARTS_MAX>,
    bytes: usize,
    /// In the middle of a packet.
    open: bool,
    /// The packet at hand is no good: what comes of it goes back at once.
    spoilt: bool,
}

impl Gather {
    /// In the middle of a packet?
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Takes the next descriptor. `good` says that its data lies inside its chunk.
    pub(super) fn push(&mut self, part: Part, good: bool, free: &mut Vec<u32>) -> Step {
        self.open = part.more;
        if self.spoilt || !good || self.parts.is_full() {
            self.spoil(free);
            free.push(part.chunk);
        } else {
            self.bytes += part.len as usize;
            self.parts.push(part);
        }
        self.ended(free)
    }

    /// Takes a descriptor that names no chunk of ours: nothing to give back, but its packet is lost.
    pub(super) fn push_stranger(&mut self, more: bool, free: &mut Vec<u32>) -> Step {
        self.open = more;
        self.spoil(free);
        self.ended(free)
    }

    /// The packet at hand is no good: what has come of it goes back.
    fn spoil(&mut self, free: &mut Vec<u32>) {
        self.spoilt = true;
        self.bytes = 0;
        free.extend(self.parts.drain(..).map(|p| p.chunk));
    }

    fn ended(&mut self, free: &mut Vec<u32>) -> Step {
        if self.open {
            return Step::Open;
        }
        if self.bytes < PACKET_MIN {
            self.spoil(free);
        }
        if std::mem::take(&mut self.spoilt) {
            Step::Lost
        } else {
            Step::Whole
        }
    }

    /// Makes one frame of the pieces; their chunks go back.
    pub(super) fn finish<'a>(
        &mut self,
        free: &mut Vec<u32>,
        bytes_of: impl Fn(&Part) -> &'a [u8],
    ) -> Frame {
        let mut frame = HeapPool::global().alloc(self.bytes);
        let mut rest = frame.data_mut();
        for part in self.parts.drain(..) {
            let bytes = bytes_of(&part);
            let (place, behind) = rest.split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            rest = behind;
            free.push(part.chunk);
        }
        debug_assert!(rest.is_empty());
        self.bytes = 0;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Chunks of the pretended UMEM, and their size.
    const CHUNKS: u32 = 64;
    const CHUNK_BYTES: usize = 64;

    /// What the kernel might put into a ring, or what nobody should.
    #[derive(Debug, Clone, Copy)]
    struct Desc {
        start: u32,
        len: u32,
        more: bool,
        stranger: bool,
    }

    impl Desc {
        fn is_good(self) -> bool {
            self.start as usize + self.len as usize <= CHUNK_BYTES
        }
    }

    fn descs() -> impl Strategy<Value = Vec<Desc>> {
        let desc = (0u32..80, 0u32..80, 0u8..100, 0u8..100);
        let desc = desc.prop_map(|(start, len, more, stranger)| Desc {
            // Most are good, and most packets go on: chains reach and pass their limit.
            start: if start < 60 { start % 16 } else { start },
            len: if len < 60 { len % 49 } else { len },
            more: more < 85,
            stranger: stranger < 2,
        });
        prop::collection::vec(desc, 1..400)
    }

    /// The plain twin: cuts the whole list into packets first, then judges each.
    fn plainly(descs: &[(Desc, u32)], memory: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let (mut packets, mut lost) = (Vec::new(), 0);
        for packet in descs.split_inclusive(|(d, _)| !d.more) {
            let ended = packet.last().is_some_and(|(d, _)| !d.more);
            let sound = packet.iter().all(|(d, _)| !d.stranger && d.is_good());
            let bytes: Vec<u8> = packet
                .iter()
                .filter(|_| sound)
                .flat_map(|(d, chunk)| {
                    let at = *chunk as usize * CHUNK_BYTES + d.start as usize;
                    memory[at..at + d.len as usize].to_vec()
                })
                .collect();
            let good = sound && packet.len() <= PARTS_MAX && bytes.len() >= PACKET_MIN;
            match (ended, good) {
                (true, true) => packets.push(bytes),
                (true, false) => lost += 1,
                (false, _) => {}
            }
        }
        (packets, lost)
    }

    fn memory() -> Vec<u8> {
        (0..CHUNKS as usize * CHUNK_BYTES)
            .map(|i| (i * 7 + i / CHUNK_BYTES) as u8)
            .collect()
    }

    proptest! {
        /// Descriptors in a ring of plain memory, read in bursts that end anywhere (so that a packet lies
        /// across reads and across the ring's end): the packets are the twin's, every loss is counted once,
        /// and every chunk that is not held for the packet at hand comes back exactly once.
        #[test]
        fn packets_are_put_together_and_no_chunk_leaks(
            descs in descs(),
            bursts in prop::collection::vec(1usize..33, 1..64),
        ) {
            let memory = memory();
            let mut free: Vec<u32> = (0..CHUNKS).collect();
            let mut gather = Gather::default();
            let (mut frames, mut lost, mut taken) = (Vec::new(), 0u64, Vec::new());
            let mut bursts = bursts.iter().cycle();
            let mut rest = &descs[..];
            while !rest.is_empty() {
                let burst = (*bursts.next().unwrap()).min(rest.len());
                for desc in &rest[..burst] {
                    // The kernel writes into the chunk that has been free for longest.
                    let chunk = free.remove(0);
                    taken.push((*desc, chunk));
                    let step = if desc.stranger {
                        free.push(chunk); // what it names is none of the ring's chunks
                        gather.push_stranger(desc.more, &mut free)
                    } else {
                        let part = Part { chunk, start: desc.start, len: desc.len, more: desc.more };
                        gather.push(part, desc.is_good(), &mut free)
                    };
                    prop_assert_eq!(gather.is_open(), desc.more);
                    match step {
                        Step::Open => prop_assert!(desc.more),
                        Step::Lost => lost += 1,
                        Step::Whole => frames.push(gather.finish(&mut free, |p| {
                            let at = p.chunk as usize * CHUNK_BYTES + p.start as usize;
                            &memory[at..at + p.len as usize]
                        })),
                    }
                    let mut home = free.clone();
                    home.extend(gather.parts.iter().map(|p| p.chunk));
                    home.sort_unstable();
                    prop_assert_eq!(home, (0..CHUNKS).collect::<Vec<_>>());
                    prop_assert!(gather.is_open() || gather.parts.is_empty());
                }
                rest = &rest[burst..];
            }
            let (packets, lost_plainly) = plainly(&taken, &memory);
            let got: Vec<Vec<u8>> = frames.iter().map(|f| f.data().to_vec()).collect();
            prop_assert_eq!(got, packets);
            prop_assert_eq!(lost, lost_plainly);
        }
    }

    fn part(chunk: u32, more: bool) -> Part {
        Part {
            chunk,
            start: 0,
            len: 64,
            more,
        }
    }

    #[test]
    fn a_packet_of_the_most_pieces_is_good_and_one_more_is_not() {
        let memory = memory();
        let (mut gather, mut free) = (Gather::default(), Vec::new());
        let last = PARTS_MAX as u32 - 1;
        for chunk in 0..last {
            assert_eq!(gather.push(part(chunk, true), true, &mut free), Step::Open);
        }
        assert_eq!(gather.push(part(last, false), true, &mut free), Step::Whole);
        let frame = gather.finish(&mut free, |p| {
            &memory[p.chunk as usize * CHUNK_BYTES..][..p.len as usize]
        });
        assert_eq!(frame.data(), &memory[..PARTS_MAX * CHUNK_BYTES]);
        assert_eq!(free.len(), PARTS_MAX);
        free.clear();
        // A thousand pieces without an end hold no more chunks than a good packet may.
        for chunk in 0..1000 {
            assert_eq!(gather.push(part(chunk, true), true, &mut free), Step::Open);
            assert!(free.len() + PARTS_MAX > chunk as usize);
        }
        assert_eq!(gather.push(part(1000, false), true, &mut free), Step::Lost);
        assert_eq!(free.len(), 1001);
        // And the next packet is itself again.
        assert_eq!(gather.push(part(0, true), true, &mut free), Step::Open);
        assert_eq!(gather.push(part(1, false), true, &mut free), Step::Whole);
    }
}
