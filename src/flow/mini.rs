//! [`MiniMatch`]: a match that takes as much memory as it asks for fields.

use crate::key::{FLOW_LINES, Flow, Mask};
use crate::matches::Match;

/// The nonzero 64-bit words of a mask, with the flow's words beside them. Equal exactly when the matches
/// are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MiniMatch {
    /// Bit w is set when word w of the mask is not zero.
    map: u128,
    /// For each set bit: (flow word, mask word).
    words: Box<[(u64, u64)]>,
}

const _: () = assert!(FLOW_LINES * 8 <= 128);

impl MiniMatch {
    /// The compact form of a match.
    #[must_use]
    pub fn new(flow: &Flow, mask: &Mask) -> Self {
        let mut map = 0;
        let mut words = Vec::with_capacity(8);
        let all = flow
            .lines()
            .as_flattened()
            .iter()
            .zip(mask.lines().as_flattened());
        for (w, (&f, &m)) in all.enumerate() {
            if m != 0 {
                map |= 1 << w;
                words.push((f & m, m));
            }
        }
        Self {
            map,
            words: words.into(),
        }
    }
    /// The words the mask has, as (index of the word, flow word, mask word).
    pub fn words(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        let mut map = self.map;
        self.words.iter().map(move |&(f, m)| {
            let w = map.trailing_zeros() as usize;
            map &= map.wrapping_sub(1);
            (w, f, m)
        })
    }
    /// True when `flow` has what the match asks for.
    #[inline]
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let target = flow.lines().as_flattened();
        self.words().all(|(w, f, m)| (target[w] ^ f) & m == 0)
    }
    /// The full form (without a tunnel table).
    #[must_use]
    pub fn expand(&self) -> Match {
        let mut out = Match::catchall();
        for (w, f, m) in self.words() {
            out.flow.lines_mut().as_flattened_mut()[w] = f;
            out.mask.0.lines_mut().as_flattened_mut()[w] = m;
        }
        out
    }
    /// The mask alone.
    #[must_use]
    pub fn mask(&self) -> Mask {
        self.expand().mask
    }
}

impl From<&Match> for MiniMatch {
    fn from(m: &Match) -> Self {
        Self::new(&m.flow, &m.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldId;

    #[test]
    fn says_the_same_in_fewer_words() {
        let mut m = Match::catchall();
        m.set_u64(FieldId::EthType, 0x800);
        m.set_u64(FieldId::Reg(15), 7);
        let mini = MiniMatch::from(&m);
        assert_eq!(mini.words.len(), 2);
        assert_eq!(mini.expand(), m);
        assert!(mini.matches(&m.flow) && !mini.matches(&Flow::zero()));
    }
}
