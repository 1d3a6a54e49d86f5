//! The switch end to end: the built `ringway` binary on real devices, in namespaces of each test's own.
//! Needs root. One binary for all subjects; what they share is in [`kit`].

#![expect(clippy::unwrap_used, reason = "tests")]

mod kit;

/// Databases and controllers that are not there yet, named wrongly, or known by name only.
mod absent;
/// Octets that are no messages, on every socket: an error to whoever sent them, and no harm to others.
mod garbage;
/// Packets that lie: all accounted for, nobody hurt.
mod hostile;
/// An idle switch sleeps.
mod idle;
/// The switch ends, in order or not: nothing is left.
mod killing;
/// Bridges forward: every class, VLANs, patch ports, rules, the commands that show it.
mod learning;
/// Devices go and come back.
mod reborn;
/// What cannot be is named.
mod refusals;
/// SIGHUP applies differences.
mod reload;
/// The database goes, comes back empty, and says when what ran before was put back.
mod restore;
/// Controllers that do not read cost little.
mod slow;
/// TLS with real controllers and databases.
mod tls;
/// The switch goes on as somebody else.
mod user;
/// vhost-user ports, with DPDK for a guest.
mod vhost;
