//! Putting a translation into a packet: an address, ports, and the checksums over them; in an ICMP error also
//! into the packet that it quotes.

use super::nat::Way;
use super::parse;
use super::tuple::{End, Tuple};
use crate::actions::csum::update;
use flow::Layers;
use packet::{Frame, RxFlags};
use wire::checksum::{checksum, pseudo6};
use wire::icmp::IcmpHeader;
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP};
use wire::{Header, Ipv6};

/// What a packet is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// Its tuple afterwards.
    pub(crate) target: Tuple,
    /// Which address changes.
    pub(crate) way: Way,
    /// It is an ICMP error of the connection.
    pub(crate) related: bool,
    /// What to add to TCP's sequence number and acknowledgement.
    pub(crate) shift: (i32, i32),
}

/// Where a packet's headers are, and whether its transport checksum is only begun.
#[derive(Debug, Clone, Copy)]
struct Place {
    v6: bool,
    l3: usize,
    l4: usize,
    proto: u8,
    partial: bool,
}

impl Rewrite {
    /// Changes a packet that was parsed before.
    pub(crate) fn apply(&self, frame: &mut Frame, layers: &Layers) -> Option<()> {
        let (l3, l4) = (layers.l3_ofs()?, layers.l4_ofs()?);
        let partial = frame.flags & RxFlags::CSUM_PARTIAL != 0;
        let end = frame.len().checked_sub(usize::from(layers.l2_pad))?;
        let packet = frame.data_mut().get_mut(..end)?;
        let t = &self.target;
        let mut at = Place {
            v6: t.v6,
            l3,
            l4,
            proto: t.proto,
            partial,
        };
        if self.related {
            at.proto = if t.v6 { PROTO_ICMPV6 } else { PROTO_ICMP };
        }
        let end = match self.way {
            Way::Src => &t.src,
            Way::Dst => &t.dst,
        };
        set_addr(packet, &at, self.way, end);
        if self.related {
            self.inner(packet, &at)
        } else {
            set_ports(packet, &at, t)?;
            self.shift(packet, &at)
        }
    }

    /// Shifts sequence number and acknowledgement.
    fn shift(&self, packet: &mut [u8], at: &Place) -> Option<()> {
        for (ofs, by) in [(4, self.shift.0), (8, self.shift.1)] {
            if by == 0 {
                continue;
            }
            let field = packet.get_mut(at.l4 + ofs..at.l4 + ofs + 4)?;
            let old: [u8; 4] = field.try_into().ok()?;
            let new = u32::from_be_bytes(old)
                .wrapping_add_signed(by)
                .to_be_bytes();
            field.copy_from_slice(&new);
            fix_sum(packet, at, false, &old, &new);
        }
        Some(())
    }

    /// Changes the packet that an ICMP error quotes, then the error's checksum.
    fn inner(&self, packet: &mut [u8], outer: &Place) -> Option<()> {
        let l3 = outer.l4 + IcmpHeader::LEN;
        let (tuple, l4) = if outer.v6 {
            parse::ip6(packet, l3)?
        } else {
            parse::ip4(packet, l3)?
        };
        let inside = self.target.reversed();
        let at = Place {
            v6: outer.v6,
            l3,
            l4,
            proto: tuple.proto,
            partial: false,
        };
        let way = self.way.back();
        let end = match way {
            Way::Src => &inside.src,
            Way::Dst => &inside.dst,
        };
        // Ports first: the quoted packet may be cut short behind them.
        set_ports(packet, &at, &inside);
        set_addr(packet, &at, way, end);
        let h = packet.get_mut(outer.l4 + 2..outer.l4 + 4)?;
        h.copy_from_slice(&[0, 0]);
        let icmp = packet.get(outer.l4..)?;
        let sum = if outer.v6 {
            let addr = |ofs: usize| -> Option<Ipv6> {
                Some(Ipv6(*packet.get(outer.l3 + ofs..)?.first_chunk()?))
            };
            let len = u32::try_from(icmp.len()).unwrap_or(u32::MAX);
            pseudo6(addr(8)?, addr(24)?, PROTO_ICMPV6, len)
                .add_bytes(icmp)
                .finish()
        } else {
            checksum(icmp)
        };
        packet
            .get_mut(outer.l4 + 2..outer.l4 + 4)?
            .copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}

/// Where the checksum of a protocol stands.
const fn sum_at(proto: u8) -> Option<usize> {
    match proto {
        PROTO_TCP => Some(16),
        PROTO_UDP => Some(6),
        PROTO_ICMPV6 => Some(2),
        _ => None,
    }
}

/// Corrects the transport checksum for bytes that change under it; `pseudo` when they are the pseudo header's.
fn fix_sum(packet: &mut [u8], at: &Place, pseudo: bool, old: &[u8], new: &[u8]) {
    let Some(ofs) = sum_at(at.proto).map(|o| at.l4 + o) else {
        return;
    };
    let Some(field) = packet.get_mut(ofs..ofs + 2) else {
        return;
    };
    let have = u16::from_be_bytes([field[0], field[1]]);
    let sum = match (at.partial, pseudo) {
        // Ports are summed when the checksum is completed; the field holds the pseudo header's sum.
        (true, false) => return,
        (true, true) => !update(!have, old, new),
        (false, _) if at.proto == PROTO_UDP && have == 0 => return,
        (false, _) => match update(have, old, new) {
            0 if at.proto == PROTO_UDP => 0xffff,
            sum => sum,
        },
    };
    field.copy_from_slice(&sum.to_be_bytes());
}

/// Sets an address of the IP header.
fn set_addr(packet: &mut [u8], at: &Place, way: Way, to: &End) {
    let (ofs, len) = match (at.v6, way) {
        (false, Way::Src) => (12, 4),
        (false, Way::Dst) => (16, 4),
        (true, Way::Src) => (8, 16),
        (true, Way::Dst) => (24, 16),
    };
    let mut old = [0; 16];
    let Some(field) = packet.get_mut(at.l3 + ofs..at.l3 + ofs + len) else {
        return;
    };
    old[..len].copy_from_slice(field);
    field.copy_from_slice(&to.addr[..len]);
    let (old, new) = (&old[..len], &to.addr[..len]);
    if !at.v6
        && let Some(field) = packet.get_mut(at.l3 + 10..at.l3 + 12)
    {
        let sum = update(u16::from_be_bytes([field[0], field[1]]), old, new);
        field.copy_from_slice(&sum.to_be_bytes());
    }
    fix_sum(packet, at, true, old, new);
}

/// Sets the ports of TCP and UDP; other protocols have none.
fn set_ports(packet: &mut [u8], at: &Place, to: &Tuple) -> Option<()> {
    if !matches!(at.proto, PROTO_TCP | PROTO_UDP) {
        return Some(());
    }
    let mut new = [0; 4];
    new[..2].copy_from_slice(&to.src.port.to_be_bytes());
    new[2..].copy_from_slice(&to.dst.port.to_be_bytes());
    let field = packet.get_mut(at.l4..at.l4 + 4)?;
    let mut old = [0; 4];
    old.copy_from_slice(field);
    field.copy_from_slice(&new);
    fix_sum(packet, at, false, &old, &new);
    Some(())
}
