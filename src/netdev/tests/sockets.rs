//! `system`, `tap` and `internal` ports against the kernel: traffic with offloads on, flags, facts,
//! disappearance. Needs root; makes its own namespaces.

mod kit;
mod qos;

use base::sync::Arc;
use kit::{Namespace, Wire, ready, sh, tcp, until, veth};
use netdev::{Device, DeviceFlags, NetdevError, RxQueue};
use packet::{Batch, GsoKind, HeapPool, RxFlags};

fn open(class: &str, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
    let all = netdev::providers();
    let provider = all.iter().find(|p| p.class() == class).expect("a class");
    provider.open(name)
}

fn opened(class: &str, name: &str) -> Arc<dyn Device> {
    let device = open(class, name).expect("opens");
    ready(&device, &[]);
    device
}

#[test]
fn system_ports_carry_pings_and_tcp_with_offloads_on() {
    let (here, p, q) = (Namespace::new(), Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    veth("vb", &q, "192.0.2.2/24");
    let (a, b) = (opened("system", "va"), opened("system", "vb"));
    assert!(
        p.run("ethtool -k eth0")
            .contains("tcp-segmentation-offload: on")
    );
    let wire = Wire::between(&a, &b);
    p.run("ping -c 3 -i 0.05 -W 2 192.0.2.2");
    tcp(&p, &q, "192.0.2.2", 8_000_000);
    tcp(&q, &p, "192.0.2.1", 3_000_000);
    let sums = wire.stop();
    // Super-packets went through whole: far fewer than 8 MB / 1,448 of them.
    assert!(sums[0].received > 10 && sums[0].received < 4000, "{sums:?}");
    let stats = a.stats();
    assert!(stats.rx_packets.unwrap() >= sums[0].received && stats.rx_crc_errors == Some(0));
}

#[test]
fn a_tap_and_a_system_port_join_a_host_and_a_peer() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let (br, a) = (opened("internal", "br0"), opened("system", "va"));
    sh("ip addr add 192.0.2.9/24 dev br0; ip link set br0 up");
    let wire = Wire::between(&br, &a);
    p.run("ping -c 3 -i 0.05 -W 2 192.0.2.9");
    tcp(&here, &p, "192.0.2.1", 5_000_000);
    tcp(&p, &here, "192.0.2.9", 5_000_000);
    let sums = wire.stop();
    assert!(
        sums[0].received < 3500,
        "local TCP sends super-packets: {sums:?}"
    );
    assert_eq!(br.addresses(), [("192.0.2.9".parse().unwrap(), 24)]);
    assert!(br.stats().rx_packets.unwrap() >= sums[0].received);
    assert_eq!(br.class(), "internal");
    assert_eq!(br.status()["driver_name"], "tun");
    drop(br);
    assert!(
        !sh("ip -o link").contains("br0"),
        "the device goes with the port"
    );
}

/// A system port and its receiver in another namespace.
fn receiver_in(ns: &Namespace, name: &'static str) -> (Arc<dyn Device>, Box<dyn RxQueue>) {
    let pid = ns.pid();
    let opening = base::sync::spawn("receiver", move || {
        kit::enter(pid);
        let device = opened("system", name);
        let rx = device.rx_open(0).expect("rx queue");
        (device, rx)
    });
    opening.expect("a thread").join().expect("no panic")
}

/// Receives `n` packets.
fn receive(rx: &mut dyn RxQueue, n: usize) -> Batch {
    let mut batch = Batch::new();
    until("packets", || {
        rx.recv(&mut batch).expect("the device is there");
        batch.len() >= n
    });
    batch
}

#[test]
fn super_packets_with_a_vlan_tag_are_cut_here() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    p.run("ip addr flush dev eth0"); // no kernel answers between our packets
    let a = opened("system", "va");
    let (_device, mut rx) = receiver_in(&p, "eth0");
    let payload: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
    let mut whole = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .single_vlan(5.try_into().unwrap())
        .ipv4([192, 0, 2, 9], [192, 0, 2, 8], 64)
        .tcp(1, 2, 100, 1000)
        .write(&mut whole, &payload)
        .unwrap();
    let mut frame = HeapPool::global().copy_from(&whole);
    (frame.flags, frame.gso, frame.gso_size) = (RxFlags::GSO, GsoKind::TCP4, 1400);
    (frame.csum_start, frame.csum_offset) = (38, 16);
    let mut batch = Batch::new();
    batch.push(frame).unwrap();
    let report = a.tx_open(0).unwrap().send(&mut batch);
    assert_eq!((report.sent, report.error), (1, 0));
    let mut joined = Vec::new();
    for (i, segment) in receive(&mut *rx, 4).iter().enumerate() {
        let d = segment.data();
        assert_eq!((&d[12..16], d[18] >> 4), (&[0x81, 0, 0, 5][..], 4));
        let tcp = etherparse::TcpSlice::from_slice(&d[38..]).unwrap();
        assert_eq!(tcp.sequence_number() as usize, 100 + 1400 * i);
        let sum = tcp
            .calc_checksum_ipv4([192, 0, 2, 9], [192, 0, 2, 8])
            .unwrap();
        assert_eq!(tcp.checksum(), sum);
        joined.extend_from_slice(tcp.payload());
    }
    assert_eq!(joined, payload);
}

#[test]
fn oversize_packets_are_counted_and_the_rest_goes_out() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    for device in [opened("system", "va"), opened("tap", "t0")] {
        device
            .update_flags(
                DeviceFlags {
                    up: true,
                    ..DeviceFlags::default()
                },
                DeviceFlags::default(),
            )
            .unwrap();
        let mut tx = device.tx_open(0).unwrap();
        let mut batch = Batch::new();
        for len in [60, 9014, 1514, 1515, 1516, 60] {
            let mut frame = HeapPool::global().alloc(len);
            frame.data_mut().fill(0xff);
            batch.push(frame).unwrap();
        }
        let mut bad = HeapPool::global().copy_from(&[0; 60]);
        (bad.flags, bad.gso_size) = (RxFlags::GSO, 0);
        batch.push(bad).unwrap();
        let report = tx.send(&mut batch);
        assert!(batch.is_empty());
        assert_eq!(
            (report.sent, report.too_big, report.full, report.error),
            (3, 3, 0, 1)
        );
    }
}

#[test]
fn vlan_tags_come_back_and_own_packets_are_not_heard() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    p.run("ip addr flush dev eth0");
    let a = opened("system", "va");
    let (device, mut rx) = receiver_in(&p, "eth0");
    let pid = p.pid();
    let own = base::sync::spawn("own packets", move || {
        kit::enter(pid);
        let mut own = Batch::new();
        own.push(HeapPool::global().copy_from(&[0xaa; 60])).unwrap();
        device.tx_open(0).unwrap().send(&mut own).sent
    });
    assert_eq!(own.unwrap().join().unwrap(), 1);
    let mut tagged = vec![0xff; 12];
    tagged.extend([0x88, 0xa8, 0x20, 0x07, 0x81, 0x00, 0x00, 0x08, 0x08, 0x00]);
    tagged.extend([7; 50]);
    let mut batch = Batch::new();
    batch.push(HeapPool::global().copy_from(&tagged)).unwrap();
    assert_eq!(a.tx_open(0).unwrap().send(&mut batch).sent, 1);
    let got = receive(&mut *rx, 1);
    assert_eq!(got[0].data(), &tagged[..]);
    assert_eq!(got.len(), 1, "own packets are not heard");
}

#[test]
fn flags_are_put_back_and_promiscuity_leaves_no_trace() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    sh("ip link set va down");
    let a = opened("system", "va");
    let on = DeviceFlags {
        up: true,
        promisc: true,
        loopback: false,
    };
    a.update_flags(on, DeviceFlags::default()).unwrap();
    assert!(a.flags().up && a.flags().promisc);
    assert!(sh("ip -d link show va").contains("promiscuity 1"));
    assert!(sh("cat /proc/self/mounts").len() > 1 && sh("ip link show va").contains("UP"));
    a.update_flags(
        DeviceFlags::default(),
        DeviceFlags {
            promisc: true,
            ..DeviceFlags::default()
        },
    )
    .unwrap();
    assert!(!a.flags().promisc && sh("ip -d link show va").contains("promiscuity 0"));
    drop(a);
    assert!(
        !sh("ip link show va").contains("UP"),
        "closing puts the old flags back"
    );

    let again = opened("system", "va");
    again.update_flags(on, DeviceFlags::default()).unwrap();
    netdev::flags::restore_all();
    until("flags restored at exit", || {
        !sh("ip link show va").contains("UP")
    });
}

#[test]
fn facts_follow_the_device() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let a = opened("system", "va");
    until("carrier", || a.carrier());
    let (seq, resets) = (a.change_seq(), a.carrier_resets());
    p.run("ip link set eth0 down");
    until("carrier lost", || !a.carrier());
    assert!(a.change_seq() > seq && a.carrier_resets() == resets + 1);
    a.set_mtu(1400).unwrap();
    a.set_etheraddr(wire::EthAddr([2, 0, 0, 0, 0, 9])).unwrap();
    assert_eq!(
        (a.mtu(), a.etheraddr()),
        (Some(1400), wire::EthAddr([2, 0, 0, 0, 0, 9]))
    );
    let told = sh("ip link show va");
    assert!(told.contains("mtu 1400") && told.contains("02:00:00:00:00:09"));
    assert_eq!(a.status()["driver_name"], "veth");
    assert_eq!(a.features().unwrap().current, 1 << 6 | 1 << 11);
    let seq = a.change_seq();
    sh("ip addr add 192.0.2.77/25 dev va");
    until("address heard", || a.change_seq() > seq);
    assert_eq!(a.addresses(), [("192.0.2.77".parse().unwrap(), 25)]);
    assert!(
        matches!(open("system", "nope"), Err(NetdevError::NoSuchDevice { dev }) if dev == "nope")
    );
    let unknown = a
        .set_config(&[("speed".to_owned(), "9".to_owned())].into())
        .unwrap();
    assert_eq!(unknown, ["speed"]);
}

#[test]
fn devices_that_go_and_return_are_attached_again() {
    let (here, p, q) = (Namespace::new(), Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    veth("vb", &q, "192.0.2.2/24");
    let (a, b) = (opened("system", "va"), opened("system", "vb"));
    let promisc = DeviceFlags {
        promisc: true,
        ..DeviceFlags::default()
    };
    a.update_flags(promisc, DeviceFlags::default()).unwrap();
    let wire = Wire::between(&a, &b);
    for _ in 0..5 {
        p.run("ping -c 1 -W 5 192.0.2.2");
        sh("ip link del va");
        until("the error says so", || {
            a.error().is_some_and(|e| e.contains("disappeared"))
        });
        assert!(!a.carrier() && a.ifindex().is_none());
        veth("va", &p, "192.0.2.1/24");
        until("attached again", || {
            a.error().is_none() && !a.needs_reconfigure()
        });
    }
    p.run("ping -c 1 -W 5 192.0.2.2");
    assert!(
        sh("ip -d link show va").contains("promiscuity 1"),
        "what was asked for is asked again"
    );
    let sums = wire.stop();
    assert_eq!((sums[0].reattached, sums[1].reattached), (6, 1));
}

#[test]
fn gone_is_said_once_and_a_deleted_tap_is_made_again() {
    let here = Namespace::new();
    here.enter();
    let t = opened("tap", "t0");
    let mut rx = t.rx_open(0).unwrap();
    sh("ip link del t0");
    until("noticed", || t.needs_reconfigure());
    let mut batch = Batch::new();
    assert!(matches!(rx.recv(&mut batch), Err(NetdevError::Gone { .. })));
    assert_eq!(rx.recv(&mut batch).unwrap(), 0);
    assert!(matches!(t.rx_open(0), Err(NetdevError::Gone { .. })));
    drop(rx);
    t.reconfigure().unwrap();
    assert!(!t.needs_reconfigure() && sh("ip -o link").contains("t0"));
    t.rx_open(0).unwrap();
}

#[test]
fn sleeping_on_the_descriptor_ends_with_a_packet() {
    let here = Namespace::new();
    here.enter();
    sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
    let (a, b) = (opened("system", "va"), opened("system", "vb"));
    let (mut rx, mut tx) = (b.rx_open(0).unwrap(), a.tx_open(0).unwrap());
    for _ in 0..20 {
        until("nothing waits", || rx.drain() == 0 && rx.prepare_sleep());
        let mut batch = Batch::new();
        batch
            .push(HeapPool::global().copy_from(&[0xff; 60]))
            .unwrap();
        let delayed = base::sync::spawn("sender", move || {
            assert_eq!(tx.send(&mut batch).sent, 1);
            tx
        });
        assert!(kit::sleep_on(rx.fd().unwrap()));
        receive(&mut *rx, 1);
        tx = delayed.unwrap().join().unwrap();
    }
}

#[test]
fn a_change_wakes_who_waits_for_it() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let a = opened("system", "va");
    let all = netdev::providers();
    let fd = all[0].wake_fd().unwrap();
    let host = ["system", "tap", "internal", "afxdp", "afxdp-nonpmd"];
    let mut of_host = all.iter().filter(|p| host.contains(&p.class()));
    assert!(
        of_host.all(|p| p.wake_fd() == Some(fd)),
        "one descriptor for all classes of the host's devices"
    );
    all[0].run();
    let (seq, seen) = (a.change_seq(), netdev::changes().read());
    p.run("ip link set eth0 down");
    assert!(kit::sleep_on(fd));
    netdev::changes().wait(seen, std::time::Duration::from_secs(5));
    until("the device says so too", || a.change_seq() > seq);
    assert!(matches!(
        open("tap", "default"),
        Err(NetdevError::ReservedName { .. })
    ));
}
