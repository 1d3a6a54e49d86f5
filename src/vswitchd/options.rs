//! What a daemon is told on its command line, whichever name it was called by.

use crate::model::TlsModel;
use std::path::PathBuf;

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A TOML file.
    Toml(PathBuf),
    /// A database, by its address.
    Database(String),
}

/// Which classes `--enable-dummy` replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dummy {
    /// No dummy classes.
    #[default]
    Off,
    /// Dummy classes beside the others.
    On,
    /// `system` devices become dummies.
    System,
    /// All devices become dummies.
    Override,
}

/// The options of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Name it was called by: names of pidfile, log and control socket.
    pub(crate) program: String,
    /// Configuration.
    pub(crate) source: Source,
    /// Run in the background.
    pub(crate) detach: bool,
    /// Be watched over.
    pub(crate) monitor: bool,
    /// Do not change to `/`.
    pub(crate) no_chdir: bool,
    /// Write a pidfile; an empty path means the default one.
    pub(crate) pidfile: Option<PathBuf>,
    /// Take a pidfile over from a process that runs.
    pub(crate) overwrite_pidfile: bool,
    /// Log to a file; an empty path means the default one.
    pub(crate) log_file: Option<PathBuf>,
    /// Log level specifications, in order.
    pub(crate) verbose: Vec<String>,
    /// Control socket.
    pub(crate) unixctl: Option<PathBuf>,
    /// Keep all memory resident.
    pub(crate) mlockall: bool,
    /// Whom to become (`USER[:GROUP]`).
    pub(crate) user: Option<String>,
    /// Where syslog is (`--syslog-method`).
    pub(crate) syslog_method: Option<String>,
    /// `HOST:PORT` of a further syslog, over UDP.
    pub(crate) syslog_target: Option<String>,
    /// Keys and certificates.
    pub(crate) tls: TlsModel,
    /// Dummy classes.
    pub(crate) dummy: Dummy,
    /// Cores' NUMA nodes pretended for tests.
    pub(crate) dummy_numa: Option<String>,
    /// No kernel datapath (we have none anyway).
    pub(crate) disable_system: bool,
    /// Do not mirror the kernel's routes.
    pub(crate) disable_system_route: bool,
}

impl Options {
    /// Defaults for a program of this name.
    pub(crate) fn new(program: &str, source: Source) -> Self {
        Self {
            program: program.to_owned(),
            source,
            detach: false,
            monitor: false,
            no_chdir: false,
            pidfile: None,
            overwrite_pidfile: false,
            log_file: None,
            verbose: Vec::new(),
            unixctl: None,
            mlockall: false,
            user: None,
            syslog_method: None,
            syslog_target: None,
            tls: TlsModel::default(),
            dummy: Dummy::Off,
            dummy_numa: None,
            disable_system: false,
            disable_system_route: false,
        }
    }
}
