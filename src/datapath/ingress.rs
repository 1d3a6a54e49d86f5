//! [`Ingress`]: what a packet thread keeps for each port that packets come in on.

use crate::ledger::{Ledger, PortLedger};
use crate::limits::PORTS_MAX;
use crate::upcall::{Budget, PortQuota};
use base::sync::Arc;
use odp::OdpPort;

/// One ingress port.
#[derive(Debug)]
pub(crate) struct Ingress {
    pub(crate) ledger: Arc<PortLedger>,
    pub(crate) quota: Arc<PortQuota>,
    pub(crate) budget: Budget,
}

/// Ingress ports by number. One more stands for every number that is no port here, so that looking up
/// never fails.
#[derive(Debug)]
pub(crate) struct Ingresses {
    ports: Vec<Option<Box<Ingress>>>,
    other: Box<Ingress>,
}

impl Ingresses {
    pub(crate) fn new(ledger: &Ledger, budget: Budget) -> Self {
        Self {
            ports: Vec::new(),
            other: Box::new(Ingress {
                ledger: ledger.open(OdpPort::NONE),
                quota: Arc::default(),
                budget,
            }),
        }
    }

    pub(crate) fn add(&mut self, port: u32, ingress: Ingress) {
        let at = port as usize;
        debug_assert!(port < PORTS_MAX);
        if self.ports.len() <= at {
            self.ports.resize_with(at + 1, || None);
        }
        self.ports[at] = Some(Box::new(ingress));
    }

    pub(crate) fn remove(&mut self, port: u32) {
        if let Some(slot) = self.ports.get_mut(port as usize) {
            *slot = None;
        }
    }

    #[inline]
    pub(crate) fn of(&self, port: OdpPort) -> &Ingress {
        match self.ports.get(port.0 as usize) {
            Some(Some(ingress)) => ingress,
            _ => &self.other,
        }
    }

    #[inline]
    pub(crate) fn of_mut(&mut self, port: OdpPort) -> &mut Ingress {
        match self.ports.get_mut(port.0 as usize) {
            Some(Some(ingress)) => ingress,
            _ => &mut self.other,
        }
    }

    /// The ledger of a port.
    #[inline]
    pub(crate) fn ledger(&self, port: OdpPort) -> &PortLedger {
        &self.of(port).ledger
    }
}
