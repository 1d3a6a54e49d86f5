//! The `hash` action: `dp_hash` from the 5-tuple.

use base::hash::{finish, mix};
use flow::Flow;
use odp::HashAlg;
use wire::ethernet::ETH_TYPE_IPV6;

/// The hash of a packet with this key. Equal for all packets of a connection direction; with `SymL4` also
/// for both directions. Never 0, which stands for "none".
pub(crate) fn dp_hash(key: &Flow, alg: HashAlg, basis: u32) -> u32 {
    let ports = [key.tp_src.get(), key.tp_dst.get()];
    let (src, dst) = if key.dl_type.get() == ETH_TYPE_IPV6 {
        (key.ipv6_src.0, key.ipv6_dst.0)
    } else {
        (wide(key.nw_src.0), wide(key.nw_dst.0))
    };
    let (a, b) = (end(src, ports[0]), end(dst, ports[1]));
    let both = match alg {
        HashAlg::L4 => mix(mix(u64::from(basis), a), b),
        HashAlg::SymL4 => mix(u64::from(basis), a ^ b),
    };
    let h = finish(mix(both, u64::from(key.nw_proto)));
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    {
        ((h ^ h >> 32) as u32).max(1)
    }
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
