//! AF_XDP's rings: bursts between two ports of a veth pair, in a namespace of the bench's own. Needs root; without
//! it there are no such stages.

use crate::null::frame;
use crate::{Maker, Stage, Work};
use base::sync::Arc;
use netdev::afxdp::AfxdpProvider;
use netdev::{Config, Device, Provider, RxQueue, TxQueue};
use packet::{BATCH_MAX, Batch, HeapPool};
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the kernel may take to carry a burst over, before it is measured.
const ON_THE_WAY: Duration = Duration::from_micros(100);
/// Looks for a burst that is on its way.
const LOOKS_MAX: usize = 1_000_000;

/// The stages that this process may run.
pub(crate) fn stages() -> &'static [(&'static str, Maker)] {
    if rustix::process::geteuid().is_root() {
        &[("afxdp rx burst", rx), ("afxdp tx burst", tx)]
    } else {
        eprintln!("the stages of afxdp are left out: they need root");
        &[]
    }
}

/// A network namespace, which the process enters; it ends with its holder.
struct Namespace(Child);

impl Namespace {
    fn enter() -> Self {
        let mut holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let mut ready = [0; 6];
        let said = holder
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut ready);
        said.expect("a namespace can be made");
        let path = format!("/proc/{}/ns/net", holder.id());
        let ns = std::fs::File::open(path).expect("a live namespace");
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(ns.as_fd(), kind).expect("it can be entered");
        Self(holder)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Both ends of a pair, one to send from.
struct Pair {
    batch: Batch,
    from: Box<dyn TxQueue>,
    to: Box<dyn RxQueue>,
    _devices: [Arc<dyn Device>; 2],
    _space: Namespace,
}

impl Pair {
    fn new() -> Self {
        let space = Namespace::enter();
        let made = Command::new("sh")
            .args([
                "-ec",
                "ip link add va type veth peer name vb; ip link set va up; ip link set vb up",
            ])
            .status();
        assert!(made.is_ok_and(|s| s.success()), "a veth pair (iproute2)");
        let devices = ["va", "vb"].map(|name| {
            let device = AfxdpProvider.open(name).expect("a port");
            device.set_config(&Config::new()).expect("no options");
            device.reconfigure().expect("an AF_XDP socket");
            device
        });
        Self {
            batch: Batch::new(),
            from: devices[0].tx_open(0).expect("a tx queue"),
            to: devices[1].rx_open(0).expect("an rx queue"),
            _devices: devices,
            _space: space,
        }
    }

    fn fill(&mut self) {
        self.batch.release_all();
        while self.batch.room() > 0 {
            drop(self.batch.push(HeapPool::global().copy_from(&frame(1))));
        }
    }

    fn send(&mut self) {
        let report = self.from.send(&mut self.batch);
        assert_eq!(report.sent as usize, BATCH_MAX);
        self.from.flush();
    }

    fn receive(&mut self) {
        for _ in 0..LOOKS_MAX {
            self.to.recv(&mut self.batch).expect("the port is there");
            if self.batch.room() == 0 {
                break;
            }
        }
        assert_eq!(self.batch.len(), BATCH_MAX, "a burst arrives");
    }
}

/// The fill and the rx ring; no system call.
struct Rx(Pair);

impl Work for Rx {
    fn prepare(&mut self) {
        self.0.fill();
        self.0.send();
        base::clock::sleep(ON_THE_WAY);
    }
    fn run(&mut self) {
        self.0.receive();
    }
}

fn rx() -> Stage {
    Stage::new("afxdp rx burst", BATCH_MAX, Rx(Pair::new()))
}

/// The tx and the completion ring, with the system call in which the kernel sends.
struct Tx(Pair);

impl Work for Tx {
    fn prepare(&mut self) {
        self.0.to.drain();
        self.0.fill();
    }
    fn run(&mut self) {
        self.0.send();
    }
}

fn tx() -> Stage {
    Stage::new("afxdp tx burst", BATCH_MAX, Tx(Pair::new()))
}
