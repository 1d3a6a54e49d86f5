//! `dpdk` ports over DPDK's virtual devices (`net_pcap`, `net_ring`, `net_null`), without huge pages and without
//! looking for hardware. DPDK starts once per process, so this is one test that goes from refusal to forwarding.
//!
//! Builds `libringway_dpdk.so` where the switch looks for it; where that cannot be done the test fails, with
//! what to install.

#![expect(clippy::unwrap_used, reason = "a test")]

mod unplug;

use base::sync::Arc;
use netdev::dpdk::{self, Dump};
use netdev::pcap::{PcapReader, PcapWriter};
use netdev::{CONTROL_TXQ, Config, Device, DeviceFlags, NetdevError, Provider, RxQueue, TxQueue};
use packet::{Batch, HeapPool};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Files of this test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ringway-dpdk-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn build_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let exe = std::env::current_exe().expect("a path");
    let built = Command::new(root.join("scripts/build-dpdk"))
        .arg(exe.ancestors().nth(2).expect("target/debug/deps/test"))
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
}

fn settings(pairs: &[(&str, &str)]) -> Config {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn provider() -> Arc<dyn Provider> {
    let all = netdev::providers();
    let found = all.into_iter().find(|p| p.class() == "dpdk");
    found.expect("the class")
}

fn open(name: &str) -> Result<Arc<dyn Device>, NetdevError> {
    provider().open(name)
}

fn ready(device: &Arc<dyn Device>, options: &[(&str, &str)]) {
    let unknown = device.set_config(&settings(options)).expect("good options");
    assert_eq!(unknown, Vec::<String>::new());
    device.reconfigure().expect("set up");
}

fn port(name: &str, devargs: &str) -> Arc<dyn Device> {
    let device = open(name).expect("DPDK runs");
    ready(&device, &[("dpdk-devargs", devargs)]);
    device
}

/// DPDK is refused by name while something is missing, and starts once nothing is.
fn from_refusal_to_start() {
    let refused = open("p0").unwrap_err();
    assert!(refused.to_string().contains("dpdk-init"), "{refused}");
    assert!(!provider().is_listed());
    let good = "--no-huge --no-shconf --no-pci -m 256 --log-level=pmd.*:error";
    dpdk::init(
        "test",
        &settings(&[("dpdk-init", "false"), ("dpdk-extra", good)]),
    );
    assert_eq!(dpdk::status(), dpdk::Status::default());

    let no_core = settings(&[
        ("dpdk-init", "true"),
        ("dpdk-lcore-mask", "0x0"),
        ("dpdk-extra", good),
    ]);
    dpdk::init("test", &no_core);
    let status = dpdk::status();
    let failure = status.failure.expect("a reason");
    assert!(
        failure.contains("dpdk-lcore-mask") && failure.contains("0x0"),
        "{failure}"
    );
    assert!(
        status
            .version
            .expect("the library is there")
            .contains("DPDK 2")
    );
    let refused = open("p0").unwrap_err().to_string();
    assert!(
        refused.contains("p0") && refused.contains("dpdk-lcore-mask"),
        "{refused}"
    );

    dpdk::init(
        "test",
        &settings(&[("dpdk-init", "TRUE"), ("dpdk-extra", good)]),
    );
    let status = dpdk::status();
    assert!(status.initialized && status.failure.is_none(), "{status:?}");
    assert!(provider().is_listed());
    assert!(dpdk::text(Dump::Lcores).expect("it runs").contains("lcore"));
    assert!(dpdk::log_set(&["pmd.*:error"]).is_ok());
    assert!(dpdk::log_set(&["pmd.*:loud"]).unwrap_err().contains("loud"));
}

/// The packet number `i`: sizes from the smallest to the largest.
fn packet(i: usize) -> Vec<u8> {
    let len = 60 + i * 37 % (1514 - 60 + 1);
    (0..len).map(|b| (b * 7 + i) as u8).collect()
}

/// Moves everything from one queue to another until `n` packets went through; they stay in their buffers.
fn forward(rx: &mut dyn RxQueue, tx: &mut dyn TxQueue, n: usize) {
    let mut sent = 0;
    let mut batch = Batch::new();
    // A capture is there as a whole: an empty look means that it is at its end.
    while sent < n {
        let got = rx.recv(&mut batch).expect("the device is there");
        assert!(got > 0, "{sent} of {n} came");
        let report = tx.send(&mut batch);
        assert!(batch.is_empty());
        assert_eq!(report.sent as usize, got, "{report:?}");
        tx.flush();
        sent += got;
    }
    assert_eq!(sent, n);
}

fn packets_of(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::open(path).expect("a capture");
    std::iter::from_fn(|| reader.next().expect("whole packets").map(|(_, p)| p)).collect()
}

/// What a capture holds goes in at one port and comes out at another as it was.
fn a_capture_goes_through_two_ports(dir: &Directory) {
    const N: usize = 500;
    let (input, output) = (dir.file("in.pcap"), dir.file("out.pcap"));
    let mut writer = PcapWriter::append(&input).expect("a file");
    for i in 0..N {
        writer
            .write(Duration::from_millis(i as u64), &packet(i))
            .expect("room");
    }
    drop(writer);
    let a = port(
        "a",
        &format!("net_pcap0,rx_pcap={},tx_pcap=/dev/null", input.display()),
    );
    let b = port(
        "b",
        &format!(
            "net_pcap1,rx_pcap={},tx_pcap={}",
            dir.file("in.pcap").display(),
            output.display()
        ),
    );
    let mut rx = a.rx_open(0).expect("its queue");
    assert!(a.rx_open(0).is_err(), "a queue has one owner");
    let mut tx = b.tx_open(0).expect("its queue");
    forward(&mut *rx, &mut *tx, N);
    let (sa, sb) = (a.stats(), b.stats());
    assert_eq!(
        (sa.rx_packets, sb.tx_packets),
        (Some(N as u64), Some(N as u64))
    );
    let bytes: usize = (0..N).map(|i| packet(i).len()).sum();
    assert_eq!(
        (sa.rx_bytes, sb.tx_bytes),
        (Some(bytes as u64), Some(bytes as u64))
    );
    assert_eq!(
        (sb.tx_dropped, a.status()["driver_name"].as_str()),
        (Some(0), "net_pcap")
    );
    drop((rx, tx, a, b)); // closes the capture
    assert_eq!(packets_of(&output), (0..N).map(packet).collect::<Vec<_>>());
}

/// A ring gives back what it was sent: foreign packets as copies, its own in the very same buffer.
fn packets_of_dpdk_are_not_copied() {
    let ring = port("ring", "net_ring0");
    let mut rx = ring.rx_open(0).expect("its queue");
    let mut tx = ring.tx_open(0).expect("its queue");
    let heap = HeapPool::global();
    let mut batch = Batch::new();
    batch.extend((0..32).map(|i| heap.copy_from(&packet(i))));
    let kept = heap.copy_from(&packet(99));
    assert_eq!(tx.send(&mut batch).sent, 32);
    assert_eq!(tx.send_copies(std::slice::from_ref(&kept)).sent, 1);
    assert_eq!(rx.recv(&mut batch).expect("there"), 32);
    assert!(batch.iter().enumerate().all(|(i, f)| f.data() == packet(i)));
    let before: Vec<_> = batch.iter().map(|f| f.data().as_ptr()).collect();
    assert!(batch[0].headroom() >= 128 && batch[0].push(4) && batch[0].pull(4));
    assert_eq!(tx.send(&mut batch).sent, 32);
    // First the copy, then those that went round twice.
    let mut late = Batch::new();
    assert_eq!(rx.recv(&mut late).expect("there"), 32);
    assert_eq!(late[0].data(), kept.data());
    let after: Vec<_> = late[1..].iter().map(|f| f.data().as_ptr()).collect();
    assert_eq!(after, before[..31]);
    late.release_all();
    assert_eq!(rx.drain(), 1);

    // Too big for the port: counted, not sent, and those beside it are.
    batch.extend([60, 1514, 1515, 9000].map(|n| heap.copy_from(&vec![1; n])));
    let report = tx.send(&mut batch);
    assert_eq!((report.sent, report.too_big), (2, 2), "{report:?}");
    let drops = ring.stats().custom;
    assert!(
        drops.contains(&("ovs_tx_mtu_exceeded_drops".to_owned(), 2)),
        "{drops:?}"
    );
    assert_eq!(rx.drain(), 2);

    // Who finds no tx queue of its own shares the last one: another ring here, with its own rx queue.
    let mut shared = [CONTROL_TXQ, 0].map(|q| ring.tx_open(q).expect("the last queue"));
    for tx in &mut shared {
        assert_eq!(tx.send_copies(std::slice::from_ref(&kept)).sent, 1);
    }
    assert_eq!((ring.n_rxq(), ring.n_txq(), rx.drain()), (1, 2, 0));

    let down = DeviceFlags {
        up: true,
        ..DeviceFlags::default()
    };
    ring.update_flags(DeviceFlags::default(), down)
        .expect("goes down");
    batch.push(kept).expect("room");
    assert_eq!(tx.send(&mut batch).error, 1);
    drop((rx, tx));
    // A device without queues open can have another MTU; an impossible one is named and changes nothing.
    assert!(ring.set_mtu(20).unwrap_err().to_string().contains("20"));
    assert!(!ring.needs_reconfigure());
}

fn what_a_device_cannot_do_is_named() {
    let bad = open("bad").expect("DPDK runs");
    for devargs in [
        "net_nosuch0",
        "net_pcap7,rx_pcap=/no/such.pcap",
        "net_null5,colour=red",
        ",",
    ] {
        let e = bad
            .set_config(&settings(&[("dpdk-devargs", devargs)]))
            .unwrap_err();
        assert!(e.to_string().contains(devargs), "{e}");
        assert_eq!(e.errno(), libc_einval());
    }
    assert!(
        bad.set_config(&Config::new())
            .unwrap_err()
            .to_string()
            .contains("dpdk-devargs")
    );
    assert!(!bad.needs_reconfigure() && bad.rx_open(0).is_err());

    let null = open("null").expect("DPDK runs");
    ready(
        &null,
        &[
            ("dpdk-devargs", "net_null0,size=64"),
            ("n_rxq", "3"),
            ("n_rxq_desc", "512"),
        ],
    );
    assert_eq!((null.n_rxq(), null.error()), (3, None));
    let other = open("other").expect("DPDK runs");
    let e = other
        .set_config(&settings(&[("dpdk-devargs", "net_null0")]))
        .unwrap_err();
    assert!(e.to_string().contains("already in use by 'null'"), "{e}");

    // More queues than there are: those there are, and a remark. Other options are named.
    let e = other.set_config(&settings(&[
        ("dpdk-devargs", "net_ring7"),
        ("n_rxq_desc", "1000"),
    ]));
    assert!(e.unwrap_err().to_string().contains("n_rxq_desc"));
    let unknown = other.set_config(&settings(&[
        ("dpdk-devargs", "net_ring7"),
        ("n_rxq", "40"),
        ("x", "y"),
    ]));
    assert_eq!(unknown.expect("taken"), ["x"]);
    other.reconfigure().expect("with fewer queues");
    let remark = other.error().expect("a remark");
    assert!(
        other.n_rxq() < 40 && remark.contains("40 queues were asked for"),
        "{remark}"
    );

    // The other port worked all the while, and takes another MTU and other device arguments.
    let mut rx = null.rx_open(2).expect("a queue");
    let mut batch = Batch::new();
    assert_eq!(rx.recv(&mut batch).expect("there"), 32);
    assert_eq!(batch[0].len(), 64);
    batch.release_all();
    drop(rx);
    null.set_mtu(3000).expect("an MTU");
    assert!(null.needs_reconfigure());
    null.reconfigure().expect("with another pool");
    assert_eq!((null.mtu(), null.needs_reconfigure()), (Some(3000), false));
    ready(&null, &[("dpdk-devargs", "net_null0,size=128")]);
    let mut rx = null.rx_open(0).expect("a queue");
    assert!(rx.recv(&mut batch).expect("there") > 0);
    assert_eq!(batch[0].len(), 128);
}

/// A device goes while packets flow through it, fails to come back, and comes back; another pair of ports does not
/// notice.
fn a_device_is_pulled_out_under_traffic(dir: &Directory) {
    let input = dir.file("endless.pcap");
    let mut writer = PcapWriter::append(&input).expect("a file");
    for i in 0..64 {
        writer.write(Duration::ZERO, &packet(i)).expect("room");
    }
    drop(writer);
    let devargs = format!("net_pcap8,rx_pcap={},infinite_rx=1", input.display());
    let (victim, other) = (port("victim", &devargs), port("bystander", "net_null8"));
    let seq = victim.change_seq();
    let mut rx = victim.rx_open(0).expect("a queue");
    let mut own = victim.tx_open(0).expect("a queue");
    let (mut from, mut to) = (
        other.rx_open(0).expect("a queue"),
        other.tx_open(0).expect("a queue"),
    );
    let mut batch = Batch::new();
    let mut held = Batch::new();
    for round in 0..100 {
        assert!(rx.recv(&mut batch).expect("there") > 0);
        // A few packets are still on their way when the device goes.
        if round == 99 {
            held.extend(batch.drain(..4));
        }
        to.send(&mut batch);
    }
    unplug::pull("net_pcap8");
    assert!(matches!(rx.recv(&mut batch), Err(NetdevError::Gone { .. })));
    assert_eq!(rx.recv(&mut batch).expect("said once"), 0);
    assert_eq!(from.recv(&mut batch).expect("the other works"), 32);
    let report = own.send(&mut batch);
    assert_eq!((report.error, report.sent, batch.len()), (32, 0, 0));
    assert!(victim.change_seq() > seq && !victim.carrier() && victim.needs_reconfigure());
    let error = victim.error().expect("an error");
    assert!(
        error.contains("victim") && error.contains("disappeared"),
        "{error}"
    );

    // What it was made of is not there: it stays away, says so, and is tried again later.
    let away = dir.file("away.pcap");
    std::fs::rename(&input, &away).expect("moved");
    drop((rx, own));
    let refused = victim.reconfigure().unwrap_err().to_string();
    assert!(refused.contains("net_pcap8"), "{refused}");
    assert_eq!(victim.error(), Some(refused));
    assert!(!victim.needs_reconfigure(), "not at once");
    assert!(victim.rx_open(0).is_err());
    assert_eq!(from.recv(&mut batch).expect("the other works"), 32);
    assert_eq!(to.send(&mut batch).sent, 32);

    std::fs::rename(&away, &input).expect("moved back");
    comes_back(&victim);
    // Packets of the device that went go home to a pool that is still there.
    assert!(held.iter().all(|f| f.len() >= 60));
    held.release_all();
    drop((from, to));
    detached_by_hand(other);
}

/// The port works again once its pause is over.
fn comes_back(victim: &Arc<dyn Device>) {
    let mut tries = 0;
    while !victim.needs_reconfigure() {
        assert!(tries < 2000, "it is tried again");
        tries += 1;
        base::clock::sleep(Duration::from_millis(10));
    }
    victim.reconfigure().expect("it is back");
    assert_eq!((victim.error(), victim.needs_reconfigure()), (None, false));
    let mut rx = victim.rx_open(0).expect("a queue");
    let (mut batch, mut got) = (Batch::new(), Vec::new());
    while got.len() < 64 {
        assert!(rx.recv(&mut batch).expect("there") > 0);
        got.extend(batch.drain(..).map(|f| f.data().to_vec()));
    }
    assert!(got.iter().zip(0..).all(|(p, i)| *p == packet(i % 64)));
}

/// Not while it is used.
fn detached_by_hand(other: Arc<dyn Device>) {
    let e = dpdk::detach("net_null8").unwrap_err();
    assert!(e.contains("bystander"), "{e}");
    assert!(
        dpdk::mempool_info(Some(&*other))
            .expect("a pool")
            .contains("count: avail (")
    );
    drop(other);
    assert!(
        dpdk::detach("net_null8").unwrap_err().contains("not found"),
        "it went with its port"
    );
    assert!(
        dpdk::mempool_info(None)
            .expect("DPDK runs")
            .contains("mempool")
    );
}

/// Ingress policing and the disciplines of DPDK ports.
fn policers_drop_and_count() {
    let null = port("policed", "net_null9,size=114");
    let (mut rx, mut tx) = (
        null.rx_open(0).expect("a queue"),
        null.tx_open(0).expect("a queue"),
    );
    let mut batch = Batch::new();
    // 1 kbit/s with a burst of 16 kbit: 20 packets of 100 bytes behind the Ethernet header.
    null.set_policing([1, 16, 0, 0]).expect("taken");
    assert_eq!((rx.recv(&mut batch).expect("there"), batch.len()), (32, 20));
    batch.release_all();
    null.set_policing([0; 4]).expect("taken");
    assert_eq!((rx.recv(&mut batch).expect("there"), batch.len()), (32, 32));

    null.set_qos(
        "egress-policer",
        &settings(&[("cir", "1"), ("cbs", "1000")]),
    )
    .expect("taken");
    let report = tx.send(&mut batch);
    assert_eq!((report.sent, report.policed, batch.len()), (10, 22, 0));
    rx.recv(&mut batch).expect("there");
    assert_eq!(tx.send_copies(&batch).policed, 32);
    let wide = settings(&[("cir", "1"), ("cbs", "100000")]);
    null.set_qos("trtcm-policer", &wide).expect("taken");
    null.set_queue(0, &Config::new()).expect("taken");
    null.set_queue(3, &settings(&[("cir", "1"), ("cbs", "500")]))
        .expect("taken");
    batch.iter_mut().for_each(|f| f.priority = 3);
    let report = tx.send(&mut batch);
    assert_eq!((report.sent, report.policed), (5, 27));
    let queue = null.queue_stats(3).expect("its counts");
    assert_eq!(
        (queue.tx_packets, queue.tx_bytes, queue.tx_errors),
        (5, 500, 27)
    );

    let stats = null.stats();
    let custom = |name: &str| {
        stats
            .custom
            .iter()
            .find(|(k, _)| k == name)
            .map(|(_, n)| *n)
    };
    assert_eq!(
        (custom("ovs_rx_qos_drops"), custom("ovs_tx_qos_drops")),
        (Some(12), Some(81))
    );
    assert_eq!((stats.rx_dropped, stats.tx_dropped), (Some(12), Some(81)));
    null.set_qos("", &Config::new()).expect("taken");
    assert_eq!(null.qos().expect("an answer").0, "");
}

fn libc_einval() -> i32 {
    rustix::io::Errno::INVAL.raw_os_error()
}

#[test]
fn dpdk_ports() {
    build_library();
    let dir = Directory::new();
    from_refusal_to_start();
    a_capture_goes_through_two_ports(&dir);
    packets_of_dpdk_are_not_copied();
    what_a_device_cannot_do_is_named();
    a_device_is_pulled_out_under_traffic(&dir);
    policers_drop_and_count();
}
