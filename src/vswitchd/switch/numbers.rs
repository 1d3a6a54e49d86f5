//! Ports whose wanted OpenFlow numbers changed, among them ports that change numbers with each other: those that move,
//! and those that stand in the way without wanting the number, are taken out first and come back with the rest.

use super::Switch;
use crate::model::{BridgeModel, Model, PortModel};
use std::collections::BTreeMap;

/// What is known of a bridge's interfaces: name -> (port, number now, number wanted).
type Numbers<'a> = BTreeMap<&'a str, (&'a str, u16, Option<u16>)>;

impl Switch {
    /// Makes numbers free for those that want them.
    pub(super) fn free_numbers(&mut self, model: &Model) {
        for backer in self.backers.values_mut() {
            let mut gone = Vec::new();
            for (name, bridge) in backer.bridges() {
                let Some(wanted) = model.bridges.get(name) else {
                    continue;
                };
                let now = bridge.ifaces().map(|i| (i.name(), i.ofp.0));
                let now: BTreeMap<&str, u16> = now.collect();
                let ports = in_the_way(&numbers(name, wanted, &now));
                gone.extend(ports.into_iter().map(|p| (name.clone(), p)));
            }
            for (bridge, port) in gone {
                if let Err(e) = backer.port_del(&bridge, &port) {
                    tracing::warn!(target: "bridge", "{e}");
                }
            }
        }
    }
}

fn numbers<'a>(bridge: &str, wanted: &'a BridgeModel, now: &BTreeMap<&str, u16>) -> Numbers<'a> {
    let mut out = Numbers::new();
    for (port, p) in &wanted.ports {
        for (name, i) in p.interfaces.iter().filter(|(n, _)| *n != bridge) {
            if let Some(number) = now.get(name.as_str()) {
                out.insert(name, (port, *number, i.number));
            }
        }
    }
    out
}

/// Names of the ports to be taken out.
fn in_the_way(numbers: &Numbers<'_>) -> Vec<String> {
    let holder = |n: u16| numbers.values().find(|(_, now, _)| *now == n);
    let mut out = Vec::new();
    for (port, now, wanted) in numbers.values() {
        let Some(n) = wanted.filter(|n| n != now) else {
            continue;
        };
        match holder(n) {
            // Who has a number that he wants keeps it.
            Some((_, _, theirs)) if *theirs == Some(n) => {}
            Some((other, _, _)) => out.extend([(*port).to_owned(), (*other).to_owned()]),
            None => out.push((*port).to_owned()),
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Ports in the order in which they are brought up: who wants a number comes before who takes any.
pub(super) fn by_wish(ports: &BTreeMap<String, PortModel>) -> Vec<(&String, &PortModel)> {
    let mut out: Vec<_> = ports.iter().collect();
    out.sort_by_key(|(_, p)| p.interfaces.values().all(|i| i.number.is_none()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves() {
        let ways = |list: &[(&'static str, u16, Option<u16>)]| {
            in_the_way(&list.iter().map(|p| (p.0, *p)).collect())
        };
        let none: [&str; 0] = [];
        assert_eq!(ways(&[("a", 1, Some(1)), ("b", 2, None)]), none);
        assert_eq!(ways(&[("a", 1, Some(2)), ("b", 2, Some(1))]), ["a", "b"]);
        assert_eq!(ways(&[("a", 1, Some(2)), ("b", 2, None)]), ["a", "b"]);
        assert_eq!(ways(&[("a", 1, Some(2)), ("b", 2, Some(2))]), none);
        assert_eq!(ways(&[("a", 1, Some(3)), ("b", 2, None)]), ["a"]);
    }
}
