//! [`Stencil`]: what a flow wants, laid over the bytes of packets instead of over their keys.
//!
//! Most batches belong to one flow, the one of the batch before. In a plain packet (untagged Ethernet; IPv4
//! without options that is no fragment, or none of the protocols that are parsed further) everything such a flow
//! looks at has a fixed place in the first [`BYTES`] bytes, so a packet is told to belong to it without a key.
//!
//! A stencil is cut from a packet that extraction has shown to belong to the flow. It asks that the bytes that
//! decide how a packet is parsed are those of that packet, and that the bits that the flow looks at are. Both
//! packets then have the same key under the flow's mask. A packet that does not fit may belong to the flow all the
//! same: it is looked up in the ordinary way. Only for flows whose packets nobody needs to have parsed.

use flow::{Mask, Metadata};
use wire::ethernet::{
    ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_MIN, ETH_TYPE_NSH, ETH_TYPE_RARP,
    is_mpls_type, is_vlan_type,
};
use wire::ipv4::{FRAG_MF, FRAG_OFF_MASK, Ipv4Header, PROTO_TCP, PROTO_UDP};
use wire::{Header, Ipv4, U16, U32};
use zerocopy::IntoBytes;

/// Bytes that are looked at: Ethernet, IPv4 and ports. Shorter packets fit no stencil.
const BYTES: usize = 40;
const WORDS: usize = BYTES / 8;
/// Where IPv4 begins.
const L3: usize = 14;
/// Where its ports are.
const L4: usize = L3 + Ipv4Header::LEN;
/// Header of UDP.
const UDP_LEN: usize = 8;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stencil {
    mask: [u64; WORDS],
    want: [u64; WORDS],
    /// Least total length by the IPv4 header; 0 when the packets are not IPv4.
    ip_least: usize,
    in_port: u32,
    recirc_id: u32,
}

/// A stencil being cut: which bits of the packet's bytes count.
struct Cut {
    bits: [u8; BYTES],
    /// What the flow looks at besides.
    left: Mask,
}

impl Cut {
    fn at(&mut self, at: usize, bits: &[u8]) {
        for (to, from) in std::iter::zip(&mut self.bits[at..], bits) {
            *to |= from;
        }
    }

    /// Ethernet addresses and type; what the whole batch has in common.
    fn ethernet(&mut self) {
        let m = &mut self.left.0;
        let (dst, src) = (m.dl_dst, m.dl_src);
        (m.dl_dst, m.dl_src, m.dl_type) = Default::default();
        (m.in_port, m.recirc_id) = (U32::new(0), U32::new(0));
        // Zero in packets without tags, and without facts besides their bytes.
        (m.vlans, m.packet_type, m.dp_hash) = Default::default();
        self.at(0, dst.as_bytes());
        self.at(6, src.as_bytes());
        self.at(12, &[0xff; 2]);
    }

    /// A header that is like that of `data`; `None` when there is more to it than is looked at here.
    fn ipv4(&mut self, data: &[u8], deep: bool) -> Option<usize> {
        let (h, header_len, _) = Ipv4Header::checked(data, L3)?;
        if header_len != Ipv4Header::LEN || h.is_fragment() {
            return None;
        }
        let m = self.left.0;
        self.at(L3, &[0xff, m.nw_tos]);
        self.at(L3 + 6, &(FRAG_MF | FRAG_OFF_MASK).to_be_bytes());
        self.at(L3 + 8, &[m.nw_ttl, m.nw_proto]);
        self.at(L3 + 12, m.nw_src.as_bytes());
        self.at(L3 + 16, m.nw_dst.as_bytes());
        let ports = m.tp_src.get() | m.tp_dst.get() != 0;
        let m = &mut self.left.0;
        (m.nw_tos, m.nw_ttl, m.nw_proto, m.nw_frag) = Default::default();
        (m.nw_src, m.nw_dst) = (Ipv4::default(), Ipv4::default());
        if !deep {
            return Some(Ipv4Header::LEN);
        }
        // Packets whose TCP flags are to be counted must be parsed.
        if h.proto == PROTO_TCP {
            return None;
        }
        self.at(L3 + 9, &[0xff]);
        if !ports {
            return Some(Ipv4Header::LEN);
        }
        self.udp(h.proto)
    }

    /// Ports; what the flow thinks of TCP flags is the same for every packet without any.
    fn udp(&mut self, proto: u8) -> Option<usize> {
        if proto != PROTO_UDP {
            return None;
        }
        let m = &mut self.left.0;
        let (src, dst) = (m.tp_src, m.tp_dst);
        (m.tp_src, m.tp_dst, m.tcp_flags) = (U16::new(0), U16::new(0), U16::new(0));
        self.at(L4, src.as_bytes());
        self.at(L4 + 2, dst.as_bytes());
        Some(Ipv4Header::LEN + UDP_LEN)
    }
}

impl Stencil {
    /// Cuts one from a packet that belongs to a flow with this mask; `None` when its packets have to be parsed.
    /// `deep` when keys have L4 fields, as far as packets do.
    pub(super) fn cut(data: &[u8], md: &Metadata<'_>, mask: &Mask, deep: bool) -> Option<Self> {
        let head = data.first_chunk::<BYTES>()?;
        if md.packet_type | md.dp_hash != 0 || md.ct.is_some() || md.tunnel.is_some() {
            return None;
        }
        let mut cut = Cut {
            bits: [0; BYTES],
            left: *mask,
        };
        cut.ethernet();
        let ip_least = match u16::from_be_bytes([head[12], head[13]]) {
            ETH_TYPE_IP => cut.ipv4(data, deep)?,
            ETH_TYPE_IPV6 | ETH_TYPE_ARP | ETH_TYPE_RARP | ETH_TYPE_NSH => return None,
            t if is_vlan_type(t) || is_mpls_type(t) => return None,
            t => {
                // An 802.3 frame is what its LLC header says; behind SNAP there may be anything.
                if t < ETH_TYPE_MIN {
                    if head[L3..].starts_with(&[0xaa, 0xaa]) {
                        return None;
                    }
                    cut.at(L3, &[0xff; 8]);
                }
                cut.left.0.nw_frag = 0;
                0
            }
        };
        if cut.left.touched() != 0 {
            return None;
        }
        let mask = words(&cut.bits);
        let have = words(head);
        let stencil = Self {
            mask,
            want: std::array::from_fn(|i| have[i] & mask[i]),
            ip_least,
            in_port: md.in_port,
            recirc_id: md.recirc_id,
        };
        // It does not when the packet has no room for the ports that the flow looks at.
        stencil.fits(data).then_some(stencil)
    }

    /// May packets from this port, on this pass, be compared?
    #[inline]
    pub(super) fn is_for(&self, in_port: u32, recirc_id: u32) -> bool {
        (self.in_port, self.recirc_id) == (in_port, recirc_id)
    }

    /// True when a packet with these bytes, and nothing special known about it, belongs to the flow.
    #[inline]
    pub(super) fn fits(&self, data: &[u8]) -> bool {
        let Some(head) = data.first_chunk::<BYTES>() else {
            return false;
        };
        let have = words(head);
        let mut differ = 0;
        for ((have, mask), want) in have.iter().zip(&self.mask).zip(&self.want) {
            differ |= (have & mask) ^ want;
        }
        differ == 0 && (self.ip_least == 0 || self.has_sound_length(head, data.len()))
    }

    /// The IPv4 total length is one that extraction trusts.
    #[inline]
    fn has_sound_length(&self, head: &[u8; BYTES], len: usize) -> bool {
        let total = usize::from(u16::from_be_bytes([head[L3 + 2], head[L3 + 3]]));
        let size = len - L3;
        total >= self.ip_least && total <= size && size - total <= wire::ipv4::PAD_MAX
    }
}

#[inline]
fn words(bytes: &[u8; BYTES]) -> [u64; WORDS] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_ne_bytes(words[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;
    use flow::Flow;

    /// A packet of some kind, most of them such that a stencil can be cut.
    fn packet(rng: &mut Rng) -> Vec<u8> {
        let mut p = vec![0; 60];
        for b in &mut p {
            *b = rng.below(3) as u8;
        }
        let types = [
            0x0800, 0x0800, 0x0800, 0x0800, 0x88cc, 0x0026, 0x0806, 0x86dd, 0x8100,
        ];
        let t: u16 = types[rng.below(types.len() as u64) as usize];
        p[12..14].copy_from_slice(&t.to_be_bytes());
        if t == 0x0800 {
            p[14] = if rng.below(8) == 0 { 0x46 } else { 0x45 };
            p[16..18].copy_from_slice(&(20 + rng.below(28) as u16).to_be_bytes());
            p[20..22].copy_from_slice(&[0x40, 0]);
            p[23] = [17, 17, 6, 1, 47][rng.below(5) as usize];
            p[46] = 0x50;
        } else if rng.below(2) == 0 {
            p[14..17].copy_from_slice(&[0xaa, 0xaa, 3]);
        }
        p
    }

    /// The packet with a few bytes changed, or cut, or longer.
    fn changed(p: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut q = p.to_vec();
        for _ in 0..rng.below(4) {
            let at = rng.below(q.len() as u64) as usize;
            q[at] = rng.next_u64() as u8;
        }
        match rng.below(8) {
            0 => q.truncate(14 + rng.below(46) as usize),
            1 => q.resize(60 + rng.below(1500) as usize, 1),
            2 => q.resize(70_000, 0),
            _ => {}
        }
        q
    }

    fn mask(rng: &mut Rng) -> Mask {
        let mut m = Mask::empty();
        m.0.in_port = U32::new(u32::MAX);
        m.0.recirc_id = U32::new(u32::MAX);
        m.0.packet_type = U32::new(u32::MAX);
        m.0.dl_type = U16::new(u16::MAX);
        m.0.nw_frag = 0xff;
        let mut some = |n: u64| if rng.below(n) == 0 { rng.next_u64() } else { 0 };
        m.0.dl_src.0[5] = some(3) as u8;
        m.0.dl_dst.0[0] = some(3) as u8;
        m.0.vlans[0].tci = U16::new(some(3) as u16);
        m.0.nw_src = Ipv4::from_u32(some(3) as u32);
        m.0.nw_dst = Ipv4::from_u32(some(3) as u32);
        (m.0.nw_tos, m.0.nw_ttl) = (some(3) as u8, some(3) as u8);
        m.0.nw_proto = some(3) as u8;
        m.0.tp_src = U16::new(some(4) as u16);
        m.0.tp_dst = U16::new(some(4) as u16);
        m.0.tcp_flags = U16::new(some(8) as u16 & 0xfff);
        m.0.pkt_mark = U32::new(some(16) as u32);
        m
    }

    fn key(data: &[u8], md: &Metadata<'_>) -> Flow {
        let mut key = Flow::zero();
        flow::extract(data, md, &mut key);
        key
    }

    /// Whatever fits has the same key under the mask, and TCP flags to be counted only where keys are deep.
    #[test]
    fn what_fits_belongs_to_the_flow() {
        let md = Metadata {
            in_port: 1,
            ..Metadata::default()
        };
        let mut rng = Rng::new(11);
        let (mut cuts, mut fitting) = (0, 0);
        for _ in 0..20_000 {
            let (p, mask) = (packet(&mut rng), mask(&mut rng));
            let deep = mask.depth() == flow::Depth::L4 || rng.below(2) == 0;
            let Some(stencil) = Stencil::cut(&p, &md, &mask, deep) else {
                continue;
            };
            cuts += 1;
            assert!(stencil.fits(&p), "{p:x?}");
            let of_p = key(&p, &md);
            for _ in 0..20 {
                let q = changed(&p, &mut rng);
                if !stencil.fits(&q) {
                    continue;
                }
                fitting += usize::from(q != p);
                let of_q = key(&q, &md);
                assert!(of_p.equals_under(&of_q, &mask), "{p:x?} {q:x?} {mask:?}");
                assert!(!deep || of_q.nw_proto != PROTO_TCP || of_q.tcp_flags.get() == 0);
            }
        }
        assert!(cuts > 3000 && fitting > 25_000, "{cuts} {fitting}");
    }

    /// Facts besides the bytes are none of a stencil's business.
    #[test]
    fn packets_that_more_is_known_of_have_none() {
        let mut p = packet(&mut Rng::new(2));
        p[12..14].copy_from_slice(&[0x88, 0xcc]);
        let hashed = Metadata {
            dp_hash: 1,
            ..Metadata::default()
        };
        let mask = Mask::empty();
        assert!(Stencil::cut(&p, &Metadata::default(), &mask, false).is_some());
        assert_eq!(Stencil::cut(&p, &hashed, &mask, false), None);
        assert_eq!(
            Stencil::cut(&p[..39], &Metadata::default(), &mask, false),
            None
        );
    }
}
