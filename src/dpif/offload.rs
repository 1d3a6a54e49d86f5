//! Telling devices of the flows that are put into a userspace datapath (`other_config:hw-offload`).
//!
//! Off until [`crate::Registry::enable_offload`], and never off again, as with Open vSwitch. Each flow
//! gets a mark, and the device of its ingress port is told, if it offers a table of its own.
//!
//! Any control thread; one lock.

use crate::types::{Dpif, FlowPut};
use base::sync::{Arc, Mutex, OnceLock, lock};
use flow::{Flow, Mask, Match, Metadata, Vlan};
use netdev::flow_offload::{OffloadFlow, PacketMatcher};
use netdev::{Device, Registry};
use odp::{OdpPort, Ufid};
use std::collections::BTreeMap;

/// Whether flows are offloaded, and where devices are found. Shared by all datapaths of a registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switch(Arc<OnceLock<Registry>>);

impl Switch {
    pub(crate) fn on(&self, devices: &Registry) {
        if self.0.set(devices.clone()).is_ok() {
            tracing::info!(target: "netdev_offload", "netdev: Flow API Enabled");
        }
    }
}

/// The offloaded flows of one datapath: mark and device.
#[derive(Debug)]
pub(crate) struct Offload {
    switch: Switch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    flows: BTreeMap<Ufid, (u32, String)>,
    last_mark: u32,
}

impl Offload {
    pub(crate) fn new(switch: Switch) -> Self {
        Self {
            switch,
            state: Mutex::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.switch.0.get().is_some()
    }

    /// A flow was put.
    pub(crate) fn put(&self, dpif: &dyn Dpif, ufid: Ufid, put: &FlowPut) {
        let Some(devices) = self.switch.0.get() else {
            return;
        };
        let in_port = OdpPort(put.key.in_port.get());
        let port = dpif.port_by_number(in_port).ok();
        let Some(device) = port.and_then(|p| devices.get(&p.name)) else {
            return;
        };
        let Some(table) = device.flow_offload() else {
            return;
        };
        let mut state = lock(&self.state);
        let known = state.flows.get(&ufid).map(|(mark, _)| *mark);
        let mark = known.unwrap_or(state.last_mark + 1);
        state.last_mark = state.last_mark.max(mark);
        table.flow_put(ufid.0, describe(ufid, put, mark));
        state.flows.insert(ufid, (mark, device.name().to_owned()));
        let op = if known.is_some() { "modify" } else { "add" };
        tracing::debug!(target: "dpif_netdev", "succeed to {op} netdev flow {ufid}");
    }

    /// A flow was removed.
    pub(crate) fn del(&self, ufid: Ufid) {
        let Some(devices) = self.switch.0.get() else {
            return;
        };
        let Some((_, name)) = lock(&self.state).flows.remove(&ufid) else {
            return;
        };
        let device = devices.get(&name);
        let table = device.as_deref().and_then(Device::flow_offload);
        let done = table.is_some_and(|t| t.flow_del(ufid.0));
        let outcome = if done { "succeed" } else { "failed" };
        tracing::debug!(target: "dpif_netdev", "{outcome} to delete netdev flow {ufid}");
    }

    /// All flows were removed.
    pub(crate) fn flush(&self) {
        let all: Vec<Ufid> = lock(&self.state).flows.keys().copied().collect();
        all.into_iter().for_each(|ufid| self.del(ufid));
    }
}

fn describe(ufid: Ufid, put: &FlowPut, mark: u32) -> OffloadFlow {
    let mut mask = *put.mask;
    if mask.0.vlans[0].tci.get() == 0 {
        // A flow without a match on tags matches packets without tag only.
        mask.0.vlans[0].tci.set(Vlan::CFI | Vlan::VID_MASK);
    }
    // That there is no further tag is not said.
    let mut told = mask;
    for (i, tag) in put.key.vlans.iter().enumerate().skip(1) {
        if !tag.is_present() {
            told.0.vlans[i].tci.set(0);
        }
    }
    let text = Match::new(&put.key, &told).to_string();
    told.0.in_port.set(0);
    mask.0.in_port.set(0);
    OffloadFlow {
        name: format!("ufid:{ufid}"),
        mark,
        text,
        text_any_port: Match::new(&put.key, &told).to_string(),
        matcher: Box::new(Matcher {
            key: *put.key,
            mask,
        }),
    }
}

#[derive(Debug)]
struct Matcher {
    key: Flow,
    mask: Mask,
}

impl PacketMatcher for Matcher {
    fn matches(&self, packet: &[u8]) -> Option<String> {
        let mut key = Flow::zero();
        flow::extract(packet, &Metadata::default(), &mut key);
        let equal = self.key.equals_under(&key, &self.mask);
        equal.then(|| key.to_string())
    }
}
