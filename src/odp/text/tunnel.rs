//! Text of tunnel metadata in `set(tunnel(...))`, and of Geneve options.

use super::put::{AltHex, Hex, chomp, put};
use super::scan::{Scan, put_flags};
use flow::TunnelKey;
use wire::{Ipv4, Ipv6, U16, U32, U64};
use zerocopy::FromZeros;

/// Bits of [`TunnelKey::flags`] by name.
const FLAGS: [&str; 4] = ["df", "csum", "key", "oam"];
/// Data bytes of one Geneve option.
const OPTION_MAX: usize = 124;
/// Bytes of all Geneve options of a packet.
const OPTIONS_MAX: usize = 252;

/// What stands between the parentheses of `tunnel(...)`.
pub(super) fn put_tunnel(out: &mut String, t: &TunnelKey) {
    let flags = t.flags.get();
    let has_key = t.tun_id.get() != 0 || flags & TunnelKey::F_KEY != 0;
    if has_key {
        put!(out, "tun_id={:#x},", t.tun_id.get());
    }
    for (name, ip) in [("src", t.ip_src), ("dst", t.ip_dst)] {
        if ip != Ipv4::default() {
            put!(out, "{name}={ip},");
        }
    }
    for (name, ip) in [("ipv6_src", t.ipv6_src), ("ipv6_dst", t.ipv6_dst)] {
        if ip != Ipv6::default() {
            put!(out, "{name}={ip},");
        }
    }
    if t.ip_tos != 0 {
        put!(out, "tos={:#x},", t.ip_tos);
    }
    put!(out, "ttl={},", t.ip_ttl);
    for (name, port) in [("tp_src", t.tp_src), ("tp_dst", t.tp_dst)] {
        if port.get() != 0 {
            put!(out, "{name}={port},");
        }
    }
    put_extensions(out, t);
    out.push_str("flags(");
    let shown = flags & 0xf | if has_key { TunnelKey::F_KEY } else { 0 };
    put_flags(out, shown.into(), &FLAGS, '|');
    out.push(')');
}

/// What only one tunnel type has.
fn put_extensions(out: &mut String, t: &TunnelKey) {
    if t.gbp_id.get() != 0 || t.gbp_flags != 0 {
        let flags = AltHex(t.gbp_flags.into());
        put!(out, "vxlan(gbp(id={},flags={flags})),", t.gbp_id);
    }
    if t.flags.get() & TunnelKey::F_UDPIF != 0 && t.opts_len != 0 {
        out.push_str("geneve(");
        let options = t.opts.get(..usize::from(t.opts_len)).unwrap_or(&t.opts);
        put_geneve_options(out, options);
        out.push_str("),");
    }
    match t.erspan_ver {
        1 => put!(
            out,
            "erspan(ver=1,idx={}),",
            AltHex(t.erspan_idx.get().into())
        ),
        2 => {
            let hwid = AltHex(t.erspan_hwid.into());
            put!(out, "erspan(ver=2,dir={},hwid={hwid}),", t.erspan_dir);
        }
        _ => {}
    }
    if t.gtpu_flags != 0 && t.gtpu_msgtype != 0 {
        put!(
            out,
            "gtpu(flags={:#x},msgtype={}),",
            t.gtpu_flags,
            t.gtpu_msgtype
        );
    }
}

/// `{class=..,type=..,len=..,0x..}` for each option in wire form.
pub(super) fn put_geneve_options(out: &mut String, mut options: &[u8]) {
    while let [c0, c1, kind, len, rest @ ..] = options {
        let data_len = usize::from(len & 0x1f) * 4;
        let Some((data, after)) = rest.split_at_checked(data_len) else {
            put!(
                out,
                "opt len {} greater than remaining {}",
                data_len + 4,
                options.len()
            );
            return;
        };
        let class = AltHex(u16::from_be_bytes([*c0, *c1]).into());
        let kind = AltHex((*kind).into());
        put!(out, "{{class={class},type={kind},len={data_len},");
        if data.is_empty() {
            chomp(out);
        } else {
            put!(out, "{}", Hex(data));
        }
        out.push('}');
        options = after;
    }
    if !options.is_empty() {
        put!(out, "opt len {} less than minimum 4", options.len());
    }
}

/// Options as [`put_geneve_options`] writes them, up to the closing parenthesis, which is taken.
pub(super) fn scan_geneve_options(s: &mut Scan<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while s.is("{") {
        let (mut class, mut kind, mut data) = (0u16, 0, Vec::new());
        let mut len = 0;
        while !s.is("}") {
            if s.is("class=") {
                class = s.u16()?;
            } else if s.is("type=") {
                kind = s.u8()?;
            } else if s.is("len=") {
                len = usize::from(s.u8()?);
                if len > OPTION_MAX || len % 4 != 0 {
                    return None;
                }
            } else {
                data = s.bytes(len)?;
                s.lit("}")?;
                break;
            }
            if !s.0.starts_with('}') {
                s.lit(",")?;
            }
        }
        data.resize(len, 0);
        out.extend(class.to_be_bytes());
        out.extend([kind, (len / 4) as u8]);
        out.extend(data);
        if out.len() > OPTIONS_MAX {
            return None;
        }
    }
    s.lit(")")?;
    Some(out)
}

/// `tunnel(...)`; the name has been read, the closing parenthesis is taken.
pub(super) fn scan_tunnel(s: &mut Scan<'_>) -> Option<TunnelKey> {
    let mut t = TunnelKey::new_zeroed();
    loop {
        scan_field(s, &mut t)?;
        if s.is(")") {
            return Some(t);
        }
        s.lit(",")?;
    }
}

fn scan_field(s: &mut Scan<'_>, t: &mut TunnelKey) -> Option<()> {
    let mut flags = t.flags.get();
    let name = s.word(&['=', '(', ')'])?;
    if !s.is("=") {
        s.lit("(")?;
    }
    match name {
        "tun_id" => {
            t.tun_id = U64::new(s.int()?);
            flags |= TunnelKey::F_KEY;
        }
        "src" => t.ip_src = s.ipv4()?,
        "dst" => t.ip_dst = s.ipv4()?,
        "ipv6_src" => t.ipv6_src = s.ipv6()?,
        "ipv6_dst" => t.ipv6_dst = s.ipv6()?,
        "tos" => t.ip_tos = s.u8()?,
        "ttl" => t.ip_ttl = s.u8()?,
        "tp_src" => t.tp_src = U16::new(s.u16()?),
        "tp_dst" => t.tp_dst = U16::new(s.u16()?),
        "vxlan" => scan_gbp(s, t)?,
        "erspan" => scan_erspan(s, t)?,
        "gtpu" => {
            s.lit("flags=")?;
            t.gtpu_flags = s.u8()?;
            s.lit(",msgtype=")?;
            t.gtpu_msgtype = s.u8()?;
            s.lit(")")?;
        }
        "geneve" => {
            let options = scan_geneve_options(s)?;
            t.opts[..options.len()].copy_from_slice(&options);
            t.opts_len = options.len() as u8;
            flags |= TunnelKey::F_UDPIF;
        }
        "flags" => {
            flags |= s.flags(&FLAGS)? as u16;
            s.lit(")")?;
        }
        _ => return None,
    }
    t.flags = U16::new(flags);
    Some(())
}

fn scan_gbp(s: &mut Scan<'_>, t: &mut TunnelKey) -> Option<()> {
    s.lit("gbp(")?;
    if s.is("id=") {
        t.gbp_id = U16::new(s.u16()?);
    }
    s.is(",");
    if s.is("flags=") {
        t.gbp_flags = s.u8()?;
    }
    s.lit("))")
}

fn scan_erspan(s: &mut Scan<'_>, t: &mut TunnelKey) -> Option<()> {
    s.lit("ver=")?;
    t.erspan_ver = s.u8()?;
    s.lit(",")?;
    if t.erspan_ver == 1 {
        s.lit("idx=")?;
        t.erspan_idx = U32::new(s.u32()?);
        return s.lit(")");
    }
    if t.erspan_ver != 2 {
        return None;
    }
    s.lit("dir=")?;
    t.erspan_dir = s.u8()?;
    s.lit(",hwid=")?;
    t.erspan_hwid = s.u8()?;
    s.lit(")")
}
