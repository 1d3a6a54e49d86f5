//! Traffic between hosts: a counted stream of datagrams, TCP, frames as bytes.

use super::{Namespace, enter};
use base::clock::{monotonic_ns, sleep};
use base::sync::{Arc, AtomicBool, JoinHandle, Ordering, mpsc, spawn};
use netdev::{Device, Provider, RxQueue, TxQueue, system::SystemProvider};
use packet::{Batch, HeapPool};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// How long answers may take before they count as lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs something in a namespace, on a thread of its own.
fn inside<T: Send + 'static>(
    ns: &Namespace,
    what: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let pid = ns.pid();
    let run = move || {
        enter(pid);
        f()
    };
    spawn(what, run).expect("a thread")
}

/// Numbered datagrams from one host to another, one each millisecond, each sent back by the other.
#[derive(Debug)]
pub(crate) struct Stream {
    sending: Arc<AtomicBool>,
    echoing: Arc<AtomicBool>,
    sender: Option<JoinHandle<Count>>,
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) sent: u32,
    /// Of those, how many did not come back.
    pub(crate) lost: usize,
}

impl Stream {
    /// Starts a stream to `address` of host `to`; the path should be resolved already (ping it).
    pub(crate) fn new(from: &Namespace, to: &Namespace, address: &str) -> Self {
        let address: SocketAddr = format!("{address}:7000").parse().expect("an address");
        let sending = Arc::new(AtomicBool::new(true));
        let echoing = Arc::new(AtomicBool::new(true));
        let (ready, is_ready) = mpsc::channel();
        let go_on = Arc::clone(&echoing);
        drop(inside(to, "echo", move || {
            let socket = UdpSocket::bind(address).expect("bind");
            ready.send(()).expect("the test waits");
            echo(&socket, &go_on);
        }));
        is_ready.recv().expect("the echo listens");
        let go_on = Arc::clone(&sending);
        let sender = Some(inside(from, "sender", move || send(address, &go_on)));
        Self {
            sending,
            echoing,
            sender,
        }
    }

    /// Ends it and waits for what is under way.
    pub(crate) fn stop(mut self) -> Count {
        self.sending.store(false, Ordering::Relaxed);
        self.sender.take().expect("runs").join().expect("no panic")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sending.store(false, Ordering::Relaxed);
        self.echoing.store(false, Ordering::Relaxed);
    }
}

fn echo(socket: &UdpSocket, go_on: &AtomicBool) {
    let pause = Some(Duration::from_millis(50));
    socket.set_read_timeout(pause).expect("timeout");
    let mut buf = [0; 64];
    while go_on.load(Ordering::Relaxed) {
        if let Ok((n, back)) = socket.recv_from(&mut buf) {
            drop(socket.send_to(&buf[..n], back));
        }
    }
}

fn send(to: SocketAddr, go_on: &AtomicBool) -> Count {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
    socket.connect(to).expect("connect");
    let mut waiting = BTreeSet::new();
    let collect = |waiting: &mut BTreeSet<u32>, patience: Duration| {
        socket.set_read_timeout(Some(patience)).expect("timeout");
        let mut number = [0; 4];
        let got = socket.recv(&mut number).is_ok();
        if got {
            waiting.remove(&u32::from_be_bytes(number));
        }
        got
    };
    let mut sent = 0_u32;
    while go_on.load(Ordering::Relaxed) {
        if socket.send(&sent.to_be_bytes()).is_ok() {
            waiting.insert(sent);
            sent += 1;
        }
        let next = monotonic_ns() + 1_000_000;
        while let Some(rest) = next.checked_sub(monotonic_ns()).filter(|ns| *ns > 0) {
            collect(&mut waiting, Duration::from_nanos(rest.max(1000)));
        }
    }
    while !waiting.is_empty() && collect(&mut waiting, PATIENCE) {}
    let lost = waiting.len();
    Count { sent, lost }
}

/// Sends `bytes` by TCP from one host to an address of another; they must arrive intact.
pub(crate) fn tcp(from: &Namespace, to: &Namespace, address: &str, bytes: usize) {
    let address: SocketAddr = format!("{address}:5001").parse().expect("an address");
    let sent: Vec<u8> = (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect();
    let (listening, listens) = mpsc::channel();
    let server = inside(to, "tcp server", move || {
        let listener = TcpListener::bind(address).expect("bind");
        listening.send(()).expect("the test waits");
        let (mut stream, _) = listener.accept().expect("accept");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("read");
        got
    });
    listens.recv().expect("the server listens");
    let copy = sent.clone();
    let client = inside(from, "tcp client", move || {
        let patience = Duration::from_secs(20);
        let mut stream = TcpStream::connect_timeout(&address, patience).expect("connect");
        stream.set_write_timeout(Some(patience)).expect("timeout");
        stream.write_all(&copy).expect("write");
    });
    client.join().expect("the client sends");
    assert!(server.join().expect("the server") == sent, "bytes differ");
}

/// A host's `eth0` as bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    _device: Arc<dyn Device>,
    tx: Box<dyn TxQueue>,
    rx: Box<dyn RxQueue>,
}

impl Raw {
    pub(crate) fn on(host: &Namespace) -> Self {
        let opened = inside(host, "opener", || {
            let device = SystemProvider.open("eth0").expect("eth0");
            device.reconfigure().expect("eth0 is there");
            let (tx, rx) = (device.tx_open(0), device.rx_open(0));
            let (tx, rx) = (tx.expect("a sender"), rx.expect("a receiver"));
            let _device = device;
            Self { _device, tx, rx }
        });
        opened.join().expect("a packet socket")
    }

    /// Sends a frame; false when the kernel did not take it.
    pub(crate) fn send(&mut self, frame: &[u8]) -> bool {
        let mut batch = Batch::new();
        assert!(batch.push(HeapPool::global().copy_from(frame)).is_ok());
        let sent = self.tx.send(&mut batch).sent == 1;
        self.tx.flush();
        sent
    }

    /// Waits for a frame that a test is looking for, and drops the others.
    pub(crate) fn receive(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let got = self.look(wanted, 10_000);
        got.expect("the frame arrives")
    }

    /// True when no such frame arrives for as long as one may take.
    pub(crate) fn never(&mut self, unwanted: impl Fn(&[u8]) -> bool) -> bool {
        self.look(unwanted, 300).is_none()
    }

    fn look(&mut self, wanted: impl Fn(&[u8]) -> bool, ms: u64) -> Option<Vec<u8>> {
        let end = monotonic_ns() + ms * 1_000_000;
        while monotonic_ns() < end {
            let mut batch = Batch::new();
            self.rx.recv(&mut batch).expect("eth0 stays");
            while let Some(frame) = batch.pop() {
                if wanted(frame.data()) {
                    return Some(frame.data().to_vec());
                }
            }
            sleep(Duration::from_millis(1));
        }
        None
    }
}
