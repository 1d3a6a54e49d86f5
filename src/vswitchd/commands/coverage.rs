//! `coverage/*`: counters of events, by the names that Open vSwitch gives them.

use crate::switch::Switch;
use crate::unixctl::Commands;
use backer::Backer;
use base::sync::read;
use odp::DropReason;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add(
        "coverage/read-counter",
        "COUNTER",
        1..=1,
        |s, args| match counters(s).get(args[0]) {
            Some(n) => Ok(format!("{n}\n")),
            None => Err("No such counter".to_owned()),
        },
    );
    commands.add("coverage/show", "", 0..=0, |s, _| {
        let mut out = String::new();
        for (name, n) in counters(s).iter().filter(|(_, n)| **n > 0) {
            writeln!(out, "{name:<24} total: {n}").map_err(|e| e.to_string())?;
        }
        Ok(out)
    });
}

/// Every counter, summed over the datapaths.
fn counters(s: &Switch) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    let mut add = |name, n| *sums.entry(name).or_insert(0) += n;
    for reason in DropReason::ALL {
        if let Some(name) = drop_counter(*reason) {
            add(name, 0);
        }
    }
    for backer in s.backers().values() {
        for (name, n) in backer.udpif().counters().list() {
            add(name, n);
        }
        for (_, reason, n) in backer.dpif().drops() {
            if let Some(name) = drop_counter(reason) {
                add(name, n);
            }
        }
        macs(backer, &mut add);
    }
    sums
}

fn macs(backer: &Backer, add: &mut impl FnMut(&'static str, u64)) {
    for bridge in backer.bridges().values() {
        let stats = read(&bridge.macs).stats();
        add("mac_learning_learned", stats.learned);
        add("mac_learning_expired", stats.expired);
        add("mac_learning_evicted", stats.evicted);
        add("mac_learning_moved", stats.moved);
        add("mac_learning_static_none_move", stats.static_none_move);
    }
}

/// The peer's counter of a reason to drop.
fn drop_counter(reason: DropReason) -> Option<&'static str> {
    Some(match reason {
        DropReason::PolicyDrop => "drop_action_of_pipeline",
        DropReason::NoBridge => "drop_action_bridge_not_found",
        DropReason::RecursionTooDeep => "drop_action_recursion_too_deep",
        DropReason::TooManyResubmits => "drop_action_too_many_resubmit",
        DropReason::StackTooDeep => "drop_action_stack_too_deep",
        DropReason::NoRecirculationContext => "drop_action_no_recirculation_context",
        DropReason::RecirculationConflict => "drop_action_recirculation_conflict",
        DropReason::TooManyMplsLabels => "drop_action_too_many_mpls_labels",
        DropReason::InvalidTunnelMetadata => "drop_action_invalid_tunnel_metadata",
        DropReason::UnsupportedPacketType => "drop_action_unsupported_packet_type",
        DropReason::CongestionDrop => "drop_action_congestion",
        DropReason::ForwardingDisabled => "drop_action_forwarding_disabled",
        DropReason::Malformed => "datapath_drop_rx_invalid_packet",
        DropReason::NoSuchPort => "datapath_drop_invalid_port",
        DropReason::UpcallQueueFull => "datapath_drop_upcall_error",
        DropReason::RecircDepth => "datapath_drop_recirc_error",
        DropReason::Meter => "datapath_drop_meter",
        DropReason::TunnelPop => "datapath_drop_tunnel_pop_error",
        DropReason::TunnelPush => "datapath_drop_tunnel_push_error",
        DropReason::UserspaceActionLost => "datapath_drop_userspace_action_error",
        _ => return None,
    })
}
