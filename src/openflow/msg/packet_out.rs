//! Packets that controllers send.

use super::{DecodeCx, EncodeCx};
use crate::action::Acts;
use crate::codec::acts::{decode_actions, put_actions};
use crate::codec::nxm::MatchRules;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, match11, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::NO_BUFFER;
use crate::verify::{Allowed, Outer};
use crate::version::Version;
use flow::{Match, OfPort};

/// A packet to send through actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// The packet; empty when it is in a buffer.
    pub packet: Vec<u8>,
    /// Buffer that holds it; [`NO_BUFFER`]: none.
    pub buffer_id: u32,
    /// Pipeline fields it starts with: the in port at least.
    pub metadata: Match,
    /// What to do with it.
    pub acts: Acts,
}

impl PacketOut {
    /// The port that the packet is treated as having come in by.
    #[must_use]
    pub fn in_port(&self) -> OfPort {
        OfPort(self.metadata.flow.in_port.get() as u16)
    }

    pub(super) fn decode(
        raw: Raw,
        version: Version,
        r: &mut Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<Self> {
        let mut metadata = Match::catchall();
        let buffer_id = r.u32()?;
        let len;
        if raw == Raw::Ofpt15PacketOut {
            len = r.u16()?;
            r.skip(2)?;
            let rules = MatchRules {
                strict: false,
                pipeline_only: true,
                ..cx.match_rules()
            };
            metadata = match11::decode_oxm(r, rules)?;
            if metadata.mask.0.in_port.get() == 0 {
                return Err(OfpError::OFPBRC_BAD_PORT);
            }
        } else {
            let v10 = raw == Raw::Ofpt10PacketOut;
            let port = match v10 {
                true => OfPort(r.u16()?),
                false => port_from_11(r.u32()?)?,
            };
            len = r.u16()?;
            r.skip(if v10 { 0 } else { 6 })?;
            metadata.set_default_packet_type();
            metadata.set_in_port(port);
        }
        let place = (Allowed::Meter, Outer::None);
        let acts = decode_actions(r, len.into(), &cx.act_rules(version), place)?;
        let packet = match buffer_id {
            NO_BUFFER => r.rest().to_vec(),
            _ => Vec::new(),
        };
        let po = Self {
            packet,
            buffer_id,
            metadata,
            acts,
        };
        let reserved = [OfPort::LOCAL, OfPort::NONE, OfPort::CONTROLLER];
        if po.in_port().0 >= OfPort::MAX.0 && !reserved.contains(&po.in_port()) {
            return Err(OfpError::OFPBRC_BAD_PORT);
        }
        Ok(po)
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::Ofpt10PacketOut,
            Version::V15 => Raw::Ofpt15PacketOut,
            _ => Raw::Ofpt11PacketOut,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        let version = cx.version();
        let raw = Self::raw(version);
        b.u32(self.buffer_id);
        match raw {
            Raw::Ofpt10PacketOut => b.u16(self.in_port().0),
            Raw::Ofpt11PacketOut => b.u32(self.in_port().to_ofp11()),
            _ => {}
        }
        let len_at = b.len();
        match raw {
            Raw::Ofpt10PacketOut => b.zeros(2),
            Raw::Ofpt11PacketOut => b.zeros(8),
            _ => {
                b.zeros(4);
                match11::put_oxm(b, version, &self.metadata);
            }
        }
        let start = b.len();
        put_actions(b, &self.acts, version, cx.tun);
        let len = b.len() - start;
        b.set_u16(len_at, len);
        if self.buffer_id == NO_BUFFER {
            b.bytes(&self.packet);
        }
    }
}
