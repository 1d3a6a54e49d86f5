//! [`Registry`]: the datapath types this process knows and the datapaths it has open.
//!
//! One per switch, cloned freely. What [`Registry::open`] and its sisters return logs every operation as
//! Open vSwitch's `dpif` module does. Threads: any control thread. Invariant: a type with open datapaths
//! cannot be unregistered.

use crate::error::DpifError;
use crate::front::Front;
use crate::offload::Switch;
use crate::types::{Dpif, Provider};
use base::clock::Clock;
use base::sync::{Arc, Mutex, Weak, lock};
use std::collections::{BTreeMap, BTreeSet};

/// The type of a datapath that is named without one.
pub const DEFAULT_TYPE: &str = "system";

/// Datapath types. A handle: clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    state: Arc<Mutex<State>>,
    clock: Clock,
    offload: Switch,
}

#[derive(Debug, Default)]
struct State {
    types: BTreeMap<String, Entry>,
    disallowed: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    provider: Arc<dyn Provider>,
    open: Vec<Weak<dyn Dpif>>,
}

/// How to open a datapath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It must not exist.
    Create,
    /// Whether it exists or not.
    CreateOrExisting,
}

impl Registry {
    /// A registry without types.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry without types, whose log lines show ages by `clock`.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// From now on, tells the devices of `devices` of the flows whose ingress ports they are. Cannot be
    /// undone.
    pub fn enable_offload(&self, devices: &netdev::Registry) {
        self.offload.on(devices);
    }

    /// Adds a type.
    ///
    /// # Errors
    /// Invalid when the type is disallowed, Exists when it is there.
    pub fn register(&self, provider: Arc<dyn Provider>) -> Result<(), DpifError> {
        let name = provider.type_name().to_owned();
        let mut state = lock(&self.state);
        if state.disallowed.contains(&name) {
            tracing::debug!(target: "dpif", "attempted to register disallowed provider: {name}");
            return Err(DpifError::Invalid);
        }
        if state.types.contains_key(&name) {
            tracing::warn!(target: "dpif",
                "attempted to register duplicate datapath provider: {name}");
            return Err(DpifError::Exists);
        }
        let entry = Entry {
            provider,
            open: Vec::new(),
        };
        state.types.insert(name, entry);
        Ok(())
    }

    /// Removes a type.
    ///
    /// # Errors
    /// UnknownType, or Busy while datapaths of it are open.
    pub fn unregister(&self, type_name: &str) -> Result<(), DpifError> {
        let mut state = lock(&self.state);
        let entry = state.types.get(type_name).ok_or(DpifError::UnknownType)?;
        if entry.open.iter().any(|d| d.strong_count() > 0) {
            tracing::warn!(target: "dpif",
                "attempted to unregister in use datapath provider: {type_name}");
            return Err(DpifError::Busy);
        }
        state.types.remove(type_name);
        Ok(())
    }

    /// Makes every later [`Registry::register`] of that type fail (`--disable-system`).
    pub fn disallow(&self, type_name: &str) {
        lock(&self.state).disallowed.insert(type_name.to_owned());
    }

    /// Names of the types, sorted.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        lock(&self.state).types.keys().cloned().collect()
    }

    /// A type by name.
    #[must_use]
    pub fn provider(&self, type_name: &str) -> Option<Arc<dyn Provider>> {
        let state = lock(&self.state);
        let entry = state.types.get(normalize_type(type_name))?;
        Some(Arc::clone(&entry.provider))
    }

    /// Names of the datapaths of a type that exist.
    ///
    /// # Errors
    /// UnknownType.
    pub fn enumerate(&self, type_name: &str) -> Result<Vec<String>, DpifError> {
        match self.provider(type_name) {
            Some(provider) => Ok(provider.enumerate()),
            None => {
                tracing::warn!(target: "dpif", "could not enumerate unknown type: {type_name}");
                Err(DpifError::UnknownType)
            }
        }
    }

    /// Opens a datapath.
    ///
    /// # Errors
    /// UnknownType; NoDevice when it must exist and does not, Exists when the other way round; what the
    /// provider says.
    pub fn open(
        &self,
        name: &str,
        type_name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn Dpif>, DpifError> {
        if mode != OpenMode::CreateOrExisting {
            return self.open_once(name, type_name, mode == OpenMode::Create);
        }
        match self.open_once(name, type_name, true) {
            Err(DpifError::Exists | DpifError::Busy) => {
                self.open_once(name, type_name, false).inspect_err(|e| {
                    tracing::warn!(target: "dpif",
                        "datapath {name} already exists but cannot be opened: {e}");
                })
            }
            other => other.inspect_err(|e| {
                tracing::warn!(target: "dpif", "failed to create datapath {name}: {e}");
            }),
        }
    }

    fn open_once(
        &self,
        name: &str,
        type_name: &str,
        create: bool,
    ) -> Result<Arc<dyn Dpif>, DpifError> {
        let type_name = normalize_type(type_name);
        let Some(provider) = self.provider(type_name) else {
            tracing::warn!(target: "dpif",
                "could not create datapath {name} of unknown type {type_name}");
            return Err(DpifError::UnknownType);
        };
        let inner = provider.open(name, create)?;
        let front = Front::new(inner, self.clock.clone()).with_offload(self.offload.clone());
        let dpif: Arc<dyn Dpif> = Arc::new(front);
        if let Some(entry) = lock(&self.state).types.get_mut(type_name) {
            entry.open.retain(|d| d.strong_count() > 0);
            entry.open.push(Arc::downgrade(&dpif));
        }
        Ok(dpif)
    }
}

/// The full spelling of a datapath type.
#[must_use]
pub fn normalize_type(type_name: &str) -> &str {
    if type_name.is_empty() {
        DEFAULT_TYPE
    } else {
        type_name
    }
}

/// Splits `[type@]name` into (name, type).
#[must_use]
pub fn parse_name(text: &str) -> (&str, &str) {
    match text.split_once('@') {
        Some((type_name, name)) => (name, normalize_type(type_name)),
        None => (text, DEFAULT_TYPE),
    }
}
