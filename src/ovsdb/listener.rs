//! Sockets that peers connect to.

use crate::address::Address;
use crate::stream::{Stream, StreamError, words};
use crate::tls::{Tls, TlsStream};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket; a unix one is removed from the file system when dropped.
#[derive(Debug)]
pub enum Listener {
    /// On a unix socket.
    Unix(UnixListener, PathBuf),
    /// On TCP.
    Tcp(TcpListener),
    /// On TCP, with TLS over it.
    Tls(TcpListener, Tls),
}

impl Listener {
    /// Listens. A stale unix socket of that name is replaced.
    ///
    /// # Errors
    /// Naming the address.
    pub fn bind(address: &Address, tls: &Tls) -> Result<Self, StreamError> {
        let fail = |source| StreamError::Io {
            address: address.to_string(),
            source,
        };
        let known = address.resolve().map_err(fail)?;
        match known.as_ref() {
            Address::PassiveUnix(path) => {
                let l = bind_unix(path).inspect_err(|e| {
                    let (path, why) = (path.display(), words(e));
                    tracing::error!(target: "stream_unix", "{path}: binding failed: {why}");
                });
                Ok(Self::Unix(l.map_err(fail)?, path.clone()))
            }
            Address::PassiveTcp(addr) | Address::PassiveSsl(addr) => {
                let l = bind_tcp(*addr, address).map_err(fail)?;
                Ok(match known.as_ref() {
                    Address::PassiveSsl(_) => Self::Tls(l, tls.clone()),
                    _ => Self::Tcp(l),
                })
            }
            _ => Err(fail(ErrorKind::Unsupported.into())),
        }
    }

    /// The next connection; `None` when nobody waits. Under TLS the peer is not known yet: see
    /// [`Stream::is_connected`].
    ///
    /// # Errors
    /// Why somebody who came cannot be let in, or the host takes nobody.
    pub fn accept(&self) -> io::Result<Option<Stream>> {
        let accepted = match self {
            Self::Unix(l, _) => l.accept().map(|(s, _)| Stream::Unix(s)),
            Self::Tcp(l) | Self::Tls(l, _) => l.accept().map(|(s, _)| Stream::Tcp(s)),
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        match (stream, self) {
            (Stream::Tcp(s), Self::Tls(_, tls)) => {
                prepare(&s)?;
                let name = s
                    .peer_addr()
                    .map_or_else(|_| String::new(), |a| format!("ssl:{a}"));
                Ok(Some(Stream::Tls(Box::new(TlsStream::server(
                    s, name, tls,
                )?))))
            }
            (Stream::Tcp(s), _) => {
                prepare(&s)?;
                Ok(Some(Stream::Tcp(s)))
            }
            (Stream::Unix(s), _) => {
                s.set_nonblocking(true)?;
                Ok(Some(Stream::Unix(s)))
            }
            (other, _) => Ok(Some(other)),
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if path.exists() && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let l = UnixListener::bind(path)?;
    l.set_nonblocking(true)?;
    Ok(l)
}

/// Listens; says which port it is where the kernel was to choose.
fn bind_tcp(addr: SocketAddr, address: &Address) -> io::Result<TcpListener> {
    let name = address.to_string();
    let name = name.split_once(':').map_or("", |(_, rest)| rest);
    let l = TcpListener::bind(addr).inspect_err(|e| {
        tracing::error!(target: "socket_util", "{name}: bind: {}", words(e));
    })?;
    l.set_nonblocking(true)?;
    if addr.port() == 0 {
        let port = l.local_addr()?.port();
        tracing::info!(target: "socket_util", "{name}: listening on port {port}");
    }
    Ok(l)
}

fn prepare(s: &TcpStream) -> io::Result<()> {
    s.set_nodelay(true)?;
    s.set_nonblocking(true)
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(l, _) => l.as_raw_fd(),
            Self::Tcp(l) | Self::Tls(l, _) => l.as_raw_fd(),
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
