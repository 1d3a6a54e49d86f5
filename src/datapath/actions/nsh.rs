//! Network service header: push, pop, set (RFC 8300).

use super::push::{bare_type, insert, remove};
use crate::pkts::{Side, side_of};
use flow::{Layers, NshKey};
use odp::action::NshPush;
use packet::Frame;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_NSH};
use wire::nsh::{
    BASE_LEN, LEN_MAX, MD_TYPE1, MD1_LEN, NP_ETHERNET, NP_IPV4, NP_IPV6, NP_NSH, NshHeader,
};
use wire::{Header, U32};
use zerocopy::IntoBytes;

/// Pushes a header in front of everything; what was there becomes its payload.
pub(super) fn push(
    (frame, layers, side): (&mut Frame, &mut Layers, &mut Option<Box<Side>>),
    what: &NshPush,
) -> Option<()> {
    let next = match side.as_ref().map_or(0, |s| s.packet_type) {
        0 => NP_ETHERNET,
        t if t == bare_type(ETH_TYPE_IP) => NP_IPV4,
        t if t == bare_type(ETH_TYPE_IPV6) => NP_IPV6,
        t if t == bare_type(ETH_TYPE_NSH) => NP_NSH,
        _ => return None,
    };
    let md1 = what.key.mdtype == MD_TYPE1;
    let len = if md1 {
        MD1_LEN
    } else {
        BASE_LEN + what.md2.len().next_multiple_of(4)
    };
    if len > LEN_MAX {
        return None;
    }
    insert(frame, layers, 0, len)?;
    frame.data_mut()[..len].fill(0);
    let h = NshHeader::at_mut(frame.data_mut(), 0)?;
    h.set(what.key.flags, what.key.ttl, len);
    h.md_type = what.key.mdtype;
    h.next = next;
    h.path = what.key.path_hdr;
    let metadata = frame.data_mut().get_mut(BASE_LEN..len)?;
    if md1 {
        metadata.copy_from_slice(what.key.context.as_bytes());
    } else {
        metadata[..what.md2.len()].copy_from_slice(&what.md2);
    }
    *layers = Layers {
        l3: 0,
        ..Layers::UNKNOWN
    };
    side_of(side).packet_type = bare_type(ETH_TYPE_NSH);
    Some(())
}

/// Removes the header; its next protocol says what the packet is now.
pub(super) fn pop(
    (frame, layers, side): (&mut Frame, &mut Layers, &mut Option<Box<Side>>),
) -> Option<()> {
    let side = side
        .as_mut()
        .filter(|s| s.packet_type == bare_type(ETH_TYPE_NSH))?;
    let h = NshHeader::at(frame.data(), 0).filter(|h| h.version() == 0)?;
    let packet_type = match h.next {
        NP_ETHERNET => 0,
        NP_IPV4 => bare_type(ETH_TYPE_IP),
        NP_IPV6 => bare_type(ETH_TYPE_IPV6),
        NP_NSH => bare_type(ETH_TYPE_NSH),
        _ => return None,
    };
    let len = Some(h.header_len()).filter(|&n| n >= BASE_LEN)?;
    remove(frame, layers, 0, len)?;
    *layers = Layers::UNKNOWN;
    side.packet_type = packet_type;
    Some(())
}

/// Overwrites bits of flags, TTL, path and MD type 1 context.
pub(super) fn set(frame: &mut Frame, layers: &Layers, key: &NshKey, mask: &NshKey) -> Option<()> {
    let at = layers.l3_ofs()?;
    let h = NshHeader::at_mut(frame.data_mut(), at).filter(|h| h.version() == 0)?;
    let mix8 = |old: u8, k: u8, m: u8| old & !m | k & m;
    let mix32 = |old: U32, k: U32, m: U32| U32::new(old.get() & !m.get() | k.get() & m.get());
    let (flags, ttl, len) = (h.flags(), h.ttl(), h.header_len());
    h.set(
        mix8(flags, key.flags, mask.flags),
        mix8(ttl, key.ttl, mask.ttl),
        len,
    );
    h.path = mix32(h.path, key.path_hdr, mask.path_hdr);
    if h.md_type != MD_TYPE1 || len < MD1_LEN {
        return Some(());
    }
    let context = frame.data_mut().get_mut(at + BASE_LEN..at + MD1_LEN)?;
    for (i, word) in context.chunks_exact_mut(4).enumerate() {
        let old = U32::from_bytes([word[0], word[1], word[2], word[3]]);
        word.copy_from_slice(mix32(old, key.context[i], mask.context[i]).as_bytes());
    }
    Some(())
}
