//! Byte streams to and from peers, by the address syntax of Open vSwitch: `unix:PATH`, `tcp:IP:PORT`,
//! and passive `punix:PATH`, `ptcp:PORT[:IP]`. Everything is non-blocking.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A connection is on its way (`EINPROGRESS` of Linux).
const EINPROGRESS: i32 = 115;

/// Where to connect to or listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `tcp:IP:PORT`.
    Tcp(SocketAddr),
    /// `punix:PATH`.
    PassiveUnix(PathBuf),
    /// `ptcp:PORT[:IP]`.
    PassiveTcp(SocketAddr),
}

/// A stream that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The text is not an address we know.
    #[error("{0}: not a stream address (unix:PATH, tcp:IP:PORT, punix:PATH, ptcp:PORT[:IP])")]
    BadAddress(String),
    /// An address with TLS.
    #[error("{0}: this build has no TLS: use tcp: or unix: behind a tunnel of your own")]
    NoTls(String),
    /// The kernel said no.
    #[error("{address}: {source}")]
    Io {
        /// Address as given.
        address: String,
        /// Errno.
        source: io::Error,
    },
}

impl Address {
    /// Parses an address; relative paths are taken from `rundir`.
    ///
    /// # Errors
    /// [`StreamError::BadAddress`], naming the text.
    pub fn parse(text: &str, default_port: u16, rundir: &Path) -> Result<Self, StreamError> {
        let bad = || StreamError::BadAddress(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        match kind {
            "unix" if !rest.is_empty() => Ok(Self::Unix(rundir.join(rest))),
            "punix" if !rest.is_empty() => Ok(Self::PassiveUnix(rundir.join(rest))),
            "tcp" => parse_host_port(rest, default_port)
                .map(Self::Tcp)
                .ok_or_else(bad),
            "ptcp" => parse_port_host(rest, default_port)
                .map(Self::PassiveTcp)
                .ok_or_else(bad),
            "ssl" | "pssl" => Err(StreamError::NoTls(text.to_owned())),
            _ => Err(bad()),
        }
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// `IP`, `IP:PORT`, `[IP6]`, `[IP6]:PORT`.
fn parse_host_port(text: &str, default_port: u16) -> Option<SocketAddr> {
    if let Some(ip) = parse_ip(text) {
        return Some(SocketAddr::new(ip, default_port));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(parse_ip(host)?, port.parse().ok()?))
}

/// ``, `PORT`, `PORT:IP`.
fn parse_port_host(text: &str, default_port: u16) -> Option<SocketAddr> {
    let (port, host) = text.split_once(':').unwrap_or((text, "0.0.0.0"));
    let port = if port.is_empty() {
        default_port
    } else {
        port.parse().ok()?
    };
    Some(SocketAddr::new(parse_ip(host)?, port))
}

impl Address {
    /// The peer's address in a network, when this is one to connect to.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) => Some(*addr),
            Self::Unix(_) | Self::PassiveUnix(_) | Self::PassiveTcp(_) => None,
        }
    }
}

impl StreamError {
    /// The kernel's error under it.
    #[must_use]
    pub fn source_error(&self) -> io::Error {
        match self {
            Self::Io { source, .. } => match source.raw_os_error() {
                Some(n) => io::Error::from_raw_os_error(n),
                None => source.kind().into(),
            },
            Self::BadAddress(_) | Self::NoTls(_) => io::ErrorKind::AddrNotAvailable.into(),
        }
    }
}

/// A connected (or connecting) stream.
#[derive(Debug)]
pub enum Stream {
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// Connects. A unix connection is made at once; TCP gets one second, so that a peer that does not
    /// answer cannot hold the caller up for long.
    ///
    /// # Errors
    /// Naming the address.
    pub fn connect(address: &Address) -> Result<Self, StreamError> {
        let fail = |source| StreamError::Io {
            address: format!("{address:?}"),
            source,
        };
        let stream = match address {
            Address::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            Address::Tcp(addr) => {
                let limit = std::time::Duration::from_secs(1);
                TcpStream::connect_timeout(addr, limit).map(Self::Tcp)
            }
            Address::PassiveUnix(_) | Address::PassiveTcp(_) => {
                Err(io::Error::from(io::ErrorKind::Unsupported))
            }
        }
        .map_err(fail)?;
        stream.set_nonblocking().map_err(fail)?;
        Ok(stream)
    }

    /// Begins to connect, without waiting: see [`Stream::is_connected`].
    ///
    /// # Errors
    /// Naming the address.
    pub fn begin(address: &Address) -> Result<Self, StreamError> {
        let Address::Tcp(addr) = address else {
            return Self::connect(address);
        };
        let begin = || {
            let domain = socket2::Domain::for_address(*addr);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            match socket.connect(&(*addr).into()) {
                Err(e) if e.raw_os_error() != Some(EINPROGRESS) => Err(e),
                _ => Ok(Self::Tcp(socket.into())),
            }
        };
        begin().map_err(|source| StreamError::Io {
            address: format!("{address:?}"),
            source,
        })
    }

    /// True once the connection is there.
    ///
    /// # Errors
    /// Why it will not come.
    pub fn is_connected(&self) -> io::Result<bool> {
        match self {
            Self::Unix(_) => Ok(true),
            Self::Tcp(s) => {
                if let Some(e) = s.take_error()? {
                    return Err(e);
                }
                match s.peer_addr() {
                    Ok(_) => Ok(true),
                    Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
                    Err(e) => Err(e),
                }
            }
        }
    }

    /// The peer's name as addresses are written, if it has one.
    #[must_use]
    pub fn peer_name(&self) -> Option<String> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(s) => s.peer_addr().ok().map(|a| format!("tcp:{a}")),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Unix(s) => s.set_nonblocking(true),
            Self::Tcp(s) => {
                s.set_nodelay(true)?;
                s.set_nonblocking(true)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.read(buf),
            Self::Tcp(s) => s.read(buf),
        }
    }
}
impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.write(buf),
            Self::Tcp(s) => s.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(s) => s.as_raw_fd(),
            Self::Tcp(s) => s.as_raw_fd(),
        }
    }
}

/// A listening socket; a unix one is removed from the file system when dropped.
#[derive(Debug)]
pub enum Listener {
    /// On a unix socket.
    Unix(UnixListener, PathBuf),
    /// On TCP.
    Tcp(TcpListener),
}

impl Listener {
    /// Listens. A stale unix socket of that name is replaced.
    ///
    /// # Errors
    /// Naming the address.
    pub fn bind(address: &Address) -> Result<Self, StreamError> {
        let fail = |source| StreamError::Io {
            address: format!("{address:?}"),
            source,
        };
        match address {
            Address::PassiveUnix(path) => {
                if path.exists() && UnixStream::connect(path).is_err() {
                    std::fs::remove_file(path).map_err(fail)?;
                }
                let l = UnixListener::bind(path).map_err(fail)?;
                l.set_nonblocking(true).map_err(fail)?;
                Ok(Self::Unix(l, path.clone()))
            }
            Address::PassiveTcp(addr) => {
                let l = TcpListener::bind(addr).map_err(fail)?;
                l.set_nonblocking(true).map_err(fail)?;
                Ok(Self::Tcp(l))
            }
            Address::Unix(_) | Address::Tcp(_) => {
                Err(fail(io::Error::from(io::ErrorKind::Unsupported)))
            }
        }
    }

    /// The next connection; `None` when nobody waits or the host is out of descriptors.
    pub fn accept(&self) -> Option<Stream> {
        let stream = match self {
            Self::Unix(l, _) => l.accept().ok().map(|(s, _)| Stream::Unix(s)),
            Self::Tcp(l) => l.accept().ok().map(|(s, _)| Stream::Tcp(s)),
        }?;
        stream.set_nonblocking().ok()?;
        Some(stream)
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(l, _) => l.as_raw_fd(),
            Self::Tcp(l) => l.as_raw_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            drop(std::fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let dir = Path::new("/run/x");
        let parse = |t: &str| Address::parse(t, 6640, dir).ok();
        assert_eq!(
            parse("unix:db.sock"),
            Some(Address::Unix("/run/x/db.sock".into()))
        );
        assert_eq!(parse("unix:/a/b"), Some(Address::Unix("/a/b".into())));
        assert_eq!(
            parse("tcp:127.0.0.1"),
            Some(Address::Tcp("127.0.0.1:6640".parse().unwrap()))
        );
        assert_eq!(
            parse("tcp:[::1]:7"),
            Some(Address::Tcp("[::1]:7".parse().unwrap()))
        );
        assert_eq!(
            parse("ptcp:7:127.0.0.1"),
            Some(Address::PassiveTcp("127.0.0.1:7".parse().unwrap()))
        );
        for bad in ["", "unix", "unix:", "tcp:nohost:1", "ptcp:99999", "file:/x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
