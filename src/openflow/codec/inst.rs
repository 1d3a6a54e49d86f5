//! Instructions (OpenFlow 1.1, 5.9); in OpenFlow 1.0 all are actions.

use super::acts::{ActRules, decode_action_set, decode_actions, decode_list, put_act, put_actions};
use super::{Decode, Put, Reader};
use crate::action::{Act, Acts};
use crate::error::OfpError;
use crate::verify::{Allowed, Inst, Outer, verify};
use crate::version::Version;
use flow::TunTable;

const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;
const EXPERIMENTER: u16 = 0xffff;

/// Bodies of the instructions of a flow, by [`Inst`].
type Found<'a> = [Option<&'a [u8]>; 6];

/// Takes `len` octets of instructions.
pub(crate) fn decode(r: &mut Reader<'_>, len: usize, rules: &ActRules<'_>) -> Decode<Acts> {
    if rules.version == Version::V10 {
        return decode_actions(r, len, rules, (Allowed::All, Outer::None));
    }
    let bad_len = OfpError::OFPBIC_BAD_LEN;
    if !len.is_multiple_of(8) {
        return Err(bad_len);
    }
    let found = find(r.try_take(len).ok_or(bad_len)?, rules.version)?;
    let mut acts = Acts::new();
    if let Some(body) = found[Inst::Meter as usize] {
        acts.push(Act::Meter(Reader::new(body).u32()?));
    }
    if let Some(body) = found[Inst::Apply as usize] {
        acts = [acts, decode_list(&body[4..], rules)?].concat();
    }
    if found[Inst::Clear as usize].is_some() {
        acts.push(Act::ClearActions);
    }
    if let Some(body) = found[Inst::Write as usize] {
        acts.push(Act::WriteActions(decode_action_set(&body[4..], rules)?));
    }
    if let Some(body) = found[Inst::Metadata as usize] {
        let mut b = Reader::new(&body[4..]);
        acts.push(Act::WriteMetadata {
            metadata: b.u64()?,
            mask: b.u64()?,
        });
    }
    if let Some(body) = found[Inst::Goto as usize] {
        acts.push(Act::GotoTable(body[0]));
    }
    verify(&acts, rules.version, Allowed::All, Outer::None).map_err(|e| e.error)?;
    Ok(acts)
}

fn find(bytes: &[u8], version: Version) -> Decode<Found<'_>> {
    let bad_len = OfpError::OFPBIC_BAD_LEN;
    let mut r = Reader::new(bytes);
    let mut found = Found::default();
    while !r.is_empty() {
        let &[t0, t1, l0, l1, ..] = r.peek() else {
            return Err(bad_len);
        };
        let (ty, len) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([l0, l1]));
        let len = usize::from(len);
        if len < 8 || !len.is_multiple_of(8) {
            return Err(bad_len);
        }
        let all = r.try_take(len).ok_or(bad_len)?;
        let (inst, fits) = match ty {
            GOTO_TABLE => (Inst::Goto, len == 8),
            WRITE_METADATA => (Inst::Metadata, len == 24),
            WRITE_ACTIONS => (Inst::Write, true),
            APPLY_ACTIONS => (Inst::Apply, true),
            CLEAR_ACTIONS => (Inst::Clear, len == 8),
            METER if version < Version::V15 => (Inst::Meter, len == 8),
            EXPERIMENTER => return Err(OfpError::OFPBIC_BAD_EXPERIMENTER),
            _ => return Err(OfpError::OFPBIC_UNKNOWN_INST),
        };
        if !fits {
            return Err(bad_len);
        }
        if found[inst as usize].replace(&all[4..]).is_some() {
            return Err(OfpError::OFPBIC_DUP_INST);
        }
    }
    Ok(found)
}

/// Appends the instructions of a flow.
pub(crate) fn put(b: &mut Vec<u8>, acts: &[Act], version: Version, tun: Option<&TunTable>) {
    if version == Version::V10 {
        return put_actions(b, acts, version, tun);
    }
    for run in acts
        .chunk_by(|x, y| Inst::of(x, version) == Inst::Apply && Inst::of(y, version) == Inst::Apply)
    {
        put_run(b, run, version, tun);
    }
}

fn put_run(b: &mut Vec<u8>, run: &[Act], version: Version, tun: Option<&TunTable>) {
    let at = b.len();
    let mut start = |ty: u16| {
        b.u16(ty);
        b.u16(0);
    };
    match &run[0] {
        act if Inst::of(act, version) == Inst::Apply => {
            start(APPLY_ACTIONS);
            b.zeros(4);
            for act in run {
                put_act(b, act, version, tun);
            }
        }
        Act::WriteActions(acts) => {
            start(WRITE_ACTIONS);
            b.zeros(4);
            put_actions(b, acts, version, tun);
        }
        Act::ClearActions => {
            start(CLEAR_ACTIONS);
            b.zeros(4);
        }
        Act::WriteMetadata { metadata, mask } => {
            start(WRITE_METADATA);
            b.zeros(4);
            b.u64(*metadata);
            b.u64(*mask);
        }
        Act::GotoTable(table) => {
            start(GOTO_TABLE);
            b.u8(*table);
            b.zeros(3);
        }
        Act::Meter(id) if version >= Version::V13 => {
            start(METER);
            b.u32(*id);
        }
        _ => return,
    }
    let len = b.len() - at;
    // A list without actions is left out.
    let empty = matches!(b[at + 1] as u16, WRITE_ACTIONS | APPLY_ACTIONS) && len == 8;
    if empty {
        b.truncate(at);
    } else {
        b.set_u16(at + 2, len);
    }
}
