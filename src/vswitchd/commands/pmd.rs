//! `dpif-netdev/*`: packet threads, what they poll and how busy they are.

use super::dpctl::all;
use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use base::sync::Arc;
use datapath::show::PerfParts;
use datapath::{Datapath, PerfLog, PerfLogRules, show};
use dpif::Dpif;
use std::str::FromStr;

/// Seconds that loads are remembered at most.
const SECS_MAX: u64 = 60;
/// Rounds that can be shown around a suspicious one.
const NEIGHBOURS_MAX: u32 = 998;

const NO_DATAPATH: &str = "please specify an existing datapath";

/// What a command's arguments select.
struct Selected {
    dpif: Arc<dyn Dpif>,
    core: Option<u32>,
    secs: u64,
}

/// The datapath called `name`, or the only one.
fn find(s: &Switch, name: Option<&str>) -> Result<Arc<dyn Dpif>, String> {
    let mut dpifs = all(s);
    if let Some(name) = name {
        let name = name.rsplit('@').next();
        dpifs.retain(|d| Some(d.name()) == name);
    }
    match (dpifs.pop(), dpifs.is_empty()) {
        (Some(dpif), true) => Ok(dpif),
        _ => Err(NO_DATAPATH.to_owned()),
    }
}

/// Reads `[-pmd core] [-secs secs] [dp]`. As the peer: a core that is no number selects nothing, seconds that
/// are none stand for as many as are known, and a name that is none of a datapath's for the only one.
fn select(s: &Switch, args: &[&str]) -> Result<Selected, String> {
    let (mut core, mut secs, mut name) = (None, 0, None);
    let mut rest = args;
    loop {
        match rest {
            [] => break,
            ["-pmd", value, after @ ..] => {
                core = value.parse().ok();
                rest = after;
            }
            ["-secs", value, after @ ..] => {
                secs = value.parse().unwrap_or(SECS_MAX);
                rest = after;
            }
            [word, after @ ..] => {
                name = Some(*word);
                rest = after;
            }
        }
    }
    let dpif = match name {
        Some(_) => find(s, name).or_else(|_| find(s, None))?,
        None => find(s, None)?,
    };
    Ok(Selected { dpif, core, secs })
}

/// Does something with the userspace datapath behind a handle.
fn on<T>(dpif: &dyn Dpif, work: impl FnOnce(&Datapath) -> T) -> Result<T, String> {
    let dp = dpif.as_any().downcast_ref::<Datapath>();
    dp.map(work).ok_or_else(|| NO_DATAPATH.to_owned())
}

fn with(s: &Switch, args: &[&str], text: impl FnOnce(&Datapath, &Selected) -> String) -> Outcome {
    let selected = select(s, args)?;
    on(&*selected.dpif, |dp| text(dp, &selected))
}

/// Cores of all packet threads.
pub(super) fn cores(s: &Switch) -> Vec<u32> {
    let of = |d: &Arc<dyn Dpif>| on(&**d, show::pmd_cores).unwrap_or_default();
    all(s).iter().flat_map(of).collect()
}

/// See [`show::lookup_places`]; over all datapaths.
pub(super) fn lookup_places(s: &Switch) -> (usize, usize) {
    let of = |d: &Arc<dyn Dpif>| on(&**d, show::lookup_places).unwrap_or_default();
    let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    all(s).iter().map(of).fold((0, 0), sum)
}

pub(super) fn add(commands: &mut Commands<Switch>) {
    let usage = "[-pmd core] [dp]";
    commands.add("dpif-netdev/pmd-stats-show", usage, 0..=3, |s, args| {
        with(s, args, |dp, x| show::pmd_stats(dp, x.core))
    });
    commands.add("dpif-netdev/pmd-stats-clear", usage, 0..=3, |s, args| {
        with(s, args, |dp, x| {
            show::clear_stats(dp, x.core);
            String::new()
        })
    });
    commands.add("ringway/pmd-sleep-show", usage, 0..=3, |s, args| {
        with(s, args, |dp, x| show::pmd_sleep(dp, x.core))
    });
    let usage = "[-pmd core] [-secs secs] [dp]";
    commands.add("dpif-netdev/pmd-rxq-show", usage, 0..=5, |s, args| {
        with(s, args, |dp, x| show::pmd_rxq(dp, x.core, x.secs))
    });
    let usage = "[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]";
    commands.add("dpif-netdev/pmd-perf-show", usage, 0..=8, |s, args| {
        let (parts, rest) = perf_parts(args);
        with(s, rest, |dp, x| show::pmd_perf(dp, x.core, parts))
    });
    let usage = "on|off [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]";
    commands.add("dpif-netdev/pmd-perf-log-set", usage, 0..=10, |_, args| {
        let rules = perf_log(PerfLog::global().rules(), args).ok_or(PERF_LOG_USAGE)?;
        let on = if rules.on { "on" } else { "off" };
        tracing::info!(target: "pmd_perf",
            "pmd-perf-log-set: {on}, before={}, after={}, extend={}, us_thr={}, q_thr={}",
            rules.before, rules.after, rules.extend, rules.us, rules.queue);
        PerfLog::global().set(rules);
        Ok(String::new())
    });
    commands.add("dpif-netdev/bond-show", "[dp]", 0..=1, |s, args| {
        // Bonds are translated into outputs (`lb_output_action` is no feature here): the datapath has none.
        find(s, args.first().copied()).map(|_| String::new())
    });
    commands.add("dpif-netdev/pmd-rxq-rebalance", "[dp]", 0..=1, |s, args| {
        let dpif = find(s, args.first().copied())?;
        on(&*dpif, Datapath::rebalance)?;
        Ok("pmd rxq rebalance requested.\n".to_owned())
    });
}

fn perf_parts<'a, 'b>(args: &'a [&'b str]) -> (PerfParts, &'a [&'b str]) {
    let mut parts = PerfParts {
        histograms: true,
        ..PerfParts::default()
    };
    let mut rest = args;
    loop {
        match rest {
            ["-nh", after @ ..] => {
                parts.histograms = false;
                rest = after;
            }
            ["-it", n, after @ ..] => {
                parts.rounds = n.parse().unwrap_or(0);
                rest = after;
            }
            ["-ms", n, after @ ..] => {
                parts.millis = n.parse().unwrap_or(0);
                rest = after;
            }
            _ => return (parts, rest),
        }
    }
}

const PERF_LOG_USAGE: &str = "Usage: ovs-appctl dpif-netdev/pmd-perf-log-set \
[on|off] [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]";

fn perf_log(mut rules: PerfLogRules, args: &[&str]) -> Option<PerfLogRules> {
    let number = |text: &str| u32::from_str(text).ok();
    let mut rest = args;
    loop {
        rest = match rest {
            [] => break,
            ["-a", n, after @ ..] => {
                rules.after = number(n)?.min(NEIGHBOURS_MAX);
                after
            }
            ["-b", n, after @ ..] => {
                rules.before = number(n)?.min(NEIGHBOURS_MAX);
                after
            }
            ["-q", n, after @ ..] => {
                rules.queue = number(n)?;
                after
            }
            ["-us", n, after @ ..] => {
                rules.us = number(n)?;
                after
            }
            [word, after @ ..] => {
                match *word {
                    "on" => rules.on = true,
                    "off" => rules.on = false,
                    "-e" => rules.extend = true,
                    "-ne" => rules.extend = false,
                    _ => return None,
                }
                after
            }
        };
    }
    rules.after = rules.after.min(NEIGHBOURS_MAX - rules.before);
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged() {
        let usual = PerfLog::global().rules();
        let set = |args: &[&str]| perf_log(usual, args);
        assert_eq!(set(&[]), Some(usual));
        let rules = set(&["on", "-b", "900", "-a", "2000", "-e", "-us", "7"]).unwrap();
        assert!(rules.on && rules.extend);
        assert_eq!((rules.before, rules.after, rules.us), (900, 98, 7));
        assert_eq!(set(&["maybe"]), None);
        assert_eq!(set(&["-b"]), None);
        assert_eq!(set(&["-us", "x"]), None);
    }

    #[test]
    fn what_is_shown() {
        let (parts, rest) = perf_parts(&["-nh", "-it", "3", "-pmd", "1"]);
        assert_eq!((parts.histograms, parts.rounds, rest.len()), (false, 3, 2));
        let (parts, rest) = perf_parts(&["-ms", "-1", "dp0"]);
        assert_eq!(
            (parts.histograms, parts.millis, rest),
            (true, 0, &["dp0"][..])
        );
    }
}
