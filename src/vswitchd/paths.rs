//! Where files are: the directories of Open vSwitch, each overridable by its environment variable.

use std::path::PathBuf;

fn dir(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable)
        .filter(|v| !v.is_empty())
        .map_or_else(|| default.into(), Into::into)
}

/// Sockets and pidfiles: `OVS_RUNDIR`.
pub(crate) fn rundir() -> PathBuf {
    dir("OVS_RUNDIR", "/var/run/openvswitch")
}
/// Logs: `OVS_LOGDIR`.
pub(crate) fn logdir() -> PathBuf {
    dir("OVS_LOGDIR", "/var/log/openvswitch")
}
