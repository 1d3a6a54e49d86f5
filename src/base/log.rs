//! Rate limits for log lines. The lines themselves go through `tracing`; `target:` carries the
//! Open vSwitch module name and the subscriber in `vswitchd` prints the vlog format.

use crate::clock::monotonic_ns;
use crate::sync::{AtomicBool, Mutex, Ordering, RwLock, lock, read, write};
use std::collections::BTreeSet;

/// True while some module's limits are switched off by hand, so that all others need not look closer.
static SOME_OFF: AtomicBool = AtomicBool::new(false);
static SWITCHES: RwLock<Switches> = RwLock::new(Switches::new());

/// Which modules' limits are in force: all or none, but for the exceptions.
#[derive(Debug)]
struct Switches {
    on: bool,
    except: BTreeSet<String>,
}

impl Switches {
    const fn new() -> Self {
        Self {
            on: true,
            except: BTreeSet::new(),
        }
    }
    fn set(&mut self, module: Option<&str>, on: bool) {
        match module {
            None => {
                self.on = on;
                self.except.clear();
            }
            Some(m) if on == self.on => drop(self.except.remove(m)),
            Some(m) => drop(self.except.insert(m.to_owned())),
        }
    }
    fn is_on(&self, module: &str) -> bool {
        self.on != self.except.contains(module)
    }
}

/// Switches the limits of a module, or of all, on or off (`vlog/enable-rate-limit`, `vlog/disable-rate-limit`).
pub fn set_limits_in_force(module: Option<&str>, on: bool) {
    let mut switches = write(&SWITCHES);
    switches.set(module, on);
    let some_off = !switches.on || !switches.except.is_empty();
    SOME_OFF.store(some_off, Ordering::Relaxed);
}

fn in_force(module: &str) -> bool {
    !SOME_OFF.load(Ordering::Relaxed) || read(&SWITCHES).is_on(module)
}

/// A token bucket: at most `rate` lines per minute, bursts of `burst`.
#[derive(Debug)]
pub struct RateLimit {
    rate_per_min: u64,
    burst: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens_milli: u64,
    last_fill_ns: u64,
    first_drop_ns: u64,
    last_drop_ns: u64,
    dropped: u64,
}

/// What to do with one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Print it; if `dropped` is not 0, first print the line of [`dropped_line`].
    Print {
        /// Lines suppressed since the last one printed.
        dropped: u64,
        /// Seconds since the first suppressed line.
        first_s: u64,
        /// Seconds since the last suppressed line.
        last_s: u64,
    },
    /// Suppress it.
    Drop,
}

impl RateLimit {
    /// A limit of `rate_per_min` lines a minute with bursts of `burst`.
    #[must_use]
    pub const fn new(rate_per_min: u64, burst: u64) -> Self {
        Self {
            rate_per_min,
            burst,
            state: Mutex::new(State {
                tokens_milli: burst * 1000,
                last_fill_ns: 0,
                first_drop_ns: 0,
                last_drop_ns: 0,
                dropped: 0,
            }),
        }
    }

    /// Decides about one line of a module, at real time.
    pub fn check(&self, module: &str) -> Verdict {
        if !in_force(module) {
            return Verdict::Print {
                dropped: 0,
                first_s: 0,
                last_s: 0,
            };
        }
        self.check_at(monotonic_ns())
    }

    /// Decides about one line at `now_ns`.
    pub fn check_at(&self, now_ns: u64) -> Verdict {
        let mut s = lock(&self.state);
        let elapsed = now_ns.saturating_sub(s.last_fill_ns);
        let fill = u128::from(elapsed) * u128::from(self.rate_per_min) * 1000 / 60_000_000_000;
        if fill > 0 {
            let fill = u64::try_from(fill).unwrap_or(u64::MAX);
            s.tokens_milli = s.tokens_milli.saturating_add(fill).min(self.burst * 1000);
            s.last_fill_ns = now_ns;
        }
        if s.tokens_milli < 1000 {
            if s.dropped == 0 {
                s.first_drop_ns = now_ns;
            }
            s.last_drop_ns = now_ns;
            s.dropped += 1;
            return Verdict::Drop;
        }
        s.tokens_milli -= 1000;
        let dropped = std::mem::take(&mut s.dropped);
        let ago = |t: u64| now_ns.saturating_sub(t) / 1_000_000_000;
        Verdict::Print {
            dropped,
            first_s: ago(s.first_drop_ns),
            last_s: ago(s.last_drop_ns),
        }
    }
}

/// The text that stands for suppressed lines.
#[must_use]
pub fn dropped_line(dropped: u64, first_s: u64, last_s: u64) -> String {
    format!(
        "Dropped {dropped} log messages in last {first_s} seconds (most recently, {last_s} seconds ago) due to excessive rate"
    )
}

/// Logs through `tracing` at `$level` (a `tracing::Level` name: ERROR, WARN, INFO, DEBUG) under a limit:
/// `log_rl!(LIMIT, WARN, "dpif", "bad port {}", n)`.
#[macro_export]
macro_rules! log_rl {
    ($limit:expr, $level:ident, $target:literal, $($arg:tt)+) => {
        if ::tracing::enabled!(target: $target, ::tracing::Level::$level) {
            if let $crate::log::Verdict::Print { dropped, first_s, last_s } = $limit.check($target) {
                if dropped > 0 {
                    ::tracing::event!(target: $target, ::tracing::Level::$level, "{}",
                        $crate::log::dropped_line(dropped, first_s, last_s));
                }
                ::tracing::event!(target: $target, ::tracing::Level::$level, $($arg)+);
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_switched_by_module() {
        let mut s = Switches::new();
        let state = |s: &Switches| (s.is_on("dpif"), s.is_on("vlog"));
        assert_eq!(state(&s), (true, true));
        s.set(Some("dpif"), false);
        assert_eq!(state(&s), (false, true));
        s.set(None, false);
        assert_eq!(state(&s), (false, false));
        s.set(Some("dpif"), true);
        assert_eq!(state(&s), (true, false));
        s.set(Some("dpif"), false);
        assert_eq!(state(&s), (false, false));
        s.set(None, true);
        assert_eq!(state(&s), (true, true));
    }

    #[test]
    fn a_module_without_limits_says_it_all() {
        let limit = RateLimit::new(0, 0);
        assert_eq!(limit.check("a_module_of_this_test"), Verdict::Drop);
        set_limits_in_force(Some("a_module_of_this_test"), false);
        let all = Verdict::Print {
            dropped: 0,
            first_s: 0,
            last_s: 0,
        };
        assert_eq!(limit.check("a_module_of_this_test"), all);
        assert_eq!(limit.check("another_one"), Verdict::Drop);
        set_limits_in_force(Some("a_module_of_this_test"), true);
        assert_eq!(limit.check("a_module_of_this_test"), Verdict::Drop);
    }

    #[test]
    fn a_burst_passes_then_lines_are_counted() {
        let limit = RateLimit::new(60, 2);
        let t = 3_600_000_000_000;
        assert!(matches!(
            limit.check_at(t),
            Verdict::Print { dropped: 0, .. }
        ));
        assert!(matches!(limit.check_at(t), Verdict::Print { .. }));
        assert_eq!(limit.check_at(t), Verdict::Drop);
        assert_eq!(limit.check_at(t + 10), Verdict::Drop);
        let later = limit.check_at(t + 2_000_000_000);
        assert_eq!(
            later,
            Verdict::Print {
                dropped: 2,
                first_s: 2,
                last_s: 1
            }
        );
    }
}
