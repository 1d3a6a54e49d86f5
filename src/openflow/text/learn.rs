//! `learn(...)`, both ways.

use super::parse::{Parse, reg_move};
use super::put_hex;
use super::scan::{Pairs, atoi, strtoull};
use crate::action::{Act, LearnAct, LearnDst, LearnSpec, LearnSrc};
use crate::bits;
use crate::field::{self, parse_subfield, put_subfield, put_value};
use crate::names::{Names, put};
use flow::{FieldValue, Subfield};

/// Priority of flows that name none.
const DEFAULT_PRIORITY: u16 = 32768;

pub(super) fn learn(arg: &str, names: Names<'_>) -> Parse<Act> {
    let mut l = LearnAct {
        idle_timeout: 0,
        hard_timeout: 0,
        priority: DEFAULT_PRIORITY,
        table: 1,
        cookie: 0,
        send_flow_rem: false,
        delete_learned: false,
        write_result: false,
        fin_idle_timeout: 0,
        fin_hard_timeout: 0,
        limit: 0,
        result_dst: None,
        specs: Vec::new(),
    };
    for (key, value) in Pairs::new(arg) {
        let number = || atoi(value) as u16;
        match key {
            "table" => match names.parse_table(value) {
                None => return Err(format!("unknown table \"{value}\"")),
                Some(255) => {
                    return Err(format!("{arg}: table id 255 not valid for `learn' action"));
                }
                Some(table) => l.table = table,
            },
            "priority" => l.priority = number(),
            "idle_timeout" => l.idle_timeout = number(),
            "hard_timeout" => l.hard_timeout = number(),
            "fin_idle_timeout" => l.fin_idle_timeout = number(),
            "fin_hard_timeout" => l.fin_hard_timeout = number(),
            "cookie" => l.cookie = strtoull(value).map_or(0, |(n, _)| n),
            "send_flow_rem" => l.send_flow_rem = true,
            "delete_learned" => l.delete_learned = true,
            "limit" => l.limit = atoi(value) as u32,
            "result_dst" => {
                l.write_result = true;
                l.result_dst = Some(result_dst(value)?);
            }
            _ => l.specs.push(spec(arg, key, value, names)?),
        }
    }
    Ok(Act::Learn(Box::new(l)))
}

fn result_dst(value: &str) -> Parse<Subfield> {
    let dst = parse_subfield(value)?;
    if !field::writable(dst.field) {
        Err(format!("{value} is read-only"))
    } else if dst.n_bits != 1 {
        Err("result_dst in 'learn' action must be a single bit".into())
    } else {
        Ok(dst)
    }
}

fn spec(orig: &str, key: &str, value: &str, names: Names<'_>) -> Parse<LearnSpec> {
    match parse_subfield(key) {
        Ok(dst) => match_spec(orig, (key, value), dst, names),
        Err(_) => match key {
            "load" => load_spec(key, value),
            "output" => {
                let src = parse_subfield(value)?;
                Ok(LearnSpec {
                    n_bits: src.n_bits,
                    src: LearnSrc::Field(src),
                    dst: LearnDst::Output,
                })
            }
            _ => Err(format!("{orig}: unknown keyword {key}")),
        },
    }
}

fn short(dst: Subfield, orig: &str, name: &str) -> Parse<Subfield> {
    match field::nxm_header(dst.field) {
        Some(_) => Ok(dst),
        None => Err(format!(
            "{orig}: experimenter OXM field '{name}' not supported"
        )),
    }
}

fn match_spec(
    orig: &str,
    (name, value): (&str, &str),
    dst: Subfield,
    names: Names<'_>,
) -> Parse<LearnSpec> {
    let dst = short(dst, orig, name)?;
    let src = if value.is_empty() {
        LearnSrc::Field(dst)
    } else {
        match parse_subfield(value) {
            Ok(src) if src.n_bits != dst.n_bits => {
                return Err(format!(
                    "{orig}: bit widths of {name} ({}) and {value} ({}) differ",
                    src.n_bits, dst.n_bits
                ));
            }
            Ok(src) => LearnSrc::Field(src),
            Err(not_field) => {
                LearnSrc::Immediate(immediate(orig, dst, value, names).map_err(|not_value| {
                    format!(
                        "{orig}: {name} value {value} cannot be parsed as a subfield \
                         ({not_field}) or an immediate value ({not_value})"
                    )
                })?)
            }
        }
    };
    Ok(LearnSpec {
        n_bits: dst.n_bits,
        src,
        dst: LearnDst::Match(dst),
    })
}

/// The low bytes of `value` that hold `n_bits` bits.
fn low_bytes(value: &[u8], n_bits: u16) -> FieldValue {
    let n = usize::from(n_bits).div_ceil(8);
    FieldValue::from_slice(&value[value.len() - n..])
}

fn immediate(orig: &str, dst: Subfield, value: &str, names: Names<'_>) -> Parse<FieldValue> {
    if dst.is_whole() {
        let v = field::parse_exact(dst.field, value, names)?;
        return Ok(low_bytes(&v, dst.n_bits));
    }
    let Some((imm, "")) = bits::int_string(value, field::n_bytes(dst.field)) else {
        return Err(format!("{orig}: cannot parse integer value"));
    };
    if !bits::fits(&imm, dst.n_bits) {
        let mut shown = String::new();
        put_value(&mut shown, dst.field, &imm, None, Names::default());
        return Err(format!(
            "{orig}: value {shown} does not fit into {} bits",
            dst.n_bits
        ));
    }
    Ok(low_bytes(&imm, dst.n_bits))
}

fn load_spec(name: &str, value: &str) -> Parse<LearnSpec> {
    let Some((source, dst_text)) = value.split_once("->") else {
        return Err(format!("{name}: missing `->' in `{value}'"));
    };
    if source.is_empty() {
        return Err(format!("{name}: missing source before `->' in `{value}'"));
    }
    // As wide as any field may be.
    let Some((imm, tail)) = bits::int_string(value, 128) else {
        let (src, dst) = reg_move(value)?;
        return Ok(LearnSpec {
            n_bits: src.n_bits,
            src: LearnSrc::Field(src),
            dst: LearnDst::Load(dst),
        });
    };
    if tail.len() != dst_text.len() + 2 {
        return Err(format!("{name}: garbage before `->' in `{value}'"));
    }
    let dst = short(parse_subfield(dst_text)?, value, dst_text)?;
    if !bits::fits(&imm, dst.n_bits) {
        return Err(format!(
            "{value}: value does not fit into {} bits",
            dst.n_bits
        ));
    }
    Ok(LearnSpec {
        n_bits: dst.n_bits,
        src: LearnSrc::Immediate(low_bytes(&imm, dst.n_bits)),
        dst: LearnDst::Load(dst),
    })
}

macro_rules! say {
    ($out:expr, $($arg:tt)*) => { put($out, format_args!($($arg)*)) };
}

pub(super) fn put_learn(out: &mut String, l: &LearnAct, names: Names<'_>) {
    out.push_str("learn(table=");
    names.put_table(out, l.table);
    for (value, word) in [
        (l.idle_timeout, "idle_timeout"),
        (l.hard_timeout, "hard_timeout"),
        (l.fin_idle_timeout, "fin_idle_timeout"),
        (l.fin_hard_timeout, "fin_hard_timeout"),
    ] {
        if value != 0 {
            say!(out, ",{word}={value}");
        }
    }
    if l.priority != DEFAULT_PRIORITY {
        say!(out, ",priority={}", l.priority);
    }
    if l.send_flow_rem {
        out.push_str(",send_flow_rem");
    }
    if l.delete_learned {
        out.push_str(",delete_learned");
    }
    if l.cookie != 0 {
        say!(out, ",cookie={:#x}", l.cookie);
    }
    if l.limit != 0 {
        say!(out, ",limit={}", l.limit);
    }
    if let Some(dst) = &l.result_dst {
        out.push_str(",result_dst=");
        put_subfield(out, dst);
    }
    for spec in &l.specs {
        out.push(',');
        put_spec(out, spec, names);
    }
    out.push(')');
}

fn put_spec(out: &mut String, spec: &LearnSpec, names: Names<'_>) {
    match (&spec.dst, &spec.src) {
        (LearnDst::Match(dst), LearnSrc::Immediate(imm)) if dst.is_whole() => {
            let mut value = FieldValue::from_elem(0, field::n_bytes(dst.field));
            let at = value.len().saturating_sub(imm.len());
            let room = value.len() - at;
            value[at..].copy_from_slice(&imm[imm.len() - room..]);
            say!(out, "{}=", dst.field.name());
            put_value(out, dst.field, &value, None, names);
        }
        (LearnDst::Match(dst), LearnSrc::Immediate(imm)) => {
            put_subfield(out, dst);
            out.push('=');
            put_hex(out, imm);
        }
        (LearnDst::Match(dst), LearnSrc::Field(src)) => {
            put_subfield(out, dst);
            if (src.field, src.ofs) != (dst.field, dst.ofs) {
                out.push('=');
                put_subfield(out, src);
            }
        }
        (LearnDst::Load(dst), src) => {
            out.push_str("load:");
            match src {
                LearnSrc::Immediate(imm) => put_hex(out, imm),
                LearnSrc::Field(src) => put_subfield(out, src),
            }
            out.push_str("->");
            put_subfield(out, dst);
        }
        (LearnDst::Output, LearnSrc::Field(src)) => {
            out.push_str("output:");
            put_subfield(out, src);
        }
        (LearnDst::Output, LearnSrc::Immediate(_)) => {}
    }
}
