//! `encap(...)` and `decap(...)`.

use super::parse::Parse;
use super::scan::{Pairs, hex_bytes, u8_of, u16_of};
use crate::action::{Act, EncapHeader};
use crate::props::{CLASS_NSH, NSH_MDTYPE, NSH_TLV};
use crate::version::Protocols;

pub(super) fn encap(arg: &str, protocols: &mut Protocols) -> Parse<Act> {
    *protocols &= Protocols::OF13_UP;
    let Some((key, value)) = Pairs::new(arg).next() else {
        return Err(format!("Missing encap hdr: {arg}"));
    };
    let header = match key {
        "ethernet" => EncapHeader::Ethernet,
        "nsh" => EncapHeader::Nsh,
        "mpls" => EncapHeader::Mpls(0x8847),
        "mpls_mc" => EncapHeader::Mpls(0x8848),
        _ => return Err(format!("Encap hdr not supported: {value}")),
    };
    let mut props = Vec::new();
    for (key, value) in Pairs::new(value) {
        let ty = match (header, key) {
            (EncapHeader::Nsh, "md_type") => NSH_MDTYPE,
            (EncapHeader::Nsh, "tlv") => NSH_TLV,
            _ => return Err(format!("Invalid property: {key}")),
        };
        props.push((CLASS_NSH, ty, property(ty, value)?));
    }
    Ok(Act::Encap { header, props })
}

fn property(ty: u8, value: &str) -> Parse<Vec<u8>> {
    if value.is_empty() {
        return Err("Value missing for encap property".into());
    }
    if ty == NSH_MDTYPE {
        return match u8_of(value, "md_type")? {
            md @ 1..=2 => Ok(vec![md]),
            _ => Err("invalid md_type".into()),
        };
    }
    tlv(value).ok_or_else(|| format!("Invalid NSH TLV header: {value}"))
}

/// `0xCLASS,TYPE,0xVALUE` as class, type and at most 125 bytes of value.
fn tlv(value: &str) -> Option<Vec<u8>> {
    let (class, rest) = value.strip_prefix("0x")?.split_once(',')?;
    let (ty, hex) = rest.split_once(',')?;
    let hex = hex.strip_prefix("0x")?;
    let end = hex
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(hex.len())
        .min(251);
    let mut out = u16::from_str_radix(class, 16).ok()?.to_be_bytes().to_vec();
    out.push(ty.parse().ok()?);
    out.extend(hex_bytes(&hex[..end]).0);
    (end > 0).then_some(out)
}

pub(super) fn decap(arg: &str) -> Parse<Act> {
    let Some((key, value)) = Pairs::new(arg).next() else {
        return Ok(Act::Decap { new_type: None });
    };
    if key != "packet_type" {
        return Err(format!("Invalid decap argument: {key}"));
    }
    let mut pairs = Pairs::new(value);
    let ns = match pairs.next() {
        Some(("ns", v)) => u16_of(v, "ns")?,
        _ => return Err("Missing packet_type attribute ns".into()),
    };
    if ns >= 2 {
        return Err(format!("Unsupported ns value: {ns}"));
    }
    let ty = match pairs.next() {
        Some(("type", v)) => u16_of(v, "type")?,
        _ => return Err("Missing packet_type attribute type".into()),
    };
    let new_type = u32::from(ns) << 16 | u32::from(ty);
    Ok(Act::Decap {
        new_type: (new_type != crate::props::USE_NEXT_PROTO).then_some(new_type),
    })
}
