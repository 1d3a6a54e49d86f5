//! A guest for tests and benches: memory in files, and the driver's side of rings in it. It reads and writes the files,
//! never mapping them, so that what it sees is what is in the memory that the switch has mapped.

#![expect(
    clippy::unwrap_used,
    reason = "without a guest neither tests nor benches can go on"
)]
#![cfg_attr(not(test), expect(dead_code, reason = "benches need less than tests"))]

use crate::vhost::memory::{GuestMemory, RegionSpec, RingAddresses};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::os::unix::fs::FileExt;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

/// Bytes of each region.
pub(super) const REGION: u64 = 0x1_0000;
/// What a guest address is in the guest's process: guest memory begins there.
pub(super) const USER: u64 = 0x7000_0000_0000;
/// The first address behind all memory.
pub(super) const END: u64 = 2 * REGION;

/// Two regions, one behind the other, of different files.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) files: [File; 2],
}

impl Guest {
    pub(super) fn new() -> Self {
        let file = || {
            let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
            file.set_len(REGION).unwrap();
            file
        };
        Self {
            files: [file(), file()],
        }
    }

    pub(super) fn spec(i: u64) -> RegionSpec {
        RegionSpec {
            guest: i * REGION,
            user: USER + i * REGION,
            size: REGION,
            offset: 0,
        }
    }

    pub(super) fn memory(&self) -> GuestMemory {
        let [a, b] = &self.files;
        let first = GuestMemory::default().with(Self::spec(0), a).unwrap();
        first.with(Self::spec(1), b).unwrap()
    }

    /// Writes; both ends must be in the same region.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) {
        let file = &self.files[(at / REGION) as usize];
        file.write_all_at(bytes, at % REGION).unwrap();
    }
    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let file = &self.files[(at / REGION) as usize];
        file.read_exact_at(&mut bytes, at % REGION).unwrap();
        bytes
    }
    pub(super) fn half(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.read(at, 2).try_into().unwrap())
    }
}

/// A descriptor's bytes.
pub(super) fn descriptor(addr: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&addr.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}

/// The driver's side of one ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Driver {
    /// Guest address of its three tables, one page each (rings of up to 256 entries).
    pub(super) at: u64,
    pub(super) size: u16,
    /// Heads offered, and used entries seen.
    pub(super) offered: u16,
    pub(super) seen: u16,
}

impl Driver {
    pub(super) fn new(at: u64, size: u16) -> Self {
        Self {
            at,
            size,
            offered: 0,
            seen: 0,
        }
    }
    pub(super) fn addresses(&self) -> RingAddresses {
        RingAddresses {
            descriptors: USER + self.at,
            available: USER + self.at + 0x1000,
            used: USER + self.at + 0x2000,
        }
    }
    pub(super) fn describe(&self, guest: &Guest, i: u16, d: [u8; 16]) {
        guest.write(self.at + 16 * u64::from(i), &d);
    }
    /// Offers a chain, for the device to see at once.
    pub(super) fn offer(&mut self, guest: &Guest, head: u16) {
        let slot = u64::from(self.offered % self.size);
        guest.write(self.at + 0x1004 + 2 * slot, &head.to_le_bytes());
        self.offered = self.offered.wrapping_add(1);
        guest.write(self.at + 0x1002, &self.offered.to_le_bytes());
    }
    pub(super) fn used_index(&self, guest: &Guest) -> u16 {
        guest.half(self.at + 0x2002)
    }
    /// The next chain given back: head and bytes written.
    pub(super) fn take(&mut self, guest: &Guest) -> Option<(u32, u32)> {
        if self.used_index(guest) == self.seen {
            return None;
        }
        let slot = u64::from(self.seen % self.size);
        let entry = guest.read(self.at + 0x2004 + 8 * slot, 8);
        self.seen = self.seen.wrapping_add(1);
        let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
        Some((word(0), word(4)))
    }
    pub(super) fn take_all(&mut self, guest: &Guest) -> Vec<(u32, u32)> {
        std::iter::from_fn(|| self.take(guest)).collect()
    }
}
