//! Non-blocking unix and TCP sockets by Open vSwitch's names for them.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    connect as sys_connect, ipproto, listen as sys_listen, socket_with, sockopt,
};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Longest path that fits a `sockaddr_un`, with its final zero.
const UNIX_PATH_MAX: usize = 107;
const BACKLOG: i32 = 64;

/// Where a socket goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Address {
    /// `unix:PATH` or `tcp:HOST:PORT`; HOST is a number, in brackets when IPv6.
    pub(super) fn parse_active(name: &str, rundir: &Path) -> Option<Self> {
        if let Some(path) = name.strip_prefix("unix:") {
            return Some(Self::Unix(rundir.join(path)));
        }
        name.strip_prefix("tcp:")?.parse().ok().map(Self::Tcp)
    }

    /// `punix:PATH` or `ptcp:[PORT][:HOST]`.
    pub(super) fn parse_passive(name: &str, rundir: &Path) -> Option<Self> {
        if let Some(path) = name.strip_prefix("punix:") {
            return Some(Self::Unix(rundir.join(path)));
        }
        let rest = name.strip_prefix("ptcp:")?;
        let (port, host) = rest.split_once(':').unwrap_or((rest, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let ip = if host.is_empty() {
            IpAddr::from(Ipv4Addr::UNSPECIFIED)
        } else {
            host.parse().ok()?
        };
        let port = if port.is_empty() {
            0
        } else {
            port.parse().ok()?
        };
        Some(Self::Tcp(SocketAddr::new(ip, port)))
    }
}

/// A unix address for a path of any length. The directory must stay open while the address is used.
fn unix_address(path: &Path) -> Result<(SocketAddrUnix, Option<File>), Errno> {
    if path.as_os_str().len() <= UNIX_PATH_MAX {
        return Ok((SocketAddrUnix::new(path)?, None));
    }
    let (Some(dir), Some(base)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NAMETOOLONG);
    };
    let dir = File::open(dir).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::NOENT))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(base);
    Ok((SocketAddrUnix::new(short)?, Some(dir)))
}

fn open(address: &Address) -> Result<OwnedFd, Errno> {
    let (family, protocol) = match address {
        Address::Unix(_) => (AddressFamily::UNIX, None),
        Address::Tcp(a) if a.is_ipv6() => (AddressFamily::INET6, Some(ipproto::TCP)),
        Address::Tcp(_) => (AddressFamily::INET, Some(ipproto::TCP)),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, protocol)
}

/// Listens. A unix socket that is in the way is removed.
pub(super) fn listen(address: &Address) -> Result<OwnedFd, Errno> {
    let fd = open(address)?;
    match address {
        Address::Unix(path) => {
            let (short, _dir) = unix_address(path)?;
            // Usually there is none; whatever else is wrong shows in bind.
            drop(std::fs::remove_file(path));
            bind(&fd, &short)?;
        }
        Address::Tcp(a) => {
            sockopt::set_socket_reuseaddr(&fd, true)?;
            bind(&fd, a)?;
        }
    }
    sys_listen(&fd, BACKLOG)?;
    Ok(fd)
}

/// Accepts a connection.
pub(super) fn accept(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Begins to connect; true when that is done already.
pub(super) fn connect(address: &Address) -> Result<(OwnedFd, bool), Errno> {
    let fd = open(address)?;
    let begun = match address {
        Address::Unix(path) => {
            let (short, _dir) = unix_address(path)?;
            sys_connect(&fd, &short)
        }
        Address::Tcp(a) => {
            sockopt::set_tcp_nodelay(&fd, true)?;
            sys_connect(&fd, a)
        }
    };
    match begun {
        Ok(()) => Ok((fd, true)),
        Err(Errno::INPROGRESS) => Ok((fd, false)),
        Err(e) => Err(e),
    }
}

/// What became of a connection that was begun: made, still under way, or failed.
pub(super) fn outcome(fd: &OwnedFd) -> Result<bool, Errno> {
    sockopt::socket_error(fd)??;
    match rustix::net::getpeername(fd) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => Ok(false),
        Err(e) => Err(e),
    }
}
