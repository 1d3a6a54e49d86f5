//! What `Open_vSwitch.statistics` shows of the host while `other_config:enable-statistics` asks for it: cores, load,
//! memory, the daemons of this run directory, file systems.
//!
//! A file system may be far away and slow to answer, so a thread of its own looks, every [`INTERVAL_MS`], one at a time;
//! the main loop takes what it found.

use base::clock::Nanos;
use base::sync::{Arc, JoinHandle, Mutex, lock};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;

/// How often the host is looked at, milliseconds.
const INTERVAL_MS: u64 = 5000;
/// Clock ticks of `/proc` in a second: the same on every Linux.
const TICKS_PER_S: u64 = 100;

/// The column.
pub(crate) type Map = BTreeMap<String, String>;

/// See the file's essay.
#[derive(Debug, Default)]
pub(crate) struct SystemStats {
    found: Arc<Mutex<Map>>,
    looking: Option<JoinHandle<()>>,
    again_at: Nanos,
}

impl SystemStats {
    /// What was found last; has the host looked at again when that is due.
    pub(crate) fn run(&mut self, now: Nanos) -> Map {
        let busy = self.looking.as_ref().is_some_and(|t| !t.is_finished());
        if now >= self.again_at && !busy {
            self.again_at = now.plus_millis(INTERVAL_MS);
            let found = Arc::clone(&self.found);
            let rundir = crate::paths::rundir();
            let look = move || *lock(&found) = look(&rundir);
            self.looking = base::sync::spawn("system_stats", look).ok();
        }
        lock(&self.found).clone()
    }

    /// Nobody asks for it any more.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }
}

fn look(rundir: &Path) -> Map {
    let mut map = Map::new();
    if let Ok(n) = std::thread::available_parallelism() {
        map.insert("cpu".to_owned(), n.to_string());
    }
    let mut put = |key: &str, value: Option<String>| {
        map.extend(value.map(|v| (key.to_owned(), v)));
    };
    let file = |name: &str| read_to_string(name).ok();
    put(
        "load_average",
        file("/proc/loadavg").and_then(|t| load_average(&t)),
    );
    put("memory", file("/proc/meminfo").map(|t| memory(&t)));
    put(
        "file_systems",
        file("/proc/self/mounts").and_then(|t| file_systems(&t)),
    );
    for (name, pid) in daemons(rundir) {
        put(
            &format!("process_{name}"),
            Some(process(pid).unwrap_or_default()),
        );
    }
    map
}

fn load_average(text: &str) -> Option<String> {
    let mut words = text.split(' ');
    Some([words.next()?, words.next()?, words.next()?].join(","))
}

/// Total, used, cached, swap in total, swap used, KiB.
fn memory(text: &str) -> String {
    let of = |name: &str| {
        let rest = text.lines().find_map(|l| l.strip_prefix(name));
        let number = rest.and_then(|r| r.strip_prefix(':')?.split_whitespace().next());
        number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    let (total, swap) = (of("MemTotal"), of("SwapTotal"));
    let used = total.saturating_sub(of("MemFree"));
    let swapped = swap.saturating_sub(of("SwapFree"));
    let cached = of("Buffers") + of("Cached");
    format!("{total},{used},{cached},{swap},{swapped}")
}

/// Of each local one that can be written: where it is, its size, and what is used, KiB.
fn file_systems(mounts: &str) -> Option<String> {
    let one = |line: &str| {
        let mut words = line.split(' ');
        let (device, place) = (words.next()?, words.next()?);
        let options = words.nth(1)?;
        if !device.starts_with("/dev") || !options.contains("rw") {
            return None;
        }
        let place = unescaped(place);
        let vfs = rustix::fs::statvfs(place.as_str()).ok()?;
        let kib = |blocks: u64| vfs.f_frsize.saturating_mul(blocks) / 1024;
        let (total, free) = (kib(vfs.f_blocks), kib(vfs.f_bfree));
        let used = total.saturating_sub(free);
        let shown = place.replace([' ', ','], "_");
        Some(format!("{shown},{total},{used}"))
    };
    let all: Vec<String> = mounts.lines().filter_map(one).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// A name of `/proc/self/mounts`, where `\` and three octal digits stand for what would end a word.
fn unescaped(text: &str) -> String {
    let mut pairs = vec![("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    pairs.push(("\\134", "\\"));
    pairs
        .into_iter()
        .fold(text.to_owned(), |t, (from, to)| t.replace(from, to))
}

/// Those whose pidfile is held.
fn daemons(rundir: &Path) -> Vec<(String, u32)> {
    let Ok(entries) = std::fs::read_dir(rundir) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|e| e.path());
    let daemon = |path: std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
        let pid = crate::daemon::pidfile_owner(&path).filter(|_| path.is_file())?;
        Some((name, pid))
    };
    paths.filter_map(daemon).collect()
}

/// A process as `/proc` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    /// KiB.
    virtual_kib: u64,
    /// Pages.
    resident: u64,
    /// Milliseconds: of processor time, and after the boot of the host.
    worked_ms: u64,
    started_ms: u64,
    core: String,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `/proc/PID/stat` (proc(5)); the name may hold anything but is the only part in parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        // The first of them is field 3.
        let field = |n: usize| fields.get(n - 3).copied();
        let number = |n| field(n)?.parse::<u64>().ok();
        let ms = |ticks: u64| ticks.saturating_mul(1000) / TICKS_PER_S;
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            parent: field(4)?.parse().ok()?,
            virtual_kib: number(23)? / 1024,
            resident: number(24)?,
            worked_ms: ms(number(14)?.saturating_add(number(15)?)),
            started_ms: ms(number(22)?),
            core: field(39)?.to_owned(),
        })
    }
}

/// Memory (virtual, resident) in KiB, processor time in ms, crashes, ms since the daemon was first started and since the
/// last time, the core it was seen on.
fn process(pid: u32) -> Option<String> {
    let this = Process::read(pid)?;
    let up = read_to_string("/proc/uptime").ok()?;
    let up = up.split(' ').next()?.replace('.', "").parse::<u64>().ok()? * 10;
    let since = |p: &Process| up.saturating_sub(p.started_ms);
    let parent = Process::read(this.parent).filter(|p| p.name == this.name);
    let crashes = parent.as_ref().map_or(0, |_| crashes(this.parent));
    let booted = since(parent.as_ref().unwrap_or(&this));
    let resident = this.resident.saturating_mul(page_kib());
    Some(format!(
        "{},{resident},{},{crashes},{booted},{},{}",
        this.virtual_kib,
        this.worked_ms,
        since(&this),
        this.core
    ))
}

/// KiB in a page.
fn page_kib() -> u64 {
    u64::try_from(rustix::param::page_size() / 1024).unwrap_or(4)
}

/// A monitor of Open vSwitch's daemons says in its command line how often it had to start the daemon again.
fn crashes(monitor: u32) -> u32 {
    let line = read_to_string(format!("/proc/{monitor}/cmdline")).unwrap_or_default();
    let digits = line.split_once('(').map_or("", |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(0)].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        assert_eq!(
            load_average("8.74 8.13 8.93 5/512 1234\n").unwrap(),
            "8.74,8.13,8.93"
        );
        let meminfo = "MemTotal:       1000 kB\nMemFree:         400 kB\nMemAvailable:  700 kB\nBuffers:  5 kB\n\
                       Cached:           10 kB\nSwapCached:     77 kB\nSwapTotal:       50 kB\nSwapFree:        20 kB\n";
        assert_eq!(memory(meminfo), "1000,600,15,50,30");
        assert_eq!(memory("nonsense"), "0,0,0,0,0");
        assert_eq!(unescaped("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(file_systems("proc /proc proc rw 0 0\n"), None);
        assert_eq!(file_systems("/dev/x / ext4 ro,noatime 0 0\n"), None);
        let root = file_systems("/dev/x / ext4 rw,noatime 0 0\n").unwrap();
        assert!(
            root.starts_with("/,") && root.split(',').count() == 3,
            "{root}"
        );
    }

    #[test]
    fn a_process() {
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let text = format!("7 (a (b) c) S {}", fields.join(" "));
        let p = Process::parse(&text).unwrap();
        let wanted = Process {
            name: "a (b) c".to_owned(),
            parent: 4,
            virtual_kib: 0,
            resident: 24,
            worked_ms: 290,
            started_ms: 220,
            core: "39".to_owned(),
        };
        assert_eq!(p, wanted);
        for cut in 0..text.len() {
            // Never more than "not known".
            drop(Process::parse(&text[..cut]));
        }
        let us = process(std::process::id()).unwrap();
        assert_eq!(us.split(',').count(), 7, "{us}");
    }

    #[test]
    fn our_own_pidfile_stays_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        let pidfile = crate::daemon::Pidfile::create(&path, false).unwrap();
        assert_eq!(daemons(dir.path()), [("x".to_owned(), std::process::id())]);
        // Looking at it did not let it go: the kernel still knows of the lock.
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
        let locks = read_to_string("/proc/locks").unwrap();
        assert!(locks.contains(&format!(":{inode} ")), "{locks}");
        drop(pidfile);
        assert!(daemons(dir.path()).is_empty());
    }
}
