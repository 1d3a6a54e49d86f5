//! Why a device refused something. Messages name the device, the value and what was expected.

use std::io;

/// A failed operation on a class or device.
#[derive(Debug, thiserror::Error)]
pub enum NetdevError {
    /// The class does not do this.
    #[error("{dev}: {op} is not supported by this class")]
    NotSupported {
        /// Device or class.
        dev: String,
        /// Operation.
        op: &'static str,
    },
    /// No provider of that class is registered.
    #[error("could not create netdev {name} of unknown type {class}")]
    NoSuchClass {
        /// Device.
        name: String,
        /// Class asked for.
        class: String,
    },
    /// A device needs a name.
    #[error("a device name must not be empty")]
    EmptyName,
    /// No such class, to be unregistered.
    #[error("attempted to unregister a netdev provider that is not registered: {0}")]
    UnknownClass(String),
    /// The configuration was refused; one line per complaint, in Open vSwitch's words.
    #[error("{text}")]
    BadConfig {
        /// Lines, without a final newline.
        text: String,
        /// The errno that Open vSwitch gives.
        errno: i32,
    },
    /// The class is registered already.
    #[error("attempted to register duplicate netdev provider: {0}")]
    DuplicateClass(String),
    /// A class with open devices cannot be unregistered.
    #[error("attempted to unregister in use netdev provider: {0}")]
    ClassInUse(String),
    /// The name belongs to the datapath or a class.
    #[error("{name}: {why}")]
    ReservedName {
        /// Name.
        name: String,
        /// To whom.
        why: String,
    },
    /// Open already, as another class.
    #[error("{name} is open already as type {open_as}, cannot be opened as {class}")]
    OtherClass {
        /// Device.
        name: String,
        /// Class it has.
        open_as: String,
        /// Class asked for.
        class: String,
    },
    /// An option's value is impossible.
    #[error("{dev}: option {key}: {value:?} is not {expected}")]
    BadOption {
        /// Device.
        dev: String,
        /// Option.
        key: String,
        /// Value given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// The device does not exist on this host.
    #[error("{dev}: no such network device")]
    NoSuchDevice {
        /// Device.
        dev: String,
    },
    /// A frame of that MTU does not fit the class's buffers.
    #[error("{dev}: MTU {mtu} does not fit, at most {max} bytes do")]
    MtuTooLarge {
        /// Device.
        dev: String,
        /// MTU asked for or found, bytes.
        mtu: u32,
        /// Largest that fits, bytes.
        max: u32,
    },
    /// Somebody else's XDP program is on the device.
    #[error("{dev}: an XDP program (id {id}) is attached already by someone else")]
    XdpBusy {
        /// Device.
        dev: String,
        /// Its program id.
        id: u32,
    },
    /// This process lacks a right.
    #[error("{dev}: {op}: permission denied ({needs} is needed)")]
    NoPermission {
        /// Device.
        dev: String,
        /// Operation.
        op: &'static str,
        /// Capability.
        needs: &'static str,
    },
    /// The device can send but not receive.
    #[error("{dev}: cannot receive")]
    CannotReceive {
        /// Device.
        dev: String,
    },
    /// The device went away; it is re-attached when it returns.
    #[error("{dev}: device has disappeared")]
    Gone {
        /// Device.
        dev: String,
    },
    /// The kernel said no.
    #[error("{dev}: {op}: {source}")]
    Io {
        /// Device.
        dev: String,
        /// Operation.
        op: &'static str,
        /// Errno.
        source: io::Error,
    },
}

impl NetdevError {
    /// Why a device could not be opened, as Open vSwitch words it where it does.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::NoSuchClass { .. } => "Address family not supported by protocol".to_owned(),
            other => other.to_string(),
        }
    }
    /// The errno that Open vSwitch would give for it.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::NotSupported { .. } | Self::CannotReceive { .. } => libc::EOPNOTSUPP,
            Self::NoSuchClass { .. } | Self::UnknownClass(_) => libc::EAFNOSUPPORT,
            Self::DuplicateClass(_) | Self::OtherClass { .. } => libc::EEXIST,
            Self::ClassInUse(_) | Self::XdpBusy { .. } => libc::EBUSY,
            Self::EmptyName
            | Self::ReservedName { .. }
            | Self::BadOption { .. }
            | Self::MtuTooLarge { .. } => libc::EINVAL,
            Self::BadConfig { errno, .. } => *errno,
            Self::NoSuchDevice { .. } | Self::Gone { .. } => libc::ENODEV,
            Self::NoPermission { .. } => libc::EPERM,
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

/// An operating system error as `strerror` words it, without its number.
#[must_use]
pub fn os_error(e: &io::Error) -> String {
    let text = e.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
