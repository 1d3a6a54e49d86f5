//! Flow identity and statistics.

/// The unique id of a datapath flow: a 128-bit hash of its unmasked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ufid(pub u128);

impl Ufid {
    /// The id of a key (`flow` masked or not, as installed) under a process-wide random seed.
    #[must_use]
    pub fn of(key: &flow::Flow) -> Self {
        let seed = base::hash::process_seed();
        let (mut a, mut b) = (seed, seed.rotate_left(17) ^ 0xa5a5_5a5a_1234_8765);
        for line in key.lines() {
            for &w in line {
                a = base::hash::mix(a, w);
                b = base::hash::mix(b, w.rotate_left(21));
            }
        }
        Self(u128::from(base::hash::finish(a)) << 64 | u128::from(base::hash::finish(b)))
    }
}

impl std::fmt::Display for Ufid {
    /// `ufid:` is not part of it: 8-4-4-4-12 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            v >> 80 & 0xffff,
            v >> 64 & 0xffff,
            v >> 48 & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

/// Counters of a datapath flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowStats {
    /// Packets.
    pub n_packets: u64,
    /// Bytes.
    pub n_bytes: u64,
    /// When the last packet was seen; `None` for never.
    pub used: Option<base::clock::Nanos>,
    /// All TCP flags seen.
    pub tcp_flags: u16,
}
