//! [`Pacer`]: packets to a controller at a limited rate, fair between the ports they came from.
//!
//! A token bucket decides whether a packet goes at once. Others wait in a queue per port, served in turn;
//! when as many wait as the burst allows, one of the longest queue is dropped. Bounded by the burst.

use base::clock::Nanos;
use flow::OfPort;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Packets released by one call of [`Pacer::due`].
const DUE_MAX: usize = 50;
/// Packets a second when a limit is on but gives no number.
const RATE_DEFAULT: u32 = 1000;
/// What one packet costs; the bucket fills with `rate` of these units a millisecond.
const COST: u64 = 1000;

/// See the file's essay.
#[derive(Debug)]
pub(crate) struct Pacer<T> {
    rate: u64,
    burst: u64,
    tokens: u64,
    filled: Nanos,
    queues: BTreeMap<OfPort, VecDeque<T>>,
    queued: usize,
    /// The port served last.
    last: OfPort,
    /// Packets that went at once, waited, and were dropped.
    pub(crate) counts: [u64; 3],
}

impl<T> Pacer<T> {
    /// At most `rate` packets a second, `burst` at once; 0 stands for a number that fits.
    pub(crate) fn new(rate: u32, burst: u32, now: Nanos) -> Self {
        let (rate, burst) = adjust(rate, burst);
        Self {
            rate,
            burst,
            tokens: burst * COST,
            filled: now,
            queues: BTreeMap::new(),
            queued: 0,
            last: OfPort::NONE,
            counts: [0; 3],
        }
    }

    /// Changes the limits; what is too much is dropped.
    pub(crate) fn set_limits(&mut self, rate: u32, burst: u32) {
        (self.rate, self.burst) = adjust(rate, burst);
        self.tokens = self.tokens.min(self.burst * COST);
        while self.queued as u64 > self.burst {
            self.drop_one();
        }
    }

    fn take_token(&mut self, now: Nanos) -> bool {
        let ms = now.millis().saturating_sub(self.filled.millis());
        if ms > 0 {
            self.tokens = (self.tokens.saturating_add(ms.saturating_mul(self.rate)))
                .min(self.burst.saturating_mul(COST));
            self.filled = now;
        }
        let ok = self.tokens >= COST;
        if ok {
            self.tokens -= COST;
        }
        ok
    }

    /// A packet from `port`: given back when it may go at once, kept otherwise.
    pub(crate) fn send(&mut self, port: OfPort, packet: T, now: Nanos) -> Option<T> {
        if self.queued == 0 && self.take_token(now) {
            self.counts[0] += 1;
            return Some(packet);
        }
        if self.queued as u64 >= self.burst {
            self.drop_one();
        }
        self.queues.entry(port).or_default().push_back(packet);
        self.queued += 1;
        self.counts[1] += 1;
        None
    }

    fn drop_one(&mut self) {
        let longest = self.queues.iter().max_by_key(|(_, q)| q.len());
        if let Some((&port, _)) = longest {
            self.pop(port);
            self.counts[2] += 1;
        }
    }

    fn pop(&mut self, port: OfPort) -> Option<T> {
        let queue = self.queues.get_mut(&port)?;
        let packet = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&port);
        }
        self.queued -= 1;
        packet
    }

    /// Packets whose time has come, a bounded number of them.
    pub(crate) fn due(&mut self, now: Nanos) -> Vec<T> {
        let mut out = Vec::new();
        while out.len() < DUE_MAX && self.queued > 0 && self.take_token(now) {
            let after = (Bound::Excluded(self.last), Bound::Unbounded);
            let next = self.queues.range(after).next();
            let Some(port) = next.or_else(|| self.queues.iter().next()).map(|(p, _)| *p) else {
                break;
            };
            self.last = port;
            out.extend(self.pop(port));
        }
        out
    }

    /// Packets that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queued
    }

    /// When [`Pacer::due`] will have something.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        (self.queued > 0).then(|| {
            let missing = COST.saturating_sub(self.tokens);
            self.filled.plus_millis(missing.div_ceil(self.rate))
        })
    }
}

fn adjust(rate: u32, burst: u32) -> (u64, u64) {
    let rate = if rate == 0 { RATE_DEFAULT } else { rate };
    let burst = if burst == 0 { rate / 4 } else { burst };
    (rate.into(), burst.max(1).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_pass_then_ports_take_turns() {
        let at = Nanos::from_millis;
        let mut p = Pacer::new(10, 2, at(0));
        assert_eq!(p.send(OfPort(1), "a", at(0)), Some("a"));
        assert_eq!(p.send(OfPort(1), "b", at(0)), Some("b"));
        assert_eq!(p.send(OfPort(1), "c", at(0)), None);
        assert_eq!(p.send(OfPort(2), "d", at(0)), None);
        // Port 1 and 2 have one each; either may lose it.
        assert_eq!(p.send(OfPort(2), "e", at(0)), None);
        assert_eq!(p.counts, [2, 3, 1]);
        assert_eq!(p.next_due(), Some(at(100)));
        assert_eq!(p.due(at(99)).len(), 0);
        assert_eq!(p.due(at(100)).len(), 1);
        assert_eq!(p.due(at(1000)), ["e"]);
        assert_eq!((p.next_due(), p.queued), (None, 0));
    }
}
