//! Classes `afxdp` and `afxdp-nonpmd`: kernel devices by AF_XDP sockets, one per rx queue, polled by packet threads.
//!
//! * [`config`]: options and their order of modes.
//! * [`gather`]: packets of several buffers put together.
//! * [`memory`]: the memory of frames, shared by ports where the kernel allows it; [`lent`]: what one socket sends
//!   from where another received it.
//! * [`sockopt`]: what the kernel offers sockets of this kind, asked for and probed.
//! * [`program`]: our XDP program, held by a `bpf_link` that the kernel takes off when we die.
//! * [`rings`]: one socket with its UMEM: the only place that talks to `xsk-rs`.
//! * [`pool`]: the UMEM's rx frames as a [`packet::FramePool`].
//! * [`queue`]: rx and tx queues over those.
//! * [`port`]: putting it together, probing modes, taking it apart.
//!
//! Each queue has frames of its own, two thirds for receiving, the rest for sending. A small packet is copied once
//! on transmit, into a tx frame, which costs nothing next to the system call; a large one that goes to a port of
//! the same memory is sent from where it lies. How many of another's frames a socket may hold is bounded, so a slow
//! port cannot starve another of frames.

mod config;
mod gather;
mod lent;
mod memory;
mod pool;
mod port;
mod program;
mod queue;
mod rings;
mod sockopt;

use crate::device::{Device, Provider};
use crate::error::NetdevError;
use crate::linux::{Link, changes_fd, changes_seen};
use crate::port::Port;
use base::sync::Arc;
use std::os::fd::RawFd;

/// Frames of the rx half: a full fill ring, and as many again for packets that are on their way.
const RX_FRAMES: u32 = 4096;
/// Frames of the tx half: a full tx ring.
const TX_FRAMES: u32 = 2048;
/// Entries of each of the four rings.
const RING_SIZE: u32 = 2048;
/// Descriptors that one wakeup sends in copy mode on kernels where that cannot be set: the least it can be set to.
const TX_BUDGET_MIN: u32 = 32;
/// Bytes in front of received data: the kernel's `XDP_PACKET_HEADROOM`.
const XDP_HEADROOM: u32 = packet::HEADROOM as u32;
/// Queues a port may have: entries of the program's map.
const QUEUES_MAX: u32 = 64;

/// The provider of class `afxdp`.
#[derive(Debug, Default)]
pub struct AfxdpProvider;

impl Provider for AfxdpProvider {
    fn class(&self) -> &'static str {
        "afxdp"
    }
    fn is_pmd(&self) -> bool {
        true
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        Ok(Port::new(
            Link::open(name, "afxdp")?,
            port::Afxdp::default(),
        ))
    }
    fn wake_fd(&self) -> Option<RawFd> {
        changes_fd()
    }
    fn run(&self) {
        changes_seen();
    }
}

/// The provider of class `afxdp-nonpmd`: the same ports, which take no core for themselves. The thread of
/// ports that are not polled looks after them and sleeps when nothing arrives.
#[derive(Debug, Default)]
pub struct AfxdpNonpmdProvider;

impl Provider for AfxdpNonpmdProvider {
    fn class(&self) -> &'static str {
        "afxdp-nonpmd"
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        let link = Link::open(name, "afxdp-nonpmd")?;
        Ok(Port::new(link, port::Afxdp::unpolled()))
    }
    fn wake_fd(&self) -> Option<RawFd> {
        changes_fd()
    }
    fn run(&self) {
        changes_seen();
    }
}
