//! The 40-octet match of OpenFlow 1.0 (5.2.3).

use super::{Decode, Put, Reader};
use flow::{FieldId, Match, Vlan};
use wire::{EthAddr, Ipv4};

const IN_PORT: u32 = 1 << 0;
const DL_VLAN: u32 = 1 << 1;
const DL_SRC: u32 = 1 << 2;
const DL_DST: u32 = 1 << 3;
const DL_TYPE: u32 = 1 << 4;
const NW_PROTO: u32 = 1 << 5;
const TP_SRC: u32 = 1 << 6;
const TP_DST: u32 = 1 << 7;
const NW_SRC_SHIFT: u32 = 8;
const NW_DST_SHIFT: u32 = 14;
const DL_VLAN_PCP: u32 = 1 << 20;
const NW_TOS: u32 = 1 << 21;
const ALL: u32 = (1 << 22) - 1;
/// Every wildcard of something in the packet, addresses aside.
const DATA: u32 =
    NW_TOS | NW_PROTO | TP_SRC | TP_DST | DL_SRC | DL_DST | DL_TYPE | DL_VLAN | DL_VLAN_PCP;
const VLAN_NONE: u16 = 0xffff;
const DSCP: u8 = 0xfc;

/// The wildcards of a match, in the bits OpenFlow 1.0 knows.
pub(crate) fn wildcards(bytes: &[u8]) -> u32 {
    Reader::new(bytes).u32().unwrap_or(0) & ALL
}

/// Wildcarded low bits to netmask; 32 and more: everything is wild.
fn netmask(wild: u32) -> u32 {
    let wild = wild & 63;
    if wild < 32 { u32::MAX << wild } else { 0 }
}

/// Reads a match. Never wrong: what makes no sense is ignored.
pub(crate) fn decode(r: &mut Reader<'_>) -> Decode<Match> {
    let w = r.u32()? & ALL;
    let mut m = Match::catchall();
    let (nw_src, nw_dst) = (netmask(w >> NW_SRC_SHIFT), netmask(w >> NW_DST_SHIFT));
    set_masks(&mut m, w);
    m.mask.0.nw_src = Ipv4::from_u32(nw_src);
    m.mask.0.nw_dst = Ipv4::from_u32(nw_dst);
    if w & DATA != DATA || nw_src != 0 || nw_dst != 0 {
        m.set_default_packet_type();
    }
    let f = &mut m.flow;
    f.in_port.set(r.u16()?.into());
    f.dl_src = EthAddr(r.array()?);
    f.dl_dst = EthAddr(r.array()?);
    let (vid, pcp) = (r.u16()?, r.u8()?);
    r.skip(1)?;
    f.dl_type.set(r.u16()?);
    f.nw_tos = r.u8()? & DSCP;
    f.nw_proto = r.u8()?;
    r.skip(2)?;
    f.nw_src = Ipv4(r.array()?);
    f.nw_dst = Ipv4(r.array()?);
    f.tp_src.set(r.u16()?);
    f.tp_dst.set(r.u16()?);
    let tci = &mut m.mask.0.vlans[0].tci;
    if w & DL_VLAN == 0 && vid == VLAN_NONE {
        f.vlans[0].tci.set(0);
        tci.set(0xffff);
    } else {
        let pcp = u16::from(pcp) << 13;
        f.vlans[0]
            .tci
            .set((vid & Vlan::VID_MASK | pcp | Vlan::CFI) & tci.get());
    }
    m.zero_wildcarded();
    Ok(m)
}

fn set_masks(m: &mut Match, w: u32) {
    if w & IN_PORT == 0 {
        FieldId::InPort.mask_all(&mut m.mask, None);
    }
    let k = &mut m.mask.0;
    if w & NW_TOS == 0 {
        k.nw_tos |= DSCP;
    }
    if w & NW_PROTO == 0 {
        k.nw_proto = 0xff;
    }
    if w & TP_SRC == 0 {
        k.tp_src.set(u16::MAX);
    }
    if w & TP_DST == 0 {
        k.tp_dst.set(u16::MAX);
    }
    if w & DL_SRC == 0 {
        k.dl_src = EthAddr::BROADCAST;
    }
    if w & DL_DST == 0 {
        k.dl_dst = EthAddr::BROADCAST;
    }
    if w & DL_TYPE == 0 {
        k.dl_type.set(u16::MAX);
    }
    let mut tci = 0;
    if w & DL_VLAN_PCP == 0 {
        tci |= Vlan::PCP_MASK | Vlan::CFI;
    }
    if w & DL_VLAN == 0 {
        tci |= Vlan::VID_MASK | Vlan::CFI;
    }
    k.vlans[0].tci.set(tci);
}

/// Appends a match, as far as OpenFlow 1.0 can say it.
pub(crate) fn put(b: &mut Vec<u8>, m: &Match) {
    let (f, k) = (&m.flow, &m.mask.0);
    let mut w = 0;
    for (wild, bit) in [
        (k.in_port.get() == 0, IN_PORT),
        (k.dl_type.get() == 0, DL_TYPE),
        (k.nw_proto == 0, NW_PROTO),
        (k.nw_tos & DSCP == 0, NW_TOS),
        (k.tp_src.get() == 0, TP_SRC),
        (k.tp_dst.get() == 0, TP_DST),
        (k.dl_src == EthAddr::ZERO, DL_SRC),
        (k.dl_dst == EthAddr::ZERO, DL_DST),
    ] {
        if wild {
            w |= bit;
        }
    }
    w |= (32 - k.nw_src.to_u32().leading_ones()) << NW_SRC_SHIFT;
    w |= (32 - k.nw_dst.to_u32().leading_ones()) << NW_DST_SHIFT;
    let (mut vid, mut pcp) = (0, 0);
    let (tci, tci_mask) = (&f.vlans[0], k.vlans[0].tci.get());
    if tci_mask == 0 {
        w |= DL_VLAN | DL_VLAN_PCP;
    } else if tci_mask & Vlan::CFI != 0 && !tci.is_present() {
        vid = VLAN_NONE;
    } else {
        if tci_mask & Vlan::VID_MASK == 0 {
            w |= DL_VLAN;
        } else {
            vid = tci.vid();
        }
        if tci_mask & Vlan::PCP_MASK == 0 {
            w |= DL_VLAN_PCP;
        } else {
            pcp = tci.pcp();
        }
    }
    b.u32(w);
    b.u16(f.in_port.get() as u16);
    b.bytes(&f.dl_src.0);
    b.bytes(&f.dl_dst.0);
    b.u16(vid);
    b.u8(pcp);
    b.u8(0);
    b.u16(f.dl_type.get());
    b.u8(f.nw_tos & DSCP);
    b.u8(f.nw_proto);
    b.zeros(2);
    b.bytes(&f.nw_src.0);
    b.bytes(&f.nw_dst.0);
    b.u16(f.tp_src.get());
    b.u16(f.tp_dst.get());
}
