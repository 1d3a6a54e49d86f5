//! Driver facts and link features by ethtool. Answers are flat structs of `linux/ethtool.h`, read by
//! their offsets.

use super::ioctl::ethtool;
use crate::device::LinkFeatures;
use std::io;
use std::os::fd::OwnedFd;

const ETHTOOL_GSET: u32 = 0x1;
const ETHTOOL_GDRVINFO: u32 = 0x3;

/// Words of `struct ethtool_drvinfo` and `struct ethtool_cmd`.
const DRVINFO_WORDS: usize = 49;
const CMD_WORDS: usize = 11;

/// Who drives a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Driver {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) firmware: String,
}

pub(super) fn driver(control: &OwnedFd, dev: &str) -> io::Result<Driver> {
    let mut words = [0u32; DRVINFO_WORDS];
    words[0] = ETHTOOL_GDRVINFO;
    ethtool(control, dev, &mut words)?;
    let text = |word: usize| {
        let bytes: Vec<u8> = words[word..word + 8]
            .iter()
            .flat_map(|w| w.to_ne_bytes())
            .take_while(|&b| b != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Driver {
        name: text(1),
        version: text(9),
        firmware: text(17),
    })
}

/// Bits of `LinkFeatures`, in the order of OpenFlow 1.1's `OFPPF_*`.
mod bit {
    pub(super) const F_10_HD: u32 = 1;
    pub(super) const F_10_FD: u32 = 1 << 1;
    pub(super) const F_100_HD: u32 = 1 << 2;
    pub(super) const F_100_FD: u32 = 1 << 3;
    pub(super) const F_1G_HD: u32 = 1 << 4;
    pub(super) const F_1G_FD: u32 = 1 << 5;
    pub(super) const F_10G_FD: u32 = 1 << 6;
    pub(super) const F_40G_FD: u32 = 1 << 7;
    pub(super) const F_100G_FD: u32 = 1 << 8;
    pub(super) const F_1T_FD: u32 = 1 << 9;
    pub(super) const F_OTHER: u32 = 1 << 10;
    pub(super) const F_COPPER: u32 = 1 << 11;
    pub(super) const F_FIBER: u32 = 1 << 12;
    pub(super) const F_AUTONEG: u32 = 1 << 13;
    pub(super) const F_PAUSE: u32 = 1 << 14;
    pub(super) const F_PAUSE_ASYM: u32 = 1 << 15;
}

/// ethtool's `SUPPORTED_*`/`ADVERTISED_*` bit numbers and what they mean to OpenFlow.
const MODES: &[(u32, u32)] = &[
    (0, bit::F_10_HD),
    (1, bit::F_10_FD),
    (2, bit::F_100_HD),
    (3, bit::F_100_FD),
    (4, bit::F_1G_HD),
    (5, bit::F_1G_FD),
    (6, bit::F_AUTONEG),
    (7, bit::F_COPPER),
    (10, bit::F_FIBER),
    (12, bit::F_10G_FD),
    (13, bit::F_PAUSE),
    (14, bit::F_PAUSE_ASYM),
    (17, bit::F_1G_FD),
    (18, bit::F_10G_FD),
    (19, bit::F_10G_FD),
    (20, bit::F_10G_FD),
    (23, bit::F_40G_FD),
    (24, bit::F_40G_FD),
    (25, bit::F_40G_FD),
    (26, bit::F_40G_FD),
];

fn modes(mask: u32) -> u32 {
    MODES
        .iter()
        .filter(|(n, _)| mask >> n & 1 == 1)
        .fold(0, |all, (_, bit)| all | bit)
}

/// The bit of a speed in Mbit/s, and whether it says the speed exactly.
fn speed_bit(mbps: u32, full: bool) -> u32 {
    match (mbps, full) {
        (10, false) => bit::F_10_HD,
        (10, true) => bit::F_10_FD,
        (100, false) => bit::F_100_HD,
        (100, true) => bit::F_100_FD,
        (1000, false) => bit::F_1G_HD,
        (1000, true) => bit::F_1G_FD,
        (10_000, _) => bit::F_10G_FD,
        (40_000, _) => bit::F_40G_FD,
        (100_000, _) => bit::F_100G_FD,
        (1_000_000, _) => bit::F_1T_FD,
        (0 | 0xffff_ffff | 0xffff, _) => 0,
        _ => bit::F_OTHER,
    }
}

pub(super) fn features(control: &OwnedFd, dev: &str) -> io::Result<LinkFeatures> {
    let mut words = [0u32; CMD_WORDS];
    words[0] = ETHTOOL_GSET;
    ethtool(control, dev, &mut words)?;
    Ok(parse(&words))
}

/// Reads a `struct ethtool_cmd`.
fn parse(words: &[u32; CMD_WORDS]) -> LinkFeatures {
    let byte = |at: usize| words[at / 4].to_ne_bytes()[at % 4];
    let half = |at: usize| u32::from(u16::from_ne_bytes([byte(at), byte(at + 1)]));
    let mbps = half(12) | half(28) << 16;
    let mut current = speed_bit(mbps, byte(14) == 1);
    current |= match byte(15) {
        0 => bit::F_COPPER,
        3 => bit::F_FIBER,
        _ => 0,
    };
    if byte(18) != 0 {
        current |= bit::F_AUTONEG;
    }
    LinkFeatures {
        current,
        advertised: modes(words[2]),
        supported: modes(words[1]),
        peer: 0,
        speed_mbps: if matches!(mbps, 0xffff_ffff | 0xffff) {
            0
        } else {
            mbps
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ten_gigabit_copper_link() {
        let mut words = [0u32; CMD_WORDS];
        words[1] = 1 << 7 | 1 << 12;
        words[3] = u32::from_ne_bytes([0x10, 0x27, 1, 0]); // speed 10000, full, twisted pair
        let f = parse(&words);
        assert_eq!(f.current, bit::F_10G_FD | bit::F_COPPER);
        assert_eq!(f.supported, bit::F_10G_FD | bit::F_COPPER);
        assert_eq!((f.advertised, f.speed_mbps), (0, 10_000));
    }

    #[test]
    fn an_unknown_speed_says_nothing() {
        let mut words = [0u32; CMD_WORDS];
        words[3] = u32::from_ne_bytes([0xff, 0xff, 0xff, 0xff]);
        words[7] = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
        assert_eq!(parse(&words), LinkFeatures::default());
    }
}
