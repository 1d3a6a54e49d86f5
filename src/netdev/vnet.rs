//! The virtio-net header that packet sockets and taps put in front of a packet (virtio 1.2, 5.1.6):
//! to and from a frame's offload metadata.

use packet::{Frame, GsoKind, RxFlags};

/// Bytes of the header.
pub(crate) const VNET_BYTES: usize = 10;

/// The header as bytes, in the machine's byte order (legacy layout).
pub(crate) type VnetHeader = [u8; VNET_BYTES];

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Writes a received header into the frame's metadata. False when it describes something we cannot
/// handle (the frame must be dropped).
pub(crate) fn apply(header: &VnetHeader, frame: &mut Frame) -> bool {
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    frame.flags &= !(RxFlags::CSUM_PARTIAL | RxFlags::CSUM_GOOD | RxFlags::GSO);
    frame.gso = GsoKind::NONE;
    frame.gso_size = 0;
    if header[0] & NEEDS_CSUM != 0 {
        frame.flags |= RxFlags::CSUM_PARTIAL;
        frame.csum_start = half(6);
        frame.csum_offset = half(8);
        if usize::from(frame.csum_start) + usize::from(frame.csum_offset) + 2 > frame.len() {
            return false;
        }
    } else if header[0] & DATA_VALID != 0 {
        frame.flags |= RxFlags::CSUM_GOOD;
    }
    frame.gso = match header[1] & !GSO_ECN {
        GSO_NONE => return true,
        GSO_TCP4 => GsoKind::TCP4,
        GSO_TCP6 => GsoKind::TCP6,
        GSO_UDP_L4 => GsoKind::UDP,
        _ => return false,
    };
    frame.gso_size = half(4);
    frame.flags |= RxFlags::GSO;
    frame.gso_size != 0
}

/// The header that says what the frame still needs. A GSO frame must not be VLAN-tagged: the kernel
/// looks for IP right behind the Ethernet header.
pub(crate) fn describe(frame: &Frame) -> VnetHeader {
    let mut header = [0; VNET_BYTES];
    let mut put = |at: usize, n: u16| header[at..at + 2].copy_from_slice(&n.to_ne_bytes());
    if frame.flags & RxFlags::GSO != 0 {
        put(4, frame.gso_size);
        put(2, headers_len(frame));
    }
    if frame.flags & RxFlags::CSUM_PARTIAL != 0 {
        put(6, frame.csum_start);
        put(8, frame.csum_offset);
        header[0] = NEEDS_CSUM;
    } else if frame.flags & RxFlags::CSUM_GOOD != 0 {
        header[0] = DATA_VALID;
    }
    if frame.flags & RxFlags::GSO != 0 {
        header[1] = match frame.gso {
            GsoKind::NONE => GSO_NONE,
            GsoKind::TCP4 => GSO_TCP4,
            GsoKind::TCP6 => GSO_TCP6,
            _ => GSO_UDP_L4,
        };
    }
    header
}

/// Bytes of headers that each segment will have: a hint to the kernel.
fn headers_len(frame: &Frame) -> u16 {
    let l4 = frame.csum_start;
    let data_offset = frame.data().get(usize::from(l4) + 12).map_or(5, |b| b >> 4);
    match frame.gso {
        GsoKind::UDP => l4.saturating_add(8),
        _ => l4.saturating_add(u16::from(data_offset) * 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::HeapPool;

    #[test]
    fn what_is_read_is_written_again() {
        let mut frame = HeapPool::global().copy_from(&[0x50; 200]);
        let h = |v: u16| v.to_ne_bytes();
        let header = [
            NEEDS_CSUM,
            GSO_TCP4,
            h(54)[0],
            h(54)[1],
            h(50)[0],
            h(50)[1],
            h(34)[0],
            h(34)[1],
            h(16)[0],
            h(16)[1],
        ];
        assert!(apply(&header, &mut frame));
        assert_eq!(
            (frame.csum_start, frame.csum_offset, frame.gso_size),
            (34, 16, 50)
        );
        assert_eq!(describe(&frame), header);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let mut frame = HeapPool::global().copy_from(&[0; 60]);
        let far = 59u16.to_ne_bytes();
        assert!(!apply(
            &[NEEDS_CSUM, 0, 0, 0, 0, 0, far[0], far[1], 0, 0],
            &mut frame
        ));
        assert!(!apply(&[0, GSO_TCP4, 0, 0, 0, 0, 0, 0, 0, 0], &mut frame));
        assert!(!apply(&[0, 3, 0, 0, 100, 0, 0, 0, 0, 0], &mut frame));
        assert!(apply(&[0; 10], &mut frame));
    }
}
