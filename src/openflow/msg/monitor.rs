//! Flow monitors: which changes of flows a controller wants to see, and the changes.
//!
//! Three forms: Nicira's (1.0 to 1.2), ONF's (1.3) and OpenFlow 1.4's. Flags and events are those of 1.4.

use super::{DecodeCx, EncodeCx};
use crate::action::Acts;
use crate::codec::acts::{decode_actions, put_actions};
use crate::codec::header::Multipart;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, inst, match11, nxm, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::ANY_GROUP;
use crate::verify::{Allowed, Outer};
use crate::version::Version;
use flow::{Match, OfPort, TunTable};

bitflags::bitflags! {
    /// What a monitor wants to see.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MonitorFlags: u16 {
        /// The flows there are.
        const INITIAL = 1;
        /// Flows that are added.
        const ADD = 1 << 1;
        /// Flows that go.
        const REMOVED = 1 << 2;
        /// Flows that change.
        const MODIFY = 1 << 3;
        /// Their actions.
        const INSTRUCTIONS = 1 << 4;
        /// Own changes in full.
        const NO_ABBREV = 1 << 5;
        /// Own changes only.
        const ONLY_OWN = 1 << 6;
    }
}

/// Nicira's number of [`MonitorFlags::ONLY_OWN`].
const NX_OWN: u16 = 1 << 5;

/// What is wanted with a monitor (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MonitorCommand {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

/// A flow monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorRequest {
    /// Its number.
    pub id: u32,
    /// What to do.
    pub command: MonitorCommand,
    /// What it wants to see.
    pub flags: MonitorFlags,
    /// Only flows that output here; [`OfPort::NONE`]: all.
    pub out_port: OfPort,
    /// Only flows that use this group; [`ANY_GROUP`]: all.
    pub out_group: u32,
    /// Table, or all.
    pub table_id: u8,
    /// Flows that this covers.
    pub match_: Match,
}

fn check_flags(flags: MonitorFlags, bits: u16) -> Decode<()> {
    use MonitorFlags as F;
    let known = F::all() - F::NO_ABBREV;
    if !flags.intersects(F::ADD | F::REMOVED | F::MODIFY) || bits & !known.bits() != 0 {
        return Err(OfpError::OFPMOFC_BAD_FLAGS);
    }
    Ok(())
}

/// Flags in Nicira's numbers.
fn flags_from_nx(bits: u16) -> u16 {
    let own = if bits & NX_OWN == 0 {
        0
    } else {
        MonitorFlags::ONLY_OWN.bits()
    };
    // What Nicira does not have must stay an error.
    let beyond = if bits & !0x3f == 0 { 0 } else { 1 << 15 };
    bits & 0x1f | own | beyond
}
fn flags_to_nx(flags: MonitorFlags) -> u16 {
    let own = flags.contains(MonitorFlags::ONLY_OWN);
    flags.bits() & 0x1f | if own { NX_OWN } else { 0 }
}

impl MonitorRequest {
    /// Takes one monitor.
    pub(super) fn decode(raw: Raw, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        match raw {
            Raw::NxstFlowMonitorRequest => Self::decode_nx(r, cx),
            Raw::Onfst13FlowMonitorRequest => Self::decode_onf(r, cx),
            _ => Self::decode14(r, cx),
        }
    }

    fn decode_nx(r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let (id, bits) = (r.u32()?, flags_from_nx(r.u16()?));
        let (out_port, match_len, table_id) = (OfPort(r.u16()?), r.u16()?, r.u8()?);
        let zeros: [u8; 5] = r.array()?;
        let mut m = Self::add(id, bits, zeros == [0; 5])?;
        m.out_port = out_port;
        m.table_id = table_id;
        m.match_ = nxm::decode_padded(r, match_len.into(), cx.match_rules())?.0;
        Ok(m)
    }

    fn decode_onf(r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let (id, bits, _match_len) = (r.u32()?, flags_from_nx(r.u16()?), r.u16()?);
        let (out_port, table_id) = (r.u32()?, r.u8()?);
        let zeros: [u8; 3] = r.array()?;
        let mut m = Self::add(id, bits, zeros == [0; 3])?;
        m.out_port = port_from_11(out_port)?;
        m.table_id = table_id;
        m.match_ = match11::decode(r, cx.match_rules())?;
        Ok(m)
    }

    fn decode14(r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let (id, out_port, out_group) = (r.u32()?, r.u32()?, r.u32()?);
        let (bits, table_id, command) = (r.u16()?, r.u8()?, r.u8()?);
        let mut m = match command {
            2 => Self::delete(id),
            0 | 1 => Self::add(id, bits, true)?,
            _ => return Err(OfpError::OFPMOFC_BAD_COMMAND),
        };
        if command != 2 {
            m.out_port = port_from_11(out_port)?;
            m.out_group = out_group;
            m.table_id = table_id;
        }
        if command == 1 {
            m.command = MonitorCommand::Modify;
        }
        // A deletion of ours has no match at all.
        if command != 2 || !r.is_empty() {
            m.match_ = match11::decode(r, cx.match_rules())?;
        }
        Ok(m)
    }

    fn add(id: u32, bits: u16, zeros: bool) -> Decode<Self> {
        let flags = MonitorFlags::from_bits_truncate(bits);
        check_flags(flags, bits)?;
        if !zeros {
            return Err(OfpError::NXBRC_MUST_BE_ZERO);
        }
        Ok(Self {
            command: MonitorCommand::Add,
            flags,
            ..Self::delete(id)
        })
    }

    fn delete(id: u32) -> Self {
        Self {
            id,
            command: MonitorCommand::Delete,
            flags: MonitorFlags::empty(),
            out_port: OfPort::NONE,
            out_group: ANY_GROUP,
            table_id: 0,
            match_: Match::catchall(),
        }
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 | Version::V11 | Version::V12 => Raw::NxstFlowMonitorRequest,
            Version::V13 => Raw::Onfst13FlowMonitorRequest,
            _ => Raw::Ofpst14FlowMonitorRequest,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        b.u32(self.id);
        match Self::raw(version) {
            Raw::NxstFlowMonitorRequest => {
                b.u16(flags_to_nx(self.flags));
                b.u16(self.out_port.0);
                let at = b.len();
                b.u16(0);
                b.u8(self.table_id);
                b.zeros(5);
                let len = nxm::put_nxm(b, &self.match_, (0, 0));
                b.set_u16(at, len);
            }
            Raw::Onfst13FlowMonitorRequest => {
                b.u16(flags_to_nx(self.flags));
                let at = b.len();
                b.u16(0);
                b.u32(self.out_port.to_ofp11());
                b.u8(self.table_id);
                b.zeros(3);
                let len = match11::put_oxm(b, version, &self.match_);
                b.set_u16(at, len);
            }
            _ => {
                b.u32(self.out_port.to_ofp11());
                b.u32(self.out_group);
                b.u16(self.flags.bits());
                b.u8(self.table_id);
                b.u8(self.command as u8);
                match11::put_oxm(b, version, &self.match_);
            }
        }
    }
}

/// A change that a monitor saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowUpdate {
    /// A flow is there or changed.
    Full(Box<FullUpdate>),
    /// The controller's own request with this transaction id changed flows.
    Abbrev(u32),
    /// Too much happens: changes are left out from here on (1.4; before, it is a message of its own).
    Paused,
    /// All changes are told again.
    Resumed,
}

/// What happened to a flow (numbers of OpenFlow 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum UpdateEvent {
    /// It was there when the monitor began.
    Initial = 0,
    Added = 1,
    Removed = 2,
    Modified = 3,
}

/// A flow that is there or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullUpdate {
    /// What happened.
    pub event: UpdateEvent,
    /// Why it went, when it did.
    pub reason: u8,
    /// Its idle timeout, in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout, in seconds.
    pub hard_timeout: u16,
    /// Its table.
    pub table_id: u8,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Its match.
    pub match_: Match,
    /// Its actions; empty when the monitor did not want them.
    pub acts: Acts,
}

const ABBREV_14: u16 = 4;
const PAUSED: u16 = 5;
const RESUMED: u16 = 6;
const ABBREV_NX: u16 = 3;

impl FlowUpdate {
    pub(super) fn decode(
        raw: Raw,
        version: Version,
        r: &mut Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let (len, event) = (usize::from(r.u16()?), r.u16()?);
        if !len.is_multiple_of(8) {
            return Err(bad);
        }
        let mut body = Reader::new(len.checked_sub(4).and_then(|n| r.try_take(n)).ok_or(bad)?);
        let new = raw == Raw::Ofpst14FlowMonitorReply;
        let short = match (new, event) {
            (true, ABBREV_14) | (false, ABBREV_NX) => Self::Abbrev(body.u32()?),
            (true, PAUSED | RESUMED) => {
                body.skip(4)?;
                if event == PAUSED {
                    Self::Paused
                } else {
                    Self::Resumed
                }
            }
            (true, _) => return full14(event, version, body, cx),
            (false, _) => return full_nx(event, raw, version, body, cx),
        };
        if body.is_empty() { Ok(short) } else { Err(bad) }
    }

    fn put(&self, b: &mut Vec<u8>, raw: Raw, cx: &EncodeCx<'_>) {
        let new = raw == Raw::Ofpst14FlowMonitorReply;
        let at = b.len();
        b.u16(0);
        match self {
            Self::Abbrev(xid) => {
                b.u16(if new { ABBREV_14 } else { ABBREV_NX });
                b.u32(*xid);
            }
            // Before 1.4 these are messages of their own.
            Self::Paused | Self::Resumed if !new => return b.truncate(at),
            Self::Paused | Self::Resumed => {
                let paused = matches!(self, Self::Paused);
                b.u16(if paused { PAUSED } else { RESUMED });
                b.zeros(4);
            }
            Self::Full(full) if new => full.put14(b, cx),
            Self::Full(full) => full.put_nx(b, raw, cx),
        }
        let len = b.len() - at;
        b.set_u16(at, len);
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 | Version::V11 | Version::V12 => Raw::NxstFlowMonitorReply,
            Version::V13 => Raw::Onfst13FlowMonitorReply,
            _ => Raw::Ofpst14FlowMonitorReply,
        }
    }
}

fn full14(
    event: u16,
    version: Version,
    mut r: Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<FlowUpdate> {
    let event = match event {
        0 => UpdateEvent::Initial,
        1 => UpdateEvent::Added,
        2 => UpdateEvent::Removed,
        3 => UpdateEvent::Modified,
        _ => return Err(OfpError::NXBRC_FM_BAD_EVENT),
    };
    let (table_id, reason) = (r.u8()?, r.u8()?);
    let (idle_timeout, hard_timeout, priority) = (r.u16()?, r.u16()?, r.u16()?);
    r.skip(4)?;
    let cookie = r.u64()?;
    let match_ = match11::decode(&mut r, cx.match_rules())?;
    let len = r.len();
    Ok(FlowUpdate::Full(Box::new(FullUpdate {
        event,
        reason,
        idle_timeout,
        hard_timeout,
        table_id,
        priority,
        cookie,
        match_,
        acts: inst::decode(&mut r, len, &cx.act_rules(version))?,
    })))
}

fn full_nx(
    event: u16,
    raw: Raw,
    version: Version,
    mut r: Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<FlowUpdate> {
    let event = match event {
        0 => UpdateEvent::Added,
        1 => UpdateEvent::Removed,
        2 => UpdateEvent::Modified,
        _ => return Err(OfpError::NXBRC_FM_BAD_EVENT),
    };
    let (reason, priority) = (r.u16()?, r.u16()?);
    let (idle_timeout, hard_timeout) = (r.u16()?, r.u16()?);
    let (match_len, table_id) = (usize::from(r.u16()?), r.u8()?);
    r.skip(1)?;
    let cookie = r.u64()?;
    if match_len > r.len() {
        return Err(OfpError::OFPBRC_BAD_LEN);
    }
    let (match_, acts);
    if raw == Raw::Onfst13FlowMonitorReply {
        match_ = match11::decode(&mut r, cx.match_rules())?;
        let len = r.len();
        acts = inst::decode(&mut r, len, &cx.act_rules(version))?;
    } else {
        match_ = nxm::decode_padded(&mut r, match_len, cx.match_rules())?.0;
        let len = r.len();
        let place = (Allowed::Meter, Outer::None);
        acts = decode_actions(&mut r, len, &cx.act_rules(version), place)?;
    }
    Ok(FlowUpdate::Full(Box::new(FullUpdate {
        event,
        reason: u8::try_from(reason).unwrap_or(u8::MAX),
        idle_timeout,
        hard_timeout,
        table_id,
        priority,
        cookie,
        match_,
        acts,
    })))
}

impl FullUpdate {
    fn put14(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        b.u16(self.event as u16);
        b.u8(self.table_id);
        b.u8(self.reason);
        b.u16(self.idle_timeout);
        b.u16(self.hard_timeout);
        b.u16(self.priority);
        b.zeros(4);
        b.u64(self.cookie);
        match11::put_oxm(b, cx.version(), &self.match_);
        inst::put(b, &self.acts, cx.version(), cx.tun);
    }

    fn put_nx(&self, b: &mut Vec<u8>, raw: Raw, cx: &EncodeCx<'_>) {
        // There is no word for flows that were there before.
        b.u16(match self.event {
            UpdateEvent::Initial | UpdateEvent::Added => 0,
            UpdateEvent::Removed => 1,
            UpdateEvent::Modified => 2,
        });
        b.u16(self.reason.into());
        b.u16(self.priority);
        b.u16(self.idle_timeout);
        b.u16(self.hard_timeout);
        let at = b.len();
        b.u16(0);
        b.u8(self.table_id);
        b.u8(0);
        b.u64(self.cookie);
        let (version, tun) = (cx.version(), cx.tun);
        let len = if raw == Raw::Onfst13FlowMonitorReply {
            let len = match11::put_oxm(b, version, &self.match_);
            inst::put(b, &self.acts, version, tun);
            len
        } else {
            let len = nxm::put_nxm(b, &self.match_, (0, 0));
            put_actions(b, &self.acts, version, tun);
            len
        };
        b.set_u16(at, len);
    }
}

impl Multipart {
    /// Begins updates of flow monitors, which nobody asked for: their transaction id is 0.
    #[must_use]
    pub fn flow_updates(version: Version) -> Self {
        Self::new(FlowUpdate::raw(version), version, 0)
    }
    /// Adds an update. False when it does not fit into a message at all.
    pub fn push_flow_update(&mut self, update: &FlowUpdate, tun: Option<&TunTable>) -> bool {
        let raw = self.raw();
        let mut cx = EncodeCx::version_only(self.version());
        cx.tun = tun;
        self.push(|b| update.put(b, raw, &cx))
    }
}
