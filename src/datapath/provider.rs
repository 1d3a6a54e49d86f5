//! [`NetdevProvider`]: the datapath types `netdev` and `dummy`, which are the same code.

use crate::dp::{Datapath, DpHandle, Environment};
use base::sync::{Arc, Mutex, lock};
use dpif::{Dpif, DpifError, PortSpec, Provider};
use odp::OdpPort;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug)]
pub struct NetdevProvider {
    type_name: &'static str,
    env: Environment,
    datapaths: Arc<Mutex<BTreeMap<String, Arc<Datapath>>>>,
}

impl NetdevProvider {
    /// A provider of type `netdev`, whose internal ports are taps.
    #[must_use]
    pub fn netdev(env: Environment) -> Self {
        Self::of_type("netdev", env)
    }

    /// A provider of type `dummy`, for tests: internal ports are dummies, and a port gets the number that
    /// its name says.
    #[must_use]
    pub fn dummy(env: Environment) -> Self {
        Self::of_type("dummy", env)
    }

    fn of_type(type_name: &'static str, env: Environment) -> Self {
        Self {
            type_name,
            env,
            datapaths: Arc::default(),
        }
    }

    /// The datapath of that name.
    #[must_use]
    pub fn datapath(&self, name: &str) -> Option<Arc<Datapath>> {
        lock(&self.datapaths).get(name).cloned()
    }

    fn handle(&self, dp: Arc<Datapath>) -> Arc<dyn Dpif> {
        Arc::new(DpHandle::new(dp, Arc::clone(&self.datapaths)))
    }
}

impl Provider for NetdevProvider {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn enumerate(&self) -> Vec<String> {
        lock(&self.datapaths).keys().cloned().collect()
    }

    fn open(&self, name: &str, create: bool) -> Result<Arc<dyn Dpif>, DpifError> {
        let mut datapaths = lock(&self.datapaths);
        match (datapaths.get(name), create) {
            (Some(_), true) => Err(DpifError::Exists),
            (Some(dp), false) => Ok(self.handle(Arc::clone(dp))),
            (None, false) => Err(DpifError::NoDevice),
            (None, true) => {
                let dp = Datapath::create(self.type_name, name, &self.env)?;
                dp.port_add(&PortSpec {
                    name: name.to_owned(),
                    class: self.port_open_type("internal"),
                    number: Some(OdpPort::LOCAL),
                })?;
                datapaths.insert(name.to_owned(), Arc::clone(&dp));
                Ok(self.handle(dp))
            }
        }
    }

    fn port_open_type(&self, class: &str) -> String {
        match (class, self.type_name) {
            ("internal", "netdev") => "tap",
            ("internal", _) => "dummy-internal",
            _ => class,
        }
        .to_owned()
    }
}
