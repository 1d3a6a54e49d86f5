//! Rules that a bridge has of its own, above every priority that controllers can use, and not shown to them:
//!
//! * *In-band control*: whatever the controllers' rules do, the switch itself can reach its controllers through
//!   its local port (DHCP, ARP, and TCP to and from each; ARP to and from the next hop on the way).
//! * *Fail-open*: when no controller was of use for three times the longest probe interval, a bridge in
//!   standalone mode switches like one without controllers.

use crate::model::BridgeModel;
use base::clock::Nanos;
use ofproto::Ofproto;
use openflow::FlowModCommand;
use openflow::{Names, parse_flow_mod};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use wire::EthAddr;

/// Priority of the fail-open rule.
const FAIL_OPEN: i32 = 0xf0_f0f0;
/// Priority of the first kind of in-band rule; each kind has its own.
const IN_BAND: i32 = 180_000;

/// A rule: its priority, match, and actions.
type Own = (i32, String, String);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OwnRules {
    installed: BTreeSet<Own>,
    failed_open: bool,
}

/// What they depend on.
#[derive(Debug)]
pub(super) struct Situation {
    /// Controllers and managers reached in-band.
    pub(super) remotes: Vec<SocketAddrV4>,
    /// Ethernet addresses of the next hops to them, as far as they are known.
    pub(super) next_hops: BTreeSet<EthAddr>,
    /// Address of the local port.
    pub(super) local: EthAddr,
    /// Queue of in-band traffic.
    pub(super) queue: Option<u32>,
    /// Since when, in seconds, no controller is of use, and the longest probe interval in seconds; none when a
    /// controller is, or when there is none, or the bridge is to stay as it is.
    pub(super) failing: Option<(u64, u64)>,
}

impl OwnRules {
    /// True while there are in-band rules.
    pub(super) fn is_in_band(&self) -> bool {
        self.installed.iter().any(|(p, ..)| *p != FAIL_OPEN)
    }

    /// Makes the rules fit the situation. True when something changed.
    pub(super) fn update(&mut self, s: &Situation, of: &mut Ofproto, now: Nanos) -> bool {
        let mut wanted = in_band(s);
        self.fail_open(s);
        if self.failed_open {
            wanted.insert((FAIL_OPEN, String::new(), "NORMAL".to_owned()));
        }
        if wanted == self.installed {
            return false;
        }
        for rule in self.installed.difference(&wanted) {
            apply(of, rule, FlowModCommand::DeleteStrict, now);
        }
        for rule in wanted.difference(&self.installed) {
            apply(of, rule, FlowModCommand::Add, now);
        }
        self.installed = wanted;
        true
    }

    fn fail_open(&mut self, s: &Situation) {
        match s.failing {
            Some((seconds, probe)) if seconds >= probe * 3 => {
                if !self.failed_open {
                    tracing::warn!(
                        target: "fail_open",
                        "Could not connect to controller (or switch failed controller's \
                         post-connection admission control policy) for {seconds} seconds, failing open"
                    );
                }
                self.failed_open = true;
            }
            Some(_) => {}
            None => {
                if self.failed_open {
                    tracing::warn!(target: "fail_open", "No longer in fail-open mode");
                }
                self.failed_open = false;
            }
        }
    }
}

/// The rules that let the switch reach its controllers.
fn in_band(s: &Situation) -> BTreeSet<Own> {
    let mut out = BTreeSet::new();
    let actions = match s.queue {
        Some(q) => format!("set_queue:{q},NORMAL"),
        None => "NORMAL".to_owned(),
    };
    let mut rule = |kind: i32, text: String| out.insert((IN_BAND + kind, text, actions.clone()));
    let local = s.local;
    if !s.remotes.is_empty() && local != EthAddr::ZERO {
        rule(
            0,
            format!("udp,in_port=LOCAL,dl_src={local},tp_src=68,tp_dst=67"),
        );
        rule(1, format!("arp,arp_op=2,dl_dst={local}"));
        rule(2, format!("arp,arp_op=1,dl_src={local}"));
    }
    for hop in &s.next_hops {
        rule(3, format!("arp,arp_op=2,dl_dst={hop}"));
        rule(4, format!("arp,arp_op=1,dl_src={hop}"));
    }
    for r in &s.remotes {
        let (ip, port) = (r.ip(), r.port());
        rule(5, format!("arp,arp_op=2,arp_tpa={ip}"));
        rule(6, format!("arp,arp_op=1,arp_spa={ip}"));
        rule(7, format!("tcp,nw_dst={ip},tp_dst={port}"));
        rule(8, format!("tcp,nw_src={ip},tp_src={port}"));
    }
    out
}

fn apply(of: &mut Ofproto, rule: &Own, command: FlowModCommand, now: Nanos) {
    let (priority, matching, actions) = rule;
    let names = Names {
        ports: None,
        tables: None,
    };
    let comma = if matching.is_empty() { "" } else { "," };
    let text = format!("{matching}{comma}actions={actions}");
    let refused = |e: String| tracing::warn!(target: "in_band", "{text}: {e}");
    let mut fm = match parse_flow_mod(&text, FlowModCommand::Add, names) {
        Ok(parsed) => parsed.flow_mod,
        Err(e) => return refused(e.to_string()),
    };
    fm.command = command;
    if let Err(e) = of.flow_mod_at(fm, Some(*priority), now) {
        refused(e.to_string());
    }
}

/// True when a bridge has controllers that own its tables: configured ones that are not mere services.
pub(crate) fn has_owners(b: &BridgeModel) -> bool {
    b.controllers
        .iter()
        .any(|(target, c)| is_primary(target, c.kind.as_deref()))
}

/// True for the kind of controller that owns a bridge: one that is connected to, unless said otherwise.
pub(super) fn is_primary(target: &str, kind: Option<&str>) -> bool {
    let passive = ["ptcp:", "pssl:", "punix:"]
        .iter()
        .any(|p| target.starts_with(p));
    target != "none"
        && match kind {
            Some("primary") => true,
            Some(_) => false,
            None => !passive,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(failing: Option<(u64, u64)>, remotes: &[&str]) -> Situation {
        Situation {
            remotes: remotes.iter().map(|r| r.parse().unwrap()).collect(),
            next_hops: remotes
                .iter()
                .map(|_| EthAddr([2, 0, 0, 0, 0, 9]))
                .collect(),
            local: EthAddr([2, 0, 0, 0, 0, 1]),
            queue: None,
            failing,
        }
    }

    #[test]
    fn rules_come_and_go_with_the_situation() {
        let mut of = Ofproto::new("br0");
        let mut own = OwnRules::default();
        let t = Nanos::from_millis(1);
        let count = |of: &Ofproto| of.hidden_flows();
        assert!(!own.update(&situation(None, &[]), &mut of, t));
        assert!(own.update(
            &situation(None, &["10.0.0.9:6653", "10.0.0.8:1"]),
            &mut of,
            t
        ));
        assert_eq!((count(&of), own.is_in_band()), (13, true));
        assert!(own.update(&situation(None, &["10.0.0.9:6653"]), &mut of, t));
        assert_eq!(count(&of), 9);
        assert!(
            own.update(&situation(Some((14, 5)), &[]), &mut of, t),
            "in-band rules go"
        );
        assert_eq!((count(&of), own.is_in_band()), (0, false));
        assert!(own.update(&situation(Some((15, 5)), &[]), &mut of, t));
        assert!(!own.update(&situation(Some((16, 5)), &[]), &mut of, t));
        assert_eq!((count(&of), own.is_in_band()), (1, false));
        assert!(own.update(&situation(None, &[]), &mut of, t));
        assert_eq!(count(&of), 0);
    }

    #[test]
    fn kinds_of_controllers() {
        assert!(is_primary("tcp:1.1.1.1", None) && is_primary("ptcp:", Some("primary")));
        assert!(!is_primary("ptcp:", None) && !is_primary("tcp:1.1.1.1", Some("service")));
        assert!(!is_primary("none", None));
    }
}
