//! The memory that frames live in: regions, each one UMEM, cut into places for one queue each.
//!
//! Ports whose frames are of the same kind share a region, so that what one received another sends from where it
//! lies. The kernel ties a shared UMEM to the socket that was bound first, and that socket stays bound as long as
//! the UMEM lives; it is none of a port's, or the port could not be taken away: it is bound to the loopback
//! device's queue, to which nothing is ever redirected. Where that cannot be had (somebody else's socket is there,
//! the region is full, a port wants other frames) a queue has a region to itself, and frames are copied.
//!
//! A [`Place`] is free again when the last who knows of it is gone: both halves of the socket, the port's second
//! descriptor of it, and the pool, which waits for its frames.

use super::rings::{self, Anchor, Binding};
use super::{RX_FRAMES, TX_FRAMES};
use base::sync::{Arc, Mutex, Weak, lock};
use std::io;
use std::os::linux::fs::MetadataExt;
use xsk_rs::Umem;
use xsk_rs::umem::frame::FrameDesc;

/// Frames of a place.
pub(super) const PLACE_FRAMES: u32 = RX_FRAMES + TX_FRAMES;
/// Places of a shared region: 48 MB of memory, which the kernel holds as soon as the first is taken.
pub(super) const PLACES_MAX: u32 = 4;

/// One UMEM.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) umem: Umem,
    pub(super) descs: Arc<[FrameDesc]>,
    pub(super) frame_bytes: u32,
    /// Bit by place: somebody has it.
    taken: Mutex<u32>,
    /// What the kernel ties the UMEM to, when it is shared.
    anchor: Option<Mutex<Anchor>>,
}

/// A queue's part of a region.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) region: Arc<Region>,
    pub(super) number: u32,
}

/// Shared regions by network namespace.
static SHARED: Mutex<Vec<(u64, Weak<Region>)>> = Mutex::new(Vec::new());

impl Region {
    fn new(how: Binding, places: u32) -> io::Result<Self> {
        let (umem, descs) = rings::umem(how.frame_bytes, places * PLACE_FRAMES)?;
        Ok(Self {
            umem,
            descs: descs.into(),
            frame_bytes: how.frame_bytes,
            taken: Mutex::new(0),
            anchor: None,
        })
    }

    /// True when sockets of several ports may use it.
    pub(super) fn is_shared(&self) -> bool {
        self.anchor.is_some()
    }

    fn places(&self) -> u32 {
        self.descs.len() as u32 / PLACE_FRAMES
    }
}

impl Place {
    /// A region with one place.
    pub(super) fn private(how: Binding) -> io::Result<Self> {
        Self::of(&Arc::new(Region::new(how, 1)?)).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// A place in the region that the calling thread's network namespace shares.
    ///
    /// # Errors
    /// ENOSPC when it is full; the kernel's when there can be none, EBUSY while an earlier one is not gone yet or
    /// when somebody else has a socket where ours would be.
    pub(super) fn shared(how: Binding) -> io::Result<Self> {
        let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.st_ino();
        let mut all = lock(&SHARED);
        all.retain(|(_, region)| region.strong_count() > 0);
        let known = all.iter().find(|(n, _)| *n == namespace);
        let region = match known.and_then(|(_, region)| region.upgrade()) {
            Some(region) => region,
            None => {
                let mut region = Region::new(how, PLACES_MAX)?;
                region.anchor = Some(Mutex::new(rings::bind(&region.umem, "lo", 0, how)?));
                let region = Arc::new(region);
                all.push((namespace, Arc::downgrade(&region)));
                region
            }
        };
        Self::of(&region).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))
    }

    /// The first free place of a region.
    fn of(region: &Arc<Region>) -> Option<Self> {
        let mut taken = lock(&region.taken);
        let number = taken.trailing_ones();
        if number >= region.places() {
            return None;
        }
        *taken |= 1 << number;
        Some(Self {
            region: Arc::clone(region),
            number,
        })
    }

    /// Number of the place's first frame in the region.
    pub(super) fn first(&self) -> u32 {
        self.number * PLACE_FRAMES
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *lock(&self.region.taken) &= !(1 << self.number);
    }
}
