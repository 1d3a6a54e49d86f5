//! A guest's memory: regions mapped from the files it sent, and the one place that reads and writes them.
//!
//! [`GuestMemory`] is immutable; a change makes a new one that shares the mappings that stay, and a mapping
//! ends when the last memory with it does. [`Span`] is a piece of it, checked once and then copied from and
//! to; [`RingMemory`] is one ring's three tables, translated once.
//!
//! The guest writes all of it at any time, so nothing is ever referred to by a Rust reference: values are
//! read once, by atomic or volatile access, into our own memory and judged there. The files may shrink:
//! see [`super::sigbus`]. Only files of tmpfs and hugetlbfs are mapped (memfds are either), because the
//! page faults of others can take as long as their owner wants.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: shared memory of another process is mapped, read and written through raw pointers, each inside
// a mapping whose bounds were checked when the pointer was made and which lives as long as it does.

use super::sigbus::{self, Watch};
use base::sync::{Arc, AtomicU16, AtomicU32, Ordering};
use rustix::mm::{MapFlags, ProtFlags};
use std::cell::Cell;
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

/// Regions of one guest.
pub(super) const REGIONS_MAX: usize = 256;
/// Bytes of one guest's memory, so that one guest cannot use up our address space.
const BYTES_MAX: u64 = 4 << 40;

const TMPFS_MAGIC: u64 = 0x0102_1994;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// Why a region was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRegion {
    #[error("a region of {size} bytes at {at:#x} wraps around")]
    Wraps { at: u64, size: u64 },
    #[error("regions at {0:#x} and {1:#x} overlap")]
    Overlap(u64, u64),
    #[error("more than {REGIONS_MAX} regions")]
    TooMany,
    #[error("more than {BYTES_MAX} bytes of memory")]
    TooLarge,
    #[error("a region's file has {has} bytes, {needs} are needed")]
    Short { has: u64, needs: u64 },
    #[error("a region's file is neither of tmpfs nor of hugetlbfs (file system type {0:#x})")]
    FileSystem(u64),
    #[error("cannot map a region: {0}")]
    Io(#[from] std::io::Error),
}

impl From<rustix::io::Errno> for BadRegion {
    fn from(e: rustix::io::Errno) -> Self {
        Self::Io(e.into())
    }
}

/// What a message says about a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RegionSpec {
    /// Address in the guest.
    pub(super) guest: u64,
    /// Address in the process that runs the guest, by which rings are named.
    pub(super) user: u64,
    pub(super) size: u64,
    /// Where it begins in its file.
    pub(super) offset: u64,
}

/// One `mmap`.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
    watch: &'static Watch,
    /// Device and inode of what is mapped.
    file: (u64, u64),
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; it has no methods that change it.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        sigbus::unwatch(self.watch);
        // SAFETY: base and len are what mmap gave; nobody has a pointer into it when its owner goes.
        let done = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(done.is_ok());
    }
}

/// A mapped region.
#[derive(Debug, Clone)]
struct Region {
    spec: RegionSpec,
    /// Its first byte; `spec.size` bytes are inside the mapping.
    start: NonNull<u8>,
    mapping: Arc<Mapping>,
}

// SAFETY: the pointer is into the mapping, which it keeps.
unsafe impl Send for Region {}
// SAFETY: as above; access through it is atomic, volatile or copying.
unsafe impl Sync for Region {}

impl Region {
    fn map(spec: RegionSpec, file: &File) -> Result<Self, BadRegion> {
        let end = spec.offset.checked_add(spec.size);
        let sums = [spec.guest, spec.user].map(|at| at.checked_add(spec.size));
        let (Some(end), false) = (end, spec.size == 0 || sums.contains(&None)) else {
            let (at, size) = (spec.guest, spec.size);
            return Err(BadRegion::Wraps { at, size });
        };
        if spec.size > BYTES_MAX {
            return Err(BadRegion::TooLarge);
        }
        let fs = rustix::fs::fstatfs(file)?;
        let kind = u64::try_from(fs.f_type).unwrap_or(0);
        if kind != TMPFS_MAGIC && kind != HUGETLBFS_MAGIC {
            return Err(BadRegion::FileSystem(kind));
        }
        let has = file.metadata()?.len();
        if has < end {
            return Err(BadRegion::Short { has, needs: end });
        }
        // Huge pages are mapped whole.
        let page = u64::try_from(fs.f_bsize).unwrap_or(0).max(4096);
        let from = spec.offset / page * page;
        let len = (end - from).next_multiple_of(page);
        let len = usize::try_from(len).map_err(|_| BadRegion::TooLarge)?;
        let mapping = Arc::new(map(file, from, len)?);
        // SAFETY: offset - from is less than a page, and the mapping reaches beyond offset + size.
        let start = unsafe { mapping.base.add((spec.offset - from) as usize) };
        Ok(Self {
            spec,
            start,
            mapping,
        })
    }

    /// The bytes from `at` on, counted from the start; at most `len`.
    fn part(&self, at: u64, len: u64) -> Option<Span<'_>> {
        let rest = self.spec.size.checked_sub(at).filter(|rest| *rest > 0)?;
        // SAFETY: at < size, and size bytes from the start are inside the mapping.
        let ptr = unsafe { self.start.add(at as usize) };
        Some(Span {
            ptr,
            len: len.min(rest) as usize,
            memory: PhantomData,
        })
    }
}

fn map(file: &File, from: u64, len: usize) -> Result<Mapping, BadRegion> {
    let about = file.metadata()?;
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses the place, so nothing that is there already is touched.
    let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, flags, file, from) }?;
    let base = NonNull::new(base.cast::<u8>())
        .ok_or_else(|| std::io::Error::other("mapped at address 0"))?;
    match sigbus::watch(base, len) {
        Ok(watch) => {
            let advice = rustix::mm::Advice::LinuxDontDump;
            // A guest's memory has no place in our core dumps; a kernel that cannot leave it out may not.
            // SAFETY: base and len are the mapping just made; the advice changes no content.
            let _ = unsafe { rustix::mm::madvise(base.as_ptr().cast(), len, advice) };
            let file = (about.dev(), about.ino());
            Ok(Mapping {
                base,
                len,
                watch,
                file,
            })
        }
        Err(e) => {
            // SAFETY: the mapping just made, which nobody knows of.
            let _ = unsafe { rustix::mm::munmap(base.as_ptr().cast(), len) };
            Err(e.into())
        }
    }
}

/// All of a guest's memory that we were given.
#[derive(Debug, Default, Clone)]
pub(super) struct GuestMemory {
    /// In order of guest address.
    regions: Vec<Region>,
}

impl GuestMemory {
    /// Maps regions.
    ///
    /// # Errors
    /// Any of them is impossible; then none stays mapped.
    pub(super) fn map(regions: &[(RegionSpec, File)]) -> Result<Self, BadRegion> {
        regions
            .iter()
            .try_fold(Self::default(), |m, (spec, file)| m.with(*spec, file))
    }

    /// This memory and one region more. A region that is there already stays: QEMU says it once for each
    /// pair of rings.
    ///
    /// # Errors
    /// The region is impossible.
    pub(super) fn with(&self, spec: RegionSpec, file: &File) -> Result<Self, BadRegion> {
        let now = file.metadata()?;
        let same = |r: &Region| r.spec == spec && r.mapping.file == (now.dev(), now.ino());
        if self.regions.iter().any(same) {
            return Ok(self.clone());
        }
        if self.regions.len() >= REGIONS_MAX {
            return Err(BadRegion::TooMany);
        }
        let total: u64 = self.regions.iter().map(|r| r.spec.size).sum();
        if total.saturating_add(spec.size) > BYTES_MAX {
            return Err(BadRegion::TooLarge);
        }
        let meets = |a: u64, b: u64, b_size: u64| {
            a < b.saturating_add(b_size) && b < a.saturating_add(spec.size)
        };
        let clash = self.regions.iter().find(|r| {
            meets(spec.guest, r.spec.guest, r.spec.size)
                || meets(spec.user, r.spec.user, r.spec.size)
        });
        if let Some(other) = clash {
            return Err(BadRegion::Overlap(spec.guest, other.spec.guest));
        }
        let mut regions = self.regions.clone();
        regions.push(Region::map(spec, file)?);
        regions.sort_by_key(|r| r.spec.guest);
        Ok(Self { regions })
    }

    /// This memory without a region. One that is not there need not go, as in [`GuestMemory::with`].
    pub(super) fn without(&self, spec: RegionSpec) -> Self {
        let same = |s: &RegionSpec| (s.guest, s.user, s.size) == (spec.guest, spec.user, spec.size);
        let mut regions = self.regions.clone();
        regions.retain(|r| !same(&r.spec));
        Self { regions }
    }

    /// True once the file behind any region was cut short.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.regions.iter().any(|r| r.mapping.watch.is_lost())
    }

    /// The bytes at a guest address as far as they lie in one region, at most `len` and at least one. `near`
    /// is where the last were found: nearly always the next are there too.
    #[inline]
    fn span(&self, guest: u64, len: u64, near: &Cell<usize>) -> Option<Span<'_>> {
        let r = self.regions.get(near.get())?;
        let found = guest
            .checked_sub(r.spec.guest)
            .and_then(|at| r.part(at, len));
        found.or_else(|| self.span_far(guest, len, near))
    }

    fn span_far(&self, guest: u64, len: u64, near: &Cell<usize>) -> Option<Span<'_>> {
        self.regions.iter().enumerate().find_map(|(i, r)| {
            let span = r.part(guest.checked_sub(r.spec.guest)?, len)?;
            near.set(i);
            Some(span)
        })
    }

    /// Exactly `len` bytes in one region, by the address in the guest's process.
    fn by_user(&self, user: u64, len: u64) -> Option<Span<'_>> {
        let found = self.regions.iter().find_map(|r| {
            let at = user.checked_sub(r.spec.user)?;
            r.part(at, len)
        });
        found.filter(|s| s.len as u64 == len)
    }

    /// The NUMA node of the page that a ring is in.
    pub(super) fn numa_node(&self) -> Option<u32> {
        const MPOL_F_NODE: libc::c_ulong = 1;
        const MPOL_F_ADDR: libc::c_ulong = 2;
        let at = self.regions.first()?.start;
        let mut node: libc::c_int = -1;
        let none = std::ptr::null_mut::<libc::c_ulong>();
        // SAFETY: get_mempolicy(2) writes the node of the page at an address of ours to a live int.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_get_mempolicy,
                &raw mut node,
                none,
                0 as libc::c_ulong,
                at.as_ptr(),
                MPOL_F_NODE | MPOL_F_ADDR,
            )
        };
        u32::try_from(node).ok().filter(|_| rc == 0)
    }
}

/// Copies bytes; short packets by moves of a fixed size, which may overlap each other.
///
/// # Safety
/// As for [`std::ptr::copy_nonoverlapping`].
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
    match n {
        // SAFETY: as this function's own; n is not below the size.
        65..=128 => unsafe { copy_ends::<64>(from, to, n) },
        // SAFETY: as above.
        32..=64 => unsafe { copy_ends::<32>(from, to, n) },
        // SAFETY: as above.
        16..=31 => unsafe { copy_ends::<16>(from, to, n) },
        // SAFETY: as above.
        8..=15 => unsafe { copy_ends::<8>(from, to, n) },
        // SAFETY: as this function's own.
        _ => unsafe { std::ptr::copy_nonoverlapping(from, to, n) },
    }
}

/// Copies `n` bytes, `N` to twice as many, by their first and their last `N`.
///
/// # Safety
/// As for [`std::ptr::copy_nonoverlapping`], and `n >= N`.
#[inline(always)]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, n: usize) {
    let last = n - N;
    // SAFETY: n >= N, so the first N are inside.
    let head = unsafe { from.cast::<[u8; N]>().read() };
    // SAFETY: the last N are inside, too.
    let from = unsafe { from.add(last) };
    // SAFETY: as above.
    let tail = unsafe { from.cast::<[u8; N]>().read() };
    // SAFETY: as the first read.
    unsafe { to.cast::<[u8; N]>().write(head) };
    // SAFETY: as the second read.
    let to = unsafe { to.add(last) };
    // SAFETY: as above.
    unsafe { to.cast::<[u8; N]>().write(tail) };
}

/// Has the line at an address fetched, if there is one.
#[inline]
fn prefetch_read(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it accesses nothing and faults on no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same for a line that will be written: it is taken from whoever has it.
#[inline]
fn prefetch_write(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which accesses nothing and faults on no address; every x86-64 processor knows or ignores it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// A piece of guest memory. It can be copied from and to as long as the memory is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'m> {
    ptr: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'m GuestMemory>,
}

impl Span<'_> {
    /// Bytes.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies the first bytes out, as many as there are and fit; returns how many.
    #[inline]
    pub(super) fn read(&self, to: &mut [u8]) -> usize {
        let n = self.len.min(to.len());
        // SAFETY: n bytes from ptr are inside a mapping that `memory` keeps; the target is our own.
        unsafe { copy(self.ptr.as_ptr(), to.as_mut_ptr(), n) };
        n
    }

    /// Copies bytes in, as many as there are and fit; returns how many.
    #[inline]
    pub(super) fn write(&self, from: &[u8]) -> usize {
        let n = self.len.min(from.len());
        // SAFETY: as read(), the other way; no Rust reference to guest memory exists.
        unsafe { copy(from.as_ptr(), self.ptr.as_ptr(), n) };
        n
    }

    /// Copies a header in that ends where a line does, and so has none of the packet's lines. Usually the same is there
    /// from the time before; then the line stays with both processors.
    #[inline]
    fn write_apart(&self, header: &[u8]) {
        let mut now = [0; HEADER_MAX];
        let now = &mut now[..header.len().min(HEADER_MAX)];
        if self.read(now) != header.len() || *now != *header {
            self.write(header);
        }
    }
    /// Copies a packet in behind its header (of at most 12 bytes); both fit.
    #[inline]
    pub(super) fn write_packet(&self, header: &[u8], data: &[u8]) {
        if self.is_apart(header.len()) {
            self.write_apart(header);
        } else {
            self.write(header);
        }
        self.skip(header.len()).write(data);
    }
    /// Does a header of `n` bytes end where a line does?
    #[inline]
    fn is_apart(&self, n: usize) -> bool {
        (self.ptr.as_ptr() as usize + n).is_multiple_of(LINE)
    }

    /// What is left behind the first `n` bytes.
    #[inline]
    pub(super) fn skip(&self, n: usize) -> Self {
        let n = n.min(self.len);
        Self {
            // SAFETY: n <= len, so at most one past the end of the same mapping.
            ptr: unsafe { self.ptr.add(n) },
            len: self.len - n,
            memory: PhantomData,
        }
    }

    /// Has the line `at` bytes behind the beginning fetched. Any number is harmless.
    #[inline]
    pub(super) fn prefetch(&self, at: usize) {
        prefetch_read(self.ptr.as_ptr().wrapping_add(at));
    }
    /// Has the first lines fetched: a short packet and the header in front of it.
    #[inline]
    pub(super) fn fetch(&self) {
        self.first_lines(prefetch_read);
    }
    /// The same, for [`Span::write_packet`].
    #[inline]
    pub(super) fn fetch_to_write(&self, header_bytes: usize) {
        if self.is_apart(header_bytes) {
            prefetch_read(self.ptr.as_ptr());
            prefetch_write(self.ptr.as_ptr().wrapping_add(header_bytes));
        } else {
            self.first_lines(prefetch_write);
        }
    }
    #[inline]
    fn first_lines(&self, fetch: impl Fn(*const u8)) {
        /// A header and a packet of 60 bytes.
        const SHORT: usize = 72;
        let first = self.ptr.as_ptr().cast_const();
        let last = first.wrapping_add(self.len.min(SHORT) - 1);
        fetch(first);
        if (first as usize ^ last as usize) >= LINE {
            fetch(last);
        }
    }

    /// Descriptor `i` of a table, read once.
    #[inline]
    pub(super) fn descriptor(&self, i: usize) -> Option<Descriptor> {
        let at = i.checked_mul(DESCRIPTOR_BYTES)?;
        if self.len.checked_sub(at)? < DESCRIPTOR_BYTES {
            return None;
        }
        // SAFETY: at + 16 <= len.
        let ptr = unsafe { self.ptr.add(at) }.cast::<RawDescriptor>();
        // SAFETY: inside the mapping by the line before; the type is plain and unaligned.
        let raw = unsafe { ptr.read_volatile() };
        Some(Descriptor {
            addr: u64::from_le(raw.addr),
            len: u32::from_le(raw.len),
            flags: u16::from_le(raw.flags),
            next: u16::from_le(raw.next),
        })
    }
}

/// Bytes of a processor's cache line.
const LINE: usize = 64;
/// Bytes of the longest header in front of a packet.
const HEADER_MAX: usize = 12;

/// Bytes of a descriptor.
pub(super) const DESCRIPTOR_BYTES: usize = 16;

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct RawDescriptor {
    addr: u64,
    len: u32,
    flags: u16,
    next: u16,
}

/// A descriptor (virtio 1.2, 2.7.5), in our own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

/// Where a ring's tables are, in the guest process's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingAddresses {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

/// The tables of one ring. Indices are taken modulo the ring's size, so none can be outside.
#[derive(Debug)]
pub(super) struct RingMemory {
    descriptors: NonNull<u8>,
    available: NonNull<u8>,
    used: NonNull<u8>,
    /// A power of two.
    size: u16,
    /// The region that a buffer was last found in; below their number.
    near: Cell<usize>,
    memory: Arc<GuestMemory>,
}

// SAFETY: the pointers are into mappings that `memory` keeps.
unsafe impl Send for RingMemory {}

/// Offset of the first entry in the available and used tables: flags and index are in front.
const ENTRIES: usize = 4;

impl RingMemory {
    /// Translates a ring. `None` when a table is not inside one region, or not aligned, or the size is none.
    pub(super) fn new(memory: &Arc<GuestMemory>, size: u16, at: RingAddresses) -> Option<Self> {
        if !size.is_power_of_two() || size > super::RING_SIZE_MAX {
            return None;
        }
        let n = u64::from(size);
        let table = |user: u64, len: u64, align: usize| {
            let span = memory.by_user(user, len)?;
            (span.ptr.as_ptr() as usize)
                .is_multiple_of(align)
                .then_some(span.ptr)
        };
        Some(Self {
            descriptors: table(at.descriptors, 16 * n, 16)?,
            available: table(at.available, 6 + 2 * n, 2)?,
            used: table(at.used, 6 + 8 * n, 4)?,
            size,
            near: Cell::new(0),
            memory: Arc::clone(memory),
        })
    }

    #[inline]
    pub(super) fn size(&self) -> u16 {
        self.size
    }
    #[inline]
    pub(super) fn memory(&self) -> &GuestMemory {
        &self.memory
    }
    /// The bytes at a guest address as far as they lie in one region, at most `len` and at least one.
    #[inline]
    pub(super) fn span(&self, guest: u64, len: u64) -> Option<Span<'_>> {
        self.memory.span(guest, len, &self.near)
    }

    /// A 16-bit field of a table. `at` is even and below the length that new() checked.
    #[inline]
    fn half(&self, table: NonNull<u8>, at: usize) -> &AtomicU16 {
        // SAFETY: callers' offsets are inside the table.
        let ptr = unsafe { table.add(at) }.cast::<u16>();
        // SAFETY: aligned to 2 by new(), inside a mapping that lives as long as self; only atomics there.
        unsafe { AtomicU16::from_ptr(ptr.as_ptr()) }
    }
    #[inline]
    fn slot(&self, index: u16) -> usize {
        usize::from(index & (self.size - 1))
    }

    /// The descriptor table.
    #[inline]
    pub(super) fn table(&self) -> Span<'_> {
        Span {
            ptr: self.descriptors,
            len: usize::from(self.size) * DESCRIPTOR_BYTES,
            memory: PhantomData,
        }
    }

    /// How many heads the guest has offered. What it wrote before that can be read after it.
    #[inline]
    pub(super) fn available_index(&self) -> u16 {
        u16::from_le(self.half(self.available, 2).load(Ordering::Acquire)) // pairs with the guest's barrier
    }
    /// The head offered as number `index`; may be any value.
    #[inline]
    pub(super) fn head(&self, index: u16) -> u16 {
        let at = ENTRIES + 2 * self.slot(index);
        u16::from_le(self.half(self.available, at).load(Ordering::Relaxed))
    }
    /// The guest's flags: bit 0 means "do not interrupt".
    #[inline]
    pub(super) fn available_flags(&self) -> u16 {
        u16::from_le(self.half(self.available, 0).load(Ordering::SeqCst)) // see publish()
    }
    /// With event indices: after which used index the guest wants an interrupt.
    #[inline]
    pub(super) fn used_event(&self) -> u16 {
        let at = ENTRIES + 2 * usize::from(self.size);
        u16::from_le(self.half(self.available, at).load(Ordering::SeqCst)) // see publish()
    }

    /// How many heads were given back, as the ring says.
    pub(super) fn used_index(&self) -> u16 {
        u16::from_le(self.half(self.used, 2).load(Ordering::Relaxed))
    }
    /// Gives a head back as number `index`, not yet to be seen. Often the entry says so from the round before;
    /// then its line stays with both processors.
    #[inline]
    pub(super) fn set_used(&self, index: u16, head: u16, len: u32) {
        let at = ENTRIES + 8 * self.slot(index);
        for (at, value) in [(at, u32::from(head)), (at + 4, len)] {
            // SAFETY: the entry is inside the used table.
            let ptr = unsafe { self.used.add(at) }.cast::<u32>();
            // SAFETY: aligned to 4 by new(), inside a mapping that lives as long as self; only atomics there.
            let word = unsafe { AtomicU32::from_ptr(ptr.as_ptr()) };
            if word.load(Ordering::Relaxed) != value.to_le() {
                word.store(value.to_le(), Ordering::Relaxed);
            }
        }
    }
    /// Has the line fetched that [`RingMemory::show`] and [`RingMemory::publish`] write.
    #[inline]
    pub(super) fn fetch_used_index(&self) {
        prefetch_write(self.used.as_ptr());
    }
    /// Lets the guest see what was given back up to `index`.
    #[inline]
    pub(super) fn show(&self, index: u16) {
        self.half(self.used, 2)
            .store(index.to_le(), Ordering::Release); // pairs with the guest's barrier
    }
    /// The same, before we read anything else of it.
    #[inline]
    pub(super) fn publish(&self, index: u16) {
        // Sequentially consistent, with the loads of what the guest wants: each side writes, then reads what
        // the other wrote. An exchange is cheaper than a store and a fence.
        self.half(self.used, 2)
            .store(index.to_le(), Ordering::SeqCst);
    }
    /// Our flags: bit 0 means "do not kick".
    #[inline]
    pub(super) fn set_used_flags(&self, flags: u16) {
        self.half(self.used, 0)
            .store(flags.to_le(), Ordering::Relaxed);
    }
    /// With event indices: after which head we want a kick.
    #[inline]
    pub(super) fn set_available_event(&self, index: u16) {
        let at = ENTRIES + 8 * usize::from(self.size);
        self.half(self.used, at)
            .store(index.to_le(), Ordering::Relaxed);
    }
}
