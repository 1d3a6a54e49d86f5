//! Matches of OpenFlow 1.1 and later: the 88-octet standard one, and OXM.

use super::nxm::{self, MatchRules};
use super::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::version::Version;
use flow::{FieldId, Match, OfPort, Vlan};
use wire::{EthAddr, Ipv4};

const STANDARD: u16 = 0;
const OXM: u16 = 1;
const LEN: u16 = 88;

const IN_PORT: u32 = 1 << 0;
const DL_VLAN: u32 = 1 << 1;
const DL_VLAN_PCP: u32 = 1 << 2;
const DL_TYPE: u32 = 1 << 3;
const NW_TOS: u32 = 1 << 4;
const NW_PROTO: u32 = 1 << 5;
const TP_SRC: u32 = 1 << 6;
const TP_DST: u32 = 1 << 7;
const MPLS_LABEL: u32 = 1 << 8;
const MPLS_TC: u32 = 1 << 9;
const VID_ANY: u16 = 0xfffe;
const VID_NONE: u16 = 0xffff;
const DSCP: u8 = 0xfc;

/// Takes a match with the padding behind it.
pub(crate) fn decode(r: &mut Reader<'_>, rules: MatchRules<'_>) -> Decode<Match> {
    let bad = OfpError::OFPBMC_BAD_LEN;
    let &[t0, t1, l0, l1, ..] = r.peek() else {
        return Err(bad);
    };
    let (ty, len) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([l0, l1]));
    match ty {
        STANDARD => {
            if len != LEN {
                return Err(bad);
            }
            let all = r.try_take(LEN.into()).ok_or(bad)?;
            standard(Reader::new(&all[4..]))
        }
        OXM => {
            if len < 4 {
                return Err(bad);
            }
            let len = usize::from(len);
            let all = r.try_take(len.next_multiple_of(8)).ok_or(bad)?;
            Ok(nxm::decode(Reader::new(&all[4..len]), rules)?.0)
        }
        _ => Err(OfpError::OFPBMC_BAD_TYPE),
    }
}

/// Takes an OXM match; the standard one is an error.
pub(crate) fn decode_oxm(r: &mut Reader<'_>, rules: MatchRules<'_>) -> Decode<Match> {
    match r.peek() {
        [_, _, _, _, ..] if r.peek()[..2] != OXM.to_be_bytes() => Err(OfpError::OFPBMC_BAD_TYPE),
        _ => decode(r, rules),
    }
}

fn standard(mut r: Reader<'_>) -> Decode<Match> {
    let bad_value = OfpError::OFPBMC_BAD_VALUE;
    let mut m = Match::catchall();
    let in_port = r.u32()?;
    let w = r.u32()? & 0xffff;
    if w & IN_PORT == 0 {
        m.set_in_port(OfPort::from_ofp11(in_port).ok_or(bad_value)?);
    }
    let (src, src_wild) = (r.array::<6>()?, r.array::<6>()?);
    let (dst, dst_wild) = (r.array::<6>()?, r.array::<6>()?);
    let inv = |a: [u8; 6]| a.map(|b| !b);
    if src_wild != [0xff; 6] || dst_wild != [0xff; 6] {
        set(&mut m, FieldId::EthSrc, &src, Some(&inv(src_wild)));
        set(&mut m, FieldId::EthDst, &dst, Some(&inv(dst_wild)));
        m.set_default_packet_type();
    }
    let (vid, pcp) = (r.u16()?, r.u8()?);
    r.skip(1)?;
    if w & DL_VLAN == 0 {
        vlan(&mut m, vid, (w & DL_VLAN_PCP == 0).then_some(pcp))?;
        m.set_default_packet_type();
    }
    let dl_type = r.u16()?;
    if w & DL_TYPE == 0 {
        m.set_u64(FieldId::EthType, dl_type.into());
        m.set_default_packet_type();
    }
    network(&mut m, &mut r, w)?;
    let (label, tc) = (r.u32()?, r.u8()?);
    r.skip(3)?;
    if matches!(m.flow.dl_type.get(), 0x8847 | 0x8848) {
        if w & MPLS_LABEL == 0 {
            m.set_u64(FieldId::MplsLabel, label.into());
        }
        if w & MPLS_TC == 0 {
            m.set_u64(FieldId::MplsTc, tc.into());
        }
    }
    let (metadata, wild) = (r.u64()?, r.u64()?);
    if wild != u64::MAX {
        let (value, mask) = (metadata.to_be_bytes(), (!wild).to_be_bytes());
        set(&mut m, FieldId::Metadata, &value, Some(&mask));
    }
    Ok(m)
}

/// Sets a field that cannot fail (only tunnel metadata can).
fn set(m: &mut Match, field: FieldId, value: &[u8], mask: Option<&[u8]>) {
    // The value may have bits that the mask does not.
    let value: flow::FieldValue = match mask {
        Some(mask) => value.iter().zip(mask).map(|(v, m)| v & m).collect(),
        None => value.into(),
    };
    let set = m.set(field, &value, mask);
    debug_assert!(set.is_ok(), "{field} has space");
}

fn vlan(m: &mut Match, vid: u16, pcp: Option<u8>) -> Decode<()> {
    let bad_value = OfpError::OFPBMC_BAD_VALUE;
    let (tci, mask) = match vid {
        VID_NONE => (0, 0xffff),
        VID_ANY => (Vlan::CFI, Vlan::CFI),
        0..=0xfff => (Vlan::CFI | vid, Vlan::CFI | Vlan::VID_MASK),
        _ => return Err(bad_value),
    };
    let (tci, mask) = match pcp.filter(|_| vid != VID_NONE) {
        None => (tci, mask),
        Some(pcp @ 0..=7) => (tci | u16::from(pcp) << 13, mask | Vlan::PCP_MASK),
        Some(_) => return Err(bad_value),
    };
    m.flow.vlans[0].tci.set(tci);
    m.mask.0.vlans[0].tci.set(mask);
    Ok(())
}

fn network(m: &mut Match, r: &mut Reader<'_>, w: u32) -> Decode<()> {
    let (tos, proto) = (r.u8()?, r.u8()?);
    let (src, src_wild) = (r.array::<4>()?, r.array::<4>()?);
    let (dst, dst_wild) = (r.array::<4>()?, r.array::<4>()?);
    let (tp_src, tp_dst) = (r.u16()?, r.u16()?);
    let dl_type = m.flow.dl_type.get();
    let ipv4 = dl_type == 0x0800;
    if ipv4 && w & NW_TOS == 0 {
        if tos & !DSCP != 0 {
            return Err(OfpError::OFPBMC_BAD_VALUE);
        }
        m.set_u64(FieldId::IpDscp, tos.into());
    }
    if ipv4 || matches!(dl_type, 0x0806 | 0x8035) {
        let k = &mut m.mask.0;
        if w & NW_PROTO == 0 {
            m.flow.nw_proto = proto;
            k.nw_proto = 0xff;
        }
        k.nw_src = Ipv4(src_wild.map(|b| !b));
        k.nw_dst = Ipv4(dst_wild.map(|b| !b));
        m.flow.nw_src = Ipv4(src);
        m.flow.nw_dst = Ipv4(dst);
        m.zero_wildcarded();
    }
    if ipv4 && w & (TP_SRC | TP_DST) != TP_SRC | TP_DST {
        ports(m, w, tp_src, tp_dst)?;
    }
    Ok(())
}

fn ports(m: &mut Match, w: u32, src: u16, dst: u16) -> Decode<()> {
    let icmp = match m.flow.nw_proto {
        1 => true,
        6 | 17 | 132 => false,
        _ => return Ok(()),
    };
    for (wild, value, is_src) in [(TP_SRC, src, true), (TP_DST, dst, false)] {
        if w & wild != 0 {
            continue;
        }
        if icmp && value > 0xff {
            return Err(OfpError::OFPBMC_BAD_FIELD);
        }
        let (f, k) = (&mut m.flow, &mut m.mask.0);
        let (slot, mask) = match is_src {
            true => (&mut f.tp_src, &mut k.tp_src),
            false => (&mut f.tp_dst, &mut k.tp_dst),
        };
        slot.set(value);
        mask.set(u16::MAX);
    }
    Ok(())
}

/// Appends a match, as `version` (1.1 or later) has it, padded.
pub(crate) fn put(b: &mut Vec<u8>, version: Version, m: &Match) {
    if version <= Version::V11 {
        put_standard(b, m);
    } else {
        put_oxm(b, version, m);
    }
}

/// Appends an OXM match, padded; its length without the padding.
pub(crate) fn put_oxm(b: &mut Vec<u8>, version: Version, m: &Match) -> usize {
    let start = b.len();
    b.u16(OXM);
    b.u16(0);
    nxm::put(b, Some(version), m, (0, 0));
    let len = b.len() - start;
    b.set_u16(start + 2, len);
    b.pad(start, 8);
    len
}

fn put_standard(b: &mut Vec<u8>, m: &Match) {
    let (f, k) = (&m.flow, &m.mask.0);
    let mut w = 0;
    let mut vid = 0;
    let mut pcp = 0;
    let (tag, tci_mask) = (&f.vlans[0], k.vlans[0].tci.get());
    if tci_mask == 0 {
        w |= DL_VLAN | DL_VLAN_PCP;
    } else if tci_mask & Vlan::CFI != 0 && !tag.is_present() {
        vid = VID_NONE;
        w |= DL_VLAN_PCP;
    } else {
        vid = match tci_mask & Vlan::VID_MASK {
            0 => VID_ANY,
            _ => tag.vid(),
        };
        match tci_mask & Vlan::PCP_MASK {
            0 => w |= DL_VLAN_PCP,
            _ => pcp = tag.pcp(),
        }
    }
    let mpls = k.mpls_lse[0].get();
    for (wild, bit) in [
        (k.in_port.get() == 0, IN_PORT),
        (k.dl_type.get() == 0, DL_TYPE),
        (k.nw_tos & DSCP == 0, NW_TOS),
        (k.nw_proto == 0, NW_PROTO),
        (k.tp_src.get() == 0, TP_SRC),
        (k.tp_dst.get() == 0, TP_DST),
        (mpls >> 12 == 0, MPLS_LABEL),
        (mpls >> 9 & 7 == 0, MPLS_TC),
    ] {
        if wild {
            w |= bit;
        }
    }
    let unless = |bit: u32, v: u16| if w & bit == 0 { v } else { 0 };
    let inv = |a: EthAddr| a.0.map(|x| !x);
    b.u16(STANDARD);
    b.u16(LEN);
    b.u32(match w & IN_PORT {
        0 => OfPort(f.in_port.get() as u16).to_ofp11(),
        _ => 0,
    });
    b.u32(w);
    b.bytes(&f.dl_src.0);
    b.bytes(&inv(k.dl_src));
    b.bytes(&f.dl_dst.0);
    b.bytes(&inv(k.dl_dst));
    b.u16(vid);
    b.u8(pcp);
    b.u8(0);
    b.u16(unless(DL_TYPE, f.dl_type.get()));
    b.u8(unless(NW_TOS, u16::from(f.nw_tos & DSCP)) as u8);
    b.u8(unless(NW_PROTO, f.nw_proto.into()) as u8);
    b.bytes(&f.nw_src.0);
    b.bytes(&k.nw_src.0.map(|x| !x));
    b.bytes(&f.nw_dst.0);
    b.bytes(&k.nw_dst.0.map(|x| !x));
    b.u16(unless(TP_SRC, f.tp_src.get()));
    b.u16(unless(TP_DST, f.tp_dst.get()));
    let lse = f.mpls_lse[0].get();
    b.u32(if w & MPLS_LABEL == 0 { lse >> 12 } else { 0 });
    b.u8(if w & MPLS_TC == 0 {
        (lse >> 9 & 7) as u8
    } else {
        0
    });
    b.zeros(3);
    b.u64(f.metadata.get());
    b.u64(!k.metadata.get());
}
