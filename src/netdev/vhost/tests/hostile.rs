//! Guests and frontends that do what none does: each loses its connection or its ring, the port survives
//! and serves the next one, and nothing is left open.

use super::messages::{
    ADD_MEM_REG, Events, FEATURES, Frontend, NET_SET_MTU, REM_MEM_REG, SET_FEATURES, SET_MEM_TABLE,
    SET_PROTOCOL_FEATURES, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_CALL, SET_VRING_ENABLE,
    SET_VRING_KICK, SET_VRING_NUM, longs, region, words,
};
use super::port::{Bench, until};
use crate::device::Device;
use crate::vhost::guest::{Guest, INDIRECT, NEXT, REGION, USER, WRITE, descriptor};
use base::sync::{Arc, spawn};
use packet::{Batch, HeapPool};
use proptest::prelude::*;
use std::fs::File;
use std::os::fd::AsFd;

/// The port serves a good guest.
fn still_serves(bench: &Bench) {
    let (_frontend, rings) = bench.connect(1);
    assert!(bench.device.carrier());
    assert_eq!(bench.device.error(), None);
    drop(rings);
}

/// What is sent costs the sender its connection, and nothing else.
fn refused(bench: &Bench, what: &str, send: impl FnOnce(&mut Frontend, &Guest)) {
    let mut frontend = bench.accept();
    frontend.negotiate(FEATURES);
    send(&mut frontend, &bench.guest);
    until(what, || frontend.is_hung_up());
}

#[test]
fn impossible_messages_end_the_connection() {
    let bench = Bench::new();
    let at = |flags: u32, a: u64| [words(&[0, flags]), longs(&[a, a, a, 0])].concat();
    let table = [
        ("no such message", 99, vec![]),
        ("no such queue", SET_VRING_NUM, words(&[128, 256])),
        ("a size of none", SET_VRING_NUM, words(&[0, 0])),
        ("no power of two", SET_VRING_NUM, words(&[0, 100])),
        ("a size above all", SET_VRING_NUM, words(&[0, 65_536])),
        ("a base above all", SET_VRING_BASE, words(&[0, 65_536])),
        ("a body too short", SET_VRING_NUM, words(&[0])),
        ("a body too long", SET_VRING_NUM, words(&[0, 256, 1])),
        ("not offered", SET_FEATURES, longs(&[FEATURES | 1 << 34])),
        (
            "not offered either",
            SET_PROTOCOL_FEATURES,
            longs(&[1 << 5]),
        ),
        ("half enabled", SET_VRING_ENABLE, words(&[0, 2])),
        ("unaligned tables", SET_VRING_ADDR, at(0, 1)),
        ("a log of writes", SET_VRING_ADDR, at(1, 16)),
        ("an MTU of 3", NET_SET_MTU, longs(&[3])),
        ("an MTU of many", NET_SET_MTU, longs(&[1 << 20])),
        ("an MTU without size", NET_SET_MTU, vec![]),
        ("no regions", SET_MEM_TABLE, words(&[0, 0])),
        (
            "no files",
            SET_MEM_TABLE,
            [words(&[1, 0]), region(0)].concat(),
        ),
        ("a kick without one", SET_VRING_KICK, longs(&[0])),
    ];
    for (what, code, body) in table {
        refused(&bench, what, |f, _| f.send(code, 1, &body, &[]));
    }
    still_serves(&bench);
}

#[test]
fn impossible_files_and_noise_end_the_connection() {
    let bench = Bench::new();
    let file = File::open("/dev/zero").unwrap();
    let event = Events::new();
    let zero = longs(&[0]);
    let (file, kick, call) = (file.as_fd(), event.kick.as_fd(), event.call.as_fd());
    refused(&bench, "a kick that is no eventfd", |f, _| {
        f.send(SET_VRING_KICK, 1, &zero, &[file]);
    });
    refused(&bench, "a call that is no eventfd", |f, _| {
        f.send(SET_VRING_CALL, 1, &zero, &[file]);
    });
    refused(&bench, "two kicks", |f, _| {
        f.send(SET_VRING_KICK, 1, &zero, &[kick, call]);
    });
    refused(&bench, "files nobody asked for", |f, _| {
        f.send(SET_VRING_NUM, 1, &words(&[0, 256]), &[file]);
    });
    refused(&bench, "a size above any message's", |f, _| {
        f.raw(&words(&[SET_VRING_NUM, 1, u32::MAX]), &[]);
    });
    refused(&bench, "noise", |f, _| f.raw(&[0x5a; 300], &[]));
    still_serves(&bench);
}

#[test]
fn impossible_memory_ends_the_connection() {
    let bench = Bench::new();
    let table = |regions: &[[u64; 4]]| {
        let mut body = words(&[regions.len() as u32, 0]);
        body.extend(regions.iter().flat_map(|r| longs(r)));
        body
    };
    let one = |r: [u64; 4]| {
        let body = table(&[r]);
        move |f: &mut Frontend, g: &Guest| f.send(SET_MEM_TABLE, 1, &body, &[g.files[0].as_fd()])
    };
    refused(
        &bench,
        "longer than its file",
        one([0, REGION + 1, USER, 0]),
    );
    refused(&bench, "behind its file's end", one([0, REGION, USER, 1]));
    refused(
        &bench,
        "an offset that wraps",
        one([0, REGION, USER, u64::MAX - 5]),
    );
    refused(
        &bench,
        "an address that wraps",
        one([u64::MAX - 5, REGION, USER, 0]),
    );
    refused(&bench, "of no length", one([0, 0, USER, 0]));
    refused(&bench, "of all length", one([0, u64::MAX, 0, 0]));
    let two = table(&[[0, REGION, USER, 0], [REGION - 1, REGION, USER + REGION, 0]]);
    refused(&bench, "overlapping in the guest", |f, g| {
        f.send(
            SET_MEM_TABLE,
            1,
            &two,
            &[g.files[0].as_fd(), g.files[1].as_fd()],
        );
    });
    let two = table(&[[0, REGION, USER, 0], [REGION, REGION, USER + 1, 0]]);
    refused(&bench, "overlapping outside", |f, g| {
        f.send(
            SET_MEM_TABLE,
            1,
            &two,
            &[g.files[0].as_fd(), g.files[1].as_fd()],
        );
    });
    let file = File::open("/proc/self/exe").unwrap();
    refused(&bench, "a file of a disk", |f, _| {
        f.send(
            SET_MEM_TABLE,
            1,
            &table(&[[0, 4096, USER, 0]]),
            &[file.as_fd()],
        );
    });
    refused(&bench, "more regions than files", |f, g| {
        f.send(SET_MEM_TABLE, 1, &two, &[g.files[0].as_fd()]);
    });
    refused(&bench, "another file in a region's place", |f, g| {
        assert!(f.give_memory(g));
        // QEMU says everything once per pair of rings.
        assert!(f.change_region(ADD_MEM_REG, 1, &g.files[1]));
        assert!(f.change_region(REM_MEM_REG, 5, &g.files[1]));
        assert!(!f.change_region(ADD_MEM_REG, 1, &g.files[0]));
    });
    still_serves(&bench);
}

#[test]
fn half_a_message_holds_nobody_up() {
    let bench = Bench::new();
    let frontend = bench.accept();
    frontend.raw(&words(&[SET_VRING_NUM, 1])[..7], &[]);
    // The port can be asked, told and closed meanwhile.
    bench.device.set_mtu(1400).unwrap();
    assert_eq!(bench.device.status()["status"], "connected");
    drop(bench.device);
}

/// A connected guest whose ring out of the guest (1) and into it (0) can be spoiled.
fn spoiled(
    spoil: impl FnOnce(&Bench, &mut [(crate::vhost::guest::Driver, Events)]),
) -> (Bench, String) {
    let bench = Bench::new();
    let (mut frontend, mut rings) = bench.connect(1);
    spoil(&bench, &mut rings);
    let (mut rx, mut tx) = (bench.rx(0), bench.tx(0));
    let mut batch = Batch::new();
    rx.recv(&mut batch).unwrap();
    batch.push(HeapPool::global().copy_from(&[1; 60])).unwrap();
    tx.send(&mut batch);
    let error = bench.device.error().expect("something is wrong");
    assert_eq!(rx.recv(&mut batch).unwrap(), 0);
    // The connection goes on; a driver that starts anew is served again.
    for i in 0..2 {
        frontend.stop(i);
        bench.guest.write(rings[i as usize].0.at, &[0; 0x3000]);
        let (driver, events) = &rings[i as usize];
        frontend.start(i, driver, events, true);
    }
    assert_eq!(bench.device.error(), None);
    assert!(bench.device.carrier());
    (bench, error)
}

#[test]
fn impossible_rings_are_stopped_and_start_anew() {
    let rx = |at: u64, len: u32, flags: u16, head: u16| {
        spoiled(|b, rings| {
            rings[1]
                .0
                .describe(&b.guest, 0, descriptor(at, len, flags, 0));
            rings[1].0.offer(&b.guest, head);
        })
        .1
    };
    assert!(rx(u64::MAX - 4, 100, 0, 0).contains("ring 1 stopped: a buffer is outside"));
    assert!(rx(2 * REGION - 4, 100, 0, 0).contains("outside"));
    assert!(rx(REGION, u32::MAX, 0, 0).contains("outside"));
    assert!(rx(REGION, 100, WRITE, 0).contains("other direction"));
    assert!(rx(REGION, 100, NEXT, 0).contains("loop"));
    assert!(rx(REGION, 100, INDIRECT, 0).contains("table"));
    assert!(rx(0x3000, 16, INDIRECT, 0).contains("indirect"));
    assert!(rx(REGION, 16, INDIRECT | NEXT, 0).contains("indirect"));
    assert!(rx(REGION, 100, 0, 16).contains("head"));
    let (_, error) = spoiled(|b, rings| b.guest.write(rings[1].0.at + 0x1002, &[0xff, 0x7f]));
    assert!(error.contains("index"), "{error}");
    let (_, error) = spoiled(|b, rings| {
        rings[0]
            .0
            .describe(&b.guest, 0, descriptor(REGION, 0, WRITE, 0));
        rings[0].0.offer(&b.guest, 0);
    });
    assert!(
        error.contains("ring 0 stopped") && error.contains("empty"),
        "{error}"
    );
}

#[test]
fn memory_that_goes_away_costs_the_ring() {
    let bench = Bench::new();
    let good = Bench::new();
    let (_other, _rings) = good.connect(1);
    let (_frontend, mut rings) = bench.connect(1);
    for driver in rings.iter_mut().map(|r| &mut r.0) {
        driver.describe(&bench.guest, 0, descriptor(REGION, 1000, 0, 0));
        driver.offer(&bench.guest, 0);
    }
    bench.guest.files[1].set_len(0).unwrap();
    let mut batch = Batch::new();
    assert_eq!(bench.rx(0).recv(&mut batch).unwrap(), 0);
    let error = bench.device.error().unwrap();
    assert!(
        error.contains("ring 1 stopped: the guest's memory went away"),
        "{error}"
    );
    bench.guest.files[0].set_len(0).unwrap();
    batch.push(HeapPool::global().copy_from(&[1; 60])).unwrap();
    bench.tx(0).send(&mut batch);
    assert!(!bench.device.carrier());
    assert!(good.device.carrier());
    assert_eq!(good.device.error(), None);
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn connections_leave_no_file_open() {
    // In a process of its own: other tests open files.
    if std::env::var_os("RINGWAY_ALONE").is_none() {
        let me = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(me);
        command.args([
            "--exact",
            "vhost::tests::hostile::connections_leave_no_file_open",
        ]);
        assert!(
            command
                .env("RINGWAY_ALONE", "1")
                .status()
                .unwrap()
                .success()
        );
        return;
    }
    let bench = Bench::new();
    let round = || {
        drop(bench.connect(2));
        refused(&bench, "too many files", |f, g| {
            let many = [g.files[0].as_fd(); 40];
            f.send(
                SET_MEM_TABLE,
                1,
                &[words(&[1, 0]), region(0)].concat(),
                &many,
            );
        });
        until("it is noticed", || bench.status("status") == "disconnected");
    };
    round();
    let before = open_files();
    (0..5).for_each(|_| round());
    // The port may be about to connect again.
    until("all is closed", || open_files() <= before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Any messages in any order, while packet threads are at work.
    #[test]
    fn anything_may_be_said(script in proptest::collection::vec(
        (1..40u32, prop_oneof![Just(1u32), Just(9)], proptest::collection::vec(
            prop_oneof![0..4u32, any::<u32>()], 0..10), 0..3usize), 1..30))
    {
        let bench = Bench::new();
        let (frontend, _rings) = bench.connect(1);
        let device = Arc::clone(&bench.device);
        let worker = spawn("worker", move || poke(&*device)).unwrap();
        let event = Events::new();
        for (code, flags, body, fds) in script {
            let all = [event.kick.as_fd(), bench.guest.files[0].as_fd()];
            frontend.send(code, flags, &words(&body), &all[..fds]);
        }
        drop(frontend);
        worker.join().unwrap();
        until("it is noticed", || bench.status("status") == "disconnected");
        still_serves(&bench);
    }
}

fn poke(device: &dyn Device) {
    let (mut rx, mut tx) = (device.rx_open(0).unwrap(), device.tx_open(0).unwrap());
    for _ in 0..2000 {
        let mut batch = Batch::new();
        rx.recv(&mut batch).unwrap();
        batch.release_all();
        batch.push(HeapPool::global().copy_from(&[1; 60])).unwrap();
        tx.send(&mut batch);
    }
}
