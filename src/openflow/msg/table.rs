//! Tables: configuration, description, status.

use super::TableMiss;
use crate::codec::header::Multipart;
use crate::codec::prop::{self, Prop};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::version::Version;

/// Configuration bits of OpenFlow 1.4.
const EVICTION: u32 = 1 << 2;
const VACANCY_EVENTS: u32 = 1 << 3;

/// Properties.
const PROP_EVICTION: u16 = 2;
const PROP_VACANCY: u16 = 3;

/// Percentages of free space of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableVacancy {
    /// An event happens when there is less than this.
    pub down: u8,
    /// An event happens when there is more than this.
    pub up: u8,
    /// What there is now; 0 in requests.
    pub now: u8,
}

impl TableVacancy {
    fn decode(p: &Prop<'_>) -> Decode<Self> {
        let &[down, up, now, _] = p.data else {
            return Err(OfpError::OFPBPC_BAD_LEN);
        };
        Ok(Self { down, up, now })
    }
    fn put(self, b: &mut Vec<u8>) {
        prop::put(b, PROP_VACANCY, &[self.down, self.up, self.now, 0]);
    }
}

/// Changes a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMod {
    /// Which, or all ([`crate::flow_mod::ALL_TABLES`]).
    pub table_id: u8,
    /// Packets without a flow (1.1, 1.2).
    pub miss: TableMiss,
    /// Eviction on or off (1.4 and up); `None`: as it is.
    pub eviction: Option<bool>,
    /// What evictions go by (1.4 and up); `None`: as it is.
    pub eviction_flags: Option<u32>,
    /// Vacancy events on or off (1.4 and up); `None`: as it is.
    pub vacancy_events: Option<bool>,
    /// Thresholds of vacancy events.
    pub vacancy: TableVacancy,
}

fn decode_config(config: u32, version: Version) -> (Option<bool>, Option<bool>) {
    let bit = |bit: u32| (version >= Version::V14).then_some(config & bit != 0);
    (bit(EVICTION), bit(VACANCY_EVENTS))
}

impl TableMod {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let table_id = r.u8()?;
        r.skip(3)?;
        let config = r.u32()?;
        let (eviction, vacancy_events) = decode_config(config, version);
        let mut m = Self {
            table_id,
            miss: TableMiss::decode(config, version),
            eviction,
            eviction_flags: None,
            vacancy_events,
            vacancy: TableVacancy::default(),
        };
        while !r.is_empty() {
            let p = prop::pull(r, prop::EXPERIMENTER)?;
            match p.ty {
                PROP_EVICTION => m.eviction_flags = Some(p.u32()?),
                PROP_VACANCY => {
                    m.vacancy = TableVacancy::decode(&p)?;
                    let TableVacancy { down, up, now } = m.vacancy;
                    if down > up || up > 100 || now != 0 {
                        return Err(OfpError::OFPBPC_BAD_VALUE);
                    }
                }
                _ => return Err(OfpError::OFPBRC_BAD_TYPE),
            }
        }
        Ok(m)
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V14 | Version::V15 => Raw::Ofpt14TableMod,
            _ => Raw::Ofpt11TableMod,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        b.u8(self.table_id);
        b.zeros(3);
        if version < Version::V14 {
            return b.u32(self.miss.encode(version));
        }
        b.u32(encode_config(self.eviction, self.vacancy_events));
        if let Some(flags) = self.eviction_flags {
            prop::put_u32(b, PROP_EVICTION, flags);
        }
        if self.vacancy_events == Some(true) {
            self.vacancy.put(b);
        }
    }
}

fn encode_config(eviction: Option<bool>, vacancy_events: Option<bool>) -> u32 {
    let bit = |on: Option<bool>, bit: u32| if on == Some(true) { bit } else { 0 };
    bit(eviction, EVICTION) | bit(vacancy_events, VACANCY_EVENTS)
}

/// Configuration of a table (1.4 and up).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableDesc {
    /// Which.
    pub table_id: u8,
    /// It evicts flows when it is full.
    pub eviction: bool,
    /// What evictions go by; `None`: not said.
    pub eviction_flags: Option<u32>,
    /// Vacancy events happen.
    pub vacancy_events: bool,
    /// At which thresholds.
    pub vacancy: TableVacancy,
}

impl TableDesc {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let len = usize::from(r.u16()?);
        let mut body = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
        let table_id = body.u8()?;
        body.skip(1)?;
        let config = body.u32()?;
        let mut d = Self {
            table_id,
            eviction: config & EVICTION != 0,
            vacancy_events: config & VACANCY_EVENTS != 0,
            ..Self::default()
        };
        while !body.is_empty() {
            let p = prop::pull(&mut body, prop::EXPERIMENTER)?;
            match p.ty {
                PROP_EVICTION => d.eviction_flags = Some(p.u32()?),
                PROP_VACANCY => d.vacancy = TableVacancy::decode(&p)?,
                // What is not known does no harm here.
                _ => {}
            }
        }
        Ok(d)
    }

    fn put(&self, b: &mut Vec<u8>, all: bool) {
        let at = b.len();
        b.u16(0);
        b.u8(self.table_id);
        b.u8(0);
        b.u32(encode_config(
            Some(self.eviction),
            Some(self.vacancy_events),
        ));
        if let Some(flags) = self.eviction_flags {
            prop::put_u32(b, PROP_EVICTION, flags);
        }
        if all || self.vacancy_events {
            self.vacancy.put(b);
        }
        let len = b.len() - at;
        b.set_u16(at, len);
    }
}

/// Which way the free space of a table went (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableReason {
    /// Below the lower threshold.
    VacancyDown = 3,
    /// Above the upper threshold.
    VacancyUp = 4,
}

/// The free space of a table crossed a threshold (1.4 and up).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableStatus {
    /// Which way.
    pub reason: TableReason,
    /// The table.
    pub desc: TableDesc,
}

impl TableStatus {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let reason = match r.u8()? {
            3 => TableReason::VacancyDown,
            4 => TableReason::VacancyUp,
            _ => return Err(OfpError::OFPBPC_BAD_VALUE),
        };
        r.skip(7)?;
        let desc = TableDesc::decode(r)?;
        Ok(Self { reason, desc })
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.u8(self.reason as u8);
        b.zeros(7);
        self.desc.put(b, true);
    }
}

impl Multipart {
    /// Adds a table's configuration.
    pub fn push_table_desc(&mut self, desc: &TableDesc) {
        self.push(|b| desc.put(b, false));
    }
}
