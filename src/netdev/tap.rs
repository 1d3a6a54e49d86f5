//! Classes `tap` and `internal`: a device that this process makes, whose other end is the host's own
//! network stack. `internal` is a tap under the bridge's name.
//!
//! The device lives as long as its file is open: closing the port, or the process dying in whatever way,
//! removes it. Packets pass with a virtio-net header; the host's stack is told that super-packets and
//! partial checksums are understood, so local TCP sends them, and they are finished wherever they leave.
//! Should somebody delete the device, it is made again by the next `reconfigure`.

use crate::device::{Config, Device, Provider, RxQueue, Stats, TxQueue, TxReport};
use crate::error::NetdevError;
use crate::landing::{Arrival, Landing};
use crate::linux::{Link, changes_fd, changes_seen, check_name, ioctl};
use crate::outgoing::{finish_and_send, fits, kernel_takes};
use crate::port::{Class, Port, no_such_queue};
use crate::vnet::{self, VNET_BYTES};
use arrayvec::ArrayVec;
use base::sync::{Arc, Mutex, lock};
use packet::{BATCH_MAX, Batch, Frame};
use rustix::fs::{Mode, OFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

const IFF_TAP: i32 = 0x2;
const IFF_NO_PI: i32 = 0x1000;
const IFF_VNET_HDR: i32 = 0x4000;
const TUN_F_CSUM: u32 = 0x1;
const TUN_F_TSO4: u32 = 0x2;
const TUN_F_TSO6: u32 = 0x4;
const TUN_F_TSO_ECN: u32 = 0x8;
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;

/// The provider of class `tap` or `internal`.
#[derive(Debug)]
pub struct TapProvider {
    class: &'static str,
}

impl TapProvider {
    /// Class `tap`.
    #[must_use]
    pub const fn tap() -> Self {
        Self { class: "tap" }
    }
    /// Class `internal`.
    #[must_use]
    pub const fn internal() -> Self {
        Self { class: "internal" }
    }
}

impl Provider for TapProvider {
    fn class(&self) -> &'static str {
        self.class
    }
    fn is_pmd(&self) -> bool {
        false
    }
    fn open(&self, name: &str) -> Result<Arc<dyn Device>, NetdevError> {
        check_name(name)?;
        let file = make(name).map_err(|e| failed(name, e))?;
        let link = Link::open(name, self.class)?;
        Ok(Port::new(
            link,
            Tap {
                file: Mutex::new(Arc::new(file)),
            },
        ))
    }
    fn wake_fd(&self) -> Option<RawFd> {
        changes_fd()
    }
    fn run(&self) {
        changes_seen();
    }
}

fn failed(name: &str, e: io::Error) -> NetdevError {
    let (dev, op) = (name.to_owned(), "create tap device");
    match e.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => NetdevError::NoPermission {
            dev,
            op,
            needs: "CAP_NET_ADMIN and access to /dev/net/tun",
        },
        _ => NetdevError::Io { dev, op, source: e },
    }
}

/// Makes a tap device.
fn make(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    ioctl::tun_attach(&file, name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)?;
    ioctl::tun_header_bytes(&file, VNET_BYTES as i32)?;
    let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    // Kernels before 6.2 know nothing of UDP segments.
    if ioctl::tun_offload(&file, tcp | TUN_F_USO4 | TUN_F_USO6).is_err() {
        ioctl::tun_offload(&file, tcp)?;
    }
    Ok(file)
}

/// What is special about taps: the file.
#[derive(Debug)]
struct Tap {
    file: Mutex<Arc<OwnedFd>>,
}

impl Class for Tap {
    const PMD: bool = false;

    fn set_config(&self, _link: &Link, config: &Config) -> Result<Vec<String>, NetdevError> {
        Ok(config.keys().cloned().collect())
    }
    fn attach(&self, link: &Arc<Link>) -> Result<(), NetdevError> {
        if link.refresh().is_ok() {
            return Ok(());
        }
        let file = make(link.name()).map_err(|e| failed(link.name(), e))?;
        *lock(&self.file) = Arc::new(file);
        link.refresh().map(drop)
    }
    fn wants_attach(&self, link: &Link) -> bool {
        !link.present()
    }
    fn makes_devices(&self) -> bool {
        true
    }
    fn rx_open(&self, link: &Arc<Link>, queue: u32) -> Result<Box<dyn RxQueue>, NetdevError> {
        if queue != 0 {
            return Err(no_such_queue(link, "open rx queue"));
        }
        Ok(Box::new(TapRx {
            born: link.generation(),
            link: Arc::clone(link),
            told: false,
            file: Arc::clone(&lock(&self.file)),
            landing: Landing::new(BATCH_MAX),
        }))
    }
    fn tx_open(&self, link: &Arc<Link>, _queue: u32) -> Result<Box<dyn TxQueue>, NetdevError> {
        Ok(Box::new(TapTx {
            born: link.generation(),
            link: Arc::clone(link),
            file: Arc::clone(&lock(&self.file)),
        }))
    }
    /// What the kernel's side of a tap sends is what we receive.
    fn stats(&self, kernel: Stats) -> Stats {
        Stats {
            rx_packets: kernel.tx_packets,
            tx_packets: kernel.rx_packets,
            rx_bytes: kernel.tx_bytes,
            tx_bytes: kernel.rx_bytes,
            rx_errors: kernel.tx_errors,
            tx_errors: kernel.rx_errors,
            rx_dropped: kernel.tx_dropped,
            tx_dropped: kernel.rx_dropped,
            multicast: kernel.multicast,
            collisions: kernel.collisions,
            ..Stats::default()
        }
    }
}

/// One read per packet.
#[derive(Debug)]
struct TapRx {
    link: Arc<Link>,
    born: u32,
    told: bool,
    file: Arc<OwnedFd>,
    landing: Landing,
}

impl RxQueue for TapRx {
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
        let mut arrivals: ArrayVec<Arrival, BATCH_MAX> = ArrayVec::new();
        for slot in &mut self.landing.slots(batch.room()) {
            let room: usize = slot.parts.iter().map(|p| p.len()).sum();
            let mut parts = slot.parts.each_mut().map(|p| IoSliceMut::new(p));
            match rustix::io::readv(&*self.file, &mut parts) {
                // The kernel does not say whether it cut; a full buffer is taken as a sign that it did.
                Ok(len) => arrivals.push(Arrival {
                    len,
                    truncated: len >= room,
                    vlan: None,
                }),
                // Nothing more; or the device is going, of which the link will tell.
                Err(_) => break,
            }
        }
        let before = batch.len();
        let n = self.landing.land(&arrivals, batch);
        self.link.qos.police_rx(batch, before);
        Ok(n)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        let loss = &self.landing.loss;
        vec![
            ("rx_oversize", loss.oversize),
            ("rx_bad_offload", loss.bad_offload),
            ("rx_runt", loss.runt),
        ]
    }
}

/// One write per packet.
#[derive(Debug)]
struct TapTx {
    link: Arc<Link>,
    born: u32,
    file: Arc<OwnedFd>,
}

impl TxQueue for TapTx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let report = self.send_copies(batch.as_slice());
        batch.release_all();
        report
    }

    /// The kernel copies anyway.
    fn send_copies(&mut self, frames: &[Frame]) -> TxReport {
        let mut report = TxReport::default();
        if self.link.generation() != self.born {
            report.error = u32::try_from(frames.len()).unwrap_or(u32::MAX);
            return report;
        }
        let mtu = self.link.mtu();
        for frame in frames {
            if !fits(frame, mtu) {
                report.too_big += 1;
            } else if kernel_takes(frame) {
                self.write(frame, &mut report);
            } else {
                report.absorb(finish_and_send(frame, |cut| {
                    let mut inner = TxReport::default();
                    cut.iter().for_each(|f| self.write(f, &mut inner));
                    cut.release_all();
                    inner
                }));
            }
        }
        report
    }
}

impl TapTx {
    fn write(&self, frame: &Frame, report: &mut TxReport) {
        let header = vnet::describe(frame);
        let parts = [IoSlice::new(&header), IoSlice::new(frame.data())];
        match rustix::io::writev(&*self.file, &parts) {
            Ok(_) => {
                report.sent += 1;
                report.bytes += frame.len() as u64;
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => report.full += 1,
            Err(_) => report.error += 1,
        }
    }
}
