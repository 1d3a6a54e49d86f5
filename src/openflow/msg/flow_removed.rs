//! Removed flows.

use super::flow_stats::known;
use super::port::{duration, put_duration};
use super::{DecodeCx, EncodeCx};
use crate::codec::oxs::{self, Oxs};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, match10, match11, nxm};
use crate::flow_mod::{ALL_TABLES, Duration};
use crate::version::{Protocols, Version};
use flow::Match;

/// Why a flow went (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RemovedReason {
    IdleTimeout,
    HardTimeout,
    Delete,
    GroupDelete,
    MeterDelete,
    Eviction,
    /// Another number.
    Other(u8),
}

impl RemovedReason {
    /// From the number.
    #[must_use]
    pub fn from_wire(n: u8) -> Self {
        match n {
            0 => Self::IdleTimeout,
            1 => Self::HardTimeout,
            2 => Self::Delete,
            3 => Self::GroupDelete,
            4 => Self::MeterDelete,
            5 => Self::Eviction,
            n => Self::Other(n),
        }
    }
    /// The number.
    #[must_use]
    pub fn wire(self) -> u8 {
        match self {
            Self::IdleTimeout => 0,
            Self::HardTimeout => 1,
            Self::Delete => 2,
            Self::GroupDelete => 3,
            Self::MeterDelete => 4,
            Self::Eviction => 5,
            Self::Other(n) => n,
        }
    }
}

/// A flow that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRemoved {
    /// Which packets it took.
    pub match_: Match,
    /// Priority.
    pub priority: u16,
    /// Cookie.
    pub cookie: u64,
    /// Why it went.
    pub reason: RemovedReason,
    /// Table; 255: the protocol does not say.
    pub table_id: u8,
    /// How old it was.
    pub duration: Duration,
    /// Its idle timeout, in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout, in seconds.
    pub hard_timeout: u16,
    /// Packets; `u64::MAX`: not known.
    pub packet_count: u64,
    /// Octets; `u64::MAX`: not known.
    pub byte_count: u64,
}

impl FlowRemoved {
    pub(super) fn decode(raw: Raw, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let mut match_ = Match::catchall();
        if raw == Raw::Ofpt15FlowRemoved {
            return Self::decode15(r, cx);
        }
        if raw == Raw::Ofpt10FlowRemoved {
            match_ = match10::decode(r)?;
        }
        let (cookie, priority) = (r.u64()?, r.u16()?);
        let (reason, mut table_id) = (r.u8()?, r.u8()?);
        let duration = duration(r)?;
        let (idle_timeout, mut hard_timeout) = (r.u16()?, r.u16()?);
        let (packet_count, byte_count) = (r.u64()?, r.u64()?);
        match raw {
            Raw::Ofpt10FlowRemoved => (table_id, hard_timeout) = (ALL_TABLES, 0),
            Raw::NxtFlowRemoved => {
                let len = usize::from(std::mem::take(&mut hard_timeout));
                match_ = nxm::decode_padded(r, len, cx.match_rules())?.0;
                // 0: not known; else one more than it is.
                table_id = table_id.wrapping_sub(1);
            }
            _ => match_ = match11::decode(r, cx.match_rules())?,
        }
        Ok(Self {
            match_,
            priority,
            cookie,
            reason: RemovedReason::from_wire(reason),
            table_id,
            duration,
            idle_timeout,
            hard_timeout,
            packet_count,
            byte_count,
        })
    }

    fn decode15(r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let (table_id, reason, priority) = (r.u8()?, r.u8()?, r.u16()?);
        let (idle_timeout, hard_timeout) = (r.u16()?, r.u16()?);
        let cookie = r.u64()?;
        let match_ = match11::decode(r, cx.match_rules())?;
        let oxs = oxs::decode(r)?;
        Ok(Self {
            match_,
            priority,
            cookie,
            reason: RemovedReason::from_wire(reason),
            table_id,
            duration: oxs.duration.unwrap_or(Duration::UNKNOWN),
            idle_timeout,
            hard_timeout,
            packet_count: oxs.packets.unwrap_or(u64::MAX),
            byte_count: oxs.bytes.unwrap_or(u64::MAX),
        })
    }

    pub(super) fn raw(cx: &EncodeCx<'_>) -> Raw {
        match cx.version() {
            Version::V15 => Raw::Ofpt15FlowRemoved,
            Version::V10 if cx.protocol.intersects(Protocols::NXM_ANY) => Raw::NxtFlowRemoved,
            Version::V10 => Raw::Ofpt10FlowRemoved,
            _ => Raw::Ofpt11FlowRemoved,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        let version = cx.version();
        let raw = Self::raw(cx);
        let reason = match self.reason {
            RemovedReason::MeterDelete if version < Version::V14 => RemovedReason::Delete.wire(),
            other => other.wire(),
        };
        if raw == Raw::Ofpt15FlowRemoved {
            return self.put15(b, reason);
        }
        if raw == Raw::Ofpt10FlowRemoved {
            match10::put(b, &self.match_);
        }
        let nx = raw == Raw::NxtFlowRemoved;
        let v10 = raw == Raw::Ofpt10FlowRemoved;
        b.u64(self.cookie);
        b.u16(self.priority);
        b.u8(reason);
        b.u8(match raw {
            Raw::Ofpt10FlowRemoved => 0,
            Raw::NxtFlowRemoved => self.table_id.wrapping_add(1),
            _ => self.table_id,
        });
        put_duration(b, self.duration);
        b.u16(self.idle_timeout);
        let at = b.len();
        b.u16(if nx || v10 { 0 } else { self.hard_timeout });
        let count = |n: u64| if v10 { known(n) } else { n };
        b.u64(count(self.packet_count));
        b.u64(count(self.byte_count));
        if nx {
            let len = nxm::put_nxm(b, &self.match_, (0, 0));
            b.set_u16(at, len);
        } else if !v10 {
            match11::put(b, version, &self.match_);
        }
    }

    fn put15(&self, b: &mut Vec<u8>, reason: u8) {
        b.u8(self.table_id);
        b.u8(reason);
        b.u16(self.priority);
        b.u16(self.idle_timeout);
        b.u16(self.hard_timeout);
        b.u64(self.cookie);
        match11::put_oxm(b, Version::V15, &self.match_);
        oxs::put(
            b,
            &Oxs {
                duration: Some(self.duration),
                packets: Some(self.packet_count),
                bytes: Some(self.byte_count),
                ..Oxs::default()
            },
        );
    }
}
