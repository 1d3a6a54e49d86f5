//! Connections between dummy ports: each packet travels over a unix or TCP socket behind its length in
//! two big-endian bytes.
//!
//! `stream=unix:PATH|tcp:HOST:PORT` connects and reconnects with back-off; `pstream=punix:PATH|ptcp:...`
//! listens and talks to everybody who connects. Sockets never block: what does not fit is queued and sent
//! by the main thread, which also receives, accepts and reconnects. All sockets are in the hub's epoll
//! set, so the main loop wakes when one is ready.

use super::socket::{self, Address};
use super::{Dummies, QUEUE_MAX};
use crate::device::Config;
use crate::os_error;
use base::clock::Nanos;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Shortest frame that may be announced.
const FRAME_MIN: usize = 14;
/// First pause after a failed or lost connection, milliseconds; it doubles from then on.
const BACKOFF_MIN_MS: u64 = 100;
const BACKOFF_MAX_MS: u64 = i32::MAX as u64;
/// Frames taken from one socket in one run, so that no peer holds up the main thread.
const RUN_MAX: usize = 1000;

/// What the `stream`/`pstream` options ask for.
#[derive(Debug, Default)]
pub(super) enum Conn {
    #[default]
    None,
    Passive(Passive),
    Active(Active),
}

#[derive(Debug)]
pub(super) struct Passive {
    name: String,
    listener: OwnedFd,
    /// Removed when the listener is closed, if it is still the same file.
    path: Option<(PathBuf, u64)>,
    peers: Vec<Stream>,
}

#[derive(Debug)]
pub(super) struct Active {
    name: String,
    stream: Option<Stream>,
    state: Reconnect,
    backoff_ms: u64,
}

/// Where a reconnecting stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reconnect {
    /// Until then, nothing is tried.
    Backoff(Nanos),
    Connecting,
    Connected,
}

/// Why a connection ended.
#[derive(Debug)]
enum Lost {
    Eof,
    Os(Errno),
}

impl Conn {
    /// The option and name to show, if there is a connection.
    pub(super) fn name(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::None => None,
            Self::Passive(p) => Some(("pstream", &p.name)),
            Self::Active(a) => Some(("stream", &a.name)),
        }
    }

    /// For an active connection, whether it stands.
    pub(super) fn connected(&self) -> Option<bool> {
        match self {
            Self::Active(a) => Some(a.state == Reconnect::Connected),
            Self::None | Self::Passive(_) => None,
        }
    }

    /// Makes the connection what `config` says; one that stays the same is left alone.
    pub(super) fn configure(&mut self, hub: &Dummies, config: &Config) {
        let (pstream, stream) = (config.get("pstream"), config.get("stream"));
        if let (Some(p), Some(s)) = (pstream, stream) {
            tracing::warn!(target: "netdev_dummy", "Open failed: both {p} and {s} are configured");
            return;
        }
        let wanted = pstream
            .map(|p| ("pstream", p.as_str()))
            .or_else(|| stream.map(|s| ("stream", s.as_str())));
        if self.name() == wanted && wanted.is_some() {
            return;
        }
        *self = Self::None;
        if let Some(name) = pstream {
            match Passive::listen(hub, name) {
                Ok(p) => *self = Self::Passive(p),
                Err(e) => tracing::warn!(target: "netdev_dummy",
                    "{name}: open failed ({})", os_error(&e.into())),
            }
        } else if let Some(name) = stream {
            let mut active = Active {
                name: name.clone(),
                stream: None,
                state: Reconnect::Backoff(Nanos::ZERO),
                backoff_ms: 0,
            };
            active.connect(hub);
            *self = Self::Active(active);
        }
    }

    /// Sends a packet to every peer.
    pub(super) fn send(&mut self, hub: &Dummies, packet: &[u8]) {
        match self {
            Self::None => {}
            Self::Passive(p) => p.peers.iter_mut().for_each(|s| s.send(hub, packet)),
            Self::Active(a) => {
                if let (Reconnect::Connected, Some(s)) = (a.state, &mut a.stream) {
                    s.send(hub, packet);
                }
            }
        }
    }

    /// Accepts, reconnects, sends what is queued; appends received packets to `received`.
    pub(super) fn run(&mut self, hub: &Dummies, received: &mut Vec<Vec<u8>>) {
        match self {
            Self::None => {}
            Self::Active(a) => a.run(hub, received),
            Self::Passive(p) => {
                if let Err(e) = p.run(hub, received) {
                    tracing::warn!(target: "netdev_dummy",
                        "{}: accept failed ({})", p.name, os_error(&e.into()));
                    *self = Self::None;
                }
            }
        }
    }
}

impl Passive {
    fn listen(hub: &Dummies, name: &str) -> Result<Self, Errno> {
        let address = Address::parse_passive(name, &hub.0.rundir).ok_or(Errno::AFNOSUPPORT)?;
        let listener = socket::listen(&address)?;
        watch(hub, &listener, EventFlags::IN)?;
        let path = match address {
            Address::Unix(path) => inode(&path).map(|inode| (path, inode)),
            Address::Tcp(_) => None,
        };
        Ok(Self {
            name: name.to_owned(),
            listener,
            path,
            peers: Vec::new(),
        })
    }

    fn run(&mut self, hub: &Dummies, received: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
        loop {
            match socket::accept(&self.listener) {
                Ok(fd) => {
                    watch(hub, &fd, EventFlags::IN)?;
                    self.peers.push(Stream::new(fd));
                }
                Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => break,
                Err(e) => return Err(e),
            }
        }
        let name = &self.name;
        self.peers.retain_mut(|peer| match peer.run(hub, received) {
            Ok(()) => true,
            Err(lost) => {
                tracing::debug!(target: "netdev_dummy", "{name}: closing connection ({lost:?})");
                false
            }
        });
        Ok(())
    }
}

impl Drop for Passive {
    fn drop(&mut self) {
        // A port of the same name may have put its own there while packet threads still held this one.
        if let Some((path, mine)) = &self.path
            && inode(path) == Some(*mine)
        {
            // Somebody else may have removed it already.
            drop(std::fs::remove_file(path));
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|m| m.ino())
}

impl Active {
    fn connect(&mut self, hub: &Dummies) {
        let name = &self.name;
        tracing::info!(target: "reconnect", "{name}: connecting...");
        let attempt = Address::parse_active(name, &hub.0.rundir)
            .ok_or(Errno::AFNOSUPPORT)
            .and_then(|a| socket::connect(&a))
            .and_then(|(fd, done)| {
                let flags = if done {
                    EventFlags::IN
                } else {
                    EventFlags::OUT
                };
                watch(hub, &fd, flags)?;
                Ok((fd, done))
            });
        match attempt {
            Ok((fd, done)) => {
                self.stream = Some(Stream::new(fd));
                self.state = Reconnect::Connecting;
                if done {
                    self.established(hub);
                }
            }
            Err(e) => self.failed(hub, e),
        }
    }

    fn established(&mut self, hub: &Dummies) {
        tracing::info!(target: "reconnect", "{}: connected", self.name);
        self.state = Reconnect::Connected;
        if let Some(s) = &mut self.stream {
            s.want_write(hub, false);
        }
    }

    fn failed(&mut self, hub: &Dummies, e: Errno) {
        if self.backoff_ms < BACKOFF_MAX_MS {
            tracing::info!(target: "reconnect",
                "{}: connection attempt failed ({})", self.name, os_error(&e.into()));
        }
        self.back_off(hub);
    }

    fn lost(&mut self, hub: &Dummies, lost: &Lost) {
        let name = &self.name;
        match lost {
            Lost::Eof => tracing::info!(target: "reconnect", "{name}: connection closed by peer"),
            Lost::Os(e) => tracing::warn!(target: "reconnect",
                "{name}: connection dropped ({})", os_error(&(*e).into())),
        }
        self.back_off(hub);
    }

    fn back_off(&mut self, hub: &Dummies) {
        self.stream = None;
        if self.backoff_ms < BACKOFF_MIN_MS {
            self.backoff_ms = BACKOFF_MIN_MS;
        } else if self.backoff_ms < BACKOFF_MAX_MS / 2 {
            self.backoff_ms *= 2;
            tracing::info!(target: "reconnect", "{}: waiting {} seconds before reconnect",
                self.name, self.backoff_ms as f64 / 1000.0);
        } else {
            self.backoff_ms = BACKOFF_MAX_MS;
        }
        self.state = Reconnect::Backoff(hub.0.clock.now().plus_millis(self.backoff_ms));
    }

    fn run(&mut self, hub: &Dummies, received: &mut Vec<Vec<u8>>) {
        match self.state {
            Reconnect::Backoff(until) if hub.0.clock.now() >= until => self.connect(hub),
            Reconnect::Backoff(_) | Reconnect::Connected => {}
            Reconnect::Connecting => match self.stream.as_ref().map(|s| socket::outcome(&s.fd)) {
                Some(Ok(true)) => self.established(hub),
                Some(Ok(false)) => {}
                Some(Err(e)) => self.failed(hub, e),
                None => self.failed(hub, Errno::NOTCONN),
            },
        }
        if self.state == Reconnect::Connected
            && let Some(stream) = &mut self.stream
            && let Err(lost) = stream.run(hub, received)
        {
            self.lost(hub, &lost);
        }
    }
}

/// One connected socket.
#[derive(Debug)]
struct Stream {
    fd: OwnedFd,
    /// Packets with their lengths in front; the first may be partly sent.
    tx: VecDeque<Vec<u8>>,
    tx_sent: usize,
    rx: Vec<u8>,
    waits_to_write: bool,
}

impl Stream {
    fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            tx: VecDeque::new(),
            tx_sent: 0,
            rx: Vec::new(),
            waits_to_write: false,
        }
    }

    fn send(&mut self, hub: &Dummies, packet: &[u8]) {
        let Ok(len) = u16::try_from(packet.len()) else {
            return;
        };
        if self.tx.len() < QUEUE_MAX {
            let mut framed = Vec::with_capacity(2 + packet.len());
            framed.extend(len.to_be_bytes());
            framed.extend_from_slice(packet);
            self.tx.push_back(framed);
            // An error shows again in run(), which closes the connection.
            drop(self.flush(hub));
        }
    }

    fn flush(&mut self, hub: &Dummies) -> Result<(), Lost> {
        while let Some(first) = self.tx.front() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.fd, &first[self.tx_sent..], flags) {
                Ok(n) => {
                    self.tx_sent += n;
                    if self.tx_sent == first.len() {
                        self.tx.pop_front();
                        self.tx_sent = 0;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.want_write(hub, true);
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(Lost::Os(e)),
            }
        }
        if self.waits_to_write {
            self.want_write(hub, false);
        }
        Ok(())
    }

    fn want_write(&mut self, hub: &Dummies, yes: bool) {
        self.waits_to_write = yes;
        let flags = if yes {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        // Fails only for a descriptor that is not in the set; ours is as long as it is open.
        let _ = epoll::modify(&hub.0.epoll, &self.fd, EventData::new_u64(0), flags);
    }

    fn run(&mut self, hub: &Dummies, received: &mut Vec<Vec<u8>>) -> Result<(), Lost> {
        self.flush(hub)?;
        for _ in 0..RUN_MAX {
            let mut chunk = [0; 4096];
            match rustix::net::recv(&self.fd, &mut chunk, RecvFlags::DONTWAIT) {
                Ok((0, _)) if self.rx.is_empty() => return Err(Lost::Eof),
                Ok((0, _)) => return Err(Lost::Os(Errno::PROTO)),
                Ok((n, _)) => self.rx.extend_from_slice(&chunk[..n]),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Lost::Os(e)),
            }
            self.deframe(received)?;
        }
        Ok(())
    }

    /// Takes whole packets out of what was received.
    fn deframe(&mut self, received: &mut Vec<Vec<u8>>) -> Result<(), Lost> {
        let mut at = 0;
        while let Some(head) = self.rx.get(at..at + 2) {
            let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
            if len < FRAME_MIN {
                return Err(Lost::Os(Errno::PROTO));
            }
            let Some(packet) = self.rx.get(at + 2..at + 2 + len) else {
                break;
            };
            received.push(packet.to_vec());
            at += 2 + len;
        }
        self.rx.drain(..at);
        Ok(())
    }
}

fn watch(hub: &Dummies, fd: &OwnedFd, flags: EventFlags) -> Result<(), Errno> {
    epoll::add(&hub.0.epoll, fd, EventData::new_u64(0), flags)
}
