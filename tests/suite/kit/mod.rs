//! What the tests share: namespaces with hosts and a switch, the daemon, traffic.
//!
//! A namespace ends with the process that holds it, a daemon with the test thread that started it, both with a
//! panic too. Everything that takes time is waited for by asking, [`until`] a limit far above what it takes.

mod daemon;
mod database;
mod dropin;
mod traffic;

pub(crate) use daemon::{Daemon, file_in, ringway};
pub(crate) use database::Vswitchd;
pub(crate) use dropin::DropIn;
pub(crate) use traffic::{Raw, Stream, tcp};

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        // The holder ends when its stdin closes, which the kernel does for us.
        let mut holder = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo ready; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let mut ready = [0; 6];
        let out = holder.stdout.as_mut().expect("piped");
        out.read_exact(&mut ready).expect("root is needed");
        let ns = Self { holder };
        ns.run("ip link set lo up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        ns
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will run in the namespace and be killed with the calling thread.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut c = Command::new("nsenter");
        c.args(["-t", &self.pid().to_string(), "-n"]).args([
            "setpriv",
            "--pdeathsig",
            "KILL",
            program,
        ]);
        c
    }

    /// What a shell command printed, if it succeeded; else that and its errors.
    pub(crate) fn attempt(&self, script: &str) -> Result<String, String> {
        outcome(self.command("sh").args(["-ec", script]))
    }

    /// Runs a shell command; returns what it printed.
    pub(crate) fn run(&self, script: &str) -> String {
        let done = self.attempt(script);
        done.unwrap_or_else(|e| unreachable!("{script}: {e}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Moves the calling thread into the namespace of a process, for good.
pub(crate) fn enter(pid: u32) {
    let ns = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("a live namespace");
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(ns.as_fd(), kind).expect("root");
}

/// Standard output of a command, or all it said when it failed.
pub(crate) fn outcome(command: &mut Command) -> Result<String, String> {
    let out = command.output().expect("a program that exists");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        Ok(text)
    } else {
        Err(text + &String::from_utf8_lossy(&out.stderr))
    }
}

/// Asks until the answer is yes; 20 s at most.
pub(crate) fn until(what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if f() {
            return;
        }
        base::clock::sleep(Duration::from_millis(10));
    }
    unreachable!("never: {what}");
}

/// A namespace for the switch, and hosts 1, 2, ... whose `eth0` (192.0.2.N/24) is the other end of port `pN`.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) switch: Namespace,
    hosts: Vec<Namespace>,
}

impl Lab {
    pub(crate) fn new(hosts: usize) -> Self {
        let lab = Self {
            switch: Namespace::new(),
            hosts: (0..hosts).map(|_| Namespace::new()).collect(),
        };
        for n in 1..=hosts {
            lab.plug(n);
        }
        lab
    }

    /// Host `n`, counted from 1.
    pub(crate) fn host(&self, n: usize) -> &Namespace {
        &self.hosts[n - 1]
    }

    /// Makes the cable of host `n`.
    pub(crate) fn plug(&self, n: usize) {
        let host = self.host(n);
        self.switch.run(&format!(
            "ip link add p{n} type veth peer name eth0 netns {}; ip link set p{n} up",
            host.pid()
        ));
        host.run(&format!(
            "ip link set eth0 address {}; ip addr add 192.0.2.{n}/24 dev eth0; ip link set eth0 up",
            mac(n)
        ));
    }

    /// Pings from one host to another, which must answer.
    pub(crate) fn ping(&self, from: usize, to: usize) {
        let answer = self.host(from).attempt(&ping(to));
        assert!(answer.is_ok(), "host {from} to {to}: {answer:?}");
    }

    /// True when one host cannot reach another.
    pub(crate) fn apart(&self, from: usize, to: usize) -> bool {
        let command = format!("ping -c 2 -i 0.1 -W 0.3 192.0.2.{to}");
        self.host(from).attempt(&command).is_err()
    }

    /// Name, flags and XDP program of every device of the switch's namespace but those the switch makes.
    pub(crate) fn devices(&self) -> String {
        let all = self.switch.run("ip -d -o link show");
        all.lines()
            .filter(|l| l.contains(" veth "))
            .map(|l| format!("{l}\n"))
            .collect()
    }
}

/// Succeeds with the first answer; asks again when one is lost while addresses are resolved.
fn ping(to: usize) -> String {
    format!("ping -c 1 -W 2 192.0.2.{to} || ping -c 3 -i 0.2 -W 2 192.0.2.{to}")
}

/// Address of host `n`.
pub(crate) fn mac(n: usize) -> String {
    format!("02:00:00:00:00:{n:02x}")
}
