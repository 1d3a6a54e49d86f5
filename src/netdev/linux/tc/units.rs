//! The kernel scheduler's units: ticks, and tables of how long packets take at a rate.

use base::sync::OnceLock;

/// Bytes of a rate table: 256 times in ticks.
pub(super) const TABLE_BYTES: usize = 1024;
/// The shortest packet, bytes.
const MPU: u16 = 64;
/// Largest packet that tables are made for where the device does not say, bytes.
const PAYLOAD_MAX: u32 = 1500;

/// What `/proc/net/psched` says: four hexadecimal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// Ticks in a second.
    ticks_per_s: u64,
    /// Jiffies in a second, or a very large number where timers are that fine.
    buffer_hz: u64,
}

impl Scale {
    /// This kernel's.
    pub(super) fn of_kernel() -> Self {
        static SCALE: OnceLock<Scale> = OnceLock::new();
        *SCALE.get_or_init(|| {
            let text = std::fs::read_to_string("/proc/net/psched").unwrap_or_default();
            Self::parse(&text).unwrap_or_else(|| {
                tracing::warn!(target: "netdev_linux", "/proc/net/psched: invalid scheduler parameters");
                Self {
                    ticks_per_s: 1,
                    buffer_hz: 100,
                }
            })
        })
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace();
        let mut next = || {
            u64::from_str_radix(numbers.next()?, 16)
                .ok()
                .filter(|n| *n > 0)
        };
        let (a, b, c, d) = (next()?, next()?, next()?, next()?);
        Some(Self {
            ticks_per_s: a.checked_mul(c)? / b,
            buffer_hz: if c == 1_000_000 { d } else { 100 },
        })
    }

    /// Ticks that `size` bytes take at `rate` bytes a second.
    pub(super) fn ticks(self, rate: u64, size: u64) -> u32 {
        let n = u128::from(self.ticks_per_s) * u128::from(size);
        let n = n.checked_div(u128::from(rate)).unwrap_or(0);
        u32::try_from(n).unwrap_or(u32::MAX)
    }
    /// As [`Scale::ticks`], for 64 bits of them.
    pub(super) fn ticks64(self, rate: u64, size: u64) -> u64 {
        let n = u128::from(self.ticks_per_s) * u128::from(size);
        let n = n.checked_div(u128::from(rate)).unwrap_or(0);
        u64::try_from(n).unwrap_or(u64::MAX)
    }
    /// Bytes that pass in `ticks` at `rate` bytes a second.
    pub(super) fn bytes(self, rate: u64, ticks: u32) -> u64 {
        let n = u128::from(rate) * u128::from(ticks) / u128::from(self.ticks_per_s.max(1));
        u64::try_from(n).unwrap_or(u64::MAX)
    }
    /// Ticks in `us` microseconds.
    pub(super) fn ticks_of_us(self, us: u32) -> u32 {
        let n = u128::from(self.ticks_per_s) * u128::from(us) / 1_000_000;
        u32::try_from(n).unwrap_or(u32::MAX)
    }
    /// Microseconds in `ticks`.
    pub(super) fn us_of_ticks(self, ticks: u32) -> u32 {
        let n = u128::from(ticks) * 1_000_000 / u128::from(self.ticks_per_s.max(1));
        u32::try_from(n).unwrap_or(u32::MAX)
    }
    /// The depth of a token bucket, ticks: a burst, but at least what passes in a jiffy and one packet.
    pub(super) fn buffer(self, rate: u64, mtu: u32, burst: u64) -> u32 {
        let least = rate / self.buffer_hz + u64::from(mtu);
        self.ticks(rate, burst.max(least))
    }
}

/// Packets of up to `mtu` (and headers) are told apart in 256 steps of 2^n bytes: that n.
fn cell_log(mtu: u32) -> u8 {
    let mtu = if mtu == 0 { PAYLOAD_MAX } else { mtu };
    let bytes = mtu.saturating_add(14 + 4);
    (u32::BITS - bytes.leading_zeros()).saturating_sub(8) as u8
}

/// `struct tc_ratespec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Bytes a second.
    pub(super) rate: u64,
    cell_log: u8,
}

impl Rate {
    pub(super) fn new(rate: u64, mtu: u32) -> Self {
        Self {
            rate,
            cell_log: cell_log(mtu),
        }
    }
    /// The struct; rates that do not fit it are said in an attribute of their own.
    pub(super) fn bytes(self) -> [u8; 12] {
        let mut out = [0; 12];
        out[0] = self.cell_log;
        out[6..8].copy_from_slice(&MPU.to_ne_bytes());
        out[8..].copy_from_slice(&u32::try_from(self.rate).unwrap_or(u32::MAX).to_ne_bytes());
        out
    }
    /// True when the struct cannot hold the rate.
    pub(super) const fn is_wide(self) -> bool {
        self.rate > u32::MAX as u64
    }
    /// The table of how long packets take.
    pub(super) fn table(self, scale: Scale) -> Vec<u8> {
        let cells = 1..=TABLE_BYTES as u64 / 4;
        let size = |cell: u64| (cell << self.cell_log).max(u64::from(MPU));
        cells
            .flat_map(|cell| scale.ticks(self.rate, size(cell)).to_ne_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_seen_in_the_wild() {
        let of = |text| Scale::parse(text).map(|s| (s.ticks_per_s, s.buffer_hz));
        assert_eq!(
            of("000c8000 000f4240 000f4240 00000064\n"),
            Some((819_200, 100))
        );
        assert_eq!(
            of("000003e8 00000040 000f4240 3b9aca00"),
            Some((15_625_000, 1_000_000_000))
        );
        assert_eq!(
            of("000003e8 00000040 000f4240 000000f9"),
            Some((15_625_000, 249))
        );
        for text in ["", "0 1 2 3", "x y z w", "1 2 3", "ffffffffffffffff 1 ff 1"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert!(Scale::of_kernel().ticks_per_s > 1);
    }

    #[test]
    fn ticks_and_bytes_are_each_others_inverse() {
        let scale = Scale {
            ticks_per_s: 15_625_000,
            buffer_hz: 1_000_000_000,
        };
        assert_eq!(scale.ticks(250_000, 375_000), 23_437_500);
        assert_eq!(scale.bytes(250_000, 23_437_500), 375_000);
        assert_eq!(scale.ticks(0, 5), 0);
        assert_eq!(scale.ticks(1, u64::MAX), u32::MAX);
        assert_eq!(scale.us_of_ticks(scale.ticks_of_us(2_000_000)), 2_000_000);
        assert_eq!(scale.buffer(250_000, 1500, 0), scale.ticks(250_000, 1500));
    }

    #[test]
    fn tables_cover_the_largest_packet() {
        assert_eq!(
            [0, 100, 237, 238, 1500, 9000, 65_535].map(cell_log),
            [3, 0, 0, 1, 3, 6, 9]
        );
        for mtu in [68, 1500, 9000, 65_535] {
            let cells = (mtu + 18) >> cell_log(mtu);
            assert!(cells < 256, "{mtu}: {cells}");
        }
        let rate = Rate::new(125_000, 1500);
        let scale = Scale {
            ticks_per_s: 15_625_000,
            buffer_hz: 100,
        };
        let table = rate.table(scale);
        assert_eq!(table.len(), TABLE_BYTES);
        // The first cells stand for packets shorter than the shortest: 64 bytes take 512 us, 8000 ticks.
        assert_eq!(table[..4], 8000u32.to_ne_bytes());
        assert_eq!(table[1020..], 256_000u32.to_ne_bytes());
        assert_eq!(rate.bytes()[8..], 125_000u32.to_ne_bytes());
        assert!(Rate::new(1 << 33, 1500).is_wide());
    }
}
