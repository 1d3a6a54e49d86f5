//! Just enough rtnetlink: ask for one link, change one link, list addresses, read notifications.
//!
//! Messages are built and taken apart by hand (the numbers are the kernel's `linux/rtnetlink.h` and
//! `linux/if_link.h`), because a library for three messages would be the largest dependency of this room.
//! Whatever the kernel says is length-checked: an attribute that lies ends the walk.

use crate::device::Stats;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use wire::EthAddr;

/// Bytes of the receive buffer: a dump answer is at most 32 kB.
const BUFFER_BYTES: usize = 64 * 1024;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// Makes what is not there, and takes the place of what is.
const NLM_F_PUT: u16 = 0x400 | 0x100;
const RTM_NEWROUTE: u16 = 24;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;

/// Multicast groups of [`Netlink::notifications`]: links, IPv4 and IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// What the kernel says about one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LinkInfo {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `IFF_*`.
    pub(crate) flags: u32,
    pub(crate) mac: EthAddr,
    pub(crate) mtu: u32,
    /// Kind of a software device (`veth`, `tun`, ...), empty for hardware.
    pub(crate) kind: String,
    /// Id of the XDP program on the device, 0 when there is none.
    pub(crate) xdp_id: u32,
}

/// A change to one device; `None` leaves a fact alone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LinkChange {
    /// `IFF_*` values, and which of them to change.
    pub(crate) flags: u32,
    pub(crate) flags_mask: u32,
    pub(crate) mtu: Option<u32>,
    pub(crate) mac: Option<EthAddr>,
}

/// One message of a notification or answer.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(super) body: &'a [u8],
}

/// A netlink socket, in the namespace of the thread that made it.
#[derive(Debug)]
pub(crate) struct Netlink {
    pub(crate) fd: OwnedFd,
    buffer: Vec<u8>,
    seq: u32,
}

impl Netlink {
    fn open(groups: u32) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None, // protocol 0 is NETLINK_ROUTE
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            fd,
            buffer: vec![0; BUFFER_BYTES],
            seq: 0,
        })
    }

    /// A socket for requests.
    pub(crate) fn requests() -> io::Result<Self> {
        Self::open(0)
    }

    /// A socket that hears about links and addresses.
    pub(crate) fn notifications() -> io::Result<Self> {
        Self::open(GROUPS)
    }

    /// Receives one datagram and calls `f` for each message in it. ENOBUFS means notifications were lost.
    pub(crate) fn receive(&mut self, mut f: impl FnMut(&Message<'_>)) -> io::Result<()> {
        let (n, _) = rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty())?;
        for message in messages(&self.buffer[..n]) {
            f(&message);
        }
        Ok(())
    }

    /// Sends a request and collects the messages of its answer through `f`. With [`NLM_F_ACK`] there may be no
    /// answer but the acknowledgement.
    pub(super) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut f: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        let mut request = Vec::with_capacity(16 + body.len());
        let len = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
        request.extend(len.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        request.extend(self.seq.to_ne_bytes());
        request.extend(0u32.to_ne_bytes());
        request.extend(body);
        rustix::net::send(&self.fd, &request, SendFlags::empty())?;
        let alone = flags & (NLM_F_DUMP | NLM_F_ACK) == 0;
        loop {
            let (mut done, mut failed) = (false, None);
            let mut answered = false;
            self.receive(|m| match m.kind {
                NLMSG_DONE => done = true,
                NLMSG_ERROR => {
                    let errno = i32_at(m.body, 0).unwrap_or(0);
                    if errno != 0 {
                        failed = Some(io::Error::from_raw_os_error(-errno));
                    }
                    done = true;
                }
                _ => {
                    answered = true;
                    f(m);
                }
            })?;
            if let Some(e) = failed {
                return Err(e);
            }
            // A single answer has no DONE message; a change is acknowledged by an error of 0.
            if done || (answered && alone) {
                return Ok(());
            }
        }
    }

    /// Asks about a device by name; with its counters.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<(LinkInfo, Stats)> {
        let mut body = ifinfomsg(0, 0, 0);
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        attribute(&mut body, IFLA_IFNAME, &bytes);
        let mut found = None;
        self.ask(RTM_GETLINK, 0, &body, |m| {
            if m.kind == RTM_NEWLINK {
                found = m.link().map(|info| (info, m.stats()));
            }
        })?;
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Asks about every device.
    pub(crate) fn links(&mut self) -> io::Result<Vec<LinkInfo>> {
        let mut all = Vec::new();
        self.ask(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg(0, 0, 0), |m| {
            all.extend(m.link())
        })?;
        Ok(all)
    }

    /// Changes a device.
    pub(crate) fn change(&mut self, index: u32, change: LinkChange) -> io::Result<()> {
        let mut body = ifinfomsg(index, change.flags, change.flags_mask);
        if let Some(mtu) = change.mtu {
            attribute(&mut body, IFLA_MTU, &mtu.to_ne_bytes());
        }
        if let Some(mac) = change.mac {
            attribute(&mut body, IFLA_ADDRESS, &mac.0);
        }
        self.ask(RTM_NEWLINK, NLM_F_ACK, &body, |_| {})
    }

    /// The addresses of a device with their prefix lengths.
    pub(crate) fn addresses(&mut self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        let mut all = Vec::new();
        self.ask(RTM_GETADDR, NLM_F_DUMP, &[0; 8], |m| {
            if m.address_index() == Some(index) {
                all.extend(m.address());
            }
        })?;
        Ok(all)
    }

    /// Gives a device an IPv4 address, or takes it away.
    pub(crate) fn set_address(
        &mut self,
        index: u32,
        (ip, len): (Ipv4Addr, u8),
        there: bool,
    ) -> io::Result<()> {
        let mut body = vec![AF_INET, len, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &ip.octets());
        attribute(&mut body, IFA_ADDRESS, &ip.octets());
        if there {
            if let Some(hosts) = u32::MAX.checked_shr(u32::from(len)).filter(|h| *h > 1) {
                let all = Ipv4Addr::from(u32::from(ip) | hosts);
                attribute(&mut body, IFA_BROADCAST, &all.octets());
            }
            self.ask(RTM_NEWADDR, NLM_F_ACK | NLM_F_PUT, &body, |_| {})
        } else {
            self.ask(RTM_DELADDR, NLM_F_ACK, &body, |_| {})
        }
    }

    /// Makes a gateway that is reached by a device the default route's.
    pub(crate) fn set_gateway(&mut self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        // Main table, set by an administrator at boot, to anywhere, unicast.
        let mut body = vec![AF_INET, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        attribute(&mut body, RTA_GATEWAY, &gateway.octets());
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        self.ask(RTM_NEWROUTE, NLM_F_ACK | NLM_F_PUT, &body, |_| {})
    }
}

impl Message<'_> {
    /// The link this message tells of; `None` for other messages and for those of bridge ports.
    pub(crate) fn link(&self) -> Option<LinkInfo> {
        if !matches!(self.kind, RTM_NEWLINK | RTM_DELLINK) || *self.body.first()? != 0 {
            return None;
        }
        let mut info = LinkInfo {
            index: u32_at(self.body, 4)?,
            flags: u32_at(self.body, 8)?,
            ..LinkInfo::default()
        };
        for (kind, value) in attributes(self.body.get(16..)?) {
            match kind {
                IFLA_IFNAME => info.name = text(value),
                IFLA_ADDRESS => {
                    info.mac = value.try_into().map(EthAddr).unwrap_or_default();
                }
                IFLA_MTU => info.mtu = u32_at(value, 0)?,
                IFLA_LINKINFO => {
                    info.kind = nested(value, IFLA_INFO_KIND).map(text).unwrap_or_default();
                }
                IFLA_XDP => {
                    info.xdp_id = nested(value, IFLA_XDP_PROG_ID)
                        .and_then(|v| u32_at(v, 0))
                        .unwrap_or(0);
                }
                _ => {}
            }
        }
        Some(info)
    }

    /// The counters in a link message.
    fn stats(&self) -> Stats {
        let attrs = self.body.get(16..).unwrap_or_default();
        let Some(values) = attributes(attrs)
            .find(|(k, _)| *k == IFLA_STATS64)
            .map(|(_, v)| v)
        else {
            return Stats::default();
        };
        // Order of struct rtnl_link_stats64.
        let n = |i: usize| {
            values
                .get(i * 8..i * 8 + 8)?
                .try_into()
                .ok()
                .map(u64::from_ne_bytes)
        };
        Stats {
            rx_packets: n(0),
            tx_packets: n(1),
            rx_bytes: n(2),
            tx_bytes: n(3),
            rx_errors: n(4),
            tx_errors: n(5),
            rx_dropped: n(6),
            tx_dropped: n(7),
            multicast: n(8),
            collisions: n(9),
            rx_length_errors: n(10),
            rx_over_errors: n(11),
            rx_crc_errors: n(12),
            rx_frame_errors: n(13),
            rx_fifo_errors: n(14),
            rx_missed_errors: n(15),
            custom: Vec::new(),
        }
    }

    /// The device an address message tells of.
    pub(crate) fn address_index(&self) -> Option<u32> {
        matches!(self.kind, RTM_NEWADDR | RTM_DELADDR).then(|| u32_at(self.body, 4))?
    }

    fn address(&self) -> Option<(IpAddr, u8)> {
        let prefix = *self.body.get(1)?;
        let mut found = None;
        for (kind, value) in attributes(self.body.get(8..)?) {
            // IFA_LOCAL is the device's own address; IFA_ADDRESS is the peer's on point-to-point links.
            if kind == IFA_LOCAL || (kind == IFA_ADDRESS && found.is_none()) {
                found = match value.len() {
                    4 => <[u8; 4]>::try_from(value)
                        .ok()
                        .map(|a| IpAddr::V4(Ipv4Addr::from(a))),
                    16 => <[u8; 16]>::try_from(value)
                        .ok()
                        .map(|a| IpAddr::V6(Ipv6Addr::from(a))),
                    _ => None,
                };
            }
        }
        Some((found?, prefix))
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The messages of a datagram.
fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = u32_at(rest, 0)? as usize;
        let message = rest.get(16..len).map(|body| (u16_at(rest, 4), body));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        let (kind, body) = message?;
        Some(Message { kind: kind?, body })
    })
}

/// The attributes of a message or of a nested attribute.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn nested(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

fn ifinfomsg(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

pub(super) fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).expect("attributes of ours are short");
    body.extend(len.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Appends an attribute that holds attributes.
pub(super) fn nest(body: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    attribute(body, kind, &inner);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_names_that_do_not_exist_are_not() {
        let mut nl = Netlink::requests().unwrap();
        let (lo, stats) = nl.link("lo").unwrap();
        assert_eq!((lo.index, lo.name.as_str(), lo.mtu), (1, "lo", 65536));
        assert!(stats.rx_packets.is_some());
        assert!(nl.links().unwrap().iter().any(|l| l.name == "lo"));
        let e = nl.link("no-such-dev").unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn lying_lengths_end_the_walk() {
        assert_eq!(messages(&[0; 16]).count(), 0);
        assert_eq!(messages(&[255; 40]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0, 9, 9]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 9, 9]).count(), 0);
        assert_eq!(
            attributes(&[5, 0, 1, 0, 7, 0, 0, 0]).next(),
            Some((1, &[7u8][..]))
        );
    }
}
