//! DPDK's start, asked for by `other_config:dpdk-init`, and what the process knows of it from then on.
//!
//! Started at most once, by a control thread. What is missing before DPDK itself is asked (the library, huge
//! pages, a core) can be mended while the switch runs: the next change of the configuration tries again. A
//! refusal by DPDK is final, because DPDK does not start twice.
//!
//! Packet threads register with DPDK at their first look at a queue (see [`attach_thread`]) and leave when they
//! end.

use super::args;
use super::attach;
use super::library::{Dump, Library, line};
use super::memory::Memory;
use crate::device::Config;
use base::log::RateLimit;
use base::sync::{Arc, Mutex, OnceLock, lock};
use std::cell::Cell;
use std::ffi::c_char;

/// DPDK at work.
#[derive(Debug)]
pub(super) struct Eal {
    pub(super) library: Library,
    pub(super) memory: Memory,
}

/// Where the start stands.
#[derive(Debug, Default)]
struct State {
    library: Option<Library>,
    eal: Option<Arc<Eal>>,
    /// Why there is no DPDK; empty while nobody asked for it.
    failure: String,
    /// DPDK itself refused: it cannot be asked again.
    refused: bool,
}

fn state() -> &'static Mutex<State> {
    static STATE: OnceLock<Mutex<State>> = OnceLock::new();
    STATE.get_or_init(Mutex::default)
}

/// What the database shows of DPDK.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// DPDK runs.
    pub initialized: bool,
    /// Its name and version, once its library was opened.
    pub version: Option<String>,
    /// Why it does not run although it was asked for.
    pub failure: Option<String>,
}

/// How DPDK is.
#[must_use]
pub fn status() -> Status {
    let state = lock(state());
    Status {
        initialized: state.eal.is_some(),
        version: state.library.map(Library::version),
        failure: Some(state.failure.clone()).filter(|f| !f.is_empty()),
    }
}

/// DPDK, if it runs.
///
/// # Errors
/// In words: why not, and what to do.
pub(super) fn running() -> Result<Arc<Eal>, String> {
    let state = lock(state());
    match &state.eal {
        Some(eal) => Ok(Arc::clone(eal)),
        None if state.failure.is_empty() => {
            Err("DPDK is not initialized: set other_config:dpdk-init to true".to_owned())
        }
        None => Err(format!("DPDK is not initialized: {}", state.failure)),
    }
}

/// Starts DPDK if the settings (`other_config` of the whole switch) ask for it and it does not run.
pub fn init(program: &str, settings: &Config) {
    let wanted = settings.get("dpdk-init").map(|v| v.to_ascii_lowercase());
    if !matches!(wanted.as_deref(), Some("true" | "try")) {
        return;
    }
    let (library, again) = {
        let state = lock(state());
        if state.eal.is_some() || state.refused {
            return;
        }
        (state.library, state.failure.clone())
    };
    let result = match library.map_or_else(Library::open, Ok) {
        Ok(library) => {
            lock(state()).library = Some(library);
            start(library, program, settings)
        }
        Err(why) => Err((why, false)),
    };
    let mut state = lock(state());
    match result {
        Ok(eal) => {
            state.failure.clear();
            state.eal = Some(Arc::new(eal));
            tracing::info!(target: "dpdk", "DPDK Enabled - initialized");
        }
        Err((why, refused)) => {
            if why != again {
                tracing::error!(target: "dpdk", "Unable to initialize DPDK: {why}");
            }
            state.failure = why;
            state.refused = refused;
        }
    }
}

/// Starts DPDK; an error says whether it is final.
fn start(library: Library, program: &str, settings: &Config) -> Result<Eal, (String, bool)> {
    let cores = own_cores();
    let line = args::line(program, settings, &cores).map_err(|e| (e, false))?;
    if !line.args.iter().any(|a| a == "--no-huge") && !huge_pages() {
        let why = "there are no free huge pages: set some aside (sysctl vm.nr_hugepages=1024), then change \
                   the configuration or start again";
        return Err((why.to_owned(), false));
    }
    tracing::info!(target: "dpdk", "Using {}", library.version());
    tracing::info!(target: "dpdk", "DPDK Enabled - initializing...");
    if let Some(what) = &line.contradiction {
        tracing::error!(target: "dpdk", "{what}");
    }
    for warning in &line.warnings {
        tracing::warn!(target: "dpdk", "{warning}");
    }
    tracing::info!(target: "dpdk", "EAL ARGS: {}.", line.args.join(" "));
    if let Err(errno) = library.init(&line.args, log, event) {
        let said = lock(&LAST_ERROR).take();
        let why = library.strerror(errno);
        let why = said.map_or_else(|| why.clone(), |said| format!("{why} ({said})"));
        return Err((why, true));
    }
    Ok(Eal {
        library,
        memory: Memory::new(library, settings),
    })
}

/// Cores that this thread may run on.
fn own_cores() -> Vec<u32> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return vec![0];
    };
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&c| set.is_set(c))
        .filter_map(|c| u32::try_from(c).ok())
        .collect()
}

/// True when there are free huge pages of any size. Where the kernel does not say, DPDK will.
fn huge_pages() -> bool {
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else {
        return true;
    };
    let free = |size: std::fs::DirEntry| {
        let text = std::fs::read_to_string(size.path().join("free_hugepages")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    sizes.flatten().map(free).sum::<u64>() > 0
}

/// The last error that DPDK logged: part of the reason when it does not start.
static LAST_ERROR: Mutex<Option<String>> = Mutex::new(None);
static LOG: RateLimit = RateLimit::new(600, 600);

/// Takes a line of DPDK's log.
extern "C" fn log(level: u32, text: *const c_char, len: usize) {
    let text = line(text, len);
    let text = text.trim_end();
    match level {
        1..=4 => {
            *lock(&LAST_ERROR) = Some(text.to_owned());
            base::log_rl!(LOG, ERROR, "dpdk", "{text}");
        }
        5 => base::log_rl!(LOG, WARN, "dpdk", "{text}"),
        6 | 7 => base::log_rl!(LOG, INFO, "dpdk", "{text}"),
        _ => base::log_rl!(LOG, DEBUG, "dpdk", "{text}"),
    }
}

/// Takes an event, on one of DPDK's own threads.
extern "C" fn event(port: u16, what: u32) {
    attach::happened(port, what);
}

/// What the calling thread is to DPDK.
struct Membership(Cell<Option<Library>>);

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(library) = self.0.take() {
            library.thread_detach();
            tracing::info!(target: "dpdk", "PMD thread released its DPDK lcore.");
        }
    }
}

thread_local! {
    static MEMBERSHIP: Membership = const { Membership(Cell::new(None)) };
    static TRIED: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread one of DPDK's, so that it has caches of its own; does nothing the next times.
#[inline]
pub(super) fn attach_thread(library: Library) {
    if !TRIED.get() {
        attach_now(library);
    }
}

#[cold]
fn attach_now(library: Library) {
    TRIED.set(true);
    match library.thread_attach() {
        Ok(lcore) => {
            MEMBERSHIP.with(|m| m.0.set(Some(library)));
            tracing::info!(target: "dpdk", "PMD thread uses DPDK lcore {lcore}.");
        }
        Err(_) => tracing::warn!(target: "dpdk",
            "DPDK max threads count has been reached. PMD thread performance may be impacted."),
    }
}

/// A text about DPDK's insides (`dpdk/lcore-list` and the like).
///
/// # Errors
/// In words: DPDK does not run.
pub fn text(what: Dump) -> Result<String, String> {
    running().map(|eal| eal.library.dump(what))
}

/// Sets log levels: `level` or `pattern:level`, as in `dpdk/log-set`; nothing at all means everything.
///
/// # Errors
/// In words, naming what is wrong.
pub fn log_set(settings: &[&str]) -> Result<(), String> {
    const LEVELS: [&str; 8] = [
        "emergency",
        "alert",
        "critical",
        "error",
        "warning",
        "notice",
        "info",
        "debug",
    ];
    let library = running()?.library;
    let all = if settings.is_empty() {
        &["debug"]
    } else {
        settings
    };
    for setting in all {
        let (pattern, level) = setting.split_once(':').unwrap_or(("*", setting));
        let at = LEVELS
            .iter()
            .position(|l| *l == level)
            .ok_or_else(|| format!("invalid log level: '{level}'"))?;
        if !library.log_set(pattern, at as u32 + 1) {
            return Err(format!("cannot set log level for '{setting}'"));
        }
    }
    Ok(())
}
