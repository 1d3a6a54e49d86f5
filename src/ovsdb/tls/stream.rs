//! A connection under TLS, over a socket that never waits.
//!
//! Bounds: at most 64 KiB of the peer's handshake and 64 KiB of our output are held; decrypted input is at most what
//! one read from the socket held. A turn takes a bounded number of reads from the socket.

use super::{EIO, EPROTO, LIMIT, Tls};
use base::log_rl;
use rustls::{ClientConnection, Connection, ServerConnection};
use rustls_pki_types::ServerName;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

/// Reads from the socket in one turn of a handshake.
const READS_PER_TURN: usize = 32;

static CONTENT_LIMIT: base::log::RateLimit = base::log::RateLimit::new(5, 5);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    Broken,
}

/// See the module.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    session: Connection,
    tls: Tls,
    /// The server's authority is to be believed from now on, and the connection given up.
    learns: bool,
    phase: Phase,
    /// The first bytes that came, to guess what a peer speaks that does not speak TLS.
    head: [u8; 2],
    head_len: usize,
    /// Decrypted bytes that were not read yet.
    readable: usize,
    /// For the log.
    name: String,
}

impl TlsStream {
    /// Begins TLS on a connection that we make, which may still be on its way.
    ///
    /// # Errors
    /// "Protocol not available" when keys or certificates are missing; the log says which.
    pub(crate) fn client(socket: TcpStream, name: String, tls: &Tls) -> io::Result<Self> {
        let (config, learns) = tls.client()?;
        // Addresses are numbers here, and those are not told to the server (RFC 6066 section 3).
        let unspecified = ServerName::from(std::net::IpAddr::from([0, 0, 0, 0]));
        let session = ClientConnection::new(config, unspecified).map_err(io::Error::other)?;
        Ok(Self::new(socket, session.into(), (name, tls), learns))
    }

    /// Begins TLS on a connection that somebody made to us.
    ///
    /// # Errors
    /// As [`TlsStream::client`].
    pub(crate) fn server(socket: TcpStream, name: String, tls: &Tls) -> io::Result<Self> {
        let session = ServerConnection::new(tls.server()?).map_err(io::Error::other)?;
        Ok(Self::new(socket, session.into(), (name, tls), false))
    }

    fn new(
        socket: TcpStream,
        session: Connection,
        (name, tls): (String, &Tls),
        learns: bool,
    ) -> Self {
        Self {
            socket,
            session,
            tls: tls.clone(),
            learns,
            phase: Phase::Handshake,
            head: [0; 2],
            head_len: 0,
            readable: 0,
            name,
        }
    }

    /// The socket under it.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// True when encrypted bytes wait for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        self.phase != Phase::Broken && self.session.wants_write()
    }

    /// Decrypted bytes are there, whatever the socket says.
    pub(crate) fn has_input(&self) -> bool {
        self.readable > 0
    }

    /// Goes on with the handshake. True when it is done.
    ///
    /// # Errors
    /// "Protocol error" when it failed; the log says why.
    pub(crate) fn handshake(&mut self) -> io::Result<bool> {
        match self.phase {
            Phase::Open => return Ok(true),
            Phase::Broken => return Err(io::Error::from_raw_os_error(EPROTO)),
            Phase::Handshake => {}
        }
        for _ in 0..READS_PER_TURN {
            self.push().map_err(|e| self.system_error(e))?;
            if !self.session.is_handshaking() {
                return self.finish();
            }
            self.peek();
            match self.session.read_tls(&mut self.socket) {
                Ok(0) => return Err(self.fail("unexpected SSL connection close")),
                Ok(_) => self.process().map_err(|e| self.fail(&e.to_string()))?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error().is_none() => return Err(self.fail(&e.to_string())),
                Err(e) => return Err(self.system_error(e)),
            }
        }
        Ok(false)
    }

    fn function(&self) -> &'static str {
        match self.session {
            Connection::Client(_) => "SSL_connect",
            Connection::Server(_) => "SSL_accept",
        }
    }

    fn system_error(&mut self, e: io::Error) -> io::Error {
        self.phase = Phase::Broken;
        log_rl!(
            LIMIT,
            WARN,
            "stream_ssl",
            "{}: system error ({e})",
            self.function()
        );
        e
    }

    /// The handshake went wrong: tells the peer, and the log what it was.
    fn fail(&mut self, why: &str) -> io::Error {
        // The alert is best effort: the connection is lost anyway.
        drop(self.push());
        self.phase = Phase::Broken;
        let (name, function) = (&self.name, self.function());
        log_rl!(LIMIT, WARN, "stream_ssl", "{function}: {why}");
        let speaks = match (self.head, self.head_len) {
            ([b'{', b'"'], 2) => Some("JSON-RPC"),
            ([1, 0], 2) => Some("OpenFlow"),
            _ => None,
        };
        if let Some(kind) = speaks {
            log_rl!(
                CONTENT_LIMIT,
                WARN,
                "stream_ssl",
                "{name}: received {kind} data on SSL channel"
            );
        }
        io::Error::from_raw_os_error(EPROTO)
    }

    /// Remembers the first bytes without taking them.
    fn peek(&mut self) {
        if self.head_len < self.head.len() {
            self.head_len = self.socket.peek(&mut self.head).unwrap_or(0);
        }
    }

    fn process(&mut self) -> Result<(), rustls::Error> {
        let state = self.session.process_new_packets()?;
        self.readable = state.plaintext_bytes_to_read();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<bool> {
        if self.learns {
            let shown = self.session.peer_certificates().unwrap_or_default();
            self.tls.learn(shown);
            self.phase = Phase::Broken;
            return Err(io::Error::from_raw_os_error(EPROTO));
        }
        self.phase = Phase::Open;
        if let Some(name) = self.peer_id() {
            tracing::debug!(target: "stream_ssl", "{}: peer is {name}", self.name);
        }
        Ok(true)
    }

    /// The common name of the peer's certificate.
    fn peer_id(&self) -> Option<String> {
        let cert = self.session.peer_certificates()?.first()?;
        super::der::Fields::of(cert)?.common_name()
    }

    /// Writes what is encrypted already, as far as the socket takes it.
    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// A record that is no good: "Input/output error".
    fn broken(&mut self, function: &str, why: &dyn std::fmt::Display) -> io::Error {
        drop(self.push());
        self.phase = Phase::Broken;
        log_rl!(LIMIT, WARN, "stream_ssl", "{function}: {why}");
        io::Error::from_raw_os_error(EIO)
    }
}

impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.handshake()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        loop {
            match self.session.reader().read(buf) {
                Ok(n) => {
                    self.readable = self.readable.saturating_sub(n);
                    return Ok(n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = 0,
                Err(_) => return Err(self.broken("SSL_read", &"unexpected SSL connection close")),
            }
            match self.session.read_tls(&mut self.socket) {
                // The end is noticed by the reader above, which knows whether the peer said that it comes.
                Ok(_) => {
                    if let Err(e) = self.process() {
                        return Err(self.broken("SSL_read", &e));
                    }
                    // Answers of the protocol itself: new keys.
                    self.push()?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !self.handshake()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = match self.session.writer().write(buf) {
            Ok(n) => n,
            Err(e) => return Err(self.broken("SSL_write", &e)),
        };
        self.push()?;
        if taken == 0 && !buf.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

impl AsRawFd for TlsStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        if self.phase == Phase::Open {
            // Says good-bye if the socket takes it at once.
            self.session.send_close_notify();
            drop(self.push());
        }
    }
}
