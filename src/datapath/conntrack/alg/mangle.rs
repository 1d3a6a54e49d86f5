//! Changing a message in a TCP segment.

use crate::pkts::Pkts;
use flow::Layers;
use packet::{Frame, RxFlags};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use wire::checksum::{checksum, pseudo4, pseudo6};
use wire::ipv4::{Ipv4Header, PROTO_TCP};
use wire::ipv6::Ipv6Header;
use wire::tcp::TcpHeader;
use wire::{Header, U16};

/// Where the TCP checksum stands.
const SUM_AT: usize = 16;

/// A segment's payload.
pub(super) fn payload<'a>(frame: &'a Frame, layers: &Layers) -> Option<&'a [u8]> {
    let l4 = layers.l4(frame.data());
    l4.get(TcpHeader::at(l4, 0)?.header_len()..)
}

/// An address as messages write it.
pub(super) fn text(addr: &[u8; 16], v6: bool, commas: bool) -> String {
    if v6 {
        return Ipv6Addr::from(*addr).to_string();
    }
    let text = Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3]).to_string();
    if commas { text.replace('.', ",") } else { text }
}

/// Rate of what is said about frames without room.
static NO_ROOM: base::log::RateLimit = base::log::RateLimit::new(5, 5);

/// Replaces part of a segment's payload; says by how much it grew. `None` when that cannot be done.
pub(super) fn replace(pkts: &mut Pkts, i: usize, at: Range<usize>, new: &str) -> Option<i32> {
    let (frame, layers) = (&mut pkts.frames[i], &mut pkts.layers[i]);
    let (l3, l4) = (layers.l3_ofs()?, layers.l4_ofs()?);
    // Padding goes first: the packet may grow into it.
    let unpadded = frame.len().checked_sub(usize::from(layers.l2_pad))?;
    let header = TcpHeader::at(frame.data(), l4)?.header_len();
    let from = l4 + header + at.start;
    let to = l4 + header + at.end;
    if to > unpadded {
        return None;
    }
    let len = unpadded - (to - from) + new.len();
    let room = frame.len() + frame.tailroom();
    if len > room {
        base::log_rl!(
            NO_ROOM,
            WARN,
            "conntrack",
            "Unsupported effective MTU {room} used with FTP"
        );
        return None;
    }
    let _ = frame.set_len(len.max(unpadded));
    let data = frame.data_mut();
    data.copy_within(to..unpadded, from + new.len());
    data[from..from + new.len()].copy_from_slice(new.as_bytes());
    let _ = frame.set_len(len);
    layers.l2_pad = 0;
    lengths(frame, l3, l4)?;
    Some(new.len() as i32 - (to - from) as i32)
}

/// Makes lengths and checksums right for what is there now.
fn lengths(frame: &mut Frame, l3: usize, l4: usize) -> Option<()> {
    let partial = frame.flags & RxFlags::CSUM_PARTIAL != 0;
    let data = frame.data_mut();
    let size = data.len() - l3;
    let l4_len = (data.len() - l4) as u32;
    let v6 = data.get(l3)? >> 4 == 6;
    let pseudo = if v6 {
        let h = Ipv6Header::at_mut(data, l3)?;
        h.payload_len = U16::new(u16::try_from(size - Ipv6Header::LEN).ok()?);
        pseudo6(h.src, h.dst, PROTO_TCP, l4_len)
    } else {
        let h = Ipv4Header::at_mut(data, l3)?;
        h.tot_len = U16::new(u16::try_from(size).ok()?);
        h.csum = U16::ZERO;
        let (src, dst, header) = (h.src, h.dst, h.header_len());
        let sum = checksum(data.get(l3..l3 + header)?);
        Ipv4Header::at_mut(data, l3)?.csum = U16::new(sum);
        pseudo4(src, dst, PROTO_TCP, l4_len)
    };
    data.get_mut(l4 + SUM_AT..l4 + SUM_AT + 2)?.fill(0);
    let sum = if partial {
        pseudo.partial()
    } else {
        pseudo.add_bytes(data.get(l4..)?).finish()
    };
    data.get_mut(l4 + SUM_AT..l4 + SUM_AT + 2)?
        .copy_from_slice(&sum.to_be_bytes());
    Some(())
}
