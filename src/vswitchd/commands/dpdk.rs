//! `dpdk/*`: what DPDK says of itself. Without DPDK the commands answer what is missing.

use crate::switch::Switch;
use crate::unixctl::Commands;
use netdev::dpdk::{self, Dump};

pub(super) fn add(commands: &mut Commands<Switch>) {
    let texts = [
        ("dpdk/lcore-list", Dump::Lcores),
        ("dpdk/log-list", Dump::Log),
        ("dpdk/get-malloc-stats", Dump::Malloc),
    ];
    for (name, what) in texts {
        commands.add(name, "", 0..=0, move |_, _| dpdk::text(what));
    }
    let usage = "{level | pattern:level}";
    commands.add("dpdk/log-set", usage, 0..=usize::MAX, |_, args| {
        dpdk::log_set(args).map(|()| String::new())
    });
}
