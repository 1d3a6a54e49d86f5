//! The log: Open vSwitch's line format, levels per module and destination, driven by `tracing` events whose
//! `target` is the module name.
//!
//! A disabled line costs one relaxed load: interest is cached per call site and rebuilt when a level changes.
//! Destinations are the console (stderr), the file and syslog (see `syslog`). Threads: any.

mod commands;
mod pattern;
mod syslog;
mod time;

pub(crate) use commands::{list, list_pattern, set};

use base::sync::{Arc, AtomicU8, Mutex, OnceLock, Ordering, RwLock, lock, read, write};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use syslog::Syslog;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

/// How important a line is; also the threshold of a module at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Off,
    Emer,
    Err,
    Warn,
    Info,
    Dbg,
}

impl Level {
    pub(crate) const ALL: [Self; 6] = [
        Self::Off,
        Self::Emer,
        Self::Err,
        Self::Warn,
        Self::Info,
        Self::Dbg,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Emer => "EMER",
            Self::Err => "ERR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Dbg => "DBG",
        }
    }
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|l| l.name().eq_ignore_ascii_case(text))
    }
    fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Err,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            _ => Self::Dbg,
        }
    }
    /// Syslog severity.
    fn severity(self) -> u8 {
        match self {
            Self::Off | Self::Emer => 1,
            Self::Err => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Dbg => 7,
        }
    }
}

/// Where lines go; the discriminant indexes levels and patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Console,
    Syslog,
    File,
}

impl Destination {
    pub(crate) const ALL: [Self; 3] = [Self::Console, Self::Syslog, Self::File];
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Syslog => "syslog",
            Self::File => "file",
        }
    }
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|d| d.name().eq_ignore_ascii_case(text))
    }
}

/// Modules of Open vSwitch: names that `vlog/set` must know even where we have no such file.
const MODULES: &str = "backtrace bfd bond bridge bundle bundles cfm collectors command_line connmgr conntrack \
conntrack_tp coverage ct_dpif daemon daemon_unix dns_resolve dpdk dpif dpif_lookup_autovalidator dpif_lookup_generic \
dpif_mfex_extract_study dpif_netdev dpif_netdev_impl dpif_netdev_extract dpif_netdev_lookup dpif_netlink dpif_netlink_rtnl entropy fail_open fatal_signal flow hmap in_band \
ipf ipfix jsonrpc lacp lldp lldpd lldpd_structs lockfile memory meta_flow native_tnl netdev \
netdev_afxdp netdev_dpdk netdev_dummy netdev_linux netdev_offload netdev_offload_tc netdev_vport netflow netlink \
netlink_conntrack netlink_notifier netlink_socket nx_match odp_execute odp_execute_impl odp_util ofp_actions \
ofp_bundle ofp_connection ofp_errors ofp_flow ofp_group ofp_match ofp_meter ofp_monitor ofp_msgs ofp_packet ofp_port \
ofp_protocol ofp_queue ofp_table ofp_util ofproto ofproto_dpif ofproto_dpif_mirror ofproto_dpif_monitor \
ofproto_dpif_rid ofproto_dpif_upcall ofproto_dpif_xlate ofproto_xlate_cache ovs_lldp ovs_numa ovs_rcu ovs_replay \
ovs_router ovs_thread ovsdb_cs ovsdb_error ovsdb_idl ox_stat pcap pmd_perf poll_loop process rconn reconnect \
route_table rstp rstp_sm sflow sha1 signals socket_util socket_util_unix stp stream stream_fd \
stream_replay stream_ssl stream_tcp stream_unix svec system_stats tc timeval tunnel unixctl userspace_tso util uuid \
vconn vconn_stream vlog vswitchd";

/// The facility "daemon" of syslog.
const DAEMON: u8 = 3;

/// The log file: its name is known also while it is closed.
#[derive(Debug, Default)]
struct LogFile {
    path: Option<PathBuf>,
    open: Option<File>,
}

/// The state behind the log.
#[derive(Debug)]
pub(crate) struct Vlog {
    program: String,
    levels: RwLock<BTreeMap<String, [Level; 3]>>,
    patterns: RwLock<[String; 3]>,
    file: Mutex<LogFile>,
    /// Of lines to syslog.
    facility: AtomicU8,
    syslog: RwLock<Vec<Syslog>>,
    started_ns: u64,
}

static VLOG: OnceLock<Arc<Vlog>> = OnceLock::new();

thread_local! {
    static SERIAL: Cell<u64> = const { Cell::new(0) };
}

/// The log of this process.
pub(crate) fn vlog() -> &'static Arc<Vlog> {
    VLOG.get_or_init(|| Arc::new(Vlog::new("ringway")))
}

/// Sets the log up for a program of this name and makes `tracing` use it. Only the first call counts.
pub(crate) fn init(program: &str) {
    let vlog = VLOG.get_or_init(|| Arc::new(Vlog::new(program)));
    // A second subscriber is refused; the first call's stays.
    drop(tracing::subscriber::set_global_default(Bridge(
        vlog.clone(),
    )));
}

impl Vlog {
    fn new(program: &str) -> Self {
        let levels = MODULES
            .split_whitespace()
            .map(|m| (m.to_owned(), [Level::Info; 3]))
            .collect();
        let method = std::env::var("OVS_SYSLOG_METHOD").unwrap_or_default();
        // A method that does not work in the environment is none.
        let syslog = syslog::by_method(&method).unwrap_or_default();
        Self {
            program: program.to_owned(),
            levels: RwLock::new(levels),
            patterns: RwLock::new([
                "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m".to_owned(),
                "ovs|%05N|%c%T|%p|%m".to_owned(),
                "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m".to_owned(),
            ]),
            file: Mutex::default(),
            facility: AtomicU8::new(DAEMON),
            syslog: RwLock::new(syslog.into_iter().collect()),
            started_ns: base::clock::monotonic_ns(),
        }
    }

    /// The thresholds of a module; one we do not know has the default.
    fn thresholds(&self, module: &str) -> [Level; 3] {
        let mut t = read(&self.levels)
            .get(module)
            .copied()
            .unwrap_or([Level::Info; 3]);
        if lock(&self.file).open.is_none() {
            t[Destination::File as usize] = Level::Off;
        }
        t
    }

    /// Sets the threshold of one module or all of them at one destination or all of them.
    pub(crate) fn set_level(&self, module: Option<&str>, dest: Option<Destination>, level: Level) {
        let mut levels = write(&self.levels);
        for (name, t) in levels.iter_mut() {
            if module.is_none_or(|m| m == name) {
                for d in Destination::ALL
                    .into_iter()
                    .filter(|d| dest.is_none_or(|x| x == *d))
                {
                    t[d as usize] = level;
                }
            }
        }
        drop(levels);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Says which facility lines to syslog belong to.
    fn set_facility(&self, facility: u8) {
        self.facility.store(facility, Ordering::Relaxed);
    }

    /// The module that somebody means.
    pub(crate) fn module(&self, name: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let known = read(&self.levels).contains_key(&name);
        known.then_some(name)
    }

    /// Opens the log file for appending, and says so in it.
    pub(crate) fn open_file(&self, path: &Path) -> std::io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        *lock(&self.file) = LogFile {
            path: Some(path.to_owned()),
            open: Some(file),
        };
        tracing::callsite::rebuild_interest_cache();
        tracing::info!(target: "vlog", "opened log file {}", path.display());
        Ok(())
    }

    /// Opens the log file again under its name (after rotation).
    pub(crate) fn reopen(&self) -> Result<(), String> {
        let Some(path) = lock(&self.file).path.clone() else {
            return Err("Logging to file not configured".to_owned());
        };
        tracing::info!(target: "vlog", "closing log file");
        self.open_file(&path)
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Closes the log file, until it is opened again.
    pub(crate) fn close(&self) {
        lock(&self.file).open = None;
        tracing::callsite::rebuild_interest_cache();
    }

    fn write(&self, module: &str, level: Level, message: &str) {
        let serial = SERIAL.with(|s| {
            s.set(s.get() + 1);
            s.get()
        });
        let thresholds = self.thresholds(module);
        let patterns = read(&self.patterns);
        let line = |d: Destination| {
            let facts = pattern::Facts {
                program: &self.program,
                module,
                level,
                message,
                serial,
                elapsed_ms: (base::clock::monotonic_ns() - self.started_ns) / 1_000_000,
            };
            pattern::expand(&patterns[d as usize], &facts)
        };
        if level <= thresholds[Destination::Console as usize] {
            let mut text = line(Destination::Console);
            text.push('\n');
            drop(std::io::stderr().write_all(text.as_bytes()));
        }
        if level <= thresholds[Destination::File as usize]
            && let Some(file) = &mut lock(&self.file).open
        {
            let mut text = line(Destination::File);
            text.push('\n');
            drop(file.write_all(text.as_bytes()));
        }
        let syslog = read(&self.syslog);
        if level <= thresholds[Destination::Syslog as usize] && !syslog.is_empty() {
            let facility = self.facility.load(Ordering::Relaxed);
            let priority = facility << 3 | level.severity();
            let text = format!("<{priority}>{}", line(Destination::Syslog));
            for s in syslog.iter() {
                s.send(text.as_bytes());
            }
        }
    }

    /// Puts `--syslog-method` and `--syslog-target` in force.
    ///
    /// # Errors
    /// The option, and what is wrong with it.
    pub(crate) fn set_syslog(&self, options: &crate::options::Options) -> Result<(), String> {
        if let Some(method) = &options.syslog_method {
            let syslog = syslog::by_method(method);
            *write(&self.syslog) = syslog?.into_iter().collect();
        }
        if let Some(target) = &options.syslog_target {
            let syslog =
                Syslog::udp(target).map_err(|e| format!("--syslog-target={target}: {e}"))?;
            write(&self.syslog).push(syslog);
        }
        Ok(())
    }
}

/// Hands `tracing` events to the log. Spans are not used.
#[derive(Debug)]
struct Bridge(Arc<Vlog>);

impl Subscriber for Bridge {
    fn register_callsite(&self, m: &'static Metadata<'static>) -> Interest {
        if self.enabled(m) {
            Interest::always()
        } else {
            Interest::never()
        }
    }
    fn enabled(&self, m: &Metadata<'_>) -> bool {
        let level = Level::of(*m.level());
        !m.is_span() && self.0.thresholds(m.target()).iter().any(|t| level <= *t)
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.write(
            event.metadata().target(),
            Level::of(*event.metadata().level()),
            &text.0,
        );
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Collects an event's message.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }
}
