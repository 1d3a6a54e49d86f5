//! The hashes that OpenFlow actions and groups are defined by: which link, bucket or member a flow takes
//! must be the same as in Open vSwitch. Bob Jenkins' lookup3 and Austin Appleby's MurmurHash3, both in
//! the public domain.

use crate::wild::{Site, Wild};
pub(crate) use base::hash::{murmur_add as add, murmur_finish as finish};
use flow::{Flow, Vlan};
use openflow::action::HashFields;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6};
use wire::ipv4::{PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::{Ipv4, Ipv6, U16};

fn word(b: &[u8]) -> u32 {
    let mut w = [0; 4];
    w[..b.len()].copy_from_slice(b);
    u32::from_ne_bytes(w)
}

/// lookup3 over bytes.
pub(crate) fn jhash(bytes: &[u8], basis: u32) -> u32 {
    let init = 0xdead_beef_u32
        .wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
        .wrapping_add(basis);
    let mut v = [init; 3];
    let mut chunks = bytes.chunks_exact(12);
    for chunk in &mut chunks {
        absorb(&mut v, chunk);
        // (this, subtracted and rotated, added to the latter, rotation)
        for (x, y, z, rot) in [
            (0, 2, 1, 4),
            (1, 0, 2, 6),
            (2, 1, 0, 8),
            (0, 2, 1, 16),
            (1, 0, 2, 19),
            (2, 1, 0, 4),
        ] {
            v[x] = v[x].wrapping_sub(v[y]) ^ v[y].rotate_left(rot);
            v[y] = v[y].wrapping_add(v[z]);
        }
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut tail = [0; 12];
        tail[..rest.len()].copy_from_slice(rest);
        absorb(&mut v, &tail);
        for (x, y, rot) in [
            (2, 1, 14),
            (0, 2, 11),
            (1, 0, 25),
            (2, 1, 16),
            (0, 2, 4),
            (1, 0, 14),
            (2, 1, 24),
        ] {
            v[x] = (v[x] ^ v[y]).wrapping_sub(v[y].rotate_left(rot));
        }
    }
    v[2]
}

fn absorb(v: &mut [u32; 3], chunk: &[u8]) {
    for (v, w) in v.iter_mut().zip(chunk.chunks(4)) {
        *v = v.wrapping_add(word(w));
    }
}

fn add64(hash: u32, data: u64) -> u32 {
    add(add(hash, data as u32), (data >> 32) as u32)
}

/// Two words.
pub(crate) fn two_words(x: u32, y: u32) -> u32 {
    finish(add(add(x, 0), y), 8)
}

/// A 64-bit number.
pub(crate) fn number64(x: u64, basis: u32) -> u32 {
    finish(add64(basis, x), 8)
}

/// Four bytes as they stand in memory.
pub(crate) fn add_bytes(hash: u32, b: &[u8]) -> u32 {
    add(hash, word(b))
}

/// Bytes.
pub(crate) fn bytes(b: &[u8], basis: u32) -> u32 {
    let h = b.chunks(4).fold(basis, |h, c| add(h, word(c)));
    finish(h, u32::try_from(b.len()).unwrap_or(u32::MAX))
}

/// A truth value.
pub(crate) fn boolean(x: bool, basis: u32) -> u32 {
    (if x { 0xc2b7_3583 } else { 0xe90f_1258_u32 }) ^ basis.rotate_left(1)
}

fn xor<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

fn vid_xor(flow: &Flow) -> u16 {
    flow.vlans
        .iter()
        .fold(0, |x, v| x ^ v.tci.get() & Vlan::VID_MASK)
}

fn has_ports(flow: &Flow) -> bool {
    matches!(flow.nw_proto, PROTO_TCP | PROTO_SCTP)
}

/// The same in both directions, over L2 to L4 headers (UDP's ports excepted).
pub(crate) fn symmetric_l4(flow: &Flow, basis: u32) -> u32 {
    let mut f = [0u8; 32];
    match flow.dl_type.get() {
        ETH_TYPE_IP => f[..4].copy_from_slice(&xor(flow.nw_src.0, flow.nw_dst.0)),
        ETH_TYPE_IPV6 => f[..16].copy_from_slice(&xor(flow.ipv6_src.0, flow.ipv6_dst.0)),
        _ => {}
    }
    f[16..18].copy_from_slice(&flow.dl_type.to_bytes());
    f[18..20].copy_from_slice(&vid_xor(flow).to_be_bytes());
    if matches!(flow.dl_type.get(), ETH_TYPE_IP | ETH_TYPE_IPV6) {
        if has_ports(flow) {
            let ports = flow.tp_src.get() ^ flow.tp_dst.get();
            f[20..22].copy_from_slice(&ports.to_be_bytes());
        }
        f[28] = flow.nw_proto;
    }
    f[22..28].copy_from_slice(&xor(flow.dl_src.0, flow.dl_dst.0));
    jhash(&f, basis)
}

fn symmetric_l2(flow: &Flow, basis: u32) -> u32 {
    if flow.packet_type.get() != 0 {
        return 0;
    }
    let mut f = [0u8; 12];
    f[..2].copy_from_slice(&flow.dl_type.to_bytes());
    f[2..4].copy_from_slice(&vid_xor(flow).to_be_bytes());
    f[4..10].copy_from_slice(&xor(flow.dl_src.0, flow.dl_dst.0));
    finish(f.chunks(4).fold(basis, |h, c| add(h, word(c))), basis)
}

fn symmetric_l3l4(flow: &Flow, basis: u32, udp_ports: bool) -> u32 {
    let mut h = basis;
    match flow.dl_type.get() {
        ETH_TYPE_IP => h = add(h, word(&xor(flow.nw_src.0, flow.nw_dst.0))),
        ETH_TYPE_IPV6 => {
            for c in xor(flow.ipv6_src.0, flow.ipv6_dst.0).chunks(4) {
                h = add(h, word(c));
            }
        }
        _ => return symmetric_l2(flow, basis),
    }
    h = add(h, flow.nw_proto.into());
    if flow.nw_frag == 0 && (has_ports(flow) || udp_ports && flow.nw_proto == PROTO_UDP) {
        let ports = flow.tp_src.get() ^ flow.tp_dst.get();
        h = add(h, u16::from_ne_bytes(ports.to_be_bytes()).into());
    }
    finish(h, basis)
}

fn symmetric_l3(flow: &Flow, basis: u32) -> u32 {
    let mut f = [0u8; 20];
    match flow.dl_type.get() {
        ETH_TYPE_IP => f[..4].copy_from_slice(&xor(flow.nw_src.0, flow.nw_dst.0)),
        ETH_TYPE_IPV6 => f[..16].copy_from_slice(&xor(flow.ipv6_src.0, flow.ipv6_dst.0)),
        _ => {}
    }
    f[16..18].copy_from_slice(&flow.dl_type.to_bytes());
    jhash(&f, basis)
}

fn one_address(flow: &Flow, v4: Ipv4, v6: Ipv6, basis: u32) -> u32 {
    match flow.dl_type.get() {
        ETH_TYPE_IP => jhash(&v4.0, basis),
        ETH_TYPE_IPV6 => jhash(&v6.0, basis),
        _ => basis,
    }
}

/// The hash over `fields`.
pub(crate) fn fields(flow: &Flow, fields: HashFields, basis: u16) -> u32 {
    let basis = basis.into();
    match fields {
        HashFields::EthSrc => jhash(&flow.dl_src.0, basis),
        HashFields::SymmetricL4 => symmetric_l4(flow, basis),
        HashFields::SymmetricL3L4 => symmetric_l3l4(flow, basis, false),
        HashFields::SymmetricL3L4Udp => symmetric_l3l4(flow, basis, true),
        HashFields::NwSrc => one_address(flow, flow.nw_src, flow.ipv6_src, basis),
        HashFields::NwDst => one_address(flow, flow.nw_dst, flow.ipv6_dst, basis),
        HashFields::SymmetricL3 => symmetric_l3(flow, basis),
    }
}

/// Marks the transport ports; ICMP's type and code are eight bits wide.
pub(crate) fn mark_ports(flow: &Flow, m: &mut Flow) {
    let bits = if flow.nw_proto == PROTO_ICMP {
        0xff
    } else {
        0xffff
    };
    m.tp_src = U16::new(bits);
    m.tp_dst = U16::new(bits);
}

fn mark_addresses(flow: &Flow, m: &mut Flow, src: bool, dst: bool) {
    let v4 = flow.dl_type.get() == ETH_TYPE_IP;
    let v6 = flow.dl_type.get() == ETH_TYPE_IPV6;
    if src && v4 {
        m.nw_src = Ipv4([0xff; 4]);
    }
    if dst && v4 {
        m.nw_dst = Ipv4([0xff; 4]);
    }
    if src && v6 {
        m.ipv6_src = Ipv6([0xff; 16]);
    }
    if dst && v6 {
        m.ipv6_dst = Ipv6([0xff; 16]);
    }
}

fn mark_l2(m: &mut Flow) {
    m.dl_src.0 = [0xff; 6];
    m.dl_dst.0 = [0xff; 6];
    for v in &mut m.vlans {
        v.tci |= U16::new(Vlan::VID_MASK | Vlan::CFI);
    }
}

/// Marks what [`fields`] reads.
pub(crate) fn mark_fields(flow: &Flow, fields: HashFields, site: Site, wc: &mut Wild) {
    let ip = matches!(flow.dl_type.get(), ETH_TYPE_IP | ETH_TYPE_IPV6);
    wc.mark(site, |m| match fields {
        HashFields::EthSrc => m.dl_src.0 = [0xff; 6],
        HashFields::SymmetricL4 => {
            mark_l2(m);
            mark_addresses(flow, m, true, true);
            if ip {
                m.nw_proto = 0xff;
                if flow.nw_proto != PROTO_UDP {
                    mark_ports(flow, m);
                }
            }
        }
        HashFields::SymmetricL3L4 | HashFields::SymmetricL3L4Udp if ip => {
            mark_addresses(flow, m, true, true);
            m.nw_proto = 0xff;
            let udp = fields == HashFields::SymmetricL3L4Udp && flow.nw_proto == PROTO_UDP;
            if flow.nw_frag == 0 && (has_ports(flow) || udp) {
                m.tp_src = U16::MAX_VALUE;
                m.tp_dst = U16::MAX_VALUE;
            }
        }
        HashFields::SymmetricL3L4 | HashFields::SymmetricL3L4Udp => {}
        HashFields::NwSrc => mark_addresses(flow, m, true, false),
        HashFields::NwDst => mark_addresses(flow, m, false, true),
        HashFields::SymmetricL3 => mark_addresses(flow, m, true, true),
    });
    if !ip
        && matches!(
            fields,
            HashFields::SymmetricL3L4 | HashFields::SymmetricL3L4Udp
        )
    {
        wc.mark_hidden(Site::HashLayer2, mark_l2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MurmurHash3's values by a C program on a little-endian machine.
    #[test]
    fn constants_of_the_definition() {
        assert_eq!(two_words(1, 0), 0xea95_647d);
        assert_eq!(two_words(2, 0), 0xa1cb_a8ce);
        assert_eq!(two_words(0x1234_5678, 0x9abc_def0), 0x8e9e_c237);
        assert_eq!(jhash(b"", 0), 0xdead_beef);
        // lookup3's own example ("Four score and seven years ago", 30 bytes, seed 0).
        assert_eq!(jhash(b"Four score and seven years ago", 0), 0x1777_0551);
    }

    #[test]
    fn symmetric_means_symmetric() {
        let mut f = Flow::zero();
        f.dl_type = U16::new(ETH_TYPE_IP);
        f.nw_proto = PROTO_TCP;
        f.nw_src = Ipv4([10, 0, 0, 1]);
        f.nw_dst = Ipv4([10, 0, 0, 2]);
        f.tp_src = U16::new(1000);
        f.tp_dst = U16::new(80);
        let mut g = f;
        g.nw_src = f.nw_dst;
        g.nw_dst = f.nw_src;
        g.tp_src = f.tp_dst;
        g.tp_dst = f.tp_src;
        for how in [
            HashFields::SymmetricL4,
            HashFields::SymmetricL3L4,
            HashFields::SymmetricL3L4Udp,
            HashFields::SymmetricL3,
        ] {
            assert_eq!(fields(&f, how, 7), fields(&g, how, 7));
        }
        g.tp_dst = U16::new(1);
        assert_ne!(symmetric_l4(&f, 0), symmetric_l4(&g, 0));
    }
}
