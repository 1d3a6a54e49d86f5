//! A datapath in memory, for tests: linear, single-threaded behind one lock, obviously right.
//!
//! `udpif` and `backer` are tested against it, and the real datapath is compared with it. Nothing is fast
//! here: a lookup walks all flows, a dump walks all flows again for each batch. Packets come in through
//! [`FakeDpif::inject`], which has processed the packet when it returns; what left is in
//! [`FakeDpif::take_output`].
//!
//! The errors are those of Open vSwitch's userspace datapath:
//!
//! | operation | error | when |
//! |---|---|---|
//! | put | Invalid | the mask does not cover `in_port` exactly; no such packet thread; the flow is there and neither create nor modify was asked |
//! | put | Exists | the flow (or one that overlaps it) is there, and only create was asked |
//! | put | NoEntry | the flow is not there, and create was not asked |
//! | get, del | NoEntry | no flow of that ufid |
//! | get, del | Invalid | no such packet thread |
//!
//! Whether a flow "is there" is decided by the key, not by the ufid: the first flow that matches the put's
//! key. A put with a mask that ignores VLANs still matches only packets without tag.
//!
//! Threads: any; one lock around everything.

mod flows;
mod ports;
mod run;
#[cfg(test)]
mod tests;
mod upcalls;

use crate::error::DpifError;
use crate::types::{
    DpStats, Dpif, DpifPort, FlowDump, FlowInfo, FlowSelect, Op, PmdId, PortChange, PortSpec,
    Provider, Upcall,
};
use base::clock::Clock;
use base::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, Seq, lock};
use flows::Flows;
use odp::{DropReason, Features, OdpPort};
use ports::Ports;
use run::Ledger;
use std::collections::BTreeMap;
use std::time::Duration;
use upcalls::Upcalls;

/// The type. Datapaths live until destroyed.
#[derive(Debug)]
pub struct FakeProvider {
    type_name: String,
    clock: Clock,
    datapaths: Mutex<BTreeMap<String, Arc<Core>>>,
}

impl FakeProvider {
    /// A type without datapaths.
    #[must_use]
    pub fn create(type_name: &str, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            type_name: type_name.to_owned(),
            clock,
            datapaths: Mutex::default(),
        })
    }

    /// Opens a datapath as what it is; otherwise as [`Provider::open`].
    ///
    /// # Errors
    /// NoDevice, Exists.
    pub fn open_fake(&self, name: &str, create: bool) -> Result<Arc<FakeDpif>, DpifError> {
        let mut all = lock(&self.datapaths);
        all.retain(|_, core| !lock(&core.state).destroyed);
        match (all.get(name), create) {
            (None, false) => return Err(DpifError::NoDevice),
            (Some(_), true) => return Err(DpifError::Exists),
            (None, true) => {
                let core = Core::new(&self.type_name, name, self.clock.clone());
                all.insert(name.to_owned(), Arc::new(core));
            }
            (Some(_), false) => {}
        }
        let core = Arc::clone(&all[name]);
        let seen = lock(&core.state).ports.n_changes();
        Ok(Arc::new(FakeDpif {
            core,
            changes_seen: AtomicU64::new(seen),
        }))
    }
}

impl Provider for FakeProvider {
    fn type_name(&self) -> &str {
        &self.type_name
    }
    fn enumerate(&self) -> Vec<String> {
        let mut all = lock(&self.datapaths);
        all.retain(|_, core| !lock(&core.state).destroyed);
        all.keys().cloned().collect()
    }
    fn open(&self, name: &str, create: bool) -> Result<Arc<dyn Dpif>, DpifError> {
        Ok(self.open_fake(name, create)?)
    }
    fn port_open_type(&self, class: &str) -> String {
        match class {
            "internal" => "dummy-internal".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// An open fake datapath.
#[derive(Debug)]
pub struct FakeDpif {
    core: Arc<Core>,
    /// Port changes that this handle was told of.
    changes_seen: AtomicU64,
}

/// The datapath itself, shared by its handles.
#[derive(Debug)]
struct Core {
    type_name: String,
    name: String,
    clock: Clock,
    /// Moves when an upcall is raised or handlers are to wake.
    upcall_seq: Seq,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    destroyed: bool,
    features: Features,
    pmds: Vec<PmdId>,
    refuse_puts: Option<DpifError>,
    ports: Ports,
    flows: Flows,
    upcalls: Upcalls,
    ledger: Ledger,
}

impl Core {
    fn new(type_name: &str, name: &str, clock: Clock) -> Self {
        Self {
            type_name: type_name.to_owned(),
            name: name.to_owned(),
            clock,
            upcall_seq: Seq::new(),
            state: Mutex::new(State {
                destroyed: false,
                features: Features::all(),
                pmds: vec![PmdId::NON_PMD],
                refuse_puts: None,
                ports: Ports::new(name),
                flows: Flows::default(),
                upcalls: Upcalls::default(),
                ledger: Ledger::default(),
            }),
        }
    }
}

impl FakeDpif {
    /// A new datapath of type `fake`, not known to any registry.
    #[must_use]
    pub fn standalone(name: &str, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::new(Core::new("fake", name, clock)),
            changes_seen: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.core.state)
    }

    /// Processes a packet that comes in on `port`: it is forwarded, parked or dropped when this returns.
    pub fn inject(&self, port: OdpPort, packet: &[u8]) {
        run::inject(&self.core, &mut self.state(), port, packet);
    }
    /// Everything sent since this was last asked, in order.
    #[must_use]
    pub fn take_output(&self) -> Vec<(OdpPort, Vec<u8>)> {
        std::mem::take(&mut self.state().ledger.output)
    }
    /// Injected packets and what became of them; see [`Ledger::difference`].
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let state = self.state();
        let mut ledger = state.ledger.clone();
        ledger.parked = state.upcalls.n_parked();
        ledger
    }
    /// All flows, oldest first.
    #[must_use]
    pub fn flows(&self) -> Vec<FlowInfo> {
        self.state().flows.all()
    }
    /// Sets what the datapath says it can do.
    pub fn set_features(&self, features: Features) {
        self.state().features = features;
    }
    /// Sets the packet threads; the first one takes all injected packets.
    pub fn set_pmds(&self, pmds: &[PmdId]) {
        self.state().pmds = pmds.to_vec();
    }
    /// Makes every put fail, or again work.
    pub fn refuse_puts(&self, error: Option<DpifError>) {
        self.state().refuse_puts = error;
    }
}

impl Dpif for FakeDpif {
    fn type_name(&self) -> &str {
        &self.core.type_name
    }
    fn name(&self) -> &str {
        &self.core.name
    }
    fn features(&self) -> Features {
        self.state().features.clone()
    }
    fn stats(&self) -> DpStats {
        let state = self.state();
        DpStats {
            n_hit: state.ledger.hits,
            n_missed: state.ledger.misses,
            n_lost: state.ledger.lost,
            n_flows: state.flows.len() as u64,
            n_masks: state.flows.n_masks(),
            ..DpStats::default()
        }
    }
    fn destroy(&self) -> Result<(), DpifError> {
        let mut state = self.state();
        if state.destroyed {
            return Err(DpifError::NoDevice);
        }
        run::purge(&mut state);
        state.destroyed = true;
        state.flows = Flows::default();
        state.ports = Ports::empty();
        Ok(())
    }

    fn port_add(&self, spec: &PortSpec) -> Result<OdpPort, DpifError> {
        self.state().ports.add(spec)
    }
    fn port_del(&self, port: OdpPort) -> Result<(), DpifError> {
        self.state().ports.remove(port)
    }
    fn port_by_number(&self, port: OdpPort) -> Result<DpifPort, DpifError> {
        self.state().ports.find(|p| p.number == port)
    }
    fn port_by_name(&self, name: &str) -> Result<DpifPort, DpifError> {
        self.state().ports.find(|p| p.name == name)
    }
    fn ports(&self) -> Vec<DpifPort> {
        self.state().ports.all()
    }
    fn port_poll(&self) -> Option<PortChange> {
        let state = self.state();
        let seen = self.changes_seen.load(Ordering::Relaxed);
        let (change, seen) = state.ports.change_after(seen)?;
        self.changes_seen.store(seen, Ordering::Relaxed);
        Some(change)
    }

    fn flow_flush(&self) -> Result<(), DpifError> {
        self.state().flows.clear();
        Ok(())
    }
    fn flow_dump(&self, select: FlowSelect) -> Box<dyn FlowDump> {
        Box::new(flows::Dump::new(Arc::clone(&self.core), select))
    }
    fn operate(&self, ops: &mut [Op]) {
        let mut state = self.state();
        for op in ops {
            run::operate(&self.core, &mut state, op);
        }
    }

    fn recv_set(&self, on: bool) {
        self.state().upcalls.on = on;
    }
    fn handlers_set(&self, n: u32) -> Result<(), DpifError> {
        if n == 0 {
            return Err(DpifError::Invalid);
        }
        self.state().upcalls.set_handlers(n);
        Ok(())
    }
    fn recv(&self, handler: u32) -> Option<Upcall> {
        self.state().upcalls.take(handler)
    }
    fn recv_wait(&self, handler: u32, timeout: Duration) -> bool {
        let seen = self.core.upcall_seq.read();
        if !self.state().upcalls.has(handler) {
            self.core.upcall_seq.wait(seen, timeout);
        }
        self.state().upcalls.has(handler)
    }
    fn recv_purge(&self) {
        run::purge(&mut self.state());
    }
    fn recv_wake(&self) {
        self.core.upcall_seq.change();
    }
    fn quiesce(&self, _timeout: Duration) -> bool {
        self.state().upcalls.n_parked() == 0
    }
    fn drops(&self) -> Vec<(OdpPort, DropReason, u64)> {
        let state = self.state();
        let all = state.ledger.drops.iter();
        all.map(|(&(port, reason), &n)| (port, reason, n)).collect()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
