//! Rules of a configuration file. Where a file owns a bridge's tables, only rules that came or went are touched, so
//! the counters of the others go on. A bridge whose tables nobody owns behaves as its fail mode says.

use crate::model::{BridgeModel, Model, RuleText};
use backer::Backer;
use base::clock::Nanos;
use ofproto::Ofproto;
use openflow::{FlowMod, FlowModCommand, NameMap, Names, parse_flow_mod};
use std::path::Path;

/// What a bridge without rules and controllers does, unless it is secure.
const STANDALONE: &str = "priority=0,actions=NORMAL";

/// Checks the syntax of all rules before anything is changed. Ports are known by the names in the file.
///
/// # Errors
/// Every faulty rule: file, line, rule, and what is wrong.
pub(super) fn check(model: &Model, path: &Path) -> Result<(), String> {
    let mut faults = Vec::new();
    for (name, bridge) in &model.bridges {
        let mut ports = NameMap::default();
        ports.put(0xfffe, name);
        for (number, port) in (1..).zip(bridge.ports.keys()) {
            ports.put(number, port);
        }
        for rule in bridge.rules.iter().flatten() {
            if let Err(e) = parse(&rule.text, &ports) {
                faults.push(format!(
                    "{}:{}: bridge.{name}.rules: {:?}: {e}",
                    path.display(),
                    rule.line,
                    rule.text
                ));
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

fn parse(text: &str, ports: &NameMap) -> Result<FlowMod, String> {
    let names = Names {
        ports: Some(ports),
        tables: None,
    };
    parse_flow_mod(text, FlowModCommand::Add, names)
        .map(|p| p.flow_mod)
        .map_err(|e| e.to_string())
}

/// Makes a bridge's tables what the model says.
///
/// # Errors
/// The rules that were refused, in words; the others are in force.
pub(super) fn apply(
    backer: &Backer,
    bridge: &str,
    before: Option<&BridgeModel>,
    now_wanted: &BridgeModel,
    now: Nanos,
) -> Result<(), String> {
    let ports = port_names(backer, bridge)?;
    let old = before.map(wanted).unwrap_or_default();
    let new = wanted(now_wanted);
    let same = |a: &RuleText, list: &[RuleText]| list.iter().any(|b| a.text == b.text);
    let gone = old.iter().filter(|r| !same(r, &new));
    let came = new.iter().filter(|r| !same(r, &old));
    backer
        .tables(bridge, |ofproto| {
            let mut faults: Vec<String> = Vec::new();
            for rule in gone {
                // A rule that can no longer be read named a port that is gone; so is what it did.
                if let Ok(mut fm) = parse(&rule.text, &ports) {
                    fm.command = FlowModCommand::DeleteStrict;
                    faults.extend(submit(ofproto, fm, rule, now).err());
                }
            }
            for rule in came {
                match parse(&rule.text, &ports) {
                    Ok(fm) => faults.extend(submit(ofproto, fm, rule, now).err()),
                    Err(e) => faults.push(format!("line {}: {:?}: {e}", rule.line, rule.text)),
                }
            }
            if faults.is_empty() {
                Ok(())
            } else {
                Err(faults.join("; "))
            }
        })
        .map_err(|e| e.to_string())?
}

fn submit(ofproto: &mut Ofproto, fm: FlowMod, rule: &RuleText, now: Nanos) -> Result<(), String> {
    let refused = |e| format!("line {}: {:?}: {e:?}", rule.line, rule.text);
    ofproto.flow_mod(fm, None, now).map_err(refused)
}

/// The rules that should be there. Where controllers own the tables: none of ours, except that a bridge with
/// neither controllers nor a secure fail mode is a learning switch.
fn wanted(b: &BridgeModel) -> Vec<RuleText> {
    let rules = b.rules.clone().unwrap_or_default();
    let secure = b.fail_mode.as_deref() == Some("secure");
    if rules.is_empty() && !secure && !crate::controllers::has_owners(b) {
        return vec![RuleText {
            text: STANDALONE.to_owned(),
            line: 0,
        }];
    }
    rules
}

/// OpenFlow ports of a bridge by name.
pub(crate) fn port_names(backer: &Backer, bridge: &str) -> Result<NameMap, String> {
    let mut names = NameMap::default();
    for iface in backer.bridge(bridge).map_err(|e| e.to_string())?.ifaces() {
        names.put(u32::from(iface.ofp.0), iface.name());
    }
    Ok(names)
}
