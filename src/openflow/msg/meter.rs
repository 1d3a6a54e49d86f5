//! Meters (OpenFlow 1.3 and up).

use super::port::{duration, put_duration};
use crate::codec::header::Multipart;
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::flow_mod::Duration;

/// Highest number of a real meter.
pub const METER_MAX: u32 = 0xffff_0000;
/// The meter of packets that go to userspace.
pub const METER_SLOWPATH: u32 = 0xffff_fffd;
/// The meter of packets that go to controllers.
pub const METER_CONTROLLER: u32 = 0xffff_fffe;
/// "All meters" in requests and deletions.
pub const METER_ALL: u32 = 0xffff_ffff;

/// Octets of a band: all known kinds are of the same length.
const BAND: u16 = 16;
const DROP: u16 = 1;
const DSCP_REMARK: u16 = 2;

bitflags::bitflags! {
    /// Flags of a meter.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MeterFlags: u16 {
        /// Rates are in kb/s.
        const KBPS = 1;
        /// Rates are in packets per second.
        const PKTPS = 1 << 1;
        /// Bands have burst sizes.
        const BURST = 1 << 2;
        /// Counts.
        const STATS = 1 << 3;
    }
}

/// What happens above a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterBand {
    /// Remark DSCP by so many levels; `None`: drop.
    pub remark: Option<u8>,
    /// Rate in the meter's unit.
    pub rate: u32,
    /// Burst, in kb or packets.
    pub burst_size: u32,
}

/// A meter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeterConfig {
    /// Number.
    pub meter_id: u32,
    /// Flags.
    pub flags: MeterFlags,
    /// Bands.
    pub bands: Vec<MeterBand>,
}

/// What a meter mod does (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MeterCommand {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

/// Changes a meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterCommand,
    /// The meter; for deletion only its number, or [`METER_ALL`].
    pub meter: MeterConfig,
}

/// Reads all of `r` as bands.
fn bands(mut r: Reader<'_>) -> Decode<Vec<MeterBand>> {
    let mut bands = Vec::new();
    while !r.is_empty() {
        let (ty, len) = (r.u16()?, r.u16()?);
        if len != BAND {
            return Err(OfpError::OFPBRC_BAD_LEN);
        }
        let (rate, burst_size, level) = (r.u32()?, r.u32()?, r.u8()?);
        r.skip(3)?;
        let remark = match ty {
            DROP => None,
            DSCP_REMARK => Some(level),
            _ => return Err(OfpError::OFPMMFC_BAD_BAND),
        };
        bands.push(MeterBand {
            remark,
            rate,
            burst_size,
        });
    }
    Ok(bands)
}

fn put_bands(b: &mut Vec<u8>, bands: &[MeterBand]) {
    for band in bands {
        b.u16(match band.remark {
            None => DROP,
            Some(_) => DSCP_REMARK,
        });
        b.u16(BAND);
        b.u32(band.rate);
        b.u32(band.burst_size);
        b.u8(band.remark.unwrap_or(0));
        b.zeros(3);
    }
}

impl MeterMod {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let command = match r.u16()? {
            0 => MeterCommand::Add,
            1 => MeterCommand::Modify,
            2 => MeterCommand::Delete,
            _ => return Err(OfpError::OFPMMFC_BAD_COMMAND),
        };
        let (flags, meter_id) = (r.u16()?, r.u32()?);
        let mut meter = MeterConfig {
            meter_id,
            ..MeterConfig::default()
        };
        if command != MeterCommand::Delete {
            meter.flags = MeterFlags::from_bits_retain(flags);
            if meter.flags.contains(MeterFlags::KBPS | MeterFlags::PKTPS) {
                return Err(OfpError::OFPMMFC_BAD_FLAGS);
            }
            meter.bands = bands(Reader::new(r.rest()))?;
        }
        Ok(Self { command, meter })
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        let delete = self.command == MeterCommand::Delete;
        b.u16(self.command as u16);
        b.u16(if delete { 0 } else { self.meter.flags.bits() });
        b.u32(self.meter.meter_id);
        put_bands(b, &self.meter.bands);
    }
}

impl MeterConfig {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let len = usize::from(r.u16()?);
        let mut body = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
        let (flags, meter_id) = (body.u16()?, body.u32()?);
        Ok(Self {
            meter_id,
            flags: MeterFlags::from_bits_retain(flags),
            bands: bands(body)?,
        })
    }
    fn put(&self, b: &mut Vec<u8>) {
        let at = b.len();
        b.u16(0);
        b.u16(self.flags.bits());
        b.u32(self.meter_id);
        put_bands(b, &self.bands);
        let len = b.len() - at;
        b.set_u16(at, len);
    }
}

/// Statistics of a meter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeterStats {
    /// The meter.
    pub meter_id: u32,
    /// Flows that use it.
    pub flow_count: u32,
    /// Packets in.
    pub packet_in_count: u64,
    /// Octets in.
    pub byte_in_count: u64,
    /// Age.
    pub duration: Duration,
    /// Packets and octets of each band.
    pub bands: Vec<(u64, u64)>,
}

impl MeterStats {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let (meter_id, len) = (r.u32()?, usize::from(r.u16()?));
        let mut body = Reader::new(len.checked_sub(6).and_then(|n| r.try_take(n)).ok_or(bad)?);
        body.skip(6)?;
        let flow_count = body.u32()?;
        let (packet_in_count, byte_in_count) = (body.u64()?, body.u64()?);
        let duration = duration(&mut body)?;
        let mut bands = Vec::new();
        while !body.is_empty() {
            bands.push((body.u64()?, body.u64()?));
        }
        Ok(Self {
            meter_id,
            flow_count,
            packet_in_count,
            byte_in_count,
            duration,
            bands,
        })
    }
    fn put(&self, b: &mut Vec<u8>) {
        let at = b.len();
        b.u32(self.meter_id);
        b.zeros(8);
        b.u32(self.flow_count);
        b.u64(self.packet_in_count);
        b.u64(self.byte_in_count);
        put_duration(b, self.duration);
        for &(packets, bytes) in &self.bands {
            b.u64(packets);
            b.u64(bytes);
        }
        let len = b.len() - at;
        b.set_u16(at + 4, len);
    }
}

/// What meters can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterFeatures {
    /// Meters there can be.
    pub max_meters: u32,
    /// Bit n: band type n (1 drop, 2 DSCP remark).
    pub band_types: u32,
    /// [`MeterFlags`] there can be.
    pub capabilities: u32,
    /// Bands a meter can have.
    pub max_bands: u8,
    /// Colors there are.
    pub max_color: u8,
}

impl MeterFeatures {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        Ok(Self {
            max_meters: r.u32()?,
            band_types: r.u32()?,
            capabilities: r.u32()?,
            max_bands: r.u8()?,
            max_color: r.u8()?,
        })
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.u32(self.max_meters);
        b.u32(self.band_types);
        b.u32(self.capabilities);
        b.u8(self.max_bands);
        b.u8(self.max_color);
        b.zeros(2);
    }
}

impl Multipart {
    /// Adds a meter's configuration.
    pub fn push_meter_config(&mut self, config: &MeterConfig) {
        self.push(|b| config.put(b));
    }
    /// Adds a meter's statistics.
    pub fn push_meter_stats(&mut self, stats: &MeterStats) {
        self.push(|b| stats.put(b));
    }
}
