//! Rx frames of a UMEM as a frame pool.
//!
//! The rx queue owns all frames that are not out and keeps them in plain lists of its own. What others
//! release comes home through a [`Chain`]. No thread identity is needed, and the owner's own releases (the
//! usual case) cost one instruction for a batch, on a line it has in its cache.
//!
//! Frames out = handed out by the rx queue (its own counter) - those it took back - those in the chain.

use super::memory::Place;
use base::sync::{Arc, Chain, Counter};
use packet::FramePool;

/// Rx frames of one UMEM.
#[derive(Debug)]
pub(super) struct UmemPool {
    /// Frames that came home and were not yet taken.
    home: Chain,
    /// Frames handed out and not yet taken back; written by the rx queue alone.
    out: Counter,
    /// Keeps the memory mapped, and nobody else's, as long as frames may be out.
    _place: Arc<Place>,
}

impl UmemPool {
    pub(super) fn new(place: Arc<Place>, frames: u32) -> Self {
        Self {
            home: Chain::new(frames),
            out: Counter::new(),
            _place: place,
        }
    }

    /// The rx queue hands out `n` frames.
    #[inline]
    pub(super) fn handed_out(&self, n: u64) {
        self.out.add_local(n);
    }

    /// The rx queue takes back all frames that came home, into `free`.
    #[inline]
    pub(super) fn take_home(&self, free: &mut Vec<u32>) {
        let count = self.home.take(|frame| free.push(frame));
        if count > 0 {
            self.out.add_local(count.wrapping_neg());
        }
    }
}

impl FramePool for UmemPool {
    fn release(&self, tokens: &[u64]) {
        self.home.push(tokens);
    }

    fn outstanding(&self) -> usize {
        // Exact once the rx queue is gone, which is when it matters: then `out` stands still.
        let out = self.out.get().saturating_sub(self.home.len());
        usize::try_from(out).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::afxdp::rings::Binding;
    use base::sync::spawn;
    use std::collections::BTreeSet;

    #[test]
    fn every_frame_comes_home_once_from_any_thread() {
        let place = Place::private(Binding::default()).expect("a UMEM");
        let pool = Arc::new(UmemPool::new(Arc::new(place), 64));
        let mut free: Vec<u32> = (0..64).collect();
        for round in 0..2000u64 {
            let n = 1 + round as usize % 64;
            let tokens: Vec<u64> = free.drain(..n).map(u64::from).collect();
            pool.handed_out(n as u64);
            assert_eq!(pool.outstanding(), n);
            let halves: Vec<Vec<u64>> = tokens.chunks(n.div_ceil(2)).map(<[u64]>::to_vec).collect();
            if round % 50 == 0 {
                let threads = halves.into_iter().map(|half| {
                    let pool = Arc::clone(&pool);
                    spawn("releaser", move || {
                        half.chunks(3).for_each(|c| pool.release(c))
                    })
                    .unwrap()
                });
                threads
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|t| t.join().unwrap());
            } else {
                halves.iter().for_each(|half| pool.release(half));
            }
            assert_eq!(pool.outstanding(), 0);
            pool.take_home(&mut free);
            assert_eq!(free.iter().collect::<BTreeSet<_>>().len(), 64);
            assert_eq!(free.len(), 64);
        }
    }
}
