//! Being a daemon: detaching, watching over a child, the pidfile.
//!
//! Nothing forks: the program starts itself again with a socket as standard input, over which the child says
//! "ready" (one byte) after its first configuration is in force. So the parent can wait for the daemon, and a
//! monitor can start a new one after any death.

use base::sync::{Mutex, lock};
use rustix::fs::FlockOperation;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Tells a process started by [`start_child`] what it is.
const ROLE: &str = "RINGWAY_DAEMON_ROLE";

/// What this process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Started by a person or script.
    Foreground,
    /// The detached process that watches over the daemon.
    Monitor,
    /// The daemon itself, started by one of the others.
    Daemon,
}

/// The role that the starter gave this process.
pub(crate) fn role() -> Role {
    match std::env::var(ROLE).as_deref() {
        Ok("monitor") => Role::Monitor,
        Ok("daemon") => Role::Daemon,
        _ => Role::Foreground,
    }
}

/// Starts this program again in a role, and waits until it is ready or dead.
///
/// # Errors
/// The child's exit status, or the kernel's refusal, in words.
fn start_child(role: &str, program: &str) -> Result<Child, String> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = Command::new(exe)
        .arg0(program)
        .args(std::env::args_os().skip(1))
        .env(ROLE, role)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|e| format!("could not start {role}: {e}"))?;
    let mut byte = [0];
    // The child's copy is the last one: it says a byte, or its death closes the socket.
    match (&ours).read(&mut byte) {
        Ok(1) => Ok(child),
        _ => {
            let status = child.wait().map_err(|e| e.to_string())?;
            Err(format!(
                "{role} died before it was ready ({})",
                describe(status)
            ))
        }
    }
}

/// A status as Open vSwitch words it.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "unknown reason".to_owned(),
    }
}

/// Detaches (and monitors) if asked to. Returns `Some(code)` when this process is done, `None` when it is to be
/// the daemon.
pub(crate) fn daemonize(detach: bool, monitor: bool, program: &str) -> Option<u8> {
    match role() {
        Role::Foreground if detach => {
            let child = start_child(if monitor { "monitor" } else { "daemon" }, program);
            match child {
                Ok(_) => Some(0),
                Err(why) => {
                    eprintln!("{program}: could not detach: {why}");
                    Some(1)
                }
            }
        }
        Role::Foreground if monitor => Some(watch(program)),
        Role::Monitor => {
            // A failure means that we are a session leader already: just as good.
            let _ = rustix::process::setsid();
            Some(watch(program))
        }
        Role::Daemon => {
            // As above.
            let _ = rustix::process::setsid();
            None
        }
        Role::Foreground => None,
    }
}

/// Restarts the daemon after any death: at once the first five times in a minute, then once in ten seconds.
/// An orderly exit ends the monitor too.
fn watch(program: &str) -> u8 {
    let mut deaths: Vec<u64> = Vec::new();
    loop {
        let mut child = match start_child("daemon", program) {
            Ok(child) => child,
            Err(why) if deaths.is_empty() => {
                eprintln!("{program}: {why}");
                return 1;
            }
            Err(why) => {
                tracing::error!(target: "daemon_unix", "could not restart: {why}");
                base::clock::sleep(std::time::Duration::from_secs(1));
                continue;
            }
        };
        if role() == Role::Monitor && deaths.is_empty() {
            ready();
            // The daemon that waits for its first configuration may still have something to say; later ones may not.
            let_go_of_terminal(false);
        }
        let pid = child.id();
        let Ok(status) = child.wait() else { return 1 };
        if status.success() {
            tracing::info!(target: "daemon_unix", "pid {pid} died, {}, exiting", describe(status));
            return 0;
        }
        let now = base::clock::monotonic_ns() / 1_000_000_000;
        deaths.retain(|t| t + 60 > now);
        deaths.push(now);
        tracing::error!(target: "daemon_unix", "{} crashes: pid {pid} died, {}, restarting",
            deaths.len(), describe(status));
        if deaths.len() > 5 {
            base::clock::sleep(std::time::Duration::from_secs(10));
        }
    }
}

/// Tells whoever started this process that it is ready. Only the first call counts.
pub(crate) fn ready() {
    if role() == Role::Foreground {
        return;
    }
    if let Ok(file) = File::options().read(true).write(true).open("/dev/null") {
        let stdin = std::io::stdin();
        if let Ok(socket) = rustix::io::dup(&stdin) {
            // An error means that it was said already, or that nobody listens any more.
            drop(UnixStream::from(socket).write_all(b"1"));
        }
        // From here on standard input is /dev/null; should it fail, the socket stays open, harmlessly.
        let _ = rustix::stdio::dup2_stdin(&file);
    }
}

/// After detaching: nothing is said on the terminal any more, and no directory is held busy.
pub(crate) fn let_go_of_terminal(chdir: bool) {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        // Failures leave the terminal as it was.
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    if chdir {
        drop(std::env::set_current_dir("/"));
    }
}

/// Device and inode of pidfiles of our own: to open and close one would let go of its lock.
static OWN: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// A pidfile, locked as long as the process lives, removed at exit.
#[derive(Debug)]
pub(crate) struct Pidfile {
    path: PathBuf,
    locked: File,
}

impl Pidfile {
    /// Writes the pidfile under a temporary name, locks it and renames it.
    ///
    /// # Errors
    /// When another process holds it (unless `overwrite`), or the kernel says no: in words, naming the file.
    pub(crate) fn create(path: &Path, overwrite: bool) -> Result<Self, String> {
        let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        if !overwrite
            && let Ok(old) = OpenOptions::new().write(true).read(true).open(path)
            && rustix::fs::fcntl_lock(&old, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            let pid = std::fs::read_to_string(path).unwrap_or_default();
            return Err(fail(&format!(
                "already running as pid {}, aborting",
                pid.trim()
            )));
        }
        let temporary = PathBuf::from(format!("{}.tmp{}", path.display(), std::process::id()));
        let mut file = File::create(&temporary).map_err(|e| {
            let why = crate::vconn::reason(&e);
            format!("{}.tmp: create failed ({why})", path.display())
        })?;
        rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| fail(&e))?;
        writeln!(file, "{}", std::process::id()).map_err(|e| fail(&e))?;
        std::fs::rename(&temporary, path).map_err(|e| fail(&e))?;
        lock(&OWN).extend(file.metadata().as_ref().map(identity));
        Ok(Self {
            path: path.to_owned(),
            locked: file,
        })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if let Ok(meta) = self.locked.metadata() {
            lock(&OWN).retain(|id| *id != identity(&meta));
        }
        drop(std::fs::remove_file(&self.path));
    }
}

/// The process that holds a pidfile; `None` when it is stale or missing.
pub(crate) fn pidfile_owner(path: &Path) -> Option<u32> {
    let held = std::fs::metadata(path).is_ok_and(|m| lock(&OWN).contains(&identity(&m)));
    if held {
        return Some(std::process::id());
    }
    let file = OpenOptions::new().write(true).read(true).open(path).ok()?;
    if rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return None;
    }
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfile_names_us_and_goes_away() {
        let dir = std::env::temp_dir().join(format!("ringway-pid-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("x.pid");
        let pidfile = Pidfile::create(&path, false).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim(), std::process::id().to_string());
        drop(pidfile);
        assert!(!path.exists());
        assert!(Pidfile::create(&dir.join("no/dir.pid"), false).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
