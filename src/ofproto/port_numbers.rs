//! Which OpenFlow number a port gets.
//!
//! A number that was asked for is given when it is free. Others come from 1..=32767 in turn, so that the
//! number of a port that went away is not soon taken by another one, to which old flows would then apply.

use base::clock::Nanos;
use flow::OfPort;
use std::collections::HashMap;

/// Numbers given without being asked for are below this one; the rest is for those who ask.
const AUTOMATIC_END: u16 = 32_768;
/// For so long a number is not given again while others are free.
const REST_MS: u64 = 60 * 60 * 1000;

#[derive(Debug, Clone, Copy)]
enum Usage {
    InUse,
    FreeSince(Nanos),
}

/// The numbers of one bridge.
#[derive(Debug, Default)]
pub struct PortNumbers {
    last: u16,
    used: HashMap<u16, Usage>,
}

impl PortNumbers {
    /// Takes a number: `wanted` if that is possible. `None` when all are in use.
    pub fn allocate(&mut self, wanted: Option<OfPort>, now: Nanos) -> Option<OfPort> {
        let free = |n: &OfPort| {
            n.0 != 0 && *n < OfPort::MAX && !matches!(self.used.get(&n.0), Some(Usage::InUse))
        };
        let number = match wanted.filter(free) {
            Some(n) => n.0,
            None => self.next(now)?,
        };
        self.used.insert(number, Usage::InUse);
        Some(OfPort(number))
    }

    fn next(&mut self, now: Nanos) -> Option<u16> {
        let end = self.last;
        let mut oldest: Option<(Nanos, u16)> = None;
        loop {
            self.last = (self.last + 1) % AUTOMATIC_END;
            if self.last == 0 {
                self.last = 1;
            }
            match self.used.get(&self.last) {
                None => return Some(self.last),
                Some(Usage::FreeSince(t)) if now.since(*t).as_millis() > u128::from(REST_MS) => {
                    return Some(self.last);
                }
                Some(Usage::FreeSince(t)) if oldest.is_none_or(|(o, _)| *t < o) => {
                    oldest = Some((*t, self.last));
                }
                _ => {}
            }
            // At the very beginning `end` is 0, which no turn reaches: one turn ends at the highest number.
            if self.last == end.max(1) && end != 0 || end == 0 && self.last == AUTOMATIC_END - 1 {
                return oldest.map(|(_, n)| n);
            }
        }
    }

    /// Gives a number back.
    pub fn release(&mut self, number: OfPort, now: Nanos) {
        if let Some(u) = self.used.get_mut(&number.0) {
            *u = Usage::FreeSince(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rest_before_they_are_given_again() {
        let mut n = PortNumbers::default();
        let at = |m: u64| Nanos::from_millis(m);
        assert_eq!(n.allocate(None, at(0)), Some(OfPort(1)));
        assert_eq!(
            n.allocate(Some(OfPort(40_000)), at(0)),
            Some(OfPort(40_000))
        );
        assert_eq!(n.allocate(Some(OfPort(1)), at(0)), Some(OfPort(2)));
        n.release(OfPort(1), at(0));
        assert_eq!(n.allocate(None, at(0)), Some(OfPort(3)));
        assert_eq!(n.allocate(Some(OfPort(1)), at(0)), Some(OfPort(1)));
        for i in 4..32_768 {
            assert_eq!(n.allocate(Some(OfPort::LOCAL), at(1)), Some(OfPort(i)));
        }
        assert_eq!(n.allocate(None, at(1)), None);
        n.release(OfPort(7), at(3));
        n.release(OfPort(5), at(4));
        assert_eq!(n.allocate(None, at(5)), Some(OfPort(7)));
        n.release(OfPort(9), at(6));
        // Number 5 has rested for an hour.
        n.last = 3;
        assert_eq!(n.allocate(None, at(4 + REST_MS + 1)), Some(OfPort(5)));
    }
}
