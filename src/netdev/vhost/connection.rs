//! The thread of one port's connection: connects (or accepts), hands messages to a [`Session`], and begins
//! again when the guest has gone.
//!
//! It may wait for its guest as long as that takes; nobody waits for it. [`Connection::stop`] moves the
//! port's generation, after which this thread changes nothing any more and ends by itself.

use super::session::{Session, forget};
use super::shared::Shared;
use crate::error::os_error;
use base::sync::{Arc, spawn};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vhost::vhost_user::{BackendReqHandler, Error, VhostUserBackendReqHandler};

/// Pause after a connection; doubles with every attempt that fails, up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long the rest of a message, or room for an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages that are taken here: `VHOST_USER_NET_SET_MTU`, which the `vhost` crate does not know, and
/// `VHOST_USER_SET_VRING_ENABLE`, which it refuses while features are not agreed on, when QEMU sends it.
const NET_SET_MTU: u32 = 20;
const SET_VRING_ENABLE: u32 = 18;
const HEADER_BYTES: usize = 12;
const VERSION: u32 = 1;
const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;

/// Where guests come from.
#[derive(Debug)]
pub(super) enum Door {
    /// The guest listens there.
    Theirs(PathBuf),
    /// We listen.
    Ours(UnixListener),
}

/// A running connection thread.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
}

impl Connection {
    /// Starts the thread, after stopping the one before (`path` is for the log and the status).
    ///
    /// # Errors
    /// The kernel's, when there is no thread or descriptor left.
    pub(super) fn start(shared: &Arc<Shared>, path: &Path, door: Door) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let generation = {
            let mut control = shared.control();
            control.generation += 1;
            control.path = Some(path.to_owned());
            control.generation
        };
        let mut work = Work {
            shared: Arc::clone(shared),
            stop: Arc::clone(&stop),
            generation,
            path: path.to_owned(),
        };
        drop(spawn("vhost", move || match door {
            Door::Theirs(path) => work.connect(&path),
            Door::Ours(listener) => work.accept(&listener),
        })?);
        Ok(Self {
            shared: Arc::clone(shared),
            stop,
        })
    }
}

impl Drop for Connection {
    /// Disconnects; the thread ends in its own time.
    fn drop(&mut self) {
        let mut control = self.shared.control();
        control.generation += 1;
        forget(&self.shared, &mut control);
        control.path = None;
        // Cannot fail: the counter is 0 and the descriptor ours.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
    }
}

/// What the thread has.
struct Work {
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
    generation: u64,
    path: PathBuf,
}

impl Work {
    /// Waits until something can be read, or the time has passed (`None`: for ever). False at the end.
    fn wait(&self, fd: Option<&dyn AsFd>, timeout: Option<Duration>) -> bool {
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut fds = vec![PollFd::new(&*self.stop, PollFlags::IN)];
        fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        // An interrupted wait is a short one; callers loop.
        let _ = poll(&mut fds, timeout.as_ref());
        fds[0].revents().is_empty()
    }

    fn say(&self, text: &str) {
        tracing::info!(target: "dpdk", "VHOST_CONFIG: ({}) {text}", self.path.display());
    }
    fn warn(&self, text: &str) {
        tracing::warn!(target: "dpdk", "VHOST_CONFIG: ({}) {text}", self.path.display());
    }

    fn connect(&mut self, path: &Path) {
        let mut told = false;
        let mut pause = RETRY;
        loop {
            match connect_to(path) {
                Ok(socket) => {
                    told = false;
                    self.serve(socket);
                    pause = RETRY;
                }
                Err(e) if !told => {
                    told = true;
                    self.warn(&format!("failed to connect: {}", os_error(&e)));
                    self.say("reconnecting...");
                }
                Err(_) => {}
            }
            if !self.wait(None, Some(pause)) {
                return;
            }
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    fn accept(&mut self, listener: &UnixListener) {
        while self.wait(Some(listener), None) {
            // Who has gone already is not accepted.
            if let Ok((socket, _)) = listener.accept() {
                self.serve(socket);
            }
        }
    }

    /// One connection, from beginning to end.
    fn serve(&mut self, socket: UnixStream) {
        self.say("new vhost user connection");
        let session = Arc::new(Session::new(&self.shared, self.generation));
        match self.converse(&session, socket) {
            Ok(()) | Err(Error::Disconnected) => self.say("vhost peer closed"),
            Err(e) => {
                base::log_rl!(
                    BROKEN,
                    WARN,
                    "dpdk",
                    "VHOST_CONFIG: ({}) connection closed: {}",
                    self.path.display(),
                    e
                );
            }
        }
        session.close();
    }

    fn converse(&self, session: &Arc<Session>, socket: UnixStream) -> Result<(), Error> {
        let (mut own, shown) = prepare(&socket).map_err(Error::SocketError)?;
        session.open(shown)?;
        let mut handler = BackendReqHandler::from_stream(socket, Arc::clone(session));
        while self.wait(Some(&own), None) {
            match ours_is_next(&own)? {
                Some(code) => take_ours(code, &mut own, session)?,
                None => handler.handle_request()?,
            }
        }
        Ok(())
    }
}

static BROKEN: base::log::RateLimit = base::log::RateLimit::new(5, 5);

/// Makes sure that nobody waits for ever; gives two more handles of the socket.
fn prepare(socket: &UnixStream) -> io::Result<(UnixStream, UnixStream)> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket.try_clone()?, socket.try_clone()?))
}

/// Connects without waiting.
fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
}

/// Which message comes next, if it is one of ours; it stays there.
fn ours_is_next(socket: &UnixStream) -> Result<Option<u32>, Error> {
    let mut header = [0; HEADER_BYTES];
    let n = match recv(socket, &mut header, RecvFlags::PEEK) {
        Ok((0, _)) | Err(Errno::CONNRESET) => return Err(Error::Disconnected),
        Ok((n, _)) => n,
        Err(e) => return Err(Error::SocketError(e.into())),
    };
    let code = word(&header, 0);
    let ours = n == HEADER_BYTES && matches!(code, NET_SET_MTU | SET_VRING_ENABLE);
    Ok(ours.then_some(code))
}

/// Carries out a message of ours. Both have a body of 8 bytes and no descriptors.
fn take_ours(code: u32, socket: &mut UnixStream, session: &Session) -> Result<(), Error> {
    let mut message = [0; HEADER_BYTES];
    socket
        .read_exact(&mut message)
        .map_err(Error::SocketError)?;
    let (flags, size) = (word(&message, 4), word(&message, 8));
    if size != 8 || flags & 3 != VERSION || flags & REPLY != 0 {
        return Err(Error::InvalidMessage);
    }
    let mut body = [0; 8];
    socket.read_exact(&mut body).map_err(Error::SocketError)?;
    let result = match (code, word(&body, 4)) {
        (NET_SET_MTU, _) => session.set_mtu(u64::from_ne_bytes(body)),
        (_, on @ (0 | 1)) => session.set_vring_enable(word(&body, 0), on == 1),
        _ => Err(Error::InvalidParam),
    };
    if flags & NEED_REPLY != 0 && session.answers() {
        let mut answer = Vec::with_capacity(HEADER_BYTES + 8);
        for word in [code, VERSION | REPLY, 8] {
            answer.extend(word.to_ne_bytes());
        }
        answer.extend(u64::from(result.is_err()).to_ne_bytes());
        socket.write_all(&answer).map_err(Error::SocketError)?;
    }
    result
}
