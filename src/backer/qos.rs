//! Puts QoS and ingress policing of the configuration onto devices, by differences. What a device refuses, it says
//! itself in the log; the rest is in force.

use crate::bridge::Iface;
use netdev::{Config, Device, NetdevError};
use std::collections::BTreeMap;

/// A row of the QoS table with its queues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QosConfig {
    /// Discipline (`linux-htb`, `egress-policer`, ...); empty for the device's own.
    pub kind: String,
    /// Its settings.
    pub settings: Config,
    /// Queues by number.
    pub queues: BTreeMap<u32, QueueConfig>,
}

/// A row of the Queue table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueConfig {
    /// DSCP (6 bits) that packets of this queue leave with.
    pub dscp: Option<u8>,
    /// Settings of the discipline.
    pub settings: Config,
}

/// What was last asked of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    qos: Option<QosConfig>,
    policing: [u32; 4],
}

/// Asks an interface's device for what the configuration says, if that is something else than before.
pub(crate) fn settle(iface: &mut Iface, qos: Option<&QosConfig>) {
    let policing = iface.config.policing;
    let wanted = Asked {
        qos: qos.filter(|q| !q.kind.is_empty()).cloned(),
        policing,
    };
    let device = &*iface.device;
    let before = iface.asked.replace(wanted.clone());
    if before.as_ref().is_none_or(|b| b.qos != wanted.qos) {
        discipline(device, wanted.qos.as_ref());
    }
    // A device that was just opened may have rules of a process that was killed.
    if before.is_none_or(|b| b.policing != policing) {
        note(device, "ingress policing", device.set_policing(policing));
    }
}

fn discipline(device: &dyn Device, qos: Option<&QosConfig>) {
    let Some(qos) = qos else {
        note(device, "QoS", device.set_qos("", &Config::new()));
        return;
    };
    note(device, &qos.kind, device.set_qos(&qos.kind, &qos.settings));
    for (id, _) in device.queues().unwrap_or_default() {
        if !qos.queues.contains_key(&id) {
            note(device, "a queue", device.delete_queue(id));
        }
    }
    // The queue of packets that have none is there in any case.
    let default = QueueConfig::default();
    let unnamed = (!qos.queues.contains_key(&0)).then_some((&0, &default));
    for (id, queue) in qos.queues.iter().chain(unnamed) {
        let done = device.set_queue(*id, &queue.settings);
        // A discipline without queues cannot have the one that nobody asked for.
        if done.is_err() && *id == 0 && queue.settings.is_empty() {
            continue;
        }
        note(device, &format!("queue {id}"), done);
    }
}

fn note(device: &dyn Device, what: &str, done: Result<(), NetdevError>) {
    let Err(e) = done else { return };
    match e {
        NetdevError::NotSupported { .. } if what == "ingress policing" || what == "QoS" => {}
        e => {
            tracing::info!(target: "bridge", "interface {}: {what} is not in force: {e}", device.name())
        }
    }
}

/// Queues with a DSCP: the packet's priority and the DSCP in the upper six bits of the TOS.
pub(crate) fn dscps(qos: Option<&QosConfig>) -> Vec<(u32, u8)> {
    let queues = qos.into_iter().flat_map(|q| &q.queues);
    queues
        .filter_map(|(id, q)| Some((*id, q.dscp? << 2)))
        .collect()
}
