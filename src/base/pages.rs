//! [`Pages`]: zeroed arrays for tables that packets are looked up in, on large pages where that pays.
//!
//! A lookup among many flows touches lines all over its tables; with pages of 4 KiB each of them costs a
//! page walk too. An array of at least [`LARGE`] bytes is a mapping of its own, begins at a multiple of
//! [`LARGE`], and asks the kernel for transparent large pages; without any (switched off, none free) it is
//! ordinary memory. Nothing is touched before it is used, so unused room costs address space only.
//!
//! Threads: as a boxed slice.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: memory comes from mmap, or from the allocator by layout, and is read as what zeroes are a value of.

use crate::sync::{Mutex, lock};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use zerocopy::FromZeros;

/// Bytes of a large page.
pub const LARGE: usize = 2 << 20;

/// `MADV_COLLAPSE` (Linux 6.1), which the C library does not name yet.
const COLLAPSE: libc::c_int = 25;

/// What the kernel shows the mappings as (from Linux 5.17 on, where it was built so). It also keeps them apart from others.
const NAME: &std::ffi::CStr = c"ringway tables";

/// All mappings: where they begin, and bytes.
static MAPPED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// Ranges of addresses that arrays of this kind have: first address and bytes.
pub(crate) fn mapped() -> BTreeMap<usize, usize> {
    lock(&MAPPED).clone()
}

/// When an array asks for large pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// From the beginning: most of it is going to be used.
    Now,
    /// When [`Pages::enlarge`] says so: it may stay nearly empty.
    Later,
}

/// See the module.
#[derive(Debug)]
pub struct Pages<T> {
    at: NonNull<T>,
    len: usize,
    /// A mapping of its own.
    mapped: bool,
}

// SAFETY: it owns its memory as a box does.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: as for Send; shared references give shared references to elements only.
unsafe impl<T: Sync> Sync for Pages<T> {}

impl<T: FromZeros> Pages<T> {
    /// `len` zeroed elements.
    #[must_use]
    pub fn new(len: usize, advice: Advice) -> Self {
        const { assert!(!std::mem::needs_drop::<T>() && align_of::<T>() <= 4096 && size_of::<T>() > 0) };
        let layout = layout::<T>(len);
        let mapped = layout.size() >= LARGE;
        let at = if mapped {
            map(layout)
        } else if layout.size() == 0 {
            NonNull::dangling()
        } else {
            // SAFETY: the layout has a size.
            let raw = unsafe { std::alloc::alloc_zeroed(layout) };
            NonNull::new(raw.cast()).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
        };
        let pages = Self { at, len, mapped };
        if advice == Advice::Now {
            pages.advise(libc::MADV_HUGEPAGE);
        }
        pages
    }
}

impl<T> Pages<T> {
    /// Puts what is there on large pages, and what will be. Copies once, in the calling thread: for arrays
    /// that turned out to be used.
    pub fn enlarge(&self) {
        self.advise(libc::MADV_HUGEPAGE);
        self.advise(COLLAPSE);
    }

    /// A hint; what the kernel thinks of it changes nothing but speed.
    fn advise(&self, advice: libc::c_int) {
        if self.mapped {
            let bytes = size_of::<T>() * self.len;
            // SAFETY: the range is our mapping, and these hints leave its content as it is.
            let _ = unsafe { libc::madvise(self.at.as_ptr().cast(), bytes, advice) };
        }
    }
}

fn layout<T>(len: usize) -> Layout {
    Layout::array::<T>(len).expect("tables are far smaller than the address space")
}

/// Zeroed memory that begins at a multiple of [`LARGE`].
fn map<T>(layout: Layout) -> NonNull<T> {
    // The kernel deals in whole pages.
    let bytes = layout.size().next_multiple_of(4096);
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: a fresh private mapping concerns no other memory.
    let raw = unsafe { libc::mmap(std::ptr::null_mut(), bytes + LARGE, prot, flags, -1, 0) };
    if raw == libc::MAP_FAILED {
        std::alloc::handle_alloc_error(layout);
    }
    let raw = raw.cast::<u8>();
    let front = raw.align_offset(LARGE);
    let at = raw.wrapping_add(front);
    unmap(raw, front);
    unmap(at.wrapping_add(bytes), LARGE - front);
    // SAFETY: a name for the range that is left of the mapping just made; a kernel without such names refuses.
    let _ = unsafe {
        libc::prctl(
            libc::PR_SET_VMA,
            libc::PR_SET_VMA_ANON_NAME,
            at,
            bytes,
            NAME.as_ptr(),
        )
    };
    lock(&MAPPED).insert(at as usize, bytes);
    NonNull::new(at.cast()).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
}

fn unmap(at: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the range is (part of) a mapping that map() made and nobody uses any more.
        let _ = unsafe { libc::munmap(at.cast(), bytes) };
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        let layout = layout::<T>(self.len);
        if self.mapped {
            lock(&MAPPED).remove(&(self.at.as_ptr() as usize));
            unmap(self.at.as_ptr().cast(), layout.size());
        } else if layout.size() > 0 {
            // SAFETY: it came from the allocator with this layout.
            unsafe { std::alloc::dealloc(self.at.as_ptr().cast(), layout) };
        }
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `at` points to `len` elements that were zeroed, which T accepts, and are ours.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for Deref, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_any_size_are_zeroed_and_ours() {
        for len in [
            0,
            1,
            7,
            4096,
            LARGE / 8 - 1,
            LARGE / 8,
            LARGE / 8 + 1,
            LARGE / 8 * 3 + 5,
        ] {
            for advice in [Advice::Now, Advice::Later] {
                let mut pages: Pages<u64> = Pages::new(len, advice);
                assert_eq!(pages.len(), len);
                assert!(pages.iter().all(|&w| w == 0));
                for (i, w) in pages.iter_mut().enumerate() {
                    *w = i as u64;
                }
                pages.enlarge();
                assert!(pages.iter().enumerate().all(|(i, &w)| w == i as u64));
                if len * 8 >= LARGE {
                    assert_eq!(pages.as_ptr() as usize % LARGE, 0);
                }
            }
        }
    }
}
