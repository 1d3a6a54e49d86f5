//! `dpctl/normalize-actions`: what actions do, told in an order of its own, so that two lists that do the same read the
//! same: actions are gathered by the tags that the packet has when they are run, and outputs in a row are sorted.

use super::{Flags, Out};
use crate::switch::Switch;
use dpif::DpifError;
use flow::dpkey::{Attr, Fitness, OdpKey, format_key};
use flow::{Flow, NoOdpNames, OdpNames, OdpTextError, Vlan};
use odp::{Action, Actions, OdpPort};
use std::collections::BTreeMap;

/// Ports that the caller gave names.
#[derive(Debug, Default)]
struct Names(Vec<(String, OdpPort)>);

impl OdpNames for Names {
    fn number(&self, name: &str) -> Option<OdpPort> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, p)| *p)
    }
    fn name(&self, _: OdpPort) -> Option<&str> {
        None
    }
}

/// Tags, outermost first: EtherType and TCI, 0 where there is none.
type Tags = [(u16, u16); 2];

fn tags(flow: &Flow) -> Tags {
    flow.vlans.map(|v| (v.tpid.get(), v.tci.get()))
}

/// `dpctl/normalize-actions flow actions [name=number...]`.
pub(super) fn normalize_actions(_: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    let [key, actions, names @ ..] = args else {
        return;
    };
    let mut known = Names::default();
    for text in names {
        let number = |(name, number): (&str, &str)| {
            let number = number.parse().ok().filter(|_| !name.is_empty())?;
            Some((name.to_owned(), OdpPort(number)))
        };
        match text.split_once('=').and_then(number) {
            Some(named) => known.0.push(named),
            None => return out.fail(format_args!("{text}: expected NAME=NUMBER"), None),
        }
    }
    let given = key;
    let (key, fitness) = match parse(given, &known) {
        Ok(parsed) => parsed,
        Err(e) => {
            let what = format_args!("odp_flow_key_from_string ({e})");
            return out.fail(what, Some(&DpifError::Invalid));
        }
    };
    out.line(format_args!("input flow: {}", key_text(given, &key)));
    // The peer takes its own words for how well a key fits as numbers of errors.
    let misfit = match fitness {
        Fitness::Perfect => None,
        Fitness::TooMuch => Some("Operation not permitted"),
        Fitness::TooLittle => Some("No such file or directory"),
    };
    if let Some(why) = misfit {
        let what = format_args!("odp_flow_key_to_flow failed (reason unknown) ({why})");
        return out.fail(what, None);
    }
    let Ok(actions) = odp::parse_actions(actions, &NoOdpNames) else {
        let what = format_args!("odp_actions_from_string");
        return out.fail(what, Some(&DpifError::Invalid));
    };
    if f.more {
        let actions = odp::format_actions(&actions, &NoOdpNames);
        out.line(format_args!("input actions: {actions}"));
    }
    out.text += &normalized(&key.flow, actions);
}

/// The attributes of a key's text, each with what follows it.
fn attributes(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut depth = 0;
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest.take()?;
        let end = all.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth <= 0
        });
        rest = end.map(|at| &all[at + 1..]);
        Some((&all[..end.unwrap_or(all.len())], all))
    })
}

/// As [`OdpKey::parse`]: a key, without masks.
fn parse(text: &str, names: &Names) -> Result<(OdpKey, Fitness), OdpTextError> {
    match attributes(text).find(|(attr, _)| attr.contains('/')) {
        Some((_, at)) => Err(OdpTextError::Syntax { at: at.to_owned() }),
        None => OdpKey::parse(text, names),
    }
}

/// The attributes that the text names, in the words of whoever writes keys.
fn key_text(text: &str, key: &OdpKey) -> String {
    let whole = (&key.flow, None);
    let mut out = String::new();
    for (attr, _) in attributes(text) {
        let name = attr.trim().split('(').next().unwrap_or_default();
        match Attr::from_name(name) {
            // What is inside is told by the whole; what was left out is not.
            Some(Attr::Encap) => {
                let mut all = String::new();
                format_key(&mut all, whole, &NoOdpNames, false);
                let from = all.find("eth_type(").unwrap_or(all.len());
                out.truncate(out.find("eth_type(").unwrap_or(out.len()));
                out += &all[from..];
            }
            Some(attr) => {
                attr.format(&mut out, whole, &NoOdpNames, false);
                out.push(',');
            }
            None => {}
        }
    }
    out.trim_end_matches(',').to_owned()
}

/// The groups of actions, without anything between them.
fn normalized(flow: &Flow, actions: Actions) -> String {
    let mut now = tags(flow);
    let mut groups: BTreeMap<Tags, Actions> = BTreeMap::new();
    for action in actions {
        match action {
            Action::PopVlan => now = [now[1], (0, 0)],
            Action::PushVlan { tpid, tci } => now = [(tpid, tci), now[0]],
            other => groups.entry(now).or_default().push(other),
        }
    }
    let mut text = String::new();
    for (tags, mut actions) in groups {
        sort_outputs(&mut actions);
        text += &tags_text(&tags);
        text += &labels_text(flow);
        text += &odp::format_actions(&actions, &NoOdpNames);
    }
    text
}

/// Outputs that follow each other may be in any order.
fn sort_outputs(actions: &mut [Action]) {
    let port = |a: &Action| match a {
        Action::Output(port) => Some(port.0),
        _ => None,
    };
    for run in actions.chunk_by_mut(|a, b| port(a).is_some() && port(b).is_some()) {
        run.sort_by_key(|a| port(a));
    }
}

fn tags_text(tags: &Tags) -> String {
    let mut text = String::new();
    for (tpid, tci) in tags.iter().take_while(|(_, tci)| *tci != 0) {
        text += "vlan(";
        if *tpid != wire::ethernet::ETH_TYPE_VLAN {
            // In the order of the wire, as the peer has it.
            text += &format!("tpid=0x{:04x},", tpid.swap_bytes());
        }
        let (vid, pcp) = (tci & Vlan::VID_MASK, tci >> 13);
        text += &format!("vid={vid},pcp={pcp}): ");
    }
    if text.is_empty() {
        text += "no vlan: ";
    }
    text
}

fn labels_text(flow: &Flow) -> String {
    if !wire::ethernet::is_mpls_type(flow.dl_type.get()) {
        return "no mpls: ".to_owned();
    }
    let lse = flow.mpls_lse[0].get();
    let (label, tc, ttl) = (lse >> 12, lse >> 9 & 7, lse & 0xff);
    format!("mpls(label={label},tc={tc},ttl={ttl}): ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_as_they_were_given() {
        let told = |text: &str| {
            let (key, _) = parse(text, &Names::default()).unwrap();
            key_text(text, &key)
        };
        let tcp = "in_port(1),eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x0800),\
                   ipv4(src=1.1.1.1,dst=2.2.2.2,proto=6,tos=0,ttl=64,frag=no),tcp(src=1,dst=2)";
        let tagged = "in_port(1),eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02),eth_type(0x8100),\
                      vlan(vid=9,pcp=0),encap(eth_type(0x8847),mpls(label=5,tc=1,ttl=3,bos=1))";
        for text in [tcp, tagged, "in_port(3)", "recirc_id(0)"] {
            assert_eq!(told(text), text);
        }
        assert_eq!(
            told("in_port(1),eth_type(0x800)"),
            "in_port(1),eth_type(0x0800)"
        );
        let masked = parse("in_port(1),eth_type(0x800/0xff)", &Names::default());
        let why = masked.unwrap_err().to_string();
        assert_eq!(why, "syntax error at eth_type(0x800/0xff)");
    }

    /// Results that Open vSwitch 3.1 gives.
    #[test]
    fn as_the_peer_has_it() {
        let flow = Flow::zero();
        let of = |text: &str| normalized(&flow, odp::parse_actions(text, &NoOdpNames).unwrap());
        assert_eq!(
            of("3,1,2,push_vlan(vid=5,pcp=3),2,1,pop_vlan,7"),
            "no vlan: no mpls: 1,2,3,7vlan(vid=5,pcp=3): no mpls: 1,2"
        );
        assert_eq!(of("drop"), "no vlan: no mpls: drop");
        assert_eq!(
            of(
                "push_vlan(tpid=0x88a8,vid=5,pcp=0,cfi=0),9,push_vlan(vid=1,pcp=0),4,set(ipv4(src=1.2.3.4)),2,1"
            ),
            "vlan(vid=1,pcp=0): vlan(tpid=0xa888,vid=5,pcp=0): no mpls: 4,set(ipv4(src=1.2.3.4)),1,2\
             vlan(tpid=0xa888,vid=5,pcp=0): no mpls: 9"
        );
        assert_eq!(
            of(
                "push_vlan(vid=1,pcp=0),push_vlan(vid=2,pcp=0),push_vlan(vid=3,pcp=0),4,pop_vlan,4,pop_vlan,5,\
                 pop_vlan,6,pop_vlan,7"
            ),
            "no vlan: no mpls: 5,6,7vlan(vid=2,pcp=0): no mpls: 4vlan(vid=3,pcp=0): vlan(vid=2,pcp=0): no mpls: 4"
        );
    }
}
