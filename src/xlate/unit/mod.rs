//! Tests of translation: a rig of bridges with rules in `ovs-ofctl` syntax, and the rules of thumb that
//! every translation must keep.

mod basic;
mod dice;
mod groups;
mod oracle;
mod peer;
mod vary;

use crate::*;
use base::clock::Nanos;
use base::sync::{Arc, write};
use flow::{ExactFlow, Flow, NoNames, OdpPort, OfPort};
use odp::Features;
use ofproto::Ofproto;
use openflow::{FlowModCommand, Names, parse_flow_mod};

/// Bridges and the switch behind each.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) snap: Snapshot,
    pub(crate) switches: Vec<Ofproto>,
    pub(crate) now: Nanos,
}

impl Rig {
    /// One bridge `br0` with ports 1..=n, whose datapath numbers are the same.
    pub(crate) fn new(n: u16) -> Self {
        let mut rig = Self {
            snap: Snapshot::new(
                Features {
                    // There are no routes here: tunnels are the datapath's.
                    tnl_push_pop: false,
                    explicit_drop_action: false,
                    ..Features::all()
                },
                Arc::default(),
            ),
            switches: Vec::new(),
            now: Nanos::from_millis(1_000_000),
        };
        rig.add_bridge("br0");
        rig.change(0, |br| {
            for i in 1..=n {
                add_port(br, i, u32::from(i));
            }
        });
        rig
    }

    pub(crate) fn add_bridge(&mut self, name: &str) {
        let switch = Ofproto::new(name);
        let id = BridgeId(1 + self.switches.len() as u128);
        let mut br = XBridge::new(id, name, switch.pipeline().clone());
        let odp = 100 + self.switches.len() as u32;
        br.add_port(
            XPort::new(OfPort::LOCAL, OdpPort(odp), name),
            XBundle::new(BundleId(0), name, OfPort::LOCAL),
        );
        self.switches.push(switch);
        self.snap.insert(Arc::new(br));
    }

    pub(crate) fn id(i: usize) -> BridgeId {
        BridgeId(1 + i as u128)
    }

    /// Changes a bridge.
    pub(crate) fn change(&mut self, i: usize, f: impl FnOnce(&mut XBridge)) {
        let mut br = (*self.snap.bridges[&Self::id(i)]).clone();
        f(&mut br);
        self.snap.version += 1;
        self.snap.insert(Arc::new(br));
    }

    /// Adds flows, one a line.
    pub(crate) fn flows(&mut self, i: usize, text: &str) {
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let mut fm = parse_flow_mod(line, FlowModCommand::Add, Names::default())
                .unwrap_or_else(|e| panic!("{line}: {e}"))
                .flow_mod;
            fm.table_id = if fm.table_id == 255 { 0 } else { fm.table_id };
            self.switches[i]
                .flow_mod(fm, None, self.now)
                .unwrap_or_else(|e| panic!("{line}: {e:?}"));
        }
    }

    /// Adds a flow if it is valid.
    pub(crate) fn try_flow(&mut self, i: usize, line: &str) -> bool {
        let Ok(parsed) = parse_flow_mod(line, FlowModCommand::Add, Names::default()) else {
            return false;
        };
        self.switches[i]
            .flow_mod(parsed.flow_mod, None, self.now)
            .is_ok()
    }

    /// A flow in the syntax of `ofproto/trace BRIDGE`.
    pub(crate) fn flow(text: &str) -> Flow {
        ExactFlow::parse(text, &NoNames, None)
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .flow
    }

    pub(crate) fn translate(&self, i: usize, flow: &Flow) -> Output {
        translate(&self.snap, Input::new(Self::id(i), flow, self.now))
    }

    /// Applies what translation learned.
    pub(crate) fn apply(&mut self, out: &Output) {
        for e in &out.effects {
            match e {
                Effect::MacLearn { bridge, seen, .. } => {
                    write(&self.snap.bridges[bridge].macs).update(seen, self.now);
                }
                Effect::Learn {
                    bridge, flow_mod, ..
                } => {
                    let i = (bridge.0 - 1) as usize;
                    self.switches[i]
                        .flow_mod((**flow_mod).clone(), None, self.now)
                        .expect("learned flows are valid");
                }
                _ => {}
            }
        }
    }
}

/// Adds a plain port, named after its datapath port as Open vSwitch's dummy datapath numbers them.
pub(crate) fn add_port(br: &mut XBridge, i: u16, odp: u32) {
    let name = if odp == OdpPort::NONE.0 {
        format!("patch-{}", br.name)
    } else {
        format!("p{odp}")
    };
    br.add_port(
        XPort::new(OfPort(i), OdpPort(odp), &name),
        XBundle::new(BundleId(i.into()), &name, OfPort(i)),
    );
}
