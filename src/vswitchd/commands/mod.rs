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

/// Every command; those for `dummy` devices only where there can be some.
pub(crate) fn all(dummy: bool) -> Commands<Switch> {
    let mut commands = Commands::default();
    process::add(&mut commands);
    if dummy {
        debug::add(&mut commands);
        dummy::add(&mut commands);
    }
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
    // For tests and old scripts: they answer, but are not listed.
    for name in [
        "dpif-netdev/subtable-lookup-prio-get",
        "revalidator/pause",
        "revalidator/resume",
    ] {
        commands.hide(name);
    }
    commands
}
