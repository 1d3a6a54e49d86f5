//! `afxdp` ports on veth: traffic in native and generic mode, modes and refusals, re-creation, what a
//! killed process leaves behind. Needs root; makes its own namespaces.

mod buffers;
#[path = "../kit/mod.rs"]
mod kit;

use base::sync::Arc;
use kit::{Namespace, Wire, ready, sh, tcp, until, veth};
use netdev::{Device, DeviceFlags, NetdevError, Provider, RxQueue, afxdp::AfxdpProvider};
use packet::{BATCH_MAX, Batch, Frame, HeapPool};
use std::process::{Command, Stdio};

fn opened(name: &str, options: &[(&str, &str)]) -> Arc<dyn Device> {
    let device = AfxdpProvider.open(name).expect("opens");
    ready(&device, options);
    device
}

fn broadcast(len: usize, mark: u8) -> Frame {
    let mut frame = HeapPool::global().alloc(len);
    frame.data_mut().fill(mark);
    frame.data_mut()[..14].copy_from_slice(&[
        255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, mark, 0x88, 0xb5,
    ]);
    frame
}

fn marked(frame: &Frame, mark: u8) -> bool {
    frame.data()[11..14] == [mark, 0x88, 0xb5]
}

/// Binds again, however long the kernel (busy with other tests' namespaces) takes to let go of the old sockets.
fn reconfigured(device: &Arc<dyn Device>) {
    until("its queues are free again", || match device.reconfigure() {
        Ok(()) => true,
        Err(e) => {
            assert_eq!(e.errno(), libc::EBUSY, "{e}");
            false
        }
    });
}

/// What a peer's kernel must not do to a port in generic mode: send packets that do not fit a frame.
const NO_SUPER_PACKETS: &str = "ethtool -K eth0 tso off gso off >/dev/null 2>&1";

fn pings_and_tcp(mode: &str) {
    let (here, p, q) = (Namespace::new(), Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    veth("vb", &q, "192.0.2.2/24");
    if mode == "generic" {
        p.run(NO_SUPER_PACKETS);
        q.run(NO_SUPER_PACKETS);
    }
    let a = opened("va", &[("xdp-mode", mode)]);
    let b = opened("vb", &[("xdp-mode", mode), ("use-need-wakeup", "false")]);
    assert_eq!(a.status()["xdp-mode"], mode);
    assert_eq!(b.get_config()["use-need-wakeup"], "false");
    let wire = Wire::between(&a, &b);
    p.run("ping -c 3 -i 0.05 -W 2 192.0.2.2");
    // The senders leave the TCP checksum to the device: it is finished on the way.
    assert!(
        p.run("ethtool -k eth0")
            .contains("tx-checksum-ip-generic: on")
    );
    tcp(&p, &q, "192.0.2.2", 3_000_000);
    tcp(&q, &p, "192.0.2.1", 1_000_000);
    let sums = wire.stop();
    assert!(sums[0].received > 2000 && sums[0].dropped == 0, "{sums:?}");
    // Every packet that the device counts was received by the wire or is received now.
    p.run("ip link set dev eth0 down");
    let received = sums[0].received + a.rx_open(0).expect("queue 0").drain();
    let stats = a.stats();
    assert_eq!(stats.rx_packets, Some(received), "{stats:?}");
    assert!(
        stats.custom.contains(&("xdp_redirected".into(), received)),
        "{stats:?}"
    );
}

#[test]
fn native_mode_carries_pings_and_tcp_with_checksum_offload_on() {
    pings_and_tcp("native");
}

#[test]
fn generic_mode_carries_pings_and_tcp_with_checksum_offload_on() {
    pings_and_tcp("generic");
}

#[test]
fn best_effort_takes_native_on_veth_and_zero_copy_is_refused_by_name() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let a = opened("va", &[]);
    assert_eq!(
        (&*a.status()["xdp-mode"], &*a.status()["xdp-zero-copy"]),
        ("native", "false")
    );
    assert_eq!(a.status()["driver_name"], "veth");
    assert_eq!(a.get_config()["xdp-mode"], "best-effort");
    a.set_config(&[("xdp-mode".into(), "native-with-zerocopy".into())].into())
        .unwrap();
    assert!(a.needs_reconfigure());
    let e = a.reconfigure().unwrap_err();
    assert_eq!(
        (e.errno(), a.error()),
        (libc::EOPNOTSUPP, Some(e.to_string()))
    );
    assert!(matches!(a.rx_open(0), Err(NetdevError::Gone { .. })));
    let unknown = a
        .set_config(&[("colour".into(), "red".into())].into())
        .unwrap();
    assert_eq!(unknown, ["colour"]);
    assert!(a.needs_reconfigure());
    a.reconfigure().unwrap();
    assert_eq!(a.error(), None);
}

#[test]
fn several_queues_each_have_a_socket_and_too_many_are_refused() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    sh(&format!(
        "ip link add va numrxqueues 4 numtxqueues 4 type veth peer name eth0 numrxqueues 4 numtxqueues 4 netns {}; ip link set va up",
        p.pid()
    ));
    p.run("ip link set eth0 up");
    let a = opened("va", &[("n_rxq", "4")]);
    assert_eq!((a.n_rxq(), a.n_txq()), (4, 4));
    let queues: Vec<_> = (0..4).map(|q| a.rx_open(q).unwrap()).collect();
    assert!(a.rx_open(0).is_err() && a.rx_open(4).is_err());
    // Each announced sender has a queue of its own, others a socket; unannounced ones share.
    for senders in [4, 5, 0] {
        a.request_txq(senders);
        assert!(!a.needs_reconfigure());
        let mut senders: Vec<_> = [0, 1, 2, 3, 4, 1024].map(|q| a.tx_open(q).unwrap()).into();
        for tx in &mut senders {
            let mut batch = Batch::new();
            batch.push(broadcast(64, 1)).unwrap();
            assert_eq!(tx.send(&mut batch).sent, 1);
            tx.flush();
        }
    }
    until("all arrived", || {
        p.run("ip -s -o link show eth0").contains(" 18 ")
    });
    drop(queues);
    a.rx_open(0).unwrap();
    a.set_config(&[("n_rxq".into(), "5".into())].into())
        .unwrap();
    assert!(a.reconfigure().is_err());
}

#[test]
fn an_mtu_that_does_not_fit_is_refused_and_large_ones_get_large_frames() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let a = opened("va", &[("multi-buffer", "false")]);
    let refusal = a.set_mtu(4000).unwrap_err();
    assert!(matches!(
        refusal,
        NetdevError::MtuTooLarge {
            mtu: 4000,
            max: 3818,
            ..
        }
    ));
    assert_eq!(a.mtu(), Some(1500));
    a.set_mtu(3000).unwrap();
    assert!(
        a.needs_reconfigure(),
        "2,048-byte frames do not hold 3,000 bytes"
    );
    a.reconfigure().unwrap();
    let mut tx = a.tx_open(0).unwrap();
    let mut batch = Batch::new();
    for len in [3014, 3022, 3023, 9014, 64] {
        let mut frame = broadcast(len, 1);
        if len == 3022 {
            frame.data_mut()[12..18].copy_from_slice(&[0x88, 0xa8, 0, 1, 0x81, 0]);
        }
        batch.push(frame).unwrap();
    }
    let report = tx.send(&mut batch);
    assert_eq!((report.sent, report.too_big), (3, 2));
    drop(tx);
    // Behind our back.
    sh("ip link set dev va mtu 9000");
    until("noticed", || a.mtu() == Some(9000) && a.needs_reconfigure());
    let refusal = a.reconfigure().unwrap_err();
    assert!(
        matches!(refusal, NetdevError::MtuTooLarge { mtu: 9000, .. }),
        "{refusal}"
    );
    assert!(a.error().unwrap().contains("9000"));
    sh("ip link set dev va mtu 1500");
    until("asked for again", || a.needs_reconfigure());
    a.reconfigure().unwrap();
}

#[test]
fn a_busy_queue_is_waited_for_and_one_that_stays_busy_is_named() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    // Closed and at once opened again, which the kernel is not ready for.
    for _ in 0..5 {
        let a = opened("va", &[]);
        reconfigured(&a);
        drop(a.rx_open(0).unwrap());
    }
    let a = opened("va", &[]);
    let held = a.rx_open(0).unwrap();
    let e = a.reconfigure().unwrap_err();
    assert_eq!(e.errno(), libc::EBUSY, "{e}");
    drop(held);
    reconfigured(&a);
}

#[test]
fn a_foreign_program_is_refused_by_its_id() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let object = std::env::temp_dir().join(format!("ringway-foreign-{}.o", std::process::id()));
    let source =
        "int pass(void *c) { return 2; } char l[] __attribute__((section(\"license\"))) = \"GPL\";";
    let mut clang = Command::new("clang")
        .args(["-target", "bpf", "-O2", "-x", "c", "-", "-c", "-o"])
        .arg(&object)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut clang.stdin.take().unwrap(), source.as_bytes()).unwrap();
    assert!(clang.wait().unwrap().success());
    sh(&format!(
        "ip link set dev va xdpgeneric obj {} sec .text",
        object.display()
    ));
    let id = sh("ip -d link show va")
        .split("prog/xdp id ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse::<u32>()
        .unwrap();
    let a = AfxdpProvider.open("va").unwrap();
    let refusal = a.reconfigure().unwrap_err();
    assert!(
        matches!(refusal, NetdevError::XdpBusy { id: i, .. } if i == id),
        "{refusal}"
    );
    assert!(
        sh("ip -d link show va").contains("prog/xdp"),
        "the other's program is left alone"
    );
    sh("ip link set dev va xdpgeneric off");
    a.reconfigure().unwrap();
    std::fs::remove_file(object).unwrap();
}

/// Receives until `n` packets with this mark are there; others are dropped.
fn receive(rx: &mut dyn RxQueue, n: usize, mark: u8) -> Vec<Frame> {
    let mut got = Vec::new();
    until("packets", || {
        let mut batch = Batch::new();
        rx.recv(&mut batch).expect("the device is there");
        got.extend(batch.drain(..).filter(|f| marked(f, mark)));
        got.len() >= n
    });
    got
}

#[test]
fn frames_come_home_from_anywhere_and_outlive_their_port() {
    let here = Namespace::new();
    here.enter();
    sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
    let (a, b) = (opened("va", &[]), opened("vb", &[]));
    let mut rx = b.rx_open(0).unwrap();
    let mut tx = a.tx_open(0).unwrap();
    // More packets than there are frames, all kept: the ring runs dry and recovers.
    let mut kept = Vec::new();
    let mut sent = 0;
    while sent < 8192 {
        let mut batch = Batch::new();
        (0..BATCH_MAX).for_each(|_| drop(batch.push(broadcast(64, 7))));
        sent += tx.send(&mut batch).sent;
        tx.flush();
        let mut batch = Batch::new();
        rx.recv(&mut batch).unwrap();
        kept.extend(batch.drain(..));
    }
    assert!(kept.len() <= 4096 && kept.len() > 2048, "{}", kept.len());
    let (left, right): (Vec<_>, Vec<_>) =
        kept.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    base::sync::spawn("dropper", move || drop(left))
        .unwrap()
        .join()
        .unwrap();
    drop(right);
    let mut batch = Batch::new();
    while rx.recv(&mut batch).unwrap() > 0 {
        batch.release_all();
    }
    for _ in 0..100 {
        let mut batch = Batch::new();
        (0..BATCH_MAX).for_each(|_| drop(batch.push(broadcast(64, 8))));
        assert_eq!(tx.send(&mut batch).sent, 32);
        tx.flush();
        drop(receive(&mut *rx, 32, 8));
    }
    let mut last = Batch::new();
    last.push(broadcast(100, 9)).unwrap();
    tx.send(&mut last);
    tx.flush();
    let survivor = receive(&mut *rx, 1, 9).pop().unwrap();
    let stats = b.stats();
    drop((rx, tx, a, b));
    assert_eq!(
        (survivor.len(), survivor.data()[99], survivor.headroom()),
        (100, 9, 256)
    );
    let lost = stats
        .custom
        .iter()
        .find(|(n, _)| n == "xsk_queue_0_rx_fill_ring_empty_descs")
        .unwrap();
    assert!(lost.1 > 0, "what found no frame is counted: {stats:?}");
}

#[test]
fn sleeping_on_the_descriptor_ends_with_a_packet() {
    let here = Namespace::new();
    here.enter();
    sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
    let (a, b) = (opened("va", &[]), opened("vb", &[]));
    let (mut rx, mut tx) = (b.rx_open(0).unwrap(), a.tx_open(0).unwrap());
    for i in 0..20u8 {
        until("nothing waits", || {
            rx.drain();
            rx.prepare_sleep()
        });
        let mut batch = Batch::new();
        batch.push(broadcast(64, i)).unwrap();
        let delayed = base::sync::spawn("sender", move || {
            tx.send(&mut batch);
            tx.flush();
            tx
        });
        assert!(kit::sleep_on(rx.fd().unwrap()));
        receive(&mut *rx, 1, i);
        tx = delayed.unwrap().join().unwrap();
    }
}

#[test]
fn a_device_re_created_under_traffic_is_attached_again_each_time() {
    let (here, p, q) = (Namespace::new(), Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    veth("vb", &q, "192.0.2.2/24");
    let (a, b) = (opened("va", &[]), opened("vb", &[]));
    let promisc = DeviceFlags {
        promisc: true,
        ..DeviceFlags::default()
    };
    a.update_flags(promisc, DeviceFlags::default()).unwrap();
    let wire = Wire::between(&a, &b);
    for _ in 0..20 {
        let mut flood = Command::new("nsenter")
            .args([
                "-t",
                &q.pid().to_string(),
                "-n",
                "ping",
                "-q",
                "-i",
                "0.002",
                "192.0.2.1",
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        p.run("ping -c 3 -i 0.01 -W 5 192.0.2.2");
        sh("ip link del va");
        until("the error says so", || {
            a.error().is_some_and(|e| e.contains("disappeared"))
        });
        veth("va", &p, "192.0.2.1/24");
        until("attached again", || {
            a.error().is_none() && !a.needs_reconfigure()
        });
        p.run("ping -c 1 -W 5 192.0.2.2");
        flood.kill().unwrap();
        flood.wait().unwrap();
    }
    assert!(sh("ip -d link show va").contains("promiscuity 1"));
    let sums = wire.stop();
    assert_eq!(
        (sums[0].reattached, sums[1].reattached),
        (21, 1),
        "{sums:?}"
    );
}

#[test]
fn a_renamed_device_is_gone_and_a_device_taking_its_name_is_taken() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let a = opened("va", &[]);
    let mut rx = a.rx_open(0).unwrap();
    sh("ip link set dev va down; ip link set dev va name old");
    let mut batch = Batch::new();
    until("gone is said", || {
        matches!(rx.recv(&mut batch), Err(NetdevError::Gone { .. }))
    });
    assert_eq!(rx.recv(&mut batch).unwrap(), 0);
    drop(rx);
    assert!(!a.needs_reconfigure());
    sh("ip link add va type veth peer name other; ip link set va up; ip link set other up");
    until("a device of that name", || a.needs_reconfigure());
    a.reconfigure().unwrap();
    a.rx_open(0).unwrap();
    until("our program left the other device", || {
        !sh("ip -d link show old").contains("prog/xdp")
    });
}

/// Run by the test below in a process of its own.
#[test]
fn child_that_is_killed() {
    let Ok(pid) = std::env::var("RINGWAY_TEST_NETNS") else {
        return;
    };
    kit::enter(pid.parse().unwrap());
    let a = opened("va", &[]);
    let promisc = DeviceFlags {
        promisc: true,
        ..DeviceFlags::default()
    };
    a.update_flags(promisc, DeviceFlags::default()).unwrap();
    let mut rx = a.rx_open(0).unwrap();
    std::fs::write(std::env::var("RINGWAY_TEST_READY").unwrap(), "ready").unwrap();
    loop {
        let mut batch = Batch::new();
        rx.recv(&mut batch).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_no_program_and_no_flag() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    sh("ip addr add 192.0.2.7/24 dev va");
    let facts = || sh("ip -d -o link show va; ethtool -k va");
    let before = facts();
    let file = std::env::temp_dir().join(format!("ringway-killed-{}", std::process::id()));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed", "--nocapture"])
        .env("RINGWAY_TEST_NETNS", here.pid().to_string())
        .env("RINGWAY_TEST_READY", &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the child holds the port", || file.exists());
    let held = facts();
    assert!(
        held.contains("prog/xdp") && held.contains("promiscuity 1"),
        "{held}"
    );
    let mut flood = Command::new("nsenter")
        .args([
            "-t",
            &p.pid().to_string(),
            "-n",
            "ping",
            "-q",
            "-i",
            "0.002",
            "192.0.2.7",
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(file).unwrap();
    until("everything is as before", || facts() == before);
    p.run("ping -c 1 -W 5 192.0.2.7"); // the kernel has its packets back
    flood.kill().unwrap();
    flood.wait().unwrap();
}

#[test]
fn without_rights_the_missing_capability_is_named() {
    if std::env::var_os("RINGWAY_TEST_POWERLESS").is_some() {
        let a = AfxdpProvider.open("va").unwrap();
        let refusal = a.reconfigure().unwrap_err();
        assert!(
            matches!(refusal, NetdevError::NoPermission { .. }),
            "{refusal}"
        );
        assert!(refusal.to_string().contains("CAP_NET_ADMIN"), "{refusal}");
        for (class, name) in [("tap", "t0"), ("system", "va")] {
            let all = netdev::providers();
            let provider = all.iter().find(|p| p.class() == class).unwrap();
            let result = provider.open(name).and_then(|d| d.rx_open(0).map(drop));
            assert!(result.is_err(), "{class}");
        }
        return;
    }
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let me = std::env::current_exe().unwrap();
    let name = "without_rights_the_missing_capability_is_named";
    sh(&format!(
        "RINGWAY_TEST_POWERLESS=1 setpriv --bounding-set=-all --inh-caps=-all {} --exact {name}",
        me.display()
    ));
}

#[test]
fn a_program_taken_off_by_somebody_is_put_on_again() {
    let (here, p) = (Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    let a = opened("va", &[]);
    assert!(!a.needs_reconfigure());
    let id = sh("ip -d link show va")
        .split("prog/xdp id ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let links = sh("bpftool link show");
    let link = links
        .lines()
        .find(|l| l.contains(&format!("prog {id} ")))
        .unwrap();
    sh(&format!(
        "bpftool link detach id {}",
        link.split(':').next().unwrap()
    ));
    a.stats(); // asked for every few seconds
    until("noticed", || a.needs_reconfigure());
    reconfigured(&a);
    assert!(sh("ip -d link show va").contains("prog/xdp"));
}

/// Runs a test of this file again, alone in a process of its own, with `variable` set.
fn alone(name: &str, variable: &str) {
    let me = std::env::current_exe().expect("this file");
    let run = Command::new(me)
        .args(["--exact", name])
        .env(variable, "1")
        .status();
    assert!(run.expect("runs").success());
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

#[test]
fn ports_added_and_removed_leave_no_descriptor_and_no_memory() {
    let variable = "RINGWAY_TEST_CYCLES";
    if std::env::var_os(variable).is_none() {
        return alone(
            "ports_added_and_removed_leave_no_descriptor_and_no_memory",
            variable,
        );
    }
    let here = Namespace::new();
    here.enter();
    sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
    let pages = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let cycle = || {
        let (a, b) = (opened("va", &[]), opened("vb", &[]));
        let (mut rx, mut tx) = (b.rx_open(0).unwrap(), a.tx_open(0).unwrap());
        let mut batch = Batch::new();
        batch.push(broadcast(64, 3)).unwrap();
        assert_eq!(tx.send(&mut batch).sent, 1);
        tx.flush();
        receive(&mut *rx, 1, 3);
    };
    (0..5).for_each(|_| cycle());
    let before = (descriptors(), pages());
    (0..20).for_each(|_| cycle());
    // The kernel's notification thread of a namespace ends on its own time.
    until("descriptors are back", || descriptors() <= before.0);
    assert!(
        pages() < before.1 + 3072,
        "12 MB are one UMEM: {} -> {} pages",
        before.1,
        pages()
    );
}

#[test]
fn a_flapping_link_carries_packets_again_and_what_is_lost_is_counted() {
    let (here, p, q) = (Namespace::new(), Namespace::new(), Namespace::new());
    here.enter();
    veth("va", &p, "192.0.2.1/24");
    veth("vb", &q, "192.0.2.2/24");
    let (a, b) = (opened("va", &[]), opened("vb", &[]));
    let mut tx = a.tx_open(0).unwrap();
    sh("ip link set va down");
    until("down", || !a.flags().up);
    let mut batch = Batch::new();
    batch.push(broadcast(64, 3)).unwrap();
    assert_eq!(
        tx.send(&mut batch).error,
        1,
        "nothing is sent into a device that is down"
    );
    sh("ip link set va up");
    drop(tx);
    let wire = Wire::between(&a, &b);
    for _ in 0..3 {
        sh("ip link set va down; ip link set va up");
        p.run("ping -c 1 -W 5 192.0.2.2");
    }
    assert!(a.carrier_resets() >= 6, "{}", a.carrier_resets());
    assert!(!a.needs_reconfigure());
    wire.stop();
    // A port that nobody polls: its ring fills, and the rest is counted.
    let rx = a.rx_open(0).unwrap();
    let pid = p.pid();
    p.run("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:22 dev eth0");
    let sender = base::sync::spawn("sender", move || {
        kit::enter(pid);
        let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
        (0..5000).for_each(|_| drop(socket.send_to(b"x", "192.0.2.2:9")));
    });
    sender.unwrap().join().unwrap();
    assert!(
        rx.drops()
            .iter()
            .any(|(n, d)| *n == "rx_no_frame" && *d > 0),
        "{:?}",
        rx.drops()
    );
}
