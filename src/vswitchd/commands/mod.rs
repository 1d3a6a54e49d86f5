//! The control commands: one file per family, each adding itself to the table.

mod bridges;
pub(crate) mod coverage;
mod debug;
mod dpctl;
mod dpdk;
mod dummy;
mod implementations;
mod packets;
mod pmd;
mod process;
mod qos;
mod ringway;
mod routes;
mod trace;

use crate::switch::Switch;
use crate::unixctl::Commands;

/// Every command.
pub(crate) fn all() -> Commands<Switch> {
    let mut commands = Commands::default();
    process::add(&mut commands);
    debug::add(&mut commands);
    dummy::add(&mut commands);
    bridges::add(&mut commands);
    coverage::add(&mut commands);
    ringway::add(&mut commands);
    routes::add(&mut commands);
    dpctl::add(&mut commands);
    dpdk::add(&mut commands);
    trace::add(&mut commands);
    pmd::add(&mut commands);
    qos::add(&mut commands);
    implementations::add(&mut commands);
    commands
}
