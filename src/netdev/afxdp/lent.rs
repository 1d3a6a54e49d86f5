//! Frames of others that a tx ring sends from where they lie: who gets them back, and whether they are out.
//!
//! A frame is named by its number in the region. It belongs to the pool of the place it lies in; that pool cannot
//! go while the frame is out, so one pool is known per place.

use super::memory::{PLACE_FRAMES, PLACES_MAX};
use packet::BATCH_MAX;
use packet::pool::PoolPtr;

/// Frames of others that one ring may hold. A ring that stands still must not keep what other ports receive with.
const LENT_MAX: usize = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Lent {
    owners: [Option<PoolPtr>; PLACES_MAX as usize],
    /// Bit by frame: it is out.
    out: Box<[u64]>,
    count: usize,
}

impl Lent {
    /// None of `frames` is out.
    pub(super) fn new(frames: usize) -> Self {
        Self {
            owners: [None; PLACES_MAX as usize],
            out: vec![0; frames.div_ceil(64)].into(),
            count: 0,
        }
    }

    /// Frames that are out.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// May one more be out?
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.count < LENT_MAX
    }

    /// A frame goes out; its pool gets it back.
    #[inline]
    pub(super) fn lend(&mut self, frame: u32, owner: PoolPtr) {
        self.owners[(frame / PLACE_FRAMES) as usize] = Some(owner);
        let (word, bit) = (frame as usize / 64, 1 << (frame % 64));
        debug_assert_eq!(self.out[word] & bit, 0, "a frame has one owner");
        self.out[word] |= bit;
        self.count += 1;
    }

    /// Frames come back. What is not out is none of ours.
    pub(super) fn back(&mut self, frames: &[u32]) {
        let mut tokens = arrayvec::ArrayVec::<u64, BATCH_MAX>::new();
        let mut place = 0;
        for &frame in frames {
            let (word, bit) = (frame as usize / 64, 1 << (frame % 64));
            if self.out.get(word).is_none_or(|w| w & bit == 0) {
                continue;
            }
            self.out[word] &= !bit;
            self.count -= 1;
            if tokens.is_full() || frame / PLACE_FRAMES != place {
                self.release(place, &tokens);
                tokens.clear();
                place = frame / PLACE_FRAMES;
            }
            tokens.push(u64::from(frame % PLACE_FRAMES));
        }
        self.release(place, &tokens);
    }

    fn release(&self, place: u32, tokens: &[u64]) {
        if let Some(owner) = self.owners[place as usize].filter(|_| !tokens.is_empty()) {
            owner.get().release(tokens);
        }
    }
}

impl Drop for Lent {
    /// The ring is gone, and with it whoever could send what is still out.
    fn drop(&mut self) {
        for word in 0..self.out.len() {
            while self.out[word] != 0 {
                self.back(&[(word * 64) as u32 + self.out[word].trailing_zeros()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sync::{Arc, Mutex, lock};
    use packet::{FramePool, PoolOwner};
    use proptest::prelude::*;

    /// A pool that remembers what came home.
    #[derive(Debug, Default)]
    struct Home(Arc<Mutex<Vec<u64>>>);

    impl FramePool for Home {
        fn release(&self, tokens: &[u64]) {
            lock(&self.0).extend(tokens);
        }
        fn outstanding(&self) -> usize {
            0
        }
    }

    proptest! {
        /// Whatever is lent comes home once, to its own place's pool, in whatever order, the rest when the ring goes.
        #[test]
        fn every_frame_comes_home_once(
            frames in prop::collection::btree_set(0..PLACES_MAX * PLACE_FRAMES, 1..200),
            returned in 0usize..200,
            seed in any::<u32>(),
        ) {
            let homes: Vec<_> = (0..PLACES_MAX).map(|_| Home::default()).collect();
            let logs: Vec<_> = homes.iter().map(|h| Arc::clone(&h.0)).collect();
            let pools: Vec<_> = homes.into_iter().map(PoolOwner::new).collect();
            let mut lent = Lent::new((PLACES_MAX * PLACE_FRAMES) as usize);
            for &frame in &frames {
                lent.lend(frame, pools[(frame / PLACE_FRAMES) as usize].ptr());
            }
            prop_assert_eq!(lent.count(), frames.len());
            let mut order: Vec<u32> = frames.iter().copied().collect();
            order.sort_by_key(|f| f.wrapping_mul(seed | 1));
            let returned = returned.min(order.len());
            lent.back(&order[..returned]);
            lent.back(&order[..returned]); // twice is once
            lent.back(&[u32::MAX]);
            prop_assert_eq!(lent.count(), frames.len() - returned);
            let home = || logs.iter().map(|log| lock(log).len()).sum::<usize>();
            prop_assert_eq!(home(), returned);
            drop(lent);
            for (place, log) in (0..).zip(&logs) {
                let mut came = lock(log).clone();
                came.sort_unstable();
                let mine = frames.iter().filter(|f| *f / PLACE_FRAMES == place);
                let want: Vec<u64> = mine.map(|f| u64::from(f % PLACE_FRAMES)).collect();
                prop_assert_eq!(came, want);
            }
        }
    }
}
