//! The `dpif` module's log lines: every operation with its flow, as Open vSwitch words them.
//!
//! Success is DEBUG, failure WARN (a flow that exists already is no failure worth a warning); both are
//! rate limited, and text is made only for lines that are printed.

use crate::error::DpifError;
use crate::types::{Execute, FlowInfo, FlowPut, Upcall, UpcallKind};
use base::clock::Nanos;
use base::log::RateLimit;
use base::log_rl;
use flow::dpkey::format_key;
use flow::{Flow, NoOdpNames};
use odp::{FlowStats, Ufid};
use std::fmt::Write;

/// Messages to and from the datapath: many, because who switched them on wants to see them.
static MESSAGES: RateLimit = RateLimit::new(600, 600);
static ERRORS: RateLimit = RateLimit::new(60, 5);

/// True when DEBUG lines are printed at all.
pub(crate) fn is_debug() -> bool {
    tracing::enabled!(target: "dpif", tracing::Level::DEBUG)
}

/// One operation without a flow.
pub(crate) fn operation<T>(name: &str, operation: &str, result: &Result<T, DpifError>) {
    match result {
        Ok(_) => debug(format_args!("{name}: {operation} success")),
        Err(e) => warn(format_args!("{name}: {operation} failed ({e})")),
    }
}

pub(crate) fn debug(line: std::fmt::Arguments<'_>) {
    log_rl!(MESSAGES, DEBUG, "dpif", "{line}");
}

pub(crate) fn warn(line: std::fmt::Arguments<'_>) {
    log_rl!(ERRORS, WARN, "dpif", "{line}");
}

/// What a line about a flow says besides the operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FlowLine<'a> {
    pub(crate) ufid: Option<Ufid>,
    pub(crate) key: Option<(&'a Flow, Option<&'a flow::Mask>)>,
    pub(crate) stats: Option<(&'a FlowStats, Nanos)>,
    pub(crate) actions: Option<&'a [odp::Action]>,
}

impl FlowLine<'_> {
    fn text(&self, name: &str, operation: &str, error: Option<&DpifError>) -> String {
        let mut out = format!("{name}: ");
        if let Some(e) = error {
            let _ = write!(out, "failed to {operation} ({e}) ");
        } else {
            let _ = write!(out, "{operation} ");
        }
        if let Some(ufid) = self.ufid {
            let _ = write!(out, "ufid:{ufid} ");
        }
        match self.key {
            Some((key, mask)) => format_key(&mut out, (key, mask), &NoOdpNames, true),
            None => out.push_str("<empty>"),
        }
        if let Some((stats, now)) = self.stats {
            out.push_str(", ");
            odp::text::put_stats(&mut out, stats, now);
        }
        if let Some(actions) = self.actions {
            out.push_str(", actions:");
            odp::text::put_actions(&mut out, actions, &NoOdpNames);
        }
        out
    }

    /// Prints the line.
    pub(crate) fn log(&self, name: &str, operation: &str, error: Option<&DpifError>) {
        match error {
            None => log_rl!(
                MESSAGES,
                DEBUG,
                "dpif",
                "{}",
                self.text(name, operation, error)
            ),
            Some(DpifError::Exists) => {
                log_rl!(
                    ERRORS,
                    DEBUG,
                    "dpif",
                    "{}",
                    self.text(name, operation, error)
                );
            }
            Some(_) => log_rl!(
                ERRORS,
                WARN,
                "dpif",
                "{}",
                self.text(name, operation, error)
            ),
        }
    }
}

/// A flow that was dumped or read.
pub(crate) fn of_flow(info: &FlowInfo, now: Nanos) -> FlowLine<'_> {
    FlowLine {
        ufid: Some(info.ufid),
        key: Some((&info.key, Some(&info.mask))),
        stats: Some((&info.stats, now)),
        actions: Some(&info.actions),
    }
}

pub(crate) fn put(name: &str, put: &FlowPut) {
    if put.flags.probe || put.result.is_ok() && !is_debug() {
        return;
    }
    let flags = [
        (put.flags.create, "[create]"),
        (put.flags.modify, "[modify]"),
        (put.flags.zero_stats, "[zero]"),
    ];
    let mut operation = String::from("put");
    let set = flags.iter().filter(|f| f.0);
    set.for_each(|f| operation.push_str(f.1));
    let line = FlowLine {
        ufid: put.ufid,
        key: Some((&put.key, Some(&put.mask))),
        stats: None,
        actions: Some(&put.actions),
    };
    line.log(name, &operation, put.result.as_ref().err());
}

/// `kind` is `sub-` for a piece of an execution with help, else empty.
pub(crate) fn execute(name: &str, kind: &str, execute: &Execute) {
    if execute.probe {
        return;
    }
    let text = || {
        let mut out = format!("{name}: {kind}execute ");
        odp::text::put_actions(&mut out, &execute.actions, &NoOdpNames);
        if let Err(e) = &execute.result {
            let _ = write!(out, " failed ({e})");
        }
        let _ = write!(out, " on packet {}\n with metadata ", headers(&execute.key));
        format_key(&mut out, (&metadata(&execute.key), None), &NoOdpNames, true);
        out.push_str(" mtu 0");
        out
    };
    match execute.result {
        Ok(()) => log_rl!(MESSAGES, DEBUG, "dpif", "{}", text()),
        Err(_) => log_rl!(ERRORS, WARN, "dpif", "{}", text()),
    }
}

/// An upcall, in the words of the userspace datapath's own module; `name` is without type.
pub(crate) fn upcall(name: &str, upcall: &Upcall) {
    let text = || {
        let kind = match upcall.kind {
            UpcallKind::Miss => "miss",
            UpcallKind::Action(_) => "action",
        };
        let mut out = format!("{name}: {kind} upcall:\n");
        format_key(&mut out, (&upcall.key, None), &NoOdpNames, true);
        let _ = write!(out, "\n{}", headers(&upcall.key));
        out
    };
    log_rl!(CHANGES, DEBUG, "dpif_netdev", "{}", text());
}

/// Lines of the userspace datapath's module.
static CHANGES: RateLimit = RateLimit::new(600, 600);

/// True when the userspace datapath's DEBUG lines are printed at all.
pub(crate) fn is_netdev_debug() -> bool {
    tracing::enabled!(target: "dpif_netdev", tracing::Level::DEBUG)
}

/// A flow that was made, or whose actions were `old` before.
pub(crate) fn flow_change(put: &FlowPut, old: Option<&[odp::Action]>) {
    let text = || {
        let kind = if old.is_some() { "mod" } else { "add" };
        let mega = Ufid::of(&put.key.masked(&put.mask));
        let ufid = put.ufid.unwrap_or(mega);
        let mut out = format!("flow_{kind}: ufid:{ufid} mega_ufid:{mega} ");
        format_key(&mut out, (&put.key, Some(&put.mask)), &NoOdpNames, false);
        if let Some(old) = old {
            out.push_str(", old_actions:");
            odp::text::put_actions(&mut out, old, &NoOdpNames);
        }
        out.push_str(", actions:");
        odp::text::put_actions(&mut out, &put.actions, &NoOdpNames);
        out
    };
    log_rl!(CHANGES, DEBUG, "dpif_netdev", "{}", text());
    let found = flow::Match::new(&put.key, &put.mask);
    log_rl!(CHANGES, DEBUG, "dpif_netdev", "flow match: {found}");
}

/// A packet's headers in OpenFlow syntax, without what is known about it besides.
fn headers(key: &Flow) -> String {
    let zero = Flow::zero();
    let mut f = *key;
    (f.in_port, f.recirc_id, f.dp_hash) = (zero.in_port, zero.recirc_id, zero.dp_hash);
    (f.skb_priority, f.pkt_mark) = (zero.skb_priority, zero.pkt_mark);
    (f.ct_state, f.ct_zone, f.ct_mark) = (0, zero.ct_zone, zero.ct_mark);
    (f.ct_label, f.ct_nw_proto, f.tunnel) = (zero.ct_label, 0, zero.tunnel);
    f.to_string()
}

/// What is known about a packet besides its headers.
fn metadata(key: &Flow) -> Flow {
    let mut f = Flow::zero();
    (f.in_port, f.packet_type) = (key.in_port, key.packet_type);
    (f.skb_priority, f.pkt_mark) = (key.skb_priority, key.pkt_mark);
    (f.ct_state, f.ct_zone, f.ct_mark) = (key.ct_state, key.ct_zone, key.ct_mark);
    (f.ct_label, f.tunnel) = (key.ct_label, key.tunnel);
    f
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::fake::FakeProvider;
    use crate::types::{FlowDel, FlowPut, Op, PortSpec, Provider, PutFlags};
    use crate::{DpifError, Front};
    use base::clock::{Clock, Nanos};
    use base::sync::{Arc, Mutex, lock};
    use flow::{Flow, Mask};
    use odp::{Action, Ufid};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Keeps lines as `target|LEVEL|text`.
    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

    impl Lines {
        pub(crate) fn take(&self) -> Vec<String> {
            std::mem::take(&mut lock(&self.0))
        }
    }

    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, _field: &Field, value: &dyn std::fmt::Debug) {
            self.0 = format!("{value:?}");
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut message = Message(String::new());
            event.record(&mut message);
            let m = event.metadata();
            lock(&self.0).push(format!("{}|{}|{}", m.target(), m.level(), message.0));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn put(flags: &str) -> Op {
        let (mut key, mut mask) = (Flow::zero(), Mask::empty());
        key.in_port.set(1);
        key.dl_type.set(0x1234);
        mask.0.in_port.set(u32::MAX);
        mask.0.dl_type.set(u16::MAX);
        Op::FlowPut(FlowPut {
            flags: PutFlags {
                create: flags.contains('c'),
                modify: flags.contains('m'),
                ..PutFlags::default()
            },
            key: Arc::new(key),
            mask: Arc::new(mask),
            ufid: Some(Ufid(0x11)),
            actions: Arc::new(vec![Action::Output(odp::OdpPort(2))]),
            pmd: None,
            result: Err(DpifError::Again),
        })
    }

    fn check_changes(lines: &[String]) {
        let count = |what: &str| {
            let wanted = format!("dpif_netdev|DEBUG|{what}");
            lines.iter().filter(|l| l.starts_with(&wanted)).count()
        };
        assert_eq!((count("flow_add: ufid:"), count("flow_mod: ufid:")), (1, 1));
        assert!(
            lines[2].ends_with(", old_actions:2, actions:2"),
            "{}",
            lines[2]
        );
        assert_eq!(count("flow match: "), 2);
    }

    #[test]
    fn lines_are_those_of_the_dpif_module() {
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(lines.clone());
        let provider = FakeProvider::create("netdev", Clock::real());
        let inner = provider.open("ovs-netdev", true).unwrap();
        let front = Front::new(inner, Clock::simulated(Nanos::from_millis(9)));
        let dpif: &dyn crate::Dpif = &front;
        let mut del = FlowDel {
            ufid: Ufid(0x11),
            pmd: None,
            result: Err(DpifError::Again),
        };
        let mut ops = [
            put("c"),
            put("c"),
            put("m"),
            put(""),
            Op::FlowDel(del.clone()),
        ];
        dpif.operate(&mut ops);
        del.ufid = Ufid(2);
        dpif.operate(&mut [Op::FlowDel(del)]);
        let spec = PortSpec {
            name: "p0".into(),
            class: "dummy".into(),
            number: None,
        };
        let port = dpif.port_add(&spec).unwrap();
        assert!(dpif.port_add(&spec).is_err() && dpif.port_by_name("x").is_err());
        dpif.port_del(port).unwrap();
        assert!(dpif.port_del(port).is_err());
        let (changes, all): (Vec<_>, Vec<_>) = lines
            .take()
            .into_iter()
            .partition(|l| l.starts_with("dpif_netdev|DEBUG|"));
        check_changes(&changes);
        check_operations(&all);
    }

    fn check_operations(all: &[String]) {
        let ufid = "ufid:00000000-0000-0000-0000-000000000011";
        let starts = [
            format!("dpif|DEBUG|netdev@ovs-netdev: put[create] {ufid} "),
            format!("dpif|DEBUG|netdev@ovs-netdev: failed to put[create] (File exists) {ufid} "),
            format!("dpif|DEBUG|netdev@ovs-netdev: put[modify] {ufid} "),
            format!("dpif|WARN|netdev@ovs-netdev: failed to put (Invalid argument) {ufid} "),
            format!(
                "dpif|DEBUG|netdev@ovs-netdev: flow_del {ufid} <empty>, packets:0, bytes:0, used:never"
            ),
            "dpif|WARN|netdev@ovs-netdev: failed to flow_del (No such file or directory) ufid:"
                .into(),
            "dpif|DEBUG|netdev@ovs-netdev: added p0 as port 1".into(),
            "dpif|WARN|netdev@ovs-netdev: failed to add p0 as port: File exists".into(),
            "dpif|DEBUG|netdev@ovs-netdev: failed to query port x: No such device".into(),
            "dpif|DEBUG|netdev@ovs-netdev: port_del(1)".into(),
            "dpif|WARN|netdev@ovs-netdev: port_del failed (No such device)".into(),
        ];
        assert_eq!(all.len(), starts.len(), "{all:#?}");
        for (line, start) in all.iter().zip(starts) {
            assert!(line.starts_with(&start), "{line}\n{start}");
        }
        assert!(
            all[0].contains("in_port(1)") && all[0].ends_with(", actions:2"),
            "{}",
            all[0]
        );
    }
}
