//! Text of `set(...)`, masked or not.

use super::fields;
use super::nsh;
use super::put::{AltHex, put};
use super::scan::Scan;
use crate::action::{Action, SetKey};
use flow::{Attr, Flow, NoOdpNames, OdpKey};

/// `set(header(...))`. A mask is of the same kind as the key.
pub(super) fn put_set(out: &mut String, key: &SetKey, mask: Option<&SetKey>) {
    out.push_str("set(");
    if let Some((name, key)) = fields::of_key(key) {
        let mask = mask.and_then(fields::of_key).map(|(_, m)| m);
        put!(out, "{name}(");
        fields::put_fields(out, &key, mask.as_ref());
    } else {
        put_special(out, key, mask);
    }
    out.push_str("))");
}

/// Headers that are not lists of fields, without the closing parenthesis.
fn put_special(out: &mut String, key: &SetKey, mask: Option<&SetKey>) {
    match (key, mask) {
        (SetKey::Priority(v), m) => {
            let mask = if let Some(SetKey::Priority(m)) = m {
                *m
            } else {
                u32::MAX
            };
            put_word(out, "skb_priority", *v, mask);
        }
        (SetKey::SkbMark(v), m) => {
            let mask = if let Some(SetKey::SkbMark(m)) = m {
                *m
            } else {
                u32::MAX
            };
            put_word(out, "skb_mark", *v, mask);
        }
        (SetKey::Tunnel(t), _) => {
            let mut flow = Flow::zero();
            flow.tunnel = **t;
            Attr::Tunnel.format(out, (&flow, None), &NoOdpNames, true);
            out.pop(); // the closing parenthesis is the caller's
        }
        (
            SetKey::NdExtensions {
                reserved,
                options_type,
            },
            m,
        ) => {
            let mask = match m {
                Some(SetKey::NdExtensions { options_type, .. }) => *options_type,
                _ => 0xff,
            };
            out.push_str("nd_ext(");
            nsh::put_nd_extensions(out, *reserved, (*options_type, mask));
        }
        (SetKey::Mpls { lse }, m) => {
            out.push_str("mpls(");
            match m {
                Some(SetKey::Mpls { lse: m }) if *m != u32::MAX => put_lse_masked(out, *lse, *m),
                _ => put_lse(out, *lse),
            }
        }
        (SetKey::Nsh(key), m) => {
            out.push_str("nsh(");
            let mask = if let Some(SetKey::Nsh(m)) = m {
                Some(m)
            } else {
                None
            };
            nsh::put_key(out, key, mask);
        }
        // fields::of_key knows all the others.
        _ => {}
    }
}

fn put_word(out: &mut String, name: &str, value: u32, mask: u32) {
    put!(out, "{name}({}", AltHex(value.into()));
    if mask != u32::MAX {
        put!(out, "/{}", AltHex(mask.into()));
    }
}

/// An MPLS label stack entry.
pub(super) fn put_lse(out: &mut String, lse: u32) {
    let [label, tc, ttl, bos] = lse_parts(lse);
    put!(out, "label={label},tc={tc},ttl={ttl},bos={bos}");
}

fn put_lse_masked(out: &mut String, lse: u32, mask: u32) {
    let ([label, tc, ttl, bos], m) = (lse_parts(lse), lse_parts(mask));
    put!(
        out,
        "label={label}/{:#x},tc={tc}/{:x},ttl={ttl}/{:#x},bos={bos}/{:x}",
        m[0],
        m[1],
        m[2],
        m[3]
    );
}

fn lse_parts(lse: u32) -> [u32; 4] {
    [lse >> 12, lse >> 9 & 7, lse & 0xff, lse >> 8 & 1]
}

/// Name, first bit and width of the parts of a label stack entry.
const LSE_FIELDS: [(&str, u32, u32); 4] = [
    ("label", 12, 20),
    ("tc", 9, 3),
    ("ttl", 0, 8),
    ("bos", 8, 1),
];

/// `label=..,tc=..,...` up to the closing parenthesis, which is taken: entry and mask.
fn scan_lse(s: &mut Scan<'_>) -> Option<(u32, u32)> {
    let (mut lse, mut mask) = (0, 0);
    loop {
        let name = s.word(&['='])?;
        s.lit("=")?;
        let (_, shift, bits) = *LSE_FIELDS.iter().find(|f| f.0 == name)?;
        let fits = |n: &u32| n >> bits == 0;
        lse |= s.u32().filter(fits)? << shift;
        mask |= if s.is("/") {
            s.u32().filter(fits)?
        } else {
            (1 << bits) - 1
        } << shift;
        if s.is(")") {
            return Some((lse, mask));
        }
        s.lit(",")?;
    }
}

/// `set(...)`; the word `set(` has been read, the closing parenthesis is taken.
pub(super) fn scan_set(s: &mut Scan<'_>) -> Option<Action> {
    let start = *s;
    let name = s.word(&['('])?;
    s.lit("(")?;
    let (key, mask) = match name {
        "skb_priority" => scan_word(s).map(|(v, m)| (SetKey::Priority(v), SetKey::Priority(m)))?,
        "skb_mark" => scan_word(s).map(|(v, m)| (SetKey::SkbMark(v), SetKey::SkbMark(m)))?,
        "mpls" => scan_lse(s).map(|(v, m)| (SetKey::Mpls { lse: v }, SetKey::Mpls { lse: m }))?,
        "nsh" => nsh::scan_key(s).map(|(v, m)| (SetKey::Nsh(v), SetKey::Nsh(m)))?,
        "nd_ext" => scan_nd_extensions(s)?,
        "tunnel" => {
            let mut key = OdpKey::empty();
            let (_, rest) = Attr::parse(start.0, &mut key, &NoOdpNames).ok()?;
            s.0 = rest;
            s.lit(")")?;
            return Some(Action::Set(SetKey::Tunnel(Box::new(key.flow.tunnel))));
        }
        _ => scan_header(s, name)?,
    };
    s.lit(")")?;
    Some(if is_exact(&mask) {
        Action::Set(key)
    } else {
        Action::SetMasked { key, mask }
    })
}

fn scan_header(s: &mut Scan<'_>, name: &str) -> Option<(SetKey, SetKey)> {
    let mut key = fields::template(name)?;
    let mut mask = key.clone();
    let (_, template) = fields::of_key(&key)?;
    let (values, masks) = fields::scan_fields(s, &template)?;
    fields::into_key(&mut key, &values);
    fields::into_key(&mut mask, &masks);
    Some((key, mask))
}

/// `VALUE[/MASK])`.
fn scan_word(s: &mut Scan<'_>) -> Option<(u32, u32)> {
    let value = s.u32()?;
    let mask = if s.is("/") { s.u32()? } else { u32::MAX };
    s.lit(")")?;
    Some((value, mask))
}

fn scan_nd_extensions(s: &mut Scan<'_>) -> Option<(SetKey, SetKey)> {
    let ext = |reserved, options_type| SetKey::NdExtensions {
        reserved,
        options_type,
    };
    let (mut word, mut kind) = ((0, 0), (0, 0));
    loop {
        if s.is("nd_reserved=") {
            word = (s.u32()?, if s.is("/") { s.u32()? } else { u32::MAX });
        } else {
            s.lit("nd_options_type=")?;
            kind = (s.u8()?, if s.is("/") { s.u8()? } else { 0xff });
        }
        if s.is(")") {
            return Some((ext(word.0, kind.0), ext(word.1, kind.1)));
        }
        s.lit(",")?;
    }
}

/// True when a mask leaves nothing out, so that the action is a plain `set`.
fn is_exact(mask: &SetKey) -> bool {
    match mask {
        SetKey::Priority(m) | SetKey::SkbMark(m) | SetKey::Mpls { lse: m } => *m == u32::MAX,
        SetKey::NdExtensions {
            reserved,
            options_type,
        } => *reserved == u32::MAX && *options_type == 0xff,
        _ => fields::of_key(mask).is_some_and(|(_, m)| fields::is_exact(&m)),
    }
}
