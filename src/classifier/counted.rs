//! A multiset of hashes: the index of an intermediate lookup stage.
//!
//! It says whether any rule of the subtable has this hash up to this stage. A collision says "yes" too
//! often, which costs precision of the megaflow, never correctness.

use hashbrown::HashTable;

#[derive(Debug, Clone, Copy)]
struct Cell {
    hash: u32,
    count: u32,
}

/// Hashes with the number of times each was added.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    cells: HashTable<Cell>,
}

/// Spreads a 32-bit hash over the 64 bits that the hash table wants.
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Counted {
    pub(crate) fn add(&mut self, hash: u32) {
        let entry = self
            .cells
            .entry(spread(hash), |c| c.hash == hash, |c| spread(c.hash))
            .or_insert(Cell { hash, count: 0 });
        entry.into_mut().count += 1;
    }
    pub(crate) fn remove(&mut self, hash: u32) {
        if let Ok(mut e) = self.cells.find_entry(spread(hash), |c| c.hash == hash) {
            e.get_mut().count -= 1;
            if e.get().count == 0 {
                e.remove();
                if self.cells.len() * 8 < self.cells.capacity() {
                    self.cells.shrink_to_fit(|c| spread(c.hash));
                }
            }
        } else {
            debug_assert!(false, "only added hashes are removed");
        }
    }
    pub(crate) fn has(&self, hash: u32) -> bool {
        self.cells.find(spread(hash), |c| c.hash == hash).is_some()
    }
    pub(crate) fn heap_bytes(&self) -> usize {
        self.cells.allocation_size()
    }
}
