//! `tunnel(...)`.
//!
//! A tunnel key is a list of attributes of its own; a part whose value is zero is not in it, and a part
//! of the mask whose attribute is missing counts as zero.

use super::put::{Hex, Parts};
use crate::key::TunnelKey;
use crate::text::put::{self, put};
use crate::tun_table::GeneveOption;
use wire::{Ipv4, Ipv6};

const FLAGS: u16 = TunnelKey::F_DF | TunnelKey::F_CSUM | TunnelKey::F_KEY | TunnelKey::F_OAM;

/// A part's mask, or `exact` when there is no mask at all.
fn or<T>(mask: Option<T>, exact: T) -> T {
    mask.unwrap_or(exact)
}

pub(super) fn format(p: &mut Parts<'_>, t: &TunnelKey, mask: Option<&TunnelKey>) {
    let has_id = t.tun_id.get() != 0 || t.flags.get() & TunnelKey::F_KEY != 0;
    if has_id {
        p.u64_hex("tun_id", t.tun_id.get(), mask.map(|m| m.tun_id.get()));
    }
    addresses(p, t, mask);
    if t.ip_tos != 0 {
        p.u8_hex("tos", t.ip_tos, or(mask.map(|m| m.ip_tos), u8::MAX));
    }
    p.u8("ttl", t.ip_ttl, or(mask.map(|m| m.ip_ttl), u8::MAX));
    if t.tp_src.get() != 0 {
        p.u16(
            "tp_src",
            t.tp_src.get(),
            or(mask.map(|m| m.tp_src.get()), u16::MAX),
        );
    }
    if t.tp_dst.get() != 0 {
        p.u16(
            "tp_dst",
            t.tp_dst.get(),
            or(mask.map(|m| m.tp_dst.get()), u16::MAX),
        );
    }
    options(p, t, mask);
    // A key counts as a flag when the packet has one, whatever the mask says.
    let known = |flags: u16, key: bool| {
        flags & FLAGS & !TunnelKey::F_KEY | if key { TunnelKey::F_KEY } else { 0 }
    };
    let set = known(t.flags.get(), has_id);
    match mask.map(|m| known(m.flags.get(), has_id)) {
        Some(0) if !p.verbose => {}
        Some(m) => {
            p.out.push_str("flags(");
            let all = (set.into(), m.into(), FLAGS.into());
            put::flags_masked(p.out, put::tun_flag_name, all);
            p.out.push_str("),");
        }
        None => {
            p.out.push_str("flags(");
            put::flags(p.out, put::tun_flag_name, set.into(), '|');
            p.out.push_str("),");
        }
    }
}

fn addresses(p: &mut Parts<'_>, t: &TunnelKey, mask: Option<&TunnelKey>) {
    let (v4, v6) = (Ipv4([0xff; 4]), Ipv6([0xff; 16]));
    if t.ip_src != Ipv4::default() {
        p.ipv4("src", t.ip_src, or(mask.map(|m| m.ip_src), v4));
    }
    if t.ip_dst != Ipv4::default() {
        p.ipv4("dst", t.ip_dst, or(mask.map(|m| m.ip_dst), v4));
    }
    if t.ipv6_src != Ipv6::default() {
        p.ipv6("ipv6_src", t.ipv6_src, or(mask.map(|m| m.ipv6_src), v6));
    }
    if t.ipv6_dst != Ipv6::default() {
        p.ipv6("ipv6_dst", t.ipv6_dst, or(mask.map(|m| m.ipv6_dst), v6));
    }
}

fn options(p: &mut Parts<'_>, t: &TunnelKey, mask: Option<&TunnelKey>) {
    if t.gbp_flags != 0 || t.gbp_id.get() != 0 {
        p.out.push_str("vxlan(gbp(");
        p.u16(
            "id",
            t.gbp_id.get(),
            or(mask.map(|m| m.gbp_id.get()), u16::MAX),
        );
        p.u8_hex("flags", t.gbp_flags, or(mask.map(|m| m.gbp_flags), u8::MAX));
        p.end();
        p.out.push_str(")),");
    }
    if t.flags.get() & TunnelKey::F_UDPIF != 0 {
        p.out.push_str("geneve(");
        geneve(p, t, mask);
        p.out.push_str("),");
    }
    if matches!(t.erspan_ver, 1 | 2) {
        p.out.push_str("erspan(");
        // The mask's own version decides what it masks; one that is no version masks nothing.
        let m = mask.map(|m| {
            if matches!(m.erspan_ver, 1 | 2) {
                *m
            } else {
                no_mask()
            }
        });
        erspan(p, t, m.as_ref());
        p.end();
        p.out.push_str("),");
    }
    if t.gtpu_flags != 0 && t.gtpu_msgtype != 0 {
        let both = |m: &TunnelKey| m.gtpu_flags != 0 && m.gtpu_msgtype != 0;
        let m = mask.map(|m| {
            if both(m) {
                (m.gtpu_flags, m.gtpu_msgtype)
            } else {
                (0, 0)
            }
        });
        let (flags, msgtype) = or(m, (u8::MAX, u8::MAX));
        p.out.push_str("gtpu(");
        p.u8_hex("flags", t.gtpu_flags, flags);
        p.u8("msgtype", t.gtpu_msgtype, msgtype);
        p.end();
        p.out.push_str("),");
    }
}

fn no_mask() -> TunnelKey {
    crate::Flow::zero().tunnel
}

fn erspan(p: &mut Parts<'_>, t: &TunnelKey, mask: Option<&TunnelKey>) {
    p.u8("ver", t.erspan_ver, or(mask.map(|m| m.erspan_ver), u8::MAX));
    if t.erspan_ver == 1 {
        put(
            p.out,
            format_args!("idx={}", Hex(t.erspan_idx.get().into())),
        );
        if let Some(m) = mask {
            put(p.out, format_args!("/{}", Hex(m.erspan_idx.get().into())));
        }
        p.out.push(',');
    } else {
        p.u8("dir", t.erspan_dir, or(mask.map(|m| m.erspan_dir), u8::MAX));
        p.u8_hex(
            "hwid",
            t.erspan_hwid,
            or(mask.map(|m| m.erspan_hwid), u8::MAX),
        );
    }
}

/// Raw options, each in braces; the mask has as many octets as the key.
fn geneve(p: &mut Parts<'_>, t: &TunnelKey, mask: Option<&TunnelKey>) {
    let end = usize::from(t.opts_len).min(t.opts.len());
    let mut at = 0;
    while let Some(option) = GeneveOption::at(&t.opts[..end], at) {
        let (head, value) = t.opts[at..at + 4 + option.len].split_at(4);
        let exact = [0xff; 4 + 124];
        let m = mask.map_or(&exact[..4 + option.len], |m| {
            &m.opts[at..at + 4 + option.len]
        });
        let (head_mask, value_mask) = m.split_at(4);
        let be = |b: &[u8]| u16::from(b[0]) << 8 | u16::from(b[1]);
        p.out.push('{');
        p.u16_hex("class", be(head), be(head_mask));
        p.u8_hex("type", head[2], head_mask[2]);
        // The length counts as exact when its five bits are.
        let len_mask = match head_mask[3] & 0x1f {
            0x1f => u8::MAX,
            n => n,
        };
        p.u8("len", value.len() as u8, len_mask);
        let empty = value_mask.iter().all(|&b| b == 0);
        if value.is_empty() || (empty && !p.verbose) {
            p.end();
        } else {
            put::hex(p.out, value);
            if value_mask.iter().any(|&b| b != 0xff) {
                p.out.push('/');
                put::hex(p.out, value_mask);
            }
        }
        p.out.push('}');
        at += 4 + option.len;
    }
}
