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
        // Most lines of most keys are empty: those that are not, each with its number.
        let lines = key.lines().iter().zip(1..);
        for (line, number) in lines.filter(|(line, _)| **line != [0; 8]) {
            (a, b) = (a ^ number, b.wrapping_add(number));
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

impl std::str::FromStr for Ufid {
    type Err = ();
    /// Reads what [`std::fmt::Display`] writes, with or without `ufid:` in front.
    fn from_str(s: &str) -> Result<Self, ()> {
        let s = s.strip_prefix("ufid:").unwrap_or(s);
        let mut value = 0u128;
        let mut parts = s.split('-');
        for len in [8, 4, 4, 4, 12] {
            let part = parts.next().filter(|p| p.len() == len).ok_or(())?;
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(());
            }
            let n = u128::from_str_radix(part, 16).map_err(|_| ())?;
            value = value << (len * 4) | n;
        }
        match parts.next() {
            None => Ok(Self(value)),
            Some(_) => Err(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn text_is_read_back(n: u128) {
            let text = Ufid(n).to_string();
            proptest::prop_assert_eq!(text.parse(), Ok(Ufid(n)));
            proptest::prop_assert_eq!(format!("ufid:{text}").parse(), Ok(Ufid(n)));
            proptest::prop_assert!(text[1..].parse::<Ufid>().is_err());
            proptest::prop_assert!(text.replace('-', "+").parse::<Ufid>().is_err());
        }
    }

    #[test]
    fn keys_that_differ_in_a_word_or_its_place_are_told_apart() {
        let mut seen = std::collections::HashSet::new();
        let mut key = flow::Flow::zero();
        seen.insert(Ufid::of(&key));
        for n in 0..flow::FLOW_LINES * 8 {
            for value in [1, 2, u64::MAX] {
                key.lines_mut()[n / 8][n % 8] = value;
                assert!(seen.insert(Ufid::of(&key)), "word {n}");
            }
            key.lines_mut()[n / 8][n % 8] = 0;
        }
        assert!(seen.contains(&Ufid::of(&key)));
    }
}
