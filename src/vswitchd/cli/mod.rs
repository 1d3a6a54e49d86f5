//! The `ringway` command: running the switch, and asking a running one.

mod compat;

use crate::options::{Options, Source};
use crate::{daemon, paths, unixctl};
use clap::{Parser, Subcommand};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// A userspace virtual switch. Called by the name ovs-vswitchd it takes that program's command line.
#[derive(Debug, Parser)]
#[command(name = "ringway", version)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
    /// Control socket of the switch to ask (default: the one that runs on this host).
    #[arg(long, global = true, value_name = "SOCKET")]
    target: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the switch by a TOML file; SIGHUP applies what changed in it.
    Run(RunArgs),
    /// Shows datapaths, bridges and ports.
    Show,
    /// Shows the installed megaflows with their counters.
    DumpFlows {
        /// Also ids, masks in full and which packet thread owns a flow.
        #[arg(long)]
        more: bool,
    },
    /// Shows the MAC table of a bridge.
    Fdb {
        /// Bridge.
        bridge: String,
    },
    /// Shows handlers and revalidators.
    Upcall {
        /// `show`.
        #[arg(value_parser = ["show"])]
        what: String,
    },
    /// Shows what a bridge would do with a packet.
    Trace {
        /// Bridge.
        bridge: String,
        /// Flow in ovs-ofctl syntax.
        flow: String,
    },
    /// Shows every drop by port and reason.
    Drops,
    /// Sends packets out of a device, to measure with.
    Pktgen(crate::pktgen::Args),
    /// Sends any control command (see `list-commands`).
    Ctl {
        /// Command and arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Run in the background.
    #[arg(long)]
    detach: bool,
    /// Be watched over and restarted after any death.
    #[arg(long)]
    monitor: bool,
    /// Pidfile (default: RUNDIR/ringway.pid).
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Log to a file (default: LOGDIR/ringway.log).
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    log_file: Option<String>,
    /// Control socket (default: RUNDIR/ringway.PID.ctl).
    #[arg(long, value_name = "SOCKET")]
    unixctl: Option<PathBuf>,
    /// Log levels, MODULE:DESTINATION:LEVEL.
    #[arg(short, long, value_name = "SPEC")]
    verbose: Vec<String>,
    /// Offer dummy ports, for tests.
    #[arg(long)]
    enable_dummy: bool,
}

/// Decides by the program's name, and does what the command line says.
pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let program = args.first().map(PathBuf::from).unwrap_or_default();
    let program = program
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    if program == "ovs-vswitchd" {
        return match compat::parse(&program, &args[1..]) {
            compat::Parsed::Run(options) => crate::process::run(&options),
            compat::Parsed::Print(text) => say(&text),
            compat::Parsed::Fail(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let cli = Cli::parse();
    match cli.command {
        Verb::Run(args) => crate::process::run(&options(args)),
        Verb::Pktgen(args) => answer(crate::pktgen::run(&args)),
        verb => ask(cli.target, verb),
    }
}

fn options(args: RunArgs) -> Options {
    // Detaching changes directory, and a reload needs the file again.
    let config = std::path::absolute(&args.config).unwrap_or(args.config);
    let mut o = Options::new("ringway", Source::Toml(config));
    o.detach = args.detach;
    o.monitor = args.monitor;
    o.pidfile = Some(args.pidfile.unwrap_or_default());
    o.log_file = args.log_file.map(PathBuf::from);
    o.unixctl = args.unixctl;
    o.verbose = args.verbose;
    if args.enable_dummy {
        o.dummy = crate::options::Dummy::On;
    }
    o
}

/// The control socket of the switch that runs on this host.
fn default_target() -> Result<PathBuf, String> {
    let rundir = paths::rundir();
    for program in ["ringway", "ovs-vswitchd"] {
        let pidfile = rundir.join(format!("{program}.pid"));
        if let Some(pid) = daemon::pidfile_owner(&pidfile) {
            return Ok(rundir.join(format!("{program}.{pid}.ctl")));
        }
    }
    Err(format!(
        "no switch runs here (no live pidfile in {}): start one with 'ringway run --config FILE', or name its socket with --target",
        rundir.display()
    ))
}

fn ask(target: Option<PathBuf>, verb: Verb) -> ExitCode {
    let words: Vec<String> = match verb {
        Verb::Run(_) | Verb::Pktgen(_) => Vec::new(),
        Verb::Show => vec!["ringway/show".into()],
        Verb::DumpFlows { more: false } => vec!["dpctl/dump-flows".into()],
        Verb::DumpFlows { more: true } => vec!["dpctl/dump-flows".into(), "-m".into()],
        Verb::Fdb { bridge } => vec!["fdb/show".into(), bridge],
        Verb::Upcall { .. } => vec!["upcall/show".into()],
        Verb::Trace { bridge, flow } => vec!["ofproto/trace".into(), bridge, flow],
        Verb::Drops => vec!["ringway/drops".into()],
        Verb::Ctl { words } => words,
    };
    let outcome = target.map_or_else(default_target, Ok).and_then(|socket| {
        words.split_first().map_or(Ok(String::new()), |(m, args)| {
            unixctl::call(&socket, m, args)
        })
    });
    answer(outcome)
}

/// Prints; a reader that has seen enough and is gone is no reason to complain.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            eprintln!("ringway: standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn answer(outcome: unixctl::Outcome) -> ExitCode {
    match outcome {
        Ok(text) => {
            if text.is_empty() {
                return ExitCode::SUCCESS;
            }
            say(&format!("{text}\n"))
        }
        Err(why) => {
            eprintln!("ringway: {why}");
            ExitCode::FAILURE
        }
    }
}
