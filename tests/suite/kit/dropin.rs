//! The switch in Open vSwitch's place: called `ovs-vswitchd`, configured by a real `ovsdb-server`, asked by the real
//! tools.

use super::{Namespace, outcome, ringway, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A database and a switch in a namespace, with a run directory of their own.
#[derive(Debug)]
pub(crate) struct DropIn {
    pub(crate) ns: Namespace,
    dir: TempDir,
    children: Vec<Child>,
}

impl DropIn {
    /// An empty run directory in a namespace of its own: nothing runs.
    pub(crate) fn prepare() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        std::os::unix::fs::symlink(ringway(), dir.path().join("ovs-vswitchd")).expect("a link");
        let new = Self {
            ns: Namespace::new(),
            dir,
            children: Vec::new(),
        };
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        let made = new.tool("ovsdb-tool", &["create", "conf.db", schema]);
        made.expect("ovsdb-tool from openvswitch-common");
        new
    }

    /// A database at its usual place, and a switch without real devices.
    pub(crate) fn start() -> Self {
        let mut new = Self::prepare();
        new.start_database(&[]);
        new.start_switch(&[]);
        new
    }

    /// Starts the database server; it listens at `db.sock` and wherever else it is told.
    pub(crate) fn start_database(&mut self, args: &[&str]) {
        let own = ["--remote=punix:db.sock", "--log-file=db.log", "conf.db"];
        self.spawn("ovsdb-server", &[&own[..], args].concat());
        until("the database answers", || {
            self.tool("ovs-vsctl", &["--no-wait", "--timeout=20", "init"])
                .is_ok()
        });
    }

    /// Starts the switch; without a database in the arguments it takes `db.sock`. Its place among the children.
    pub(crate) fn start_switch(&mut self, args: &[&str]) -> usize {
        let own = [
            "--enable-dummy=override",
            "--disable-system",
            "--pidfile",
            "--log-file",
        ];
        let program = self.file("ovs-vswitchd");
        let program = program.to_str().expect("UTF-8").to_owned();
        self.spawn(&program, &[&own[..], args].concat())
    }

    /// Starts a program that runs until the test ends; its place among the others.
    pub(crate) fn spawn(&mut self, program: &str, args: &[&str]) -> usize {
        let mut command = self.ns.command(program);
        command.args(args).args(["--no-chdir", "-vconsole:off"]);
        self.surround(&mut command);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children
            .push(child.expect("nsenter and setpriv (util-linux)"));
        self.children.len() - 1
    }

    /// Ends such a program.
    pub(crate) fn end(&mut self, which: usize) {
        drop(self.children[which].kill());
        drop(self.children[which].wait());
    }

    fn surround(&self, command: &mut Command) {
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, self.dir.path());
        }
        command.current_dir(self.dir.path());
    }

    /// What a tool says, run to its end beside the switch.
    pub(crate) fn tool(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let mut command = self.ns.command(program);
        self.surround(command.args(args));
        outcome(&mut command)
    }

    /// What a tool says that must succeed; words are separated by spaces.
    pub(crate) fn ask(&self, line: &str) -> String {
        let mut words = line.split(' ');
        let program = words.next().expect("a program");
        let args: Vec<&str> = words.collect();
        let said = self.tool(program, &args);
        said.unwrap_or_else(|e| unreachable!("{line}: {e}\n{}", self.log()))
    }

    /// Waits until a column of the database reads so.
    pub(crate) fn until_column(&self, place: &str, text: &str) {
        let line = format!("ovs-vsctl get {place}");
        until(&format!("{place} is {text}\n{}", self.log()), || {
            self.ask(&line).contains(text)
        });
    }

    /// True while such a program runs.
    pub(crate) fn runs(&mut self, which: usize) -> bool {
        self.children[which]
            .try_wait()
            .expect("our child")
            .is_none()
    }

    /// Waits until the log holds a text.
    pub(crate) fn until_logged(&self, text: &str) {
        until(&format!("\"{text}\" in the log"), || {
            self.log().contains(text)
        });
    }

    /// Everything the switch logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.file("ovs-vswitchd.log")).unwrap_or_default()
    }

    /// A file of the run directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The run directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("the switch's log:\n{}", self.log());
        }
    }
}
