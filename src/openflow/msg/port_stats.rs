//! Statistics of ports.

use super::basic::text;
use super::port::{ETHERNET, duration, put_duration};
use crate::codec::header::Multipart;
use crate::codec::prop::{self, Prop};
use crate::codec::{Decode, Put, Reader, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::Duration;
use crate::version::Version;
use flow::OfPort;

const INTEL: u32 = 0xaa01;
const RFC2819: u32 = 1;
const CUSTOM: u32 = 2;

/// Statistics of a port; `u64::MAX`: not known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the specification")]
pub struct PortStats {
    pub port_no: OfPort,
    pub duration: Duration,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_errors: u64,
    pub rx_over_errors: u64,
    pub rx_crc_errors: u64,
    pub collisions: u64,
    /// RFC 2819 counters (OpenFlow 1.4 and up), in the order of `ovs-ofctl`'s Intel property: received by
    /// size (7), sent by size (7), tx multicast, rx broadcast, tx broadcast, rx undersized, rx oversize, rx
    /// fragmented, rx jabber.
    pub rfc2819: [u64; 21],
    /// Counters with names of their own.
    pub custom: Vec<(String, u64)>,
}

impl Default for PortStats {
    fn default() -> Self {
        Self {
            port_no: OfPort::NONE,
            duration: Duration::UNKNOWN,
            rx_packets: u64::MAX,
            tx_packets: u64::MAX,
            rx_bytes: u64::MAX,
            tx_bytes: u64::MAX,
            rx_dropped: u64::MAX,
            tx_dropped: u64::MAX,
            rx_errors: u64::MAX,
            tx_errors: u64::MAX,
            rx_frame_errors: u64::MAX,
            rx_over_errors: u64::MAX,
            rx_crc_errors: u64::MAX,
            collisions: u64::MAX,
            rfc2819: [u64::MAX; 21],
            custom: Vec::new(),
        }
    }
}

impl PortStats {
    fn common(&mut self) -> [&mut u64; 8] {
        [
            &mut self.rx_packets,
            &mut self.tx_packets,
            &mut self.rx_bytes,
            &mut self.tx_bytes,
            &mut self.rx_dropped,
            &mut self.tx_dropped,
            &mut self.rx_errors,
            &mut self.tx_errors,
        ]
    }
    fn of_ethernet(&mut self) -> [&mut u64; 4] {
        [
            &mut self.rx_frame_errors,
            &mut self.rx_over_errors,
            &mut self.rx_crc_errors,
            &mut self.collisions,
        ]
    }

    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        if version >= Version::V14 {
            return Self::decode14(r);
        }
        let mut s = Self {
            port_no: match version {
                Version::V10 => OfPort(r.u16()?),
                _ => port_from_11(r.u32()?)?,
            },
            ..Self::default()
        };
        r.skip(if version == Version::V10 { 6 } else { 4 })?;
        for n in s.common() {
            *n = r.u64()?;
        }
        for n in s.of_ethernet() {
            *n = r.u64()?;
        }
        if version == Version::V13 {
            s.duration = duration(r)?;
        }
        Ok(s)
    }

    fn decode14(r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let len = usize::from(r.u16()?);
        let mut r = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
        r.skip(2)?;
        let mut s = Self {
            port_no: port_from_11(r.u32()?)?,
            duration: duration(&mut r)?,
            ..Self::default()
        };
        for n in s.common() {
            *n = r.u64()?;
        }
        while !r.is_empty() {
            let p = prop::pull(&mut r, prop::EXPERIMENTER)?;
            match (p.ty, p.exp) {
                (ETHERNET, _) => numbers(&p, &mut s.of_ethernet())?,
                (_, Some((INTEL, RFC2819))) => {
                    let mut slots: Vec<&mut u64> = s.rfc2819.iter_mut().collect();
                    numbers(&p, &mut slots)?;
                }
                (_, Some((INTEL, CUSTOM))) => s.custom = custom(&p)?,
                _ => {}
            }
        }
        Ok(s)
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        let at = b.len();
        let mut s = self.clone();
        if version >= Version::V14 {
            b.u32(0);
            b.u32(self.port_no.to_ofp11());
            put_duration(b, self.duration);
        } else if version == Version::V10 {
            b.u16(self.port_no.0);
            b.zeros(6);
        } else {
            b.u32(self.port_no.to_ofp11());
            b.zeros(4);
        }
        for n in s.common() {
            b.u64(*n);
        }
        if version >= Version::V14 {
            self.put_props(b);
            let len = b.len() - at;
            return b.set_u16(at, len);
        }
        for n in s.of_ethernet() {
            b.u64(*n);
        }
        if version == Version::V13 {
            put_duration(b, self.duration);
        }
    }

    fn put_props(&self, b: &mut Vec<u8>) {
        let at = prop::start(b, ETHERNET);
        b.zeros(4);
        for n in self.clone().of_ethernet() {
            b.u64(*n);
        }
        prop::end(b, at);
        let at = prop::start_exp(b, INTEL, RFC2819);
        b.zeros(4);
        for &n in &self.rfc2819 {
            b.u64(n);
        }
        prop::end(b, at);
        if self.custom.is_empty() {
            return;
        }
        let at = prop::start_exp(b, INTEL, CUSTOM);
        b.zeros(2);
        b.u16(self.custom.len() as u16);
        for (name, n) in &self.custom {
            let name = &name.as_bytes()[..name.len().min(255)];
            b.u8(name.len() as u8);
            b.bytes(name);
            b.u64(*n);
        }
        prop::end(b, at);
    }
}

fn numbers(p: &Prop<'_>, out: &mut [&mut u64]) -> Decode<()> {
    let mut body = p.nested()?;
    if body.len() != 8 * out.len() {
        return Err(OfpError::OFPBPC_BAD_LEN);
    }
    for n in out {
        **n = body.u64()?;
    }
    Ok(())
}

fn custom(p: &Prop<'_>) -> Decode<Vec<(String, u64)>> {
    let bad = |_| OfpError::OFPBPC_BAD_LEN;
    let mut r = Reader::new(p.data);
    r.skip(2).map_err(bad)?;
    let n = r.u16().map_err(bad)?;
    let mut out = Vec::new();
    for _ in 0..n {
        let len = r.u8().map_err(bad)?;
        let name = text(r.take(len.into()).map_err(bad)?);
        out.push((name, r.u64().map_err(bad)?));
    }
    Ok(out)
}

impl Multipart {
    /// Adds a port's statistics.
    pub fn push_port_stats(&mut self, stats: &PortStats) {
        let version = self.version();
        self.push(|b| stats.put(b, version));
    }
}
