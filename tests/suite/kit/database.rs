//! The daemon in Open vSwitch's place: called by its name, configured by a real `ovsdb-server`.

use super::{Lab, outcome, ringway, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The schema of Open vSwitch.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A database and a daemon on it.
#[derive(Debug)]
pub(crate) struct Vswitchd {
    dir: TempDir,
    server: Option<Child>,
    daemon: Option<Child>,
}

impl Vswitchd {
    /// A database that was initialized, and no daemon yet.
    pub(crate) fn database() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        std::os::unix::fs::symlink(ringway(), dir.path().join("ovs-vswitchd")).expect("writable");
        let mut v = Self {
            dir,
            server: None,
            daemon: None,
        };
        v.create("conf.db");
        v.serve("conf.db");
        v.vsctl(&["--no-wait", "init"]);
        v
    }

    /// Makes an empty database file.
    pub(crate) fn create(&self, name: &str) {
        let made = Command::new("ovsdb-tool")
            .arg("create")
            .arg(self.file(name))
            .arg(SCHEMA)
            .status();
        assert!(made.expect("ovsdb-tool (openvswitch-common)").success());
    }

    /// Serves a database file, in the place of the one before.
    pub(crate) fn serve(&mut self, name: &str) {
        self.stop_serving();
        let socket = self.file("db.sock");
        let child = Command::new("ovsdb-server")
            .arg(self.file(name))
            .arg(format!("--remote=punix:{}", socket.display()))
            .arg(format!("--unixctl={}", self.file("db.ctl").display()))
            .args(["--no-chdir", "-vconsole:off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(child.expect("ovsdb-server (openvswitch-switch)"));
        until("the database listens", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
    }

    /// Ends the server.
    pub(crate) fn stop_serving(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.kill());
            drop(server.wait());
        }
        drop(std::fs::remove_file(self.file("db.sock")));
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) fn start(&mut self, lab: &Lab) {
        self.start_with(lab, &[]);
    }

    /// As [`Vswitchd::start`], with further options.
    pub(crate) fn start_with(&mut self, lab: &Lab, options: &[&str]) {
        let mut command = lab
            .switch
            .command(self.file("ovs-vswitchd").to_str().expect("plain"));
        command
            .arg(format!("unix:{}", self.file("db.sock").display()))
            .arg(format!("--unixctl={}", self.file("ctl").display()))
            .args(["--log-file", "--no-chdir", "-vconsole:off"])
            .args(options)
            .env("OVS_RUNDIR", self.dir())
            .env("OVS_LOGDIR", self.dir())
            .stderr(Stdio::null());
        self.daemon = Some(command.spawn().expect("nsenter and setpriv (util-linux)"));
        until("the daemon answers", || self.try_ctl(&["version"]).is_ok());
    }

    /// Runs a tool of Open vSwitch in the run directory.
    pub(crate) fn tool(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program);
        outcome(command.args(args).env("OVS_RUNDIR", self.dir()))
    }

    /// `ovs-vsctl`, which must succeed.
    pub(crate) fn vsctl(&self, args: &[&str]) -> String {
        let db = format!("--db=unix:{}", self.file("db.sock").display());
        let all: Vec<&str> = [&[db.as_str(), "--timeout=20"], args].concat();
        let done = self.tool("ovs-vsctl", &all);
        done.unwrap_or_else(|e| unreachable!("{args:?}: {e}\n{}", self.log()))
    }

    /// `ovs-appctl`.
    pub(crate) fn try_ctl(&self, args: &[&str]) -> Result<String, String> {
        let target = self.file("ctl").display().to_string();
        let all: Vec<&str> = [&["--timeout=20", "-t", &target], args].concat();
        self.tool("ovs-appctl", &all)
    }

    /// `ovs-appctl`, which must succeed.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let done = self.try_ctl(args);
        done.unwrap_or_else(|e| unreachable!("{args:?}: {e}\n{}", self.log()))
    }

    /// `ovs-ofctl`, which must succeed.
    pub(crate) fn ofctl(&self, args: &[&str]) -> String {
        let done = self.tool("ovs-ofctl", args);
        done.unwrap_or_else(|e| unreachable!("{args:?}: {e}\n{}", self.log()))
    }

    /// True while the daemon runs.
    pub(crate) fn alive(&mut self) -> bool {
        let daemon = self.daemon.as_mut().expect("started");
        daemon.try_wait().expect("our child").is_none()
    }

    /// `/proc/PID/status` of each thread of the daemon.
    pub(crate) fn threads(&self) -> Vec<String> {
        let pid = self.daemon.as_ref().expect("started").id();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a live daemon");
        // One that ended meanwhile tells nothing.
        let status = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("status")).ok();
        tasks.flatten().filter_map(status).collect()
    }

    /// Memory that the daemon holds, KiB.
    pub(crate) fn rss_kib(&self) -> usize {
        let pid = self.daemon.as_ref().expect("started").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live daemon");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
        kib.and_then(|n| n.parse().ok()).expect("a size")
    }

    /// Its run directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file of it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.file("ovs-vswitchd.log")).unwrap_or_default()
    }
}

impl Drop for Vswitchd {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.server].into_iter().flatten() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}
