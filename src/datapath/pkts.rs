//! [`Pkts`]: packets on their way through the datapath, with what is known about them besides their bytes.
//!
//! All packets of one `Pkts` came in on one port and are on the same pass (recirculation id). Facts that
//! few packets have (hash, conntrack, tunnel, a packet type other than Ethernet) are in a [`Side`] that is
//! only there when one of them is; sides and `Pkts` are recycled, so a warm thread allocates neither.

use flow::{CtMeta, Flow, Layers, Metadata, TunnelKey};
use odp::OdpPort;
use packet::{BATCH_MAX, Batch, Frame, HeapPool};
use std::cell::RefCell;

/// What few packets have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Side {
    pub(crate) dp_hash: u32,
    /// OpenFlow packet type: 0 Ethernet, else namespace 1 and the EtherType.
    pub(crate) packet_type: u32,
    pub(crate) ct: Option<CtMeta>,
    pub(crate) tunnel: Option<Box<TunnelKey>>,
}

/// Sides kept for reuse by each thread.
const SPARE_SIDES: usize = 256;

type Sides = Vec<Box<Side>>;

thread_local! {
    static SPARE: RefCell<Sides> = RefCell::new(Vec::with_capacity(SPARE_SIDES));
}

/// The side of a packet, made when there is none.
pub(crate) fn side_of(side: &mut Option<Box<Side>>) -> &mut Side {
    side.get_or_insert_with(|| {
        SPARE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| Box::new(Side::default()))
    })
}

/// Keeps a side that nobody needs any more for the next packet that does.
pub(crate) fn recycle(side: Option<Box<Side>>) {
    if let Some(mut side) = side {
        *side = Side::default();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_SIDES {
                spare.push(side);
            }
        });
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pkts {
    pub(crate) frames: Batch,
    /// Where the headers of each frame are.
    pub(crate) layers: [Layers; BATCH_MAX],
    pub(crate) sides: [Option<Box<Side>>; BATCH_MAX],
    /// False when no frame has a side.
    pub(crate) sided: bool,
    pub(crate) in_port: OdpPort,
    pub(crate) recirc_id: u32,
    /// Recirculations so far.
    pub(crate) passes: u8,
}

/// One packet out of a [`Pkts`].
#[derive(Debug)]
pub(crate) struct Pkt {
    pub(crate) frame: Frame,
    pub(crate) layers: Layers,
    pub(crate) side: Option<Box<Side>>,
}

/// What belongs to a frame that was taken out of a [`Pkts`]. Most frames are sent without a look at it, so
/// it stays where it is until somebody wants it.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    layers: &'a Layers,
    side: Option<&'a mut Option<Box<Side>>>,
}

impl Beside<'_> {
    /// The whole packet.
    pub(crate) fn with(self, frame: Frame) -> Pkt {
        Pkt {
            frame,
            layers: *self.layers,
            side: self.side.and_then(Option::take),
        }
    }

    /// The frame has gone elsewhere.
    #[inline]
    pub(crate) fn forget(self) {
        if let Some(side) = self.side {
            recycle(side.take());
        }
    }
}

impl Pkt {
    /// The full key of the packet as it is now. Also brings its layers up to date.
    pub(crate) fn extract(&mut self, in_port: OdpPort, recirc_id: u32, key: &mut Flow) {
        let md = metadata(&self.frame, self.side.as_deref(), in_port, recirc_id);
        self.layers = flow::extract(self.frame.data(), &md, key);
    }
}

/// What is known about a packet besides its bytes.
#[inline]
fn metadata<'a>(
    frame: &Frame,
    side: Option<&'a Side>,
    in_port: OdpPort,
    recirc_id: u32,
) -> Metadata<'a> {
    let mut md = Metadata {
        in_port: in_port.0,
        recirc_id,
        priority: frame.priority,
        mark: frame.mark,
        ..Metadata::default()
    };
    if let Some(side) = side {
        md.dp_hash = side.dp_hash;
        md.packet_type = side.packet_type;
        md.ct = side.ct.as_ref();
        md.tunnel = side.tunnel.as_deref();
    }
    md
}

impl Pkts {
    pub(crate) fn new() -> Self {
        Self {
            frames: Batch::new(),
            layers: [Layers::UNKNOWN; BATCH_MAX],
            sides: [const { None }; BATCH_MAX],
            sided: false,
            in_port: OdpPort::NONE,
            recirc_id: 0,
            passes: 0,
        }
    }

    /// Packets.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Makes this the empty companion of `other`: same port, same pass.
    pub(crate) fn like(&mut self, other: &Self) {
        debug_assert!(self.is_empty());
        self.sided = false;
        self.in_port = other.in_port;
        self.recirc_id = other.recirc_id;
        self.passes = other.passes;
    }

    /// Appends a packet. There must be room.
    #[inline]
    pub(crate) fn push(&mut self, pkt: Pkt) {
        let i = self.frames.len();
        self.layers[i] = pkt.layers;
        self.sided |= pkt.side.is_some();
        self.sides[i] = pkt.side;
        let pushed = self.frames.push(pkt.frame);
        debug_assert!(pushed.is_ok(), "callers keep to the room");
    }

    /// Takes everything out, in order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Pkt> {
        self.drain_frames()
            .map(|(frame, beside)| beside.with(frame))
    }

    /// Takes everything out, in order, for whoever mostly wants the frames.
    #[inline]
    pub(crate) fn drain_frames(&mut self) -> impl Iterator<Item = (Frame, Beside<'_>)> {
        let sided = std::mem::take(&mut self.sided);
        let rest = std::iter::zip(&self.layers, &mut self.sides);
        std::iter::zip(self.frames.drain(..), rest).map(move |(frame, (layers, side))| {
            let side = if sided { Some(side) } else { None };
            (frame, Beside { layers, side })
        })
    }

    /// Forgets the sides of frames that have gone elsewhere.
    pub(crate) fn forget_sides(&mut self) {
        if std::mem::take(&mut self.sided) {
            for side in &mut self.sides {
                recycle(side.take());
            }
        }
    }

    /// What is known about packet `i`, for extraction.
    #[inline]
    pub(crate) fn metadata(&self, i: usize) -> Metadata<'_> {
        let side = if self.sided {
            self.sides[i].as_deref()
        } else {
            None
        };
        metadata(&self.frames[i], side, self.in_port, self.recirc_id)
    }

    /// What parsing packet `i` reads, and where its layers belong.
    #[inline]
    pub(crate) fn parsing(&mut self, i: usize) -> (&[u8], Metadata<'_>, &mut Layers) {
        let side = if self.sided {
            self.sides[i].as_deref()
        } else {
            None
        };
        let frame = &self.frames[i];
        let md = metadata(frame, side, self.in_port, self.recirc_id);
        (frame.data(), md, &mut self.layers[i])
    }

    /// The full key of packet `i` as it is now. Also brings its layers up to date.
    pub(crate) fn extract(&mut self, i: usize, key: &mut Flow) {
        let layers = flow::extract(self.frames[i].data(), &self.metadata(i), key);
        self.layers[i] = layers;
    }

    /// The side of packet `i`, made when there is none.
    pub(crate) fn side_mut(&mut self, i: usize) -> &mut Side {
        self.sided = true;
        side_of(&mut self.sides[i])
    }

    /// A copy of packet `i` in heap memory.
    pub(crate) fn duplicate(&self, i: usize) -> Pkt {
        Pkt {
            frame: HeapPool::global().duplicate(&self.frames[i]),
            layers: self.layers[i],
            side: self.sides[i].as_ref().map(|from| {
                let mut side = None;
                side_of(&mut side).clone_from(from);
                side.unwrap_or_default()
            }),
        }
    }

    /// Keeps the packets for which `keep` says so, in order; the others are given to `gone`.
    pub(crate) fn retain(
        &mut self,
        mut keep: impl FnMut(&mut Frame, &mut Layers, &mut Option<Box<Side>>) -> bool,
        mut gone: impl FnMut(Frame),
    ) {
        let n = self.frames.len();
        let mut kept = 0;
        for i in 0..n {
            if keep(&mut self.frames[i], &mut self.layers[i], &mut self.sides[i]) {
                if kept != i {
                    self.frames.swap(kept, i);
                    self.layers.swap(kept, i);
                    self.sides.swap(kept, i);
                }
                kept += 1;
            }
        }
        for frame in self.frames.drain(kept..) {
            gone(frame);
        }
        if self.sided {
            for side in &mut self.sides[kept..n] {
                recycle(side.take());
            }
        }
    }
}
