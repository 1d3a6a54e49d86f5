//! Pushing and popping VLAN tags, MPLS labels and the Ethernet header.
//!
//! Each keeps the packet's [`Layers`] and the position of a partial checksum right. `None` means that the
//! packet cannot take the change: the header is not there, or there is no room and no memory for more.

use crate::pkts::{Side, side_of};
use flow::{Layers, Vlan};
use packet::{Frame, HEADROOM, HeapPool, RxFlags};
use wire::ethernet::{ETH_TYPE_TEB, is_mpls_type};
use wire::{EthAddr, ethernet::is_vlan_type};

/// Octets of both addresses.
const ADDRS: usize = 12;
/// Octets of an Ethernet header.
const ETH_LEN: usize = 14;
/// Packet type namespace of EtherTypes, in the upper half of a packet type.
const NS_ETHERTYPE: u32 = 1 << 16;

/// The packet type of a packet that begins behind its Ethernet header.
pub(super) const fn bare_type(ethertype: u16) -> u32 {
    NS_ETHERTYPE | ethertype as u32
}

/// Makes room for `n` bytes at offset `at`: what is in front of it moves forward.
pub(super) fn insert(frame: &mut Frame, layers: &mut Layers, at: usize, n: usize) -> Option<()> {
    if at > frame.len() {
        return None;
    }
    if !frame.push(n) {
        let mut roomier = HeapPool::global().alloc_with(HEADROOM, frame.len());
        roomier.data_mut().copy_from_slice(frame.data());
        roomier.copy_metadata(frame);
        *frame = roomier;
        if !frame.push(n) {
            return None;
        }
    }
    frame.data_mut().copy_within(n..n + at, 0);
    shift(frame, layers, at, i32::try_from(n).ok()?)
}

/// Removes `n` bytes at offset `at`.
pub(super) fn remove(frame: &mut Frame, layers: &mut Layers, at: usize, n: usize) -> Option<()> {
    if at + n > frame.len() {
        return None;
    }
    frame.data_mut().copy_within(..at, n);
    if !frame.pull(n) {
        return None;
    }
    shift(frame, layers, at, -i32::try_from(n).ok()?)
}

/// Moves every remembered offset at or behind `at` by `by`.
fn shift(frame: &mut Frame, layers: &mut Layers, at: usize, by: i32) -> Option<()> {
    for ofs in [&mut layers.l2_5, &mut layers.l3, &mut layers.l4] {
        if *ofs != Layers::NONE && usize::from(*ofs) >= at {
            *ofs = u16::try_from(i32::from(*ofs) + by).unwrap_or(Layers::NONE);
        }
    }
    if frame.flags & RxFlags::CSUM_PARTIAL != 0 {
        frame.csum_start = u16::try_from(i32::from(frame.csum_start) + by).ok()?;
    }
    Some(())
}

/// Pushes a tag between the addresses and whatever follows them.
pub(super) fn push_vlan(frame: &mut Frame, layers: &mut Layers, tpid: u16, tci: u16) -> Option<()> {
    if frame.len() < ETH_LEN {
        return None;
    }
    insert(frame, layers, ADDRS, 4)?;
    let tag = frame.data_mut()[ADDRS..].first_chunk_mut::<4>()?;
    let [a, b] = tpid.to_be_bytes();
    let [c, d] = (tci & !Vlan::CFI).to_be_bytes();
    *tag = [a, b, c, d];
    Some(())
}

/// Pops the outermost tag.
pub(super) fn pop_vlan(frame: &mut Frame, layers: &mut Layers) -> Option<()> {
    let tpid = *frame.data().get(ADDRS..)?.first_chunk::<2>()?;
    if !is_vlan_type(u16::from_be_bytes(tpid)) || frame.len() < ETH_LEN + 4 {
        return None;
    }
    remove(frame, layers, ADDRS, 4)
}

/// Overwrites the EtherType of what follows layer 2.
fn set_ethertype(frame: &mut Frame, layers: &Layers, ethertype: u16) -> Option<()> {
    let at = layers.l2_len()?.checked_sub(2)?;
    let field = frame.data_mut().get_mut(at..)?.first_chunk_mut::<2>()?;
    *field = ethertype.to_be_bytes();
    Some(())
}

/// Pushes a label: behind layer 2 (`l3`), or in front of everything.
pub(super) fn push_mpls(
    (frame, layers, side): (&mut Frame, &mut Layers, &mut Option<Box<Side>>),
    ethertype: u16,
    lse: u32,
    l3: bool,
) -> Option<()> {
    if !is_mpls_type(ethertype) {
        return None;
    }
    let at = if l3 { layers.l2_len()? } else { 0 };
    if l3 && at > 0 {
        set_ethertype(frame, layers, ethertype)?;
    } else {
        side_of(side).packet_type = bare_type(ethertype);
    }
    insert(frame, layers, at, 4)?;
    frame.data_mut()[at..].first_chunk_mut::<4>()?[..].copy_from_slice(&lse.to_be_bytes());
    layers.l2_5 = u16::try_from(at).ok()?;
    if !l3 {
        (layers.l3, layers.l4) = (4, Layers::NONE);
    }
    Some(())
}

/// Pops the outermost label; what follows is of type `ethertype`.
pub(super) fn pop_mpls(
    (frame, layers, side): (&mut Frame, &mut Layers, &mut Option<Box<Side>>),
    ethertype: u16,
) -> Option<()> {
    let at = usize::from(layers.l2_5);
    if layers.l2_5 == Layers::NONE || at + 4 > frame.len() {
        return None;
    }
    if at > 0 {
        set_ethertype(frame, layers, ethertype)?;
    } else if ethertype == ETH_TYPE_TEB {
        // Bridged Ethernet: what is behind it is found when the packet comes back.
        remove(frame, layers, 0, 4)?;
        side_of(side).packet_type = 0;
        *layers = Layers {
            l2_5: Layers::NONE,
            l3: ETH_LEN as u16,
            l4: Layers::NONE,
            ..*layers
        };
        return Some(());
    } else {
        side_of(side).packet_type = bare_type(ethertype);
    }
    remove(frame, layers, at, 4)?;
    // `remove` moved every offset at or behind the label by 4, the label's own included.
    if is_mpls_type(ethertype) {
        layers.l2_5 = u16::try_from(at).ok()?;
    } else {
        layers.l2_5 = Layers::NONE;
        layers.l3 = u16::try_from(at).ok()?;
    }
    Some(())
}

/// Pushes an Ethernet header in front of a packet that has none.
pub(super) fn push_eth(
    (frame, layers, side): (&mut Frame, &mut Layers, &mut Option<Box<Side>>),
    src: EthAddr,
    dst: EthAddr,
) -> Option<()> {
    let bare = side.as_mut().filter(|s| s.packet_type != 0)?;
    let [_, _, a, b] = std::mem::take(&mut bare.packet_type).to_be_bytes();
    insert(frame, layers, 0, ETH_LEN)?;
    let h = frame.data_mut().first_chunk_mut::<ETH_LEN>()?;
    h[..6].copy_from_slice(&dst.0);
    h[6..ADDRS].copy_from_slice(&src.0);
    h[ADDRS..].copy_from_slice(&[a, b]);
    Some(())
}

/// Removes the Ethernet header (and nothing behind it: tagged packets are refused).
pub(super) fn pop_eth(
    (frame, layers, side): (&mut Frame, &mut Layers, &mut Option<Box<Side>>),
) -> Option<()> {
    let len = layers.l2_len()?;
    if side.as_ref().is_some_and(|s| s.packet_type != 0) || len != ETH_LEN {
        return None;
    }
    let ethertype = *frame.data().get(ADDRS..)?.first_chunk::<2>()?;
    remove(frame, layers, 0, len)?;
    side_of(side).packet_type = bare_type(u16::from_be_bytes(ethertype));
    Some(())
}
