//! `dpdk/*`, `netdev-dpdk/*`: what DPDK says of itself, and what can be asked of it. Without DPDK the commands
//! answer what is missing.

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use netdev::dpdk::{self, Dump};
use netdev::{Device, DeviceFlags};

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
    let usage = "[netdev] up|down";
    commands.add("netdev-dpdk/set-admin-state", usage, 1..=2, |s, args| {
        set_admin_state(s, args)
    });
    let usage = "pci address of device";
    commands.add("netdev-dpdk/detach", usage, 1..=1, |_, args| {
        dpdk::detach(args[0])
    });
    let usage = "[netdev]";
    commands.add(
        "netdev-dpdk/get-mempool-info",
        usage,
        0..=1,
        |s, args| match args.first() {
            None => dpdk::mempool_info(None),
            Some(name) => dpdk::mempool_info(Some(device(s, name)?)),
        },
    );
}

/// Devices of the classes that are DPDK's in Open vSwitch.
fn devices(s: &Switch) -> impl Iterator<Item = &dyn Device> {
    let bridges = s.backers().values().flat_map(|b| b.bridges().values());
    let devices = bridges.flat_map(|b| b.ifaces().map(|i| &*i.device));
    devices.filter(|d| d.class().starts_with("dpdk"))
}

fn device<'s>(s: &'s Switch, name: &str) -> Result<&'s dyn Device, String> {
    let found = devices(s).find(|d| d.name() == name);
    found.ok_or_else(|| "Not a DPDK Interface".to_owned())
}

fn set_admin_state(s: &Switch, args: &[&str]) -> Outcome {
    let state = args.last().copied().unwrap_or_default();
    let up = DeviceFlags {
        up: true,
        ..DeviceFlags::default()
    };
    let none = DeviceFlags::default();
    let (on, off) = match state.to_ascii_lowercase().as_str() {
        "up" => (up, none),
        "down" => (none, up),
        _ => return Err("Invalid Admin State".to_owned()),
    };
    let chosen: Vec<&dyn Device> = match args {
        [name, _] => vec![device(s, name)?],
        _ => devices(s).collect(),
    };
    for device in chosen {
        // What a device does not do, it says in the log.
        drop(device.update_flags(on, off));
    }
    Ok("OK".to_owned())
}
