//! Pauses between attempts to connect, and what the log says of them (Open vSwitch's module `reconnect`): 1 s after the
//! first failure, doubling to 8 s, from then on without a line for each.

use base::clock::Nanos;

/// First and longest pause, milliseconds.
const MS: (u64, u64) = (1000, 8000);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reconnect {
    /// The last pause, milliseconds; 0 before the first failure.
    pause_ms: u64,
    /// No attempt before.
    until: Nanos,
    connected_at: Option<Nanos>,
    /// The peer connects to us.
    pub(crate) passive: bool,
}

impl Reconnect {
    /// When the next attempt is due.
    pub(crate) fn due(&self) -> Nanos {
        self.until
    }

    /// The next attempt is due at once.
    pub(crate) fn hurry(&mut self, now: Nanos) {
        self.until = now;
    }

    /// True while every attempt is worth a line.
    fn is_talkative(&self) -> bool {
        self.pause_ms < MS.1
    }

    /// An attempt begins.
    pub(crate) fn attempt(&self, name: &str, what: &str) {
        if self.is_talkative() {
            tracing::info!(target: "reconnect", "{name}: {what}...");
        }
    }

    /// The connection is made.
    pub(crate) fn connected(&mut self, name: &str, now: Nanos) {
        tracing::info!(target: "reconnect", "{name}: connected");
        self.connected_at = Some(now);
    }

    /// An attempt failed; without a reason because it took too long.
    pub(crate) fn failed(&mut self, name: &str, (what, why): (&str, Option<&str>), now: Nanos) {
        match why {
            _ if !self.is_talkative() => {}
            Some(why) => {
                tracing::info!(target: "reconnect", "{name}: {what} attempt failed ({why})");
            }
            None => tracing::info!(target: "reconnect", "{name}: {what} attempt timed out"),
        }
        self.pause(name, now);
    }

    /// The connection is lost. One that was good for longer than the last pause starts over.
    pub(crate) fn lost(&mut self, name: &str, why: &str, now: Nanos) {
        if why.starts_with("connection ") {
            tracing::info!(target: "reconnect", "{name}: {why}");
        } else {
            tracing::warn!(target: "reconnect", "{name}: connection dropped ({why})");
        }
        let since = self.connected_at.take();
        if since.is_some_and(|t| now >= t.plus_millis(self.pause_ms)) {
            self.pause_ms = MS.0;
            self.until = now.plus_millis(self.pause_ms);
        } else {
            self.pause(name, now);
        }
    }

    /// What follows a pause, as a noun and as a verb.
    fn words(&self) -> (&'static str, &'static str) {
        if self.passive {
            ("trying to listen again", "try to listen")
        } else {
            ("reconnect", "reconnect")
        }
    }

    fn pause(&mut self, name: &str, now: Nanos) {
        let before = self.pause_ms;
        self.pause_ms = (before * 2).clamp(MS.0, MS.1);
        if before > 0 && before < MS.1 / 2 {
            let (s, what) = (self.pause_ms / 1000, self.words().0);
            tracing::info!(target: "reconnect", "{name}: waiting {s} seconds before {what}");
        } else if before > 0 && before < MS.1 {
            let what = self.words().1;
            tracing::info!(target: "reconnect",
                "{name}: continuing to {what} in the background but suppressing further logging");
        }
        self.until = now.plus_millis(self.pause_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_start_over() {
        let t = Nanos::from_millis;
        let mut r = Reconnect::default();
        let pauses: Vec<u64> = (0..5)
            .map(|_| {
                r.failed("x", ("connection", None), t(0));
                r.due().millis()
            })
            .collect();
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 8000]);
        r.connected("x", t(0));
        r.lost("x", "gone", t(7999));
        assert_eq!(r.due(), t(15_999), "it was not good for long");
        r.connected("x", t(20_000));
        r.lost("x", "connection closed by peer", t(28_000));
        assert_eq!(r.due(), t(29_000));
    }
}
