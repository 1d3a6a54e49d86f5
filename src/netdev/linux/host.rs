//! One network namespace that this process has devices in: its sockets, and the thread that hears of
//! changes and publishes them into the devices' [`Link`]s.
//!
//! A host lives as long as a device of it is open. Its thread holds no strong reference, so the last
//! device to close ends it. Notifications that the kernel had to drop (ENOBUFS) are made up for by asking
//! about every device again.

use super::ethtool::{self, Driver};
use super::link::Link;
use super::netlink::{Message, Netlink, RTM_DELLINK, RTM_NEWLINK};
use super::{LinkChange, LinkInfo};
use crate::device::{LinkFeatures, Stats};
use base::sync::{Arc, Mutex, OnceLock, Seq, Weak, lock, spawn};
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Moves whenever any kernel device's facts changed: what a control loop can wait on.
pub fn changes() -> &'static Seq {
    static CHANGES: OnceLock<Seq> = OnceLock::new();
    CHANGES.get_or_init(Seq::new)
}

/// Readable since a kernel device changed; `None` when the process has no descriptor left for it.
fn changed_event() -> Option<&'static OwnedFd> {
    static EVENT: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    EVENT
        .get_or_init(|| rustix::event::eventfd(0, flags).ok())
        .as_ref()
}

/// A descriptor that is readable from a change of a kernel device until [`changes_seen`].
pub(crate) fn changes_fd() -> Option<RawFd> {
    changed_event().map(AsRawFd::as_raw_fd)
}

/// Makes [`changes_fd`] wait for the next change.
pub(crate) fn changes_seen() {
    if let Some(event) = changed_event() {
        let _ = rustix::io::read(event, &mut [0; 8]);
    }
}

/// Tells everybody that a kernel device changed.
pub(super) fn announce() {
    changes().change();
    if let Some(event) = changed_event() {
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }
}

static HOSTS: Mutex<Vec<(u64, Weak<Host>)>> = Mutex::new(Vec::new());

/// The calling thread's network namespace at the time of [`Host::current`].
#[derive(Debug)]
pub(crate) struct Host {
    control: OwnedFd,
    requests: Mutex<Netlink>,
    links: Mutex<Vec<Weak<Link>>>,
    stop: Arc<OwnedFd>,
}

/// What a notification says.
enum Event {
    Link(LinkInfo),
    LinkGone(u32),
    Addresses(u32),
}

impl Host {
    /// The namespace of the calling thread; made on first use.
    ///
    /// # Errors
    /// The kernel's, when sockets or the thread cannot be made.
    pub(crate) fn current() -> io::Result<Arc<Self>> {
        let id = rustix::fs::stat("/proc/thread-self/ns/net").map_or(0, |s| s.st_ino);
        let mut hosts = lock(&HOSTS);
        hosts.retain(|(_, host)| host.strong_count() > 0);
        let found = hosts
            .iter()
            .find(|(known, _)| *known == id)
            .and_then(|(_, h)| h.upgrade());
        if let Some(host) = found {
            return Ok(host);
        }
        let host = Self::start()?;
        hosts.push((id, Arc::downgrade(&host)));
        Ok(host)
    }

    fn start() -> io::Result<Arc<Self>> {
        let control = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let stop = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
        let host = Arc::new(Self {
            control,
            requests: Mutex::new(Netlink::requests()?),
            links: Mutex::new(Vec::new()),
            stop: Arc::clone(&stop),
        });
        let heard = Netlink::notifications()?;
        let weak = Arc::downgrade(&host);
        drop(spawn("netdev_nl", move || listen(heard, &stop, &weak))?);
        Ok(host)
    }

    /// Has `link` told of changes from now on.
    pub(super) fn watch(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        links.retain(|l| l.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    fn watched(&self) -> Vec<Arc<Link>> {
        lock(&self.links).iter().filter_map(Weak::upgrade).collect()
    }

    fn publish(&self, event: &Event) {
        for link in self.watched() {
            match event {
                Event::Link(info) => link.heard(info),
                Event::LinkGone(index) => link.heard_gone(*index),
                Event::Addresses(index) => link.heard_addresses(*index),
            }
        }
    }

    /// Asks about every device again, after notifications were lost.
    fn resync(&self) {
        let Ok(all) = lock(&self.requests).links() else {
            return;
        };
        for link in self.watched() {
            match all.iter().find(|i| i.name == link.name()) {
                Some(info) => link.heard(info),
                None => link.heard_gone(link.index().unwrap_or(0)),
            }
        }
    }

    pub(crate) fn query(&self, name: &str) -> io::Result<(LinkInfo, Stats)> {
        lock(&self.requests).link(name)
    }
    pub(crate) fn change(&self, index: u32, change: LinkChange) -> io::Result<()> {
        lock(&self.requests).change(index, change)
    }
    /// As [`Host::change`], but gives up when another thread is in the middle of a request: for the way
    /// out of a dying process.
    pub(crate) fn try_change(&self, index: u32, change: LinkChange) -> io::Result<()> {
        match self.requests.try_lock() {
            Ok(mut requests) => requests.change(index, change),
            Err(_) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        }
    }
    /// As [`Netlink::ask`].
    pub(super) fn ask(
        &self,
        kind: u16,
        flags: u16,
        body: &[u8],
        f: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        lock(&self.requests).ask(kind, flags, body, f)
    }
    pub(crate) fn addresses(&self, index: u32) -> io::Result<Vec<(IpAddr, u8)>> {
        lock(&self.requests).addresses(index)
    }
    pub(crate) fn set_address(
        &self,
        index: u32,
        address: (Ipv4Addr, u8),
        there: bool,
    ) -> io::Result<()> {
        lock(&self.requests).set_address(index, address, there)
    }
    pub(crate) fn set_gateway(&self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        lock(&self.requests).set_gateway(index, gateway)
    }
    pub(crate) fn driver(&self, name: &str) -> io::Result<Driver> {
        ethtool::driver(&self.control, name)
    }
    pub(crate) fn features(&self, name: &str) -> io::Result<LinkFeatures> {
        ethtool::features(&self.control, name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The thread ends at its next poll; nobody has to wait for it. A write to an eventfd at zero
        // cannot fail.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
    }
}

/// The body of the notification thread.
fn listen(mut heard: Netlink, stop: &OwnedFd, host: &Weak<Host>) {
    loop {
        let stopped = {
            let mut fds = [
                PollFd::new(&heard.fd, PollFlags::IN),
                PollFd::new(stop, PollFlags::IN),
            ];
            // EINTR comes back as "nothing ready"; the loop asks again.
            let _ = rustix::event::poll(&mut fds, None);
            if fds[0].revents().is_empty() && fds[1].revents().is_empty() {
                continue;
            }
            !fds[1].revents().is_empty()
        };
        if stopped {
            return;
        }
        let mut events = Vec::new();
        let result = heard.receive(|m| events.extend(event(m)));
        let Some(host) = host.upgrade() else {
            return;
        };
        match result {
            Ok(()) => events.iter().for_each(|e| host.publish(e)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => host.resync(),
        }
    }
}

fn event(message: &Message<'_>) -> Option<Event> {
    match message.kind {
        RTM_NEWLINK => message.link().map(Event::Link),
        RTM_DELLINK => message.link().map(|info| Event::LinkGone(info.index)),
        _ => message.address_index().map(Event::Addresses),
    }
}
