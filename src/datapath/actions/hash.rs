//! The `hash` action: `dp_hash` from the 5-tuple.

use base::hash::{finish, mix, murmur_add, murmur_finish};
use flow::Flow;
use odp::HashAlg;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6};
use wire::ipv4::{PROTO_SCTP, PROTO_TCP};

/// The hash of a packet with this key. Equal for all packets of a connection direction; with `SymL4` also
/// for both directions, and then the same as in Open vSwitch, so that groups go on picking the same buckets.
/// Never 0, which stands for "none".
pub(crate) fn dp_hash(key: &Flow, alg: HashAlg, basis: u32) -> u32 {
    let ipv6 = key.dl_type.get() == ETH_TYPE_IPV6;
    match alg {
        HashAlg::SymL4 if ipv6 || key.dl_type.get() == ETH_TYPE_IP => {
            symmetric_l3l4(key, ipv6, basis)
        }
        HashAlg::SymL4 => symmetric_l2(key, basis),
        HashAlg::L4 => l4(key, ipv6, basis),
    }
    .max(1)
}

fn l4(key: &Flow, ipv6: bool, basis: u32) -> u32 {
    let (src, dst) = if ipv6 {
        (key.ipv6_src.0, key.ipv6_dst.0)
    } else {
        (wide(key.nw_src.0), wide(key.nw_dst.0))
    };
    let a = end(src, key.tp_src.get());
    let b = end(dst, key.tp_dst.get());
    let both = mix(mix(u64::from(basis), a), b);
    let h = finish(mix(both, u64::from(key.nw_proto)));
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    {
        (h ^ h >> 32) as u32
    }
}

/// Adds what two fields differ in, four octets at a time.
fn add_difference(hash: u32, a: &[u8], b: &[u8]) -> u32 {
    let words = a.chunks_exact(4).zip(b.chunks_exact(4));
    words.fold(hash, |h, (a, b)| {
        let word = [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]];
        murmur_add(h, u32::from_ne_bytes(word))
    })
}

fn symmetric_l3l4(key: &Flow, ipv6: bool, basis: u32) -> u32 {
    let mut h = if ipv6 {
        add_difference(basis, &key.ipv6_src.0, &key.ipv6_dst.0)
    } else {
        add_difference(basis, &key.nw_src.0, &key.nw_dst.0)
    };
    h = murmur_add(h, key.nw_proto.into());
    if key.nw_frag == 0 && [PROTO_TCP, PROTO_SCTP].contains(&key.nw_proto) {
        let ports = key.tp_src.get() ^ key.tp_dst.get();
        h = murmur_add(h, u16::from_ne_bytes(ports.to_be_bytes()).into());
    }
    murmur_finish(h, basis)
}

/// Of what is neither IPv4 nor IPv6.
fn symmetric_l2(key: &Flow, basis: u32) -> u32 {
    if key.packet_type.get() != 0 {
        return 0;
    }
    let vid = |tci: u16| if tci & 0x1000 == 0 { 0 } else { tci & 0xfff };
    let vids = key.vlans.iter().fold(0, |v, vlan| v ^ vid(vlan.tci.get()));
    let mut f = [0u8; 12];
    f[..2].copy_from_slice(&key.dl_type.to_bytes());
    f[2..4].copy_from_slice(&vids.to_be_bytes());
    for (i, (a, b)) in key.dl_src.0.iter().zip(&key.dl_dst.0).enumerate() {
        f[4 + i] = a ^ b;
    }
    murmur_finish(add_difference(basis, &f, &[0; 12]), basis)
}

fn wide(addr: [u8; 4]) -> [u8; 16] {
    let mut w = [0; 16];
    w[..4].copy_from_slice(&addr);
    w
}

/// One end of a connection.
fn end(addr: [u8; 16], port: u16) -> u64 {
    let a = u128::from_ne_bytes(addr);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    mix(mix(u64::from(port), a as u64), (a >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Ipv4, U16};

    #[test]
    fn symmetric_means_symmetric() {
        let mut key = Flow::zero();
        key.dl_type = U16::new(ETH_TYPE_IP);
        key.nw_proto = PROTO_TCP;
        key.nw_src = Ipv4([10, 0, 0, 1]);
        key.nw_dst = Ipv4([10, 0, 0, 2]);
        (key.tp_src, key.tp_dst) = (U16::new(1), U16::new(2));
        let mut back = key;
        (back.nw_src, back.nw_dst) = (key.nw_dst, key.nw_src);
        (back.tp_src, back.tp_dst) = (key.tp_dst, key.tp_src);
        let h = |k: &Flow, alg| dp_hash(k, alg, 7);
        assert_eq!(h(&key, HashAlg::SymL4), h(&back, HashAlg::SymL4));
        assert_ne!(h(&key, HashAlg::L4), h(&back, HashAlg::L4));
        assert_ne!(h(&key, HashAlg::L4), dp_hash(&key, HashAlg::L4, 8));
    }
}
