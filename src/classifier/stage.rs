//! The four stages of a lookup: metadata, L2, L3, L4, as Open vSwitch divides the fields.
//!
//! A subtable is probed stage by stage; a miss in an early stage leaves the fields of later stages
//! wildcarded. The division decides only how precise the resulting megaflow is, never what matches.

use crate::mini::{FLOW_WORDS, MaskWord};
use base::hash;
use base::sync::OnceLock;
use flow::{Flow, Mask};
use smallvec::SmallVec;

/// Stages a lookup can have.
pub(crate) const STAGES: usize = 4;

/// One word of one stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageWord {
    /// Index of the word in the flow.
    pub(crate) at: u8,
    /// Index of the word in the values of a rule.
    pub(crate) pos: u8,
    /// Bits of the subtable's mask that belong to this stage.
    pub(crate) bits: u64,
}

/// The words that one stage adds.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) words: SmallVec<[StageWord; 4]>,
}

impl Stage {
    /// Continues the running hash `h` with this stage's part of a packet.
    pub(crate) fn hash_flow(&self, h: u64, words: &[u64]) -> u64 {
        self.words
            .iter()
            .fold(h, |h, w| hash::mix(h, words[usize::from(w.at)] & w.bits))
    }
    /// Continues the running hash `h` with this stage's part of a rule.
    pub(crate) fn hash_values(&self, h: u64, values: &[u64]) -> u64 {
        self.words
            .iter()
            .fold(h, |h, w| hash::mix(h, values[usize::from(w.pos)] & w.bits))
    }
    /// Adds this stage's bits to the looked-at bits.
    pub(crate) fn fold_into(&self, wc: &mut Mask) {
        let out = wc.0.lines_mut().as_flattened_mut();
        for w in &self.words {
            out[usize::from(w.at)] |= w.bits;
        }
    }
    /// True when the stage looks at any bit of the flow word `at` (a word of `bits`).
    pub(crate) fn looks_at(&self, at: usize, bits: u64) -> bool {
        self.words
            .iter()
            .any(|w| usize::from(w.at) == at && w.bits & bits != 0)
    }
}

/// The stages of a mask, empty ones left out. At least one, which may be without words.
pub(crate) fn plan(mask: &[MaskWord]) -> SmallVec<[Stage; STAGES]> {
    let mut out: SmallVec<[Stage; STAGES]> = SmallVec::new();
    for stage in stage_masks() {
        let mut words = SmallVec::new();
        for (pos, w) in (0u8..).zip(mask) {
            let bits = w.bits & stage[usize::from(w.at)];
            if bits != 0 {
                words.push(StageWord {
                    at: w.at,
                    pos,
                    bits,
                });
            }
        }
        if !words.is_empty() {
            out.push(Stage { words });
        }
    }
    if out.is_empty() {
        out.push(Stage::default());
    }
    out
}

/// Which bits of the flow belong to which stage. Every bit belongs to exactly one.
fn stage_masks() -> &'static [[u64; FLOW_WORDS]; STAGES] {
    static MASKS: OnceLock<Box<[[u64; FLOW_WORDS]; STAGES]>> = OnceLock::new();
    MASKS.get_or_init(|| {
        let (l2, l3, l4) = (layer2(), layer3(), layer4());
        let mut out = Box::new([[0; FLOW_WORDS]; STAGES]);
        for at in 0..FLOW_WORDS {
            let word = |m: &Mask| m.lines().as_flattened()[at];
            out[1][at] = word(&l2);
            out[2][at] = word(&l3);
            out[3][at] = word(&l4);
            // Metadata is whatever no packet header holds: ports, registers, tunnel, conntrack state.
            out[0][at] = !(out[1][at] | out[2][at] | out[3][at]);
        }
        out
    })
}

fn layer2() -> Mask {
    let (mut m, ones) = (Mask::empty(), Mask::exact().0);
    m.0.dl_dst = ones.dl_dst;
    m.0.dl_src = ones.dl_src;
    m.0.dl_type = ones.dl_type;
    m.0.vlans = ones.vlans;
    m.0.mpls_lse = ones.mpls_lse;
    m
}

fn layer3() -> Mask {
    let (mut m, ones): (Mask, Flow) = (Mask::empty(), Mask::exact().0);
    m.0.nw_src = ones.nw_src;
    m.0.nw_dst = ones.nw_dst;
    m.0.ct_nw_src = ones.ct_nw_src;
    m.0.ct_nw_dst = ones.ct_nw_dst;
    m.0.ipv6_src = ones.ipv6_src;
    m.0.ipv6_dst = ones.ipv6_dst;
    m.0.ct_ipv6_src = ones.ct_ipv6_src;
    m.0.ct_ipv6_dst = ones.ct_ipv6_dst;
    m.0.ipv6_label = ones.ipv6_label;
    m.0.nw_frag = ones.nw_frag;
    m.0.nw_tos = ones.nw_tos;
    m.0.nw_ttl = ones.nw_ttl;
    m.0.nw_proto = ones.nw_proto;
    m
}

fn layer4() -> Mask {
    let (mut m, ones) = (Mask::empty(), Mask::exact().0);
    m.0.nd_target = ones.nd_target;
    m.0.arp_sha = ones.arp_sha;
    m.0.arp_tha = ones.arp_tha;
    m.0.tcp_flags = ones.tcp_flags;
    m.0.nsh = ones.nsh;
    m.0.tp_src = ones.tp_src;
    m.0.tp_dst = ones.tp_dst;
    m.0.ct_tp_src = ones.ct_tp_src;
    m.0.ct_tp_dst = ones.ct_tp_dst;
    m.0.igmp_group_ip4 = ones.igmp_group_ip4;
    m
}
