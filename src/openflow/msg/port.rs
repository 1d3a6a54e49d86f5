//! Ports: description, status, modification.

use super::basic::{put_text, text};
use crate::codec::header::Multipart;
use crate::codec::prop;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::Duration;
use crate::version::Version;
use flow::OfPort;
use wire::EthAddr;

/// Octets of a port's name, with the zero at its end.
const NAME: usize = 16;
/// Property with what Ethernet ports have.
pub(super) const ETHERNET: u16 = 0;

bitflags::bitflags! {
    /// What a controller wants of a port.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct PortConfig: u32 {
        /// Down.
        const PORT_DOWN = 1;
        /// No spanning tree (1.0).
        const NO_STP = 1 << 1;
        /// Drop what comes in.
        const NO_RECV = 1 << 2;
        /// Drop spanning tree packets that come in (1.0).
        const NO_RECV_STP = 1 << 3;
        /// Not in floods (1.0).
        const NO_FLOOD = 1 << 4;
        /// Drop what goes out.
        const NO_FWD = 1 << 5;
        /// No packet-ins from it.
        const NO_PACKET_IN = 1 << 6;
        /// What OpenFlow 1.1 and later have of it.
        const OF11 = 0x65;
    }
}

bitflags::bitflags! {
    /// State of a port.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct PortState: u32 {
        /// No link.
        const LINK_DOWN = 1;
        /// Blocked against loops (1.1 and up).
        const BLOCKED = 1 << 1;
        /// Live for fast failover (1.1 and up).
        const LIVE = 1 << 2;
        /// Spanning tree state (1.0): 0 listen, 1 learn, 2 forward, 3 block.
        const STP_MASK = 3 << 8;
        /// What OpenFlow 1.0 has of it.
        const OF10 = 0x301;
        /// What OpenFlow 1.1 and later have of it.
        const OF11 = 0x007;
    }
}

/// Link features: speeds, medium, negotiation, as OpenFlow 1.1 numbers them.
pub type PortFeatures = u32;

/// Speeds by bit of [`PortFeatures`], in Mb/s.
const SPEEDS: [(u32, u32); 7] = [
    (1 << 9, 1_000_000),
    (1 << 8, 100_000),
    (1 << 7, 40_000),
    (1 << 6, 10_000),
    (1 << 4 | 1 << 5, 1000),
    (1 << 2 | 1 << 3, 100),
    (1 | 1 << 1, 10),
];

/// The fastest speed among features, in kb/s; 0 when there is none.
#[must_use]
pub fn features_kbps(features: PortFeatures) -> u32 {
    let found = SPEEDS.iter().find(|(bits, _)| features & bits != 0);
    found.map_or(0, |(_, mbps)| mbps * 1000)
}

fn features_from_10(f: u32) -> PortFeatures {
    f & 0x7f | (f & 0xf80) << 4
}
fn features_to_10(f: PortFeatures) -> u32 {
    f & 0x7f | (f & 0xf800) >> 4
}

/// Description of a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "named as in the specification")]
pub struct PortDesc {
    pub port_no: OfPort,
    pub hw_addr: EthAddr,
    pub name: String,
    pub config: PortConfig,
    pub state: PortState,
    pub curr: PortFeatures,
    pub advertised: PortFeatures,
    pub supported: PortFeatures,
    pub peer: PortFeatures,
    /// kb/s.
    pub curr_speed: u32,
    /// kb/s.
    pub max_speed: u32,
}

impl PortDesc {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        match version {
            Version::V10 => Self::decode10(r),
            Version::V11 | Version::V12 | Version::V13 => Self::decode11(r),
            _ => Self::decode14(r),
        }
    }

    fn decode10(r: &mut Reader<'_>) -> Decode<Self> {
        let mut port = Self {
            port_no: OfPort(r.u16()?),
            hw_addr: EthAddr(r.array()?),
            name: text(r.take(NAME)?),
            config: PortConfig::from_bits_truncate(r.u32()?),
            state: PortState::from_bits_truncate(r.u32()?) & PortState::OF10,
            ..Self::default()
        };
        for feature in port.features() {
            *feature = features_from_10(r.u32()?);
        }
        port.curr_speed = features_kbps(port.curr);
        port.max_speed = features_kbps(port.supported);
        Ok(port)
    }

    fn features(&mut self) -> [&mut PortFeatures; 4] {
        [
            &mut self.curr,
            &mut self.advertised,
            &mut self.supported,
            &mut self.peer,
        ]
    }

    fn decode11(r: &mut Reader<'_>) -> Decode<Self> {
        let port_no = r.u32()?;
        r.skip(4)?;
        let mut port = Self::middle(port_no, r)?;
        port.ethernet(r)?;
        Ok(port)
    }

    /// Address, name, config and state, which OpenFlow 1.1 and 1.4 have in common.
    fn middle(port_no: u32, r: &mut Reader<'_>) -> Decode<Self> {
        let hw_addr = EthAddr(r.array()?);
        r.skip(2)?;
        Ok(Self {
            port_no: port_from_11(port_no)?,
            hw_addr,
            name: text(r.take(NAME)?),
            config: PortConfig::from_bits_truncate(r.u32()?) & PortConfig::OF11,
            state: PortState::from_bits_truncate(r.u32()?) & PortState::OF11,
            ..Self::default()
        })
    }

    fn ethernet(&mut self, r: &mut Reader<'_>) -> Decode<()> {
        for feature in self.features() {
            *feature = r.u32()? & 0xffff;
        }
        self.curr_speed = r.u32()?;
        self.max_speed = r.u32()?;
        Ok(())
    }

    fn decode14(r: &mut Reader<'_>) -> Decode<Self> {
        let all = r.peek();
        let (port_no, len) = (r.u32()?, usize::from(r.u16()?));
        r.skip(2)?;
        let mut port = Self::middle(port_no, r)?;
        let used = all.len() - r.len();
        let props = len
            .checked_sub(used)
            .and_then(|n| r.try_take(n))
            .ok_or(OfpError::OFPBRC_BAD_LEN)?;
        let mut props = Reader::new(props);
        while !props.is_empty() {
            let p = prop::pull(&mut props, prop::EXPERIMENTER)?;
            // What is not known does no harm here.
            if p.ty == ETHERNET {
                let mut body = p.nested()?;
                if body.len() != 24 {
                    return Err(OfpError::OFPBPC_BAD_LEN);
                }
                port.ethernet(&mut body)?;
            }
        }
        Ok(port)
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        match version {
            Version::V10 => self.put10(b),
            Version::V11 | Version::V12 | Version::V13 => {
                b.u32(self.port_no.to_ofp11());
                b.zeros(4);
                self.put_middle(b);
                self.put_ethernet(b);
            }
            _ => {
                let at = b.len();
                b.u32(self.port_no.to_ofp11());
                b.zeros(4);
                self.put_middle(b);
                let eth = prop::start(b, ETHERNET);
                b.zeros(4);
                self.put_ethernet(b);
                prop::end(b, eth);
                let len = b.len() - at;
                b.set_u16(at + 4, len);
            }
        }
    }

    fn put10(&self, b: &mut Vec<u8>) {
        b.u16(self.port_no.0);
        b.bytes(&self.hw_addr.0);
        put_text(b, &self.name, NAME);
        b.u32(self.config.bits());
        b.u32((self.state & PortState::OF10).bits());
        for f in [self.curr, self.advertised, self.supported, self.peer] {
            b.u32(features_to_10(f));
        }
    }
    fn put_middle(&self, b: &mut Vec<u8>) {
        b.bytes(&self.hw_addr.0);
        b.zeros(2);
        put_text(b, &self.name, NAME);
        b.u32((self.config & PortConfig::OF11).bits());
        b.u32((self.state & PortState::OF11).bits());
    }
    fn put_ethernet(&self, b: &mut Vec<u8>) {
        for f in [self.curr, self.advertised, self.supported, self.peer] {
            b.u32(f & 0xffff);
        }
        b.u32(self.curr_speed);
        b.u32(self.max_speed);
    }
}

/// What happened to a port (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PortReason {
    Add,
    Delete,
    Modify,
}

/// A port changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// How.
    pub reason: PortReason,
    /// What it is now, or was.
    pub desc: PortDesc,
}

impl PortStatus {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let reason = match r.u8()? {
            0 => PortReason::Add,
            1 => PortReason::Delete,
            2 => PortReason::Modify,
            _ => return Err(OfpError::NXBRC_BAD_REASON),
        };
        r.skip(7)?;
        Ok(Self {
            reason,
            desc: PortDesc::decode(version, r)?,
        })
    }
    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::Ofpt10PortStatus,
            Version::V11 | Version::V12 | Version::V13 => Raw::Ofpt11PortStatus,
            _ => Raw::Ofpt14PortStatus,
        }
    }
    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        b.u8(self.reason as u8);
        b.zeros(7);
        self.desc.put(b, version);
    }
}

/// Changes a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMod {
    /// Which.
    pub port_no: OfPort,
    /// Must be the port's address, so that the right one is changed.
    pub hw_addr: EthAddr,
    /// What the bits of `mask` become.
    pub config: PortConfig,
    /// Bits to change.
    pub mask: PortConfig,
    /// Features to advertise; 0: no change.
    pub advertise: PortFeatures,
}

impl PortMod {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let v10 = version == Version::V10;
        let port_no = if v10 {
            OfPort(r.u16()?)
        } else {
            let port = port_from_11(r.u32()?)?;
            r.skip(4)?;
            port
        };
        let hw_addr = EthAddr(r.array()?);
        r.skip(if v10 { 0 } else { 2 })?;
        let known = if v10 {
            PortConfig::all()
        } else {
            PortConfig::OF11
        };
        let config = PortConfig::from_bits_truncate(r.u32()?) & known;
        let mask = PortConfig::from_bits_truncate(r.u32()?) & known;
        let advertise = match version {
            Version::V10 => features_from_10(r.u32()?),
            Version::V11 | Version::V12 | Version::V13 => r.u32()? & 0xffff,
            _ => Self::advertise14(r)?,
        };
        Ok(Self {
            port_no,
            hw_addr,
            config: config & mask,
            mask,
            advertise,
        })
    }

    fn advertise14(r: &mut Reader<'_>) -> Decode<PortFeatures> {
        let mut advertise = 0;
        while !r.is_empty() {
            let p = prop::pull(r, prop::EXPERIMENTER)?;
            match p.ty {
                ETHERNET => advertise = p.u32()? & 0xffff,
                _ => return Err(p.unknown()),
            }
        }
        Ok(advertise)
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::Ofpt10PortMod,
            Version::V11 | Version::V12 | Version::V13 => Raw::Ofpt11PortMod,
            _ => Raw::Ofpt14PortMod,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        let v10 = version == Version::V10;
        if v10 {
            b.u16(self.port_no.0);
        } else {
            b.u32(self.port_no.to_ofp11());
            b.zeros(4);
        }
        b.bytes(&self.hw_addr.0);
        b.zeros(if v10 { 0 } else { 2 });
        let known = if v10 {
            PortConfig::all()
        } else {
            PortConfig::OF11
        };
        b.u32((self.config & known).bits());
        b.u32((self.mask & known).bits());
        match version {
            Version::V10 => b.u32(features_to_10(self.advertise)),
            Version::V11 | Version::V12 | Version::V13 => b.u32(self.advertise & 0xffff),
            _ if self.advertise != 0 => prop::put_u32(b, ETHERNET, self.advertise & 0xffff),
            _ => return,
        }
        if version < Version::V14 {
            b.zeros(4);
        }
    }
}

pub(super) fn duration(r: &mut Reader<'_>) -> Decode<Duration> {
    Ok(Duration {
        sec: r.u32()?,
        nsec: r.u32()?,
    })
}
pub(super) fn put_duration(b: &mut Vec<u8>, d: Duration) {
    b.u32(d.sec);
    b.u32(d.nsec);
}

/// A port in a statistics request.
pub(super) fn decode_request(version: Version, r: &mut Reader<'_>) -> Decode<OfPort> {
    match version {
        Version::V10 => Ok(OfPort(r.u16()?)),
        _ => port_from_11(r.u32()?),
    }
}
pub(super) fn put_request(b: &mut Vec<u8>, version: Version, port: OfPort) {
    if version == Version::V10 {
        b.u16(port.0);
        b.zeros(6);
    } else {
        b.u32(port.to_ofp11());
        b.zeros(4);
    }
}

impl Multipart {
    /// Adds a port's description.
    pub fn push_port(&mut self, port: &PortDesc) {
        let version = self.version();
        self.push(|b| port.put(b, version));
    }
}
