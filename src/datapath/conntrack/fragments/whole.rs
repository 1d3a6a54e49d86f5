//! Making a packet of its fragments, tracking it, and giving the fragments what was found out.

use super::piece::Piece;
use crate::actions::csum::update;
use crate::conntrack::Conntrack;
use crate::conntrack::track::Run;
use crate::pkts::{Pkt, Pkts, side_of};
use flow::{Flow, Layers};
use odp::OdpPort;
use packet::HeapPool;
use wire::checksum::checksum;
use wire::ipv6::{Ipv6Fragment, Ipv6Header};
use wire::{Header, U16};

/// Octets of the transport headers that a translation changes: up to TCP's checksum.
const TRANSPORT: usize = 18;

/// Octets of the IP packet that these fragments make.
pub(super) fn octets(pieces: &[(Piece, Pkt)]) -> usize {
    let headers = pieces.first().map_or(0, |(p, _)| p.data - p.l3);
    headers + pieces.last().map_or(0, |(p, _)| p.end)
}

/// The packet, and where its layer 3 and its payload begin.
fn join(pieces: &[(Piece, Pkt)], v6: bool) -> Option<Vec<u8>> {
    let (first, pkt) = pieces.first()?;
    let mut packet = pkt.frame.data().get(..first.data)?.to_vec();
    for (p, pkt) in pieces {
        packet.extend_from_slice(pkt.frame.data().get(p.data..p.data + (p.end - p.start))?);
    }
    let size = packet.len() - first.l3;
    if v6 {
        // The fragment header stays, and says that nothing is missing.
        let at = first.data - Ipv6Fragment::LEN;
        Ipv6Fragment::at_mut(&mut packet, at)?.off_flags = U16::ZERO;
        let payload = u16::try_from(size - Ipv6Header::LEN).ok()?;
        Ipv6Header::at_mut(&mut packet, first.l3)?.payload_len = U16::new(payload);
    } else {
        let header = packet.get_mut(first.l3..first.data)?;
        header[2..4].copy_from_slice(&u16::try_from(size).ok()?.to_be_bytes());
        header[6..8].fill(0);
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    Some(packet)
}

/// Puts the addresses of `whole`, and its transport header if this is the first fragment, into a fragment.
fn translate(p: &Piece, pkt: &mut Pkt, whole: &[u8], at: (usize, usize), v6: bool) -> Option<()> {
    let (l3, data) = at;
    let packet = pkt.frame.data_mut();
    let (ofs, len) = if v6 { (8, 32) } else { (12, 8) };
    let new = whole.get(l3 + ofs..l3 + ofs + len)?;
    let field = packet.get_mut(p.l3 + ofs..p.l3 + ofs + len)?;
    if field != new {
        let mut old = [0; 32];
        old[..len].copy_from_slice(field);
        field.copy_from_slice(new);
        if !v6 {
            let sum = packet.get_mut(p.l3 + 10..p.l3 + 12)?;
            let fixed = update(u16::from_be_bytes([sum[0], sum[1]]), &old[..len], new);
            sum.copy_from_slice(&fixed.to_be_bytes());
        }
    }
    if p.first {
        let n = (p.end - p.start).min(whole.len().checked_sub(data)?);
        let skip = transport(whole, data, l3, v6).min(n);
        let n = (n - skip).min(TRANSPORT);
        packet
            .get_mut(p.data + skip..p.data + skip + n)?
            .copy_from_slice(whole.get(data + skip..data + skip + n)?);
    }
    Some(())
}

/// Octets of extension headers behind the fragment header.
fn transport(whole: &[u8], data: usize, l3: usize, v6: bool) -> usize {
    if !v6 {
        return 0;
    }
    let Some(h) = Ipv6Header::at(whole, l3) else {
        return 0;
    };
    let upper = wire::ipv6::skip_extensions(whole, l3 + Ipv6Header::LEN, h.next);
    upper.map_or(0, |u| u.ofs.saturating_sub(data))
}

impl Conntrack {
    /// Tracks the packet that these fragments make; they go on with its state and translation.
    pub(super) fn whole(
        &self,
        run: &mut Run<'_>,
        mut pieces: Vec<(Piece, Pkt)>,
        (in_port, recirc_id, passes): (OdpPort, u32, u8),
    ) -> Vec<Pkt> {
        let mut meta = super::invalid(run.step.zone);
        let first = pieces.first().map(|(p, _)| (p.l3, p.data));
        let v6 = (pieces.first())
            .is_some_and(|(p, pkt)| pkt.frame.data().get(p.l3).is_some_and(|b| b >> 4 == 6));
        if let (Some(packet), Some(at)) = (join(&pieces, v6), first) {
            let mut one = Box::new(Pkts::new());
            (one.in_port, one.recirc_id, one.passes) = (in_port, recirc_id, passes);
            let side = pieces.first().and_then(|(_, p)| p.side.clone());
            one.push(Pkt {
                frame: HeapPool::global().copy_from(&packet),
                layers: Layers::UNKNOWN,
                side,
            });
            one.extract(0, &mut Flow::zero());
            drop(self.run(run, &mut one));
            if let Some(ct) = one.side_mut(0).ct {
                meta = ct;
            }
            for (p, pkt) in &mut pieces {
                let done = translate(p, pkt, one.frames[0].data(), at, v6);
                debug_assert!(done.is_some(), "the packet was made of them");
            }
            one.frames.release_all();
            one.forget_sides();
        }
        let give = |(_, mut pkt): (Piece, Pkt)| {
            side_of(&mut pkt.side).ct = Some(meta);
            pkt
        };
        pieces.into_iter().map(give).collect()
    }
}
