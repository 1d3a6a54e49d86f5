//! `vswitchd`: puts the rooms together into a process.
//!
//! * [`vlog`], [`daemon`], [`paths`], [`unixctl`]: what every daemon of the Open vSwitch family has.
//! * `cli`: the `ringway` command and the command line of `ovs-vswitchd`.
//! * `model` and `reconcile`: one configuration in memory, fed by TOML or the database, made true by the
//!   smallest change.
//!
//! Threads: everything here runs on the main thread.

mod config;
mod daemon;
mod db_model;
mod model;
mod options;
mod paths;
mod unixctl;
mod vconn;
mod vlog;

/// The program. Called by the name `ovs-vswitchd` it takes that program's command line.
#[must_use]
pub fn main() -> std::process::ExitCode {
    vlog::init("ringway");
    std::process::ExitCode::SUCCESS
}
