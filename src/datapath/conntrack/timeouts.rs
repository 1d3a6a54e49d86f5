//! How long connections live without packets, by what they are doing; and policies that say otherwise.

use base::sync::{Arc, ArcSwap, Mutex, lock};
use dpif::conntrack::{Timer, Timers};
use std::collections::HashMap;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    TcpFirst,
    TcpOpening,
    TcpEstablished,
    TcpClosing,
    TcpFinWait,
    TcpClosed,
    OtherFirst,
    OtherMultiple,
    OtherBidir,
    IcmpFirst,
    IcmpReply,
}

impl Timeout {
    /// The timer of a policy that says how long that is.
    const fn timer(self) -> Timer {
        match self {
            Self::TcpFirst => Timer::TcpSynSent,
            Self::TcpOpening => Timer::TcpSynRecv,
            Self::TcpEstablished => Timer::TcpEstablished,
            Self::TcpClosing => Timer::TcpFinWait,
            Self::TcpFinWait => Timer::TcpTimeWait,
            Self::TcpClosed => Timer::TcpClose,
            Self::OtherFirst => Timer::UdpFirst,
            Self::OtherMultiple => Timer::UdpSingle,
            Self::OtherBidir => Timer::UdpMultiple,
            Self::IcmpFirst => Timer::IcmpFirst,
            Self::IcmpReply => Timer::IcmpReply,
        }
    }

    /// Seconds, where no policy says otherwise (as the peer's).
    const fn default_seconds(self) -> u32 {
        match self {
            Self::TcpFirst | Self::TcpOpening | Self::TcpClosed => 30,
            Self::TcpEstablished => 24 * 60 * 60,
            Self::TcpClosing => 15 * 60,
            Self::TcpFinWait => 45,
            Self::OtherFirst | Self::OtherMultiple | Self::IcmpFirst => 60,
            Self::OtherBidir | Self::IcmpReply => 30,
        }
    }

    /// Milliseconds under a policy, if there is one.
    pub(crate) fn millis(self, policy: Option<&Timers>) -> u64 {
        let said = policy.and_then(|p| p.get(self.timer()));
        u64::from(said.unwrap_or_else(|| self.default_seconds())) * 1000
    }
}

/// Policies by number. Each change publishes a new map.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    published: ArcSwap<HashMap<u32, Timers>>,
    changing: Mutex<()>,
}

impl Policies {
    /// Does something with the policy of this number.
    pub(crate) fn with<T>(&self, id: u32, f: impl FnOnce(Option<&Timers>) -> T) -> T {
        if id == 0 {
            return f(None);
        }
        f(self.published.load().get(&id))
    }

    pub(crate) fn set(&self, id: u32, timers: Timers) {
        self.change(|all| all.insert(id, timers));
    }

    /// True when it was there.
    pub(crate) fn del(&self, id: u32) -> bool {
        self.change(|all| all.remove(&id)).is_some()
    }

    pub(crate) fn all(&self) -> Vec<(u32, Timers)> {
        let all = self.published.load();
        let mut out: Vec<_> = all.iter().map(|(&id, &t)| (id, t)).collect();
        out.sort_unstable_by_key(|(id, _)| *id);
        out
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<u32, Timers>) -> T) -> T {
        let _changing = lock(&self.changing);
        let mut all = (**self.published.load()).clone();
        let out = change(&mut all);
        self.published.store(Arc::new(all));
        out
    }
}
