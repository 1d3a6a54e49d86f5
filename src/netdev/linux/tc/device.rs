//! [`Tc`]: one device's root qdisc, queues and policing.
//!
//! What is there is asked for once (a switch that was started again takes over what it finds) and remembered
//! until the device goes; what was configured is put back onto a device that returns. What this process put there
//! it takes away when the port is closed.

use super::classes::{INNER, QDISC, Share, of_queue, queue_of};
use super::discipline::{BadSetting, DEFAULT_SPEED, Discipline, Kind, QUEUES_MAX, unreadable};
use super::message::{
    INGRESS, INGRESS_HANDLE, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, Object, ROOT, RTM_DELQDISC,
    RTM_DELTCLASS, RTM_GETQDISC, RTM_GETTCLASS, RTM_NEWQDISC, RTM_NEWTCLASS, RTM_NEWTFILTER,
    TCA_KIND, header, string,
};
use super::police::{self, Filter};
use super::units::Scale;
use crate::device::{LinkFeatures, QosDetails, QosType, QueueStats};
use crate::error::{NetdevError, os_error};
use crate::linux::Link;
use crate::linux::netlink::{NLM_F_ACK, NLM_F_DUMP, attribute};
use crate::qos::PolicingRates;
use base::clock::monotonic_ns;
use base::log::RateLimit;
use base::sync::{Arc, Mutex, lock};
use std::collections::BTreeMap;
use std::io;

static LOG: RateLimit = RateLimit::new(5, 20);

/// See the module.
#[derive(Debug)]
pub(crate) struct Tc {
    link: Arc<Link>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The life of the device that `root` is of.
    generation: Option<u32>,
    root: Root,
    /// `root` was put there by this process.
    ours: bool,
    /// What to put onto a device that returns.
    wanted: Option<(Kind, QosDetails)>,
    wanted_queues: BTreeMap<u32, QosDetails>,
    policing: PolicingRates,
}

/// The root qdisc.
#[derive(Debug, Default)]
enum Root {
    /// The device's own.
    #[default]
    Own,
    /// Somebody else's, not of the QoS table.
    Other,
    Known(Discipline, BTreeMap<u32, Queue>),
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    share: Share,
    created_ms: u64,
}

fn errno(n: i32) -> io::Error {
    io::Error::from_raw_os_error(n)
}

/// The link's speed, bit/s: the fastest of the bits of OpenFlow's features.
fn speed(features: Option<LinkFeatures>) -> u64 {
    const MBPS: [u64; 10] = [
        10, 10, 100, 100, 1000, 1000, 10_000, 40_000, 100_000, 1_000_000,
    ];
    let current = features.map_or(0, |f| f.current);
    let fastest = (0..MBPS.len()).rev().find(|bit| current & 1 << bit != 0);
    fastest.map_or(DEFAULT_SPEED, |bit| MBPS[bit] * 1_000_000)
}

impl Tc {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self {
            link: Arc::clone(link),
            state: Mutex::default(),
        }
    }

    /// Disciplines that a device can have, whether this kernel has them or not.
    pub(crate) fn types() -> Vec<QosType> {
        let types = Kind::ALL.into_iter();
        types
            .map(|kind| QosType {
                name: kind.name().to_owned(),
                n_queues: if kind.has_classes() { QUEUES_MAX } else { 0 },
            })
            .collect()
    }

    fn error(&self, op: &'static str, e: io::Error) -> NetdevError {
        self.link.error(op, e)
    }
    fn mtu(&self) -> u32 {
        self.link.info().mtu
    }
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Object>> {
        let mut all = Vec::new();
        // The bits of a dump mean other things in other requests.
        let dumps = flags & NLM_F_DUMP == NLM_F_DUMP;
        let flags = flags | if dumps { 0 } else { NLM_F_ACK };
        self.link.host().ask(kind, flags, body, |m| {
            if matches!(m.kind, RTM_NEWQDISC | RTM_NEWTCLASS) {
                all.extend(Object::read(m));
            }
        })?;
        Ok(all)
    }
    fn index(&self) -> io::Result<u32> {
        self.link.index().ok_or_else(|| errno(libc::ENODEV))
    }

    // ---- the root qdisc

    /// Looks at what is there, once in the life of the device.
    fn load(&self, s: &mut State) -> io::Result<()> {
        let generation = self.link.generation();
        if s.generation == Some(generation) {
            return Ok(());
        }
        let index = self.index()?;
        let request = header(index, 0, ROOT, 0);
        let found = match self.ask(RTM_GETQDISC, NLM_F_ECHO, &request) {
            // No answer: a qdisc that the kernel gives devices by itself.
            Ok(found) => found.into_iter().next(),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => None,
            Err(e) => {
                base::log_rl!(
                    LOG,
                    WARN,
                    "netdev_linux",
                    "query {} qdisc failed ({})",
                    self.link.name(),
                    os_error(&e)
                );
                return Err(e);
            }
        };
        let scale = Scale::of_kernel();
        s.root = match found {
            // A qdisc without a handle is one that nobody configured.
            None => Root::Own,
            Some(o) if o.handle == 0 => Root::Own,
            Some(o) => match Discipline::read(&o, scale) {
                Some(d) => self.load_classes(index, d, scale),
                None => Root::Other,
            },
        };
        s.ours = false;
        s.generation = Some(generation);
        self.link
            .set_classful(s.root.kind().is_some_and(Kind::has_classes));
        Ok(())
    }

    fn load_classes(&self, index: u32, mut d: Discipline, scale: Scale) -> Root {
        let mut queues = BTreeMap::new();
        if d.kind.has_classes() {
            let dump = self.ask(RTM_GETTCLASS, NLM_F_DUMP, &header(index, 0, 0, 0));
            for class in dump.unwrap_or_default() {
                let Some(share) = Share::read(&class, d.kind, scale) else {
                    continue;
                };
                if class.handle == INNER {
                    d.max_rate = share.max_rate;
                } else if let Some(queue) = queue_of(class.handle) {
                    queues.insert(queue, Queue::new(share));
                }
            }
        }
        Root::Known(d, queues)
    }

    /// The discipline in force; an empty name for the device's own.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn qos(&self) -> Result<(String, QosDetails), NetdevError> {
        let mut s = lock(&self.state);
        self.load(&mut s).map_err(|e| self.error("get QoS", e))?;
        Ok(match &s.root {
            Root::Own => Default::default(),
            Root::Other => ("linux-other".to_owned(), QosDetails::new()),
            Root::Known(d, _) => (d.kind.name().to_owned(), d.details()),
        })
    }

    /// Puts a discipline in force; an empty name for the device's own.
    ///
    /// # Errors
    /// EOPNOTSUPP for an unknown discipline, EINVAL for an impossible setting, ENOENT for one that this kernel
    /// does not have, or what else it says.
    pub(crate) fn set_qos(&self, name: &str, details: &QosDetails) -> Result<(), NetdevError> {
        let kind = Kind::by_name(name);
        if kind.is_none() && !name.is_empty() {
            return Err(self.error("set QoS", errno(libc::EOPNOTSUPP)));
        }
        for (key, value) in unreadable(details) {
            tracing::warn!(target: "netdev_linux",
                "{}: {name}: {key}: {value:?} is not a number, taken as 0", self.link.name());
        }
        let mut s = lock(&self.state);
        s.wanted = kind.map(|k| (k, details.clone()));
        s.wanted_queues.clear();
        self.install(&mut s)
    }

    fn install(&self, s: &mut State) -> Result<(), NetdevError> {
        let wanted = s.wanted.clone();
        if matches!(wanted, Some((Kind::Noop, _))) {
            return Ok(());
        }
        self.load(s).map_err(|e| self.error("get QoS", e))?;
        let Some((kind, details)) = wanted else {
            return match s.root {
                Root::Own => Ok(()),
                _ => self.remove(s).map_err(|e| self.error("delete qdisc", e)),
            };
        };
        let speed = speed(self.link.features());
        let new =
            Discipline::new(kind, &details, speed, self.mtu()).map_err(|bad| self.refuse(&bad))?;
        if let Root::Known(now, _) = &mut s.root {
            s.ours = true;
            if *now == new {
                return Ok(());
            }
            if now.kind == new.kind && kind.has_classes() {
                // Only the rate of the inner class differs; the queues stay.
                self.put_class(INNER, QDISC, &Share::whole(&new), kind)?;
                *now = new;
                return Ok(());
            }
        }
        // Whatever was found: a qdisc that somebody put there may not be told when it is asked for (noqueue).
        self.remove(s).map_err(|e| self.error("delete qdisc", e))?;
        let done = self.add(&new);
        self.link.set_classful(done.is_ok() && kind.has_classes());
        match done {
            Ok(()) => {
                s.ours = true;
                s.root = Root::Known(new, BTreeMap::new());
                Ok(())
            }
            Err(e) => {
                base::log_rl!(
                    LOG,
                    WARN,
                    "netdev_linux",
                    "{}: Failed to install new qdisc: {}",
                    self.link.name(),
                    os_error(&errno(e.errno()))
                );
                Err(e)
            }
        }
    }

    fn refuse(&self, bad: &BadSetting) -> NetdevError {
        let e = NetdevError::BadOption {
            dev: self.link.name().to_owned(),
            key: bad.key.to_owned(),
            value: bad.value.clone(),
            expected: bad.expected.to_owned(),
        };
        base::log_rl!(LOG, WARN, "netdev_linux", "{e}");
        e
    }

    fn add(&self, d: &Discipline) -> Result<(), NetdevError> {
        let failed = |e| self.error("add qdisc", e);
        let index = self.index().map_err(failed)?;
        let mut body = header(index, QDISC, ROOT, 0);
        d.put(&mut body, Scale::of_kernel());
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RTM_NEWQDISC, flags, &body).map_err(failed)?;
        if d.kind.has_classes()
            && let Err(e) = self.put_class(INNER, QDISC, &Share::whole(d), d.kind)
        {
            // Half of it is worse than none.
            drop(self.ask(RTM_DELQDISC, 0, &header(index, 0, ROOT, 0)));
            return Err(e);
        }
        Ok(())
    }

    /// Takes the root qdisc away: the kernel gives the device its own.
    fn remove(&self, s: &mut State) -> io::Result<()> {
        let request = header(self.index()?, 0, ROOT, 0);
        match self.ask(RTM_DELQDISC, 0, &request) {
            Ok(_) => {}
            // There was none but the device's own.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {}
            Err(e) => {
                base::log_rl!(
                    LOG,
                    WARN,
                    "netdev_linux",
                    "{}: Failed to delete existing qdisc: {}",
                    self.link.name(),
                    os_error(&e)
                );
                return Err(e);
            }
        }
        s.root = Root::Own;
        s.ours = false;
        self.link.set_classful(false);
        Ok(())
    }

    // ---- queues

    fn put_class(
        &self,
        class: u32,
        parent: u32,
        share: &Share,
        kind: Kind,
    ) -> Result<(), NetdevError> {
        let failed = |e| self.error("set class", e);
        let mut body = header(self.index().map_err(failed)?, class, parent, 0);
        share.put(&mut body, kind, self.mtu(), Scale::of_kernel());
        self.ask(RTM_NEWTCLASS, NLM_F_CREATE, &body).map_err(|e| {
            let (major, minor) = (class >> 16, class & 0xffff);
            base::log_rl!(LOG, WARN, "netdev_linux",
                "failed to replace {} class {major}:{minor}, parent {}:{}, min_rate={} max_rate={} burst={} prio={} ({})",
                self.link.name(), parent >> 16, parent & 0xffff, share.min_rate, share.max_rate, share.burst,
                share.priority, os_error(&e));
            failed(e)
        })?;
        Ok(())
    }

    /// Makes or changes a queue.
    ///
    /// # Errors
    /// EINVAL: the discipline has no such queue. Or what the kernel says.
    pub(crate) fn set_queue(&self, id: u32, details: &QosDetails) -> Result<(), NetdevError> {
        for (key, value) in unreadable(details) {
            tracing::warn!(target: "netdev_linux",
                "{}: queue {id}: {key}: {value:?} is not a number, taken as 0", self.link.name());
        }
        let mut s = lock(&self.state);
        s.wanted_queues.insert(id, details.clone());
        self.install_queue(&mut s, id, details)
    }

    fn install_queue(
        &self,
        s: &mut State,
        id: u32,
        details: &QosDetails,
    ) -> Result<(), NetdevError> {
        self.load(s).map_err(|e| self.error("get QoS", e))?;
        let (d, queues) = s
            .root
            .classes()
            .filter(|_| id < QUEUES_MAX)
            .ok_or_else(|| self.error("set queue", errno(libc::EINVAL)))?;
        let share = Share::new(d, details, self.mtu());
        if queues.get(&id).is_some_and(|q| q.share == share) {
            return Ok(());
        }
        self.put_class(of_queue(id), INNER, &share, d.kind)?;
        let queue = queues.entry(id).or_insert_with(|| Queue::new(share));
        queue.share = share;
        Ok(())
    }

    /// Deletes a queue.
    ///
    /// # Errors
    /// EINVAL: the discipline has no queues; ENOENT: no such queue. Or what the kernel says.
    pub(crate) fn delete_queue(&self, id: u32) -> Result<(), NetdevError> {
        let failed = |e| self.error("delete queue", e);
        let mut s = lock(&self.state);
        s.wanted_queues.remove(&id);
        self.load(&mut s).map_err(failed)?;
        let (_, queues) = s
            .root
            .classes()
            .ok_or_else(|| failed(errno(libc::EINVAL)))?;
        if !queues.contains_key(&id) {
            return Err(failed(errno(libc::ENOENT)));
        }
        let class = of_queue(id);
        let request = header(self.index().map_err(failed)?, class, 0, 0);
        self.ask(RTM_DELTCLASS, 0, &request).map_err(|e| {
            base::log_rl!(
                LOG,
                WARN,
                "netdev_linux",
                "delete {} class {}:{} failed ({})",
                self.link.name(),
                class >> 16,
                class & 0xffff,
                os_error(&e)
            );
            failed(e)
        })?;
        queues.remove(&id);
        Ok(())
    }

    /// Queues with their details.
    ///
    /// # Errors
    /// EOPNOTSUPP: the discipline has no queues. Or what the kernel says.
    pub(crate) fn queues(&self) -> Result<Vec<(u32, QosDetails)>, NetdevError> {
        let failed = |e| self.error("dump queues", e);
        let mut s = lock(&self.state);
        self.load(&mut s).map_err(failed)?;
        let (d, queues) = s
            .root
            .classes()
            .ok_or_else(|| failed(errno(libc::EOPNOTSUPP)))?;
        let details = |(&id, q): (&u32, &Queue)| (id, q.share.details(d.kind));
        Ok(queues.iter().map(details).collect())
    }

    /// A queue's details.
    ///
    /// # Errors
    /// As [`Tc::queues`]; ENOENT: no such queue.
    pub(crate) fn queue(&self, id: u32) -> Result<QosDetails, NetdevError> {
        let mut all = self.queues()?.into_iter();
        let found = all.find(|(n, _)| *n == id).map(|(_, details)| details);
        found.ok_or_else(|| self.error("get queue", errno(libc::ENOENT)))
    }

    /// What a queue counted.
    ///
    /// # Errors
    /// As [`Tc::queue`].
    pub(crate) fn queue_stats(&self, id: u32) -> Result<QueueStats, NetdevError> {
        let failed = |e| self.error("get queue statistics", e);
        let mut s = lock(&self.state);
        self.load(&mut s).map_err(failed)?;
        let (_, queues) = s
            .root
            .classes()
            .ok_or_else(|| failed(errno(libc::EOPNOTSUPP)))?;
        let queue = queues.get(&id).ok_or_else(|| failed(errno(libc::ENOENT)))?;
        let request = header(self.index().map_err(failed)?, of_queue(id), INNER, 0);
        let found = self
            .ask(RTM_GETTCLASS, NLM_F_ECHO, &request)
            .map_err(failed)?;
        let counts = found
            .first()
            .ok_or_else(|| failed(errno(libc::ENOENT)))?
            .counts;
        Ok(QueueStats {
            tx_bytes: counts.bytes,
            tx_packets: counts.packets,
            tx_errors: counts.drops,
            created_ms: queue.created_ms,
        })
    }

    // ---- ingress policing

    /// Sets ingress policing.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn set_policing(&self, rates: [u32; 4]) -> Result<(), NetdevError> {
        let mut s = lock(&self.state);
        // Which life of the device this is for; what cannot be asked about does not stop policing.
        drop(self.load(&mut s));
        s.policing = PolicingRates::new(rates);
        self.police(s.policing)
            .map_err(|e| self.error("set policing", e))
    }

    fn police(&self, rates: PolicingRates) -> io::Result<()> {
        let name = self.link.name();
        let index = self.index()?;
        if let Err(e) = self.no_ingress(index) {
            base::log_rl!(
                LOG,
                WARN,
                "netdev_linux",
                "{name}: removing policing failed: {}",
                os_error(&e)
            );
            return Err(e);
        }
        if rates.is_off() {
            return Ok(());
        }
        let mut body = header(index, INGRESS_HANDLE, INGRESS, 0);
        attribute(&mut body, TCA_KIND, &string("ingress"));
        if let Err(e) = self.ask(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &body) {
            base::log_rl!(
                LOG,
                WARN,
                "netdev_linux",
                "{name}: adding policing qdisc failed: {}",
                os_error(&e)
            );
            return Err(e);
        }
        for filter in [Filter::Matchall, Filter::Basic] {
            let body = police::request(index, filter, &rates, Scale::of_kernel());
            match self.ask(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &body) {
                Ok(_) => return Ok(()),
                // The kernel has no such filter.
                Err(e) if filter == Filter::Matchall && e.raw_os_error() == Some(libc::ENOENT) => {}
                Err(e) => {
                    base::log_rl!(
                        LOG,
                        WARN,
                        "netdev_linux",
                        "{name}: adding cls_{} policing action failed: {}",
                        filter.name(),
                        os_error(&e)
                    );
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    fn no_ingress(&self, index: u32) -> io::Result<()> {
        let request = header(index, INGRESS_HANDLE, INGRESS, 0);
        match self.ask(RTM_DELQDISC, 0, &request) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Puts what was configured onto a device that is another one than before.
    pub(crate) fn reapply(&self) {
        let mut s = lock(&self.state);
        let stale = s.generation.is_some_and(|g| g != self.link.generation());
        if !stale {
            return;
        }
        if s.wanted.is_some() {
            // What does not work now was said.
            let queues = s.wanted_queues.clone();
            if self.install(&mut s).is_ok() {
                for (id, details) in &queues {
                    drop(self.install_queue(&mut s, *id, details));
                }
            }
        }
        if !s.policing.is_off() {
            drop(self.police(s.policing));
        }
    }
}

impl Drop for Tc {
    fn drop(&mut self) {
        let mut s = lock(&self.state);
        let here = s.generation == Some(self.link.generation());
        let Some(index) = self.link.index().filter(|_| here) else {
            return;
        };
        if s.ours {
            drop(self.remove(&mut s));
        }
        if !s.policing.is_off() {
            drop(self.no_ingress(index));
        }
    }
}

impl Root {
    const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Known(d, _) => Some(d.kind),
            Self::Own | Self::Other => None,
        }
    }
    /// The discipline and its queues, if it is one with classes.
    fn classes(&mut self) -> Option<(&Discipline, &mut BTreeMap<u32, Queue>)> {
        match self {
            Self::Known(d, queues) if d.kind.has_classes() => Some((d, queues)),
            _ => None,
        }
    }
}

impl Queue {
    fn new(share: Share) -> Self {
        Self {
            share,
            created_ms: monotonic_ns() / 1_000_000,
        }
    }
}
