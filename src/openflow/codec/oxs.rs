//! OXS: statistics as entries (OpenFlow 1.5.1, 7.2.4).

use super::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::flow_mod::Duration;

/// Class of OpenFlow's own statistics.
const CLASS: u32 = 0x8002;

const fn header(field: u32, len: u32) -> u32 {
    CLASS << 16 | field << 9 | len
}
const DURATION: u32 = header(0, 8);
const IDLE: u32 = header(1, 8);
const FLOWS: u32 = header(3, 4);
const PACKETS: u32 = header(4, 8);
const BYTES: u32 = header(5, 8);

/// The statistics of OpenFlow 1.5 entries; `None`: not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Oxs {
    pub(crate) duration: Option<Duration>,
    pub(crate) idle_age: Option<u32>,
    pub(crate) packets: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) flows: Option<u32>,
}

/// Takes statistics with the padding behind them.
pub(crate) fn decode(r: &mut Reader<'_>) -> Decode<Oxs> {
    let bad = OfpError::OFPBMC_BAD_LEN;
    let &[_, _, l0, l1, ..] = r.peek() else {
        return Err(bad);
    };
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if len < 4 {
        return Err(bad);
    }
    let all = r.try_take(len.next_multiple_of(8)).ok_or(bad)?;
    let mut r = Reader::new(&all[4..len]);
    let mut oxs = Oxs::default();
    while !r.is_empty() {
        entry(&mut r, &mut oxs).map_err(|_| bad)?;
    }
    Ok(oxs)
}

fn entry(r: &mut Reader<'_>, oxs: &mut Oxs) -> Decode<()> {
    let head = r.u32()?;
    let mut len = (head & 0xff) as usize;
    if head >> 16 == 0xffff {
        r.skip(4)?;
        len = len.checked_sub(4).ok_or(OfpError::OFPBMC_BAD_LEN)?;
    }
    let mut payload = Reader::new(r.take(len)?);
    match head {
        DURATION => {
            oxs.duration = Some(Duration {
                sec: payload.u32()?,
                nsec: payload.u32()?,
            });
        }
        IDLE => oxs.idle_age = Some(payload.u32()?),
        PACKETS => oxs.packets = Some(payload.u64()?),
        BYTES => oxs.bytes = Some(payload.u64()?),
        FLOWS => oxs.flows = Some(payload.u32()?),
        _ => {}
    }
    Ok(())
}

/// Appends statistics, padded.
pub(crate) fn put(b: &mut Vec<u8>, oxs: &Oxs) {
    let start = b.len();
    b.zeros(4);
    if let Some(d) = oxs.duration {
        b.u32(DURATION);
        b.u32(d.sec);
        b.u32(d.nsec);
    }
    if let Some(age) = oxs.idle_age {
        b.u32(IDLE);
        b.u64(u64::from(age) << 32);
    }
    for (header, n) in [(PACKETS, oxs.packets), (BYTES, oxs.bytes)] {
        if let Some(n) = n {
            b.u32(header);
            b.u64(n);
        }
    }
    if let Some(n) = oxs.flows {
        b.u32(FLOWS);
        b.u32(n);
    }
    let len = b.len() - start;
    b.set_u16(start + 2, len);
    b.pad(start, 8);
}
