//! Dummy ports: queues, counters, ARP, capture files, connections.

use super::*;
use crate::device::{Config, RxQueue};
use packet::{Batch, HeapPool};
use std::time::Duration;

fn setup() -> (Registry, Dummies) {
    let registry = Registry::new();
    let dummies = enable(
        &registry,
        DummyLevel::Add,
        Clock::simulated(base::clock::Nanos::from_millis(1)),
        std::env::temp_dir(),
    )
    .unwrap();
    (registry, dummies)
}

fn options(pairs: &[(&str, &str)]) -> Config {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(own).collect()
}

fn send(device: &dyn Device, packet: &[u8]) -> crate::device::TxReport {
    let mut batch = Batch::new();
    batch.push(HeapPool::global().copy_from(packet)).unwrap();
    let report = device.tx_open(0).unwrap().send(&mut batch);
    assert!(batch.is_empty());
    report
}

fn recv_all(rx: &mut dyn RxQueue) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let mut batch = Batch::new();
        if rx.recv(&mut batch).unwrap() == 0 {
            return out;
        }
        out.extend(batch.iter().map(|f| f.data().to_vec()));
    }
}

fn readable(fd: RawFd) -> bool {
    // What the kernel says of the counter, so that looking does not take it.
    let file = std::fs::File::open(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let text = std::io::read_to_string(file).unwrap();
    text.lines()
        .find_map(|l| l.strip_prefix("eventfd-count:"))
        .is_some_and(|n| n.trim() != "0")
}

#[test]
fn macs_count_up_over_all_classes() {
    let (r, _d) = setup();
    let a = r.open("a", "dummy").unwrap();
    let b = r.open("b", "dummy-internal").unwrap();
    let c = r.open("c", "dummy-pmd").unwrap();
    assert_eq!(a.etheraddr().to_string(), "aa:55:aa:55:00:00");
    assert_eq!(b.etheraddr().to_string(), "aa:55:aa:55:00:01");
    assert_eq!(c.etheraddr().to_string(), "aa:55:aa:55:00:02");
    assert!(c.is_pmd() && !b.is_pmd() && a.mtu() == Some(1500));
}

#[test]
fn received_packets_wait_in_order_and_overflow_is_counted() {
    let (r, d) = setup();
    let dev = r.open("p", "dummy").unwrap();
    d.receive("p", &[9; 60], 0).unwrap(); // nobody listens: lost, as the peer does
    let mut rx = dev.rx_open(0).unwrap();
    assert!(rx.prepare_sleep() && !readable(rx.fd().unwrap()));
    for i in 0..QUEUE_MAX as u8 + 5 {
        d.receive("p", &[i; 60], 0).unwrap();
    }
    assert!(!rx.prepare_sleep() && readable(rx.fd().unwrap()));
    assert_eq!(dev.rx_pending(), QUEUE_MAX as u64);
    let got = recv_all(&mut *rx);
    assert!(got.iter().enumerate().all(|(i, p)| p[..] == [i as u8; 60]));
    assert_eq!(got.len(), QUEUE_MAX);
    assert_eq!(rx.drops(), [("rx_queue_full", 5)]);
    assert!(!readable(rx.fd().unwrap()));
    let s = dev.stats();
    assert_eq!((s.rx_packets, s.rx_bytes), (Some(100), Some(6000)));
    let names: Vec<_> = s.custom.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        names.join(" "),
        "rx_custom_packets_1=100 rx_custom_packets_2=100 rx_q0_bytes=6000 rx_q0_packets=100 \
         tx_q0_bytes=0 tx_q0_packets=0"
    );
    assert_eq!(d.receive("p", &[0; 60], 1), Err(DummyError::BadQueue));
    assert_eq!(d.receive("q", &[0; 60], 0), Err(DummyError::NoSuchDummy));
}

#[test]
fn sending_counts_checks_sizes_and_captures() {
    let (r, d) = setup();
    let dev = r.open("p", "dummy").unwrap();
    let dummy = by_name(&r, "p").unwrap();
    dummy.capture();
    let mut tagged = vec![0; 1518];
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    assert_eq!(send(&*dev, &tagged).sent, 1);
    assert_eq!(send(&*dev, &vec![0; 1515]).too_big, 1);
    assert_eq!(send(&*dev, &[0; 13]).error, 1);
    dev.set_mtu(9000).unwrap();
    assert_eq!(send(&*dev, &vec![0; 9014]).bytes, 9014);
    assert_eq!(dummy.wait_sent(2, Duration::from_secs(5)), 2);
    assert_eq!(dummy.take_sent(), [tagged, vec![0; 9014]]);
    assert_eq!(dev.stats().tx_packets, Some(2));
    assert!(dev.set_mtu(67).is_err() && dev.set_mtu(65_536).is_err());
    d.set_admin_state(None, false).unwrap();
    assert!(!dev.carrier());
    assert!(d.set_admin_state(Some("x"), true).is_err());
}

#[test]
fn arp_for_the_own_address_is_answered() {
    let (r, d) = setup();
    let dev = r.open("p", "dummy").unwrap();
    let mut rx = dev.rx_open(0).unwrap();
    d.set_ip4addr("p", Ipv4([10, 0, 0, 1]), Ipv4([255, 255, 255, 0]))
        .unwrap();
    d.set_ip6addr("p", Ipv6([1; 16]), 64).unwrap();
    assert_eq!(dev.addresses().len(), 2);
    assert_eq!(dev.addresses()[0], ("10.0.0.1".parse().unwrap(), 24));
    let mut ask = vec![0xff; 6];
    ask.extend([2, 0, 0, 0, 0, 9]);
    ask.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2]);
    ask.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    for cut in 0..ask.len() {
        send(&*dev, &ask[..cut]); // must not answer, must not panic
    }
    assert!(recv_all(&mut *rx).is_empty());
    send(&*dev, &ask);
    let reply = &recv_all(&mut *rx)[0];
    assert_eq!(reply.len(), 42);
    assert_eq!(reply[..6], [2, 0, 0, 0, 0, 9]);
    assert_eq!(reply[20..22], [0, 2]);
    assert_eq!(reply[22..28], dev.etheraddr().0);
    assert_eq!(reply[28..42], [10, 0, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2]);
}

#[test]
fn pmd_queues_follow_the_configuration_at_reconfigure() {
    let (r, d) = setup();
    let dev = r.open("p", "dummy-pmd").unwrap();
    send(&*dev, &[0; 60]);
    let unknown = dev
        .set_config(&options(&[
            ("n_rxq", "4"),
            ("numa_id", "1"),
            ("ifindex", "7"),
        ]))
        .unwrap();
    assert!(unknown.is_empty() && dev.needs_reconfigure() && dev.n_rxq() == 1);
    assert!(dev.rx_open(3).is_err());
    dev.reconfigure().unwrap();
    assert_eq!((dev.n_rxq(), dev.n_txq(), dev.numa_id()), (4, 1, 1));
    assert_eq!((dev.stats().tx_packets, dev.ifindex()), (Some(0), Some(7)));
    let mut rx = dev.rx_open(3).unwrap();
    d.receive("p", &[1; 60], 3).unwrap();
    assert_eq!(recv_all(&mut *rx).len(), 1);
    let shown = dev.get_config();
    assert_eq!(shown["requested_rx_queues"], "4");
    assert_eq!(shown["configured_tx_queues"], "1");
    dev.set_config(&options(&[("n_rxq", "-3")])).unwrap();
    dev.reconfigure().unwrap();
    assert_eq!((dev.n_rxq(), dev.ifindex()), (1, None));
}

#[test]
fn capture_files_hold_both_directions() {
    let (r, d) = setup();
    let path = std::env::temp_dir().join(format!("ringway-dummy-{}.pcap", std::process::id()));
    let dev = r.open("p", "dummy").unwrap();
    dev.set_config(&options(&[("pcap", path.to_str().unwrap())]))
        .unwrap();
    d.receive("p", &[1; 60], 0).unwrap();
    send(&*dev, &[2; 60]);
    let mut file = crate::pcap::PcapReader::open(&path).unwrap();
    let mut packets = Vec::new();
    while let Some((_, p)) = file.next().unwrap() {
        packets.push(p);
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(packets, [vec![1; 60], vec![2; 60]]);
}

/// Two ports connected over `listen`/`connect`; packets go both ways, the connection comes back.
fn connected_ports(listen: &str, connect: &str) {
    let (r, d) = setup();
    let (a, b) = (r.open("a", "dummy").unwrap(), r.open("b", "dummy").unwrap());
    let (mut rx_a, mut rx_b) = (a.rx_open(0).unwrap(), b.rx_open(0).unwrap());
    b.set_config(&options(&[("stream", connect)])).unwrap();
    assert_eq!(d.conn_state(None), "b: disconnected\n");
    a.set_config(&options(&[("pstream", listen)])).unwrap();
    assert_eq!(a.get_config()["pstream"], listen);
    r.run();
    assert_eq!(
        d.conn_state(Some("b")),
        "b: disconnected\n",
        "still backing off"
    );
    d.0.clock.advance(100);
    wait_until(&r, &d, || d.conn_state(None) == "b: connected\n");
    assert_eq!(d.conn_state(Some("a")), "a: unknown\n");
    let mut got = Vec::new();
    wait_until(&r, &d, || {
        // The listener learns of its peer when it runs; what it sends before goes nowhere.
        send(&*a, &[3; 1500]);
        r.run();
        got = recv_all(&mut *rx_b);
        !got.is_empty()
    });
    assert_eq!(got[0], vec![3; 1500]);
    for i in 0..90 {
        send(&*b, &[i; 60]);
    }
    let mut got = Vec::new();
    wait_until(&r, &d, || {
        got.extend(recv_all(&mut *rx_a));
        got.len() == 90
    });
    assert!(got.iter().enumerate().all(|(i, p)| p[..] == [i as u8; 60]));
    a.set_config(&Config::new()).unwrap();
    wait_until(&r, &d, || d.conn_state(None) == "b: disconnected\n");
    a.set_config(&options(&[("pstream", listen)])).unwrap();
    d.0.clock.advance(1000);
    wait_until(&r, &d, || d.conn_state(None) == "b: connected\n");
}

/// Runs the main loop's part, sleeping on the wake descriptor, until `done`.
fn wait_until(r: &Registry, d: &Dummies, mut done: impl FnMut() -> bool) {
    let mut events = [epoll::Event {
        flags: epoll::EventFlags::empty(),
        data: epoll::EventData::new_u64(0),
    }];
    assert_eq!(r.wake_fds(), [d.0.epoll.as_raw_fd()]);
    for _ in 0..2000 {
        r.run();
        if done() {
            return;
        }
        let second = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        };
        epoll::wait(&d.0.epoll, &mut events, Some(&second)).unwrap();
    }
    panic!("it did not happen within 10 s");
}

#[test]
fn unix_sockets_connect_two_ports() {
    let name = format!("ringway-dummy-{}.sock", std::process::id());
    connected_ports(&format!("punix:{name}"), &format!("unix:{name}"));
    assert!(!std::env::temp_dir().join(name).exists());
}

#[test]
fn tcp_sockets_connect_two_ports() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    connected_ports(
        &format!("ptcp:{port}:127.0.0.1"),
        &format!("tcp:127.0.0.1:{port}"),
    );
}

#[test]
fn a_peer_that_announces_nonsense_is_disconnected() {
    use std::io::Write;
    let (r, d) = setup();
    let name = format!("ringway-dummy-bad-{}.sock", std::process::id());
    let a = r.open("a", "dummy").unwrap();
    a.set_config(&options(&[("pstream", &format!("punix:{name}"))]))
        .unwrap();
    let path = std::env::temp_dir().join(name);
    let mut peer = std::os::unix::net::UnixStream::connect(&path).unwrap();
    peer.write_all(&[0, 13, 1, 2, 3]).unwrap();
    wait_until(&r, &d, || {
        let mut byte = [0];
        peer.set_nonblocking(true).unwrap();
        matches!(std::io::Read::read(&mut peer, &mut byte), Ok(0) | Err(_))
            && rustix::net::send(&peer, &[0], rustix::net::SendFlags::NOSIGNAL).is_err()
    });
    let both = options(&[("pstream", "punix:x"), ("stream", "unix:x")]);
    a.set_config(&both).unwrap();
    assert!(a.get_config().contains_key("pstream"), "left as it was");
}
