//! What the kernel offers AF_XDP sockets beyond rings: statistics, the transmit budget, busy polling, packets of
//! several buffers. Each is tried, and the answer says whether it can be had.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: options of AF_XDP sockets, their address family, and calls without data have no safe form.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const SOL_XDP: i32 = 283;
const XDP_STATISTICS: i32 = 7;
/// `XDP_MAX_TX_SKB_BUDGET`: descriptors one wakeup may send in copy mode (kernel 6.17; 32 before).
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
/// `XDP_USE_SG`: packets may span several descriptors (kernel 6.6).
const XDP_USE_SG: u16 = 1 << 4;

const SO_BUSY_POLL: i32 = 46;
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;
/// How long one call may look at the device, microseconds. It looks once however short that is.
const BUSY_POLL_US: i32 = 1;
/// Packets one look may take: the kernel's own weight of a device.
const BUSY_POLL_BUDGET: i32 = 64;

/// Bytes that packets under way in the network stack may take of us in copy mode. The default holds some 270
/// small packets, which a device with a longer queue would never see more of.
const SEND_BUFFER_BYTES: i32 = 4 << 20;

/// `struct xdp_statistics`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct XdpStatistics {
    pub(super) rx_dropped: u64,
    pub(super) rx_invalid_descs: u64,
    pub(super) tx_invalid_descs: u64,
    pub(super) rx_ring_full: u64,
    pub(super) rx_fill_ring_empty_descs: u64,
    pub(super) tx_ring_empty_descs: u64,
}

fn set<T>(fd: RawFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let at = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `len` bytes of a live value of exactly that size.
    let rc = unsafe { libc::setsockopt(fd, level, option, at, len) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The kernel's counters of a socket.
pub(super) fn statistics(fd: RawFd) -> Option<XdpStatistics> {
    let mut stats = XdpStatistics::default();
    let mut len = size_of::<XdpStatistics>() as libc::socklen_t;
    let at = (&raw mut stats).cast();
    // SAFETY: the kernel writes at most `len` bytes into a live struct of that size.
    let rc = unsafe { libc::getsockopt(fd, SOL_XDP, XDP_STATISTICS, at, &raw mut len) };
    (rc == 0).then_some(stats)
}

/// Lets one wakeup send so many descriptors; false when the kernel does not know the option, and then it takes
/// more wakeups.
pub(super) fn set_tx_budget(fd: RawFd, descs: u32) -> bool {
    set(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &descs).is_ok()
}

/// Lets more packets be under way at a time. Beyond net.core.wmem_max that needs CAP_NET_ADMIN, without which
/// the port could not be here; a refusal leaves things as they were.
pub(super) fn widen_send_buffer(fd: RawFd) {
    let _ = set(
        fd,
        libc::SOL_SOCKET,
        libc::SO_SNDBUFFORCE,
        &SEND_BUFFER_BYTES,
    );
}

/// Has [`busy_poll`] run the device's receive side (kernel 5.11).
///
/// # Errors
/// ENOPROTOOPT from kernels that cannot.
pub(super) fn prefer_busy_poll(fd: RawFd) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1i32)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL, &BUSY_POLL_US)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &BUSY_POLL_BUDGET)
}

/// Runs the receive side of the device once, on this thread.
pub(super) fn busy_poll(fd: RawFd) {
    let none = std::ptr::null_mut();
    // SAFETY: a receive without a place for data touches no memory of ours. Its result says nothing.
    unsafe { libc::recv(fd, none, 0, libc::MSG_DONTWAIT) };
}

/// Has the kernel look at the tx ring.
///
/// # Errors
/// EBUSY when the device dropped a packet, EAGAIN when the budget is used up or the device is full.
pub(super) fn wakeup(fd: RawFd) -> io::Result<()> {
    let (none, flags) = (std::ptr::null(), libc::MSG_DONTWAIT);
    // SAFETY: a send without data and address touches no memory of ours.
    let rc = unsafe { libc::sendto(fd, none, 0, flags, std::ptr::null(), 0) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Does the kernel know packets of several buffers? Asked with a binding to no device: flags are looked at first.
pub(super) fn knows_multi_buffer() -> bool {
    // SAFETY: makes a descriptor, which is checked.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return false;
    }
    // SAFETY: the descriptor was made just above and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: XDP_USE_SG,
        sxdp_ifindex: 0,
        sxdp_queue_id: 0,
        sxdp_shared_umem_fd: 0,
    };
    let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    let at = (&raw const address).cast();
    // SAFETY: the address is a live sockaddr_xdp and its size is passed.
    let rc = unsafe { libc::bind(fd.as_raw_fd(), at, len) };
    rc < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENODEV)
}
