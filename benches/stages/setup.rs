//! Stages of the slow path: from a packet that no flow matches to its installed flow, and what keeps that true.
//!
//! A rule moves the 5-tuple into registers, so that each 5-tuple is a datapath flow of its own.

use crate::control::one_bridge;
use crate::null::{Bench, key};
use crate::{Maker, Stage, Work};
use base::clock::{Clock, Nanos};
use base::sync::Arc;
use ofproto::Ofproto;
use openflow::{FlowModCommand, Names, parse_flow_mod};
use std::hint::black_box;
use udpif::world::{Links, NoSink, World, facts};
use udpif::{Ask, Settings, Threading, Translator, Udpif};
use xlate::BridgeId;

pub(crate) const STAGES: &[(&str, Maker)] = &[
    ("translate, 5-tuple moved", translate),
    ("upcall to installed flow", upcall),
    ("revalidate, all actions changed", revalidate),
    ("dump, nothing changed", dump),
];

/// Flows handled by one run.
const FLOWS: u32 = 1024;
const BRIDGE: BridgeId = BridgeId(1);

fn rule(port: u32) -> String {
    format!(
        "priority=10,in_port=1,udp,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG0[],\
         move:NXM_OF_IP_DST[]->NXM_NX_REG1[],move:NXM_OF_UDP_SRC[]->NXM_NX_REG2[0..15],\
         move:NXM_OF_UDP_DST[]->NXM_NX_REG2[16..31],output:{port}"
    )
}

/// A datapath, and above it what keeps it true.
struct Switch {
    bench: Bench,
    ofproto: Ofproto,
    udpif: Udpif<World>,
    port: u32,
}

impl Switch {
    fn new() -> Self {
        let bench = Bench::new(FLOWS);
        let ofproto = Ofproto::new("br0");
        let snapshot = one_bridge((BRIDGE, 3), &ofproto);
        let clock = Clock::simulated(Nanos::from_millis(1_000_000));
        let world = World::new(clock.clone(), snapshot.clone(), Arc::new(NoSink));
        world.publish(Links {
            snapshot: Arc::new(snapshot),
            ..(*world.links()).clone()
        });
        let udpif = Udpif::new(
            bench.dpif.clone(),
            Arc::new(world),
            clock,
            Threading::Manual,
        );
        let threads = udpif.set_threads(1, 1);
        assert!(threads.is_ok(), "{threads:?}");
        udpif.set_settings(Settings {
            flow_limit: 10 * FLOWS,
            ..Settings::default()
        });
        udpif.set_flow_limit(10 * FLOWS);
        let mut switch = Self {
            bench,
            ofproto,
            udpif,
            port: 3,
        };
        switch.turn_rule();
        switch
    }

    /// Gives the rule, and so every flow, another output.
    fn turn_rule(&mut self) {
        self.port = 5 - self.port;
        let line = rule(self.port);
        let parsed = parse_flow_mod(&line, FlowModCommand::Add, Names::default());
        let done = match parsed {
            Ok(parsed) => self.ofproto.flow_mod(parsed.flow_mod, None, Nanos::ZERO),
            Err(e) => unreachable!("{line}: {e}"),
        };
        assert!(done.is_ok(), "{done:?}");
        let changes = self.ofproto.take_changes();
        self.udpif.post(facts::of_changes(BRIDGE, &changes));
    }

    /// Packets of all flows, and what they raise.
    fn packets(&self) {
        for _ in 0..FLOWS.div_ceil(32) {
            self.bench.dp.step();
            if self.udpif.run_handlers_once() > 0 {
                self.bench.dp.step();
            }
        }
    }

    fn filled() -> Self {
        let switch = Self::new();
        while flows(&switch) < FLOWS as usize {
            switch.packets();
        }
        switch
    }
}

fn flows(switch: &Switch) -> usize {
    switch.udpif.n_ukeys()
}

fn translate() -> Stage {
    let switch = Switch::new();
    let flows: Vec<_> = (0..FLOWS).map(key).collect();
    Stage::new("translate, 5-tuple moved", FLOWS as usize, move || {
        for key in &flows {
            let ask = Ask {
                key,
                frame: None,
                from: None,
                live: true,
                now: Nanos::ZERO,
            };
            black_box(switch.udpif.translator().translate(&ask).is_ok());
        }
    })
}

struct Upcalls(Switch);

impl Work for Upcalls {
    fn prepare(&mut self) {
        self.0.udpif.purge();
    }
    fn run(&mut self) {
        self.0.packets();
    }
}

fn upcall() -> Stage {
    let switch = Switch::filled();
    Stage::new("upcall to installed flow", FLOWS as usize, Upcalls(switch))
}

struct Revalidations(Switch);

impl Work for Revalidations {
    fn prepare(&mut self) {
        self.0.turn_rule();
    }
    fn run(&mut self) {
        self.0.udpif.run_changes_once();
    }
}

fn revalidate() -> Stage {
    let switch = Switch::filled();
    let before = switch.udpif.counters().modified.get();
    let mut work = Revalidations(switch);
    work.prepare();
    work.run();
    let modified = work.0.udpif.counters().modified.get() - before;
    assert_eq!(modified, u64::from(FLOWS));
    Stage::new("revalidate, all actions changed", FLOWS as usize, work)
}

fn dump() -> Stage {
    let switch = Switch::filled();
    Stage::new("dump, nothing changed", FLOWS as usize, move || {
        switch.udpif.run_revalidator_once();
    })
}
