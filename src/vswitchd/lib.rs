//! `vswitchd`: puts the rooms together into a process.
//!
//! * [`vlog`], [`daemon`], [`paths`], [`unixctl`]: what every daemon of the Open vSwitch family has.
//! * `loop_times`: how long the main loop's turns last. `system_stats`: what the database shows of the host.
//! * `cli`: the `ringway` command and the command line of `ovs-vswitchd`.
//! * `model` and `reconcile`: one configuration in memory, fed by TOML or the database, made true by the
//!   smallest change.
//!
//! Threads: everything here runs on the main thread, but for looking at the host's file systems, which may be slow.

mod cli;
mod commands;
mod config;
mod controllers;
mod daemon;
mod database;
mod db_model;
mod db_status;
mod db_unused;
mod loop_times;
mod model;
mod options;
mod paths;
mod pktgen;
mod process;
mod registry;
mod slice;
mod status;
mod switch;
mod system_stats;
mod unixctl;
mod user;
mod vconn;
mod vlog;

/// The program. Called by the name `ovs-vswitchd` it takes that program's command line.
#[must_use]
#[inline(never)] // nothing of it before the check of the processor
pub fn main() -> std::process::ExitCode {
    cli::main()
}
