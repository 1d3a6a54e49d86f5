//! The daemon's life: start, turn, end.
//!
//! One main thread: each turn lets every part do what is due, then waits for whatever they named. Nothing in a
//! turn waits. SIGTERM and SIGINT end it in order; SIGHUP reads the configuration again and reopens the log.

use crate::loop_times::OwnTime;
use crate::options::{Options, Source};
use crate::switch::Switch;
use crate::{commands, daemon, paths, unixctl, vlog};
use base::poll::PollSet;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Turns longer than this are looked at more closely.
const LONG_TURN_NS: u64 = 1_000_000;

/// Longest wait of a turn: parts without descriptors are looked at this often.
const TURN_MAX: Duration = Duration::from_millis(500);

/// Runs a daemon until it is told to end.
pub(crate) fn run(options: &Options) -> ExitCode {
    vlog::init(&options.program);
    for spec in &options.verbose {
        if let Err(why) = vlog::set(vlog::vlog(), spec) {
            eprintln!("{}: processing \"{spec}\": {why}", options.program);
            return ExitCode::FAILURE;
        }
    }
    if let Err(why) = vlog::vlog().set_syslog(options) {
        eprintln!("{}: {why}", options.program);
        return ExitCode::FAILURE;
    }
    // A wrong file is told to the person who starts the switch, before anything is changed.
    if let Source::Toml(path) = &options.source
        && daemon::role() == daemon::Role::Foreground
        && let Err(faults) = crate::switch::read_file(path)
    {
        eprintln!("{faults}");
        return ExitCode::FAILURE;
    }
    // A monitor tells of deaths in the daemon's log; should it not open, the daemon will say so.
    if daemon::role() == daemon::Role::Monitor {
        drop(open_log(options));
    }
    if let Some(code) = daemon::daemonize(options.detach, options.monitor, &options.program) {
        return ExitCode::from(code);
    }
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!(target: "vswitchd", "{why}");
            eprintln!("{}: {why}", options.program);
            ExitCode::FAILURE
        }
    }
}

/// Ends of a pipe that signals write into.
struct Signals {
    terminate: UnixStream,
    interrupt: UnixStream,
    hangup: UnixStream,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let pipe = |signal: i32| -> std::io::Result<UnixStream> {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, theirs)?;
            Ok(ours)
        };
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        Ok(Self {
            terminate: pipe(SIGTERM)?,
            interrupt: pipe(SIGINT)?,
            hangup: pipe(SIGHUP)?,
        })
    }
    /// True when a signal told us to end; says so.
    fn told_to_end(&self) -> bool {
        let told = if Self::arrived(&self.terminate) {
            "15 (Terminated)"
        } else if Self::arrived(&self.interrupt) {
            "2 (Interrupt)"
        } else {
            return false;
        };
        tracing::warn!(target: "fatal_signal", "terminating with signal {told}");
        true
    }
    /// True when such a signal arrived since last asked.
    fn arrived(stream: &UnixStream) -> bool {
        let mut buf = [0; 64];
        matches!((&*stream).read(&mut buf), Ok(n) if n > 0)
    }
}

/// A path given, or the default one when it is empty.
fn or_default(path: &Path, default: PathBuf) -> PathBuf {
    if path.as_os_str().is_empty() {
        default
    } else {
        default
            .parent()
            .map_or_else(|| path.to_owned(), |d| d.join(path))
    }
}

fn log_path(options: &Options) -> Option<PathBuf> {
    let default = paths::logdir().join(format!("{}.log", options.program));
    Some(or_default(options.log_file.as_ref()?, default))
}

fn open_log(options: &Options) -> Result<(), String> {
    let Some(path) = log_path(options) else {
        return Ok(());
    };
    let opened = vlog::vlog().open_file(&path);
    let why = |e| crate::vconn::reason(&e);
    opened.map_err(|e| format!("{} for logging: {}", path.display(), why(e)))
}

fn serve(options: &Options) -> Result<(), String> {
    let program = &options.program;
    if let Some(user) = &options.user {
        crate::user::become_user(user, log_path(options).as_deref())?;
    }
    let rundir = paths::rundir();
    let made = std::fs::create_dir_all(&rundir);
    made.map_err(|e| format!("{}: {e}", rundir.display()))?;
    if let Err(why) = open_log(options) {
        // As the peer does, it goes on without.
        tracing::warn!(target: "vlog", "failed to open {why}");
    }
    let pidfile = match &options.pidfile {
        Some(path) => {
            let path = or_default(path, rundir.join(format!("{program}.pid")));
            Some(daemon::Pidfile::create(&path, options.overwrite_pidfile)?)
        }
        None => None,
    };
    let signals = Signals::new().map_err(|e| format!("signals: {e}"))?;
    restore_flags_on_panic();
    settle_options(options);
    let socket = options.unixctl.clone().unwrap_or_default();
    let socket = or_default(
        &socket,
        rundir.join(format!("{program}.{}.ctl", std::process::id())),
    );
    let dummy = options.dummy != crate::options::Dummy::Off;
    let mut server = unixctl::Server::listen(&socket, commands::all(dummy))?;
    let mut switch = Switch::new(options)?;
    turn_until_told(options, &signals, &mut server, &mut switch);
    switch.shutdown();
    drop(server);
    drop(pidfile);
    Ok(())
}

/// Options that only the running daemon can obey.
fn settle_options(options: &Options) {
    use rustix::mm::{MlockAllFlags, mlockall};
    // Room that was set aside and never used needs no memory: what is touched stays.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if options.mlockall
        && let Err(e) = mlockall(all)
    {
        // As the peer does, it goes on without.
        tracing::error!(target: "vswitchd", "mlockall failed: {e}");
    }
}

fn turn_until_told(
    options: &Options,
    signals: &Signals,
    server: &mut unixctl::Server<Switch>,
    switch: &mut Switch,
) {
    let mut ready = false;
    let mut set = PollSet::new();
    let own_time = OwnTime::new();
    let (mut woken, mut own) = (base::clock::monotonic_ns(), own_time.ns());
    loop {
        let mut busy = switch.run();
        if !ready && switch.is_configured() {
            ready = true;
            daemon::ready();
            if options.detach {
                daemon::let_go_of_terminal(!options.no_chdir);
                if vlog::vlog().module("daemon").is_some() {
                    vlog::vlog().set_level(
                        None,
                        Some(vlog::Destination::Console),
                        vlog::Level::Off,
                    );
                }
            }
            tracing::info!(target: "bridge", "{} (Open vSwitch) 3.1.0", options.program);
        }
        busy |= server.run(switch);
        if Signals::arrived(&signals.hangup) {
            busy = true;
            // Without a log file there is nothing to reopen.
            drop(vlog::vlog().reopen());
            switch.reload();
        }
        if signals.told_to_end() || switch.exit_requested() && !server.has_unsent() {
            return;
        }
        if busy {
            set.at_once();
        }
        set.within(TURN_MAX);
        for signal in [&signals.terminate, &signals.interrupt, &signals.hangup] {
            set.fd(signal.as_raw_fd(), false);
        }
        server.wait(&mut set);
        switch.wait(&mut set);
        let took = base::clock::monotonic_ns().saturating_sub(woken);
        // Asking costs more than a short turn.
        let owned = if took > LONG_TURN_NS {
            own_time.ns().zip(own).map(|(now, then)| now - then)
        } else {
            None
        };
        switch.loop_times_mut().add(took, owned);
        set.wait();
        (woken, own) = (base::clock::monotonic_ns(), own_time.ns());
    }
}

/// A panic of the main thread must not leave devices changed.
fn restore_flags_on_panic() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some("main") {
            netdev::flags::restore_all();
        }
        previous(info);
    }));
}
