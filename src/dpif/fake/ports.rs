//! The fake datapath's ports: names and numbers, no devices.

use crate::error::DpifError;
use crate::types::{DpifPort, PortChange, PortSpec};
use odp::OdpPort;

/// Port numbers end here.
const PORTS_MAX: u32 = 65_535;
/// Changes that are remembered for handles that have not asked yet.
const CHANGES_MAX: usize = 64;

/// Ports by number, and the names that changed lately.
#[derive(Debug)]
pub(super) struct Ports {
    all: Vec<DpifPort>,
    changed: Vec<String>,
}

impl Ports {
    /// The ports of a new datapath: its local port.
    pub(super) fn new(datapath: &str) -> Self {
        let local = DpifPort {
            number: OdpPort::LOCAL,
            name: datapath.to_owned(),
            class: "internal".to_owned(),
        };
        Self {
            all: vec![local],
            changed: Vec::new(),
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            all: Vec::new(),
            changed: Vec::new(),
        }
    }

    pub(super) fn all(&self) -> Vec<DpifPort> {
        self.all.clone()
    }

    pub(super) fn find(&self, which: impl Fn(&DpifPort) -> bool) -> Result<DpifPort, DpifError> {
        let found = self.all.iter().find(|p| which(p));
        found.cloned().ok_or(DpifError::NoDevice)
    }

    pub(super) fn add(&mut self, spec: &PortSpec) -> Result<OdpPort, DpifError> {
        let taken = |n: OdpPort| self.all.iter().any(|p| p.number == n);
        if self.all.iter().any(|p| p.name == spec.name) {
            return Err(DpifError::Exists);
        }
        let number = match spec.number {
            Some(n) if taken(n) => return Err(DpifError::Busy),
            Some(n) => n,
            None => (1..=PORTS_MAX)
                .map(OdpPort)
                .find(|&n| !taken(n))
                .ok_or(DpifError::TooBig)?,
        };
        self.all.push(DpifPort {
            number,
            name: spec.name.clone(),
            class: spec.class.clone(),
        });
        self.all.sort_by_key(|p| p.number);
        self.changed.push(spec.name.clone());
        Ok(number)
    }

    pub(super) fn remove(&mut self, port: OdpPort) -> Result<(), DpifError> {
        if port == OdpPort::LOCAL {
            return Err(DpifError::Invalid);
        }
        let name = self.find(|p| p.number == port)?.name;
        self.all.retain(|p| p.number != port);
        self.changed.push(name);
        Ok(())
    }

    pub(super) fn n_changes(&self) -> u64 {
        self.changed.len() as u64
    }

    /// The change after the first `seen` ones, and how many were seen with it.
    pub(super) fn change_after(&self, seen: u64) -> Option<(PortChange, u64)> {
        let missed = usize::try_from(self.n_changes().checked_sub(seen)?).ok()?;
        match missed {
            0 => None,
            1..CHANGES_MAX => {
                let name = &self.changed[self.changed.len() - missed];
                Some((PortChange::Port(name.clone()), seen + 1))
            }
            _ => Some((PortChange::All, self.n_changes())),
        }
    }
}
