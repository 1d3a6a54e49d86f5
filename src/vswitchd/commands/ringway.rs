//! Commands of our own: `ringway/show`, `ringway/drops`, `ringway/loop-times`, `ringway/large-pages`.

use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use base::large::LargePages;
use flow::OdpNames;
use std::fmt::Write;

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add("ringway/show", "", 0..=0, |s, _| Ok(show(s)));
    commands.add("ringway/drops", "", 0..=0, |s, _| drops(s));
    commands.add("ringway/loop-times", "[clear]", 0..=1, loop_times);
    commands.add("ringway/large-pages", "", 0..=0, |_, _| {
        let pages = LargePages::now().map_err(|e| format!("/proc/self/smaps: {e}"))?;
        Ok(pages.to_string())
    });
}

/// How long the turns of the main loop lasted since the start, or since they were cleared.
fn loop_times(s: &mut Switch, args: &[&str]) -> Outcome {
    let times = s.loop_times_mut();
    match args.first().copied() {
        None => Ok(times.to_string()),
        Some("clear") => {
            *times = crate::loop_times::LoopTimes::default();
            Ok(String::new())
        }
        Some(other) => Err(format!("{other}: expected nothing, or \"clear\"")),
    }
}

/// Bridges, ports, and what each port got.
fn show(s: &Switch) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a string takes everything");
        out.push('\n');
    };
    for backer in s.backers().values() {
        let stats = backer.dpif().stats();
        line(format_args!(
            "{}: hit:{} missed:{} lost:{} flows:{} masks:{}",
            backer.datapath_name(),
            stats.n_hit,
            stats.n_missed,
            stats.n_lost,
            stats.n_flows,
            stats.n_masks
        ));
        for bridge in backer.bridges().values() {
            line(format_args!("  bridge {}", bridge.name));
            for iface in bridge.ifaces() {
                let d = &iface.device;
                let link = if d.carrier() { "up" } else { "down" };
                line(format_args!(
                    "    port {} {} ({}): link {link}, mac {}",
                    iface.ofp,
                    iface.name(),
                    d.class(),
                    d.etheraddr()
                ));
                for (key, value) in d.status() {
                    line(format_args!("      {key}: {value}"));
                }
                if let Some(error) = d.error() {
                    line(format_args!("      error: {error}"));
                }
                for key in &iface.unknown_options {
                    line(format_args!("      unknown option: {key}"));
                }
            }
        }
    }
    for (name, error) in s.errors() {
        line(format_args!("error: {name}: {error}"));
    }
    out
}

/// Every drop, by port and reason.
fn drops(s: &Switch) -> Outcome {
    let mut out = String::new();
    for backer in s.backers().values() {
        let names = backer.port_names();
        for (port, reason, n) in backer.dpif().drops() {
            let name = names
                .name(port)
                .map_or_else(|| format!("port {port}"), str::to_owned);
            writeln!(out, "{name}: {}: {n}", reason.text()).map_err(|e| e.to_string())?;
        }
    }
    if s.packet_ins_lost() > 0 {
        writeln!(out, "controllers: queue full: {}", s.packet_ins_lost())
            .map_err(|e| e.to_string())?;
    }
    if out.is_empty() {
        out.push_str("no packet was dropped");
    }
    Ok(out)
}
