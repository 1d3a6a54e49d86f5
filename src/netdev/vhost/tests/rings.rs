//! Rings full of anything, against the twin.

use super::reference::{self, Memory, Sent, Tables};
use crate::vhost::counts::Counts;
use crate::vhost::features::Features;
use crate::vhost::guest::{Driver, END, Guest, INDIRECT, NEXT, REGION, WRITE, descriptor};
use crate::vhost::memory::RingMemory;
use crate::vhost::pool::Buffers;
use crate::vhost::receive::receive;
use crate::vhost::ring::{Fault, Ring};
use crate::vhost::transmit::{Limits, transmit};
use base::sync::Arc;
use packet::{Batch, HeapPool};
use proptest::prelude::*;

/// Version 1 and indirect descriptors; with merged buffers; with indices of events.
const PLAIN: u64 = 1 << 32 | 1 << 28;
const MERGED: u64 = PLAIN | 1 << 15;
const EVENTS: u64 = 1 << 29;

/// Where buffers and tables of descriptors are; the last is partly in the other region.
const DATA: u64 = 0x4000;
const TABLES: u64 = 0x8000;

#[derive(Debug, Clone)]
struct Scene {
    size: u16,
    base: u16,
    ahead: u16,
    heads: Vec<u16>,
    ring: Vec<[u8; 16]>,
    tables: Vec<[u8; 16]>,
    indirect: bool,
}

/// A descriptor of a table of `n`, mostly one that makes sense.
fn any_descriptor(n: u16, way: u16) -> impl Strategy<Value = [u8; 16]> {
    let addr = prop_oneof![
        8 => DATA..DATA + 0x2000,
        2 => REGION - 300..REGION,
        1 => END - 100..END + 100,
        1 => any::<u64>(),
        3 => (0..8u64).prop_map(|i| TABLES + 64 * i),
    ];
    let len = prop_oneof![8 => 0..300u32, 1 => 0..20_000u32, 1 => any::<u32>(), 3 => (0..5u32).prop_map(|n| 16 * n)];
    let flags = prop_oneof![
        8 => Just(way),
        8 => Just(way | NEXT),
        4 => Just(INDIRECT),
        1 => any::<u16>(),
    ];
    (addr, len, flags, 0..=n).prop_map(|(a, l, f, x)| descriptor(a, l, f, x))
}

fn scene(way: u16) -> impl Strategy<Value = Scene> {
    (0..5u32).prop_flat_map(move |log| {
        let n = 1u16 << log;
        let heads = proptest::collection::vec(prop_oneof![20 => 0..n, 1 => 0..=n], usize::from(n));
        let ring = proptest::collection::vec(any_descriptor(n, way), usize::from(n));
        let tables = proptest::collection::vec(any_descriptor(4, way), 32);
        let ahead = prop_oneof![10 => 0..=n, 1 => any::<u16>()];
        (
            any::<u16>(),
            ahead,
            heads,
            ring,
            tables,
            prop::bool::weighted(0.9),
        )
            .prop_map(move |(base, ahead, heads, ring, tables, indirect)| Scene {
                size: n,
                base,
                ahead,
                heads,
                ring,
                tables,
                indirect,
            })
    })
}

impl Scene {
    /// Puts it into a guest's memory.
    fn set(&self, guest: &Guest) -> Driver {
        let driver = Driver::new(0, self.size);
        let noise: Vec<u8> = (0..REGION as u32 / 2)
            .map(|i| ((i * 31) >> 3) as u8)
            .collect();
        guest.write(DATA, &noise);
        guest.write(REGION, &noise);
        for (i, d) in self.ring.iter().enumerate() {
            guest.write(16 * i as u64, d);
        }
        for (i, d) in self.tables.iter().enumerate() {
            guest.write(TABLES + 16 * i as u64, d);
        }
        for (i, head) in self.heads.iter().enumerate() {
            guest.write(0x1004 + 2 * i as u64, &head.to_le_bytes());
        }
        guest.write(0x1002, &self.base.wrapping_add(self.ahead).to_le_bytes());
        guest.write(0x2002, &self.base.to_le_bytes());
        driver
    }
    fn tables(&self) -> Tables {
        Tables {
            descriptors: 0,
            available: 0x1000,
            size: self.size,
            indirect: self.indirect,
        }
    }
    fn features(&self, bits: u64) -> Features {
        Features(if self.indirect {
            bits
        } else {
            bits & !(1 << 28)
        })
    }
}

fn copy(guest: &Guest) -> Memory {
    let all = |i: u64| (i * REGION, guest.read(i * REGION, REGION as usize));
    Memory(vec![all(0), all(1)])
}

fn ring(guest: &Guest, driver: &Driver, features: Features, base: u16) -> Ring {
    let memory = Arc::new(guest.memory());
    let tables = RingMemory::new(&memory, driver.size, driver.addresses()).unwrap();
    Ring::new(tables, features, base)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_received_is_what_the_twin_receives(scene in scene(0)) {
        let guest = Guest::new();
        let mut driver = scene.set(&guest);
        driver.seen = scene.base;
        let (want, fault) = reference::receive(&copy(&guest), &scene.tables(), scene.base, 12);
        let mut ring = ring(&guest, &driver, scene.features(PLAIN), scene.base);
        let mut batch = Batch::new();
        let counts = Counts::default();
        let (_, result) = receive(&mut ring, &mut batch, &mut Buffers::new(64), &counts);
        prop_assert_eq!(result.err(), fault);
        let got: Vec<_> = batch.iter().map(|f| f.data().to_vec()).collect();
        let good: Vec<_> = want.iter().filter_map(|p| p.clone().ok()).collect();
        prop_assert_eq!(got, good);
        let lost: u64 = counts.losses().iter().map(|l| l.1).sum();
        prop_assert_eq!(lost as usize, want.iter().filter(|p| p.is_err()).count());
        let used = driver.take_all(&guest);
        prop_assert_eq!(used.len(), want.len());
        for (i, (head, len)) in used.iter().enumerate() {
            let slot = usize::from(scene.base.wrapping_add(i as u16) % scene.size);
            prop_assert_eq!((*head, *len), (u32::from(scene.heads[slot]), 0));
        }
    }

    #[test]
    fn what_is_sent_is_what_the_twin_sends(
        scene in scene(WRITE),
        lens in proptest::collection::vec(prop_oneof![3 => 14..200usize, 1 => 200..1514usize], 1..10),
        mergeable: bool,
    ) {
        let guest = Guest::new();
        let mut driver = scene.set(&guest);
        driver.seen = scene.base;
        let packets: Vec<Vec<u8>> = lens.iter().enumerate()
            .map(|(i, len)| (0..*len).map(|b| (b * 7 + i) as u8).collect()).collect();
        let mut memory = copy(&guest);
        let (want, used, fault) =
            reference::transmit(&mut memory, &scene.tables(), scene.base, &packets, mergeable);
        let bits = if mergeable { MERGED } else { PLAIN };
        let mut ring = ring(&guest, &driver, scene.features(bits), scene.base);
        let frames: Vec<_> = packets.iter().map(|p| HeapPool::global().copy_from(p)).collect();
        let limits = Limits { mtu: 1500, retries: 8 };
        let (report, _, got_fault) = transmit(&mut ring, &frames, limits, &Counts::default());
        prop_assert_eq!(got_fault, fault);
        let of = |what| want.iter().filter(|s| **s == what).count();
        prop_assert_eq!(report.sent as usize, of(Sent::Yes));
        prop_assert_eq!(report.full as usize, of(Sent::Full));
        prop_assert_eq!(report.too_big as usize, of(Sent::TooBig));
        prop_assert_eq!(report.sent + report.full + report.too_big + report.error, lens.len() as u32);
        prop_assert_eq!(driver.take_all(&guest), used);
        let now = copy(&guest);
        prop_assert!(now.0[0].1[DATA as usize..] == memory.0[0].1[DATA as usize..]);
        prop_assert!(now.0[1] == memory.0[1]);
    }
}

#[test]
fn a_loop_and_an_endless_table_end() {
    let guest = Guest::new();
    let mut driver = Driver::new(0, 2);
    driver.describe(&guest, 0, descriptor(DATA, 4, NEXT, 1));
    driver.describe(&guest, 1, descriptor(DATA, 4, NEXT, 0));
    driver.offer(&guest, 0);
    let mut looped = ring(&guest, &driver, Features(PLAIN), 0);
    let mut batch = Batch::new();
    let (_, result) = receive(
        &mut looped,
        &mut batch,
        &mut Buffers::new(64),
        &Counts::default(),
    );
    assert_eq!(result, Err(Fault::Loop));

    // An indirect table that names itself.
    driver.describe(&guest, 0, descriptor(TABLES, 32, INDIRECT, 0));
    guest.write(TABLES, &descriptor(TABLES, 32, INDIRECT, 0));
    let mut nested = ring(&guest, &driver, Features(PLAIN), 0);
    let (_, result) = receive(
        &mut nested,
        &mut batch,
        &mut Buffers::new(64),
        &Counts::default(),
    );
    assert_eq!(result, Err(Fault::Indirect));
}

#[test]
fn a_burst_of_chains_of_nothing_has_an_end() {
    let guest = Guest::new();
    let mut driver = Driver::new(0, 32);
    // Each head an indirect table of 200 empty descriptors.
    for i in 0..200u16 {
        let flags = if i < 199 { NEXT } else { 0 };
        guest.write(
            TABLES + 16 * u64::from(i),
            &descriptor(DATA, 0, flags, i + 1),
        );
    }
    for i in 0..32 {
        driver.describe(&guest, i, descriptor(TABLES, 3200, INDIRECT, 0));
        driver.offer(&guest, i);
    }
    let mut ring = ring(&guest, &driver, Features(PLAIN), 0);
    let counts = Counts::default();
    let mut batch = Batch::new();
    let mut bursts = 0;
    while driver.take_all(&guest).len() < 32 && bursts < 32 {
        let before = driver.seen;
        assert!(
            receive(&mut ring, &mut batch, &mut Buffers::new(64), &counts)
                .1
                .is_ok()
        );
        assert!(driver.used_index(&guest).wrapping_sub(before) <= 6);
        bursts += 1;
        if driver.used_index(&guest) == 32 {
            break;
        }
    }
    assert!((5..10).contains(&bursts), "{bursts}");
    assert_eq!(counts.losses()[0], ("rx_runt", 32));
}

#[test]
fn interrupts_come_when_the_guest_asked_for_them() {
    let guest = Guest::new();
    let mut driver = Driver::new(0, 16);
    for i in 0..16 {
        driver.describe(&guest, i, descriptor(DATA, 100, 0, 0));
    }
    let burst = |ring: &mut Ring, driver: &mut Driver, n: u16| {
        for _ in 0..n {
            driver.offer(&guest, driver.offered % 16);
        }
        let mut batch = Batch::new();
        // What a burst gave back is asked about by the next.
        let mut once = || receive(ring, &mut batch, &mut Buffers::new(64), &Counts::default()).0;
        let before = once();
        once() || before
    };
    // By index: the first time always, then when used index 5 (the sixth entry) is passed.
    let mut by_index = ring(&guest, &driver, Features(PLAIN | EVENTS), 0);
    guest.write(0x1000 + 4 + 32, &5u16.to_le_bytes());
    assert!(burst(&mut by_index, &mut driver, 1));
    assert!(!burst(&mut by_index, &mut driver, 4));
    assert!(burst(&mut by_index, &mut driver, 1));
    assert!(!burst(&mut by_index, &mut driver, 10));
    assert!(!burst(&mut by_index, &mut driver, 0));
    // Kicks are asked for behind the last head, and a head that came meanwhile is seen.
    assert!(by_index.ask_for_kicks());
    assert_eq!(guest.half(0x2000 + 4 + 128), driver.offered);
    driver.offer(&guest, 0);
    assert!(!by_index.ask_for_kicks());

    // By flag, in the same ring as it stands; a device that starts again goes on from the used index.
    let mut by_flag = ring(&guest, &driver, Features(PLAIN), 0);
    assert_eq!(by_flag.places.next(), driver.offered - 1);
    assert_eq!(guest.half(0x2000), 1, "no kicks while polled");
    assert!(burst(&mut by_flag, &mut driver, 1));
    guest.write(0x1000, &1u16.to_le_bytes());
    assert!(!burst(&mut by_flag, &mut driver, 1));
    assert!(by_flag.ask_for_kicks());
    assert_eq!(guest.half(0x2000), 0);
    by_flag.no_more_kicks();
    assert_eq!(guest.half(0x2000), 1);
}

/// A UDP packet whose checksum field holds its pseudo header's sum only; where it starts and its offset.
fn unfinished() -> (Vec<u8>, u16, u16) {
    let mut p = vec![2; 12];
    p.extend([0x08, 0x00, 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0]);
    p.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    p.extend([0, 1, 0, 2, 0, 16, 0, 0]);
    p.extend([9; 8]);
    let (from, to) = (wire::Ipv4([192, 0, 2, 1]), wire::Ipv4([192, 0, 2, 2]));
    let pseudo = wire::checksum::pseudo4(from, to, 17, 16).partial();
    p[40..42].copy_from_slice(&pseudo.to_be_bytes());
    (p, 34, 6)
}

#[test]
fn checksums_are_left_to_who_can_do_them() {
    const CSUM: u64 = 1;
    const GUEST_CSUM: u64 = 2;
    let guest = Guest::new();
    let (packet, start, offset) = unfinished();
    let mut header = vec![1, 0, 0, 0, 0, 0];
    header.extend([start.to_le_bytes(), offset.to_le_bytes(), [0, 0]].concat());
    let take = |features: u64, first: u8| {
        let mut driver = Driver::new(0, 2);
        guest.write(0x2002, &[0, 0]);
        header_and(&guest, &header, first, &packet);
        let d = descriptor(DATA, 12 + packet.len() as u32, 0, 0);
        driver.describe(&guest, 0, d);
        driver.offer(&guest, 0);
        let mut ring = ring(&guest, &driver, Features(features), 0);
        let mut batch = Batch::new();
        receive(
            &mut ring,
            &mut batch,
            &mut Buffers::new(64),
            &Counts::default(),
        )
        .1
        .unwrap();
        batch.pop().unwrap()
    };
    let partial = take(PLAIN | CSUM, 1);
    assert_eq!(partial.flags, packet::RxFlags::CSUM_PARTIAL);
    assert_eq!((partial.csum_start, partial.csum_offset), (start, offset));
    assert_eq!(take(PLAIN, 1).flags, 0, "not agreed on, not read");
    assert_eq!(
        take(PLAIN | CSUM, 2).flags,
        0,
        "a guest vouches for nothing"
    );

    let give = |features: u64| {
        let mut driver = Driver::new(0, 2);
        guest.write(0x2002, &[0, 0]);
        driver.describe(&guest, 0, descriptor(DATA, 2000, WRITE, 0));
        driver.offer(&guest, 0);
        let mut ring = ring(&guest, &driver, Features(features), 0);
        let frames = [HeapPool::global().duplicate(&partial)];
        let limits = Limits {
            mtu: 1500,
            retries: 0,
        };
        let (report, ..) = transmit(&mut ring, &frames, limits, &Counts::default());
        assert_eq!(report.sent, 1);
        guest.read(DATA, 12 + packet.len())
    };
    let as_is = give(PLAIN | GUEST_CSUM);
    assert_eq!(as_is[0], 1);
    assert_eq!(as_is[6..10], header[6..10]);
    assert_eq!(as_is[12..], packet);
    let finished = give(PLAIN);
    assert_eq!(finished[..10], [0; 10]);
    let sum = wire::checksum::pseudo4(
        wire::Ipv4([192, 0, 2, 1]),
        wire::Ipv4([192, 0, 2, 2]),
        17,
        16,
    );
    assert_eq!(sum.add_bytes(&finished[12 + 34..]).finish(), 0);
}

fn header_and(guest: &Guest, header: &[u8], first: u8, packet: &[u8]) {
    guest.write(DATA, header);
    guest.write(DATA, &[first]);
    guest.write(DATA + 12, packet);
}
