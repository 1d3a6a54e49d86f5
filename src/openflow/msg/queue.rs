//! Queues of ports: configuration and statistics.

use super::port::{duration, put_duration};
use crate::codec::header::Multipart;
use crate::codec::prop;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::Duration;
use crate::version::Version;
use flow::OfPort;

/// "All queues".
pub const QUEUE_ALL: u32 = u32::MAX;

/// Properties, by both forms.
const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;
/// No such rate.
const UNSET: u16 = u16::MAX;

/// Which queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRequest {
    /// Of this port; [`OfPort::NONE`]: of all.
    pub port: OfPort,
    /// This one, or [`QUEUE_ALL`].
    pub queue: u32,
}

impl QueueRequest {
    /// Reads a request for configuration.
    pub(super) fn decode_config(raw: Raw, r: &mut Reader<'_>) -> Decode<Self> {
        let mut queue = QUEUE_ALL;
        let port = match raw {
            Raw::Ofpt10QueueGetConfigRequest => OfPort(r.u16()?),
            Raw::Ofpt11QueueGetConfigRequest => port_from_11(r.u32()?)?,
            _ => {
                let port = port_from_11(r.u32()?)?;
                queue = r.u32()?;
                return Ok(Self { port, queue });
            }
        };
        let all = raw == Raw::Ofpt11QueueGetConfigRequest && port == OfPort::NONE;
        if port.0 >= OfPort::MAX.0 && !all {
            return Err(OfpError::OFPQOFC_BAD_PORT);
        }
        Ok(Self { port, queue })
    }

    pub(super) fn put_config(self, b: &mut Vec<u8>, version: Version) {
        match version {
            Version::V10 => b.u16(self.port.0),
            _ => b.u32(self.port.to_ofp11()),
        }
        match version {
            Version::V10 => b.zeros(2),
            Version::V11 | Version::V12 | Version::V13 => b.zeros(4),
            _ => b.u32(self.queue),
        }
    }

    /// Reads a request for statistics.
    pub(super) fn decode_stats(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let port = if version == Version::V10 {
            let port = OfPort(r.u16()?);
            r.skip(2)?;
            // OpenFlow 1.0 says "all" for "any".
            if port == OfPort::ALL {
                OfPort::NONE
            } else {
                port
            }
        } else {
            port_from_11(r.u32()?)?
        };
        let queue = r.u32()?;
        Ok(Self { port, queue })
    }

    pub(super) fn put_stats(self, b: &mut Vec<u8>, version: Version) {
        if version == Version::V10 {
            let any = self.port == OfPort::NONE;
            b.u16(if any { OfPort::ALL.0 } else { self.port.0 });
            b.zeros(2);
        } else {
            b.u32(self.port.to_ofp11());
        }
        b.u32(self.queue);
    }
}

/// What a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Its port.
    pub port: OfPort,
    /// Its number.
    pub queue: u32,
    /// Guaranteed share of the port, in 1/10 percent.
    pub min_rate: Option<u16>,
    /// Highest share of the port, in 1/10 percent.
    pub max_rate: Option<u16>,
}

/// The queues of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfigReply {
    /// The port (before 1.4).
    pub port: OfPort,
    /// Its queues (1.4: of any port).
    pub queues: Vec<QueueConfig>,
}

impl QueueConfigReply {
    pub(super) fn decode(raw: Raw, version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let port = match raw {
            Raw::Ofpt10QueueGetConfigReply => {
                let port = OfPort(r.u16()?);
                r.skip(6)?;
                port
            }
            Raw::Ofpt11QueueGetConfigReply => {
                let port = port_from_11(r.u32()?)?;
                r.skip(4)?;
                port
            }
            _ => OfPort::NONE,
        };
        let mut queues = Vec::new();
        while !r.is_empty() {
            queues.push(match raw {
                Raw::Ofpst14QueueDescReply => QueueConfig::decode14(r)?,
                _ => QueueConfig::decode10(port, version, r)?,
            });
        }
        Ok(Self { port, queues })
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::Ofpt10QueueGetConfigReply,
            Version::V14 | Version::V15 => Raw::Ofpst14QueueDescReply,
            _ => Raw::Ofpt11QueueGetConfigReply,
        }
    }

    /// The body of a reply before OpenFlow 1.4.
    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        if version == Version::V10 {
            b.u16(self.port.0);
            b.zeros(6);
        } else {
            b.u32(self.port.to_ofp11());
            b.zeros(4);
        }
        for queue in &self.queues {
            queue.put10(b, version);
        }
    }
}

impl QueueConfig {
    fn decode10(port: OfPort, version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let old = version < Version::V12;
        let fixed = if old { 8 } else { 16 };
        let queue = r.u32()?;
        r.skip(if old { 0 } else { 4 })?;
        let len = usize::from(r.u16()?);
        r.skip(if old { 2 } else { 6 })?;
        if !len.is_multiple_of(8) {
            return Err(bad);
        }
        let body = len.checked_sub(fixed).and_then(|n| r.try_take(n));
        let mut body = Reader::new(body.ok_or(bad)?);
        let mut config = Self {
            port,
            queue,
            min_rate: None,
            max_rate: None,
        };
        while !body.is_empty() {
            let (ty, len) = (body.u16()?, usize::from(body.u16()?));
            let data = len.checked_sub(4).and_then(|n| body.try_take(n));
            let data = data.filter(|_| len >= 8 && len.is_multiple_of(8));
            let data = data.ok_or(bad)?;
            if matches!(ty, MIN_RATE | MAX_RATE) {
                let &[_, _, _, _, hi, lo, ..] = data else {
                    return Err(bad);
                };
                if len != 16 {
                    return Err(bad);
                }
                config.set(ty, u16::from_be_bytes([hi, lo]));
            }
        }
        Ok(config)
    }

    fn decode14(r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let (port, queue) = (port_from_11(r.u32()?)?, r.u32()?);
        let len = usize::from(r.u16()?);
        r.skip(6)?;
        if !len.is_multiple_of(8) {
            return Err(bad);
        }
        let body = len.checked_sub(16).and_then(|n| r.try_take(n));
        let mut body = Reader::new(body.ok_or(bad)?);
        let mut config = Self {
            port,
            queue,
            min_rate: None,
            max_rate: None,
        };
        while !body.is_empty() {
            let p = prop::pull(&mut body, prop::EXPERIMENTER)?;
            if matches!(p.ty, MIN_RATE | MAX_RATE) {
                config.set(p.ty, p.u16()?);
            }
        }
        Ok(config)
    }

    fn set(&mut self, ty: u16, rate: u16) {
        let slot = match ty {
            MIN_RATE => &mut self.min_rate,
            _ => &mut self.max_rate,
        };
        *slot = Some(rate).filter(|&rate| rate != UNSET);
    }

    fn rates(&self) -> impl Iterator<Item = (u16, u16)> {
        let both = [(MIN_RATE, self.min_rate), (MAX_RATE, self.max_rate)];
        both.into_iter().filter_map(|(ty, rate)| Some((ty, rate?)))
    }

    fn put10(&self, b: &mut Vec<u8>, version: Version) {
        let old = version < Version::V12;
        let at = b.len();
        b.u32(self.queue);
        if !old {
            b.u32(self.port.to_ofp11());
        }
        let len_at = b.len();
        b.zeros(if old { 4 } else { 8 });
        for (ty, rate) in self.rates() {
            b.u16(ty);
            b.u16(16);
            b.zeros(4);
            b.u16(rate);
            b.zeros(6);
        }
        let len = b.len() - at;
        b.set_u16(len_at, len);
    }

    fn put14(&self, b: &mut Vec<u8>) {
        let at = b.len();
        b.u32(self.port.to_ofp11());
        b.u32(self.queue);
        b.zeros(8);
        for (ty, rate) in self.rates() {
            prop::put_u16(b, ty, rate);
        }
        let len = b.len() - at;
        b.set_u16(at + 8, len);
    }
}

/// Statistics of a queue; `u64::MAX`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueStats {
    /// Its port.
    pub port: OfPort,
    /// Its number.
    pub queue: u32,
    /// Octets sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets dropped.
    pub tx_errors: u64,
    /// Age.
    pub duration: Duration,
}

impl QueueStats {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        if version < Version::V14 {
            return Self::fixed(version, r);
        }
        let len = usize::from(r.u16()?);
        let mut body = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
        body.skip(6)?;
        // There are no properties yet.
        Self::fixed(version, &mut body)
    }

    fn fixed(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let port = if version == Version::V10 {
            let port = OfPort(r.u16()?);
            r.skip(2)?;
            port
        } else {
            port_from_11(r.u32()?)?
        };
        Ok(Self {
            port,
            queue: r.u32()?,
            tx_bytes: r.u64()?,
            tx_packets: r.u64()?,
            tx_errors: r.u64()?,
            duration: match version {
                Version::V10 | Version::V11 | Version::V12 => Duration::UNKNOWN,
                _ => duration(r)?,
            },
        })
    }

    fn put(&self, b: &mut Vec<u8>, version: Version) {
        if version >= Version::V14 {
            b.u16(48);
            b.zeros(6);
        }
        if version == Version::V10 {
            b.u16(self.port.0);
            b.zeros(2);
        } else {
            b.u32(self.port.to_ofp11());
        }
        b.u32(self.queue);
        b.u64(self.tx_bytes);
        b.u64(self.tx_packets);
        b.u64(self.tx_errors);
        if version >= Version::V13 {
            put_duration(b, self.duration);
        }
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::Ofpst10QueueReply,
            Version::V11 | Version::V12 => Raw::Ofpst11QueueReply,
            Version::V13 => Raw::Ofpst13QueueReply,
            _ => Raw::Ofpst14QueueReply,
        }
    }
}

impl Multipart {
    /// Adds a queue's configuration (1.4 and up).
    pub fn push_queue_config(&mut self, config: &QueueConfig) {
        self.push(|b| config.put14(b));
    }
    /// Adds a queue's statistics.
    pub fn push_queue_stats(&mut self, stats: &QueueStats) {
        let version = self.version();
        self.push(|b| stats.put(b, version));
    }
}
