//! `qos/*`: disciplines and queues as devices have them.

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use netdev::{Device, NetdevError, QosDetails, os_error};
use std::fmt::Write;

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add("qos/show-types", "interface", 1..=1, |s, args| {
        device(s, args[0]).map(|d| show_types(args[0], d))
    });
    commands.add("qos/show", "interface", 1..=1, |s, args| {
        device(s, args[0]).and_then(|d| show(args[0], d))
    });
}

/// The device of an interface of any bridge.
fn device<'s>(s: &'s Switch, name: &str) -> Result<&'s dyn Device, String> {
    let bridges = s.backers().values().flat_map(|b| b.bridges().values());
    let iface = bridges.into_iter().find_map(|b| b.iface(name));
    iface
        .map(|i| &*i.device)
        .ok_or_else(|| "no such interface".to_owned())
}

fn show_types(name: &str, device: &dyn Device) -> String {
    let types = device.qos_types();
    if types.is_empty() {
        return format!("No QoS types supported for interface: {name}\n");
    }
    let lines = types.iter().map(|t| format!("QoS type: {}\n", t.name));
    lines.collect()
}

fn reason(e: &NetdevError) -> String {
    os_error(&std::io::Error::from_raw_os_error(e.errno()))
}

fn show(name: &str, device: &dyn Device) -> Outcome {
    let (kind, details) = device.qos().map_err(|e| {
        format!(
            "{name}: failed to retrieve QOS configuration ({})\n",
            reason(&e)
        )
    })?;
    if kind.is_empty() {
        return Ok(format!("QoS not configured on {name}\n"));
    }
    let mut out = format!("QoS: {name} {kind}\n");
    for (key, value) in details {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{key}: {value}");
    }
    for (id, details) in device.queues().unwrap_or_default() {
        show_queue(&mut out, (id, &details), device);
    }
    Ok(out)
}

fn show_queue(out: &mut String, (id, details): (u32, &QosDetails), device: &dyn Device) {
    let _ = match id {
        0 => writeln!(out, "\nDefault:"),
        id => writeln!(out, "\nQueue {id}:"),
    };
    for (key, value) in details {
        let _ = writeln!(out, "  {key}: {value}");
    }
    match device.queue_stats(id) {
        Ok(s) => {
            let counts = [
                ("tx_packets", s.tx_packets),
                ("tx_bytes", s.tx_bytes),
                ("tx_errors", s.tx_errors),
            ];
            for (key, n) in counts.into_iter().filter(|(_, n)| *n != u64::MAX) {
                let _ = writeln!(out, "  {key}: {n}");
            }
        }
        Err(e) => {
            let why = reason(&e);
            let _ = write!(out, "  Failed to get statistics for queue {id}: {why}");
        }
    }
}
