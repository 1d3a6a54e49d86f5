//! Commands that stop and move time (with dummy devices only): `time/stop`, `time/warp`.

use crate::switch::Switch;
use crate::unixctl::{Commands, Reply};
use base::clock::monotonic_ns;

/// How long the answer waits for statistics of the time that passed, real time: revalidators may be paused.
const PATIENCE_NS: u64 = 500_000_000;

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add("time/stop", "", 0..=0, |s, _| {
        s.clock().stop();
        Ok(String::new())
    });
    commands.add_slow("time/warp", "[large_msecs] msecs", 1..=2, |s, args| {
        let number = |t: &str| t.parse::<u64>().ok();
        let (total, step) = match args {
            [step] => (Some(0), number(step)),
            [total, step] => (number(total), number(step)),
            _ => (None, None),
        };
        let (Some(mut total), Some(step @ 1..)) = (total, step) else {
            return Reply::Now(Err("invalid MSECS".to_owned()));
        };
        // The first step at once; then one a turn, so that everybody sees each of them.
        s.warp(step);
        total = total.saturating_sub(step);
        let give_up = monotonic_ns() + PATIENCE_NS;
        Reply::Later(Box::new(move |s: &mut Switch| {
            // Packet threads have seen the step before.
            super::bridges::quiesce(s);
            if total == 0 {
                let over = s.has_counted() || monotonic_ns() >= give_up;
                return over.then(|| Ok("warped".to_owned()));
            }
            let now = step.min(total);
            s.warp(now);
            total -= now;
            None
        }))
    });
}
