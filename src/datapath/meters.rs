//! [`Meters`]: what a datapath lets through of each meter.
//!
//! A meter is shared by all packet threads, since its rate is that of all of them together: it is locked once
//! for a batch, and for no longer than counting takes. Finding it takes no lock. Time comes from the packet thread,
//! in whole milliseconds: a batch that is older than the one before it adds nothing.
//!
//! A band has a bucket that fills with time and is emptied by packets, in thousandths of packets or in bits. A
//! packet that some bucket has no room for is dropped, and counted by the fastest of those bands.

use crate::limits::{METER_BANDS_MAX, METERS_MAX};
use base::clock::Nanos;
use base::sync::{Arc, ArcSwap, Mutex, lock};
use dpif::{DpifError, MeterConfig, MeterCounts, MeterLimits};
use std::collections::BTreeMap;

/// What one packet takes from a bucket that counts packets.
const PACKET: u64 = 1000;

#[derive(Debug)]
struct Band {
    /// What comes in each millisecond.
    rate: u32,
    full: u64,
    level: u64,
    dropped: (u64, u64),
}

#[derive(Debug)]
struct State {
    bands: Vec<Band>,
    used: Nanos,
    packets: u64,
    bytes: u64,
}

/// One meter.
#[derive(Debug)]
pub(crate) struct Meter {
    counts_packets: bool,
    state: Mutex<State>,
}

impl Meter {
    fn new(config: &MeterConfig, now: Nanos) -> Self {
        let bands = config.bands.iter().map(|b| {
            let burst = if b.burst == 0 { b.rate } else { b.burst };
            let full = u64::from(burst) * 1000;
            Band {
                rate: b.rate,
                full,
                level: full,
                dropped: (0, 0),
            }
        });
        Self {
            counts_packets: config.packets,
            state: Mutex::new(State {
                bands: bands.collect(),
                used: now,
                packets: 0,
                bytes: 0,
            }),
        }
    }

    /// Passes packets of these lengths, in order; `pass` is called with the verdict on each.
    pub(crate) fn run(
        &self,
        now: Nanos,
        lengths: impl Iterator<Item = usize>,
        mut pass: impl FnMut(bool),
    ) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let ms = now.millis().saturating_sub(state.used.millis());
        state.used = state.used.max(now);
        for band in &mut state.bands {
            let fresh = ms.saturating_mul(u64::from(band.rate));
            band.level = band.level.saturating_add(fresh).min(band.full);
        }
        for len in lengths {
            let bytes = len as u64;
            state.packets += 1;
            state.bytes += bytes;
            let cost = if self.counts_packets {
                PACKET
            } else {
                bytes * 8
            };
            let mut exceeded: Option<usize> = None;
            for i in 0..state.bands.len() {
                let band = &mut state.bands[i];
                if let Some(rest) = band.level.checked_sub(cost) {
                    band.level = rest;
                } else {
                    let rate = band.rate;
                    // Equal rates: the first.
                    if exceeded.is_none_or(|e| state.bands[e].rate < rate) {
                        exceeded = Some(i);
                    }
                }
            }
            if let Some(i) = exceeded {
                let dropped = &mut state.bands[i].dropped;
                dropped.0 += 1;
                dropped.1 += bytes;
            }
            pass(exceeded.is_none());
        }
    }

    fn counts(&self) -> MeterCounts {
        let state = lock(&self.state);
        MeterCounts {
            packets: state.packets,
            bytes: state.bytes,
            bands: state.bands.iter().map(|b| b.dropped).collect(),
        }
    }
}

/// All meters of a datapath, by number. Changed under `admin`-like care by control threads: each change
/// publishes a new map.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    published: ArcSwap<BTreeMap<u32, Arc<Meter>>>,
    /// Held while the map is changed.
    changing: Mutex<()>,
}

impl Meters {
    /// How many there can be.
    pub(crate) fn limits() -> MeterLimits {
        MeterLimits {
            meters_max: METERS_MAX,
            bands_max: METER_BANDS_MAX,
        }
    }

    /// The meter of this number.
    pub(crate) fn find(&self, id: u32) -> Option<Arc<Meter>> {
        self.published.load().get(&id).cloned()
    }

    pub(crate) fn set(&self, id: u32, config: &MeterConfig, now: Nanos) -> Result<(), DpifError> {
        if id >= METERS_MAX {
            return Err(DpifError::TooBig);
        }
        if config.bands.len() > usize::from(METER_BANDS_MAX) {
            return Err(DpifError::Invalid);
        }
        let meter = Arc::new(Meter::new(config, now));
        self.change(|map| map.insert(id, meter));
        Ok(())
    }

    pub(crate) fn get(&self, id: u32) -> Result<MeterCounts, DpifError> {
        self.find(id).map(|m| m.counts()).ok_or(DpifError::NoEntry)
    }

    pub(crate) fn del(&self, id: u32) -> Result<MeterCounts, DpifError> {
        let gone = self.change(|map| map.remove(&id));
        gone.map(|m| m.counts()).ok_or(DpifError::NoEntry)
    }

    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<u32, Arc<Meter>>) -> R) -> R {
        let _changing = lock(&self.changing);
        let mut map = (**self.published.load()).clone();
        let result = change(&mut map);
        self.published.store(Arc::new(map));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpif::MeterBand;

    fn meter(packets: bool, bands: &[(u32, u32)]) -> Meter {
        let bands = bands
            .iter()
            .map(|&(rate, burst)| MeterBand { rate, burst })
            .collect();
        Meter::new(&MeterConfig { packets, bands }, Nanos::ZERO)
    }

    fn passed(m: &Meter, ms: u64, lengths: &[usize]) -> Vec<bool> {
        let mut out = Vec::new();
        m.run(Nanos::from_millis(ms), lengths.iter().copied(), |p| {
            out.push(p)
        });
        out
    }

    #[test]
    fn packets_a_second() {
        let m = meter(true, &[(1, 1)]);
        assert_eq!(passed(&m, 0, &[60; 3]), [true, false, false]);
        assert_eq!(passed(&m, 999, &[60]), [false]);
        assert_eq!(passed(&m, 1000, &[60, 60]), [true, false]);
        assert_eq!(
            passed(&m, 100_000, &[60, 60]),
            [true, false],
            "no more than the burst"
        );
        assert_eq!(
            passed(&m, 50_000, &[60]),
            [false],
            "time that goes back adds nothing"
        );
        assert_eq!(m.counts().packets, 9);
        assert_eq!(m.counts().bands, [(6, 360)]);
    }

    #[test]
    fn kilobits_a_second() {
        // 2000 bits at once, one bit a millisecond: four packets of 480 bits leave 80.
        let m = meter(false, &[(1, 2)]);
        assert_eq!(passed(&m, 0, &[60; 5]), [true, true, true, true, false]);
        assert_eq!(passed(&m, 870, &[60, 60]), [true, false], "950 bits");
        assert_eq!(passed(&m, 880, &[60]), [true], "480 bits, to the last");
        assert_eq!(passed(&m, 880, &[1]), [false]);
    }

    #[test]
    fn the_fastest_exceeded_band_counts() {
        let m = meter(true, &[(1, 1), (3, 2), (3, 2)]);
        assert_eq!(passed(&m, 0, &[10; 4]), [true, false, false, false]);
        assert_eq!(m.counts().bands, [(1, 10), (2, 20), (0, 0)]);
        let none = meter(true, &[]);
        assert_eq!(passed(&none, 0, &[10; 2]), [true, true]);
        let zero = meter(true, &[(0, 0)]);
        assert_eq!(passed(&zero, 5000, &[10]), [false]);
    }

    #[test]
    fn numbers_and_limits() {
        let all = Meters::default();
        let config = MeterConfig::default();
        assert_eq!(
            all.set(METERS_MAX, &config, Nanos::ZERO),
            Err(DpifError::TooBig)
        );
        let many = MeterConfig {
            packets: true,
            bands: vec![MeterBand { rate: 1, burst: 1 }; usize::from(METER_BANDS_MAX) + 1],
        };
        assert_eq!(all.set(0, &many, Nanos::ZERO), Err(DpifError::Invalid));
        assert_eq!(all.set(7, &config, Nanos::ZERO), Ok(()));
        assert!(all.get(7).is_ok() && all.del(7).is_ok());
        assert_eq!(
            (all.get(7), all.del(7)),
            (Err(DpifError::NoEntry), Err(DpifError::NoEntry))
        );
    }
}
