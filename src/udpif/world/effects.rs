//! Applying what translations say must happen besides forwarding.

use super::sink::BondLoad;
use super::{Links, Sink, facts};
use crate::deps::Pending;
use base::clock::Nanos;
use base::sync::{Arc, lock, read, write};
use netdev::Direction;
use odp::FlowStats;
use ofproto::Rule;
use openflow::FlowMod;
use xlate::{BridgeId, Effect, Event, RecircRef};

/// TCP flags that end a connection: FIN and RST.
const TCP_END: u16 = 0x05;

/// What a translation does besides forwarding, and what it must keep alive.
#[derive(Debug)]
pub struct Effects {
    pub(super) list: Box<[Effect]>,
    /// To the packet at hand only.
    pub(super) events: Box<[Event]>,
    /// Recirculation ids that the actions or the key mention.
    #[expect(dead_code, reason = "what is referred to is kept")]
    recircs: Box<[RecircRef]>,
    /// A packet teaches something besides numbers: see [`Applier::learn`].
    pub(super) teaches: bool,
}

/// Effects that a translation has just named.
#[derive(Debug)]
pub(super) struct NewEffects {
    pub(super) list: Vec<Effect>,
    pub(super) events: Vec<Event>,
    pub(super) recircs: Vec<RecircRef>,
}

impl From<NewEffects> for Effects {
    fn from(new: NewEffects) -> Self {
        let teaches = |e: &Effect| matches!(e, Effect::MacLearn { .. } | Effect::Learn { .. });
        Self {
            teaches: new.list.iter().any(teaches),
            list: new.list.into_boxed_slice(),
            events: new.events.into_boxed_slice(),
            recircs: new.recircs.into_boxed_slice(),
        }
    }
}

impl Effects {
    /// Nothing.
    pub(super) fn none() -> Self {
        Self {
            list: Box::default(),
            events: Box::default(),
            recircs: Box::default(),
            teaches: false,
        }
    }
}

/// Where effects go.
#[derive(Debug)]
pub(super) struct Applier<'a> {
    pub(super) links: &'a Links,
    pub(super) sink: &'a dyn Sink,
    pub(super) pending: &'a Pending<Arc<Rule>>,
    pub(super) now: Nanos,
}

impl Applier<'_> {
    /// What one packet that really came teaches.
    pub(super) fn learn(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::MacLearn { bridge, seen, .. } => self.sighting(*bridge, seen),
                Effect::Learn {
                    bridge,
                    flow_mod,
                    limit,
                } => self.learned_flow(*bridge, flow_mod, *limit),
                Effect::Table { .. }
                | Effect::Rule(_)
                | Effect::Group { .. }
                | Effect::FinTimeout { .. }
                | Effect::PortRx { .. }
                | Effect::PortTx { .. }
                | Effect::Mirror { .. }
                | Effect::NetFlow { .. }
                | Effect::Bond { .. } => {}
            }
        }
    }

    /// A packet with these TCP flags came: does it end connections?
    pub(super) fn ends(&self, effects: &[Effect], tcp_flags: u16) {
        for effect in effects {
            if let Effect::FinTimeout { rule, idle, hard } = effect
                && tcp_flags & TCP_END != 0
            {
                self.fin_timeout(rule, *idle, *hard);
            }
        }
    }

    /// Packets were counted: credit them, and refresh what they keep alive.
    pub(super) fn credit(&self, effects: &[Effect], delta: &FlowStats) {
        let (packets, bytes) = (delta.n_packets, delta.n_bytes);
        let used = delta.used.unwrap_or(self.now);
        for effect in effects {
            match effect {
                Effect::Table {
                    bridge,
                    table,
                    matched,
                } => {
                    if let Some(b) = self.links.snapshot.bridges.get(bridge) {
                        let table = b.pipeline.tables.table(*table);
                        let count = if *matched {
                            &table.matched
                        } else {
                            &table.missed
                        };
                        count.add_shared(packets);
                    }
                }
                Effect::Rule(rule) => rule.credit(packets, bytes, used),
                Effect::Group { group, bucket } => group.credit(*bucket, packets, bytes),
                Effect::FinTimeout { rule, idle, hard } => {
                    if delta.tcp_flags & TCP_END != 0 {
                        self.fin_timeout(rule, *idle, *hard);
                    }
                }
                Effect::Learn {
                    bridge,
                    flow_mod,
                    limit,
                } => self.learned_flow(*bridge, flow_mod, *limit),
                Effect::MacLearn { bridge, seen, .. } => self.sighting(*bridge, seen),
                Effect::PortRx { bridge, port } => {
                    self.device(*bridge, *port, Direction::Rx, delta);
                }
                Effect::PortTx { bridge, port } => {
                    self.device(*bridge, *port, Direction::Tx, delta);
                }
                Effect::Mirror { bridge, mirrors } => self.mirrored(*bridge, *mirrors, delta),
                Effect::NetFlow {
                    bridge,
                    flow,
                    output,
                } => self.sink.netflow(*bridge, flow, *output, delta),
                Effect::Bond {
                    bridge,
                    bundle,
                    flow,
                    vid,
                } => self.sink.bond(
                    *bridge,
                    BondLoad {
                        bundle: *bundle,
                        flow,
                        vid: *vid,
                        bytes,
                    },
                ),
            }
        }
    }

    /// The flow with these effects is gone.
    pub(super) fn removed(&self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::NetFlow { bridge, flow, .. } = effect {
                self.sink.netflow_end(*bridge, flow);
            }
        }
    }

    fn mirrored(&self, bridge: BridgeId, mirrors: u32, delta: &FlowStats) {
        let Some(b) = self.links.snapshot.bridges.get(&bridge) else {
            return;
        };
        for (i, mirror) in b.mirrors.iter().take(32).enumerate() {
            if mirrors & 1 << i != 0 {
                mirror.counts.packets.add_shared(delta.n_packets);
                mirror.counts.bytes.add_shared(delta.n_bytes);
            }
        }
    }

    fn device(&self, bridge: BridgeId, port: flow::OfPort, way: Direction, delta: &FlowStats) {
        if let Some(device) = self.links.devices.get(&(bridge, port)) {
            device.credit(way, delta.n_packets, delta.n_bytes);
        }
    }

    fn sighting(&self, bridge: BridgeId, seen: &l2::Sighting) {
        let Some(b) = self.links.snapshot.bridges.get(&bridge) else {
            return;
        };
        if !read(&b.macs).update_needed(seen, self.now) {
            return;
        }
        let changes = {
            let mut macs = write(&b.macs);
            macs.update(seen, self.now);
            macs.take_changes()
        };
        self.pending.post(facts::of_macs(bridge, &changes));
    }

    fn fin_timeout(&self, rule: &Arc<Rule>, idle: u16, hard: u16) {
        // The rule does not say which bridge it is in: that whose table has it.
        for ofproto in self.links.ofprotos.values() {
            let mut ofproto = lock(ofproto);
            let tables = &ofproto.pipeline().tables;
            let found = tables.table(rule.table).rules.find_exact(
                rule.matching(),
                rule.priority(),
                tables.version(),
            );
            if found.is_some_and(|r| Arc::ptr_eq(&r, rule)) {
                ofproto.reduce_timeouts(rule, idle, hard);
                return;
            }
        }
    }

    /// Adds or refreshes a learned flow.
    fn learned_flow(&self, bridge: BridgeId, wanted: &FlowMod, limit: u32) {
        // Nearly always it is there already: then the bridge is not locked.
        if let Some(b) = self.links.snapshot.bridges.get(&bridge) {
            let tables = &b.pipeline.tables;
            if let Some(rule) = tables.learned(wanted, tables.version()) {
                rule.touch(self.now);
                return;
            }
        }
        let Some(ofproto) = self.links.ofprotos.get(&bridge) else {
            return;
        };
        let mut ofproto = lock(ofproto);
        // A refusal (table full) is the table's business; the packet is forwarded all the same.
        let done = ofproto.learn(wanted, limit, self.now);
        let changes = ofproto.take_changes();
        drop(ofproto);
        let changed = !changes.is_empty();
        self.pending.post(facts::of_changes(bridge, &changes));
        if changed && done.is_ok() {
            self.sink.learned(bridge);
        }
    }
}
