//! Namespaces, veth pairs and a two-port wire for tests of real ports. Needs root. Every test makes its
//! own namespaces, so that tests can run side by side; a namespace ends with the process that made it,
//! however that ends.

#![expect(unreachable_pub, reason = "a module of several test crates")]

use base::sync::{Arc, AtomicBool, JoinHandle, Ordering, spawn};
use netdev::{Config, Device, RxQueue, TxQueue};
use packet::Batch;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, RawFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    pub fn new() -> Self {
        // The holder ends when its stdin closes, which the kernel does for us.
        let mut holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) and root");
        let mut ready = [0; 6];
        holder
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut ready)
            .expect("root is needed");
        let ns = Self { holder };
        ns.run("ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        ns
    }

    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Moves the calling thread into the namespace, for good.
    pub fn enter(&self) {
        enter(self.pid());
    }

    /// Runs a shell command in the namespace; returns what it printed.
    pub fn run(&self, command: &str) -> String {
        let pid = self.pid().to_string();
        output(
            Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-ec", command]),
            command,
        )
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

pub fn enter(pid: u32) {
    let ns = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("a live namespace");
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(ns.as_fd(), kind).expect("root");
}

/// Runs a shell command in the calling thread's namespace; returns what it printed.
pub fn sh(command: &str) -> String {
    output(Command::new("sh").args(["-ec", command]), command)
}

fn output(run: &mut Command, command: &str) -> String {
    let out = run.output().expect("sh");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{command}: {text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

/// Makes `name` here, its other end `eth0` with `address` in `peer`; both up.
pub fn veth(name: &str, peer: &Namespace, address: &str) {
    let pid = peer.pid();
    sh(&format!(
        "ip link add {name} type veth peer name eth0 netns {pid}; ip link set {name} up"
    ));
    peer.run(&format!(
        "ip addr add {address} dev eth0; ip link set eth0 up"
    ));
}

/// Waits for something to become true, 10 s at most.
pub fn until(what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if f() {
            return;
        }
        base::clock::sleep(Duration::from_millis(5));
    }
    unreachable!("never: {what}");
}

/// Configures a device and makes it ready for queues.
pub fn ready(device: &Arc<dyn Device>, options: &[(&str, &str)]) {
    let config: Config = options
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    assert_eq!(
        device.set_config(&config).expect("good options"),
        Vec::<String>::new()
    );
    device.reconfigure().expect("attach");
}

/// Forwards between two devices on a thread of its own until dropped, re-attaching them as a datapath
/// would.
#[derive(Debug)]
pub struct Wire {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<[Sums; 2]>>,
}

/// What went through one direction.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    pub received: u64,
    pub sent: u64,
    pub dropped: u64,
    pub reattached: u64,
}

struct End {
    device: Arc<dyn Device>,
    queues: Option<(Box<dyn RxQueue>, Box<dyn TxQueue>)>,
    sums: Sums,
}

impl End {
    fn open(&mut self) {
        if self.queues.is_some() || !self.device.present_enough() {
            return;
        }
        if self.device.needs_reconfigure() && self.device.reconfigure().is_err() {
            return;
        }
        if let (Ok(rx), Ok(tx)) = (self.device.rx_open(0), self.device.tx_open(0)) {
            self.queues = Some((rx, tx));
            self.sums.reattached += 1;
        }
    }
}

trait Present {
    fn present_enough(&self) -> bool;
}
impl Present for Arc<dyn Device> {
    fn present_enough(&self) -> bool {
        self.error().is_none() || self.needs_reconfigure()
    }
}

impl Wire {
    pub fn between(a: &Arc<dyn Device>, b: &Arc<dyn Device>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut ends = [a, b].map(|d| End {
            device: Arc::clone(d),
            queues: None,
            sums: Sums::default(),
        });
        for end in &mut ends {
            end.open();
            assert!(end.queues.is_some(), "queues of {} open", end.device.name());
        }
        let thread = spawn("wire", move || {
            while !stopped.load(Ordering::Relaxed) {
                Self::turn(&mut ends);
            }
            ends.map(|e| e.sums)
        });
        Self {
            stop,
            thread: Some(thread.expect("a thread")),
        }
    }

    fn turn(ends: &mut [End; 2]) {
        let mut idle = true;
        for i in 0..2 {
            let mut batch = Batch::new();
            let got = ends[i].queues.as_mut().map(|(rx, _)| rx.recv(&mut batch));
            match got {
                Some(Err(_)) => ends[i].queues = None,
                None => ends[i].open(),
                Some(Ok(n)) => {
                    idle &= n == 0;
                    ends[i].sums.received += n as u64;
                }
            }
            let n = batch.len() as u64;
            match ends[1 - i].queues.as_mut() {
                Some((_, tx)) => {
                    let report = tx.send(&mut batch);
                    tx.flush();
                    let all = report.sent + report.full + report.too_big + report.error;
                    assert_eq!(u64::from(all), n, "{report:?}");
                    ends[i].sums.sent += u64::from(report.sent);
                    ends[i].sums.dropped += n - u64::from(report.sent);
                }
                None => ends[i].sums.dropped += n,
            }
        }
        if idle {
            base::clock::sleep(Duration::from_micros(50));
        }
    }

    /// Ends the wire; what went from the first to the second device, and back.
    pub fn stop(mut self) -> [Sums; 2] {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("runs").join().expect("no panic")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends `bytes` by TCP from one namespace to an address in another; panics unless they arrive intact
/// within 20 s.
pub fn tcp(from: &Namespace, to: &Namespace, address: &str, bytes: usize) {
    let address: SocketAddr = format!("{address}:5001").parse().expect("an address");
    let (pid, data) = (to.pid(), (0..bytes).map(|i| (i * 7 + i / 251) as u8));
    let sent: Vec<u8> = data.collect();
    let (listening, listens) = base::sync::mpsc::channel();
    let server = spawn("tcp server", move || {
        enter(pid);
        let listener = TcpListener::bind(address).expect("bind");
        listening.send(()).expect("the test waits");
        let (mut stream, _) = listener.accept().expect("accept");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("read");
        got
    });
    listens.recv().expect("the server listens");
    let (pid, copy) = (from.pid(), sent.clone());
    let client = spawn("tcp client", move || {
        enter(pid);
        let patience = Duration::from_secs(20);
        let mut stream = TcpStream::connect_timeout(&address, patience).expect("connect");
        stream.set_write_timeout(Some(patience)).expect("timeout");
        stream.write_all(&copy).expect("write");
    });
    client.expect("a thread").join().expect("client");
    assert!(
        server.expect("a thread").join().expect("server") == sent,
        "bytes differ"
    );
}

/// Sleeps until the descriptor is readable, 5 s at most; true when it is.
pub fn sleep_on(fd: RawFd) -> bool {
    let mut poll = mio::Poll::new().expect("epoll");
    let readable = mio::Interest::READABLE;
    let mut source = mio::unix::SourceFd(&fd);
    poll.registry()
        .register(&mut source, mio::Token(0), readable)
        .expect("a live descriptor");
    let mut events = mio::Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::from_secs(5)))
        .expect("poll");
    !events.is_empty()
}
