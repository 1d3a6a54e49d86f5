//! Ports as controllers see them. What they are in the datapath is told to this room, not known here.

use crate::event::{ConnId, Event};
use crate::port_numbers::PortNumbers;
use crate::switch::Ofproto;
use base::clock::Nanos;
use flow::OfPort;
use openflow::{OfpError, PortConfig, PortDesc, PortMod, PortReason, PortState};
use std::collections::BTreeMap;

/// A port.
#[derive(Debug, Clone)]
pub struct Port {
    /// What controllers are shown.
    pub desc: PortDesc,
    /// When it was added.
    pub created: Nanos,
    /// It may be live when its link is up (bonds, BFD, CFM, LACP do not object).
    may_enable: bool,
}

/// All ports of a bridge, and the numbers they have and had.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    by_number: BTreeMap<OfPort, Port>,
    numbers: PortNumbers,
}

/// `state` with the "live" bit as the rest demands it.
fn normalize(config: PortConfig, state: PortState, may_enable: bool) -> PortState {
    let dead = config.contains(PortConfig::PORT_DOWN)
        || state.contains(PortState::LINK_DOWN)
        || !may_enable;
    if dead {
        state - PortState::LIVE
    } else {
        state | PortState::LIVE
    }
}

impl Ofproto {
    /// Ports, ascending by number.
    pub fn ports(&self) -> impl Iterator<Item = &Port> + '_ {
        self.ports.by_number.values()
    }

    /// A port by number.
    #[must_use]
    pub fn port(&self, number: OfPort) -> Option<&Port> {
        self.ports.by_number.get(&number)
    }

    /// A port by name.
    #[must_use]
    pub fn port_by_name(&self, name: &str) -> Option<&Port> {
        self.ports().find(|p| p.desc.name == name)
    }

    /// The number a new port of this name gets: `LOCAL` when it has the bridge's name, else `wanted` if that
    /// is free. `None` when all are in use.
    pub fn allocate_port(
        &mut self,
        name: &str,
        wanted: Option<OfPort>,
        now: Nanos,
    ) -> Option<OfPort> {
        if name == self.name() {
            return Some(OfPort::LOCAL);
        }
        self.ports.numbers.allocate(wanted, now)
    }

    /// Gives back a number that [`Ofproto::allocate_port`] gave and no port has.
    pub fn release_port(&mut self, number: OfPort, now: Nanos) {
        self.ports.numbers.release(number, now);
    }

    /// Adds a port, or changes what the device says of it: of the configuration only "down", of the state
    /// only "no link". Controllers are told.
    pub fn put_port(&mut self, mut desc: PortDesc, now: Nanos) {
        let number = desc.port_no;
        let moved = |p: &Port| p.desc.name == desc.name && p.desc.port_no != number;
        let other = self.port(number).is_some_and(|p| p.desc.name != desc.name);
        let stale: Vec<_> = self
            .ports()
            .filter(|p| moved(p))
            .map(|p| p.desc.port_no)
            .collect();
        for n in stale.into_iter().chain(other.then_some(number)) {
            self.remove_port(n, now);
        }
        let Some(port) = self.ports.by_number.get_mut(&number) else {
            let new = Port {
                desc: desc.clone(),
                created: now,
                may_enable: false,
            };
            self.ports.by_number.insert(number, new);
            self.tell_port(PortReason::Add, None, desc, None);
            return;
        };
        desc.config |= port.desc.config - PortConfig::PORT_DOWN;
        let state = desc.state | (port.desc.state - PortState::LINK_DOWN);
        desc.state = normalize(desc.config, state, port.may_enable);
        if port.desc != desc {
            let old = std::mem::replace(&mut port.desc, desc.clone());
            self.tell_port(PortReason::Modify, Some(old), desc, None);
        }
    }

    /// Removes a port; its number rests for a while.
    pub fn remove_port(&mut self, number: OfPort, now: Nanos) {
        if let Some(port) = self.ports.by_number.remove(&number) {
            self.ports.numbers.release(number, now);
            self.tell_port(PortReason::Delete, None, port.desc, None);
        }
    }

    /// Says whether bonds, BFD, CFM and LACP let a port be live.
    pub fn set_port_enabled(&mut self, number: OfPort, may_enable: bool) {
        let Some(port) = self.ports.by_number.get_mut(&number) else {
            return;
        };
        if port.may_enable != may_enable {
            port.may_enable = may_enable;
            let state = port.desc.state;
            self.set_port_state(number, state);
        }
    }

    /// Sets the state of a port (spanning tree, blocking); "live" follows by itself.
    pub fn set_port_state(&mut self, number: OfPort, state: PortState) {
        let Some(port) = self.ports.by_number.get_mut(&number) else {
            return;
        };
        let state = normalize(port.desc.config, state, port.may_enable);
        if port.desc.state != state {
            let old = port.desc.clone();
            port.desc.state = state;
            let new = port.desc.clone();
            self.tell_port(PortReason::Modify, Some(old), new, None);
        }
    }

    /// Checks a port mod.
    ///
    /// # Errors
    /// The port does not exist, or has another address.
    pub fn check_port_mod(&self, pm: &PortMod) -> Result<(), OfpError> {
        match self.port(pm.port_no) {
            None => Err(OfpError::OFPPMFC_BAD_PORT),
            Some(p) if p.desc.hw_addr != pm.hw_addr => Err(OfpError::OFPPMFC_BAD_HW_ADDR),
            Some(_) => Ok(()),
        }
    }

    /// Changes the configuration of a port: the bits of `mask` become those of `config`. Gives the bits that
    /// did change.
    pub fn set_port_config(
        &mut self,
        number: OfPort,
        config: PortConfig,
        mask: PortConfig,
        by: Option<ConnId>,
    ) -> PortConfig {
        let Some(port) = self.ports.by_number.get_mut(&number) else {
            return PortConfig::empty();
        };
        let toggle = (config ^ port.desc.config) & mask;
        if !toggle.is_empty() {
            let old = port.desc.clone();
            port.desc.config ^= toggle;
            port.desc.state = normalize(port.desc.config, port.desc.state, port.may_enable);
            let new = port.desc.clone();
            self.tell_port(PortReason::Modify, Some(old), new, by);
        }
        toggle
    }

    fn tell_port(
        &mut self,
        reason: PortReason,
        old: Option<PortDesc>,
        new: PortDesc,
        by: Option<ConnId>,
    ) {
        let old = old.map(Box::new);
        self.events.push(Event::Port {
            reason,
            old,
            new: Box::new(new),
            by,
        });
    }
}
