//! Sockets that peers connect to.

use crate::address::Address;
use crate::stream::{Stream, StreamError};
use crate::tls::{Tls, TlsStream};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

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
        match address {
            Address::PassiveUnix(path) => {
                if path.exists() && UnixStream::connect(path).is_err() {
                    std::fs::remove_file(path).map_err(fail)?;
                }
                let l = UnixListener::bind(path).map_err(fail)?;
                l.set_nonblocking(true).map_err(fail)?;
                Ok(Self::Unix(l, path.clone()))
            }
            Address::PassiveTcp(addr) | Address::PassiveSsl(addr) => {
                let l = TcpListener::bind(addr).map_err(fail)?;
                l.set_nonblocking(true).map_err(fail)?;
                Ok(match address {
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
