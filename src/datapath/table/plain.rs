//! [`Plain`]: the key of a plain packet, read off its bytes instead of parsed.
//!
//! Most packets are untagged Ethernet with IPv4 without options that is no fragment, and TCP or UDP. Every field of
//! theirs has a fixed place, and in line 0 of their keys only four words differ from one to the next: the port
//! they came in on is the table's, and they have no tags, no connection tracking, no hash. Where no flow of a table
//! looks beyond line 0, those four words are all there is to hash and compare; they come out of the packet by six
//! loads and without a branch. [`Plain::read`] refuses whatever is not exactly so (and then extraction decides).
//!
//! The hash is the one that [`super::mask::MaskInfo::hash`] has for the whole key, so plain and other packets of a
//! batch share index and cache. The twins are [`flow::extract_lines`] and that hash: see the tests.

use super::mask::{HashKey, Line, MaskInfo, add_words};
use base::hash::finish;
use flow::{Depth, Flow, Layers};
use std::mem::offset_of;
use wire::Header;
use wire::ipv4::{Ipv4Header, PROTO_TCP, PROTO_UDP};

/// Bytes that are looked at: up to the flags of TCP. Shorter packets are not plain.
const BYTES: usize = 48;
/// Where IPv4 begins, and what follows it.
const L3: usize = 14;
const L4: usize = L3 + Ipv4Header::LEN;
/// Octets of the headers of UDP, and of TCP at least.
const UDP_LEN: u64 = 8;
const TCP_LEN: u64 = 20;
/// Words of line 0 that differ, in the order of [`Plain`].
const WORDS: [usize; 4] = [1, 2, 4, 5];

/// What [`Plain`] and the bytes that it is made of rely on.
const _: () = {
    assert!(offset_of!(Flow, in_port) == 0 && offset_of!(Flow, recirc_id) == 4);
    assert!(offset_of!(Flow, dl_dst) == 8 && offset_of!(Flow, dl_src) == 14);
    assert!(offset_of!(Flow, dl_type) == 20 && offset_of!(Flow, nw_frag) == 22);
    assert!(offset_of!(Flow, nw_proto) == 23 && offset_of!(Flow, vlans) == 24);
    assert!(offset_of!(Flow, nw_src) == 32 && offset_of!(Flow, nw_dst) == 36);
    assert!(offset_of!(Flow, tp_src) == 40 && offset_of!(Flow, tp_dst) == 42);
    assert!(offset_of!(Flow, tcp_flags) == 44 && offset_of!(Flow, nw_tos) == 46);
    assert!(offset_of!(Flow, nw_ttl) == 47 && offset_of!(Flow, ct_state) == 48);
};

/// Words 1, 2, 4 and 5 of a line 0.
pub(super) type Words = [u64; 4];

/// Those of a packet. Fields deeper than the table parses have any value: no flow looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(32))]
pub(super) struct Plain(Words);

#[inline]
fn words_of(head: &[u8; BYTES]) -> [u64; BYTES / 8] {
    let (words, _) = head.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_ne_bytes(words[i]))
}

/// Padding behind an IPv4 packet whose length was checked is at most 16 bits' worth.
const _: () = assert!(wire::ipv4::PAD_MAX == 0xffff);

impl Plain {
    /// The key of a packet, and whether it is plain: else it is nobody's key. `None` for one that is too short.
    /// `DEEP` when the table's flows look at layer 4: its header has to be one that extraction trusts then.
    #[inline(always)]
    pub(super) fn read<const DEEP: bool>(data: &[u8]) -> Option<(Self, bool)> {
        let head = data.first_chunk::<BYTES>()?;
        if cfg!(target_endian = "big") {
            return None;
        }
        // The first byte of each word is its lowest.
        let [w0, w1, w2, w3, w4, w5] = words_of(head);
        let proto = w2 >> 56;
        // All ones for TCP: which protocol it is must not be a branch, it is anybody's guess.
        let if_tcp = u64::from(proto == u64::from(PROTO_TCP)).wrapping_neg();
        // What should be zero: EtherType, version and header length, fragment offset and "more", and what is left
        // of lengths above 16 bits, when they have not gone below zero.
        let mut bad = w1 >> 32 & 0x00ff_ffff ^ 0x0045_0008;
        bad |= w2 >> 32 & 0xff3f;
        let total = u64::from((w2 as u16).swap_bytes());
        bad |= (data.len() as u64 - L3 as u64).wrapping_sub(total) >> 16;
        let mut least = Ipv4Header::LEN as u64;
        if DEEP {
            let header = w5 >> 50 & 0x3c;
            bad |= (header.wrapping_sub(TCP_LEN) >> 16) & if_tcp;
            bad |= (proto ^ u64::from(PROTO_UDP)) & !if_tcp;
            least += header & if_tcp | UDP_LEN & !if_tcp;
        }
        bad |= total.wrapping_sub(least) >> 16;
        let (tos, ttl) = (w1 >> 8 & 0xff << 48, w2 << 8 & 0xff << 56);
        let flags = w5 >> 16 & 0xff0f << 32 & if_tcp;
        let plain = Self([
            w0,
            w1 & 0x0000_ffff_ffff_ffff | w2 & 0xff << 56,
            w3 >> 16 | w4 << 48,
            w4 >> 16 & 0xffff_ffff | flags | tos | ttl,
        ]);
        Some((plain, bad == 0))
    }

    /// Its TCP flags; meaningful when it was made for a table that looks at layer 4.
    #[inline]
    pub(super) fn tcp_flags(self) -> u16 {
        // In a packet's order, whatever the machine's.
        u16::from_be((self.0[3] >> 32) as u16)
    }

    /// True when its words are these under a mask, in a table that is for its port and pass.
    #[inline]
    pub(super) fn is_in(self, mask: &Line, want: Words) -> bool {
        let mut differ = 0;
        for i in 0..4 {
            differ |= (self.0[i] & mask[WORDS[i]]) ^ want[i];
        }
        differ == 0
    }
}

/// The words that plain packets of a flow with this masked line 0 have; `wide` when it looks at other lines too.
pub(super) fn words(masked: &Line, wide: bool) -> Words {
    if wide || masked[3] | masked[6] | masked[7] != 0 {
        return NOBODY;
    }
    WORDS.map(|w| masked[w])
}

/// Words of no plain packet, under whatever mask: these are no fragments.
pub(super) const NOBODY: Words = [u64::MAX; 4];

/// Where the headers of a plain packet are.
pub(super) fn layers(depth: Depth, data: &[u8]) -> Layers {
    let total = data
        .get(L3 + 2..)
        .and_then(|l3| l3.first_chunk())
        .map_or(0, |&total| usize::from(u16::from_be_bytes(total)));
    Layers {
        l2_5: Layers::NONE,
        l3: L3 as u16,
        l4: L4 as u16,
        l2_pad: data.len().saturating_sub(L3 + total) as u16,
        reached: depth,
    }
}

/// The hash of plain packets under one mask: what is the same for all packets of a port is added up once a batch.
#[derive(Debug)]
pub(super) struct PlainHash {
    mask: [u64; 4],
    key: [u64; 4],
    rest: u64,
}

impl PlainHash {
    /// For packets that came in on a port and are on their first pass.
    #[inline]
    pub(super) fn new(mask: &MaskInfo, with: &HashKey, in_port: u32) -> Self {
        let (mask, key) = (&mask.line0, with.line0());
        let first = u64::from(in_port.to_be());
        let pick = |of: &Line| WORDS.map(|w| of[w]);
        let rest = add_words([first & mask[0], 0, 0, 0], [key[0], key[3], key[6], key[7]]);
        Self {
            mask: pick(mask),
            key: pick(key),
            rest: with.seed().wrapping_add(rest),
        }
    }

    /// As [`MaskInfo::hash`] of the whole key.
    #[inline]
    pub(super) fn of(&self, plain: &Plain) -> u64 {
        let masked = std::array::from_fn(|i| plain.0[i] & self.mask[i]);
        finish(self.rest.wrapping_add(add_words(masked, self.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;
    use base::sync::Arc;
    use flow::{Mask, Metadata};

    /// A packet that is plain, or nearly so.
    fn packet(rng: &mut Rng) -> Vec<u8> {
        let mut p: Vec<u8> = (0..60).map(|_| rng.next_u64() as u8).collect();
        p[12..15].copy_from_slice(&[8, 0, 0x45]);
        p[16..18].copy_from_slice(&(20 + rng.below(28) as u16).to_be_bytes());
        p[20..22].copy_from_slice(&[[0x40, 0], [0, 0], [0x80, 0]][rng.below(3) as usize]);
        p[23] = [17, 17, 6, 6, 6, 1, 47][rng.below(7) as usize];
        p[46] = (rng.below(8) as u8) << 4 | rng.below(16) as u8;
        match rng.below(12) {
            0 => p[12] = 0x81,
            1 => p[13] = 6,
            2 => p[14] = 0x46,
            3 => p[20] = 1 << rng.below(8),
            4 => p[21] = 1 << rng.below(8),
            5 => p[16] = 1,
            6 => p.truncate(14 + rng.below(46) as usize),
            7 => p.resize(60 + rng.below(1500) as usize, 1),
            8 => p.resize(66_000, 0),
            _ => {}
        }
        p
    }

    /// Whatever is taken for plain has the words that extraction gives, at every depth, and nothing else; and
    /// whatever extraction calls by that name is taken for it.
    #[test]
    fn plain_keys_are_extracted_keys() {
        let mut rng = Rng::new(3);
        let (mut plain, mut not) = (0, 0);
        for _ in 0..60_000 {
            let p = packet(&mut rng);
            let depth = [Depth::L2, Depth::L3, Depth::L4][rng.below(3) as usize];
            let md = Metadata {
                in_port: 0x1234,
                ..Metadata::default()
            };
            let (mut key, mut at) = (Flow::zero(), Layers::UNKNOWN);
            let lines = flow::extract_lines(&p, &md, depth, (&mut key, &mut at));
            let got = if depth == Depth::L4 {
                Plain::read::<true>(&p)
            } else {
                Plain::read::<false>(&p)
            };
            let Some((got, true)) = got else {
                let is_plain = p.len() >= BYTES
                    && at == layers(depth, &p)
                    && (key.dl_type.get(), key.nw_frag, p[14]) == (0x0800, 0, 0x45)
                    && (depth < Depth::L4 || matches!(key.nw_proto, PROTO_TCP | PROTO_UDP));
                assert!(!is_plain, "{p:x?} {depth:?}");
                not += 1;
                continue;
            };
            plain += 1;
            assert_eq!(lines.0, 1);
            assert_eq!(at, layers(depth, &p), "{p:x?}");
            let given = Mask::of_depth(depth);
            let mut want = *key.lines();
            let mut line = [u64::from(0x1234u32.to_be()), 0, 0, 0, 0, 0, 0, 0];
            for (w, have) in std::iter::zip(WORDS, got.0) {
                line[w] = have & given.lines()[0][w];
                want[0][w] &= given.lines()[0][w];
            }
            assert_eq!(line, want[0], "{p:x?} {depth:?}");
            if depth == Depth::L4 {
                assert_eq!(got.tcp_flags(), key.tcp_flags.get());
            }
        }
        assert!(plain > 15_000 && not > 15_000, "{plain} {not}");
    }

    #[test]
    fn hashes_and_comparisons_are_those_of_the_whole_key() {
        let mut rng = Rng::new(4);
        let (mut same, mut other) = (0, 0);
        for _ in 0..20_000 {
            let p = packet(&mut rng);
            let Some((plain, true)) = Plain::read::<true>(&p) else {
                continue;
            };
            let md = Metadata {
                in_port: rng.below(70) as u32,
                ..Metadata::default()
            };
            let mut key = Flow::zero();
            flow::extract(&p, &md, &mut key);
            let mut mask = Mask::empty();
            for word in &mut mask.0.lines_mut()[0] {
                *word = rng.next_u64() & rng.next_u64();
            }
            let info = MaskInfo::new(Arc::new(mask));
            let with = HashKey::new(rng.next_u64());
            let hash = PlainHash::new(&info, &with, md.in_port);
            assert_eq!(hash.of(&plain), info.hash(&with, &key));
            let mut want: Line = std::array::from_fn(|i| key.lines()[0][i] & info.line0[i]);
            assert!(plain.is_in(&info.line0, words(&want, false)));
            assert!(!plain.is_in(&info.line0, words(&want, true)));
            // The port is the table's business.
            let (word, bit) = (1 + rng.below(7) as usize, 1 << rng.below(64));
            want[word] ^= bit;
            assert!(!plain.is_in(&info.line0, words(&want, false)));
            same += 1;
            other += usize::from(info.line0[word] & bit == 0);
        }
        assert!(same > 500 && other > 100, "{same} {other}");
    }
}
