//! Ports: numbers, devices, queues; re-attaching devices that went away and came back.

use super::settings::parse_affinity;
use super::threads::recent_cycles;
use super::{Admin, Datapath, assign};
use crate::limits::PORTS_MAX;
use crate::pmd::{RxSlot, RxqLoad};
use crate::steering::Steered;
use crate::upcall::PortQuota;
use base::cpu::CoreId;
use base::sync::{Arc, Ordering, lock};
use dpif::{DpifError, DpifPort, PmdId, PortSpec};
use netdev::{Device, DeviceFlags, NetdevError, RxQueue, TxQueue, TxReport};
use odp::OdpPort;
use packet::Batch;
use std::collections::BTreeMap;

/// One rx queue of a port.
#[derive(Debug)]
struct Queue {
    load: Arc<RxqLoad>,
    /// Here while nobody polls it.
    idle: Option<Box<dyn RxQueue>>,
    polled_by: Option<PmdId>,
}

/// A port of the datapath.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: OdpPort,
    pub(crate) device: Arc<dyn Device>,
    pub(super) quota: Arc<PortQuota>,
    queues: Vec<Queue>,
    affinity: BTreeMap<u32, CoreId>,
    /// `emc-enable`: only told to the log, see [`super::settings`].
    emc: bool,
    /// `tx-steering=hash`: every packet thread sends through all tx queues.
    steered: bool,
    /// The device was told to reconfigure and failed; it is tried again.
    closed: bool,
}

/// Stands in for the sender of a device that cannot be opened: everything is an error.
#[derive(Debug)]
pub(super) struct NoTx;

impl TxQueue for NoTx {
    fn send(&mut self, batch: &mut Batch) -> TxReport {
        let error = batch.len() as u32;
        batch.release_all();
        TxReport {
            error,
            ..TxReport::default()
        }
    }
}

fn netdev_error(e: &NetdevError) -> DpifError {
    DpifError::Netdev(e.to_string())
}

impl Port {
    /// Whether anything can leave by it. Not by a tunnel's own port: headers are pushed before, and another
    /// device sends them; what an action sends there all the same has no such port.
    pub(super) fn sends(&self) -> bool {
        self.device.tunnel_config().is_none()
    }

    /// A sender for packet thread number `txq`.
    pub(super) fn open_tx(&self, txq: u32) -> Box<dyn TxQueue> {
        if self.closed {
            return Box::new(NoTx);
        }
        let n = self.device.n_txq();
        let opened = if self.steered && n > 1 {
            let queues: Result<_, _> = (0..n).map(|q| self.device.tx_open(q)).collect();
            queues.map(|q| Box::new(Steered::new(q)) as Box<dyn TxQueue>)
        } else {
            self.device.tx_open(txq)
        };
        opened.unwrap_or_else(|e| {
            tracing::warn!(target: "dpif_netdev", "{}: cannot send: {e}", self.device.name());
            Box::new(NoTx)
        })
    }

    /// Tells the device how many threads will send. Steered senders share its queues, all of them.
    pub(super) fn announce_senders(&self, threads: u32) {
        let n = if self.steered { u32::MAX } else { threads };
        self.device.request_txq(n.max(1));
    }

    /// Opens all rx queues. A device that cannot receive has none.
    fn open_rx(&mut self) -> Result<(), NetdevError> {
        self.queues.clear();
        for q in 0..self.device.n_rxq() {
            let idle = match self.device.rx_open(q) {
                Ok(rx) => Some(rx),
                Err(NetdevError::CannotReceive { .. }) => continue,
                Err(e) => return Err(e),
            };
            self.queues.push(Queue {
                load: Arc::default(),
                idle,
                polled_by: None,
            });
        }
        Ok(())
    }

    pub(super) fn n_queues(&self) -> u32 {
        u32::try_from(self.queues.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn describe_queues(&self) -> Vec<assign::Rxq> {
        let numa = self.device.numa_id();
        let queues = self.queues.iter().zip(0..);
        queues
            .map(|(q, queue)| assign::Rxq {
                port: self.number.0,
                queue,
                numa,
                cycles: recent_cycles(&q.load),
                pinned: self.affinity.get(&queue).copied(),
            })
            .collect()
    }

    /// The thread that polls a queue.
    pub(super) fn polled_by(&self, queue: u32) -> Option<PmdId> {
        self.queues.get(queue as usize)?.polled_by
    }

    /// Takes a queue back from the thread that polled it.
    pub(super) fn put_back(&mut self, slot: RxSlot) {
        if let Some(q) = self.queues.get_mut(slot.queue as usize) {
            q.idle = Some(slot.rx);
            q.polled_by = None;
        }
    }

    /// Takes a queue out, to be polled by a thread.
    pub(super) fn take_out(&mut self, queue: u32, by: PmdId) -> Option<RxSlot> {
        let port = self.number;
        let q = self.queues.get_mut(queue as usize)?;
        let rx = q.idle.take()?;
        q.polled_by = Some(by);
        Some(RxSlot {
            port,
            queue,
            rx,
            load: Arc::clone(&q.load),
            gone: q.load.gone.load(Ordering::Relaxed),
        })
    }

    /// Queue loads with the thread that polls each.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (u32, Option<PmdId>, &Arc<RxqLoad>)> {
        let queues = self.queues.iter().zip(0..);
        queues.map(|(q, n)| (n, q.polled_by, &q.load))
    }

    fn set_emc(&mut self, config: &BTreeMap<String, String>, probability: &str) {
        let on = config.get("emc-enable").is_none_or(|v| v != "false");
        if on == std::mem::replace(&mut self.emc, on) {
            return;
        }
        let name = self.device.name();
        if on {
            tracing::info!(target: "dpif_netdev",
                "{name}: EMC has been enabled. Current insertion probability is {probability}.");
        } else {
            tracing::info!(target: "dpif_netdev", "{name}: EMC has been disabled.");
        }
    }

    /// True when it changed.
    fn set_steering(&mut self, config: &BTreeMap<String, String>) -> bool {
        let steered = config.get("tx-steering").is_some_and(|v| v == "hash");
        if steered == std::mem::replace(&mut self.steered, steered) {
            return false;
        }
        let mode = if steered { "hash" } else { "thread" };
        tracing::info!(target: "dpif_netdev",
            "{}: Tx packet steering mode has been set to '{mode}'.", self.device.name());
        true
    }

    pub(super) fn show(&self) -> DpifPort {
        DpifPort {
            number: self.number,
            name: self.device.name().to_owned(),
            class: self.device.class().to_owned(),
        }
    }
}

impl Datapath {
    /// Adds a port. See `Dpif::port_add`.
    pub(crate) fn port_add(&self, spec: &PortSpec) -> Result<OdpPort, DpifError> {
        let mut admin = lock(&self.admin);
        if admin.destroyed {
            return Err(DpifError::NoDevice);
        }
        if admin.ports.values().any(|p| p.device.name() == spec.name) {
            return Err(DpifError::Exists);
        }
        let number = match spec.number {
            Some(n) if admin.ports.contains_key(&n.0) => return Err(DpifError::Busy),
            Some(n) if n.0 >= PORTS_MAX => return Err(DpifError::TooBig),
            Some(n) => n,
            None => self
                .choose_number(&admin, &spec.name)
                .ok_or(DpifError::TooBig)?,
        };
        let device = (self.env.open)(&spec.name, &spec.class).map_err(|e| netdev_error(&e))?;
        let port = self.open_port(number, device)?;
        let then = self.ledger().remove(&number).unwrap_or_default();
        lock(&self.before).insert(number, then);
        admin.ports.insert(number.0, port);
        // A first polled port makes the threads, which then get this port with all others.
        let before = self.pmds();
        self.adjust_threads(&mut admin);
        if let Some(port) = admin.ports.get(&number.0) {
            for pmd in before.iter() {
                self.give_port(pmd, port);
            }
        }
        self.assign_queues(&mut admin);
        drop(admin);
        self.port_changed(&spec.name);
        Ok(number)
    }

    fn open_port(&self, number: OdpPort, device: Arc<dyn Device>) -> Result<Port, DpifError> {
        if device.flags().loopback {
            tracing::error!(target: "dpif_netdev",
                "{}: cannot add a loopback device", device.name());
            return Err(DpifError::Invalid);
        }
        if device.needs_reconfigure() {
            device.reconfigure().map_err(|e| netdev_error(&e))?;
        }
        let mut port = Port {
            number,
            device,
            quota: Arc::default(),
            queues: Vec::new(),
            affinity: BTreeMap::new(),
            emc: true,
            steered: false,
            closed: false,
        };
        port.open_rx().map_err(|e| netdev_error(&e))?;
        let promisc = DeviceFlags {
            promisc: true,
            ..DeviceFlags::default()
        };
        match port.device.update_flags(promisc, DeviceFlags::default()) {
            Ok(()) | Err(NetdevError::NotSupported { .. }) => Ok(port),
            Err(e) => {
                tracing::error!(target: "dpif_netdev",
                    "{}: cannot set promisc flag", port.device.name());
                Err(netdev_error(&e))
            }
        }
    }

    /// The number a port gets when it may have any: for type `dummy` the number in its name (`br*` counts
    /// from 100), so that tests know it; else the lowest free one.
    fn choose_number(&self, admin: &Admin, name: &str) -> Option<OdpPort> {
        let free = |n: &u32| *n < PORTS_MAX && !admin.ports.contains_key(n);
        let digits: String = name
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        if self.is_dummy()
            && let Ok(n) = digits.parse::<u32>()
        {
            let n = n.saturating_add(if name.starts_with("br") { 100 } else { 0 });
            if n > 0 && free(&n) {
                return Some(OdpPort(n));
            }
        }
        (1..PORTS_MAX).find(free).map(OdpPort)
    }

    /// Removes a port. See `Dpif::port_del`.
    pub(crate) fn port_del(&self, number: OdpPort) -> Result<(), DpifError> {
        if number == OdpPort::LOCAL {
            return Err(DpifError::Invalid);
        }
        let mut admin = lock(&self.admin);
        let name = self.remove_port(&mut admin, number)?;
        self.adjust_threads(&mut admin);
        self.assign_queues(&mut admin);
        drop(admin);
        self.port_changed(&name);
        Ok(())
    }

    fn remove_port(&self, admin: &mut Admin, number: OdpPort) -> Result<String, DpifError> {
        let port = admin.ports.remove(&number.0).ok_or(DpifError::NoDevice)?;
        for pmd in self.pmds().iter() {
            drop(Self::take_port(pmd, number));
        }
        Ok(port.device.name().to_owned())
    }

    /// Removes everything.
    pub(crate) fn destroy(&self) -> Result<(), DpifError> {
        let mut admin = lock(&self.admin);
        if std::mem::replace(&mut admin.destroyed, true) {
            return Err(DpifError::NoDevice);
        }
        let numbers: Vec<u32> = admin.ports.keys().copied().collect();
        for number in numbers {
            self.remove_port(&mut admin, OdpPort(number))?;
        }
        self.adjust_threads(&mut admin);
        self.flow_flush();
        Ok(())
    }

    /// Something about every port.
    pub(crate) fn each_port<T>(&self, mut f: impl FnMut(&Port) -> T) -> Vec<T> {
        lock(&self.admin).ports.values().map(&mut f).collect()
    }

    /// The first port that `is_it` accepts.
    pub(crate) fn find_port(&self, is_it: impl Fn(&Port) -> bool) -> Result<DpifPort, DpifError> {
        let admin = lock(&self.admin);
        let found = admin.ports.values().find(|p| is_it(p));
        found.map(Port::show).ok_or(DpifError::NoDevice)
    }

    /// Sets a port's options. See `Dpif::port_set_config`.
    pub(crate) fn port_set_config(
        &self,
        number: OdpPort,
        config: &BTreeMap<String, String>,
    ) -> Result<(), DpifError> {
        let mut admin = lock(&self.admin);
        let probability = admin.settings.emc_probability();
        let port = admin.ports.get_mut(&number.0).ok_or(DpifError::NoDevice)?;
        port.set_emc(config, &probability);
        if !port.device.is_pmd() {
            return Ok(());
        }
        let list = config.get("pmd-rxq-affinity").map_or("", |s| s);
        let affinity = parse_affinity(list).ok_or(DpifError::Invalid)?;
        let pinned_anew = port.affinity != affinity;
        port.affinity = affinity;
        if port.set_steering(config) {
            let n = self.pmds().len() - 1;
            port.announce_senders(u32::try_from(n).unwrap_or(u32::MAX));
            self.reopen_sender(port);
        }
        if pinned_anew {
            self.assign_queues(&mut admin);
        }
        Ok(())
    }

    /// Assigns all queues anew, by the load they have now.
    pub fn rebalance(&self) {
        self.assign_queues(&mut lock(&self.admin));
    }

    /// Sets `other_config`. See `Dpif::set_config`.
    pub(crate) fn set_config(&self, config: &BTreeMap<String, String>) {
        let mut admin = lock(&self.admin);
        let settings = super::Settings::parse(config);
        super::Settings::complain(config);
        settings.announce(admin.configured.then_some(&admin.settings));
        admin.configured = true;
        self.common.upcalls.set_budget(settings.upcall_budget);
        self.tune(&settings);
        let old = std::mem::replace(&mut admin.settings, settings);
        let s = &admin.settings;
        let reassign = old.algorithm != s.algorithm || old.isolate != s.isolate;
        if self.adjust_threads(&mut admin) || reassign {
            self.assign_queues(&mut admin);
        }
    }

    /// Tells all packet threads.
    fn tune(&self, s: &super::Settings) {
        let tuning = &self.common.tuning;
        let sleep = s.max_sleep_us.unwrap_or(u64::MAX);
        tuning.max_sleep_us.store(sleep, Ordering::Relaxed);
        tuning.metrics.store(s.metrics, Ordering::Relaxed);
        let load = if s.balance.enabled {
            u64::from(s.balance.load)
        } else {
            u64::MAX
        };
        tuning.overload_percent.store(load, Ordering::Relaxed);
    }

    /// Reconfigures every port whose device asks for it; the others go on forwarding. True when any did.
    pub(crate) fn run(&self) -> bool {
        let mut admin = lock(&self.admin);
        let asking: Vec<u32> = (admin.ports.values())
            .filter(|p| p.device.needs_reconfigure())
            .map(|p| p.number.0)
            .collect();
        for &number in &asking {
            self.reconfigure(&mut admin, OdpPort(number));
        }
        if !asking.is_empty() || self.wants_balance(&mut admin) {
            self.assign_queues(&mut admin);
        }
        !asking.is_empty()
    }

    /// Closes a port's queues, lets its device reconfigure, and opens them again.
    fn reconfigure(&self, admin: &mut Admin, number: OdpPort) {
        let Some(port) = admin.ports.get_mut(&number.0) else {
            return;
        };
        let pmds = self.pmds();
        for pmd in pmds.iter() {
            let taken = pmd.call(move |p| {
                let tx = p.exec.outs.add(number.0, Box::new(NoTx));
                (p.take_rxqs(number, None), tx)
            });
            drop(taken);
        }
        port.queues.clear();
        let done = port.device.reconfigure().and_then(|()| port.open_rx());
        port.closed = done.is_err();
        if let Err(e) = done {
            port.queues.clear();
            base::log_rl!(
                RECONFIGURE,
                ERROR,
                "dpif_netdev",
                "Failed to set interface {} new configuration: {}",
                port.device.name(),
                e
            );
            return;
        }
        for pmd in pmds.iter().filter(|_| port.sends()) {
            let tx = port.open_tx(pmd.txq);
            drop(pmd.call(move |p| p.exec.outs.add(number.0, tx)));
        }
        let name = port.device.name().to_owned();
        self.port_changed(&name);
    }
}

static RECONFIGURE: base::log::RateLimit = base::log::RateLimit::new(1, 5);
