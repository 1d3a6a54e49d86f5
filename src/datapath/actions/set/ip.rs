//! `set` of IPv4 and IPv6 headers. Protocol and fragment bits cannot be set and are ignored.

use super::l4::{self, Part, fix_ipv4_header};
use super::{Bits, v4, v6};
use flow::Layers;
use odp::SetKey;
use packet::Frame;
use wire::Header;
use wire::ipv6::{EXT_ROUTING, Ipv6Header, LABEL_MASK, is_extension};

/// Changes of an IPv4 header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Set4 {
    /// Source, then destination.
    addrs: Bits<8>,
    tos: Bits<1>,
    ttl: Bits<1>,
}

impl Set4 {
    /// Both are `SetKey::Ipv4`.
    pub(super) fn new(key: &SetKey, mask: &SetKey) -> Self {
        let part = |k: &SetKey| {
            if let SetKey::Ipv4 {
                src, dst, tos, ttl, ..
            } = k
            {
                (v4(*src, *dst), [*tos], [*ttl])
            } else {
                ([0; 8], [0], [0])
            }
        };
        let (k, m) = (part(key), part(mask));
        Self {
            addrs: Bits::new(k.0, m.0),
            tos: Bits::new(k.1, m.1),
            ttl: Bits::new(k.2, m.2),
        }
    }

    pub(super) fn apply(&self, frame: &mut Frame, layers: &Layers) -> Option<()> {
        let l3 = layers.l3_ofs()?;
        let h = frame.data().get(l3..)?.first_chunk::<20>()?;
        if h[0] >> 4 != 4 {
            return None;
        }
        if !self.addrs.is_nothing() {
            let old = *h[12..].first_chunk::<8>()?;
            let new = self.addrs.applied(old);
            if let Some(l4) = l4::locate(frame.data(), layers) {
                l4::fix(frame, &l4, Part::Pseudo, (&old, &new));
            }
            let h = frame.data_mut()[l3..].first_chunk_mut::<20>()?;
            let sum = super::super::csum::update(u16::from_be_bytes([h[10], h[11]]), &old, &new);
            h[10..12].copy_from_slice(&sum.to_be_bytes());
            h[12..].copy_from_slice(&new);
        }
        let h = frame.data_mut()[l3..].first_chunk_mut::<20>()?;
        for (at, bits) in [(1, &self.tos), (8, &self.ttl)] {
            let even = at & !1;
            let old = u16::from_be_bytes([h[even], h[even + 1]]);
            [h[at]] = bits.applied([h[at]]);
            let new = u16::from_be_bytes([h[even], h[even + 1]]);
            if old != new {
                fix_ipv4_header(&mut h[10..12], old, new);
            }
        }
        Some(())
    }
}

/// Changes of an IPv6 header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Set6 {
    addrs: Bits<32>,
    /// Key and mask of version, traffic class and label.
    first: Bits<4>,
    hlimit: Bits<1>,
}

impl Set6 {
    /// Both are `SetKey::Ipv6`.
    pub(super) fn new(key: &SetKey, mask: &SetKey) -> Self {
        let part = |k: &SetKey| {
            let SetKey::Ipv6 {
                src,
                dst,
                label,
                tclass,
                hlimit,
                ..
            } = k
            else {
                return ([0; 32], [0; 4], [0]);
            };
            let first = u32::from(*tclass) << 20 | label & LABEL_MASK;
            (v6(*src, *dst), first.to_be_bytes(), [*hlimit])
        };
        let (k, m) = (part(key), part(mask));
        Self {
            addrs: Bits::new(k.0, m.0),
            first: Bits::new(k.1, m.1),
            hlimit: Bits::new(k.2, m.2),
        }
    }

    pub(super) fn apply(&self, frame: &mut Frame, layers: &Layers) -> Option<()> {
        let l3 = layers.l3_ofs()?;
        let h = frame.data().get(l3..)?.first_chunk::<40>()?;
        if h[0] >> 4 != 6 {
            return None;
        }
        if !self.addrs.is_nothing() {
            let old = *h[8..].first_chunk::<32>()?;
            let new = self.addrs.applied(old);
            if let Some(l4) = l4::locate(frame.data(), layers) {
                // Under a routing header the pseudo header has the final destination, which is in there.
                let covered = if routed(frame.data(), l3, l4.ofs) {
                    16
                } else {
                    32
                };
                l4::fix(frame, &l4, Part::Pseudo, (&old[..covered], &new[..covered]));
            }
            frame.data_mut()[l3 + 8..l3 + 40].copy_from_slice(&new);
        }
        let h = frame.data_mut()[l3..].first_chunk_mut::<40>()?;
        let first = self.first.applied([h[0], h[1], h[2], h[3]]);
        h[..4].copy_from_slice(&first);
        [h[7]] = self.hlimit.applied([h[7]]);
        Some(())
    }
}

/// True when a routing header with segments left lies between the IPv6 header and layer 4.
fn routed(data: &[u8], l3: usize, l4: usize) -> bool {
    let mut next = data.get(l3 + 6).copied().unwrap_or_default();
    let mut ofs = l3 + Ipv6Header::LEN;
    while ofs < l4 && is_extension(next) {
        let Some(h) = data.get(ofs..).and_then(<[u8]>::first_chunk::<8>) else {
            return false;
        };
        if next == EXT_ROUTING && h[3] > 0 {
            return true;
        }
        ofs += match next {
            wire::ipv6::EXT_FRAGMENT => 8,
            wire::ipv6::EXT_AUTH => (usize::from(h[1]) + 2) * 4,
            _ => (usize::from(h[1]) + 1) * 8,
        };
        next = h[0];
    }
    false
}
