//! [`Registry`]: the classes this process knows and the devices it has open.
//!
//! One per switch, cloned freely; there are no globals, so a test can have as many as it likes. A device
//! is shared: opening a name twice gives the same device, and the last reference dropped closes it. The
//! registry itself only holds weak references.
//!
//! Threads: any control thread. Opening holds the device list's lock, so a provider's `open` must not
//! come back here. Invariants: a name is in the list at most once; a class with open devices cannot be
//! unregistered.

use crate::device::{Config, Device, Provider};
use crate::error::{NetdevError, os_error};
use base::sync::{Arc, Mutex, RwLock, Weak, lock, read, write};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;

/// The class of a device that was opened without saying which.
pub const DEFAULT_CLASS: &str = "system";

/// Port classes and open devices. A handle: clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Inner>);

/// A handle that does not keep the registry alive, for classes that open other ports.
#[derive(Debug, Clone)]
pub struct WeakRegistry(Weak<Inner>);

impl WeakRegistry {
    /// The registry, while anybody holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

#[derive(Debug, Default)]
struct Inner {
    classes: RwLock<BTreeMap<&'static str, Arc<dyn Provider>>>,
    devices: Mutex<BTreeMap<String, Entry>>,
    datapath_types: RwLock<BTreeSet<String>>,
}

#[derive(Debug)]
struct Entry {
    device: Weak<dyn Device>,
    /// Opened without a class; gives way to an open that names another class.
    auto: bool,
}

/// One line of [`Registry::devices`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDevice {
    /// Name.
    pub name: String,
    /// Class.
    pub class: &'static str,
    /// Holders, this listing not counted.
    pub references: usize,
}

impl Registry {
    /// A registry without classes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle for classes, which the registry holds itself.
    #[must_use]
    pub fn downgrade(&self) -> WeakRegistry {
        WeakRegistry(Arc::downgrade(&self.0))
    }

    /// Adds a class.
    ///
    /// # Errors
    /// [`NetdevError::DuplicateClass`]; then nothing was changed.
    pub fn register(&self, provider: Arc<dyn Provider>) -> Result<(), NetdevError> {
        let class = provider.class();
        let mut classes = write(&self.0.classes);
        if classes.contains_key(class) {
            let e = NetdevError::DuplicateClass(class.to_owned());
            tracing::warn!(target: "netdev", "{e}");
            return Err(e);
        }
        classes.insert(class, provider);
        Ok(())
    }

    /// Removes a class.
    ///
    /// # Errors
    /// [`NetdevError::UnknownClass`], or [`NetdevError::ClassInUse`] while devices of it are open.
    pub fn unregister(&self, class: &str) -> Result<(), NetdevError> {
        let devices = lock(&self.0.devices);
        let mut classes = write(&self.0.classes);
        let in_use = devices
            .values()
            .filter_map(|e| e.device.upgrade())
            .any(|d| d.class() == class);
        let refusal = if !classes.contains_key(class) {
            NetdevError::UnknownClass(class.to_owned())
        } else if in_use {
            NetdevError::ClassInUse(class.to_owned())
        } else {
            classes.remove(class);
            return Ok(());
        };
        tracing::warn!(target: "netdev", "{refusal}");
        Err(refusal)
    }

    /// Names of the registered classes that can be had, sorted.
    #[must_use]
    pub fn types(&self) -> Vec<&'static str> {
        let classes = read(&self.0.classes);
        let listed = classes.iter().filter(|(_, p)| p.is_listed());
        listed.map(|(&class, _)| class).collect()
    }

    /// A class by name.
    #[must_use]
    pub fn provider(&self, class: &str) -> Option<Arc<dyn Provider>> {
        read(&self.0.classes).get(class).cloned()
    }

    /// Opens a device, or takes another reference to it. An empty `class` means whatever it is open as,
    /// else [`DEFAULT_CLASS`].
    ///
    /// # Errors
    /// OtherClass when the name is open as another class, NoSuchClass, or what the class says.
    pub fn open(&self, name: &str, class: &str) -> Result<Arc<dyn Device>, NetdevError> {
        if name.is_empty() {
            return Err(NetdevError::EmptyName);
        }
        let mut devices = lock(&self.0.devices);
        if let Some(entry) = devices.get_mut(name)
            && let Some(device) = entry.device.upgrade()
        {
            if class.is_empty() {
                return Ok(device);
            }
            if device.class() == class {
                entry.auto = false;
                return Ok(device);
            }
            if !entry.auto {
                return Err(NetdevError::OtherClass {
                    name: name.to_owned(),
                    open_as: device.class().to_owned(),
                    class: class.to_owned(),
                });
            }
        }
        let wanted = if class.is_empty() {
            DEFAULT_CLASS
        } else {
            class
        };
        let device = self.create(name, wanted)?;
        let entry = Entry {
            device: Arc::downgrade(&device),
            auto: class.is_empty(),
        };
        devices.retain(|_, e| e.device.strong_count() > 0);
        devices.insert(name.to_owned(), entry);
        Ok(device)
    }

    fn create(&self, name: &str, class: &str) -> Result<Arc<dyn Device>, NetdevError> {
        match self.provider(class) {
            Some(provider) => provider.open(name),
            None => {
                let e = NetdevError::NoSuchClass {
                    name: name.to_owned(),
                    class: class.to_owned(),
                };
                tracing::warn!(target: "netdev", "{e}");
                Err(e)
            }
        }
    }

    /// The open device of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Device>> {
        lock(&self.0.devices).get(name)?.device.upgrade()
    }

    /// Frees the device's name for another open, although packet threads and handlers may hold it for a
    /// while longer. For configuration changes.
    pub fn forget(&self, device: &Arc<dyn Device>) {
        let mut devices = lock(&self.0.devices);
        let same = |e: &Entry| {
            e.device
                .upgrade()
                .is_some_and(|d| std::ptr::addr_eq(Arc::as_ptr(&d), Arc::as_ptr(device)))
        };
        if devices.get(device.name()).is_some_and(same) {
            devices.remove(device.name());
        }
    }

    /// Every open device, by name (`ports/list`).
    #[must_use]
    pub fn devices(&self) -> Vec<OpenDevice> {
        let devices = lock(&self.0.devices);
        devices
            .iter()
            .filter_map(|(name, entry)| {
                let device = entry.device.upgrade()?;
                Some(OpenDevice {
                    name: name.clone(),
                    class: device.class(),
                    references: Arc::strong_count(&device) - 1,
                })
            })
            .collect()
    }

    /// The text of `ports/list`: one `name class references` line per open device.
    #[must_use]
    pub fn list_text(&self) -> String {
        self.devices()
            .iter()
            .map(|d| format!("{} {} {}\n", d.name, d.class, d.references))
            .collect()
    }

    /// Tells the registry of a datapath type, whose `ovs-<type>` device names are reserved from then on.
    pub fn reserve_datapath_type(&self, type_name: &str) {
        write(&self.0.datapath_types).insert(type_name.to_owned());
    }

    /// Says whether users may call a port `name`.
    ///
    /// # Errors
    /// [`NetdevError::ReservedName`]: it is (or begins like) the name of a tunnel's datapath port, or is
    /// the name of a datapath's own device.
    pub fn check_name(&self, name: &str) -> Result<(), NetdevError> {
        let reserved = |why: String| {
            Err(NetdevError::ReservedName {
                name: name.to_owned(),
                why,
            })
        };
        if let Some((class, prefix)) = self.tunnel_class_of(name) {
            return reserved(format!("{prefix} names belong to class {class}"));
        }
        match name.strip_prefix("ovs-") {
            Some(t) if read(&self.0.datapath_types).contains(t) => {
                reserved(format!("the name belongs to datapath type {t}"))
            }
            _ => Ok(()),
        }
    }

    /// The tunnel class whose datapath ports are called like `name`, and the prefix they share.
    #[must_use]
    pub fn tunnel_class_of(&self, name: &str) -> Option<(&'static str, String)> {
        let classes = read(&self.0.classes);
        classes.iter().find_map(|(&class, provider)| {
            let prefix = provider.dpif_port_name(None)?;
            name.starts_with(&prefix).then_some((class, prefix))
        })
    }

    /// Housekeeping of every class; main thread, at least twice a second and when a
    /// [`Registry::wake_fds`] descriptor polls readable.
    pub fn run(&self) {
        let providers: Vec<_> = read(&self.0.classes).values().cloned().collect();
        for provider in providers {
            provider.run();
        }
    }

    /// Descriptors that poll readable when [`Registry::run`] has something to do. They stay the same as
    /// long as the set of classes does.
    #[must_use]
    pub fn wake_fds(&self) -> Vec<RawFd> {
        let classes = read(&self.0.classes);
        let mut fds: Vec<_> = classes.values().filter_map(|p| p.wake_fd()).collect();
        fds.sort_unstable();
        fds.dedup();
        fds
    }
}

/// Sets a device's configuration, and logs a refusal as Open vSwitch's `netdev` module does (the class
/// has logged its reasons already).
///
/// # Errors
/// What [`Device::set_config`] says.
pub fn configure(device: &dyn Device, config: &Config) -> Result<Vec<String>, NetdevError> {
    device.set_config(config).inspect_err(|e| {
        let errno = std::io::Error::from_raw_os_error(e.errno());
        tracing::warn!(target: "netdev", "{}: could not set configuration ({})",
            device.name(), os_error(&errno));
    })
}

/// Splits `[type@]name` into (name, type); the type defaults to [`DEFAULT_CLASS`].
#[must_use]
pub fn parse_name(text: &str) -> (&str, &str) {
    match text.split_once('@') {
        Some((class, name)) => (name, class),
        None => (text, DEFAULT_CLASS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dummy::{self, DummyLevel};
    use crate::patch::PatchClass;
    use base::clock::Clock;

    fn registry(level: DummyLevel) -> Registry {
        let registry = Registry::new();
        registry.register(Arc::new(PatchClass)).unwrap();
        dummy::enable(&registry, level, Clock::real(), "/tmp".into()).unwrap();
        registry
    }

    #[test]
    fn a_name_is_one_device_until_the_last_holder_goes() {
        let r = registry(DummyLevel::Add);
        let a = r.open("p1", "dummy").unwrap();
        let b = r.open("p1", "dummy").unwrap();
        assert!(std::ptr::addr_eq(Arc::as_ptr(&a), Arc::as_ptr(&b)));
        assert_eq!(r.list_text(), "p1 dummy 2\n");
        let other = r.open("p1", "patch").unwrap_err();
        assert_eq!(other.errno(), libc::EEXIST);
        assert!(matches!(
            r.unregister("dummy"),
            Err(NetdevError::ClassInUse(_))
        ));
        drop((a, b));
        assert_eq!(r.open("p1", "patch").unwrap().class(), "patch");
        r.unregister("dummy").unwrap();
        assert_eq!(r.types(), ["dummy-internal", "dummy-pmd", "patch"]);
        assert_eq!(
            r.open("p1", "dummy").unwrap_err().errno(),
            libc::EAFNOSUPPORT
        );
        assert_eq!(r.open("", "dummy-pmd").unwrap_err().errno(), libc::EINVAL);
        assert!(r.unregister("dummy").is_err() && r.register(Arc::new(PatchClass)).is_err());
    }

    #[test]
    fn a_device_of_no_class_gives_way_and_a_forgotten_name_is_free() {
        let r = registry(DummyLevel::Add);
        r.register(Arc::new(PatchClass)).unwrap_err();
        let old = r.open("p1", "dummy").unwrap();
        assert_eq!(r.open("p1", "").unwrap().class(), "dummy");
        r.forget(&old);
        let new = r.open("p1", "dummy-pmd").unwrap();
        r.forget(&old); // no longer there: must not forget the new one
        assert_eq!(r.get("p1").unwrap().class(), new.class());
        assert!(dummy::by_name(&r, "p1").is_some() && dummy::by_name(&r, "p2").is_none());
    }

    #[test]
    fn override_replaces_every_class_but_patch() {
        let r = registry(DummyLevel::OverrideAll);
        assert_eq!(r.types(), ["dummy", "dummy-internal", "dummy-pmd", "patch"]);
        assert_eq!(r.open("p", "patch").unwrap().n_rxq(), 0);
        assert_eq!(
            DummyLevel::parse(Some("system")),
            Some(DummyLevel::OverrideSystem)
        );
        assert_eq!(DummyLevel::parse(Some("x")), None);
    }

    #[test]
    fn names() {
        let r = registry(DummyLevel::Add);
        r.reserve_datapath_type("netdev");
        assert!(r.check_name("ovs-netdev").is_err() && r.check_name("ovs-net").is_ok());
        assert_eq!(parse_name("dummy@p0"), ("p0", "dummy"));
        assert_eq!(parse_name("p0"), ("p0", "system"));
    }
}
