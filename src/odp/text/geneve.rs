//! Text of Geneve options within `tnl_push(...)`.

use super::put::{AltHex, Hex, chomp, put};
use super::scan::Scan;

/// Data bytes of one option.
const OPTION_MAX: usize = 124;
/// Bytes of all options of a packet.
const OPTIONS_MAX: usize = 252;

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
