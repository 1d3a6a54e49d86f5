//! The control commands: one file per family, each adding itself to the table.

mod debug;
mod dummy;
mod process;

use crate::switch::Switch;
use crate::unixctl::Commands;

/// Every command.
pub(crate) fn all() -> Commands<Switch> {
    let mut commands = Commands::default();
    process::add(&mut commands);
    debug::add(&mut commands);
    dummy::add(&mut commands);
    commands
}
