//! OpenFlow versions, and the protocols (version and flow format) a connection can speak.

use std::fmt;

/// An OpenFlow version, by its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// OpenFlow 1.0
    V10 = 1,
    /// OpenFlow 1.1
    V11 = 2,
    /// OpenFlow 1.2
    V12 = 3,
    /// OpenFlow 1.3
    V13 = 4,
    /// OpenFlow 1.4
    V14 = 5,
    /// OpenFlow 1.5
    V15 = 6,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 6] = [
        Self::V10,
        Self::V11,
        Self::V12,
        Self::V13,
        Self::V14,
        Self::V15,
    ];

    /// The version with this number on the wire.
    #[must_use]
    pub fn from_wire(n: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&v| v as u8 == n)
    }
    /// The number on the wire.
    #[must_use]
    pub const fn wire(self) -> u8 {
        self as u8
    }
    /// The digit after "1.".
    #[must_use]
    pub const fn minor(self) -> u8 {
        self as u8 - 1
    }
    /// Its bit in a HELLO bitmap.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
    /// From the name in `Bridge.protocols` and `-O`, e.g. `OpenFlow13`; letter case is ignored.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|v| v.name().eq_ignore_ascii_case(name))
    }
    /// The name in `Bridge.protocols` and `-O`, e.g. `OpenFlow13`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V10 => "OpenFlow10",
            Self::V11 => "OpenFlow11",
            Self::V12 => "OpenFlow12",
            Self::V13 => "OpenFlow13",
            Self::V14 => "OpenFlow14",
            Self::V15 => "OpenFlow15",
        }
    }
    /// The newest version that both bitmaps have.
    #[must_use]
    pub fn negotiate(ours: u32, theirs: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .rev()
            .find(|v| v.bit() & ours & theirs != 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

bitflags::bitflags! {
    /// Flow protocols: an OpenFlow version with, in 1.0, the flow format (standard or NXM) and whether
    /// flow mods carry a table id.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Protocols: u16 {
        /// 1.0, standard match.
        const OF10_STD = 1;
        /// 1.0, standard match, table ids.
        const OF10_STD_TID = 1 << 1;
        /// 1.0, NXM.
        const OF10_NXM = 1 << 2;
        /// 1.0, NXM, table ids.
        const OF10_NXM_TID = 1 << 3;
        /// 1.1.
        const OF11_STD = 1 << 4;
        /// 1.2.
        const OF12_OXM = 1 << 5;
        /// 1.3.
        const OF13_OXM = 1 << 6;
        /// 1.4.
        const OF14_OXM = 1 << 7;
        /// 1.5.
        const OF15_OXM = 1 << 8;
        /// Every form of 1.0.
        const OF10_ANY = 0x00f;
        /// NXM in 1.0.
        const NXM_ANY = 0x00c;
        /// 1.1 and later.
        const OF11_UP = 0x1f0;
        /// 1.2 and later.
        const OF12_UP = 0x1e0;
        /// 1.3 and later.
        const OF13_UP = 0x1c0;
        /// 1.5.
        const OF15_UP = 0x100;
        /// NXM, and 1.1 and later.
        const NXM_OF11_UP = 0x1fc;
        /// NXM or OXM.
        const NXM_OXM_ANY = 0x1ec;
        /// Those whose flow mods carry a table id.
        const TID = 0x1fa;
    }
}

impl Protocols {
    /// The protocol in force when a connection has just negotiated `version`.
    #[must_use]
    pub const fn initial(version: Version) -> Self {
        match version {
            Version::V10 => Self::OF10_STD,
            Version::V11 => Self::OF11_STD,
            Version::V12 => Self::OF12_OXM,
            Version::V13 => Self::OF13_OXM,
            Version::V14 => Self::OF14_OXM,
            Version::V15 => Self::OF15_OXM,
        }
    }
    /// The version of a single protocol (of a set: of its oldest).
    #[must_use]
    pub fn version(self) -> Version {
        match self.bits().trailing_zeros() {
            0..=3 => Version::V10,
            4 => Version::V11,
            5 => Version::V12,
            6 => Version::V13,
            7 => Version::V14,
            _ => Version::V15,
        }
    }
    /// The same protocol with the table id extension of 1.0 on or off.
    #[must_use]
    pub fn with_tid(self, on: bool) -> Self {
        match (self, on) {
            (Self::OF10_STD, true) => Self::OF10_STD_TID,
            (Self::OF10_STD_TID, false) => Self::OF10_STD,
            (Self::OF10_NXM, true) => Self::OF10_NXM_TID,
            (Self::OF10_NXM_TID, false) => Self::OF10_NXM,
            (other, _) => other,
        }
    }
    /// The same protocol with the flow format of 1.0 set to NXM or standard.
    #[must_use]
    pub fn with_nxm(self, on: bool) -> Self {
        let tid = self.intersects(Self::TID);
        match (self.intersects(Self::OF10_ANY), on) {
            (true, true) => Self::OF10_NXM.with_tid(tid),
            (true, false) => Self::OF10_STD.with_tid(tid),
            (false, _) => self,
        }
    }
    /// The text `ovs-ofctl` prints for one protocol, e.g. `NXM+table_id`.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::OF10_STD => "OpenFlow10-table_id",
            Self::OF10_STD_TID => "OpenFlow10+table_id",
            Self::OF10_NXM => "NXM-table_id",
            Self::OF10_NXM_TID => "NXM+table_id",
            Self::OF11_STD => "OpenFlow11",
            Self::OF12_OXM => "OXM-OpenFlow12",
            Self::OF13_OXM => "OXM-OpenFlow13",
            Self::OF14_OXM => "OXM-OpenFlow14",
            Self::OF15_OXM => "OXM-OpenFlow15",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_takes_the_newest_common() {
        assert_eq!(Version::negotiate(0x7e, 0x12), Some(Version::V13));
        assert_eq!(Version::negotiate(0x02, 0x10), None);
        assert_eq!(Version::negotiate(0x7e, u32::MAX), Some(Version::V15));
    }

    #[test]
    fn protocols_keep_their_version() {
        for v in Version::ALL {
            assert_eq!(Protocols::initial(v).version(), v);
        }
        let p = Protocols::OF10_STD.with_tid(true).with_nxm(true);
        assert_eq!(p, Protocols::OF10_NXM_TID);
        assert_eq!(Protocols::OF13_OXM.with_nxm(true), Protocols::OF13_OXM);
    }
}
