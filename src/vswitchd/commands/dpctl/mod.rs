//! `dpctl/*`: the datapath, past all bridges, for `ovs-appctl dpctl/...`.
//!
//! A command writes into an [`Out`], as the peer's does: what went wrong stands among the rest, under the
//! program's name, and makes the whole an error. Dumps are made piece by piece as the client takes them.

mod conntrack;
mod dump;
mod flows;
mod normalize;
mod ports;
mod show;
mod texts;

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome, Reply};
use base::sync::Arc;
use dpif::{Dpif, DpifError, OpenMode};
use std::fmt::Write;

/// Options that stand in front of every command's arguments.
#[derive(Debug, Default, Clone, Copy)]
struct Flags {
    more: bool,
    statistics: bool,
    names: bool,
    clear: bool,
    may_create: bool,
}

fn flags<'a>(args: &[&'a str]) -> Result<(Flags, Vec<&'a str>), String> {
    let mut f = Flags::default();
    let mut names = None;
    let mut rest = args;
    while let Some((arg, after)) = rest.split_first() {
        match *arg {
            "--more" => f.more = true,
            "--statistics" => f.statistics = true,
            "--names" => names = Some(true),
            "--no-names" => names = Some(false),
            "--clear" => f.clear = true,
            "--may-create" => f.may_create = true,
            long if long.starts_with("--") => return Err(format!("Unrecognized option {long}")),
            short if short.len() > 1 && short.starts_with('-') => {
                for c in short[1..].chars() {
                    match c {
                        'm' => f.more = true,
                        's' => f.statistics = true,
                        _ => return Err(format!("Unrecognized option -{c}")),
                    }
                }
            }
            _ => break,
        }
        rest = after;
    }
    f.names = names.unwrap_or(f.more);
    Ok((f, rest.to_vec()))
}

/// What a command says.
#[derive(Debug)]
struct Out {
    text: String,
    failed: bool,
    program: String,
}

impl Out {
    fn new(s: &Switch) -> Self {
        Self {
            text: String::new(),
            failed: false,
            program: s.program().to_owned(),
        }
    }
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{text}").expect("a string takes everything");
    }
    /// Says what went wrong, without making the whole an error.
    fn complain(&mut self, what: std::fmt::Arguments<'_>, why: Option<&DpifError>) {
        let why = why.map(|e| format!(" ({e})")).unwrap_or_default();
        writeln!(self.text, "{}: {what}{why}", self.program).expect("a string takes everything");
    }
    fn fail(&mut self, what: std::fmt::Arguments<'_>, why: Option<&DpifError>) {
        self.failed = true;
        self.complain(what, why);
    }
    fn outcome(self) -> Outcome {
        if self.failed {
            Err(self.text)
        } else {
            Ok(self.text)
        }
    }
}

type Work = fn(&mut Switch, &mut Out, Flags, &[&str]);

/// A command: name, usage, how many arguments at least and at most, and what it does.
type Row = (&'static str, &'static str, usize, usize, Work);

/// Every command, in the order in which they are listed.
const LISTED: [&str; 39] = [
    "dpctl/add-dp",
    "dpctl/del-dp",
    "dpctl/add-if",
    "dpctl/del-if",
    "dpctl/set-if",
    "dpctl/dump-dps",
    "dpctl/show",
    "dpctl/dump-flows",
    "dpctl/add-flow",
    "dpctl/mod-flow",
    "dpctl/get-flow",
    "dpctl/del-flow",
    "dpctl/add-flows",
    "dpctl/mod-flows",
    "dpctl/del-flows",
    "dpctl/offload-stats-show",
    "dpctl/dump-conntrack",
    "dpctl/flush-conntrack",
    "dpctl/cache-get-size",
    "dpctl/cache-set-size",
    "dpctl/ct-stats-show",
    "dpctl/ct-bkts",
    "dpctl/ct-set-maxconns",
    "dpctl/ct-get-maxconns",
    "dpctl/ct-get-nconns",
    "dpctl/ct-enable-tcp-seq-chk",
    "dpctl/ct-disable-tcp-seq-chk",
    "dpctl/ct-get-tcp-seq-chk",
    "dpctl/ct-set-limits",
    "dpctl/ct-del-limits",
    "dpctl/ct-get-limits",
    "dpctl/ipf-set-enabled",
    "dpctl/ipf-set-disabled",
    "dpctl/ipf-set-min-frag",
    "dpctl/ipf-set-max-nfrags",
    "dpctl/ipf-get-status",
    "dpctl/list-commands",
    "dpctl/parse-actions",
    "dpctl/normalize-actions",
];

pub(super) fn add(commands: &mut Commands<Switch>) {
    let many = usize::MAX;
    let table: [Row; 16] = [
        ("dpctl/add-dp", "dp [iface...]", 1, many, ports::add_dp),
        ("dpctl/del-dp", "dp", 1, 1, ports::del_dp),
        ("dpctl/add-if", "dp iface...", 2, many, ports::add_if),
        ("dpctl/del-if", "dp iface...", 2, many, ports::del_if),
        ("dpctl/set-if", "dp iface...", 2, many, ports::set_if),
        ("dpctl/dump-dps", "", 0, 0, dump_dps),
        ("dpctl/show", "[-s] [dp...]", 0, many, show::show),
        ("dpctl/add-flow", "[dp] flow actions", 2, 3, flows::add_flow),
        ("dpctl/mod-flow", "[dp] flow actions", 2, 3, flows::mod_flow),
        ("dpctl/get-flow", "[dp] ufid", 1, 2, flows::get_flow),
        ("dpctl/del-flow", "[dp] flow", 1, 2, flows::del_flow),
        (
            "dpctl/offload-stats-show",
            "[dp]",
            0,
            1,
            texts::offload_stats_show,
        ),
        ("dpctl/cache-get-size", "[dp]", 0, 1, texts::cache_get_size),
        (
            "dpctl/cache-set-size",
            "dp cache <size>",
            3,
            3,
            texts::cache_set_size,
        ),
        (
            "dpctl/parse-actions",
            "actions",
            1,
            many,
            texts::parse_actions,
        ),
        (
            "dpctl/normalize-actions",
            "actions",
            2,
            many,
            normalize::normalize_actions,
        ),
    ];
    for (name, usage, min, max, work) in table.into_iter().chain(conntrack::COMMANDS) {
        add_work(commands, (name, usage), min..=max, work);
    }
    add_files(commands);
    add_dumps(commands);
    let mut list = String::from("The available commands are:\n");
    for name in LISTED {
        let usage = commands.usage(name);
        writeln!(list, "  {name:<29} {usage}").expect("a string takes everything");
    }
    commands.add("dpctl/list-commands", "", 0..=many, move |_, _| {
        Ok(list.clone())
    });
}

fn add_work(
    commands: &mut Commands<Switch>,
    (name, usage): (&'static str, &'static str),
    args: std::ops::RangeInclusive<usize>,
    work: Work,
) {
    commands.add(name, usage, args, move |s, args| {
        let (f, args) = flags(args)?;
        let mut out = Out::new(s);
        work(s, &mut out, f, &args);
        s.see_datapaths();
        out.outcome()
    });
}

/// Commands that read flows from a file, some at a time.
fn add_files(commands: &mut Commands<Switch>) {
    let files = [
        ("dpctl/add-flows", "[dp] file", 1, flows::Command::Add),
        ("dpctl/mod-flows", "[dp] file", 1, flows::Command::Modify),
        ("dpctl/del-flows", "[dp] [file]", 0, flows::Command::Delete),
    ];
    for (name, usage, min, default) in files {
        commands.add_slow(name, usage, min..=2, move |s, args| {
            from_file(s, default, args)
        });
    }
}

/// `dpctl/dump-flows` and `dpctl/dump-conntrack`, made piece by piece.
fn add_dumps(commands: &mut Commands<Switch>) {
    let usage = "[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]";
    commands.add_slow("dpctl/dump-flows", usage, 0..=6, |s, args| {
        let start = || {
            let (f, args) = flags(args)?;
            dump::Dump::start(s, f, &args)
        };
        match start() {
            Ok(mut dump) => Reply::Stream(Box::new(move |s, out| dump.more(s, out))),
            Err(text) => Reply::Now(Err(text)),
        }
    });
    let usage = "[-m] [-s] [dp] [zone=N]";
    commands.add_slow("dpctl/dump-conntrack", usage, 0..=4, |s, args| {
        let start = || {
            let (f, args) = flags(args)?;
            conntrack::Dump::start(s, f, &args)
        };
        match start() {
            Ok(mut dump) => Reply::Stream(Box::new(move |_, out| dump.more(out))),
            Err(text) => Reply::Now(Err(text)),
        }
    });
}

/// Flows from a file, some at a time; `dpctl/del-flows` without a file is done at once.
fn from_file(s: &mut Switch, default: flows::Command, args: &[&str]) -> Reply<Switch> {
    let (f, args) = match flags(args) {
        Ok(parsed) => parsed,
        Err(text) => return Reply::Now(Err(text)),
    };
    let delete = default == flows::Command::Delete;
    if delete && let Some(outcome) = flows::del_all(s, &args) {
        return Reply::Now(outcome);
    }
    match flows::Lines::start(s, f, default, &args) {
        Ok(mut lines) => Reply::Later(Box::new(move |s: &mut Switch| lines.more(s))),
        Err(outcome) => Reply::Now(outcome),
    }
}

fn dump_dps(s: &mut Switch, out: &mut Out, _: Flags, _: &[&str]) {
    for dpif in all(s) {
        out.line(format_args!("{}@{}", dpif.type_name(), dpif.name()));
    }
}

/// Every datapath, by type and name.
pub(super) fn all(s: &Switch) -> Vec<Arc<dyn Dpif>> {
    let mut out = Vec::new();
    for type_name in s.dpifs().types() {
        for name in s.dpifs().enumerate(&type_name).unwrap_or_default() {
            out.extend(s.dpifs().open(&name, &type_name, OpenMode::Existing).ok());
        }
    }
    out
}

/// The datapath `[type@]name`.
fn find(s: &Switch, text: &str) -> Result<Arc<dyn Dpif>, DpifError> {
    let (name, type_name) = dpif::registry::parse_name(text);
    s.dpifs().open(name, type_name, OpenMode::Existing)
}

/// As [`find`]; says so when there is none.
fn open(s: &Switch, out: &mut Out, text: &str) -> Option<Arc<dyn Dpif>> {
    find(s, text)
        .inspect_err(|e| out.fail(format_args!("opening datapath"), Some(e)))
        .ok()
}

fn exists(s: &Switch, text: &str) -> bool {
    let (name, type_name) = dpif::registry::parse_name(text);
    s.dpifs().types().iter().any(|t| t == type_name)
        && (s.dpifs().enumerate(type_name)).is_ok_and(|names| names.iter().any(|n| n == name))
}

/// The datapath that the first argument names, or the only one when fewer than `most` arguments are there.
fn open_first(s: &Switch, out: &mut Out, args: &[&str], most: usize) -> Option<Arc<dyn Dpif>> {
    if let Some(first) = args.first().filter(|a| exists(s, a)) {
        return open(s, out, first);
    }
    if args.len() < most {
        let mut dpifs = all(s);
        match (dpifs.pop(), dpifs.len()) {
            (Some(only), 0) => return Some(only),
            (None, _) => out.complain(format_args!("no datapaths exist"), None),
            (Some(_), _) => out.complain(format_args!("multiple datapaths, specify one"), None),
        }
    }
    out.fail(
        format_args!("datapath not found"),
        Some(&DpifError::Invalid),
    );
    None
}
