//! A connection that comes back: connects with growing pauses, probes a silent peer, gives up one that does not
//! answer.
//!
//! Time is an argument. The states are Open vSwitch's, because they are shown to people
//! (`Controller.status:state`).

use super::channel::{Channel, ChannelError};
use super::reason;
use base::clock::Nanos;
use ovsdb::{Address, Dial, Stream};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not wanted.
    Void,
    /// Waiting before the next attempt.
    Backoff,
    /// Waiting for the peer to take the connection.
    Connecting,
    /// Connected and talking.
    Active,
    /// Connected, and probed because nothing was heard.
    Idle,
}

impl State {
    /// The name shown to people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Void => "VOID",
            Self::Backoff => "BACKOFF",
            Self::Connecting => "CONNECTING",
            Self::Active => "ACTIVE",
            Self::Idle => "IDLE",
        }
    }
}

/// Why a connection ends that is not wanted any more, or not as it is.
pub(crate) const ASKED_FOR: &str = "disconnecting";

/// The connection.
#[derive(Debug)]
pub(crate) struct Rconn {
    target: String,
    /// For the log.
    name: String,
    /// `None`: made by the peer, not made again.
    address: Option<Address>,
    dial: Dial,
    channel: Option<Channel>,
    state: State,
    state_since: Nanos,
    /// A probe is due and was not asked for yet.
    probe_due: bool,
    backoff_ms: u64,
    max_backoff_ms: u64,
    /// A connection lost before counts as a failure.
    good_at: Nanos,
    probe_ms: u64,
    heard_at: Nanos,
    /// The peer was of use since it was connected.
    proven: bool,
    /// When the peer last asked for something: only then it is of use.
    useful_at: Nanos,
    last_connected: Option<Nanos>,
    last_disconnected: Option<Nanos>,
    last_error: Option<String>,
}

impl Rconn {
    /// A connection that is made and made again.
    pub(crate) fn to(
        (name, target): (&str, &str),
        (address, dial): (Address, Dial),
        now: Nanos,
    ) -> Self {
        Self {
            target: target.to_owned(),
            name: name.to_owned(),
            address: Some(address),
            dial,
            channel: None,
            state: State::Backoff,
            state_since: now,
            probe_due: false,
            backoff_ms: 0,
            max_backoff_ms: 8000,
            good_at: now,
            probe_ms: 5000,
            heard_at: now,
            proven: false,
            useful_at: now,
            last_connected: None,
            last_disconnected: None,
            last_error: None,
        }
    }

    /// A connection that a peer made.
    pub(crate) fn accepted(name: &str, stream: Stream, now: Nanos) -> Self {
        let nowhere = Address::Unix(std::path::PathBuf::new());
        Self {
            address: None,
            channel: Some(Channel::new(stream)),
            state: State::Active,
            last_connected: Some(now),
            ..Self::to((name, name), (nowhere, Dial::default()), now)
        }
    }

    /// Sets the longest pause (at least 1 s) and the probe interval (0 for never), milliseconds.
    pub(crate) fn set_patience(&mut self, max_backoff_ms: u64, probe_ms: u64) {
        self.max_backoff_ms = max_backoff_ms.max(1000);
        self.backoff_ms = self.backoff_ms.min(self.max_backoff_ms);
        self.probe_ms = probe_ms;
    }

    /// Sets the differentiated-services code point of the next connection.
    pub(crate) fn set_dscp(&mut self, dscp: u8) {
        self.dial.dscp = Some(dscp);
    }

    /// Does what is due. Returns true when a new connection was just made, so that a hello must be sent; the
    /// probe that is due, if any, is asked for by [`Rconn::wants_probe`].
    pub(crate) fn run(&mut self, now: Nanos) -> bool {
        match self.state {
            State::Backoff if now >= self.state_since.plus_millis(self.backoff_ms) => {
                self.attempt(now)
            }
            State::Connecting => self.finish_connecting(now),
            State::Active
                if self.probe_ms > 0 && now >= self.heard_at.plus_millis(self.probe_ms) =>
            {
                let silent_s = now.since(self.heard_at).as_secs();
                tracing::debug!(
                    target: "rconn",
                    "{}: idle {silent_s} seconds, sending inactivity probe",
                    self.name
                );
                self.enter(State::Idle, now);
                self.probe_due = true;
                false
            }
            State::Idle if now >= self.state_since.plus_millis(self.probe_ms) => {
                tracing::error!(
                    target: "rconn",
                    "{}: no response to inactivity probe after {} seconds, disconnecting",
                    self.name,
                    now.since(self.state_since).as_secs()
                );
                self.lose("Connection timed out", now);
                false
            }
            _ => false,
        }
    }

    /// True once after the peer has been silent for so long that it must be probed with an echo request.
    pub(crate) fn wants_probe(&mut self) -> bool {
        std::mem::take(&mut self.probe_due) && self.state == State::Idle
    }

    fn attempt(&mut self, now: Nanos) -> bool {
        let Some(address) = &self.address else {
            self.enter(State::Void, now);
            return false;
        };
        if self.is_talkative() {
            tracing::info!(target: "rconn", "{}: connecting...", self.name);
        }
        let begun = Stream::begin(address, &self.dial).map_err(|e| e.source_error());
        // On this host a refusal comes at once.
        let begun = begun.and_then(|mut s| s.is_connected().map(|_| s));
        match begun {
            Ok(stream) => {
                self.channel = Some(Channel::new(stream));
                self.good_at = now.plus_millis(self.backoff_ms);
                self.enter(State::Connecting, now);
                self.finish_connecting(now)
            }
            Err(e) => {
                let why = reason(&e);
                tracing::warn!(target: "rconn", "{}: connection failed ({why})", self.name);
                self.last_error = Some(why);
                self.good_at = Nanos(u64::MAX);
                self.back_off(now);
                false
            }
        }
    }

    /// True when the connection that was begun is there.
    fn finish_connecting(&mut self, now: Nanos) -> bool {
        let patience_ms = self.backoff_ms.max(1000);
        let late = now >= self.state_since.plus_millis(patience_ms);
        match self.channel.as_mut().map(Channel::is_connected) {
            Some(Ok(true)) => {
                tracing::info!(target: "rconn", "{}: connected", self.name);
                self.heard_at = now;
                self.proven = false;
                self.last_connected = Some(now);
                self.enter(State::Active, now);
                true
            }
            Some(Ok(false)) if !late => false,
            Some(Ok(false)) | None => {
                if self.is_talkative() {
                    tracing::info!(target: "rconn", "{}: connection timed out", self.name);
                }
                self.good_at = Nanos(u64::MAX);
                self.lose("Connection timed out", now);
                false
            }
            Some(Err(e)) => {
                let why = reason(&e);
                if self.is_talkative() {
                    tracing::info!(target: "rconn", "{}: connection failed ({why})", self.name);
                }
                self.lose(&why, now);
                false
            }
        }
    }

    /// True while every attempt is worth a line in the log.
    fn is_talkative(&self) -> bool {
        self.backoff_ms < self.max_backoff_ms
    }

    fn enter(&mut self, state: State, now: Nanos) {
        self.state = state;
        self.state_since = now;
    }

    fn back_off(&mut self, now: Nanos) {
        if self.address.is_none() {
            self.enter(State::Void, now);
            return;
        }
        // A connection that stood for as long as the last pause starts over.
        if now >= self.good_at {
            self.backoff_ms = 1000;
        } else if self.backoff_ms < self.max_backoff_ms / 2 {
            self.backoff_ms = (self.backoff_ms * 2).max(1000);
            let s = self.backoff_ms / 1000;
            tracing::info!(target: "rconn", "{}: waiting {s} seconds before reconnect", self.name);
        } else {
            if self.is_talkative() {
                tracing::info!(
                    target: "rconn",
                    "{}: continuing to retry connections in the background but suppressing further logging",
                    self.name
                );
            }
            self.backoff_ms = self.max_backoff_ms;
        }
        self.enter(State::Backoff, now);
    }

    /// Gives the connection up; one that is ours is made again later.
    pub(crate) fn disconnect(&mut self, why: &str, now: Nanos) {
        if self.channel.is_some() && self.address.is_some() {
            tracing::info!(target: "rconn", "{}: {why}", self.name);
        }
        self.lose(why, now);
    }

    /// Gives the connection up, and makes it again at once.
    pub(crate) fn reconnect(&mut self, now: Nanos) {
        if matches!(self.state, State::Active | State::Idle) {
            tracing::info!(target: "rconn", "{}: disconnecting", self.name);
            self.lose("reconnecting", now);
            self.backoff_ms = 0;
        }
    }

    fn lose(&mut self, why: &str, now: Nanos) {
        if self.channel.take().is_some() {
            self.last_disconnected = Some(now);
            // What was asked for is no error.
            self.last_error = Some(why.to_owned()).filter(|w| w != ASKED_FOR);
            self.back_off(now);
        }
    }

    /// Seconds since the peer was last of use: 0 while it is.
    pub(crate) fn failing_s(&self, now: Nanos) -> u64 {
        const PROVEN_MS: u64 = 30_000;
        let connected = self.last_connected.filter(|_| self.is_connected());
        let proven =
            connected.is_some_and(|t| self.useful_at >= t || now >= t.plus_millis(PROVEN_MS));
        if proven {
            0
        } else {
            now.since(self.useful_at).as_secs()
        }
    }

    /// The next message from the peer.
    pub(crate) fn receive(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if !self.is_connected() {
            return None;
        }
        let got = self.channel.as_mut()?.receive();
        match got {
            Ok(Some(message)) => {
                self.heard_at = now;
                // Once it was of use, whatever it says counts.
                self.proven |= shows_use(&message);
                if self.proven {
                    self.useful_at = now;
                }
                if self.state == State::Idle {
                    self.enter(State::Active, now);
                }
                Some(message)
            }
            Ok(None) => None,
            Err(e) => {
                self.broke(&e, now);
                None
            }
        }
    }

    /// Sends a message; it is lost when there is no connection.
    pub(crate) fn send(&mut self, message: Vec<u8>, now: Nanos) {
        self.with_channel(now, |c| c.send(message));
    }

    /// Writes what the peer takes.
    pub(crate) fn flush(&mut self, now: Nanos) {
        self.with_channel(now, Channel::flush);
    }

    fn with_channel(
        &mut self,
        now: Nanos,
        work: impl FnOnce(&mut Channel) -> Result<(), ChannelError>,
    ) {
        if !self.is_connected() {
            return;
        }
        if let Some(Err(e)) = self.channel.as_mut().map(work) {
            self.broke(&e, now);
        }
    }

    fn broke(&mut self, error: &ChannelError, now: Nanos) {
        let ours = self.address.is_some();
        let why = match error {
            ChannelError::Closed => {
                if ours {
                    tracing::info!(target: "rconn", "{}: connection closed by peer", self.name);
                }
                "End of file".to_owned()
            }
            other => {
                let why = match other {
                    ChannelError::Io(e) => reason(e),
                    other => other.to_string(),
                };
                if ours {
                    tracing::warn!(target: "rconn", "{}: connection dropped ({why})", self.name);
                }
                why
            }
        };
        self.lose(&why, now);
    }

    /// Names what to wait for; `reads`: whether what arrives would be read.
    pub(crate) fn wait(&self, reads: bool, now: Nanos, set: &mut base::poll::PollSet) {
        self.wait_io(reads, set);
        let due = match self.state {
            State::Backoff => self.state_since.plus_millis(self.backoff_ms),
            State::Connecting => self.state_since.plus_millis(self.backoff_ms.max(1000)),
            State::Active if self.probe_ms > 0 => self.heard_at.plus_millis(self.probe_ms),
            State::Idle => self.state_since.plus_millis(self.probe_ms),
            _ => return,
        };
        set.within(due.since(now));
    }

    /// As [`Rconn::wait`], for input and output alone.
    pub(crate) fn wait_io(&self, reads: bool, set: &mut base::poll::PollSet) {
        use std::os::fd::AsRawFd;
        let Some(c) = &self.channel else { return };
        let connecting = self.state == State::Connecting;
        let writes = c.wants_write() || connecting && c.is_on_its_way();
        if reads {
            set.fd(c.as_raw_fd(), writes);
            if c.has_input() {
                set.at_once();
            }
        } else if writes {
            // Input that nobody would read must not keep the loop awake.
            set.fd_writable(c.as_raw_fd());
        }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        self.state
    }
    /// True while connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.channel.is_some() && self.state != State::Connecting
    }
    /// The address that is connected to, if it is one of a network.
    pub(crate) fn remote(&self) -> Option<std::net::SocketAddr> {
        self.address.as_ref().and_then(Address::remote)
    }
    /// Bytes that wait for the peer to read.
    pub(crate) fn backlog(&self) -> usize {
        self.channel.as_ref().map_or(0, Channel::backlog)
    }
    /// The target as configured.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }
    /// When it was last made and last lost, and why.
    pub(crate) fn history(&self) -> (Option<Nanos>, Option<Nanos>, Option<&str>) {
        (
            self.last_connected,
            self.last_disconnected,
            self.last_error.as_deref(),
        )
    }
}

/// True for a message that only a controller sends that takes care of the switch: getting to know it, echoes and
/// questions about what it can do are not enough.
fn shows_use(message: &[u8]) -> bool {
    let &[version, kind, _, _, _, _, _, _, ref body @ ..] = message else {
        return false;
    };
    let multipart = body.first_chunk().map(|b| u16::from_be_bytes(*b));
    match (version, kind) {
        // Hello, error, echoes; features and configuration.
        (_, 0..=3 | 5..=9) => false,
        // Configuration of queues; of asynchronous messages.
        (1, 20..=21) | (2..=4, 22..=23) | (4.., 26..=27) => false,
        // Groups, their descriptions and features; features and descriptions of tables.
        (2.., 18..=19) => !matches!(multipart, Some(6..=8 | 12 | 14)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovsdb::{Listener, Tls};

    #[test]
    fn knowing_a_switch_is_not_taking_care_of_it() {
        let message =
            |version, kind, body: &[u8]| [&[version, kind, 0, 8, 0, 0, 0, 1], body].concat();
        let useful = |m: &Vec<u8>| shows_use(m);
        let getting_to_know = [
            message(4, 0, &[]),
            message(4, 2, &[]),
            message(1, 5, &[]),
            message(1, 9, &[0; 4]),
            message(1, 20, &[0; 4]),
            message(4, 18, &[0, 12, 0, 0]),
            vec![4, 14],
        ];
        assert!(!getting_to_know.iter().any(useful));
        let caring = [
            message(4, 14, &[]),
            message(1, 14, &[]),
            message(4, 20, &[]),
            message(1, 16, &[0, 6, 0, 0]),
            message(4, 18, &[0, 0, 0, 0]),
            message(4, 4, &[0; 8]),
        ];
        assert!(caring.iter().all(useful));
    }

    #[test]
    fn connects_probes_gives_up_and_comes_back() {
        let path = std::env::temp_dir().join(format!("ringway-rconn-{}", std::process::id()));
        let t = Nanos::from_millis;
        let mut r = Rconn::to(
            ("br0<->unix:x", "unix:x"),
            (Address::Unix(path.clone()), Dial::default()),
            t(0),
        );
        r.set_patience(4000, 5000);
        assert!(!r.run(t(0)), "nobody listens");
        assert_eq!(r.state(), State::Backoff);
        let listener = Listener::bind(&Address::PassiveUnix(path), &Tls::default()).unwrap();
        assert!(!r.run(t(999)) && r.run(t(1000)), "one second later");
        let mut peer = Channel::new(listener.accept().unwrap().unwrap());
        r.send(vec![4, 0, 0, 8, 0, 0, 0, 1], t(1000));
        assert_eq!(peer.receive().unwrap().unwrap().len(), 8);
        r.run(t(6000));
        assert!(r.state() == State::Idle && r.wants_probe() && !r.wants_probe());
        peer.send(vec![4, 3, 0, 8, 0, 0, 0, 1]).unwrap();
        assert!(r.receive(t(6100)).is_some() && r.state() == State::Active);
        r.run(t(11_100));
        r.run(t(16_100));
        assert!(!r.is_connected() && r.state() == State::Backoff);
        assert!(r.run(t(17_100)), "made again");
    }
}
