//! Counters of one ring, by DPDK's names where it has them. Written by whoever holds the ring's lock.

use super::receive::Loss;
use base::sync::Counter;

/// The longest frame of each class of sizes, and the class's name.
const SIZES: [(usize, &str); 7] = [
    (63, "undersize"),
    (64, "size_64"),
    (127, "size_65_127"),
    (255, "size_128_255"),
    (511, "size_256_511"),
    (1023, "size_512_1023"),
    (1518, "size_1024_1518"),
];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) packets: Counter,
    pub(super) bytes: Counter,
    multicast: Counter,
    broadcast: Counter,
    sizes: [Counter; SIZES.len() + 1],
    runt: Counter,
    oversize: Counter,
    bad_offload: Counter,
    /// Further looks for buffers in the middle of a burst.
    pub(super) retries: Counter,
    /// Interrupts given.
    pub(super) calls: Counter,
}

impl Counts {
    /// Counts a packet that did not pass.
    #[cold]
    pub(super) fn lost(&self, loss: Loss) {
        match loss {
            Loss::Runt => self.runt.add_local(1),
            Loss::Oversize => self.oversize.add_local(1),
            Loss::BadOffload => self.bad_offload.add_local(1),
        }
    }

    pub(super) fn multicast(&self) -> u64 {
        self.multicast.get() + self.broadcast.get()
    }
    /// Packets lost, by reason.
    pub(super) fn losses(&self) -> [(&'static str, u64); 3] {
        [
            ("rx_runt", self.runt.get()),
            ("rx_oversize", self.oversize.get()),
            ("rx_bad_offload", self.bad_offload.get()),
        ]
    }

    /// Everything, under `prefix`.
    pub(super) fn list(&self, prefix: &str, to: &mut Vec<(String, u64)>) {
        let mut put = |name: &str, n: u64| to.push((format!("{prefix}_{name}"), n));
        put("good_packets", self.packets.get());
        put("good_bytes", self.bytes.get());
        put("multicast_packets", self.multicast.get());
        put("broadcast_packets", self.broadcast.get());
        let names = SIZES.iter().map(|(_, name)| *name);
        for (name, counter) in names.chain(["size_1519_max"]).zip(&self.sizes) {
            put(&format!("{name}_packets"), counter.get());
        }
        put("guest_notifications", self.calls.get());
    }
}

/// Packets of a burst that passed, until they are added to the counters.
#[derive(Debug)]
pub(super) struct Tally<'c> {
    counts: &'c Counts,
    packets: u32,
    bytes: u64,
    /// The class of sizes of the packets just before, and how many.
    class: usize,
    run: u32,
}

impl<'c> Tally<'c> {
    pub(super) fn new(counts: &'c Counts) -> Self {
        Self {
            counts,
            packets: 0,
            bytes: 0,
            class: 0,
            run: 0,
        }
    }

    /// Counts a packet that passed.
    #[inline]
    pub(super) fn packet(&mut self, data: &[u8]) {
        self.packets += 1;
        self.bytes += data.len() as u64;
        if data.first().is_some_and(|b| b & 1 != 0) {
            self.group(data);
        }
        let class = class_of(data.len());
        if class != self.class {
            self.end_run();
            self.class = class;
        }
        self.run += 1;
    }

    #[cold]
    fn group(&self, data: &[u8]) {
        if data.starts_with(&[0xff; 6]) {
            self.counts.broadcast.add_local(1);
        } else {
            self.counts.multicast.add_local(1);
        }
    }

    /// Counts another look for buffers.
    pub(super) fn retry(&self) {
        self.counts.retries.add_local(1);
    }

    /// Counts a packet that did not.
    pub(super) fn lost(&self, loss: Loss) {
        self.counts.lost(loss);
    }

    #[inline]
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.counts.sizes[self.class].add_local(u64::from(run));
    }

    /// Adds the burst.
    pub(super) fn close(mut self) {
        if self.packets > 0 {
            self.end_run();
            self.counts.packets.add_local(u64::from(self.packets));
            self.counts.bytes.add_local(self.bytes);
        }
    }
}

/// Which class of sizes a frame is in.
#[inline]
fn class_of(len: usize) -> usize {
    match len {
        0..=63 => 0,
        64 => 1,
        65..=1023 => len.ilog2() as usize - 4,
        1024..=1518 => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_sizes() {
        for len in 0..3000 {
            let want = SIZES.iter().position(|(max, _)| len <= *max);
            assert_eq!(class_of(len), want.unwrap_or(SIZES.len()), "{len}");
        }
    }
}
