//! Packets from a seed: what hosts send, what attackers send, and what no one should.

use base::rng::Rng;
use flow::compose::{Payload, compose};
use flow::{Flow, Vlan};
use wire::{EthAddr, Ipv4, Ipv6, U16, U32};

/// Hosts of the simulated network.
const HOSTS: u64 = 12;

/// Makes packets.
#[derive(Debug)]
pub(crate) struct Traffic {
    rng: Rng,
    /// The last flow, of which more packets often come.
    last: Vec<u8>,
}

impl Traffic {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            last: vec![0; 60],
        }
    }

    /// The next packet: often one of the same flow as the last.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        if self.rng.chance(600_000) {
            return self.last.clone();
        }
        let packet = match self.rng.below(100) {
            0..85 => self.sound(),
            85..95 => self.damaged(),
            95..97 => self.noise(),
            97 => self.short(),
            98 => vec![2; 9_000],
            _ => self.reserved(),
        };
        self.last.clone_from(&packet);
        packet
    }

    fn host(&mut self) -> u8 {
        1 + self.rng.below(HOSTS) as u8
    }

    fn mac(&mut self, destination: bool) -> EthAddr {
        match self.rng.below(20) {
            0 if destination => EthAddr([0xff; 6]),
            1 if destination => EthAddr([1, 0, 0x5e, 0, 0, 7]),
            _ => EthAddr([2, 0, 0, 0, 0, self.host()]),
        }
    }

    /// A packet with right lengths and checksums.
    fn sound(&mut self) -> Vec<u8> {
        let mut f = Flow::zero();
        f.dl_src = self.mac(false);
        f.dl_dst = self.mac(true);
        for i in 0..2 {
            if self.rng.chance(200_000) {
                f.vlans[i] = Vlan {
                    tpid: U16::new(0x8100),
                    tci: U16::new(Vlan::CFI | (self.rng.below(4) as u16 * 10)),
                };
            } else {
                break;
            }
        }
        f.nw_ttl = 64;
        f.nw_src = Ipv4([10, 0, 0, self.host()]);
        f.nw_dst = Ipv4([10, 0, 0, self.host()]);
        f.tp_src = U16::new(self.rng.below(64) as u16);
        f.tp_dst = U16::new(self.rng.below(8) as u16);
        match self.rng.below(10) {
            0 => f.dl_type = U16::new(0x1234),
            1 => {
                f.dl_type = U16::new(0x0806);
                f.nw_proto = 1 + self.rng.below(2) as u8;
                f.arp_sha = f.dl_src;
            }
            2 => {
                f.dl_type = U16::new(0x86dd);
                f.nw_proto = [6, 17, 58][self.rng.below(3) as usize];
                f.ipv6_src = Ipv6([0x20; 16]);
                f.ipv6_dst = Ipv6([0x20 + self.host(); 16]);
            }
            3 => {
                f.dl_type = U16::new(0x8847);
                f.mpls_lse[0] = U32::new(0x0001_0140);
            }
            _ => {
                f.dl_type = U16::new(0x0800);
                f.nw_proto = [1, 6, 17, 17, 132][self.rng.below(5) as usize];
                f.nw_frag = if self.rng.chance(50_000) { 3 } else { 0 };
                f.tcp_flags = U16::new(0x10);
            }
        }
        compose(&f, Payload::Counting(self.rng.below(40) as usize))
    }

    /// A packet with a few bytes that lie, or without its end.
    fn damaged(&mut self) -> Vec<u8> {
        let mut p = self.sound();
        if self.rng.chance(500_000) {
            p.truncate(14 + self.rng.below(p.len() as u64 - 13) as usize);
        }
        for _ in 0..self.rng.below(4) {
            let at = 12 + self.rng.below(p.len() as u64 - 12) as usize;
            p[at] = self.rng.next_u64() as u8;
        }
        p
    }

    fn noise(&mut self) -> Vec<u8> {
        let n = 14 + self.rng.below(100);
        (0..n).map(|_| self.rng.next_u64() as u8).collect()
    }

    /// Too short to be anything.
    fn short(&mut self) -> Vec<u8> {
        vec![2; 1 + self.rng.below(13) as usize]
    }

    /// To the addresses of spanning tree and its like.
    fn reserved(&mut self) -> Vec<u8> {
        let mut p = self.sound();
        p[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, self.rng.below(16) as u8]);
        p
    }

    /// Packet `n` of a flood: each is a flow of its own.
    pub(crate) fn flood(&mut self, n: u64) -> Vec<u8> {
        let mut f = Flow::zero();
        f.dl_src = EthAddr([2, 0, 0, 0, 0, 1]);
        f.dl_dst = self.mac(false);
        (f.dl_type, f.nw_proto, f.nw_ttl) = (U16::new(0x0800), 17, 64);
        let [.., a, b, c, d] = n.to_be_bytes();
        f.nw_src = Ipv4([10, b, c, d]);
        f.nw_dst = Ipv4([11, a, 0, 1]);
        compose(&f, Payload::Counting(4))
    }
}
