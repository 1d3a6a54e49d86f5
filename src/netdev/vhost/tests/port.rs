//! A port and a guest that behaves: traffic, queues, memory, interrupts, both ways of connecting.

use super::messages::{
    ADD_MEM_REG, Events, FEATURES, Frontend, GET_MAX_MEM_SLOTS, GET_QUEUE_NUM, NET_SET_MTU,
    REM_MEM_REG, SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_KICK, longs, words,
};
use crate::device::{Device, Provider, RxQueue, TxQueue};
use crate::vhost::VhostProvider;
use crate::vhost::guest::{Driver, Guest, NEXT, REGION, WRITE, descriptor};
use base::sync::{Arc, AtomicBool, Ordering, spawn};
use packet::{Batch, HeapPool};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;
use tempfile::TempDir;

/// Asks until the answer is yes; 20 s at most.
pub(super) fn until(what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if f() {
            return;
        }
        base::clock::sleep(Duration::from_millis(1));
    }
    unreachable!("never: {what}");
}

/// A client port and where its guest listens.
pub(super) struct Bench {
    _dir: TempDir,
    pub(super) listener: UnixListener,
    pub(super) device: Arc<dyn Device>,
    pub(super) guest: Guest,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let device = VhostProvider::client().open("v0").unwrap();
        let path = path.display().to_string();
        let config = [("vhost-server-path".to_owned(), path)].into();
        assert!(device.set_config(&config).unwrap().is_empty());
        Self {
            _dir: dir,
            listener,
            device,
            guest: Guest::new(),
        }
    }
    /// The port's next connection.
    pub(super) fn accept(&self) -> Frontend {
        let (socket, _) = self.listener.accept().unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Frontend(socket)
    }
    /// A connection with memory and `pairs` pairs of rings, all enabled.
    pub(super) fn connect(&self, pairs: u32) -> (Frontend, Vec<(Driver, Events)>) {
        let mut frontend = self.accept();
        frontend.negotiate(FEATURES);
        assert!(frontend.give_memory(&self.guest));
        let rings: Vec<_> = (0..2 * pairs).map(|i| (ring(i), Events::new())).collect();
        for (i, (driver, events)) in (0..).zip(&rings) {
            clear(&self.guest, driver);
            frontend.start(i, driver, events, true);
        }
        (frontend, rings)
    }
    pub(super) fn rx(&self, queue: u32) -> Box<dyn RxQueue> {
        self.device.rx_open(queue).unwrap()
    }
    pub(super) fn tx(&self, queue: u32) -> Box<dyn TxQueue> {
        self.device.tx_open(queue).unwrap()
    }
    pub(super) fn status(&self, key: &str) -> String {
        self.device.status().remove(key).unwrap_or_default()
    }
}

/// Ring `i`, in the first region.
fn ring(i: u32) -> Driver {
    Driver::new(0x3000 * u64::from(i), 16)
}

fn clear(guest: &Guest, driver: &Driver) {
    guest.write(driver.at, &[0; 0x3000]);
}

/// Where ring `i`'s buffers are: in the second region, or the first.
fn buffer(i: u64) -> u64 {
    REGION + 0x800 * i
}

/// A packet of the guest's: header and data in one descriptor.
fn offer_packet(guest: &Guest, driver: &mut Driver, fill: u8, len: u32) {
    let slot = driver.offered % driver.size;
    let at = buffer(u64::from(slot));
    let mut bytes = vec![0; 12];
    bytes.extend(vec![fill; len as usize]);
    guest.write(at, &bytes);
    driver.describe(guest, slot, descriptor(at, 12 + len, 0, 0));
    driver.offer(guest, slot);
}

/// A buffer to receive into.
fn offer_buffer(guest: &Guest, driver: &mut Driver, len: u32) -> u64 {
    let slot = driver.offered % driver.size;
    let at = buffer(u64::from(slot));
    driver.describe(guest, slot, descriptor(at, len, WRITE, 0));
    driver.offer(guest, slot);
    at
}

fn send(tx: &mut dyn TxQueue, fill: u8, len: usize) -> crate::TxReport {
    let mut batch = Batch::new();
    batch
        .push(HeapPool::global().copy_from(&vec![fill; len]))
        .unwrap();
    tx.send(&mut batch)
}

/// Receives until `n` packets came.
fn receive(rx: &mut dyn RxQueue, n: usize) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    until("packets come", || {
        rx.recv(&mut batch).unwrap();
        batch.len() >= n
    });
    batch.iter().map(|f| f.data().to_vec()).collect()
}

#[test]
fn packets_pass_both_ways_and_are_counted() {
    let bench = Bench::new();
    let (mut frontend, mut rings) = bench.connect(1);
    assert!(bench.device.carrier());
    assert_eq!(bench.device.error(), None);
    let (mut rx, mut tx) = (bench.rx(0), bench.tx(0));
    offer_packet(&bench.guest, &mut rings[1].0, 1, 60);
    offer_packet(&bench.guest, &mut rings[1].0, 2, 1500);
    let got = receive(&mut *rx, 2);
    assert_eq!(got, [vec![1; 60], vec![2; 1500]]);
    assert_eq!(rings[1].0.take_all(&bench.guest), [(0, 0), (1, 0)]);
    assert!(rings[1].1.calls() > 0);

    assert_eq!(send(&mut *tx, 3, 100).full, 1);
    let first = offer_buffer(&bench.guest, &mut rings[0].0, 64);
    let second = offer_buffer(&bench.guest, &mut rings[0].0, 64);
    let sent = send(&mut *tx, 3, 100);
    assert_eq!((sent.sent, sent.bytes), (1, 100));
    assert_eq!(rings[0].0.take_all(&bench.guest), [(0, 64), (1, 48)]);
    let mut whole = bench.guest.read(first, 64);
    whole.extend(bench.guest.read(second, 48));
    assert_eq!(whole[..10], [0; 10]);
    assert_eq!(whole[10..12], [2, 0], "two buffers");
    assert_eq!(whole[12..], [3; 100]);

    let stats = bench.device.stats();
    assert_eq!((stats.rx_packets, stats.rx_bytes), (Some(2), Some(1560)));
    assert_eq!((stats.tx_packets, stats.tx_bytes), (Some(1), Some(100)));
    assert_eq!(stats.tx_dropped, Some(1));
    let custom = |name: &str| stats.custom.iter().find(|c| c.0 == name).unwrap().1;
    assert_eq!(custom("rx_q0_good_packets"), 2);
    assert_eq!(custom("rx_q0_undersize_packets"), 1);
    assert_eq!(custom("rx_q0_size_1024_1518_packets"), 1);
    assert_eq!(custom("ovs_tx_failure_drops"), 1);
    assert_eq!(frontend.stop(1), 2);
    offer_packet(&bench.guest, &mut rings[1].0, 1, 60);
    assert_eq!(
        rx.recv(&mut Batch::new()).unwrap(),
        0,
        "a stopped ring is not read"
    );
}

#[test]
fn status_is_what_the_guest_set_up() {
    let bench = Bench::new();
    let (mut frontend, _rings) = bench.connect(2);
    assert_eq!(frontend.ask(GET_QUEUE_NUM), 64);
    assert_eq!(frontend.ask(GET_MAX_MEM_SLOTS), 256);
    assert!(frontend.tell(NET_SET_MTU, &longs(&[1400]), &[]));
    let status = bench.device.status();
    let keys: Vec<&str> = status.keys().map(String::as_str).collect();
    for key in [
        "mode",
        "status",
        "socket",
        "features",
        "mtu",
        "num_of_vrings",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert_eq!(status["mode"], "client");
    assert_eq!(status["status"], "connected");
    assert_eq!(status["features"], format!("0x{FEATURES:016x}"));
    assert_eq!(status["mtu"], "1400");
    assert_eq!(status["num_of_vrings"], "4");
    assert_eq!(status["vring_3_size"], "16");
    drop(frontend);
    until("it is noticed", || bench.status("status") == "disconnected");
    assert!(!bench.device.carrier());
    assert_eq!(bench.device.carrier_resets(), 2);
}

#[test]
fn a_port_without_a_path_says_so() {
    let device = VhostProvider::client().open("v0").unwrap();
    assert_eq!(device.status()["status"], "disconnected");
    let error = device.error().unwrap();
    assert!(error.contains("vhost-server-path"), "{error}");
    let retries = |n: &str| [("tx-retries-max".to_owned(), n.to_owned())].into();
    assert!(device.set_config(&retries("16")).unwrap().is_empty());
    let refused = device.set_config(&retries("33")).unwrap_err().to_string();
    assert!(
        refused.contains("v0") && refused.contains("33"),
        "{refused}"
    );
}

#[test]
fn a_ring_may_be_enabled_before_features_are_agreed_on() {
    let bench = Bench::new();
    let mut frontend = bench.accept();
    frontend.send(SET_VRING_ENABLE, 1, &words(&[1, 1]), &[]);
    frontend.negotiate(FEATURES);
    assert!(frontend.give_memory(&bench.guest));
    assert!(frontend.enable(1, true));
    assert!(frontend.enable(1, false));
}

#[test]
fn queues_come_and_go_while_packets_pass() {
    let bench = Bench::new();
    let (mut frontend, mut rings) = bench.connect(2);
    until("two queues are wanted", || bench.device.needs_reconfigure());
    assert_eq!(bench.device.n_rxq(), 1);
    bench.device.reconfigure().unwrap();
    assert_eq!((bench.device.n_rxq(), bench.device.n_txq()), (2, 2));
    let mut rx = bench.rx(1);
    offer_packet(&bench.guest, &mut rings[3].0, 7, 60);
    assert_eq!(receive(&mut *rx, 1), [vec![7; 60]]);

    let mut tx = [bench.tx(0), bench.tx(1)];
    for i in [0, 2] {
        for _ in 0..4 {
            offer_buffer(&bench.guest, &mut rings[i].0, 1600);
        }
    }
    let used =
        |rings: &mut Vec<(Driver, Events)>| [0, 2].map(|i| rings[i].0.take_all(&bench.guest).len());
    assert!(tx.iter_mut().all(|tx| send(&mut **tx, 1, 60).sent == 1));
    assert_eq!(used(&mut rings), [1, 1]);
    assert!(frontend.enable(0, false));
    assert!(tx.iter_mut().all(|tx| send(&mut **tx, 1, 60).sent == 1));
    assert_eq!(used(&mut rings), [0, 2]);
    assert!(frontend.enable(2, false));
    assert_eq!(send(&mut *tx[0], 1, 60).error, 1);
    assert!(frontend.enable(0, true));
    assert!(tx.iter_mut().all(|tx| send(&mut **tx, 1, 60).sent == 1));
    assert_eq!(used(&mut rings), [2, 0]);
}

#[test]
fn a_guest_that_comes_back_finds_its_port() {
    let bench = Bench::new();
    let mut rx = bench.rx(0);
    for round in 1..4 {
        let (frontend, mut rings) = bench.connect(1);
        offer_packet(&bench.guest, &mut rings[1].0, round, 60);
        assert_eq!(receive(&mut *rx, 1), [vec![round; 60]]);
        drop(frontend);
        until("the link goes down", || !bench.device.carrier());
    }
    // The switch comes back: what was not given back is taken again.
    let (frontend, mut rings) = bench.connect(1);
    for fill in 0..3 {
        offer_packet(&bench.guest, &mut rings[1].0, fill, 60);
    }
    bench
        .guest
        .write(rings[1].0.at + 0x2002, &1u16.to_le_bytes());
    let (driver, events) = (rings[1].0, &rings[1].1);
    let mut frontend = {
        drop(frontend);
        bench.accept()
    };
    frontend.negotiate(FEATURES);
    assert!(frontend.give_memory(&bench.guest));
    let taken = receive_after(&mut *rx, || frontend.start(1, &driver, events, true));
    assert_eq!(taken, [vec![1; 60], vec![2; 60]]);
}

fn receive_after(rx: &mut dyn RxQueue, start: impl FnOnce()) -> Vec<Vec<u8>> {
    // Whatever the first connection left is thrown away.
    rx.drain();
    start();
    receive(rx, 2)
}

#[test]
fn a_port_that_listens_and_its_socket() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("v1");
    let provider = VhostProvider::server(dir.path().to_owned());
    // A socket whose owner was killed is in nobody's way.
    drop(UnixListener::bind(&path).unwrap());
    let device = provider.open("v1").unwrap();
    let taken = provider.open("v1").unwrap_err();
    assert_eq!(taken.errno(), libc::EADDRINUSE, "{taken}");
    assert_eq!(provider.open("a/b").unwrap_err().errno(), libc::EINVAL);
    assert_eq!(device.status()["mode"], "server");
    assert_eq!(
        device
            .set_config(&[("vhost-server-path".into(), "/x".into())].into())
            .unwrap(),
        ["vhost-server-path"]
    );
    for _ in 0..2 {
        let mut frontend = Frontend(UnixStream::connect(&path).unwrap());
        frontend.negotiate(FEATURES);
        assert_eq!(device.status()["status"], "connected");
        drop(frontend);
        until("it is noticed", || {
            device.status()["status"] == "disconnected"
        });
    }
    let mut last = Frontend(UnixStream::connect(&path).unwrap());
    last.negotiate(FEATURES);
    drop(device);
    assert!(last.is_hung_up());
    assert!(!path.exists());
}

#[test]
fn memory_comes_and_goes_under_traffic() {
    let bench = Bench::new();
    let (mut frontend, mut rings) = bench.connect(1);
    let mut rx = bench.rx(0);
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let reader = spawn("reader", move || {
        let mut n = 0;
        let mut batch = Batch::new();
        // After the word to stop, everything that is there is still taken.
        loop {
            let last = ended.load(Ordering::Acquire);
            let got = rx.recv(&mut batch).unwrap();
            n += got;
            assert!(batch.iter().all(|f| f.data() == [9; 60]));
            batch.release_all();
            if last && got == 0 {
                return n;
            }
        }
    })
    .unwrap();
    let extra = Guest::new();
    let mut sent = 0;
    for round in 0..200 {
        for _ in 0..8 {
            // Buffers in the first region, that stays.
            let driver = &mut rings[1].0;
            until("the ring has room", || {
                driver.take_all(&bench.guest);
                driver.offered.wrapping_sub(driver.seen) < driver.size
            });
            let slot = driver.offered % driver.size;
            let at = 0xf000 - 0x100 * u64::from(slot);
            let mut bytes = vec![0; 12];
            bytes.extend([9; 60]);
            bench.guest.write(at, &bytes);
            driver.describe(&bench.guest, slot, descriptor(at, 72, 0, 0));
            driver.offer(&bench.guest, slot);
            sent += 1;
        }
        match round % 4 {
            0 => assert!(frontend.change_region(ADD_MEM_REG, 2, &extra.files[0])),
            1 => assert!(frontend.change_region(REM_MEM_REG, 1, &bench.guest.files[1])),
            2 => assert!(frontend.change_region(ADD_MEM_REG, 1, &bench.guest.files[1])),
            _ => assert!(frontend.give_memory(&bench.guest)),
        }
    }
    stop.store(true, Ordering::Release);
    assert_eq!(reader.join().unwrap(), sent);
    assert_eq!(bench.device.error(), None);
}

#[test]
fn a_sleeper_is_woken_by_a_kick_and_only_then() {
    let bench = Bench::new();
    let mut rx = bench.rx(0);
    let fd = rx.fd().unwrap();
    let readable = || {
        let mut set = base::poll::PollSet::new();
        set.fd(fd, false);
        set.at_once();
        set.wait()
    };
    let (frontend, mut rings) = bench.connect(1);
    assert!(readable(), "the ring's start wakes");
    assert!(rx.prepare_sleep());
    assert!(!readable());
    offer_packet(&bench.guest, &mut rings[1].0, 1, 60);
    let kick = |events: &Events| rustix::io::write(&events.kick, &1u64.to_ne_bytes()).unwrap();
    kick(&rings[1].1);
    assert!(readable());
    assert!(!rx.prepare_sleep(), "a packet waits");
    assert_eq!(receive(&mut *rx, 1).len(), 1);
    assert!(rx.prepare_sleep());
    assert!(!readable(), "the kick was taken in though nobody read it");
    kick(&rings[1].1);
    assert!(readable());
    // The same kick again, and another: the old one is no longer listened to.
    let other = Events::new();
    let mut frontend = frontend;
    for events in [&rings[1].1, &other] {
        assert!(frontend.tell(SET_VRING_KICK, &longs(&[1]), &[events.kick.as_fd()]));
    }
    assert!(rx.prepare_sleep());
    kick(&rings[1].1);
    assert!(!readable());
    kick(&other);
    assert!(readable());
    // An interrupt that the guest moves elsewhere goes there.
    assert!(frontend.tell(SET_VRING_CALL, &longs(&[1]), &[other.call.as_fd()]));
    assert!(other.calls() > 0);
}

#[test]
fn a_packet_in_many_pieces_and_one_larger_than_all_buffers() {
    let bench = Bench::new();
    let (_frontend, mut rings) = bench.connect(1);
    let (mut rx, mut tx) = (bench.rx(0), bench.tx(0));
    let driver = &mut rings[1].0;
    // 12 bytes of header in pieces of 5, 7 and 0; then data across the end of the first region.
    bench.guest.write(REGION - 50, &[4; 50]);
    bench.guest.write(REGION, &[5; 50]);
    bench.guest.write(0xe000, &[0; 12]);
    for (i, (at, len)) in [(0xe000, 5), (0xe000, 7), (0xe000, 0), (REGION - 50, 100)]
        .into_iter()
        .enumerate()
    {
        let flags = if i < 3 { NEXT } else { 0 };
        driver.describe(
            &bench.guest,
            i as u16,
            descriptor(at, len, flags, i as u16 + 1),
        );
    }
    driver.offer(&bench.guest, 0);
    let got = receive(&mut *rx, 1);
    assert_eq!(got[0], [[4; 50], [5; 50]].concat());

    for _ in 0..16 {
        offer_buffer(&bench.guest, &mut rings[0].0, 64);
    }
    assert_eq!(
        send(&mut *tx, 1, 1514).full,
        1,
        "16 buffers of 64 bytes are too few"
    );
    assert_eq!(send(&mut *tx, 1, 900).sent, 1);
    assert_eq!(send(&mut *tx, 1, 1600).too_big, 1, "larger than the MTU");
    bench.device.set_mtu(9000).unwrap();
    assert!(bench.device.set_mtu(9711).is_err());
    assert_eq!(bench.device.mtu(), Some(9000));
}
