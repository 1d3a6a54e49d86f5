//! Stages that messages and first packets pass.

use crate::null::key;
use crate::{Maker, Stage};
use base::clock::Nanos;
use base::sync::Arc;
use classifier::{Classifier, LATEST, MiniMatch, RuleKey, Ruled};
use flow::{Mask, OdpPort, OfPort};
use odp::Features;
use ofproto::Ofproto;
use openflow::{
    DecodeCx, EncodeCx, FlowModCommand, Message, Names, Protocols, Version, parse_flow_mod,
};
use std::hint::black_box;
use wire::{Ipv4, U16};
use xlate::{BridgeId, BundleId, Input, Snapshot, XBridge, XBundle, XPort};

pub(crate) const STAGES: &[(&str, Maker)] = &[
    ("classifier lookup", classifier_lookup),
    ("flow mod: text to message", text),
    ("flow mod: encode", encode),
    ("flow mod: decode", decode),
    ("flow mod: into the tables", flow_mod),
    ("translate", translate),
];

/// Messages or flows handled by one run.
const RUN: u32 = 64;

/// A rule for the flow that [`key`] is.
fn line(i: u32) -> String {
    let octets = |n: u32| (n >> 8 & 0xff, n & 0xff);
    let ((a, b), (c, d)) = (octets(i), octets(7 * i));
    format!(
        "table=0,priority=10,udp,nw_src=10.0.{a}.{b},nw_dst=20.0.{c}.{d},tp_src={i},tp_dst={i},\
         actions=set_field:5->reg1,output:2"
    )
}

fn mod_of(line: &str) -> openflow::FlowMod {
    match parse_flow_mod(line, FlowModCommand::Add, Names::default()) {
        Ok(parsed) => parsed.flow_mod,
        Err(e) => unreachable!("{line}: {e}"),
    }
}

struct Rule(RuleKey);

impl Ruled for Rule {
    fn key(&self) -> &RuleKey {
        &self.0
    }
}

/// A thousand rules of four masks and a catch-all; looked up with the bits that mattered.
fn classifier_lookup() -> Stage {
    let table = Classifier::new();
    for i in 0..1000 {
        let matching = mod_of(&line(i)).match_;
        let mut mask = matching.mask;
        if i % 4 > 0 {
            mask.0.tp_dst = U16::new(0);
        }
        if i % 4 > 1 {
            mask.0.tp_src = U16::new(0);
        }
        if i % 4 > 2 {
            mask.0.nw_dst = Ipv4([0; 4]);
        }
        let mini = MiniMatch::new(&matching.flow, &mask);
        table.insert(Arc::new(Rule(RuleKey::new(mini, 10, 1, false))));
    }
    let flows: Vec<_> = (0..RUN).map(|i| key(i * 15)).collect();
    Stage::new("classifier lookup", RUN as usize, move || {
        for flow in &flows {
            let mut wc = Mask::empty();
            black_box(table.lookup(LATEST, flow, Some(&mut wc)));
        }
    })
}

fn text() -> Stage {
    let lines: Vec<_> = (0..RUN).map(line).collect();
    Stage::new("flow mod: text to message", RUN as usize, move || {
        for line in &lines {
            black_box(mod_of(line));
        }
    })
}

fn cx() -> EncodeCx<'static> {
    EncodeCx::new(Protocols::initial(Version::V13))
}

fn encode() -> Stage {
    let mods: Vec<_> = (0..RUN)
        .map(|i| Message::FlowMod(Box::new(mod_of(&line(i)))))
        .collect();
    Stage::new("flow mod: encode", RUN as usize, move || {
        for m in &mods {
            black_box(m.encode(&cx(), 1));
        }
    })
}

fn decode() -> Stage {
    let mods = (0..RUN).map(|i| Message::FlowMod(Box::new(mod_of(&line(i)))));
    let bytes: Vec<_> = mods.filter_map(|m| m.encode(&cx(), 1)).collect();
    assert_eq!(bytes.len(), RUN as usize);
    Stage::new("flow mod: decode", RUN as usize, move || {
        for b in &bytes {
            let decoded = Message::decode(b, &DecodeCx::default());
            black_box(decoded.is_ok());
        }
    })
}

/// Into a table that has them already: each replaces its elder.
fn flow_mod() -> Stage {
    let mut switch = Ofproto::new("br0");
    let mods: Vec<_> = (0..RUN).map(|i| mod_of(&line(i))).collect();
    Stage::new("flow mod: into the tables", RUN as usize, move || {
        for m in &mods {
            black_box(switch.flow_mod(m.clone(), None, Nanos::ZERO).is_ok());
        }
    })
}

/// A bridge of four ports and sixty-four rules.
/// A snapshot with bridge `br0`, whose ports 1 to `n` have the same numbers in the datapath.
pub(crate) fn one_bridge((id, n): (BridgeId, u16), switch: &Ofproto) -> Snapshot {
    let mut bridge = XBridge::new(id, "br0", switch.pipeline().clone());
    for i in 1..=n {
        let (name, port) = (format!("p{i}"), OfPort(i));
        bridge.add_port(
            XPort::new(port, OdpPort(u32::from(i)), &name),
            XBundle::new(BundleId(u32::from(i)), &name, port),
        );
    }
    let mut snapshot = Snapshot::new(
        Features {
            explicit_drop_action: false,
            ..Features::all()
        },
        Arc::default(),
    );
    snapshot.insert(Arc::new(bridge));
    snapshot
}

fn translate() -> Stage {
    let mut switch = Ofproto::new("br0");
    for i in 0..RUN {
        let done = switch.flow_mod(mod_of(&line(i)), None, Nanos::ZERO);
        assert!(done.is_ok(), "{done:?}");
    }
    let id = BridgeId(1);
    let snapshot = one_bridge((id, 4), &switch);
    let flows: Vec<_> = (0..RUN).map(key).collect();
    let first = xlate::translate(&snapshot, Input::new(id, &flows[0], Nanos::ZERO));
    assert!(!first.actions.is_empty(), "{first:?}");
    Stage::new("translate", RUN as usize, move || {
        // The switch is what the bridge's tables belong to.
        let _ = &switch;
        for flow in &flows {
            black_box(xlate::translate(
                &snapshot,
                Input::new(id, flow, Nanos::ZERO),
            ));
        }
    })
}
