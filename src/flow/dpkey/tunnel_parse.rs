//! `tunnel(...)` from text.

use super::parse::Refused::{self, Syntax};
use super::parse::{Cursor, Scan};
use crate::key::TunnelKey;
use crate::text::put;
use crate::text::scan::{self, Flags};
use wire::U16;

const FLAGS: Flags = Flags {
    name: put::tun_flag_name,
    what: "tunnel",
    allowed: 15,
    end: Some(')'),
};

/// Octets of options in a raw key.
const OPTS_MAX: usize = 252;

/// Octets of attributes that the nested `OVS_KEY_ATTR_TUNNEL` holds: 16 bits of length less its header.
const NESTED_MAX: usize = u16::MAX as usize - NLA_HEADER;
/// Octets of an attribute's header.
const NLA_HEADER: usize = 4;

/// Whether `ttl=` was there is told by the mask: it is exact then, or what was given.
pub(super) fn parse(c: &mut Cursor<'_>, t: &mut TunnelKey, m: &mut TunnelKey) -> Scan<()> {
    let mut used = 0;
    loop {
        let size = attribute_size(c.rest);
        let known = plain(c, t, m)? || options(c, t, m)?;
        used += size;
        if used > NESTED_MAX {
            return Err(Refused::TooLong);
        }
        if !(known && c.eat(",")) {
            return c.expect(")");
        }
    }
}

/// Octets that the attribute at the front of `text` takes at least.
fn attribute_size(text: &str) -> usize {
    let payload = match text.split_once('=').map(|(name, _)| name) {
        Some("tun_id") => 8,
        Some("ipv6_src" | "ipv6_dst") => 16,
        _ => 4,
    };
    NLA_HEADER + payload
}

fn add_flags(t: &mut TunnelKey, m: &mut TunnelKey, (set, mask): (u16, u16)) {
    t.flags = U16::new(t.flags.get() | set);
    m.flags = U16::new(m.flags.get() | mask);
}

fn plain(c: &mut Cursor<'_>, t: &mut TunnelKey, m: &mut TunnelKey) -> Scan<bool> {
    if c.eat("tun_id=") {
        let (v, mask) = c.u64()?;
        t.tun_id.set(v);
        m.tun_id.set(mask);
        add_flags(t, m, (TunnelKey::F_KEY, TunnelKey::F_KEY));
    } else if c.eat("src=") {
        (t.ip_src, m.ip_src) = c.ipv4()?;
    } else if c.eat("dst=") {
        (t.ip_dst, m.ip_dst) = c.ipv4()?;
    } else if c.eat("ipv6_src=") {
        (t.ipv6_src, m.ipv6_src) = c.ipv6()?;
    } else if c.eat("ipv6_dst=") {
        (t.ipv6_dst, m.ipv6_dst) = c.ipv6()?;
    } else if c.eat("tos=") {
        (t.ip_tos, m.ip_tos) = c.u8()?;
    } else if c.eat("ttl=") {
        (t.ip_ttl, m.ip_ttl) = c.u8()?;
    } else if c.eat("tp_src=") {
        let (v, mask) = c.u16()?;
        t.tp_src.set(v);
        m.tp_src.set(mask);
    } else if c.eat("tp_dst=") {
        let (v, mask) = c.u16()?;
        t.tp_dst.set(v);
        m.tp_dst.set(mask);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn options(c: &mut Cursor<'_>, t: &mut TunnelKey, m: &mut TunnelKey) -> Scan<bool> {
    if c.eat("vxlan(gbp(") {
        vxlan(c, t, m)?;
    } else if c.eat("erspan(") {
        erspan(c, t, m)?;
    } else if c.eat("gtpu(") {
        if c.eat("flags=") {
            (t.gtpu_flags, m.gtpu_flags) = c.u8()?;
        }
        c.eat(",");
        if c.eat("msgtype=") {
            (t.gtpu_msgtype, m.gtpu_msgtype) = c.u8()?;
        }
        c.expect(")")?;
    } else if c.eat("geneve(") {
        geneve(c, t, m)?;
    } else if c.eat("flags(") {
        // The key flag follows from `tun_id=` alone.
        let (v, mask) = c.flags(&FLAGS)?;
        let real = TunnelKey::F_DF | TunnelKey::F_CSUM | TunnelKey::F_OAM;
        add_flags(t, m, (v as u16 & real, mask as u16 & real));
        c.expect(")")?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn vxlan(c: &mut Cursor<'_>, t: &mut TunnelKey, m: &mut TunnelKey) -> Scan<()> {
    if c.eat("id=") {
        let (v, mask) = c.u16()?;
        t.gbp_id.set(v);
        m.gbp_id.set(mask);
    }
    c.eat(",");
    if c.eat("flags=") {
        (t.gbp_flags, m.gbp_flags) = c.u8()?;
    }
    c.expect("))")
}

fn erspan(c: &mut Cursor<'_>, t: &mut TunnelKey, m: &mut TunnelKey) -> Scan<()> {
    if c.eat("ver=") {
        (t.erspan_ver, m.erspan_ver) = c.u8()?;
    }
    c.eat(",");
    match t.erspan_ver {
        1 => {
            if c.eat("idx=") {
                let (v, mask) = c.u32()?;
                t.erspan_idx.set(v);
                m.erspan_idx.set(mask);
            }
        }
        2 => {
            if c.eat("dir=") {
                (t.erspan_dir, m.erspan_dir) = c.u8()?;
            }
            c.eat(",");
            if c.eat("hwid=") {
                (t.erspan_hwid, m.erspan_hwid) = c.u8()?;
            }
        }
        _ => return Err(Syntax),
    }
    c.expect(")")
}

/// `{class=..,type=..,len=..,0x../0x..}` one after the other.
fn geneve(c: &mut Cursor<'_>, t: &mut TunnelKey, m: &mut TunnelKey) -> Scan<()> {
    let mut at = 0;
    while c.eat("{") {
        let (mut head, mut head_mask) = ([0u8; 4], [0u8; 4]);
        if c.eat("class=") {
            let (v, mask) = c.u16()?;
            head[..2].copy_from_slice(&v.to_be_bytes());
            head_mask[..2].copy_from_slice(&mask.to_be_bytes());
        }
        c.eat(",");
        if c.eat("type=") {
            (head[2], head_mask[2]) = c.u8()?;
        }
        c.eat(",");
        let mut len = 0;
        if c.eat("len=") {
            let (v, mask) = c.u8()?;
            len = usize::from(v);
            head[3] = v / 4;
            head_mask[3] = mask & 0x1f;
        }
        let end = at + 4 + len;
        if len > 124 || len % 4 != 0 || end > OPTS_MAX {
            return Err(Syntax);
        }
        t.opts[at..at + 4].copy_from_slice(&head);
        m.opts[at..at + 4].copy_from_slice(&head_mask);
        m.opts[at + 4..end].fill(0xff);
        if c.eat(",") {
            octets(c, &mut t.opts[at + 4..end])?;
        }
        if c.eat("/") {
            octets(c, &mut m.opts[at + 4..end])?;
        }
        c.expect("}")?;
        at = end;
    }
    // At most 252.
    t.opts_len = at as u8;
    m.opts_len = u8::MAX;
    add_flags(t, m, (TunnelKey::F_UDPIF, TunnelKey::F_UDPIF));
    c.expect(")")
}

fn octets(c: &mut Cursor<'_>, to: &mut [u8]) -> Scan<()> {
    let (value, rest) = scan::integer(c.rest, to.len()).map_err(|_| Syntax)?;
    to.copy_from_slice(&value);
    c.rest = rest;
    Ok(())
}
