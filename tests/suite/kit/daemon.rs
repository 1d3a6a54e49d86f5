//! The daemon under test and what can be asked of it.

use super::{Lab, outcome, until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// The `ringway` command.
pub(crate) fn ringway() -> &'static str {
    env!("CARGO_BIN_EXE_ringway")
}

/// Writes a file into a directory; returns its path.
pub(crate) fn file_in(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a writable directory");
    path
}

/// A running switch with its own run directory.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    dir: TempDir,
    config: PathBuf,
}

impl Daemon {
    /// Starts a switch in the lab by a configuration, and waits until that is in force.
    pub(crate) fn start(lab: &Lab, config: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let config = file_in(dir.path(), "ringway.toml", config);
        let child = Self::spawn(lab, dir.path(), &config);
        let mut daemon = Self { child, dir, config };
        daemon.wait_until_up();
        daemon
    }

    fn spawn(lab: &Lab, dir: &Path, config: &Path) -> Child {
        let mut command = lab.switch.command(ringway());
        command
            .args(["run", "--log-file=", "-v", "console:off", "--config"])
            .arg(config)
            .env("OVS_RUNDIR", dir)
            .env("OVS_LOGDIR", dir)
            .stderr(Stdio::null());
        command.spawn().expect("nsenter and setpriv (util-linux)")
    }

    fn wait_until_up(&mut self) {
        until("the switch answers", || {
            let ended = self.child.try_wait().expect("our child");
            assert!(ended.is_none(), "it ended: {ended:?}\n{}", self.log());
            self.try_ask(&["show"]).is_ok()
        });
    }

    /// Starts it again in the same place, after it ended.
    pub(crate) fn again(&mut self, lab: &Lab) {
        self.child = Self::spawn(lab, self.dir.path(), &self.config);
        self.wait_until_up();
    }

    /// Answer to a `ringway` command.
    pub(crate) fn try_ask(&self, words: &[&str]) -> Result<String, String> {
        outcome(
            Command::new(ringway())
                .args(words)
                .env("OVS_RUNDIR", self.dir.path()),
        )
    }

    /// Answer to a `ringway` command that must succeed.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let answer = self.try_ask(words);
        answer.unwrap_or_else(|e| unreachable!("{words:?}: {e}\n{}", self.log()))
    }

    /// The part of `show` that is about one port or error, or nothing.
    pub(crate) fn shown(&self, port: &str) -> String {
        let all = self.ask(&["show"]);
        let mut lines = all.lines().skip_while(|l| {
            !(l.trim_start().starts_with("port ") && l.contains(&format!(" {port} ("))
                || l.starts_with(&format!("error: {port}:")))
        });
        let mut out = lines.next().unwrap_or_default().to_owned();
        for line in lines.take_while(|l| l.starts_with("      ")) {
            out = out + "\n" + line;
        }
        out
    }

    /// Packets of a rule in the tables of a bridge, found by a piece of its text, as `ovs-ofctl` shows it.
    pub(crate) fn rule_packets(&self, bridge: &str, piece: &str) -> Option<u64> {
        let socket = self.dir.path().join(format!("{bridge}.mgmt"));
        let all = outcome(Command::new("ovs-ofctl").arg("dump-flows").arg(socket));
        let all = all.expect("the bridge speaks OpenFlow");
        let line = all.lines().find(|l| l.contains(piece))?;
        let count = line.split("n_packets=").nth(1)?.split(',').next()?;
        count.parse().ok()
    }

    /// Its run directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("ringway.log")).unwrap_or_default()
    }

    /// Replaces the configuration and tells the switch.
    pub(crate) fn reload(&self, config: &str) {
        std::fs::write(&self.config, config).expect("a writable directory");
        self.signal("HUP");
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        outcome(Command::new("kill").args(["-s", name, &pid])).expect("a live daemon");
    }

    /// True while it runs.
    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Ends it without a chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.ended();
    }

    /// Files in its run directory, log and configuration left out.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.dir.path()).expect("its directory");
        files
            .flatten()
            .map(|f| f.file_name().to_string_lossy().into_owned())
            .filter(|f| f != "ringway.log" && f != "ringway.toml" && !f.starts_with('.'))
            .collect()
    }

    /// A file of its run directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Memory that it holds, KiB.
    pub(crate) fn rss_kib(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("a live daemon");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
        kib.and_then(|n| n.parse().ok()).expect("a size")
    }

    /// Processor time it has used, in clock ticks (hundredths of a second).
    pub(crate) fn ticks(&self) -> u64 {
        let stat = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(stat).expect("a live daemon");
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .expect("a stat")
            .split(' ')
            .collect();
        [11, 12]
            .iter()
            .map(|i| fields[*i].parse::<u64>().expect("ticks"))
            .sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let telling = log
                .lines()
                .filter(|l| !l.contains("|INFO|netdev@ovs-netdev"));
            eprintln!(
                "the switch's log:\n{}",
                telling.collect::<Vec<_>>().join("\n")
            );
        }
    }
}
