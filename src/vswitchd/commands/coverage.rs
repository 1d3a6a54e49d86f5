//! `coverage/*` and `memory/show`: how often things happened, and how many things there are.
//!
//! Counters are read where they are kept (the datapaths' ledgers, the handlers and revalidators); here are only their
//! names, as the peer has them where it counts the same, and what is needed to give rates: [`History`] is fed once
//! in [`INTERVAL_MS`] by the main loop. Bounds: [`SLOTS`] snapshots.

use crate::switch::Switch;
use crate::unixctl::Commands;
use base::clock::Nanos;
use base::sync::{lock, read};
use odp::DropReason;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Time between snapshots, milliseconds.
const INTERVAL_MS: u64 = 5000;
/// Snapshots kept: one hour's.
const SLOTS: usize = 720;

/// Counters by name.
type Counts = BTreeMap<&'static str, u64>;

/// Earlier values of all counters.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Newest last.
    snapshots: VecDeque<(Nanos, Counts)>,
}

impl History {
    /// When the next snapshot is due.
    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        let last = self.snapshots.back();
        last.is_none_or(|(t, _)| now >= t.plus_millis(INTERVAL_MS))
    }

    /// Keeps a snapshot.
    pub(crate) fn keep(&mut self, now: Nanos, counts: Counts) {
        if self.snapshots.len() == SLOTS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back((now, counts));
    }

    /// Events per second over the last `seconds`, as far as they are remembered.
    fn rate(&self, name: &str, now: Nanos, seconds: u64, total: u64) -> f64 {
        let recent = |(t, _): &&(Nanos, Counts)| t.plus_millis(seconds * 1000) >= now;
        // What came before the first snapshot counts from nothing.
        let oldest = self.snapshots.iter().find(recent);
        let before = oldest.and_then(|(_, c)| c.get(name)).copied();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (events, seconds) = (
            total.saturating_sub(before.unwrap_or(total)) as f64,
            seconds as f64,
        );
        events / seconds
    }
}

/// The peer's names for drops that it counts, too.
fn drop_name(reason: DropReason) -> &'static str {
    use DropReason as R;
    match reason {
        R::PolicyDrop | R::TableMiss => "drop_action_of_pipeline",
        R::NoBridge => "drop_action_bridge_not_found",
        R::RecursionTooDeep => "drop_action_recursion_too_deep",
        R::TooManyResubmits => "drop_action_too_many_resubmit",
        R::StackTooDeep => "drop_action_stack_too_deep",
        R::NoRecirculationContext => "drop_action_no_recirculation_context",
        R::RecirculationConflict => "drop_action_recirculation_conflict",
        R::TooManyMplsLabels => "drop_action_too_many_mpls_labels",
        R::InvalidTunnelMetadata => "drop_action_invalid_tunnel_metadata",
        R::UnsupportedPacketType => "drop_action_unsupported_packet_type",
        R::CongestionDrop => "drop_action_congestion",
        R::ForwardingDisabled => "drop_action_forwarding_disabled",
        R::Meter => "datapath_drop_meter",
        R::UpcallQueueFull | R::UpcallBudget | R::UpcallDisabled => "datapath_drop_upcall_error",
        R::UserspaceActionLost => "datapath_drop_userspace_action_error",
        R::TunnelPush => "datapath_drop_tunnel_push_error",
        R::TunnelPop => "datapath_drop_tunnel_pop_error",
        R::RecircDepth => "datapath_drop_recirc_error",
        R::NoSuchPort => "datapath_drop_invalid_port",
        R::NshTtl => "datapath_drop_nsh_decap_error",
        R::Malformed => "datapath_drop_rx_invalid_packet",
        other => other.text(),
    }
}

/// All counters, zeros included.
pub(crate) fn counts(s: &Switch) -> Counts {
    let mut out: Counts = DropReason::ALL.iter().map(|r| (drop_name(*r), 0)).collect();
    for backer in s.backers().values() {
        for (_, reason, n) in backer.dpif().drops() {
            *out.entry(drop_name(reason)).or_default() += n;
        }
        for (name, n) in backer.udpif().counters().list() {
            *out.entry(name).or_default() += n;
        }
        for bridge in backer.bridges().values() {
            let stats = read(&bridge.macs).stats();
            let macs = [
                ("mac_learning_learned", stats.learned),
                ("mac_learning_expired", stats.expired),
                ("mac_learning_evicted", stats.evicted),
                ("mac_learning_moved", stats.moved),
                ("mac_learning_static_none_move", stats.static_none_move),
            ];
            for (name, n) in macs {
                *out.entry(name).or_default() += n;
            }
        }
    }
    out
}

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add("coverage/read-counter", "COUNTER", 1..=1, |s, args| {
        let n = counts(s).get(args[0]).copied();
        n.map(|n| n.to_string())
            .ok_or_else(|| "No such counter".to_owned())
    });
    commands.add("coverage/show", "", 0..=0, |s, _| Ok(show(s)));
    commands.add("memory/show", "", 0..=0, |s, _| Ok(memory(s)));
}

fn show(s: &Switch) -> String {
    let (counts, now, history) = (counts(s), s.clock().now(), s.history());
    let names = counts.keys().flat_map(|n| n.bytes());
    // Tells two sets of counters apart, as the peer's does.
    let hash = names.fold(0x811c_9dc5_u32, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    });
    let mut out = format!(
        "Event coverage, avg rate over last: {} seconds, last minute, last hour,  hash={hash:08x}:\n",
        INTERVAL_MS / 1000
    );
    let mut never = 0;
    for (name, total) in counts {
        if total == 0 {
            never += 1;
            continue;
        }
        let rate = |seconds| history.rate(name, now, seconds, total);
        let _ = writeln!(
            out,
            "{name:<24} {:5.1}/sec {:9.3}/sec {:13.4}/sec   total: {total}",
            rate(INTERVAL_MS / 1000),
            rate(60),
            rate(3600)
        );
    }
    let _ = writeln!(out, "{never} events never hit");
    out
}

/// `name:count` of everything that takes memory by its number, sorted by name.
fn memory(s: &Switch) -> String {
    let mut usage: BTreeMap<&str, u64> = BTreeMap::new();
    let mut add = |name, n: usize| *usage.entry(name).or_default() += n as u64;
    for backer in s.backers().values() {
        let (handlers, revalidators, ukeys) = backer.udpif().memory();
        add("handlers", handlers as usize);
        add("revalidators", revalidators as usize);
        add("udpif keys", ukeys);
        for (name, bridge) in backer.bridges() {
            add("ports", bridge.ifaces().count());
            if let Ok(ofproto) = backer.ofproto(name) {
                let ofproto = lock(&ofproto);
                let tables = ofproto.pipeline().tables.iter();
                add("rules", tables.map(|(_, t)| t.rules.len()).sum());
            }
        }
    }
    add("ofconns", s.ofconns());
    let words = usage.iter().filter(|(_, n)| **n > 0);
    let words: Vec<String> = words.map(|(name, n)| format!("{name}:{n}")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let mut h = History::default();
        let t = Nanos::from_millis;
        assert!(h.is_due(t(0)));
        h.keep(t(0), Counts::from([("x", 0)]));
        assert!(!h.is_due(t(4999)) && h.is_due(t(5000)));
        h.keep(t(5000), Counts::from([("x", 100)]));
        assert!((h.rate("x", t(10_000), 5, 200) - 20.0).abs() < 1e-9);
        assert!((h.rate("x", t(10_000), 60, 200) - 200.0 / 60.0).abs() < 1e-9);
        for i in 0..1000 {
            h.keep(t(10_000 + i), Counts::new());
        }
        assert_eq!(h.snapshots.len(), SLOTS);
    }

    #[test]
    fn every_drop_has_a_name() {
        for reason in DropReason::ALL {
            assert!(!drop_name(*reason).is_empty());
        }
    }
}
