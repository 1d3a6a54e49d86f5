//! Packets sent to controllers, and packets resumed by them.
//!
//! A [`Continuation`] is the switch's own note of where a packet stood in the pipeline: controllers hand it
//! back as it was in `NXT_RESUME`.

use super::{DecodeCx, EncodeCx};
use crate::action::Acts;
use crate::codec::acts::{ActRules, decode_actions, put_actions};
use crate::codec::nxm::{self, MatchRules};
use crate::codec::prop::{self, Prop};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, match11, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::NO_BUFFER;
use crate::reason;
use crate::verify::{Allowed, Outer};
use crate::version::Version;
use flow::{Match, OfPort};

/// Which message carries packets to a controller (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PacketInFormat {
    /// The one of the OpenFlow version.
    #[default]
    Standard = 0,
    /// `NXT_PACKET_IN`.
    Nxt = 1,
    /// `NXT_PACKET_IN2`.
    Nxt2 = 2,
}

impl PacketInFormat {
    /// The format of a number on the wire.
    #[must_use]
    pub fn from_wire(n: u32) -> Option<Self> {
        [Self::Standard, Self::Nxt, Self::Nxt2]
            .into_iter()
            .find(|&f| f as u32 == n)
    }
    /// The name as `ovs-ofctl` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Nxt => "nxt_packet_in",
            Self::Nxt2 => "nxt_packet_in2",
        }
    }
}

/// A packet for a controller.
#[derive(Debug, Clone, PartialEq)]
pub struct PacketIn {
    /// As much of the packet as is sent.
    pub packet: Vec<u8>,
    /// Octets of the whole packet.
    pub total_len: usize,
    /// Buffer that holds it; [`NO_BUFFER`]: none.
    pub buffer_id: u32,
    /// Why, see [`crate::reason`].
    pub reason: u8,
    /// Table it was in.
    pub table_id: u8,
    /// Cookie of the flow that sent it; `u64::MAX`: none.
    pub cookie: u64,
    /// Pipeline fields (in port, metadata, registers, tunnel).
    pub metadata: Match,
    /// What the controller action had for the controller.
    pub userdata: Vec<u8>,
    /// Where to go on when the packet is resumed.
    pub continuation: Continuation,
}

/// See the file's essay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Continuation {
    /// UUID of the bridge, or zero.
    pub bridge: [u8; 16],
    /// The register stack, its top last.
    pub stack: Vec<Vec<u8>>,
    /// Mirrors that have had the packet.
    pub mirrors: u32,
    /// It went through conntrack.
    pub conntracked: bool,
    /// Actions left to do, innermost first.
    pub frames: Vec<Frame>,
    /// The action set.
    pub action_set: Acts,
    /// Datapath port it came in by; 0: not known.
    pub odp_port: u32,
}

/// Actions of one flow that are left to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Table of the flow.
    pub table_id: u8,
    /// Cookie of the flow.
    pub cookie: u64,
    /// What is left.
    pub acts: Acts,
}

/// Properties of `NXT_PACKET_IN2` and `NXT_RESUME`.
mod property {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const BUFFER_ID: u16 = 2;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
    pub(super) const CONTINUATION: u16 = 8;
}

/// Properties of continuations.
mod left {
    pub(super) const BRIDGE: u16 = 0x8000;
    pub(super) const STACK: u16 = 0x8001;
    pub(super) const MIRRORS: u16 = 0x8002;
    pub(super) const CONNTRACKED: u16 = 0x8003;
    pub(super) const TABLE_ID: u16 = 0x8004;
    pub(super) const COOKIE: u16 = 0x8005;
    pub(super) const ACTIONS: u16 = 0x8006;
    pub(super) const ACTION_SET: u16 = 0x8007;
    pub(super) const ODP_PORT: u16 = 0x8008;
}

/// Octets an entry of the register stack may have.
const STACK_ENTRY_MAX: usize = 128;

/// A reason as `version` says it.
fn wire_reason(r: u8, version: Version) -> u8 {
    match r {
        reason::ACTION_SET | reason::GROUP | reason::PACKET_OUT if version < Version::V14 => {
            reason::ACTION
        }
        reason::EXPLICIT_MISS if version < Version::V13 => reason::ACTION,
        reason::EXPLICIT_MISS | reason::IMPLICIT_MISS => reason::NO_MATCH,
        other => other,
    }
}

impl Default for PacketIn {
    fn default() -> Self {
        Self {
            packet: Vec::new(),
            total_len: 0,
            buffer_id: NO_BUFFER,
            reason: reason::NO_MATCH,
            table_id: 0,
            cookie: u64::MAX,
            metadata: Match::catchall(),
            userdata: Vec::new(),
            continuation: Continuation::default(),
        }
    }
}

impl PacketIn {
    pub(super) fn decode(
        raw: Raw,
        version: Version,
        r: &mut Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<Self> {
        let mut pin = Self::default();
        let loose = MatchRules {
            strict: false,
            ..cx.match_rules()
        };
        match raw {
            Raw::NxtPacketIn2 | Raw::NxtResume => {
                pin.properties(version, r, cx)?;
                return Ok(pin);
            }
            Raw::Ofpt10PacketIn => {
                (pin.buffer_id, pin.total_len) = (r.u32()?, r.u16()?.into());
                pin.metadata.set_in_port(OfPort(r.u16()?));
                pin.reason = r.u8()?;
                r.skip(1)?;
            }
            Raw::Ofpt11PacketIn => {
                pin.buffer_id = r.u32()?;
                pin.metadata.set_in_port(port_from_11(r.u32()?)?);
                r.skip(4)?;
                pin.total_len = r.u16()?.into();
                (pin.reason, pin.table_id) = (r.u8()?, r.u8()?);
            }
            Raw::NxtPacketIn => {
                pin.numbers(r)?;
                pin.cookie = r.u64()?;
                let len = r.u16()?.into();
                r.skip(6)?;
                pin.metadata = nxm::decode_padded(r, len, MatchRules { tun: None, ..loose })?.0;
                r.skip(2)?;
            }
            _ => {
                pin.numbers(r)?;
                if raw == Raw::Ofpt13PacketIn {
                    pin.cookie = r.u64()?;
                }
                pin.metadata = match11::decode_oxm(r, loose)?;
                r.skip(2)?;
            }
        }
        pin.packet = r.rest().to_vec();
        Ok(pin)
    }

    fn numbers(&mut self, r: &mut Reader<'_>) -> Decode<()> {
        (self.buffer_id, self.total_len) = (r.u32()?, r.u16()?.into());
        (self.reason, self.table_id) = (r.u8()?, r.u8()?);
        Ok(())
    }

    fn properties(
        &mut self,
        version: Version,
        r: &mut Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<()> {
        while !r.is_empty() {
            let p = prop::pull(r, prop::EXPERIMENTER)?;
            match p.ty {
                property::PACKET => self.packet = p.data.to_vec(),
                property::FULL_LEN => self.total_len = p.u32()? as usize,
                property::BUFFER_ID => self.buffer_id = p.u32()?,
                property::TABLE_ID => self.table_id = p.u8()?,
                property::COOKIE => self.cookie = p.u64()?,
                property::REASON => self.reason = p.u8()?,
                property::METADATA => {
                    let rules = MatchRules {
                        strict: !cx.loose,
                        ..cx.match_rules()
                    };
                    self.metadata = nxm::decode(Reader::new(p.data), rules)?.0;
                }
                property::USERDATA => self.userdata = p.data.to_vec(),
                property::CONTINUATION => {
                    self.continuation = Continuation::decode(version, &mut p.nested()?, cx)?;
                }
                _ if cx.loose => {}
                _ => return Err(p.unknown()),
            }
        }
        if self.total_len == 0 {
            self.total_len = self.packet.len();
        }
        if self.packet.is_empty() || self.total_len < self.packet.len() {
            return Err(OfpError::OFPBRC_BAD_LEN);
        }
        Ok(())
    }

    pub(super) fn raw(cx: &EncodeCx<'_>) -> Raw {
        match (cx.packet_in_format, cx.version()) {
            (PacketInFormat::Nxt, _) => Raw::NxtPacketIn,
            (PacketInFormat::Nxt2, _) => Raw::NxtPacketIn2,
            (_, Version::V10) => Raw::Ofpt10PacketIn,
            (_, Version::V11) => Raw::Ofpt11PacketIn,
            (_, Version::V12) => Raw::Ofpt12PacketIn,
            _ => Raw::Ofpt13PacketIn,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, raw: Raw, cx: &EncodeCx<'_>) {
        let version = cx.version();
        let total_len = u16::try_from(self.total_len).unwrap_or(u16::MAX);
        let in_port = OfPort(self.metadata.flow.in_port.get() as u16);
        let why = wire_reason(self.reason, version);
        match raw {
            Raw::NxtPacketIn2 | Raw::NxtResume => return self.put_properties(b, raw, cx),
            Raw::Ofpt10PacketIn => {
                b.u32(self.buffer_id);
                b.u16(total_len);
                b.u16(in_port.0);
                b.u8(why);
                b.u8(0);
            }
            Raw::Ofpt11PacketIn => {
                b.u32(self.buffer_id);
                b.u32(in_port.to_ofp11());
                b.u32(in_port.to_ofp11());
                b.u16(total_len);
                b.u8(why);
                b.u8(self.table_id);
            }
            _ => {
                b.u32(self.buffer_id);
                b.u16(total_len);
                b.u8(why);
                b.u8(self.table_id);
                if raw != Raw::Ofpt12PacketIn {
                    b.u64(self.cookie);
                }
                if raw == Raw::NxtPacketIn {
                    let at = b.len();
                    b.zeros(8);
                    let len = nxm::put_nxm(b, &self.metadata, (0, 0));
                    b.set_u16(at, len);
                } else {
                    match11::put_oxm(b, version, &self.metadata);
                }
                b.u16(0);
            }
        }
        b.bytes(&self.packet);
    }

    fn put_properties(&self, b: &mut Vec<u8>, raw: Raw, cx: &EncodeCx<'_>) {
        let version = cx.version();
        prop::put(b, property::PACKET, &self.packet);
        if self.total_len != self.packet.len() {
            let len = u32::try_from(self.total_len).unwrap_or(u32::MAX);
            prop::put_u32(b, property::FULL_LEN, len);
        }
        if self.buffer_id != NO_BUFFER {
            prop::put_u32(b, property::BUFFER_ID, self.buffer_id);
        }
        prop::put_u8(b, property::TABLE_ID, self.table_id);
        if self.cookie != u64::MAX {
            prop::put_u64(b, property::COOKIE, self.cookie);
        }
        prop::put_u8(b, property::REASON, wire_reason(self.reason, version));
        let at = prop::start(b, property::METADATA);
        nxm::put(b, Some(version), &self.metadata, (0, 0));
        prop::end(b, at);
        let at = prop::start_nested(b, property::CONTINUATION);
        self.continuation.put(b, cx);
        prop::end_unless_empty(b, at);
        // The continuation has what the switch needs: a resumed packet goes without.
        if raw == Raw::NxtPacketIn2 && !self.userdata.is_empty() {
            prop::put(b, property::USERDATA, &self.userdata);
        }
    }
}

impl Continuation {
    fn decode(version: Version, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let mut c = Self::default();
        let (mut table_id, mut cookie) = (0, 0);
        let rules = cx.act_rules(version);
        while !r.is_empty() {
            let p = prop::pull(r, prop::EXPERIMENTER)?;
            match p.ty {
                left::BRIDGE => {
                    let uuid = p.data.try_into();
                    c.bridge = uuid.map_err(|_| OfpError::OFPBPC_BAD_LEN)?;
                }
                left::STACK if p.data.len() > STACK_ENTRY_MAX => {
                    return Err(OfpError::OFPBPC_BAD_LEN);
                }
                left::STACK => c.stack.push(p.data.to_vec()),
                left::MIRRORS => c.mirrors = p.u32()?,
                left::CONNTRACKED => c.conntracked = true,
                left::TABLE_ID => table_id = p.u8()?,
                left::COOKIE => cookie = p.u64()?,
                left::ACTIONS => c.frames.push(Frame {
                    table_id,
                    cookie,
                    acts: list(&p, &rules)?,
                }),
                left::ACTION_SET => c.action_set = list(&p, &rules)?,
                left::ODP_PORT => c.odp_port = p.u32()?,
                _ if cx.loose => {}
                _ => return Err(p.unknown()),
            }
        }
        // The top came first.
        c.stack.reverse();
        Ok(c)
    }

    fn put(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        if self.bridge != [0; 16] {
            prop::put(b, left::BRIDGE, &self.bridge);
        }
        for entry in self.stack.iter().rev() {
            prop::put(b, left::STACK, entry);
        }
        if self.mirrors != 0 {
            prop::put_u32(b, left::MIRRORS, self.mirrors);
        }
        if self.conntracked {
            prop::put(b, left::CONNTRACKED, &[]);
        }
        let (mut table_id, mut cookie) = (0, 0);
        for frame in &self.frames {
            if table_id != frame.table_id {
                table_id = frame.table_id;
                prop::put_u8(b, left::TABLE_ID, table_id);
            }
            if cookie != frame.cookie {
                cookie = frame.cookie;
                prop::put_u64(b, left::COOKIE, cookie);
            }
            put_acts(b, left::ACTIONS, &frame.acts, cx);
        }
        put_acts(b, left::ACTION_SET, &self.action_set, cx);
        if self.odp_port != 0 {
            prop::put_u32(b, left::ODP_PORT, self.odp_port);
        }
    }
}

fn list(p: &Prop<'_>, rules: &ActRules<'_>) -> Decode<Acts> {
    let mut r = p.nested()?;
    let len = r.len();
    decode_actions(&mut r, len, rules, (Allowed::Meter, Outer::None))
}

fn put_acts(b: &mut Vec<u8>, ty: u16, acts: &Acts, cx: &EncodeCx<'_>) {
    if !acts.is_empty() {
        let at = prop::start_nested(b, ty);
        put_actions(b, acts, cx.version(), cx.tun);
        prop::end(b, at);
    }
}
