//! Meters, as a datapath knows them: numbers, rates, counters. Who may use which, and flags that only matter to
//! controllers, are somebody else's business.

/// A band: what exceeds it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterBand {
    /// Packets a second, or kilobits a second.
    pub rate: u32,
    /// Packets, or kilobits; 0 for as much as a second's rate.
    pub burst: u32,
}

/// A meter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeterConfig {
    /// Counts packets rather than kilobits.
    pub packets: bool,
    /// At most [`MeterLimits::bands_max`].
    pub bands: Vec<MeterBand>,
}

/// What a meter counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeterCounts {
    /// Packets that came to it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets and bytes dropped by each band.
    pub bands: Vec<(u64, u64)>,
}

/// How many there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterLimits {
    /// Meters of the datapath, numbered from 0. 0: it has none.
    pub meters_max: u32,
    /// Bands of a meter.
    pub bands_max: u8,
}
