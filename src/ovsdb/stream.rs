//! Byte streams to and from peers at an [`Address`]. Everything is non-blocking.

use crate::address::{Address, Kind};
use crate::tls::{Tls, TlsStream};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection is on its way (`EINPROGRESS` of Linux).
const EINPROGRESS: i32 = 115;

/// A stream that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The text is not an address we know.
    #[error(
        "{0}: not a stream address (unix:PATH, {{tcp,ssl}}:IP:PORT, punix:PATH, {{ptcp,pssl}}:[PORT][:IP])"
    )]
    BadAddress(String),
    /// The kernel said no.
    #[error("{address}: {source}")]
    Io {
        /// Address as given.
        address: String,
        /// Errno.
        source: io::Error,
    },
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
            Self::BadAddress(_) => ErrorKind::AddrNotAvailable.into(),
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
    /// Over TLS over TCP.
    Tls(Box<TlsStream>),
}

/// How to open streams.
#[derive(Debug, Clone, Default)]
pub struct Dial {
    /// Keys and certificates.
    pub tls: Tls,
    /// The differentiated-services code point of what is sent (RFC 2474), 0 to 63; not said: the kernel's default.
    pub dscp: Option<u8>,
}

impl Stream {
    /// Begins to connect, without waiting: see [`Stream::is_connected`]. Failures below TLS are in the log.
    ///
    /// # Errors
    /// Naming the address.
    pub fn begin(address: &Address, dial: &Dial) -> Result<Self, StreamError> {
        let socket = address.resolve().and_then(|known| match known.as_ref() {
            Address::Unix(path) => connect_unix(path).map(Self::Unix),
            Address::Tcp(addr) | Address::Ssl(addr) => connect_tcp(addr, dial.dscp).map(Self::Tcp),
            _ => Err(ErrorKind::Unsupported.into()),
        });
        if let Err(e) = &socket {
            log_refusal(address, e);
        }
        let begun = match (socket, address.module()) {
            (Ok(Self::Tcp(s)), Some(Kind::Ssl)) => {
                TlsStream::client(s, address.to_string(), &dial.tls).map(|s| Self::Tls(Box::new(s)))
            }
            (socket, _) => socket,
        };
        begun.map_err(|source| StreamError::Io {
            address: address.to_string(),
            source,
        })
    }

    /// Goes on with connecting. True once the connection is there; under TLS, once both sides know each other.
    ///
    /// # Errors
    /// Why it will not come.
    pub fn is_connected(&mut self) -> io::Result<bool> {
        match self {
            Self::Unix(_) => Ok(true),
            Self::Tcp(s) => has_arrived(s),
            Self::Tls(s) => Ok(has_arrived(s.socket())? && s.handshake()?),
        }
    }

    /// True while a layer below has something to write.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tcp(_) => false,
            Self::Tls(s) => s.wants_write(),
        }
    }

    /// True until TCP has made a connection that was begun: then the descriptor becomes writable.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Tcp(s) => s.peer_addr().is_err(),
            Self::Tls(s) => s.socket().peer_addr().is_err(),
        }
    }

    /// Something can be read that waiting for the descriptor does not tell of.
    #[must_use]
    pub fn has_input(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tcp(_) => false,
            Self::Tls(s) => s.has_input(),
        }
    }

    /// The peer's name as addresses are written, if it has one.
    #[must_use]
    pub fn peer_name(&self) -> Option<String> {
        let (kind, socket) = match self {
            Self::Unix(_) => return None,
            Self::Tcp(s) => ("tcp", s),
            Self::Tls(s) => ("ssl", s.socket()),
        };
        socket.peer_addr().ok().map(|a| format!("{kind}:{a}"))
    }
}

/// Says that not even an attempt was possible, as the module of that kind of address does.
fn log_refusal(address: &Address, e: &io::Error) {
    let why = words(e);
    match address.module() {
        Some(Kind::Tcp) => tracing::error!(target: "stream_tcp", "{address}: connect: {why}"),
        Some(_) => tracing::error!(target: "stream_ssl", "{address}: connect: {why}"),
        None => {}
    }
}

/// The kernel's words, without the number.
pub(crate) fn words(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A unix connection is made at once or not at all: a listener whose queue is full counts as not there.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn connect_tcp(addr: &SocketAddr, dscp: Option<u8>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(*addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    set_dscp(&socket, addr, dscp)?;
    match socket.connect(&(*addr).into()) {
        Err(e) if e.raw_os_error() != Some(EINPROGRESS) => Err(e),
        _ => Ok(socket.into()),
    }
}

fn set_dscp(socket: &Socket, addr: &SocketAddr, dscp: Option<u8>) -> io::Result<()> {
    let Some(tos) = dscp.map(|d| u32::from(d) << 2) else {
        return Ok(());
    };
    match addr {
        SocketAddr::V4(_) => socket.set_tos_v4(tos),
        SocketAddr::V6(_) => socket.set_tclass_v6(tos),
    }
}

/// True once TCP has made the connection.
fn has_arrived(s: &TcpStream) -> io::Result<bool> {
    if let Some(e) = s.take_error()? {
        return Err(e);
    }
    match s.peer_addr() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotConnected => Ok(false),
        Err(e) => Err(e),
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.read(buf),
            Self::Tcp(s) => s.read(buf),
            Self::Tls(s) => s.read(buf),
        }
    }
}
impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(s) => s.write(buf),
            Self::Tcp(s) => s.write(buf),
            Self::Tls(s) => s.write(buf),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(_) | Self::Tcp(_) => Ok(()),
            Self::Tls(s) => s.flush(),
        }
    }
}
impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(s) => s.as_raw_fd(),
            Self::Tcp(s) => s.as_raw_fd(),
            Self::Tls(s) => s.as_raw_fd(),
        }
    }
}
