//! [`Keys`]: the keys of a batch, and what is done with all of them at once: extract, hash, compare.
//!
//! Scratch space of one packet thread. A plain packet's key is four words (see [`super::plain`]), any other's a whole
//! [`Flow`]; which is which differs from packet to packet, and each stage takes the plain ones first.

use super::flows::Flows;
use super::mask::{HashKey, MaskInfo};
use super::plain::{self, Plain, PlainHash};
use super::port::PortTable;
use super::{Bits, NONE, each, first_n};
use crate::limits::PORTS_MAX;
use crate::pkts::Pkts;
use crate::prefetch::prefetch;
use flow::{Depth, Flow, LineSet};
use packet::{BATCH_MAX, Frame};
use wire::ipv4::PROTO_TCP;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(super) packets: Packets,
    /// For the cache.
    pub(super) hashes: [u64; BATCH_MAX],
    /// For the subtable at hand.
    pub(super) subhashes: [u64; BATCH_MAX],
    /// Flow numbers, or [`NONE`].
    pub(crate) found: [u32; BATCH_MAX],
    /// The keys have L4 fields.
    pub(crate) deep: bool,
}

/// The keys themselves.
#[derive(Debug)]
pub(super) struct Packets {
    /// Those of plain packets, and which these are.
    plain: [Plain; BATCH_MAX],
    are_plain: Bits,
    /// Those of all others.
    flows: Box<[Flow; BATCH_MAX]>,
    valid: [LineSet; BATCH_MAX],
    in_port: u32,
}

/// TCP flags of a flow key, as far as it has any.
#[inline]
pub(crate) fn tcp_flags(key: &Flow) -> u16 {
    if key.nw_proto == PROTO_TCP {
        key.tcp_flags.get()
    } else {
        0
    }
}

impl Keys {
    pub(crate) fn new() -> Self {
        let flows = vec![Flow::zero(); BATCH_MAX].into_boxed_slice();
        Self {
            packets: Packets {
                plain: [Plain::default(); BATCH_MAX],
                are_plain: 0,
                flows: flows.try_into().expect("BATCH_MAX flows were made"),
                valid: [LineSet(0); BATCH_MAX],
                in_port: 0,
            },
            hashes: [0; BATCH_MAX],
            subhashes: [0; BATCH_MAX],
            found: [NONE; BATCH_MAX],
            deep: false,
        }
    }

    /// TCP flags of packet `i`: only where keys are deep.
    #[inline]
    pub(crate) fn tcp_flags(&self, i: usize) -> u16 {
        if self.packets.are_plain >> i & 1 == 1 {
            self.packets.plain[i].tcp_flags()
        } else {
            tcp_flags(&self.packets.flows[i])
        }
    }

    /// The first `n` packets are all plain.
    pub(crate) fn all_plain(&self, n: usize) -> bool {
        self.packets.whole(first_n(n)) == 0
    }

    /// As [`Keys::tcp_flags`], of a packet that is plain.
    #[inline]
    pub(crate) fn plain_tcp_flags(&self, i: usize) -> u16 {
        self.packets.plain[i].tcp_flags()
    }

    /// Extracts the keys of a batch, as deep as the flows of its port look.
    #[inline]
    pub(super) fn extract(&mut self, table: &PortTable, pkts: &mut Pkts) {
        let keys = &mut self.packets;
        self.deep = table.depth == Depth::L4;
        keys.in_port = pkts.in_port.0;
        keys.are_plain = 0;
        for frame in &*pkts.frames {
            prefetch(frame.data());
        }
        // Plain keys do not say which port and pass they are of: the table must be for these alone.
        let alone = pkts.in_port.0 < PORTS_MAX && pkts.recirc_id == 0;
        if table.plain && alone && !pkts.sided {
            keys.read(table, pkts);
        }
        for i in each(first_n(pkts.len()) & !keys.are_plain) {
            let key = &mut keys.flows[i];
            let (data, md, layers) = pkts.parsing(i);
            let lines = flow::extract_lines(data, &md, table.depth, (key, layers));
            if table.lines.0 & !lines.0 != 0 {
                lines.zero_missing(table.lines, key);
            }
            keys.valid[i] = lines.or(table.lines);
        }
    }

    /// Which of `todo` do not belong to the flows noted for them.
    pub(super) fn unlike(&self, flows: &Flows, todo: Bits) -> Bits {
        let Self { packets, found, .. } = self;
        let mut left = 0;
        for i in each(todo & packets.are_plain) {
            let belongs = flows.matches_plain(found[i], packets.plain[i]);
            left |= Bits::from(!belongs) << i;
        }
        for i in each(todo & !packets.are_plain) {
            let belongs = flows.matches(found[i], &packets.flows[i], packets.valid[i]);
            left |= Bits::from(!belongs) << i;
        }
        left
    }
}

impl Packets {
    /// Those of `todo` whose keys are whole.
    #[inline]
    pub(super) fn whole(&self, todo: Bits) -> Bits {
        todo & !self.are_plain
    }

    /// Reads the keys of those packets that are plain.
    #[inline]
    fn read(&mut self, table: &PortTable, pkts: &mut Pkts) {
        if table.depth == Depth::L4 {
            self.read_heads::<true>(&pkts.frames);
        } else {
            self.read_heads::<false>(&pkts.frames);
        }
        if table.programs > 0 {
            for i in each(self.are_plain) {
                pkts.layers[i] = plain::layers(table.depth, pkts.frames[i].data());
            }
        }
    }

    // Not inlined: what it holds in registers would not stay there.
    #[inline(never)]
    fn read_heads<const DEEP: bool>(&mut self, frames: &[Frame]) {
        let mut plain = 0;
        for (i, (frame, key)) in std::iter::zip(frames, &mut self.plain).enumerate() {
            let Some((read, is_plain)) = Plain::read::<DEEP>(frame.data()) else {
                continue;
            };
            *key = read;
            plain |= Bits::from(is_plain) << i;
        }
        self.are_plain = plain;
    }

    /// Hashes the keys of `todo` under a mask, and tells of each as soon as it is known.
    // Not inlined: see read_heads().
    #[inline(never)]
    pub(super) fn hash(
        &self,
        (mask, with): (&MaskInfo, &HashKey),
        todo: Bits,
        hashes: &mut [u64; BATCH_MAX],
        known: impl Fn(u64),
    ) {
        let plain = todo & self.are_plain;
        if plain != 0 {
            let plainly = PlainHash::new(mask, with, self.in_port);
            for i in each(plain) {
                hashes[i] = plainly.of(&self.plain[i]);
                known(hashes[i]);
            }
        }
        for i in each(todo & !plain) {
            hashes[i] = mask.hash(with, &self.flows[i]);
            known(hashes[i]);
        }
    }

    /// True when packet `i` belongs to flow `n`.
    #[cold]
    pub(super) fn is_of(&self, flows: &Flows, n: u32, i: usize) -> bool {
        if self.are_plain >> i & 1 == 1 {
            flows.matches_plain(n, self.plain[i])
        } else {
            flows.matches(n, &self.flows[i], self.valid[i])
        }
    }
}
