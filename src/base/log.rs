//! Rate limits for log lines. The lines themselves go through `tracing`; `target:` carries the
//! Open vSwitch module name and the subscriber in `vswitchd` prints the vlog format.

use crate::clock::monotonic_ns;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// False while limits are switched off by hand.
static IN_FORCE: AtomicBool = AtomicBool::new(true);

/// Switches all limits on or off (`vlog/enable-rate-limit`, `vlog/disable-rate-limit`).
pub fn set_limits_in_force(on: bool) {
    IN_FORCE.store(on, Ordering::Relaxed);
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

    /// Decides about one line, at real time.
    pub fn check(&self) -> Verdict {
        if !IN_FORCE.load(Ordering::Relaxed) {
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
            if let $crate::log::Verdict::Print { dropped, first_s, last_s } = $limit.check() {
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
