//! QoS and policing of kernel devices against the kernel: disciplines as `tc` shows them, queues by priority, what
//! happens to a device that goes, and what a kernel lacks. Needs root; makes its own namespaces.

use crate::kit::{Namespace, ready, sh, until};
use base::sync::Arc;
use netdev::{Device, QosDetails, TxReport};
use packet::{Batch, HeapPool};

fn opened(class: &str, name: &str) -> Arc<dyn Device> {
    let all = netdev::providers();
    let provider = all.iter().find(|p| p.class() == class).expect("a class");
    let device = provider.open(name).expect("opens");
    ready(&device, &[]);
    device
}

fn pair() {
    sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up");
}

fn details(pairs: &[(&str, &str)]) -> QosDetails {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(own).collect()
}

/// Frames of 100 bytes for these queues, as one batch.
fn send(device: &Arc<dyn Device>, queues: &[u32]) -> TxReport {
    let mut batch = Batch::new();
    for &queue in queues {
        let mut frame = HeapPool::global().copy_from(&[0xff; 100]);
        frame.priority = queue;
        batch.push(frame).expect("room");
    }
    device.tx_open(0).expect("tx queue").send(&mut batch)
}

fn sent_by(device: &Arc<dyn Device>, queue: u32) -> u64 {
    device.queue_stats(queue).expect("counts").tx_packets
}

#[test]
fn htb_queues_are_classes_and_packets_find_them() {
    let here = Namespace::new();
    here.enter();
    pair();
    let a = opened("system", "va");
    assert_eq!(a.qos().unwrap(), (String::new(), QosDetails::new()));
    a.set_qos("linux-htb", &details(&[("max-rate", "3000000")]))
        .unwrap();
    a.set_queue(
        0,
        &details(&[
            ("min-rate", "2000000"),
            ("max-rate", "3000000"),
            ("burst", "3000000"),
        ]),
    )
    .unwrap();
    a.set_queue(7, &details(&[("priority", "3")])).unwrap();
    let shown = sh("tc class show dev va");
    assert!(
        shown.contains("rate 2Mbit ceil 3Mbit burst 375000b cburst 375000b"),
        "{shown}"
    );
    assert!(shown.contains("class htb 1:8 parent 1:fffe"), "{shown}");
    assert_eq!(a.qos().unwrap().1, details(&[("max-rate", "3000000")]));
    assert_eq!(a.queue(0).unwrap()["min-rate"], "2000000");
    assert_eq!(a.queue(7).unwrap()["priority"], "3");
    assert_eq!(a.queues().unwrap().len(), 2);
    assert_eq!(a.queue_stats(3).unwrap_err().errno(), libc::ENOENT);

    // Queue 9 does not exist: as without a queue.
    let report = send(&a, &[7, 0, 7, 9, 7, 0]);
    assert_eq!((report.sent, report.error), (6, 0));
    assert_eq!((sent_by(&a, 7), sent_by(&a, 0)), (3, 3));
    assert_eq!(a.queue_stats(7).unwrap().tx_bytes, 300);

    // The port's rate changes under the queues; a queue goes.
    a.set_qos("linux-htb", &details(&[("max-rate", "5000000")]))
        .unwrap();
    assert_eq!(sent_by(&a, 7), 3);
    a.delete_queue(7).unwrap();
    assert_eq!(a.delete_queue(7).unwrap_err().errno(), libc::ENOENT);
    assert!(!sh("tc class show dev va").contains("1:8"));
    a.set_qos("", &QosDetails::new()).unwrap();
    assert!(!sh("tc qdisc show dev va").contains("htb"));
    assert_eq!(a.queues().unwrap_err().errno(), libc::EOPNOTSUPP);
    assert_eq!(
        a.set_queue(0, &QosDetails::new()).unwrap_err().errno(),
        libc::EINVAL
    );
    assert_eq!(
        a.set_qos("linux-x", &QosDetails::new())
            .unwrap_err()
            .errno(),
        libc::EOPNOTSUPP
    );
}

#[test]
fn what_an_earlier_switch_left_is_taken_over_and_what_is_foreign_goes() {
    let here = Namespace::new();
    here.enter();
    pair();
    sh("tc qdisc add dev va root handle 1: htb default 1
        tc class add dev va parent 1: classid 1:fffe htb rate 8mbit
        tc class add dev va parent 1:fffe classid 1:3 htb rate 1mbit ceil 2mbit burst 10kb");
    let a = opened("system", "va");
    assert_eq!(
        a.qos().unwrap(),
        ("linux-htb".to_owned(), details(&[("max-rate", "8000000")]))
    );
    let queue = a.queue(2).unwrap();
    assert_eq!(
        (queue["min-rate"].as_str(), queue["max-rate"].as_str()),
        ("1000000", "2000000")
    );
    send(&a, &[2]);
    assert_eq!(sent_by(&a, 2), 1);
    // The same again changes nothing.
    a.set_qos("linux-htb", &details(&[("max-rate", "8000000")]))
        .unwrap();
    assert_eq!(sent_by(&a, 2), 1);
    drop(a);
    assert!(
        !sh("tc qdisc show dev va").contains("htb"),
        "ours goes with the port"
    );

    sh("tc qdisc add dev va root handle 5: tbf rate 1mbit burst 10k latency 10ms");
    let a = opened("system", "va");
    assert_eq!(a.qos().unwrap().0, "linux-other");
    a.set_qos("linux-noop", &QosDetails::new()).unwrap();
    assert!(sh("tc qdisc show dev va").contains("tbf"), "left alone");
    a.set_qos("", &QosDetails::new()).unwrap();
    assert!(!sh("tc qdisc show dev va").contains("tbf"));

    // The kernel shows this one to nobody who asks for the root.
    sh("tc qdisc add dev va root noqueue");
    a.set_qos("linux-htb", &details(&[("max-rate", "8000000")]))
        .unwrap();
    assert!(sh("tc qdisc show dev va").contains("htb"));
}

#[test]
fn a_device_that_returns_has_its_queues_again() {
    let here = Namespace::new();
    here.enter();
    pair();
    let a = opened("system", "va");
    a.set_qos("linux-htb", &details(&[("max-rate", "3000000")]))
        .unwrap();
    a.set_queue(1, &details(&[("min-rate", "1000000")]))
        .unwrap();
    a.set_policing([8, 0, 0, 0]).unwrap();
    sh("ip link del va");
    until("noticed", || a.ifindex().is_none());
    assert_eq!(a.qos().unwrap_err().errno(), libc::ENODEV);
    pair();
    until("back", || a.needs_reconfigure());
    a.reconfigure().unwrap();
    assert!(sh("tc class show dev va").contains("class htb 1:2 parent 1:fffe"));
    assert!(sh("tc qdisc show dev va").contains("ingress"));
    send(&a, &[1]);
    assert_eq!(sent_by(&a, 1), 1);
}

/// Every discipline is either as it was asked for, or not there with the errno for that.
#[test]
fn disciplines_that_the_kernel_has_or_lacks() {
    let here = Namespace::new();
    here.enter();
    pair();
    let a = opened("system", "va");
    let wanted = [
        ("linux-hfsc", details(&[("max-rate", "8000000")])),
        (
            "linux-codel",
            details(&[("target", "6000"), ("limit", "99"), ("interval", "90000")]),
        ),
        (
            "linux-fq_codel",
            details(&[
                ("target", "6000"),
                ("limit", "99"),
                ("interval", "90000"),
                ("flows", "64"),
                ("quantum", "600"),
            ]),
        ),
        (
            "linux-sfq",
            details(&[("perturb", "20"), ("quantum", "2000")]),
        ),
        (
            "linux-netem",
            details(&[("latency", "1000"), ("limit", "99"), ("loss", "5")]),
        ),
    ];
    for (kind, details) in wanted {
        let name = kind.trim_start_matches("linux-");
        let there = sh(&format!(
            "tc qdisc add dev vb root {name} 2>/dev/null && echo yes || :"
        ));
        sh("tc qdisc del dev vb root 2>/dev/null || :");
        let done = a.set_qos(kind, &details);
        if there.contains("yes") {
            done.unwrap();
            assert_eq!(a.qos().unwrap(), (kind.to_owned(), details));
            // As another switch finds it.
            assert_eq!(opened("system", "va").qos().unwrap().0, kind);
        } else {
            assert_eq!(done.unwrap_err().errno(), libc::ENOENT, "{kind}");
            assert_eq!(a.qos().unwrap().0, "");
        }
    }
    assert_eq!(
        a.set_qos("linux-netem", &details(&[("loss", "101")]))
            .unwrap_err()
            .errno(),
        libc::EINVAL
    );
}

#[test]
fn what_comes_in_too_fast_is_dropped_and_counted() {
    let here = Namespace::new();
    here.enter();
    pair();
    let (a, b) = (opened("system", "va"), opened("system", "vb"));
    // The kernel may lack what polices for the host; the switch does not.
    b.set_policing([8, 8, 0, 0]).unwrap();
    assert!(sh("tc qdisc show dev vb").contains("ingress"));
    let mut rx = b.rx_open(0).unwrap();
    rx.drain();
    for _ in 0..4 {
        send(&a, &[0; 10]);
    }
    // 8 kbit of burst are 1000 bytes: 11 packets of 86 bytes behind the Ethernet header, and few in the time
    // that this takes.
    let (mut came, mut passed) = (0, 0);
    until("all came", || {
        let mut batch = Batch::new();
        came += rx.recv(&mut batch).unwrap();
        passed += batch.len();
        came >= 40
    });
    let dropped = b
        .stats()
        .custom
        .iter()
        .find(|(k, _)| k == "ovs_rx_qos_drops")
        .map(|(_, n)| *n);
    assert_eq!(dropped, Some((came - passed) as u64));
    assert!((11..40).contains(&passed), "{passed}");
    b.set_policing([0; 4]).unwrap();
    assert!(!sh("tc qdisc show dev vb").contains("ingress"));
    send(&a, &[0; 30]);
    passed = 0;
    until("all passed", || {
        let mut batch = Batch::new();
        rx.recv(&mut batch).unwrap();
        passed += batch.len();
        passed >= 30
    });
}
