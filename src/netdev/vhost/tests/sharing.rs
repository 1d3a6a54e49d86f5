//! What is done for the sake of lines that two processors share: nothing that a guest can tell.

use crate::vhost::counts::Counts;
use crate::vhost::features::Features;
use crate::vhost::guest::{Driver, Guest, REGION, WRITE, descriptor};
use crate::vhost::memory::RingMemory;
use crate::vhost::pace::Pace;
use crate::vhost::pool::Buffers;
use crate::vhost::receive::receive;
use crate::vhost::ring::Ring;
use crate::vhost::transmit::{Limits, transmit};
use base::sync::Arc;
use packet::{BATCH_MAX, Batch, HeapPool};
use proptest::prelude::*;

/// Version 1, indices of events, buffers in order; headers have 12 bytes.
const FEATURES: Features = Features(1 << 35 | 1 << 32 | 1 << 29);
/// The shortest ring that hides anything, and what it may hide.
const SIZE: u16 = 256;
const HIDDEN: u16 = 64;
/// Looks without packets before everything is shown.
const IDLE: usize = 32;

fn ring(guest: &Guest, driver: &Driver) -> Ring {
    let memory = Arc::new(guest.memory());
    let tables = RingMemory::new(&memory, driver.size, driver.addresses()).unwrap();
    Ring::new(tables, FEATURES, 0)
}

/// A guest that sends, and who receives from it.
struct Sender {
    guest: Guest,
    driver: Driver,
    ring: Ring,
    buffers: Buffers,
    counts: Counts,
}

impl Sender {
    fn new() -> Self {
        let (guest, driver) = (Guest::new(), Driver::new(0, SIZE));
        for i in 0..SIZE {
            let len = if i % 50 == 7 { 12 } else { 80 }; // some are none
            driver.describe(&guest, i, descriptor(0x4000, len, 0, 0));
        }
        Self {
            ring: ring(&guest, &driver),
            guest,
            driver,
            buffers: Buffers::new(64),
            counts: Counts::default(),
        }
    }
    fn offer(&mut self, n: u16) {
        for _ in 0..n {
            self.driver.offer(&self.guest, self.driver.offered % SIZE);
        }
    }
    /// One look, without any rest; packets that came.
    fn look(&mut self) -> usize {
        self.ring.pace = Pace::default();
        self.look_if_due()
    }
    fn look_if_due(&mut self) -> usize {
        let mut batch = Batch::new();
        let (_, result) = receive(&mut self.ring, &mut batch, &mut self.buffers, &self.counts);
        result.unwrap();
        batch.len()
    }
    fn shown(&self) -> u16 {
        self.driver.used_index(&self.guest)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_guest_gets_everything_back_in_order_and_in_time(bursts in proptest::collection::vec(0..=40u16, 1..60)) {
        let mut s = Sender::new();
        // The twin: heads come back in the order in which they were offered.
        let mut expected = 0u32;
        for n in bursts {
            let room = SIZE - s.driver.offered.wrapping_sub(s.driver.seen);
            s.offer(n.min(room));
            s.look();
            let taken = s.ring.places.next();
            prop_assert!(taken.wrapping_sub(s.shown()) < HIDDEN);
            for (head, len) in s.driver.take_all(&s.guest) {
                prop_assert_eq!((head, len), (expected % u32::from(SIZE), 0));
                expected += 1;
            }
        }
        while s.ring.places.next() != s.driver.offered {
            s.look();
        }
        for _ in 0..IDLE {
            s.look();
        }
        prop_assert_eq!(s.shown(), s.driver.offered);
    }
}

#[test]
fn a_ring_that_stops_or_sleeps_hides_nothing() {
    let mut s = Sender::new();
    s.offer(5);
    assert_eq!((s.look(), s.shown()), (5, 0));
    s.ring.places.show(&s.ring.tables);
    assert_eq!(s.shown(), 5);
    s.offer(6);
    s.look();
    assert_eq!(s.shown(), 5);
    let (guest, driver) = (s.guest, s.driver);
    assert_eq!(s.ring.stop(), 11);
    assert_eq!(driver.used_index(&guest), 11);
}

#[test]
fn a_rest_ends_when_the_guest_kicks() {
    let mut s = Sender::new();
    s.ring.pace = Pace::endless();
    assert!(s.ring.ask_for_kicks(), "nothing there, it may sleep");
    s.offer(1);
    assert_eq!(s.look_if_due(), 0);
    assert!(!s.ring.ask_for_kicks(), "no sleep with a packet there");
    s.ring.no_more_kicks();
    assert_eq!(s.look_if_due(), 1);
}

#[test]
fn packets_known_of_are_taken_in_a_rest() {
    let mut s = Sender::new();
    s.offer(2 * BATCH_MAX as u16 + 3);
    let first = s.look();
    s.ring.pace = Pace::endless();
    let more = [s.look_if_due(), s.look_if_due(), s.look_if_due()];
    let lost: u64 = s.counts.losses().iter().map(|l| l.1).sum();
    assert_eq!(first + more.iter().sum::<usize>() + lost as usize, 67);
}

#[test]
fn a_header_is_right_whatever_was_there() {
    let data: Vec<u8> = (0..100).collect();
    let plain = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    // In front of a line, so that it is written only if it differs; and inside of one.
    for at in [REGION + 64 * 9 - 12, REGION + 64 * 9] {
        for before in [
            plain,
            [0; 12],
            [0xff; 12],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0],
        ] {
            let (guest, mut driver) = (Guest::new(), Driver::new(0, 2));
            guest.write(at, &before);
            driver.describe(&guest, 0, descriptor(at, 500, WRITE, 0));
            let mut ring = ring(&guest, &driver);
            for used in 1..3 {
                driver.offer(&guest, 0);
                let frames = [HeapPool::global().copy_from(&data)];
                let limits = Limits {
                    mtu: 1500,
                    retries: 0,
                };
                let (report, ..) = transmit(&mut ring, &frames, limits, &Counts::default());
                assert_eq!(report.sent, 1);
                assert_eq!(guest.read(at, 12), plain, "{before:?}");
                assert_eq!(guest.read(at + 12, 100), data);
                // The second entry is written over one that is as it must be.
                assert_eq!((driver.take(&guest), driver.seen), (Some((0, 112)), used));
            }
        }
    }
}
