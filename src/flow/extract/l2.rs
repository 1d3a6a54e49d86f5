//! Layer 2: Ethernet, VLAN tags, 802.3 LLC/SNAP; and the MPLS label stack behind it.

use super::{Depth, Layers, Sink};
use crate::key::{Flow, Vlan};
use base::sync::{AtomicU8, Ordering};
use wire::ethernet::{ETH_TYPE_MIN, LlcSnapHeader, is_mpls_type, is_vlan_type};
use wire::mpls::LSE_BOS;
use wire::{EthAddr, Header, U16, U32};

/// What layer 2 found.
#[derive(Clone, Copy)]
pub(super) struct L2 {
    /// EtherType of what follows.
    pub(super) dl_type: u16,
    /// Where it begins.
    pub(super) ofs: usize,
}

/// Parses Ethernet and VLAN tags; `None` when the 14 octets of Ethernet are not there.
#[inline]
pub(super) fn ethernet(data: &[u8], sink: &mut Sink<'_>) -> Option<L2> {
    let h = data.first_chunk::<14>()?;
    let flow = &mut *sink.flow;
    flow.dl_dst = EthAddr([h[0], h[1], h[2], h[3], h[4], h[5]]);
    flow.dl_src = EthAddr([h[6], h[7], h[8], h[9], h[10], h[11]]);
    let mut l2 = L2 {
        dl_type: u16::from_be_bytes([h[12], h[13]]),
        ofs: 14,
    };
    if is_vlan_type(l2.dl_type) {
        l2 = vlans(data, l2, flow);
    }
    if l2.dl_type < ETH_TYPE_MIN {
        l2 = llc(data, l2.ofs);
    }
    flow.dl_type = U16::new(l2.dl_type);
    Some(l2)
}

/// A packet that begins behind layer 2: its type says what it is.
pub(super) fn bare(packet_type: u32, sink: &mut Sink<'_>) -> L2 {
    let [_, _, a, b] = packet_type.to_be_bytes();
    let dl_type = u16::from_be_bytes([a, b]);
    sink.flow.dl_type = U16::new(dl_type);
    L2 { dl_type, ofs: 0 }
}

static VLAN_LIMIT: AtomicU8 = AtomicU8::new(Flow::VLANS_MAX as u8);

/// How many VLAN tags of a packet are parsed; tags behind them are payload. Flows hold at most two.
#[must_use]
pub fn vlan_limit() -> usize {
    // Relaxed: a setting, ordered with nothing.
    VLAN_LIMIT.load(Ordering::Relaxed).into()
}

/// Sets how many VLAN tags are parsed, for the whole process (`other_config:vlan-limit`; 0 stands for as
/// many as flows hold). The first value is 2; Open vSwitch's daemon sets 1 unless told otherwise.
pub fn set_vlan_limit(limit: usize) {
    let limit = if limit == 0 {
        Flow::VLANS_MAX
    } else {
        limit.min(Flow::VLANS_MAX)
    };
    VLAN_LIMIT.store(limit as u8, Ordering::Relaxed);
}

/// A tag counts only when its own EtherType field is there too; otherwise the tag's type is `dl_type`.
#[inline]
fn vlans(data: &[u8], mut l2: L2, flow: &mut Flow) -> L2 {
    for vlan in flow.vlans.iter_mut().take(vlan_limit()) {
        if !is_vlan_type(l2.dl_type) {
            break;
        }
        let Some(tag) = data.get(l2.ofs..).and_then(<[u8]>::first_chunk::<4>) else {
            break;
        };
        let tci = u16::from_be_bytes([tag[0], tag[1]]);
        *vlan = Vlan {
            tpid: U16::new(l2.dl_type),
            tci: U16::new(tci | Vlan::CFI),
        };
        l2 = L2 {
            dl_type: u16::from_be_bytes([tag[2], tag[3]]),
            ofs: l2.ofs + 4,
        };
    }
    l2
}

/// 802.3: the EtherType is in the SNAP header, if there is one.
#[cold]
fn llc(data: &[u8], ofs: usize) -> L2 {
    let none = L2 {
        dl_type: Flow::DL_TYPE_NONE,
        ofs,
    };
    match LlcSnapHeader::at(data, ofs) {
        Some(h) if h.is_snap() => {
            let dl_type = h.ethertype.get();
            let dl_type = if dl_type < ETH_TYPE_MIN {
                Flow::DL_TYPE_NONE
            } else {
                dl_type
            };
            L2 {
                dl_type,
                ofs: ofs + LlcSnapHeader::LEN,
            }
        }
        _ => none,
    }
}

/// Where layer 3 begins: behind the label stack, if there is one.
#[inline]
pub(super) fn mpls(
    data: &[u8],
    l2: L2,
    depth: Depth,
    sink: &mut Sink<'_>,
    layers: &mut Layers,
) -> usize {
    if is_mpls_type(l2.dl_type) {
        labels(data, l2.ofs, depth, (sink, layers))
    } else {
        l2.ofs
    }
}

/// All labels down to the bottom of the stack are skipped, as many as a flow can hold are kept.
#[cold]
fn labels(data: &[u8], at: usize, depth: Depth, out: (&mut Sink<'_>, &mut Layers)) -> usize {
    let (sink, layers) = out;
    // At most 14 octets of Ethernet, 8 of tags and 8 of LLC/SNAP are in front.
    layers.l2_5 = at as u16;
    let mut ofs = at;
    let mut n = 0;
    while let Some(lse) = data.get(ofs..).and_then(<[u8]>::first_chunk::<4>) {
        let lse = U32::from_bytes(*lse);
        if depth >= Depth::L3 && n < Flow::MPLS_MAX {
            sink.line::<2>().mpls_lse[n] = lse;
        }
        n += 1;
        ofs += 4;
        if lse.get() & LSE_BOS != 0 {
            break;
        }
    }
    if n > 0 && depth >= Depth::L3 {
        layers.reached = Depth::L3;
    }
    ofs
}
