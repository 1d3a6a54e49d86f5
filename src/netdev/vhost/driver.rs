//! Both rings of a guest that is a test's own, for benches: what a packet costs on its way through a ring.

use super::counts::Counts;
use super::features::Features;
use super::guest::{Driver, Guest, WRITE, descriptor};
use super::memory::RingMemory;
use super::pace::Pace;
use super::pool::Buffers;
use super::receive::receive;
use super::ring::Ring;
use super::transmit::{Limits, transmit};
use base::sync::Arc;
use packet::{Batch, Frame};

/// Version 1, and merged buffers.
const FEATURES: Features = Features(1 << 32 | 1 << 15);
/// Entries of each ring.
const SIZE: u16 = 64;
/// Where the second ring's tables are, and each ring's buffers of [`BUFFER`] bytes.
const TX: u64 = 0x3000;
const RX_DATA: u64 = 0x6000;
const TX_DATA: u64 = 0xb000;
const BUFFER: u64 = 256;

/// See the module.
#[derive(Debug)]
pub struct VhostRings {
    guest: Guest,
    rx: (Ring, Driver),
    tx: (Ring, Driver),
    buffers: Buffers,
    counts: Counts,
}

impl Default for VhostRings {
    fn default() -> Self {
        Self::new()
    }
}

impl VhostRings {
    /// Rings at rest.
    ///
    /// # Panics
    /// There is no memory to be had.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a bench that cannot start has no other way"
    )]
    pub fn new() -> Self {
        let guest = Guest::new();
        let memory = Arc::new(guest.memory());
        let ring = |at: u64, data: u64, flags: u16| {
            let driver = Driver::new(at, SIZE);
            for i in 0..SIZE {
                let d = descriptor(data + BUFFER * u64::from(i), BUFFER as u32, flags, 0);
                driver.describe(&guest, i, d);
            }
            let tables = RingMemory::new(&memory, SIZE, driver.addresses());
            let ring = Ring::new(tables.expect("tables in the memory"), FEATURES, 0);
            // No interrupts, please.
            guest.write(at + 0x1000, &1u16.to_le_bytes());
            (ring, driver)
        };
        Self {
            rx: ring(0, RX_DATA, 0),
            tx: ring(TX, TX_DATA, WRITE),
            buffers: Buffers::new(4096),
            counts: Counts::default(),
            guest,
        }
    }

    /// The guest sends `n` copies of a packet.
    pub fn offer_packets(&mut self, packet: &[u8], n: usize) {
        let (ring, driver) = &mut self.rx;
        // To be looked for at once, however little time has passed.
        ring.pace = Pace::default();
        driver.seen = driver.used_index(&self.guest);
        for _ in 0..n {
            let i = driver.offered % SIZE;
            let at = RX_DATA + BUFFER * u64::from(i);
            let d = descriptor(at, 12 + packet.len() as u32, 0, 0);
            driver.describe(&self.guest, i, d);
            self.guest.write(at + 12, packet);
            driver.offer(&self.guest, i);
        }
    }

    /// The guest has room for `n` packets more.
    pub fn offer_buffers(&mut self, n: usize) {
        let (_, driver) = &mut self.tx;
        driver.seen = driver.used_index(&self.guest);
        for _ in 0..n {
            driver.offer(&self.guest, driver.offered % SIZE);
        }
    }

    /// One burst out of the guest.
    pub fn receive(&mut self, batch: &mut Batch) {
        let (_, result) = receive(&mut self.rx.0, batch, &mut self.buffers, &self.counts);
        debug_assert!(result.is_ok());
    }

    /// One burst into the guest; how many it got.
    pub fn transmit(&mut self, frames: &[Frame]) -> u32 {
        let limits = Limits {
            mtu: 1500,
            retries: 0,
        };
        transmit(&mut self.tx.0, frames, limits, &self.counts)
            .0
            .sent
    }
}
