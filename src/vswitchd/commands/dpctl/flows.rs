//! `dpctl/add-flow`, `mod-flow`, `get-flow`, `del-flow` and their plural forms: flows by hand.

use super::{Flags, Out, open_first};
use crate::switch::Switch;
use crate::unixctl::Outcome;
use base::sync::Arc;
use dpif::{Dpif, DpifError, FlowDel, FlowGet, FlowPut, Op, PutFlags, Ufid};
use flow::dpkey::{Fitness, OdpKey};
use flow::{NoOdpNames, OdpTextError};
use odp::{FlowStats, OdpPort};
use std::collections::BTreeMap;

/// Port names of a datapath; none when they are not wanted.
pub(super) fn port_names(dpif: &dyn Dpif, wanted: bool) -> BTreeMap<OdpPort, String> {
    let ports = if wanted { dpif.ports() } else { Vec::new() };
    ports.into_iter().map(|p| (p.number, p.name)).collect()
}

/// Lines of a file carried out in one go.
const LINES: usize = 100;

/// A datapath and the names of its ports.
#[derive(Debug)]
struct Target {
    dpif: Arc<dyn Dpif>,
    names: BTreeMap<OdpPort, String>,
}

impl Target {
    fn new(dpif: Arc<dyn Dpif>) -> Self {
        let names = port_names(&*dpif, true);
        Self { dpif, names }
    }
}

/// What one line of a file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Modify,
    Delete,
}

const CREATE: PutFlags = PutFlags {
    create: true,
    modify: false,
    zero_stats: false,
    probe: false,
};
const MODIFY: PutFlags = PutFlags {
    create: false,
    modify: true,
    zero_stats: false,
    probe: false,
};

/// `dpctl/add-flow [dp] flow actions`.
pub(super) fn add_flow(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    put_args(s, out, (f, CREATE), args);
}

/// `dpctl/mod-flow [dp] flow actions`.
pub(super) fn mod_flow(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    let flags = PutFlags {
        create: f.may_create,
        zero_stats: f.clear,
        ..MODIFY
    };
    put_args(s, out, (f, flags), args);
}

fn put_args(s: &Switch, out: &mut Out, (f, flags): (Flags, PutFlags), args: &[&str]) {
    if let Some(dpif) = open_first(s, out, args, 3)
        && let [.., key, actions] = args
        && put(s, out, (&Target::new(dpif), f, flags), (key, actions)).is_none()
    {
        out.failed = true;
    }
}

/// A key's text with the identity in front of it, or the one that flows put by hand have, and whether it is whole.
fn parse_key(
    out: &mut Out,
    target: &Target,
    text: &str,
    what: &str,
) -> Option<(OdpKey, Ufid, bool)> {
    let given = match parse_ufid(text) {
        Ok(given) => given,
        Err(e) => {
            out.complain(format_args!("parsing flow ufid"), Some(&e));
            return None;
        }
    };
    match OdpKey::parse(text, &target.names) {
        Ok((key, fitness)) => {
            let ufid = given.unwrap_or_else(|| Ufid::of(&key.flow));
            Some((key, ufid, fitness == Fitness::Perfect))
        }
        Err(e) => {
            let why = match e {
                OdpTextError::TooLong { .. } => DpifError::TooLong,
                _ => DpifError::Invalid,
            };
            let text = if what.is_empty() {
                e.to_string()
            } else {
                format!("{what} ({e})")
            };
            out.complain(format_args!("{text}"), Some(&why));
            None
        }
    }
}

/// The `ufid:...` that a text begins with, if it does.
fn parse_ufid(text: &str) -> Result<Option<Ufid>, DpifError> {
    let Some(rest) = text.strip_prefix("ufid:") else {
        return Ok(None);
    };
    let digits = rest.get(..36).unwrap_or(rest);
    digits.parse().map(Some).map_err(|()| DpifError::Invalid)
}

/// Puts a flow; `None` when something was wrong, which was said.
fn put(
    s: &Switch,
    out: &mut Out,
    (target, f, flags): (&Target, Flags, PutFlags),
    (key, actions): (&str, &str),
) -> Option<()> {
    let (key, ufid, whole) = parse_key(out, target, key, "parsing flow key")?;
    if !whole || key.check_mask().is_err() {
        out.complain(
            format_args!("updating flow table"),
            Some(&DpifError::Invalid),
        );
        return None;
    }
    let Ok(actions) = odp::text::parse_actions(actions, &NoOdpNames) else {
        out.complain(format_args!("parsing actions"), Some(&DpifError::Invalid));
        return None;
    };
    let mut ops = [Op::FlowPut(FlowPut {
        flags,
        key: Arc::new(key.flow),
        mask: Arc::new(key.mask),
        ufid: Some(ufid),
        actions: Arc::new(actions),
        pmd: None,
        result: Err(DpifError::Again),
    })];
    target.dpif.operate(&mut ops);
    let [Op::FlowPut(put)] = ops else {
        return None;
    };
    match put.result {
        Ok(stats) => {
            say_stats(s, out, f, &stats);
            Some(())
        }
        Err(e) => {
            out.complain(format_args!("updating flow table"), Some(&e));
            None
        }
    }
}

fn say_stats(s: &Switch, out: &mut Out, f: Flags, stats: &FlowStats) {
    if f.statistics {
        let text = odp::text::format_stats(stats, s.clock().now());
        out.line(format_args!("{text}"));
    }
}

/// `dpctl/del-flow [dp] flow`.
pub(super) fn del_flow(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    if let Some(dpif) = open_first(s, out, args, 2)
        && let [.., key] = args
        && delete(s, out, (&Target::new(dpif), f), key).is_none()
    {
        out.failed = true;
    }
}

/// As [`put`].
fn delete(s: &Switch, out: &mut Out, (target, f): (&Target, Flags), key: &str) -> Option<()> {
    let (_, ufid, _) = parse_key(out, target, key, "")?;
    let mut ops = [Op::FlowDel(FlowDel {
        ufid,
        pmd: None,
        result: Err(DpifError::Again),
    })];
    target.dpif.operate(&mut ops);
    let [Op::FlowDel(del)] = ops else {
        return None;
    };
    match del.result {
        Ok(stats) => {
            say_stats(s, out, f, &stats);
            Some(())
        }
        Err(e) => {
            out.complain(format_args!("deleting flow"), Some(&e));
            if e == DpifError::NoEntry {
                out.line(format_args!("Perhaps you need to specify a UFID?"));
            }
            None
        }
    }
}

/// `dpctl/get-flow [dp] ufid`.
pub(super) fn get_flow(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    let Some(dpif) = open_first(s, out, args, 2) else {
        return;
    };
    let ufid = match parse_ufid(args.last().copied().unwrap_or_default()) {
        Ok(Some(ufid)) => ufid,
        Ok(None) => return out.complain(format_args!("parsing flow ufid"), None),
        Err(e) => return out.complain(format_args!("parsing flow ufid"), Some(&e)),
    };
    let mut ops = [Op::FlowGet(FlowGet {
        ufid,
        pmd: None,
        result: Err(DpifError::NoEntry),
    })];
    dpif.operate(&mut ops);
    let [Op::FlowGet(get)] = ops else {
        return;
    };
    match get.result {
        Ok(flow) => {
            let names = port_names(&*dpif, f.names);
            let text = dpif::format_flow(&flow, &names, f.more, s.clock().now());
            out.line(format_args!("{text}"));
        }
        Err(e) => out.fail(format_args!("getting flow"), Some(&e)),
    }
}

/// `dpctl/del-flows [dp]`: all flows. With a file it is [`Lines`]' work: `None`.
pub(super) fn del_all(s: &Switch, args: &[&str]) -> Option<Outcome> {
    let all = match args {
        [] => true,
        [one] => super::exists(s, one),
        _ => false,
    };
    all.then(|| {
        let mut out = Out::new(s);
        if let Some(dpif) = open_first(s, &mut out, args, 1)
            && let Err(e) = dpif.flow_flush()
        {
            out.fail(format_args!("deleting all flows"), Some(&e));
        }
        out.outcome()
    })
}

/// A file of flows, carried out some lines at a time. A wrong line is named and does not stop the rest, nor does it
/// make the command fail.
pub(super) struct Lines {
    target: Target,
    flags: Flags,
    default: Command,
    text: String,
    /// Bytes and lines of `text` that are done.
    at: usize,
    number: usize,
    out: Out,
}

impl Lines {
    /// Reads the file.
    ///
    /// # Errors
    /// The command's answer, when there is nothing to be done.
    pub(super) fn start(
        s: &Switch,
        flags: Flags,
        default: Command,
        args: &[&str],
    ) -> Result<Self, Outcome> {
        let mut out = Out::new(s);
        let Some(dpif) = open_first(s, &mut out, args, 3) else {
            return Err(out.outcome());
        };
        let file = args.last().copied().unwrap_or_default();
        match std::fs::read_to_string(file) {
            Ok(text) => Ok(Self {
                target: Target::new(dpif),
                flags,
                default,
                text,
                at: 0,
                number: 0,
                out,
            }),
            Err(e) => {
                let why = crate::vconn::reason(&e);
                let what = format_args!("Opening file \"{file}\" failed ({why})");
                out.complain(what, None);
                Err(out.outcome())
            }
        }
    }

    /// Carries out the next lines; the answer when that were all.
    pub(super) fn more(&mut self, s: &Switch) -> Option<Outcome> {
        let text = std::mem::take(&mut self.text);
        let rest = text.get(self.at..).unwrap_or_default();
        let mut done = 0;
        for line in rest.split_inclusive('\n').take(LINES) {
            self.at += line.len();
            self.number += 1;
            done += 1;
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                self.line(s, line);
            }
        }
        self.text = text;
        let out = &mut self.out;
        (done < LINES).then(|| Ok(std::mem::take(&mut out.text)))
    }

    fn line(&mut self, s: &Switch, line: &str) {
        let (command, flow, actions) = parse_line(self.default, line);
        let (out, target, f) = (&mut self.out, &self.target, self.flags);
        match (command, flow, actions) {
            (Command::Add, Some(flow), Some(actions)) => {
                put(s, out, (target, f, CREATE), (flow, actions));
            }
            (Command::Modify, Some(flow), Some(actions)) => {
                put(s, out, (target, f, MODIFY), (flow, actions));
            }
            (Command::Delete, Some(flow), None) => {
                delete(s, out, (target, f), flow);
            }
            _ => {
                let n = self.number;
                out.complain(
                    format_args!("Failed parsing line number {n}, skipped!"),
                    None,
                );
            }
        }
    }
}

/// `[add|modify|delete] FLOW [ACTIONS]`; the words may be shortened.
fn parse_line(default: Command, line: &str) -> (Command, Option<&str>, Option<&str>) {
    let word = line.split([',', ' ', '\t']).next().unwrap_or_default();
    let named = [
        ("add", Command::Add),
        ("delete", Command::Delete),
        ("modify", Command::Modify),
    ];
    let named = named.iter().find(|(n, _)| n.starts_with(word));
    let (command, rest) = match named {
        Some((_, command)) if !word.is_empty() => (*command, &line[word.len()..]),
        _ => (default, line),
    };
    let rest = rest.trim_start();
    let (flow, actions) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let some = |text: &'_ str| !text.is_empty();
    (
        command,
        Some(flow).filter(|t| some(t)),
        Some(actions.trim_start()).filter(|t| some(t)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let p = |l| parse_line(Command::Add, l);
        assert_eq!(
            p("in_port(1) 2"),
            (Command::Add, Some("in_port(1)"), Some("2"))
        );
        assert_eq!(
            p("modify in_port(1)  2"),
            (Command::Modify, Some("in_port(1)"), Some("2"))
        );
        assert_eq!(
            p("del in_port(1)"),
            (Command::Delete, Some("in_port(1)"), None)
        );
        assert_eq!(p("add"), (Command::Add, None, None));
    }

    #[test]
    fn identities() {
        let text = "ufid:01020304-0506-0708-090a-0b0c0d0e0f10,in_port(1)";
        assert!(parse_ufid(text).is_ok_and(|u| u.is_some()));
        assert_eq!(parse_ufid("in_port(1)"), Ok(None));
        assert!(parse_ufid("ufid:x").is_err());
    }
}
