//! `learn` as bytes (`NXAST_LEARN`, `NXAST_LEARN2`).

use super::decode::ActRules;
use super::encode::{Out, close, nx};
use crate::action::{Act, LearnAct, LearnDst, LearnSpec, LearnSrc};
use crate::check::check_src;
use crate::codec::oxm;
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use flow::{FieldValue, Subfield};

const SEND_FLOW_REM: u16 = 1;
const DELETE_LEARNED: u16 = 2;
const WRITE_RESULT: u16 = 4;

const N_BITS: u16 = 0x3ff;
const SRC_IMMEDIATE: u16 = 1 << 13;
const DST: u16 = 3 << 11;
const DST_MATCH: u16 = 0;
const DST_LOAD: u16 = 1 << 11;
const DST_OUTPUT: u16 = 2 << 11;

pub(super) fn decode(second: bool, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let bad = OfpError::OFPBAC_BAD_ARGUMENT;
    let (idle_timeout, hard_timeout, priority) = (b.u16()?, b.u16()?, b.u16()?);
    let (cookie, flags, table, pad) = (b.u64()?, b.u16()?, b.u8()?, b.u8()?);
    let (fin_idle_timeout, fin_hard_timeout) = (b.u16()?, b.u16()?);
    let (mut limit, mut result_ofs) = (0, 0);
    if second {
        limit = b.u32()?;
        result_ofs = b.u16()?;
        if b.u16()? != 0 {
            return Err(OfpError::NXBAC_MUST_BE_ZERO);
        }
    }
    let known = SEND_FLOW_REM | DELETE_LEARNED | if second { WRITE_RESULT } else { 0 };
    if pad != 0 || table == u8::MAX || flags & !known != 0 {
        return Err(bad);
    }
    let mut result_dst = None;
    if flags & WRITE_RESULT != 0 {
        let field = rules.place().header(b)?;
        if !field.info().writable {
            return Err(OfpError::OFPBAC_BAD_SET_ARGUMENT);
        }
        let dst = Subfield {
            field,
            ofs: result_ofs,
            n_bits: 1,
        };
        check_src(&dst)?;
        result_dst = Some(dst);
    } else if result_ofs != 0 {
        return Err(bad);
    }
    Ok(Act::Learn(Box::new(LearnAct {
        idle_timeout,
        hard_timeout,
        priority,
        table,
        cookie,
        send_flow_rem: flags & SEND_FLOW_REM != 0,
        delete_learned: flags & DELETE_LEARNED != 0,
        write_result: result_dst.is_some(),
        fin_idle_timeout,
        fin_hard_timeout,
        limit,
        result_dst,
        specs: specs(b, rules)?,
    })))
}

/// Pieces up to a zero word or the end.
fn specs(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Vec<LearnSpec>> {
    let mut out = Vec::new();
    while !b.is_empty() {
        let header = b.u16().map_err(|_| OfpError::OFPBAC_BAD_LEN)?;
        if header == 0 {
            break;
        }
        out.push(spec(header, b, rules)?);
    }
    if b.rest_is_zero() {
        Ok(out)
    } else {
        Err(OfpError::OFPBAC_BAD_ARGUMENT)
    }
}

fn spec(header: u16, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<LearnSpec> {
    let n_bits = header & N_BITS;
    let (immediate, dst) = (header & SRC_IMMEDIATE != 0, header & DST);
    let valid = match dst {
        DST_MATCH | DST_LOAD => true,
        DST_OUTPUT => !immediate,
        _ => false,
    };
    if !valid {
        return Err(OfpError::OFPBAC_BAD_ARGUMENT);
    }
    let imm_len = 2 * usize::from(n_bits).div_ceil(16);
    let needed = if immediate { imm_len } else { 6 } + if dst == DST_OUTPUT { 0 } else { 6 };
    if b.len() < needed {
        return Err(OfpError::OFPBAC_BAD_LEN);
    }
    let src = if immediate {
        let all = b.take(imm_len)?;
        let bytes = usize::from(n_bits).div_ceil(8);
        LearnSrc::Immediate(FieldValue::from_slice(&all[imm_len - bytes..]))
    } else {
        LearnSrc::Field(subfield(n_bits, b, rules)?)
    };
    let dst = match dst {
        DST_MATCH => LearnDst::Match(subfield(n_bits, b, rules)?),
        DST_LOAD => LearnDst::Load(subfield(n_bits, b, rules)?),
        _ => LearnDst::Output,
    };
    Ok(LearnSpec { n_bits, src, dst })
}

fn subfield(n_bits: u16, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Subfield> {
    let header = b.u32()?;
    let ofs = b.u16()?;
    let sub = rules.subfield(header, (ofs, n_bits))?;
    check_src(&sub)?;
    Ok(sub)
}

pub(super) fn put(o: &mut Out<'_>, l: &LearnAct) {
    let second = l.limit != 0 || l.write_result;
    let at = nx(o, if second { 45 } else { 16 });
    for v in [l.idle_timeout, l.hard_timeout, l.priority] {
        o.b.u16(v);
    }
    o.b.u64(l.cookie);
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    o.b.u16(
        flag(l.send_flow_rem, SEND_FLOW_REM)
            | flag(l.delete_learned, DELETE_LEARNED)
            | flag(l.write_result, WRITE_RESULT),
    );
    o.b.u8(l.table);
    o.b.u8(0);
    o.b.u16(l.fin_idle_timeout);
    o.b.u16(l.fin_hard_timeout);
    if second {
        o.b.u32(l.limit);
        o.b.u16(l.result_dst.map_or(0, |d| d.ofs));
        o.b.u16(0);
        if let Some(dst) = &l.result_dst {
            oxm::put_header(o.b, dst.field, 0, o.tun);
        }
    }
    for spec in &l.specs {
        put_spec(o, spec);
    }
    close(o, at);
}

fn put_spec(o: &mut Out<'_>, spec: &LearnSpec) {
    let dst = match spec.dst {
        LearnDst::Match(_) => DST_MATCH,
        LearnDst::Load(_) => DST_LOAD,
        LearnDst::Output => DST_OUTPUT,
    };
    let src = match spec.src {
        LearnSrc::Immediate(_) => SRC_IMMEDIATE,
        LearnSrc::Field(_) => 0,
    };
    o.b.u16(spec.n_bits | dst | src);
    match &spec.src {
        LearnSrc::Field(sub) => put_subfield(o, sub),
        LearnSrc::Immediate(imm) => {
            let len = 2 * usize::from(spec.n_bits).div_ceil(16);
            o.b.zeros(len.saturating_sub(imm.len()));
            o.b.bytes(imm);
        }
    }
    if let LearnDst::Match(sub) | LearnDst::Load(sub) = &spec.dst {
        put_subfield(o, sub);
    }
}

fn put_subfield(o: &mut Out<'_>, sub: &Subfield) {
    let header = oxm::short_header(sub.field, o.tun);
    o.b.u32(header);
    o.b.u16(sub.ofs);
}
