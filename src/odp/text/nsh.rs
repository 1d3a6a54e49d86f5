//! Text of network service headers: `push_nsh(...)`, `nsh(...)` in `set`.

use super::put::{AltHex, Hex, put};
use super::scan::Scan;
use crate::action::NshPush;
use flow::NshKey;
use wire::U32;

/// Metadata bytes of an MD type 2 header.
const MD2_MAX: usize = 248;
const SPI_MAX: u32 = 0xff_ffff;

fn path(spi: u32, si: u8) -> U32 {
    U32::new(spi << 8 | u32::from(si))
}

fn spi(key: &NshKey) -> u32 {
    key.path_hdr.get() >> 8
}

fn si(key: &NshKey) -> u8 {
    key.path_hdr.get() as u8
}

fn put_base(out: &mut String, key: &NshKey) {
    put!(
        out,
        "flags={},ttl={},mdtype={},np={}",
        key.flags,
        key.ttl,
        key.mdtype,
        key.np
    );
    put!(out, ",spi={:#x},si={}", spi(key), si(key));
}

fn put_context(out: &mut String, key: &NshKey) {
    for (i, c) in key.context.iter().enumerate() {
        put!(out, ",c{}={:#x}", i + 1, c.get());
    }
}

/// `push_nsh(...)`.
pub(super) fn put_push(out: &mut String, push: &NshPush) {
    out.push_str("push_nsh(");
    put_base(out, &push.key);
    match push.key.mdtype {
        1 => put_context(out, &push.key),
        2 => put!(out, ",md2={}", Hex(&push.md2)),
        _ => out.push_str(",<error: unknown mdtype>"),
    }
    out.push(')');
}

/// What stands between the parentheses of `nsh(...)`; with a mask, only what is looked at.
pub(super) fn put_key(out: &mut String, key: &NshKey, mask: Option<&NshKey>) {
    let Some(mask) = mask else {
        put_base(out, key);
        if key.mdtype == 1 {
            put_context(out, key);
        }
        return;
    };
    let mut separator = "";
    let mut item = |out: &mut String, name: &str, value: String| {
        put!(out, "{separator}{name}={value}");
        separator = ",";
    };
    let bytes = [
        ("flags", key.flags, mask.flags),
        ("ttl", key.ttl, mask.ttl),
        ("mdtype", key.mdtype, mask.mdtype),
        ("np", key.np, mask.np),
    ];
    let byte = |v: u8, m: u8| match m {
        0xff => v.to_string(),
        m => format!("{v:#04x}/{m:#04x}"),
    };
    let word = |v: u32, m: u32| match m {
        u32::MAX => format!("{v:#x}"),
        m => format!("{v:#x}/{m:#010x}"),
    };
    for (name, v, m) in bytes.into_iter().filter(|b| b.2 != 0) {
        item(out, name, byte(v, m));
    }
    let spi_mask = match spi(mask) {
        SPI_MAX => u32::MAX,
        m => m,
    };
    if spi_mask != 0 {
        item(out, "spi", word(spi(key), spi_mask));
    }
    if si(mask) != 0 {
        item(out, "si", byte(si(key), si(mask)));
    }
    for (i, (v, m)) in key.context.iter().zip(&mask.context).enumerate() {
        if m.get() != 0 {
            item(out, &format!("c{}", i + 1), word(v.get(), m.get()));
        }
    }
}

/// `push_nsh(...)`; the name has been read, the closing parenthesis is taken.
pub(super) fn scan_push(s: &mut Scan<'_>) -> Option<NshPush> {
    let mut push = NshPush {
        key: NshKey {
            ttl: 63,
            mdtype: 1,
            np: 3,
            ..NshKey::default()
        },
        md2: Vec::new(),
    };
    let (mut new_spi, mut new_si) = (0, 255);
    loop {
        s.delimiters();
        if s.is(")") {
            push.key.path_hdr = path(new_spi, new_si);
            return Some(push);
        }
        let name = s.word(&['=', ')'])?;
        s.lit("=")?;
        let key = &mut push.key;
        match name {
            "flags" => key.flags = s.u8()?,
            "ttl" => key.ttl = s.u8()?,
            "mdtype" => key.mdtype = s.u8().filter(|t| matches!(t, 1 | 2))?,
            "np" => key.np = s.u8()?,
            "spi" => new_spi = s.hex()? as u32 & SPI_MAX,
            "si" => new_si = s.u8()?,
            "c1" if key.mdtype == 1 => key.context[0].set(s.hex()? as u32),
            "c2" if key.mdtype == 1 => key.context[1].set(s.hex()? as u32),
            "c3" if key.mdtype == 1 => key.context[2].set(s.hex()? as u32),
            "c4" if key.mdtype == 1 => key.context[3].set(s.hex()? as u32),
            "md2" if key.mdtype == 2 => {
                s.lit("0x")?;
                push.md2 = s.octets();
                if push.md2.len() > MD2_MAX {
                    return None;
                }
                push.md2.resize(push.md2.len().next_multiple_of(4), 0);
            }
            _ => return None,
        }
    }
}

/// `nsh(...)` of a `set`; the name has been read, the closing parenthesis is taken. Key and mask.
pub(super) fn scan_key(s: &mut Scan<'_>) -> Option<(NshKey, NshKey)> {
    let (mut key, mut mask) = (NshKey::default(), NshKey::default());
    let mut paths = [(0, 0), (0, 0)];
    loop {
        let name = s.word(&['='])?;
        s.lit("=")?;
        let value = s.u32()?;
        let m = if s.is("/") { s.u32()? } else { u32::MAX };
        let (v8, m8) = (value as u8, m as u8);
        match name {
            "flags" => (key.flags, mask.flags) = (v8, m8),
            "ttl" => (key.ttl, mask.ttl) = (v8, m8),
            "mdtype" => (key.mdtype, mask.mdtype) = (v8, m8),
            "np" => (key.np, mask.np) = (v8, m8),
            "spi" => (paths[0].0, paths[1].0) = (value & SPI_MAX, m & SPI_MAX),
            "si" => (paths[0].1, paths[1].1) = (v8, m8),
            "c1" => (key.context[0], mask.context[0]) = (U32::new(value), U32::new(m)),
            "c2" => (key.context[1], mask.context[1]) = (U32::new(value), U32::new(m)),
            "c3" => (key.context[2], mask.context[2]) = (U32::new(value), U32::new(m)),
            "c4" => (key.context[3], mask.context[3]) = (U32::new(value), U32::new(m)),
            _ => return None,
        }
        if s.is(")") {
            key.path_hdr = path(paths[0].0, paths[0].1);
            mask.path_hdr = path(paths[1].0, paths[1].1);
            return Some((key, mask));
        }
        s.lit(",")?;
    }
}

/// `nd_ext(...)`'s reserved word is always written; it is here because it is written as NSH words are.
pub(super) fn put_nd_extensions(out: &mut String, reserved: u32, (kind, mask): (u8, u8)) {
    put!(out, "nd_reserved={reserved:#x}");
    match mask {
        0 => {}
        0xff => put!(out, ",nd_options_type={kind}"),
        m => put!(out, ",nd_options_type={kind}/{}", AltHex(m.into())),
    }
}
