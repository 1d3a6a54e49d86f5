//! The switch end to end: the built `ringway` binary on real devices, in namespaces of each test's own.
//! Needs root. One binary for all subjects; what they share is in [`kit`].

#![expect(clippy::unwrap_used, reason = "tests")]

mod kit;

/// Bridges forward: every class, VLANs, patch ports, rules, the commands that show it.
mod learning;
