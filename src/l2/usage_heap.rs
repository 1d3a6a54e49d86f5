//! [`UsageHeap`]: ports by the number of their learned addresses, the fullest first.
//!
//! A binary heap that knows where each port stands. Which of several equally full ports is first depends on
//! the order of the operations that led there; test suites see it, so the order is that of Open vSwitch: a port
//! rises only over ports with fewer addresses, sinks only below ports with more (the left one when both have
//! the same), and the last port takes the place of one that goes.

use crate::mac_table::PortKey;
use std::collections::HashMap;

/// The heap. See the module's text.
#[derive(Debug, Default)]
pub(crate) struct UsageHeap {
    /// The children of `i` are `2i + 1` and `2i + 2`.
    order: Vec<(PortKey, u32)>,
    place: HashMap<PortKey, usize>,
}

impl UsageHeap {
    /// The fullest port.
    pub(crate) fn first(&self) -> Option<PortKey> {
        self.order.first().map(|(port, _)| *port)
    }

    /// Counts one address more.
    pub(crate) fn add(&mut self, port: PortKey) {
        let i = match self.place.get(&port) {
            Some(&i) => {
                self.order[i].1 += 1;
                i
            }
            None => {
                self.order.push((port, 1));
                self.place.insert(port, self.order.len() - 1);
                self.order.len() - 1
            }
        };
        self.settle(i);
    }

    /// Counts one address less.
    pub(crate) fn remove(&mut self, port: PortKey) {
        let Some(&i) = self.place.get(&port) else {
            return;
        };
        if self.order[i].1 > 1 {
            self.order[i].1 -= 1;
        } else {
            self.place.remove(&port);
            self.order.swap_remove(i);
            let Some((moved, _)) = self.order.get(i) else {
                return;
            };
            self.place.insert(*moved, i);
        }
        self.settle(i);
    }

    fn settle(&mut self, i: usize) {
        if !self.rise(i) {
            self.sink(i);
        }
    }

    fn rise(&mut self, mut i: usize) -> bool {
        let start = i;
        while i > 0 && self.order[(i - 1) / 2].1 < self.order[i].1 {
            self.swap((i - 1) / 2, i);
            i = (i - 1) / 2;
        }
        i != start
    }

    fn sink(&mut self, mut i: usize) {
        loop {
            let mut most = i;
            for child in [2 * i + 1, 2 * i + 2] {
                if child < self.order.len() && self.order[child].1 > self.order[most].1 {
                    most = child;
                }
            }
            if most == i {
                return;
            }
            self.swap(i, most);
            i = most;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        for i in [a, b] {
            self.place.insert(self.order[i].0, i);
        }
    }
}
