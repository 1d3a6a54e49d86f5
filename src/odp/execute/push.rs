//! Adding and removing headers: the bytes are copied into a new frame.

use super::Packet;
use crate::action::NshPush;
use flow::{Layers, Vlan};
use packet::{HeapPool, RxFlags};
use wire::EthAddr;
use wire::ethernet::{
    ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_NSH, ETH_TYPE_TEB, is_mpls_type, is_vlan_type,
};
use wire::nsh::{BASE_LEN, LEN_MAX, MD_TYPE1, NP_ETHERNET, NP_IPV4, NP_IPV6, NP_NSH};
use zerocopy::IntoBytes;

const ADDRS: usize = 12;
const ETH_LEN: usize = 14;
/// Packet type namespace of EtherTypes.
const NS_ETHERTYPE: u32 = 1 << 16;

/// The packet type of a packet without Ethernet header.
const fn bare(ethertype: u16) -> u32 {
    NS_ETHERTYPE | ethertype as u32
}

impl Packet {
    /// Replaces `remove` bytes at `at` by `insert`.
    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) -> Option<()> {
        let data = self.frame.data();
        let (front, rest) = data.split_at_checked(at)?;
        let bytes = [front, insert, rest.get(remove..)?].concat();
        let mut frame = HeapPool::global().copy_from(&bytes);
        frame.copy_metadata(&self.frame);
        if frame.flags & RxFlags::CSUM_PARTIAL != 0 {
            let start = usize::from(frame.csum_start) + insert.len();
            frame.csum_start = u16::try_from(start.checked_sub(remove)?).ok()?;
        }
        self.frame = frame;
        Some(())
    }

    /// Overwrites bytes that are there.
    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let field = self.frame.data_mut().get_mut(at..at + bytes.len())?;
        field.copy_from_slice(bytes);
        Some(())
    }
}

pub(super) fn push_vlan(p: &mut Packet, tpid: u16, tci: u16) -> Option<()> {
    if p.frame.len() < ETH_LEN {
        return None;
    }
    let tci = tci & !Vlan::CFI;
    p.splice(ADDRS, 0, &[tpid.to_be_bytes(), tci.to_be_bytes()].concat())
}

pub(super) fn pop_vlan(p: &mut Packet) -> Option<()> {
    let tpid = p.frame.data().get(ADDRS..ETH_LEN + 4)?;
    if !is_vlan_type(u16::from_be_bytes([tpid[0], tpid[1]])) {
        return None;
    }
    p.splice(ADDRS, 4, &[])
}

/// Behind layer 2, or (`l3` false) in front of everything.
pub(super) fn push_mpls(p: &mut Packet, ethertype: u16, lse: u32, l3: bool) -> Option<()> {
    if !is_mpls_type(ethertype) {
        return None;
    }
    let at = if l3 { p.extract().1.l2_len()? } else { 0 };
    set_ethertype(p, at, ethertype)?;
    p.splice(at, 0, &lse.to_be_bytes())
}

pub(super) fn pop_mpls(p: &mut Packet, ethertype: u16) -> Option<()> {
    let (_, layers) = p.extract();
    if layers.l2_5 == Layers::NONE {
        return None;
    }
    let at = usize::from(layers.l2_5);
    set_ethertype(p, at, ethertype)?;
    p.splice(at, 4, &[])
}

/// The EtherType in front of offset `at`; at the very front, it is part of the packet type (bridged Ethernet
/// begins an Ethernet packet).
fn set_ethertype(p: &mut Packet, at: usize, ethertype: u16) -> Option<()> {
    if at == 0 {
        p.packet_type = if ethertype == ETH_TYPE_TEB {
            0
        } else {
            bare(ethertype)
        };
        return Some(());
    }
    p.overwrite(at.checked_sub(2)?, &ethertype.to_be_bytes())
}

pub(super) fn push_eth(p: &mut Packet, src: EthAddr, dst: EthAddr) -> Option<()> {
    if p.packet_type == 0 {
        return None;
    }
    let ethertype = (p.packet_type as u16).to_be_bytes();
    p.packet_type = 0;
    p.splice(0, 0, &[&dst.0[..], &src.0, &ethertype].concat())
}

/// Refused for tagged packets.
pub(super) fn pop_eth(p: &mut Packet) -> Option<()> {
    let (_, layers) = p.extract();
    if p.packet_type != 0 || layers.l2_len()? != ETH_LEN {
        return None;
    }
    let ethertype = p.frame.data().get(ADDRS..ETH_LEN)?;
    p.packet_type = bare(u16::from_be_bytes([ethertype[0], ethertype[1]]));
    p.splice(0, ETH_LEN, &[])
}

/// Next protocols and the packet types they stand for.
const NEXT: [(u8, u32); 4] = [
    (NP_ETHERNET, 0),
    (NP_IPV4, bare(ETH_TYPE_IP)),
    (NP_IPV6, bare(ETH_TYPE_IPV6)),
    (NP_NSH, bare(ETH_TYPE_NSH)),
];

pub(super) fn push_nsh(p: &mut Packet, what: &NshPush) -> Option<()> {
    let &(next, _) = NEXT.iter().find(|n| n.1 == p.packet_type)?;
    let mut metadata = what.key.context.as_bytes().to_vec();
    if what.key.mdtype != MD_TYPE1 {
        metadata.clone_from(&what.md2);
        metadata.resize(metadata.len().next_multiple_of(4), 0);
    }
    let len = BASE_LEN + metadata.len();
    if len > LEN_MAX {
        return None;
    }
    // Version and flags, 6 bits of TTL, 6 bits of length in words.
    let words = (len / 4) as u16;
    let head = u16::from(what.key.flags & 3) << 12 | u16::from(what.key.ttl & 0x3f) << 6 | words;
    let mut header = head.to_be_bytes().to_vec();
    header.extend([what.key.mdtype, next]);
    header.extend(what.key.path_hdr.as_bytes());
    header.extend(metadata);
    p.packet_type = bare(ETH_TYPE_NSH);
    p.splice(0, 0, &header)
}

pub(super) fn pop_nsh(p: &mut Packet) -> Option<()> {
    let h = p.frame.data().get(..BASE_LEN)?;
    if p.packet_type != bare(ETH_TYPE_NSH) || h[0] >> 6 != 0 {
        return None;
    }
    let len = usize::from(h[1] & 0x3f) * 4;
    let &(_, packet_type) = NEXT.iter().find(|n| n.0 == h[3])?;
    if len < BASE_LEN {
        return None;
    }
    p.splice(0, len, &[])?;
    p.packet_type = packet_type;
    Some(())
}
