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
    /// Counts a packet that passed.
    #[inline]
    pub(super) fn packet(&self, data: &[u8]) {
        self.packets.add_local(1);
        self.bytes.add_local(data.len() as u64);
        if data.first().is_some_and(|b| b & 1 != 0) {
            if data.starts_with(&[0xff; 6]) {
                self.broadcast.add_local(1);
            } else {
                self.multicast.add_local(1);
            }
        }
        self.sizes[class_of(data.len())].add_local(1);
    }

    /// Counts a packet that did not.
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
