//! Packet sockets: making them, promiscuous membership, batches of messages.
//!
//! The only file that builds `msghdr`s. It deals in slices: a [`RecvSlot`] lends places for one packet, a
//! [`SendSlot`] lends the pieces of one packet; no pointer survives a call.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: setsockopt of packet options, bind to sockaddr_ll, recvmmsg and sendmmsg have no safe form.

use arrayvec::ArrayVec;
use packet::BATCH_MAX;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const PACKET_AUXDATA: libc::c_int = 8;
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const ETH_P_ALL: u16 = 3;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/// Asked for as receive buffer, bytes. The kernel doubles it; it bounds what may wait unread.
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 << 20;

/// A raw packet socket.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// Room for the one control message we ask for, aligned as `cmsghdr` wants it.
#[derive(Debug, Clone, Copy, Default)]
struct Control([u64; 6]);

/// Places for one received packet, filled in order.
#[derive(Debug)]
pub(crate) struct RecvSlot<'a> {
    pub(crate) parts: [&'a mut [u8]; 3],
    /// Bytes received into the parts.
    pub(crate) len: usize,
    /// The packet was longer than the parts.
    pub(crate) truncated: bool,
    /// VLAN tag that the kernel took out of the packet: TPID and TCI.
    pub(crate) vlan: Option<(u16, u16)>,
}

/// The pieces of one packet to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendSlot<'a> {
    pub(crate) parts: [&'a [u8]; 2],
}

/// `struct tpacket_auxdata`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, zerocopy::FromBytes, zerocopy::Immutable)]
struct AuxData {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// A packet socket that hears nothing until it is bound.
fn deaf_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        flags,
        None,
    )?)
}

fn set_option<T>(fd: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let at = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `len` bytes of a live value of exactly that size.
    let rc = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, at, len) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes the device promiscuous as long as the returned socket lives.
pub(crate) fn promiscuous(index: u32) -> io::Result<PacketSocket> {
    let fd = deaf_socket()?;
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        mr_type: 1, // PACKET_MR_PROMISC
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)?;
    Ok(PacketSocket(fd))
}

impl PacketSocket {
    /// A socket that sends to the device and, when `receive`, hears everything that comes in by it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn open(index: u32, receive: bool) -> io::Result<Self> {
        let fd = deaf_socket()?;
        set_option(&fd, libc::SOL_PACKET, PACKET_VNET_HDR, &1i32)?;
        if receive {
            set_option(&fd, libc::SOL_PACKET, PACKET_AUXDATA, &1i32)?;
            set_option(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32)?;
            // Beyond net.core.rmem_max needs CAP_NET_ADMIN; without it the smaller buffer has to do.
            if set_option(
                &fd,
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                &RECEIVE_BUFFER_BYTES,
            )
            .is_err()
            {
                set_option(
                    &fd,
                    libc::SOL_SOCKET,
                    libc::SO_RCVBUF,
                    &RECEIVE_BUFFER_BYTES,
                )?;
            }
        }
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: if receive { ETH_P_ALL.to_be() } else { 0 },
            sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        let at = (&raw const address).cast();
        // SAFETY: the address is a live sockaddr_ll and its size is passed.
        if unsafe { libc::bind(fd.as_raw_fd(), at, len) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(fd))
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Sets the priority (`SO_PRIORITY`) of what is sent from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set_priority(&self, priority: u32) -> io::Result<()> {
        set_option(&self.0, libc::SOL_SOCKET, libc::SO_PRIORITY, &priority)
    }

    /// Packets lost because nobody read them in time, since the last call.
    pub(crate) fn overflows(&self) -> u32 {
        let mut stats = [0u32; 2]; // struct tpacket_stats: packets, drops
        let mut len = size_of_val(&stats) as libc::socklen_t;
        let (fd, at) = (self.0.as_raw_fd(), stats.as_mut_ptr().cast());
        let option = libc::PACKET_STATISTICS;
        // SAFETY: the kernel writes at most `len` bytes into a live array of that size.
        let rc = unsafe { libc::getsockopt(fd, libc::SOL_PACKET, option, at, &raw mut len) };
        if rc < 0 { 0 } else { stats[1] }
    }

    /// Receives up to one packet per slot, without waiting; returns how many.
    ///
    /// # Errors
    /// EAGAIN when nothing waits, ENETDOWN when the device went down, EINVAL when the kernel had a packet
    /// whose offloads it cannot describe (that packet is lost).
    pub(crate) fn receive(
        &self,
        slots: &mut ArrayVec<RecvSlot<'_>, BATCH_MAX>,
    ) -> io::Result<usize> {
        let mut control = [Control::default(); BATCH_MAX];
        let mut iovecs: ArrayVec<[libc::iovec; 3], BATCH_MAX> = ArrayVec::new();
        let mut messages: ArrayVec<libc::mmsghdr, BATCH_MAX> = ArrayVec::new();
        for slot in slots.iter_mut() {
            iovecs.push(slot.parts.each_mut().map(|p| libc::iovec {
                iov_base: p.as_mut_ptr().cast(),
                iov_len: p.len(),
            }));
        }
        for (iov, control) in iovecs.iter_mut().zip(&mut control) {
            let mut message = message(iov);
            message.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of::<Control>() as _;
            messages.push(message);
        }
        let n = libc::c_uint::try_from(messages.len()).map_err(io::Error::other)?;
        let fd = self.0.as_raw_fd();
        let (at, flags) = (messages.as_mut_ptr(), libc::MSG_DONTWAIT);
        // SAFETY: every message points at an iovec array and control buffer above and at the slots'
        // exclusive slices, all of which live through the call.
        let got = unsafe { libc::recvmmsg(fd, at, n, flags, std::ptr::null_mut()) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        for (i, slot) in slots.iter_mut().enumerate().take(got) {
            slot.len = messages[i].msg_len as usize;
            slot.truncated = messages[i].msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            slot.vlan = vlan(&control[i], messages[i].msg_hdr.msg_controllen);
        }
        Ok(got)
    }

    /// Sends packets in order, without waiting, until one fails; returns how many went out.
    ///
    /// # Errors
    /// The reason why the first one did not go.
    pub(crate) fn send(&self, slots: &[SendSlot<'_>]) -> io::Result<usize> {
        let mut iovecs: ArrayVec<[libc::iovec; 2], BATCH_MAX> = ArrayVec::new();
        let mut messages: ArrayVec<libc::mmsghdr, BATCH_MAX> = ArrayVec::new();
        for slot in slots.iter().take(BATCH_MAX) {
            iovecs.push(slot.parts.map(|p| libc::iovec {
                iov_base: p.as_ptr().cast_mut().cast(),
                iov_len: p.len(),
            }));
        }
        for iov in &mut iovecs {
            messages.push(message(iov));
        }
        let n = libc::c_uint::try_from(messages.len()).map_err(io::Error::other)?;
        let (fd, at) = (self.0.as_raw_fd(), messages.as_mut_ptr());
        // SAFETY: every message points at an iovec array above and at the slots' slices, which the
        // kernel only reads and which live through the call.
        let sent = unsafe { libc::sendmmsg(fd, at, n, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// A message of these pieces.
fn message(parts: &mut [libc::iovec]) -> libc::mmsghdr {
    // SAFETY: mmsghdr is a plain struct of numbers and pointers, for which zero is a valid value.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = parts.as_mut_ptr();
    message.msg_hdr.msg_iovlen = parts.len() as _;
    message
}

/// The VLAN tag in a control buffer of which the kernel filled `len` bytes.
fn vlan(control: &Control, len: usize) -> Option<(u16, u16)> {
    use zerocopy::{FromBytes, IntoBytes};
    let bytes = control.0.as_bytes();
    // struct cmsghdr: length, level, type.
    let header = size_of::<libc::cmsghdr>();
    let level = i32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(bytes.get(12..16)?.try_into().ok()?);
    if len < header || level != libc::SOL_PACKET || kind != PACKET_AUXDATA {
        return None;
    }
    let (aux, _) = AuxData::read_from_prefix(bytes.get(header..len)?).ok()?;
    let tpid = if aux.status & TP_STATUS_VLAN_TPID_VALID != 0 {
        aux.vlan_tpid
    } else {
        0x8100
    };
    let valid = aux.vlan_tci != 0 || aux.status & TP_STATUS_VLAN_VALID != 0;
    valid.then_some((tpid, aux.vlan_tci))
}
