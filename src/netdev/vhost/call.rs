//! [`Caller`]: interrupting a guest without ever waiting for it.
//!
//! A guest's interrupt is an eventfd that it sent. Whoever sent it may make it blocking and fill its
//! counter, and then a `write` would put the packet thread to sleep for ever. So it is signalled by the
//! kernel, as the completion of an asynchronous read of nothing (`IOCB_FLAG_RESFD`), which adds to a full
//! counter without waiting and refuses what is no eventfd. Where the kernel has no asynchronous I/O, the
//! descriptor is made non-blocking and written to.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: io_setup(2) and its family have no safe form; they get pointers to live local structs.

use base::sync::{AtomicU32, Ordering};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Completions taken in at a time; the context holds at least as many.
const EVENTS: usize = 64;
const IOCB_CMD_PREAD: u16 = 0;
const IOCB_FLAG_RESFD: u32 = 1;

/// `struct iocb` of `linux/aio_abi.h` (little endian).
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buf: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

/// See the module. One per port, for all its rings.
#[derive(Debug)]
pub(super) struct Caller {
    /// The asynchronous I/O context, if the kernel has any.
    context: Option<libc::c_ulong>,
    nothing: File,
    /// Calls since completions were taken in.
    unread: AtomicU32,
}

impl Caller {
    /// A caller.
    ///
    /// # Errors
    /// `/dev/null` cannot be opened.
    pub(super) fn new() -> io::Result<Self> {
        let mut context: libc::c_ulong = 0;
        let at = &raw mut context;
        // SAFETY: io_setup writes the new context's handle to a live word that holds 0.
        let rc = unsafe { libc::syscall(libc::SYS_io_setup, 2 * EVENTS, at) };
        Ok(Self {
            context: (rc == 0).then_some(context),
            nothing: File::open("/dev/null")?,
            unread: AtomicU32::new(0),
        })
    }

    /// Makes sure that a descriptor is one that [`Caller::call`] may be given.
    ///
    /// # Errors
    /// It is no eventfd, or cannot be looked at.
    pub(super) fn accept(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        require_eventfd(fd)?;
        if self.context.is_none() {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(())
    }

    /// Signals an eventfd. Never waits.
    pub(super) fn call(&self, fd: BorrowedFd<'_>) {
        let Some(context) = self.context else {
            // A counter that is full is readable already.
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
            return;
        };
        if self.unread.fetch_add(1, Ordering::Relaxed) >= EVENTS as u32 / 2 {
            self.take_in(context);
        }
        if !self.submit(context, fd) {
            self.take_in(context);
            // Fails again only for a descriptor that accept() would have refused.
            let _ = self.submit(context, fd);
        }
    }

    fn submit(&self, context: libc::c_ulong, fd: BorrowedFd<'_>) -> bool {
        let mut request = Iocb {
            opcode: IOCB_CMD_PREAD,
            fd: self.nothing.as_raw_fd().cast_unsigned(),
            flags: IOCB_FLAG_RESFD,
            resfd: fd.as_raw_fd().cast_unsigned(),
            ..Iocb::default()
        };
        let mut list = [&raw mut request];
        // SAFETY: one pointer to a live iocb; a read of no bytes from /dev/null touches no buffer.
        let rc = unsafe { libc::syscall(libc::SYS_io_submit, context, 1, list.as_mut_ptr()) };
        rc == 1
    }

    fn take_in(&self, context: libc::c_ulong) {
        self.unread.store(0, Ordering::Relaxed);
        let mut events = [[0u64; 4]; EVENTS];
        let mut none = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let (to, wait) = (events.as_mut_ptr(), &raw mut none);
        // SAFETY: room for EVENTS io_events of 32 bytes and a zero timeout, both live.
        unsafe { libc::syscall(libc::SYS_io_getevents, context, 0, EVENTS, to, wait) };
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(context) = self.context {
            // SAFETY: the context that io_setup gave, used by nobody any more.
            unsafe { libc::syscall(libc::SYS_io_destroy, context) };
        }
    }
}

/// Refuses descriptors that are no eventfd: the owner of anything else could make us wait.
///
/// # Errors
/// As said, or /proc cannot be read.
pub(super) fn require_eventfd(fd: BorrowedFd<'_>) -> io::Result<()> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    if link.to_string_lossy().starts_with("anon_inode:[eventfd") {
        return Ok(());
    }
    let text = format!("{} is no eventfd", link.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::AsFd;

    #[test]
    fn a_full_blocking_eventfd_does_not_stop_us() {
        let caller = Caller::new().unwrap();
        let event = eventfd(0, EventfdFlags::empty()).unwrap();
        rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        caller.accept(event.as_fd()).unwrap();
        for _ in 0..1000 {
            caller.call(event.as_fd());
        }
    }

    #[test]
    fn calls_are_counted_and_other_files_refused() {
        let caller = Caller::new().unwrap();
        let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        for _ in 0..1000 {
            caller.call(event.as_fd());
        }
        let mut count = [0; 8];
        rustix::io::read(&event, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1000);
        let file = File::open("/dev/zero").unwrap();
        let refused = caller.accept(file.as_fd()).unwrap_err();
        assert!(refused.to_string().contains("/dev/zero"), "{refused}");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(caller.accept(socket.as_fd()).is_err());
    }
}
