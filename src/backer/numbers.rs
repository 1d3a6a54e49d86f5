//! OpenFlow port numbers of a bridge.
//!
//! A wish (`ofport_request`) is granted when the number is free. Otherwise numbers are given out in turn from
//! the lower half of the range; one that was in use is not given to another port for an hour, or, when all
//! are taken, for as long as possible: controllers may still have flows that name it.

use base::clock::Nanos;
use flow::OfPort;
use std::collections::BTreeMap;

/// Numbers given out unasked stay below this.
const AUTO_END: u16 = 32_768;
/// How long a freed number rests, milliseconds.
const REST_MS: u64 = 60 * 60 * 1_000;

/// When a number was last in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Now,
    Until(Nanos),
}

/// The numbers of one bridge.
#[derive(Debug, Default)]
pub struct Numbers {
    last: u16,
    usage: BTreeMap<u16, Usage>,
}

impl Numbers {
    /// Takes a number, `wish` if it can be had. `None` when all are in use.
    pub fn take(&mut self, wish: Option<OfPort>, now: Nanos) -> Option<OfPort> {
        let free = |p: &OfPort| {
            p.0 != 0 && *p < OfPort::MAX && self.usage.get(&p.0) != Some(&Usage::Now)
        };
        let port = match wish.filter(free) {
            Some(port) => port,
            None => self.next(now)?,
        };
        self.usage.insert(port.0, Usage::Now);
        Some(port)
    }

    fn next(&mut self, now: Nanos) -> Option<OfPort> {
        let mut oldest: Option<(Nanos, u16)> = None;
        for _ in 1..AUTO_END {
            self.last = if self.last + 1 >= AUTO_END {
                1
            } else {
                self.last + 1
            };
            match self.usage.get(&self.last) {
                None => return Some(OfPort(self.last)),
                Some(Usage::Until(t)) if now.since(*t).as_millis() > u128::from(REST_MS) => {
                    return Some(OfPort(self.last));
                }
                Some(Usage::Until(t)) => {
                    let this = (*t, self.last);
                    oldest = Some(oldest.map_or(this, |o| o.min(this)));
                }
                Some(Usage::Now) => {}
            }
        }
        oldest.map(|(_, n)| OfPort(n))
    }

    /// Marks a number as in use (the local port, ports that keep their number).
    pub fn claim(&mut self, port: OfPort) {
        self.usage.insert(port.0, Usage::Now);
    }

    /// Gives a number back.
    pub fn give_back(&mut self, port: OfPort, now: Nanos) {
        if self.usage.contains_key(&port.0) {
            self.usage.insert(port.0, Usage::Until(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_turns_and_rest() {
        let mut n = Numbers::default();
        let t = Nanos::from_millis(10_000_000);
        assert_eq!(n.take(Some(OfPort(7)), t), Some(OfPort(7)));
        assert_eq!(n.take(Some(OfPort(7)), t), Some(OfPort(1)));
        assert_eq!(n.take(Some(OfPort::LOCAL), t), Some(OfPort(2)));
        n.give_back(OfPort(1), t);
        assert_eq!(n.take(None, t), Some(OfPort(3)));
        assert_eq!(n.take(Some(OfPort(1)), t), Some(OfPort(1)));
    }

    #[test]
    fn a_full_range_gives_the_number_that_rested_longest() {
        let mut n = Numbers::default();
        let t = Nanos::from_millis(10_000_000);
        for i in 1..AUTO_END {
            assert_eq!(n.take(None, t), Some(OfPort(i)));
        }
        assert_eq!(n.take(None, t), None);
        n.give_back(OfPort(9), t.plus_millis(2));
        n.give_back(OfPort(5), t.plus_millis(1));
        n.give_back(OfPort(11), t.plus_millis(3));
        assert_eq!(n.take(None, t.plus_millis(9)), Some(OfPort(5)));
        let later = t.plus_millis(REST_MS + 100);
        assert_eq!(n.take(None, later), Some(OfPort(9)));
        assert_eq!(n.take(Some(OfPort(40_000)), later), Some(OfPort(40_000)));
    }
}
