//! Class `system`: any kernel device, by packet sockets.
//!
//! The kernel describes offloads in a virtio-net header, both ways: super-packets and partial checksums of
//! local senders come in as such, and go out as such when the kernel can finish them. VLAN tags that the
//! kernel took out come back from auxiliary data. Own packets are not heard. Polled by the main loop, not
//! by packet threads.

use crate::device::{Config, Device, Provider, RxQueue, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::landing::{Arrival, Landing};
use crate::linux::socket::{PacketSocket, SendSlot};
use crate::linux::{Link, changes_fd, changes_seen};
use crate::outgoing::{finish_and_send, fits, kernel_takes};
use crate::port::{Class, Port, no_such_queue};
use crate::vnet::{self, VNET_BYTES, VnetHeader};
use arrayvec::ArrayVec;
use base::sync::{Arc, AtomicU64, Ordering};
use packet::{BATCH_MAX, Batch, Frame};
use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};

/// The provider of class `system`.
#[derive(Debug, Default)]
pub struct SystemProvider;

impl Provider for SystemProvider {
    fn class(&self) -> &'static str {
        "system"
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        Ok(Port::new(Link::open(name, "system")?, System))
    }
    fn wake_fd(&self) -> Option<RawFd> {
        changes_fd()
    }
    fn run(&self) {
        changes_seen();
    }
}

/// What is special about `system` ports: nothing to configure.
#[derive(Debug)]
struct System;

impl Class for System {
    const PMD: bool = false;

    fn set_config(&self, _link: &Link, config: &Config) -> Result<Vec<String>, NetdevError> {
        Ok(config.keys().cloned().collect())
    }
    fn attach(&self, link: &Arc<Link>) -> Result<(), NetdevError> {
        link.refresh()?;
        link.index_or_gone().map(drop)
    }
    fn wants_attach(&self, _link: &Link) -> bool {
        false
    }
    fn rx_open(&self, link: &Arc<Link>, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        if queue != 0 {
            return Err(no_such_queue(link, "open rx queue"));
        }
        let born = link.generation();
        let socket = PacketSocket::open(link.index_or_gone()?, true)
            .map_err(|e| link.error("open packet socket", e))?;
        Ok(Box::new(SystemRx {
            link: Arc::clone(link),
            born,
            told: false,
            socket,
            landing: Landing::new(BATCH_MAX),
            overflows: AtomicU64::new(0),
        }))
    }
    fn tx_open(&self, link: &Arc<Link>, _queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        Ok(Box::new(SystemTx::open(link)?))
    }
}

/// Receives with one system call per batch.
#[derive(Debug)]
struct SystemRx {
    link: Arc<Link>,
    born: u32,
    /// `Gone` was reported.
    told: bool,
    socket: PacketSocket,
    landing: Landing,
    overflows: AtomicU64,
}

impl RxQueue for SystemRx {
    fn recv(&mut self, batch: &mut Batch) -> Result<usize, NetdevError> {
        if self.link.generation() != self.born {
            if self.told {
                return Ok(0);
            }
            self.told = true;
            return Err(NetdevError::Gone {
                dev: self.link.name().to_owned(),
            });
        }
        let mut slots = self.landing.slots(batch.room());
        let got = match self.socket.receive(&mut slots) {
            Ok(n) => n,
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                drop(slots);
                self.landing.loss.bad_offload += 1;
                return Ok(0);
            }
            // Nothing there; or the device is down or about to go, of which the link will tell.
            Err(_) => return Ok(0),
        };
        let arrivals: ArrayVec<Arrival, BATCH_MAX> = slots
            .iter()
            .take(got)
            .map(|s| Arrival {
                len: s.len,
                truncated: s.truncated,
                vlan: s.vlan,
            })
            .collect();
        drop(slots);
        let before = batch.len();
        let n = self.landing.land(&arrivals, batch);
        self.link.qos.police_rx(batch, before);
        Ok(n)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.socket.fd().as_raw_fd())
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let new = u64::from(self.socket.overflows());
        let overflows = self.overflows.fetch_add(new, Ordering::Relaxed) + new;
        let loss = &self.landing.loss;
        vec![
            ("rx_socket_full", overflows),
            ("rx_oversize", loss.oversize),
            ("rx_bad_offload", loss.bad_offload),
            ("rx_runt", loss.runt),
        ]
    }
}

/// Sends with one system call per batch.
#[derive(Debug)]
pub(crate) struct SystemTx {
    link: Arc<Link>,
    born: u32,
    socket: PacketSocket,
    /// What the socket's packets are marked with now.
    priority: Cell<u32>,
}

impl TxQueue for SystemTx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let report = self.send_copies(batch.as_slice());
        batch.release_all();
        report
    }

    /// The kernel copies anyway, so "copies" costs nothing more.
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let mut report = TxReport::default();
        if self.link.generation() != self.born {
            report.error = u32::try_from(frames.len()).unwrap_or(u32::MAX);
            return report;
        }
        for chunk in frames.chunks(BATCH_MAX) {
            self.send_chunk(chunk, &mut report);
        }
        report
    }
}

impl SystemTx {
    /// A sender to any kernel device.
    pub(crate) fn open(link: &Arc<Link>) -> Result<Self, NetdevError> {
        let born = link.generation();
        let socket = PacketSocket::open(link.index_or_gone()?, false)
            .map_err(|e| link.error("open packet socket", e))?;
        Ok(Self {
            link: Arc::clone(link),
            born,
            socket,
            priority: Cell::new(0),
        })
    }

    /// Marks packets for the queue that they are for. Without the right to do so they go to the default queue.
    fn mark(&self, priority: u32) {
        if self.priority.replace(priority) != priority {
            drop(self.socket.set_priority(priority));
        }
    }

    fn send_chunk(&self, frames: &[Frame], report: &mut TxReport) {
        let mtu = self.link.mtu();
        let mut ready: ArrayVec<&Frame, BATCH_MAX> = ArrayVec::new();
        for frame in frames {
            let priority = self.link.priority(frame.priority);
            if priority != self.priority.get() {
                // In order: what came before it goes first.
                self.send_ready(&ready, report);
                ready.clear();
                self.mark(priority);
            }
            if !fits(frame, mtu) {
                report.too_big += 1;
            } else if kernel_takes(frame) {
                ready.push(frame);
            } else {
                // In order: what came before it goes first.
                self.send_ready(&ready, report);
                ready.clear();
                report.absorb(finish_and_send(frame, |cut| {
                    let mut inner = TxReport::default();
                    let refs: ArrayVec<&Frame, BATCH_MAX> = cut.iter().collect();
                    self.send_ready(&refs, &mut inner);
                    drop(refs);
                    cut.release_all();
                    inner
                }));
            }
        }
        self.send_ready(&ready, report);
    }

    /// Sends frames whose offloads the kernel can finish.
    fn send_ready(&self, frames: &[&Frame], report: &mut TxReport) {
        let headers: ArrayVec<VnetHeader, BATCH_MAX> =
            frames.iter().map(|f| vnet::describe(f)).collect();
        let slots: ArrayVec<SendSlot<'_>, BATCH_MAX> = frames
            .iter()
            .zip(&headers)
            .map(|(frame, header)| SendSlot {
                parts: [header.as_slice(), frame.data()],
            })
            .collect();
        let mut rest = &slots[..];
        while !rest.is_empty() {
            match self.socket.send(rest) {
                Ok(n) => {
                    let (sent, later) = rest.split_at(n.clamp(1, rest.len()));
                    report.sent += sent.len() as u32;
                    report.bytes += sent.iter().map(|s| s.parts[1].len() as u64).sum::<u64>();
                    rest = later;
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => {
                        report.full += rest.len() as u32;
                        return;
                    }
                    Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                        report.error += rest.len() as u32;
                        return;
                    }
                    other => {
                        match other {
                            Some(libc::EMSGSIZE) => report.too_big += 1,
                            Some(libc::ENOBUFS) => report.full += 1,
                            _ => report.error += 1,
                        }
                        rest = &rest[1..];
                    }
                },
            }
        }
    }
}

const _: () = assert!(
    VNET_BYTES == 10,
    "packet sockets take the short header by default"
);
