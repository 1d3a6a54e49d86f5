//! Errors of the datapath interface, each standing for the errno that Open vSwitch gives.

/// Why a datapath refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DpifError {
    /// ENOENT: no such flow.
    #[error("No such file or directory")]
    NoEntry,
    /// EEXIST: the flow, port or datapath is there already.
    #[error("File exists")]
    Exists,
    /// EINVAL: the key, mask or actions do not make sense.
    #[error("Invalid argument")]
    Invalid,
    /// E2BIG: more than a message to the datapath holds.
    #[error("Argument list too long")]
    TooLong,
    /// ENODEV: no such port or datapath.
    #[error("No such device")]
    NoDevice,
    /// EBUSY: the port number or name is taken.
    #[error("Device or resource busy")]
    Busy,
    /// EFBIG: no free port number, or a table is full.
    #[error("File too large")]
    TooBig,
    /// ENOSPC: the flow table is full.
    #[error("No space left on device")]
    NoSpace,
    /// EAFNOSUPPORT: no provider of that type.
    #[error("Address family not supported by protocol")]
    UnknownType,
    /// EOPNOTSUPP: this provider does not do that.
    #[error("Operation not supported")]
    NotSupported,
    /// EAGAIN: nothing there now.
    #[error("Resource temporarily unavailable")]
    Again,
    /// The device under a port refused; the text names it.
    #[error("{0}")]
    Netdev(String),
}
